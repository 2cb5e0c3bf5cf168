//! A freeze begins, and is over: who is told, how often, and what a relay that dies or stays away leaves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployFreeze,
    deploy_request::{SlackMessage, SlackStatus},
};
use foredeck_testkit::{
    slack::{ChannelKind, Effect, Fault, Installation},
    wait_for,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    killed::Doomed,
    support::{Bed, PATIENCE, all_for, entry, now, spec},
};

const POST: &str = "chat.postMessage";
const UPDATE: &str = "chat.update";
/// When it begins, and the same in seconds.
const SINCE: (&str, i64) = ("2026-03-04T10:00:00Z", 1_772_618_400);

fn freezes(bed: &Bed) -> Api<DeployFreeze> {
    bed.api()
}

/// A freeze that tells those channels.
async fn freeze(bed: &Bed, name: &str, channels: &[&str]) -> Result<()> {
    let object = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployFreeze",
        "metadata": {"name": name, "namespace": bed.namespace},
        "spec": {"reason": "the busiest day", "contact": "#leads", "notify": {"slack": {"channels": channels}}},
    }))?;
    let created = freezes(bed).create(&PostParams::default(), &object).await;
    created.context("create a freeze").map(drop)
}

/// Writes its status as the controller would.
async fn status(bed: &Bed, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"status": status}));
    freezes(bed)
        .patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

fn active(word: &str) -> Value {
    json!([{"type": "Active", "status": word, "reason": "Frozen", "message": "", "lastTransitionTime": now()}])
}

fn on(since: &str) -> Value {
    json!({"since": since, "until": "2100-01-01T00:00:00Z", "conditions": active("True")})
}

fn off() -> Value {
    json!({"since": null, "until": null, "conditions": active("False")})
}

async fn told(bed: &Bed, name: &str) -> Result<SlackStatus> {
    let freeze = freezes(bed).get(name).await?;
    Ok(freeze
        .status
        .and_then(|status| status.slack)
        .unwrap_or_default())
}

fn began(channel: &str) -> String {
    format!("began:{}:{channel}", SINCE.1)
}

fn over(channel: &str) -> String {
    format!("over:{}:{channel}", SINCE.1)
}

async fn until(
    bed: &Bed,
    name: &str,
    purpose: &str,
    wanted: impl Fn(&SlackMessage) -> bool,
) -> Result<SlackMessage> {
    wait_for(&format!("{name}: {purpose}"), PATIENCE, async || {
        let told = told(bed, name).await?;
        let found = entry(&told, purpose).filter(|entry| wanted(entry)).cloned();
        found.with_context(|| format!("{told:?}\n{}", bed.slack.describe()))
    })
    .await
}

/// Waits until what its status says is wrong, if anything, is as wanted.
async fn until_problem(bed: &Bed, name: &str, wanted: impl Fn(Option<&str>) -> bool) -> Result<()> {
    wait_for(&format!("{name}: what is wrong"), PATIENCE, async || {
        let told = told(bed, name).await?;
        ensure!(
            wanted(told.problem.as_deref()),
            "{told:?}\n{}",
            bed.slack.describe()
        );
        Ok(())
    })
    .await
}

async fn until_posted(bed: &Bed, name: &str, purpose: &str) -> Result<SlackMessage> {
    until(bed, name, purpose, |entry| entry.ts.is_some()).await
}

/// What the relay has done with all it found: a request's message, which came after it.
async fn until_done(bed: &Bed, name: &str) -> Result<()> {
    bed.request(name, bed.asked_in(&json!({"channel": bed.deploys})))
        .await?;
    bed.status(name, json!({"phase": "Queued"})).await?;
    bed.until_posted(name, "live").await.map(drop)
}

