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

/// Whoever may create a request could have any channel told something else.
#[tokio::test]
async fn a_channel_that_nobody_lists_is_told_nothing_until_somebody_does() -> Result<()> {
    let bed = Bed::new("unlisted").await?;
    let _relay = bed.relay()?;
    let mut foreign = spec();
    foreign["notify"] = json!({"slack": {"channel": bed.deploys}});
    bed.request("foreign", foreign).await?;
    bed.status("foreign", queued()).await?;
    // The relay's word for being done with it: one that came later is told.
    bed.request("own", bed.asked_in(&json!({"channel": bed.general})))
        .await?;
    bed.status("own", queued()).await?;
    bed.until_posted("own", "live").await?;
    assert!(bed.told("foreign").await?.messages.is_empty());
    assert!(bed.slack.messages("deploys").is_empty());
    bed.application(&[&bed.deploys]).await?;
    bed.until_posted("foreign", "live").await?;
    bed.until_says("deploys", "waits for its turn").await?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_told_where_another_organisation_reads_along() -> Result<()> {
    let bed = Bed::new("shared").await?;
    bed.environment(json!({"channel": bed.general, "also": [bed.deploys]}))
        .await?;
    for channel in ["general", "deploys"] {
        bed.slack
            .change_channel(channel, |channel| channel.is_ext_shared = true);
    }
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    let live = bed.until_posted("one", "live").await?;
    let direct = bed.slack.world(|world| {
        world
            .direct_channel(&bed.alice)
            .map(|channel| channel.id.clone())
    });
    assert_eq!(Some(live.channel), direct);
    bed.status("one", failed()).await?;
    bed.until_posted("one", "end").await?;
    let told = bed
        .until_told("one", "the line is refused", |told| {
            told.messages.iter().any(|entry| entry.refused.is_some())
        })
        .await?;
    let refused = entry(&told, &format!("ended:{}", bed.deploys))
        .or(entry(&told, &format!("started:{}", bed.deploys)));
    assert_eq!(refused.unwrap().refused.as_deref(), Some("shared_channel"));
    let note = bed.until_event("one", "SlackMoved").await?;
    assert!(note.contains("shared with another organisation"), "{note}");
    for channel in ["general", "deploys"] {
        assert!(bed.slack.messages(channel).is_empty(), "{channel}");
    }
    Ok(())
}

#[tokio::test]
async fn an_environment_may_allow_channels_that_are_shared() -> Result<()> {
    let bed = Bed::new("allowed").await?;
    bed.environment_under(
        json!({"channel": bed.general}),
        json!({"allowShared": true}),
    )
    .await?;
    bed.slack
        .change_channel("general", |channel| channel.is_ext_shared = true);
    let _relay = bed.relay()?;
    bed.request("one", spec()).await?;
    bed.status("one", running()).await?;
    bed.until_posted("one", "live").await?;
    bed.until_says("general", "running").await?;
    Ok(())
}

/// Whether a channel is shared is not known: nothing is told there until it is.
#[tokio::test]
async fn a_channel_of_which_slack_says_nothing_waits() -> Result<()> {
    let bed = Bed::new("unknown").await?;
    let _relay = bed.relay()?;
    bed.slack
        .inject(Fault::on("conversations.info", Effect::Status(503)).times(2));
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    let calls: Vec<String> = bed
        .slack
        .calls()
        .into_iter()
        .map(|call| call.method)
        .collect();
    let first_post = calls.iter().position(|method| method == "chat.postMessage");
    let asked = calls
        .iter()
        .filter(|method| *method == "conversations.info")
        .count();
    let before = calls
        .iter()
        .take(first_post.unwrap())
        .filter(|method| *method == "conversations.info")
        .count();
    assert_eq!((asked, before), (3, 3), "{calls:?}");
    Ok(())
}
