//! What the receiver knows by heart: what can be deployed, where, what runs there, and what was asked. Touches the API
//! server: lists and watches.
//!
//! Answers that only tell come from here alone, so they cost the API server nothing and don't wait for it.

use std::{convert::Infallible, sync::Arc};

use futures::{
    FutureExt, StreamExt,
    future::{self, Ready},
};
use kube::{Client, Resource, ResourceExt};
use tokio::sync::watch;

use super::error::ReceiverError;
use crate::{
    api::{
        Application, DeployApproval, DeployFreeze, DeployRequest, DeployTarget, Environment,
        conditions::ConditionType,
    },
    domain::guards::freeze::Freezes,
    runtime::{
        cache::{Cache, Guarded, Scope},
        filling::Filling,
        watches::Watches,
    },
};

/// Everything of one scope.
pub(super) struct Shelf {
    scope: Scope,
    applications: Cache<Application>,
    environments: Cache<Environment>,
    targets: Cache<DeployTarget>,
    requests: Cache<DeployRequest>,
    approvals: Cache<DeployApproval>,
    freezes: Cache<DeployFreeze>,
    watches: Watches,
}

/// What holds everywhere: the freezes of foredeck's own namespace.
struct Home {
    namespace: String,
    /// Where no shelf has them.
    freezes: Option<(Cache<DeployFreeze>, Watches)>,
}

/// What the receiver knows by heart. No two scopes overlap.
pub(super) struct Directory {
    shelves: Vec<Shelf>,
    home: Home,
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
    DeployApproval: approvals, DeployFreeze: freezes
);

impl Directory {
    /// Starts the watches of these scopes, and of the freezes in `home`, foredeck's own namespace. The directory is filled,
    /// and kept so, only while the second value is polled, which ends when a watch does.
    pub(super) fn start(
        client: &Client,
        scopes: &[Scope],
        home: &str,
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
                let (freezes, six) = Cache::start(client.clone(), scope, watches, drop_nothing);
                changes.extend([
                    one.map(drop).boxed(),
                    two.map(drop).boxed(),
                    three.map(drop).boxed(),
                    four.map(drop).boxed(),
                    five.map(drop).boxed(),
                    six.map(drop).boxed(),
                ]);
                Shelf {
                    scope: scope.clone(),
                    applications,
                    environments,
                    targets,
                    requests,
                    approvals,
                    freezes,
                    watches: watches.clone(),
                }
            })
            .collect();
        let freezes = Scope::beside(scopes, home).map(|own| {
            let watches = watches.apart();
            let (freezes, seven) = Cache::start(client.clone(), &own, &watches, drop_nothing);
            changes.push(seven.map(drop).boxed());
            (freezes, watches)
        });
        let watching = async move {
            let watches = changes.into_iter().map(|changes| changes.for_each(drained));
            let (_ended, _index, _others) = future::select_all(watches).await;
        };
        let directory = Self {
            shelves,
            home: Home {
                namespace: home.to_owned(),
                freezes,
            },
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
                    shelf.freezes.0.wait_until_ready(),
                );
                all.map(|_| ()).map_err(|_| ReceiverError::WatchEnded)
            })
        });
        future::try_join_all(each).await?;
        future::pending().await
    }

    /// Waits until the freezes of foredeck's own namespace are listed, or are kept from us: then everything is told as held.
    pub(super) async fn home_known(&self) {
        let Some((freezes, watches)) = &self.home.freezes else {
            return;
        };
        let mut refusals = watches.refusals();
        tokio::select! {
            _ = freezes.0.wait_until_ready() => {}
            _ = refusals.wait_for(|refusals| !refusals.is_empty()) => {}
        }
    }

    /// The freezes that may concern what is asked for in a namespace: its own, and those of foredeck's.
    pub(super) fn freezes(&self, namespace: &str) -> Freezes {
        let home = self.home.namespace.as_str();
        let of_shelves = self.shelves.iter().filter_map(|shelf| {
            let covers = match &shelf.scope {
                Scope::Cluster => true,
                Scope::Namespace(scope) => scope == namespace || scope == home,
            };
            covers.then_some(&shelf.freezes)
        });
        let of_home = self.home.freezes.iter().map(|(freezes, _)| freezes);
        let mut found = Freezes {
            home: home.to_owned(),
            ..Freezes::default()
        };
        for cache in of_shelves.chain(of_home) {
            let ready = cache.0.wait_until_ready().now_or_never();
            if !matches!(ready, Some(Ok(()))) {
                found.unreadable = Some("the freezes can't be listed.".to_owned());
            }
            for freeze in cache.0.state() {
                let (name, place) = (freeze.name_any(), freeze.namespace().unwrap_or_default());
                if place != namespace && place != home {
                    continue;
                }
                match &freeze.0 {
                    Ok(freeze) => found.all.push(Arc::new(freeze.clone())),
                    Err(_) => {
                        let sentence = format!("DeployFreeze {name:?} in {place} can't be read.");
                        found.unreadable = Some(sentence);
                    }
                }
            }
        }
        found.all.sort_by_key(|freeze| {
            let place = freeze.namespace().unwrap_or_default();
            (place, freeze.name_any())
        });
        found
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
        // Whether its cancel counts, and its override.
        let kept = [ConditionType::Cancelable, ConditionType::Overridden];
        let kept = kept.map(|kept| kept.to_string());
        status
            .conditions
            .retain(|condition| kept.contains(&condition.type_));
        if let Some(resolved) = &mut status.resolved {
            resolved.parameters.clear();
        }
        if let Some(execution) = &mut status.execution {
            execution.stages = Vec::new();
        }
    }
}
