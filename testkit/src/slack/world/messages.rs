//! What is said in channels: posted, replied, changed, deleted, reacted to. Touches the world only.

use serde_json::{Value, json};

use super::{ChannelKind, World};

/// What a call is refused with: Slack's word for it.
pub(in crate::slack) type CodeResult<T> = Result<T, &'static str>;

/// What a message says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// The text, in mrkdwn.
    pub text: String,
    /// The blocks.
    pub blocks: Vec<Value>,
    /// Legacy attachments.
    pub attachments: Vec<Value>,
}

impl Content {
    pub(in crate::slack) fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }
}

/// Who speaks.
#[derive(Debug, Clone)]
pub(in crate::slack) enum Author {
    App,
    Person(String),
}

/// A message in a channel.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its time, and its name within the channel.
    pub ts: String,
    /// The channel's id.
    pub channel: String,
    /// The author's id; the bot's user id for the app.
    pub user: String,
    /// Whether the app wrote it.
    pub by_app: bool,
    /// What it says now.
    pub content: Content,
    /// What it said before, oldest first.
    pub earlier: Vec<Content>,
    /// The thread it belongs to: its own ts when it has replies.
    pub thread_ts: Option<String>,
    /// A reply that is shown in the channel too.
    pub broadcast: bool,
    /// When its text was last changed, if "(edited)" is shown.
    pub edited: Option<String>,
    /// Gone for people; kept for tests.
    pub deleted: bool,
    /// What other apps may read.
    pub metadata: Option<Value>,
    /// Emoji names and who added them.
    pub reactions: Vec<(String, Vec<String>)>,
}

impl Message {
    /// The text.
    pub fn text(&self) -> &str {
        &self.content.text
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Value] {
        &self.content.blocks
    }

    /// Whether it stands under another message.
    pub fn is_reply(&self) -> bool {
        self.thread_ts
            .as_ref()
            .is_some_and(|thread| *thread != self.ts)
    }

    /// As the Web API and events show it.
    pub(in crate::slack) fn json(&self, world: &World) -> Value {
        let mut shown = json!({
            "type": "message", "user": self.user, "text": self.content.text,
            "ts": self.ts, "team": world.team().id,
        });
        let mut set = |key: &str, value: Value| shown[key] = value;
        if self.by_app {
            let app = &world.app;
            set("bot_id", json!(app.bot_id));
            set("app_id", json!(app.id));
            set(
                "bot_profile",
                json!({
                    "id": app.bot_id, "app_id": app.id, "user_id": app.bot_user_id,
                    "name": "foredeck", "deleted": false, "updated": 1_700_000_000,
                    "icons": {"image_36": "https://avatars.example/app-36.png"},
                    "team_id": world.team().id,
                }),
            );
        } else {
            set(
                "client_msg_id",
                json!(format!(
                    "00000000-0000-4000-8000-{:0>12}",
                    self.ts
                        .replace('.', "")
                        .chars()
                        .rev()
                        .take(12)
                        .collect::<String>()
                )),
            );
        }
        if !self.content.blocks.is_empty() {
            set("blocks", json!(self.content.blocks));
        }
        if !self.content.attachments.is_empty() {
            set("attachments", json!(self.content.attachments));
        }
        if let Some(metadata) = &self.metadata {
            set("metadata", metadata.clone());
        }
        if let Some(ts) = &self.edited {
            set("edited", json!({"user": self.user, "ts": ts}));
        }
        if !self.reactions.is_empty() {
            let reactions = self
                .reactions
                .iter()
                .map(|(name, users)| json!({"name": name, "users": users, "count": users.len()}));
            set("reactions", reactions.collect());
        }
        if let Some(thread) = &self.thread_ts {
            set("thread_ts", json!(thread));
            let channel = world.channels.get(&self.channel);
            if self.is_reply() {
                let parent = channel.and_then(|channel| channel.message(thread));
                if let Some(parent) = parent {
                    set("parent_user_id", json!(parent.user));
                }
                if self.broadcast {
                    set("subtype", json!("thread_broadcast"));
                }
            } else {
                let replies = channel
                    .map(|channel| channel.replies(thread))
                    .unwrap_or_default();
                let mut users: Vec<&str> = Vec::new();
                for reply in &replies {
                    if !users.contains(&reply.user.as_str()) {
                        users.push(&reply.user);
                    }
                }
                set("reply_count", json!(replies.len()));
                set("reply_users_count", json!(users.len()));
                set("reply_users", json!(users));
                set("latest_reply", json!(replies.last().map(|reply| &reply.ts)));
                set("is_locked", json!(false));
                set("subscribed", json!(self.by_app));
            }
        }
        shown
    }
}

/// A message that is about to be said.
#[derive(Debug)]
pub(in crate::slack) struct Post {
    pub(in crate::slack) channel: String,
    pub(in crate::slack) author: Author,
    pub(in crate::slack) content: Content,
    pub(in crate::slack) thread_ts: Option<String>,
    pub(in crate::slack) broadcast: bool,
    pub(in crate::slack) metadata: Option<Value>,
}

