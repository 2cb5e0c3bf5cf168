//! What Gate does wrong in a cell, and what that lets the controller pass.

use std::time::Duration;

use foredeck_testkit::gate::{Effect, Fault, Operation};
use serde_json::json;

/// How long an abandoned start stays in Gate: shorter than the settle time, as the contract with Gate is.
pub(super) const ABANDONED: Duration = Duration::from_millis(2_500);

/// What a fault makes of the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It is accepted, and the controller hears so.
    Clean,
    /// Gate refuses it for good.
    Refused,
    /// Certainly not processed: sent again soon.
    NotProcessed,
    /// Started, and the controller isn't told.
    Started,
    /// Not started, and the controller isn't told: sent again after the settle time.
    Lost,
}

/// A fault by name.
#[derive(Debug, PartialEq)]
pub(super) struct Trouble {
    pub(super) name: &'static str,
    pub(super) class: Class,
    /// Whether it also runs with the older endpoint.
    pub(super) v1: bool,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Slow,
    Hidden,
    NoAnswer,
    LateAnswer,
    ResetAfter,
    ErrorAfter,
    Abandoned,
    ResetBefore,
    ErrorBefore,
    Hang,
    Empty,
    Shed,
    Proxy,
    RateLimited,
    Redirect,
    LoginPage,
    NotFound,
    ReadError,
    ReadReset,
    ReadHang,
    ReadEmpty,
    ReadNotFound,
    ReadLogin,
    StrangeWord,
    EverythingResets,
    CancelResetBefore,
    CancelResetAfter,
    CancelHang,
    CancelErrorBefore,
    CancelErrorAfter,
    CancelEmpty,
}

const fn start(name: &'static str, class: Class, v1: bool, what: What) -> Trouble {
    Trouble {
        name,
        class,
        v1,
        what,
    }
}

const fn other(name: &'static str, what: What) -> Trouble {
    start(name, Class::Clean, false, what)
}

/// Of the POST: all that the stand-in has.
pub(super) const STARTS: [Trouble; 17] = [
    start("slow", Class::Clean, true, What::Slow),
    start("hidden", Class::Clean, true, What::Hidden),
    start("no-answer", Class::Started, true, What::NoAnswer),
    start("late-answer", Class::Started, false, What::LateAnswer),
    start("reset-after", Class::Started, true, What::ResetAfter),
    start("error-after", Class::Started, true, What::ErrorAfter),
    start("abandoned", Class::Started, true, What::Abandoned),
    start("reset-before", Class::Lost, true, What::ResetBefore),
    start("error-before", Class::Lost, false, What::ErrorBefore),
    start("hang", Class::Lost, true, What::Hang),
    start("empty", Class::Lost, true, What::Empty),
    start("shed", Class::Lost, false, What::Shed),
    start("proxy", Class::Lost, false, What::Proxy),
    start("rate-limited", Class::NotProcessed, true, What::RateLimited),
    start("redirect", Class::NotProcessed, false, What::Redirect),
    start("login-page", Class::Lost, false, What::LoginPage),
    start("not-found", Class::Refused, true, What::NotFound),
];

/// Of what is asked before and after it.
pub(super) const READS: [Trouble; 8] = [
    other("read-error", What::ReadError),
    other("read-reset", What::ReadReset),
    other("read-hang", What::ReadHang),
    other("read-empty", What::ReadEmpty),
    other("read-not-found", What::ReadNotFound),
    other("read-login", What::ReadLogin),
    other("strange-word", What::StrangeWord),
    other("all-reset", What::EverythingResets),
];

/// Of the cancel.
pub(super) const CANCELS: [Trouble; 6] = [
    other("cancel-reset-before", What::CancelResetBefore),
    other("cancel-reset-after", What::CancelResetAfter),
    other("cancel-hang", What::CancelHang),
    other("cancel-error-before", What::CancelErrorBefore),
    other("cancel-error-after", What::CancelErrorAfter),
    other("cancel-empty", What::CancelEmpty),
];

impl Trouble {
    /// The faults, with starts by that operation.
    pub(super) fn faults(&self, start: Operation) -> Vec<Fault> {
        let second = Duration::from_secs(1);
        let once = |effect| vec![Fault::new(start, effect)];
        let cancel = |effect| vec![Fault::new(Operation::Cancel, effect)];
        let reads = |effect: Effect| {
            [
                Operation::GetExecution,
                Operation::Batch,
                Operation::GetConfig,
                Operation::List,
            ]
            .map(|operation| Fault::new(operation, effect.clone()).times(2))
            .to_vec()
        };
        match self.what {
            What::Slow => once(Effect::SlowAnswer(second / 2)),
            What::Hidden => once(Effect::HideCreated(second * 3 / 2)),
            What::NoAnswer => once(Effect::AcceptedThenTimeout { answer_after: None }),
            What::LateAnswer => once(Effect::AcceptedThenTimeout {
                answer_after: Some(second * 3 / 2),
            }),
            What::ResetAfter => once(Effect::ResetAfterEffect),
            What::ErrorAfter => once(Effect::ServerErrorAfterAcceptance),
            What::Abandoned => once(Effect::AbandonedStart { after: ABANDONED }),
            What::ResetBefore => once(Effect::ResetBeforeEffect),
            What::ErrorBefore => once(Effect::ServerErrorBefore),
            What::Hang => once(Effect::Hang),
            What::Empty => once(Effect::EmptyBody),
            What::Shed => once(Effect::Shed {
                retry_after: second,
            }),
            What::Proxy => once(Effect::Answer(502, json!({"error": "upstream"}))),
            What::RateLimited => once(Effect::RateLimited {
                reset_after: second,
            }),
            What::Redirect => once(Effect::RedirectToLogin),
            What::LoginPage => once(Effect::LoginPage),
            What::NotFound => once(Effect::NotFound),
            What::ReadError => reads(Effect::ServerErrorBefore),
            What::ReadReset => reads(Effect::ResetBeforeEffect),
            What::ReadHang => reads(Effect::Hang),
            What::ReadEmpty => reads(Effect::EmptyBody),
            What::ReadNotFound => vec![
                Fault::new(Operation::GetExecution, Effect::NotFound).times(2),
                Fault::new(Operation::Batch, Effect::NotFound).times(2),
            ],
            What::ReadLogin => reads(Effect::LoginPage),
            What::StrangeWord => {
                let word = || Effect::UnknownStatusWord("PONDERING".to_owned());
                [Operation::GetExecution, Operation::Batch]
                    .map(|operation| Fault::new(operation, word()).times(2))
                    .to_vec()
            }
            What::EverythingResets => {
                vec![Fault::new(Operation::Any, Effect::ResetBeforeEffect).times(5)]
            }
            What::CancelResetBefore => cancel(Effect::ResetBeforeEffect),
            What::CancelResetAfter => cancel(Effect::ResetAfterEffect),
            What::CancelHang => cancel(Effect::Hang),
            What::CancelErrorBefore => cancel(Effect::ServerErrorBefore),
            What::CancelErrorAfter => cancel(Effect::ServerErrorAfterAcceptance),
            What::CancelEmpty => cancel(Effect::EmptyBody),
        }
    }

    /// Whether a start of this may still be under way in Gate when nobody waits for it any more.
    pub(super) fn lingers(&self) -> bool {
        self.what == What::Abandoned
    }
}
