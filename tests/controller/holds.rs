//! What a rollback leaves: its target is held until somebody lifts that, whatever comes, dies or is deleted meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployRequest, DeployTarget,
    deploy_request::{Phase, WaitingFor},
    lock::Hold,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, Controller, deploy, phase_of};

/// Until somebody says that it ends.
const LONG: Duration = Duration::from_mins(10);
const QUICK: Duration = Duration::from_millis(50);
fn rollback() -> Value {
    json!({"application": "checkout", "environment": "staging", "action": "rollback"})
}

impl Bed {
    /// A request that runs, and ends well as soon as it does.
    async fn passes(&self, name: &str, spec: Value) -> Result<DeployRequest> {
        let request = self.request(name, spec).await?;
        self.until_launched(&request).await?;
        self.finish(&request);
        self.until_phase(name, Phase::Succeeded).await
    }

    /// Waits until a rollback holds staging.
    async fn until_rolled_back_by(&self, rollback: &DeployRequest) -> Result<Hold> {
        let uid = rollback.uid().unwrap_or_default();
        let held = self
            .until_target("staging", "held", |status| {
                status.hold.as_ref().is_some_and(|hold| hold.uid == uid)
            })
            .await?;
        held.hold.context("no hold")
    }

    /// Waits until a request says that this hold is what keeps it.
    async fn until_kept(&self, name: &str, hold: &Hold) -> Result<DeployRequest> {
        let told = |version: &Option<String>| format!("`{}`", version.as_deref().unwrap_or("?"));
        let (from, to, by) = (told(&hold.from), told(&hold.to), told(&hold.by));
        self.until(name, "kept by the hold", |request| {
            let waiting = request
                .status
                .as_ref()
                .and_then(|status| status.waiting.as_ref());
            phase_of(request) == Phase::Queued
                && waiting.is_some_and(|waiting| {
                    let said = |word: &String| waiting.message.contains(word);
                    waiting.subject == WaitingFor::Lock
                        && waiting.message.contains("rolled back")
                        && said(&from)
                        && said(&to)
                        && said(&by)
                })
        })
        .await
    }

    async fn lift(&self, uid: &str) -> Result<()> {
        let name = self.target("staging").await?.name_any();
        self.merge::<DeployTarget>(&name, json!({"spec": {"unhold": {"uid": uid}}}))
            .await?;
        Ok(())
    }

    /// Admission tells who names a rollback that isn't the one that holds.
    async fn not_lifted(&self, uid: &str) -> Result<()> {
        let answer = self.lift(uid).await;
        let problem = answer.err().map(|error| format!("{error:#}"));
        ensure!(
            problem
                .as_ref()
                .is_some_and(|problem| problem.contains("status.hold.uid")),
            "{problem:?}"
        );
        Ok(())
    }

    /// Waits until a controller that was told where to die has, and frees its Lease.
    async fn until_dead(&self, mut controller: Controller) -> Result<()> {
        controller.until_ended().await?;
        self.no_leader().await
    }

