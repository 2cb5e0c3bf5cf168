//! What Slack's methods answer, as far as we use it. Touches nothing.

use std::collections::BTreeSet;

use reqwest::Url;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::slack::ids::{
    AppId, ChannelId, EnterpriseId, GroupId, MessageTs, TeamId, UserId, ViewId,
};

/// As whom a token calls, and what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Where the app is installed.
    pub team: TeamId,
    /// What people call it. Untrusted text.
    pub team_name: String,
    /// Its organisation.
    pub enterprise: Option<EnterpriseId>,
    /// The bot user: whose messages are ours.
    pub user: UserId,
    /// The app, where Slack tells it.
    pub app: Option<AppId>,
    /// What the token may; empty where Slack doesn't tell.
    pub scopes: BTreeSet<String>,
}

/// A message that was posted. In a direct conversation this is the channel to update it in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Posted {
    /// Where it is.
    pub channel: ChannelId,
    /// Which it is there.
    pub ts: MessageTs,
}

/// A modal that was opened, pushed or updated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OpenedView {
    /// Its id.
    pub id: ViewId,
    /// What an update names to be refused if the modal has changed meanwhile.
    #[serde(default)]
    pub hash: String,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "so Slack tells it")]
pub struct Conversation {
    /// Its id.
    pub id: ChannelId,
    /// Its name; none for direct conversations. Untrusted text.
    #[serde(default)]
    pub name: Option<String>,
    /// Nobody can write there.
    #[serde(default)]
    pub is_archived: bool,
    /// The app is in it.
    #[serde(default)]
    pub is_member: bool,
    /// Not everybody can see it.
    #[serde(default)]
    pub is_private: bool,
    /// Shared with another workspace, of whichever organisation.
    #[serde(default)]
    pub is_shared: bool,
    /// Shared within one organisation.
    #[serde(default)]
    pub is_org_shared: bool,
    /// Shared with another organisation.
    #[serde(default)]
    pub is_ext_shared: bool,
    /// About to be.
    #[serde(default)]
    pub is_pending_ext_shared: bool,
}

impl Conversation {
    /// Whether people of another organisation read along, or soon may.
    pub fn has_strangers(&self) -> bool {
        let elsewhere = self.is_shared && !self.is_org_shared;
        self.is_ext_shared || self.is_pending_ext_shared || elsewhere
    }
}

/// A person's account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "so Slack tells it")]
pub struct Account {
    /// Their id.
    pub id: UserId,
    /// The workspace that they belong to.
    #[serde(default, rename = "team_id")]
    pub team: Option<TeamId>,
    /// Their organisation's part of the account.
    #[serde(default, rename = "enterprise_user")]
    pub organisation: Option<OrganisationUser>,
    /// They have left.
    #[serde(default)]
    pub deleted: bool,
    /// A program.
    #[serde(default)]
    pub is_bot: bool,
    /// A guest.
    #[serde(default)]
    pub is_restricted: bool,
    /// A guest of one channel.
    #[serde(default)]
    pub is_ultra_restricted: bool,
    /// Of another organisation.
    #[serde(default)]
    pub is_stranger: bool,
    /// Whether Slack has had the email address confirmed; it doesn't always say.
    #[serde(default)]
    pub is_email_confirmed: Option<bool>,
    /// `Europe/Berlin`.
    #[serde(default)]
    pub tz: Option<String>,
    #[serde(default)]
    profile: Profile,
}

/// Somebody's account in the organisation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OrganisationUser {
    /// The organisation.
    #[serde(default, rename = "enterprise_id")]
    pub enterprise: Option<EnterpriseId>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Profile {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    real_name: Option<String>,
}

impl Account {
    /// Their email address; needs the scope `users:read.email`.
    pub fn email(&self) -> Option<&str> {
        let email = self.profile.email.as_deref();
        email.filter(|email| !email.is_empty())
    }

    /// What they call themselves, else their id. They can change it at any time: untrusted text, never an identity.
    pub fn name(&self) -> &str {
        let names = [&self.profile.display_name, &self.profile.real_name];
        let mut names = names.into_iter().flatten().map(String::as_str);
        names
            .find(|name| !name.trim().is_empty())
            .unwrap_or(self.id.as_str())
    }
}

/// A user group with its members.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserGroup {
    /// Its id.
    pub id: GroupId,
    /// What it is mentioned by, without `@`. Untrusted text.
    #[serde(default)]
    pub handle: String,
    /// When it was switched off, in seconds since 1970; 0 while it is on.
    #[serde(default)]
    date_delete: Option<u64>,
    /// Of another organisation.
    #[serde(default)]
    is_external: bool,
    /// Who is in it.
    #[serde(default, deserialize_with = "users")]
    pub users: Vec<UserId>,
}

impl UserGroup {
    /// Whether it is switched on, and the workspace's own.
    pub fn is_active(&self) -> bool {
        matches!(self.date_delete, None | Some(0)) && !self.is_external
    }
}

/// Those of a list that are ids of people.
fn users<'de, Source: Deserializer<'de>>(source: Source) -> Result<Vec<UserId>, Source::Error> {
    let users = Vec::<String>::deserialize(source)?;
    Ok(users
        .into_iter()
        .filter_map(|user| UserId::new(user).ok())
        .collect())
}

/// A message found in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Which it is.
    pub ts: MessageTs,
    /// The thread that it is in.
    #[serde(default, rename = "thread_ts")]
    pub thread: Option<MessageTs>,
    /// Who wrote it.
    #[serde(default)]
    pub user: Option<UserId>,
    #[serde(default)]
    metadata: Option<FoundMetadata>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct FoundMetadata {
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    event_payload: Value,
}

impl Found {
    /// Whether it carries the mark with this field: it is one of ours whose post was uncertain. Any app of the
    /// workspace can set marks, so compare [`Found::user`] too.
    pub fn has_mark(&self, event_type: &str, field: &str, value: &str) -> bool {
        self.metadata.as_ref().is_some_and(|mark| {
            let found = mark.event_payload.get(field).and_then(Value::as_str);
            mark.event_type == event_type && found == Some(value)
        })
    }
}

/// One page of something, and where the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Item> {
    /// What is on it.
    pub items: Vec<Item>,
    /// Where the next one begins, if there is one.
    pub next: Option<Cursor>,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub(super) String);

impl<Item> Page<Item> {
    pub(super) fn new(items: Vec<Item>, body: &Value) -> Self {
        let cursor = body.pointer("/response_metadata/next_cursor");
        let cursor = cursor.and_then(Value::as_str).unwrap_or_default();
        let next = (!cursor.is_empty()).then(|| Cursor(cursor.to_owned()));
        Self { items, next }
    }
}

/// What a Socket Mode connection is dialled at: one use, and a secret.
pub(in crate::slack) struct SocketAddress(pub(in crate::slack) Url);
