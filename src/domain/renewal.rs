//! When what ends by itself is renewed: at two thirds of its life, and where that fails, again and again until its end.
//! Touches nothing: time and chance come in as values.

use jiff::{SignedDuration, Timestamp};

/// The first pause after a failure, in seconds; each further one is twice as long.
const FIRST_PAUSE: u32 = 2;
/// The longest one.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// The longest one where there is nothing that is still good: somebody waits for it.
const LONGEST_WITHOUT: SignedDuration = SignedDuration::from_mins(1);
/// The shortest.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// The life of what ends by itself, by our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Since when we have it.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

impl Life {
    /// When to renew it: at two thirds of its life, a tenth of it sooner or later by `chance`, which is 0 to 1. Never less
    /// than a second after we got it, so that what is born dead isn't asked for without end.
    pub fn renew_at(&self, chance: f64) -> Timestamp {
        let life = self.until.duration_since(self.since);
        let chance = if chance.is_finite() {
            chance.clamp(0.0, 1.0)
        } else {
            0.5
        };
        let share = 2.0 / 3.0 + (chance - 0.5) * 0.2;
        let wait = SignedDuration::try_from_secs_f64(life.as_secs_f64() * share)
            .unwrap_or(SHORTEST_PAUSE)
            .max(SHORTEST_PAUSE);
        later(self.since, wait)
    }

    /// Whether it has ended.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.until
    }
}

/// When to try again after so many failures in a row, one at least. While the last one is good: after 2 s, doubled with each
/// failure up to a tenth of what is left of its life, at least 1 s and at most 5 min. Without a good one: up to 1 min.
pub fn retry_at(now: Timestamp, last: Option<Life>, failures: u32) -> Timestamp {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let pause = SignedDuration::from_secs(i64::from(FIRST_PAUSE.saturating_mul(doubled)));
    let most = match last.filter(|last| !last.has_ended(now)) {
        None => LONGEST_WITHOUT,
        Some(last) => (last.until.duration_since(now) / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
    };
    later(now, pause.min(most))
}

fn later(since: Timestamp, wait: SignedDuration) -> Timestamp {
    since.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
