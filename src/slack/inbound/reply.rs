//! What a delivery is answered with. Touches nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::slack::{
    blocks::Message,
    elements::{Choice, bounded},
    text::Plain,
    view::View,
};

/// Who sees an answer. A later answer can't change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Whoever asked, until they reload.
    #[default]
    Ephemeral,
    /// The channel.
    InChannel,
}

/// The answer to one delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Received. Closes a submitted modal.
    Empty,
    /// To a command: a message. Elsewhere Slack ignores it.
    Message {
        /// Who sees it.
        visibility: Visibility,
        /// What.
        message: Message,
    },
    /// To a submission: what is wrong, by the id of the input block. Ids that are not of the modal make Slack show an
    /// error of its own.
    ViewErrors(BTreeMap<String, Plain>),
    /// To a submission: another modal in its place.
    ViewUpdate(Box<View>),
    /// To a submission: another modal above it. At most three are stacked.
    ViewPush(Box<View>),
    /// To a submission: closes the whole stack.
    ViewClear,
    /// To a menu: the first hundred of these.
    Options(Vec<Choice>),
    /// To an event: not taken, to be delivered again. Anything else is lost by it.
    Refused,
}

impl Reply {
    /// An answer that only the person who asked sees.
    pub fn ephemeral(message: Message) -> Self {
        Self::Message {
            visibility: Visibility::Ephemeral,
            message,
        }
    }

    /// A fixed word, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Message { .. } => "message",
            Self::ViewErrors(_) => "view-errors",
            Self::ViewUpdate(_) => "view-update",
            Self::ViewPush(_) => "view-push",
            Self::ViewClear => "view-clear",
            Self::Options(_) => "options",
            Self::Refused => "refused",
        }
    }

    /// What is sent. None where nothing but the receipt is.
    pub fn body(&self) -> Option<Value> {
        let action = |action: &str, view: &View| json!({"response_action": action, "view": view});
        Some(match self {
            Self::Empty | Self::Refused => return None,
            Self::Message {
                visibility,
                message,
            } => {
                let mut body = json!(message);
                body["response_type"] = json!(visibility);
                body
            }
            Self::ViewErrors(errors) => {
                let errors: BTreeMap<_, _> = errors
                    .iter()
                    .map(|(block, error)| (block, error.as_str()))
                    .collect();
                json!({"response_action": "errors", "errors": errors})
            }
            Self::ViewUpdate(view) => action("update", view),
            Self::ViewPush(view) => action("push", view),
            Self::ViewClear => json!({"response_action": "clear"}),
            Self::Options(choices) => json!({"options": bounded(choices.iter().cloned())}),
        })
    }
}
