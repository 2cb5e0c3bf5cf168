//! What to do when Slack refuses: later, or not at all; and that somebody gets to know. Touches the API server and Slack.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};
use tokio::time::Instant;

use super::{
    error::RelayError,
    ledger::{self, Ledger, Written},
    means::Means,
    plan::{self, Posting},
    telling::{Done, Scene, Telling, Unchanged},
};
use crate::{
    api::{
        bounds,
        deploy_request::{EarlierMessage, SlackMessage, SlackStatus},
    },
    runtime::telemetry,
    slack::{blocks::Message, client::SlackError},
};

/// Said when Slack didn't take what we made.
pub(super) const PLAIN: &str = "Slack did not take the message as it should be; it is shown as plain text. The relay's log says why.";
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

/// Whether it is said that Slack doesn't accept us.
pub(super) fn says_stopped(told: &SlackStatus) -> bool {
    let problem = told.problem.as_ref();
    problem.is_some_and(|problem| problem.starts_with(STOPPED))
}

/// Slack accepts us again.
pub(super) fn is_accepted(told: &mut SlackStatus) {
    if says_stopped(told) {
        told.problem = None;
    }
}

/// What may be there twice is said as long as that message, or one that may become it, is known.
pub(super) fn is_single(told: &mut SlackStatus) {
    let may_be_two = |known: &SlackMessage| {
        let begun = known.ts.is_none() && known.refused.is_none();
        begun || known.earlier == Some(EarlierMessage::Unknown)
    };
    if told.problem.as_deref() == Some(SECOND_COPY) && !told.messages.iter().any(may_be_two) {
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

/// A post did not do what it should.
pub(super) async fn not_posted<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    posting: &Posting<T::Purpose>,
    error: &SlackError,
) -> Result<Done, RelayError> {
    let (uid, purpose) = (scene.uid(), &posting.purpose);
    let error = match judge(telling, error.clone()).await {
        Verdict::OnlyThis => return refuse(telling, scene, posting, error.reason()).await,
        Verdict::Error(error) => error,
        Verdict::Ended => return Ok(Done::NotOurs),
    };
    match &error {
        SlackError::Retry { .. } | SlackError::Stop { .. } => {
            later(telling, scene, purpose, &error).await
        }
        SlackError::Uncertain { .. } => {
            telling.metrics.told(T::word(purpose), "uncertain");
            tracing::warn!(message.purpose = T::word(purpose), error = %error, "it is unknown whether a message was posted; it is looked for");
            telling.memories().remember(&uid, |memory| {
                memory.unsent = None;
                memory.uncertain = Some((purpose.clone(), Instant::now()));
            });
            Ok(Done::Later(
                LOOK_FOR_IT.min(telling.settings.pace.settle / 3),
            ))
        }
        _ => telling.elsewhere(scene, posting, error.reason()).await,
    }
}

/// Nothing is posted where another organisation reads along, unless that is allowed: it goes elsewhere, as if
/// Slack refused it there. `None` where nothing speaks against it.
pub(super) async fn among_strangers<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    posting: &Posting<T::Purpose>,
) -> Result<Option<Done>, RelayError> {
    let allowed = T::may_be_shared(scene);
    let Some(channel) = posting.spot.known_channel().filter(|_| !allowed) else {
        return Ok(None);
    };
    let asking = telling.shared.is_shared(channel);
    let Some(shared) = telling.unless_ended(asking).await else {
        return Ok(Some(Done::NotOurs));
    };
    match shared {
        Ok(false) => Ok(None),
        Ok(true) => telling.elsewhere(scene, posting, SHARED).await.map(Some),
        // Not known, so not told: it is asked again, ever more slowly.
        Err(error) => {
            telling.memories().begin(&scene.uid(), |memory| {
                memory.object = Some(scene.object.clone());
            });
            let later = later(telling, scene, &posting.purpose, &error).await;
            later.map(Some)
        }
    }
}

/// Slack can't do it now, or doesn't accept us.
pub(super) async fn later<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    purpose: &T::Purpose,
    error: &SlackError,
) -> Result<Done, RelayError> {
    if matches!(error, SlackError::Stop { .. }) {
        telling.standing.stop(error);
        let reason = telling.standing.stopped().unwrap_or_default();
        stopped(telling, scene, &reason).await?;
        return Ok(Done::Later(telling.settings.pace.slowly));
    }
    let failures = telling
        .memories()
        .remember(&scene.uid(), |memory| {
            memory.failures = memory.failures.saturating_add(1);
            memory.failures
        })
        .unwrap_or(1);
    tracing::debug!(message.purpose = T::word(purpose), error = %error, failures, "Slack can't do it now");
    let growing = Duration::from_millis(500) * 2_u32.pow(failures.min(8));
    let asked = error.retry_after().unwrap_or_default();
    let wait = growing.min(LONGEST).max(asked);
    // What this attempt wrote down wakes the next pass, which is not to try at once.
    let ended = T::has_ended(&scene.object);
    telling.memories().remember(&scene.uid(), |memory| {
        let until = (Instant::now() + wait, ended);
        memory.not_before.insert(purpose.clone(), until);
    });
    Ok(Done::Later(wait))
}

