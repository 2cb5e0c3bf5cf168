//! One pass over one freeze: what is there to tell, one step after the other. Touches the API server and Slack.
//!
//! A message is written down before it is posted, and which it is afterwards, exactly as for requests: whoever dies between
//! the two leaves an entry without a message, which the next one looks for before posting it again.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::{
    desk::{Desk, Scene},
    message::MARK,
    notice::Notice,
    plan::{self, Posting, Step},
    refusal,
};
use crate::{
    api::{
        DeployFreeze,
        deploy_request::{EarlierMessage, SlackMessage, SlackStatus},
    },
    domain::backoff::elapsed,
    relay::{
        error::RelayError,
        ledger::{self, Ledger, Written},
        message::digest,
        post::send,
        search::{Search, Wanted, search},
        trouble::{self, Verdict},
        update::show,
    },
    runtime::{cache::Guarded, crash},
    slack::{
        blocks::Message,
        client::{Permit, Post, Posted, Priority, SlackError},
    },
};

/// Steps in one pass: more than all channels take.
const STEPS: usize = 100;
/// How soon a pass is made again that found somebody else at work.
const AGAIN: Duration = Duration::from_millis(200);
/// How soon is looked whether it is our turn, or what became of a post without an answer.
const SOON: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_mins(2);
/// How often a record is tried when others write too.
const TRIES: usize = 4;

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// Look what is next.
    Next,
    /// Not before this much time.
    Later(Duration),
}

/// One pass over a freeze that a watch or a timer brought up.
pub(super) async fn reconcile(
    desk: &Desk,
    object: &Guarded<DeployFreeze>,
) -> Result<Action, RelayError> {
    let Ok(freeze) = &object.0 else {
        return Ok(Action::await_change());
    };
    for _ in 0..STEPS {
        if !desk.means.may_act() {
            return Ok(Action::requeue(SOON));
        }
        let Some(scene) = look(desk, freeze).await? else {
            return Ok(Action::await_change());
        };
        let unrecorded = desk.recall(freeze, |memory| memory.unrecorded.clone());
        if let Some((entry, at)) = unrecorded {
            if record(desk, &scene, entry, at).await? {
                continue;
            }
            return Ok(Action::requeue(AGAIN));
        }
        let steps = desk.plan(&scene);
        if steps.is_empty() {
            if scene.ledger.told.messages.is_empty() {
                desk.forget(freeze);
            }
            return Ok(Action::await_change());
        }
        if desk.means.standing.stopped().is_some() {
            return Ok(Action::requeue(desk.means.settings.pace.slowly));
        }
        let mut wait: Option<Duration> = None;
        let mut next = false;
        for step in steps {
            match act(desk, &scene, step).await? {
                Done::Next => {
                    next = true;
                    break;
                }
                Done::Later(later) => {
                    wait = Some(wait.map_or(later, |wait| wait.min(later)));
                }
            }
        }
        if !next {
            return Ok(wait.map_or_else(Action::await_change, Action::requeue));
        }
    }
    Ok(Action::requeue(AGAIN))
}

/// The freeze as the cache has it, with what was told as whoever wrote last knows it. `None` when it is no more.
async fn look(desk: &Desk, freeze: &DeployFreeze) -> Result<Option<Scene>, RelayError> {
    let Some(freeze) = desk.cached(freeze) else {
        return Ok(None);
    };
    let cached = Ledger::of(&freeze);
    let known = desk.recall(&freeze, |memory| memory.ledger.clone());
    let client = &desk.means.client;
    match known {
        Some(known) if !known.agrees_with(&cached) => match Ledger::read(client, &freeze).await? {
            Some((freeze, fresh)) => {
                let ledger = fresh.restored(client, &freeze, known).await?;
                Ok(Some(desk.scene(freeze, ledger)))
            }
            None => Ok(None),
        },
        _ => Ok(Some(desk.scene(freeze, cached))),
    }
}

