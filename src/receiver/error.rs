//! Why the receiver can't work. Touches nothing.

use std::io;

use thiserror::Error;

use super::plan::seal::SealError;
use crate::{identity, slack::client::SettingsError};

/// Why the receiver ended, or didn't begin.
#[derive(Debug, Error)]
pub enum ReceiverError {
    /// A watch can't be gone on with.
    #[error("a watch of the API server ended")]
    WatchEnded,
    /// There is no token to seal plans with.
    #[error("plans can't be sealed")]
    Token(#[source] SealError),
    /// People can't be told from each other as it is set.
    #[error("who somebody is can't be found out as it is set")]
    People(#[source] identity::SettingsError),
    /// Sockets can't be opened at all.
    #[error("sockets to Slack can't be set up")]
    Socket(#[source] SettingsError),
    /// The server that Slack delivers to ended.
    #[error("the server that Slack delivers to stopped")]
    Serve(#[source] io::Error),
}

impl ReceiverError {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::WatchEnded => "WatchEnded",
            Self::Token(_) => "TokenMissing",
            Self::People(error) => error.reason(),
            Self::Socket(_) => "SocketSettings",
            Self::Serve(_) => "ServeFailed",
        }
    }
}
