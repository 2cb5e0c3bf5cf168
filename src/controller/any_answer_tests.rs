//! Whatever Gate answers, the API server accepts what is made of it: generated executions go the whole way from JSON
//! through the decision into the status of a request and of its target, which a real API server judges.

use std::{collections::BTreeMap, time::Duration};

use foredeck_testkit::ControlPlane;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use proptest::{
    prelude::*,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};

use super::{
    connections::{Connections, Gate, refusal},
    context::ControllerSettings,
    metrics::ControllerMetrics,
    objects, rebuild, sighting,
};
use crate::{
    api::{
        DeployRequest, DeployTarget, SEEN_ANNOTATION, SpinnakerConnection, bounds,
        connection::OnUnknown,
        deploy_request::{Attempt, DeployRequestStatus, Pinned, PipelineRef, Place, Resolved},
        deploy_target::{Active, DeployTargetStatus},
    },
    domain::{
        Effect, Facts, decide,
        decide::{Sighting, TargetFact},
        gates::Gates,
        hosts::AllowedHosts,
        judgment::JudgmentFacts,
        outcome::Observation,
        target::{self, Evidence},
    },
    spinnaker::{Execution, GateError},
};

const CASES: usize = 150;
/// Calls to the API server under way at once.
const AT_ONCE: usize = 8;
const UID: &str = "6d3b";
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const EXECUTION: &str = "01K0000000000000000000000";

// === What Gate may answer ===

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z .:-]{0,30}",
        2 => any::<String>(),
        1 => (any::<char>(), 200_usize..6_000).prop_map(|(one, count)| one.to_string().repeat(count)),
        1 => "[\u{0}-\u{1f}\"\\\\<>&\u{2028}]{0,300}",
    ]
}

fn time() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (1_700_000_000_000_i64..1_900_000_000_000).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => (-377_705_023_201_000_i64..0).prop_map(Value::from),
        1 => (253_402_207_200_000_i64..253_402_300_800_001).prop_map(Value::from),
        1 => text().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn status() -> impl Strategy<Value = Value> {
    let known = prop::sample::select(vec![
        "NOT_STARTED",
        "RUNNING",
        "PAUSED",
        "SUSPENDED",
        "SUCCEEDED",
        "FAILED_CONTINUE",
        "TERMINAL",
        "CANCELED",
        "STOPPED",
        "SKIPPED",
    ]);
    prop_oneof![9 => known.prop_map(Value::from), 1 => text().prop_map(Value::from)]
}

fn context() -> impl Strategy<Value = Value> {
    (0..8, text()).prop_map(|(place, text)| match place {
        0 => json!({"exception": {"details": {"errors": [text]}}}),
        1 => json!({"exception": {"details": {"error": text, "errors": []}}}),
        2 => json!({"kato.tasks": [{"exception": {"message": text}}]}),
        3 => json!({"failureMessage": text}),
        4 => json!({"webhook": {"error": text}}),
        5 => json!({"executionId": text, "exception": text}),
        6 => json!([text]),
        _ => json!({}),
    })
}

fn stage() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![3 => Just("deployManifest".to_owned()), 2 => Just("manualJudgment".to_owned()), 1 => text()];
    let place = prop::option::weighted(0.2, 0..4_u8);
    (
        text(),
        kind,
        status(),
        time(),
        time(),
        context(),
        place,
        text(),
    )
        .prop_map(|(name, kind, status, start, end, context, parent, thrown)| {
            json!({
                "name": name, "type": kind, "status": status, "startTime": start, "endTime": end,
                "context": context, "parentStageId": parent.map(|parent| parent.to_string()),
                "tasks": [{"name": name, "status": status, "taskExceptionDetails": {"exception": {"details": {"error": thrown}}}}],
            })
        })
}

/// A few stages, sometimes repeated to thousands.
fn stages() -> impl Strategy<Value = Vec<Value>> {
    let count = prop_oneof![30 => Just(0_usize), 1 => 1_000_usize..3_000];
    (prop::collection::vec(stage(), 0..8), count).prop_map(|(few, count)| {
        let count = if few.is_empty() {
            0
        } else {
            count.max(few.len())
        };
        let numbered = |(number, mut stage): (usize, Value)| {
            stage["id"] = json!(number.to_string());
            stage["refId"] = json!(number.to_string());
            stage["requisiteStageRefIds"] = json!([(number / 2).to_string()]);
            stage
        };
        few.into_iter()
            .cycle()
            .take(count)
            .enumerate()
            .map(numbered)
            .collect()
    })
}

