//! From what people say to requests. Touches Slack and the API server, but for what decides.
//!
//! What was asked is written down first and answered second, and no answer says more than what was written. Nothing that
//! matters is kept here: a plan travels in the buttons that show it, and a request's name comes from the plan alone, so
//! any replica may take any delivery, and twice. What a process does remember (what it began a moment ago, which messages
//! it heard) only spares people a repetition that the API server doesn't show yet.

mod answer;
mod begun;
mod cancelling;
mod changing;
mod commits;
mod conversation;
mod deciding;
mod directory;
mod error;
mod form;
pub mod grammar;
mod handler;
mod locking;
mod locks;
mod metrics;
mod modals;
mod object;
mod occasion;
mod overriding;
mod people;
mod persist;
pub mod plan;
mod presses;
mod repository;
mod seals;
mod sight;
mod steps;
mod stopping;
mod surroundings;
pub mod team;
mod tell;
mod versions;
mod voice;
mod why;
mod work;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use moka::future::Cache;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use self::{
    answer::refusing,
    begun::Begun,
    directory::Directory,
    metrics::ReceiverMetrics,
    occasion::{Occasion, Trouble},
    people::Keeper,
    persist::Settled,
    plan::{PlanId, seal::Nonce},
    repository::Asker,
    seals::Seals,
    voice::Voice,
};
pub use self::{
    error::ReceiverError,
    repository::PATIENCE as GIT_PATIENCE,
    work::{Door, Transport, run},
};
use crate::{
    access::Access,
    git::{self, GitMetrics},
    identity::{Identity, IdentityError, PeopleSettings, Person},
    runtime::{live::LiveSecret, metrics::Metrics, telemetry},
    slack::{blocks::Message, client::SlackClient},
};

/// How long after the first try Slack delivers an event for the last time, and some more.
const REDELIVERED: Duration = Duration::from_mins(10);
/// Messages remembered at most.
const HEARD: u64 = 10_000;

/// What the receiver goes by.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// The namespaces that it works in; all when empty.
    pub namespaces: Vec<String>,
    /// The slash command, with its slash.
    pub command: String,
    /// The bot's tokens: plans are sealed by the first, and opened by each.
    pub bot_tokens: Vec<LiveSecret>,
    /// Who counts, and under which name.
    pub people: PeopleSettings,
    /// How long a request's object stays after its end; for ever when absent.
    pub ttl: Option<Duration>,
    /// Where repositories may be.
    pub git: git::Settings,
    /// Where calls of their hosts are counted.
    pub git_metrics: GitMetrics,
    /// How long a plan waits for its repository: [`GIT_PATIENCE`], since Slack wants an answer within three seconds.
    pub git_patience: Duration,
    /// The time.
    pub clock: fn() -> Timestamp,
    /// Twelve random bytes.
    pub draw: fn() -> [u8; 12],
}

/// Answers what Slack delivers.
pub struct Receiver {
    settings: ReceiverSettings,
    client: Client,
    directory: Arc<Directory>,
    identity: Identity,
    people: Arc<Keeper>,
    access: Access,
    /// Asks the repositories' hosts.
    git: Asker,
    seals: Seals,
    voice: Arc<Voice>,
    metrics: ReceiverMetrics,
    /// Messages that were answered a moment ago: Slack may deliver them again, or as two events.
    heard: Cache<PlanId, ()>,
    /// What was begun here a moment ago: its watch may not have told of it.
    begun: Begun,
    /// Answers that are under way after their delivery was acknowledged.
    later: TaskTracker,
}

impl Receiver {
    /// A receiver.
    ///
    /// # Errors
    /// When there is no token to seal plans with.
    fn new(
        settings: ReceiverSettings,
        client: Client,
        slack: SlackClient,
        identity: Identity,
        people: Arc<Keeper>,
        directory: Arc<Directory>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, ReceiverError> {
        let later = TaskTracker::new();
        let (hosts, counted) = (settings.git.clone(), settings.git_metrics.clone());
        let hosts = git::Hosts::new(client.clone(), hosts, counted);
        Ok(Arc::new(Self {
            seals: Seals::new(settings.bot_tokens.clone()).map_err(ReceiverError::Token)?,
            access: Access::new(client.clone()),
            git: Asker::new(hosts, settings.git_patience, later.clone()),
            voice: Arc::new(Voice::new(slack)),
            metrics: ReceiverMetrics::register(metrics),
            later,
            heard: Cache::builder()
                .max_capacity(HEARD)
                .time_to_live(REDELIVERED)
                .build(),
            begun: Begun::new(),
            directory,
            settings,
            client,
            identity,
            people,
        }))
    }

    /// Waits for the answers that are still under way. To be asked when nothing new comes.
    pub async fn finish(&self) {
        self.later.close();
        self.later.wait().await;
    }

    /// Tells what became of a create once it is known, to who was told that it wasn't.
    fn tell_later<K: Send + 'static>(
        &self,
        occasion: &Occasion,
        call: JoinHandle<Settled<K>>,
        told: impl FnOnce(&Settled<K>) -> Message + Send + 'static,
    ) {
        let (voice, occasion) = (self.voice.clone(), occasion.clone());
        self.later.spawn(async move {
            let settled = call.await.unwrap_or(Settled::Unknowable);
            let message = told(&settled);
            if let Err(error) = voice.privately(&occasion, &message).await {
                tracing::warn!(error = %telemetry::chain(&error), "a late answer didn't reach Slack");
            }
        });
    }

    fn now(&self) -> Timestamp {
        (self.settings.clock)()
    }

    fn nonce(&self) -> Nonce {
        Nonce((self.settings.draw)())
    }

    /// Who this is. What is known of them is kept fresh from now on.
    async fn who(&self, occasion: &Occasion) -> Result<Person, Trouble> {
        self.people.attend(&self.identity.account(&occasion.user));
        match self.identity.person(&occasion.user).await {
            Ok(person) => Ok(person),
            Err(IdentityError::Nobody(nobody)) => {
                Err(Trouble::Told(refusing::nobody(&nobody.to_string())))
            }
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), "Slack doesn't say who somebody is");
                Err(Trouble::Silent)
            }
        }
    }
}
