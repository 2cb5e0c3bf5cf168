//! Slack's protocol: what Slack sends, what we send, and the words in between. Touches Slack, and knows nothing of
//! deployments.
//!
//! Everything that a person typed, a commit says or Spinnaker answers is untrusted text; [`text`] is the only way from
//! it to markup.

pub mod actions;
pub mod artifacts;
pub mod blocks;
pub mod client;
pub mod commits;
pub mod elements;
pub mod http;
pub mod ids;
pub mod inbound;
pub mod manifest;
pub mod metrics;
pub mod sharing;
pub mod signature;
pub mod socket;
pub mod text;
pub mod view;

#[cfg(test)]
mod stand_in_tests;
#[cfg(test)]
mod testing;
