//! What Slack sends, in one form for both transports. Touches nothing.
//!
//! Decoding is tolerant of what Slack may add or leave out, and strict about what is used: a payload whose ids aren't
//! ids becomes [`Inbound::Unknown`], as does every type that we don't know.

mod decode;
mod event;
mod fields;
mod intake;
mod interaction;
mod reply;
mod response_url;

use std::{fmt, future::Future};

use serde::Deserialize;
use tokio::time::Instant;

use super::ids::{AppId, ChannelId, EnterpriseId, TeamId, TriggerId, UserId};

pub use event::{AppMessage, Event, EventCallback};
pub use fields::{Given, Values};
pub(in crate::slack) use intake::Taken;
pub use intake::{Allowed, Intake};
pub use interaction::{
    Action, BlockActions, BlockSuggestion, Channel, Container, OpenView, Origin, Person, Shortcut,
    ViewClosed, ViewSubmission,
};
pub use reply::{Reply, Visibility};
pub use response_url::{InvalidResponseUrl, ResponseUrl};

/// One thing that Slack delivered.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What it is.
    pub kind: Inbound,
    /// Says that Slack delivered it before. Not a reason to drop it: the first time may have failed.
    pub retry: Option<Retry>,
    /// When Slack stops waiting for the answer.
    pub deadline: Instant,
}

/// A redelivery. Slack does that for events only, three times: almost at once, after 1 and after 5 minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// From 1.
    pub number: u8,
    /// Slack's word for what went wrong before (`http_timeout`, …), cleaned.
    pub reason: String,
}

/// What Slack delivers.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few at a time, and most are of the large kind"
)]
pub enum Inbound {
    /// `/deploy …`
    Command(SlashCommand),
    /// A button was pressed or a menu used.
    Actions(BlockActions),
    /// A modal was submitted.
    Submission(ViewSubmission),
    /// A modal was closed unsubmitted.
    Closed(ViewClosed),
    /// A menu asks for its choices.
    Suggestion(BlockSuggestion),
    /// A shortcut was used, from anywhere or on a message.
    Shortcut(Shortcut),
    /// Something happened.
    Event(EventCallback),
    /// A type that we don't know, or one whose fields are not what they should be.
    Unknown {
        /// Slack's word for it, cleaned and cut. Not for metrics: it has no bound.
        kind: String,
    },
}

/// A slash command.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SlashCommand {
    /// The workspace.
    #[serde(rename = "team_id")]
    pub team: TeamId,
    /// Its organisation.
    #[serde(
        default,
        rename = "enterprise_id",
        deserialize_with = "fields::optional"
    )]
    pub enterprise: Option<EnterpriseId>,
    /// Where it was typed.
    #[serde(rename = "channel_id")]
    pub channel: ChannelId,
    /// `directmessage` or `privategroup` outside public channels; may change. Untrusted text.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub channel_name: String,
    /// Who typed it.
    #[serde(rename = "user_id")]
    pub user: UserId,
    /// With its slash. Untrusted text.
    pub command: String,
    /// What came after it, as Slack sends it: `&`, `<` and `>` escaped. Untrusted text.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub text: String,
    /// Where later answers go.
    #[serde(default, deserialize_with = "fields::optional")]
    pub response_url: Option<ResponseUrl>,
    /// The right to open a modal.
    #[serde(rename = "trigger_id")]
    pub trigger: TriggerId,
    /// The app that Slack believes to be talking to.
    #[serde(default, rename = "api_app_id", deserialize_with = "fields::optional")]
    pub app: Option<AppId>,
    /// The app is installed for a whole organisation.
    #[serde(default, deserialize_with = "fields::flag")]
    pub is_enterprise_install: bool,
}

