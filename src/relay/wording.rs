//! What the message for a purpose says, of all that a plan knows. Touches nothing.

use super::{
    message::{self, Readers},
    place::Places,
    plan::{Facts, entry},
    purpose::Purpose,
};
use crate::{
    api::deploy_request::{EarlierMessage, SlackStatus},
    slack::{blocks::Message, ids::ChannelId},
};

/// What the message for a purpose says now.
pub(super) fn message_of(
    facts: &Facts<'_>,
    purpose: &Purpose,
    earlier: Option<EarlierMessage>,
) -> Message {
    let places = Places::of(facts.request, facts.environment, facts.application);
    message_for(facts, &places, purpose, earlier)
}

/// The same, where the places are known.
pub(super) fn message_for(
    facts: &Facts<'_>,
    places: &Places,
    purpose: &Purpose,
    earlier: Option<EarlierMessage>,
) -> Message {
    let (request, url) = (facts.request, facts.live_url);
    let live = entry(facts.told, &Purpose::Live);
    match purpose {
        Purpose::Live => message::live(request, facts.application, earlier),
        Purpose::Link => {
            let channel = live.and_then(|live| live.channel.parse::<ChannelId>().ok());
            let named = channel.filter(|channel| !channel.is_direct());
            message::link(request, named.as_ref(), url)
        }
        Purpose::Stages => message::stages(request),
        Purpose::End => {
            let with_stages = entry(facts.told, &Purpose::Stages).is_none();
            message::end(request, places.requester.as_ref(), with_stages, earlier)
        }
        Purpose::Approval => {
            let readers = if is_asked_alone(facts.told) {
                Readers::RequesterOnly
            } else {
                Readers::Channel
            };
            message::approval(
                request,
                facts.environment,
                facts.application,
                readers,
                earlier,
            )
        }
        Purpose::Judgment(mark) => {
            let since = entry(facts.told, purpose).map(|entry| entry.since.0);
            message::judgment(request, facts.environment, mark, since, earlier)
        }
        Purpose::Overridden(channel) => message::overridden(request, channel, url, earlier),
        Purpose::Started(channel) => message::started(request, channel, url, earlier),
        Purpose::Ended(channel) => message::ended(request, channel, url, earlier),
    }
}

/// Whether the question for approval is, or is to be, where only who asked for the request sees it.
pub(super) fn is_asked_alone(told: &SlackStatus) -> bool {
    let approval = entry(told, &Purpose::Approval);
    let place = approval.or_else(|| entry(told, &Purpose::Live).filter(|live| live.ts.is_some()));
    place
        .and_then(|place| place.channel.parse::<ChannelId>().ok())
        .is_some_and(|channel| channel.is_direct())
}
