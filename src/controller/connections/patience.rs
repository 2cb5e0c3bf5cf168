//! How soon a doubt about a login is looked into: at once, and then less and less often while doubts go on, so that a Gate
//! that refuses every login is no reason to hurry. Touches nothing.

use std::time::{Duration, Instant};

/// The pauses between looking into doubts.
pub(super) struct Patience {
    first: Duration,
    longest: Duration,
    /// When the last one was looked into, and the pause after it.
    last: Option<(Instant, Duration)>,
}

impl Patience {
    /// Pauses from `first`, doubled up to `longest`; forgotten after a few of the longest without a doubt.
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            last: None,
        }
    }

    /// When a doubt that comes now is looked into.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.last
            .map_or(now, |(looked, pause)| now.max(looked + pause))
    }

    /// It is looked into now.
    pub(super) fn looked(&mut self, now: Instant) {
        let pause = self
            .last
            .filter(|(looked, _)| now.duration_since(*looked) < self.longest * 4)
            .map_or(self.first, |(_, pause)| (pause * 2).min(self.longest));
        self.last = Some((now, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_gate_that_refuses_everything_makes_us_slower_and_a_quiet_time_quick_again() {
        let start = Instant::now();
        let mut patience = Patience::new(SECOND * 2, SECOND * 10);
        let (mut now, mut pauses) = (start, Vec::new());
        for _ in 0..5 {
            let due = patience.due(now);
            pauses.push(due.duration_since(now).as_secs());
            now = due;
            patience.looked(now);
        }
        assert_eq!(pauses, [0, 2, 4, 8, 10]);
        now += SECOND * 60;
        assert_eq!(patience.due(now), now);
        patience.looked(now);
        assert_eq!(patience.due(now), now + SECOND * 2);
    }
}
