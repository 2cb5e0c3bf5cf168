//! What a repository has is applied again and again while a freeze holds it.

use std::fs;

use super::{Guard, QUICK};
use crate::support::{Bed, deploy};
use anyhow::{Result, ensure};
use foredeck::api::DeployRequest;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

/// Two tools, by whose way of applying their requests are named.
const TOOLS: [&str; 2] = ["server-side", "client-side"];

/// Applies the request of a tool, which notes on it from which revision of the repository.
async fn applied(bed: &Bed, tool: &str, revision: u32) -> Result<DeployRequest> {
    let wanted = json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {
            "name": tool, "namespace": bed.namespace,
            "annotations": {"example.com/revision": revision.to_string()},
        },
        "spec": deploy("production", tool),
    });
    if tool == "client-side" {
        let file = bed
            .plane
            .directory()
            .join(format!("{}.json", bed.namespace));
        fs::write(&file, wanted.to_string())?;
        bed.kubectl(&["apply", "--filename", &file.to_string_lossy()])?;
    } else {
        let parameters = PatchParams::apply("kustomize-controller").force();
        bed.api::<DeployRequest>()
            .patch(tool, &parameters, &Patch::Apply(&wanted))
            .await?;
    }
    let now = bed.get(tool).await?;
    ensure!(now.annotations()["example.com/revision"] == revision.to_string());
    Ok(now)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_again_during_a_freeze_does_not_start_and_keeps_its_place_in_line()
-> Result<()> {
    let bed = Bed::new("in-line", QUICK).await?;
    let _controller = bed.controller()?;
    bed.with_v0().await?;
    Guard::Freeze.set(&bed).await?;
    let mut line = Vec::new();
    for tool in TOOLS {
        line.push(applied(&bed, tool, 1).await?);
        bed.until_guarded(tool, Guard::Freeze).await?;
    }
    line.sort_by_key(|request| {
        (
            request.creation_timestamp().map(|time| time.0),
            request.uid(),
        )
    });
    // The oldest last, which would be the newest by when it was written.
    for revision in 2..5 {
        for before in line.iter().rev() {
            let name = before.name_any();
            let now = applied(&bed, &name, revision).await?;
            ensure!(now.uid() == before.uid(), "{name} was made anew");
            bed.until_guarded(&name, Guard::Freeze).await?;
        }
    }
    ensure!(bed.gate.launches().len() == 1, "{:?}", bed.gate.launches());
    Guard::Freeze.lift(&bed).await?;
    for request in &line {
        bed.until_ran_once(request).await?;
    }
    let started = bed.gate.launches().into_iter().skip(1);
    let started: Vec<String> = started.filter_map(|launch| launch.request_uid).collect();
    let asked: Vec<String> = line.iter().filter_map(ResourceExt::uid).collect();
    ensure!(started == asked, "{started:?} instead of {asked:?}");
    Ok(())
}
