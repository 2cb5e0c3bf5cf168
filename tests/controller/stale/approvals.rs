//! Approvals and people that changed just before a start, while the controller can't see them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use foredeck::api::{
    DeployApproval, DeployRequest,
    deploy_request::{DecisionKind, Phase},
};
use foredeck_testkit::{
    api_proxy::{ApiEffect, ApiFault, Weather},
    gate::Operation,
    wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{MARK, PATCH, REQUEST_STATUS, Stage, TARGET_STATUS};
use crate::{
    judgments,
    people::{group, in_slack},
    support::{PATIENCE, deploy, phase_of, reason},
};

const QUICK: Duration = Duration::from_millis(300);
const CAROL: &str = "carol@corp.example";
const DAVE: &str = "dave@corp.example";
const ALICE: &str = "alice@corp.example";
/// What people say, and who they are.
const PEOPLE: [&str; 2] = ["deployapprovals", "persons"];

/// A stage whose staging wants one approval, which carol and dave may give.
async fn stage(prefix: &str) -> Result<Stage> {
    let stage = Stage::new(prefix, QUICK).await?;
    let bed = &stage.bed;
    bed.let_people_write().await?;
    for username in [CAROL, DAVE] {
        bed.let_them(username, &["approve"], "staging").await?;
    }
    bed.protect("staging", json!({"approvals": {"required": 1}}))
        .await?;
    Ok(stage)
}

/// Waits until nothing but the approval is missing, and nothing is held.
async fn until_asked_again(stage: &Stage, name: &str) -> Result<DeployRequest> {
    let waits = stage
        .bed
        .until(name, "waiting for an approval again", |request| {
            let lapsed = request.status.as_ref().is_some_and(|status| {
                let given = status
                    .approvals
                    .as_ref()
                    .map(|approvals| approvals.given.len());
                given == Some(0)
                    && status
                        .attempt
                        .as_ref()
                        .is_none_or(|attempt| attempt.sent_at.is_none())
            });
            phase_of(request) == Phase::AwaitingApproval && lapsed
        })
        .await?;
    stage.nothing_started().await?;
    Ok(waits)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_was_taken_back_before_a_mark_is_heeded_by_a_controller_that_does_not_see_it()
-> Result<()> {
    let all = [REQUEST_STATUS, TARGET_STATUS].map(async |held| {
        taken_back(held)
            .await
            .with_context(|| format!("taken back before a write of {held}"))
    });
    futures::future::try_join_all(all).await.map(drop)
}

async fn taken_back(held: &str) -> Result<()> {
    let stage = stage("revoked").await?;
    let bed = &stage.bed;
    let mut mark = stage.proxy.hold(PATCH, held, MARK);
    let _controller = stage.controller()?;
    let request = bed.request("first", deploy("staging", "v1.0.0")).await?;
    bed.until_phase("first", Phase::AwaitingApproval).await?;
    bed.approve(CAROL, "first").await?;
    mark.arrived().await?;
    stage.withhold(&PEOPLE);
    bed.delete::<DeployApproval>("first-carol").await?;
    let before = stage.proxy.writes().len();
    mark.release();
    let waits = until_asked_again(&stage, "first").await?;

    // It stays so, although the controller's cache still shows what is no more.
    for number in 0..3 {
        bed.merge_status(
            "first",
            json!({"slack": {"problem": format!("look {number}")}}),
        )
        .await?;
    }
    let looked = bed
        .request("marker", deploy("production", "v1.0.0"))
        .await?;
    bed.until_phase("marker", Phase::Succeeded).await?;
    let still = bed.get("first").await?;
    ensure!(
        phase_of(&still) == Phase::AwaitingApproval && bed.launches(&request) == 0,
        "{:?} became {:?}",
        waits.status,
        still.status
    );
    let writes = stage.proxy.writes();
    let marks = writes[before..]
        .iter()
        .filter(|write| write.name.as_deref() == Some("first"));
    let marks = marks
        .filter(|write| write.body.to_string().contains(MARK))
        .count();
    ensure!(marks <= 1, "it was marked {marks} times");
    ensure!(
        writes.len() - before < 60,
        "{} writes",
        writes.len() - before
    );

    // Another yes is one, once the controller can see it.
    bed.approve(DAVE, "first").await?;
    stage.clear_sky();
    bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.launches(&request) == 1 && bed.launches(&looked) == 1);
    stage.holds_what_it_promises()
}

/// By its list the new controller believes that somebody said yes, who took it back long ago.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_in_an_old_list_starts_nothing() -> Result<()> {
    let stage = stage("oldyes").await?;
    let bed = &stage.bed;
    let request = bed.request("first", deploy("staging", "v1.0.0")).await?;
    let controller = stage.controller()?;
    // What it would run is known, and nobody has said yes.
    bed.until_phase("first", Phase::AwaitingApproval).await?;
    controller.signal("STOP")?;
    bed.approve(CAROL, "first").await?;
    let namespace = &bed.namespace;
    let path = format!("/apis/foredeck.dev/v1alpha1/namespaces/{namespace}/deployapprovals");
    stage.proxy.remember_lists(&[path]).await?;
    bed.delete::<DeployApproval>("first-carol").await?;
    stage.proxy.serve_old_lists(true);
    stage.withhold(&PEOPLE);
    controller.signal("CONT")?;
    let before = stage.proxy.writes().len();
    let _controller = stage.replace(controller).await?;
    wait_for("a mark that was taken back", PATIENCE, async || {
        let writes = stage.proxy.writes();
        let taken = writes[before..].iter().any(|write| {
            write.resource == TARGET_STATUS && write.body.to_string().contains(super::TAKEN_BACK)
        });
        ensure!(taken, "{} writes", writes.len() - before);
        Ok(())
    })
    .await?;
    until_asked_again(&stage, "first").await?;
    stage.proxy.serve_old_lists(false);
    bed.approve(DAVE, "first").await?;
    stage.clear_sky();
    stage.proxy.expire_watches();
    bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.launches(&request) == 1);
    stage.holds_what_it_promises()
}

