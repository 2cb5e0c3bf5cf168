//! When what ends by itself is renewed: at two thirds of its life, and where that fails, again and again until its end.
//! Touches nothing: time and chance come in as values.

use jiff::{SignedDuration, Timestamp};

/// The first pause after a failure, in seconds; each further one is twice as long.
const FIRST_PAUSE: u32 = 2;
/// The longest one.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// The longest one where there is nothing that is still good: somebody waits for it.
const LONGEST_WITHOUT: SignedDuration = SignedDuration::from_secs(15);
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
/// failure up to a tenth of what is left of its life, at least 1 s and at most 5 min. Without a good one: up to 15 s.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn life(since: i64, lasts: i64) -> Life {
        Life {
            since: at(since),
            until: at(since + lasts),
        }
    }

    #[test]
    fn a_minute_is_renewed_between_its_34th_and_46th_second() {
        assert_eq!(life(0, 60).renew_at(0.0), at(34));
        assert_eq!(life(0, 60).renew_at(0.5), at(40));
        assert_eq!(life(0, 60).renew_at(1.0), at(46));
        assert_eq!(life(0, 60).renew_at(f64::NAN), at(40));
        assert_eq!(life(0, 0).renew_at(0.5), at(1));
        assert_eq!(life(0, -60).renew_at(0.5), at(1));
        assert!(life(0, 60).has_ended(at(60)));
        assert!(!life(0, 60).has_ended(at(59)));
    }

    #[test]
    fn failures_pause_longer_and_longer_within_a_tenth_of_what_is_left() {
        let day = Some(life(0, 86_400));
        let pauses = |last, now: i64| {
            (1..=9).map(move |failures| retry_at(at(now), last, failures).as_second() - now)
        };
        assert!(pauses(day, 0).eq([2, 4, 8, 16, 32, 64, 128, 256, 300]));
        assert!(pauses(Some(life(0, 60)), 10).eq([2, 4, 5, 5, 5, 5, 5, 5, 5]));
        assert!(pauses(Some(life(0, 60)), 58).all(|pause| pause == 1));
        assert!(pauses(Some(life(0, 60)), 60).eq([2, 4, 8, 15, 15, 15, 15, 15, 15]));
        assert!(pauses(None, 0).eq([2, 4, 8, 15, 15, 15, 15, 15, 15]));
        assert_eq!(retry_at(at(0), None, 0), at(2));
        assert_eq!(retry_at(at(0), None, u32::MAX), at(15));
    }

    proptest! {
        #[test]
        fn what_lives_long_enough_is_renewed_while_it_lives(
            since in -1_000_000_i64..4_000_000_000,
            lasts in 30_i64..400_000_000,
            chance in 0.0_f64..=1.0,
        ) {
            let life = life(since, lasts);
            let renewed = life.renew_at(chance);
            let third = life.since + SignedDuration::from_secs(lasts) / 2;
            prop_assert!(renewed > third && renewed < life.until);
            prop_assert!(!life.has_ended(renewed));
        }

        #[test]
        fn nothing_is_asked_for_without_a_pause_whatever_comes(
            now in any::<i32>(),
            since in any::<i32>(),
            until in any::<i32>(),
            failures in any::<u32>(),
            chance in any::<f64>(),
        ) {
            let (now, last) = (at(now.into()), Life { since: at(since.into()), until: at(until.into()) });
            let pause = retry_at(now, Some(last), failures).duration_since(now);
            prop_assert!(pause >= SHORTEST_PAUSE && pause <= LONGEST_PAUSE);
            prop_assert!(last.renew_at(chance) >= last.since + SHORTEST_PAUSE);
            if !last.has_ended(now) {
                let left = last.until.duration_since(now);
                prop_assert!(pause == SHORTEST_PAUSE || pause <= left / 10);
            }
        }
    }
}
