//! What goes wrong with logins, one thing after the other: the condition says what, a certificate is used until its end and
//! no longer, requests wait with the reason, what runs is followed on, and all goes on by itself when it is mended.

mod answers;
mod authorities;
mod clocks;
mod outages;
mod rights;
mod sending;
mod tokens;

use anyhow::{Result, ensure};
use foredeck::api::{
    DeployRequest, conditions::ConditionType, connection::SpinnakerConnectionStatus,
    deploy_request::Phase,
};
use foredeck_testkit::{gate::Operation, wait_for};
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::support::{PATIENCE, World};

/// The condition `Ready`.
fn ready(status: &SpinnakerConnectionStatus) -> Result<&Condition> {
    let kind = ConditionType::Ready.to_string();
    let mut conditions = status.conditions.iter();
    conditions
        .find(|condition| condition.type_ == kind)
        .ok_or_else(|| anyhow::anyhow!("no condition Ready"))
}

impl World {
    /// Starts what runs until it is told to end, in an Environment of its own behind that connection.
    async fn hold(&self, name: &str, connection: &str) -> Result<()> {
        self.environment(name, connection).await?;
        self.ask(name, "hold", name).await?;
        self.until_phase(name, Phase::Running).await.map(drop)
    }

    /// The execution of a request that was launched once.
    async fn execution_of(&self, name: &str) -> Result<String> {
        let request = self.api::<DeployRequest>().get(name).await?;
        let launches = self.gate.launches_of(&request.uid().unwrap_or_default());
        ensure!(launches.len() == 1, "{name}: {} launches", launches.len());
        Ok(launches[0].execution_id.clone())
    }

    /// How often Gate said how an execution does.
    fn looks_at(&self, execution: &str) -> usize {
        let calls = self.gate.calls();
        let looks = calls.iter().filter(|call| {
            let asked = call.query.values().any(|ids| ids.contains(execution));
            let about = call.execution.as_deref() == Some(execution) || asked;
            about
                && matches!(call.operation, Operation::Batch | Operation::GetExecution)
                && call.status == Some(200)
        });
        looks.count()
    }

    /// Waits until what runs was looked at once more, which it is when somebody touches its request.
    async fn until_followed(&self, name: &str) -> Result<()> {
        let execution = self.execution_of(name).await?;
        let before = self.looks_at(&execution);
        let touch =
            json!({"metadata": {"annotations": {"example.com/touched": before.to_string()}}});
        let parameters = PatchParams::default();
        let api = self.api::<DeployRequest>();
        api.patch(name, &parameters, &Patch::Merge(touch)).await?;
        wait_for(&format!("{name} to be looked at"), PATIENCE, async || {
            ensure!(self.looks_at(&execution) > before, "not since");
            Ok(())
        })
        .await
    }

    /// Ends what runs, and waits until that is known.
    async fn finish(&self, name: &str) -> Result<()> {
        let execution = self.execution_of(name).await?;
        ensure!(self.gate.finish(&execution), "{name} has ended already");
        self.until_phase(name, Phase::Succeeded).await.map(drop)
    }

    /// The connection is ready for as long as its certificate lasts, and says why there is no next one.
    async fn until_not_renewed(&self, connection: &str, says: &str) -> Result<()> {
        let fails = "Renewing it fails";
        let status = self
            .until_said(connection, "ConfigurationValid", fails)
            .await?;
        let ready = ready(&status)?;
        ensure!(
            ready.status == "True" && ready.message.contains(says),
            "{connection}: {ready:?}"
        );
        let shown = status.certificate.as_ref().map(|shown| shown.not_after.0);
        let until = format!("lasts until {}", shown.unwrap_or_default());
        ensure!(ready.message.contains(&until), "{connection}: {ready:?}");
        ensure!(status.user.as_ref() == Some(&self.principal), "{status:?}");
        Ok(())
    }

    /// The connection's certificate has ended, and a new request waits with the cause.
    async fn until_expired(&self, connection: &str, request: &str, says: &str) -> Result<()> {
        let status = self
            .until_said(connection, "CertificateExpired", says)
            .await?;
        ensure!(status.certificate.is_none() && status.user.is_none());
        ensure!(ready(&status)?.status == "False", "{status:?}");
        let text = self.until_waiting(request, "CertificateExpired").await?;
        ensure!(text.contains(says), "{request}: {text}");
        ensure!(self.launches(request).await? == 0, "{request} was launched");
        Ok(())
    }

    /// What waited has gone on, once.
    async fn until_gone_on(&self, request: &str) -> Result<()> {
        self.until_phase(request, Phase::Succeeded).await?;
        let launches = self.launches(request).await?;
        ensure!(launches == 1, "{request}: {launches} launches");
        Ok(())
    }

    /// The notes of the warnings about a connection whose certificate can't be renewed.
    async fn warnings(&self, connection: &str) -> Result<Vec<String>> {
        let api: Api<Event> = self.api();
        let about = ListParams::default().fields(&format!("regarding.name={connection}"));
        let events = api.list(&about).await?.items;
        let warnings = events
            .into_iter()
            .filter(|event| event.type_.as_deref() == Some("Warning"));
        let notes = warnings.filter_map(|event| {
            // The same again is counted in the first.
            let times = event.series.map_or(1, |series| series.count);
            event.note.map(|note| format!("{times} times: {note}"))
        });
        Ok(notes
            .filter(|note| note.contains("can't be renewed"))
            .collect())
    }
}