/// Somebody who asked in Slack leaves the group between the marks, and the controller's cache still has them in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_left_before_the_marks_is_heeded_by_a_controller_that_does_not_see_it()
-> Result<()> {
    let stage = stage("left").await?;
    let bed = &stage.bed;
    let team = format!("okta:{}", bed.namespace);
    let deploys: &[&str] = &["deploy"];
    let granted = [
        ("applications", "checkout", deploys),
        ("environments", "production", deploys),
    ];
    bed.grant("team", group(&team), &granted).await?;
    bed.person("U1", told(&[&team])).await?;
    let mut mark = stage.proxy.hold(PATCH, TARGET_STATUS, MARK);
    let _controller = stage.controller()?;
    let alice = in_slack(ALICE, "U1");
    let request = bed
        .request_in_slack("first", deploy("production", "v1.0.0"), &alice)
        .await?;
    mark.arrived().await?;
    stage.withhold(&PEOPLE);
    bed.person("U1", told(&[])).await?;
    mark.release();
    let ended = bed.until_phase("first", Phase::Denied).await?;
    ensure!(
        reason(&ended, "Succeeded") == "NotAuthorized",
        "{:?}",
        ended.status
    );
    ensure!(bed.launches(&request) == 0);
    stage.nothing_started().await
}

fn told(groups: &[&str]) -> Value {
    let now = jiff::Timestamp::now();
    json!({"username": ALICE, "checkedAt": now, "sources": [{"name": "okta", "groups": groups, "at": now}]})
}

/// A cancel that doesn't count stands in no mark's way, and one that does is never passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_somebody_who_may_before_the_mark_is_heeded_with_approvals_on() -> Result<()> {
    let stage = stage("cancelled").await?;
    let bed = &stage.bed;
    let mut mark = stage.proxy.hold(PATCH, REQUEST_STATUS, MARK);
    let _controller = stage.controller()?;
    bed.request("first", deploy("staging", "v1.0.0")).await?;
    bed.until_phase("first", Phase::AwaitingApproval).await?;
    bed.approve(CAROL, "first").await?;
    mark.arrived().await?;
    stage.withhold(&super::KINDS);
    stage.withhold(&PEOPLE);
    stage.cancel("first").await?;
    // And at the same moment the yes goes.
    let approvals: Api<DeployApproval> = bed.api();
    approvals
        .delete("first-carol", &DeleteParams::default())
        .await?;
    mark.release();
    bed.until_phase("first", Phase::Canceled).await?;
    stage.nothing_started().await
}

/// Late news of approvals cost time and start nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn late_news_of_approvals_start_each_request_once() -> Result<()> {
    let stage = stage("latenews").await?;
    let bed = &stage.bed;
    let late = Weather {
        lag: Duration::from_secs(2),
        ..Weather::default()
    };
    stage.proxy.set_all_weather(late);
    let _controller = stage.controller()?;
    let mut requests = Vec::new();
    for number in 0..6 {
        let mut spec = deploy("staging", "v1.0.0");
        spec["target"] = json!({"namespace": format!("pr-{}", number % 3)});
        requests.push(bed.request(&format!("late-{number}"), spec).await?);
    }
    for request in &requests {
        bed.approve(CAROL, &request.name_any()).await?;
    }
    // One is taken back and given again.
    bed.delete::<DeployApproval>("late-0-carol").await?;
    bed.approve(DAVE, "late-0").await?;
    let wake = Patch::Merge(json!({"metadata": {"annotations": {"example.com/woken": "yes"}}}));
    let api: Api<DeployRequest> = bed.api();
    api.patch("late-0", &PatchParams::default(), &wake).await?;
    stage.all_succeed(&requests).await
}

