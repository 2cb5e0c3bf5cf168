//! Which Lease, for whom, and its three durations. Touches nothing but the host's name and chance.

use std::time::Duration;

use super::LeaseError;
use crate::runtime::chance;

/// client-go's durations, which operators know: 15 s, and of it 10 s to renew in, tried every 2 s.
const DURATION: Duration = Duration::from_secs(15);

/// Which Lease, for whom, and how long. All who compete for one Lease should run with the same durations.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Where the Lease lives.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Who we are. Must be no other process's name, past or present: see [`unique_holder`].
    pub holder: String,
    /// How long others leave a Lease alone that isn't renewed. Whole seconds, from 1; written into the Lease.
    pub duration: Duration,
    /// How long after the last renewal we still act. Less than `duration`: the rest is the margin for clocks that run
    /// at different speeds, and for what was begun just before the end.
    pub renew_deadline: Duration,
    /// How often the holder renews. Less than `renew_deadline`; a waiting process looks twice as often.
    pub retry: Duration,
}

impl LeaseSettings {
    /// The name of the Lease.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Settings with 15 s, 10 s and 2 s.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        holder: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            holder: holder.into(),
            duration: DURATION,
            renew_deadline: DURATION * 2 / 3,
            retry: DURATION * 2 / 15,
        }
    }

    /// The same with another duration, and the other two in the usual proportion to it.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> Self {
        Self {
            duration,
            renew_deadline: duration * 2 / 3,
            retry: duration * 2 / 15,
            ..self
        }
    }

    /// How often a waiting process looks: so often that a released Lease is taken in less than `retry`.
    pub(super) fn look(&self) -> Duration {
        self.retry / 2
    }

    /// Longest wait for one answer: three of them fit between the time to renew and the end of the claim, so that a lost
    /// answer costs one try and not the Lease. No shorter: an API server that is always that slow would never let us renew.
    pub(super) fn call(&self) -> Duration {
        self.renew_deadline.saturating_sub(self.retry) / 3
    }

    /// `duration` as the Lease holds it.
    pub(super) fn seconds(&self) -> Result<i32, LeaseError> {
        i32::try_from(self.duration.as_secs())
            .ok()
            .filter(|_| self.duration.subsec_nanos() == 0)
            .filter(|seconds| *seconds > 0)
            .ok_or(LeaseError::Settings(
                "the lease duration must be whole seconds, from 1 s",
            ))
    }

    pub(super) fn check(&self) -> Result<(), LeaseError> {
        self.seconds()?;
        let refused = if self.holder.is_empty() {
            "the holder must have a name"
        } else if self.renew_deadline >= self.duration {
            "the renew deadline must be shorter than the lease duration"
        } else if self.retry >= self.renew_deadline {
            "the retry interval must be shorter than the renew deadline"
        } else if self.retry.is_zero() {
            "the retry interval must be longer than zero"
        } else {
            return Ok(());
        };
        Err(LeaseError::Settings(refused))
    }
}

/// This host's name and 64 random bits: readable in `kubectl get lease`, and never the name of a process before us.
pub fn unique_holder() -> String {
    let host = hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "foredeck".to_owned());
    format!("{host}_{:016x}", chance::bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_their_order() {
        let settings = LeaseSettings::new("ns", "name", "me");
        let seconds = Duration::from_secs;
        assert_eq!(
            (settings.duration, settings.renew_deadline, settings.retry),
            (seconds(15), seconds(10), seconds(2))
        );
        for duration in [1, 3, 15, 600] {
            let settings = settings.clone().lasting(seconds(duration));
            settings.check().unwrap();
            assert!(settings.retry + settings.call() * 3 <= settings.renew_deadline);
            assert!(settings.look() <= settings.retry);
        }
    }

    #[test]
    fn settings_that_would_allow_two_holders_are_refused() {
        let good = LeaseSettings::new("ns", "name", "me");
        let seconds = Duration::from_secs;
        let rows = [
            LeaseSettings {
                holder: String::new(),
                ..good.clone()
            },
            LeaseSettings {
                renew_deadline: seconds(15),
                ..good.clone()
            },
            LeaseSettings {
                retry: seconds(10),
                ..good.clone()
            },
            LeaseSettings {
                retry: Duration::ZERO,
                ..good.clone()
            },
            good.clone().lasting(Duration::ZERO),
            good.clone().lasting(Duration::from_millis(1500)),
            good.lasting(seconds(1 << 40)),
        ];
        for settings in rows {
            assert!(
                matches!(settings.check(), Err(LeaseError::Settings(_))),
                "{settings:?}"
            );
        }
    }

    #[test]
    fn holders_differ() {
        assert_ne!(unique_holder(), unique_holder());
    }
}