    async fn no_leader(&self) -> Result<()> {
        self.api::<Lease>()
            .delete("foredeck-controller", &DeleteParams::default())
            .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_nothing_starts_until_it_is_unheld_and_then_the_oldest_does() -> Result<()>
{
    let bed = Bed::new("holds", LONG).await?;
    let _controller = bed.controller()?;
    for version in ["v1", "v2", "v3"] {
        bed.passes(version, deploy("staging", version)).await?;
    }
    let back = bed.request("back", rollback()).await?;
    bed.until_launched(&back).await?;
    let early = bed.request("early", deploy("staging", "v4")).await?;
    bed.until_phase("early", Phase::Queued).await?;
    ensure!(bed.finish(&back));
    let back = bed.until_phase("back", Phase::Succeeded).await?;
    let hold = bed.until_rolled_back_by(&back).await?;
    ensure!(
        (hold.from.as_deref(), hold.to.as_deref(), hold.name.as_str())
            == (Some("v3"), Some("v2"), "back"),
        "{hold:?}"
    );
    ensure!(
        hold.by.is_some() && hold.by == back.spec.requester_name(),
        "{hold:?}"
    );
    bed.until_kept("early", &hold).await?;
    let late = bed.request("late", deploy("staging", "v5")).await?;
    bed.until_kept("late", &hold).await?;

    // What a GitOps tool applies again is there already; under another name it is a request like any other.
    let applied = json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": "v3"}, "spec": deploy("staging", "v3"),
    });
    let tool = PatchParams::apply("gitops").force();
    bed.api::<DeployRequest>()
        .patch("v3", &tool, &Patch::Apply(&applied))
        .await?;
    ensure!(phase_of(&bed.get("v3").await?) == Phase::Succeeded);
    let mut anew = deploy("staging", "v3");
    anew["idempotencyKey"] = json!("again");
    bed.request("v3-again", anew).await?;
    bed.until_kept("v3-again", &hold).await?;

    // A word about another rollback isn't taken; and another rollback passes, and holds in its turn.
    bed.not_lifted("5ca1ab1e-0000-4000-8000-000000000000")
        .await?;
    let further = bed.passes("further", rollback()).await?;
    let second = bed.until_rolled_back_by(&further).await?;
    ensure!(
        (second.from.as_deref(), second.to.as_deref()) == (Some("v2"), Some("v1")),
        "{second:?}"
    );
    bed.not_lifted(&hold.uid).await?;
    for name in ["early", "late", "v3-again"] {
        let kept = bed.until_kept(name, &second).await?;
        ensure!(bed.launches(&kept) == 0, "{name} was started");
    }

