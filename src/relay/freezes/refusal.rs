//! A message about a freeze that Slack refuses: the freeze's status and an event say so, and nothing goes elsewhere, since
//! whoever wrote the freeze said which channels are told. Touches the API server.

use super::{
    desk::{Desk, Scene},
    plan::Posting,
};
use crate::relay::{error::RelayError, telling::Done, trouble};

const NO_ROOM: &str = "The freeze's status holds as many messages as it can: no further one is posted. Name fewer channels in spec.notify.slack.channels.";

/// What is said of a message that is not posted, and will not be.
pub(super) fn refusal(posting: &Posting, reason: &'static str) -> String {
    let word = posting.purpose.word();
    let place = posting.spot.id();
    match reason {
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
    }
}

/// There is no room to write down another message: the freeze says so, once.
pub(super) async fn no_room(desk: &Desk, scene: &Scene) -> Result<Done, RelayError> {
    if scene.ledger.told.problem.as_deref() != Some(NO_ROOM) {
        trouble::publish(desk, scene, "SlackRefused", NO_ROOM).await;
        trouble::note(desk, scene, NO_ROOM).await?;
    }
    Ok(Done::Later(desk.settings.pace.slowly))
}
