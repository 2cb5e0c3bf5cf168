//! A Gate that is away, wants a login, or says what nobody expects.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, Environment, SpinnakerConnection,
    deploy_request::{DeployRequestStatus, Phase, WaitingFor},
};
use foredeck_testkit::{
    StandInGate,
    gate::{Authentication, Effect, Fault, Operation, Parameter, Pipeline, Stage, Status},
    wait_for,
};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{Bed, message, phase_of, reason};

const QUICK: Duration = Duration::from_millis(300);

/// What [`Bed::restart`] and [`Bed::hold`] start.
pub(crate) fn pipelines_to_restart_and_hold(gate: &StandInGate, work: Duration) {
    gate.put_pipeline(
        Pipeline::new("checkout", "Restart")
            .parameter(Parameter::new("account").required())
            .parameter(Parameter::new("namespace").required())
            .stage(Stage::deploy("Restart", work)),
    );
    gate.put_pipeline(Pipeline::new("checkout", "Hold").stage(Stage::held("Hold")));
}

impl Bed {
    /// An environment of that name, with a connection and a Gate of its own that has the pipeline Restart.
    async fn another_gate(&self, name: &str, auth: &Value) -> Result<StandInGate> {
        let gate = StandInGate::start().await?;
        pipelines_to_restart_and_hold(&gate, QUICK);
        let mut connection = self.connection();
        connection["gateUrl"] = json!(gate.url());
        connection["auth"] = auth.clone();
        self.create::<SpinnakerConnection>(name, connection).await?;
        let target = json!({"account": format!("eks-{name}"), "namespace": "shop"});
        self.create::<Environment>(name, json!({"connection": name, "target": target}))
            .await?;
        Ok(gate)
    }

    /// A restart of checkout in that environment, under that name.
    pub(crate) async fn restart(&self, environment: &str) -> Result<DeployRequest> {
        let spec =
            json!({"application": "checkout", "environment": environment, "action": "restart"});
        self.request(environment, spec).await
    }

    /// Something that runs in that environment until it is told to end.
    pub(crate) async fn hold(&self, environment: &str) -> Result<DeployRequest> {
        if self.api::<Application>().get_opt("holder").await?.is_none() {
            let holder = json!({"spinnakerApplication": "checkout", "actions": {"deploy": {"pipeline": "Hold"}}});
            self.create::<Application>("holder", holder).await?;
        }
        let spec = json!({"application": "holder", "environment": environment});
        self.request(&format!("hold-{environment}"), spec).await
    }

    /// Waits until the request waits for this reason, and gives its status.
    pub(crate) async fn until_waiting(&self, name: &str, why: &str) -> Result<DeployRequestStatus> {
        let request = self
            .until(name, why, |request| {
                ["Reconciling", "Stalled"]
                    .iter()
                    .any(|kind| reason(request, kind) == why)
                    && request
                        .status
                        .as_ref()
                        .is_some_and(|status| status.waiting.is_some())
            })
            .await?;
        request.status.context("no status")
    }

    pub(crate) async fn put_secret(&self, name: &str, data: Value) -> Result<()> {
        if self.api::<Secret>().get_opt(name).await?.is_some() {
            self.delete::<Secret>(name).await?;
        }
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": name}, "stringData": data}))?;
        self.api::<Secret>()
            .create(&kube::api::PostParams::default(), &secret)
            .await?;
        Ok(())
    }
}

