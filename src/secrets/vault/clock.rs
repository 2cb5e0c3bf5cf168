//! Vault's clock beside ours: a certificate's life is told by the former and lived by the latter. Touches nothing.

use jiff::{SignedDuration, Timestamp};

/// Where the time of this machine comes from.
pub type Clock = fn() -> Timestamp;

/// How far Vault's clock is ahead of ours: its whole second, against the middle of the call in which it told it.
pub(super) fn skew(server: Timestamp, asked: Timestamp, answered: Timestamp) -> SignedDuration {
    let middle = asked + answered.duration_since(asked) / 2;
    server.duration_since(middle)
}

/// What Vault's clock calls `there` is called so by ours.
pub(super) fn ours(there: Timestamp, skew: SignedDuration) -> Timestamp {
    there.saturating_sub(skew).unwrap_or(there)
}
