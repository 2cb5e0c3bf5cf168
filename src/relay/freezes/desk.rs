//! What all passes over freezes share, and what a freeze says of itself to whoever tells of it. Touches nothing itself.

use std::ops::Deref;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    message,
    notice::Notice,
    pass,
    plan::{self, Facts, Posting, Step},
    refusal,
};
use crate::{
    api::{
        DeployFreeze,
        deploy_request::{EarlierMessage, SlackMessage, SlackStatus},
    },
    relay::{
        error::RelayError,
        ledger::Ledger,
        means::Means,
        memory::Memories,
        place::Spot,
        telling::{self, Done, Telling},
    },
    runtime::cache::{Cache, Guarded},
    slack::{blocks::Message, client::Posted},
};

/// What all passes over freezes share.
pub(super) struct Desk {
    /// What they work with.
    means: Means,
    /// Freezes.
    freezes: Cache<DeployFreeze>,
    /// Freezes that went while they were told.
    gone: UnboundedSender<Gone>,
    memories: Memories<DeployFreeze, Notice>,
}

/// A freeze that was deleted, and what was told of it.
pub(super) type Gone = (DeployFreeze, SlackStatus);

/// A freeze as it is now, and what was told.
pub(super) type Scene = telling::Scene<Desk>;

/// They work with what everybody here works with.
impl Deref for Desk {
    type Target = Means;

    fn deref(&self) -> &Means {
        &self.means
    }
}

impl Telling for Desk {
    type Object = DeployFreeze;
    type Purpose = Notice;
    type Around = ();
    type Step = Step;

    const MARK: &'static str = message::MARK;

    fn cache(&self) -> &Cache<DeployFreeze> {
        &self.freezes
    }

    fn memories(&self) -> &Memories<DeployFreeze, Notice> {
        &self.memories
    }

    fn around(&self, _: &DeployFreeze) {}

    fn word(notice: &Notice) -> &'static str {
        notice.word()
    }

    fn has_ended(freeze: &DeployFreeze) -> bool {
        plan::is_over(freeze)
    }

    fn kept(freeze: &DeployFreeze, told: &SlackStatus, notice: &Notice) -> SlackStatus {
        plan::without_old(freeze, told, notice.beginning().since)
    }

    fn planned_post(&self, scene: &Scene, notice: &Notice, spot: &Spot) -> Option<Posting> {
        let mut steps = self.plan(scene).into_iter();
        steps.find_map(|step| match step {
            Step::Post(posting) if posting.purpose == *notice && posting.spot == *spot => {
                Some(posting)
            }
            _ => None,
        })
    }

    fn planned_update(&self, scene: &Scene, wanted: &Notice) -> Option<(Posted, Message)> {
        let mut steps = self.plan(scene).into_iter();
        steps.find_map(|step| match step {
            Step::Update {
                notice,
                at,
                message,
                ..
            } if notice == *wanted => Some((at, message)),
            _ => None,
        })
    }

    fn message(&self, scene: &Scene, notice: &Notice, earlier: Option<EarlierMessage>) -> Message {
        plan::message_of(self.facts(scene), notice, earlier)
    }

    async fn take(&self, scene: &Scene, step: Step) -> Result<Done, RelayError> {
        pass::take(self, scene, step).await
    }

    fn refusal(posting: &Posting, reason: &'static str) -> String {
        refusal::refusal(posting, reason)
    }

    async fn no_room(&self, scene: &Scene) -> Result<Done, RelayError> {
        refusal::no_room(self, scene).await
    }

    fn went_meanwhile(&self, freeze: &DeployFreeze, ledger: Ledger, entry: SlackMessage) {
        // What the ledger has is told when the watch says that the freeze went.
        let mut told = ledger.told;
        told.messages = vec![entry];
        drop(self.gone.send((freeze.clone(), told)));
    }
}

impl Desk {
    pub(super) fn new(
        means: Means,
        freezes: Cache<DeployFreeze>,
        gone: UnboundedSender<Gone>,
    ) -> Self {
        Self {
            means,
            freezes,
            gone,
            // Nobody asks how many freezes are being told.
            memories: Memories::new(Gauge::default()),
        }
    }

    /// What is to be done.
    pub(super) fn plan(&self, scene: &Scene) -> Vec<Step> {
        plan::plan(self.facts(scene))
    }

    fn facts<'a>(&'a self, scene: &'a Scene) -> Facts<'a> {
        Facts {
            freeze: &scene.object,
            home: self.settings.home.as_deref(),
            told: &scene.ledger.told,
            unsent: scene.unsent.as_ref(),
        }
    }

    /// One that went: what was told of it is to say so.
    pub(super) fn went(&self, object: &Guarded<DeployFreeze>) {
        let Ok(freeze) = &object.0 else { return };
        if self.cached(freeze).is_some() {
            return;
        }
        let uid = freeze.metadata.uid.as_deref().unwrap_or_default();
        self.memories.pass_ended(uid);
        let known = self.memories.forget(uid).unwrap_or_default().ledger;
        let told = known.unwrap_or_else(|| Ledger::of(freeze)).told;
        drop(self.gone.send((freeze.clone(), told)));
    }
}
