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
    error::RelayError,
    ledger::{self, Ledger, Written},
    means::Means,
    memory::Unrecorded,
    message,
    plan::{self, Posting},
    search::{Search, Wanted, search},
    telling::{Done, Scene, Telling, look_afresh, urgency},
    trouble::{self, Verdict},
};
use crate::{
    api::deploy_request::{EarlierMessage, SlackMessage},
    domain::backoff::elapsed,
    runtime::crash,
    slack::{
        blocks::Message,
        client::{Destination, Permit, Post, Posted, Priority, SlackClient, SlackError},
    },
};

/// How often whoever waits for a turn looks whether it has become more urgent.
const LOOK: Duration = Duration::from_secs(1);
/// How often a record is tried when others write too.
const TRIES: usize = 4;

/// Posts a message of which it is known that it isn't there.
pub(super) async fn post<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    posting: Posting<T::Purpose>,
) -> Result<Done, RelayError> {
    let to = Turn::Post(&posting.spot.to);
    let permit = match turn(telling, scene, posting.priority, to).await {
        Turned::Ours(permit) => permit,
        Turned::Urgent => return Ok(Done::Next),
        Turned::Ended => return Ok(Done::NotOurs),
    };
    // Decided anew, on what the API server has now: others may have been first.
    let Some(scene) = look_afresh(telling, scene).await? else {
        return Ok(Done::Idle);
    };
    match telling.planned_post(&scene, &posting.purpose, &posting.spot) {
        Some(posting) => begin(telling, &scene, permit, posting).await,
        // The cache is behind.
        None => Ok(Done::Overtaken),
    }
}

/// Writes down that it is about to be posted, and posts it.
async fn begin<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    permit: Permit,
    posting: Posting<T::Purpose>,
) -> Result<Done, RelayError> {
    let uid = scene.uid();
    let entry = ledger::intent(
        &posting.purpose,
        &posting.spot,
        posting.earlier,
        Timestamp::now(),
    );
    if !write_intent(telling, scene, &posting.purpose, &entry).await? {
        return Ok(Done::Overtaken);
    }
    telling.memories().remember(&uid, |memory| {
        memory.unsent = Some(posting.purpose.clone());
        memory.uncertain = None;
    });
    if !telling.may_act() {
        return Ok(Done::NotOurs);
    }
    crash::point("before-slack-post");
    let sent = send(
        telling,
        permit,
        as_post(&posting),
        T::word(&posting.purpose),
    )
    .await;
    crash::point("after-slack-post");
    let Some(sent) = sent else {
        return Ok(Done::NotOurs);
    };
    match sent {
        Ok((at, plain)) => {
            telling.memories().succeeded(&uid, &posting.purpose);
            let word = T::word(&posting.purpose);
            telling
                .metrics
                .told(word, if plain { "plain" } else { "posted" });
            let entry = SlackMessage {
                digest: Some(message::digest(&posting.message)),
                phase: T::phase(&scene.object),
                ..entry
            };
            let unrecorded = Unrecorded {
                purpose: posting.purpose,
                entry,
                at,
            };
            telling.memories().remember(&uid, |memory| {
                memory.unsent = None;
                memory.unrecorded = Some(unrecorded.clone());
            });
            record(telling, scene, unrecorded).await?;
            if plain {
                trouble::note(telling, scene, trouble::PLAIN).await?;
            }
            Ok(Done::Next)
        }
        Err(error) => trouble::not_posted(telling, scene, &posting, &error).await,
    }
}

