//! What to do when Slack refuses: elsewhere, later, or not at all; and that somebody gets to know. Touches the API server.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};
use tokio::time::Instant;

use super::{
    context::{Address, Context, named},
    error::RelayError,
    ledger::{self, Ledger, Written},
    means::Means,
    message,
    pass::{Done, Scene},
    place::Spot,
    plan::{self, Posting},
    purpose::Purpose,
    unasked::Unasked,
    update,
};
use crate::{
    api::{
        bounds,
        deploy_request::{EarlierMessage, SlackMessage, SlackStatus},
    },
    runtime::telemetry,
    slack::{
        blocks::Message,
        client::{Elsewhere, SlackError},
    },
};

/// Said when Slack didn't take what we made.
pub(super) const PLAIN: &str = "Slack did not take the message as it should be; it is shown as plain text. The relay's log says why.";
/// Said when `status.slack.messages` is full.
const NO_ROOM: &str = "The request's status holds as many messages as it can: no further one is posted. Name fewer further channels in its Environment.";
/// Said when a message may be there twice.
pub(super) const SECOND_COPY: &str = "Slack did not say whether a message arrived, and the app may not look: it was posted once more. With the scopes channels:history, groups:history and im:history it could look.";
/// Said while Slack doesn't accept the app.
const STOPPED: &str =
    "Nothing is told in Slack until somebody mends the app's installation or token: ";
/// The word for a channel in which people of another organisation read along.
pub(super) const SHARED: &str = "shared_channel";
/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_mins(2);
/// How soon a post without an answer is looked for.
const LOOK_FOR_IT: Duration = Duration::from_secs(2);

/// Slack accepts us again.
pub(super) fn is_accepted(told: &mut SlackStatus) {
    let stopped = told
        .problem
        .as_ref()
        .is_some_and(|problem| problem.starts_with(STOPPED));
    if stopped {
        told.problem = None;
    }
}

/// What an error of Slack's is about.
pub(super) enum Verdict {
    /// This call only: Slack accepts us otherwise.
    OnlyThis,
    /// What it says, or what Slack says now.
    Error(SlackError),
    /// We are to end, and nobody knows.
    Ended,
}

/// Whether Slack doesn't accept us at all, or only not this call: that is asked, since one call's answer must not hold up
/// all that is told.
pub(super) async fn judge(means: &Means, error: SlackError) -> Verdict {
    if !matches!(error, SlackError::Stop { .. }) {
        return Verdict::Error(error);
    }
    match means.unless_ended(means.slack.auth_test()).await {
        None => Verdict::Ended,
        Some(Ok(_)) => Verdict::OnlyThis,
        Some(Err(now)) => Verdict::Error(now),
    }
}

/// There is no room to write down another message: the request says so, once.
pub(super) async fn no_room(context: &Context, scene: &Scene) -> Result<Done, RelayError> {
    if scene.ledger.told.problem.is_none() {
        publish(context, scene, "SlackRefused", NO_ROOM).await;
        note(context, scene, NO_ROOM).await?;
    }
    Ok(Done::Idle)
}

/// Says of a request that nobody who may approve it is asked to, as long as that is so. `None` when it says so already.
pub(super) async fn unasked(
    context: &Context,
    scene: &Scene,
    unasked: Option<Unasked>,
) -> Result<Option<Done>, RelayError> {
    let told = &scene.ledger.told;
    let problem = Unasked::problem(unasked, told.problem.as_deref());
    if problem == told.problem {
        return Ok(None);
    }
    let written = amend(context, scene, |told| {
        let problem = Unasked::problem(unasked, told.problem.as_deref());
        told.problem = problem;
    })
    .await?;
    if !written {
        return Ok(Some(Done::Overtaken));
    }
    if let Some(unasked) = unasked {
        publish(context, scene, "SlackUnasked", unasked.sentence()).await;
    }
    Ok(Some(Done::Next))
}

