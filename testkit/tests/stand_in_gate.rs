//! The stand-in Gate does what it promises: launches are counted, faults befall as asked, and its clock is exact.
//!
//! Facts that hold on a real Gate too are in foredeck's `tests/gate_contract.rs`; here is what only a stand-in can show.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

use std::time::{Duration, Instant};

use foredeck_testkit::StandInGate;
use foredeck_testkit::gate::{
    Authentication, Effect, ExpectedArtifact, FailurePlace, Fault, LaunchKind, Operation,
    Parameter, Pipeline, Recording, Stage, Status, Timing,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

const APPLICATION: &str = "checkout";
const ID: &str = "01M80G0E2CDT4FQJ4A6PQXS8PR";
const OTHER: &str = "01M80G0E2CDT4FQJ4A6PQXS8PS";

/// A stand-in with one pipeline, and a client that neither follows redirects nor keeps connections.
struct Bench {
    gate: StandInGate,
    client: Client,
    config: Value,
}

impl Bench {
    async fn new(pipeline: Pipeline) -> Self {
        Self::with_timing(pipeline, Timing::default()).await
    }

    async fn with_timing(pipeline: Pipeline, timing: Timing) -> Self {
        let gate = StandInGate::start_with(0, timing).await.unwrap();
        let id = gate.put_pipeline(pipeline);
        let config = gate.config(&id).unwrap();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self {
            gate,
            client,
            config,
        }
    }

    fn start_request(&self, id: &str, correlation_id: &str) -> RequestBuilder {
        let mut body = self.config.clone();
        body["executionId"] = json!(id);
        body["trigger"] = json!({
            "type": "manual",
            "user": "alice",
            "parameters": {"account": "staging", "namespace": "web"},
            "correlationId": correlation_id,
            "foredeck": {"uid": format!("uid-{id}"), "target": "checkout/staging"},
        });
        let url = format!("{}/pipelines/start", self.gate.url());
        self.client.post(url).json(&body)
    }

    async fn try_start(&self, id: &str) -> reqwest::Result<Response> {
        self.start_request(id, id).send().await
    }

    async fn start(&self, id: &str) -> Response {
        self.try_start(id).await.unwrap()
    }

    /// Starts, but gives up after the given time, which must come before the answer.
    async fn start_and_give_up(&self, id: &str, patience: Duration) {
        let start = self.start_request(id, id).timeout(patience).send().await;
        assert!(start.unwrap_err().is_timeout());
    }

    async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.gate.url());
        self.client.get(url).send().await.unwrap()
    }

    async fn read(&self, id: &str) -> Response {
        self.get(&format!("/pipelines/{id}")).await
    }

    async fn cancel(&self, id: &str) -> Response {
        let url = format!("{}/pipelines/{id}/cancel", self.gate.url());
        self.client.put(url).send().await.unwrap()
    }

    fn inject(&self, operation: Operation, effect: Effect) {
        self.gate.inject(Fault::new(operation, effect));
    }
}

fn quick() -> Pipeline {
    Pipeline::new(APPLICATION, "Deploy to staging")
        .parameter(Parameter::new("version").default_value("main"))
        .stage(Stage::wait("Bake", Duration::from_millis(10)))
        .stage(Stage::deploy("Deploy", Duration::from_millis(10)))
}

fn held() -> Pipeline {
    Pipeline::new(APPLICATION, "Deploy to staging").stage(Stage::held("Deploy"))
}

#[tokio::test]
async fn one_start_is_one_launch_and_runs_to_its_end() {
    let bench = Bench::new(quick()).await;
    let answer: Value = bench.start(ID).await.json().await.unwrap();
    assert_eq!(answer, json!({"ref": format!("/pipelines/{ID}")}));
    let execution = bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
    assert_eq!(execution["trigger"]["parameters"]["version"], "main");
    assert_eq!(execution["stages"][1]["name"], "Deploy");
    assert_eq!(execution["stages"][1]["status"], "SUCCEEDED");

    let launches = bench.gate.launches_of(&format!("uid-{ID}"));
    assert_eq!(launches.len(), 1);
    assert_eq!(launches[0].kind, LaunchKind::New);
    assert_eq!(launches[0].target.as_deref(), Some("checkout/staging"));
    assert_eq!(bench.gate.peak_concurrency()["target/checkout/staging"], 1);
}

