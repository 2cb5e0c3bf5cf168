//! Foredeck: the deck in front of Spinnaker.
//!
//! Arrows point one way: `cli` → `controller` → {`domain`, `spinnaker`} → `api`; `slack` speaks Slack's protocol and knows
//! nothing of deployments; `runtime` is what a process needs (clients, admin server, shutdown). `tests/architecture.rs`
//! holds it.

pub mod api;
pub mod cli;
pub mod controller;
pub mod domain;
pub mod identity;
pub mod receiver;
pub mod relay;
pub mod runtime;
pub mod slack;
pub mod spinnaker;
