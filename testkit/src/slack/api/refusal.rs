//! How Slack says no. Touches nothing.

use serde_json::{Map, Value, json};

/// An `ok: false`.
#[derive(Debug)]
pub(in crate::slack) struct Refusal {
    pub(in crate::slack) code: String,
    pub(super) extra: Map<String, Value>,
}

impl Refusal {
    pub(in crate::slack) fn code(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            extra: Map::new(),
        }
    }

    fn with_messages(code: &str, problems: &[String]) -> Self {
        let mut refusal = Self::code(code);
        let messages: Vec<String> = problems
            .iter()
            .map(|problem| format!("[ERROR] {problem}"))
            .collect();
        let messages = json!({"messages": messages});
        refusal
            .extra
            .insert("response_metadata".to_owned(), messages);
        refusal
    }

    /// The arguments are wrong, and how.
    pub(super) fn arguments(problems: &[String]) -> Self {
        Self::with_messages("invalid_arguments", problems)
    }

    /// The blocks of a message are wrong, and how.
    pub(super) fn blocks(problems: &[String]) -> Self {
        let mut refusal = Self::with_messages("invalid_blocks", problems);
        refusal.extra.insert("errors".to_owned(), json!(problems));
        refusal
    }

    /// The error and what was said about it, for people.
    pub(in crate::slack) fn describe(&self) -> String {
        let messages = self
            .extra
            .get("response_metadata")
            .and_then(|metadata| metadata["messages"].as_array());
        let messages: Vec<&str> = messages
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        format!("{} {}", self.code, messages.join("; "))
    }

    pub(super) fn json(self) -> Value {
        let mut fields = self.extra;
        fields.insert("ok".to_owned(), json!(false));
        fields.insert("error".to_owned(), json!(self.code));
        Value::Object(fields)
    }
}

impl From<&'static str> for Refusal {
    fn from(code: &'static str) -> Self {
        Self::code(code)
    }
}
