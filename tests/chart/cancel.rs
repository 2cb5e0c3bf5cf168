//! Who cancels is who cancels, and may; and nobody does so, or undoes a deletion, by metadata.

use anyhow::{Context, Result};
use foredeck::api::DeployRequest;
use kube::{api::PostParams, core::DynamicObject};
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, Bed, refused, request, resource, slack_actor};

const ENVIRONMENT: (&str, &str) = ("environments", "production");
const APPLICATION: (&str, &str) = ("applications", "checkout");

fn cancel(by: &Value) -> Value {
    json!({"spec": {"cancel": {"reason": "wrong branch", "by": by}}})
}

fn as_oneself(user: &str) -> Value {
    cancel(&json!({"username": user}))
}

#[tokio::test]
async fn a_stranger_who_may_patch_may_not_cancel() -> Result<()> {
    for bed in Bed::both("stranger").await? {
        bed.asked_by(ALICE, "alices").await?;
        let bob = bed.somebody(BOB, &["okta:shop"]);
        let words = [
            "\"bob@corp.example\" may not cancel this: \"alice@corp.example\" asked for it",
            "verb cancel on the Environment \"production\" and on the Application \"checkout\"",
            "cancel it in Slack or as \"alice@corp.example\"; or ask somebody who has the verb",
        ];
        let answer = bob.patch::<DeployRequest>("alices", as_oneself(BOB)).await;
        refused("a stranger", answer, &words)?;
        bed.grant(BOB, "cancel", &[ENVIRONMENT]).await?;
        let answer = bob.patch::<DeployRequest>("alices", as_oneself(BOB)).await;
        refused("with the verb on the environment alone", answer, &words)?;
        bed.grant(BOB, "cancel", &[APPLICATION]).await?;
        let answer = bob.patch::<DeployRequest>("alices", as_oneself(BOB)).await;
        refused("with the verb on the application alone", answer, &words)?;
        bed.grant(BOB, "cancel", &[APPLICATION, ENVIRONMENT])
            .await?;
        let canceled = bob
            .patch::<DeployRequest>("alices", as_oneself(BOB))
            .await?;
        assert_eq!(canceled.data["spec"]["cancel"]["by"]["username"], BOB);
    }
    Ok(())
}

