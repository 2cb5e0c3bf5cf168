//! What an app's answer does to what people see. Touches the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::api::{Arguments, checked_view, message_content, reply};
use super::super::blocks;
use super::super::shared::Shared;
use super::super::world::{ViewKind, World};
use super::{Answer, Failure};

/// What Slack shows in a modal whose app failed.
const TROUBLE: &str = "We had some trouble connecting. Try again?";

/// What a delivery is about, and so what its answer means.
#[derive(Debug, Clone)]
pub(in crate::slack) enum About {
    /// The answer means nothing more than that it arrived.
    Event,
    Click,
    Command {
        user: String,
        channel: String,
        command: String,
        /// The path of its response URL.
        response_path: String,
    },
    Submission {
        user: String,
        view: String,
    },
    Suggestion {
        user: String,
        action_id: String,
    },
}

/// Lets an outcome take effect.
pub(super) fn apply(
    shared: &Arc<Shared>,
    about: &About,
    payload: &Value,
    outcome: &Result<Answer, Failure>,
) {
    let mut world = shared.change();
    match (about, outcome) {
        (About::Event | About::Click, _) => {}
        (About::Command { response_path, .. }, Ok(answer)) => {
            if let Err(problem) = command_reply(&mut world, response_path, answer) {
                world.violation(format!("the reply to a command: {problem}"));
            }
        }
        (
            About::Command {
                user,
                channel,
                command,
                ..
            },
            Err(failure),
        ) => {
            let text = format!("{command} failed with the error \"{}\"", failure.word());
            world.slackbot_says(user, channel, &text);
        }
        (About::Submission { user, view }, Ok(answer)) => {
            let nothing = Value::Null;
            let body = answer.body.as_ref().unwrap_or(&nothing);
            if let Err(problem) = submission(&mut world, user, view, body) {
                world.violation(format!("the answer to a submitted view: {problem}"));
                trouble(&mut world, view);
            }
        }
        (About::Submission { view, .. }, Err(_)) => trouble(&mut world, view),
        (About::Suggestion { user, action_id }, Ok(answer)) => {
            let options = answer.body.clone().unwrap_or_default();
            let mut problems = blocks::check_options(&options);
            if payload["type"] != "block_suggestion" {
                problems.clear();
            }
            let key = (user.clone(), action_id.clone());
            if problems.is_empty() {
                let offered = blocks::options_of(&options).into_iter().cloned().collect();
                world.offered.insert(key, offered);
            } else {
                world.offered.remove(&key);
                world.violation(format!("options: {}", problems.join("; ")));
            }
        }
        (About::Suggestion { user, action_id }, Err(_)) => {
            world.offered.remove(&(user.clone(), action_id.clone()));
        }
    }
}

fn trouble(world: &mut World, view: &str) {
    if let Some(view) = world.view_mut(view) {
        view.notice = Some(TROUBLE.to_owned());
    }
}

fn command_reply(world: &mut World, path: &str, answer: &Answer) -> Result<(), String> {
    let fields = match &answer.body {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::String(text)) => {
            let mut fields = Map::new();
            fields.insert("text".to_owned(), Value::String(text.clone()));
            fields
        }
        Some(Value::Object(fields)) if fields.is_empty() => return Ok(()),
        Some(Value::Object(fields)) => fields.clone(),
        Some(other) => return Err(format!("neither text nor an object: {other}")),
    };
    let arguments = Arguments(fields);
    let content = message_content(world, &arguments)
        .map_err(|refusal| refusal.describe())?
        .ok_or("it says nothing")?;
    let url = world.response_urls.get(path).cloned();
    let url = url.ok_or("its response URL is gone")?;
    let in_channel = arguments.text("response_type") == Some("in_channel");
    let source =
        reply(world, &url, None, in_channel, content).map_err(|refusal| refusal.describe())?;
    if let Some(known) = world.response_urls.get_mut(path) {
        known.source.get_or_insert(source);
    }
    Ok(())
}

fn submission(world: &mut World, user: &str, view: &str, body: &Value) -> Result<(), String> {
    let new_view = |world: &mut World| {
        checked_view(world, &body["view"], Some(ViewKind::Modal), "/view")
            .map_err(|refusal| refusal.describe())
    };
    match body["response_action"].as_str() {
        None => world.close_modal(view),
        Some("clear") => world.close_all_modals(user),
        Some("errors") => errors(world, view, &body["errors"])?,
        Some("update") => {
            let content = new_view(world)?;
            world.update_view(view, content)?;
        }
        Some("push") => {
            let content = new_view(world)?;
            world.push_modal(user, content)?;
            if let Some(below) = world.view_mut(view) {
                below.errors.clear();
                below.notice = None;
            }
        }
        Some(other) => return Err(format!("unknown response_action {other}")),
    }
    Ok(())
}

fn errors(world: &mut World, view: &str, errors: &Value) -> Result<(), String> {
    let errors = errors.as_object().filter(|errors| !errors.is_empty());
    let errors = errors.ok_or("errors without errors")?;
    let view = world.view_mut(view).ok_or("the view is gone")?;
    let is_input = |id: &String| {
        view.blocks()
            .iter()
            .any(|block| block["type"] == "input" && block["block_id"] == id.as_str())
    };
    if let Some(wrong) = errors.keys().find(|id| !is_input(id)) {
        return Err(format!("{wrong} is no input of the view"));
    }
    let shown: BTreeMap<String, String> = errors
        .iter()
        .map(|(id, words)| (id.clone(), words.as_str().unwrap_or_default().to_owned()))
        .collect();
    view.errors = shown;
    view.notice = None;
    Ok(())
}
