//! The stand-in Slack keeps what it promises: it refuses, delivers, retries and shows as Slack does.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

mod bench;
mod block_kit;
mod faults;
mod http;
mod messages;
mod modals;
mod page;
mod people;
mod reading;
mod response_urls;
mod sockets;
mod web_api;
