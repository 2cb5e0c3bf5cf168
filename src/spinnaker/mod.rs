//! Gate's client: starts, reads, judges and cancels executions, and says truly what came of it. Touches Gate.
//!
//! Nothing here sends anything twice: no retry, no redirect, no hedging. A second POST of one execution id wipes or
//! destroys the execution (observed on Gate 2026.1.2), so whether to send again is decided elsewhere, from a [`Sent`]
//! that is pessimistic: what isn't certain is [`Sent::Unknown`].

mod address;
mod answer;
mod client;
mod echo;
mod error;
mod failure;
mod judgment;
mod lenient;
mod markup;
mod metrics;
mod model;
mod outcome;
mod pipeline;
mod polling;
mod progress;
mod settings;
mod text;
mod transport;
mod unanswered;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tls_tests;

pub use client::{GateClient, Reservation};
pub use error::{GateError, Missing};
pub use failure::{Finding, find};
pub use judgment::{Given, JudgmentStage, Moment, verdict};
pub use metrics::GateMetrics;
pub use model::{Execution, Paused, Stage, Status, Task};
pub use outcome::{Handed, Lookup, Sent};
pub use pipeline::{ExpectedArtifact, Parameter, PipelineConfig};
pub use polling::Poller;
pub use settings::{Credentials, GateLogin, GateSettings, Rate, SettingsError};
pub use text::clean;
