//! Connections of foredeck's own namespace: who may use them, until when, and what becomes of what they started.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use foredeck::api::{
    DeployRequest, DeployTarget, Environment, SpinnakerConnection,
    conditions::{self, ConditionType},
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault},
    wait_for,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    people::{CONTROLLER, user},
    support::{Bed, Controller, PATIENCE, deploy, environment, message, phase_of, reason},
};

const QUICK: Duration = Duration::from_millis(200);
/// Until somebody says that it ends.
const LONG: Duration = Duration::from_mins(10);

/// Foredeck's own namespace, with the connection `gate` for namespaces of tier `prod`.
async fn home(work: Duration) -> Result<Bed> {
    let home = Bed::unconnected("home", work).await?;
    let mut spec = home.connection();
    spec["namespaceSelector"] = json!({"matchLabels": {"tier": "prod"}});
    home.create::<SpinnakerConnection>("gate", spec).await?;
    Ok(home)
}

/// A team without a connection; its own Gate is one that it doesn't use yet.
async fn team(prefix: &str, tier: Option<&str>, work: Duration) -> Result<Bed> {
    let team = Bed::unconnected(prefix, work).await?;
    label(&team, tier).await?;
    Ok(team)
}

async fn label(bed: &Bed, tier: Option<&str>) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"tier": tier}}}));
    let all: Api<Namespace> = Api::all(bed.client.clone());
    all.patch(&bed.namespace, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// How often configuration that is in order is looked at: what is told at once isn't told by a timer; labels are.
const NEVER: &str = "1h";
const OFTEN: &str = "300ms";

/// A controller for these teams.
fn controller(home: &Bed, teams: [&Bed; 2], refresh: &str) -> Result<Controller> {
    let [one, two] = teams;
    one.controller_with(&[
        "--namespace",
        &two.namespace,
        "--home-namespace",
        &home.namespace,
        "--test-refresh",
        refresh,
    ])
}

/// Waits until an Environment's Ready has this reason, and gives its sentence.
async fn until_environment(bed: &Bed, name: &str, wanted: &str) -> Result<String> {
    let what = format!("Environment {name} of {}: {wanted}", bed.namespace);
    wait_for(&what, PATIENCE, async || {
        let found: Environment = bed.api().get(name).await?;
        let status = found.status.unwrap_or_default();
        let ready = conditions::find(&status.conditions, ConditionType::Ready)
            .context("nothing is said of it")?;
        ensure!(ready.reason == wanted, "{ready:?}");
        Ok(ready.message.clone())
    })
    .await
}

/// Waits until the request says that this is what it waits for.
async fn until_waits(bed: &Bed, name: &str, why: &str) -> Result<DeployRequest> {
    bed.until(name, why, |request| {
        reason(request, "Reconciling") == why && !phase_of(request).is_terminal()
    })
    .await
}

/// Waits for that phase, and wakes the request meanwhile: nothing else tells the controller of a label.
async fn until_woken(bed: &Bed, name: &str, phase: Phase) -> Result<DeployRequest> {
    wait_for(&format!("{name}: {phase:?}"), PATIENCE, async || {
        bed.touch(name).await?;
        let request = bed.get(name).await?;
        ensure!(phase_of(&request) == phase, "{:?}", request.status);
        Ok(request)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_connection_is_for_those_whom_its_selector_matches_within_its_allow() -> Result<()>
{
    let home = home(QUICK).await?;
    let prod = team("shared-prod", Some("prod"), QUICK).await?;
    let test = team("shared-test", Some("test"), QUICK).await?;
    let place = json!({"spec": {"target": {"account": "eks-test", "namespace": "shop"}}});
    test.merge::<Environment>("staging", place).await?;
    let mut nowhere = environment("staging");
    nowhere["connection"] = json!("nowhere");
    test.create::<Environment>("nowhere", nowhere).await?;
    let _controller = controller(&home, [&prod, &test], NEVER)?;

    let ran = prod.deploy("ran").await?;
    prod.until_phase("ran", Phase::Succeeded).await?;
    ensure!(home.launches(&ran) == 1 && prod.launches(&ran) == 0);
    until_environment(&prod, "staging", "ConfigurationValid").await?;

    // Not found, in the words for one that isn't there.
    let kept = test.deploy("kept").await?;
    test.request("lost", deploy("nowhere", "main")).await?;
    let kept_by = message(&until_waits(&test, "kept", "ConnectionNotFound").await?);
    let lost_by = message(&until_waits(&test, "lost", "ConnectionNotFound").await?);
    ensure!(
        kept_by.contains("\"gate\"") && kept_by.replace("\"gate\"", "\"nowhere\"") == lost_by,
        "{kept_by}\n{lost_by}"
    );
    let said = until_environment(&test, "staging", "ConnectionNotFound").await?;
    let unsaid = until_environment(&test, "nowhere", "ConnectionNotFound").await?;
    ensure!(
        said.replace("\"gate\"", "\"nowhere\"") == unsaid,
        "{said}\n{unsaid}"
    );
    ensure!(home.launches(&kept) == 0);

    label(&test, Some("prod")).await?;
    until_woken(&test, "kept", Phase::Succeeded).await?;
    until_environment(&test, "staging", "ConfigurationValid").await?;
    ensure!(home.launches(&kept) == 1 && test.launches(&kept) == 0);

    // What it allows holds for everybody.
    let elsewhere = json!({"spec": {"target": {"account": "gke", "namespace": "shop"}}});
    test.merge::<Environment>("staging", elsewhere).await?;
    until_environment(&test, "staging", "NotAllowedByConnection").await?;
    test.deploy("far").await?;
    let far = test.until_phase("far", Phase::Failed).await?;
    ensure!(
        reason(&far, "Succeeded") == "NotAllowedByConnection",
        "{:?}",
        far.status
    );
    // Whoever owns it closes it for all: also that is told to those who use it elsewhere.
    let closed = json!({"spec": {"namespaceSelector": null}});
    home.merge::<SpinnakerConnection>("gate", closed).await?;
    until_environment(&prod, "staging", "ConnectionNotFound").await?;
    let last = prod.deploy("last").await?;
    until_waits(&prod, "last", "ConnectionNotFound").await?;
    let open = json!({"spec": {"namespaceSelector": {}}});
    home.merge::<SpinnakerConnection>("gate", open).await?;
    prod.until_phase("last", Phase::Succeeded).await?;
    ensure!(home.launches(&last) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_label_starts_nothing_more_and_what_runs_is_followed_and_can_be_cancelled()
-> Result<()> {
    let home = home(LONG).await?;
    let team = team("unshared", Some("prod"), LONG).await?;
    let _controller = team.controller_with(&["--home-namespace", &home.namespace])?;
    let runs = team.deploy("runs").await?;
    let execution = home.until_launched(&runs).await?;
    let canceled = team
        .request("canceled", deploy("production", "main"))
        .await?;
    home.until_launched(&canceled).await?;
    team.until_phase("canceled", Phase::Running).await?;
    team.until_phase("runs", Phase::Running).await?;
    let waits = team.deploy("waits").await?;
    team.until_phase("waits", Phase::Queued).await?;
    // Known to be allowed a moment ago; it is what is read for the start that counts.
    team.touch("waits").await?;
    label(&team, None).await?;
    ensure!(home.gate.finish(&execution));
    team.until_phase("runs", Phase::Succeeded).await?;
    until_waits(&team, "waits", "ConnectionNotFound").await?;
    ensure!(home.launches(&waits) == 0, "it was started");
    team.cancel("canceled").await?;
    team.until_phase("canceled", Phase::Canceled).await?;
    team.until_free().await?;

    label(&team, Some("prod")).await?;
    until_woken(&team, "waits", Phase::Running).await?;
    ensure!(home.launches(&waits) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespaces_own_connection_counts_for_what_was_not_sent_yet() -> Result<()> {
    let home = home(LONG).await?;
    let team = team("own", Some("prod"), LONG).await?;
    let _controller = team.controller_with(&["--home-namespace", &home.namespace])?;
    let runs = team.deploy("runs").await?;
    let execution = home.until_launched(&runs).await?;
    let canceled = team
        .request("canceled", deploy("production", "main"))
        .await?;
    home.until_launched(&canceled).await?;
    for name in ["runs", "canceled"] {
        team.until_phase(name, Phase::Running).await?;
    }
    let next = team.deploy("next").await?;
    team.until_phase("next", Phase::Queued).await?;

    team.create::<SpinnakerConnection>("gate", team.connection())
        .await?;
    team.cancel("canceled").await?;
    team.until_phase("canceled", Phase::Canceled).await?;
    // A target that forgot everything is made anew from where it ran, not from where it would run now.
    let target = team.target("staging").await?.name_any();
    team.wipe_status::<DeployTarget>(&target).await?;
    team.wipe_status::<DeployRequest>("runs").await?;
    team.until_phase("runs", Phase::Running).await?;
    ensure!(team.launches(&next) == 0, "two at once");
    ensure!(home.gate.finish(&execution));
    team.until_phase("runs", Phase::Succeeded).await?;
    let own = team.until_launched(&next).await?;
    ensure!(team.gate.finish(&own));
    team.until_phase("next", Phase::Succeeded).await?;
    ensure!(home.launches(&next) == 0 && home.launches(&runs) == 1);
    ensure!(team.launches(&runs) == 0 && team.launches(&canceled) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_namespaces_in_one_place_are_told_until_one_says_that_it_is_meant() -> Result<()> {
    let home = home(QUICK).await?;
    let one = team("place-one", Some("prod"), QUICK).await?;
    let two = team("place-two", Some("prod"), QUICK).await?;
    let _controller = controller(&home, [&one, &two], OFTEN)?;
    for (bed, other) in [(&one, &two), (&two, &one)] {
        let said = until_environment(bed, "staging", "TargetShared").await?;
        ensure!(
            said.contains("another namespace") && !said.contains(&other.namespace),
            "{said}"
        );
    }
    let kept = one.deploy("kept").await?;
    until_waits(&one, "kept", "TargetShared").await?;
    // Who may not use the connection is in nobody's way.
    label(&two, None).await?;
    until_environment(&two, "staging", "ConnectionNotFound").await?;
    until_environment(&one, "staging", "ConfigurationValid").await?;
    label(&two, Some("prod")).await?;
    until_environment(&one, "staging", "TargetShared").await?;

    // By two connections to one Gate, too.
    two.create::<SpinnakerConnection>("gate", home.connection())
        .await?;
    until_environment(&two, "staging", "TargetShared").await?;
    let agreed = json!({"spec": {"sharedTarget": true}});
    two.merge::<Environment>("staging", agreed).await?;
    for bed in [&one, &two] {
        until_environment(bed, "staging", "ConfigurationValid").await?;
    }
    until_woken(&one, "kept", Phase::Succeeded).await?;
    ensure!(home.launches(&kept) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_shares_nothing_outside_foredecks_own_namespace() -> Result<()> {
    let home = Bed::unconnected("empty-home", QUICK).await?;
    let generous = Bed::unconnected("generous", QUICK).await?;
    let mut spec = generous.connection();
    spec["namespaceSelector"] = json!({});
    generous.create::<SpinnakerConnection>("gate", spec).await?;
    let other = team("other", Some("prod"), QUICK).await?;
    let _controller = controller(&home, [&generous, &other], NEVER)?;
    let own = generous.deploy("own").await?;
    generous.until_phase("own", Phase::Succeeded).await?;
    ensure!(generous.launches(&own) == 1);
    let kept = other.deploy("kept").await?;
    until_waits(&other, "kept", "ConnectionNotFound").await?;
    until_environment(&other, "staging", "ConnectionNotFound").await?;
    ensure!(generous.launches(&kept) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_labels_cannot_be_read_nothing_starts_and_what_runs_is_followed() -> Result<()> {
    let home = home(LONG).await?;
    let team = team("unread", Some("prod"), LONG).await?;
    let proxy = ApiProxy::start(team.plane).await?;
    let kubeconfig = team.plane.kubeconfig_through(&proxy.url())?;
    let lease = ["--lease-duration", "30s"];
    let at_home = ["--home-namespace", &home.namespace];
    let _controller = team.spawn(kubeconfig, &[lease, at_home].concat())?;
    let runs = team.deploy("runs").await?;
    let execution = home.until_launched(&runs).await?;
    team.until_phase("runs", Phase::Running).await?;
    for status in [403, 500, 404] {
        let refuse = ApiEffect::Refuse(status);
        let fault = ApiFault::new(Method::GET, "namespaces", refuse).of(&team.namespace);
        proxy.inject(fault);
        let name = format!("kept-{status}");
        let kept = team.request(&name, deploy("production", "main")).await?;
        let waits = team
            .until_kept_by(&name, WaitingFor::Authorization, "nothing starts until")
            .await?;
        ensure!(
            reason(&waits, "Reconciling") == "AccessUnknown" && home.launches(&kept) == 0,
            "{waits:?}"
        );
        proxy.clear_faults();
        if status != 404 {
            team.cancel(&name).await?;
            team.until_phase(&name, Phase::Canceled).await?;
        }
    }
    let last = team.get("kept-404").await?;
    until_woken(&team, "kept-404", Phase::Running).await?;
    ensure!(home.launches(&last) == 1);
    ensure!(home.gate.finish(&execution));
    team.until_phase("runs", Phase::Succeeded).await?;
    Ok(())
}

fn reads(resource: &str) -> Value {
    json!([{"apiGroups": ["foredeck.dev"], "resources": [resource], "verbs": ["get", "list", "watch"]}])
}

/// A controller for this team that may not read the connections of foredeck's own namespace.
async fn restricted(home: &Bed, team: &Bed) -> Result<Controller> {
    home.bind("freezes", &reads("deployfreezes"), &[user(CONTROLLER)])
        .await?;
    more_restricted(home, team).await
}

/// A controller for this team that may not read the freezes of foredeck's own namespace either.
async fn more_restricted(home: &Bed, team: &Bed) -> Result<Controller> {
    let itself = user(CONTROLLER);
    let groups = [
        "foredeck.dev",
        "events.k8s.io",
        "coordination.k8s.io",
        "authorization.k8s.io",
    ];
    let all = json!([{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]);
    team.bind("controller", &all, std::slice::from_ref(&itself))
        .await?;
    home.bind("persons", &reads("persons"), std::slice::from_ref(&itself))
        .await?;
    team.bind_everywhere(&itself).await?;
    let kubeconfig = team.plane.kubeconfig_as(CONTROLLER, &[], None)?;
    let lease = ["--lease-duration", "30s"];
    let at_home = ["--home-namespace", &home.namespace];
    team.spawn(kubeconfig, &[lease, at_home].concat())
}

/// It may from now on.
async fn unrestricted(home: &Bed) -> Result<()> {
    let connections = reads("spinnakerconnections");
    home.bind("connections", &connections, &[user(CONTROLLER)])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_may_not_read_foredecks_own_namespace_serves_those_who_need_none_of_it()
-> Result<()> {
    let home = home(QUICK).await?;
    let team = team("restricted", Some("prod"), QUICK).await?;
    team.create::<SpinnakerConnection>("mine", team.connection())
        .await?;
    let mine = json!({"spec": {"connection": "mine"}});
    team.merge::<Environment>("production", mine).await?;
    let _controller = restricted(&home, &team).await?;

    let own = team.request("own", deploy("production", "main")).await?;
    team.until_phase("own", Phase::Succeeded).await?;
    ensure!(team.launches(&own) == 1);
    let kept = team.deploy("kept").await?;
    let waits = until_waits(&team, "kept", "ConnectionNotFound").await?;
    ensure!(message(&waits).contains(&home.namespace), "{waits:?}");

    // As soon as it may: the watch finds out by itself.
    unrestricted(&home).await?;
    team.until_phase("kept", Phase::Succeeded).await?;
    ensure!(home.launches(&kept) == 1 && team.launches(&kept) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_may_not_read_freezes_starts_nothing_until_it_may() -> Result<()> {
    let home = home(QUICK).await?;
    let team = Bed::new("unfrozen", QUICK).await?;
    let _controller = more_restricted(&home, &team).await?;
    let request = team.request("first", deploy("production", "v1")).await?;
    let says = format!(
        "DeployFreezes of namespace {:?} can't be read",
        home.namespace
    );
    team.until_kept_by("first", WaitingFor::Freeze, &says)
        .await?;
    ensure!(team.launches(&request) == 0);
    // As soon as it may: the watch finds out by itself.
    home.bind("freezes", &reads("deployfreezes"), &[user(CONTROLLER)])
        .await?;
    team.until_phase("first", Phase::Succeeded).await?;
    ensure!(team.launches(&request) == 1);
    Ok(())
}

/// Waits until nobody knows where the request was sent, for want of the connections of foredeck's own namespace, and makes
/// sure that nobody is asked to act on the target as if that were known.
async fn until_unknown(team: &Bed, name: &str, home: &Bed) -> Result<()> {
    let unknown = format!(
        "can't read the SpinnakerConnections of namespace {:?}",
        home.namespace
    );
    let said = |request: &DeployRequest| {
        let status = request.status.as_ref();
        let waiting = status.and_then(|status| status.waiting.as_ref());
        waiting
            .map(|waiting| waiting.message.clone())
            .unwrap_or_default()
    };
    let told = |request: &DeployRequest| {
        let said = said(request);
        said.contains("release") || said.contains(&unknown) || phase_of(request).is_terminal()
    };
    let request = team
        .until(name, "not known where it was sent", told)
        .await?;
    let (phase, said) = (phase_of(&request), said(&request));
    ensure!(
        !phase.is_terminal() && said.contains(&unknown) && !said.contains("release"),
        "{phase:?}: {said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_through_a_shared_connection_is_looked_for_nowhere_else_while_it_is_not_known()
-> Result<()> {
    let home = home(LONG).await?;
    let team = team("unknown", Some("prod"), LONG).await?;
    let controller = team.controller_with(&["--home-namespace", &home.namespace])?;
    let runs = team.deploy("runs").await?;
    let execution = home.until_launched(&runs).await?;
    team.until_phase("runs", Phase::Running).await?;
    controller.kill();
    team.create::<SpinnakerConnection>("gate", team.connection())
        .await?;
    let _controller = restricted(&home, &team).await?;
    until_unknown(&team, "runs", &home).await?;
    unrestricted(&home).await?;
    ensure!(home.gate.finish(&execution));
    team.until_phase("runs", Phase::Succeeded).await?;
    ensure!(home.launches(&runs) == 1 && team.launches(&runs) == 0);
    Ok(())
}

/// What runs on `staging` of a team is known to Spinnaker alone, where the team's name for the connection led before the
/// team had one of its own.
async fn forgotten(home: &Bed, team: &Bed) -> Result<(DeployRequest, String)> {
    let controller = team.controller_with(&["--home-namespace", &home.namespace])?;
    let runs = team.deploy("runs").await?;
    let execution = home.until_launched(&runs).await?;
    team.until_phase("runs", Phase::Running).await?;
    let target = team.target("staging").await?;
    let made = target.creation_timestamp().context("never made")?.0;
    wait_for("a later second", PATIENCE, async || {
        let later = jiff::Timestamp::now().as_second() > made.as_second();
        ensure!(later, "not yet");
        Ok(())
    })
    .await?;
    team.create::<SpinnakerConnection>("gate", team.connection())
        .await?;
    controller.kill();
    team.wipe_status::<DeployTarget>(&target.name_any()).await?;
    team.wipe_status::<DeployRequest>("runs").await?;
    Ok((runs, execution))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_forgot_everything_waits_for_the_shared_connection_that_it_may_have_used()
-> Result<()> {
    let home = home(LONG).await?;
    let team = team("forgot", Some("prod"), LONG).await?;
    let (runs, execution) = forgotten(&home, &team).await?;
    let _controller = restricted(&home, &team).await?;
    until_unknown(&team, "runs", &home).await?;
    ensure!(team.launches(&runs) == 0, "two at once");
    unrestricted(&home).await?;
    team.until_phase("runs", Phase::Running).await?;
    ensure!(home.gate.finish(&execution));
    team.until_phase("runs", Phase::Succeeded).await?;
    ensure!(home.launches(&runs) == 1 && team.launches(&runs) == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_forgot_everything_finds_what_was_sent_by_a_selector_of_before() -> Result<()>
{
    let home = home(LONG).await?;
    let team = team("unselected", Some("prod"), LONG).await?;
    let (runs, execution) = forgotten(&home, &team).await?;
    label(&team, None).await?;
    let _controller = team.controller_with(&["--home-namespace", &home.namespace])?;
    team.until_phase("runs", Phase::Running).await?;
    ensure!(team.launches(&runs) == 0, "two at once");
    ensure!(home.gate.finish(&execution));
    team.until_phase("runs", Phase::Succeeded).await?;
    ensure!(home.launches(&runs) == 1 && team.launches(&runs) == 0);
    Ok(())
}
