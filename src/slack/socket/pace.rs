//! How long a socket waits for what, and how long we wait between sockets. Touches nothing.

use std::time::Duration;

/// The times of Socket Mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// For TCP, proxy, TLS and WebSocket together.
    pub(super) dial: Duration,
    /// From the WebSocket to Slack's hello.
    pub(super) hello: Duration,
    /// Between our pings.
    pub(super) ping: Duration,
    /// Without any frame for so long, the other end is taken for dead.
    pub(super) silence: Duration,
    /// For one frame to go out.
    pub(super) write: Duration,
    /// A replaced socket is read until nothing was delivered for so long,
    pub(super) quiet: Duration,
    /// but no longer than this.
    pub(super) linger: Duration,
    /// Then what was delivered is answered.
    pub(super) drain: Duration,
    /// For the other end to close too.
    pub(super) close: Duration,
    /// A socket that lived so long was none of a row of failures.
    pub(super) steady: Duration,
    /// The first wait after a failure, at most.
    pub(super) shortest: Duration,
    /// The later ones, at most.
    pub(super) longest: Duration,
    /// Where only an operator can help.
    pub(super) slow: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(15),
            hello: Duration::from_secs(10),
            ping: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            write: Duration::from_secs(5),
            quiet: Duration::from_secs(1),
            linger: Duration::from_secs(8),
            drain: Duration::from_secs(3),
            close: Duration::from_secs(2),
            steady: Duration::from_mins(1),
            shortest: Duration::from_secs(1),
            longest: Duration::from_mins(1),
            slow: Duration::from_mins(5),
        }
    }
}

/// What went wrong, as far as waiting is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// Nothing: Slack replaces a socket that served its time.
    Refresh,
    /// The usual trouble.
    Trouble,
    /// Slack says for how long.
    Asked(Duration),
    /// The app has more sockets than Slack allows.
    TooMany,
    /// Nothing will work until an operator acts.
    Stop,
}

impl Pace {
    /// The wait after the `failures`th failure in a row, from 0: anything up to a bound that doubles, so that what failed
    /// together doesn't come back together. `random` is any number, fresh each time.
    pub(super) fn wait(&self, setback: Setback, failures: u32, random: u64) -> Duration {
        let grown = self.shortest.saturating_mul(1 << failures.min(16));
        let bound = grown.min(self.longest);
        match setback {
            Setback::Refresh if failures == 0 => Duration::ZERO,
            Setback::Refresh | Setback::Trouble => share(bound, random),
            Setback::Asked(asked) => asked + share(bound, random),
            // Others want their socket back too.
            Setback::TooMany => self.longest / 2 + share(self.longest, random),
            Setback::Stop => self.slow / 2 + share(self.slow / 2, random),
        }
    }
}

/// A random part of `whole`.
fn share(whole: Duration, random: u64) -> Duration {
    // 16 bits of chance are enough.
    let part = u32::from(u16::try_from(random & 0xffff).unwrap_or_default());
    whole.saturating_mul(part) / 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_spread_below_it() {
        let pace = Pace::default();
        let wait = |failures, random| pace.wait(Setback::Trouble, failures, random);
        assert_eq!(wait(0, u64::MAX), Duration::from_secs(1));
        assert_eq!(wait(3, u64::MAX), Duration::from_secs(8));
        assert_eq!(wait(6, u64::MAX), Duration::from_mins(1));
        assert_eq!(wait(u32::MAX, u64::MAX), Duration::from_mins(1));
        assert_eq!(wait(6, 0), Duration::ZERO);
        assert!(wait(6, 0x8000) > Duration::from_secs(29));
    }

    #[test]
    fn some_setbacks_wait_longer_and_a_refresh_not_at_all() {
        let pace = Pace::default();
        assert_eq!(pace.wait(Setback::Refresh, 0, u64::MAX), Duration::ZERO);
        assert!(pace.wait(Setback::Refresh, 3, u64::MAX) > Duration::from_secs(7));
        let asked = Setback::Asked(Duration::from_secs(20));
        assert_eq!(pace.wait(asked, 0, 0), Duration::from_secs(20));
        assert!(pace.wait(Setback::TooMany, 0, 0) >= Duration::from_secs(30));
        assert!(pace.wait(Setback::Stop, 0, 0) >= Duration::from_secs(150));
    }
}
