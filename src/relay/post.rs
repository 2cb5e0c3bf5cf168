//! Posting, so that there is one message for each purpose: written down, posted, written down which it is. Touches the
//! API server and Slack.
//!
//! Whoever dies between the first and the last leaves an entry without a message; it is looked for by its mark, and
//! posted again only once it can't be on its way any more. Where Slack doesn't let us look, it is posted once more, and
//! says so.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    context::{Context, Unrecorded},
    error::RelayError,
    ledger::{self, Written},
    means::Means,
    message,
    pass::{Done, Scene, look_afresh, urgency},
    plan::{self, Posting, Step},
    purpose::Purpose,
    search::{Search, Wanted, search},
    trouble::{self, Verdict},
    wording,
};
use crate::{
    api::deploy_request::{EarlierMessage, SlackMessage},
    domain::backoff::elapsed,
    runtime::crash,
    slack::{
        blocks::Message,
        client::{Destination, Permit, Post, Posted, Priority, SlackClient, SlackError},
        ids::UserId,
    },
};

/// How often whoever waits for a turn looks whether it has become more urgent.
const LOOK: Duration = Duration::from_secs(1);
/// How often a record is tried when others write too.
const TRIES: usize = 4;

/// Posts a message of which it is known that it isn't there.
pub(super) async fn post(
    context: &Context,
    scene: &Scene,
    posting: Posting,
) -> Result<Done, RelayError> {
    let to = Turn::Post(&posting.spot.to);
    let permit = match turn(context, scene, posting.priority, to).await {
        Turned::Ours(permit) => permit,
        Turned::Urgent => return Ok(Done::Next),
        Turned::Ended => return Ok(Done::NotOurs),
    };
    // Decided anew, on what the API server has now: others may have been first.
    let Some(scene) = look_afresh(context, scene).await? else {
        return Ok(Done::Idle);
    };
    let wanted = scene
        .plan(context)
        .steps
        .into_iter()
        .find_map(|step| match step {
            Step::Post(fresh) if fresh.purpose == posting.purpose && fresh.spot == posting.spot => {
                Some(fresh)
            }
            _ => None,
        });
    match wanted {
        Some(posting) => begin(context, &scene, permit, posting).await,
        None => Ok(Done::Next),
    }
}

/// Writes down that it is about to be posted, and posts it.
async fn begin(
    context: &Context,
    scene: &Scene,
    permit: Permit,
    posting: Posting,
) -> Result<Done, RelayError> {
    let uid = scene.uid();
    let entry = ledger::intent(
        &posting.purpose,
        &posting.spot,
        posting.earlier,
        Timestamp::now(),
    );
    if !write_intent(context, scene, &entry).await? {
        return Ok(Done::Overtaken);
    }
    context.remember(&uid, |memory| {
        memory.unsent = Some(posting.purpose.clone());
        memory.uncertain = None;
    });
    if !context.may_act() {
        return Ok(Done::NotOurs);
    }
    crash::point("before-slack-post");
    let sent = send(context, permit, as_post(&posting), posting.purpose.word()).await;
    crash::point("after-slack-post");
    let Some(sent) = sent else {
        return Ok(Done::NotOurs);
    };
    match sent {
        Ok((at, plain)) => {
            context.succeeded(&uid, &posting.purpose);
            let word = posting.purpose.word();
            context
                .metrics
                .told(word, if plain { "plain" } else { "posted" });
            let entry = SlackMessage {
                digest: Some(message::digest(&posting.message)),
                phase: Some(message::phase(&scene.request)),
                ..entry
            };
            let unrecorded = Unrecorded { entry, at };
            context.remember(&uid, |memory| {
                memory.unsent = None;
                memory.unrecorded = Some(unrecorded.clone());
            });
            record(context, scene, unrecorded).await?;
            if plain {
                trouble::note(context, scene, trouble::PLAIN).await?;
            }
            Ok(Done::Next)
        }
        Err(error) => trouble::not_posted(context, scene, &posting, &error).await,
    }
}

