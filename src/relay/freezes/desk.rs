//! What all passes over freezes share, and what this process remembers of each. Touches nothing itself.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use tokio::time::Instant;

use super::{
    notice::Notice,
    plan::{self, Facts, Step},
};
use crate::{
    api::{DeployFreeze, deploy_request::SlackMessage},
    relay::{ledger::Ledger, means::Means},
    runtime::cache::Cache,
    slack::client::Posted,
};

/// The longest wait after a pass that failed.
const LONGEST_FAILING: Duration = Duration::from_mins(1);

/// What all passes over freezes share.
pub(super) struct Desk {
    /// What they work with.
    pub(super) means: Means,
    /// Freezes.
    pub(super) freezes: Cache<DeployFreeze>,
    memories: Mutex<HashMap<String, Memory>>,
}

/// What this process remembers of a freeze; lost without harm.
#[derive(Default)]
pub(super) struct Memory {
    /// What was told, newer than the cache may be.
    pub(super) ledger: Option<Ledger>,
    /// Written down and certainly not posted.
    pub(super) unsent: Option<Notice>,
    /// Posted by us, with no answer, and when that was lost.
    pub(super) uncertain: Option<(Notice, Instant)>,
    /// Posted, and not written down.
    pub(super) unrecorded: Option<(SlackMessage, Posted)>,
    /// Until when messages wait, since Slack failed.
    pub(super) not_before: BTreeMap<Notice, Instant>,
    /// How often Slack, or a pass, failed in a row.
    pub(super) failures: u32,
}

/// A freeze as it is now, and what was told.
pub(super) struct Scene {
    pub(super) freeze: DeployFreeze,
    pub(super) ledger: Ledger,
    unsent: Option<Notice>,
}

impl Desk {
    pub(super) fn new(means: Means, freezes: Cache<DeployFreeze>) -> Self {
        Self {
            means,
            freezes,
            memories: Mutex::default(),
        }
    }

    /// A freeze as the cache has it, if it is still that one.
    pub(super) fn cached(&self, freeze: &DeployFreeze) -> Option<DeployFreeze> {
        let namespace = freeze.namespace().unwrap_or_default();
        let found = self.freezes.get(&namespace, &freeze.name_any());
        found.filter(|found| found.uid() == freeze.uid())
    }

    pub(super) fn scene(&self, freeze: DeployFreeze, ledger: Ledger) -> Scene {
        let unsent = if ledger.told.messages.is_empty() {
            None
        } else {
            self.remember(&freeze, |memory| {
                memory.ledger = Some(ledger.clone());
                memory.unsent.clone()
            })
        };
        Scene {
            freeze,
            ledger,
            unsent,
        }
    }

    /// What is to be done.
    pub(super) fn plan(&self, scene: &Scene) -> Vec<Step> {
        plan::plan(self.facts(scene))
    }

    pub(super) fn facts<'a>(&'a self, scene: &'a Scene) -> Facts<'a> {
        Facts {
            freeze: &scene.freeze,
            home: self.means.settings.home.as_deref(),
            told: &scene.ledger.told,
            unsent: scene.unsent.as_ref(),
        }
    }

    /// Changes what is remembered of a freeze.
    pub(super) fn remember<T>(
        &self,
        freeze: &DeployFreeze,
        change: impl FnOnce(&mut Memory) -> T,
    ) -> T {
        let uid = freeze.uid().unwrap_or_default();
        change(self.memories().entry(uid).or_default())
    }

    /// What is remembered of a freeze, if anything is.
    pub(super) fn recall<T>(
        &self,
        freeze: &DeployFreeze,
        look: impl FnOnce(&Memory) -> Option<T>,
    ) -> Option<T> {
        let uid = freeze.uid().unwrap_or_default();
        self.memories().get(&uid).and_then(look)
    }

    /// It is no more, or nothing of it is told.
    pub(super) fn forget(&self, freeze: &DeployFreeze) -> Memory {
        let uid = freeze.uid().unwrap_or_default();
        self.memories().remove(&uid).unwrap_or_default()
    }

    /// A pass failed: how long until the next.
    pub(super) fn pass_failed(&self, freeze: &DeployFreeze) -> Duration {
        let failures = self.remember(freeze, |memory| {
            memory.failures = memory.failures.saturating_add(1);
            memory.failures
        });
        let wait = Duration::from_secs(1) * 2_u32.pow(failures.min(6));
        wait.min(LONGEST_FAILING)
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
