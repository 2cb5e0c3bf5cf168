//! Whose word an approval is, is who gave it.

use anyhow::{Context, Result};
use foredeck::api::DeployApproval;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, Bed, refused, slack_actor};

fn approval(approver: &Value) -> Value {
    json!({
        "request": {"name": "checkout-1", "uid": "0c5e"}, "decision": "Approve",
        "digest": "a".repeat(64), "approver": approver,
    })
}

#[tokio::test]
async fn nobody_approves_in_the_name_of_another() -> Result<()> {
    for bed in Bed::both("forged").await? {
        let alice = bed.somebody(ALICE, &["okta:shop"]);
        for (name, approver, words) in [
            (
                "another",
                json!({"username": BOB}),
                "nobody approves in the name of another",
            ),
            (
                "groups",
                json!({"username": ALICE, "groups": ["okta:leads"]}),
                "okta:leads",
            ),
            ("slack", slack_actor(ALICE, &[]), "spec.approver.slack"),
            (
                "unnamed",
                Value::Null,
                "write spec.approver.username: \"alice@corp.example\"",
            ),
        ] {
            let answer = alice
                .create::<DeployApproval>(name, approval(&approver))
                .await;
            if bed.mutating {
                let stamped = json!({"username": ALICE, "groups": ["writers", "okta:shop"]});
                assert_eq!(answer?.data["spec"]["approver"], stamped, "{name}");
            } else {
                refused(name, answer, &[words])?;
            }
        }
        let own = json!({"username": ALICE, "groups": ["okta:shop"]});
        alice
            .create::<DeployApproval>("own", approval(&own))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_approval_goes_with_its_request() -> Result<()> {
    let bed = Bed::new(true, "owned").await?;
    let alice = bed.somebody(ALICE, &[]);
    let made = alice
        .create::<DeployApproval>("owned", approval(&Value::Null))
        .await?;
    let owners = json!(made.owner_references());
    let request = json!({"apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "name": "checkout-1", "uid": "0c5e"});
    assert_eq!(owners, json!([request]));
    let elsewhere = json!({"request": {"name": "x"}, "decision": "Approve"});
    let answer = alice
        .create::<DeployApproval>("incomplete", elsewhere)
        .await;
    let error = answer.err().context("no uid was let through")?.to_string();
    assert!(error.contains("spec.request.uid"), "{error}");
    Ok(())
}

#[tokio::test]
async fn only_people_approve() -> Result<()> {
    for bed in Bed::both("people").await? {
        for user in [
            "system:serviceaccount:flux-system:kustomize-controller",
            "system:admin",
            &crate::support::account("controller"),
            &crate::support::account("relay"),
        ] {
            let own = json!({"username": user});
            let answer = bed
                .somebody(user, &[])
                .create::<DeployApproval>("one", approval(&own))
                .await;
            refused(user, answer, &["only people approve"])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn whoever_tends_objects_may_change_the_rest_of_an_approval() -> Result<()> {
    for bed in Bed::both("tended").await? {
        let own = json!({"username": ALICE});
        bed.somebody(ALICE, &[])
            .create::<DeployApproval>("own", approval(&own))
            .await?;
        for (user, metadata) in [
            (
                "system:serviceaccount:kube-system:generic-garbage-collector",
                json!({"finalizers": [], "ownerReferences": []}),
            ),
            ("system:admin", json!({"annotations": {"a": "b"}})),
        ] {
            let changed = bed
                .somebody(user, &[])
                .patch::<DeployApproval>("own", json!({"metadata": metadata}))
                .await;
            let changed = changed.with_context(|| user.to_owned())?;
            assert_eq!(changed.data["spec"]["approver"]["username"], ALICE);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_names_of_what_is_answered_in_slack_are_the_receivers() -> Result<()> {
    for bed in Bed::both("names").await? {
        let own = json!({"username": ALICE});
        let alice = bed.somebody(ALICE, &[]);
        for name in ["approval-0123456789abcdef0123", "judgment-x"] {
            let answer = alice.create::<DeployApproval>(name, approval(&own)).await;
            refused(name, answer, &[name, "choose another name"])?;
            let receiver = bed.role("receiver");
            receiver
                .create::<DeployApproval>(name, approval(&slack_actor(ALICE, &[])))
                .await?;
        }
        alice
            .create::<DeployApproval>("my-approval-1", approval(&own))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stolen_receiver_approves_for_people_in_slack_and_for_nobody_else() -> Result<()> {
    for bed in Bed::both("stolen").await? {
        let receiver = bed.role("receiver");
        for (name, approver, words) in [
            ("nobody", Value::Null, "spec.approver"),
            (
                "no-slack",
                json!({"username": ALICE}),
                "spec.approver.slack is missing",
            ),
            (
                "masters",
                slack_actor(ALICE, &["system:masters"]),
                "may not: system:masters",
            ),
            (
                "system",
                slack_actor("system:admin", &[]),
                "\"system:admin\"",
            ),
            ("prefix", slack_actor(ALICE, &["leads"]), "may not: leads"),
            (
                "domain",
                slack_actor("eve@evil.example", &[]),
                "e-mail domains",
            ),
        ] {
            let answer = receiver
                .create::<DeployApproval>(name, approval(&approver))
                .await;
            refused(name, answer, &[words])?;
        }
        let actor = slack_actor(ALICE, &["okta:leads"]);
        let made = receiver
            .create::<DeployApproval>("fine", approval(&actor))
            .await?;
        assert_eq!(made.data["spec"]["approver"], actor);
    }
    Ok(())
}