async fn look_afresh(desk: &Desk, scene: &Scene) -> Result<Option<Scene>, RelayError> {
    let found = Ledger::read(&desk.means.client, &scene.freeze).await?;
    Ok(found.map(|(freeze, ledger)| desk.scene(freeze, ledger)))
}

async fn act(desk: &Desk, scene: &Scene, step: Step) -> Result<Done, RelayError> {
    let notice = step.notice().clone();
    let until = desk.recall(&scene.freeze, |memory| {
        memory.not_before.get(&notice).copied()
    });
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if let Some(left) = left.filter(|left| !left.is_zero()) {
        return Ok(Done::Later(left));
    }
    if let Step::Post(posting) | Step::Settle(posting, _) = &step
        && let Some(channel) = posting.spot.known_channel()
    {
        let asking = desk.means.shared.is_shared(channel);
        match desk.means.unless_ended(asking).await {
            None => return Ok(Done::Later(SOON)),
            Some(Ok(false)) => {}
            Some(Ok(true)) => {
                return refusal::refuse(desk, scene, posting, trouble::SHARED).await;
            }
            // Not known, so not told.
            Some(Err(error)) => return Ok(later(desk, scene, &notice, &error)),
        }
    }
    match step {
        Step::Post(posting) => post(desk, scene, posting).await,
        Step::Settle(posting, entry) => settle(desk, scene, posting, &entry).await,
        Step::Update {
            notice, priority, ..
        } => update(desk, scene, &notice, priority).await,
    }
}

/// Posts a message of which it is known that it isn't there.
async fn post(desk: &Desk, scene: &Scene, posting: Posting) -> Result<Done, RelayError> {
    let means = &desk.means;
    let turn = means.slack.reserve_post(&posting.spot.to, posting.priority);
    let Some(permit) = means.unless_ended(turn).await else {
        return Ok(Done::Later(SOON));
    };
    // Decided anew, on what the API server has now: others may have been first.
    let Some(scene) = look_afresh(desk, scene).await? else {
        return Ok(Done::Later(AGAIN));
    };
    let wanted = desk.plan(&scene).into_iter().find_map(|step| match step {
        Step::Post(fresh) if fresh.notice == posting.notice && fresh.spot == posting.spot => {
            Some(fresh)
        }
        _ => None,
    });
    match wanted {
        Some(posting) => begin(desk, &scene, permit, posting).await,
        // The cache is behind.
        None => Ok(Done::Later(AGAIN)),
    }
}

/// Writes down that it is about to be posted, and posts it.
async fn begin(
    desk: &Desk,
    scene: &Scene,
    permit: Permit,
    posting: Posting,
) -> Result<Done, RelayError> {
    let freeze = &scene.freeze;
    let notice = &posting.notice;
    let entry = ledger::intent(notice, &posting.spot, posting.earlier, Timestamp::now());
    let told = plan::without_old(&scene.ledger.told, notice.beginning().since);
    let Some(next) = ledger::with_entry(&told, entry.clone()) else {
        return refusal::no_room(desk, scene).await;
    };
    crash::point("before-slack-intent");
    let written = scene
        .ledger
        .write(&desk.means.client, freeze, &next)
        .await?;
    crash::point("after-slack-intent");
    let Written::Done(ledger) = written else {
        return Ok(Done::Later(AGAIN));
    };
    desk.remember(freeze, |memory| {
        memory.ledger = Some(ledger);
        memory.unsent = Some(notice.clone());
        memory.uncertain = None;
    });
    if !desk.means.may_act() {
        return Ok(Done::Later(SOON));
    }
    crash::point("before-slack-post");
    let message = Post {
        to: &posting.spot.to,
        thread: posting.spot.thread.as_ref(),
        broadcast: false,
        message: &posting.message,
    };
    let sent = send(&desk.means, permit, message, notice.word()).await;
    crash::point("after-slack-post");
    match sent {
        None => Ok(Done::Later(SOON)),
        Some(Ok((at, plain))) => {
            let outcome = if plain { "plain" } else { "posted" };
            desk.means.metrics.told(notice.word(), outcome);
            let entry = SlackMessage {
                digest: Some(digest(&posting.message)),
                ..entry
            };
            desk.remember(freeze, |memory| {
                memory.failures = 0;
                memory.unsent = None;
                memory.not_before.remove(notice);
                memory.unrecorded = Some((entry.clone(), at.clone()));
            });
            record(desk, scene, entry, at).await?;
            Ok(Done::Next)
        }
        Some(Err(error)) => not_posted(desk, scene, &posting, error).await,
    }
}

