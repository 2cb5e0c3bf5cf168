//! What is done for a message about a request that Slack refuses: it goes elsewhere, as long as there is any such place.
//! Touches the API server.

use jiff::Timestamp;

use super::{
    context::{Context, Scene, named},
    error::RelayError,
    ledger,
    memory::Address,
    message,
    place::Spot,
    plan::{self, Posting},
    purpose::Purpose,
    telling::{Done, Telling, Unchanged},
    trouble::{self, SHARED},
    update,
};
use crate::{
    api::deploy_request::EarlierMessage,
    slack::client::{Elsewhere, SlackError},
};

/// Said when `status.slack.messages` is full.
const NO_ROOM: &str = "The request's status holds as many messages as it can: no further one is posted. Name fewer further channels in its Environment.";

/// It goes elsewhere, if there is any such place.
pub(super) async fn elsewhere(
    context: &Context,
    scene: &Scene,
    posting: &Posting,
    reason: &'static str,
) -> Result<Done, RelayError> {
    match plan::elsewhere(&context.facts(scene), &posting.purpose, &posting.spot) {
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
        None => trouble::refuse(context, scene, posting, reason).await,
    }
}

/// A message can't be changed: only the live message is worth a new one.
pub(super) async fn anew(
    context: &Context,
    scene: &Scene,
    unchanged: Unchanged<'_, Purpose>,
) -> Result<Option<Done>, RelayError> {
    let Unchanged {
        purpose,
        entry,
        message,
        reason,
        refusal,
    } = unchanged;
    if *purpose != Purpose::Live {
        return Ok(None);
    }
    let Some(spot) = Spot::of(entry) else {
        return Ok(Some(Done::Next));
    };
    let to = match refusal {
        None => None,
        Some(SlackError::FallBack {
            to: Elsewhere::DirectMessage,
            ..
        }) => plan::elsewhere(&context.facts(scene), purpose, &spot),
        Some(_) => Some(spot.clone()),
    };
    let Some(next) = to else {
        return Ok(None);
    };
    // Where none can be changed, not one for every step of the way.
    let again = entry.earlier == Some(EarlierMessage::Unchangeable);
    let done = if again && !message::phase(&scene.object).is_terminal() {
        update::shows(context, scene, purpose, message, |_| {}).await?
    } else {
        let earlier = Some(EarlierMessage::Unchangeable);
        moved(context, scene, purpose, &spot, &next, earlier, reason).await?
    };
    Ok(Some(done))
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
    trouble::publish(context, scene, "SlackMoved", &problem).await;
    let entry = ledger::intent(purpose, to, earlier, Timestamp::now());
    let written = trouble::amend(context, scene, |told| {
        told.problem = Some(problem.clone());
        trouble::enter(told, &entry);
    })
    .await?;
    if written {
        context.memories().remember(&scene.uid(), |memory| {
            memory.unsent = Some(purpose.clone());
            memory.uncertain = None;
            if *purpose == Purpose::Live {
                memory.live_url = Address::NotAsked;
            }
        });
    }
    Ok(Done::Next)
}

/// What is said of a message that is not posted, and will not be.
pub(super) fn refusal(posting: &Posting, reason: &'static str) -> String {
    let word = posting.purpose.word();
    let place = named(&posting.spot);
    match reason {
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
    }
}

/// There is no room to write down another message: the request says so, once.
pub(super) async fn no_room(context: &Context, scene: &Scene) -> Result<Done, RelayError> {
    if scene.ledger.told.problem.is_none() {
        trouble::publish(context, scene, "SlackRefused", NO_ROOM).await;
        trouble::note(context, scene, NO_ROOM).await?;
    }
    Ok(Done::Idle)
}