/// Whether it is written down, by us. It isn't when somebody else wrote first.
pub(super) async fn write_intent<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    purpose: &T::Purpose,
    entry: &SlackMessage,
) -> Result<bool, RelayError> {
    let told = T::kept(&scene.object, &scene.ledger.told, purpose);
    let Some(next) = ledger::with_entry(&told, entry.clone()) else {
        // Others took the room since this was planned; the next plan says so.
        return Ok(false);
    };
    crash::point("before-slack-intent");
    let written = scene
        .ledger
        .write(&telling.client, &scene.object, &next)
        .await?;
    crash::point("after-slack-intent");
    let Written::Done(ledger) = written else {
        return Ok(false);
    };
    telling.memories().begin(&scene.uid(), |memory| {
        memory.object = Some(scene.object.clone());
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

fn as_post<P>(posting: &Posting<P>) -> Post<'_> {
    Post {
        to: &posting.spot.to,
        thread: posting.spot.thread.as_ref(),
        broadcast: posting.broadcast,
        message: &posting.message,
    }
}

/// Writes down which message it is; whether that is done. Where another relay has posted for the same purpose, ours is
/// taken away.
pub(super) async fn record<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    unrecorded: Unrecorded<T::Purpose>,
) -> Result<bool, RelayError> {
    let uid = scene.uid();
    let Unrecorded { purpose, entry, at } = unrecorded;
    let entry = SlackMessage {
        channel: at.channel.to_string(),
        ts: Some(at.ts.to_string()),
        ..entry
    };
    let mut ledger = telling
        .memories()
        .recall(&uid, |memory| memory.ledger.clone())
        .unwrap_or_else(|| scene.ledger.clone());
    for _ in 0..TRIES {
        let known = plan::entry(&ledger.told, &purpose);
        if let Some(ts) = known.and_then(|known| known.ts.as_ref()) {
            if *ts != at.ts.as_str() {
                withdraw(telling, T::word(&purpose), &at).await;
            }
            telling
                .memories()
                .remember(&uid, |memory| memory.unrecorded = None);
            return Ok(true);
        }
        let Some(mut next) = ledger::with_entry(&ledger.told, entry.clone()) else {
            // Somebody took the entry away and filled its room: it can't be kept up to date.
            tracing::warn!("there is no room to write down which message it is");
            telling
                .memories()
                .remember(&uid, |memory| memory.unrecorded = None);
            return Ok(true);
        };
        trouble::is_accepted(&mut next);
        crash::point("before-slack-record");
        let written = ledger.write(&telling.client, &scene.object, &next).await?;
        crash::point("after-slack-record");
        match written {
            Written::Done(written) => {
                telling.memories().remember(&uid, |memory| {
                    memory.ledger = Some(written);
                    memory.unrecorded = None;
                });
                return Ok(true);
            }
            Written::Conflict | Written::Gone => {
                match Ledger::read(&telling.client, &scene.object).await? {
                    Some((_, fresh)) => {
                        telling
                            .memories()
                            .remember(&uid, |memory| memory.ledger = Some(fresh.clone()));
                        ledger = fresh;
                    }
                    None => {
                        // Deleted between the two: the message says so.
                        telling.memories().forget(&uid);
                        telling.went_meanwhile(&scene.object, ledger, entry);
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}

/// Another relay was first.
async fn withdraw(means: &Means, word: &'static str, at: &Posted) {
    means.metrics.told(word, "withdrawn");
    let deleted = means.unless_ended(means.slack.delete_message(at)).await;
    if let Some(Err(error)) = deleted {
        tracing::warn!(reason = error.reason(), error = %error, "a second copy of a message could not be taken away");
    }
}

/// Finds out whether a message that was written down is there; posts it if it can't be.
pub(super) async fn settle<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    posting: Posting<T::Purpose>,
    entry: &SlackMessage,
) -> Result<Done, RelayError> {
    let uid = scene.uid();
    let word = T::word(&posting.purpose);
    let Some(installation) = telling.standing.installation() else {
        return Ok(Done::Later(LOOK));
    };
    let wanted = Wanted {
        mark: T::MARK,
        uid: &uid,
        purpose: &posting.purpose.to_string(),
        spot: &posting.spot,
        since: entry.since.0,
        settle: telling.settings.pace.settle,
        by: &installation.user,
    };
    let Some(found) = telling.unless_ended(search(&telling.slack, &wanted)).await else {
        return Ok(Done::NotOurs);
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => match trouble::judge(telling, error).await {
            Verdict::OnlyThis => Search::Impossible,
            Verdict::Error(error) => {
                return trouble::later(telling, scene, &posting.purpose, &error).await;
            }
            Verdict::Ended => return Ok(Done::NotOurs),
        },
    };
    if let Search::Found(at) = found {
        telling.metrics.told(word, "adopted");
        let unrecorded = Unrecorded {
            purpose: posting.purpose,
            entry: entry.clone(),
            at,
        };
        telling.memories().remember(&uid, |memory| {
            memory.uncertain = None;
            memory.unrecorded = Some(unrecorded);
        });
        return Ok(Done::Next);
    }
    // It may still be on its way. Of ours it is known when we stopped waiting for an answer; of another process's, only
    // when it was begun.
    let lost = telling
        .memories()
        .recall(&uid, |memory| memory.uncertain.clone())
        .filter(|(purpose, _)| *purpose == posting.purpose);
    let since = match lost {
        Some((_, lost)) => lost.elapsed(),
        None => elapsed(entry.since.0, Timestamp::now()),
    };
    let left = telling.settings.pace.settle.saturating_sub(since);
    if !left.is_zero() {
        return Ok(Done::Later(left.min(LOOK * 2)));
    }
    let earlier = match (found, entry.earlier) {
        (Search::Impossible, Some(EarlierMessage::Unknown)) => {
            return trouble::refuse(telling, scene, &posting, "uncertain").await;
        }
        (Search::Impossible, _) => Some(EarlierMessage::Unknown),
        (_, earlier) => earlier,
    };
    again(telling, scene, posting, entry, earlier).await
}

/// Posts it once more.
async fn again<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    posting: Posting<T::Purpose>,
    entry: &SlackMessage,
    earlier: Option<EarlierMessage>,
) -> Result<Done, RelayError> {
    let to = Turn::Post(&posting.spot.to);
    let permit = match turn(telling, scene, posting.priority, to).await {
        Turned::Ours(permit) => permit,
        Turned::Urgent => return Ok(Done::Next),
        Turned::Ended => return Ok(Done::NotOurs),
    };
    // Nobody else has found it or begun again meanwhile.
    let is_still_lost = |scene: &Scene<T>| {
        plan::entry(&scene.ledger.told, &posting.purpose)
            .is_some_and(|known| known.ts.is_none() && known.since == entry.since)
    };
    let Some(mut scene) = look_afresh(telling, scene).await? else {
        return Ok(Done::Idle);
    };
    if !is_still_lost(&scene) {
        return Ok(Done::Next);
    }
    if earlier == Some(EarlierMessage::Unknown) {
        telling
            .metrics
            .told(T::word(&posting.purpose), "second-copy");
        let note = trouble::SECOND_COPY;
        trouble::publish(telling, &scene, "SlackUncertain", note).await;
        trouble::note(telling, &scene, note).await?;
        match look_afresh(telling, &scene).await? {
            None => return Ok(Done::Idle),
            Some(fresh) if !is_still_lost(&fresh) => return Ok(Done::Next),
            Some(fresh) => scene = fresh,
        }
    }
    let message = telling.message(&scene, &posting.purpose, earlier);
    let posting = Posting {
        message,
        earlier,
        ..posting
    };
    begin(telling, &scene, permit, posting).await
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
    /// What is told of ended meanwhile: there may be something better to do than this post.
    Urgent,
    /// We are to end.
    Ended,
}

/// Waits for a turn. If what is told of ends meanwhile, an update goes before others, and a post gives up its turn: what has
/// ended may be shown at once by an update.
pub(super) async fn turn<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    planned: Priority,
    to: Turn<'_>,
) -> Turned {
    let mut priority = planned;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let turn = to.reserve(&telling.slack, priority);
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                () = telling.shutdown.cancelled() => return Turned::Ended,
                permit = &mut turn => return Turned::Ours(permit),
                _ = looks.tick() => {
                    let urgent = urgency(telling, scene, priority);
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
