//! The chart as helm renders it, on the real API server: that it is taken, that it runs, and who may write what, whatever RBAC
//! allows.
//!
//! `UPDATE_INSTALL=1 cargo test --test chart` writes `examples/install` anew.

mod applies;
mod approvals;
mod cancel;
mod commits;
mod guardrails;
mod helm_install;
mod install;
mod install_docs;
mod modes;
mod monitoring;
mod network;
mod persons;
mod pods;
mod reach;
mod requester;
mod roles;
mod runs;
mod status;
mod support;
mod targets;
mod values;
mod vault;
mod vouching;
