//! Many who look at executions, few calls. Touches Gate.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    client::{BATCH, GateClient},
    error::GateError,
    outcome::Lookup,
};

/// How long the first of a batch waits for others.
const WINDOW: Duration = Duration::from_millis(50);

/// Gathers look-ups of one Gate into batches: up to 20 ids, or what comes within 50 ms. Clones share the batches.
///
/// Who looks for an id that is already in the waiting batch shares its answer; a call that is under way is never
/// joined, since its answer may be older than the question. Stages come without contexts as a rule, and no absence
/// from here permits a start: [`GateClient::execution`] is for that.
#[derive(Debug, Clone)]
pub struct Poller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: GateClient,
    window: Duration,
    waiting: Mutex<Waiting>,
}

/// The batch that is being gathered.
#[derive(Debug, Default)]
struct Waiting {
    number: u64,
    looks: Looks,
}

type Looks = BTreeMap<String, Vec<oneshot::Sender<Lookup>>>;

impl Poller {
    /// A poller of one Gate. Needs a Tokio runtime when it is used.
    pub fn new(client: GateClient) -> Self {
        Self::with_window(client, WINDOW)
    }

    fn with_window(client: GateClient, window: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                window,
                waiting: Mutex::default(),
            }),
        }
    }

    /// What Gate says of one execution. Dropping the future withdraws the question if nobody else asks the same.
    pub async fn look(&self, id: &str) -> Lookup {
        let (sender, receiver) = oneshot::channel();
        self.shared.ask(id, sender);
        receiver.await.unwrap_or_else(|_| {
            Lookup::Unclear(GateError::Unclear {
                status: None,
                detail: "the look-up was given up".to_owned(),
            })
        })
    }
}

impl Shared {
    fn ask(self: &Arc<Self>, id: &str, sender: oneshot::Sender<Lookup>) {
        let mut waiting = self.waiting();
        let is_first = waiting.looks.is_empty();
        waiting.looks.entry(id.to_owned()).or_default().push(sender);
        if waiting.looks.len() >= BATCH {
            let looks = waiting.take();
            drop(waiting);
            tokio::spawn(Arc::clone(self).answer(looks));
        } else if is_first {
            let number = waiting.number;
            drop(waiting);
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(shared.window).await;
                let looks = {
                    let mut waiting = shared.waiting();
                    // A batch that filled up has gone without us.
                    if waiting.number != number {
                        return;
                    }
                    waiting.take()
                };
                shared.answer(looks).await;
            });
        }
    }

    async fn answer(self: Arc<Self>, mut looks: Looks) {
        looks.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        let ids: Vec<String> = looks.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        for (id, lookup) in self.client.executions(&ids).await {
            for sender in looks.remove(&id).into_iter().flatten() {
                // Who is no longer there needs no answer.
                let _ = sender.send(lookup.clone());
            }
        }
    }

    /// Nothing panics while it is held, so a poisoned one is whole.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Looks {
        self.number = self.number.wrapping_add(1);
        std::mem::take(&mut self.looks)
    }
}

#[cfg(test)]
#[path = "polling_tests.rs"]
mod tests;
