//! Slack loses answers, refuses places, forgets messages and the app; the deployment goes on, and somebody gets to know.

use std::{cell::RefCell, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::deploy_request::EarlierMessage;
use foredeck_testkit::{
    slack::{Effect, Fault, Installation},
    wait_for,
};
use serde_json::json;

use crate::support::{
    Bed, PATIENCE, SETTLE, all_for, entry, failed, now, queued, running, succeeded,
};

const POST: &str = "chat.postMessage";
const UPDATE: &str = "chat.update";

#[tokio::test]
async fn a_post_whose_answer_is_lost_is_found_and_not_posted_again() -> Result<()> {
    for effect in [Effect::LoseAnswer, Effect::InternalErrorAfter] {
        let bed = Bed::new("lost").await?;
        bed.may_look();
        bed.slack.inject(Fault::on(POST, effect.clone()));
        let _relay = bed.relay()?;
        bed.request("one", bed.asked()).await?;
        bed.status("one", running()).await?;
        let told = bed.until_posted("one", "live").await?;
        let live = all_for(&bed.slack, "deploys", "live");
        assert_eq!(live.len(), 1, "{effect:?}");
        assert_eq!(told.ts.as_ref(), Some(&live[0].ts), "{effect:?}");
        // It is kept up to date from then on.
        bed.status("one", succeeded()).await?;
        bed.until_says("deploys", "*production*: succeeded").await?;
        bed.until_posted("one", "end").await?;
        assert_eq!(
            all_for(&bed.slack, "deploys", "live").len(),
            1,
            "{effect:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_post_that_never_arrived_is_posted_after_a_look() -> Result<()> {
    for effect in [Effect::ResetBefore, Effect::Hang, Effect::Status(502)] {
        let bed = Bed::new("never").await?;
        bed.may_look();
        bed.slack.inject(Fault::on(POST, effect.clone()));
        let _relay = bed.relay()?;
        bed.request("one", bed.asked()).await?;
        bed.status("one", queued()).await?;
        bed.until_posted("one", "live").await?;
        let live = all_for(&bed.slack, "deploys", "live");
        assert_eq!(live.len(), 1, "{effect:?}");
        let text = serde_json::to_string(live[0].blocks())?;
        assert!(!text.contains("second copy"), "nothing to warn of: {text}");
    }
    Ok(())
}

/// Slack takes a post long after nobody waits for its answer any more.
#[tokio::test]
async fn a_post_that_arrives_after_its_deadline_is_not_posted_again() -> Result<()> {
    let mut bed = Bed::new("late").await?;
    bed.may_look();
    bed.through_a_patient_proxy().await?;
    let late = Duration::from_secs(5);
    bed.slack
        .inject(Fault::on(POST, Effect::SlowStart(late)).with("channel", &bed.deploys));
    let mut settings = bed.settings();
    settings.pace.settle = Duration::from_secs(9);
    let _relay = bed.relay_with(settings)?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    bed.until_posted("one", "live").await?;
    bed.status("one", failed()).await?;
    bed.until_says("deploys", "*production*: failed").await?;
    bed.until_posted("one", "end").await?;
    bed.until_seen("the late one is there", |_| {
        let posts = bed.slack.calls_of(POST);
        posts.first()?.answer.is_some().then_some(())
    })
    .await?;
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_request_with_as_many_messages_as_it_can_hold_gets_no_more() -> Result<()> {
    let bed = Bed::new("full").await?;
    bed.request("full", bed.asked()).await?;
    let messages: Vec<_> = (0..foredeck::api::bounds::SLACK_MESSAGES)
        .map(|number| {
            let channel = format!("C0FULL{number:02}");
            json!({"purpose": format!("started:{channel}"), "channel": channel, "ts": "1.1", "since": now()})
        })
        .collect();
    let mut status = running();
    status["slack"] = json!({"messages": messages});
    bed.status("full", status).await?;
    let _relay = bed.relay()?;
    let told = bed
        .until_told("full", "it says so", |told| told.problem.is_some())
        .await?;
    assert!(
        told.problem
            .context("a problem")?
            .contains("as many messages as it can")
    );
    bed.request("other", bed.asked()).await?;
    bed.status("other", succeeded()).await?;
    bed.until_posted("other", "end").await?;
    assert_eq!(
        bed.slack.calls_of(POST).len(),
        2,
        "the other's live message and end"
    );
    Ok(())
}

/// Slack refuses one call as if it didn't accept the app, which it does.
#[tokio::test]
async fn what_slack_refuses_to_one_message_stops_only_that_message() -> Result<()> {
    let bed = Bed::new("only").await?;
    let denied = Fault::on(POST, Effect::Error("access_denied".into()));
    bed.slack
        .inject(denied.with("channel", &bed.general).permanently());
    let relay = bed.relay()?;
    relay.ready().await?;
    bed.request("denied", bed.asked_in(&json!({"channel": bed.general})))
        .await?;
    bed.status("denied", running()).await?;
    let told = bed
        .until_told("denied", "it is refused", |told| {
            entry(told, "live").is_some_and(|live| live.refused.is_some())
        })
        .await?;
    let problem = told.problem.context("a problem")?;
    assert!(
        problem.contains("access_denied") && !problem.contains("invite"),
        "{problem}"
    );
    assert_eq!(relay.parts.readiness.closed(), []);
    assert!(relay.metrics()?.contains("relay_stopped 0"));
    bed.request("other", bed.asked()).await?;
    bed.status("other", succeeded()).await?;
    bed.until_posted("other", "end").await?;
    Ok(())
}

#[tokio::test]
async fn where_the_app_may_not_look_a_second_copy_says_so() -> Result<()> {
    let bed = Bed::new("blind").await?;
    bed.slack
        .change_app(|app| app.scopes.retain(|scope| !scope.ends_with(":history")));
    bed.slack.inject(Fault::on(POST, Effect::LoseAnswer));
    let relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    let told = bed.until_posted("one", "live").await?;
    assert_eq!(told.earlier, Some(EarlierMessage::Unknown));
    let live = all_for(&bed.slack, "deploys", "live");
    let says = |index: usize| -> Result<bool> {
        let text = serde_json::to_string(live[index].blocks())?;
        Ok(text.contains("second copy"))
    };
    assert_eq!((live.len(), says(0)?, says(1)?), (2, false, true));
    let told = bed.told("one").await?;
    assert!(
        told.problem
            .is_some_and(|problem| problem.contains("posted once more"))
    );
    bed.until_event("one", "SlackUncertain").await?;
    let counted = r#"relay_messages_total{purpose="live",outcome="second-copy"} 1"#;
    assert!(relay.metrics()?.contains(counted));
    Ok(())
}

#[tokio::test]
async fn a_deleted_message_is_replaced_where_it_was() -> Result<()> {
    let bed = Bed::new("deleted").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    let first = bed.until_posted("one", "live").await?;
    let token = bed.slack.bot_token();
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("{}chat.delete", bed.slack.api_url()))
        .bearer_auth(token)
        .json(&json!({"channel": bed.deploys, "ts": first.ts}))
        .send()
        .await?
        .text()
        .await?;
    assert!(answer.contains("\"ok\":true"), "{answer}");
    bed.status("one", running()).await?;
    let second = bed.until_says("deploys", "running").await?;
    assert_ne!(Some(&second.ts), first.ts.as_ref());
    let text = serde_json::to_string(second.blocks())?;
    assert!(
        text.contains("takes the place of an earlier message"),
        "{text}"
    );
    bed.until_event("one", "SlackMoved").await?;
    bed.status("one", succeeded()).await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 1);
    Ok(())
}

#[tokio::test]
async fn messages_that_can_never_be_changed_are_not_repeated_for_each_step() -> Result<()> {
    let bed = Bed::new("frozen").await?;
    bed.slack
        .inject(Fault::on(UPDATE, Effect::Error("edit_window_closed".into())).permanently());
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    bed.status("one", running()).await?;
    bed.until_says("deploys", "running").await?;
    for word in ["A", "B", "C"] {
        let mut status = running();
        status["resolved"] = json!(null);
        status["execution"]["stages"][1]["name"] = json!(word);
        let updates = bed.slack.calls_of(UPDATE).len();
        bed.status("one", status).await?;
        bed.until_seen("an attempt", |_| {
            (bed.slack.calls_of(UPDATE).len() > updates).then_some(())
        })
        .await?;
    }
    bed.status("one", failed()).await?;
    bed.until_says("deploys", "*production*: failed").await?;
    assert_eq!(
        all_for(&bed.slack, "deploys", "live").len(),
        3,
        "the first, one on the way, the end"
    );
    Ok(())
}

#[tokio::test]
async fn an_archived_channel_moves_it_to_a_direct_message() -> Result<()> {
    let bed = Bed::new("archived").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    bed.slack
        .change_channel("deploys", |channel| channel.archived = true);
    bed.status("one", running()).await?;
    says_directly(&bed, "running").await?;
    bed.status("one", failed()).await?;
    says_directly(&bed, "*production*: failed").await?;
    bed.until_posted("one", "end").await?;
    let told = bed.told("one").await?;
    let problem = told.problem.unwrap_or_default();
    assert!(problem.contains("is_inactive"), "{problem}");
    bed.until_event("one", "SlackMoved").await?;
    Ok(())
}

#[tokio::test]
async fn an_app_that_is_not_in_the_channel_tells_who_asked() -> Result<()> {
    let bed = Bed::new("removed").await?;
    bed.slack.remove_app_from("deploys");
    let relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", succeeded()).await?;
    says_directly(&bed, "*production*: succeeded").await?;
    bed.until_posted("one", "end").await?;
    assert!(bed.slack.messages("deploys").is_empty());
    let counted = r#"relay_messages_total{purpose="live",outcome="moved"} 1"#;
    assert!(relay.metrics()?.contains(counted));
    Ok(())
}

#[tokio::test]
async fn an_environments_channel_that_refuses_leaves_it_where_it_was_asked() -> Result<()> {
    let bed = Bed::new("elsewhere").await?;
    bed.environment(json!({"channel": "C0NOWHERE"})).await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    let told = bed.until_posted("one", "live").await?;
    assert_eq!(told.channel, bed.deploys);
    Ok(())
}

#[tokio::test]
async fn a_revoked_token_is_said_and_nothing_is_lost() -> Result<()> {
    let bed = Bed::new("revoked").await?;
    let relay = bed.relay()?;
    relay.ready().await?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    bed.slack.set_installation(Installation::TokenRevoked);
    bed.status("one", running()).await?;
    let note = bed.until_event("one", "SlackStopped").await?;
    assert!(note.contains("token_revoked"), "{note}");
    let told = bed
        .until_told("one", "the problem is written", |told| {
            told.problem.is_some()
        })
        .await?;
    assert!(told.problem.context("a problem")?.contains("token"));
    let closed = relay.parts.readiness.closed();
    assert!(
        closed
            .iter()
            .any(|(gate, why)| *gate == "relay-slack" && why.contains("token_revoked")),
        "{closed:?}"
    );
    assert!(relay.metrics()?.contains("relay_stopped 1"));
    bed.status("one", succeeded()).await?;
    bed.slack.set_installation(Installation::Active);
    bed.until_says("deploys", "*production*: succeeded").await?;
    bed.until_posted("one", "end").await?;
    relay.ready().await?;
    let told = bed
        .until_told("one", "the problem is gone", |told| told.problem.is_none())
        .await?;
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 1, "{told:?}");
    Ok(())
}

#[tokio::test]
async fn blocks_that_slack_does_not_take_cost_the_blocks_and_not_the_message() -> Result<()> {
    let bed = Bed::new("blocks").await?;
    bed.slack
        .inject(Fault::on(POST, Effect::Error("invalid_blocks".into())));
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    bed.until_posted("one", "live").await?;
    let live = &all_for(&bed.slack, "deploys", "live")[0];
    assert!(
        live.blocks().is_empty() && live.text().contains("running"),
        "{live:?}"
    );
    let problem = |told: &foredeck::api::deploy_request::SlackStatus| {
        told.problem
            .as_ref()
            .is_some_and(|problem| problem.contains("plain text"))
    };
    bed.until_told("one", "it says so", problem).await?;
    // It is whole again with the next update.
    let mut status = running();
    status["execution"]["stages"][1]["name"] = json!("Smoke test");
    status["stage"] = json!("Smoke test");
    bed.status("one", status).await?;
    bed.until_told("one", "nothing is wrong any more", |told| {
        told.problem.is_none()
    })
    .await?;
    assert!(
        !all_for(&bed.slack, "deploys", "live")[0]
            .blocks()
            .is_empty()
    );
    // The end is told even when nothing but the words is taken.
    bed.slack
        .inject(Fault::on(UPDATE, Effect::Error("msg_blocks_too_long".into())).times(2));
    bed.status("one", failed()).await?;
    bed.until_says("deploys", "*production*: failed").await?;
    Ok(())
}

#[tokio::test]
async fn limits_are_waited_out() -> Result<()> {
    let bed = Bed::new("limited").await?;
    bed.slack.inject(Fault::on(POST, Effect::RateLimited(2)));
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_posted("one", "live").await?;
    assert_eq!(bed.slack.calls_of(POST).len(), 2);
    assert_eq!(
        entry(&bed.told("one").await?, "live")
            .context("live")?
            .earlier,
        None
    );
    Ok(())
}

#[tokio::test]
async fn slack_is_down_for_a_while() -> Result<()> {
    let bed = Bed::new("down").await?;
    let relay = bed.relay()?;
    relay.ready().await?;
    // The channel is known by then not to be shared.
    bed.request("before", bed.asked()).await?;
    bed.status("before", running()).await?;
    bed.until_posted("before", "live").await?;
    bed.slack.stop().await;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    // Every attempt writes down anew when it was begun: 1, 2 and 4 s lie between them.
    let attempts: RefCell<Vec<String>> = RefCell::default();
    wait_for("four attempts", PATIENCE, async || {
        let told = bed.told("one").await?;
        let since = entry(&told, "live").map(|live| live.since.0.to_string());
        let mut attempts = attempts.borrow_mut();
        let new = since.filter(|since| attempts.last() != Some(since));
        attempts.extend(new);
        ensure!(attempts.len() >= 4, "{attempts:?}");
        Ok(())
    })
    .await?;
    let attempts = attempts.take();
    let at = |index: usize| attempts[index].parse::<jiff::Timestamp>();
    let between = at(3)?.as_second() - at(0)?.as_second();
    assert!(between >= 6, "{between} s for {attempts:?}");
    bed.status("one", succeeded()).await?;
    bed.slack.restart().await?;
    bed.until_posted("one", "end").await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_status_that_somebody_took_away_is_not_told_anew() -> Result<()> {
    let bed = Bed::new("wiped").await?;
    let _relay = bed.relay()?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    let first = bed.until_posted("one", "live").await?;
    bed.until_told("one", "the cache has caught up", |told| {
        told.messages.len() == 1
    })
    .await?;
    bed.status("one", json!(null)).await?;
    bed.status("one", succeeded()).await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    bed.until_posted("one", "end").await?;
    assert_eq!(bed.until_posted("one", "live").await?.ts, first.ts);
    assert_eq!(all_for(&bed.slack, "deploys", "live").len(), 1);
    Ok(())
}

/// Two relays that nothing keeps apart.
#[tokio::test]
async fn two_relays_at_once_post_one_message() -> Result<()> {
    let bed = Bed::new("two").await?;
    // Whoever is second must not take the first's slow post for one that never arrived.
    bed.slack
        .inject(Fault::on(POST, Effect::SlowStart(Duration::from_secs(1))).times(4));
    let mut settings = bed.settings();
    settings.pace.settle = SETTLE * 4;
    let _relays = (bed.relay_with(settings.clone())?, bed.relay_with(settings)?);
    let names: Vec<String> = (0..4).map(|number| format!("both-{number}")).collect();
    for name in &names {
        bed.request(name, bed.asked_in(&json!({"channel": bed.general})))
            .await?;
        bed.status(name, running()).await?;
    }
    for name in &names {
        bed.until_posted(name, "live").await?;
        bed.status(name, failed()).await?;
    }
    for name in &names {
        bed.until_posted(name, "end").await?;
    }
    bed.until_seen("every end", |world| {
        let all = world.messages("general");
        let ends = all
            .iter()
            .filter(|message| message.text().starts_with('❌'))
            .count();
        (ends >= names.len()).then_some(())
    })
    .await?;
    assert_eq!(all_for(&bed.slack, "general", "live").len(), names.len());
    assert_eq!(all_for(&bed.slack, "general", "end").len(), names.len());
    Ok(())
}

async fn says_directly(bed: &Bed, text: &str) -> Result<()> {
    bed.until_seen(&format!("{text:?} said to alice"), |world| {
        let all = world.direct_messages("alice");
        all.into_iter()
            .find(|message| message.text().contains(text))
            .map(drop)
    })
    .await
}
