//! Manual judgments inside a running pipeline: whose answer counts, and that Spinnaker gets it once and never too late.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployApproval,
    deploy_request::{DecisionKind, Judgment, Phase, WaitingFor},
};
use foredeck_testkit::{
    gate::{Effect, Fault, Operation, Stage, Status, Timing},
    wait_for,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use crate::{
    people::in_slack,
    support::{Bed, PATIENCE, deploy, message, reason},
};

const QUICK: Duration = Duration::from_millis(200);
const ALICE: &str = "alice@corp.example";
const BOB: &str = "bob@corp.example";
const EVE: &str = "eve@corp.example";

/// Where the controller dies around an answer.
pub(crate) const POINTS: [&str; 4] = [
    "before-mark-judged",
    "after-mark-judged",
    "before-judge",
    "after-judge",
];

/// A bed where alice and bob may judge on these environments, whose pipelines wait for that.
async fn judging(prefix: &str, environments: &[&str]) -> Result<Bed> {
    let bed = Bed::new(prefix, QUICK).await?;
    bed.let_people_write().await?;
    for environment in environments {
        place(&bed, environment, json!({}), question()).await?;
    }
    Ok(bed)
}

pub(crate) async fn place(bed: &Bed, name: &str, protection: Value, stage: Stage) -> Result<()> {
    let stages = [
        Stage::deploy("Canary", QUICK),
        stage,
        Stage::deploy("Everything", QUICK),
    ];
    bed.another_environment(name, protection, stages).await?;
    for judge in [ALICE, BOB] {
        bed.let_them(judge, &["judge"], name).await?;
    }
    Ok(())
}

pub(crate) fn question() -> Stage {
    let text = "<b>Look</b> at the dashboard &amp; the logs.<br>Then choose.";
    Stage::judgment("Looks good?", text, ["eu", "us"])
}

/// A request that waits for a judgment: its execution, and what it shows.
pub(crate) struct Waits {
    execution: String,
    judgment: Judgment,
}

pub(crate) async fn waits(bed: &Bed, environment: &str) -> Result<Waits> {
    let request = bed
        .request(environment, deploy(environment, "main"))
        .await?;
    let execution = bed.until_launched(&request).await?;
    let shown = bed
        .until(environment, "showing what it is asked", |request| {
            judgment_of(request).is_some_and(|judgment| judgment.instructions.is_some())
        })
        .await?;
    let judgment = judgment_of(&shown).context("no judgment")?;
    Ok(Waits {
        execution,
        judgment,
    })
}

fn judgment_of(request: &foredeck::api::DeployRequest) -> Option<Judgment> {
    request.status.as_ref()?.judgment.as_deref().cloned()
}

impl Waits {
    pub(crate) fn spec(&self, change: &Value) -> Value {
        let mut spec = json!({
            "for": "Judgment", "decision": "Approve",
            "judgment": {"execution": self.execution, "stage": self.judgment.stage, "input": "eu"},
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    }
}

/// Answers as somebody.
pub(crate) async fn answer(
    bed: &Bed,
    client: &Client,
    name: &str,
    request: &str,
    mut spec: Value,
) -> Result<DeployApproval> {
    let uid = bed.get(request).await?.uid();
    spec["request"] = json!({"name": request, "uid": uid});
    let object: DeployApproval = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": bed.namespace}, "spec": spec,
    }))?;
    let api: Api<DeployApproval> = Api::namespaced(client.clone(), &bed.namespace);
    wait_for(&format!("{name} to be created"), PATIENCE, async || {
        Ok(api.create(&PostParams::default(), &object).await?)
    })
    .await
}

/// The judged stage's context, as Spinnaker has it.
fn context(bed: &Bed, execution: &str) -> Value {
    let execution = bed.gate.execution(execution).unwrap_or_default();
    execution["stages"][1]["context"].clone()
}

/// Who answered, and how, as the request remembers it.
async fn remembered(bed: &Bed, request: &str) -> Result<Vec<(Option<String>, String)>> {
    let status = bed.get(request).await?.status.unwrap_or_default();
    let judged = status
        .decisions
        .into_iter()
        .filter(|record| record.what == DecisionKind::Judged);
    Ok(judged
        .map(|record| (record.by, record.why.unwrap_or_default()))
        .collect())
}

