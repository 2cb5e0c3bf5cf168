//! What keeps a request from starting beside people and policies: freezes, locks, order, times, and who may pass them. Each is
//! set and lifted while a request waits, between its mark and its start, while it runs, and while nobody works.

mod applied;
mod between;
mod crashed;
mod many;
mod overriding;
mod running;
mod told;
mod unreadable;
mod waiting;

use std::time::Duration;

use anyhow::{Result, ensure};
use foredeck::api::{
    DeployFreeze, DeployRequest, DeployTarget, Environment,
    deploy_request::{Phase, WaitingFor},
    gate::{GateKind, GateState},
};
use foredeck_testkit::wait_for;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, deploy};

const QUICK: Duration = Duration::from_millis(300);
/// Until somebody says that it ends.
const LONG: Duration = Duration::from_mins(10);
/// Who may deploy to production and pass what holds it, where a test lets her.
const ALICE: &str = "alice@corp.example";

/// What holds a deployment to production.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Guard {
    Freeze,
    EnvironmentLock,
    TargetLock,
    Order,
}

impl Guard {
    const ALL: [Self; 4] = [
        Self::Freeze,
        Self::EnvironmentLock,
        Self::TargetLock,
        Self::Order,
    ];

    fn gate(self) -> GateKind {
        match self {
            Self::Freeze => GateKind::Freeze,
            Self::EnvironmentLock | Self::TargetLock => GateKind::Lock,
            Self::Order => GateKind::Order,
        }
    }

    fn subject(self) -> WaitingFor {
        match self {
            Self::Freeze => WaitingFor::Freeze,
            Self::EnvironmentLock | Self::TargetLock => WaitingFor::Lock,
            Self::Order => WaitingFor::Order,
        }
    }

    /// In the sentence by which it is told.
    fn says(self) -> &'static str {
        match self {
            Self::Freeze => "the books are counted",
            Self::EnvironmentLock | Self::TargetLock => "a migration runs",
            Self::Order => "has to have succeeded in `staging`",
        }
    }

    async fn set(self, bed: &Bed) -> Result<()> {
        let lock = json!({"spec": {"lock": {"reason": "a migration runs"}}});
        match self {
            Self::Freeze => {
                bed.freeze("books", json!({"reason": "the books are counted"}))
                    .await
            }
            Self::EnvironmentLock => bed.merge::<Environment>("production", lock).await.map(drop),
            Self::TargetLock => {
                let target = bed.target("production").await?.name_any();
                bed.merge::<DeployTarget>(&target, lock).await.map(drop)
            }
            Self::Order => {
                let rules = json!({"after": [{"environment": "staging"}]});
                bed.protect("production", rules).await
            }
        }
    }

    async fn lift(self, bed: &Bed) -> Result<()> {
        let unlock = json!({"spec": {"lock": null}});
        match self {
            Self::Freeze => bed.delete::<DeployFreeze>("books").await,
            Self::EnvironmentLock => bed
                .merge::<Environment>("production", unlock)
                .await
                .map(drop),
            Self::TargetLock => {
                let target = bed.target("production").await?.name_any();
                bed.merge::<DeployTarget>(&target, unlock).await.map(drop)
            }
            Self::Order => bed.protect("production", json!({"after": null})).await,
        }
    }
}

impl Bed {
    async fn freeze(&self, name: &str, spec: Value) -> Result<()> {
        self.create::<DeployFreeze>(name, spec).await.map(drop)
    }

    /// Waits until this condition of a freeze is so: `True Frozen`.
    async fn until_freeze(
        &self,
        name: &str,
        condition: &str,
        wanted: &str,
    ) -> Result<DeployFreeze> {
        let what = format!("DeployFreeze {name}: {condition} {wanted}");
        wait_for(&what, PATIENCE, async || {
            let freeze = self.api::<DeployFreeze>().get(name).await?;
            let status = freeze.status.clone().unwrap_or_default();
            let mut told = status.conditions.iter();
            let told = told.find(|told| told.type_ == condition);
            let told = told.map(|told| format!("{} {}", told.status, told.reason));
            ensure!(told.as_deref() == Some(wanted), "{status:?}");
            Ok(freeze)
        })
        .await
    }

    /// Waits until production's target is there, with v0 on it.
    async fn with_v0(&self) -> Result<()> {
        let before = self.request("before", deploy("production", "v0")).await?;
        self.until_launched(&before).await?;
        self.finish(&before);
        self.until_phase("before", Phase::Succeeded).await?;
        self.until_free().await
    }

    /// Waits until the request says that this gate is closed, and that it waits for that in line.
    async fn until_guarded(&self, name: &str, guard: Guard) -> Result<DeployRequest> {
        self.until(name, &format!("held by {guard:?} alone"), |request| {
            let status = request.status.clone().unwrap_or_default();
            let waiting = status.waiting.filter(|waiting| {
                waiting.subject == guard.subject() && waiting.message.contains(guard.says())
            });
            let gates: Vec<_> = status.gates.iter().map(|told| told.gate).collect();
            let alone = status
                .gates
                .iter()
                .all(|told| (told.state == GateState::Closed) == (told.gate == guard.gate()));
            status.phase == Some(Phase::Queued)
                && waiting.is_some()
                && gates == GateKind::ALL
                && alone
        })
        .await
    }

    /// Waits until it has run, once.
    async fn until_ran_once(&self, request: &DeployRequest) -> Result<DeployRequest> {
        let name = request.name_any();
        self.until_launched(request).await?;
        self.finish(request);
        let ended = self.until_phase(&name, Phase::Succeeded).await?;
        self.until_free().await?;
        ensure!(
            self.launches(request) == 1,
            "{name} was started {} times",
            self.launches(request)
        );
        Ok(ended)
    }
}

/// Whether its status says so of an override.
fn overridden(request: &DeployRequest) -> Option<(String, String)> {
    let conditions = &request.status.as_ref()?.conditions;
    let told = conditions.iter().find(|told| told.type_ == "Overridden")?;
    Some((told.status.clone(), told.reason.clone()))
}