/// A post did not do what it should.
pub(super) async fn not_posted(
    context: &Context,
    scene: &Scene,
    posting: &Posting,
    error: &SlackError,
) -> Result<Done, RelayError> {
    let (uid, purpose) = (scene.uid(), &posting.purpose);
    let error = match judge(context, error.clone()).await {
        Verdict::OnlyThis => return refuse(context, scene, posting, error.reason()).await,
        Verdict::Error(error) => error,
        Verdict::Ended => return Ok(Done::NotOurs),
    };
    match &error {
        SlackError::Retry { .. } | SlackError::Stop { .. } => {
            later(context, scene, purpose, &error).await
        }
        SlackError::Uncertain { .. } => {
            context.metrics.told(purpose.word(), "uncertain");
            tracing::warn!(message.purpose = purpose.word(), error = %error, "it is unknown whether a message was posted; it is looked for");
            context.remember(&uid, |memory| {
                memory.unsent = None;
                memory.uncertain = Some((purpose.clone(), Instant::now()));
            });
            Ok(Done::Later(
                LOOK_FOR_IT.min(context.settings.pace.settle / 3),
            ))
        }
        _ => elsewhere(context, scene, posting, error.reason()).await,
    }
}

/// Nothing is posted where another organisation reads along, unless the Environment allows that: it goes elsewhere, as if
/// Slack refused it there. `None` where nothing speaks against it.
pub(super) async fn among_strangers(
    context: &Context,
    scene: &Scene,
    posting: &Posting,
) -> Result<Option<Done>, RelayError> {
    let allowed = scene
        .environment
        .as_ref()
        .is_some_and(|environment| environment.spec.protection.allow_shared);
    let Some(channel) = posting.spot.known_channel().filter(|_| !allowed) else {
        return Ok(None);
    };
    let asking = context.shared.is_shared(channel);
    let Some(shared) = context.unless_ended(asking).await else {
        return Ok(Some(Done::NotOurs));
    };
    match shared {
        Ok(false) => Ok(None),
        Ok(true) => elsewhere(context, scene, posting, SHARED).await.map(Some),
        // Not known, so not told: it is asked again, ever more slowly.
        Err(error) => {
            context.begin(&scene.uid(), |memory| {
                memory.request = Some(scene.request.clone());
            });
            let later = later(context, scene, &posting.purpose, &error).await;
            later.map(Some)
        }
    }
}

/// It goes elsewhere, if there is any such place.
async fn elsewhere(
    context: &Context,
    scene: &Scene,
    posting: &Posting,
    reason: &'static str,
) -> Result<Done, RelayError> {
    match plan::elsewhere(&scene.facts(context), &posting.purpose, &posting.spot) {
        Some(next) => {
            let (from, earlier) = (posting.spot.clone(), posting.earlier);
            moved(
                context,
                scene,
                &posting.purpose,
                &from,
                &next,
                earlier,
                reason,
            )
            .await
        }
        None => refuse(context, scene, posting, reason).await,
    }
}

/// Slack can't do it now, or doesn't accept us.
pub(super) async fn later(
    context: &Context,
    scene: &Scene,
    purpose: &Purpose,
    error: &SlackError,
) -> Result<Done, RelayError> {
    if matches!(error, SlackError::Stop { .. }) {
        context.standing.stop(error);
        let reason = context.standing.stopped().unwrap_or_default();
        stopped(context, scene, &reason).await?;
        return Ok(Done::Later(context.settings.pace.slowly));
    }
    let failures = context
        .remember(&scene.uid(), |memory| {
            memory.failures = memory.failures.saturating_add(1);
            memory.failures
        })
        .unwrap_or(1);
    tracing::debug!(message.purpose = purpose.word(), error = %error, failures, "Slack can't do it now");
    let growing = Duration::from_millis(500) * 2_u32.pow(failures.min(8));
    let wait = error
        .retry_after()
        .unwrap_or(growing)
        .max(growing.min(LONGEST));
    let wait = wait.min(LONGEST.max(error.retry_after().unwrap_or_default()));
    // What this attempt wrote down wakes the next pass, which is not to try at once.
    let ended = message::phase(&scene.request).is_terminal();
    context.remember(&scene.uid(), |memory| {
        let until = (Instant::now() + wait, ended);
        memory.not_before.insert(purpose.clone(), until);
    });
    Ok(Done::Later(wait))
}