impl World {
    /// Says it, and returns its ts.
    pub(in crate::slack) fn post(&mut self, post: Post) -> CodeResult<String> {
        let ts = self.next_ts();
        let user = match &post.author {
            Author::App => self.app.bot_user_id.clone(),
            Author::Person(user) => user.clone(),
        };
        let channel = self
            .channels
            .get_mut(&post.channel)
            .ok_or("channel_not_found")?;
        if channel.archived {
            return Err("is_archived");
        }
        let mut wrong_thread = false;
        if let Some(thread) = &post.thread_ts {
            match channel.message_mut(thread) {
                Some(parent) if parent.is_reply() => wrong_thread = true,
                Some(parent) => parent.thread_ts = Some(thread.clone()),
                // Slack takes it, and shows it under a parent that cannot be seen.
                None => wrong_thread = true,
            }
        }
        channel.messages.push(Message {
            ts: ts.clone(),
            channel: post.channel,
            user,
            by_app: matches!(post.author, Author::App),
            content: post.content,
            earlier: Vec::new(),
            broadcast: post.broadcast && post.thread_ts.is_some(),
            thread_ts: post.thread_ts,
            edited: None,
            deleted: false,
            metadata: post.metadata,
            reactions: Vec::new(),
        });
        if wrong_thread {
            self.violation(format!(
                "{ts}: its thread_ts is not the ts of a message that has no parent"
            ));
        }
        Ok(ts)
    }

    /// A message that can be seen.
    pub(in crate::slack) fn visible_message(
        &self,
        channel: &str,
        ts: &str,
    ) -> CodeResult<&Message> {
        let channel = self.channels.get(channel).ok_or("channel_not_found")?;
        let message = channel.message(ts).filter(|message| !message.deleted);
        message.ok_or("message_not_found")
    }

    /// Gives a message new content; "(edited)" is shown when only the text differs.
    pub(in crate::slack) fn rewrite(
        &mut self,
        channel: &str,
        ts: &str,
        content: Content,
    ) -> CodeResult<()> {
        self.visible_message(channel, ts)?;
        let now = self.next_ts();
        let channel = self.channels.get_mut(channel).ok_or("channel_not_found")?;
        let message = channel.message_mut(ts).ok_or("message_not_found")?;
        if content.blocks.is_empty() && content.text != message.content.text {
            message.edited = Some(now);
        }
        let before = std::mem::replace(&mut message.content, content);
        message.earlier.push(before);
        Ok(())
    }

    /// Takes a message away.
    pub(in crate::slack) fn delete_message(&mut self, channel: &str, ts: &str) -> CodeResult<()> {
        self.visible_message(channel, ts)?;
        let channel = self.channels.get_mut(channel).ok_or("channel_not_found")?;
        let message = channel.message_mut(ts).ok_or("message_not_found")?;
        message.deleted = true;
        Ok(())
    }

    pub(in crate::slack) fn react(
        &mut self,
        (channel, ts): (&str, &str),
        name: &str,
        user: &str,
        add: bool,
    ) -> CodeResult<()> {
        self.visible_message(channel, ts)?;
        let channel = self.channels.get_mut(channel).ok_or("channel_not_found")?;
        if channel.archived {
            return Err("is_archived");
        }
        let message = channel.message_mut(ts).ok_or("message_not_found")?;
        let position = message
            .reactions
            .iter()
            .position(|(known, _)| known == name);
        let position = match (position, add) {
            (Some(position), _) => position,
            (None, true) => {
                message.reactions.push((name.to_owned(), Vec::new()));
                message.reactions.len() - 1
            }
            (None, false) => return Err("no_reaction"),
        };
        let users = &mut message.reactions[position].1;
        let held = users.iter().position(|known| known == user);
        match (held, add) {
            (Some(_), true) => return Err("already_reacted"),
            (None, true) => users.push(user.to_owned()),
            (Some(held), false) => {
                users.remove(held);
                if users.is_empty() {
                    message.reactions.remove(position);
                }
            }
            (None, false) => return Err("no_reaction"),
        }
        Ok(())
    }

    /// Everything said in a channel, oldest first; empty for a channel that does not exist.
    pub fn messages(&self, channel: &str) -> Vec<Message> {
        self.channel(channel)
            .map(super::Channel::messages)
            .unwrap_or_default()
    }

    /// Everything said between a person and the app, oldest first.
    pub fn direct_messages(&self, user: &str) -> Vec<Message> {
        self.direct_channel(user)
            .map(super::Channel::messages)
            .unwrap_or_default()
    }

    /// The id of the channel to which the app may post under this name: an id, a name, or a person's id.
    pub(in crate::slack) fn postable(&mut self, channel: &str) -> CodeResult<String> {
        if self.users.contains_key(channel) {
            return Ok(self.open_direct(channel).0);
        }
        let found = self.channel(channel).ok_or("channel_not_found")?;
        let id = found.id.clone();
        if found.has_member(&self.app.bot_user_id) {
            return Ok(id);
        }
        match found.kind {
            ChannelKind::Public if self.app.has_scope("chat:write.public") => Ok(id),
            ChannelKind::Public => Err("not_in_channel"),
            _ => Err("channel_not_found"),
        }
    }
}
