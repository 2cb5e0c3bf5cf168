//! The controller: wires watches to reconciles. Touches the API server and Gate through its steps.
//!
//! A pass over a request is `dereference` → `domain::decide` → `act` → `record`; see `driver`.

mod absences;
mod act;
mod announcing;
#[cfg(test)]
mod any_answer_tests;
mod approvals;
mod audit;
mod body;
mod catalog;
mod connections;
mod context;
mod dereference;
mod driver;
mod engine;
mod error;
mod freezes;
mod judge;
mod locks;
mod lookup;
mod metrics;
mod objects;
mod passes;
mod rebuild;
mod record;
mod send;
mod sighting;
mod survey;
mod targets;
mod upkeep;
mod wake;

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use self::{
    audit::{AuditServer, AuditSettings, NoFile, NoServer},
    context::ControllerSettings,
    error::ControllerError,
};
use self::{
    connections::Connections, context::Neighbours, engine::engine, metrics::ControllerMetrics,
};
use crate::{
    access::Access,
    git::Hosts,
    runtime::{
        admin::{Gate, Readiness},
        cache::Scope,
        filling::Filling,
        lease::Claim,
        metrics::Metrics,
        telemetry,
    },
};

/// The deadline of one call to the API server.
pub(crate) const API_DEADLINE: Duration = Duration::from_secs(10);
/// Until something is asked for again that nothing goes without.
const AGAIN: Duration = Duration::from_secs(3);

/// Works until `shutdown`, then until every pass under way has ended.
pub async fn run(
    settings: ControllerSettings,
    client: Client,
    claim: Claim,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    let gate = readiness.gate("caches");
    let registry = metrics;
    let metrics = ControllerMetrics::register(&registry);
    let known = shutdown.run_until_cancelled(installation(&client, &gate));
    let Some(installation) = known.await else {
        return Ok(());
    };
    let scopes = Scope::of(&settings.namespaces);
    let filling = Filling::of(scopes.len());
    let connections = Arc::new(Connections::new(client.clone(), &settings, metrics.clone()));
    let sinks = audit::open(&settings.audit);
    connections.measure(&registry);
    let git = Hosts::new(
        client.clone(),
        settings.git.clone(),
        settings.git_metrics.clone(),
    );
    let shared = Shared {
        git: Arc::new(git),
        access: Access::new(client.clone()),
        connections: Arc::clone(&connections),
        settings: Arc::new(settings),
        client,
        claim,
        installation,
        metrics,
        sinks,
        audit_metrics: audit::AuditMetrics::register(&registry),
        announcing_metrics: announcing::AnnouncingMetrics::register(&registry),
        neighbours: Neighbours::default(),
        registry,
        shutdown,
    };
    let _ending = EndOfKeepers(connections);
    let engines = scopes
        .into_iter()
        .enumerate()
        .map(|(number, scope)| engine((number, scope), shared.clone(), filling.clone()));
    let opening = async {
        filling.enough().await;
        gate.ready();
    };
    let working = futures::future::try_join_all(engines);
    let opening = opening.then(|()| std::future::pending::<Infallible>());
    tokio::select! {
        outcome = working => outcome.map(|_| ()),
        never = opening => match never {},
    }
}

/// What the engines of a process share.
#[derive(Clone)]
struct Shared {
    settings: Arc<ControllerSettings>,
    client: Client,
    access: Access,
    git: Arc<Hosts>,
    connections: Arc<Connections>,
    claim: Claim,
    installation: String,
    metrics: ControllerMetrics,
    sinks: audit::Sinks,
    audit_metrics: audit::AuditMetrics,
    announcing_metrics: announcing::AnnouncingMetrics,
    neighbours: Neighbours,
    registry: Metrics,
    shutdown: CancellationToken,
}

/// Logins are kept no longer than we work, whoever still holds the connections.
struct EndOfKeepers(Arc<Connections>);

impl Drop for EndOfKeepers {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The cluster's identity, as the field has agreed on: the uid of `kube-system`. Asked for until the API server gives it.
async fn installation(client: &Client, gate: &Gate) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    let mut told = String::new();
    loop {
        let read = objects::within("read namespace kube-system", api.get("kube-system")).await;
        let error = match read {
            Ok(namespace) => {
                gate.not_ready("being filled");
                return namespace.uid().unwrap_or_default();
            }
            Err(error) => telemetry::chain(&error),
        };
        if told != error {
            tracing::warn!(%error, "which cluster this is can't be read, and is asked again until it is");
            gate.not_ready(format!("which cluster this is can't be read: {error}"));
            told = error;
        }
        sleep(AGAIN).await;
    }
}

fn spread(uid: Option<&String>) -> u32 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    u32::try_from(hasher.finish() % 1_000_000).unwrap_or_default()
}
