//! Replicas, restarts and updates: roles as processes that are killed, stopped and replaced while people go on working, on
//! the real API server under the rights of the chart, with a stand-in Gate and a stand-in Slack.

mod creating;
mod followed;
mod leaders;
mod receivers;
mod relays;
mod rolled;
mod stopping;
mod support;
mod valve;
