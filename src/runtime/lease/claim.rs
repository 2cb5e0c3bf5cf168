//! The right to act while we hold the Lease, asked at the moment of acting. Touches the clocks only.

use std::time::{Duration, SystemTime};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::LeaseError;

/// One moment on two clocks. The monotonic one counts; but it stands still while a laptop sleeps or a machine is moved,
/// and others don't wait meanwhile, so that the wall clock may end a claim too. It never prolongs one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// What is left of `limit` since `self`, by the clock that leaves less.
    fn left(self, limit: Duration, now: Self) -> Duration {
        let monotonic = now.monotonic.saturating_duration_since(self.monotonic);
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        limit.saturating_sub(monotonic.max(wall))
    }
}

/// How we stand to the Lease.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    /// It has not been read yet.
    Starting,
    /// Somebody else holds it.
    Waiting,
    /// We do, since a write that was sent then.
    Holding { sent: Moment },
    /// Lost or given back; never again in this process.
    Ended,
}

/// What a role asks before it acts. Clones ask the same Lease.
#[derive(Clone, Debug)]
pub struct Claim {
    standing: watch::Receiver<Standing>,
    limit: Duration,
}

impl Claim {
    pub(super) fn new(standing: watch::Receiver<Standing>, limit: Duration) -> Self {
        Self { standing, limit }
    }

    /// Whether we may act now. Asks no server: true for at most the renew deadline after the last renewal was sent,
    /// when every other process still waits; false for good once the Lease is lost or given back.
    ///
    /// An action that takes longer than [`Claim::remaining`] may overlap with the next holder's.
    pub fn is_current(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// For how long we may act without another renewal; zero when not at all.
    pub fn remaining(&self) -> Duration {
        match *self.standing.borrow() {
            Standing::Holding { sent } => sent.left(self.limit, Moment::now()),
            Standing::Starting | Standing::Waiting | Standing::Ended => Duration::ZERO,
        }
    }

    /// Waits while a renewal is overdue: what we ask of the API server may be what stands in its way. Returns when it has
    /// come, or when there is nothing left to wait for. Work that is begun only after this can't push its own Lease out,
    /// and its successor's after it.
    pub async fn renewed(&self) {
        let mut standing = self.standing.clone();
        loop {
            let left = self.remaining();
            if left.is_zero() || left > self.limit / 2 {
                return;
            }
            // Whichever comes first: a change, or the end.
            if matches!(timeout(left, standing.changed()).await, Ok(Err(_))) {
                return;
            }
        }
    }

    /// Waits until we hold the Lease, for as long as others do.
    ///
    /// # Errors
    /// [`LeaseError::Ended`] when we no longer try.
    pub async fn held(&self) -> Result<(), LeaseError> {
        self.until(|standing| matches!(standing, Standing::Holding { .. }))
            .await
    }

    /// Waits until the Lease was read or written once: from then on a waiting replica is as ready as it can be.
    ///
    /// # Errors
    /// [`LeaseError::Ended`] when we no longer try.
    pub async fn observed(&self) -> Result<(), LeaseError> {
        self.until(|standing| !matches!(standing, Standing::Starting))
            .await
    }

    async fn until(&self, reached: impl Fn(&Standing) -> bool) -> Result<(), LeaseError> {
        let mut standing = self.standing.clone();
        let found = standing
            .wait_for(|standing| matches!(standing, Standing::Ended) || reached(standing))
            .await;
        match found.as_deref() {
            Ok(Standing::Ended) | Err(_) => Err(LeaseError::Ended),
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_leaves_less_decides() {
        let seconds = Duration::from_secs;
        let sent = Moment::now();
        let after = |monotonic, wall| Moment {
            monotonic: sent.monotonic + seconds(monotonic),
            wall: sent.wall + seconds(wall),
        };
        let rows = [
            ("at once", after(0, 0), 10),
            ("both run", after(4, 4), 6),
            ("at the deadline", after(10, 10), 0),
            ("slept", after(1, 3600), 0),
            (
                "wall clock set back",
                Moment {
                    wall: sent.wall - seconds(3600),
                    ..after(9, 0)
                },
                1,
            ),
            (
                "wall clock set back, too late",
                Moment {
                    wall: sent.wall - seconds(3600),
                    ..after(11, 0)
                },
                0,
            ),
        ];
        for (name, now, expected) in rows {
            assert_eq!(sent.left(seconds(10), now), seconds(expected), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdue_renewal_is_waited_for_until_it_comes_or_the_claim_ends() {
        let seconds = Duration::from_secs;
        let held = || Standing::Holding {
            sent: Moment::now(),
        };
        let (sender, receiver) = watch::channel(held());
        let claim = Claim::new(receiver, seconds(10));
        let begun = Instant::now();
        claim.renewed().await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "just renewed");

        tokio::time::advance(seconds(6)).await;
        let renewing = async {
            tokio::time::sleep(seconds(2)).await;
            sender.send_replace(held());
        };
        tokio::join!(claim.renewed(), renewing);
        assert_eq!(begun.elapsed(), seconds(8), "it came");

        tokio::time::advance(seconds(6)).await;
        claim.renewed().await;
        assert!(!claim.is_current());
        assert!(begun.elapsed() >= seconds(18), "it never came");
    }

    #[tokio::test]
    async fn claim_ends_with_the_task_that_keeps_it() {
        let (sender, receiver) = watch::channel(Standing::Starting);
        let claim = Claim::new(receiver, Duration::from_secs(10));
        assert!(!claim.is_current());
        drop(sender);
        assert!(matches!(claim.held().await, Err(LeaseError::Ended)));
        assert!(matches!(claim.observed().await, Err(LeaseError::Ended)));
    }
}
