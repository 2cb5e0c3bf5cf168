//! No role writes what is another's, and nobody else writes what is foredeck's: also where RBAC would let them.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use foredeck::api::{
    Application, DeployApproval, DeployRequest, DeployTarget, Environment, SpinnakerConnection,
};
use kube::Resource;
use serde_json::{Value, json};

use crate::support::{ALICE, Bed, documents, of_kind, refused, render, slack_actor};

fn conditions() -> Value {
    json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "Forged", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]})
}

/// A value for each field of a request's status that is not the relay's.
fn values() -> Value {
    json!({
        "phase": "Succeeded", "message": "done", "observedGeneration": 7, "conditions": conditions()["conditions"],
        "idempotencyKey": "k", "stage": "Deploy", "nextAttemptAt": "2026-01-01T00:00:00Z",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z",
        "waiting": {"for": "Queue", "message": "m", "since": "2026-01-01T00:00:00Z"},
        "approvals": {"required": 1}, "execution": {"id": "01M", "status": "RUNNING"},
    })
}

#[tokio::test]
async fn the_relay_writes_status_slack_and_nothing_else() -> Result<()> {
    let bed = Bed::new(true, "relay").await?;
    let relay = bed.role("relay");
    bed.asked_by(ALICE, "fresh").await?;
    let slack = json!({"slack": {"problem": "the channel is archived"}});
    relay
        .status::<DeployRequest>("fresh", slack.clone())
        .await
        .context("the first status of all")?;
    bed.asked_by(ALICE, "known").await?;
    bed.role("controller")
        .status::<DeployRequest>("known", json!({"phase": "Queued", "stage": "Bake"}))
        .await?;
    relay.status::<DeployRequest>("known", slack).await?;
    for name in ["fresh", "known"] {
        for (field, value) in values().as_object().into_iter().flatten() {
            let answer = relay
                .status::<DeployRequest>(name, json!({(field): value}))
                .await;
            refused(
                field,
                answer,
                &[&format!("status.{field} is the controller's alone")],
            )?;
        }
    }
    let answer = relay
        .status::<DeployRequest>("known", json!({"phase": null}))
        .await;
    refused("taking a field away", answer, &["status.phase"])?;
    let answer = relay.status::<DeployRequest>("known", Value::Null).await;
    refused(
        "taking the status away",
        answer,
        &["is the controller's alone"],
    )?;
    Ok(())
}

#[tokio::test]
async fn the_controller_writes_everything_but_status_slack() -> Result<()> {
    let bed = Bed::new(true, "controller").await?;
    let controller = bed.role("controller");
    bed.asked_by(ALICE, "one").await?;
    let slack = json!({"slack": {"problem": "forged"}});
    let answer = controller
        .status::<DeployRequest>("one", slack.clone())
        .await;
    refused(
        "the relay's field",
        answer,
        &["status.slack is the relay's alone"],
    )?;
    let written = controller.status::<DeployRequest>("one", values()).await?;
    assert_eq!(written.data["status"]["phase"], "Succeeded");
    bed.role("relay")
        .status::<DeployRequest>("one", slack)
        .await?;
    let answer = controller
        .status::<DeployRequest>("one", json!({"slack": null}))
        .await;
    refused("taking the relay's field away", answer, &["status.slack"])?;
    controller
        .status::<DeployRequest>("one", json!({"stage": null}))
        .await?;
    let spec = json!({"spec": {"cancel": {"reason": "forged"}}});
    let answer = controller.patch::<DeployRequest>("one", spec).await;
    refused("the spec", answer, &["never changes what was asked"])?;
    Ok(())
}

