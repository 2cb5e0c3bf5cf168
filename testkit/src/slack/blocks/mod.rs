//! Block Kit as Slack checks and completes it: what is refused and in which words. Touches nothing.

mod check;
mod shapes;

use serde_json::{Map, Value, json};

use self::check::Check;

/// How many characters the blocks of a message may have in all.
const BLOCKS_IN_ALL: usize = 13_200;
/// How long the JSON of a view may be.
const VIEW: usize = 250_000;

/// What is wrong with a message's blocks.
pub(super) fn check_message(blocks: &Value) -> Vec<String> {
    let mut check = Check::default();
    check.blocks(blocks, 50, "/blocks");
    check.problems
}

/// Whether a message's blocks are too long in all.
pub(super) fn too_long(blocks: &[Value]) -> bool {
    blocks.iter().map(characters).sum::<usize>() > BLOCKS_IN_ALL
}

fn characters(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(characters).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) if name == "text" => text.chars().count(),
                Value::String(_) => 0,
                value => characters(value),
            })
            .sum(),
        _ => 0,
    }
}

/// Why a view is refused.
#[derive(Debug)]
pub(super) enum BadView {
    TooLarge,
    Problems(Vec<String>),
}

/// Checks a view; `pointer` is where it stands in the call.
pub(super) fn check_view(view: &Value, pointer: &str) -> Result<(), BadView> {
    let Some(fields) = view.as_object() else {
        let problem = format!("must provide an object [json-pointer:{pointer}]");
        return Err(BadView::Problems(vec![problem]));
    };
    if view.to_string().len() > VIEW {
        return Err(BadView::TooLarge);
    }
    let mut check = Check::default();
    let at = |field: &str| format!("[json-pointer:{pointer}/{field}]");
    let modal = match view["type"].as_str() {
        Some("modal") => true,
        Some("home") => false,
        _ => {
            let problem = format!("must be a valid enum value {}", at("type"));
            return Err(BadView::Problems(vec![problem]));
        }
    };
    let mut known = vec![
        "type",
        "blocks",
        "private_metadata",
        "callback_id",
        "external_id",
    ];
    if modal {
        known.extend([
            "title",
            "close",
            "submit",
            "submit_disabled",
            "clear_on_close",
            "notify_on_close",
        ]);
    }
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        let problem = format!("invalid additional property: {name} [json-pointer:{pointer}]");
        check.problems.push(problem);
    }
    for name in if modal {
        &["title", "blocks"][..]
    } else {
        &["blocks"]
    } {
        if view[name].is_null() {
            let problem = format!("missing required field: {name} [json-pointer:{pointer}]");
            check.problems.push(problem);
        }
    }
    for name in ["title", "close", "submit"] {
        check.text(view, name, 24, true, pointer);
    }
    for (name, limit) in [
        ("private_metadata", 3000),
        ("callback_id", 255),
        ("external_id", 255),
    ] {
        if view[name]
            .as_str()
            .is_some_and(|text| text.chars().count() > limit)
        {
            let problem = format!("must be less than {} characters {}", limit + 1, at(name));
            check.problems.push(problem);
        }
    }
    check.blocks(&view["blocks"], 100, &format!("{pointer}/blocks"));
    let has_inputs = view["blocks"]
        .as_array()
        .is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "input"));
    if modal && has_inputs && view["submit"].is_null() {
        let problem = format!("missing required field: submit [json-pointer:{pointer}]");
        check.problems.push(problem);
    }
    if check.problems.is_empty() {
        Ok(())
    } else {
        Err(BadView::Problems(check.problems))
    }
}

/// All options of a select, those in groups included.
pub(super) fn options_of(element: &Value) -> Vec<&Value> {
    let direct = element["options"].as_array().into_iter().flatten();
    let groups = element["option_groups"].as_array().into_iter().flatten();
    let grouped = groups.flat_map(|group| group["options"].as_array().into_iter().flatten());
    direct.chain(grouped).collect()
}

/// What is wrong with the options an app answers a search with.
pub(super) fn check_options(answer: &Value) -> Vec<String> {
    let view = json!([{"type": "actions", "elements": [{
        "type": "static_select", "action_id": "a",
        "options": answer["options"], "option_groups": answer["option_groups"],
    }]}]);
    let mut problems = check_message(&view);
    // Nothing found is a fine answer.
    problems.retain(|problem| !problem.starts_with("no fewer than 1 items"));
    problems
}

/// Adds what Slack adds: ids where there are none, and the defaults of text objects.
pub(super) fn complete(blocks: &mut [Value], mut next_id: impl FnMut() -> String) {
    for block in blocks {
        if let Some(fields) = block.as_object_mut()
            && fields.get("block_id").is_none_or(Value::is_null)
        {
            fields.insert("block_id".to_owned(), json!(next_id()));
        }
        complete_inside(block, &mut next_id);
    }
}

fn complete_inside(value: &mut Value, next_id: &mut impl FnMut() -> String) {
    match value {
        Value::Array(values) => {
            for value in values {
                complete_inside(value, next_id);
            }
        }
        Value::Object(fields) => {
            complete_fields(fields, next_id);
            for value in fields.values_mut() {
                complete_inside(value, next_id);
            }
        }
        _ => {}
    }
}

fn complete_fields(fields: &mut Map<String, Value>, next_id: &mut impl FnMut() -> String) {
    let kind = fields
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    match kind.as_str() {
        "plain_text" => {
            fields.entry("emoji").or_insert(json!(true));
        }
        "mrkdwn" => {
            fields.entry("verbatim").or_insert(json!(false));
        }
        "image" => {}
        kind if shapes::element(kind).is_some() && shapes::block(kind).is_none() => {
            fields
                .entry("action_id")
                .or_insert_with(|| json!(next_id()));
        }
        _ => {}
    }
}
