//! The Lease that keeps one writer: taken, renewed and given back, each write guarded by the version it was decided on.
//! Touches the API server (one Lease) and the clocks.
//!
//! It keeps noise down and makes a second writer improbable; it is no fence. What must not happen twice is guarded by
//! its own compare-and-swap, and asks [`Claim::is_current`] at the moment of acting. Three things hold:
//! - We believe in our claim for `renew_deadline` from when we *sent* the last write that succeeded; others wait for
//!   `duration`, which is longer, from when they *saw* it. Times of other machines are never compared with ours.
//! - A write carries the `resourceVersion` of the state it was decided on, so that of many who try one succeeds.
//!   An answer that got lost is no loss: the Lease then names us, and our holder name is nobody else's.
//! - A lost Lease is never tried for again in this process, since others may have acted meanwhile: it ends instead.
//!
//! Who deletes the Lease by hand lets a second holder in for up to the renewal interval.

mod claim;
mod decision;
mod settings;
#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams, core::Status};
use thiserror::Error;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::{
    claim::Claim,
    settings::{LeaseSettings, unique_holder},
};
use self::{
    claim::{Moment, Standing},
    decision::{Record, Sighting, Verdict, verdict},
};

/// Why we don't hold the Lease.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The settings could let two processes act.
    #[error("{0}")]
    Settings(&'static str),
    /// The API server said no.
    #[error("the API server refused to {attempt} the lease")]
    Refused {
        /// What was tried: read, create or write.
        attempt: &'static str,
        /// What it said.
        source: Box<Status>,
    },
    /// The API server could not be reached, or its answer could not be read.
    #[error("could not {attempt} the lease")]
    Failed {
        /// What was tried: read, create or write.
        attempt: &'static str,
        /// What went wrong.
        source: Box<kube::Error>,
    },
    /// The API server took longer than a renewal may; whether it did what was asked is not known.
    #[error("the API server did not {attempt} the lease within {after:?}")]
    Slow {
        /// What was tried: read, create or write.
        attempt: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// No renewal has succeeded for so long that others may take the Lease.
    #[error("lost the lease: it could not be renewed for {after:?}")]
    NotRenewed {
        /// The renew deadline.
        after: Duration,
    },
    /// The Lease names somebody else, or nobody, while we held it.
    #[error("lost the lease: it now names {by:?} as its holder")]
    Taken {
        /// The new holder; empty for none.
        by: String,
    },
    /// The Lease was deleted while we held it.
    #[error("lost the lease: it was deleted")]
    Deleted,
    /// The Lease is no longer tried for: it was lost, or given back at the end.
    #[error("the lease is no longer held or waited for")]
    Ended,
}

impl LeaseError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Settings(_) => "LeaseSettingsInvalid",
            Self::Refused { .. } => "LeaseRefused",
            Self::Failed { .. } => "LeaseFailed",
            Self::Slow { .. } => "LeaseSlow",
            Self::NotRenewed { .. } => "LeaseNotRenewed",
            Self::Taken { .. } => "LeaseTaken",
            Self::Deleted => "LeaseDeleted",
            Self::Ended => "LeaseEnded",
        }
    }

    fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::NotRenewed { .. } | Self::Taken { .. } | Self::Deleted
        )
    }

    /// Somebody wrote before us: nothing is wrong, but what we know is old.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.is_conflict() || source.is_already_exists())
    }

    fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.is_not_found())
    }
}

/// A Lease that is not tried for yet.
#[derive(Clone)]
pub struct Lease {
    api: Api<Object>,
    settings: LeaseSettings,
    seconds: i32,
}

impl Lease {
    /// `client` must not repeat writes by itself: see [`crate::runtime::client::connect`].
    ///
    /// # Errors
    /// [`LeaseError::Settings`] when the durations could let two processes act.
    pub fn new(client: Client, settings: LeaseSettings) -> Result<Self, LeaseError> {
        settings.check()?;
        Ok(Self {
            seconds: settings.seconds()?,
            api: Api::namespaced(client, &settings.namespace),
            settings,
        })
    }