/// What tells one delivery from another; the same in every redelivery, over every transport.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// To be hashed into names.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Inbound {
    /// A fixed word, for metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Actions(_) => "actions",
            Self::Submission(_) => "submission",
            Self::Closed(_) => "closed",
            Self::Suggestion(_) => "suggestion",
            Self::Shortcut(_) => "shortcut",
            Self::Event(_) => "event",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// What tells this delivery from another. None where nothing may depend on it: suggestions and unknown types.
    ///
    /// One mention can come as two events with two identities, if the app is subscribed to channel messages too; there
    /// channel and timestamp of the message tell more.
    pub fn identity(&self) -> Option<Identity> {
        let identity = match self {
            Self::Command(command) => format!("command:{}:{}", command.team, command.trigger),
            Self::Actions(actions) => {
                let team = actions.team().map(TeamId::as_str).unwrap_or_default();
                match &actions.trigger {
                    Some(trigger) => format!("actions:{team}:{trigger}"),
                    None => {
                        let action = actions.actions.first()?;
                        let at = action.action_ts.as_ref()?;
                        format!("actions:{team}:{}:{at}", actions.user.id)
                    }
                }
            }
            Self::Submission(submission) => {
                let view = &submission.view;
                format!("submission:{}:{}", view.id, view.hash)
            }
            Self::Closed(closed) => format!("closed:{}", closed.view.id),
            Self::Shortcut(shortcut) => {
                let team = shortcut.team().map(TeamId::as_str).unwrap_or_default();
                format!("shortcut:{team}:{}", shortcut.trigger)
            }
            Self::Event(event) => format!("event:{}", event.event_id),
            Self::Suggestion(_) | Self::Unknown { .. } => return None,
        };
        Some(Identity(identity))
    }

    /// The workspace that it came from: where the app is installed, else the person's own.
    pub fn team(&self) -> Option<&TeamId> {
        match self {
            Self::Command(command) => Some(&command.team),
            Self::Actions(actions) => actions.team(),
            Self::Submission(submission) => submission.team(),
            Self::Closed(closed) => closed.team(),
            Self::Suggestion(suggestion) => suggestion.team(),
            Self::Shortcut(shortcut) => shortcut.team(),
            Self::Event(event) => event.team.as_ref(),
            Self::Unknown { .. } => None,
        }
    }

    /// The organisation that it came from.
    pub fn enterprise(&self) -> Option<&EnterpriseId> {
        match self {
            Self::Command(command) => command.enterprise.as_ref(),
            Self::Actions(BlockActions { enterprise, .. })
            | Self::Submission(ViewSubmission { enterprise, .. })
            | Self::Closed(ViewClosed { enterprise, .. })
            | Self::Suggestion(BlockSuggestion { enterprise, .. })
            | Self::Shortcut(Shortcut { enterprise, .. }) => {
                enterprise.as_ref().map(|enterprise| &enterprise.id)
            }
            Self::Event(event) => event.enterprise.as_ref(),
            Self::Unknown { .. } => None,
        }
    }

    /// The app that it is for.
    pub fn app(&self) -> Option<&AppId> {
        match self {
            Self::Command(command) => command.app.as_ref(),
            Self::Actions(BlockActions { app, .. })
            | Self::Submission(ViewSubmission { app, .. })
            | Self::Closed(ViewClosed { app, .. })
            | Self::Suggestion(BlockSuggestion { app, .. })
            | Self::Shortcut(Shortcut { app, .. })
            | Self::Event(EventCallback { app, .. }) => app.as_ref(),
            Self::Unknown { .. } => None,
        }
    }

    /// Who did it.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Command(command) => Some(&command.user),
            Self::Event(event) => event.event.user(),
            _ => self.person().map(|person| &person.id),
        }
    }

    /// Whether it comes from somebody of another workspace, through a shared channel (Slack Connect), or may.
    ///
    /// `home` is the workspace that the app is installed in. Whoever shows no workspace of their own in a click is
    /// foreign.
    pub fn is_foreign(&self, home: &TeamId) -> bool {
        match self {
            Self::Command(command) => command.team != *home,
            Self::Event(event) => event.is_foreign(home),
            Self::Unknown { .. } => true,
            _ => self
                .person()
                .is_none_or(|person| person.team.as_ref() != Some(home)),
        }
    }

    fn person(&self) -> Option<&Person> {
        match self {
            Self::Actions(BlockActions { user, .. })
            | Self::Submission(ViewSubmission { user, .. })
            | Self::Closed(ViewClosed { user, .. })
            | Self::Suggestion(BlockSuggestion { user, .. })
            | Self::Shortcut(Shortcut { user, .. }) => Some(user),
            Self::Command(_) | Self::Event(_) | Self::Unknown { .. } => None,
        }
    }
}

/// Who answers Slack.
///
/// Whoever handles must answer before [`Delivery::deadline`]; later answers are dropped, and the delivery counts as
/// failed. Only events are delivered again: what a lost command or click should have done must be persisted, or refused
/// in words, in time.
pub trait Handler: Send + Sync + 'static {
    /// Answers one delivery. Several run at once.
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Reply> + Send;
}

#[cfg(test)]
mod tests;
