//! A message about a freeze that Slack refuses: the freeze's status and an event say so, and nothing goes elsewhere, since
//! whoever wrote the freeze said which channels are told. Touches the API server.

use jiff::Timestamp;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use super::{
    desk::{Desk, Scene},
    pass::{self, Done},
    plan::Posting,
};
use crate::{
    api::{bounds, deploy_request::SlackMessage},
    relay::{error::RelayError, ledger, trouble},
    runtime::telemetry,
};

const NO_ROOM: &str = "The freeze's status holds as many messages as it can: no further one is posted. Name fewer channels in spec.notify.slack.channels.";

/// It is not told there, and will not be.
pub(super) async fn refuse(
    desk: &Desk,
    scene: &Scene,
    posting: &Posting,
    reason: &'static str,
) -> Result<Done, RelayError> {
    let word = posting.notice.word();
    let place = posting.spot.id();
    let problem = match reason {
        "uncertain" => format!(
            "Slack did not say whether the {word} message arrived in {place}, twice: it may be there, and is not posted again."
        ),
        "not_in_channel" | "channel_not_found" => format!(
            "the {word} message could not be posted to {place} ({reason}). Ask who keeps the app to invite it there."
        ),
        trouble::SHARED => format!(
            "the {word} message is not posted to {place}, which is shared with another organisation. Name a channel of your own in spec.notify.slack.channels."
        ),
        _ => format!("Slack refuses the {word} message in {place} ({reason}); it is not posted."),
    };
    tracing::warn!(message.purpose = word, reason, "{problem}");
    desk.means.metrics.told(word, "refused");
    let entry = SlackMessage {
        refused: Some(reason.to_owned()),
        ..ledger::intent(
            &posting.notice,
            &posting.spot,
            posting.earlier,
            Timestamp::now(),
        )
    };
    let told = desk
        .recall(&scene.freeze, |memory| memory.ledger.clone())
        .map_or_else(|| scene.ledger.told.clone(), |ledger| ledger.told);
    let Some(mut next) = ledger::with_entry(&told, entry) else {
        return no_room(desk, scene).await;
    };
    next.problem = Some(bounds::cut(&problem, bounds::MESSAGE));
    publish(desk, scene, "SlackRefused", &problem).await;
    let known = desk.recall(&scene.freeze, |memory| memory.ledger.clone());
    let scene = match known {
        Some(ledger) => &desk.scene(scene.freeze.clone(), ledger),
        None => scene,
    };
    desk.remember(&scene.freeze, |memory| memory.unsent = None);
    pass::write(desk, scene, &next).await
}

/// There is no room to write down another message: the freeze says so, once.
pub(super) async fn no_room(desk: &Desk, scene: &Scene) -> Result<Done, RelayError> {
    let mut next = scene.ledger.told.clone();
    let known = next.problem.replace(NO_ROOM.to_owned());
    if known.as_deref() != Some(NO_ROOM) {
        publish(desk, scene, "SlackRefused", NO_ROOM).await;
        pass::write(desk, scene, &next).await?;
    }
    Ok(Done::Later(desk.means.settings.pace.slowly))
}

/// An event about the freeze. One that can't be published is only logged.
pub(super) async fn publish(desk: &Desk, scene: &Scene, reason: &str, note: &str) {
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(bounds::cut(note, 250)),
        action: "Tell".to_owned(),
        secondary: None,
    };
    let about = scene.freeze.object_ref(&());
    if let Err(error) = desk.means.recorder.publish(&event, &about).await {
        tracing::debug!(error = %telemetry::chain(&error), "an event could not be published");
    }
}
