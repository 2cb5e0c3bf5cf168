//! Threads, other channels, and who is told where it is.

use anyhow::Result;
use foredeck_testkit::slack::{Effect, Fault};
use serde_json::json;

use crate::support::{Bed, all_for, entry, failed, queued, running, spec, succeeded};

#[tokio::test]
async fn asked_in_a_thread_all_is_told_there() -> Result<()> {
    let bed = Bed::new("thread").await?;
    let said = bed.slack.user("alice").say("deploys", None, "shall we?")?;
    let parent = said.message.ts;
    let _relay = bed.relay()?;
    bed.request(
        "one",
        bed.asked_in(&json!({"channel": bed.deploys, "threadTs": parent})),
    )
    .await?;
    bed.status("one", running()).await?;
    bed.until_posted("one", "live").await?;
    bed.status("one", failed()).await?;
    bed.until_posted("one", "end").await?;
    let replies = bed.slack.channel("deploys")?.replies(&parent);
    let broadcasts: Vec<bool> = replies.iter().map(|reply| reply.broadcast).collect();
    assert_eq!(
        broadcasts,
        [false, true],
        "the live message, and the failure for everybody"
    );
    assert_eq!(bed.slack.messages("deploys").len(), 3);
    Ok(())
}

#[tokio::test]
async fn the_environments_channel_holds_it_and_who_asked_gets_a_link() -> Result<()> {
    let bed = Bed::new("link").await?;
    bed.environment(json!({"channel": bed.general})).await?;
    let said = bed.slack.user("alice").say("deploys", None, "shall we?")?;
    let _relay = bed.relay()?;
    bed.request("channel", bed.asked()).await?;
    bed.status("channel", queued()).await?;
    bed.request(
        "thread",
        bed.asked_in(&json!({"channel": bed.deploys, "threadTs": said.message.ts})),
    )
    .await?;
    bed.status("thread", queued()).await?;
    bed.until_posted("channel", "live").await?;
    bed.until_posted("thread", "link").await?;
    assert_eq!(all_for(&bed.slack, "general", "live").len(), 2);
    let whisper = bed
        .until_seen("a link that only alice sees", |world| {
            world.ephemerals("alice").first().cloned()
        })
        .await?;
    assert!(whisper.text.contains("|the message>"), "{}", whisper.text);
    let link = &all_for(&bed.slack, "deploys", "link")[0];
    assert!(
        link.is_reply() && link.text().contains("|the message>"),
        "{link:?}"
    );
    Ok(())
}

#[tokio::test]
async fn further_channels_get_two_lines() -> Result<()> {
    let bed = Bed::new("also").await?;
    bed.environment(json!({"channel": bed.deploys, "also": [bed.general]}))
        .await?;
    let _relay = bed.relay()?;
    bed.request("one", spec()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    assert!(bed.slack.messages("general").is_empty(), "nothing runs yet");
    bed.status("one", running()).await?;
    bed.until_says("general", "started").await?;
    bed.status("one", succeeded()).await?;
    bed.until_says("general", "succeeded").await?;
    let lines = bed.slack.messages("general");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines
            .iter()
            .all(|line| !line.is_reply() && line.text().contains("|details>")),
        "{lines:?}"
    );
    Ok(())
}

/// A line waits for its turn when the request ends: how it ended is shown elsewhere at once.
#[tokio::test]
async fn a_line_that_waits_does_not_hold_up_the_end() -> Result<()> {
    let bed = Bed::new("busy").await?;
    bed.environment(json!({"also": [bed.general]})).await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    // Slack takes no posts for a while, and updates all the same.
    let limited = Fault::on("chat.postMessage", Effect::RateLimited(15));
    bed.slack.inject(limited.with("channel", &bed.general));
    bed.request("other", bed.asked_in(&json!({"channel": bed.general})))
        .await?;
    bed.status("other", queued()).await?;
    bed.until_seen("a post is refused", |_| {
        (bed.slack.pending_faults() == 0).then_some(())
    })
    .await?;
    bed.status("one", running()).await?;
    // Asked for the line, right before it waits.
    bed.until_seen("a link is asked for", |_| {
        let asked = bed.slack.calls_of("chat.getPermalink");
        asked.first()?.answer.is_some().then_some(())
    })
    .await?;
    bed.status("one", succeeded()).await?;
    let lines = bed
        .until_seen("how it ended", |world| {
            let all = world.messages("deploys");
            all.iter()
                .find(|message| message.text().contains("*production*: succeeded"))?;
            Some(world.messages("general"))
        })
        .await?;
    assert!(lines.is_empty(), "only after others: {lines:?}");
    Ok(())
}

#[tokio::test]
async fn a_further_channel_that_refuses_holds_nothing_up() -> Result<()> {
    let bed = Bed::new("refused").await?;
    bed.environment(json!({"also": [bed.general]})).await?;
    bed.slack.remove_app_from("general");
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    let told = bed
        .until_told("one", "the line is refused", |told| {
            told.messages.iter().any(|entry| entry.refused.is_some())
        })
        .await?;
    assert_eq!(
        entry(&told, &format!("started:{}", bed.general))
            .unwrap()
            .refused
            .as_deref(),
        Some("not_in_channel")
    );
    bed.until_event("one", "SlackRefused").await?;
    bed.status("one", succeeded()).await?;
    bed.until_posted("one", "end").await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    Ok(())
}

#[tokio::test]
async fn a_direct_message_is_told_in_the_direct_message() -> Result<()> {
    let bed = Bed::new("direct").await?;
    bed.slack.user("alice").direct_message("hello")?;
    let channel = bed.slack.world(|world| {
        world
            .direct_channel(&bed.alice)
            .map(|channel| channel.id.clone())
    });
    let _relay = bed.relay()?;
    bed.request("one", bed.asked_in(&json!({"channel": channel})))
        .await?;
    bed.status("one", running()).await?;
    bed.until_posted("one", "live").await?;
    bed.status("one", succeeded()).await?;
    bed.until_posted("one", "end").await?;
    bed.until_seen("the end of it", |world| {
        let all = world.direct_messages("alice");
        all.into_iter()
            .find(|message| message.by_app && message.text().starts_with("✅"))
    })
    .await?;
    Ok(())
}
