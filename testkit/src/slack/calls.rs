//! What was asked of the stand-in: every call, how it was written, and its answer. Pure bookkeeping.

use std::time::Duration;

use serde_json::{Map, Value};

/// How a call carried its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// In the URL.
    Query,
    /// In a form.
    Form,
    /// As a JSON object.
    Json,
    /// There were none.
    Nothing,
}

/// One call. Tokens are not kept.
#[derive(Debug, Clone)]
pub struct Call {
    /// Counts up from 1.
    pub number: u64,
    /// When, since 1970, by the stand-in's clock.
    pub at: Duration,
    /// The method, such as `chat.update`; `response_url` for answers to commands and clicks.
    pub method: String,
    /// The HTTP method.
    pub http_method: String,
    /// How the arguments came.
    pub encoding: Encoding,
    /// The arguments, those that were JSON in a form decoded.
    pub arguments: Map<String, Value>,
    /// The name of the fault that befell it.
    pub fault: Option<String>,
    /// The status it was answered with; none while it waits, or when the connection was reset.
    pub status: Option<u16>,
    /// What it was answered.
    pub answer: Option<Value>,
}

impl Call {
    /// An argument that is text, or nothing.
    pub fn argument(&self, name: &str) -> &str {
        self.arguments
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Whether it was answered with `ok: true`, or with 200 where answers are no JSON.
    pub fn is_ok(&self) -> bool {
        self.answer
            .as_ref()
            .map_or(self.status == Some(200), |answer| answer["ok"] == true)
    }

    /// The error it was answered with, or nothing.
    pub fn error(&self) -> &str {
        self.answer
            .as_ref()
            .and_then(|answer| answer["error"].as_str())
            .unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub(super) struct CallLog {
    calls: Vec<Call>,
    last: u64,
}

impl CallLog {
    /// Records a call and gives it its number.
    pub(super) fn record(&mut self, mut call: Call) -> u64 {
        self.last += 1;
        call.number = self.last;
        self.calls.push(call);
        self.last
    }

    pub(super) fn change(&mut self, number: u64, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self
            .calls
            .iter_mut()
            .rev()
            .find(|call| call.number == number)
        {
            change(call);
        }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.clone()
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
    }
}
