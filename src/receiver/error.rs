//! Why the receiver can't work. Touches nothing.

use thiserror::Error;

use super::plan::seal::SealError;

/// Why the receiver ended, or didn't begin.
#[derive(Debug, Error)]
pub enum ReceiverError {
    /// A watch can't be gone on with.
    #[error("a watch of the API server ended")]
    WatchEnded,
    /// There is no token to seal plans with.
    #[error("plans can't be sealed")]
    Token(#[source] SealError),
}

impl ReceiverError {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::WatchEnded => "WatchEnded",
            Self::Token(_) => "TokenMissing",
        }
    }
}