/// What the caches say and nobody can confirm is not claimed and marked again at every look.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_before_a_start_costs_one_mark_and_not_one_at_every_look() -> Result<()>
{
    let all = ["deployapprovals", "environments"].map(async |kind| {
        unreadable(kind)
            .await
            .with_context(|| format!("{kind} can't be read"))
    });
    futures::future::try_join_all(all).await.map(drop)
}

async fn unreadable(kind: &str) -> Result<()> {
    let stage = stage("unread").await?;
    let bed = &stage.bed;
    let _controller = stage.controller()?;
    let request = bed.request("first", deploy("staging", "v1.0.0")).await?;
    bed.until_phase("first", Phase::AwaitingApproval).await?;
    let refused = ApiFault::new(Method::GET, kind, ApiEffect::Refuse(403));
    stage.proxy.inject(refused);
    let before = stage.proxy.writes().len();
    bed.approve(CAROL, "first").await?;
    let shut = |request: &DeployRequest| reason(request, "Reconciling") == "AccessUnknown";
    bed.until("first", "can't be read", shut).await?;
    for number in 0..5 {
        bed.touch("first").await?;
        // Looked at after it, and it needs nothing that is refused.
        let mut marker = deploy("production", "v1.0.0");
        marker["dryRun"] = json!(true);
        let name = format!("marker-{number}");
        bed.request(&name, marker).await?;
        bed.until_ended(&name).await?;
    }
    let writes = stage.proxy.writes();
    let marks = writes[before..]
        .iter()
        .filter(|write| write.resource == TARGET_STATUS && write.body.to_string().contains(MARK));
    let marks = marks.count();
    ensure!(marks <= 1, "it was marked {marks} times");
    let own = writes[before..].iter().filter(|write| {
        write.resource == TARGET_STATUS
            || (write.resource == REQUEST_STATUS && write.name.as_deref() == Some("first"))
    });
    let own = own.count();
    ensure!(own < 12, "{own} writes");
    ensure!(shut(&bed.get("first").await?) && bed.launches(&request) == 0);
    stage.nothing_started().await?;
    if kind == "environments" {
        stage.proxy.clear_faults();
        bed.until_phase("first", Phase::Succeeded).await?;
        ensure!(bed.launches(&request) == 1);
        return stage.holds_what_it_promises();
    }
    // And whoever asked for it may take it back meanwhile.
    bed.cancel("first").await?;
    bed.until_phase("first", Phase::Canceled).await?;
    stage.nothing_started().await
}

/// An answer that is taken back while it is written down who gives it is not handed over.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_taken_back_before_its_mark_is_not_handed_over() -> Result<()> {
    let stage = stage("unsaid").await?;
    let bed = &stage.bed;
    judgments::place(bed, "gated", json!({}), judgments::question()).await?;
    let mut mark = stage.proxy.hold(PATCH, REQUEST_STATUS, "\"answer\":{");
    let _controller = stage.controller()?;
    let waits = judgments::waits(bed, "gated").await?;
    let alice = bed.somebody(ALICE, &[]);
    judgments::answer(bed, &alice, "yes", "gated", waits.spec(&json!({}))).await?;
    mark.arrived().await?;
    stage.withhold(&PEOPLE);
    bed.delete::<DeployApproval>("yes").await?;
    mark.release();
    let unsaid = |request: &DeployRequest| {
        let status = request.status.as_ref();
        let shown = status.and_then(|status| status.judgment.as_deref());
        shown.is_some_and(|shown| shown.answer.is_none())
            && status.is_some_and(|status| {
                let mut decisions = status.decisions.iter();
                !decisions.any(|decision| decision.what == DecisionKind::Judged)
            })
    };
    wait_for("a mark that was taken back", PATIENCE, async || {
        let marks = stage.proxy.writes().into_iter().filter(|write| {
            write.resource == REQUEST_STATUS && write.body.to_string().contains("\"answer\":null")
        });
        ensure!(marks.count() > 0);
        Ok(())
    })
    .await?;
    bed.until("gated", "asked as before", unsaid).await?;
    ensure!(bed.gate.count_calls(Operation::PatchStage) == 0);
    stage.clear_sky();
    let bob = bed.somebody("bob@corp.example", &[]);
    judgments::answer(bed, &bob, "also", "gated", waits.spec(&json!({}))).await?;
    bed.until_phase("gated", Phase::Succeeded).await?;
    ensure!(bed.gate.count_calls(Operation::PatchStage) == 1);
    stage.holds_what_it_promises()
}
