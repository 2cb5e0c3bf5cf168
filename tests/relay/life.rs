//! One message from the beginning to the end, and what goes with it.

use std::time::Duration;

use anyhow::Result;
use foredeck::api::DeployRequest;
use foredeck_testkit::slack::{ChannelKind, Effect, Fault};
use serde_json::json;

use crate::support::{Bed, all_for, entry, failed, purpose, queued, running, spec, succeeded};

#[tokio::test]
async fn one_message_from_start_to_end() -> Result<()> {
    let bed = Bed::new("life").await?;
    let relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_says("deploys", "waits for its turn").await?;
    bed.status("one", running()).await?;
    bed.until_says("deploys", "running").await?;
    bed.status("one", succeeded()).await?;
    bed.until_posted("one", "end").await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    let messages = bed.slack.messages("deploys");
    let shown: Vec<(String, bool)> = messages
        .iter()
        .map(|message| (purpose(message), message.is_reply()))
        .collect();
    assert_eq!(
        shown,
        [("live".to_owned(), false), ("end".to_owned(), true)]
    );
    assert!(
        messages[1].text().contains(&format!("<@{}>", bed.alice)),
        "{:?}",
        messages[1]
    );
    assert!(!messages[1].broadcast, "a good end is not for everybody");
    let told = bed.told("one").await?;
    assert_eq!(
        entry(&told, "live").unwrap().ts.as_ref(),
        Some(&messages[0].ts)
    );
    assert_eq!(told.problem, None);
    let request = bed.api::<DeployRequest>().get("one").await?;
    let managers = request.metadata.managed_fields.unwrap_or_default();
    let ours = managers
        .iter()
        .find(|entry| entry.manager.as_deref() == Some("foredeck-relay"))
        .expect("writes under a name of its own");
    let fields = serde_json::to_value(&ours.fields_v1)?["f:status"].clone();
    let fields: Vec<&String> = fields
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(fields, ["f:slack"], "and nothing else");
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    relay.stop().await
}

