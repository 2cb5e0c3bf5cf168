//! Foredeck: the deck in front of Spinnaker.
//!
//! Arrows point one way: `cli` → {`controller`, `receiver`, `relay`, `doctor`, `import`} → {`access`, `identity`, `secrets`, `spinnaker`, `slack`} →
//! `domain` → `api`. The three roles don't know each other: objects in the API server are all that passes between them. `runtime` is
//! what a process needs (clients, caches, admin server, shutdown). `tests/architecture.rs` holds it.

pub mod access;
pub mod api;
pub mod cli;
pub mod controller;
pub mod doctor;
pub mod domain;
pub mod git;
pub mod identity;
pub mod import;
pub mod receiver;
pub mod relay;
pub mod runtime;
pub mod secrets;
pub mod slack;
pub mod spinnaker;
