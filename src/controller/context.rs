//! What every run of a reconcile shares. Touches nothing itself.

use std::time::Duration;

use kube::{
    Client,
    runtime::{events::Recorder, reflector::ObjectRef},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    catalog::Catalog,
    connections::{Absences, Connections},
    dereference::Behind,
    metrics::ControllerMetrics,
};
use crate::{
    api::{Application, DeployRequest, DeployTarget, Environment, SpinnakerConnection},
    runtime::{
        cache::{Cache, Guarded},
        lease::Claim,
    },
};

/// What every run of a reconcile shares.
pub(super) struct Context {
    /// The API server.
    pub client: Client,
    /// The right to act, asked for at the moment of acting.
    pub claim: Claim,
    /// Tells this cluster's requests from another's on the same Spinnaker.
    pub installation: String,
    /// Names this process in the claims that it writes.
    pub holder: String,
    /// The Gates.
    pub connections: Connections,
    /// Who has been cleanly "not found", and for how long.
    pub absences: Absences,
    /// Whose configuration the caches have an old version of.
    pub behind: Behind,
    /// Kubernetes events.
    pub recorder: Recorder,
    /// Counters.
    pub metrics: ControllerMetrics,
    /// Caches: good for waiting, queueing and following, never for starting.
    pub caches: Caches,
    /// Wakes a request.
    pub wake_request: UnboundedSender<ObjectRef<Guarded<DeployRequest>>>,
    /// Wakes a target.
    pub wake_target: UnboundedSender<ObjectRef<Guarded<DeployTarget>>>,
    /// What is said of the configuration.
    pub catalog: Catalog,
}

/// The caches of all kinds.
pub(super) struct Caches {
    /// Requests.
    pub requests: Cache<DeployRequest>,
    /// Targets.
    pub targets: Cache<DeployTarget>,
    /// Applications.
    pub applications: Cache<Application>,
    /// Environments.
    pub environments: Cache<Environment>,
    /// Connections.
    pub connections: Cache<SpinnakerConnection>,
}

/// How a controller is to work.
#[derive(Debug, Clone, Default)]
pub struct ControllerSettings {
    /// Namespaces to work in; all when empty.
    pub namespaces: Vec<String>,
    /// The shortest settle time that a connection may ask for; 150 s unless a test knows its Gate better.
    pub minimum_settle: Option<Duration>,
    /// How often configuration that is in order is looked at again; 3 min unless a test is in a hurry.
    pub refresh: Option<Duration>,
}