/// Slack doesn't accept us: the object's status says so, once.
pub(super) async fn stopped<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    reason: &str,
) -> Result<(), RelayError> {
    let problem = format!("{STOPPED}{reason}");
    let known = scene.ledger.told.problem.as_ref();
    let known = known.is_some_and(|known| known.starts_with(&problem));
    let told = telling.memories().remember(&scene.uid(), |memory| {
        memory.told_stop.replace(problem.clone()).as_deref() == Some(problem.as_str())
    });
    if known || told == Some(true) {
        return Ok(());
    }
    publish(telling, scene, "SlackStopped", &problem).await;
    note(telling, scene, &problem).await
}

/// An update did not do what it should.
pub(super) async fn not_updated<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    purpose: &T::Purpose,
    shown: &Message,
    error: &SlackError,
) -> Result<Done, RelayError> {
    let Some(entry) = plan::entry(&scene.ledger.told, purpose) else {
        return Ok(Done::Next);
    };
    let reason = error.reason();
    let refusal = match judge(telling, error.clone()).await {
        Verdict::Ended => return Ok(Done::NotOurs),
        Verdict::Error(
            now @ (SlackError::Retry { .. }
            | SlackError::Uncertain { .. }
            | SlackError::Stop { .. }),
        ) => return later(telling, scene, purpose, &now).await,
        Verdict::OnlyThis => None,
        Verdict::Error(error) => Some(error),
    };
    let unchanged = Unchanged {
        purpose,
        entry,
        message: shown,
        reason,
        refusal,
    };
    if let Some(done) = telling.anew(scene, unchanged).await? {
        return Ok(done);
    }
    telling.metrics.told(T::word(purpose), "refused");
    let entry = SlackMessage {
        refused: Some(reason.to_owned()),
        ..entry.clone()
    };
    let problem = format!("Slack refuses to change a message ({reason}); it stays as it is.");
    publish(telling, scene, "SlackRefused", &problem).await;
    amend(telling, scene, |told| {
        told.problem.get_or_insert(problem.clone());
        enter(told, &entry);
    })
    .await?;
    Ok(Done::Next)
}

/// It is not told, and will not be.
pub(super) async fn refuse<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    posting: &Posting<T::Purpose>,
    reason: &'static str,
) -> Result<Done, RelayError> {
    let word = T::word(&posting.purpose);
    telling.metrics.told(word, "refused");
    let problem = T::refusal(posting, reason);
    tracing::warn!(message.purpose = word, reason, "{problem}");
    publish(telling, scene, "SlackRefused", &problem).await;
    let entry = SlackMessage {
        refused: Some(reason.to_owned()),
        ..ledger::intent(
            &posting.purpose,
            &posting.spot,
            posting.earlier,
            Timestamp::now(),
        )
    };
    amend(telling, scene, |told| {
        *told = T::kept(&scene.object, told, &posting.purpose);
        told.problem = Some(bounds::cut(&problem, bounds::MESSAGE));
        enter(told, &entry);
    })
    .await?;
    telling
        .memories()
        .remember(&scene.uid(), |memory| memory.unsent = None);
    Ok(Done::Next)
}

/// Enters a message, where there is one for its purpose or room for it.
pub(super) fn enter(told: &mut SlackStatus, entry: &SlackMessage) {
    if let Some(next) = ledger::with_entry(told, entry.clone()) {
        *told = next;
    }
}

/// Writes what is wrong.
pub(super) async fn note<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    problem: &str,
) -> Result<(), RelayError> {
    let problem = bounds::cut(problem, bounds::MESSAGE);
    amend(telling, scene, |told| told.problem = Some(problem.clone()))
        .await
        .map(drop)
}

/// Changes what was told, on top of what this process wrote last. Whether it was written; where not, the next pass finds
/// the same again.
pub(super) async fn amend<T: Telling>(
    telling: &T,
    scene: &Scene<T>,
    change: impl Fn(&mut SlackStatus),
) -> Result<bool, RelayError> {
    let uid = scene.uid();
    let ledger = telling
        .memories()
        .recall(&uid, |memory| memory.ledger.clone())
        .unwrap_or_else(|| scene.ledger.clone());
    let mut next = ledger.told.clone();
    change(&mut next);
    match ledger.write(&telling.client, &scene.object, &next).await? {
        Written::Done(ledger) => {
            telling
                .memories()
                .remember(&uid, |memory| memory.ledger = Some(ledger));
            Ok(true)
        }
        Written::Conflict => {
            let fresh = Ledger::read(&telling.client, &scene.object).await?;
            telling.memories().remember(&uid, |memory| {
                memory.ledger = fresh.map(|(_, ledger)| ledger);
            });
            Ok(false)
        }
        Written::Gone => Ok(false),
    }
}

/// An event about the object. One that can't be published is only logged.
pub(super) async fn publish<T: Telling>(telling: &T, scene: &Scene<T>, reason: &str, note: &str) {
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(bounds::cut(note, 250)),
        action: "Tell".to_owned(),
        secondary: None,
    };
    let about = scene.object.object_ref(&());
    if let Err(error) = telling.recorder.publish(&event, &about).await {
        tracing::debug!(error = %telemetry::chain(&error), "an event could not be published");
    }
}
