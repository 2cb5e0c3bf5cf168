//! How many objects wait for a pass, or are in one. Touches nothing outside the process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;

/// The objects of one kind that were woken and whose pass has not begun, and the passes under way. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    waiting: Arc<Mutex<HashSet<(String, String)>>>,
    depth: Gauge,
}

/// A pass under way; it has ended when this goes.
#[derive(Debug)]
pub struct Underway(Gauge);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Queue {
    /// An empty one, that adds to this gauge.
    pub fn new(depth: Gauge) -> Self {
        Self {
            waiting: Arc::default(),
            depth,
        }
    }

    /// This object was woken; however often, it waits for one pass.
    pub fn woken(&self, namespace: &str, name: &str) {
        if self
            .waiting()
            .insert((namespace.to_owned(), name.to_owned()))
        {
            self.depth.inc();
        }
    }

    /// Its pass begins: by being woken, or by its own timer.
    #[must_use]
    pub fn begun(&self, namespace: &str, name: &str) -> Underway {
        self.gone(namespace, name);
        self.depth.inc();
        Underway(self.depth.clone())
    }

    /// There will be no pass: it is gone.
    pub fn gone(&self, namespace: &str, name: &str) {
        if self
            .waiting()
            .remove(&(namespace.to_owned(), name.to_owned()))
        {
            self.depth.dec();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_and_what_is_under_way_counts_once_each() {
        let (queue, other) = (Queue::default(), Queue::default());
        for _ in 0..3 {
            queue.woken("shop", "a");
        }
        queue.woken("shop", "b");
        assert_eq!(queue.depth.get(), 2);
        let pass = queue.begun("shop", "a");
        assert_eq!(queue.depth.get(), 2);
        queue.woken("shop", "a");
        assert_eq!(
            queue.depth.get(),
            3,
            "it is in a pass and waits for another"
        );
        drop(pass);
        queue.gone("shop", "b");
        queue.gone("shop", "b");
        let by_timer = other.begun("shop", "c");
        assert_eq!((queue.depth.get(), other.depth.get()), (1, 1));
        drop((queue.begun("shop", "a"), by_timer));
        assert_eq!((queue.depth.get(), other.depth.get()), (0, 0));
    }
}