/// A post did not do what it should.
async fn not_posted(
    desk: &Desk,
    scene: &Scene,
    posting: &Posting,
    error: SlackError,
) -> Result<Done, RelayError> {
    let reason = error.reason();
    match trouble::judge(&desk.means, error).await {
        Verdict::Ended => Ok(Done::Later(SOON)),
        Verdict::Error(error @ (SlackError::Retry { .. } | SlackError::Stop { .. })) => {
            Ok(later(desk, scene, &posting.notice, &error))
        }
        Verdict::Error(error @ SlackError::Uncertain { .. }) => {
            let word = posting.notice.word();
            desk.means.metrics.told(word, "uncertain");
            tracing::warn!(message.purpose = word, error = %error, "it is unknown whether a message was posted; it is looked for");
            desk.remember(&scene.freeze, |memory| {
                memory.unsent = None;
                memory.uncertain = Some((posting.notice.clone(), Instant::now()));
            });
            Ok(Done::Later(SOON))
        }
        Verdict::OnlyThis | Verdict::Error(_) => {
            refusal::refuse(desk, scene, posting, reason).await
        }
    }
}

/// Slack can't do it now, or doesn't accept us.
fn later(desk: &Desk, scene: &Scene, notice: &Notice, error: &SlackError) -> Done {
    if matches!(error, SlackError::Stop { .. }) {
        desk.means.standing.stop(error);
        return Done::Later(desk.means.settings.pace.slowly);
    }
    desk.remember(&scene.freeze, |memory| {
        memory.failures = memory.failures.saturating_add(1);
        let growing = Duration::from_millis(500) * 2_u32.pow(memory.failures.min(8));
        let asked = error.retry_after().unwrap_or_default();
        let wait = growing.min(LONGEST).max(asked);
        // What this attempt wrote down wakes the next pass, which is not to try at once.
        memory
            .not_before
            .insert(notice.clone(), Instant::now() + wait);
        Done::Later(wait)
    })
}

