//! Faults that a test puts in Gate's way: what goes wrong, with which calls, and how often. Pure bookkeeping.

use std::time::Duration;

use serde_json::Value;

use super::operation::{Operation, Subject};

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// It is done, and the answer comes after the given time, or never.
    AcceptedThenTimeout {
        /// When the answer comes; `None` is never.
        answer_after: Option<Duration>,
    },
    /// The connection is reset and nothing is done.
    ResetBeforeEffect,
    /// It is done, and the connection is reset instead of an answer.
    ResetAfterEffect,
    /// It is done, and the answer is a 500 "timeout".
    ServerErrorAfterAcceptance,
    /// Nothing is done: 500 "Failed to connect to …", as when Orca is down.
    ServerErrorBefore,
    /// Nothing is done: 429 with Gate's rate headers.
    RateLimited {
        /// When the bucket is full again.
        reset_after: Duration,
    },
    /// Nothing is done: 503 with `Retry-After`, as shed requests get.
    Shed {
        /// What `Retry-After` says, in whole seconds.
        retry_after: Duration,
    },
    /// Nothing is done: 302 to the login page.
    RedirectToLogin,
    /// Nothing is done: 200 with the login page, as a client that followed the redirect gets.
    LoginPage,
    /// Nothing is done: 404, as for an execution that a replica does not have yet.
    NotFound,
    /// Nothing is done: 200 with an empty body, as when Gate swallows an error of Orca.
    EmptyBody,
    /// For starts: done and answered, but for this long reads do not see the execution.
    HideCreated(Duration),
    /// The caller never gets an answer; the call is done this long after it came, whoever still listens.
    AbandonedStart {
        /// How long after the call came it is done.
        after: Duration,
    },
    /// Nothing is done and no answer ever comes.
    Hang,
    /// It is done at once, and the answer comes this much later.
    SlowAnswer(Duration),
    /// It is done, and every `status` at the top of an answered execution is this word.
    UnknownStatusWord(String),
    /// Nothing is done: this status and JSON.
    Answer(u16, Value),
}

impl Effect {
    /// The name of the effect, for the call log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::AcceptedThenTimeout { .. } => "AcceptedThenTimeout",
            Self::ResetBeforeEffect => "ResetBeforeEffect",
            Self::ResetAfterEffect => "ResetAfterEffect",
            Self::ServerErrorAfterAcceptance => "ServerErrorAfterAcceptance",
            Self::ServerErrorBefore => "ServerErrorBefore",
            Self::RateLimited { .. } => "RateLimited",
            Self::Shed { .. } => "Shed",
            Self::RedirectToLogin => "RedirectToLogin",
            Self::LoginPage => "LoginPage",
            Self::NotFound => "NotFound",
            Self::EmptyBody => "EmptyBody",
            Self::HideCreated(_) => "HideCreated",
            Self::AbandonedStart { .. } => "AbandonedStart",
            Self::Hang => "Hang",
            Self::SlowAnswer(_) => "SlowAnswer",
            Self::UnknownStatusWord(_) => "UnknownStatusWord",
            Self::Answer(..) => "Answer",
        }
    }
}

/// An effect, the calls it befalls and how often. Once, unless told otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    operation: Operation,
    effect: Effect,
    execution: Option<String>,
    pipeline: Option<String>,
    skip: u32,
    times: Option<u32>,
}

impl Fault {
    /// An effect on the next call of an operation; [`Operation::Any`] is every operation.
    pub fn new(operation: Operation, effect: Effect) -> Self {
        Self {
            operation,
            effect,
            execution: None,
            pipeline: None,
            skip: 0,
            times: Some(1),
        }
    }

    /// Only on calls about this execution id: the one in the path, or in the body of a start.
    #[must_use]
    pub fn of_execution(mut self, id: &str) -> Self {
        self.execution = Some(id.to_owned());
        self
    }

    /// Only on calls about this pipeline: the name or id in the path, or the id in the body of a start.
    #[must_use]
    pub fn of_pipeline(mut self, name_or_id: &str) -> Self {
        self.pipeline = Some(name_or_id.to_owned());
        self
    }

    /// Lets this many matching calls pass first.
    #[must_use]
    pub fn skipping(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    /// Befalls this many calls.
    #[must_use]
    pub fn times(mut self, calls: u32) -> Self {
        self.times = Some(calls);
        self
    }

    /// Befalls every matching call until the faults are cleared.
    #[must_use]
    pub fn permanently(mut self) -> Self {
        self.times = None;
        self
    }

    fn matches(&self, subject: &Subject) -> bool {
        (self.operation == Operation::Any || self.operation == subject.operation)
            && (self.execution.is_none() || self.execution == subject.execution)
            && (self.pipeline.is_none() || self.pipeline == subject.pipeline)
    }
}

/// The faults that are still to befall a call, in the order they were put in.
#[derive(Debug, Default)]
pub(super) struct FaultBook(Vec<Fault>);

impl FaultBook {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn pending(&self) -> usize {
        self.0.len()
    }

    /// The effect on this call, if any: of the first fault that matches.
    pub(super) fn take(&mut self, subject: &Subject) -> Option<Effect> {
        let position = self.0.iter().position(|fault| fault.matches(subject))?;
        let fault = self.0.get_mut(position)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        let effect = fault.effect.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.0.remove(position);
            }
        }
        Some(effect)
    }
}
