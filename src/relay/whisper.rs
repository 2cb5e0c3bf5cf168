//! Showing one person where the live message is. Touches the API server and Slack.

use jiff::Timestamp;

use super::{
    context::{Context, Scene},
    error::RelayError,
    ledger,
    plan::{self, Posting},
    post::write_intent,
    telling::{Done, look_afresh},
};
use crate::slack::{client::Destination, ids::UserId};

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
    if !write_intent(context, &scene, &posting.purpose, &entry).await? {
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