#[tokio::test]
async fn nobody_else_writes_the_status_of_a_request() -> Result<()> {
    let bed = Bed::new(true, "others").await?;
    bed.asked_by(ALICE, "one").await?;
    for (who, writer) in [
        ("its requester", bed.somebody(ALICE, &[])),
        ("the receiver", bed.role("receiver")),
        (
            "a ServiceAccount",
            bed.somebody("system:serviceaccount:flux-system:any", &[]),
        ),
    ] {
        for status in [
            json!({"phase": "Succeeded"}),
            json!({"slack": {"problem": "forged"}}),
        ] {
            let answer = writer.status::<DeployRequest>("one", status).await;
            refused(
                who,
                answer,
                &[
                    "may not write the status of deployrequests",
                    "system:masters",
                ],
            )?;
        }
    }
    bed.administrator()
        .status::<DeployRequest>("one", json!({"phase": "Queued"}))
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_controller_alone_writes_every_other_status() -> Result<()> {
    let bed = Bed::new(true, "kinds").await?;
    let least = json!({"application": "checkout", "environment": "production", "place": {"account": "eks", "namespace": "shop"}});
    check::<DeployTarget>(&bed, "checkout.production.4d2a1e0c9b7f", least).await?;
    let approver = slack_actor(ALICE, &[]);
    let approval = json!({
        "request": {"name": "r", "uid": "u"}, "decision": "Approve", "digest": "a".repeat(64), "approver": approver,
    });
    check::<DeployApproval>(&bed, "one", approval).await?;
    check::<Application>(
        &bed,
        "one",
        json!({"actions": {"deploy": {"pipeline": "Deploy"}}}),
    )
    .await?;
    let target = json!({"account": "eks", "namespace": "shop"});
    check::<Environment>(&bed, "one", json!({"connection": "prod", "target": target})).await?;
    check::<SpinnakerConnection>(&bed, "one", json!({"gateUrl": "https://gate.example"})).await
}

async fn check<K: Resource<DynamicType = ()>>(bed: &Bed, name: &str, spec: Value) -> Result<()> {
    let kind = K::kind(&());
    bed.somebody(ALICE, &[])
        .create::<K>(name, spec)
        .await
        .with_context(|| kind.to_string())?;
    for (who, writer) in [
        ("somebody", bed.somebody(ALICE, &[])),
        ("the relay", bed.role("relay")),
        ("the receiver", bed.role("receiver")),
    ] {
        let answer = writer.status::<K>(name, conditions()).await;
        let words = format!("may not write the status of {}", K::plural(&()));
        refused(
            &format!("{kind} by {who}"),
            answer,
            &[&words, "foredeck's controller's alone"],
        )?;
    }
    bed.role("controller")
        .status::<K>(name, conditions())
        .await?;
    bed.administrator()
        .status::<K>(name, json!({"conditions": null}))
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_policies_name_every_field_of_a_status_that_two_roles_write() -> Result<()> {
    for (policy, kind) in [
        ("foredeck-deployrequests-status", "DeployRequest"),
        ("foredeck-deployfreezes-status", "DeployFreeze"),
    ] {
        let named = named_in(policy, "object.?status.?").await?;
        assert_eq!(named, fields(kind, "status")?, "{policy}");
    }
    Ok(())
}

#[tokio::test]
async fn the_policies_name_every_field_that_is_not_the_receivers() -> Result<()> {
    let mut named = named_in("foredeck-environments", "object.spec.?").await?;
    assert_eq!(named, fields("Environment", "spec")?);
    named = named_in("foredeck-deploytargets", "object.spec.?").await?;
    // What a target stands for never changes: its definition sees to that.
    named.extend(["application", "environment", "place"].map(str::to_owned));
    assert_eq!(named, fields("DeployTarget", "spec")?);
    Ok(())
}

/// The words that follow `before` in a validating policy.
async fn named_in(policy: &str, before: &str) -> Result<BTreeSet<String>> {
    let all = documents(&render(&["--show-only", "templates/admission.yaml"]).await?)?;
    let mut policies = of_kind(&all, "ValidatingAdmissionPolicy");
    let policy = policies.find(|one| one["metadata"]["name"] == policy);
    let text = policy.context("the policy")?.to_string();
    let word = |rest: &str| {
        rest.chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect()
    };
    Ok(text.split(before).skip(1).map(word).collect())
}

#[tokio::test]
async fn the_policies_name_every_field_of_a_persons_spec() -> Result<()> {
    let rendered = render(&["--show-only", "templates/admission.yaml"]).await?;
    for field in fields("Person", "spec")? {
        let rule = format!("request.operation != 'CREATE' || !has(object.spec.{field})");
        assert!(rendered.contains(&rule), "{rule}");
    }
    Ok(())
}

/// The properties of a part of a kind's schema.
fn fields(kind: &str, part: &str) -> Result<BTreeSet<String>> {
    let definition = foredeck::api::crds()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
        .context("the kind")?;
    let root = definition.spec.versions[0]
        .schema
        .as_ref()
        .and_then(|schema| schema.open_api_v3_schema.as_ref());
    let part = root
        .and_then(|root| root.properties.as_ref())
        .and_then(|properties| properties.get(part));
    let properties = part.and_then(|part| part.properties.as_ref());
    Ok(properties.context("properties")?.keys().cloned().collect())
}
