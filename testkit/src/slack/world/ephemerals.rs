//! Messages that one person sees until the next reload. Touches the world only.

use serde_json::Value;

use super::{Content, World};

/// A message only one person sees.
#[derive(Debug, Clone)]
pub struct Ephemeral {
    /// When, as Slack writes it.
    pub ts: String,
    /// Where it is shown.
    pub channel: String,
    /// Who sees it.
    pub user: String,
    /// The thread it is shown in.
    pub thread_ts: Option<String>,
    /// Whether it is Slackbot that speaks, about an app that failed.
    pub from_slackbot: bool,
    /// What it says.
    pub text: String,
    /// Its blocks.
    pub blocks: Vec<Value>,
}

impl World {
    /// What only this person sees, oldest first.
    pub fn ephemerals(&self, user: &str) -> Vec<Ephemeral> {
        let id = self.user(user).map_or(user, |user| &user.id);
        let mut shown = self.ephemerals.clone();
        shown.retain(|message| message.user == id);
        shown
    }

    pub(in crate::slack) fn ephemeral(&self, ts: &str) -> Option<&Ephemeral> {
        self.ephemerals.iter().find(|message| message.ts == ts)
    }

    pub(in crate::slack) fn show_ephemeral(
        &mut self,
        user: &str,
        channel: &str,
        thread_ts: Option<String>,
        content: Content,
    ) -> String {
        let ts = self.next_ts();
        self.ephemerals.push(Ephemeral {
            ts: ts.clone(),
            channel: channel.to_owned(),
            user: user.to_owned(),
            thread_ts,
            from_slackbot: false,
            text: content.text,
            blocks: content.blocks,
        });
        ts
    }

    /// What Slack itself tells somebody whose app failed.
    pub(in crate::slack) fn slackbot_says(&mut self, user: &str, channel: &str, text: &str) {
        self.show_ephemeral(user, channel, None, Content::text(text));
        if let Some(shown) = self.ephemerals.last_mut() {
            shown.from_slackbot = true;
        }
    }

    pub(in crate::slack) fn replace_ephemeral(&mut self, ts: &str, content: Content) -> bool {
        let found = self.ephemerals.iter_mut().find(|message| message.ts == ts);
        if let Some(message) = found {
            message.text = content.text;
            message.blocks = content.blocks;
            return true;
        }
        false
    }

    pub(in crate::slack) fn remove_ephemeral(&mut self, ts: &str) -> bool {
        let before = self.ephemerals.len();
        self.ephemerals.retain(|message| message.ts != ts);
        self.ephemerals.len() < before
    }
}
