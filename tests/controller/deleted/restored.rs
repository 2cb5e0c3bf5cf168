//! Requests that come back from an export, a backup or a repository.

use anyhow::{Context, Result, ensure};
use foredeck::api::{DeployRequest, deploy_request::Phase};
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, PostParams},
};
use serde_json::{Value, json};

use super::ENDLESS;
use crate::support::{Bed, deploy, reason};

/// As `kubectl get -o json` shows it and `kubectl apply` sends it to a server that doesn't have it: without its version,
/// and without its status, which no client can create. `whole` keeps what else the first server had put in.
fn exported(request: &DeployRequest, whole: bool) -> Result<DynamicObject> {
    let mut object = serde_json::to_value(request)?;
    object["apiVersion"] = json!("foredeck.dev/v1alpha1");
    object["kind"] = json!("DeployRequest");
    let fields = object.as_object_mut().context("an object")?;
    fields.remove("status");
    let metadata = fields
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .context("its metadata")?;
    metadata.remove("resourceVersion");
    if !whole {
        metadata.retain(|key, _| ["name", "namespace", "annotations"].contains(&key.as_str()));
    }
    Ok(serde_json::from_value(object)?)
}

impl Bed {
    async fn restore(&self, exports: &[DynamicObject]) -> Result<()> {
        let resource = ApiResource::erase::<DeployRequest>(&());
        let api: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        for export in exports {
            let restored = api.create(&PostParams::default(), export).await?;
            ensure!(restored.uid() != export.uid(), "{restored:?}");
        }
        Ok(())
    }

    /// One request of that name in each environment.
    async fn each(&self, name: &str, environments: &[String]) -> Result<Vec<DeployRequest>> {
        let mut requests = Vec::new();
        for environment in environments {
            let spec = deploy(environment, name);
            requests.push(self.request(&format!("{name}-{environment}"), spec).await?);
        }
        Ok(requests)
    }

    async fn until_all(&self, requests: &[DeployRequest], phase: Phase) -> Result<()> {
        for request in requests {
            self.until_phase(&request.name_any(), phase).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_restored_from_an_export_start_nothing() -> Result<()> {
    let bed = Bed::new("export", ENDLESS).await?;
    let environments = bed.more_environments(10, ENDLESS).await?;
    let missing: Vec<String> = environments
        .iter()
        .map(|name| name.replace("env", "missing"))
        .collect();
    let _controller = bed.controller()?;
    let done = bed.each("done", &environments).await?;
    bed.until_all(&done, Phase::Running).await?;
    ensure!(done.iter().all(|request| bed.finish(request)));
    bed.until_all(&done, Phase::Succeeded).await?;
    let running = bed.each("runs", &environments).await?;
    bed.until_all(&running, Phase::Running).await?;
    let queued = bed.each("queued", &environments).await?;
    let pending = bed.each("pending", &missing).await?;
    let canceled = bed.each("canceled", &environments).await?;
    for request in &canceled {
        bed.cancel(&request.name_any()).await?;
    }
    bed.until_all(&canceled, Phase::Canceled).await?;
    bed.until_all(&queued, Phase::Queued).await?;
    bed.until_all(&pending, Phase::Pending).await?;

    let all = bed
        .api::<DeployRequest>()
        .list(&ListParams::default())
        .await?
        .items;
    ensure!(all.len() == 50);
    let exports = all
        .iter()
        .enumerate()
        .map(|(index, request)| exported(request, index % 2 == 0))
        .collect::<Result<Vec<_>>>()?;
    bed.delete_all::<DeployRequest>().await?;
    bed.restore(&exports).await?;
    for request in &all {
        let copy = bed.until_phase(&request.name_any(), Phase::Expired).await?;
        ensure!(reason(&copy, "Succeeded") == "Restored", "{copy:?}");
    }
    ensure!(bed.gate.launches().len() == 20);

    // What ran when they were wiped was followed without them.
    ensure!(running.iter().all(|request| bed.finish(request)));
    for request in &running {
        let run = bed.until_in_history(request).await?;
        ensure!(run.phase == Phase::Succeeded, "{run:?}");
    }
    bed.until_free().await?;

    // The repository has no annotations: what ran has run.
    bed.delete_all::<DeployRequest>().await?;
    for name in ["done", "runs"] {
        let again = bed.each(name, &environments).await?;
        for request in again {
            let ended = bed
                .until_phase(&request.name_any(), Phase::Succeeded)
                .await?;
            ensure!(reason(&ended, "Succeeded") == "AlreadyRan", "{ended:?}");
        }
    }
    ensure!(bed.gate.launches().len() == 20 && bed.peak() == 1);
    Ok(())
}
