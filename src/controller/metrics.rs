//! What the controller counts. Touches the clock when somebody looks. Labels are fixed words, never names of objects or texts
//! of errors.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
};

use super::freezes::Freezes;
use crate::{
    api::{
        DeployFreeze, DeployRequest, DeployTarget,
        conditions::{self, ConditionType, Reason},
        deploy_request::Phase,
        gate::{GateKind, GateState},
    },
    domain::backoff,
    runtime::{cache::Guarded, metrics::Metrics},
    spinnaker::GateMetrics,
};

/// What came of something: one fixed word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Word {
    /// The word.
    pub outcome: Cow<'static, str>,
}

/// Why: one fixed word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

/// How requests ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct End {
    phase: &'static str,
    /// One of ours: it is set together with the phase.
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    phase: &'static str,
}

/// What the controller counts.
#[derive(Debug, Clone)]
pub(super) struct ControllerMetrics {
    /// Starts that were sent, by what came of it: accepted, refused, not-processed, unknown.
    pub starts: Family<Word, Counter>,
    /// Certificates that Vault was asked for: issued, or the reason why not.
    pub renewals: Family<Word, Counter>,
    /// Calls of Gate.
    pub gate: GateMetrics,
    finished: Family<End, Counter>,
    errors: Family<Why, Counter>,
    started_after: Histogram,
    ended_after: Family<InPhase, Histogram, fn() -> Histogram>,
    requests: Requests,
    targets: Targets,
    freezes: Freezes,
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        Self {
            starts: Family::default(),
            renewals: Family::default(),
            gate: GateMetrics::default(),
            finished: Family::default(),
            errors: Family::default(),
            started_after: seconds(),
            ended_after: Family::new_with_constructor(seconds),
            requests: Requests::default(),
            targets: Targets::default(),
            freezes: Freezes::default(),
        }
    }
}

/// From seconds to the three days that a judgment may wait.
fn seconds() -> Histogram {
    Histogram::new([
        1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0,
        14_400.0, 28_800.0, 86_400.0, 259_200.0,
    ])
}

impl ControllerMetrics {
    /// Registers them.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let own = Self {
            gate: GateMetrics::register(metrics),
            ..Self::default()
        };
        metrics.register(|registry| {
            registry.register(
                "starts",
                "Starts sent to Spinnaker, by outcome",
                own.starts.clone(),
            );
            registry.register(
                "requests_finished",
                "Requests that reached a terminal phase, by phase and reason",
                own.finished.clone(),
            );
            registry.register(
                "request_start_seconds",
                "From a request's creation until Spinnaker had accepted it",
                own.started_after.clone(),
            );
            registry.register(
                "request_end_seconds",
                "From a request's creation to its terminal phase, by that phase",
                own.ended_after.clone(),
            );
            registry.register(
                "reconcile_errors",
                "Passes that failed and are made again, by reason",
                own.errors.clone(),
            );
            registry.register(
                "certificate_renewals",
                "Client certificates that Vault was asked for, by outcome",
                own.renewals.clone(),
            );
            registry.register_collector(Box::new(own.requests.clone()));
            registry.register_collector(Box::new(own.targets.clone()));
            registry.register_collector(Box::new(own.freezes.clone()));
        });
        own
    }

    /// Counts one.
    pub(super) fn count(family: &Family<Word, Counter>, outcome: impl Into<Cow<'static, str>>) {
        family
            .get_or_create(&Word {
                outcome: outcome.into(),
            })
            .inc();
    }

    /// A pass failed.
    pub(super) fn failed(&self, reason: &'static str) {
        self.errors.get_or_create(&Why { reason }).inc();
    }

    /// Spinnaker's acceptance of a request was written down, for the first time.
    pub(super) fn started(&self, request: &DeployRequest) {
        if let Some(age) = age(request) {
            self.started_after.observe(age);
        }
    }

    /// A request's terminal phase was written down; it had none before.
    pub(super) fn ended(&self, request: &DeployRequest, phase: Phase, reason: String) {
        let phase = phase.word();
        self.finished.get_or_create(&End { phase, reason }).inc();
        if let Some(age) = age(request) {
            self.ended_after
                .get_or_create(&InPhase { phase })
                .observe(age);
        }
    }

    /// Has the requests of this cache counted by phase too, and its targets by what is known of them.
    pub(super) fn look_at(
        &self,
        requests: &Store<Guarded<DeployRequest>>,
        targets: &Store<Guarded<DeployTarget>>,
    ) {
        self.requests.stores().push(requests.clone());
        self.targets.stores().push(targets.clone());
    }

    /// Has the freezes of these caches counted too.
    pub(super) fn look_at_freezes<'a>(
        &self,
        home: &str,
        freezes: impl IntoIterator<Item = &'a Store<Guarded<DeployFreeze>>>,
    ) {
        self.freezes.look_at(home, freezes);
    }
}

