//! Fields as Slack sends them: null, empty, a string here and a boolean there. Touches nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// Absent, null and empty are nothing; anything else must be right.
pub(super) fn optional<'de, Source, Field>(source: Source) -> Result<Option<Field>, Source::Error>
where
    Source: Deserializer<'de>,
    Field: serde::de::DeserializeOwned,
{
    match Value::deserialize(source)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        value => serde_json::from_value(value)
            .map(Some)
            .map_err(Error::custom),
    }
}

/// `true` and `"true"`.
pub(super) fn flag<'de, Source: Deserializer<'de>>(source: Source) -> Result<bool, Source::Error> {
    Ok(match Value::deserialize(source)? {
        Value::Bool(flag) => flag,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    })
}

/// Null is nothing.
pub(super) fn or_default<'de, Source, Field>(source: Source) -> Result<Field, Source::Error>
where
    Source: Deserializer<'de>,
    Field: Deserialize<'de> + Default,
{
    Option::deserialize(source).map(Option::unwrap_or_default)
}

/// What an element holds: what was typed, or what was chosen. All of it is untrusted: a menu's value can be sent back
/// changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// What was typed, or a button's value.
    pub value: Option<String>,
    /// The values of what was chosen: options, people, channels, conversations, dates; of a moment the seconds since 1970.
    pub chosen: Vec<String>,
}

impl Given {
    /// What was typed, else the first that was chosen.
    pub fn first(&self) -> Option<&str> {
        self.value
            .as_deref()
            .or_else(|| self.chosen.first().map(String::as_str))
    }

    fn read(element: &Value) -> Self {
        let field = |name: &str| element.get(name);
        let option = |option: &Value| {
            option
                .get("value")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let mut chosen: Vec<String> = field("selected_option")
            .and_then(option)
            .into_iter()
            .collect();
        let many = field("selected_options").and_then(Value::as_array);
        chosen.extend(many.into_iter().flatten().filter_map(option));
        for name in ["user", "channel", "conversation", "date", "time"] {
            let one = field(&format!("selected_{name}")).and_then(Value::as_str);
            chosen.extend(one.map(str::to_owned));
            let many = field(&format!("selected_{name}s")).and_then(Value::as_array);
            let many = many.into_iter().flatten().filter_map(Value::as_str);
            chosen.extend(many.map(str::to_owned));
        }
        // The only one that is a number.
        let moment = field("selected_date_time").and_then(Value::as_i64);
        chosen.extend(moment.map(|seconds| seconds.to_string()));
        Self {
            value: field("value").and_then(Value::as_str).map(str::to_owned),
            chosen,
        }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<Source: Deserializer<'de>>(source: Source) -> Result<Self, Source::Error> {
        Value::deserialize(source).map(|element| Self::read(&element))
    }
}

/// What the fields of a modal or a message hold, by block and action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Values {
    /// Absent in a view without fields.
    #[serde(default, deserialize_with = "or_default")]
    values: BTreeMap<String, BTreeMap<String, Given>>,
}

impl Values {
    /// What the element holds; its first value if there are several.
    pub fn get(&self, block: &str, action: &str) -> Option<&str> {
        self.given(block, action)?.first()
    }

    /// All that the element holds.
    pub fn given(&self, block: &str, action: &str) -> Option<&Given> {
        self.values.get(block)?.get(action)
    }

    /// Everything: block, action, what it holds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Given)> {
        self.values.iter().flat_map(|(block, actions)| {
            actions
                .iter()
                .map(move |(action, given)| (block.as_str(), action.as_str(), given))
        })
    }
}
