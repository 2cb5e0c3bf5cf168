//! What goes wrong with calls to come: refused, delayed, answered into the void. Touches nothing.

use std::time::Duration;

/// What befalls a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is done: 429 with this `Retry-After`, in seconds.
    RateLimited(u32),
    /// Nothing is done: this status, and a page that is no JSON.
    Status(u16),
    /// Nothing is done: `ok: false` with this error.
    Error(String),
    /// Nothing is done, and the connection is reset.
    ResetBefore,
    /// It is done, and the connection is reset in place of the answer.
    LoseAnswer,
    /// It is done, and the answer is `internal_error`.
    InternalErrorAfter,
    /// It is done, and the answer comes this much later.
    SlowAnswer(Duration),
    /// It waits this long, and is done only then.
    SlowStart(Duration),
    /// Nothing is done, and no answer ever comes.
    Hang,
}

/// An effect, the calls it befalls and how often. Once, unless told otherwise.
#[derive(Debug, Clone)]
pub struct Fault {
    method: Option<String>,
    argument: Option<(String, String)>,
    effect: Effect,
    skip: u32,
    times: Option<u32>,
}

impl Fault {
    /// An effect on the next call of a method, such as `chat.update`; `response_url` for answers to commands and clicks.
    pub fn on(method: &str, effect: Effect) -> Self {
        Self {
            method: Some(method.to_owned()),
            ..Self::anywhere(effect)
        }
    }

    /// An effect on the next call, whatever it is.
    pub fn anywhere(effect: Effect) -> Self {
        Self {
            method: None,
            argument: None,
            effect,
            skip: 0,
            times: Some(1),
        }
    }

    /// Only on calls with this text as that argument, such as `channel`.
    #[must_use]
    pub fn with(mut self, argument: &str, value: &str) -> Self {
        self.argument = Some((argument.to_owned(), value.to_owned()));
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
    pub(super) fn take(
        &mut self,
        method: &str,
        arguments: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<Effect> {
        let position = self.0.iter().position(|fault| {
            fault
                .method
                .as_deref()
                .is_none_or(|wanted| wanted == method)
                && fault.argument.as_ref().is_none_or(|(name, value)| {
                    arguments.get(name).and_then(|given| given.as_str()) == Some(value)
                })
        })?;
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
