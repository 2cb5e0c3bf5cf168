//! What is held, what passes all the same, and who gets to know.

use anyhow::{Result, ensure};
use foredeck_testkit::slack::{Effect, Fault};
use serde_json::{Value, json};

use crate::{
    killed::Doomed,
    support::{Bed, all_for, entry, now, queued, running, spec, succeeded},
};

const POST: &str = "chat.postMessage";

/// Held by a freeze and a lock, or let through both.
fn held(state: &str) -> Value {
    let gates = json!([
        {"gate": "Freeze", "state": state, "reason": "Frozen", "until": "2100-01-01T00:00:00Z", "message": "freeze \"black-friday\" holds it: the busiest day."},
        {"gate": "Lock", "state": state, "reason": "Locked", "message": "bob@corp.example locked it: the database moves."},
    ]);
    let waiting =
        json!({"for": "Freeze", "message": "freeze \"black-friday\" holds it.", "since": now()});
    json!({"phase": "Queued", "gates": gates, "waiting": waiting})
}

fn overridden() -> Value {
    let mut status = running();
    status["gates"] = held("Overridden")["gates"].clone();
    status["waiting"] = json!(null);
    status["decisions"] = json!([
        {"at": now(), "what": "Overridden", "by": "bob@corp.example", "why": "the shop is down"},
    ]);
    status
}

#[tokio::test]
async fn what_is_held_says_so_until_somebody_lets_it_pass() -> Result<()> {
    let bed = Bed::new("held").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", held("Closed")).await?;
    let message = bed
        .until_says("deploys", "held by a freeze until <!date^4102444800^")
        .await?;
    let text = serde_json::to_string(message.blocks())?;
    for part in [
        "busiest day",
        "the database moves",
        "request-override",
        "request-cancel",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // The same again is no news. What comes later is told of another, so that it was seen.
    let updates = || {
        let calls = bed.slack.calls_of("chat.update");
        let own = calls
            .iter()
            .filter(|call| call.argument("ts") == message.ts);
        own.count()
    };
    let before = updates();
    bed.status("one", json!({"observedGeneration": 1})).await?;
    bed.request("two", bed.asked()).await?;
    bed.status("two", queued()).await?;
    bed.until_posted("two", "live").await?;
    bed.status("one", overridden()).await?;
    let running = bed.until_says("deploys", "running").await?;
    let text = serde_json::to_string(running.blocks())?;
    assert!(
        text.contains("*Overridden* by `bob@corp.example`") && text.contains("the shop is down"),
        "{text}"
    );
    assert!(!text.contains("request-override"), "{text}");
    bed.status("one", succeeded()).await?;
    let ended = bed.until_says("deploys", "*production*: succeeded").await?;
    let text = serde_json::to_string(ended.blocks())?;
    assert!(
        text.contains("*Overridden* by `bob@corp.example`"),
        "to its end: {text}"
    );
    assert_eq!(updates(), before + 2, "{}", bed.slack.describe());
    assert_eq!(bed.slack.violations(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_override_is_told_once_in_each_channel_of_the_environment() -> Result<()> {
    let bed = Bed::new("announced").await?;
    bed.environment(json!({"channel": bed.deploys, "also": [bed.general]}))
        .await?;
    // Slack has enough of us just then.
    bed.slack
        .inject(Fault::on(POST, Effect::RateLimited(1)).with("channel", &bed.general));
    let relay = bed.relay()?;
    bed.request("one", spec()).await?;
    bed.status("one", overridden()).await?;
    let purposes = [&bed.deploys, &bed.general].map(|channel| format!("overridden:{channel}"));
    for purpose in &purposes {
        bed.until_posted("one", purpose).await?;
    }
    let said = bed
        .until_says("general", "overridden by `bob@corp.example`")
        .await?;
    assert!(said.text().contains("past a freeze and a lock"), "{said:?}");
    assert!(serde_json::to_string(said.blocks())?.contains("the shop is down"));
    relay.stop().await?;
    let relay = bed.relay()?;
    relay.ready().await?;
    bed.status("one", succeeded()).await?;
    bed.until_posted("one", &format!("ended:{}", bed.general))
        .await?;
    for (channel, purpose) in ["deploys", "general"].iter().zip(&purposes) {
        assert_eq!(all_for(&bed.slack, channel, purpose).len(), 1, "{purpose}");
    }
    Ok(())
}

#[tokio::test]
async fn a_relay_that_dies_announces_no_override_twice() -> Result<()> {
    let points = [
        "after-slack-intent",
        "before-slack-post",
        "after-slack-post",
        "before-slack-record",
        "after-slack-record",
    ];
    let outcomes = points.map(|point| async move {
        let bed = Bed::new("doomed").await?;
        bed.may_look();
        bed.environment(json!({"channel": bed.general})).await?;
        // The live message is the first; the announcement the second.
        let doomed = Doomed::start(&bed, &format!("{point}@2"))?;
        bed.request("one", spec()).await?;
        bed.status("one", overridden()).await?;
        doomed.died(point).await?;
        let _next = bed.relay()?;
        let purpose = format!("overridden:{}", bed.general);
        bed.until_posted("one", &purpose).await?;
        bed.status("one", succeeded()).await?;
        bed.until_says("general", "*production*: succeeded").await?;
        let all = all_for(&bed.slack, "general", &purpose);
        ensure!(all.len() == 1, "{point}: {}", bed.slack.describe());
        Ok(())
    });
    futures::future::try_join_all(outcomes).await.map(drop)
}

#[tokio::test]
async fn an_override_is_not_announced_among_strangers() -> Result<()> {
    let bed = Bed::new("strangers").await?;
    bed.environment(json!({"channel": bed.deploys, "also": [bed.general]}))
        .await?;
    bed.slack
        .change_channel("general", |channel| channel.is_ext_shared = true);
    let _relay = bed.relay()?;
    bed.request("one", spec()).await?;
    bed.status("one", overridden()).await?;
    let purpose = format!("overridden:{}", bed.general);
    let told = bed
        .until_told("one", "it is refused", |told| {
            entry(told, &purpose).is_some_and(|entry| entry.refused.is_some())
        })
        .await?;
    let refused = entry(&told, &purpose).and_then(|entry| entry.refused.as_deref());
    assert_eq!(refused, Some("shared_channel"));
    assert!(bed.slack.messages("general").is_empty());
    Ok(())
}