/// Slack doesn't accept us: the request says so, once.
pub(super) async fn stopped(
    context: &Context,
    scene: &Scene,
    reason: &str,
) -> Result<(), RelayError> {
    let problem = format!("{STOPPED}{reason}");
    let known = scene.ledger.told.problem.as_ref();
    let known = known.is_some_and(|known| known.starts_with(&problem));
    let told = context.remember(&scene.uid(), |memory| {
        memory.told_stop.replace(problem.clone()).as_deref() == Some(problem.as_str())
    });
    if known || told == Some(true) {
        return Ok(());
    }
    publish(context, scene, "SlackStopped", &problem).await;
    note(context, scene, &problem).await
}

/// An update did not do what it should.
pub(super) async fn not_updated(
    context: &Context,
    scene: &Scene,
    purpose: &Purpose,
    shown: &Message,
    error: &SlackError,
) -> Result<Done, RelayError> {
    let entry = plan::entry(&scene.ledger.told, purpose);
    let (Some(entry), Some(spot)) = (entry, entry.and_then(Spot::of)) else {
        return Ok(Done::Next);
    };
    let to = match judge(context, error.clone()).await {
        Verdict::Ended => return Ok(Done::NotOurs),
        Verdict::Error(
            now @ (SlackError::Retry { .. }
            | SlackError::Uncertain { .. }
            | SlackError::Stop { .. }),
        ) => return later(context, scene, purpose, &now).await,
        Verdict::OnlyThis => None,
        Verdict::Error(SlackError::FallBack {
            to: Elsewhere::DirectMessage,
            ..
        }) => plan::elsewhere(&scene.facts(context), purpose, &spot),
        Verdict::Error(_) => Some(spot.clone()),
    };
    // Only the live message is worth a new one; and where none can be changed, not one for every step of the way.
    let again = entry.earlier == Some(EarlierMessage::Unchangeable);
    let worth =
        *purpose == Purpose::Live && (!again || message::phase(&scene.request).is_terminal());
    match to {
        Some(next) if worth => {
            let earlier = Some(EarlierMessage::Unchangeable);
            moved(
                context,
                scene,
                purpose,
                &spot,
                &next,
                earlier,
                error.reason(),
            )
            .await
        }
        Some(_) if *purpose == Purpose::Live => {
            update::shows(context, scene, purpose, shown, |_| {}).await
        }
        _ => {
            let reason = error.reason();
            context.metrics.told(purpose.word(), "refused");
            let entry = SlackMessage {
                refused: Some(reason.to_owned()),
                ..entry.clone()
            };
            let problem =
                format!("Slack refuses to change a message ({reason}); it stays as it is.");
            publish(context, scene, "SlackRefused", &problem).await;
            amend(context, scene, |told| {
                told.problem.get_or_insert(problem.clone());
                enter(told, &entry);
            })
            .await?;
            Ok(Done::Next)
        }
    }
}

/// It goes elsewhere.
async fn moved(
    context: &Context,
    scene: &Scene,
    purpose: &Purpose,
    from: &Spot,
    to: &Spot,
    earlier: Option<EarlierMessage>,
    reason: &'static str,
) -> Result<Done, RelayError> {
    let word = purpose.word();
    context.metrics.told(word, "moved");
    let why = match reason {
        SHARED => {
            "it is shared with another organisation, and the Environment does not set spec.protection.allowShared"
        }
        reason => reason,
    };
    let problem = if from == to {
        format!(
            "the {word} message in {} can't be changed any more ({}); there is a new one.",
            named(from),
            why
        )
    } else {
        format!(
            "the {word} message could not go to {} ({}), and goes to {} instead.",
            named(from),
            why,
            named(to)
        )
    };
    tracing::warn!(message.purpose = word, reason, "{problem}");
    publish(context, scene, "SlackMoved", &problem).await;
    let entry = ledger::intent(purpose, to, earlier, Timestamp::now());
    let written = amend(context, scene, |told| {
        told.problem = Some(problem.clone());
        enter(told, &entry);
    })
    .await?;
    if written {
        context.remember(&scene.uid(), |memory| {
            memory.unsent = Some(purpose.clone());
            memory.uncertain = None;
            if *purpose == Purpose::Live {
                memory.live_url = Address::NotAsked;
            }
        });
    }
    Ok(Done::Next)
}

