//! What the page's person does, one method of [`Person`] each. Touches the world, and starts deliveries.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::blocks;
use super::super::delivery::Delivery;
use super::super::people::{Person, Surface};
use super::super::shared::Shared;
use super::super::world::{Message, View};

/// One thing a person does.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    user: String,
    #[serde(flatten)]
    deed: Deed,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Deed {
    /// Types a line and sends it: a command, a mention, or plain words.
    Send {
        channel: String,
        thread_ts: Option<String>,
        text: String,
    },
    /// Opens the conversation with the app.
    OpenDirect,
    OpenHome,
    Click {
        #[serde(flatten)]
        place: PlaceOnPage,
    },
    Select {
        #[serde(flatten)]
        place: PlaceOnPage,
        values: Vec<String>,
    },
    Fill {
        #[serde(flatten)]
        place: PlaceOnPage,
        text: String,
    },
    Suggest {
        #[serde(flatten)]
        place: PlaceOnPage,
        typed: String,
    },
    Submit {
        view: String,
    },
    Close {
        view: String,
    },
    CloseAll,
    Dismiss {
        ts: String,
    },
    Delete {
        channel: String,
        ts: String,
    },
    Reload,
}

/// An element on a message, an ephemeral message or a view.
#[derive(Debug, Deserialize)]
struct PlaceOnPage {
    channel: Option<String>,
    ts: Option<String>,
    #[serde(default)]
    ephemeral: bool,
    view: Option<String>,
    block_id: String,
    action_id: String,
}

impl PlaceOnPage {
    fn surface(&self) -> Result<Surface> {
        Ok(match (&self.view, &self.channel, &self.ts) {
            (Some(view), _, _) => Surface::View(view.clone()),
            (None, _, Some(ts)) if self.ephemeral => Surface::Ephemeral(ts.clone()),
            (None, Some(channel), Some(ts)) => Surface::Message {
                channel: channel.clone(),
                ts: ts.clone(),
            },
            _ => bail!("Neither a message nor a view is named."),
        })
    }

    fn element(&self) -> (&str, &str) {
        (&self.block_id, &self.action_id)
    }
}

/// Does it, and says what the page is to know beyond what it sees anyway.
pub(super) async fn run(shared: &Arc<Shared>, action: Action) -> Result<Value> {
    let id = {
        let world = shared.world();
        let user = world.user(&action.user).context("No such person.")?;
        user.id.clone()
    };
    let person = Person::new(Arc::clone(shared), id);
    let nothing = json!({});
    match action.deed {
        Deed::Send {
            channel,
            thread_ts,
            text,
        } => send(shared, &person, &channel, thread_ts.as_deref(), &text),
        Deed::OpenDirect => {
            let channel = shared.change().open_direct(person.id()).0;
            Ok(json!({"channel": channel}))
        }
        Deed::OpenHome => person.open_home().map(|_| nothing),
        Deed::Click { place } => {
            let delivery = person.click(place.surface()?, place.element())?;
            failure(&delivery).await
        }
        Deed::Select { place, values } => {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let told = person.select_several(place.surface()?, place.element(), &values)?;
            match told {
                Some(delivery) => failure(&delivery).await,
                None => Ok(nothing),
            }
        }
        Deed::Fill { place, text } => {
            person.fill(place.surface()?, place.element(), &text)?;
            Ok(nothing)
        }
        Deed::Suggest { place, typed } => {
            let delivery = person.suggest(place.surface()?, place.element(), &typed)?;
            let answer = delivery.answered().await?;
            let body = answer.body.unwrap_or_default();
            if !blocks::check_options(&body).is_empty() {
                bail!("The app's options could not be shown.");
            }
            Ok(json!({"options": body["options"], "option_groups": body["option_groups"]}))
        }
        Deed::Submit { view } => {
            let delivery = person.submit(&open_view(shared, &view)?)?;
            delivery.ended().await?.ok();
            Ok(nothing)
        }
        Deed::Close { view } => person.close(&open_view(shared, &view)?).map(|_| nothing),
        Deed::CloseAll => person.close_all().map(|_| nothing),
        Deed::Dismiss { ts } => {
            let mut world = shared.change();
            let mine = world
                .ephemeral(&ts)
                .is_some_and(|shown| shown.user == person.id());
            if mine {
                world.remove_ephemeral(&ts);
            }
            Ok(nothing)
        }
        Deed::Delete { channel, ts } => {
            let message: Option<Message> = {
                let world = shared.world();
                world.visible_message(&channel, &ts).ok().cloned()
            };
            person
                .delete_message(&message.context("The message is gone.")?)
                .map(|()| nothing)
        }
        Deed::Reload => {
            person.reload();
            Ok(nothing)
        }
    }
}

fn send(
    shared: &Arc<Shared>,
    person: &Person,
    channel: &str,
    thread_ts: Option<&str>,
    text: &str,
) -> Result<Value> {
    let text = text.trim();
    if text.is_empty() {
        bail!("There is nothing to send.");
    }
    if text.starts_with('/') {
        let command = text.split_whitespace().next().unwrap_or_default();
        let known = shared.world().command(command).is_some();
        if !known {
            bail!("{command} is not a valid command.");
        }
        if thread_ts.is_some() {
            bail!("{command} cannot be used in a thread. Send it in the channel.");
        }
        person.command(channel, text)?;
    } else {
        person.say(channel, thread_ts, text)?;
    }
    Ok(json!({}))
}

/// What a person notices when a click reached nobody.
async fn failure(delivery: &Delivery) -> Result<Value> {
    match delivery.ended().await? {
        Ok(_) => Ok(json!({})),
        Err(failure) => bail!("The app did not respond ({}). Try again.", failure.word()),
    }
}

fn open_view(shared: &Arc<Shared>, id: &str) -> Result<View> {
    let view = shared.world().view(id).cloned();
    view.context("The view is closed.")
}