/// An execution that is ours, or is not quite.
fn execution() -> impl Strategy<Value = Value> {
    let foreign = prop::option::weighted(0.1, text());
    let ended = (text(), text(), any::<[bool; 3]>());
    let times = (time(), time(), time(), time());
    (stages(), status(), times, ended, text(), foreign).prop_map(
        |(stages, status, (build, start, end, pause), (by, why, shown), name, foreign)| {
            let [canceled, explained, paused] = shown;
            let ours = |own: &str| json!(foreign.as_deref().unwrap_or(own));
            let mut all = json!({
                "id": ours(EXECUTION), "application": ours("checkout"), "pipelineConfigId": ours("p1"),
                "name": name, "status": status, "buildTime": build, "startTime": start, "endTime": end,
                "trigger": {"foredeck": {"uid": ours(UID), "digest": ours(DIGEST), "target": "t", "name": name, "key": name, "ask": name, "action": name, "version": name}},
                "stages": stages,
            });
            if canceled {
                all["canceledBy"] = json!(by);
            }
            if explained {
                all["cancellationReason"] = json!(why);
            }
            if paused {
                all["paused"] = json!({"pauseTime": pause, "resumeTime": end});
            }
            all
        },
    )
}

/// What Gate answers to one look: an execution, or an error with somebody's text in it.
#[derive(Debug, Clone)]
enum Answer {
    Shown(Value),
    Odd(String),
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let one = prop_oneof![
        8 => execution().prop_map(Answer::Shown),
        1 => text().prop_map(Answer::Odd),
    ];
    prop::collection::vec(one, 1..4)
}

// === The way into a status ===

struct Subject {
    request: DeployRequest,
    target: DeployTargetStatus,
}

impl Subject {
    fn new(now: Timestamp) -> Self {
        let pipeline = PipelineRef {
            application: "checkout".to_owned(),
            name: "Deploy".to_owned(),
            id: "p1".to_owned(),
        };
        let attempt = Attempt {
            execution_id: EXECUTION.to_owned(),
            correlation_id: "fd-1".to_owned(),
            holder: "me".to_owned(),
            pinned: Pinned {
                connection: "gate".to_owned(),
                connection_uid: "c".to_owned(),
                gate_url: "http://gate".to_owned(),
                trigger: crate::api::connection::TriggerMode::Start,
                pipeline: pipeline.clone(),
                body_digest: "b".to_owned(),
            },
            claimed_at: Time(now),
            sent_at: Some(Time(now)),
        };
        let mut request = request();
        request.metadata.uid = Some(UID.to_owned());
        request.metadata.generation = Some(1);
        request.metadata.creation_timestamp = Some(Time(now));
        request.metadata.annotations = Some(BTreeMap::from([(
            SEEN_ANNOTATION.to_owned(),
            UID.to_owned(),
        )]));
        request.status = Some(DeployRequestStatus {
            resolved: Some(Resolved {
                connection: "gate".to_owned(),
                pipeline,
                revision: None,
                parameters: BTreeMap::new(),
                version: None,
                commit: None,
                artifacts: Vec::new(),
                target: place(),
                deploy_target: "t".to_owned(),
                digest: DIGEST.to_owned(),
            }),
            attempt: Some(attempt.clone()),
            ..DeployRequestStatus::default()
        });
        Self {
            request,
            target: DeployTargetStatus {
                initialized: Some(Time(now)),
                active: Some(Active {
                    uid: UID.to_owned(),
                    name: "first".to_owned(),
                    key: "k".to_owned(),
                    digest: DIGEST.to_owned(),
                    action: "deploy".to_owned(),
                    version: None,
                    commit: None,
                    artifacts: Vec::new(),
                    requester: None,
                    attempt,
                    sends: 1,
                    execution: None,
                    cancel_requested_at: None,
                    frozen: None,
                    overridden_by: None,
                }),
                ..DeployTargetStatus::default()
            },
        }
    }

    /// One pass: effects on the target as `act` has them, until there is only a status to record.
    fn pass(&mut self, sighting: &Sighting, now: Timestamp) {
        for _ in 0..6 {
            let facts = facts(&self.target, sighting.clone());
            let decision = decide(&self.request, &facts, now);
            self.request.status = Some(decision.status);
            let next = match decision.effect {
                Some(Effect::Adopt(seen)) => target::adopted(&self.target, UID, "a", seen, now),
                Some(Effect::Finish(run)) => target::finished(&self.target, *run),
                _ => return,
            };
            let Some(next) = next else { return };
            self.target = next;
        }
    }
}

fn facts(target: &DeployTargetStatus, sighting: Sighting) -> Facts {
    Facts {
        plan: Err(refusal("gate", &GateError::BackendDown)),
        expire_after: Duration::from_hours(1),
        gates: Gates::open(),
        on_unknown: OnUnknown::Hold,
        settle: Duration::from_secs(150),
        target_name: Some("t".to_owned()),
        target: TargetFact::Ready(Box::new(target.clone())),
        ahead: None,
        newer: None,
        rerun: None,
        sighting,
        judgments: JudgmentFacts::default(),
        trouble: None,
        gone: false,
        release_order: None,
        unlisted: None,
    }
}

