//! The controller from outside: real API server, real binary, stand-in Gate.

mod life;
mod support;