#[tokio::test]
async fn a_freeze_is_told_when_it_begins_and_when_it_is_over() -> Result<()> {
    let bed = Bed::new("freeze").await?;
    let relay = bed.relay()?;
    freeze(&bed, "busy", &[&bed.general, &bed.deploys]).await?;
    until_done(&bed, "before").await?;
    assert!(
        told(&bed, "busy").await?.messages.is_empty(),
        "nobody said that it holds"
    );
    status(&bed, "busy", on(SINCE.0)).await?;
    for channel in [&bed.general, &bed.deploys] {
        until_posted(&bed, "busy", &began(channel)).await?;
    }
    let message = bed
        .until_says(
            "general",
            "All deployments are frozen until <!date^4102444800^",
        )
        .await?;
    let text = serde_json::to_string(message.blocks())?;
    for part in ["the busiest day", "#leads", "goes on to its end"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Another relay says nothing anew.
    relay.stop().await?;
    let relay = bed.relay()?;
    relay.ready().await?;
    until_done(&bed, "between").await?;
    status(&bed, "busy", off()).await?;
    for channel in [&bed.general, &bed.deploys] {
        until_posted(&bed, "busy", &over(channel)).await?;
    }
    for channel in ["general", "deploys"] {
        let id = bed.slack.channel(channel)?.id;
        let first = all_for(&bed.slack, channel, &began(&id));
        let answer = all_for(&bed.slack, channel, &over(&id));
        assert_eq!(
            (first.len(), answer.len()),
            (1, 1),
            "{}",
            bed.slack.describe()
        );
        assert!(
            first[0].text().starts_with("✅ Over: the freeze by"),
            "{first:?}"
        );
        assert!(answer[0].is_reply(), "{answer:?}");
    }
    // What is over stays as it was told; what begins again is told again.
    let reason = Patch::Merge(json!({"spec": {"reason": "something else"}}));
    freezes(&bed)
        .patch("busy", &PatchParams::default(), &reason)
        .await?;
    status(&bed, "busy", on("2026-03-11T10:00:00Z")).await?;
    let again = format!("began:{}:{}", SINCE.1 + 7 * 24 * 3600, bed.general);
    until_posted(&bed, "busy", &again).await?;
    let first = all_for(&bed.slack, "general", &began(&bed.general));
    let text = serde_json::to_string(first[0].blocks())?;
    assert!(text.contains("the busiest day"), "{text}");
    let kept = told(&bed, "busy").await?;
    assert!(entry(&kept, &began(&bed.general)).is_none(), "{kept:?}");
    let managers = freezes(&bed).get("busy").await?.metadata.managed_fields;
    let ours = managers.unwrap_or_default().into_iter();
    let ours = ours.filter(|one| one.manager.as_deref() == Some("foredeck-relay"));
    for one in ours {
        let fields = serde_json::to_value(&one.fields_v1)?["f:status"].clone();
        let fields = fields.as_object().context("a status")?;
        assert!(fields.keys().all(|name| name == "f:slack"), "{fields:?}");
    }
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    relay.stop().await
}

#[tokio::test]
async fn a_freeze_that_is_deleted_early_is_said_to_be_lifted() -> Result<()> {
    let bed = Bed::new("lifted").await?;
    let _relay = bed.relay()?;
    for name in ["early", "done"] {
        freeze(&bed, name, &[&bed.general]).await?;
        status(&bed, name, on(SINCE.0)).await?;
        until_posted(&bed, name, &began(&bed.general)).await?;
    }
    status(&bed, "done", off()).await?;
    until_posted(&bed, "done", &over(&bed.general)).await?;
    for name in ["done", "early"] {
        freezes(&bed).delete(name, &DeleteParams::default()).await?;
    }
    bed.until_seen("an answer that it is lifted", |world| {
        let all = world.messages("general");
        let lifted = all
            .iter()
            .filter(|message| message.text().starts_with("✅ Lifted"));
        let lifted: Vec<_> = lifted.collect();
        (lifted.len() == 2 && lifted[1].is_reply()).then_some(())
    })
    .await?;
    assert_eq!(
        all_for(&bed.slack, "general", &began(&bed.general)).len(),
        2
    );
    assert_eq!(all_for(&bed.slack, "general", &over(&bed.general)).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_freeze_that_is_deleted_while_it_is_posted_is_said_to_be_lifted_by_a_relay_that_ends()
-> Result<()> {
    let bed = Bed::new("ending").await?;
    let slow = Effect::SlowAnswer(Duration::from_secs(5));
    bed.slack
        .inject(Fault::on(POST, slow).with("channel", &bed.general));
    let relay = bed.patient_relay()?;
    freeze(&bed, "busy", &[&bed.general]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    bed.until_says("general", "All deployments are frozen")
        .await?;
    freezes(&bed)
        .delete("busy", &DeleteParams::default())
        .await?;
    // The same watch brought the other one after it: the relay knows that it went.
    freeze(&bed, "later", &[&bed.deploys]).await?;
    status(&bed, "later", on(SINCE.0)).await?;
    bed.until_says("deploys", "All deployments are frozen")
        .await?;
    relay.stop().await?;
    let all = bed.slack.messages("general");
    let lifted = all
        .iter()
        .filter(|message| message.text().starts_with("✅ Lifted"));
    assert_eq!(
        (all.len(), lifted.count()),
        (2, 2),
        "{}",
        bed.slack.describe()
    );
    Ok(())
}

/// What a relay passes for a freeze that begins and is over.
const PASSES: [&str; 12] = [
    "after-slack-intent",
    "before-slack-post",
    "after-slack-post",
    "before-slack-record",
    "after-slack-record",
    "before-slack-update",
    "after-slack-update",
    "after-slack-record@2",
    "after-slack-intent@2",
    "before-slack-post@2",
    "after-slack-post@2",
    "before-slack-record@3",
];

#[tokio::test]
async fn a_relay_that_dies_tells_of_no_freeze_twice() -> Result<()> {
    for some in PASSES.chunks(4) {
        let outcomes = some.iter().map(|pass| killed_at(pass));
        futures::future::try_join_all(outcomes).await?;
    }
    Ok(())
}

async fn killed_at(pass: &str) -> Result<()> {
    let bed = Bed::new("frozen").await?;
    bed.may_look();
    let doomed = Doomed::start(&bed, pass)?;
    freeze(&bed, "busy", &[&bed.general]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    let point = pass.split('@').next().unwrap_or(pass);
    let early = !pass.contains('@') && !pass.contains("update");
    if !early {
        until_posted(&bed, "busy", &began(&bed.general)).await?;
        status(&bed, "busy", off()).await?;
    }
    doomed.died(point).await?;
    let _next = bed.relay()?;
    if early {
        until_posted(&bed, "busy", &began(&bed.general)).await?;
        status(&bed, "busy", off()).await?;
    }
    until_posted(&bed, "busy", &over(&bed.general)).await?;
    for purpose in [began(&bed.general), over(&bed.general)] {
        let all = all_for(&bed.slack, "general", &purpose);
        ensure!(all.len() == 1, "{pass}: {}", bed.slack.describe());
        ensure!(
            all[0].text().starts_with("✅ Over"),
            "{pass}: {}",
            bed.slack.describe()
        );
    }
    Ok(())
}

#[tokio::test]
async fn slack_that_has_enough_or_loses_an_answer_costs_no_second_message() -> Result<()> {
    for effect in [
        Effect::RateLimited(1),
        Effect::LoseAnswer,
        Effect::Status(502),
    ] {
        let bed = Bed::new("slow").await?;
        bed.may_look();
        bed.slack.inject(Fault::on(POST, effect.clone()));
        let _relay = bed.relay()?;
        freeze(&bed, "busy", &[&bed.general]).await?;
        status(&bed, "busy", on(SINCE.0)).await?;
        let posted = until_posted(&bed, "busy", &began(&bed.general)).await?;
        let all = all_for(&bed.slack, "general", &began(&bed.general));
        assert_eq!(all.len(), 1, "{effect:?}");
        assert_eq!(posted.ts.as_ref(), Some(&all[0].ts), "{effect:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_channel_that_refuses_is_told_to_whoever_looks_at_the_freeze() -> Result<()> {
    let bed = Bed::new("refused").await?;
    bed.slack
        .change_channel("general", |channel| channel.is_ext_shared = true);
    let _relay = bed.relay()?;
    freeze(&bed, "busy", &[&bed.general, "C0NOWHERE", &bed.deploys]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    let refused = |entry: &SlackMessage| entry.refused.is_some();
    let shared = until(&bed, "busy", &began(&bed.general), refused).await?;
    assert_eq!(shared.refused.as_deref(), Some("shared_channel"));
    until(&bed, "busy", &began("C0NOWHERE"), refused).await?;
    until_posted(&bed, "busy", &began(&bed.deploys)).await?;
    bed.until_event("busy", "SlackRefused").await?;
    assert!(bed.slack.messages("general").is_empty());
    // Where nobody was told that it began, nobody is told that it is over.
    status(&bed, "busy", off()).await?;
    until_posted(&bed, "busy", &over(&bed.deploys)).await?;
    assert!(bed.slack.messages("general").is_empty());
    assert_eq!(told(&bed, "busy").await?.messages.len(), 4);
    Ok(())
}

#[tokio::test]
async fn a_freeze_says_when_it_had_to_be_told_in_plain_words() -> Result<()> {
    let bed = Bed::new("plain").await?;
    let invalid = || Effect::Error("invalid_blocks".into());
    bed.slack.inject(Fault::on(POST, invalid()));
    let _relay = bed.relay()?;
    freeze(&bed, "busy", &[&bed.general]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    until_posted(&bed, "busy", &began(&bed.general)).await?;
    let plain = |problem: Option<&str>| problem.is_some_and(|it| it.contains("plain text"));
    until_problem(&bed, "busy", plain).await?;
    // It is whole again with the next update, and plain again where that isn't taken.
    let mut later = on(SINCE.0);
    later["until"] = json!("2101-01-01T00:00:00Z");
    status(&bed, "busy", later).await?;
    until_problem(&bed, "busy", |problem| problem.is_none()).await?;
    bed.slack.inject(Fault::on(UPDATE, invalid()));
    status(&bed, "busy", off()).await?;
    until_problem(&bed, "busy", plain).await?;
    until_posted(&bed, "busy", &over(&bed.general))
        .await
        .map(drop)
}

#[tokio::test]
async fn a_freeze_says_that_slack_does_not_accept_the_app() -> Result<()> {
    let bed = Bed::new("revoked").await?;
    let relay = bed.relay()?;
    relay.ready().await?;
    freeze(&bed, "busy", &[&bed.general]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    until_posted(&bed, "busy", &began(&bed.general)).await?;
    bed.slack.set_installation(Installation::TokenRevoked);
    status(&bed, "busy", off()).await?;
    let note = bed.until_event("busy", "SlackStopped").await?;
    assert!(note.contains("token_revoked"), "{note}");
    until_problem(&bed, "busy", |problem| {
        problem.is_some_and(|it| it.contains("token_revoked"))
    })
    .await?;
    bed.slack.set_installation(Installation::Active);
    until_posted(&bed, "busy", &over(&bed.general)).await?;
    until_problem(&bed, "busy", |problem| problem.is_none()).await
}

#[tokio::test]
async fn a_freeze_that_ends_untold_says_no_longer_that_slack_does_not_accept_the_app() -> Result<()>
{
    let bed = Bed::new("untold").await?;
    let relay = bed.relay()?;
    relay.ready().await?;
    bed.slack.set_installation(Installation::TokenRevoked);
    let revoked = |problem: Option<&str>| problem.is_some_and(|it| it.contains("token_revoked"));
    freeze(&bed, "busy", &[&bed.general]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    until_problem(&bed, "busy", revoked).await?;
    status(&bed, "busy", off()).await?;
    // The same watch brought the other one after it: the relay knows that it is over.
    freeze(&bed, "later", &[&bed.deploys]).await?;
    status(&bed, "later", on(SINCE.0)).await?;
    until_problem(&bed, "later", revoked).await?;
    until_problem(&bed, "busy", revoked).await?;
    bed.slack.set_installation(Installation::Active);
    until_problem(&bed, "busy", |problem| problem.is_none()).await?;
    // Once, and nothing is told of it.
    let written = freezes(&bed).get("busy").await?.metadata.resource_version;
    until_posted(&bed, "later", &began(&bed.deploys)).await?;
    until_done(&bed, "after").await?;
    let now = freezes(&bed).get("busy").await?.metadata.resource_version;
    assert_eq!(now, written);
    assert!(bed.slack.messages("general").is_empty());
    Ok(())
}

#[tokio::test]
async fn where_nobody_may_look_a_freezes_second_copy_is_said() -> Result<()> {
    let bed = Bed::new("second").await?;
    bed.slack.inject(Fault::on(POST, Effect::LoseAnswer));
    let _relay = bed.relay()?;
    freeze(&bed, "busy", &[&bed.general]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    until_posted(&bed, "busy", &began(&bed.general)).await?;
    bed.until_event("busy", "SlackUncertain").await?;
    until_problem(&bed, "busy", |problem| {
        problem.is_some_and(|it| it.contains("posted once more"))
    })
    .await?;
    assert_eq!(
        all_for(&bed.slack, "general", &began(&bed.general)).len(),
        2
    );
    Ok(())
}

#[tokio::test]
async fn that_a_freeze_is_over_does_not_wait_behind_a_post_that_waits_for_its_turn() -> Result<()> {
    let bed = Bed::new("waiting").await?;
    bed.slack
        .add_channel("ops", ChannelKind::Public, &["foredeck"]);
    let ops = bed.slack.channel("ops")?.id;
    // No post goes out any more after the first, for longer than this test is patient.
    let enough = Fault::on(POST, Effect::RateLimited(600)).with("channel", &bed.deploys);
    bed.slack.inject(enough);
    let _relay = bed.relay()?;
    freeze(&bed, "busy", &[&bed.general, &bed.deploys, &ops]).await?;
    status(&bed, "busy", on(SINCE.0)).await?;
    until_posted(&bed, "busy", &began(&bed.general)).await?;
    wait_for("Slack has enough", PATIENCE, async || {
        let calls = bed.slack.calls_of(POST).len();
        ensure!(calls == 2, "{}", bed.slack.describe());
        Ok(())
    })
    .await?;
    status(&bed, "busy", off()).await?;
    bed.until_says("general", "✅ Over: the freeze by").await?;
    Ok(())
}

#[tokio::test]
async fn freezes_of_the_home_namespace_are_told_by_a_relay_of_other_namespaces() -> Result<()> {
    let bed = Bed::new("home").await?;
    let team = bed.plane.namespace("team").await?;
    let mut settings = bed.settings();
    settings.namespaces = vec![team];
    settings.home = Some(bed.namespace.clone());
    let _relay = bed.relay_with(settings)?;
    freeze(&bed, "stop-all", &[&bed.general]).await?;
    status(
        &bed,
        "stop-all",
        json!({"since": SINCE.0, "conditions": active("True")}),
    )
    .await?;
    bed.until_says("general", "🛑 Everything is stopped")
        .await?;
    // Requests of that namespace aren't its business.
    bed.request("one", spec()).await?;
    until_posted(&bed, "stop-all", &began(&bed.general)).await?;
    assert!(bed.told("one").await?.messages.is_empty());
    Ok(())
}