/// It is not told, and will not be.
pub(super) async fn refuse(
    context: &Context,
    scene: &Scene,
    posting: &Posting,
    reason: &'static str,
) -> Result<Done, RelayError> {
    let word = posting.purpose.word();
    context.metrics.told(word, "refused");
    let place = named(&posting.spot);
    let problem = match reason {
        "uncertain" => format!(
            "Slack did not say whether the {word} message arrived in {place}, twice: it may be there, and is not posted again."
        ),
        "not_in_channel" | "channel_not_found" => format!(
            "the {word} message could not be posted to {place} ({reason}), and there is nowhere else. Ask who keeps the app to invite it there."
        ),
        SHARED => format!(
            "the {word} message is not posted to {place}, which is shared with another organisation, and there is nowhere else. Whoever keeps the Environment can set spec.protection.allowShared."
        ),
        _ => format!(
            "Slack refuses the {word} message in {place} ({reason}), and there is nowhere else; it is not posted."
        ),
    };
    tracing::warn!(message.purpose = word, reason, "{problem}");
    publish(context, scene, "SlackRefused", &problem).await;
    let entry = SlackMessage {
        refused: Some(reason.to_owned()),
        ..ledger::intent(
            &posting.purpose,
            &posting.spot,
            posting.earlier,
            Timestamp::now(),
        )
    };
    amend(context, scene, |told| {
        told.problem = Some(bounds::cut(&problem, bounds::MESSAGE));
        enter(told, &entry);
    })
    .await?;
    context.remember(&scene.uid(), |memory| memory.unsent = None);
    Ok(Done::Next)
}

/// Enters a message, where there is one for its purpose or room for it.
fn enter(told: &mut SlackStatus, entry: &SlackMessage) {
    if let Some(next) = ledger::with_entry(told, entry.clone()) {
        *told = next;
    }
}

/// Writes what is wrong.
pub(super) async fn note(
    context: &Context,
    scene: &Scene,
    problem: &str,
) -> Result<(), RelayError> {
    let problem = bounds::cut(problem, bounds::MESSAGE);
    amend(context, scene, |told| told.problem = Some(problem.clone()))
        .await
        .map(drop)
}

/// Changes what was told, on top of what this process wrote last. Whether it was written; where not, the next pass finds
/// the same again.
async fn amend(
    context: &Context,
    scene: &Scene,
    change: impl Fn(&mut SlackStatus),
) -> Result<bool, RelayError> {
    let uid = scene.uid();
    let ledger = context
        .recall(&uid, |memory| memory.ledger.clone())
        .flatten()
        .unwrap_or_else(|| scene.ledger.clone());
    let mut next = ledger.told.clone();
    change(&mut next);
    match ledger.write(&context.client, &scene.request, &next).await? {
        Written::Done(ledger) => {
            context.remember(&uid, |memory| memory.ledger = Some(ledger));
            Ok(true)
        }
        Written::Conflict => {
            let fresh = Ledger::read(&context.client, &scene.request).await?;
            context.remember(&uid, |memory| {
                memory.ledger = fresh.map(|(_, ledger)| ledger);
            });
            Ok(false)
        }
        Written::Gone => Ok(false),
    }
}

/// An event about the request. One that can't be published is only logged.
pub(super) async fn publish(context: &Context, scene: &Scene, reason: &str, note: &str) {
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(bounds::cut(note, 250)),
        action: "Tell".to_owned(),
        secondary: None,
    };
    let about = scene.request.object_ref(&());
    if let Err(error) = context.recorder.publish(&event, &about).await {
        tracing::debug!(error = %telemetry::chain(&error), "an event could not be published");
    }
}
