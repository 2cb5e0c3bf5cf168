//! Events: what happened, as far as we are subscribed to it. Touches nothing.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::fields;
use crate::slack::{
    ids::{AppId, ChannelId, EnterpriseId, EventId, GroupId, MessageTs, TeamId, UserId},
    text,
};

/// An event and where it came from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EventCallback {
    /// The workspace; absent where the app is installed for an organisation.
    #[serde(default, rename = "team_id", deserialize_with = "fields::optional")]
    pub team: Option<TeamId>,
    /// The organisation.
    #[serde(
        default,
        rename = "enterprise_id",
        deserialize_with = "fields::optional"
    )]
    pub enterprise: Option<EnterpriseId>,
    /// The app.
    #[serde(default, rename = "api_app_id", deserialize_with = "fields::optional")]
    pub app: Option<AppId>,
    /// The same in every redelivery.
    pub event_id: EventId,
    /// The channel is shared with another organisation.
    #[serde(default, deserialize_with = "fields::flag")]
    pub is_ext_shared_channel: bool,
    /// What happened.
    pub event: Event,
}

impl EventCallback {
    pub(super) fn is_foreign(&self, home: &TeamId) -> bool {
        if self.team.as_ref().is_some_and(|team| team != home) {
            return true;
        }
        let (Event::Mention(message) | Event::Message(message)) = &self.event else {
            return self.is_ext_shared_channel;
        };
        let teams = [&message.user_team, &message.source_team];
        let mut teams = teams.into_iter().flatten();
        // Where strangers are, whoever shows no workspace of their own is one.
        (self.is_ext_shared_channel && teams.clone().next().is_none())
            || teams.any(|team| team != home)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody mentioned the app in a channel.
    Mention(AppMessage),
    /// Somebody wrote a message where the app listens: a direct one, as a rule.
    Message(AppMessage),
    /// Somebody opened the app's home.
    HomeOpened {
        /// Who.
        user: UserId,
        /// `home` or `messages`.
        tab: String,
    },
    /// The app was removed, or its tokens revoked.
    Uninstalled,
    /// A user group or its members changed.
    GroupChanged(GroupId),
    /// A person's account changed; they may have left.
    UserChanged(UserId),
    /// A channel was renamed.
    ChannelRenamed(ChannelId),
    /// Something else.
    Other {
        /// Slack's word for it, cleaned and cut.
        kind: String,
    },
}

/// A message that reached the app.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AppMessage {
    /// Who wrote it; absent for some messages of apps.
    #[serde(default, deserialize_with = "fields::optional")]
    pub user: Option<UserId>,
    /// Where.
    pub channel: ChannelId,
    /// The message.
    pub ts: MessageTs,
    /// The thread that it is in.
    #[serde(default, rename = "thread_ts", deserialize_with = "fields::optional")]
    pub thread: Option<MessageTs>,
    /// Its words, as Slack sends them: `&`, `<` and `>` escaped. Untrusted text.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub text: String,
    /// The exact text of each code block in it, where Slack tells; the words hold it changed. Untrusted text.
    #[serde(default, rename = "blocks", deserialize_with = "preformatted")]
    pub preformatted: Vec<String>,
    /// `im` for a direct message.
    #[serde(default, deserialize_with = "fields::or_default")]
    pub channel_type: String,
    #[serde(default, deserialize_with = "fields::optional")]
    bot_id: Option<String>,
    #[serde(default, deserialize_with = "fields::optional")]
    subtype: Option<String>,
    #[serde(default, deserialize_with = "fields::optional")]
    user_team: Option<TeamId>,
    #[serde(default, deserialize_with = "fields::optional")]
    source_team: Option<TeamId>,
}

impl AppMessage {
    /// The person who wrote it. None for what apps write (ourselves too), for changes, deletions and notices: whoever
    /// answers those answers themselves.
    pub fn person(&self) -> Option<&UserId> {
        let plain = matches!(
            self.subtype.as_deref(),
            None | Some("file_share" | "thread_broadcast")
        );
        self.user
            .as_ref()
            .filter(|_| plain && self.bot_id.is_none())
    }

    /// A direct message to the app.
    pub fn is_direct(&self) -> bool {
        self.channel_type == "im" || self.channel.is_direct()
    }
}

impl Event {
    /// Slack's word for it.
    pub fn word(&self) -> &str {
        match self {
            Self::Mention(_) => "app_mention",
            Self::Message(_) => "message",
            Self::HomeOpened { .. } => "app_home_opened",
            Self::Uninstalled => "app_uninstalled",
            Self::GroupChanged(_) => "subteam",
            Self::UserChanged(_) => "user_change",
            Self::ChannelRenamed(_) => "channel_rename",
            Self::Other { kind } => kind,
        }
    }

    pub(super) fn user(&self) -> Option<&UserId> {
        match self {
            Self::Mention(message) | Self::Message(message) => message.user.as_ref(),
            Self::HomeOpened { user, .. } | Self::UserChanged(user) => Some(user),
            _ => None,
        }
    }

    fn read(event: Value) -> Result<Self, serde_json::Error> {
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let field = |pointer: &str| event.pointer(pointer).cloned().unwrap_or_default();
        Ok(match kind {
            "app_mention" => Self::Mention(serde_json::from_value(event)?),
            // Without its own author and text: those are of the change, or inside.
            "message" if event.get("channel").is_some() && event.get("ts").is_some() => {
                Self::Message(serde_json::from_value(event)?)
            }
            "app_home_opened" => Self::HomeOpened {
                user: serde_json::from_value(field("/user"))?,
                tab: text::clean(field("/tab").as_str().unwrap_or_default(), 20),
            },
            "app_uninstalled" | "tokens_revoked" => Self::Uninstalled,
            "subteam_updated" | "subteam_created" => {
                Self::GroupChanged(serde_json::from_value(field("/subteam/id"))?)
            }
            "subteam_members_changed" => {
                Self::GroupChanged(serde_json::from_value(field("/subteam_id"))?)
            }
            "user_change" => Self::UserChanged(serde_json::from_value(field("/user/id"))?),
            "channel_rename" => Self::ChannelRenamed(serde_json::from_value(field("/channel/id"))?),
            other => Self::Other {
                kind: text::clean(other, 80),
            },
        })
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<Source: Deserializer<'de>>(source: Source) -> Result<Self, Source::Error> {
        Self::read(Value::deserialize(source)?).map_err(serde::de::Error::custom)
    }
}

/// The texts of the code blocks among a message's blocks.
fn preformatted<'de, Source: Deserializer<'de>>(
    source: Source,
) -> Result<Vec<String>, Source::Error> {
    let blocks = Value::deserialize(source)?;
    let list = |value: &Value, field: &str| {
        let list = value.get(field).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let is = |value: &Value, kind: &str| value.get("type").and_then(Value::as_str) == Some(kind);
    let rich = blocks.as_array().into_iter().flatten();
    Ok(rich
        .filter(|block| is(block, "rich_text"))
        .flat_map(|block| list(block, "elements"))
        .filter(|element| is(element, "rich_text_preformatted"))
        .map(|element| {
            let parts = list(&element, "elements");
            // A link stands here as its address; its own text is absent or the same.
            let texts = parts.iter().filter_map(|part| {
                let text = part.get("text").or_else(|| part.get("url"));
                text.and_then(Value::as_str)
            });
            texts.collect()
        })
        .collect())
}
