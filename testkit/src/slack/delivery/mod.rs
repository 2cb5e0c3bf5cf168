//! What the app is told, how often, and what it answered. Touches the world, and the network.

mod effects;
mod http;
mod run;
mod sockets;

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;
use tokio::sync::watch;

pub use self::http::RequestUrls;
pub use self::sockets::{Goodbye, SocketState};

pub(super) use self::effects::About;
pub(super) use self::http::Destination;
pub(super) use self::run::{redeliver, send_outbox, start};
pub(super) use self::sockets::{Order, Sockets, connect, new_address};

/// Longer than Slack waits, with all its retries at their usual times left out.
const PATIENCE: Duration = Duration::from_secs(30);

/// What kind of delivery it is; each has its own address over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something happened.
    Event,
    /// A slash command.
    Command,
    /// A click, a choice, a submitted or closed view.
    Interaction,
    /// What was typed into an external select.
    Options,
    /// The question whether an address is the app's.
    UrlVerification,
}

/// What the app answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How long it took.
    pub after: Duration,
    /// The status, over HTTP.
    pub status: Option<u16>,
    /// What it said: JSON, or text.
    pub body: Option<Value>,
}

/// Why a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time.
    OperationTimeout,
    /// Nobody was there to be told.
    DispatchFailed,
    /// An answer other than 200.
    HttpError(u16),
}

impl Failure {
    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::OperationTimeout => "operation_timeout",
            Self::DispatchFailed => "dispatch_failed",
            Self::HttpError(_) => "http_service_error",
        }
    }

    /// The word in `X-Slack-Retry-Reason`.
    fn retry_reason(self) -> &'static str {
        match self {
            Self::OperationTimeout => "http_timeout",
            Self::DispatchFailed => "connection_failed",
            Self::HttpError(_) => "http_error",
        }
    }
}

/// One try.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// When, since 1970, by the stand-in's clock.
    pub at: Duration,
    /// The socket it went to; none over HTTP, or when there was none.
    pub socket: Option<u64>,
    /// 0 for the first try.
    pub retry: u32,
    /// What came back in time.
    pub result: Option<Result<Answer, Failure>>,
    /// What came back too late.
    pub late: Option<Answer>,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    attempts: Vec<Attempt>,
    outcome: Option<Result<Answer, Failure>>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    payload: Value,
    about: About,
    progress: watch::Sender<Progress>,
}

/// Something the app is told. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Delivery {
    inner: Arc<Inner>,
}

impl Delivery {
    fn new(kind: Kind, payload: Value, about: About) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                payload,
                about,
                progress: watch::Sender::default(),
            }),
        }
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// What the app is told, as JSON.
    pub fn payload(&self) -> &Value {
        &self.inner.payload
    }

    /// The tries so far, oldest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.inner.progress.borrow().attempts.clone()
    }

    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<Result<Answer, Failure>> {
        self.inner.progress.borrow().outcome.clone()
    }

    /// Waits until it was answered, or given up; half a minute at most.
    pub async fn ended(&self) -> anyhow::Result<Result<Answer, Failure>> {
        let mut progress = self.inner.progress.subscribe();
        let ended = progress.wait_for(|progress| progress.outcome.is_some());
        let progress = tokio::time::timeout(PATIENCE, ended)
            .await
            .map_err(|_| anyhow!("{:?} was not over after {PATIENCE:?}", self.inner.kind))??;
        progress
            .outcome
            .clone()
            .ok_or_else(|| anyhow!("it ended without an outcome"))
    }

    /// Waits for the answer; giving up is an error.
    pub async fn answered(&self) -> anyhow::Result<Answer> {
        let outcome = self.ended().await?;
        outcome.map_err(|failure| anyhow!("the app failed: {}", failure.word()))
    }

    /// Waits until this many tries have been answered or failed.
    pub async fn tried(&self, times: usize) -> anyhow::Result<Vec<Attempt>> {
        let mut progress = self.inner.progress.subscribe();
        let tried = progress.wait_for(|progress| {
            let done = progress
                .attempts
                .iter()
                .filter(|attempt| attempt.result.is_some());
            done.count() >= times
        });
        let progress = tokio::time::timeout(PATIENCE, tried)
            .await
            .map_err(|_| anyhow!("not tried {times} times: {:?}", self.attempts()))??;
        Ok(progress.attempts.clone())
    }

    /// What the person was shown when the app failed.
    pub fn shown_failure(&self) -> Option<&'static str> {
        let outcome = self.outcome()?;
        let shown = !matches!(self.inner.kind, Kind::Event | Kind::UrlVerification);
        outcome.err().filter(|_| shown).map(Failure::word)
    }
}
