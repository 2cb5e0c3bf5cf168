//! The chart as helm renders it, on the real API server: who may write what, whatever RBAC allows.
//!
//! `UPDATE_INSTALL=1 cargo test --test chart` writes `examples/install` anew.

mod applies;
mod approvals;
mod cancel;
mod install;
mod network;
mod persons;
mod requester;
mod roles;
mod status;
mod support;
mod targets;
mod values;
mod vault;
mod vouching;
