//! What happens to a trigger before Orca stores it: defaults for missing parameters, and expressions. Pure.

use serde_json::{Map, Value, json};

/// The first required parameter without a default that is missing or null: all that v1 checks.
///
/// `POST /pipelines/start` checks nothing, and nobody checks options or types.
pub(super) fn missing_required(config: &Value, trigger: &Value) -> Option<String> {
    let given = trigger.get("parameters");
    parameter_configs(config)
        .filter(|parameter| parameter.get("required") == Some(&Value::Bool(true)))
        .filter(|parameter| parameter.get("default").is_none_or(Value::is_null))
        .filter_map(|parameter| parameter.get("name").and_then(Value::as_str))
        .find(|name| {
            given
                .and_then(|given| given.get(name))
                .is_none_or(Value::is_null)
        })
        .map(str::to_owned)
}

/// The trigger as Orca stores it: what was sent, the fields every trigger has, defaults, and expressions evaluated.
pub(super) fn stored_trigger(config: &Value, sent: Option<&Value>, principal: &str) -> Value {
    let mut trigger = match sent {
        Some(Value::Object(sent)) => sent.clone(),
        _ => Map::new(),
    };
    let mut fill = |key: &str, value: Value| {
        let slot = trigger.entry(key).or_insert(Value::Null);
        if slot.is_null() {
            *slot = value;
        }
    };
    fill("type", json!("manual"));
    fill("user", json!(principal));
    fill("parameters", json!({}));
    for list in [
        "artifacts",
        "notifications",
        "resolvedExpectedArtifacts",
        "expectedArtifacts",
    ] {
        fill(list, json!([]));
    }
    for flag in ["rebake", "dryRun", "strategy"] {
        fill(flag, json!(false));
    }
    if let Some(Value::Object(parameters)) = trigger.get_mut("parameters") {
        for parameter in parameter_configs(config) {
            let name = parameter.get("name").and_then(Value::as_str);
            if let (Some(name), Some(default)) = (name, parameter.get("default")) {
                parameters.entry(name).or_insert_with(|| default.clone());
            }
        }
    }
    evaluated(&Value::Object(trigger))
}

fn parameter_configs(config: &Value) -> impl Iterator<Item = &Value> {
    config
        .get("parameterConfig")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Evaluates every `${integer op integer}`; what cannot be evaluated stays as it is, as it does at launch in Orca.
pub(super) fn evaluated(value: &Value) -> Value {
    match value {
        Value::String(text) => evaluated_text(text),
        Value::Array(items) => items.iter().map(evaluated).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), evaluated(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// The first expression that is left in a value, if any.
pub(super) fn first_expression(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let (_, rest) = text.split_once("${")?;
            let (expression, _) = rest.split_once('}')?;
            Some(expression.to_owned())
        }
        Value::Array(items) => items.iter().find_map(first_expression),
        Value::Object(fields) => fields.values().find_map(first_expression),
        _ => None,
    }
}

fn evaluated_text(text: &str) -> Value {
    if let Some(number) = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .and_then(arithmetic)
    {
        return json!(number);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        result.push_str(before);
        let Some((expression, remainder)) = after.split_once('}') else {
            result.push_str("${");
            rest = after;
            continue;
        };
        match arithmetic(expression) {
            Some(number) => result.push_str(&number.to_string()),
            None => result.extend(["${", expression, "}"]),
        }
        rest = remainder;
    }
    result.push_str(rest);
    Value::String(result)
}

fn arithmetic(expression: &str) -> Option<i64> {
    let position = expression.trim_start().find(['+', '-', '*'])?;
    let (left, right) = expression.trim_start().split_at_checked(position)?;
    let operator = right.chars().next()?;
    let left: i64 = left.trim().parse().ok()?;
    let right: i64 = right.get(1..)?.trim().parse().ok()?;
    match operator {
        '+' => left.checked_add(right),
        '-' => left.checked_sub(right),
        '*' => left.checked_mul(right),
        _ => None,
    }
}

/// A config in whose stages `parameters.NAME` within `${…}` is the trigger's value, quoted: as much of an expression as
/// a scripted pipeline needs to depend on a parameter.
pub(super) fn with_parameters(config: &Value, trigger: &Value) -> Value {
    let Some(parameters) = trigger.get("parameters").and_then(Value::as_object) else {
        return config.clone();
    };
    let mut config = config.clone();
    if let Some(stages) = config.get_mut("stages") {
        substitute(stages, parameters);
    }
    config
}

fn substitute(value: &mut Value, parameters: &Map<String, Value>) {
    match value {
        Value::String(text) if text.starts_with("${") => {
            for (name, value) in parameters {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                *text = text.replace(&format!("parameters.{name}"), &format!("'{value}'"));
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| substitute(item, parameters)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| substitute(field, parameters)),
        _ => {}
    }
}

/// Whether a precondition's expression holds. Only comparisons of two literals are understood; all else holds.
pub(super) fn holds(expression: &str) -> bool {
    let expression = expression.trim();
    let expression = expression
        .strip_prefix("${")
        .and_then(|inner| inner.strip_suffix('}'))
        .unwrap_or(expression)
        .trim();
    if let Some((left, right)) = expression.split_once("==") {
        return left.trim() == right.trim();
    }
    if let Some((left, right)) = expression.split_once("!=") {
        return left.trim() != right.trim();
    }
    expression != "false"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_of_a_stage_sees_the_triggers_parameters() {
        let config = json!({"stages": [{"expression": "${parameters.branch != 'broken'}"}], "name": "parameters.branch"});
        let with = |branch| with_parameters(&config, &json!({"parameters": {"branch": branch}}));
        let expression = |config: &Value| {
            config["stages"][0]["expression"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert!(holds(&expression(&with("main"))));
        assert!(!holds(&expression(&with("broken"))));
        assert_eq!(with("main")["name"], "parameters.branch");
    }

    #[test]
    fn arithmetic_is_evaluated_and_anything_else_stays_literal() {
        let value = json!({"a": "${1+41}", "b": ["x${2 * 3}y"], "c": "${nosuch.foo}", "d": "#{7*7}", "e": "${open"});
        let expected =
            json!({"a": 42, "b": ["x6y"], "c": "${nosuch.foo}", "d": "#{7*7}", "e": "${open"});
        assert_eq!(evaluated(&value), expected);
    }
}
