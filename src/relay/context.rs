//! What all passes over requests share, and what a request says of itself to whoever tells of it. Touches nothing itself.

use std::{
    collections::HashSet,
    ops::Deref,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    elsewhere,
    error::RelayError,
    ledger::{self, Ledger},
    means::Means,
    memory::{Address, Memories},
    message, pass,
    place::Spot,
    plan::{self, Facts, Plan, Posting, Step},
    purpose::Purpose,
    telling::{self, Done, Telling, Unchanged},
    wording,
};
use crate::{
    api::{
        Application, DeployRequest, Environment,
        deploy_request::{EarlierMessage, Phase, SlackMessage},
    },
    runtime::cache::{Cache, Guarded},
    slack::{blocks::Message, client::Posted},
};

/// What all passes over requests share.
pub(super) struct Context {
    /// What it works with.
    means: Means,
    /// Requests.
    pub(super) requests: Cache<DeployRequest>,
    /// Environments.
    pub(super) environments: Cache<Environment>,
    /// Applications.
    pub(super) applications: Cache<Application>,
    /// Requests that went while they were told.
    gone: UnboundedSender<Gone>,
    memories: Memories<DeployRequest, Purpose>,
    /// Those of which something is still to be told.
    undelivered: Mutex<HashSet<String>>,
}

/// A request that was deleted, and a message that still speaks of it.
pub(super) struct Gone {
    /// As it was last.
    pub(super) request: DeployRequest,
    /// What the message is for.
    pub(super) purpose: Purpose,
    /// Which it is.
    pub(super) at: Posted,
}

/// A request as it is now, and what was told.
pub(super) type Scene = telling::Scene<Context>;

/// What a plan depends on, besides the request and what was told.
pub(super) struct Around {
    pub(super) environment: Option<Environment>,
    application: Option<Application>,
    live_url: Address,
}

/// It works with what everybody here works with.
impl Deref for Context {
    type Target = Means;

    fn deref(&self) -> &Means {
        &self.means
    }
}

impl Telling for Context {
    type Object = DeployRequest;
    type Purpose = Purpose;
    type Around = Around;
    type Step = Step;

    const MARK: &'static str = message::MARK;

    fn cache(&self) -> &Cache<DeployRequest> {
        &self.requests
    }

    fn memories(&self) -> &Memories<DeployRequest, Purpose> {
        &self.memories
    }

    fn around(&self, request: &DeployRequest) -> Around {
        let namespace = request.namespace().unwrap_or_default();
        let uid = request.uid().unwrap_or_default();
        let spec = &request.spec;
        let live_url = self
            .memories
            .recall(&uid, |memory| Some(memory.live_url.clone()));
        Around {
            environment: self.environments.get(&namespace, &spec.environment),
            application: self.applications.get(&namespace, &spec.application),
            live_url: live_url.unwrap_or_default(),
        }
    }

    fn word(purpose: &Purpose) -> &'static str {
        purpose.word()
    }

    fn has_ended(request: &DeployRequest) -> bool {
        message::phase(request).is_terminal()
    }

    fn phase(request: &DeployRequest) -> Option<Phase> {
        Some(message::phase(request))
    }

    fn planned_post(&self, scene: &Scene, purpose: &Purpose, spot: &Spot) -> Option<Posting> {
        let mut steps = self.plan(scene).steps.into_iter();
        steps.find_map(|step| match step {
            Step::Post(posting) if posting.purpose == *purpose && posting.spot == *spot => {
                Some(posting)
            }
            _ => None,
        })
    }

    fn planned_update(&self, scene: &Scene, wanted: &Purpose) -> Option<(Posted, Message)> {
        let mut steps = self.plan(scene).steps.into_iter();
        steps.find_map(|step| match step {
            Step::Update {
                purpose,
                at,
                message,
                ..
            } if purpose == *wanted => Some((at, message)),
            _ => None,
        })
    }

    fn message(
        &self,
        scene: &Scene,
        purpose: &Purpose,
        earlier: Option<EarlierMessage>,
    ) -> Message {
        wording::message_of(&self.facts(scene), purpose, earlier)
    }

    async fn take(&self, scene: &Scene, step: Step) -> Result<Done, RelayError> {
        pass::traced(self, scene, step).await
    }

    fn may_be_shared(scene: &Scene) -> bool {
        let environment = scene.around.environment.as_ref();
        environment.is_some_and(|environment| environment.spec.protection.allow_shared)
    }

    async fn elsewhere(
        &self,
        scene: &Scene,
        posting: &Posting,
        reason: &'static str,
    ) -> Result<Done, RelayError> {
        elsewhere::elsewhere(self, scene, posting, reason).await
    }

    async fn anew(
        &self,
        scene: &Scene,
        unchanged: Unchanged<'_, Purpose>,
    ) -> Result<Option<Done>, RelayError> {
        elsewhere::anew(self, scene, unchanged).await
    }

    fn refusal(posting: &Posting, reason: &'static str) -> String {
        elsewhere::refusal(posting, reason)
    }

    async fn no_room(&self, scene: &Scene) -> Result<Done, RelayError> {
        elsewhere::no_room(self, scene).await
    }

    fn went_meanwhile(&self, request: &DeployRequest, mut ledger: Ledger, entry: SlackMessage) {
        if let Some(told) = ledger::with_entry(&ledger.told, entry) {
            ledger.told = told;
        }
        self.say_gone(request, &ledger);
    }
}