fn patches(bed: &Bed) -> usize {
    bed.gate.count_calls(Operation::PatchStage)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_judge_lets_it_go_on_or_stops_it_and_is_named_for_it() -> Result<()> {
    let bed = judging("judged", &["goes", "stops", "slack"]).await?;
    let _controller = bed.controller()?;
    let goes = waits(&bed, "goes").await?;
    ensure!(goes.judgment.name == "Looks good?" && goes.judgment.inputs == ["eu", "us"]);
    ensure!(
        goes.judgment.instructions.as_deref()
            == Some("Look at the dashboard & the logs.\nThen choose."),
        "{:?}",
        goes.judgment
    );
    bed.until_kept_by(
        "goes",
        WaitingFor::Judgment,
        "waits for a person's judgment: Look at the dashboard & the logs. Then choose. It takes one of: eu, us.",
    )
    .await?;
    let alice = bed.somebody(ALICE, &[]);
    let green = goes.spec(&json!({"comment": "all green"}));
    answer(&bed, &alice, "yes", "goes", green).await?;
    let ended = bed.until_phase("goes", Phase::Succeeded).await?;
    ensure!(judgment_of(&ended).is_none());
    let shown = context(&bed, &goes.execution);
    ensure!(
        shown["judgmentStatus"] == "continue"
            && shown["judgmentInput"] == "eu"
            && shown["foredeck"] == json!({"judgedBy": ALICE, "approval": "yes"}),
        "{shown}"
    );
    bed.until_counts("yes", "True Counts").await?;
    let judged = remembered(&bed, "goes").await?;
    ensure!(
        judged.len() == 1
            && judged[0].0.as_deref() == Some(ALICE)
            && judged[0].1.contains("continue (input \"eu\")"),
        "{judged:?}"
    );
    ensure!(patches(&bed) == 1);

    let stops = waits(&bed, "stops").await?;
    let no = json!({"decision": "Reject", "judgment": {"execution": stops.execution, "stage": stops.judgment.stage}, "comment": "too slow"});
    answer(
        &bed,
        &bed.somebody(BOB, &[]),
        "no",
        "stops",
        stops.spec(&no),
    )
    .await?;
    let ended = bed.until_phase("stops", Phase::Failed).await?;
    ensure!(reason(&ended, "Succeeded") == "ExecutionFailed");
    ensure!(context(&bed, &stops.execution)["judgmentStatus"] == "stop");
    bed.until_counts("no", "True Counts").await?;
    // What comes when all is over changes nothing.
    let late = stops.spec(&json!({}));
    answer(&bed, &alice, "late", "stops", late).await?;
    bed.until_counts("late", "False JudgmentOver").await?;
    ensure!(context(&bed, &stops.execution)["judgmentStatus"] == "stop" && patches(&bed) == 2);

    // For somebody in Slack the receiver answers.
    let slack = waits(&bed, "slack").await?;
    let now = jiff::Timestamp::now().to_string();
    let person = json!({"username": ALICE, "checkedAt": now, "sources": []});
    bed.person("U1", person).await?;
    let receiver = bed.plane.client_as(crate::people::RECEIVER, &[]);
    let stamped = slack.spec(&json!({"approver": in_slack(ALICE, "U1")}));
    answer(&bed, &receiver, "in-slack", "slack", stamped).await?;
    bed.until_phase("slack", Phase::Succeeded).await?;
    ensure!(context(&bed, &slack.execution)["foredeck"]["judgedBy"] == ALICE);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_answer_that_fits_counts_and_of_two_the_first() -> Result<()> {
    let bed = judging("fits", &["fits", "both"]).await?;
    let _controller = bed.controller()?;
    let fits = waits(&bed, "fits").await?;
    let (alice, eve) = (bed.somebody(ALICE, &[]), bed.somebody(EVE, &[]));
    let named = |execution: &str, stage: &str, input: &str| json!({"judgment": {"execution": execution, "stage": stage, "input": input}});
    let (execution, stage) = (fits.execution.as_str(), fits.judgment.stage.as_str());
    for (name, client, change, wanted) in [
        ("no-verb", &eve, json!({}), "False ApproverNotAuthorized"),
        (
            "mars",
            &alice,
            named(execution, stage, "mars"),
            "False InputNotOffered",
        ),
        (
            "other-execution",
            &alice,
            named("01OTHER", stage, "eu"),
            "False JudgmentOver",
        ),
        (
            "other-stage",
            &alice,
            named(execution, "01OTHER", "eu"),
            "False JudgmentOver",
        ),
    ] {
        answer(&bed, client, name, "fits", fits.spec(&change)).await?;
        bed.until_counts(name, wanted)
            .await
            .with_context(|| name.to_owned())?;
    }
    ensure!(patches(&bed) == 0 && bed.gate.status(execution) == Some(Status::Running));
    let refused = bed.get("fits").await?.status.unwrap_or_default().decisions;
    ensure!(
        refused
            .iter()
            .any(|record| record.what == DecisionKind::Refused
                && record.by.as_deref() == Some(EVE)),
        "{refused:?}"
    );
    answer(
        &bed,
        &alice,
        "us",
        "fits",
        fits.spec(&named(execution, stage, "us")),
    )
    .await?;
    bed.until_phase("fits", Phase::Succeeded).await?;
    ensure!(context(&bed, execution)["judgmentInput"] == "us");

    // Two at once: the first by creation, then by name, is what Spinnaker gets; the other is told so.
    let both = waits(&bed, "both").await?;
    let bob = bed.somebody(BOB, &[]);
    let (yes, no) = (
        both.spec(&json!({})),
        both.spec(&json!({"decision": "Reject", "comment": "slow"})),
    );
    let (yes, no) = tokio::join!(
        answer(&bed, &alice, "a-yes", "both", yes),
        answer(&bed, &bob, "b-no", "both", no)
    );
    let (yes, no) = (yes?, no?);
    let ended = bed.until_ended("both").await?;
    let shown = context(&bed, &both.execution);
    let won = shown["foredeck"]["approval"].as_str().unwrap_or_default();
    let other = if won == "a-yes" { "b-no" } else { "a-yes" };
    bed.until_counts(won, "True Counts").await?;
    bed.until_counts(other, "False JudgmentOver").await?;
    let verdict = if won == "a-yes" { "continue" } else { "stop" };
    ensure!(shown["judgmentStatus"] == verdict, "{shown}");
    ensure!(
        remembered(&bed, "both").await?.len() == 1 && patches(&bed) == 2,
        "{ended:?}"
    );
    if no.creation_timestamp() > yes.creation_timestamp() {
        ensure!(won == "a-yes", "{shown}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_stage_names_roles_the_judge_needs_a_group_that_has_one() -> Result<()> {
    let bed = judging("roles", &[]).await?;
    let roles = json!({"judgmentRoles": [{"role": "qa", "group": "okta:qa"}]});
    let stage = question().with("selectedStageRoles", json!(["qa", "sre"]));
    place(&bed, "mapped", roles.clone(), stage).await?;
    let stage = question().with("selectedStageRoles", json!(["security"]));
    place(&bed, "unmapped", roles.clone(), stage).await?;
    let stage = question().with("requiredJudgmentRoles", json!(["qa"]));
    place(&bed, "foreign", roles, stage).await?;
    let _controller = bed.controller()?;
    let mapped = waits(&bed, "mapped").await?;
    ensure!(mapped.judgment.roles == ["qa", "sre"]);
    let (bare, tester) = (bed.somebody(BOB, &[]), bed.somebody(ALICE, &["okta:qa"]));
    answer(&bed, &bare, "bare", "mapped", mapped.spec(&json!({}))).await?;
    bed.until_counts("bare", "False RoleMissing").await?;
    let unmapped = waits(&bed, "unmapped").await?;
    answer(
        &bed,
        &tester,
        "tester",
        "unmapped",
        unmapped.spec(&json!({})),
    )
    .await?;
    bed.until_counts("tester", "False RoleMissing").await?;
    ensure!(patches(&bed) == 0);
    answer(&bed, &tester, "tests", "mapped", mapped.spec(&json!({}))).await?;
    bed.until_phase("mapped", Phase::Succeeded).await?;
    // Deck stays a way for what nobody is mapped to.
    ensure!(bed.gate.judge(&unmapped.execution, "continue", "sam"));
    bed.until_phase("unmapped", Phase::Succeeded).await?;

    // Spinnaker asks for the roles of the account that we log in with, and takes the answer back.
    bed.gate.set_roles([("sam", ["qa"].as_slice())]);
    let foreign = waits(&bed, "foreign").await?;
    answer(&bed, &tester, "ours", "foreign", foreign.spec(&json!({}))).await?;
    let says = "Spinnaker does not let the account that Foredeck logs in with";
    bed.until_kept_by("foreign", WaitingFor::Judgment, says)
        .await?;
    let calls = patches(&bed);
    bed.gate.set_roles([("anonymous", ["qa"].as_slice())]);
    bed.until_phase("foreign", Phase::Succeeded).await?;
    bed.until_counts("ours", "True Counts").await?;
    ensure!(patches(&bed) == calls + 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_neither_lost_when_it_comes_early_nor_when_spinnaker_loses_it() -> Result<()> {
    let bed = judging("early", &["early", "lost", "dropped"]).await?;
    let _controller = bed.controller()?;
    // The stage runs and doesn't listen yet.
    bed.gate.set_timing(Timing {
        task_start: Duration::from_secs(3),
        ..Timing::default()
    });
    let early = waits(&bed, "early").await?;
    let opens = bed.gate.execution(&early.execution).unwrap_or_default();
    ensure!(
        opens["stages"][1]["tasks"][0]["status"] == "NOT_STARTED",
        "{opens}"
    );
    let alice = bed.somebody(ALICE, &[]);
    answer(&bed, &alice, "early", "early", early.spec(&json!({}))).await?;
    bed.until_counts("early", "True Counts").await?;
    bed.gate.set_timing(Timing::default());
    bed.until_phase("early", Phase::Succeeded).await?;
    ensure!(patches(&bed) == 1, "{} calls", patches(&bed));

    // Spinnaker acknowledges it and forgets it; then it breaks off, having done it or not.
    let lost = waits(&bed, "lost").await?;
    let acknowledged = bed.gate.execution(&lost.execution).unwrap_or_default();
    bed.gate.inject(Fault::new(
        Operation::PatchStage,
        Effect::Answer(200, acknowledged),
    ));
    bed.gate
        .inject(Fault::new(Operation::PatchStage, Effect::ResetBeforeEffect));
    answer(&bed, &alice, "lost", "lost", lost.spec(&json!({}))).await?;
    bed.until_phase("lost", Phase::Succeeded).await?;
    ensure!(
        patches(&bed) == 4 && bed.gate.pending_faults() == 0,
        "{} calls",
        patches(&bed)
    );
    ensure!(remembered(&bed, "lost").await?.len() == 1);
    let dropped = waits(&bed, "dropped").await?;
    bed.gate
        .inject(Fault::new(Operation::PatchStage, Effect::ResetAfterEffect));
    answer(&bed, &alice, "dropped", "dropped", dropped.spec(&json!({}))).await?;
    bed.until_phase("dropped", Phase::Succeeded).await?;
    bed.until_counts("dropped", "True Counts").await?;
    ensure!(patches(&bed) == 5, "{} calls", patches(&bed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_deck_wins_and_a_cancelled_request_is_never_judged() -> Result<()> {
    let bed = judging("deck", &["deck", "stopped", "cancelled"]).await?;
    let controller = bed.controller()?;
    let deck = waits(&bed, "deck").await?;
    ensure!(bed.gate.judge(&deck.execution, "continue", "carol"));
    bed.until_phase("deck", Phase::Succeeded).await?;
    let judged = remembered(&bed, "deck").await?;
    ensure!(
        judged.len() == 1
            && judged[0].0.is_none()
            && judged[0].1.contains("continue, by carol in Spinnaker"),
        "{judged:?}"
    );
    let alice = bed.somebody(ALICE, &[]);
    answer(&bed, &alice, "late", "deck", deck.spec(&json!({}))).await?;
    bed.until_counts("late", "False JudgmentOver").await?;

    // Both, while nobody looks: what Spinnaker has stands.
    let stopped = waits(&bed, "stopped").await?;
    controller.kill();
    answer(&bed, &alice, "yes", "stopped", stopped.spec(&json!({}))).await?;
    ensure!(bed.gate.judge(&stopped.execution, "stop", "carol"));
    let controller = bed.controller()?;
    bed.until_phase("stopped", Phase::Failed).await?;
    bed.until_counts("yes", "False JudgmentOver").await?;
    let judged = remembered(&bed, "stopped").await?;
    ensure!(
        judged.len() == 1 && judged[0].1.contains("stop, by carol"),
        "{judged:?}"
    );

    let cancelled = waits(&bed, "cancelled").await?;
    controller.kill();
    bed.cancel("cancelled").await?;
    answer(
        &bed,
        &alice,
        "too-late",
        "cancelled",
        cancelled.spec(&json!({})),
    )
    .await?;
    let _controller = bed.controller()?;
    let ended = bed.until_phase("cancelled", Phase::Canceled).await?;
    ensure!(message(&ended).contains("cancelled as asked"));
    bed.until_counts("too-late", "False JudgmentOver").await?;
    ensure!(patches(&bed) == 0, "{} calls", patches(&bed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_around_the_call_leaves_one_answer() -> Result<()> {
    let bed = judging("dies", &POINTS).await?;
    for (done, point) in POINTS.into_iter().enumerate() {
        let mut first = bed.controller_with(&["--test-crash-at", point])?;
        let asked = waits(&bed, point).await?;
        let alice = bed.somebody(ALICE, &[]);
        answer(&bed, &alice, point, point, asked.spec(&json!({}))).await?;
        let status = first.until_ended().await?;
        ensure!(!status.success(), "{point}: it did not die");
        let handed = usize::from(point == "after-judge");
        ensure!(patches(&bed) == done + handed, "{point}");
        let second = bed.controller()?;
        bed.until_phase(point, Phase::Succeeded)
            .await
            .with_context(|| point.to_owned())?;
        bed.until_counts(point, "True Counts").await?;
        ensure!(
            patches(&bed) == done + 1,
            "{point}: {} calls",
            patches(&bed)
        );
        let judged = remembered(&bed, point).await?;
        ensure!(
            judged.len() == 1 && judged[0].0.as_deref() == Some(ALICE),
            "{point}: {judged:?}"
        );
        second.kill();
    }
    Ok(())
}
