//! From what came over a transport to an [`Inbound`]. Public for the tests of those who handle them. Touches nothing.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Inbound;
use crate::slack::text::clean;

/// The most characters kept of a word that we don't know.
const MOST_KIND: usize = 80;

impl Inbound {
    /// A slash command, as an object: over HTTP, the fields of the form.
    pub fn command(fields: Value) -> Self {
        Self::read("slash_command", fields, Self::Command)
    }

    /// The fields of a form. A field that comes twice makes it unknown: others might have read the other one.
    pub fn command_from_form(form: &[(String, String)]) -> Self {
        let mut fields = Map::new();
        for (name, value) in form {
            if fields
                .insert(name.clone(), Value::String(value.clone()))
                .is_some()
            {
                return Self::unknown("slash_command");
            }
        }
        Self::command(Value::Object(fields))
    }

    /// The `payload` of anything that was pressed, chosen or submitted.
    pub fn interaction(payload: Value) -> Self {
        let kind = kind(&payload);
        match kind.as_str() {
            "block_actions" => Self::read(&kind, payload, Self::Actions),
            "view_submission" => Self::read(&kind, payload, Self::Submission),
            "view_closed" => Self::read(&kind, payload, Self::Closed),
            "block_suggestion" => Self::read(&kind, payload, Self::Suggestion),
            "shortcut" | "message_action" => Self::read(&kind, payload, Self::Shortcut),
            _ => Self::unknown(&kind),
        }
    }

    /// The body of an event.
    pub fn event(body: Value) -> Self {
        let kind = kind(&body);
        match kind.as_str() {
            "event_callback" => Self::read(&kind, body, Self::Event),
            // `app_rate_limited` too: it only says that deliveries were dropped.
            _ => Self::unknown(&kind),
        }
    }

    fn read<Payload: DeserializeOwned>(
        kind: &str,
        payload: Value,
        known: fn(Payload) -> Self,
    ) -> Self {
        match serde_json::from_value(payload) {
            Ok(payload) => known(payload),
            Err(error) => {
                // The error may quote a field.
                let category = error.classify();
                tracing::debug!(
                    kind,
                    ?category,
                    "a payload of Slack has other fields than expected"
                );
                Self::unknown(kind)
            }
        }
    }

    /// Something that only has a name.
    pub(in crate::slack) fn unknown(kind: &str) -> Self {
        Self::Unknown {
            kind: clean(kind, MOST_KIND),
        }
    }
}

fn kind(payload: &Value) -> String {
    let kind = payload.get("type").and_then(Value::as_str);
    clean(kind.unwrap_or_default(), MOST_KIND)
}