#[tokio::test]
async fn buttons_go_when_they_no_longer_apply() -> Result<()> {
    let bed = Bed::new("buttons").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    let message = bed.until_says("deploys", "running").await?;
    let text = serde_json::to_string(message.blocks())?;
    assert!(text.contains("request-cancel"), "{text}");
    bed.status("one", failed()).await?;
    let message = bed.until_says("deploys", "*production*: failed").await?;
    let text = serde_json::to_string(message.blocks())?;
    assert!(!text.contains("request-cancel"), "{text}");
    assert!(text.contains("0 of 3 pods are ready"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_failure_is_shown_in_the_channel_too() -> Result<()> {
    let bed = Bed::new("failure").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    bed.until_posted("one", "live").await?;
    bed.status("one", failed()).await?;
    bed.until_posted("one", "end").await?;
    let end = &all_for(&bed.slack, "deploys", "end")[0];
    assert!(end.broadcast && end.is_reply(), "{end:?}");
    let text = serde_json::to_string(end.blocks())?;
    assert!(
        text.contains("Failed stage") && text.contains("0 of 3 pods"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn stages_are_told_in_the_thread_of_what_runs_long() -> Result<()> {
    let bed = Bed::new("stages").await?;
    let mut settings = bed.settings();
    settings.timing.stages = Duration::ZERO;
    let _relay = bed.relay_with(settings)?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    bed.until_posted("one", "stages").await?;
    bed.status("one", succeeded()).await?;
    bed.until_seen("the last stage's end", |world| {
        let all = world.messages("deploys");
        let stages = all.iter().find(|message| purpose(message) == "stages")?;
        let text = serde_json::to_string(stages.blocks()).ok()?;
        text.contains("`Deploy`: succeeded").then_some(())
    })
    .await?;
    assert_eq!(all_for(&bed.slack, "deploys", "stages").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_restart_says_nothing_anew() -> Result<()> {
    let bed = Bed::new("restart").await?;
    let relay = bed.relay()?;
    for name in ["ended", "runs"] {
        bed.request(name, bed.asked()).await?;
        bed.status(name, running()).await?;
    }
    bed.until_posted("runs", "live").await?;
    bed.status("ended", succeeded()).await?;
    bed.until_posted("ended", "end").await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    relay.stop().await?;
    // What is the relay's word for being done with what it found: a request that came after the others.
    let before = bed.slack.messages("deploys").len();
    bed.slack.forget_calls();
    let relay = bed.relay()?;
    relay.ready().await?;
    bed.request("later", bed.asked_in(&json!({"channel": bed.general})))
        .await?;
    bed.status("later", queued()).await?;
    bed.until_posted("later", "live").await?;
    assert_eq!(bed.slack.messages("deploys").len(), before);
    let methods: Vec<String> = bed
        .slack
        .calls()
        .into_iter()
        .map(|call| call.method)
        .collect();
    assert_eq!(
        methods,
        ["auth.test", "conversations.info", "chat.postMessage"]
    );
    Ok(())
}

#[tokio::test]
async fn what_ended_before_anybody_told_is_old_news() -> Result<()> {
    let bed = Bed::new("old").await?;
    bed.request("old", bed.asked()).await?;
    let mut ended = succeeded();
    ended["finishedAt"] = json!("2024-01-01T00:00:00Z");
    bed.status("old", ended).await?;
    bed.request("new", bed.asked()).await?;
    bed.status("new", succeeded()).await?;
    let _relay = bed.relay()?;
    bed.until_posted("new", "end").await?;
    assert!(bed.told("old").await?.messages.is_empty());
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 1);
    Ok(())
}

#[tokio::test]
async fn without_a_word_from_the_controller_it_is_told_all_the_same() -> Result<()> {
    let bed = Bed::new("silent").await?;
    let _relay = bed.relay()?;
    // No status at all: the first write of what was told makes one.
    bed.request("one", bed.asked()).await?;
    bed.until_posted("one", "live").await?;
    bed.until_says("deploys", "being checked").await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_request_is_said_to_be_gone() -> Result<()> {
    let bed = Bed::new("gone").await?;
    let _relay = bed.relay()?;
    for name in ["runs", "ended"] {
        bed.request(name, bed.asked()).await?;
        bed.status(name, running()).await?;
        bed.until_posted(name, "live").await?;
    }
    bed.status("ended", succeeded()).await?;
    bed.until_posted("ended", "end").await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    bed.delete("ended").await?;
    bed.delete("runs").await?;
    bed.until_says("deploys", "its request was deleted").await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_deleted_while_it_is_posted_is_said_to_be_gone_by_a_relay_that_ends()
-> Result<()> {
    let bed = Bed::new("ending").await?;
    let slow = Effect::SlowAnswer(Duration::from_secs(5));
    bed.slack
        .inject(Fault::on("chat.postMessage", slow).with("channel", &bed.deploys));
    let relay = bed.patient_relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    bed.until_seen("a message", |world| {
        (!world.messages("deploys").is_empty()).then_some(())
    })
    .await?;
    bed.delete("one").await?;
    // The same watch brought the other one after it: the relay knows that it went.
    bed.request("two", bed.asked_in(&json!({"channel": bed.general})))
        .await?;
    bed.status("two", queued()).await?;
    bed.until_posted("two", "live").await?;
    relay.stop().await?;
    let all = bed.slack.messages("deploys");
    assert!(
        all.len() == 1 && all[0].text().contains("its request was deleted"),
        "{}",
        bed.slack.describe()
    );
    Ok(())
}

#[tokio::test]
async fn requests_of_kubectl_are_told_where_the_environment_says() -> Result<()> {
    let bed = Bed::new("kubectl").await?;
    let _relay = bed.relay()?;
    bed.request("nowhere", spec()).await?;
    bed.status("nowhere", queued()).await?;
    bed.environment(json!({"channel": bed.general})).await?;
    // An Environment that begins to notify has what runs already told.
    bed.until_posted("nowhere", "live").await?;
    bed.status("nowhere", succeeded()).await?;
    bed.until_says("general", "*production*: succeeded").await?;
    let told = bed.told("nowhere").await?;
    assert!(
        entry(&told, "end").is_none(),
        "nobody to be called: {told:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_start_is_told_where_that_is_wanted() -> Result<()> {
    let bed = Bed::new("hello").await?;
    bed.slack
        .add_channel("ops", ChannelKind::Public, &["foredeck"]);
    let mut settings = bed.settings();
    settings.startup_channel = Some(bed.slack.channel("ops")?.id.parse()?);
    let _relay = bed.relay_with(settings)?;
    bed.until_says("ops", "has started").await?;
    Ok(())
}
