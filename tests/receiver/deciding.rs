//! Approve and Reject: whose click counts, for what, and once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::DeployRequest;
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault},
    slack::User,
    wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    asked::{Asked, bed, modal, protect, said},
    support::{PATIENCE, text},
};

/// Any digest.
const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Another one.
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn awaiting(digest: &str) -> Value {
    json!({"phase": "AwaitingApproval", "approvals": {"required": 2}, "resolved": {
        "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p1"}, "version": "v42",
        "target": {"account": "eks-1", "namespace": "shop"}, "deployTarget": "t", "digest": digest,
    }})
}

#[tokio::test]
async fn an_approval_is_one_object_however_often_it_is_pressed() -> Result<()> {
    let bed = bed("approve").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("Approved: deploy *checkout*"),
        "{}",
        text(&told)
    );
    let all = asked.approvals().await?;
    assert_eq!(all.len(), 1, "{all:?}");
    let (approval, request) = (&all[0], asked.request().await?);
    assert!(
        approval.name_any().starts_with("approval-"),
        "{}",
        approval.name_any()
    );
    let owner = &approval.owner_references()[0];
    assert_eq!(
        (&owner.uid, owner.kind.as_str()),
        (&request.uid().unwrap(), "DeployRequest")
    );
    let bob = bed.slack.user("bob").id().to_owned();
    assert_eq!(
        json!(approval.spec),
        json!({
            "request": {"name": "one", "uid": request.uid()}, "for": "Start", "decision": "Approve", "digest": DIGEST,
            "approver": {"username": "bob@harbor.example", "slack": {"team": bed.slack.team_id(), "user": bob}},
        })
    );
    let again = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&again).contains("You have answered that already: approved"),
        "{}",
        text(&again)
    );
    assert_eq!(asked.approvals().await?.len(), 1);

    // The word of another person is another one; two clicks at once are one.
    let carol = bed.slack.user("carol");
    let clicks = [
        carol.click_as_seen(&question, "request-approve")?,
        carol.click_as_seen(&question, "request-approve")?,
    ];
    for click in clicks {
        click.answered().await?;
    }
    wait_for("both answers", PATIENCE, async || {
        let shown = bed.slack.ephemerals("carol");
        ensure!(shown.len() == 2, "{shown:?}");
        Ok(())
    })
    .await?;
    assert_eq!(asked.approvals().await?.len(), 2);
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_approval_that_lapsed_is_given_again_once_each_time() -> Result<()> {
    let bed = bed("again").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    for generation in 1..=3 {
        let told = asked.pressed("bob", &question, "request-approve").await?;
        assert!(
            text(&told).contains("Approved: deploy *checkout*"),
            "{}",
            text(&told)
        );
        let told = asked.pressed("bob", &question, "request-approve").await?;
        assert!(
            text(&told).contains("You have answered that already: approved"),
            "{}",
            text(&told)
        );
        let all = asked.approvals().await?;
        assert_eq!(all.len(), generation, "{all:?}");
        for approval in all.iter().filter(|one| one.status.is_none()) {
            asked.counts_for_nothing(approval, "it has lapsed.").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn whose_word_does_not_count_is_told_why_and_nothing_is_written() -> Result<()> {
    let bed = bed("strangers").await?;
    bed.slack.add_user(User::named("dave"), &["deploys"]);
    bed.allow(&bed.namespace, "dave", &["deploy"]).await?;
    bed.slack.add_user(User::named("eve"), &["deploys"]);
    bed.slack.add_user(
        User {
            is_restricted: true,
            ..User::named("guest")
        },
        &["deploys"],
    );
    let alice_may: Api<k8s_openapi::api::rbac::v1::Role> =
        Api::namespaced(bed.client.clone(), &bed.namespace);
    let more = json!([
        {"apiGroups": ["foredeck.dev"], "resources": ["applications"], "verbs": ["list"]},
        {"apiGroups": ["foredeck.dev"], "resources": ["applications", "environments"], "verbs": ["deploy", "approve"]},
    ]);
    alice_may
        .patch(
            "alice",
            &PatchParams::default(),
            &Patch::Merge(json!({"rules": more})),
        )
        .await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    for (person, why) in [
        ("dave", "has no verb `approve` on application *checkout*"),
        ("eve", "no such request any more that you may see"),
        ("guest", "guests of this workspace"),
        ("alice", "you asked for it yourself"),
    ] {
        for button in ["request-approve", "request-reject"] {
            let told = asked.pressed(person, &question, button).await?;
            assert!(
                text(&told).contains(why),
                "{person}, {button}: {}",
                text(&told)
            );
        }
        assert!(bed.slack.view_of(person).is_none(), "{person}");
    }
    bed.slack.change_user("bob", |bob| bob.is_stranger = true);
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("people of other workspaces"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await?;
    // Where the Environment allows it, who asked may.
    protect(
        &bed,
        json!({"approvals": {"required": 1, "requesterMayApprove": true}}),
    )
    .await?;
    wait_for("the receiver has heard of the rule", PATIENCE, async || {
        asked.pressed("alice", &question, "request-approve").await?;
        ensure!(asked.approvals().await?.len() == 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_automation_asks_for_is_approved_by_the_named_groups_only() -> Result<()> {
    let bed = bed("automation").await?;
    protect(
        &bed,
        json!({"approvals": {"required": 1, "groups": ["okta:leads"]}}),
    )
    .await?;
    let _receiver = bed.receiver().await?;
    let spec = json!({"application": "checkout", "environment": "production", "requester": {"username": "system:serviceaccount:flux:flux"}});
    bed.create::<DeployRequest>(&bed.namespace, "one", spec)
        .await?;
    let asked = Asked::of(&bed, "one");
    asked.becomes(awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(text(&told).contains("`okta:leads`"), "{}", text(&told));
    asked.nothing_was_said().await
}

#[tokio::test]
async fn a_button_is_good_only_for_what_it_showed() -> Result<()> {
    let bed = bed("stale").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    bed.slack
        .user("carol")
        .click_as_seen(&question, "request-reject")?
        .answered()
        .await?;
    let form = modal(&bed, "carol", "Reject").await?;

    asked.becomes(awaiting(OTHER)).await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("has changed since that message was made"),
        "{}",
        text(&told)
    );
    // A form that was opened before is no better.
    let carol = bed.slack.user("carol");
    carol.fill(&form, ("answer", "answer"), "not on a Friday")?;
    let answer = carol.submit(&form)?.answered().await?;
    let body = answer.body.context("an answer")?.to_string();
    assert!(
        body.contains("has changed since that message was made"),
        "{body}"
    );

    let newer = asked.question().await?;
    let mut running = awaiting(OTHER);
    running["phase"] = json!("Running");
    asked.becomes(running).await?;
    let told = asked.pressed("bob", &newer, "request-approve").await?;
    assert!(
        text(&told).contains("nobody is asked to approve it now"),
        "{}",
        text(&told)
    );
    asked
        .becomes(
            json!({"phase": "Canceled", "finishedAt": "2026-01-01T00:00:00Z", "waiting": null}),
        )
        .await?;
    let told = asked.pressed("bob", &newer, "request-approve").await?;
    assert!(text(&told).contains("has ended"), "{}", text(&told));

    // Another request of that name isn't what was asked about.
    bed.requests_api()
        .delete("one", &DeleteParams::default())
        .await?;
    let again = Asked::new(&bed, awaiting(OTHER)).await?;
    let told = again.pressed("bob", &newer, "request-approve").await?;
    assert!(
        text(&told).contains("no such request any more"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await
}

#[tokio::test]
async fn after_a_cancel_nobody_approves() -> Result<()> {
    let bed = bed("cancelled").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(text(&told).contains("Approved"), "{}", text(&told));
    let patch = Patch::Merge(json!({"spec": {"cancel": {"reason": "wrong one"}}}));
    bed.requests_api()
        .patch("one", &PatchParams::default(), &patch)
        .await?;
    asked.known_as("to be canceled").await?;
    let told = asked.pressed("carol", &question, "request-approve").await?;
    assert!(text(&told).contains("is to be canceled"), "{}", text(&told));
    assert_eq!(asked.approvals().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_rejection_says_why_and_stands_beside_no_approval_of_the_same_person() -> Result<()> {
    let bed = bed("reject").await?;
    let _receiver = bed.receiver().await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let bob = bed.slack.user("bob");
    bob.click_as_seen(&question, "request-reject")?
        .answered()
        .await?;
    let form = modal(&bed, "bob", "Reject").await?;
    assert!(said(&form).contains("*checkout*"), "{}", said(&form));
    bob.fill(&form, ("answer", "answer"), "   ")?;
    bob.submit(&form)?.answered().await?;
    let form = bed
        .slack
        .until("an error", PATIENCE, |world| {
            world.modal("bob").filter(|view| !view.errors.is_empty())
        })
        .await?;
    assert!(
        form.errors["answer"].contains("Say why"),
        "{:?}",
        form.errors
    );
    asked.nothing_was_said().await?;
    bob.fill(&form, ("answer", "answer"), "not on a Friday <!channel>")?;
    bob.submit(&form)?.answered().await?;
    let done = modal(&bed, "bob", "Foredeck").await?;
    assert!(said(&done).contains("Rejected"), "{}", said(&done));
    let all = asked.approvals().await?;
    let spec = json!(all[0].spec);
    assert_eq!(spec["decision"], "Reject");
    assert_eq!(spec["comment"], "not on a Friday <!channel>");
    assert_eq!(spec["digest"], DIGEST);
    bob.close(&done)?;
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("You have answered that already: rejected"),
        "{}",
        text(&told)
    );
    assert!(text(&told).contains("kubectl delete da"), "{}", text(&told));
    assert_eq!(asked.approvals().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn nobody_is_told_of_an_approval_that_may_not_be_there() -> Result<()> {
    let bed = bed("unknown").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let _receiver = bed.receiver_behind(&proxy).await?;
    let asked = Asked::new(&bed, awaiting(DIGEST)).await?;
    let question = asked.question().await?;
    let post = reqwest::Method::POST;
    // Certainly not written.
    proxy.inject(ApiFault::new(post.clone(), "deployapprovals", ApiEffect::Refuse(429)).times(1));
    let told = asked.pressed("bob", &question, "request-approve").await?;
    assert!(
        text(&told).contains("Nothing was approved or rejected"),
        "{}",
        text(&told)
    );
    asked.nothing_was_said().await?;
    // Perhaps written: said so in time, and the truth once it is known.
    let before = bed.slack.ephemerals("bob").len();
    let mut held = proxy.hold(post, "deployapprovals", "");
    let click = bed
        .slack
        .user("bob")
        .click_as_seen(&question, "request-approve")?;
    held.arrived().await?;
    let answer = click.answered().await?;
    assert!(answer.after <= Duration::from_secs(3), "{answer:?}");
    let told = bed.shown("bob", before).await?;
    assert!(
        text(&told).contains("unknown whether this was accepted"),
        "{}",
        text(&told)
    );
    assert!(text(&told).contains("kubectl get da"), "{}", text(&told));
    held.release();
    bed.slack
        .until("the truth", PATIENCE, |world| {
            let all = world.ephemerals("bob");
            all.into_iter().find(|one| text(one).contains("Approved"))
        })
        .await?;
    assert_eq!(asked.approvals().await?.len(), 1);
    Ok(())
}
