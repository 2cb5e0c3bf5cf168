//! How long to wait before the next look. Touches nothing: time comes in as a value, jitter from a hash.

use std::time::Duration;

use jiff::Timestamp;

use super::ids;

const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(2);
const SHORTEST_POLL: Duration = Duration::from_millis(900);
const LONGEST_POLL: Duration = Duration::from_secs(15);

/// The wait before something that failed is tried again: half of what it has been failing for, between 1 s and 2 min,
/// and at least what the other side asked for.
pub fn retry(uid: &str, since: Timestamp, now: Timestamp, asked: Option<Duration>) -> Duration {
    let grown = (elapsed(since, now) / 2).clamp(SHORTEST_RETRY, LONGEST_RETRY);
    jittered(uid, now, grown.max(asked.unwrap_or_default()))
}

/// The wait before a running execution is looked at again: a fifth of the time since it last changed, between 0.9 s
/// and 15 s.
pub fn poll(uid: &str, changed: Timestamp, now: Timestamp) -> Duration {
    jittered(
        uid,
        now,
        (elapsed(changed, now) / 5).clamp(SHORTEST_POLL, LONGEST_POLL),
    )
}

/// The wait before configuration is looked at again: `longest` while it is in order; else half of the time since it was,
/// between `shortest` and `longest`.
pub fn refresh(
    uid: &str,
    unready: Option<Timestamp>,
    now: Timestamp,
    shortest: Duration,
    longest: Duration,
) -> Duration {
    let base = unready.map_or(longest, |since| {
        (elapsed(since, now) / 2).clamp(shortest, longest.max(shortest))
    });
    jittered(uid, now, base)
}

/// The time from `since` to `now`, or nothing when clocks disagree.
pub fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// `base` and up to a fifth more, by object and moment, so that what failed together doesn't return together.
fn jittered(uid: &str, now: Timestamp, base: Duration) -> Duration {
    let hash = ids::sha256(format!("{uid} {}", now.as_millisecond()).as_bytes());
    let share = u32::from_str_radix(&hash[..4], 16).unwrap_or_default();
    base + base * share / (5 * 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_within_their_bounds_and_heed_what_was_asked() {
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let wait = |seconds, asked| retry("u", start, start + Duration::from_secs(seconds), asked);
        assert!(wait(0, None) >= SHORTEST_RETRY && wait(0, None) < SHORTEST_RETRY * 2);
        assert!(wait(60, None) >= Duration::from_secs(30));
        assert!(wait(86_400, None) <= LONGEST_RETRY * 6 / 5);
        assert!(wait(0, Some(Duration::from_secs(42))) >= Duration::from_secs(42));
        assert!(
            retry("u", start + Duration::from_secs(9), start, None) >= SHORTEST_RETRY,
            "clocks may run back"
        );
    }

    #[test]
    fn what_is_not_in_order_is_looked_at_sooner() {
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let (shortest, longest) = (Duration::from_secs(10), Duration::from_mins(3));
        let wait = |unready: Option<u64>| {
            let now = start + Duration::from_hours(1);
            let since = unready.map(|seconds| now - Duration::from_secs(seconds));
            refresh("u", since, now, shortest, longest)
        };
        assert!(wait(None) >= longest && wait(None) <= longest * 6 / 5);
        assert!(wait(Some(0)) >= shortest && wait(Some(0)) <= shortest * 6 / 5);
        assert!(wait(Some(60)) >= Duration::from_secs(30));
        assert!(wait(Some(3_600)) >= longest && wait(Some(3_600)) <= longest * 6 / 5);
    }

    #[test]
    fn polls_slow_down_while_nothing_changes() {
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let wait = |seconds| poll("u", start, start + Duration::from_secs(seconds));
        assert!(wait(1) < Duration::from_millis(1_100));
        assert!(wait(30) >= Duration::from_secs(6));
        assert!(wait(3_600) >= LONGEST_POLL && wait(3_600) <= LONGEST_POLL * 6 / 5);
    }
}
