//! Where each message goes. Touches nothing.

use std::collections::BTreeSet;

use crate::{
    api::{Application, DeployRequest, Environment, deploy_request::SlackMessage},
    domain::speaking,
    slack::{
        client::Destination,
        ids::{ChannelId, MessageTs, UserId},
    },
};

/// A conversation, or a thread in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The channel, or the person for a direct message whose channel isn't known yet.
    pub to: Destination,
    /// The message that begins the thread.
    pub thread: Option<MessageTs>,
}

impl Spot {
    fn channel(channel: ChannelId, thread: Option<MessageTs>) -> Self {
        Self {
            to: Destination::Channel(channel),
            thread,
        }
    }

    fn person(user: UserId) -> Self {
        Self {
            to: Destination::Person(user),
            thread: None,
        }
    }

    /// Where a message is, or was to go. `None` for what nobody of us wrote.
    pub fn of(message: &SlackMessage) -> Option<Self> {
        let to = match message.channel.parse() {
            Ok(channel) => Destination::Channel(channel),
            Err(_) => Destination::Person(message.channel.parse().ok()?),
        };
        let thread = match &message.thread_ts {
            Some(thread) => Some(thread.parse().ok()?),
            None => None,
        };
        Some(Self { to, thread })
    }

    /// The id as the status keeps it.
    pub fn id(&self) -> &str {
        match &self.to {
            Destination::Channel(channel) => channel.as_str(),
            Destination::Person(user) => user.as_str(),
        }
    }

    /// The channel, if it is known.
    pub fn known_channel(&self) -> Option<&ChannelId> {
        match &self.to {
            Destination::Channel(channel) => Some(channel),
            Destination::Person(_) => None,
        }
    }

    fn without_thread(&self) -> Self {
        Self {
            to: self.to.clone(),
            thread: None,
        }
    }
}

/// Where the messages about one request go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Where the live message goes, best first: what follows is for when Slack refuses what comes before.
    pub live: Vec<Spot>,
    /// Where to say where the live message is.
    pub link: Option<Spot>,
    /// Further channels, each of which gets a line at the start and one at the end.
    pub also: BTreeSet<ChannelId>,
    /// Every channel of the Environment.
    pub environment: BTreeSet<ChannelId>,
    /// Who asked, if they are known to Slack.
    pub requester: Option<UserId>,
}

impl Places {
    /// The Environment's channel, else where it was asked; in the thread if it was asked in one. A channel that anybody
    /// but the receiver wrote counts only where it is listed.
    pub fn of(
        request: &DeployRequest,
        environment: Option<&Environment>,
        application: Option<&Application>,
    ) -> Self {
        let counts = speaking::unlisted(request, environment, application).is_none();
        let asked = request
            .spec
            .notify
            .as_ref()
            .and_then(|notify| notify.slack.as_ref())
            .filter(|_| counts)
            .and_then(|place| {
                let thread = place.thread_ts.as_ref().map(|thread| thread.parse());
                Some(Spot::channel(
                    place.channel.parse().ok()?,
                    thread.transpose().ok()?,
                ))
            });
        let notify = environment
            .and_then(|environment| environment.spec.notify.as_ref())
            .and_then(|notify| notify.slack.as_ref());
        let home: Option<ChannelId> = notify
            .and_then(|notify| notify.channel.as_ref())
            .and_then(|channel| channel.parse().ok());
        let requester = request
            .spec
            .requester
            .as_ref()
            .and_then(|requester| requester.slack.as_ref())
            .and_then(|person| person.user.parse::<UserId>().ok());
        let elsewhere = asked
            .as_ref()
            .is_some_and(|asked| home.is_some() && asked.known_channel() != home.as_ref());
        let first = match (&asked, home.clone()) {
            (_, Some(home)) if elsewhere => Some(Spot::channel(home, None)),
            (Some(asked), _) => Some(asked.clone()),
            (None, home) => home.map(|home| Spot::channel(home, None)),
        };
        let mut live = Vec::new();
        let mut add = |spot: Spot| {
            if !live.contains(&spot) {
                live.push(spot);
            }
        };
        for spot in first.iter().chain(&asked) {
            add(spot.clone());
            if spot.thread.is_some() {
                add(spot.without_thread());
            }
        }
        if let (Some(_), Some(user)) = (&first, &requester) {
            add(Spot::person(user.clone()));
        }
        let mut also: BTreeSet<ChannelId> = notify
            .into_iter()
            .flat_map(|notify| &notify.also)
            .filter_map(|channel| channel.parse().ok())
            .collect();
        let environment = also.iter().cloned().chain(home).collect();
        if let Some(channel) = first.as_ref().and_then(Spot::known_channel) {
            also.remove(channel);
        }
        Self {
            live,
            link: asked.filter(|_| elsewhere),
            also,
            environment,
            requester,
        }
    }

    /// Whether anything is to be told anywhere.
    pub fn is_nowhere(&self) -> bool {
        self.live.is_empty() && self.also.is_empty()
    }

    /// Where a message of the live message's kind goes when `spot` refuses it.
    pub fn after(&self, spot: &Spot) -> Option<Spot> {
        match self.live.iter().position(|one| one == spot) {
            Some(index) => self.live.get(index + 1).cloned(),
            // It was begun under other settings: only the person is left.
            None => self
                .requester
                .clone()
                .map(Spot::person)
                .filter(|person| person != spot && !is_direct(spot)),
        }
    }
}

fn is_direct(spot: &Spot) -> bool {
    spot.known_channel().is_none_or(ChannelId::is_direct)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
