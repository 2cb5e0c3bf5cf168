//! What was asked of the stand-in: every call, and how many there were of each kind. Pure bookkeeping.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;

use super::operation::Operation;

/// One call. Secrets are not kept: of `Authorization` only that it was there.
#[derive(Debug, Clone)]
pub struct Call {
    /// Counts up from 1 over the stand-in's life.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What was asked for.
    pub operation: Operation,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query's values by name.
    pub query: HashMap<String, String>,
    /// The execution it is about, when the call says so.
    pub execution: Option<String>,
    /// The pipeline it is about, when the call says so.
    pub pipeline: Option<String>,
    /// Whether it carried `Authorization` or `X-Spinnaker-Token`.
    pub authorization_present: bool,
    /// `Accept`, `Content-Type`, `User-Agent` and everything `X-…` but tokens; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, when it is JSON and bodies are recorded.
    pub body: Option<Value>,
    /// The number of the connection that it came on; they count up from 1.
    pub connection: u64,
    /// Whom Gate takes the caller for; empty for nobody where that is allowed, none when it was kept out.
    pub principal: Option<String>,
    /// The serial number of the client certificate, hexadecimal pairs with colons between them.
    pub certificate: Option<String>,
    /// The name of the fault's effect that befell it.
    pub fault: Option<&'static str>,
    /// The status it was answered with; none while it hangs, or when the connection was reset.
    pub status: Option<u16>,
}

/// How much of the calls is kept.
#[derive(Debug, Clone, Copy)]
pub struct Recording {
    /// Keep bodies.
    pub bodies: bool,
    /// Keep this many calls, dropping the oldest; counts stay exact.
    pub calls: usize,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            bodies: true,
            calls: 100_000,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct CallLog {
    recording: Recording,
    calls: VecDeque<Call>,
    counts: BTreeMap<Operation, usize>,
    last: u64,
}

impl CallLog {
    pub(super) fn set_recording(&mut self, recording: Recording) {
        self.recording = recording;
        self.calls.truncate(recording.calls);
    }

    /// Records a call and gives it its number.
    pub(super) fn record(&mut self, mut call: Call) -> u64 {
        self.last += 1;
        call.number = self.last;
        *self.counts.entry(call.operation).or_default() += 1;
        if self.recording.calls > 0 {
            if !self.recording.bodies {
                call.body = None;
            }
            while self.calls.len() >= self.recording.calls {
                self.calls.pop_front();
            }
            self.calls.push_back(call);
        }
        self.last
    }

    /// Notes how a call was answered.
    pub(super) fn answered(&mut self, number: u64, status: u16) {
        let first = self.calls.front().map_or(0, |call| call.number);
        let position = number
            .checked_sub(first)
            .and_then(|position| usize::try_from(position).ok());
        if let Some(call) = position.and_then(|position| self.calls.get_mut(position)) {
            call.status = Some(status);
        }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.iter().cloned().collect()
    }

    pub(super) fn count(&self, operation: Operation) -> usize {
        match operation {
            Operation::Any => self.counts.values().sum(),
            operation => self.counts.get(&operation).copied().unwrap_or(0),
        }
    }

    pub(super) fn reset(&mut self) {
        self.calls.clear();
        self.counts.clear();
    }
}
