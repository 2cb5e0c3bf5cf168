//! The relay from outside: real API server, stand-in Slack, and the test in the controller's place.

mod asking;
mod channels;
mod crowd;
mod faults;
mod freezes;
mod guardrails;
mod killed;
#[path = "../credentials/leaks.rs"]
#[expect(dead_code, reason = "not everything is searched here")]
mod leaks;
mod life;
mod rotation;
mod support;
mod together;
