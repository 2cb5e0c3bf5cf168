//! Pure decisions: what a request becomes, given what is seen. No I/O, no clock, no randomness.

pub mod access;
pub mod approvals;
pub mod artifacts;
pub mod backoff;
pub mod commits;
pub mod connection;
pub mod decide;
pub mod decisions;
pub mod fitting;
pub mod gates;
pub mod guards;
pub mod hosts;
pub mod ids;
pub mod judgment;
pub mod login;
pub mod moments;
pub mod outcome;
pub mod parameters;
pub mod people;
pub mod readiness;
pub mod refusal;
pub mod renewal;
pub mod repository;
pub mod resolve;
pub mod roles;
pub mod selector;
pub mod sharing;
pub mod speaking;
pub mod standing;
pub mod status;
pub mod target;
pub mod template;
pub mod version;
pub mod wildcard;

pub use decide::{Decision, Effect, Facts, decide};