#[tokio::test]
async fn whoever_asked_may_cancel() -> Result<()> {
    for bed in Bed::both("requester").await? {
        bed.asked_by(ALICE, "alices").await?;
        let alice = bed.somebody(ALICE, &[]);
        let canceled = alice
            .patch::<DeployRequest>("alices", as_oneself(ALICE))
            .await?;
        assert_eq!(canceled.data["spec"]["cancel"]["by"]["username"], ALICE);
        // Asked in Slack, cancelled with kubectl, by an identity provider that writes the name otherwise.
        let asked = request(&json!({"requester": slack_actor("Bob@Corp.example", &[])}));
        bed.role("receiver")
            .create::<DeployRequest>("bobs", asked)
            .await?;
        bed.somebody(BOB, &[])
            .patch::<DeployRequest>("bobs", as_oneself(BOB))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_cancels_in_the_name_of_another() -> Result<()> {
    for bed in Bed::both("forged").await? {
        bed.asked_by(BOB, "bobs").await?;
        bed.grant(ALICE, "cancel", &[APPLICATION, ENVIRONMENT])
            .await?;
        let alice = bed.somebody(ALICE, &[]);
        for (what, by, words) in [
            (
                "another's name",
                json!({"username": BOB}),
                "nobody cancels in the name of another",
            ),
            (
                "foreign groups",
                json!({"username": ALICE, "groups": ["okta:leads"]}),
                "okta:leads",
            ),
            (
                "a claim to be in Slack",
                slack_actor(ALICE, &[]),
                "spec.cancel.by.slack",
            ),
            (
                "no name",
                Value::Null,
                "write spec.cancel.by.username: \"alice@corp.example\"",
            ),
        ] {
            if bed.mutating {
                let name = what.to_lowercase().replace([' ', '\''], "-");
                bed.asked_by(BOB, &name).await?;
                let canceled = alice.patch::<DeployRequest>(&name, cancel(&by)).await?;
                let stamped = json!({"username": ALICE, "groups": ["writers"]});
                assert_eq!(canceled.data["spec"]["cancel"]["by"], stamped, "{what}");
            } else {
                let answer = alice.patch::<DeployRequest>("bobs", cancel(&by)).await;
                refused(what, answer, &[words])?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_born_cancelled_says_by_whom_too() -> Result<()> {
    for bed in Bed::both("born").await? {
        let born =
            |by: Value| request(&json!({"requester": {"username": ALICE}, "cancel": {"by": by}}));
        let alice = bed.somebody(ALICE, &[]);
        let answer = alice
            .create::<DeployRequest>("forged", born(json!({"username": BOB})))
            .await;
        if bed.mutating {
            assert_eq!(answer?.data["spec"]["cancel"]["by"]["username"], ALICE);
        } else {
            refused("another's name", answer, &["spec.cancel.by.username"])?;
        }
        alice
            .create::<DeployRequest>("own", born(json!({"username": ALICE})))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stolen_receiver_cancels_for_people_in_slack_and_for_nobody_else() -> Result<()> {
    for bed in Bed::both("stolen").await? {
        bed.asked_by(ALICE, "alices").await?;
        let receiver = bed.role("receiver");
        for (what, by, words) in [
            ("nobody", Value::Null, "spec.cancel.by"),
            (
                "somebody who is not in Slack",
                json!({"username": ALICE}),
                "spec.cancel.by.slack is missing",
            ),
            (
                "a group of Kubernetes' own",
                slack_actor(ALICE, &["system:masters"]),
                "may not: system:masters",
            ),
            (
                "a user of Kubernetes' own",
                slack_actor("system:admin", &[]),
                "\"system:admin\"",
            ),
            (
                "a foreign e-mail domain",
                slack_actor("eve@evil.example", &[]),
                "e-mail domains",
            ),
        ] {
            let answer = receiver.patch::<DeployRequest>("alices", cancel(&by)).await;
            refused(what, answer, &[words])?;
        }
        let by = slack_actor(BOB, &["okta:shop"]);
        let canceled = receiver
            .patch::<DeployRequest>("alices", cancel(&by))
            .await?;
        assert_eq!(canceled.data["spec"]["cancel"]["by"], by);
    }
    Ok(())
}

#[tokio::test]
async fn what_was_cancelled_can_be_labelled_by_anybody() -> Result<()> {
    for bed in Bed::both("later").await? {
        bed.asked_by(ALICE, "alices").await?;
        bed.somebody(ALICE, &[])
            .patch::<DeployRequest>("alices", as_oneself(ALICE))
            .await?;
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        let labelled = bed
            .somebody(BOB, &[])
            .patch::<DeployRequest>("alices", label)
            .await;
        let labelled = labelled.context("a label after the cancel")?;
        assert_eq!(
            labelled.data["spec"]["cancel"]["by"]["username"], ALICE,
            "not stamped again"
        );
    }
    Ok(())
}

#[tokio::test]
async fn whoever_changes_a_cancel_is_who_cancels() -> Result<()> {
    for mutating in [true, false] {
        let bed = Bed::with_changeable_cancels(mutating).await?;
        bed.asked_by(ALICE, "alices").await?;
        bed.somebody(ALICE, &[])
            .patch::<DeployRequest>("alices", as_oneself(ALICE))
            .await?;
        let bob = bed.somebody(BOB, &[]);
        let same = json!({"spec": {"cancel": {"reason": "wrong branch"}}});
        let same = bob.patch::<DeployRequest>("alices", same).await?;
        assert_eq!(same.data["spec"]["cancel"]["by"]["username"], ALICE);

        let other = json!({"spec": {"cancel": {"reason": "another", "by": {"username": BOB}}}});
        let answer = bob.patch::<DeployRequest>("alices", other.clone()).await;
        refused("a stranger's change", answer, &["may not cancel this"])?;
        bed.grant(BOB, "cancel", &[APPLICATION, ENVIRONMENT])
            .await?;
        let theirs = json!({"spec": {"cancel": {"reason": "in her name"}}});
        let answer = bob.patch::<DeployRequest>("alices", theirs).await;
        if mutating {
            assert_eq!(answer?.data["spec"]["cancel"]["by"]["username"], BOB);
        } else {
            refused("in her name", answer, &["in the name of another"])?;
        }
        let changed = bob.patch::<DeployRequest>("alices", other).await?;
        assert_eq!(changed.data["spec"]["cancel"]["by"]["username"], BOB);
    }
    Ok(())
}

#[tokio::test]
async fn the_controller_and_the_relay_cancel_nothing() -> Result<()> {
    for bed in Bed::both("roles").await? {
        bed.asked_by(ALICE, "alices").await?;
        for role in ["controller", "relay"] {
            let account = crate::support::account(role);
            bed.grant(&account, "cancel", &[APPLICATION, ENVIRONMENT])
                .await?;
            for by in [json!({"username": account}), slack_actor(ALICE, &[])] {
                let answer = bed
                    .role(role)
                    .patch::<DeployRequest>("alices", cancel(&by))
                    .await;
                refused(role, answer, &[])?;
            }
        }
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        let answer = bed
            .role("relay")
            .patch::<DeployRequest>("alices", label)
            .await;
        refused("a label by the relay", answer, &["status.slack"])?;
    }
    Ok(())
}

/// A merge patch that changes nothing but metadata.
fn metadata(fields: &Value) -> Value {
    json!({"metadata": fields})
}

/// A request of alice's that is born with this metadata.
async fn born(bed: &Bed, name: &str, fields: &Value) -> Result<kube::Result<DynamicObject>> {
    let spec = request(&json!({"requester": {"username": ALICE}}));
    let mut object =
        DynamicObject::new(name, &resource::<DeployRequest>()).data(json!({"spec": spec}));
    if fields["ownerReferences"].is_array() {
        object.metadata.owner_references =
            Some(serde_json::from_value(fields["ownerReferences"].clone())?);
    }
    if fields["finalizers"].is_array() {
        object.metadata.finalizers = Some(serde_json::from_value(fields["finalizers"].clone())?);
    }
    let alice = bed.somebody(ALICE, &[]);
    let requests = alice.api::<DeployRequest>();
    Ok(requests.create(&PostParams::default(), &object).await)
}

#[tokio::test]
async fn nobody_has_the_garbage_collector_cancel_what_they_may_not() -> Result<()> {
    let owned = |name: &str| {
        json!({"ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name},
        ]})
    };
    let disowned = metadata(&json!({"ownerReferences": null}));
    let label = metadata(&json!({"labels": {"looked": "at"}}));
    let words = [
        "\"bob@corp.example\" may not give this request another owner",
        "\"alice@corp.example\" asked for it",
        "verb cancel on the Environment \"production\" and on the Application \"checkout\"",
    ];
    for bed in Bed::both("collected").await? {
        bed.asked_by(ALICE, "alices").await?;
        let (alice, bob) = (bed.somebody(ALICE, &[]), bed.somebody(BOB, &[]));
        let dangling = metadata(&owned("never-there"));
        let answer = bob.patch::<DeployRequest>("alices", dangling.clone()).await;
        refused("a first owner", answer, &words)?;
        let controller = bed.role("controller");
        let answer = controller
            .patch::<DeployRequest>("alices", dangling.clone())
            .await;
        refused("the controller", answer, &["another owner"])?;

        // What makes a request owns it, and it is their own to give away.
        born(&bed, "made", &owned("workflow")).await??;
        for name in ["made", "alices"] {
            alice.patch::<DeployRequest>(name, dangling.clone()).await?;
            let other = metadata(&owned("neither-there"));
            let answer = bob.patch::<DeployRequest>(name, other).await;
            refused("another owner", answer, &words)?;
            // As it was, or without: that deletes nothing.
            bob.patch::<DeployRequest>(name, label.clone()).await?;
            bob.patch::<DeployRequest>(name, disowned.clone()).await?;
        }
        let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
        for who in [&bed.administrator(), &bed.somebody(collector, &[])] {
            who.patch::<DeployRequest>("alices", dangling.clone())
                .await?;
            bob.patch::<DeployRequest>("alices", disowned.clone())
                .await?;
        }
        bed.grant(BOB, "cancel", &[APPLICATION, ENVIRONMENT])
            .await?;
        bob.patch::<DeployRequest>("alices", dangling).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_keeps_a_request_that_is_deleted() -> Result<()> {
    let kept = json!({"finalizers": ["example.com/kept"]});
    let words = ["metadata.finalizers of a request are nobody's to give"];
    for bed in Bed::both("kept").await? {
        bed.asked_by(ALICE, "alices").await?;
        bed.grant(ALICE, "cancel", &[APPLICATION, ENVIRONMENT])
            .await?;
        let (alice, bob) = (bed.somebody(ALICE, &[]), bed.somebody(BOB, &[]));
        for who in [&alice, &bob, &bed.role("controller")] {
            let answer = who.patch::<DeployRequest>("alices", metadata(&kept)).await;
            refused("a finalizer", answer, &words)?;
        }
        refused(
            "one from the start",
            born(&bed, "new", &kept).await?,
            &words,
        )?;

        // Argo CD makes hooks with its own, and gives it to nothing that is there.
        let hook = json!({"finalizers": ["argocd.argoproj.io/hook-finalizer"]});
        born(&bed, "hook", &hook).await??;
        let answer = bob.patch::<DeployRequest>("alices", metadata(&hook)).await;
        refused("a hook's, later", answer, &words)?;

        // Kubernetes gives these itself, and takes them away again.
        for own in ["orphan", "foregroundDeletion"] {
            let own = metadata(&json!({"finalizers": [own]}));
            bob.patch::<DeployRequest>("alices", own).await?;
        }
        let administrator = bed.administrator();
        administrator
            .patch::<DeployRequest>("alices", metadata(&kept))
            .await?;
        let label = metadata(&json!({"labels": {"looked": "at"}}));
        bob.patch::<DeployRequest>("alices", label).await?;
        let more = json!({"finalizers": ["example.com/kept", "example.com/more"]});
        let answer = bob.patch::<DeployRequest>("alices", metadata(&more)).await;
        refused("one more", answer, &words)?;
        let none = metadata(&json!({"finalizers": null}));
        bob.patch::<DeployRequest>("alices", none).await?;
    }
    Ok(())
}
