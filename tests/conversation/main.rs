//! The whole way: asked in Slack, confirmed, run by Spinnaker, told in one live message. All three roles are processes,
//! on the real API server, a stand-in Gate and a stand-in Slack.

mod approving;
mod faults;
mod held;
mod life;
mod locking;
mod support;
mod telemetry;
mod versions;
