//! Who freezes, who stops everything, and who writes how a freeze stands.

use std::time::Duration;

use anyhow::{Context, Result};
use foredeck::api::DeployFreeze;
use foredeck_testkit::wait_for;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::FLUX;
use crate::support::{ALICE, BOB, Bed, HOME, Writer, installed, refused, resource, slack_actor};

const STOP: (&str, &str) = ("deployfreezes", "stop-all");

fn freeze(name: &str, by: &Value) -> DynamicObject {
    DynamicObject::new(name, &resource::<DeployFreeze>())
        .data(json!({"spec": {"reason": "the weekend", "by": by}}))
}

fn by(user: &str) -> Value {
    json!({"username": user})
}

async fn create(api: &Api<DynamicObject>, name: &str, by: &Value) -> kube::Result<DynamicObject> {
    api.create(&PostParams::default(), &freeze(name, by)).await
}

async fn change(api: &Api<DynamicObject>, name: &str, spec: Value) -> kube::Result<DynamicObject> {
    let patch = Patch::Merge(json!({"spec": spec}));
    api.patch(name, &PatchParams::default(), &patch).await
}

async fn delete(api: &Api<DynamicObject>, name: &str) -> kube::Result<DynamicObject> {
    let deleted = api.delete(name, &DeleteParams::default()).await?;
    Ok(deleted.left().unwrap_or_else(|| freeze(name, &Value::Null)))
}

#[tokio::test]
async fn a_freeze_says_who_wrote_it_last() -> Result<()> {
    for bed in Bed::both("freezes").await? {
        let alice = bed.somebody(ALICE, &[]).api::<DeployFreeze>();
        let bob = bed.somebody(BOB, &[]).api::<DeployFreeze>();
        let made = create(&alice, "weekend", &by(ALICE)).await?;
        assert_eq!(made.data["spec"]["by"]["username"], ALICE);
        for (forged, words) in [
            (by(BOB), "nobody freezes in the name of another"),
            (slack_actor(ALICE, &[]), "spec.by.slack"),
            (
                json!({"username": ALICE, "groups": ["okta:leads"]}),
                "okta:leads",
            ),
            (
                Value::Null,
                "write spec.by.username: \"alice@corp.example\"",
            ),
        ] {
            let name = format!("forged-{}", words.len());
            let answer = create(&alice, &name, &forged).await;
            if bed.mutating {
                let stamped = json!({"username": ALICE, "groups": ["writers"]});
                assert_eq!(answer?.data["spec"]["by"], stamped, "{words}");
            } else {
                refused(words, answer, &[words])?;
            }
        }
        let changed = change(&bob, "weekend", json!({"reason": "Christmas"})).await;
        if bed.mutating {
            assert_eq!(changed?.data["spec"]["by"]["username"], BOB);
        } else {
            refused(
                "in alice's name",
                changed,
                &["spec.by.username is \"alice@corp.example\""],
            )?;
            change(
                &bob,
                "weekend",
                json!({"reason": "Christmas", "by": by(BOB)}),
            )
            .await?;
        }
        // Whoever changes nothing of it isn't who wrote it, and whoever takes the name alone is.
        let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
        let labelled = alice
            .patch("weekend", &PatchParams::default(), &label)
            .await?;
        assert_eq!(labelled.data["spec"]["by"]["username"], BOB);
        let again = change(&bob, "weekend", json!({"reason": "Christmas"})).await?;
        assert_eq!(again.data["spec"]["by"]["username"], BOB);
        // To delete one takes RBAC alone.
        delete(&alice, "weekend").await?;
    }
    Ok(())
}

#[tokio::test]
async fn automation_freezes_as_itself() -> Result<()> {
    for bed in Bed::both("from-git").await? {
        let flux = bed.somebody(FLUX, &[]).api::<DeployFreeze>();
        let made = create(&flux, "weekend", &by(FLUX)).await?;
        assert_eq!(made.data["spec"]["by"]["username"], FLUX);
    }
    Ok(())
}

/// Puts the stop button there, whatever is there now.
async fn stopped(bed: &Bed) -> Result<()> {
    let receiver = bed.role("receiver").api_in::<DeployFreeze>(HOME);
    create(&receiver, STOP.1, &slack_actor(ALICE, &[])).await?;
    Ok(())
}

