//! The receiver against the real API server and a stand-in Slack: what people say becomes requests, once each, and every
//! answer is true.

mod asked;
mod asking;
mod deciding;
mod door;
mod forms;
mod guardrails;
mod held;
mod judging;
mod killed;
#[path = "../credentials/leaks.rs"]
#[expect(dead_code, reason = "not everything is searched here")]
mod leaks;
mod okta;
mod once;
mod outcomes;
mod people;
mod rotation;
mod slow;
mod speaking;
mod support;
mod teams;
mod vault;
mod versions;
