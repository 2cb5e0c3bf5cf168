//! The rate limits as Slack enforces them, when that is switched on. Touches nothing: the time comes in.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::methods::Tier;

const MINUTE: Duration = Duration::from_mins(1);
/// How many posts a channel takes at once before it is held to one a second.
const POSTS_AT_ONCE: u32 = 3;

/// Counts calls, and says which come too fast.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) enforced: bool,
    calls: HashMap<String, VecDeque<Duration>>,
    /// By channel or response URL: until when its posts are spoken for.
    busy_until: HashMap<String, Duration>,
    exceeded: BTreeMap<String, usize>,
}

impl Limits {
    /// Lets a call pass, or says after how many seconds to try again.
    pub(super) fn admit(
        &mut self,
        method: &str,
        tier: Tier,
        place: Option<&str>,
        now: Duration,
    ) -> Result<(), u64> {
        if !self.enforced {
            return Ok(());
        }
        let wait = self.wait(method, tier, place, now);
        if wait.is_zero() {
            return Ok(());
        }
        *self.exceeded.entry(method.to_owned()).or_default() += 1;
        // Whole seconds, and never zero.
        Err(wait.as_secs() + 1)
    }

    fn wait(&mut self, method: &str, tier: Tier, place: Option<&str>, now: Duration) -> Duration {
        let calls = self.calls.entry(method.to_owned()).or_default();
        while calls.front().is_some_and(|at| *at + MINUTE <= now) {
            calls.pop_front();
        }
        if calls.len() >= tier.per_minute() {
            let oldest = calls.front().copied().unwrap_or(now);
            return (oldest + MINUTE).saturating_sub(now);
        }
        if let Some(place) = place {
            let busy = self.busy_until.entry(place.to_owned()).or_insert(now);
            let start = (*busy).max(now);
            let burst = Duration::from_secs(u64::from(POSTS_AT_ONCE - 1));
            if start > now + burst {
                return start.saturating_sub(now + burst);
            }
            *busy = start + Duration::from_secs(1);
        }
        calls.push_back(now);
        Duration::ZERO
    }

    /// How many calls came too fast, by method.
    pub(super) fn exceeded(&self) -> BTreeMap<String, usize> {
        self.exceeded.clone()
    }
}
