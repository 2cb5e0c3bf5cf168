//! What every run of a reconcile shares. Touches nothing itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use kube::{
    Client, ResourceExt,
    runtime::{events::Recorder, reflector::ObjectRef},
};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    absences::Absences,
    announcing::Announcing,
    audit::{Audit, AuditSettings},
    catalog::Catalog,
    connections::Connections,
    dereference::{Behind, BehindGround, BehindGuards, Commits, Plans},
    error::ControllerError,
    freezes::Freezing,
    lookup::Connected,
    metrics::ControllerMetrics,
    upkeep::Upkeep,
    wake::SeenTargets,
};
use crate::{
    access::{Access, holders::Holders, policies::Policies},
    api::{
        Application, DeployApproval, DeployFreeze, DeployRequest, DeployTarget, Environment, Person,
    },
    domain::{
        hosts::AllowedHosts,
        people::{Limits, People},
    },
    git::{self, GitMetrics},
    runtime::{
        cache::{Cache, Guarded},
        lease::Claim,
        metrics::Metrics,
    },
};

/// What every run of a reconcile shares.
pub(super) struct Context {
    /// The API server.
    pub client: Client,
    /// The right to act, asked for at the moment of acting.
    pub claim: Claim,
    /// Cancelled when this process was asked to stop.
    pub shutdown: CancellationToken,
    /// Tells this cluster's requests from another's on the same Spinnaker.
    pub installation: String,
    /// Names this process in the claims that it writes.
    pub holder: String,
    /// The Gates.
    pub connections: Arc<Connections>,
    /// The repositories' hosts.
    pub git: Arc<git::Hosts>,
    /// Who has been cleanly "not found", and for how long.
    pub absences: Absences,
    /// Whose configuration the caches have an old version of.
    pub behind: Behind,
    /// Whose approvals or people the caches have old versions of.
    pub behind_ground: BehindGround,
    /// Of whose freezes and locks the caches have old versions.
    pub behind_guards: BehindGuards,
    /// What the plans of those were made of who wait for people.
    pub plans: Plans,
    /// What the versions of requests stand for that aren't accepted yet.
    pub commits: Commits,
    /// Kubernetes events.
    pub recorder: Recorder,
    /// What was told of the decisions.
    pub audit: Audit,
    /// What repositories are told.
    pub announcing: Announcing,
    /// Who may do what.
    pub access: Access,
    /// What vouches for who asked.
    pub policies: Policies,
    /// Whom to ask for a right, where that may be read.
    pub holders: Holders,
    /// How old what is known of people may be.
    pub limits: Limits,
    /// Counters.
    pub metrics: ControllerMetrics,
    /// Where everything is counted.
    pub registry: Metrics,
    /// Caches: good for waiting, queueing and following, never for starting.
    pub caches: Caches,
    /// Who else may reach the same places.
    pub neighbours: Neighbours,
    /// Wakes a request.
    pub wake_request: UnboundedSender<ObjectRef<Guarded<DeployRequest>>>,
    /// Wakes what a repository is to be told of a request.
    pub wake_announcement: UnboundedSender<ObjectRef<Guarded<DeployRequest>>>,
    /// Wakes an approval.
    pub wake_approval: UnboundedSender<ObjectRef<Guarded<DeployApproval>>>,
    /// Wakes a freeze.
    pub wake_freeze: UnboundedSender<ObjectRef<Guarded<DeployFreeze>>>,
    /// Wakes a freeze of foredeck's own namespace, where that isn't among the watched ones: one engine of the process looks
    /// after those for all.
    pub wake_home_freeze: Option<UnboundedSender<ObjectRef<Guarded<DeployFreeze>>>>,
    /// What of each target others wait for, as it was seen last.
    pub seen_targets: SeenTargets,
    /// Wakes a target.
    pub wake_target: UnboundedSender<ObjectRef<Guarded<DeployTarget>>>,
    /// Has a target looked after.
    pub wake_upkeep: UnboundedSender<ObjectRef<Guarded<DeployTarget>>>,
    /// What is said of what runs on targets.
    pub upkeep: Upkeep,
    /// What is said of the configuration.
    pub catalog: Catalog,
}

impl Context {
    /// Whether anything may be begun now. What has begun is recorded whatever this says: each write of ours is guarded by the
    /// version that it was decided on.
    ///
    /// # Errors
    /// [`ControllerError::Stopping`] after the signal, [`ControllerError::NotLeading`] without the Lease.
    pub(super) fn may_begin(&self) -> Result<(), ControllerError> {
        if self.shutdown.is_cancelled() {
            return Err(ControllerError::Stopping);
        }
        if !self.claim.is_current() {
            return Err(ControllerError::NotLeading);
        }
        Ok(())
    }

