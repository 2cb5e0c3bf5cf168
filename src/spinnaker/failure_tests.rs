//! Where the text of a failure is found, and that none is ever made up or let through uncleaned. Touches nothing.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::spinnaker::testing::{Reply, TestGate, not_there};

fn execution(id: &str, stages: &Value) -> Value {
    json!({"id": id, "application": "shop", "name": format!("pipeline-{id}"), "status": "TERMINAL", "stages": stages})
}

fn decode(value: Value) -> Execution {
    serde_json::from_value(value).unwrap()
}

fn stage(name: &str, context: &Value) -> Value {
    json!({"id": name, "name": name, "type": "wait", "status": "TERMINAL", "context": context})
}

fn parent(name: &str, child: &str) -> Value {
    json!({"id": name, "name": name, "type": "pipeline", "status": "TERMINAL",
        "context": {"exception": {"details": {"errors": []}, "source": {"executionId": child}}}})
}

#[test]
fn each_place_of_an_error_is_found() {
    for (name, context, expected) in [
        (
            "errors",
            json!({"exception": {"details": {"errors": ["one", "", "two", "one"], "error": "less"}}}),
            "one; two",
        ),
        (
            "error",
            json!({"exception": {"details": {"errors": [], "error": "just this"}}}),
            "just this",
        ),
        (
            "kato",
            json!({"kato.tasks": [{}, {"exception": {"message": "no such image"}}]}),
            "no such image",
        ),
        (
            "kato history",
            json!({"kato.tasks": [{"status": {"failed": true}, "history": [{"status": "a"}, {"status": "b"}]}]}),
            "b",
        ),
        (
            "failureMessage",
            json!({"failureMessage": "too late"}),
            "too late",
        ),
        (
            "precondition",
            json!({"context": {"failureMessage": "one is not two"}}),
            "one is not two",
        ),
        (
            "preconditions",
            json!({"preconditions": [{"context": {"failureMessage": "nor three"}}, {}]}),
            "nor three",
        ),
        (
            "webhook",
            json!({"webhook": {"error": "status code 404", "statusCodeValue": 404}}),
            "status code 404",
        ),
        (
            "webhook body",
            json!({"webhook": {"statusCodeValue": 500, "body": {"ok": false}}}),
            "the webhook answered 500: {\"ok\":false}",
        ),
        (
            "expressions",
            json!({"expressionEvaluationSummary": {"x": [{"description": "no property foo"}]}}),
            "no property foo",
        ),
        ("messages", json!({"messages": ["not ready"]}), "not ready"),
        (
            "manifests",
            json!({"failedManifests": [{"manifestName": "deployment web"}]}),
            "not stable: deployment web",
        ),
    ] {
        let finding = find(&decode(execution("E", &json!([stage("deploy", &context)]))));
        assert_eq!(finding.text.as_deref(), Some(expected), "{name}");
        assert_eq!(finding.stage.as_deref(), Some("deploy"), "{name}");
    }
}

#[test]
fn a_tasks_exception_is_found_last() {
    let mut failed = stage("deploy", &json!({}));
    failed["tasks"] = json!([{"status": "SUCCEEDED"}, {"status": "TERMINAL",
        "taskExceptionDetails": {"exception": {"details": {"errors": ["boom"]}}}}]);
    let finding = find(&decode(execution("E", &json!([failed]))));
    assert_eq!(finding.text.as_deref(), Some("boom"));
}

#[test]
fn a_stopped_judgment_says_who() {
    let mut judgment = stage(
        "Ready?",
        &json!({"judgmentStatus": "stop", "lastModifiedBy": "carol"}),
    );
    judgment["type"] = json!("manualJudgment");
    let finding = find(&decode(execution("E", &json!([judgment]))));
    assert_eq!(
        finding.text.as_deref(),
        Some("the manual judgment was answered with \"stop\" by carol")
    );
}

#[test]
fn the_deepest_stage_that_says_something_wins() {
    let mut child = stage(
        "inner",
        &json!({"context": {"failureMessage": "one is not two"}}),
    );
    child["parentStageId"] = json!("outer");
    let mut mute = stage("mute", &json!({}));
    mute["parentStageId"] = json!("inner");
    let mut ignored = stage("ignored", &json!({"failureMessage": "does not matter"}));
    ignored["status"] = json!("FAILED_CONTINUE");
    ignored["parentStageId"] = json!("inner");
    let outer = stage("outer", &json!({"failureMessage": "something failed"}));
    let finding = find(&decode(execution(
        "E",
        &json!([ignored, outer, mute, child]),
    )));
    assert_eq!(finding.stage.as_deref(), Some("outer: inner"));
    assert_eq!(finding.text.as_deref(), Some("one is not two"));
}

#[test]
fn stages_that_are_each_others_parents_end() {
    let mut one = stage("one", &json!({}));
    one["parentStageId"] = json!("two");
    let mut two = stage("two", &json!({}));
    two["parentStageId"] = json!("one");
    assert!(
        find(&decode(execution("E", &json!([one, two]))))
            .stage
            .is_some()
    );
}

#[test]
fn of_monitored_pipelines_the_failed_one_is_the_child() {
    let context = json!({"executionIds": ["A", "B"], "executionStatuses": {"A": "SUCCEEDED", "B": "TERMINAL"}});
    let finding = find(&decode(execution(
        "E",
        &json!([stage("monitor", &context)]),
    )));
    assert_eq!(finding.child.as_deref(), Some("B"));
}