#[tokio::test]
async fn a_wipe_is_a_second_launch_and_a_dedupe_is_none() {
    let bench = Bench::new(held()).await;
    bench.start(ID).await;
    bench.start(ID).await;
    assert_eq!(bench.gate.launches().len(), 1);
    bench.gate.finish(ID);
    bench.start(ID).await;
    let launches = bench.gate.launches();
    let kinds: Vec<_> = launches.iter().map(|launch| launch.kind).collect();
    assert_eq!(kinds, [LaunchKind::New, LaunchKind::Wiped]);
}

#[tokio::test]
async fn a_disabled_pipelines_record_is_no_launch() {
    let bench = Bench::new(quick().disabled()).await;
    assert_eq!(bench.start(ID).await.status(), StatusCode::BAD_REQUEST);
    assert!(bench.gate.launches().is_empty());
    assert_eq!(bench.gate.stored_starts()[0].kind, LaunchKind::Refused);
    assert_eq!(bench.gate.status(ID), Some(Status::Terminal));
}

#[tokio::test]
async fn peaks_count_what_runs_at_the_same_time_by_config_account_and_namespace() {
    let bench = Bench::new(held()).await;
    bench.start(ID).await;
    bench.start(OTHER).await;
    bench.gate.wait_for(ID, Status::Running).await.unwrap();
    bench.gate.wait_for(OTHER, Status::Running).await.unwrap();
    let key = format!("{}/staging/web", bench.config["id"].as_str().unwrap());
    assert_eq!(bench.gate.peak_concurrency()[&key], 2);
    bench.gate.finish(ID);
    bench.gate.reset_log();
    assert_eq!(bench.gate.peak_concurrency()[&key], 1);
}

#[tokio::test]
async fn concurrent_starts_of_one_id_destroy_the_execution() {
    let bench = Bench::new(held()).await;
    let (first, second) = tokio::join!(bench.start(ID), bench.start(ID));
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(second.status(), StatusCode::OK);
    let execution = bench.gate.wait_for(ID, Status::Terminal).await.unwrap();
    assert_eq!(execution["stages"][0]["status"], "NOT_STARTED");
    assert!(execution.get("cancellationReason").is_none());
    assert_eq!(bench.gate.launches().len(), 2);
}

#[tokio::test]
async fn concurrent_starts_with_one_correlation_id_both_run() {
    let bench = Bench::new(held()).await;
    let (first, second) = tokio::join!(
        bench.start_request(ID, "same").send(),
        bench.start_request(OTHER, "same").send()
    );
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(bench.gate.launches().len(), 2);
}

#[tokio::test]
async fn a_thousand_executions_run_at_once() {
    let bench = Bench::new(held()).await;
    bench.gate.set_recording(Recording {
        bodies: false,
        calls: 10,
    });
    let ids: Vec<String> = (0..1_000)
        .map(|number| format!("01M80G0E2CDT4FQJ4A6PQX{number:04}"))
        .collect();
    for chunk in ids.chunks(50) {
        let starts = chunk.iter().map(|id| bench.start(id));
        for answer in futures::future::join_all(starts).await {
            assert_eq!(answer.status(), StatusCode::OK);
        }
    }
    for id in &ids {
        bench.gate.wait_for(id, Status::Running).await.unwrap();
    }
    assert_eq!(bench.gate.launches().len(), 1_000);
    assert_eq!(
        bench.gate.peak_concurrency()["target/checkout/staging"],
        1_000
    );
    assert_eq!(bench.gate.count_calls(Operation::Start), 1_000);
    assert_eq!(bench.gate.calls().len(), 10);
}

