//! A proxy between controller and API server that serves old lists, withholds and loses events, closes watches and
//! loses answers: nothing is started twice, nothing that the API server acknowledged in time is passed over, and
//! everything converges once the disturbances stop.

mod approvals;
mod gates;
mod lag;
mod soak;
mod versions;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use foredeck::api::{DeployRequest, Environment, deploy_request::Phase};
use foredeck_testkit::{ApiProxy, api_proxy::Weather};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{Bed, Controller, phase_of};

/// Every kind that the controller watches.
const KINDS: [&str; 5] = [
    "deployrequests",
    "deploytargets",
    "applications",
    "environments",
    "spinnakerconnections",
];
const CONFIGURATION: [&str; 3] = ["applications", "environments", "spinnakerconnections"];
/// Writes of a request's status.
const REQUEST_STATUS: &str = "deployrequests/status";
/// Writes of a target's status.
const TARGET_STATUS: &str = "deploytargets/status";
/// In the body of a write that marks a start.
const MARK: &str = "\"sentAt\":\"";
/// In the body of a write that takes the mark back.
const TAKEN_BACK: &str = "\"sentAt\":null";

/// A bed whose controllers see the API server through a proxy; the test itself sees it directly.
struct Stage {
    bed: Bed,
    proxy: ApiProxy,
}

impl Stage {
    async fn new(prefix: &str, work: Duration) -> Result<Self> {
        let bed = Bed::new(prefix, work).await?;
        for environment in ["staging", "production"] {
            let allow = json!({"spec": {"allowTargets": {"namespacePattern": "pr-[0-9]"}}});
            bed.merge::<Environment>(environment, allow).await?;
        }
        let proxy = ApiProxy::start(bed.plane).await?;
        Ok(Self { bed, proxy })
    }

    /// Its Lease outlasts what a busy machine does to a proxy: losing it is another test's subject.
    fn controller(&self) -> Result<Controller> {
        let kubeconfig = self.bed.plane.kubeconfig_through(&self.proxy.url())?;
        self.bed.spawn(kubeconfig, &["--lease-duration", "30s"])
    }

    /// Another controller in place of one that is killed, without the wait for its Lease.
    async fn replace(&self, controller: Controller) -> Result<Controller> {
        controller.kill();
        let leases = self.bed.api::<Lease>();
        let parameters = DeleteParams::default();
        match leases.delete("foredeck-controller", &parameters).await {
            // It never got so far.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other?),
        }
        self.controller()
    }

    /// Requests `<name>-0`, `<name>-1`, … on six targets in turn.
    async fn ask(&self, name: &str, count: usize) -> Result<Vec<DeployRequest>> {
        let mut requests = Vec::with_capacity(count);
        for number in 0..count {
            let environment = ["staging", "production"][number % 2];
            let spec = json!({
                "application": "checkout", "environment": environment, "version": "main",
                "target": {"namespace": format!("pr-{}", number / 2 % 3)},
            });
            requests.push(self.bed.request(&format!("{name}-{number}"), spec).await?);
        }
        Ok(requests)
    }

    async fn remember_lists(&self) -> Result<()> {
        let namespace = &self.bed.namespace;
        let paths =
            KINDS.map(|kind| format!("/apis/foredeck.dev/v1alpha1/namespaces/{namespace}/{kind}"));
        self.proxy.remember_lists(&paths).await
    }

    fn withhold(&self, kinds: &[&str]) {
        let withheld = Weather {
            withheld: true,
            ..Weather::default()
        };
        self.proxy.set_weather(kinds, &withheld);
    }

    fn clear_sky(&self) {
        self.proxy.set_all_weather(Weather::default());
    }

    async fn all_succeed(&self, requests: &[DeployRequest]) -> Result<()> {
        for request in requests {
            self.bed
                .until_phase(&request.name_any(), Phase::Succeeded)
                .await?;
            ensure!(
                self.bed.launches(request) == 1,
                "{} was started {} times",
                request.name_any(),
                self.bed.launches(request)
            );
        }
        self.bed.until_free().await?;
        self.holds_what_it_promises()
    }

    /// What must be true after whatever happened: one start a request, one execution a target at a time, phases that
    /// only go forward.
    fn holds_what_it_promises(&self) -> Result<()> {
        let mut started = BTreeSet::new();
        for launch in self.bed.gate.launches() {
            ensure!(
                started.insert(launch.request_uid.clone()),
                "started twice: {launch:?}"
            );
        }
        for (key, peak) in self.bed.gate.peak_concurrency() {
            ensure!(peak <= 1, "{peak} executions at once on {key}");
        }
        let mut running = BTreeSet::new();
        let mut ended = BTreeSet::new();
        for write in self.proxy.writes() {
            let done = write.status == Some(200) && write.resource == REQUEST_STATUS;
            let phase = serde_json::from_value(write.body["status"]["phase"].clone());
            let (true, Some(name), Ok(phase)) = (done, write.name, phase) else {
                continue;
            };
            ensure!(
                !ended.contains(&name),
                "{name} had ended, and became {phase:?}"
            );
            match phase {
                Phase::Running => {
                    running.insert(name);
                }
                Phase::Pending | Phase::Queued | Phase::Starting => ensure!(
                    !running.contains(&name),
                    "{name} was running, and became {phase:?}"
                ),
                phase if phase.is_terminal() => {
                    ended.insert(name);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Nothing was started, and nothing is held.
    async fn nothing_started(&self) -> Result<()> {
        self.bed.until_free().await?;
        let launches = self.bed.gate.launches();
        ensure!(launches.is_empty(), "{launches:?}");
        self.holds_what_it_promises()
    }

    /// Cancels directly at the API server, whatever the controller sees of that.
    async fn cancel(&self, name: &str) -> Result<()> {
        let cancelled = self.bed.cancel(name).await?;
        ensure!(!phase_of(&cancelled).is_terminal());
        Ok(())
    }
}

/// The write that the controller was about to make, as the proxy held it.
fn status_of(body: &Value) -> Result<&Value> {
    body.get("status").context("no status is written")
}

const PATCH: Method = Method::PATCH;
