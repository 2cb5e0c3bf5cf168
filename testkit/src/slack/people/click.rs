//! Clicks, choices and searches on messages and views. Touches the world, and starts deliveries.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::super::blocks;
use super::super::delivery::{self, About, Delivery, Kind};
use super::super::payloads::{self, Place};
use super::super::world::{Message, Source, World, value_fields};
use super::surface::Found;
use super::{Element, Person, Surface};

impl Person {
    /// Clicks a button, and confirms it where it asks.
    ///
    /// # Errors
    /// When it is not there to be clicked.
    pub fn click(
        &self,
        place: impl Into<Surface>,
        element: impl Into<Element>,
    ) -> Result<Delivery> {
        let place = place.into();
        let blocks = place.blocks(&self.shared.world(), &self.id)?;
        self.click_on(&place, &blocks, &element.into())
    }

    /// Clicks a button as it stood on the screen before the message was changed: what happens when somebody is quicker.
    pub fn click_as_seen(
        &self,
        message: &Message,
        element: impl Into<Element>,
    ) -> Result<Delivery> {
        self.click_on(&message.into(), message.blocks(), &element.into())
    }

    fn click_on(&self, place: &Surface, blocks: &[Value], element: &Element) -> Result<Delivery> {
        let found = element.find(blocks)?;
        ensure!(
            found.element["type"] == "button",
            "{} is no button",
            found.action_id
        );
        let mut action = json!({});
        for name in ["text", "value", "style", "url", "confirm"] {
            if let Some(value) = found.element.get(name) {
                action[name] = value.clone();
            }
        }
        self.act(place, &found, action)
    }

    /// Chooses an option by its value: of a select, an overflow menu, radio buttons, or of what the app last offered for
    /// an external select; a person, channel or date for those. Silent inside a form, until that is submitted.
    ///
    /// # Errors
    /// When there is no such option.
    pub fn select(
        &self,
        place: impl Into<Surface>,
        element: impl Into<Element>,
        value: &str,
    ) -> Result<Option<Delivery>> {
        self.select_several(place, element, &[value])
    }

    /// Chooses several options, where several can be chosen.
    pub fn select_several(
        &self,
        place: impl Into<Surface>,
        element: impl Into<Element>,
        values: &[&str],
    ) -> Result<Option<Delivery>> {
        let place = place.into();
        let (found, action) = {
            let mut world = self.shared.change();
            let blocks = place.blocks(&world, &self.id)?;
            let found = element.into().find(&blocks)?;
            let chosen = self.chosen(&world, &found, values)?;
            let kind = found.element["type"].as_str().unwrap_or_default();
            let field = value_fields(kind).map_or("selected_option", |(field, _)| field);
            let mut action = json!({ field: chosen });
            if kind != "overflow" {
                let value = json!({"type": kind, field: chosen});
                place.enter(&mut world, &self.id, &found, &value);
            }
            if let Some(placeholder) = found.element.get("placeholder") {
                action["placeholder"] = placeholder.clone();
            }
            (found, action)
        };
        if found.silent {
            return Ok(None);
        }
        self.act(&place, &found, action).map(Some)
    }

    fn chosen(&self, world: &World, found: &Found, values: &[&str]) -> Result<Value> {
        let kind = found.element["type"].as_str().unwrap_or_default();
        let key = (self.id.clone(), found.action_id.clone());
        let offered: Vec<&Value> = if kind.contains("external") {
            world.offered.get(&key).into_iter().flatten().collect()
        } else {
            blocks::options_of(&found.element)
        };
        let option = |value: &&str| {
            let known = offered.iter().find(|option| option["value"] == **value);
            known.map(|option| (*option).clone()).with_context(|| {
                let values: Vec<&Value> = offered.iter().map(|option| &option["value"]).collect();
                format!("no option {value}; there are {values:?}")
            })
        };
        let one = || values.first().context("nothing to choose");
        Ok(match kind {
            "static_select" | "external_select" | "radio_buttons" | "overflow" => option(one()?)?,
            "multi_static_select" | "multi_external_select" | "checkboxes" => {
                Value::Array(values.iter().map(option).collect::<Result<_>>()?)
            }
            "multi_users_select" => json!(values),
            "users_select"
            | "channels_select"
            | "conversations_select"
            | "datepicker"
            | "timepicker" => json!(one()?),
            "datetimepicker" => json!(one()?.parse::<i64>().context("no seconds since 1970")?),
            other => bail!("{} is a {other}: nothing to choose", found.action_id),
        })
    }

