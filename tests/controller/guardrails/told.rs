//! What freezes, targets and Environments say of themselves.

use foredeck::api::conditions::{self, ConditionType};

use super::{Guard, QUICK};
use crate::support::{Bed, PATIENCE, deploy};
use anyhow::{Result, ensure};
use foredeck::api::{DeployFreeze, DeployTarget, Environment};
use foredeck_testkit::wait_for;
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_says_that_it_holds_and_that_it_is_over_when_the_moment_comes() -> Result<()> {
    let bed = Bed::new("moments", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    let (begins, ends) = (
        jiff::Timestamp::now() + Duration::from_secs(12),
        jiff::Timestamp::now() + Duration::from_secs(24),
    );
    let spec = json!({"reason": "the books are counted", "from": begins.to_string(), "until": ends.to_string()});
    bed.freeze("books", spec).await?;
    let early = bed
        .until_freeze("books", "Active", "False NotFrozen")
        .await?;
    let next = early.status.and_then(|status| status.next);
    ensure!(next.is_some_and(|next| next.0.as_second() == begins.as_second()));
    let holding = bed.until_freeze("books", "Active", "True Frozen").await?;
    let status = holding.status.clone().unwrap_or_default();
    ensure!(status.since.is_some() && status.until.is_some() && status.next.is_none());
    ensure!(
        jiff::Timestamp::now().as_second() >= begins.as_second(),
        "too early"
    );
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_guarded("first", Guard::Freeze).await?;
    let over = bed
        .until_freeze("books", "Active", "False NotFrozen")
        .await?;
    ensure!(
        jiff::Timestamp::now().as_second() >= ends.as_second(),
        "too early"
    );
    bed.until_event("books", "Frozen").await?;
    bed.until_event("books", "NotFrozen").await?;
    bed.until_ran_once(&request).await?;
    // Nothing is written of what is over.
    let later = bed.api::<DeployFreeze>().get("books").await?;
    ensure!(later.resource_version() == over.resource_version());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_says_that_its_lock_is_over_once_it_is_and_what_it_held_goes_on() -> Result<()> {
    let bed = Bed::new("over", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    let until = jiff::Timestamp::now() + Duration::from_secs(15);
    let lock =
        json!({"spec": {"lock": {"reason": "a migration runs", "until": until.to_string()}}});
    let target = bed.target("production").await?.name_any();
    bed.merge::<DeployTarget>(&target, lock).await?;
    let locked = |wanted: &'static str| {
        let (bed, target) = (&bed, &target);
        async move {
            wait_for(&format!("Locked {wanted}"), PATIENCE, async || {
                let target = bed.api::<DeployTarget>().get(target).await?;
                let status = target.status.clone().unwrap_or_default();
                let told = conditions::find(&status.conditions, ConditionType::Locked);
                let told = told.filter(|told| {
                    told.status == wanted && told.observed_generation == target.metadata.generation
                });
                ensure!(told.is_some(), "{:?}", status.conditions);
                Ok(())
            })
            .await
        }
    };
    locked("True").await?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_guarded("first", Guard::TargetLock).await?;
    locked("False").await?;
    ensure!(
        jiff::Timestamp::now().as_second() >= until.as_second(),
        "too early"
    );
    bed.until_ran_once(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_says_what_is_wrong_with_what_comes_before_it() -> Result<()> {
    let bed = Bed::new("order", QUICK).await?;
    let _controller = bed.controller()?;
    let ready = async |name: &str, says: &str| {
        wait_for(&format!("{name}: {says}"), PATIENCE, async || {
            let environment = bed.api::<Environment>().get(name).await?;
            let status = environment.status.unwrap_or_default();
            let told = conditions::find(&status.conditions, ConditionType::Ready);
            let said = told.map(|told| format!("{} {} {}", told.status, told.reason, told.message));
            ensure!(
                said.as_deref().is_some_and(|said| said.contains(says)),
                "{said:?}"
            );
            Ok(())
        })
        .await
    };
    let after = |name: &str| json!({"after": [{"environment": name}]});
    ready("production", "True ConfigurationValid").await?;
    bed.protect("production", after("nowhere")).await?;
    ready(
        "production",
        "False OrderInvalid spec.protection.after names Environment \"nowhere\"",
    )
    .await?;
    bed.protect("production", after("production")).await?;
    ready("production", "names \"production\" itself").await?;
    bed.protect("production", after("staging")).await?;
    ready("production", "True ConfigurationValid").await?;
    // The other one changed, and both say it.
    bed.protect("staging", after("production")).await?;
    ready("staging", "leads in a circle").await?;
    ready("production", "leads in a circle").await?;
    bed.protect("staging", json!({"after": null})).await?;
    ready("production", "True ConfigurationValid").await
}
