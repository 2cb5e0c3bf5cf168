//! Who may: asked of the real API server's RBAC, for people who are who admission says.

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::{
    DeployRequest,
    deploy_request::{DecisionKind, Phase, WaitingFor},
};
use foredeck_testkit::{gate::Stage, wait_for};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    people::{CONTROLLER, group, in_slack, user},
    support::{Bed, PATIENCE, POLICIES, deploy, message, phase_of, reason},
};

const QUICK: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_mins(10);
const ALICE: &str = "alice@corp.example";
const BOB: &str = "bob@corp.example";

fn says(request: &DeployRequest, parts: &[&str]) -> Result<()> {
    let text = message(request);
    for part in parts {
        ensure!(text.contains(part), "{part:?} is not in {text:?}");
    }
    Ok(())
}

async fn denied(bed: &Bed, name: &str, why: &str, parts: &[&str]) -> Result<()> {
    let ended = bed.until_phase(name, Phase::Denied).await?;
    ensure!(
        reason(&ended, "Succeeded") == why,
        "{name}: {:?}",
        ended.status
    );
    ensure!(bed.launches(&ended) == 0, "{name} was started");
    says(&ended, parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_a_verb_is_denied_and_told_which_and_whom_to_ask() -> Result<()> {
    let bed = Bed::new("rights", QUICK).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy"], "staging").await?;
    let deploys: &[&str] = &["deploy"];
    bed.grant("bob", user(BOB), &[("applications", "checkout", deploys)])
        .await?;
    let _controller = bed.controller()?;
    let (alice, bob) = (bed.somebody(ALICE, &[]), bed.somebody(BOB, &[]));
    let mallory = bed.somebody("mallory@corp.example", &[]);

    let hers = bed
        .request_as(&alice, "hers", deploy("staging", "v1"))
        .await?;
    bed.request_as(&alice, "beyond", deploy("production", "v1"))
        .await?;
    let mut restart = deploy("staging", "v1");
    restart["action"] = json!("restart");
    bed.request_as(&alice, "restart", restart).await?;
    bed.request_as(&bob, "half", deploy("staging", "v1"))
        .await?;
    bed.request_as(&mallory, "nothing", deploy("staging", "v1"))
        .await?;
    let mut dry = deploy("staging", "v1");
    dry["dryRun"] = json!(true);
    bed.request_as(&mallory, "dry", dry).await?;

    let ended = bed.until_phase("hers", Phase::Succeeded).await?;
    ensure!(bed.launches(&hers) == 1);
    let authorized = ended.status.unwrap_or_default().conditions;
    let authorized = authorized.iter().find(|said| said.type_ == "Authorized");
    ensure!(
        authorized
            .is_some_and(|said| said.status == "True"
                && said.message.contains("RoleBinding \"alice-staging/")),
        "{authorized:?}"
    );
    denied(
        &bed,
        "beyond",
        "NotAuthorized",
        &[
            ALICE,
            "no verb `deploy` on Environment `production`",
            &bed.namespace,
        ],
    )
    .await?;
    denied(
        &bed,
        "restart",
        "NotAuthorized",
        &["`restart`", "`staging`"],
    )
    .await?;
    let half = &["no verb `deploy` on Environment `staging`", ALICE];
    denied(&bed, "half", "NotAuthorized", half).await?;
    let nothing = &[
        "mallory@corp.example",
        "Environment `staging`",
        "Application `checkout`",
    ];
    denied(&bed, "nothing", "NotAuthorized", nothing).await?;
    denied(&bed, "dry", "NotAuthorized", &["mallory@corp.example"]).await?;
    ensure!(bed.gate.launches().len() == 1);
    bed.until_free().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_is_gone_when_its_turn_comes_starts_nothing() -> Result<()> {
    let bed = Bed::new("gone", LONG).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy"], "staging").await?;
    let _controller = bed.controller()?;
    let first = bed.deploy("first").await?;
    bed.until_phase("first", Phase::Running).await?;
    let alice = bed.somebody(ALICE, &[]);
    bed.request_as(&alice, "second", deploy("staging", "v2"))
        .await?;
    bed.until_phase("second", Phase::Queued).await?;
    bed.let_them_no_more(ALICE, "deploy", "staging").await?;
    bed.finish(&first);
    denied(&bed, "second", "NotAuthorized", &[ALICE, "`staging`"]).await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    bed.until_free().await
}

/// A policy of this test alone, beside those that everybody has.
fn policy(name: &str, message: &str) -> String {
    format!(
        "---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    matchPolicy: Equivalent
    namespaceSelector: {{}}
    objectSelector: {{}}
    resourceRules:
      - {{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [configmaps], scope: \"*\"}}
  validations:
    - {{expression: \"object.metadata.name != '{name}'\", message: {message}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}, validationActions: [Deny]}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_while_nobody_vouches_for_who_asked() -> Result<()> {
    let bed = Bed::new("vouch", QUICK).await?;
    let name = format!("foredeck-{}", bed.namespace);
    let file = bed.plane.directory().join(format!("{name}.yaml"));
    let all = std::fs::read_to_string(POLICIES)? + &policy(&name, "as-it-should-be");
    std::fs::write(&file, all)?;
    let file = file.display().to_string();
    let controller = bed.controller_with(&["--admission-policies", &file])?;
    bed.deploy("early").await?;
    let waits = bed
        .until_kept_by("early", WaitingFor::Authorization, &name)
        .await?;
    ensure!(
        reason(&waits, "Reconciling") == "PoliciesMissing",
        "{:?}",
        waits.status
    );

    let later = wait_for("a later second", PATIENCE, async || {
        let created = bed
            .get("early")
            .await?
            .creation_timestamp()
            .map_or(Timestamp::MIN, |time| time.0);
        ensure!(Timestamp::now().as_second() > created.as_second() + 1);
        Ok(())
    });
    // Timestamps of objects have whole seconds: what came in the same one isn't older.
    later.await?;
    bed.plane.apply(&policy(&name, "altered")).await?;
    bed.request("late", deploy("production", "v1")).await?;
    let waits = bed
        .until_kept_by("late", WaitingFor::Authorization, &name)
        .await?;
    ensure!(
        reason(&waits, "Reconciling") == "PoliciesAltered",
        "{:?}",
        waits.status
    );
    bed.plane.apply(&policy(&name, "as-it-should-be")).await?;
    bed.until_phase("late", Phase::Succeeded).await?;
    // It was asked for when anybody could have asked in the name of another.
    denied(&bed, "early", "PoliciesMissing", &["Make a new one"]).await?;
    ensure!(bed.gate.launches().len() == 1);
    controller.kill();

    // A controller that is told of no policies starts nothing.
    let bed = Bed::new("untold", QUICK).await?;
    let empty = bed.plane.directory().join(format!("{name}-none.yaml"));
    std::fs::write(&empty, "")?;
    let mut refuses = bed.spawn(
        bed.plane.admin_kubeconfig().to_owned(),
        &["--admission-policies", &empty.display().to_string()],
    )?;
    ensure!(!refuses.until_ended().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn automation_may_what_the_environment_and_rbac_both_grant_it() -> Result<()> {
    let bed = Bed::new("robots", QUICK).await?;
    bed.let_people_write().await?;
    let flux = format!("system:serviceaccount:{}:flux", bed.namespace);
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    bed.bind("flux", &everything, &[user(&flux)]).await?;
    let _controller = bed.controller()?;
    let client = bed.plane.client_as(&flux, &[]);
    bed.request_as(&client, "unlisted", deploy("staging", "v1"))
        .await?;
    denied(
        &bed,
        "unlisted",
        "Nobody",
        &[&flux, "automation", "`deploy`"],
    )
    .await?;

    let listed = json!({"automation": [{"username": flux, "verbs": ["deploy"]}]});
    bed.protect("staging", listed).await?;
    bed.request_as(&client, "listed", deploy("staging", "v2"))
        .await?;
    bed.until_phase("listed", Phase::Succeeded).await?;
    let mut restart = deploy("staging", "v2");
    restart["action"] = json!("restart");
    bed.request_as(&client, "restart", restart).await?;
    denied(&bed, "restart", "Nobody", &[&flux, "`restart`"]).await?;

    // Listed and not granted.
    let other = format!("system:serviceaccount:{}:other", bed.namespace);
    bed.grant("other", user(&other), &[]).await?;
    let rules = json!([{"apiGroups": ["foredeck.dev"], "resources": ["deployrequests"], "verbs": ["create"]}]);
    bed.bind("other-writes", &rules, &[user(&other)]).await?;
    let listed = json!({"automation": [{"username": other, "verbs": ["deploy"]}]});
    bed.protect("production", listed).await?;
    let client = bed.plane.client_as(&other, &[]);
    bed.request_as(&client, "ungranted", deploy("production", "v1"))
        .await?;
    denied(
        &bed,
        "ungranted",
        "NotAuthorized",
        &[&other, "`production`"],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_were_stamped_count_for_a_time() -> Result<()> {
    let bed = Bed::new("stamped", LONG).await?;
    bed.let_people_write().await?;
    let deploys: &[&str] = &["deploy"];
    let granted = [
        ("applications", "checkout", deploys),
        ("environments", "staging", deploys),
    ];
    bed.grant("team", group("shop-deployers"), &granted).await?;
    let _controller = bed.controller_with(&["--stamped-groups-max-age", "4s"])?;
    let alice = bed.somebody(ALICE, &["shop-deployers"]);
    let first = bed
        .request_as(&alice, "first", deploy("staging", "v1"))
        .await?;
    bed.until_phase("first", Phase::Running).await?;
    let second = bed
        .request_as(&alice, "second", deploy("staging", "v2"))
        .await?;
    let created = second
        .creation_timestamp()
        .map_or(Timestamp::MAX, |time| time.0);
    wait_for("the groups to be too old", PATIENCE, async || {
        ensure!(Timestamp::now().duration_since(created).as_secs() > 4);
        Ok(())
    })
    .await?;
    bed.finish(&first);
    denied(&bed, "second", "IdentityStale", &[ALICE, "ask again"]).await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    Ok(())
}

fn told(groups: &[&str], at: Timestamp) -> Value {
    json!({
        "username": ALICE, "checkedAt": at, "nobody": null,
        "sources": [{"name": "okta", "groups": groups, "at": at}],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_slack_has_the_groups_that_their_person_has_now() -> Result<()> {
    let bed = Bed::new("person", LONG).await?;
    bed.let_people_write().await?;
    let deploys: &[&str] = &["deploy"];
    let granted = [
        ("applications", "checkout", deploys),
        ("environments", "staging", deploys),
    ];
    let group_name = format!("okta:{}", bed.namespace);
    let groups = [group_name.as_str()];
    bed.grant("team", group(&group_name), &granted).await?;
    let _controller = bed.controller()?;
    let alice = in_slack(ALICE, "U1");
    let first = bed
        .request_in_slack("first", deploy("staging", "v1"), &alice)
        .await?;
    let waits = bed
        .until_kept_by("first", WaitingFor::Authorization, ALICE)
        .await?;
    ensure!(
        reason(&waits, "Reconciling") == "GroupsUnknown",
        "{:?}",
        waits.status
    );

    let now = Timestamp::now();
    let hour_ago = now - Duration::from_hours(1);
    bed.person("U1", told(&groups, hour_ago)).await?;
    bed.until_kept_by("first", WaitingFor::Authorization, "10m")
        .await?;
    ensure!(bed.launches(&first) == 0);
    bed.person("U1", told(&groups, now)).await?;
    bed.until_phase("first", Phase::Running).await?;

    // Out of the group while waiting.
    bed.request_in_slack("second", deploy("staging", "v2"), &alice)
        .await?;
    bed.until_phase("second", Phase::Queued).await?;
    bed.person("U1", told(&[], Timestamp::now())).await?;
    denied(&bed, "second", "NotAuthorized", &[ALICE]).await?;

    // Gone from the company while waiting.
    bed.person("U1", told(&groups, Timestamp::now())).await?;
    bed.request_in_slack("third", deploy("staging", "v3"), &alice)
        .await?;
    bed.until_phase("third", Phase::Queued).await?;
    bed.person("U1", json!({"nobody": "Deactivated"})).await?;
    denied(&bed, "third", "Nobody", &[ALICE, "Deactivated"]).await?;
    bed.finish(&first);
    bed.until_phase("first", Phase::Succeeded).await?;
    bed.until_free().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_cancel_is_told_and_cancels_nothing() -> Result<()> {
    let bed = Bed::new("stranger", LONG).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy"], "staging").await?;
    bed.let_them(BOB, &["cancel"], "staging").await?;
    for (slack, username) in [("U1", ALICE), ("U2", BOB), ("U3", "mallory@corp.example")] {
        let status = json!({"username": username, "checkedAt": Timestamp::now()});
        bed.person(slack, status).await?;
    }
    let mallory = in_slack("mallory@corp.example", "U3");
    let _controller = bed.controller()?;
    let alice = bed.somebody(ALICE, &[]);
    let running = bed
        .request_as(&alice, "running", deploy("staging", "v1"))
        .await?;
    bed.until_phase("running", Phase::Running).await?;
    let waiting = bed
        .request_as(&alice, "waiting", deploy("staging", "v2"))
        .await?;
    bed.request_as(&alice, "hers", deploy("staging", "v3"))
        .await?;
    bed.request_as(&alice, "theirs", deploy("staging", "v4"))
        .await?;
    for name in ["waiting", "hers", "theirs"] {
        bed.until_phase(name, Phase::Queued).await?;
    }
    for name in ["running", "waiting"] {
        bed.cancel_in_slack(name, &mallory).await?;
        let told = bed
            .until(name, "the cancel refused", |request| {
                reason(request, "Cancelable") == "CancelRefused"
            })
            .await?;
        ensure!(!phase_of(&told).is_terminal(), "{:?}", told.status);
    }
    // Her own, from elsewhere; and of somebody who may.
    bed.cancel_in_slack("hers", &in_slack(ALICE, "U1")).await?;
    bed.cancel_in_slack("theirs", &in_slack(BOB, "U2")).await?;
    for name in ["hers", "theirs"] {
        bed.until_phase(name, Phase::Canceled).await?;
    }
    bed.finish(&running);
    let ran = bed.until_phase("running", Phase::Succeeded).await?;
    bed.until_phase("waiting", Phase::Running).await?;
    bed.finish(&waiting);
    let waited = bed.until_phase("waiting", Phase::Succeeded).await?;
    // The end makes no cancel of it.
    for ended in [&ran, &waited] {
        let status = ended.status.as_ref();
        let decisions = status.map_or(&[][..], |status| &status.decisions);
        let told = |kind| decisions.iter().any(|decision| decision.what == kind);
        ensure!(
            told(DecisionKind::Refused) && !told(DecisionKind::Canceled),
            "{decisions:?}"
        );
        ensure!(
            reason(ended, "Cancelable") == "CancelRefused",
            "{:?}",
            ended.status
        );
    }

    // By kubectl nobody gets so far as to ask for it.
    bed.request_as(&alice, "last", deploy("staging", "v5"))
        .await?;
    let api: Api<DeployRequest> =
        Api::namespaced(bed.somebody("mallory@corp.example", &[]), &bed.namespace);
    let cancel = Patch::Merge(json!({"spec": {"cancel": {"reason": "no"}}}));
    let refused = api.patch("last", &PatchParams::default(), &cancel).await;
    ensure!(
        refused.is_err_and(|error| error.to_string().contains("may not cancel")),
        "a stranger cancelled it"
    );
    api.delete("last", &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_does_not_say_who_may_starts_nothing() -> Result<()> {
    let bed = Bed::new("silent", QUICK).await?;
    let stages = [Stage::deploy("Deploy", QUICK)];
    bed.another_environment("quiet", json!({}), stages).await?;
    // The controller itself, which may everything but ask.
    let itself = user(CONTROLLER);
    let group = "foredeck.dev";
    let rules = json!([
        {"apiGroups": [group, "events.k8s.io", "coordination.k8s.io"], "resources": ["*"], "verbs": ["*"]},
    ]);
    bed.bind("controller", &rules, std::slice::from_ref(&itself))
        .await?;
    bed.bind_everywhere(&itself).await?;
    let kubeconfig = bed.plane.kubeconfig_as(CONTROLLER, &[], None)?;
    let _controller = bed.spawn(kubeconfig, &["--lease-duration", "30s"])?;
    let request = bed.request("first", deploy("quiet", "v1")).await?;
    let waits = bed
        .until_kept_by("first", WaitingFor::Authorization, "foredeck-test-admin")
        .await?;
    ensure!(
        reason(&waits, "Reconciling") == "AccessUnknown" && bed.launches(&request) == 0,
        "{:?}",
        waits.status
    );
    let asks = json!([{"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]}]);
    bed.bind("asks", &asks, &[user(CONTROLLER)]).await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.launches(&request) == 1);
    Ok(())
}