fn place() -> Place {
    Place {
        account: "eks".to_owned(),
        namespace: "shop".to_owned(),
    }
}

fn request() -> DeployRequest {
    let spec = json!({"application": "checkout", "environment": "staging"});
    serde_json::from_value(json!({"metadata": {"name": "first"}, "spec": spec})).unwrap()
}

/// A Gate that nobody answers for: whatever is known of an execution is what the answer itself says.
async fn silent_gate(plane: &ControlPlane) -> Gate {
    let spec = json!({"gateUrl": "http://127.0.0.1:1", "deckUrl": "https://deck.example"});
    let connection: SpinnakerConnection = serde_json::from_value(
        json!({"metadata": {"name": "gate", "namespace": "none", "uid": "c"}, "spec": spec}),
    )
    .unwrap();
    let settings = ControllerSettings {
        hosts: AllowedHosts {
            gate: vec!["127.0.0.1".parse().unwrap()],
            ..AllowedHosts::default()
        },
        ..ControllerSettings::default()
    };
    Connections::new(plane.admin(), &settings, ControllerMetrics::default())
        .gate(&connection)
        .await
        .unwrap()
}

async fn accepted<K: objects::Object>(api: &Api<K>, status: &Value) -> Result<(), String> {
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": status}));
    let answer = api.patch_status("first", &dry, &patch).await;
    answer
        .map(|_| ())
        .map_err(|error| format!("{error}: {status}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_gate_answers_the_api_server_accepts_the_status() {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crate::api::crds()).await.unwrap();
    let namespace = plane.namespace("answers").await.unwrap();
    let requests: Api<DeployRequest> = Api::namespaced(plane.admin(), &namespace);
    let targets: Api<DeployTarget> = Api::namespaced(plane.admin(), &namespace);
    let create = PostParams::default();
    requests.create(&create, &request()).await.unwrap();
    let spec = json!({"application": "checkout", "environment": "staging", "place": place()});
    let target = json!({"metadata": {"name": "first"}, "spec": spec});
    let target: DeployTarget = serde_json::from_value(target).unwrap();
    targets.create(&create, &target).await.unwrap();
    let gate = silent_gate(plane).await;

    let mut runner = TestRunner::default();
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    let mut recognised = 0;
    for _ in 0..CASES {
        let now = Timestamp::now();
        let mut subject = Subject::new(now);
        for answer in answers().new_tree(&mut runner).unwrap().current() {
            let sighting = match answer {
                Answer::Odd(detail) => {
                    let status = Some(200);
                    Sighting::Unclear(refusal("gate", &GateError::Unclear { status, detail }))
                }
                Answer::Shown(body) => {
                    // As it comes over the wire.
                    let body = serde_json::to_vec(&body).unwrap();
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    let execution: Execution = serde_json::from_value(body).unwrap();
                    let observation = sighting::observe(&gate, &execution).await;
                    if let Some(rebuilt) = rebuilt(&gate, &observation, now) {
                        kept.push(serde_json::to_value(rebuilt).unwrap());
                    }
                    Sighting::Seen(Box::new(observation))
                }
            };
            subject.pass(&sighting, now);
            written.push(serde_json::to_value(&subject.request.status).unwrap());
            kept.push(serde_json::to_value(&subject.target).unwrap());
            let execution = subject
                .request
                .status
                .as_ref()
                .map(|status| &status.execution);
            recognised += usize::from(execution.is_some_and(Option::is_some));
        }
    }
    assert!(recognised > CASES, "only {recognised} were taken for ours");
    let requests = stream::iter(&written)
        .map(async |status| accepted(&requests, status).await)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let targets = stream::iter(&kept)
        .map(async |status| accepted(&targets, status).await)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let (mut answers, more) = futures::join!(requests, targets);
    answers.extend(more);
    let refused: Vec<&String> = answers
        .iter()
        .filter_map(|one| one.as_ref().err())
        .collect();
    let first = refused.first().map(|text| bounds::cut(text, 8_000));
    assert_eq!(
        first,
        None,
        "{} of {} were refused",
        refused.len(),
        answers.len()
    );
}

/// The target as it would be made anew from an execution that carries our mark.
fn rebuilt(gate: &Gate, observation: &Observation, now: Timestamp) -> Option<DeployTargetStatus> {
    let mark = observation.mark.as_ref()?;
    let active = rebuild::active_execution(gate, "gate", mark, observation);
    let mut evidence = Evidence::default();
    match observation.ended {
        Some(ended) => {
            evidence.runs = vec![rebuild::ended_execution(&active, mark, observation, ended)];
        }
        None => evidence.active = vec![(active, String::new())],
    }
    Some(target::rebuilt(evidence, now))
}