fn text(status: &DeployRequestStatus) -> &str {
    status.message.as_deref().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_missing_wrong_or_expired_is_named_and_mended_without_a_restart()
-> Result<()> {
    let bed = Bed::new("login", QUICK).await?;
    let _controller = bed.controller()?;
    let redirected = bed.another_gate("redirected", &Value::Null).await?;
    redirected.inject(Fault::new(Operation::Any, Effect::RedirectToLogin).permanently());
    let paged = bed.another_gate("paged", &Value::Null).await?;
    paged.inject(Fault::new(Operation::Any, Effect::LoginPage).permanently());
    let by_token = json!({"token": {"secretName": "gate-token", "header": "X-Spinnaker-Token"}});
    let tokened = bed.another_gate("tokened", &by_token).await?;
    let token = |token: &str| Authentication::Token {
        token: token.to_owned(),
        principal: "foredeck".to_owned(),
    };
    tokened.set_authentication(token("right"));
    let basic = bed
        .another_gate("basic", &json!({"basic": {"secretName": "gate-basic"}}))
        .await?;
    basic.set_authentication(Authentication::Basic {
        user: "foredeck".to_owned(),
        password: "pässword".to_owned(),
    });
    bed.put_secret(
        "gate-basic",
        json!({"username": "foredeck", "password": "pässword"}),
    )
    .await?;
    for name in ["redirected", "paged", "tokened", "basic"] {
        bed.restart(name).await?;
    }

    for name in ["redirected", "paged"] {
        let status = bed.until_waiting(name, "LoginFailed").await?;
        ensure!(status.phase == Some(Phase::Pending), "{status:?}");
        ensure!(
            status
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.subject == WaitingFor::Spinnaker),
            "{status:?}"
        );
        ensure!(
            text(&status).contains("does not accept the credentials")
                && text(&status).contains("its owner has to renew"),
            "{status:?}"
        );
        ensure!(status.next_attempt_at.is_some(), "{status:?}");
    }
    let status = bed.until_waiting("tokened", "CredentialsNotFound").await?;
    ensure!(
        status.phase == Some(Phase::Pending)
            && text(&status).contains("Secret \"gate-token\"")
            && text(&status).contains("does not exist"),
        "{status:?}"
    );
    ensure!(
        tokened.count_calls(Operation::Any) == 0,
        "nothing is asked without credentials"
    );

    bed.put_secret("gate-token", json!({"token": "wrong"}))
        .await?;
    let status = bed.until_waiting("tokened", "LoginFailed").await?;
    ensure!(
        text(&status).contains("SpinnakerConnection \"tokened\"")
            && !text(&status).contains("wrong"),
        "{status:?}"
    );
    bed.put_secret("gate-token", json!({"token": "right"}))
        .await?;
    let ended = bed.until_phase("tokened", Phase::Succeeded).await?;
    ensure!(tokened.launches().len() == 1, "{ended:?}");
    let principal = tokened
        .execution(&tokened.launches()[0].execution_id)
        .unwrap_or_default();
    ensure!(
        principal["authentication"]["user"] == "foredeck",
        "{principal}"
    );

    bed.until_phase("basic", Phase::Succeeded).await?;
    ensure!(
        basic.launches().len() == 1 && basic.calls().iter().all(|call| call.authorization_present)
    );

    redirected.clear_faults();
    paged.clear_faults();
    for (name, gate) in [("redirected", &redirected), ("paged", &paged)] {
        bed.until_phase(name, Phase::Succeeded).await?;
        ensure!(gate.launches().len() == 1, "{name}");
    }

    // It runs, and meanwhile the token is taken from us.
    let held = bed.hold("tokened").await?;
    bed.until_phase("hold-tokened", Phase::Running).await?;
    tokened.set_authentication(token("renewed"));
    let status = bed.until_waiting("hold-tokened", "LoginFailed").await?;
    ensure!(
        status.phase == Some(Phase::Running),
        "only the news is missing: {status:?}"
    );
    let execution = tokened.launches_of(&held.uid().unwrap_or_default())[0]
        .execution_id
        .clone();
    ensure!(tokened.finish(&execution));
    bed.put_secret("gate-token", json!({"token": "renewed"}))
        .await?;
    bed.until_phase("hold-tokened", Phase::Succeeded).await?;
    ensure!(tokened.launches().len() == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_get_better_is_tried_again_ever_more_slowly_and_a_cancel_is_heard_at_once()
-> Result<()> {
    let bed = Bed::new("outage", QUICK).await?;
    let _controller = bed.controller()?;
    let down = bed.another_gate("down", &Value::Null).await?;
    down.stop().await;
    let silent = bed.another_gate("silent", &Value::Null).await?;
    silent.set_hanging(true);
    let orcaless = bed.another_gate("orcaless", &Value::Null).await?;
    orcaless.set_orca_down(true);
    let odd = bed.another_gate("odd", &Value::Null).await?;
    odd.inject(Fault::new(Operation::Any, Effect::EmptyBody).permanently());
    let busy = bed.another_gate("busy", &Value::Null).await?;
    let retry_after = Duration::from_secs(3);
    busy.inject(
        Fault::new(Operation::GetConfig, Effect::Shed { retry_after }).of_pipeline("Restart"),
    );
    let forbidding = bed.another_gate("forbidding", &Value::Null).await?;
    let forbidden = json!({"timestamp": "2026-01-01T00:00:00Z", "status": 403, "error": "Forbidden", "message": "Access denied to application checkout"});
    forbidding
        .inject(Fault::new(Operation::GetConfig, Effect::Answer(403, forbidden)).permanently());
    let cases = [
        ("down", "GateUnreachable", "can't be reached"),
        ("silent", "GateUnreachable", "did not answer within 1 s"),
        (
            "orcaless",
            "GateUnreachable",
            "the service behind it takes no connection",
        ),
        ("odd", "SpinnakerUnclear", "Gate's answer is unclear"),
        (
            "forbidding",
            "SpinnakerForbidden",
            "its owner has to ask Spinnaker's operators",
        ),
    ];
    for (name, ..) in cases {
        bed.restart(name).await?;
    }
    bed.restart("busy").await?;
    for (name, why, says) in cases {
        let status = bed.until_waiting(name, why).await?;
        ensure!(status.phase == Some(Phase::Pending), "{name}: {status:?}");
        ensure!(text(&status).contains(says), "{name}: {status:?}");
        ensure!(
            text(&status).contains(&format!("SpinnakerConnection {name:?}")),
            "{name}: {status:?}"
        );
        ensure!(status.next_attempt_at.is_some(), "{name}: {status:?}");
    }

    let note = bed.until_event("busy", "SpinnakerBusy").await?;
    ensure!(note.contains("no capacity"), "{note}");

    // As if it had failed for a minute: the next try is half a minute away, however often the object changes.
    let a_minute_ago = jiff::Timestamp::now() - Duration::from_mins(1);
    bed.merge_status("forbidding", json!({"status": {"waiting": {"since": a_minute_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}}})).await?;
    let later = bed
        .until("forbidding", "a longer wait", |request| {
            request
                .status
                .as_ref()
                .and_then(|status| status.next_attempt_at.as_ref())
                .is_some_and(|next| next.0.duration_since(jiff::Timestamp::now()).as_secs() >= 25)
        })
        .await?;
    ensure!(reason(&later, "Reconciling") == "SpinnakerForbidden");
    // The catalogue asks for other pipelines, by itself.
    let asked_of = || {
        let calls = forbidding.calls_of(Operation::GetConfig);
        calls
            .iter()
            .filter(|call| call.pipeline.as_deref() == Some("Restart"))
            .count()
    };
    let asked = asked_of();
    for _ in 0..3 {
        bed.touch("forbidding").await?;
    }

    down.restart().await?;
    silent.set_hanging(false);
    orcaless.set_orca_down(false);
    odd.clear_faults();
    for (name, gate) in [
        ("down", &down),
        ("silent", &silent),
        ("orcaless", &orcaless),
        ("odd", &odd),
        ("busy", &busy),
    ] {
        bed.until_phase(name, Phase::Succeeded).await?;
        ensure!(gate.launches().len() == 1, "{name}");
    }
    let mut calls = busy.calls_of(Operation::GetConfig);
    calls.retain(|call| call.pipeline.as_deref() == Some("Restart"));
    ensure!(
        calls[1].at - calls[0].at >= 3_000,
        "Gate asked for 3 s: {calls:?}"
    );
    ensure!(asked_of() == asked, "it was asked before its time");

    bed.cancel("forbidding").await?;
    let ended = bed.until_phase("forbidding", Phase::Canceled).await?;
    ensure!(
        message(&ended).contains("before anything was started: changed my mind"),
        "{}",
        message(&ended)
    );
    ensure!(asked_of() == asked && forbidding.launches().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_nobody_knows_is_shown_and_taken_for_work_under_way() -> Result<()> {
    let bed = Bed::new("word", QUICK).await?;
    let _controller = bed.controller()?;
    let gate = bed.another_gate("strange", &Value::Null).await?;
    for operation in [Operation::GetExecution, Operation::Batch] {
        gate.inject(
            Fault::new(
                operation,
                Effect::UnknownStatusWord("LEVITATING".to_owned()),
            )
            .permanently(),
        );
    }
    bed.restart("strange").await?;
    let seen = bed
        .until("strange", "LEVITATING", |request| {
            let execution = request
                .status
                .as_ref()
                .and_then(|status| status.execution.as_ref());
            execution.is_some_and(|execution| execution.status == "LEVITATING")
        })
        .await?;
    ensure!(
        phase_of(&seen) == Phase::Running && reason(&seen, "Reconciling") == "Running",
        "{seen:?}"
    );
    // Ended, as far as Spinnaker is concerned; still nobody concludes anything from the word.
    let execution = gate.launches()[0].execution_id.clone();
    gate.wait_for(&execution, Status::Succeeded).await?;
    let looks = gate.count_calls(Operation::Batch);
    wait_for("two more looks", Duration::from_secs(20), async || {
        ensure!(gate.count_calls(Operation::Batch) >= looks + 2);
        Ok(())
    })
    .await?;
    ensure!(phase_of(&bed.get("strange").await?) == Phase::Running);
    gate.clear_faults();
    bed.until_phase("strange", Phase::Succeeded).await?;
    ensure!(gate.launches().len() == 1);
    Ok(())
}