#[tokio::test]
async fn the_stop_button_takes_override_for_every_press() -> Result<()> {
    for bed in Bed::both("stop").await? {
        let at_home = |writer: Writer<'_>| writer.api_in::<DeployFreeze>(HOME);
        let (alice, bob) = (
            at_home(bed.somebody(ALICE, &[])),
            at_home(bed.somebody(BOB, &[])),
        );
        let words = |what: &str| {
            [
                format!(
                    "\"{ALICE}\" may not {what} everything: the freeze \"stop-all\" in {HOME} is the stop button"
                ),
                "the verb override on the DeployFreeze \"stop-all\" there".to_owned(),
                "Ask somebody who has it, or give a freeze of your own another name".to_owned(),
            ]
        };
        let may_not = |what: &str, answer| {
            let words = words(what);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            refused(what, answer, &words)
        };
        may_not("stop", create(&alice, STOP.1, &by(ALICE)).await)?;
        bed.grant_in(HOME, BOB, "override", &[STOP]).await?;
        let pressed = create(&bob, STOP.1, &by(BOB)).await?;
        assert_eq!(pressed.data["spec"]["by"]["username"], BOB);
        let less = json!({"exceptActions": ["deploy"], "by": by(ALICE)});
        may_not("change what stops", change(&alice, STOP.1, less).await)?;
        may_not("resume", delete(&alice, STOP.1).await)?;
        // All at once is each of them.
        let all = alice
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await;
        let refusal = all.err().context("all of them were deleted")?.to_string();
        assert!(refusal.contains("may not resume everything"), "{refusal}");
        change(&bob, STOP.1, json!({"reason": "still", "by": by(BOB)})).await?;
        delete(&bob, STOP.1).await?;

        // The name means something there alone, and other freezes there take what RBAC says.
        create(&alice, "holidays", &by(ALICE)).await?;
        delete(&alice, "holidays").await?;
        let elsewhere = bed.somebody(ALICE, &[]).api::<DeployFreeze>();
        create(&elsewhere, STOP.1, &by(ALICE)).await?;
        delete(&elsewhere, STOP.1).await?;

        // The receiver presses it for people in Slack, and asks before whether they may.
        for (forged, words) in [
            (Value::Null, "spec.by"),
            (by(ALICE), "spec.by.slack is missing"),
            (slack_actor("eve@evil.example", &[]), "e-mail domains"),
        ] {
            let receiver = at_home(bed.role("receiver"));
            refused(words, create(&receiver, STOP.1, &forged).await, &[words])?;
        }
        stopped(&bed).await?;
        let receiver = at_home(bed.role("receiver"));
        let only = "makes and deletes the freeze stop-all in foredeck-system, which is the stop button, and touches no other";
        let answer = change(&receiver, STOP.1, json!({"reason": "other"})).await;
        refused("a change", answer, &[only])?;
        delete(&receiver, STOP.1).await?;
        let own = bed.role("receiver").api::<DeployFreeze>();
        for (api, name) in [(&receiver, "holidays"), (&own, STOP.1), (&own, "weekend")] {
            let answer = create(api, name, &slack_actor(ALICE, &[])).await;
            refused(name, answer, &[only])?;
        }
        create(&alice, "holidays", &by(ALICE)).await?;
        refused("another", delete(&receiver, "holidays").await, &[only])?;

        for role in ["controller", "relay"] {
            let api = at_home(bed.role(role));
            let nothing = "controller and relay change nothing of a freeze";
            refused(role, create(&api, STOP.1, &by(ALICE)).await, &[nothing])?;
            let answer = change(&api, "holidays", json!({"reason": "x"})).await;
            refused(role, answer, &[nothing])?;
            refused(role, delete(&api, "holidays").await, &[nothing])?;
        }
        delete(&alice, "holidays").await?;
    }
    Ok(())
}

/// Else a namespace would never end.
#[tokio::test]
async fn the_stop_button_goes_with_its_namespace() -> Result<()> {
    let plane = installed(true).await?;
    let client = plane.client_as(
        "system:serviceaccount:kube-system:namespace-controller",
        &[crate::support::WRITERS],
    );
    let cleaner: Api<DynamicObject> =
        Api::namespaced_with(client, HOME, &resource::<DeployFreeze>());
    let admin: Api<DynamicObject> =
        Api::namespaced_with(plane.admin(), HOME, &resource::<DeployFreeze>());
    create(&admin, STOP.1, &Value::Null).await?;
    refused(
        "before",
        delete(&cleaner, STOP.1).await,
        &["may not resume"],
    )?;
    let namespaces: Api<Namespace> = Api::all(plane.admin());
    namespaces.delete(HOME, &DeleteParams::default()).await?;
    wait_for(
        "the namespace to end",
        Duration::from_secs(30),
        async || {
            Ok(cleaner
                .delete(STOP.1, &DeleteParams::default())
                .await
                .map(drop)?)
        },
    )
    .await
}

#[tokio::test]
async fn the_status_of_a_freeze_is_the_controllers_and_what_was_told_the_relays() -> Result<()> {
    let bed = Bed::new(true, "status").await?;
    let alice = bed.somebody(ALICE, &[]);
    create(&alice.api::<DeployFreeze>(), "weekend", &by(ALICE)).await?;
    let (controller, relay) = (bed.role("controller"), bed.role("relay"));
    let time = "2026-01-01T00:00:00Z";
    let values = json!({
        "observedGeneration": 1, "since": time, "until": time, "next": time,
        "conditions": [{
            "type": "Active", "status": "True", "reason": "Frozen", "message": "", "lastTransitionTime": time,
        }],
    });
    let slack =
        json!({"slack": {"messages": [{"purpose": "live", "channel": "C01", "since": time}]}});
    relay
        .status::<DeployFreeze>("weekend", slack.clone())
        .await
        .context("the first of all")?;
    for (field, value) in values.as_object().into_iter().flatten() {
        let answer = relay
            .status::<DeployFreeze>("weekend", json!({(field): value}))
            .await;
        refused(
            field,
            answer,
            &[&format!("status.{field} is the controller's alone")],
        )?;
    }
    controller
        .status::<DeployFreeze>("weekend", values.clone())
        .await?;
    let answer = controller
        .status::<DeployFreeze>("weekend", json!({"slack": null}))
        .await;
    refused("slack", answer, &["status.slack is the relay's alone"])?;
    for writer in [&alice, &bed.role("receiver")] {
        for status in [&values, &slack] {
            let answer = writer
                .status::<DeployFreeze>("weekend", with_other_time(status))
                .await;
            let words = [
                "may not write the status of deployfreezes",
                "set spec.until, or delete it",
            ];
            refused("somebody else", answer, &words)?;
        }
    }
    Ok(())
}

fn with_other_time(status: &Value) -> Value {
    let text = status.to_string().replace("2026-01-01", "2026-01-02");
    serde_json::from_str(&text).unwrap_or_default()
}