/// Whether it is written down, by us. It isn't when somebody else wrote first.
async fn write_intent(
    context: &Context,
    scene: &Scene,
    entry: &SlackMessage,
) -> Result<bool, RelayError> {
    let Some(next) = ledger::with_entry(&scene.ledger.told, entry.clone()) else {
        // Others took the room since this was planned; the next plan says so.
        return Ok(false);
    };
    crash::point("before-slack-intent");
    let written = scene
        .ledger
        .write(&context.client, &scene.request, &next)
        .await?;
    crash::point("after-slack-intent");
    let Written::Done(ledger) = written else {
        return Ok(false);
    };
    context.begin(&scene.uid(), |memory| {
        memory.request = Some(scene.request.clone());
        memory.ledger = Some(ledger);
    });
    Ok(true)
}

/// Sends it; with ever less of it where Slack doesn't take what we made. Whether it had to be plain. `None` when we are
/// to end and it certainly isn't posted.
pub(super) async fn send(
    means: &Means,
    permit: Permit,
    post: Post<'_>,
    word: &'static str,
) -> Option<Result<(Posted, bool), SlackError>> {
    let message = post.message;
    let first = means.slack.post_message(permit, post.clone()).await;
    let mut refused = match first {
        Err(error @ SlackError::OurBug { .. }) => error,
        other => return Some(other.map(|at| (at, false))),
    };
    for plainer in [
        message.without_blocks(),
        Message::plain(message.text().clone()),
    ] {
        tracing::error!(message.purpose = word, error = %refused, "Slack doesn't take a message of ours; it is sent with less in it");
        let turn = means.slack.reserve_post(post.to, Priority::Final);
        let permit = means.unless_ended(turn).await?;
        let plainer = Post {
            message: &plainer,
            ..post
        };
        match means.slack.post_message(permit, plainer).await {
            Err(error @ SlackError::OurBug { .. }) => refused = error,
            other => return Some(other.map(|at| (at, true))),
        }
    }
    Some(Err(refused))
}

fn as_post(posting: &Posting) -> Post<'_> {
    Post {
        to: &posting.spot.to,
        thread: posting.spot.thread.as_ref(),
        broadcast: posting.broadcast,
        message: &posting.message,
    }
}

