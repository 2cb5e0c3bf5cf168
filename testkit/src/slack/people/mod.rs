//! What people do in Slack: type commands, speak to the app, click, choose, submit. Touches the world, and starts deliveries.

mod click;
mod modal;
mod surface;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

pub use self::surface::{Element, Surface};

use super::delivery::{self, About, Delivery, Kind};
use super::payloads;
use super::shared::Shared;
use super::typed::Typed;
use super::world::{Author, Channel, Content, Message, Post, User, World};

/// One person at a screen.
#[derive(Debug, Clone)]
pub struct Person {
    shared: Arc<Shared>,
    id: String,
}

/// What somebody said, and what the app is told of it.
#[derive(Debug, Clone)]
pub struct Said {
    /// The message as it stands in the channel.
    pub message: Message,
    /// The event about it, if the app hears of it.
    pub delivery: Option<Delivery>,
}

/// Who acts, where; or why they cannot.
fn present<'a>(world: &'a World, user: &str, channel: &str) -> Result<(&'a User, &'a Channel)> {
    let user = world.users.get(user).context("no such person")?;
    ensure!(!user.deleted, "{} is deactivated", user.name);
    let place = world
        .channel(channel)
        .with_context(|| format!("no channel {channel}"))?;
    ensure!(
        place.has_member(&user.id),
        "{} is not in {channel}",
        user.name
    );
    ensure!(!place.archived, "{channel} is archived");
    Ok((user, place))
}

impl Person {
    pub(super) fn new(shared: Arc<Shared>, id: String) -> Self {
        Self { shared, id }
    }

