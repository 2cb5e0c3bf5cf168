//! The registry of everything this process measures. Touches nothing outside it.
//!
//! What is measured lives with the code that measures it; labels never hold object names or error texts, which have no bound.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use super::{process::Process, queue::Queue, watches::Watches};

/// A registry shared by the roles of a process; clones are the same registry. Every name gets the prefix `foredeck_`.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    watches: Watches,
    /// What every process tells of itself, by the names that all the world has for it.
    process: Arc<Registry>,
    queues: Family<Kind, Gauge>,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("foredeck");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs here", version);
        let watches = Watches::default();
        watches.register(&mut registry);
        let queues = Family::<Kind, Gauge>::default();
        registry.register(
            "queue_depth",
            "Objects that wait for a pass or are in one, by kind",
            queues.clone(),
        );
        let mut process = Registry::default();
        process.register_collector(Box::new(Process));
        Self {
            watches,
            registry: Arc::new(Mutex::new(registry)),
            process: Arc::new(process),
            queues,
        }
    }
}

impl Metrics {
    /// Lets `register` add its metrics, and hands back what it returns (the handles to count with).
    ///
    /// Registering one name twice is not refused: scrapers reject the page. Register once, at start.
    pub fn register<Handles>(&self, register: impl FnOnce(&mut Registry) -> Handles) -> Handles {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the watches of this process tell of their troubles.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// A queue of objects of that kind; all of one kind are counted together.
    pub fn queue(&self, kind: &'static str) -> Queue {
        Queue::new(self.queues.get_or_create(&Kind { kind }).clone())
    }

    /// All metrics as `OpenMetrics` 1.0 text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        {
            let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            text::encode_registry(&mut page, &registry)?;
        }
        text::encode_registry(&mut page, &self.process)?;
        text::encode_eof(&mut page)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn registered_counter_is_on_the_page() {
        let metrics = Metrics::default();
        let counter: Counter = metrics.register(|registry| {
            let counter = Counter::default();
            registry.register("posts", "POSTs sent", counter.clone());
            counter
        });
        counter.inc();
        let page = metrics.encode().unwrap();
        assert!(page.contains("\nforedeck_posts_total 1\n"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
        assert!(page.contains("\nprocess_cpu_seconds_total "), "{page}");
    }
}