    bed.cancel("v3-again").await?;
    bed.until_phase("v3-again", Phase::Canceled).await?;
    bed.lift(&second.uid).await?;
    let [first, then] =
        if (early.creation_timestamp(), early.uid()) < (late.creation_timestamp(), late.uid()) {
            [early, late]
        } else {
            [late, early]
        };
    bed.until_launched(&first).await?;
    ensure!(bed.launches(&then) == 0, "one at a time");
    ensure!(bed.finish(&first));
    bed.until_launched(&then).await?;
    ensure!(bed.finish(&then));
    bed.until_phase(&then.name_any(), Phase::Succeeded).await?;
    ensure!(bed.peak() == 1, "{:?}", bed.gate.peak_concurrency());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_what_never_succeeded_there_is_refused() -> Result<()> {
    let bed = Bed::new("never", QUICK).await?;
    let _controller = bed.controller()?;
    for version in ["v1", "v2"] {
        bed.request(version, deploy("staging", version)).await?;
        bed.until_phase(version, Phase::Succeeded).await?;
    }
    let mut never = rollback();
    never["version"] = json!("v9");
    bed.request("never", never).await?;
    let failed = bed.until_phase("never", Phase::Failed).await?;
    let text = crate::support::message(&failed);
    ensure!(
        crate::support::reason(&failed, "Succeeded") == "NoEarlierVersion"
            && text.starts_with("`v9` never succeeded in \"staging\"")
            && text.contains("`v2`, `v1`"),
        "{text}"
    );
    let target = bed.target("staging").await?.status.unwrap_or_default();
    ensure!(target.hold.is_none(), "{target:?}");
    Ok(())
}

/// Where a controller ends between the end of a rollback and the next claim.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// At a point that the rollback's end passes.
    Ending(&'static str),
    /// Once the rollback has ended, before anybody is let go.
    Ended,
    /// At a point that the next claim passes.
    Claiming(&'static str),
}

const DEATHS: [Death; 5] = [
    Death::Ending("before-finish-target"),
    Death::Ending("after-finish-target"),
    Death::Ended,
    Death::Claiming("before-claim-target"),
    Death::Claiming("after-claim-target"),
];

async fn dies(death: Death) -> Result<()> {
    let bed = Bed::new("hold-crash", LONG).await?;
    let first = bed.controller()?;
    for version in ["v1", "v2"] {
        bed.passes(version, deploy("staging", version)).await?;
    }
    let back = bed.request("back", rollback()).await?;
    bed.until_launched(&back).await?;
    let next = bed.request("next", deploy("staging", "v3")).await?;
    bed.until_phase("next", Phase::Queued).await?;
    first.kill();
    bed.no_leader().await?;
    let points: &[&str] = match &death {
        Death::Ending(point) => &["--test-crash-at", point],
        Death::Ended | Death::Claiming(_) => &[],
    };
    let second = bed.controller_with(points)?;
    ensure!(bed.finish(&back));
    match death {
        Death::Ending(_) => bed.until_dead(second).await?,
        Death::Ended | Death::Claiming(_) => {
            bed.until_phase("back", Phase::Succeeded).await?;
            second.kill();
            bed.no_leader().await?;
        }
    }
    let points: &[&str] = match &death {
        Death::Claiming(point) => &["--test-crash-at", point],
        Death::Ending(_) | Death::Ended => &[],
    };
    let third = bed.controller_with(points)?;
    bed.until_phase("back", Phase::Succeeded).await?;
    let hold = bed.until_rolled_back_by(&back).await?;
    let kept = bed.until_kept("next", &hold).await?;
    ensure!(bed.launches(&kept) == 0, "{:?}", bed.gate.launches());
    bed.lift(&hold.uid).await?;
    let _last = match death {
        Death::Claiming(_) => {
            bed.until_dead(third).await?;
            bed.controller()?
        }
        Death::Ending(_) | Death::Ended => third,
    };
    bed.until_launched(&next).await?;
    ensure!(bed.finish(&next));
    bed.until_phase("next", Phase::Succeeded).await?;
    ensure!(bed.launches(&next) == 1 && bed.peak() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_a_rollback_and_the_next_claim_lets_nothing_through() -> Result<()> {
    let all = DEATHS.map(async |death| dies(death).await.with_context(|| format!("{death:?}")));
    futures::future::try_join_all(all).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_whose_request_is_deleted_holds_all_the_same_and_so_does_a_rebuilt_target()
-> Result<()> {
    let bed = Bed::new("hold-lost", LONG).await?;
    let _controller = bed.controller()?;
    for version in ["v1", "v2"] {
        bed.passes(version, deploy("staging", version)).await?;
    }
    let back = bed.request("back", rollback()).await?;
    bed.until_launched(&back).await?;
    bed.delete::<DeployRequest>("back").await?;
    ensure!(bed.finish(&back));
    let hold = bed.until_rolled_back_by(&back).await?;
    ensure!(
        (hold.from.as_deref(), hold.to.as_deref()) == (Some("v2"), Some("v1")),
        "{hold:?}"
    );
    let next = bed.request("next", deploy("staging", "v3")).await?;
    bed.until_kept("next", &hold).await?;

    // All that is left of the rollback is what Spinnaker shows: not who asked for it.
    let target = bed.target("staging").await?.name_any();
    let targets: Api<DeployTarget> = bed.api();
    targets.delete(&target, &DeleteParams::default()).await?;
    let rebuilt = bed.until_rolled_back_by(&back).await?;
    ensure!(
        (rebuilt.from, rebuilt.to) == (hold.from, hold.to),
        "another end"
    );
    let kept = bed
        .until("next", "kept by what was rebuilt", |request| {
            let waiting = request
                .status
                .as_ref()
                .and_then(|status| status.waiting.as_ref());
            waiting.is_some_and(|waiting| {
                waiting.subject == WaitingFor::Lock && waiting.message.contains("rolled back")
            })
        })
        .await?;
    ensure!(bed.launches(&kept) == 0);
    bed.lift(&hold.uid).await?;
    bed.until_launched(&next).await?;
    ensure!(bed.finish(&next));
    bed.until_phase("next", Phase::Succeeded).await?;
    Ok(())
}
