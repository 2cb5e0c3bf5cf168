//! Who locks, lifts, overrides, freezes and presses the stop button: each row of the policies, with stamps and without.

mod docs;
mod freezes;
mod gitops;
mod locks;
mod names;
mod overrides;

use anyhow::Result;
use foredeck::api::{DeployTarget, Environment};
use serde_json::{Value, json};

use crate::support::{ALICE, Bed, account, refused, slack_actor};

/// What a verb is held on.
const ENVIRONMENT: (&str, &str) = ("environments", "production");
const APPLICATION: (&str, &str) = ("applications", "checkout");
const BOTH: [(&str, &str); 2] = [ENVIRONMENT, APPLICATION];
/// What targets of checkout in production are called, in one place and in another.
const ONE: &str = "checkout.production.4d2a1e0c9b7f";
const ANOTHER: &str = "checkout.production.0b5e7c31d9a2";
/// What applies what a repository says.
const FLUX: &str = "system:serviceaccount:flux-system:kustomize-controller";

fn environment(more: &Value) -> Value {
    with(
        json!({"connection": "prod", "target": {"account": "eks", "namespace": "shop"}}),
        more,
    )
}

fn target(more: &Value) -> Value {
    with(
        json!({
            "application": "checkout", "environment": "production",
            "place": {"account": "eks", "namespace": "shop"},
        }),
        more,
    )
}

fn with(mut spec: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

/// A lock that says who sets it.
fn lock(reason: &str, by: &str) -> Value {
    json!({"lock": {"reason": reason, "by": {"username": by}}})
}

fn spec(fields: &Value) -> Value {
    json!({"spec": fields})
}

/// The controller says how the lock of a spec of that generation stands.
fn condition(status: &str, reason: &str, generation: i64) -> Value {
    json!({"conditions": [{
        "type": "Locked", "status": status, "reason": reason, "message": "", "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]})
}

#[tokio::test]
async fn the_receiver_changes_nothing_of_environments_and_targets_but_locks_and_holds() -> Result<()>
{
    for bed in Bed::both("receiver").await? {
        let (alice, receiver) = (bed.somebody(ALICE, &[]), bed.role("receiver"));
        alice
            .create::<Environment>("production", environment(&json!({})))
            .await?;
        let metadata = [
            json!({"metadata": {"labels": {"a": "b"}}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
            json!({"metadata": {"finalizers": ["example.com/kept"]}}),
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"},
            ]}}),
        ];
        let words = "changes nothing of one but spec.lock";
        for change in &metadata {
            let answer = receiver
                .patch::<Environment>("production", change.clone())
                .await;
            refused(&change.to_string(), answer, &[words])?;
        }
        for change in [
            json!({"connection": "evil"}),
            json!({"target": {"account": "evil"}}),
            json!({"allowTargets": {"accounts": ["evil"]}}),
            json!({"protection": {"approvals": null, "concurrency": "Reject"}}),
            json!({"protection": {"after": [{"environment": "staging"}]}}),
            json!({"notify": {"slack": {"channel": "C01"}}}),
            json!({"sharedTarget": true}),
        ] {
            let answer = receiver
                .patch::<Environment>("production", spec(&change))
                .await;
            let field = change.as_object().and_then(|all| all.keys().next());
            let field = format!("spec.{} of an environment", field.map_or("", |name| name));
            refused(&change.to_string(), answer, &[&field])?;
        }
        let answer = receiver
            .create::<Environment>("new", environment(&json!({})))
            .await;
        refused("an environment", answer, &["makes no environments"])?;

        let by = slack_actor(ALICE, &[]);
        let said = json!({"lock": {"reason": "the till is migrated", "by": by}});
        let locked = receiver
            .patch::<Environment>("production", spec(&said))
            .await?;
        assert_eq!(locked.data["spec"]["lock"], said["lock"]);

        let answer = receiver
            .create::<DeployTarget>(ONE, target(&json!({})))
            .await;
        refused(
            "a target without a lock",
            answer,
            &["makes a target only to lock it"],
        )?;
        let made = receiver.create::<DeployTarget>(ONE, target(&said)).await?;
        assert_eq!(made.data["spec"]["lock"], said["lock"]);
        for change in &metadata {
            let answer = receiver.patch::<DeployTarget>(ONE, change.clone()).await;
            let words = "changes nothing of a target but spec.lock and spec.unhold";
            refused(&change.to_string(), answer, &[words])?;
        }
        let release = json!({"release": {"requestUid": "u", "reason": "forged"}});
        let answer = receiver.patch::<DeployTarget>(ONE, spec(&release)).await;
        refused("a release", answer, &["only people let a target go"])?;
        // It speaks for people in Slack, and asks before whether they may.
        for kind in ["another's", "its own"] {
            let lifted = spec(&json!({"lock": null}));
            receiver
                .patch::<DeployTarget>(ONE, lifted)
                .await
                .map_err(|error| anyhow::anyhow!("{kind}: {error}"))?;
        }
        receiver
            .patch::<Environment>("production", spec(&json!({"lock": null})))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stolen_receiver_locks_for_people_in_slack_and_for_nobody_else() -> Result<()> {
    for bed in Bed::both("stolen").await? {
        let receiver = bed.role("receiver");
        bed.somebody(ALICE, &[])
            .create::<Environment>("production", environment(&json!({})))
            .await?;
        for (by, words) in [
            (Value::Null, "spec.lock.by"),
            (json!({"username": ALICE}), "spec.lock.by.slack is missing"),
            (
                slack_actor(ALICE, &["system:masters"]),
                "may not: system:masters",
            ),
            (
                slack_actor(FLUX, &[]),
                "nobody in Slack is one of Kubernetes' own users",
            ),
            (slack_actor("eve@evil.example", &[]), "e-mail domains"),
        ] {
            let said = json!({"lock": {"reason": "forged", "by": by}});
            let answer = receiver
                .patch::<Environment>("production", spec(&said))
                .await;
            refused(words, answer, &[words])?;
            let answer = receiver.create::<DeployTarget>(ONE, target(&said)).await;
            refused(words, answer, &[words])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_controller_and_the_relay_lock_and_lift_nothing() -> Result<()> {
    let bed = Bed::new(true, "roles").await?;
    let alice = bed.somebody(ALICE, &[]);
    bed.grant(ALICE, "lock", &BOTH).await?;
    alice
        .create::<Environment>("production", environment(&lock("no", ALICE)))
        .await?;
    alice
        .create::<DeployTarget>(ONE, target(&lock("no", ALICE)))
        .await?;
    for role in ["controller", "relay"] {
        let user = account(role);
        for verb in ["lock", "override"] {
            bed.grant(&user, verb, &BOTH).await?;
        }
        let writer = bed.role(role);
        for change in [json!({"lock": null}), lock("forged", &user)] {
            let answer = writer
                .patch::<Environment>("production", spec(&change))
                .await;
            refused(
                role,
                answer,
                &["controller and relay change nothing of an environment"],
            )?;
            let answer = writer.patch::<DeployTarget>(ONE, spec(&change)).await;
            refused(role, answer, &[&format!("foredeck's {role}")])?;
        }
        let answer = writer
            .create::<DeployTarget>(ANOTHER, target(&lock("forged", &user)))
            .await;
        refused(role, answer, &[&format!("foredeck's {role}")])?;
    }
    Ok(())
}
