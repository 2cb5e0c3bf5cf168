//! `views.*`: modals and home tabs. Touches the world.

use serde_json::{Map, Value, json};

use super::super::blocks::{self, BadView};
use super::super::world::{View, ViewKind, World};
use super::chat::short_id;
use super::decode::Arguments;
use super::{Answer, Refusal, answer};

/// Checks and completes a view that an app sent; `pointer` is where it stood.
pub(in crate::slack) fn checked(
    world: &mut World,
    view: &Value,
    kind: Option<ViewKind>,
    pointer: &str,
) -> Result<Map<String, Value>, Refusal> {
    match blocks::check_view(view, pointer) {
        Ok(()) => {}
        Err(BadView::TooLarge) => return Err(Refusal::code("view_too_large")),
        Err(BadView::Problems(problems)) => return Err(Refusal::arguments(&problems)),
    }
    let expected = match kind {
        Some(ViewKind::Modal) => Some("modal"),
        Some(ViewKind::Home) => Some("home"),
        None => None,
    };
    if expected.is_some_and(|expected| view["type"] != expected) {
        let problem = format!("must be a valid enum value [json-pointer:{pointer}/type]");
        return Err(Refusal::arguments(&[problem]));
    }
    let mut content = view.as_object().cloned().unwrap_or_default();
    if let Some(Value::Array(inner)) = content.get_mut("blocks") {
        blocks::complete(inner, || short_id(world));
    }
    for name in ["title", "submit", "close"] {
        if let Some(Value::Object(text)) = content.get_mut(name) {
            text.entry("emoji").or_insert(json!(true));
        }
    }
    Ok(content)
}

fn argument(arguments: &Arguments) -> &Value {
    arguments.value("view").unwrap_or(&Value::Null)
}

fn shown(world: &World, view: &View) -> Answer {
    answer(json!({"view": view.json(world)}))
}

fn trigger(
    world: &mut World,
    arguments: &Arguments,
) -> Result<super::super::world::Trigger, Refusal> {
    let id = arguments
        .text("trigger_id")
        .or_else(|| arguments.text("interactivity_pointer"))
        .ok_or_else(|| Refusal::arguments(&["missing required field: trigger_id".to_owned()]))?;
    Ok(world.take_trigger(id)?)
}

pub(super) fn open(world: &mut World, arguments: &Arguments) -> Answer {
    let content = checked(world, argument(arguments), Some(ViewKind::Modal), "/view")?;
    let trigger = trigger(world, arguments)?;
    let view = world.open_modal(&trigger.user, content)?;
    shown(world, &view)
}

pub(super) fn push(world: &mut World, arguments: &Arguments) -> Answer {
    let content = checked(world, argument(arguments), Some(ViewKind::Modal), "/view")?;
    let trigger = trigger(world, arguments)?;
    if trigger.view.is_none() {
        return Err(Refusal::code("not_found"));
    }
    let view = world.push_modal(&trigger.user, content)?;
    shown(world, &view)
}

pub(super) fn update(world: &mut World, arguments: &Arguments) -> Answer {
    let by_external = arguments.text("external_id").and_then(|external| {
        world
            .views
            .iter()
            .find(|view| view.field("external_id") == external)
    });
    let view = arguments
        .text("view_id")
        .and_then(|id| world.view(id))
        .or(by_external)
        .ok_or("not_found")?
        .clone();
    if arguments.text("hash").is_some_and(|hash| hash != view.hash) {
        return Err(Refusal::code("hash_conflict"));
    }
    let content = checked(world, argument(arguments), Some(view.kind), "/view")?;
    let view = world.update_view(&view.id, content)?;
    shown(world, &view)
}

pub(super) fn publish(world: &mut World, arguments: &Arguments) -> Answer {
    if !world.app.home_tab_enabled {
        return Err(Refusal::code("not_enabled"));
    }
    let user = arguments.text("user_id").unwrap_or_default();
    if !world.users.contains_key(user) {
        let problem = "invalid `user_id`".to_owned();
        return Err(Refusal::arguments(&[problem]));
    }
    let hash = arguments.text("hash");
    let stale = world
        .home(user)
        .is_some_and(|home| hash.is_some_and(|hash| hash != home.hash));
    if stale {
        return Err(Refusal::code("hash_conflict"));
    }
    let content = checked(world, argument(arguments), Some(ViewKind::Home), "/view")?;
    let view = world.publish_home(user, content)?;
    shown(world, &view)
}