#[tokio::test]
async fn failures_leave_their_text_in_each_of_the_real_places() {
    let places = [
        (
            FailurePlace::ExceptionErrors,
            "/context/exception/details/errors/0",
        ),
        (
            FailurePlace::ExceptionError,
            "/context/exception/details/error",
        ),
        (
            FailurePlace::KatoTasks,
            "/context/kato.tasks/0/exception/message",
        ),
        (
            FailurePlace::KatoHistory,
            "/context/kato.tasks/0/history/1/status",
        ),
        (FailurePlace::FailureMessage, "/context/failureMessage"),
        (FailurePlace::Webhook, "/context/webhook/error"),
        (
            FailurePlace::Expression,
            "/context/expressionEvaluationSummary/nosuch.thing/0/description",
        ),
        (FailurePlace::FailedManifests, "/context/messages/0"),
        (
            FailurePlace::TaskException,
            "/tasks/0/taskExceptionDetails/exception/details/error",
        ),
    ];
    for (place, pointer) in places {
        let stage = Stage::fail_in("Deploy", place, "quota exceeded");
        let bench = Bench::new(Pipeline::new(APPLICATION, "Deploy").stage(stage)).await;
        bench.start(ID).await;
        let execution = bench.gate.wait_for(ID, Status::Terminal).await.unwrap();
        let text = execution["stages"][0]
            .pointer(pointer)
            .and_then(Value::as_str);
        assert!(
            text.is_some_and(|text| text.contains("quota exceeded")),
            "{place:?}: {execution}"
        );
        assert!(!execution.to_string().contains("standIn"), "{execution}");
    }
}

#[tokio::test]
async fn a_failing_stage_can_succeed_when_it_is_restarted() {
    let stage = Stage::fail("Deploy", "quota exceeded").failing_times(1);
    let bench = Bench::new(Pipeline::new(APPLICATION, "Deploy").stage(stage)).await;
    bench.start(ID).await;
    bench.gate.wait_for(ID, Status::Terminal).await.unwrap();
    assert!(bench.gate.restart_finished(ID));
    let execution = bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
    let details = &execution["stages"][0]["context"]["restartDetails"];
    assert_eq!(
        details["previousException"]["details"]["errors"][0],
        "quota exceeded"
    );
    assert_eq!(bench.gate.launches().len(), 1);
}

#[tokio::test]
async fn an_ignored_failure_lets_the_pipeline_go_on() {
    let pipeline = Pipeline::new(APPLICATION, "Deploy")
        .stage(Stage::fail("Smoke test", "flaky").ignoring_failure())
        .stage(Stage::wait("Settle", Duration::ZERO));
    let bench = Bench::new(pipeline).await;
    bench.start(ID).await;
    let execution = bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
    assert_eq!(execution["stages"][0]["status"], "FAILED_CONTINUE");
}

