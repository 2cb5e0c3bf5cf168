//! Who cancels is who cancels, and may.

use anyhow::{Context, Result};
use foredeck::api::DeployRequest;
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, Bed, refused, request, slack_actor};

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
