//! Who has to say yes: as many people as the Environment asks for, each with the right to, to exactly what will run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployApproval, DeployRequest, Person,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::gate::{Effect, Fault, Operation};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    people::{group, in_slack, user},
    support::{Bed, deploy, message, phase_of, reason},
};

const QUICK: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_mins(10);
const ALICE: &str = "alice@corp.example";
const CAROL: &str = "carol@corp.example";
const DAVE: &str = "dave@corp.example";
const EVE: &str = "eve@corp.example";

/// A bed whose production has these rules for approvals; alice may deploy there, carol and dave may approve.
async fn approved(prefix: &str, work: Duration, rules: Value) -> Result<Bed> {
    let bed = Bed::new(prefix, work).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy", "approve"], "production")
        .await?;
    bed.let_them(CAROL, &["approve"], "production").await?;
    bed.let_them(DAVE, &["approve"], "production").await?;
    bed.protect("production", json!({"approvals": rules}))
        .await?;
    Ok(bed)
}

async fn ask(bed: &Bed, name: &str, version: &str) -> Result<DeployRequest> {
    let alice = bed.somebody(ALICE, &[]);
    bed.request_as(&alice, name, deploy("production", version))
        .await
}

/// Who said yes, as the request's status has it.
fn given(request: &DeployRequest) -> Vec<String> {
    let approvals = request
        .status
        .as_ref()
        .and_then(|status| status.approvals.as_ref());
    let given = approvals.map(|approvals| approvals.given.clone());
    given
        .unwrap_or_default()
        .into_iter()
        .map(|given| given.by)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_people_as_are_asked_for_say_yes_and_who_asked_is_none_of_them() -> Result<()> {
    let bed = approved("two", QUICK, json!({"required": 2})).await?;
    let _controller = bed.controller()?;
    let request = ask(&bed, "first", "v1.0.0").await?;
    bed.until_kept_by("first", WaitingFor::Approval, "0 of 2")
        .await?;
    bed.approve(ALICE, "first").await?;
    bed.until_counts("first-alice", "False ApproverIsRequester")
        .await?;
    bed.approve(EVE, "first").await?;
    bed.until_counts("first-eve", "False ApproverNotAuthorized")
        .await?;
    bed.approve(CAROL, "first").await?;
    bed.until_counts("first-carol", "True Counts").await?;
    let waits = bed
        .until_kept_by("first", WaitingFor::Approval, "1 of 2")
        .await?;
    ensure!(
        phase_of(&waits) == Phase::AwaitingApproval && given(&waits) == [CAROL],
        "{:?}",
        waits.status
    );
    bed.approve(DAVE, "first").await?;
    bed.until_counts("first-dave", "True Counts").await?;
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(given(&ended) == [CAROL, DAVE], "{:?}", ended.status);
    ensure!(reason(&ended, "Approved") == "Approved" && bed.launches(&request) == 1);

    // A branch is not one thing, and whoever waits stands in nobody's way.
    let moving = ask(&bed, "moving", "main").await?;
    let ended = bed.until_ended("moving").await?;
    ensure!(
        reason(&ended, "Succeeded") == "VersionMoves" && bed.launches(&moving) == 0,
        "{:?}",
        ended.status
    );
    ask(&bed, "stays", "v1.0.1").await?;
    bed.until_phase("stays", Phase::AwaitingApproval).await?;
    ask(&bed, "goes", "v1.0.2").await?;
    bed.approve(CAROL, "goes").await?;
    bed.approve(DAVE, "goes").await?;
    bed.until_phase("goes", Phase::Succeeded).await?;
    ensure!(phase_of(&bed.get("stays").await?) == Phase::AwaitingApproval);

    // What has no request any more is told so.
    bed.approve(CAROL, "stays").await?;
    bed.until_counts("stays-carol", "True Counts").await?;
    bed.delete::<DeployRequest>("stays").await?;
    bed.until_counts("stays-carol", "False RequestGone").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_human_is_one_whatever_their_names() -> Result<()> {
    let bed = approved("names", QUICK, json!({"required": 2})).await?;
    bed.let_them("arn:carol", &["approve"], "production")
        .await?;
    bed.let_them("arn:alice", &["approve"], "production")
        .await?;
    let carol = json!({"username": CAROL, "usernames": ["arn:carol"]});
    bed.create::<Person>("carol", carol).await?;
    let alice = json!({"slack": {"team": "T1", "user": "U1"}, "usernames": [ALICE, "arn:alice"]});
    bed.create::<Person>("alice", alice).await?;
    let _controller = bed.controller()?;
    // Asked by kubectl; and by the same human in Slack.
    ask(&bed, "first", "v1.0.0").await?;
    bed.until_phase("first", Phase::AwaitingApproval).await?;
    let client = bed.somebody("arn:alice", &[]);
    bed.answer(&client, "self", "first", json!({})).await?;
    bed.until_counts("self", "False ApproverIsRequester")
        .await?;
    let receiver = bed.plane.client_as(crate::people::RECEIVER, &[]);
    let herself = json!({"approver": in_slack(ALICE, "U1")});
    bed.answer(&receiver, "self-in-slack", "first", herself)
        .await?;
    bed.until_counts("self-in-slack", "False ApproverIsRequester")
        .await?;
    bed.approve(CAROL, "first").await?;
    bed.until_counts("first-carol", "True Counts").await?;
    let client = bed.somebody("arn:carol", &[]);
    bed.answer(&client, "first-carol-again", "first", json!({}))
        .await?;
    bed.until_counts("first-carol-again", "False SamePerson")
        .await?;
    let waits = bed.get("first").await?;
    ensure!(
        phase_of(&waits) == Phase::AwaitingApproval,
        "{:?}",
        waits.status
    );
    bed.approve(DAVE, "first").await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_of_what_was_to_run_then_and_good_for_a_time() -> Result<()> {
    let rules = json!({"required": 2, "expireAfter": "4s"});
    let bed = approved("changed", QUICK, rules).await?;
    let _controller = bed.controller()?;
    let request = ask(&bed, "first", "v1.0.0").await?;
    bed.approve(CAROL, "first").await?;
    bed.until_kept_by("first", WaitingFor::Approval, "1 of 2")
        .await?;
    bed.until_counts("first-carol", "False ApprovalExpired")
        .await?;
    let waits = bed
        .until_kept_by("first", WaitingFor::Approval, "0 of 2")
        .await?;
    ensure!(given(&waits).is_empty(), "{:?}", waits.status);

    bed.protect("production", json!({"approvals": {"expireAfter": null}}))
        .await?;
    bed.until_counts("first-carol", "True Counts").await?;
    let parameters = json!({"branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}", "replicas": "9"});
    let changed = json!({"spec": {"actions": {"deploy": {"parameters": parameters}}}});
    bed.merge::<Application>("checkout", changed).await?;
    bed.until_counts("first-carol", "False DigestChanged")
        .await?;
    let waits = bed
        .until_kept_by("first", WaitingFor::Approval, "parameter `replicas`")
        .await?;
    ensure!(
        given(&waits).is_empty() && bed.launches(&request) == 0,
        "{:?}",
        waits.status
    );
    // Of what was to run before the change, by whoever still shows it.
    let before = bed
        .api::<DeployApproval>()
        .get("first-carol")
        .await?
        .spec
        .digest;
    let dave = bed.somebody(DAVE, &[]);
    bed.answer(&dave, "yesterday", "first", json!({"digest": before}))
        .await?;
    bed.until_counts("yesterday", "False DigestChanged").await?;
    for (name, username) in [("again", CAROL), ("too", DAVE)] {
        let client = bed.somebody(username, &[]);
        bed.answer(&client, name, "first", json!({})).await?;
    }
    bed.until_phase("first", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_while_it_waited_in_line_is_asked_for_again() -> Result<()> {
    let bed = approved("revoked", LONG, json!({"required": 1})).await?;
    let _controller = bed.controller()?;
    let first = ask(&bed, "first", "v1.0.0").await?;
    bed.approve(CAROL, "first").await?;
    bed.until_phase("first", Phase::Running).await?;
    ask(&bed, "second", "v1.0.1").await?;
    bed.approve(DAVE, "second").await?;
    bed.until_phase("second", Phase::Queued).await?;
    bed.delete::<DeployApproval>("second-dave").await?;
    bed.until_phase("second", Phase::AwaitingApproval).await?;

    // And one who may no more approve when its turn comes.
    let third = ask(&bed, "third", "v1.0.2").await?;
    bed.approve(DAVE, "third").await?;
    bed.until_phase("third", Phase::Queued).await?;
    bed.let_them_no_more(DAVE, "approve", "production").await?;
    bed.finish(&first);
    bed.until_phase("first", Phase::Succeeded).await?;
    bed.until_phase("third", Phase::AwaitingApproval).await?;
    bed.until_counts("third-dave", "False ApproverNotAuthorized")
        .await?;
    bed.until_free().await?;
    ensure!(bed.launches(&third) == 0 && bed.gate.launches().len() == 1);
    let lapsed = bed.get("third").await?.status.unwrap_or_default();
    ensure!(
        lapsed
            .decisions
            .iter()
            .any(|record| format!("{:?}", record.what) == "Lapsed"),
        "{:?}",
        lapsed.decisions
    );
    bed.approve(CAROL, "third").await?;
    bed.until_phase("third", Phase::Running).await?;
    bed.finish(&third);
    bed.until_phase("third", Phase::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_no_of_somebody_who_may_ends_it() -> Result<()> {
    let bed = approved("no", QUICK, json!({"required": 1})).await?;
    let _controller = bed.controller()?;
    let request = ask(&bed, "first", "v1.0.0").await?;
    let no = json!({"decision": "Reject", "comment": "not on a Friday"});
    let eve = bed.somebody(EVE, &[]);
    bed.answer(&eve, "first-eve", "first", no.clone()).await?;
    bed.until_counts("first-eve", "False ApproverNotAuthorized")
        .await?;
    ensure!(phase_of(&bed.get("first").await?) == Phase::AwaitingApproval);
    let carol = bed.somebody(CAROL, &[]);
    bed.answer(&carol, "first-carol", "first", no).await?;
    let ended = bed.until_phase("first", Phase::Denied).await?;
    ensure!(
        reason(&ended, "Succeeded") == "Rejected"
            && message(&ended).contains("not on a Friday")
            && message(&ended).contains(CAROL),
        "{:?}",
        ended.status
    );
    ensure!(bed.launches(&request) == 0);
    bed.until_free().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_automation_asks_for_is_approved_by_members_of_the_groups_alone() -> Result<()> {
    let bed = approved("robot", QUICK, json!({"required": 1})).await?;
    let flux = format!("system:serviceaccount:{}:flux", bed.namespace);
    bed.let_them(&flux, &["deploy"], "production").await?;
    let rules = json!([{"apiGroups": ["foredeck.dev"], "resources": ["deployrequests", "deployapprovals"], "verbs": ["create"]}]);
    bed.bind("flux", &rules, &[user(&flux)]).await?;
    let team = format!("okta:{}", bed.namespace);
    let automation = json!([{"username": flux, "verbs": ["deploy"]}]);
    bed.protect("production", json!({"automation": automation}))
        .await?;
    let _controller = bed.controller()?;
    let client = bed.plane.client_as(&flux, &[]);
    let request = bed
        .request_as(&client, "first", deploy("production", "v1.0.0"))
        .await?;
    bed.until_kept_by("first", WaitingFor::Configuration, "groups")
        .await?;
    bed.approve(CAROL, "first").await?;
    bed.until_counts("first-carol", "False ApproverNotAuthorized")
        .await?;
    let groups = json!({"approvals": {"groups": [team]}});
    bed.protect("production", groups).await?;
    bed.until_kept_by("first", WaitingFor::Approval, &team)
        .await?;
    bed.until_counts("first-carol", "False ApproverNotAuthorized")
        .await?;
    ensure!(bed.launches(&request) == 0);

    // In Slack, by somebody whom the source puts into the group now.
    let approves: &[&str] = &["approve"];
    let granted = [
        ("applications", "checkout", approves),
        ("environments", "production", approves),
    ];
    bed.grant("team", group(&team), &granted).await?;
    let now = Timestamp::now();
    let sources = json!([{"name": "okta", "groups": [team], "at": now}]);
    bed.person(
        "U5",
        json!({"username": EVE, "checkedAt": now, "sources": sources}),
    )
    .await?;
    let receiver = bed.plane.client_as(crate::people::RECEIVER, &[]);
    let eve = json!({"approver": in_slack(EVE, "U5"), "comment": "go"});
    bed.answer(&receiver, "first-eve", "first", eve).await?;
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(given(&ended) == [EVE], "{:?}", ended.status);
    let uid = request.uid().context("no uid")?;
    ensure!(bed.gate.launches_of(&uid).len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_people_waits_on_while_spinnaker_does_not_answer() -> Result<()> {
    let bed = approved("silent", QUICK, json!({"required": 1})).await?;
    let _controller = bed.controller()?;
    let request = ask(&bed, "first", "v1.0.0").await?;
    bed.until_phase("first", Phase::AwaitingApproval).await?;
    bed.gate
        .inject(Fault::new(Operation::Any, Effect::ServerErrorBefore).permanently());
    bed.approve(EVE, "first").await?;
    bed.until_counts("first-eve", "False ApproverNotAuthorized")
        .await?;
    ensure!(phase_of(&bed.get("first").await?) == Phase::AwaitingApproval);
    // Whoever says yes is heard at once; only the start waits for Spinnaker.
    bed.approve(CAROL, "first").await?;
    bed.until_kept_by("first", WaitingFor::Spinnaker, "")
        .await?;
    ensure!(bed.launches(&request) == 0);
    bed.gate.clear_faults();
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(given(&ended) == [CAROL] && bed.launches(&request) == 1);

    // A pipeline that somebody edits in Spinnaker meanwhile is not what was approved.
    let edited = ask(&bed, "edited", "v1.0.1").await?;
    let waits = bed.until_phase("edited", Phase::AwaitingApproval).await?;
    let resolved = waits.status.unwrap_or_default().resolved;
    let pipeline = resolved.context("not resolved")?.pipeline.id;
    let mut config = bed.gate.config(&pipeline).context("no pipeline")?;
    config["stages"][0]["name"] = json!("Deploy something else");
    ensure!(bed.gate.put_config(config) == pipeline);
    bed.approve(DAVE, "edited").await?;
    bed.until_counts("edited-dave", "False DigestChanged")
        .await?;
    ensure!(bed.launches(&edited) == 0);
    let carol = bed.somebody(CAROL, &[]);
    bed.answer(&carol, "edited-carol", "edited", json!({}))
        .await?;
    bed.until_phase("edited", Phase::Succeeded).await?;
    Ok(())
}