/// Writes down which message it is; whether that is done. Where another relay has posted the same, ours is taken away.
async fn record(
    desk: &Desk,
    scene: &Scene,
    entry: SlackMessage,
    at: Posted,
) -> Result<bool, RelayError> {
    let freeze = &scene.freeze;
    let entry = SlackMessage {
        channel: at.channel.to_string(),
        ts: Some(at.ts.to_string()),
        ..entry
    };
    let mut ledger = desk
        .recall(freeze, |memory| memory.ledger.clone())
        .unwrap_or_else(|| scene.ledger.clone());
    let done = |desk: &Desk| desk.remember(freeze, |memory| memory.unrecorded = None);
    for _ in 0..TRIES {
        let mut messages = ledger.told.messages.iter();
        let known = messages.find(|known| known.purpose == entry.purpose);
        if let Some(ts) = known.and_then(|known| known.ts.as_ref()) {
            if *ts != at.ts.as_str() {
                let deleting = desk.means.slack.delete_message(&at);
                if let Some(Err(error)) = desk.means.unless_ended(deleting).await {
                    tracing::warn!(reason = error.reason(), error = %error, "a second copy of a message could not be taken away");
                }
            }
            done(desk);
            return Ok(true);
        }
        let Some(mut next) = ledger::with_entry(&ledger.told, entry.clone()) else {
            done(desk);
            return Ok(true);
        };
        trouble::is_accepted(&mut next);
        crash::point("before-slack-record");
        let written = ledger.write(&desk.means.client, freeze, &next).await?;
        crash::point("after-slack-record");
        if let Written::Done(written) = written {
            desk.remember(freeze, |memory| {
                memory.ledger = Some(written);
                memory.unrecorded = None;
            });
            return Ok(true);
        }
        match Ledger::read(&desk.means.client, freeze).await? {
            Some((_, fresh)) => {
                desk.remember(freeze, |memory| memory.ledger = Some(fresh.clone()));
                ledger = fresh;
            }
            None => {
                // Deleted between the two: the message says so.
                desk.forget(freeze);
                let mut told = ledger.told;
                told.messages.retain(|known| known.purpose != entry.purpose);
                told.messages.push(entry);
                super::gone::tell(desk, freeze, &told).await;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Finds out whether a message that was written down is there; posts it if it can't be.
async fn settle(
    desk: &Desk,
    scene: &Scene,
    posting: Posting,
    entry: &SlackMessage,
) -> Result<Done, RelayError> {
    let means = &desk.means;
    let Some(installation) = means.standing.installation() else {
        return Ok(Done::Later(SOON));
    };
    let uid = scene.freeze.metadata.uid.clone().unwrap_or_default();
    let wanted = Wanted {
        mark: MARK,
        uid: &uid,
        purpose: &posting.notice.to_string(),
        spot: &posting.spot,
        since: entry.since.0,
        settle: means.settings.pace.settle,
        by: &installation.user,
    };
    let found = match means.unless_ended(search(&means.slack, &wanted)).await {
        None => return Ok(Done::Later(SOON)),
        Some(Ok(found)) => found,
        Some(Err(error)) => match trouble::judge(means, error).await {
            Verdict::OnlyThis => Search::Impossible,
            Verdict::Error(error) => return Ok(later(desk, scene, &posting.notice, &error)),
            Verdict::Ended => return Ok(Done::Later(SOON)),
        },
    };
    if let Search::Found(at) = found {
        means.metrics.told(posting.notice.word(), "adopted");
        desk.remember(&scene.freeze, |memory| {
            memory.uncertain = None;
            memory.unrecorded = Some((entry.clone(), at));
        });
        return Ok(Done::Next);
    }
    // It may still be on its way.
    let lost = desk
        .recall(&scene.freeze, |memory| memory.uncertain.clone())
        .filter(|(notice, _)| *notice == posting.notice);
    let since = match lost {
        Some((_, lost)) => lost.elapsed(),
        None => elapsed(entry.since.0, Timestamp::now()),
    };
    let left = means.settings.pace.settle.saturating_sub(since);
    if !left.is_zero() {
        return Ok(Done::Later(left.min(SOON * 2)));
    }
    let earlier = match (found, entry.earlier) {
        (Search::Impossible, Some(EarlierMessage::Unknown)) => {
            return refusal::refuse(desk, scene, &posting, "uncertain").await;
        }
        (Search::Impossible, _) => Some(EarlierMessage::Unknown),
        (_, earlier) => earlier,
    };
    again(desk, scene, posting, entry, earlier).await
}

/// Posts it once more.
async fn again(
    desk: &Desk,
    scene: &Scene,
    posting: Posting,
    entry: &SlackMessage,
    earlier: Option<EarlierMessage>,
) -> Result<Done, RelayError> {
    let means = &desk.means;
    let turn = means.slack.reserve_post(&posting.spot.to, posting.priority);
    let Some(permit) = means.unless_ended(turn).await else {
        return Ok(Done::Later(SOON));
    };
    let Some(scene) = look_afresh(desk, scene).await? else {
        return Ok(Done::Later(AGAIN));
    };
    // Nobody else has found it or begun again meanwhile.
    let same = plan::entry(&scene.ledger.told, &posting.notice)
        .is_some_and(|known| known.ts.is_none() && known.since == entry.since);
    if !same {
        return Ok(Done::Next);
    }
    if earlier == Some(EarlierMessage::Unknown) {
        means.metrics.told(posting.notice.word(), "second-copy");
        refusal::publish(desk, &scene, "SlackUncertain", trouble::SECOND_COPY).await;
    }
    let message = plan::message_of(desk.facts(&scene), &posting.notice, earlier);
    let posting = Posting {
        message,
        earlier,
        ..posting
    };
    begin(desk, &scene, permit, posting).await
}

/// Shows what there is to show once it is our turn.
async fn update(
    desk: &Desk,
    scene: &Scene,
    notice: &Notice,
    priority: Priority,
) -> Result<Done, RelayError> {
    let means = &desk.means;
    let turn = means.slack.reserve_update(priority);
    let Some(permit) = means.unless_ended(turn).await else {
        return Ok(Done::Later(SOON));
    };
    let Some(scene) = look(desk, &scene.freeze).await? else {
        return Ok(Done::Next);
    };
    if !means.may_act() {
        return Ok(Done::Later(SOON));
    }
    let newest = desk.plan(&scene).into_iter().find_map(|step| match step {
        Step::Update {
            notice: of,
            at,
            message,
            ..
        } if of == *notice => Some((at, message)),
        _ => None,
    });
    let Some((at, message)) = newest else {
        return Ok(Done::Next);
    };
    crash::point("before-slack-update");
    let shown = show(means, permit, &at, &message).await;
    crash::point("after-slack-update");
    match shown {
        None => Ok(Done::Later(SOON)),
        Some(Ok(_)) => {
            means.metrics.told(notice.word(), "updated");
            desk.remember(&scene.freeze, |memory| memory.failures = 0);
            shows(desk, &scene, notice, &message, None).await
        }
        Some(Err(error)) => {
            let reason = error.reason();
            match trouble::judge(means, error).await {
                Verdict::Ended => Ok(Done::Later(SOON)),
                Verdict::Error(
                    error @ (SlackError::Retry { .. }
                    | SlackError::Uncertain { .. }
                    | SlackError::Stop { .. }),
                ) => Ok(later(desk, &scene, notice, &error)),
                Verdict::OnlyThis | Verdict::Error(_) => {
                    shows(desk, &scene, notice, &message, Some(reason)).await
                }
            }
        }
    }
}

/// Writes down what a message shows, or that it can't be changed any more.
async fn shows(
    desk: &Desk,
    scene: &Scene,
    notice: &Notice,
    message: &Message,
    refused: Option<&'static str>,
) -> Result<Done, RelayError> {
    let Some(entry) = plan::entry(&scene.ledger.told, notice) else {
        return Ok(Done::Next);
    };
    let entry = match refused {
        Some(reason) => SlackMessage {
            refused: Some(reason.to_owned()),
            ..entry.clone()
        },
        None => SlackMessage {
            digest: Some(digest(message)),
            ..entry.clone()
        },
    };
    if let Some(reason) = refused {
        desk.means.metrics.told(notice.word(), "refused");
        let problem = format!("Slack refuses to change a message ({reason}); it stays as it is.");
        refusal::publish(desk, scene, "SlackRefused", &problem).await;
    }
    let Some(next) = ledger::with_entry(&scene.ledger.told, entry) else {
        return Ok(Done::Next);
    };
    write(desk, scene, &next).await
}

/// Writes what was told. A conflict is looked at again.
pub(super) async fn write(
    desk: &Desk,
    scene: &Scene,
    next: &SlackStatus,
) -> Result<Done, RelayError> {
    crash::point("before-slack-record");
    let client = &desk.means.client;
    let written = scene.ledger.write(client, &scene.freeze, next).await?;
    crash::point("after-slack-record");
    match written {
        Written::Done(ledger) => {
            desk.remember(&scene.freeze, |memory| memory.ledger = Some(ledger));
        }
        Written::Conflict => {
            let fresh = Ledger::read(client, &scene.freeze).await?;
            desk.remember(&scene.freeze, |memory| {
                memory.ledger = fresh.map(|(_, ledger)| ledger);
            });
        }
        Written::Gone => {}
    }
    Ok(Done::Next)
}