#[tokio::test]
async fn a_failure_cancels_the_branches_beside_it() {
    let pipeline = Pipeline::new(APPLICATION, "Deploy")
        .stage(Stage::fail("East", "no quota").taking(Duration::from_millis(50)))
        .stage(Stage::held("West").after([]))
        .stage(Stage::wait("Settle", Duration::ZERO).after([1, 2]));
    let bench = Bench::new(pipeline).await;
    bench.start(ID).await;
    let execution = bench.gate.wait_for(ID, Status::Terminal).await.unwrap();
    let statuses: Vec<&Value> = execution["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| &stage["status"])
        .collect();
    assert_eq!(statuses, ["TERMINAL", "CANCELED", "NOT_STARTED"]);
}

#[tokio::test]
async fn a_judgment_that_comes_too_early_is_answered_and_lost() {
    let pipeline = Pipeline::new(APPLICATION, "Judge").stage(Stage::judgment("Approve?", "", []));
    let timing = Timing {
        task_start: Duration::from_millis(300),
        ..Timing::default()
    };
    let bench = Bench::with_timing(pipeline, timing).await;
    bench.start(ID).await;
    let execution = bench.gate.wait_for(ID, Status::Running).await.unwrap();
    let stage = execution["stages"][0]["id"].as_str().unwrap();
    let url = format!("{}/pipelines/{ID}/stages/{stage}", bench.gate.url());
    let judgment = bench
        .client
        .patch(&url)
        .json(&json!({"judgmentStatus": "continue"}));
    let answer: Value = judgment.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["stages"][0]["context"]["judgmentStatus"], "continue");

    let deadline = Instant::now() + Duration::from_secs(5);
    let stage = loop {
        let stage = bench.gate.execution(ID).unwrap()["stages"][0].clone();
        if stage["tasks"][0]["status"] == "RUNNING" {
            break stage;
        }
        assert!(Instant::now() < deadline, "{stage}");
        tokio::task::yield_now().await;
    };
    assert!(stage["context"].get("judgmentStatus").is_none());
    assert!(bench.gate.judge(ID, "continue", "bob"));
    bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
}

#[tokio::test]
async fn a_judgment_of_whoever_lacks_the_role_is_answered_and_taken_back() {
    let stage = Stage::judgment("Approve?", "", []).with("selectedStageRoles", json!(["qa"]));
    let bench = Bench::new(Pipeline::new(APPLICATION, "Judge").stage(stage)).await;
    bench.gate.set_roles([("sam", ["qa"].as_slice())]);
    bench.start(ID).await;
    let context = async |what: &str, holds: &dyn Fn(&Value) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let stage = bench.gate.execution(ID).unwrap()["stages"][0].clone();
            if holds(&stage) {
                break;
            }
            assert!(Instant::now() < deadline, "{what}: {stage}");
            tokio::task::yield_now().await;
        }
    };
    context("waiting", &|stage| stage["tasks"][0]["status"] == "RUNNING").await;
    assert!(bench.gate.judge(ID, "continue", "bob"));
    context("taken back", &|stage| {
        stage["context"]["judgmentStatus"] == "" && stage["status"] == "RUNNING"
    })
    .await;
    assert!(bench.gate.judge(ID, "continue", "sam"));
    bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
}

#[tokio::test]
async fn accepted_then_timeout_starts_once_and_never_answers() {
    let bench = Bench::new(held()).await;
    bench.inject(
        Operation::Start,
        Effect::AcceptedThenTimeout { answer_after: None },
    );
    bench
        .start_and_give_up(ID, Duration::from_millis(300))
        .await;
    bench.gate.wait_for(ID, Status::Running).await.unwrap();
    assert_eq!(bench.gate.pending_faults(), 0);
    let call = &bench.gate.calls_of(Operation::Start)[0];
    assert_eq!(
        (call.fault, call.status),
        (Some("AcceptedThenTimeout"), None)
    );
}

#[tokio::test]
async fn a_reset_is_a_broken_connection_with_or_without_the_effect() {
    let bench = Bench::new(held()).await;
    bench.inject(Operation::Start, Effect::ResetBeforeEffect);
    let error = bench.try_start(ID).await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
    assert_eq!(bench.gate.status(ID), None);

    bench.inject(Operation::Start, Effect::ResetAfterEffect);
    let error = bench.try_start(ID).await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
    assert!(bench.gate.status(ID).is_some());
}

#[tokio::test]
async fn server_errors_come_with_or_without_the_effect() {
    let bench = Bench::new(held()).await;
    bench.inject(Operation::Start, Effect::ServerErrorBefore);
    let answer = bench.start(ID).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = answer.json().await.unwrap();
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with("Failed to connect to"), "{message}");
    assert_eq!(bench.gate.status(ID), None);

    bench.inject(Operation::Start, Effect::ServerErrorAfterAcceptance);
    let answer = bench.start(ID).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(bench.gate.status(ID).is_some());
}

