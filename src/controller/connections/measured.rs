//! What is measured of connections as of the moment that somebody asks: whether each is ready, how long its certificate
//! still lasts, and how long it lasts as a whole. Touches the clock.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::Store};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::entry::Entries;
use crate::{
    api::{
        SpinnakerConnection,
        conditions::{self, ConditionType},
    },
    runtime::cache::Guarded,
};

/// Whether each connection is ready, as its status says: as many lines as there are connections that were looked at.
#[derive(Clone, Default)]
pub(super) struct ReadyOnes(Arc<Mutex<Vec<Store<Guarded<SpinnakerConnection>>>>>);

impl ReadyOnes {
    /// Has the connections of a cache measured, too.
    pub(super) fn look_at(&self, connections: Store<Guarded<SpinnakerConnection>>) {
        self.stores().push(connections);
    }

    fn stores(&self) -> MutexGuard<'_, Vec<Store<Guarded<SpinnakerConnection>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ReadyOnes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stores = self.stores().clone();
        let all: Vec<_> = stores
            .iter()
            .flat_map(Store::state)
            .filter_map(|object| {
                let connection = object.0.as_ref().ok()?;
                let conditions = &connection.status.as_ref()?.conditions;
                let ready = conditions::find(conditions, ConditionType::Ready)?;
                let place = (connection.namespace()?, connection.name_any());
                Some((place, i64::from(ready.status == "True")))
            })
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "connection_ready",
            "Whether a connection's Gate can be used: 1 where it can",
            None,
            MetricType::Gauge,
        )?;
        for ((namespace, name), ready) in all {
            let labels = [("namespace", namespace), ("connection", name)];
            ConstGauge::new(ready).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ReadyOnes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReadyOnes")
    }
}

/// How long each connection's certificate still lasts, and how long it lasts as a whole: as many lines of each as there are
/// connections with one.
pub(super) struct Certificates(pub(super) Entries);

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let all: Vec<_> = self
            .0
            .all()
            .values()
            .filter_map(|entry| {
                let login = entry.login.state.borrow();
                let certificate = login.certificate.as_ref()?;
                let left = certificate.ends.duration_since(now).as_secs();
                Some((entry.place.clone(), left, certificate.life.as_secs()))
            })
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "certificate_seconds_left",
            "How long a connection's client certificate still lasts; below 0 once it has run out",
            None,
            MetricType::Gauge,
        )?;
        for ((namespace, name), left, _) in &all {
            let labels = [("namespace", namespace), ("connection", name)];
            ConstGauge::new(*left).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "certificate_life_seconds",
            "How long a connection's client certificate lasts as a whole, from its beginning to its end",
            None,
            MetricType::Gauge,
        )?;
        for ((namespace, name), _, life) in &all {
            let labels = [("namespace", namespace), ("connection", name)];
            ConstGauge::new(*life).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Certificates")
    }
}
