//! How many freezes hold now, as the caches have them when somebody asks. Touches the clock then.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::reflector::Store};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::{
    api::DeployFreeze,
    domain::guards::freeze::{self, Window},
    runtime::cache::Guarded,
};

/// The freezes of all engines.
#[derive(Clone, Default)]
pub(in crate::controller) struct Freezes(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    stores: Vec<Store<Guarded<DeployFreeze>>>,
    home: String,
}

/// How many there are of what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    active: i64,
    /// They don't decode, or their times can't be understood: they hold all the time.
    unclear: i64,
    stopped: i64,
}

impl Freezes {
    /// Has those of these caches counted too. foredeck's own namespace is `home`.
    pub(in crate::controller) fn look_at<'a>(
        &self,
        home: &str,
        stores: impl IntoIterator<Item = &'a Store<Guarded<DeployFreeze>>>,
    ) {
        let mut known = self.lock();
        home.clone_into(&mut known.home);
        known.stores.extend(stores.into_iter().cloned());
    }

    fn counts(&self, now: Timestamp) -> Counts {
        let known = self.lock();
        let (mut counts, mut counted) = (Counts::default(), BTreeSet::new());
        for object in known.stores.iter().flat_map(Store::state) {
            if counted.insert(object.uid()) {
                counts.add(&object, &known.home, now);
            }
        }
        counts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, object: &Guarded<DeployFreeze>, home: &str, now: Timestamp) {
        let window = object.0.as_ref().ok().and_then(|freeze| {
            let created = freeze.creation_timestamp().map_or(now, |time| time.0);
            freeze::window(&freeze.spec, created.min(now), now).ok()
        });
        self.unclear += i64::from(window.is_none());
        let holds = window.is_none_or(|window: Window| window.since.is_some());
        self.active += i64::from(holds);
        let stops = match &object.0 {
            Ok(freeze) => freeze::stops_everything(freeze, home, now),
            Err(_) => freeze::is_stop_button(object.meta(), home),
        };
        self.stopped += i64::from(stops);
    }
}

impl fmt::Debug for Freezes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Freezes")
    }
}

impl Collector for Freezes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.counts(Timestamp::now());
        let all = [
            ("freezes_active", "Freezes that hold now", counts.active),
            (
                "freezes_unclear",
                "Freezes that can't be read or understood, and hold all the time",
                counts.unclear,
            ),
            (
                "stopped",
                "Whether the stop button is on, 1 or 0",
                counts.stopped,
            ),
        ];
        for (name, help, count) in all {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(count).encode(gauge)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn freeze(namespace: &str, name: &str, spec: &Value) -> Guarded<DeployFreeze> {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployFreeze",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-03-02T00:00:00Z"},
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn what_holds_is_counted_and_what_nobody_understands_holds() {
        let now = "2026-03-02T12:00:00Z".parse().unwrap();
        let counted = |freeze: &Guarded<DeployFreeze>| {
            let mut counts = Counts::default();
            counts.add(freeze, "home", now);
            [counts.active, counts.unclear, counts.stopped]
        };
        let always = json!({"reason": "inventory"});
        assert_eq!(counted(&freeze("shop", "one", &always)), [1, 0, 0]);
        assert_eq!(counted(&freeze("shop", "stop-all", &always)), [1, 0, 0]);
        assert_eq!(counted(&freeze("home", "stop-all", &always)), [1, 0, 1]);
        let partly = json!({"reason": "inventory", "exceptActions": ["rollback"]});
        assert_eq!(counted(&freeze("home", "stop-all", &partly)), [1, 0, 0]);
        let over = json!({"reason": "inventory", "until": "2026-03-02T11:00:00Z"});
        assert_eq!(counted(&freeze("home", "stop-all", &over)), [0, 0, 0]);
        assert_eq!(counted(&freeze("shop", "one", &over)), [0, 0, 0]);
        let odd =
            json!({"reason": "inventory", "schedule": {"cron": "0 0 31 2 *", "duration": "1h"}});
        assert_eq!(counted(&freeze("shop", "one", &odd)), [1, 1, 0]);
        assert_eq!(
            counted(&freeze("home", "stop-all", &json!({"reason": 7}))),
            [1, 1, 1]
        );
    }
}