    /// Types into an external select; the answer holds the options.
    ///
    /// # Errors
    /// When it is no external select, or the text is shorter than it asks for.
    pub fn suggest(
        &self,
        place: impl Into<Surface>,
        element: impl Into<Element>,
        typed: &str,
    ) -> Result<Delivery> {
        let place = place.into();
        let (payload, about) = {
            let world = self.shared.world();
            let found = element.into().find(&place.blocks(&world, &self.id)?)?;
            let kind = found.element["type"].as_str().unwrap_or_default();
            ensure!(kind.contains("external"), "{} is a {kind}", found.action_id);
            let least = found.element["min_query_length"].as_u64().unwrap_or(3);
            let length = u64::try_from(typed.chars().count()).unwrap_or(u64::MAX);
            ensure!(
                length >= least,
                "nothing is asked before {least} characters are typed"
            );
            let user = world.users.get(&self.id).context("no such person")?;
            let ids = (found.block_id.as_str(), found.action_id.as_str());
            let payload = with_place(&world, &place, |place| {
                payloads::block_suggestion(&world, user, place, ids, typed)
            })?;
            let about = About::Suggestion {
                user: self.id.clone(),
                action_id: found.action_id.clone(),
            };
            (payload, about)
        };
        Ok(delivery::start(&self.shared, Kind::Options, payload, about))
    }

    /// Tells the app of an action.
    pub(super) fn act(
        &self,
        place: &Surface,
        found: &Found,
        mut action: Value,
    ) -> Result<Delivery> {
        let payload = {
            let mut world = self.shared.change();
            let user = world.users.get(&self.id).context("no such person")?.clone();
            ensure!(!user.deleted, "{} is deactivated", user.name);
            action["type"] = found.element["type"].clone();
            action["action_id"] = json!(found.action_id);
            action["block_id"] = json!(found.block_id);
            action["action_ts"] = json!(world.next_ts());
            let view = match place {
                Surface::View(id) => Some(id.clone()),
                _ => None,
            };
            let trigger_id = world.new_trigger(&self.id, view.as_deref());
            let response_url = self.response_url(&mut world, place);
            let entered = place.entered(&world, &self.id);
            with_place(&world, place, |place| {
                let passes = (trigger_id.as_str(), response_url.as_deref());
                payloads::block_actions(&world, &user, place, &action, &entered, passes)
            })?
        };
        Ok(delivery::start(
            &self.shared,
            Kind::Interaction,
            payload,
            About::Click,
        ))
    }

    fn response_url(&self, world: &mut World, place: &Surface) -> Option<String> {
        let channel = place.channel(world)?.id.clone();
        let (source, thread) = match place {
            Surface::Message { ts, .. } => {
                let message = world.channels[&channel].message(ts);
                let thread = message
                    .filter(|message| message.is_reply())
                    .and_then(|message| message.thread_ts.clone());
                (Source::Message(ts.clone()), thread)
            }
            Surface::Ephemeral(ts) => {
                let thread = world
                    .ephemeral(ts)
                    .and_then(|message| message.thread_ts.clone());
                (Source::Ephemeral(ts.clone()), thread)
            }
            Surface::View(_) => return None,
        };
        let path = world.new_response_url("actions", &self.id, &channel, Some(source), thread);
        Some(format!("{}{path}", self.shared.url()))
    }
}

/// Shows a surface as payloads describe it.
fn with_place<T>(
    world: &World,
    surface: &Surface,
    show: impl FnOnce(&Place<'_>) -> T,
) -> Result<T> {
    let place = match surface {
        Surface::Message { channel, ts } => {
            let channel = world.channels.get(channel).context("no such channel")?;
            Place::Message(channel, channel.message(ts).context("no such message")?)
        }
        Surface::Ephemeral(ts) => {
            let message = world
                .ephemeral(ts)
                .context("the ephemeral message is gone")?;
            let channel = world
                .channels
                .get(&message.channel)
                .context("no such channel")?;
            Place::Ephemeral(channel, message)
        }
        Surface::View(id) => Place::View(world.view(id).context("the view is closed")?),
    };
    Ok(show(&place))
}
