//! What the receiver knows by heart: what can be deployed, where, what runs there, and what was asked. Touches the API
//! server: lists and watches.
//!
//! Answers that only tell come from here alone, so they cost the API server nothing and don't wait for it.

use std::{convert::Infallible, sync::Arc};

use futures::{
    StreamExt,
    future::{self, Ready},
};
use kube::{Client, Resource};
use tokio::sync::watch;

use super::error::ReceiverError;
use crate::{
    api::{
        Application, DeployApproval, DeployRequest, DeployTarget, Environment,
        conditions::ConditionType,
    },
    runtime::{
        cache::{Cache, Guarded, Scope},
        filling::Filling,
        watches::Watches,
    },
};

/// Everything of one scope.
pub(super) struct Shelf {
    applications: Cache<Application>,
    environments: Cache<Environment>,
    targets: Cache<DeployTarget>,
    requests: Cache<DeployRequest>,
    approvals: Cache<DeployApproval>,
    watches: Watches,
}

/// What the receiver knows by heart. No two scopes overlap.
pub(super) struct Directory {
    shelves: Vec<Shelf>,
    open: watch::Sender<bool>,
}

/// A kind that the directory holds.
pub(super) trait Held: Resource<DynamicType = ()> + Clone + 'static {
    /// Where on a shelf it stands.
    fn on(shelf: &Shelf) -> &Cache<Self>;
}

macro_rules! held {
    ($($kind:ident: $field:ident),*) => {
        $(impl Held for $kind {
            fn on(shelf: &Shelf) -> &Cache<Self> {
                &shelf.$field
            }
        })*
    };
}

held!(
    Application: applications, Environment: environments, DeployTarget: targets, DeployRequest: requests,
    DeployApproval: approvals
);

impl Directory {
    /// Starts the watches of these scopes. The directory is filled, and kept so, only while the second value is polled,
    /// which ends when a watch does.
    pub(super) fn start(
        client: &Client,
        scopes: &[Scope],
        watches: &Watches,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let mut changes = Vec::new();
        let shelves = scopes
            .iter()
            .map(|scope| {
                let watches = &watches.apart();
                let (applications, one) =
                    Cache::start(client.clone(), scope, watches, drop_nothing);
                let (environments, two) =
                    Cache::start(client.clone(), scope, watches, drop_nothing);
                let (targets, three) = Cache::start(client.clone(), scope, watches, trim_target);
                let (requests, four) = Cache::start(client.clone(), scope, watches, trim_request);
                let (approvals, five) = Cache::start(client.clone(), scope, watches, drop_nothing);
                changes.extend([
                    one.map(drop).boxed(),
                    two.map(drop).boxed(),
                    three.map(drop).boxed(),
                    four.map(drop).boxed(),
                    five.map(drop).boxed(),
                ]);
                Shelf {
                    applications,
                    environments,
                    targets,
                    requests,
                    approvals,
                    watches: watches.clone(),
                }
            })
            .collect();
        let watching = async move {
            let watches = changes.into_iter().map(|changes| changes.for_each(drained));
            let (_ended, _index, _others) = future::select_all(watches).await;
        };
        let directory = Self {
            shelves,
            open: watch::Sender::new(false),
        };
        (directory, watching)
    }

    /// Follows the scopes as they are listed, each when we may see it. Ends only with an error.
    pub(super) async fn filled(&self, filling: &Filling) -> Result<Infallible, ReceiverError> {
        let each = self.shelves.iter().enumerate().map(|(number, shelf)| {
            filling.scope(number, &shelf.watches, async {
                let all = tokio::try_join!(
                    shelf.applications.0.wait_until_ready(),
                    shelf.environments.0.wait_until_ready(),
                    shelf.targets.0.wait_until_ready(),
                    shelf.requests.0.wait_until_ready(),
                    shelf.approvals.0.wait_until_ready(),
                );
                all.map(|_| ()).map_err(|_| ReceiverError::WatchEnded)
            })
        });
        future::try_join_all(each).await?;
        future::pending().await
    }

    /// How many scopes there are.
    pub(super) fn scopes(&self) -> usize {
        self.shelves.len()
    }

    /// Everything was listed that we may see: from now on what isn't here doesn't exist, or is kept from us.
    pub(super) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until [`Directory::open`].
    pub(super) async fn opened(&self) {
        let mut open = self.open.subscribe();
        // The sender is ours, so it lives as long as this.
        let _open = open.wait_for(|open| *open).await;
    }

    /// The object of that name, if it exists and decodes.
    pub(super) fn get<K: Held>(&self, namespace: &str, name: &str) -> Option<K> {
        let reference = crate::runtime::cache::named(namespace, name);
        self.shelves.iter().find_map(|shelf| {
            let object = K::on(shelf).0.get(&reference)?;
            object.0.as_ref().ok().cloned()
        })
    }

    /// Everything of a kind, in no order.
    pub(super) fn all<K: Held>(&self) -> Vec<Arc<Guarded<K>>> {
        let shelves = self.shelves.iter();
        shelves.flat_map(|shelf| K::on(shelf).0.state()).collect()
    }

    /// Every object that decodes and that `wanted` wants, shared and not copied, in no order.
    pub(super) fn those<K: Held>(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<Guarded<K>>> {
        let wanted = |object: &Guarded<K>| object.0.as_ref().is_ok_and(&wanted);
        let shelves = self.shelves.iter();
        shelves
            .flat_map(|shelf| K::on(shelf).0.state_filter(wanted))
            .collect()
    }

    /// What `pick` picks of every object that decodes, in no order.
    pub(super) fn pick<K: Held, T>(&self, pick: impl Fn(&K) -> Option<T>) -> Vec<T> {
        self.shelves
            .iter()
            .flat_map(|shelf| K::on(shelf).0.state())
            .filter_map(|object| object.0.as_ref().ok().and_then(&pick))
            .collect()
    }
}

fn drained((): ()) -> Ready<()> {
    future::ready(())
}

fn drop_nothing<K>(_object: &mut K) {}

/// Nobody asks a cache which keys ran.
fn trim_target(target: &mut DeployTarget) {
    if let Some(status) = &mut target.status {
        status.keys = Vec::new();
        status.keys.shrink_to_fit();
    }
}

/// What no answer shows.
fn trim_request(request: &mut DeployRequest) {
    if let Some(status) = &mut request.status {
        status.attempt = None;
        // Whether its cancel counts.
        let kept = ConditionType::Cancelable.to_string();
        status
            .conditions
            .retain(|condition| condition.type_ == kept);
        if let Some(resolved) = &mut status.resolved {
            resolved.parameters.clear();
        }
        if let Some(execution) = &mut status.execution {
            execution.stages = Vec::new();
        }
    }
}
