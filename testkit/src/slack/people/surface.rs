//! Where people click: a message, an ephemeral message or a view, and the elements on it. Touches the world.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::world::{self, Channel, Entered, Ephemeral, Message, View, World};

/// Something with elements on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Surface {
    /// The message with this ts in this channel.
    Message {
        /// The channel's id.
        channel: String,
        /// The message's ts.
        ts: String,
    },
    /// The ephemeral message with this ts.
    Ephemeral(String),
    /// The view with this id.
    View(String),
}

impl From<&Message> for Surface {
    fn from(message: &Message) -> Self {
        Self::Message {
            channel: message.channel.clone(),
            ts: message.ts.clone(),
        }
    }
}

impl From<&Ephemeral> for Surface {
    fn from(message: &Ephemeral) -> Self {
        Self::Ephemeral(message.ts.clone())
    }
}

impl From<&View> for Surface {
    fn from(view: &View) -> Self {
        Self::View(view.id.clone())
    }
}

impl From<&Self> for Surface {
    fn from(surface: &Self) -> Self {
        surface.clone()
    }
}

/// An element by its `action_id`, and by its `block_id` where that alone is not enough.
#[derive(Debug, Clone)]
pub struct Element {
    block_id: Option<String>,
    action_id: String,
}

impl From<&str> for Element {
    fn from(action_id: &str) -> Self {
        Self {
            block_id: None,
            action_id: action_id.to_owned(),
        }
    }
}

impl From<(&str, &str)> for Element {
    fn from((block_id, action_id): (&str, &str)) -> Self {
        Self {
            block_id: Some(block_id.to_owned()),
            action_id: action_id.to_owned(),
        }
    }
}

/// An element as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) block_id: String,
    pub(super) action_id: String,
    pub(super) element: Value,
    /// It stands in an `input` block that tells of nothing before the form is submitted.
    pub(super) silent: bool,
}

impl Element {
    pub(super) fn find(&self, blocks: &[Value]) -> Result<Found> {
        let elements = world::elements(blocks);
        let mut found = elements.iter().filter(|(block_id, action_id, _)| {
            *action_id == self.action_id
                && self
                    .block_id
                    .as_ref()
                    .is_none_or(|wanted| wanted == block_id)
        });
        let names = || -> Vec<&str> { elements.iter().map(|(_, name, _)| name.as_str()).collect() };
        let (block_id, action_id, element) = found
            .next()
            .with_context(|| format!("no element {}; there are {:?}", self.action_id, names()))?;
        ensure!(
            found.next().is_none(),
            "several elements {}: name the block too",
            self.action_id
        );
        let block = blocks
            .iter()
            .find(|block| block["block_id"] == block_id.as_str());
        let silent =
            block.is_some_and(|block| block["type"] == "input" && block["dispatch_action"] != true);
        Ok(Found {
            block_id: block_id.clone(),
            action_id: action_id.clone(),
            element: element.clone(),
            silent,
        })
    }
}

impl Surface {
    /// The blocks that a person sees on it.
    pub(super) fn blocks(&self, world: &World, user: &str) -> Result<Vec<Value>> {
        Ok(match self {
            Self::Message { channel, ts } => {
                let place = world.channels.get(channel).context("no such channel")?;
                ensure!(place.has_member(user), "{user} is not in {channel}");
                let message = place.message(ts).filter(|message| !message.deleted);
                message.context("no such message")?.content.blocks.clone()
            }
            Self::Ephemeral(ts) => {
                let message = world
                    .ephemeral(ts)
                    .context("the ephemeral message is gone")?;
                ensure!(
                    message.user == user,
                    "{user} does not see this ephemeral message"
                );
                message.blocks.clone()
            }
            Self::View(id) => {
                let view = world.view(id).context("the view is closed")?;
                ensure!(view.user == user, "{user} does not see this view");
                view.content
                    .get("blocks")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default()
            }
        })
    }

    /// What a person has entered on it.
    pub(super) fn entered(&self, world: &World, user: &str) -> Entered {
        match self {
            Self::View(id) => world
                .view(id)
                .map(|view| view.entered.clone())
                .unwrap_or_default(),
            Self::Message { ts, .. } | Self::Ephemeral(ts) => {
                let key = (ts.clone(), user.to_owned());
                let before = world.entered.get(&key).cloned().unwrap_or_default();
                let blocks = self.blocks(world, user).unwrap_or_default();
                world::initial_values(&blocks, &before)
            }
        }
    }

    /// Notes what a person entered on it.
    pub(super) fn enter(&self, world: &mut World, user: &str, found: &Found, value: &Value) {
        let mut entered = self.entered(world, user);
        let block = entered
            .entry(found.block_id.clone())
            .or_insert_with(|| serde_json::json!({}));
        block[&found.action_id] = value.clone();
        match self {
            Self::View(id) => {
                if let Some(view) = world.view_mut(id) {
                    view.entered = entered;
                }
            }
            Self::Message { ts, .. } | Self::Ephemeral(ts) => {
                world.entered.insert((ts.clone(), user.to_owned()), entered);
            }
        }
    }

    /// The channel it stands in, unless it is a view.
    pub(super) fn channel<'a>(&self, world: &'a World) -> Option<&'a Channel> {
        match self {
            Self::Message { channel, .. } => world.channels.get(channel),
            Self::Ephemeral(ts) => world.channels.get(&world.ephemeral(ts)?.channel),
            Self::View(_) => None,
        }
    }
}