/// Executions by id.
async fn gate(executions: Vec<Value>) -> TestGate {
    TestGate::new(move |line| {
        let id = line.rsplit('/').next().unwrap();
        executions
            .iter()
            .find(|execution| execution["id"] == id)
            .map_or_else(|| not_there(id), |found| Reply::Json(200, found.clone()))
    })
    .await
}

#[tokio::test]
async fn the_reason_comes_from_the_child_of_the_child() {
    let gate = gate(vec![
        execution("B", &json!([parent("run c", "C")])),
        execution(
            "C",
            &json!([stage(
                "smoke test",
                &json!({"failureMessage": "GET http://shop.svc/health says 500"})
            )]),
        ),
    ])
    .await;
    let top = decode(execution("A", &json!([parent("run b", "B")])));
    let failure = gate.client().failure(&top).await;
    assert_eq!(failure.stage.as_deref(), Some("smoke test"));
    assert_eq!(
        failure.message,
        "in the pipeline pipeline-C: GET [address removed] says 500"
    );
}

#[tokio::test]
async fn children_in_a_circle_or_too_deep_end() {
    let circle = gate(vec![
        execution("A", &json!([parent("a", "B")])),
        execution("B", &json!([parent("b", "A")])),
    ])
    .await;
    let top = decode(execution("A", &json!([parent("a", "B")])));
    let failure = circle.client().failure(&top).await;
    assert_eq!(failure.stage.as_deref(), Some("b"));
    assert_eq!(circle.lines().len(), 1);
    let deep = gate(
        (0..20)
            .map(|id| {
                execution(
                    &id.to_string(),
                    &json!([parent("run", &(id + 1).to_string())]),
                )
            })
            .collect(),
    )
    .await;
    let top = decode(execution("top", &json!([parent("run", "0")])));
    deep.client().failure(&top).await;
    assert_eq!(deep.lines().len(), DEPTH - 1);
}

#[tokio::test]
async fn an_execution_without_contexts_is_read_again() {
    let full = execution(
        "A",
        &json!([stage("deploy", &json!({"failureMessage": "no quota"}))]),
    );
    let bare = decode(execution("A", &json!([stage("deploy", &json!({}))])));
    let gate = gate(vec![full]).await;
    assert_eq!(gate.client().failure(&bare).await.message, "no quota");
}

#[tokio::test]
async fn there_is_always_something_to_say() {
    let gate = gate(Vec::new()).await;
    let client = gate.client();
    let mute = decode(execution("A", &json!([stage("deploy", &json!({}))])));
    let failure = client.failure(&mute).await;
    assert_eq!(failure.stage.as_deref(), Some("deploy"));
    assert_eq!(failure.message, "the stage gives no reason");
    let gone = decode(execution("A", &json!([parent("run b", "B")])));
    let failure = client.failure(&gone).await;
    assert_eq!(failure.stage.as_deref(), Some("run b"));
    assert_eq!(
        failure.message,
        "the pipeline that it started failed (execution B)"
    );
    for (more, expected) in [
        (json!({}), "the pipeline has no stages"),
        (
            json!({"cancellationReason": "superseded", "canceledBy": "spinnaker"}),
            "superseded (cancelled by spinnaker)",
        ),
        (
            json!({"canceledBy": "parent pipeline"}),
            "cancelled by parent pipeline",
        ),
        (
            json!({"stages": [{"id": "1", "status": "NOT_STARTED"}]}),
            "Spinnaker was told twice to start it, which destroys an execution; what its stages did is unknown",
        ),
    ] {
        let mut value = execution("A", &json!([]));
        for (key, field) in more.as_object().unwrap() {
            value[key] = field.clone();
        }
        assert_eq!(client.failure(&decode(value)).await.message, expected);
    }
}

/// JSON that is odd in the places where errors are looked for.
fn odd_json() -> impl Strategy<Value = Value> {
    let keys = [
        "exception",
        "details",
        "errors",
        "error",
        "kato.tasks",
        "status",
        "failed",
        "history",
        "failureMessage",
        "context",
        "preconditions",
        "webhook",
        "body",
        "statusCodeValue",
        "expressionEvaluationSummary",
        "description",
        "messages",
        "message",
        "failedManifests",
        "manifestName",
        "source",
        "executionId",
        "executionIds",
        "executionStatuses",
        "judgmentStatus",
        "id",
        "parentStageId",
        "refId",
        "requisiteStageRefIds",
        "tasks",
        "taskExceptionDetails",
        "startTime",
        "endTime",
        "pauseTime",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["", "a", "b", "TERMINAL", "stop"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.to_vec()), inner), 0..6).prop_map(
                |fields| {
                    fields
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect()
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(stages in prop::collection::vec(odd_json(), 0..5), paused in odd_json()) {
        let stages: Vec<Value> = stages.into_iter().map(|mut stage| {
            if stage.is_object() {
                stage["status"] = json!("TERMINAL");
            }
            stage
        }).collect();
        let mut value = execution("E", &json!(stages));
        value["paused"] = paused;
        let execution = decode(value);
        find(&execution);
        execution.summary(Some("https://deck.example"));
        execution.held_time(0);
    }
}