#[tokio::test]
async fn refusals_at_the_door_do_nothing_and_show_what_gate_shows() {
    let bench = Bench::new(held()).await;
    let second = Duration::from_secs(1);
    let effects = [
        Effect::RateLimited {
            reset_after: second,
        },
        Effect::Shed {
            retry_after: second,
        },
        Effect::RedirectToLogin,
        Effect::LoginPage,
        Effect::EmptyBody,
    ];
    for effect in effects {
        bench.inject(Operation::Start, effect);
    }
    let limited = bench.start(ID).await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(limited.headers()["x-ratelimit-remaining"], "0");
    let shed = bench.start(ID).await;
    assert_eq!(shed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shed.headers()["retry-after"], "1");
    let redirect = bench.start(ID).await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
    assert_eq!(redirect.headers()["location"], "/login");
    let page = bench.start(ID).await;
    assert_eq!(page.status(), StatusCode::OK);
    let kind = page.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/html"), "{kind}");
    let empty = bench.start(ID).await;
    assert_eq!(empty.status(), StatusCode::OK);
    assert_eq!(empty.text().await.unwrap(), "");
    assert!(bench.gate.launches().is_empty());
    assert_eq!(bench.gate.count_calls(Operation::Start), 5);
}

#[tokio::test]
async fn a_created_execution_can_be_hidden_from_reads_for_a_while() {
    let bench = Bench::new(held()).await;
    let started = Instant::now();
    bench.inject(
        Operation::Start,
        Effect::HideCreated(Duration::from_millis(200)),
    );
    assert_eq!(bench.start(ID).await.status(), StatusCode::OK);
    assert_eq!(bench.read(ID).await.status(), StatusCode::NOT_FOUND);
    while bench.read(ID).await.status() == StatusCode::NOT_FOUND {
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn an_abandoned_start_runs_long_after_its_caller_gave_up() {
    let bench = Bench::new(held()).await;
    let after = Duration::from_millis(500);
    bench.inject(Operation::Start, Effect::AbandonedStart { after });
    bench
        .start_and_give_up(ID, Duration::from_millis(100))
        .await;
    assert_eq!(bench.read(ID).await.status(), StatusCode::NOT_FOUND);
    bench.gate.wait_for(ID, Status::Running).await.unwrap();
    assert_eq!(bench.gate.launches().len(), 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_take_its_start_back() {
    let timing = Timing {
        acceptance: Duration::from_millis(400),
        ..Timing::default()
    };
    let bench = Bench::with_timing(held(), timing).await;
    bench
        .start_and_give_up(ID, Duration::from_millis(100))
        .await;
    assert_eq!(bench.gate.status(ID), None);
    bench.gate.wait_for(ID, Status::Running).await.unwrap();
}

#[tokio::test]
async fn faults_choose_their_calls_by_execution_and_by_turn() {
    let bench = Bench::new(held()).await;
    bench.start(ID).await;
    bench.start(OTHER).await;
    let word = Effect::UnknownStatusWord("FROBNICATED".to_owned());
    let fault = Fault::new(Operation::GetExecution, word);
    bench.gate.inject(fault.of_execution(OTHER).permanently());
    for _ in 0..2 {
        let read: Value = bench.read(OTHER).await.json().await.unwrap();
        assert_eq!(read["status"], "FROBNICATED");
    }
    let read: Value = bench.read(ID).await.json().await.unwrap();
    assert_ne!(read["status"], "FROBNICATED");
    bench.gate.clear_faults();
    assert_eq!(bench.gate.pending_faults(), 0);

    let fault = Fault::new(Operation::Cancel, Effect::EmptyBody);
    bench.gate.inject(fault.skipping(1));
    bench.cancel(ID).await;
    bench.gate.wait_for(ID, Status::Canceled).await.unwrap();
    assert_eq!(bench.cancel(OTHER).await.status(), StatusCode::OK);
    assert_eq!(bench.gate.execution(OTHER).unwrap()["canceled"], false);
}

#[tokio::test]
async fn gate_can_go_away_and_come_back_on_its_port_with_its_data() {
    let bench = Bench::new(quick()).await;
    bench.start(ID).await;
    bench.gate.stop().await;
    assert!(bench.try_start(OTHER).await.unwrap_err().is_connect());
    bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
    bench.gate.restart().await.unwrap();
    assert_eq!(bench.read(ID).await.status(), StatusCode::OK);
    assert_eq!(bench.read(OTHER).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn stopping_breaks_the_calls_under_way() {
    let bench = Bench::new(held()).await;
    bench.gate.set_hanging(true);
    let stopping = async {
        while bench.gate.count_calls(Operation::Start) == 0 {
            tokio::task::yield_now().await;
        }
        bench.gate.stop().await;
    };
    let (answer, ()) = tokio::join!(bench.try_start(ID), stopping);
    assert!(!answer.unwrap_err().is_timeout());
    assert_eq!(bench.gate.status(ID), None);
}

#[tokio::test]
async fn with_orca_down_nothing_starts_and_health_tells_only_when_asked() {
    let bench = Bench::new(held()).await;
    bench.gate.set_orca_down(true);
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(bench.start(ID).await.status(), failed);
    assert_eq!(bench.read(ID).await.status(), failed);
    assert_eq!(bench.get("/health").await.status(), StatusCode::OK);
    let downstream = bench.get("/health?downstreamServices=true").await;
    assert_eq!(downstream.status(), StatusCode::SERVICE_UNAVAILABLE);
    bench.gate.set_orca_down(false);
    assert_eq!(bench.read(ID).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn basic_login_redirects_whoever_is_not_let_in() {
    let bench = Bench::new(held()).await;
    bench.gate.set_authentication(Authentication::Basic {
        user: "deploy".to_owned(),
        password: "s3cret".to_owned(),
    });
    assert_eq!(bench.start(ID).await.status(), StatusCode::FOUND);
    assert_eq!(bench.get("/version").await.status(), StatusCode::FOUND);
    assert_eq!(bench.get("/health").await.status(), StatusCode::OK);
    assert_eq!(bench.get("/auth/user").await.text().await.unwrap(), "");
    let url = format!("{}/auth/user", bench.gate.url());
    let request = bench.client.get(&url).basic_auth("deploy", Some("s3cret"));
    let user: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(user["username"], "deploy");
    let request = bench.client.get(&url).basic_auth("deploy", Some("wrong"));
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "");
}

#[tokio::test]
async fn a_wrong_token_is_a_clean_401_and_is_not_kept() {
    let bench = Bench::new(held()).await;
    bench.gate.set_authentication(Authentication::Token {
        token: "spk_right".to_owned(),
        principal: "foredeck".to_owned(),
    });
    assert_eq!(bench.start(ID).await.status(), StatusCode::UNAUTHORIZED);
    let request = bench
        .start_request(ID, ID)
        .header("X-Spinnaker-Token", "spk_right");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let execution = bench.gate.execution(ID).unwrap();
    assert_eq!(execution["authentication"]["user"], "foredeck");
    let calls = bench.gate.calls_of(Operation::Start);
    assert!(!calls[0].authorization_present && calls[1].authorization_present);
    assert!(!format!("{calls:?}").contains("spk_right"));
}

#[tokio::test]
async fn slow_answers_and_chosen_answers_come_as_asked() {
    let bench = Bench::new(held()).await;
    let time = Duration::from_millis(100);
    bench.inject(Operation::Any, Effect::SlowAnswer(time));
    let started = Instant::now();
    assert_eq!(bench.start(ID).await.status(), StatusCode::OK);
    assert!(started.elapsed() >= time);
    let denied = Effect::Answer(403, json!({"message": "Access is denied"}));
    let fault = Fault::new(Operation::GetConfig, denied);
    let id = bench.config["id"].as_str().unwrap();
    bench.gate.inject(fault.of_pipeline(id));
    let path = format!("/applications/{APPLICATION}/pipelineConfigs/{id}");
    assert_eq!(bench.get(&path).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(bench.get(&path).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_test_may_do_to_executions_what_nobody_else_may() {
    let bench = Bench::new(held()).await;
    bench.start(ID).await;
    bench.gate.wait_for(ID, Status::Running).await.unwrap();
    assert!(bench.gate.set_status(ID, Status::Suspended));
    assert_eq!(bench.gate.status(ID), Some(Status::Suspended));
    assert!(bench.gate.finish(ID));
    assert!(bench.gate.restart_finished(ID));
    assert_eq!(bench.gate.status(ID), Some(Status::Running));
    assert!(bench.gate.finish(ID));
    assert!(bench.gate.rerun(ID));
    assert_eq!(bench.gate.launches().len(), 2);
    assert!(bench.gate.forget(ID));
    assert_eq!(bench.read(ID).await.status(), StatusCode::NOT_FOUND);
    assert!(!bench.gate.forget(ID));
}

#[tokio::test]
async fn ids_that_are_no_upper_case_ulids_are_punished_as_by_postgres() {
    let bench = Bench::new(held()).await;
    let too_long = "5f0c1a52-76a6-4d6e-9d0c-0f6cfb1f3c11";
    let answer = bench.start(too_long).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(bench.gate.status(too_long), None);
    let answer = bench.start_request(ID, &"c".repeat(256)).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);

    // An id in lower case stays the newest for ever.
    let lower = "custom-1";
    bench.start(lower).await;
    bench.start(ID).await;
    let config_id = bench.config["id"].as_str().unwrap();
    let path = format!("/executions?pipelineConfigIds={config_id}&limit=1");
    let list: Value = bench.get(&path).await.json().await.unwrap();
    assert_eq!(list[0]["id"], lower);
}

#[tokio::test]
async fn executions_are_found_by_a_part_of_their_trigger() {
    let bench = Bench::new(held()).await;
    bench.start_request(ID, "same").send().await.unwrap();
    bench.start(OTHER).await;
    // {"correlationId":"same"}
    let wanted = "eyJjb3JyZWxhdGlvbklkIjoic2FtZSJ9";
    let path = format!("/applications/{APPLICATION}/executions/search?trigger={wanted}");
    let found: Value = bench.get(&path).await.json().await.unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["id"], ID);
}

#[tokio::test]
async fn failed_stages_are_a_500_out_of_the_box() {
    let bench = Bench::new(held()).await;
    let path = format!("/executions/failedStages?executionId={ID}");
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(bench.get(&path).await.status(), failed);
}

#[tokio::test]
async fn kept_waiters_run_one_after_the_other() {
    let pipeline = Pipeline::new(APPLICATION, "Deploy")
        .limit_concurrent(true)
        .stage(Stage::held("Deploy"));
    let bench = Bench::new(pipeline).await;
    let third = "01M80G0E2CDT4FQJ4A6PQXS8PT";
    for id in [ID, OTHER, third] {
        bench.start(id).await;
        bench.gate.wait_for(ID, Status::Running).await.unwrap();
    }
    assert_eq!(bench.gate.status(third), Some(Status::NotStarted));
    for id in [ID, OTHER, third] {
        bench.gate.wait_for(id, Status::Running).await.unwrap();
        bench.gate.finish(id);
    }
    assert_eq!(bench.gate.peak_concurrency()["target/checkout/staging"], 1);
}

#[tokio::test]
async fn a_cancelled_parent_cancels_its_child() {
    let bench = Bench::new(held()).await;
    let child_config = bench.config["id"].as_str().unwrap();
    let stage = Stage::pipeline("Roll out", APPLICATION, child_config);
    let parent = bench
        .gate
        .put_pipeline(Pipeline::new(APPLICATION, "Parent").stage(stage));
    let url = format!("{}/pipelines/{APPLICATION}/{parent}", bench.gate.url());
    let answer = bench.client.post(url).json(&json!({})).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    let parent = answer["ref"].as_str().unwrap().replace("/pipelines/", "");

    let deadline = Instant::now() + Duration::from_secs(5);
    let child = loop {
        let parent = bench.gate.execution(&parent).unwrap();
        if let Some(child) = parent["stages"][0]["context"]["executionId"].as_str() {
            break child.to_owned();
        }
        assert!(Instant::now() < deadline, "{parent}");
        tokio::task::yield_now().await;
    };
    bench.gate.wait_for(&child, Status::Running).await.unwrap();
    assert_eq!(bench.gate.launches().len(), 1);
    bench.gate.cancel(&parent, "alice", "wrong version");
    bench
        .gate
        .wait_for(&parent, Status::Canceled)
        .await
        .unwrap();
    bench.gate.wait_for(&child, Status::Canceled).await.unwrap();
}

/// A start that hands over these artifacts for the expected ones with these ids.
async fn start_with(bench: &Bench, id: &str, artifacts: Value, ids: Value) -> (StatusCode, Value) {
    let mut body = bench.config.clone();
    body["executionId"] = json!(id);
    body["trigger"] = json!({"type": "manual", "artifacts": artifacts, "expectedArtifactIds": ids});
    let url = format!("{}/pipelines/start", bench.gate.url());
    let answer = reqwest::Client::new()
        .post(url)
        .json(&body)
        .send()
        .await
        .unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn artifacts_are_bound_refused_or_fall_back() {
    let image = |version: &str| json!({"type": "docker/image", "name": "shop/checkout", "version": version});
    let bench =
        Bench::new(quick().expects(ExpectedArtifact::new("e-1", "docker/image", ".*checkout")))
            .await;
    let ours = json!(["e-1"]);
    let (status, _) = start_with(&bench, ID, json!([image("1")]), ours.clone()).await;
    assert_eq!(status, StatusCode::OK);
    let started = bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
    assert_eq!(
        started["trigger"]["resolvedExpectedArtifacts"][0]["boundArtifact"],
        image("1")
    );
    let (status, refused) = start_with(
        &bench,
        OTHER,
        json!([{"type": "s3/object", "name": "x"}]),
        ours.clone(),
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains(
            "Unmatched expected artifact ExpectedArtifact(matchArtifact=Artifact(type=docker/image"
        ),
        "{message}"
    );
    assert_eq!(bench.gate.status(OTHER), Some(Status::Terminal));
    assert_eq!(bench.gate.launches().len(), 1);
    let both = json!([image("1"), image("2")]);
    let (_, refused) = start_with(&bench, OTHER, both, ours).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("matches multiple artifacts")
    );
    // Nobody asks for it by its id: it is passed over.
    let (status, _) = start_with(&bench, OTHER, json!([]), json!([])).await;
    assert_eq!(status, StatusCode::OK);

    let old = json!({"type": "docker/image", "name": "shop/checkout", "version": "old"});
    let expected = ExpectedArtifact::new("e-1", "docker/image", "shop/checkout");
    let bench = Bench::new(quick().expects(expected.clone().default_artifact(old.clone()))).await;
    start_with(&bench, ID, json!([]), json!([])).await;
    let started = bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
    assert_eq!(started["trigger"]["artifacts"], json!([old]));

    let bench = Bench::new(quick().expects(expected.prior_artifact())).await;
    assert_eq!(
        start_with(&bench, ID, json!([]), json!([])).await.0,
        StatusCode::BAD_REQUEST
    );
    start_with(&bench, ID, json!([image("3")]), json!([])).await;
    bench.gate.wait_for(ID, Status::Succeeded).await.unwrap();
    start_with(&bench, OTHER, json!([]), json!([])).await;
    let started = bench.gate.wait_for(OTHER, Status::Succeeded).await.unwrap();
    assert_eq!(started["trigger"]["artifacts"], json!([image("3")]));
}