impl Context {
    pub(super) fn new(
        means: Means,
        caches: (Cache<DeployRequest>, Cache<Environment>, Cache<Application>),
        gone: UnboundedSender<Gone>,
    ) -> Self {
        let memories = Memories::new(means.metrics.live.clone());
        Self {
            means,
            requests: caches.0,
            environments: caches.1,
            applications: caches.2,
            gone,
            memories,
            undelivered: Mutex::default(),
        }
    }

    /// What is to be done, the most urgent first.
    pub(super) fn plan(&self, scene: &Scene) -> Plan {
        let mut plan = plan::plan(&self.facts(scene));
        // What can't be done now must not hold up how it ended.
        plan.steps.sort_by_key(Step::priority);
        plan
    }

    /// All that a plan depends on.
    pub(super) fn facts<'a>(&'a self, scene: &'a Scene) -> Facts<'a> {
        Facts {
            request: &scene.object,
            environment: scene.around.environment.as_ref(),
            application: scene.around.application.as_ref(),
            told: &scene.ledger.told,
            unsent: scene.unsent.as_ref(),
            live_url: match &scene.around.live_url {
                Address::At(url) => Some(url),
                Address::NotAsked | Address::Unknown => None,
            },
            now: Timestamp::now(),
            timing: &self.settings.timing,
        }
    }

    /// Whether something is still to be told of a request.
    pub(super) fn delivered(&self, uid: &str, delivered: bool) {
        let undelivered = &mut *self
            .undelivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if delivered {
            if undelivered.remove(uid) {
                self.metrics.undelivered.dec();
            }
        } else if !undelivered.contains(uid) {
            undelivered.insert(uid.to_owned());
            self.metrics.undelivered.inc();
        }
    }

    /// A request went: its messages that still speak of it are to say so.
    pub(super) fn went(&self, object: &Guarded<DeployRequest>) {
        let Ok(request) = &object.0 else { return };
        if self.cached(request).is_some() {
            return;
        }
        let uid = request.uid().unwrap_or_default();
        self.memories.pass_ended(&uid);
        self.delivered(&uid, true);
        let memory = self.memories.forget(&uid).unwrap_or_default();
        let ledger = memory.ledger.unwrap_or_else(|| Ledger::of(request));
        self.say_gone(request, &ledger);
    }

    /// Those that went while nobody watched.
    pub(super) fn sweep(&self) {
        for request in self.memories.objects() {
            if self.cached(&request).is_none() {
                let uid = request.uid().unwrap_or_default();
                self.delivered(&uid, true);
                let memory = self.memories.forget(&uid).unwrap_or_default();
                let ledger = memory.ledger.unwrap_or_else(|| Ledger::of(&request));
                self.say_gone(&request, &ledger);
            }
        }
        self.forget_undelivered();
    }

    /// A pass that was under way when its request went may have counted it once more, and no other pass follows.
    fn forget_undelivered(&self) {
        let uids: Vec<String> = {
            let undelivered = self.undelivered.lock();
            let undelivered = undelivered.unwrap_or_else(PoisonError::into_inner);
            undelivered.iter().cloned().collect()
        };
        if uids.is_empty() {
            return;
        }
        let known: HashSet<String> = self
            .requests
            .0
            .state()
            .iter()
            .filter_map(|object| object.uid())
            .collect();
        for uid in uids.iter().filter(|uid| !known.contains(*uid)) {
            self.delivered(uid, true);
        }
    }

    /// The live message and the questions, if they still speak of a request that goes on, are to say that it is gone.
    fn say_gone(&self, request: &DeployRequest, ledger: &Ledger) {
        // A copy's status may speak of the original's message.
        if message::phase(request).is_terminal() || plan::is_copy(request) {
            return;
        }
        let namespace = request.namespace().unwrap_or_default();
        let environment = self.environments.get(&namespace, &request.spec.environment);
        let application = self.applications.get(&namespace, &request.spec.application);
        let facts = Facts {
            request,
            environment: environment.as_ref(),
            application: application.as_ref(),
            told: &ledger.told,
            unsent: None,
            live_url: None,
            now: Timestamp::now(),
            timing: &self.settings.timing,
        };
        for (purpose, at) in plan::speaking(&facts) {
            drop(self.gone.send(Gone {
                request: request.clone(),
                purpose,
                at,
            }));
        }
    }
}

/// How a place is named in our own sentences: by its id, which is all that is known.
pub(super) fn named(spot: &Spot) -> String {
    match (spot.known_channel(), &spot.thread) {
        (None, _) => "a direct message to who asked".to_owned(),
        (Some(channel), Some(_)) => format!("a thread in {channel}"),
        (Some(channel), None) => channel.to_string(),
    }
}
