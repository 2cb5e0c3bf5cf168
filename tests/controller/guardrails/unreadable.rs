//! A freeze that can't be read holds whatever it might be about.

use super::QUICK;
use crate::support::{Bed, deploy};
use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployFreeze, DeployRequest,
    deploy_request::WaitingFor,
    gate::{GateKind, GateState},
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

/// The schema of a status takes any offset, which no clock has: as what a later version writes, an earlier one can't read it.
const UNREADABLE: &str = "2026-01-01T00:00:00+99:99";

/// Writes since when the freeze `later` holds, whatever may be read of it afterwards, and makes it another than before.
async fn scribble(bed: &Bed, since: Value) -> Result<()> {
    let kind = ApiResource::erase::<DeployFreeze>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(bed.client.clone(), &bed.namespace, &kind);
    let spec = Patch::Merge(json!({"spec": {"contact": format!("who wrote {since}")}}));
    let status = Patch::Merge(json!({"status": {"since": since}}));
    let parameters = PatchParams::default();
    api.patch_status("later", &parameters, &status).await?;
    api.patch("later", &parameters, &spec).await?;
    Ok(())
}

/// A request to production that says what holds it, and who can do something about that.
async fn held(bed: &Bed, name: &str) -> Result<DeployRequest> {
    let request = bed.request(name, deploy("production", name)).await?;
    let named = format!(
        "DeployFreeze \"later\" in {:?} can't be read",
        bed.namespace
    );
    let waits = bed.until_kept_by(name, WaitingFor::Freeze, &named).await?;
    let status = waits.status.unwrap_or_default();
    let told = status.waiting.context("it waits for nothing")?.message;
    ensure!(
        told.contains("holds everything there that it might be about")
            && told.contains("who owns it can mend or delete it"),
        "{told}"
    );
    let mut gates = status.gates.iter();
    let gate = gates.find(|told| told.gate == GateKind::Freeze);
    let state = gate.map(|told| told.state);
    ensure!(state == Some(GateState::Unknown), "{:?}", status.gates);
    ensure!(bed.launches(&request) == 0, "{name} was started");
    Ok(request)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_can_not_be_read_holds_all_that_it_might_be_about_until_it_is_mended_or_deleted()
-> Result<()> {
    let bed = Bed::new("unread", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    // As long as it can be read, it is about staging alone.
    let spec = json!({"reason": "the books are counted", "environments": ["staging"]});
    bed.freeze("later", spec).await?;
    bed.until_freeze("later", "Active", "True Frozen").await?;
    let free = bed.request("free", deploy("production", "free")).await?;
    bed.until_ran_once(&free).await?;

    scribble(&bed, json!(UNREADABLE)).await?;
    let read = bed.api::<DeployFreeze>().get("later").await;
    ensure!(read.is_err(), "it can be read after all");
    let note = bed.until_event("later", "Invalid").await?;
    ensure!(
        note.contains("can't be read, and holds everything that it might be about"),
        "{note}"
    );
    let mended = held(&bed, "mended").await?;
    scribble(&bed, Value::Null).await?;
    bed.until_ran_once(&mended).await?;

    scribble(&bed, json!(UNREADABLE)).await?;
    let deleted = held(&bed, "deleted").await?;
    bed.delete::<DeployFreeze>("later").await?;
    bed.until_ran_once(&deleted).await.map(drop)
}
