//! Channels and direct conversations, who is in them, and how Slack shows them. Touches nothing.

use serde_json::{Value, json};

use super::{Message, World};

/// What kind of conversation it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// Everybody may see and join it.
    Public,
    /// Only members know of it.
    Private,
    /// One person with the app; holds the person's id.
    Direct(String),
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Channel {
    /// `C…`, or `D…` for a direct one.
    pub id: String,
    /// Without `#`; empty for a direct one.
    pub name: String,
    /// Public, private or direct.
    pub kind: ChannelKind,
    /// The ids of its members.
    pub members: Vec<String>,
    /// Archived: readable only.
    pub archived: bool,
    /// Shared with another organisation.
    pub is_ext_shared: bool,
    pub(in crate::slack) messages: Vec<Message>,
    pub(in crate::slack) created: u64,
}

impl Channel {
    /// What is to be seen in it, oldest first: replies included, deleted messages not.
    pub fn messages(&self) -> Vec<Message> {
        let seen = self.messages.iter().filter(|message| !message.deleted);
        seen.cloned().collect()
    }

    /// The replies under a message, oldest first.
    pub fn replies(&self, thread_ts: &str) -> Vec<Message> {
        let mut replies = self.messages();
        replies.retain(|message| {
            message.is_reply() && message.thread_ts.as_deref() == Some(thread_ts)
        });
        replies
    }

    /// A message, deleted ones included.
    pub fn message(&self, ts: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.ts == ts)
    }

    /// Whether somebody is in it.
    pub fn has_member(&self, user: &str) -> bool {
        self.members.iter().any(|member| member == user)
    }

    pub(in crate::slack) fn message_mut(&mut self, ts: &str) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.ts == ts)
    }

    /// How commands and clicks name it.
    pub(in crate::slack) fn name_in_payloads(&self) -> &str {
        match self.kind {
            ChannelKind::Public => &self.name,
            ChannelKind::Private => "privategroup",
            ChannelKind::Direct(_) => "directmessage",
        }
    }

    /// The word in `channel_type` of message events.
    pub(in crate::slack) fn type_in_events(&self) -> &'static str {
        match self.kind {
            ChannelKind::Public => "channel",
            ChannelKind::Private => "group",
            ChannelKind::Direct(_) => "im",
        }
    }
}

impl World {
    /// A conversation by id, or by name with or without `#`.
    pub fn channel(&self, id_or_name: &str) -> Option<&Channel> {
        self.channels.get(id_or_name).or_else(|| {
            let name = id_or_name.strip_prefix('#').unwrap_or(id_or_name);
            let named = |channel: &&Channel| !channel.name.is_empty() && channel.name == name;
            self.channels.values().find(named)
        })
    }

    /// The direct conversation of a person with the app, if there was one.
    pub fn direct_channel(&self, user: &str) -> Option<&Channel> {
        let user = &self.user(user)?.id;
        self.channels
            .values()
            .find(|channel| channel.kind == ChannelKind::Direct(user.clone()))
    }

    pub(in crate::slack) fn channel_mut(&mut self, id_or_name: &str) -> Option<&mut Channel> {
        let id = self.channel(id_or_name)?.id.clone();
        self.channels.get_mut(&id)
    }

    pub(in crate::slack) fn add_channel(
        &mut self,
        name: &str,
        kind: ChannelKind,
        members: &[String],
    ) -> String {
        let prefix = if matches!(kind, ChannelKind::Direct(_)) {
            'D'
        } else {
            'C'
        };
        let id = self.next_id(prefix);
        let channel = Channel {
            id: id.clone(),
            name: name.to_owned(),
            kind,
            members: members.to_vec(),
            archived: false,
            is_ext_shared: false,
            messages: Vec::new(),
            created: self.now().as_secs(),
        };
        self.channels.insert(id.clone(), channel);
        id
    }

    /// The direct conversation of a person with the app, and whether it was there before.
    pub(in crate::slack) fn open_direct(&mut self, user: &str) -> (String, bool) {
        if let Some(channel) = self.direct_channel(user) {
            return (channel.id.clone(), true);
        }
        let members = [user.to_owned(), self.app.bot_user_id.clone()];
        (
            self.add_channel("", ChannelKind::Direct(user.to_owned()), &members),
            false,
        )
    }

    /// Whether the app is told of a conversation: not of private ones that it is not in.
    pub(in crate::slack) fn app_sees(&self, channel: &Channel) -> bool {
        channel.kind == ChannelKind::Public || channel.has_member(&self.app.bot_user_id)
    }

    pub(in crate::slack) fn channel_json(&self, channel: &Channel, with_count: bool) -> Value {
        let team = &self.team().id;
        let mut shown = if let ChannelKind::Direct(user) = &channel.kind {
            let latest = channel.messages().pop().map(|message| message.json(self));
            json!({
                "id": channel.id, "created": channel.created, "is_archived": false, "is_im": true,
                "is_org_shared": false, "context_team_id": team, "updated": channel.created * 1000,
                "user": user, "last_read": "0000000000.000000", "latest": latest,
                "unread_count": 0, "unread_count_display": 0, "is_open": true, "priority": 0,
            })
        } else {
            let private = channel.kind == ChannelKind::Private;
            let about = json!({"value": "", "creator": "", "last_set": 0});
            json!({
                "id": channel.id, "name": channel.name, "name_normalized": channel.name,
                "is_channel": !private, "is_group": private, "is_im": false, "is_mpim": false,
                "is_private": private, "created": channel.created, "is_archived": channel.archived,
                "is_general": channel.name == "general", "unlinked": 0, "is_frozen": false,
                "is_shared": channel.is_ext_shared, "is_org_shared": false,
                "is_pending_ext_shared": false, "is_ext_shared": channel.is_ext_shared,
                "pending_shared": [], "context_team_id": team, "updated": channel.created * 1000,
                "parent_conversation": null, "creator": channel.members.last(),
                "shared_team_ids": [team], "pending_connected_team_ids": [],
                "is_member": channel.has_member(&self.app.bot_user_id),
                "topic": about, "purpose": about, "previous_names": [],
            })
        };
        if with_count {
            shown["num_members"] = json!(channel.members.len());
        }
        shown
    }
}
