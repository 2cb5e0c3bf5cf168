//! How often we may call Slack: per method and workspace, and per channel for posts. Touches the clock.
//!
//! A bucket that holds a fifth of a minute's calls and is refilled with the other four in a minute: in no minute more
//! calls go out than the tier says. Whoever waits is served by priority, then by arrival; a channel that must wait does
//! not hold up others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::method::{Method, Tier};

/// At this many channels, those that are at rest are forgotten.
const MOST_CHANNELS: usize = 1000;

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// How something ended: the last word on it.
    Final,
    /// Somebody waits for it right now.
    Interactive,
    /// Progress: the next one will say more.
    Progress,
}

/// The right to one call.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    method: Method,
}

impl Permit {
    /// What it is for.
    pub fn method(&self) -> Method {
        self.method
    }
}

/// How busy a method is: what whoever coalesces needs to stretch its intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How many wait.
    pub waiting: usize,
    /// How long the next one waits at least, in whatever channel.
    pub wait: Duration,
}

/// The budgets of one workspace. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Budget(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// Where waits are measured, if anywhere.
    waits: Option<Histogram>,
}

#[derive(Debug, Default)]
struct State {
    methods: HashMap<Method, Bucket>,
    channels: HashMap<(Method, String), Bucket>,
    waiting: BTreeMap<Place, Option<String>>,
    arrivals: u64,
}

/// A place in the queue: by method, priority and arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    method: Method,
    priority: Priority,
    arrival: u64,
}

impl Budget {
    /// Budgets of which it is measured how long calls wait for them.
    pub(super) fn measured(waits: Histogram) -> Self {
        Self(Arc::new(Shared {
            waits: Some(waits),
            ..Shared::default()
        }))
    }

    /// Waits for the right to call `method`; `channel` matters to posts only. May be dropped while it waits.
    pub async fn acquire(
        &self,
        method: Method,
        channel: Option<&str>,
        priority: Priority,
    ) -> Permit {
        let channel = channel
            .filter(|_| method.tier() == Tier::Post)
            .map(str::to_owned);
        let began = Instant::now();
        let queued = self.enter(method, channel, priority);
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let turn = self.lock().turn(queued.place, Instant::now());
            match turn {
                Turn::Now => {
                    drop(queued);
                    if let Some(waits) = &self.0.waits {
                        waits.observe(began.elapsed().as_secs_f64());
                    }
                    return Permit { method };
                }
                Turn::At(instant) => tokio::select! {
                    () = sleep_until(instant) => {}
                    () = changed => {}
                },
                Turn::AfterOthers => changed.await,
            }
        }
    }

    /// Slack said to wait: nothing goes out to `method` for so long.
    pub fn pause(&self, method: Method, pause: Duration) {
        let now = Instant::now();
        self.lock().method(method, now).pause(now, pause);
        self.0.changed.notify_waiters();
    }

    /// How busy `method` is.
    pub fn load(&self, method: Method) -> Load {
        let now = Instant::now();
        let mut state = self.lock();
        let waiting = state.waiting.keys();
        let waiting = waiting.filter(|place| place.method == method).count();
        let next = state.method(method, now).ready_at(now);
        Load {
            waiting,
            wait: next.saturating_duration_since(now),
        }
    }

    fn enter(&self, method: Method, channel: Option<String>, priority: Priority) -> Queued<'_> {
        let mut state = self.lock();
        state.arrivals += 1;
        let place = Place {
            method,
            priority,
            arrival: state.arrivals,
        };
        state.waiting.insert(place, channel);
        Queued {
            budget: self,
            place,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody in the queue; leaves it however the waiting ends.
struct Queued<'a> {
    budget: &'a Budget,
    place: Place,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.budget.lock().waiting.remove(&self.place);
        self.budget.0.changed.notify_waiters();
    }
}

enum Turn {
    Now,
    At(Instant),
    /// Somebody before goes first, and will say so.
    AfterOthers,
}

impl State {
    fn method(&mut self, method: Method, now: Instant) -> &mut Bucket {
        let bucket = self.methods.entry(method);
        bucket.or_insert_with(|| Bucket::for_workspace(method.tier(), now))
    }

    /// Whether it is this place's turn; if so, takes what it takes.
    fn turn(&mut self, place: Place, now: Instant) -> Turn {
        let method = place.method;
        let first = Place {
            method,
            priority: Priority::Final,
            arrival: 0,
        };
        let method_ready = self.method(method, now).ready_at(now);
        // Somebody before whose channel is ready takes the next call of the method.
        let mut before = self.waiting.range(first..place);
        if before.any(|(_, channel)| {
            self.channel_ready(method, channel.as_deref(), now) <= method_ready.max(now)
        }) {
            return Turn::AfterOthers;
        }
        let channel = self.waiting.get(&place).cloned().flatten();
        let ready = method_ready.max(self.channel_ready(method, channel.as_deref(), now));
        if ready > now {
            return Turn::At(ready);
        }
        self.method(method, now).take(now);
        if let Some(channel) = channel {
            self.forget(now);
            let bucket = self.channels.entry((method, channel));
            bucket.or_insert_with(|| Bucket::for_channel(now)).take(now);
        }
        Turn::Now
    }

    fn channel_ready(&self, method: Method, channel: Option<&str>, now: Instant) -> Instant {
        let Some(channel) = channel else { return now };
        let bucket = self.channels.get(&(method, channel.to_owned()));
        bucket.map_or(now, |bucket| bucket.ready_at(now))
    }

    fn forget(&mut self, now: Instant) {
        if self.channels.len() >= MOST_CHANNELS {
            self.channels.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}

/// Calls that may go out now, refilled with time.
#[derive(Debug)]
struct Bucket {
    most: u32,
    interval: Duration,
    /// When it will be, or was, full.
    full_at: Instant,
    paused_until: Instant,
}

impl Bucket {
    fn for_workspace(tier: Tier, now: Instant) -> Self {
        let a_minute = match tier {
            Tier::Two => 20,
            Tier::Three => 50,
            Tier::Four => 100,
            Tier::Special | Tier::Post => 200,
            // Only Slack's own word slows it down.
            Tier::Unpaced => 60_000,
        };
        let most = a_minute / 5;
        Self::new(most, Duration::from_mins(1) / (a_minute - most), now)
    }

    fn for_channel(now: Instant) -> Self {
        Self::new(1, Duration::from_secs(1), now)
    }

    fn new(most: u32, interval: Duration, now: Instant) -> Self {
        Self {
            most,
            interval,
            full_at: now,
            paused_until: now,
        }
    }

    /// When the next call may go out: `now`, or later.
    fn ready_at(&self, now: Instant) -> Instant {
        let full_at = self.full_at.max(now);
        // Full but for one call.
        let spare = self.interval * (self.most - 1);
        let ready = full_at.checked_sub(spare).unwrap_or(now);
        ready.max(now).max(self.paused_until)
    }

    fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }

    /// Empties it, so that what waited doesn't burst out after the pause.
    fn pause(&mut self, now: Instant, pause: Duration) {
        self.paused_until = self.paused_until.max(now + pause);
        self.full_at = self
            .full_at
            .max(self.paused_until + self.interval * (self.most - 1));
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now && self.paused_until <= now
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
