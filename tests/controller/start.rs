//! Starts of other kinds: the other endpoint, a connection that holds, a person who lets go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployTarget, Environment, SpinnakerConnection,
    deploy_request::{Phase, WaitingFor},
};
use foredeck_testkit::gate::{Effect, Fault, Operation};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{Bed, deploy, message, phase_of, reason};

const QUICK: Duration = Duration::from_millis(300);

impl Bed {
    /// Lets `environment` go through a connection that differs from the usual one by these fields.
    async fn connect(&self, environment: &str, fields: Value) -> Result<()> {
        let mut connection = self.connection();
        if let (Some(spec), Value::Object(fields)) = (connection.as_object_mut(), fields) {
            spec.extend(fields);
        }
        self.create::<SpinnakerConnection>(environment, connection)
            .await?;
        let through = json!({"spec": {"connection": environment}});
        self.merge::<Environment>(environment, through).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_endpoint_starts_once_too_and_finds_what_it_started_by_its_correlation_id()
-> Result<()> {
    let bed = Bed::new("v1", QUICK).await?;
    bed.connect("staging", json!({"trigger": "V1"})).await?;
    let _controller = bed.controller()?;
    let plain = bed.deploy("plain").await?;
    let ended = bed.until_phase("plain", Phase::Succeeded).await?;
    let status = ended.status.unwrap_or_default();
    let attempt = status.attempt.context("no attempt")?;
    let execution = status.execution.context("no execution")?;
    ensure!(
        execution.id != attempt.execution_id && execution.status == "SUCCEEDED",
        "{execution:?}"
    );

    bed.gate.inject(Fault::new(
        Operation::Trigger,
        Effect::AcceptedThenTimeout { answer_after: None },
    ));
    let lost = bed.request("lost", deploy("staging", "v2")).await?;
    let ended = bed.until_phase("lost", Phase::Succeeded).await?;
    ensure!(
        bed.launches(&plain) == 1 && bed.launches(&lost) == 1 && bed.gate.launches().len() == 2
    );
    ensure!(
        bed.gate.count_calls(Operation::Trigger) == 2
            && bed.gate.count_calls(Operation::Start) == 0
    );
    let correlation = ended
        .status
        .and_then(|status| status.attempt)
        .context("no attempt")?
        .correlation_id;
    let launch = bed.gate.launches_of(&lost.uid().unwrap_or_default());
    ensure!(
        launch[0].correlation_id.as_deref() == Some(&correlation),
        "{launch:?}"
    );

    // Not accepted at all: after the settle time it is sent once more, and runs once.
    bed.gate
        .inject(Fault::new(Operation::Trigger, Effect::ResetBeforeEffect));
    let dropped = bed.request("dropped", deploy("staging", "v3")).await?;
    bed.until_phase("dropped", Phase::Succeeded).await?;
    ensure!(bed.launches(&dropped) == 1 && bed.gate.count_calls(Operation::Trigger) == 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_holds_sends_nothing_again_until_a_person_lets_go() -> Result<()> {
    let bed = Bed::new("hold", QUICK).await?;
    bed.connect("staging", json!({"onUnknown": "Hold"})).await?;
    let _controller = bed.controller()?;
    bed.gate
        .inject(Fault::new(Operation::Start, Effect::ResetBeforeEffect));
    let held = bed.deploy("held").await?;
    let stalled = bed
        .until("held", "held for a person", |request| {
            let waiting = request
                .status
                .as_ref()
                .and_then(|status| status.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.subject == WaitingFor::Person)
        })
        .await?;
    ensure!(
        phase_of(&stalled) == Phase::Unknown && reason(&stalled, "Stalled") == "StartUnknown",
        "{stalled:?}"
    );
    let attempt = stalled
        .status
        .clone()
        .and_then(|status| status.attempt)
        .context("no attempt")?;
    for part in [
        "the connection says Hold",
        &attempt.execution_id,
        &attempt.correlation_id,
        "release the DeployTarget",
    ] {
        ensure!(
            message(&stalled).contains(part),
            "{part:?} is not in {:?}",
            message(&stalled)
        );
    }
    let next = bed.request("next", deploy("staging", "v2")).await?;
    bed.until_phase("next", Phase::Queued).await?;

    // Another's name on the order opens nothing, however long it holds.
    let target = bed.target("staging").await?.name_any();
    let order = |uid: &str| json!({"spec": {"release": {"requestUid": uid, "reason": "looked in Spinnaker: nothing runs"}}});
    bed.merge::<DeployTarget>(&target, order(&next.uid().unwrap_or_default()))
        .await?;
    bed.until("held", "well past the settle time", |request| {
        let waiting = request
            .status
            .as_ref()
            .and_then(|status| status.waiting.as_ref());
        waiting.is_some_and(|waiting| {
            jiff::Timestamp::now()
                .duration_since(waiting.since.0)
                .as_secs()
                >= 5
        })
    })
    .await?;
    ensure!(
        phase_of(&bed.get("held").await?) == Phase::Unknown
            && bed.gate.count_calls(Operation::Start) == 1
    );

    bed.merge::<DeployTarget>(&target, order(&held.uid().unwrap_or_default()))
        .await?;
    let ended = bed.until_phase("held", Phase::Failed).await?;
    ensure!(
        reason(&ended, "Succeeded") == "Released"
            && message(&ended).contains("looked in Spinnaker: nothing runs")
            && message(&ended).contains("may still run"),
        "{}",
        message(&ended)
    );
    bed.until_phase("next", Phase::Succeeded).await?;
    ensure!(
        bed.launches(&held) == 0
            && bed.launches(&next) == 1
            && bed.gate.count_calls(Operation::Start) == 2
    );
    Ok(())
}