/// Writes down which message it is; whether that is done. Where another relay has posted for the same purpose, ours is
/// taken away.
pub(super) async fn record(
    context: &Context,
    scene: &Scene,
    unrecorded: Unrecorded,
) -> Result<bool, RelayError> {
    let uid = scene.uid();
    let Unrecorded { entry, at } = unrecorded;
    let entry = SlackMessage {
        channel: at.channel.to_string(),
        ts: Some(at.ts.to_string()),
        ..entry
    };
    let mut ledger = context
        .recall(&uid, |memory| memory.ledger.clone())
        .flatten()
        .unwrap_or_else(|| scene.ledger.clone());
    for _ in 0..TRIES {
        let purpose = Purpose::read(&entry.purpose);
        let known = purpose
            .as_ref()
            .and_then(|purpose| plan::entry(&ledger.told, purpose));
        if let Some(ts) = known.and_then(|known| known.ts.as_ref()) {
            if *ts != at.ts.as_str() {
                withdraw(context, &entry, &at).await;
            }
            context.remember(&uid, |memory| memory.unrecorded = None);
            return Ok(true);
        }
        let Some(mut next) = ledger::with_entry(&ledger.told, entry.clone()) else {
            // Somebody took the entry away and filled its room: it can't be kept up to date.
            tracing::warn!("there is no room to write down which message it is");
            context.remember(&uid, |memory| memory.unrecorded = None);
            return Ok(true);
        };
        trouble::is_accepted(&mut next);
        crash::point("before-slack-record");
        let written = ledger.write(&context.client, &scene.request, &next).await?;
        crash::point("after-slack-record");
        match written {
            Written::Done(written) => {
                context.remember(&uid, |memory| {
                    memory.ledger = Some(written);
                    memory.unrecorded = None;
                });
                return Ok(true);
            }
            Written::Conflict | Written::Gone => {
                match ledger::Ledger::read(&context.client, &scene.request).await? {
                    Some((_, fresh)) => {
                        context.remember(&uid, |memory| memory.ledger = Some(fresh.clone()));
                        ledger = fresh;
                    }
                    None => {
                        // Deleted between the two: the message says so.
                        let mut told = ledger;
                        if let Some(with_it) = ledger::with_entry(&told.told, entry) {
                            told.told = with_it;
                        }
                        context.say_gone(&scene.request, &told);
                        context.forget(&uid);
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}

/// Another relay was first.
async fn withdraw(context: &Context, entry: &SlackMessage, at: &Posted) {
    let word = Purpose::read(&entry.purpose).map_or("unknown", |purpose| purpose.word());
    context.metrics.told(word, "withdrawn");
    let deleted = context.unless_ended(context.slack.delete_message(at)).await;
    if let Some(Err(error)) = deleted {
        tracing::warn!(reason = error.reason(), error = %error, "a second copy of a message could not be taken away");
    }
}

/// Finds out whether a message that was written down is there; posts it if it can't be.
pub(super) async fn settle(
    context: &Context,
    scene: &Scene,
    posting: Posting,
    entry: &SlackMessage,
) -> Result<Done, RelayError> {
    let uid = scene.uid();
    let word = posting.purpose.word();
    let Some(installation) = context.standing.installation() else {
        return Ok(Done::Later(LOOK));
    };
    let wanted = Wanted {
        mark: message::MARK,
        uid: &uid,
        purpose: &posting.purpose.to_string(),
        spot: &posting.spot,
        since: entry.since.0,
        settle: context.settings.pace.settle,
        by: &installation.user,
    };
    let Some(found) = context.unless_ended(search(&context.slack, &wanted)).await else {
        return Ok(Done::NotOurs);
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => match trouble::judge(context, error).await {
            Verdict::OnlyThis => Search::Impossible,
            Verdict::Error(error) => {
                return trouble::later(context, scene, &posting.purpose, &error).await;
            }
            Verdict::Ended => return Ok(Done::NotOurs),
        },
    };
    if let Search::Found(at) = found {
        context.metrics.told(word, "adopted");
        let unrecorded = Unrecorded {
            entry: entry.clone(),
            at,
        };
        context.remember(&uid, |memory| {
            memory.uncertain = None;
            memory.unrecorded = Some(unrecorded);
        });
        return Ok(Done::Next);
    }
    // It may still be on its way. Of ours it is known when we stopped waiting for an answer; of another process's, only
    // when it was begun.
    let lost = context
        .recall(&uid, |memory| memory.uncertain.clone())
        .flatten()
        .filter(|(purpose, _)| *purpose == posting.purpose);
    let since = match lost {
        Some((_, lost)) => lost.elapsed(),
        None => elapsed(entry.since.0, Timestamp::now()),
    };
    let left = context.settings.pace.settle.saturating_sub(since);
    if !left.is_zero() {
        return Ok(Done::Later(left.min(LOOK * 2)));
    }
    let earlier = match (found, entry.earlier) {
        (Search::Impossible, Some(EarlierMessage::Unknown)) => {
            return trouble::refuse(context, scene, &posting, "uncertain").await;
        }
        (Search::Impossible, _) => Some(EarlierMessage::Unknown),
        (_, earlier) => earlier,
    };
    again(context, scene, posting, entry, earlier).await
}

/// Posts it once more.
async fn again(
    context: &Context,
    scene: &Scene,
    posting: Posting,
    entry: &SlackMessage,
    earlier: Option<EarlierMessage>,
) -> Result<Done, RelayError> {
    let to = Turn::Post(&posting.spot.to);
    let permit = match turn(context, scene, posting.priority, to).await {
        Turned::Ours(permit) => permit,
        Turned::Urgent => return Ok(Done::Next),
        Turned::Ended => return Ok(Done::NotOurs),
    };
    let Some(scene) = look_afresh(context, scene).await? else {
        return Ok(Done::Idle);
    };
    // Nobody else has found it or begun again meanwhile.
    let same = plan::entry(&scene.ledger.told, &posting.purpose)
        .is_some_and(|known| known.ts.is_none() && known.since == entry.since);
    if !same {
        return Ok(Done::Next);
    }
    let message = wording::message_of(&scene.facts(context), &posting.purpose, earlier);
    let posting = Posting {
        message,
        earlier,
        ..posting
    };
    if earlier == Some(EarlierMessage::Unknown) {
        context.metrics.told(posting.purpose.word(), "second-copy");
        let note = trouble::SECOND_COPY;
        trouble::publish(context, &scene, "SlackUncertain", note).await;
        trouble::note(context, &scene, note).await?;
        let Some(scene) = look_afresh(context, &scene).await? else {
            return Ok(Done::Idle);
        };
        return begin(context, &scene, permit, posting).await;
    }
    begin(context, &scene, permit, posting).await
}

/// Shows one person where the live message is: once, whatever comes of it, since it is only a help.
pub(super) async fn whisper(
    context: &Context,
    scene: &Scene,
    posting: Posting,
    user: &UserId,
) -> Result<Done, RelayError> {
    let Destination::Channel(channel) = &posting.spot.to else {
        return Ok(Done::Next);
    };
    let Some(scene) = look_afresh(context, scene).await? else {
        return Ok(Done::Idle);
    };
    if plan::entry(&scene.ledger.told, &posting.purpose).is_some() {
        return Ok(Done::Next);
    }
    let entry = ledger::intent(&posting.purpose, &posting.spot, None, Timestamp::now());
    if !write_intent(context, &scene, &entry).await? {
        return Ok(Done::Overtaken);
    }
    let call = context.slack.post_ephemeral(
        channel,
        user,
        posting.spot.thread.as_ref(),
        &posting.message,
    );
    let Some(shown) = context.unless_ended(call).await else {
        return Ok(Done::NotOurs);
    };
    let outcome = match &shown {
        Ok(()) => "posted",
        Err(error) => {
            tracing::info!(
                reason = error.reason(),
                "who asked could not be shown where it is told"
            );
            "refused"
        }
    };
    context.metrics.told(posting.purpose.word(), outcome);
    Ok(Done::Next)
}

/// What a turn is for.
#[derive(Clone, Copy)]
pub(super) enum Turn<'a> {
    /// A post there.
    Post(&'a Destination),
    /// An update.
    Update,
}

impl Turn<'_> {
    async fn reserve(self, slack: &SlackClient, priority: Priority) -> Permit {
        match self {
            Self::Post(to) => slack.reserve_post(to, priority).await,
            Self::Update => slack.reserve_update(priority).await,
        }
    }
}

/// What came of waiting for a turn.
pub(super) enum Turned {
    /// It is our turn.
    Ours(Permit),
    /// The request ended meanwhile: there may be something better to do than this post.
    Urgent,
    /// We are to end.
    Ended,
}

/// Waits for a turn. If the request ends meanwhile, an update goes before others, and a post gives up its turn: what has
/// ended may be shown at once by an update.
pub(super) async fn turn(
    context: &Context,
    scene: &Scene,
    planned: Priority,
    to: Turn<'_>,
) -> Turned {
    let mut priority = planned;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let turn = to.reserve(&context.slack, priority);
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return Turned::Ended,
                permit = &mut turn => return Turned::Ours(permit),
                _ = looks.tick() => {
                    let urgent = urgency(context, scene, priority);
                    if urgent < priority {
                        if matches!(to, Turn::Post(_)) {
                            return Turned::Urgent;
                        }
                        priority = urgent;
                        break;
                    }
                }
            }
        }
    }
}
