//! Bringing a message up to date: the newest state, one call at a time, the end before everything else. Touches the API
//! server and Slack.

use tokio::time::Instant;

use super::{
    context::{Context, Gone},
    error::RelayError,
    ledger::{self, Ledger, Written},
    means::Means,
    message, plan,
    post::{Turn, Turned, turn},
    telling::{Done, Scene, Telling, look, urgency},
    trouble,
};
use crate::{
    api::deploy_request::{SlackMessage, SlackStatus},
    runtime::crash,
    slack::{
        blocks::Message,
        client::{Permit, Posted, Priority, SlackError},
    },
};

/// How often Slack is told that a request is gone.
const GONE_TRIES: u32 = 5;

/// Shows what there is to show once it is our turn.
pub(super) async fn update<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    purpose: &T::Purpose,
    planned: Priority,
) -> Result<Done, RelayError> {
    let uid = scene.uid();
    let priority = urgency(telling, scene, planned);
    if priority != Priority::Final {
        let since = telling.memories().recall(&uid, |memory| memory.updated);
        let interval = telling.update_interval();
        let left = since.map(|since| interval.saturating_sub(since.elapsed()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Ok(Done::Later(left));
        }
    }
    let permit = match turn(telling, scene, priority, Turn::Update).await {
        Turned::Ours(permit) => permit,
        Turned::Urgent => return Ok(Done::Next),
        Turned::Ended => return Ok(Done::NotOurs),
    };
    let Some(scene) = look(telling, &scene.object).await? else {
        return Ok(Done::Next);
    };
    // Looking may have asked the API server.
    if !telling.may_act() {
        return Ok(Done::NotOurs);
    }
    let newest = telling.planned_update(&scene, purpose);
    let Some((at, message)) = newest else {
        return Ok(Done::Next);
    };
    crash::point("before-slack-update");
    let shown = show(telling, permit, &at, &message).await;
    crash::point("after-slack-update");
    let Some(shown) = shown else {
        return Ok(Done::NotOurs);
    };
    telling
        .memories()
        .remember(&uid, |memory| memory.updated = Some(Instant::now()));
    match shown {
        Ok(plain) => {
            telling.memories().succeeded(&uid, purpose);
            telling.metrics.told(T::word(purpose), "updated");
            shows(telling, &scene, purpose, &message, |told| {
                trouble::is_accepted(told);
                if plain {
                    told.problem = Some(trouble::PLAIN.to_owned());
                } else if told.problem.as_deref() == Some(trouble::PLAIN) {
                    told.problem = None;
                }
            })
            .await
        }
        Err(error) => trouble::not_updated(telling, &scene, purpose, &message, &error).await,
    }
}

/// Shows it; with ever less of it where Slack doesn't take what we made. Whether it had to be plain. `None` when we are
/// to end and Slack didn't take it yet.
pub(super) async fn show(
    means: &Means,
    permit: Permit,
    at: &Posted,
    message: &Message,
) -> Option<Result<bool, SlackError>> {
    let mut refused = match means.slack.update_message(permit, at, message).await {
        Err(error @ SlackError::OurBug { .. }) => error,
        other => return Some(other.map(|()| false)),
    };
    for plainer in [
        message.without_blocks(),
        Message::plain(message.text().clone()),
    ] {
        tracing::error!(error = %refused, "Slack doesn't take a message of ours; it is shown with less in it");
        let turn = means.slack.reserve_update(Priority::Final);
        let permit = means.unless_ended(turn).await?;
        match means.slack.update_message(permit, at, &plainer).await {
            Err(error @ SlackError::OurBug { .. }) => refused = error,
            other => return Some(other.map(|()| true)),
        }
    }
    Some(Err(refused))
}

/// Writes down what a message shows.
pub(super) async fn shows<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    purpose: &T::Purpose,
    message: &Message,
    change: impl FnOnce(&mut SlackStatus),
) -> Result<Done, RelayError> {
    let Some(entry) = plan::entry(&scene.ledger.told, purpose) else {
        return Ok(Done::Next);
    };
    let entry = SlackMessage {
        digest: Some(message::digest(message)),
        phase: T::phase(&scene.object),
        ..entry.clone()
    };
    let Some(mut next) = ledger::with_entry(&scene.ledger.told, entry) else {
        return Ok(Done::Next);
    };
    change(&mut next);
    write(telling, scene, &next).await
}

/// Writes what was told. A conflict is looked at again: what was shown may be shown twice.
pub(super) async fn write<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    next: &SlackStatus,
) -> Result<Done, RelayError> {
    crash::point("before-slack-record");
    let written = scene
        .ledger
        .write(&telling.client, &scene.object, next)
        .await?;
    crash::point("after-slack-record");
    let uid = scene.uid();
    match written {
        Written::Done(ledger) => {
            telling
                .memories()
                .remember(&uid, |memory| memory.ledger = Some(ledger));
        }
        Written::Conflict => {
            let fresh = Ledger::read(&telling.client, &scene.object).await?;
            telling.memories().remember(&uid, |memory| {
                memory.ledger = fresh.map(|(_, ledger)| ledger);
            });
        }
        Written::Gone => {}
    }
    Ok(Done::Next)
}

/// A message about a request that was deleted says so.
pub(super) async fn tell_gone(context: &Context, gone: Gone) {
    let message = message::gone(&gone.request, &gone.purpose);
    let word = gone.purpose.word();
    for attempt in 0..GONE_TRIES {
        let permit = context.slack.reserve_update(Priority::Final).await;
        if context.cached(&gone.request).is_some() {
            return;
        }
        if !context.may_end() {
            break;
        }
        match show(context, permit, &gone.at, &message).await {
            Some(Ok(_)) => {
                context.metrics.told(word, "gone");
                return;
            }
            None => break,
            Some(Err(error @ (SlackError::Retry { .. } | SlackError::Stop { .. }))) => {
                let wait = error
                    .retry_after()
                    .unwrap_or(context.settings.pace.shortest_update * 2_u32.pow(attempt));
                tokio::time::sleep(wait).await;
            }
            Some(Err(error)) => {
                tracing::warn!(
                    reason = error.reason(),
                    "a message can't say that its request is gone"
                );
                break;
            }
        }
    }
    context.metrics.told(word, "gone-lost");
    tracing::warn!(
        message.purpose = word,
        "a message could not say that its request is gone"
    );
}