    /// Tries for the Lease, and then keeps it, in a task of its own until `release` or until it is lost.
    ///
    /// Cancel `release` only when everything that needs the claim has ended: the next process takes over at once. The
    /// task then gives the Lease back and returns `Ok`. When it returns an error the Lease was lost: end the process.
    /// Needs a Tokio runtime.
    pub fn hold(self, release: CancellationToken) -> (Claim, JoinHandle<Result<(), LeaseError>>) {
        let (sender, receiver) = watch::channel(Standing::Starting);
        let claim = Claim::new(receiver, self.settings.renew_deadline);
        let task = tokio::spawn(async move {
            let outcome = self.take_and_keep(&sender, &release).await;
            sender.send_replace(Standing::Ended);
            outcome
        });
        (claim, task)
    }

    async fn take_and_keep(
        &self,
        standing: &watch::Sender<Standing>,
        release: &CancellationToken,
    ) -> Result<(), LeaseError> {
        let Some((mut held, sent)) = self.take(standing, release).await else {
            return Ok(());
        };
        info!(lease.name = %self.settings.name, lease.holder = %self.settings.holder, "holding the lease");
        standing.send_replace(Standing::Holding { sent });
        self.keep(&mut held, sent, standing, release).await?;
        // From here on the next holder may act, so that we must not.
        standing.send_replace(Standing::Ended);
        self.give_back(held).await;
        Ok(())
    }

    /// Looks again and again until the Lease is ours; `None` when told to stop before.
    async fn take(
        &self,
        standing: &watch::Sender<Standing>,
        release: &CancellationToken,
    ) -> Option<(Object, Moment)> {
        let mut last: Option<Sighting> = None;
        let mut told = String::new();
        loop {
            match self.look_and_take(&mut last, release).await {
                Ok(Some(held)) => return Some(held),
                Ok(None) => {
                    standing.send_if_modified(|standing| {
                        let first = matches!(standing, Standing::Starting);
                        *standing = Standing::Waiting;
                        first
                    });
                    let holder = last
                        .as_ref()
                        .and_then(|sighting| sighting.record.holder.as_deref());
                    if is_news(&mut told, holder.unwrap_or_default()) {
                        info!(lease.name = %self.settings.name, lease.holder = holder, "waiting for the lease");
                    }
                }
                Err(error) => {
                    if is_news(&mut told, error.reason()) {
                        self.warn("can't try for the lease, trying again", &error);
                    }
                }
            }
            tokio::select! {
                biased;
                () = release.cancelled() => return None,
                () = sleep(self.settings.look()) => {}
            }
        }
    }

    /// One look; and one write if what is seen allows it. `None` when somebody else holds the Lease or was quicker.
    async fn look_and_take(
        &self,
        last: &mut Option<Sighting>,
        release: &CancellationToken,
    ) -> Result<Option<(Object, Moment)>, LeaseError> {
        let name = &self.settings.name;
        // Whoever is to stop waits for no answer that it only looks for; a write's it has to know.
        let reading = self.call("read", self.api.get_opt(name));
        let Some(read) = release.run_until_cancelled(reading).await else {
            return Ok(None);
        };
        let Some(found) = read? else {
            *last = None;
            return unless_conflict(self.create().await);
        };
        let now = Instant::now();
        let sighting = last.insert(Sighting::update(last.as_ref(), Record::from(&found), now));
        let transitions = sighting.record.transitions;
        match verdict(sighting, &self.settings.holder, self.settings.duration, now) {
            Verdict::Held(_) => Ok(None),
            Verdict::Ours => unless_conflict(self.write(found, |_spec| {}).await),
            Verdict::Free | Verdict::Expired => {
                let taken = self.write(found, |spec| {
                    spec.acquire_time = spec.renew_time.clone();
                    spec.lease_transitions = Some(transitions.saturating_add(1));
                });
                unless_conflict(taken.await)
            }
        }
    }

    /// Renews until told to stop (`Ok`), or until the Lease is lost.
    async fn keep(
        &self,
        held: &mut Object,
        mut sent: Moment,
        standing: &watch::Sender<Standing>,
        release: &CancellationToken,
    ) -> Result<(), LeaseError> {
        let mut tried = sent.monotonic;
        loop {
            let deadline = sent.monotonic + self.settings.renew_deadline;
            tokio::select! {
                biased;
                () = release.cancelled() => return Ok(()),
                () = sleep_until(deadline.min(tried + self.settings.retry)) => {}
            }
            tried = Instant::now();
            let after = self.settings.renew_deadline;
            match timeout_at(deadline, self.renew(held)).await {
                Err(_) => return Err(LeaseError::NotRenewed { after }),
                Ok(Ok(renewed)) => {
                    sent = renewed;
                    standing.send_replace(Standing::Holding { sent });
                }
                Ok(Err(error)) if error.is_loss() => return Err(error),
                Ok(Err(error)) => self.warn("the lease was not renewed, trying again", &error),
            }
        }
    }