    /// What a look comes to, unless this process is asked to stop meanwhile. Only for what changes nothing.
    ///
    /// # Errors
    /// [`ControllerError::Stopping`] after the signal.
    pub(super) fn unless_stopping<'a, T: 'a>(
        &'a self,
        look: impl Future<Output = T> + Send + 'a,
    ) -> impl Future<Output = Result<T, ControllerError>> + Send + 'a {
        // On the heap: a pass looks at much, and carries each look about with it.
        let look: BoxFuture<'a, T> = Box::pin(look);
        async move {
            let looked = self.shutdown.run_until_cancelled(look).await;
            looked.ok_or(ControllerError::Stopping)
        }
    }
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
    pub connections: Arc<Connected>,
    /// Approvals.
    pub approvals: Cache<DeployApproval>,
    /// Persons, of foredeck's own namespace.
    pub persons: Persons,
    /// Freezes.
    pub freezes: Freezing,
}

/// What can be reached from the namespaces that one engine watches.
pub(super) struct Neighbour {
    /// Environments.
    pub environments: Cache<Environment>,
    /// Applications.
    pub applications: Cache<Application>,
    /// Connections.
    pub connections: Arc<Connected>,
    /// Wakes an Environment.
    pub wake_environment: UnboundedSender<ObjectRef<Guarded<Environment>>>,
}

/// All engines of this process: two namespaces may reach one place though each is watched by another.
#[derive(Clone, Default)]
pub(super) struct Neighbours(Arc<Mutex<Vec<Arc<Neighbour>>>>);

impl Neighbours {
    /// Another engine.
    pub(super) fn add(&self, neighbour: Neighbour) {
        self.lock().push(Arc::new(neighbour));
    }

    /// Every engine, the one that asks included.
    pub(super) fn all(&self) -> Vec<Arc<Neighbour>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Neighbour>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Persons by uid and version.
pub(super) type Copies = HashMap<(Option<String>, Option<String>), Arc<Person>>;

/// The persons. Nobody waits for them to be known: what runs is followed also where the controller may not read them.
pub(super) struct Persons {
    /// As far as they are known.
    pub cache: Cache<Person>,
    /// Whether they were listed once.
    pub known: AtomicBool,
    /// Where they are.
    pub namespace: String,
    /// Who is who among them, until one changes.
    pub people: Mutex<Option<Arc<People>>>,
    /// Each as it was copied from the cache, by uid and version: a change of one copies no other.
    pub copies: Mutex<Copies>,
}

impl Persons {
    /// Whether they were listed once.
    pub(super) fn are_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// Who is who, as far as they are known.
    pub(super) fn people(&self) -> Arc<People> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let made = people.get_or_insert_with(|| Arc::new(People::new(&self.namespace, self.all())));
        Arc::clone(made)
    }

    /// Every one that decodes.
    pub(super) fn all(&self) -> Vec<Arc<Person>> {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = HashMap::new();
        for object in self.cache.filter(|_| true) {
            let Ok(person) = &object.0 else { continue };
            let version = (person.uid(), person.resource_version());
            let copy = copies.remove(&version);
            kept.insert(version, copy.unwrap_or_else(|| Arc::new(person.clone())));
        }
        let all = kept.values().cloned().collect();
        *copies = kept;
        all
    }

    /// One of them changed.
    pub(super) fn changed(&self) {
        *self.people.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// How a controller is to work.
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// Namespaces to work in; all when empty.
    pub namespaces: Vec<String>,
    /// The shortest settle time that a connection may ask for; 150 s unless a test knows its Gate better.
    pub minimum_settle: Option<Duration>,
    /// How often configuration that is in order is looked at again; 3 min unless a test is in a hurry.
    pub refresh: Option<Duration>,
    /// How often a target is looked after: what ran there besides, and how far it is behind; 5 min unless a test is in a hurry.
    pub upkeep: Option<Duration>,
    /// How long what a connection's Secrets hold is believed; 30 s unless a test is in a hurry.
    pub secret_age: Option<Duration>,
    /// Foredeck's own namespace: where Persons count, and whose connections may be shared.
    pub home_namespace: String,
    /// Where connections may say that Gate and Vault are.
    pub hosts: AllowedHosts,
    /// How old what is known of a person in Slack may be: their groups, and that they are somebody.
    pub groups_max_age: Duration,
    /// How long after an object was created the groups count that were stamped into it, of people who are not in Slack.
    pub stamped_groups_max_age: Duration,
    /// The admission policies as they have to be. Without any, nothing is vouched for, and nothing starts.
    pub policies: Policies,
    /// Where decisions are told besides stdout and events.
    pub audit: AuditSettings,
    /// Where repositories may be.
    pub git: git::Settings,
    /// Where calls of their hosts are counted.
    pub git_metrics: GitMetrics,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            minimum_settle: None,
            refresh: None,
            upkeep: None,
            secret_age: None,
            home_namespace: "foredeck-system".to_owned(),
            hosts: AllowedHosts::default(),
            groups_max_age: Duration::from_mins(10),
            stamped_groups_max_age: Duration::from_hours(24),
            policies: Policies::default(),
            audit: AuditSettings::default(),
            git: git::Settings::default(),
            git_metrics: GitMetrics::default(),
        }
    }
}
