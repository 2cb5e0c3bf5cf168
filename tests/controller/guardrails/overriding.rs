//! Who passes freezes, locks and order, and who no longer may.

use axum::http::Method;
use foredeck::api::deploy_request::DecisionKind;
use foredeck_testkit::ApiProxy;

use super::{ALICE, Guard, QUICK, overridden};
use crate::people::user;
use crate::support::{Bed, LEASE, PATIENCE, deploy, message};
use anyhow::{Result, ensure};
use foredeck::api::deploy_request::WaitingFor;
use foredeck::api::{DeployRequest, Environment};
use foredeck_testkit::wait_for;
use serde_json::{Value, json};

const CAROL: &str = "carol@corp.example";

/// Alice may deploy to production, and pass what holds it.
async fn bed(prefix: &str) -> Result<Bed> {
    let bed = Bed::new(prefix, QUICK).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy", "override"], "production")
        .await?;
    Ok(bed)
}

fn overriding() -> Value {
    let mut spec = deploy("production", "v1");
    spec["override"] = json!({"reason": "the site is down"});
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_passes_all_that_may_be_passed_and_stands_in_the_record() -> Result<()> {
    let bed = bed("override").await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    for guard in Guard::ALL {
        guard.set(&bed).await?;
    }
    let alice = bed.somebody(ALICE, &[]);
    let request = bed.request_as(&alice, "first", overriding()).await?;
    let ended = bed.until_ran_once(&request).await?;
    ensure!(
        overridden(&ended) == Some(("True".to_owned(), "Overridden".to_owned())),
        "{:?}",
        ended.status
    );
    let status = ended.status.unwrap_or_default();
    let told: Vec<_> = status
        .decisions
        .iter()
        .filter(|decision| decision.what == DecisionKind::Overridden)
        .collect();
    let [told] = told[..] else {
        anyhow::bail!("{:?}", status.decisions)
    };
    ensure!(
        told.by.as_deref() == Some(ALICE) && told.why.as_deref() == Some("the site is down"),
        "{told:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_that_comes_later_lets_a_waiting_request_go() -> Result<()> {
    use kube::{
        Api,
        api::{Patch, PatchParams},
    };
    let bed = bed("later").await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    Guard::Freeze.set(&bed).await?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    bed.until_guarded("first", Guard::Freeze).await?;
    let api: Api<DeployRequest> = Api::namespaced(bed.somebody(ALICE, &[]), &bed.namespace);
    let passes = Patch::Merge(json!({"spec": {"override": {"reason": "the site is down"}}}));
    api.patch("first", &PatchParams::default(), &passes).await?;
    bed.until_ran_once(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_of_somebody_who_lost_the_verb_meanwhile_passes_nothing() -> Result<()> {
    let bed = bed("lost").await?;
    let proxy = ApiProxy::start(bed.plane).await?;
    let kubeconfig = bed.plane.kubeconfig_through(&proxy.url())?;
    let _controller = bed.spawn(kubeconfig, &["--lease-duration", LEASE])?;
    bed.with_v0().await?;
    Guard::Freeze.set(&bed).await?;
    let mut mark = proxy.hold(Method::PATCH, "deploytargets/status", "\"sentAt\":\"");
    let alice = bed.somebody(ALICE, &[]);
    let request = bed.request_as(&alice, "first", overriding()).await?;
    mark.arrived().await?;
    bed.let_them_no_more(ALICE, "override", "production")
        .await?;
    let granted: &[&str] = &["deploy"];
    let objects = [
        ("applications", "checkout", granted),
        ("environments", "production", granted),
    ];
    bed.grant("alice-deploys", user(ALICE), &objects).await?;
    mark.release();
    bed.until_kept_by("first", WaitingFor::Freeze, "the override doesn't count")
        .await?;
    let held = bed.until_guarded("first", Guard::Freeze).await?;
    ensure!(
        overridden(&held) == Some(("False".to_owned(), "OverrideRefused".to_owned())),
        "{:?}",
        held.status
    );
    ensure!(bed.launches(&request) == 0);
    bed.until_free().await?;
    Guard::Freeze.lift(&bed).await?;
    bed.until_ran_once(&request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_owner_is_gone_is_lifted_by_whoever_may_override() -> Result<()> {
    use kube::{
        Api,
        api::{Patch, PatchParams},
    };
    let bed = Bed::new("gone", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    let production: &[&str] = &["get", "patch", "lock"];
    let passes: &[&str] = &["get", "patch", "override"];
    bed.grant(
        "alice",
        user(ALICE),
        &[("environments", "production", production)],
    )
    .await?;
    bed.grant(
        "carol",
        user(CAROL),
        &[("environments", "production", passes)],
    )
    .await?;
    let patch = async |who: &str, lock: Value| {
        let api: Api<Environment> = Api::namespaced(bed.somebody(who, &[]), &bed.namespace);
        let patch = Patch::Merge(json!({"spec": {"lock": lock}}));
        api.patch("production", &PatchParams::default(), &patch)
            .await
    };
    // Rights come by a watch.
    wait_for("alice to lock production", PATIENCE, async || {
        Ok(patch(ALICE, json!({"reason": "a migration runs"})).await?)
    })
    .await?;
    bed.delete::<k8s_openapi::api::rbac::v1::RoleBinding>("alice")
        .await?;
    let request = bed.request("first", deploy("production", "v1")).await?;
    let held = bed.until_guarded("first", Guard::EnvironmentLock).await?;
    ensure!(message(&held).contains(ALICE), "{:?}", held.status);
    let told = bed.until_event("production", "Locked").await?;
    ensure!(
        told.contains(ALICE) && told.contains("a migration runs"),
        "{told}"
    );
    wait_for("carol to unlock production", PATIENCE, async || {
        Ok(patch(CAROL, Value::Null).await?)
    })
    .await?;
    bed.until_ran_once(&request).await?;
    bed.until_event("production", "Unlocked").await.map(drop)
}
