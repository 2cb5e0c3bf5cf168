//! Vault's clock beside ours: a certificate's life is told by the former and lived by the latter. Touches nothing.

use jiff::{SignedDuration, Timestamp};

/// Where the time of this machine comes from.
pub type Clock = fn() -> Timestamp;

/// How far Vault's clock is ahead of ours: its whole second, against the middle of the call in which it told it.
pub(super) fn skew(server: Timestamp, asked: Timestamp, answered: Timestamp) -> SignedDuration {
    let middle = asked + answered.duration_since(asked) / 2;
    server.duration_since(middle)
}

/// When what ends `there` by Vault's clock is over by ours at the latest: Vault's is up to a second further than the whole
/// seconds that it tells, and whoever is shown something a moment before its end looks at it a moment after.
pub(super) fn end(there: Timestamp, skew: SignedDuration) -> Timestamp {
    let cut_off = SignedDuration::from_secs(1);
    let latest = skew.saturating_add(cut_off);
    there.saturating_sub(latest).unwrap_or(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_after_its_end_because_vault_cuts_its_seconds_off() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        // Vault's clock is two and a half seconds ahead, and says of its 102.9 s that it is 102.
        for (really, says) in [(102_500, 102_000), (102_900, 102_000), (103_000, 103_000)] {
            let skew = skew(at(says), at(100_000), at(100_000));
            let ahead = really - 100_000;
            let ends = end(at(160_000), skew);
            assert!(ends <= at(160_000 - ahead), "{ends}");
            assert!(ends >= at(159_000 - ahead), "{ends}");
        }
    }
}
