//! The controller from outside: real API server, real binary, stand-in Gate.

mod access;
mod announcing;
mod approvals;
mod artifacts;
mod audit;
mod cancel;
mod crash;
mod credentials;
mod deleted;
mod drift;
mod gate;
mod input;
mod judgments;
mod keys;
mod leadership;
mod life;
mod people;
mod queue;
mod readiness;
mod repository;
mod shared;
mod sinks;
mod stale;
mod start;
mod support;
mod versions;