/// Seconds since it was created; at least none, whatever the clocks say.
fn age(request: &DeployRequest) -> Option<f64> {
    let created = request.metadata.creation_timestamp.as_ref()?.0;
    Some(backoff::elapsed(created, Timestamp::now()).as_secs_f64())
}

/// How many requests there are in each phase, as the caches have them when somebody asks.
#[derive(Clone, Default)]
struct Requests(Arc<Mutex<Vec<Store<Guarded<DeployRequest>>>>>);

impl Requests {
    fn stores(&self) -> std::sync::MutexGuard<'_, Vec<Store<Guarded<DeployRequest>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Requests")
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stores = self.stores().clone();
        let mut counts = Phase::ALL.map(|phase| (phase, 0_i64));
        let mut held = GateKind::ALL.map(|gate| (gate, 0_i64));
        for object in stores.iter().flat_map(Store::state) {
            let Ok(request) = &object.0 else { continue };
            let status = request.status.as_ref();
            let phase = status.and_then(|status| status.phase).unwrap_or_default();
            for (counted, count) in &mut counts {
                *count += i64::from(*counted == phase);
            }
            for (gate, count) in &mut held {
                *count += i64::from(is_held(request, *gate));
            }
        }
        let mut family = encoder.encode_descriptor(
            "requests",
            "Requests that exist, by phase",
            None,
            MetricType::Gauge,
        )?;
        for (phase, count) in counts {
            let labels = [("phase", phase.word())];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "requests_held",
            "Requests that have not started, by each gate that holds them: one that several hold counts for each",
            None,
            MetricType::Gauge,
        )?;
        for (gate, count) in held {
            let labels = [("gate", gate.word())];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Whether this gate keeps it from starting, as it says itself.
fn is_held(request: &DeployRequest, gate: GateKind) -> bool {
    let Some(status) = &request.status else {
        return false;
    };
    let waits = matches!(
        status.phase.unwrap_or_default(),
        Phase::Pending | Phase::AwaitingApproval | Phase::Queued
    );
    waits
        && status.gates.iter().any(|told| {
            told.gate == gate && matches!(told.state, GateState::Closed | GateState::Unknown)
        })
}

/// How many targets there are, by whether what is said to run there is known to.
#[derive(Clone, Default)]
struct Targets(Arc<Mutex<Vec<Store<Guarded<DeployTarget>>>>>);

impl Targets {
    fn stores(&self) -> std::sync::MutexGuard<'_, Vec<Store<Guarded<DeployTarget>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Targets")
    }
}

impl Collector for Targets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stores = self.stores().clone();
        let mut counts = [
            Reason::Succeeded,
            Reason::LastRequestFailed,
            Reason::ExecutionRerun,
            Reason::RanElsewhere,
        ]
        .map(|reason| (reason.to_string(), 0_i64));
        for object in stores.iter().flat_map(Store::state) {
            let status = object
                .0
                .as_ref()
                .ok()
                .and_then(|target| target.status.as_ref());
            let known = status
                .and_then(|status| conditions::find(&status.conditions, ConditionType::Known));
            let Some(known) = known else { continue };
            for (reason, count) in &mut counts {
                *count += i64::from(known.reason == *reason);
            }
        }
        let mut family = encoder.encode_descriptor(
            "targets",
            "Targets on which something ran, by whether what runs there is known",
            None,
            MetricType::Gauge,
        )?;
        for (reason, count) in &counts {
            let labels = [("known", reason.as_str())];
            ConstGauge::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
