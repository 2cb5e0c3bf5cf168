//! What is measured of the certificates: how long each still lasts, as of the moment that somebody asks. Touches the clock.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::entry::Entries;

/// The seconds that are left of each connection's certificate: as many lines as there are connections with one.
pub(super) struct SecondsLeft(pub(super) Entries);

impl Collector for SecondsLeft {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let all: Vec<_> = self
            .0
            .all()
            .values()
            .filter_map(|entry| {
                let ends = entry.login.state.borrow().certificate.as_ref()?.ends;
                let left = ends.duration_since(now).as_secs();
                Some((entry.place.clone(), left))
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
        for ((namespace, name), left) in all {
            let labels = [("namespace", namespace), ("connection", name)];
            ConstGauge::new(left).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SecondsLeft {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecondsLeft")
    }
}