    /// One renewal. A conflict is read again: it may be with a write of ours whose answer got lost, or with an annotation.
    async fn renew(&self, held: &mut Object) -> Result<Moment, LeaseError> {
        match self.write(held.clone(), |_spec| {}).await {
            Err(error) if error.is_conflict() => {}
            Err(error) if error.is_not_found() => return Err(LeaseError::Deleted),
            Err(error) => return Err(error),
            Ok((renewed, sent)) => {
                *held = renewed;
                return Ok(sent);
            }
        }
        let found = self
            .call("read", self.api.get_opt(&self.settings.name))
            .await?
            .ok_or(LeaseError::Deleted)?;
        let by = Record::from(&found).holder.unwrap_or_default();
        if by != self.settings.holder {
            return Err(LeaseError::Taken { by });
        }
        let (renewed, sent) = self.write(found, |_spec| {}).await?;
        *held = renewed;
        Ok(sent)
    }

    /// Names no holder any more. What goes wrong is only told: the Lease then ends by itself.
    async fn give_back(&self, held: Object) {
        let clear = |spec: &mut LeaseSpec| spec.holder_identity = None;
        let outcome = match self.write(held, clear).await {
            Err(error) if error.is_conflict() => {
                match self.call("read", self.api.get(&self.settings.name)).await {
                    Ok(found)
                        if Record::from(&found).holder.as_ref() == Some(&self.settings.holder) =>
                    {
                        self.write(found, clear).await.map(drop)
                    }
                    Ok(_not_ours) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            outcome => outcome.map(drop),
        };
        match outcome {
            Ok(()) => info!(lease.name = %self.settings.name, "gave the lease back"),
            Err(error) => self.warn("the lease was not given back and must run out", &error),
        }
    }

    /// Creates it as ours; a conflict if it exists by now.
    async fn create(&self) -> Result<(Object, Moment), LeaseError> {
        let now = MicroTime(Timestamp::now());
        let object = Object {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.settings.holder.clone()),
                lease_duration_seconds: Some(self.seconds),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let sent = Moment::now();
        let created = self
            .call("create", self.api.create(&PostParams::default(), &object))
            .await?;
        Ok((created, sent))
    }

    /// Replaces what was read, as ours and renewed now, with `change` on top; a conflict if it has changed since.
    /// The moment is that of sending: the server's own is later, and so is every other process's sight of it.
    async fn write(
        &self,
        mut object: Object,
        change: impl FnOnce(&mut LeaseSpec),
    ) -> Result<(Object, Moment), LeaseError> {
        let spec = object.spec.get_or_insert_default();
        spec.holder_identity = Some(self.settings.holder.clone());
        spec.lease_duration_seconds = Some(self.seconds);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        change(spec);
        let sent = Moment::now();
        let plain = PostParams::default();
        let replace = self.api.replace(&self.settings.name, &plain, &object);
        let written = self.call("write", replace).await?;
        Ok((written, sent))
    }

    async fn call<Answer>(
        &self,
        attempt: &'static str,
        request: impl Future<Output = kube::Result<Answer>>,
    ) -> Result<Answer, LeaseError> {
        let after = self.settings.call();
        match timeout(after, request).await {
            Err(_) => Err(LeaseError::Slow { attempt, after }),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(source))) => Err(LeaseError::Refused { attempt, source }),
            Ok(Err(error)) => Err(LeaseError::Failed {
                attempt,
                source: Box::new(error),
            }),
        }
    }

    fn warn(&self, what: &'static str, error: &LeaseError) {
        warn!(
            lease.namespace = %self.settings.namespace,
            lease.name = %self.settings.name,
            reason = error.reason(),
            error = error as &dyn std::error::Error,
            "{what}"
        );
    }
}

/// Somebody quicker is no failure.
fn unless_conflict<T>(outcome: Result<T, LeaseError>) -> Result<Option<T>, LeaseError> {
    match outcome {
        Err(error) if error.is_conflict() => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// A wait of hours is told once, not at every look.
fn is_news(told: &mut String, what: &str) -> bool {
    let news = told != what;
    if news {
        what.clone_into(told);
    }
    news
}
