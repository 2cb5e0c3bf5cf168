//! The controller from outside: real API server, real binary, stand-in Gate.

mod cancel;
mod crash;
mod deleted;
mod gate;
mod input;
mod keys;
mod leadership;
mod life;
mod queue;
mod readiness;
mod stale;
mod start;
mod support;
