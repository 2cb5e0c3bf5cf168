//! May we take the Lease, given what we saw of it and since when? Pure: no clock, no API server.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use tokio::time::Instant;

/// What a holder writes. Anything else about the object (labels, `resourceVersion`) says nothing about the holder's life.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) holder: Option<String>,
    renewed: Option<MicroTime>,
    duration_seconds: Option<i32>,
    pub(super) transitions: i32,
}

impl From<&Lease> for Record {
    fn from(lease: &Lease) -> Self {
        let unset = LeaseSpec::default();
        let spec = lease.spec.as_ref().unwrap_or(&unset);
        Self {
            holder: spec
                .holder_identity
                .clone()
                .filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.clone(),
            duration_seconds: spec.lease_duration_seconds,
            transitions: spec.lease_transitions.unwrap_or_default(),
        }
    }
}

/// A record and when we first saw it as it is. The times written in it come from another machine's clock and are only
/// compared for being the same, never with ours.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) record: Record,
    since: Instant,
}

impl Sighting {
    /// What is seen `now`, dated back to the last sight if nothing has changed since.
    pub(super) fn update(last: Option<&Self>, record: Record, now: Instant) -> Self {
        let since = last
            .filter(|last| last.record == record)
            .map_or(now, |last| last.since);
        Self { record, since }
    }
}

/// What a sighting allows.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Nobody holds it.
    Free,
    /// It names us: a write of ours arrived whose answer did not. Ours to renew.
    Ours,
    /// Its holder has not renewed for as long as it promised to, by our clock.
    Expired,
    /// Somebody holds it, and for this long at least we leave it alone.
    Held(Duration),
}

/// `fallback` is how long a holder is waited for that doesn't say how often it renews.
pub(super) fn verdict(sighting: &Sighting, me: &str, fallback: Duration, now: Instant) -> Verdict {
    let Some(holder) = &sighting.record.holder else {
        return Verdict::Free;
    };
    if holder == me {
        return Verdict::Ours;
    }
    let promised = sighting
        .record
        .duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map_or(fallback, Duration::from_secs);
    let unchanged_for = now.saturating_duration_since(sighting.since);
    match promised.checked_sub(unchanged_for) {
        None | Some(Duration::ZERO) => Verdict::Expired,
        Some(left) => Verdict::Held(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "me";
    const FALLBACK: Duration = Duration::from_secs(20);

    fn record(holder: &str, duration_seconds: Option<i32>) -> Record {
        Record::from(&Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                // Long ago by any clock: it must not matter.
                renew_time: Some(MicroTime(k8s_openapi::jiff::Timestamp::UNIX_EPOCH)),
                lease_duration_seconds: duration_seconds,
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        })
    }

    #[test]
    fn lease_is_taken_only_when_free_ours_or_unchanged_for_its_duration_in_our_sight() {
        let seconds = Duration::from_secs;
        let millis = Duration::from_millis;
        let rows = [
            ("released", record("", Some(15)), seconds(0), Verdict::Free),
            ("never held", Record::default(), seconds(0), Verdict::Free),
            ("ours", record(ME, Some(15)), seconds(0), Verdict::Ours),
            (
                "ours and old",
                record(ME, Some(15)),
                seconds(99),
                Verdict::Ours,
            ),
            (
                "first sight",
                record("other", Some(15)),
                seconds(0),
                Verdict::Held(seconds(15)),
            ),
            (
                "just before",
                record("other", Some(15)),
                millis(14_999),
                Verdict::Held(millis(1)),
            ),
            (
                "at the end",
                record("other", Some(15)),
                seconds(15),
                Verdict::Expired,
            ),
            (
                "long after",
                record("other", Some(15)),
                seconds(999),
                Verdict::Expired,
            ),
            (
                "holder's own duration",
                record("other", Some(60)),
                seconds(20),
                Verdict::Held(seconds(40)),
            ),
            (
                "no duration",
                record("other", None),
                seconds(15),
                Verdict::Held(seconds(5)),
            ),
            (
                "nonsense duration",
                record("other", Some(0)),
                seconds(15),
                Verdict::Held(seconds(5)),
            ),
            (
                "negative duration",
                record("other", Some(-1)),
                seconds(20),
                Verdict::Expired,
            ),
        ];
        for (name, record, unchanged_for, expected) in rows {
            let start = Instant::now();
            let sighting = Sighting::update(None, record, start);
            assert_eq!(
                verdict(&sighting, ME, FALLBACK, start + unchanged_for),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn any_change_by_the_holder_starts_the_wait_again() {
        let start = Instant::now();
        let later = start + Duration::from_secs(10);
        let base = record("other", Some(15));
        let first = Sighting::update(None, base.clone(), start);
        assert_eq!(
            Sighting::update(Some(&first), base.clone(), later).since,
            start
        );

        let changes = [
            Record {
                holder: Some("third".into()),
                ..base.clone()
            },
            Record {
                renewed: Some(MicroTime(k8s_openapi::jiff::Timestamp::MAX)),
                ..base.clone()
            },
            Record {
                duration_seconds: Some(16),
                ..base.clone()
            },
            Record {
                transitions: 1,
                ..base
            },
        ];
        for change in changes {
            assert_eq!(
                Sighting::update(Some(&first), change.clone(), later).since,
                later,
                "{change:?}"
            );
        }
    }
}
