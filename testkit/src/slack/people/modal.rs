//! Forms: filled in, submitted, closed. Touches the world, and starts deliveries.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::super::delivery::{self, About, Delivery, Kind};
use super::super::payloads;
use super::super::world::{View, World, value_fields};
use super::{Element, Person, Surface};

impl Person {
    /// Types into an input. Tells the app only where the input says so.
    ///
    /// # Errors
    /// When there is nothing to type into, or the text does not fit.
    pub fn fill(
        &self,
        place: impl Into<Surface>,
        element: impl Into<Element>,
        text: &str,
    ) -> Result<Option<Delivery>> {
        let place = place.into();
        let found = {
            let mut world = self.shared.change();
            let found = element.into().find(&place.blocks(&world, &self.id)?)?;
            let kind = found.element["type"].as_str().unwrap_or_default();
            ensure!(
                matches!(value_fields(kind), Some(("value", _))),
                "{} is a {kind}: nothing to type into",
                found.action_id
            );
            let most = found.element["max_length"].as_u64().unwrap_or(3000);
            let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            ensure!(
                length <= most,
                "{} takes {most} characters",
                found.action_id
            );
            let text = (!text.is_empty()).then_some(text);
            let value = json!({"type": kind, "value": text});
            place.enter(&mut world, &self.id, &found, &value);
            found
        };
        if found.silent {
            return Ok(None);
        }
        self.act(&place, &found, json!({"value": text})).map(Some)
    }

    /// Submits the modal on top.
    ///
    /// # Errors
    /// When Slack itself would not let it pass: a required input is empty, or it is not on top.
    pub fn submit(&self, view: &View) -> Result<Delivery> {
        let payload = {
            let mut world = self.shared.change();
            let on_top = world.modal(&self.id).context("no modal is open")?;
            ensure!(on_top.id == view.id, "another modal is on top");
            ensure!(
                on_top.content.get("submit").is_some(),
                "it has no submit button"
            );
            complete_form(&on_top)?;
            let user = world.users.get(&self.id).context("no such person")?.clone();
            let trigger_id = world.new_trigger(&self.id, Some(&view.id));
            payloads::view_submission(&world, &user, &on_top, &trigger_id)
        };
        let about = About::Submission {
            user: self.id.clone(),
            view: view.id.clone(),
        };
        Ok(delivery::start(
            &self.shared,
            Kind::Interaction,
            payload,
            about,
        ))
    }

    /// Closes the modal on top, with its close button. The app is told where the view asks for it.
    pub fn close(&self, view: &View) -> Result<Option<Delivery>> {
        let payload = {
            let mut world = self.shared.change();
            let on_top = world.modal(&self.id).context("no modal is open")?;
            ensure!(on_top.id == view.id, "another modal is on top");
            let cleared = on_top.flag("clear_on_close");
            if cleared {
                world.close_all_modals(&self.id);
            } else {
                world.close_modal(&view.id);
            }
            closed(&world, &self.id, &on_top, cleared)?
        };
        Ok(payload.map(|payload| self.tell_closed(payload)))
    }

    /// Closes all modals at once, with the cross.
    pub fn close_all(&self) -> Result<Vec<Delivery>> {
        let payloads = {
            let mut world = self.shared.change();
            let open = world.modals(&self.id);
            world.close_all_modals(&self.id);
            let payloads: Result<Vec<_>> = open
                .iter()
                .map(|view| closed(&world, &self.id, view, true))
                .collect();
            payloads?
        };
        let told = payloads.into_iter().flatten();
        Ok(told.map(|payload| self.tell_closed(payload)).collect())
    }

    fn tell_closed(&self, payload: Value) -> Delivery {
        delivery::start(&self.shared, Kind::Interaction, payload, About::Click)
    }
}

fn closed(world: &World, user: &str, view: &View, cleared: bool) -> Result<Option<Value>> {
    if !view.flag("notify_on_close") {
        return Ok(None);
    }
    let user = world.users.get(user).context("no such person")?;
    Ok(Some(payloads::view_closed(world, user, view, cleared)))
}

/// What Slack checks before it tells the app.
fn complete_form(view: &View) -> Result<()> {
    for block in view.blocks() {
        if block["type"] != "input" {
            continue;
        }
        let element = &block["element"];
        let kind = element["type"].as_str().unwrap_or_default();
        let Some((field, _)) = value_fields(kind) else {
            continue;
        };
        let (block_id, action_id) = (
            block["block_id"].as_str().unwrap_or_default(),
            element["action_id"].as_str().unwrap_or_default(),
        );
        let value = view
            .entered
            .get(block_id)
            .and_then(|block| block.get(action_id))
            .and_then(|entered| entered.get(field));
        let empty = match value {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(values)) => values.is_empty(),
            Some(_) => false,
        };
        if empty && block["optional"] != true {
            bail!("please complete this required field: {block_id}/{action_id}");
        }
        let length = value
            .and_then(Value::as_str)
            .map_or(0, |text| text.chars().count());
        let least = element["min_length"].as_u64().unwrap_or(0);
        ensure!(
            empty || u64::try_from(length).unwrap_or(u64::MAX) >= least,
            "{block_id}/{action_id} wants {least} characters"
        );
    }
    Ok(())
}