    /// `U…`
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Types a slash command with its text, such as `/deploy checkout main to staging`.
    ///
    /// # Errors
    /// When Slack itself would refuse it: no such command, not in that channel.
    pub fn command(&self, channel: &str, line: &str) -> Result<Delivery> {
        let (command, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (payload, about) = {
            let mut world = self.shared.change();
            let (user, place) = present(&world, &self.id, channel)?;
            let (user, place) = (user.clone(), place.clone());
            let known = world
                .command(command)
                .with_context(|| format!("{command} is not a valid command"))?;
            let text = if known.should_escape {
                Typed::read(&world, text).command_text()
            } else {
                text.to_owned()
            };
            let trigger_id = world.new_trigger(&user.id, None);
            let path = world.new_response_url("commands", &user.id, &place.id, None, None);
            let payload = payloads::Command {
                user: &user,
                channel: &place,
                name: command,
                text: text.trim(),
                response_url: &format!("{}{path}", self.shared.url()),
                trigger_id: &trigger_id,
            };
            let about = About::Command {
                user: user.id.clone(),
                channel: place.id.clone(),
                command: command.to_owned(),
                response_path: path,
            };
            (payload.json(&world), about)
        };
        Ok(delivery::start(&self.shared, Kind::Command, payload, about))
    }

    /// Says something in a channel or under a message; `@name` and `#name` become mentions.
    pub fn say(&self, channel: &str, thread_ts: Option<&str>, text: &str) -> Result<Said> {
        let message = {
            let mut world = self.shared.change();
            let place = present(&world, &self.id, channel)?.1.id.clone();
            let typed = Typed::read(&world, text);
            let content = Content {
                text: typed.message_text(),
                blocks: complete(&mut world, typed.rich_text()),
                attachments: Vec::new(),
            };
            let ts = self.post(&mut world, &place, thread_ts, content)?;
            payloads::tell_of_mention(&mut world, &place, &ts);
            payloads::tell_of_direct_message(&mut world, &place, &ts);
            let said = world.visible_message(&place, &ts);
            said.cloned().map_err(|code| anyhow::anyhow!(code))?
        };
        let delivery = delivery::send_outbox(&self.shared).into_iter().next();
        Ok(Said { message, delivery })
    }

    fn post(
        &self,
        world: &mut World,
        channel: &str,
        thread_ts: Option<&str>,
        content: Content,
    ) -> Result<String> {
        let post = Post {
            channel: channel.to_owned(),
            author: Author::Person(self.id.clone()),
            content,
            thread_ts: thread_ts.map(str::to_owned),
            broadcast: false,
            metadata: None,
        };
        world.post(post).map_err(|code| anyhow::anyhow!(code))
    }

    /// Says `@foredeck` and the text, in a channel or under a message.
    ///
    /// # Errors
    /// When the app would not hear of it, since it is not in the channel.
    pub fn mention(&self, channel: &str, thread_ts: Option<&str>, text: &str) -> Result<Delivery> {
        let said = self.say(channel, thread_ts, &format!("@foredeck {text}"))?;
        said.delivery
            .context("the app is not in this channel, so it is told nothing")
    }

    /// Writes to the app.
    ///
    /// # Errors
    /// When the app does not hear direct messages.
    pub fn direct_message(&self, text: &str) -> Result<Delivery> {
        let channel = self.shared.change().open_direct(&self.id).0;
        let said = self.say(&channel, None, text)?;
        said.delivery
            .context("the app does not hear direct messages")
    }

    /// Changes one's own message.
    pub fn edit_message(&self, message: &Message, text: &str) -> Result<()> {
        {
            let mut world = self.shared.change();
            ensure!(message.user == self.id, "the message is somebody else's");
            let typed = Typed::read(&world, text);
            let content = Content {
                text: typed.message_text(),
                blocks: complete(&mut world, typed.rich_text()),
                attachments: Vec::new(),
            };
            world
                .rewrite(&message.channel, &message.ts, content)
                .map_err(|code| anyhow::anyhow!(code))?;
            payloads::tell_of_change(&mut world, message, "message_changed");
        }
        delivery::send_outbox(&self.shared);
        Ok(())
    }

    /// Takes a message away: one's own, or as an administrator anybody's, the app's included.
    pub fn delete_message(&self, message: &Message) -> Result<()> {
        {
            let mut world = self.shared.change();
            let user = world.users.get(&self.id).context("no such person")?;
            ensure!(
                message.user == self.id || user.is_admin,
                "only administrators delete what others wrote"
            );
            world
                .delete_message(&message.channel, &message.ts)
                .map_err(|code| anyhow::anyhow!(code))?;
            payloads::tell_of_change(&mut world, message, "message_deleted");
        }
        delivery::send_outbox(&self.shared);
        Ok(())
    }

    /// Opens the app's own tab.
    pub fn open_home(&self) -> Result<Delivery> {
        {
            let mut world = self.shared.change();
            ensure!(world.app.home_tab_enabled, "the app has no home tab");
            ensure!(
                world.app.hears("app_home_opened"),
                "the app does not hear of it"
            );
            let channel = world.open_direct(&self.id).0;
            let view = world.home(&self.id).map(|view| view.json(&world));
            let ts = world.next_ts();
            let mut event = json!({
                "type": "app_home_opened", "user": self.id, "channel": channel, "tab": "home",
                "event_ts": ts,
            });
            if let Some(view) = view {
                event["view"] = view;
            }
            world.outbox.push(event);
        }
        let delivery = delivery::send_outbox(&self.shared).into_iter().next();
        delivery.context("the app is told nothing")
    }

    /// Loads the page anew: ephemeral messages and modals are gone.
    pub fn reload(&self) {
        let mut world = self.shared.change();
        world.ephemerals.retain(|message| message.user != self.id);
        world.close_all_modals(&self.id);
    }
}

fn complete(world: &mut World, blocks: Value) -> Vec<Value> {
    let Value::Array(mut blocks) = blocks else {
        return Vec::new();
    };
    super::blocks::complete(&mut blocks, || {
        let id = world.next_id('b');
        id.get(2..7).unwrap_or_default().to_owned()
    });
    blocks
}
