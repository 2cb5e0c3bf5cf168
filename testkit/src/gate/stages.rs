//! The stage types the stand-in knows: their tasks, how long these take and how they end. Pure.

use serde_json::{Map, Value, json};

use super::execution::{Stage, Status, Task};
use super::parameters::{first_expression, holds};
use super::pipeline::{FailurePlace, SCRIPT_KEY};

/// The keys of a stage's JSON that are no part of its context.
const OUTSIDE_CONTEXT: [&str; 5] = ["type", "name", "refId", "requisiteStageRefIds", SCRIPT_KEY];

/// Reads the stages of a config. `next_id` hands out stage ids.
pub(super) fn stages_of(config: &Value, mut next_id: impl FnMut() -> String) -> Vec<Stage> {
    let configured = config.get("stages").and_then(Value::as_array);
    configured
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .zip(1..)
        .map(|(body, position)| {
            let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
            let kind = text("type").unwrap_or_default();
            let context = body
                .iter()
                .filter(|(key, _)| !OUTSIDE_CONTEXT.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let requisites = body
                .get("requisiteStageRefIds")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            Stage {
                id: next_id(),
                reference: text("refId").unwrap_or_else(|| position.to_string()),
                requisites,
                name: text("name").unwrap_or_else(|| kind.clone()),
                kind,
                status: Status::NotStarted,
                start_time: None,
                end_time: None,
                context,
                outputs: Map::new(),
                tasks: Vec::new(),
                parent: None,
                last_modified: None,
                script: body.get(SCRIPT_KEY).cloned().unwrap_or(Value::Null),
                restarts: 0,
                overwritten_by: None,
            }
        })
        .collect()
}

/// The stages that a `checkPreconditions` stage makes before itself: one per precondition. These carry the message.
pub(super) fn preconditions_of(parent: &Stage, mut next_id: impl FnMut() -> String) -> Vec<Stage> {
    let preconditions = parent
        .context
        .get("preconditions")
        .and_then(Value::as_array);
    preconditions
        .into_iter()
        .flatten()
        .zip(1..)
        .map(|(precondition, position)| {
            let kind = precondition.get("type").cloned().unwrap_or_default();
            let fails = precondition.get("failPipeline").cloned();
            let mut context = Map::new();
            context.insert("preconditionType".into(), kind.clone());
            context.insert(
                "context".into(),
                precondition.get("context").cloned().unwrap_or_default(),
            );
            context.insert("failPipeline".into(), fails.unwrap_or(Value::Bool(true)));
            context.insert("type".into(), json!("checkPreconditions"));
            if let Some(details) = parent.context.get("restartDetails") {
                context.insert("restartDetails".into(), details.clone());
            }
            let kind = kind.as_str().unwrap_or("expression").to_owned();
            Stage {
                id: next_id(),
                reference: format!("{}<{position}", parent.reference),
                requisites: Vec::new(),
                kind: "checkPreconditions".into(),
                name: format!("Check precondition ({kind})"),
                status: Status::NotStarted,
                start_time: None,
                end_time: None,
                context,
                outputs: Map::new(),
                tasks: Vec::new(),
                parent: Some(parent.id.clone()),
                last_modified: None,
                script: Value::Null,
                restarts: parent.restarts,
                overwritten_by: None,
            }
        })
        .collect()
}

/// The tasks of a stage, none of them started.
pub(super) fn tasks_of(kind: &str) -> Vec<Task> {
    let tasks: &[(&'static str, &'static str)] = match kind {
        "wait" => &[("com.netflix.spinnaker.orca.pipeline.tasks.WaitTask", "wait")],
        "manualJudgment" => &[(
            "com.netflix.spinnaker.orca.echo.pipeline.ManualJudgmentStage.WaitForManualJudgmentTask",
            "waitForJudgment",
        )],
        "checkPreconditions" => &[(
            "com.netflix.spinnaker.orca.pipeline.tasks.ExpressionPreconditionTask",
            "checkPrecondition",
        )],
        "pipeline" => &[
            (
                "com.netflix.spinnaker.orca.front50.tasks.StartPipelineTask",
                "startPipeline",
            ),
            (
                "com.netflix.spinnaker.orca.front50.tasks.MonitorPipelineTask",
                "monitorPipeline",
            ),
        ],
        "evaluateVariables" => &[(
            "com.netflix.spinnaker.orca.pipeline.tasks.EvaluateVariablesTask",
            "evaluateVariables",
        )],
        "webhook" => &[(
            "com.netflix.spinnaker.orca.webhook.tasks.CreateWebhookTask",
            "createWebhook",
        )],
        "deployManifest" => &[(
            "com.netflix.spinnaker.orca.clouddriver.tasks.manifest.DeployManifestTask",
            "deployManifest",
        )],
        _ => &[("com.netflix.spinnaker.orca.pipeline.tasks.NoOpTask", "noOp")],
    };
    tasks
        .iter()
        .map(|&(class, name)| Task {
            class,
            name,
            status: Status::NotStarted,
            start_time: None,
            end_time: None,
            exception: json!({}),
        })
        .collect()
}

/// When a running task ends by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ends {
    /// After the time that any task takes.
    Soon,
    /// After this many milliseconds.
    After(u64),
    /// When something else happens: a judgment, the child's end, the handle.
    Later,
}

/// When the given task, just started, ends.
pub(super) fn ends(stage: &Stage, task: usize) -> Ends {
    if stage.script.get("held") == Some(&Value::Bool(true)) {
        return Ends::Later;
    }
    let seconds = if stage.kind == "wait" {
        seconds_in(stage.context.get("waitTime"))
    } else {
        seconds_in(stage.script.get("seconds"))
    };
    match (stage.kind.as_str(), task) {
        ("manualJudgment", _) if verdict(stage).is_none() => Ends::Later,
        ("pipeline", 1) if stage.context.get("waitForCompletion") != Some(&Value::Bool(false)) => {
            Ends::Later
        }
        _ => seconds.map_or(Ends::Soon, Ends::After),
    }
}

/// Milliseconds from a number of seconds, which may be written as text.
fn seconds_in(value: Option<&Value>) -> Option<u64> {
    let seconds = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    let time = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_millis()).ok()
}

/// The verdict of a judgment stage, once it has one that Orca understands.
pub(super) fn verdict(stage: &Stage) -> Option<Status> {
    match stage.context.get("judgmentStatus")?.as_str()? {
        "continue" => Some(Status::Succeeded),
        "stop" => Some(Status::Terminal),
        _ => None,
    }
}

/// How a task ends that is not about a child pipeline; leaves the outputs or the failure where that type of stage does.
pub(super) fn end_task(execution: &str, stage: &mut Stage, task: usize, now: u64) -> Status {
    let fail_times = stage.script.get("failTimes").and_then(Value::as_u64);
    let still_fails = fail_times.is_none_or(|times| stage.restarts < times);
    let failure = stage.script.get("fail").and_then(Value::as_str);
    if let Some(text) = failure.filter(|_| still_fails).map(str::to_owned) {
        let place = stage.script.get("place").and_then(Value::as_str);
        let place = FailurePlace::from_word(place.unwrap_or_default());
        leave_failure(execution, stage, task, place, &text, now);
        return Status::Terminal;
    }
    match stage.kind.as_str() {
        "manualJudgment" => verdict(stage).unwrap_or(Status::Running),
        "checkPreconditions" => check(stage),
        "evaluateVariables" => evaluate(stage, now),
        "webhook" => {
            stage.context.insert(
                "webhook".into(),
                json!({"statusCode": "OK", "statusCodeValue": 200, "body": {"ok": true}}),
            );
            Status::Succeeded
        }
        _ => Status::Succeeded,
    }
}

fn check(stage: &mut Stage) -> Status {
    let Some(Value::Object(context)) = stage.context.get_mut("context") else {
        return Status::Succeeded;
    };
    let expression = context.get("expression").and_then(Value::as_str);
    let result = holds(expression.unwrap_or("true"));
    context.insert("expressionResult".into(), json!(result.to_string()));
    if result {
        return Status::Succeeded;
    }
    match stage.context.get("failPipeline") {
        Some(Value::Bool(false)) => Status::Stopped,
        _ => Status::Terminal,
    }
}

fn evaluate(stage: &mut Stage, now: u64) -> Status {
    let variables = stage.context.get("variables").cloned().unwrap_or_default();
    if let Some(expression) = first_expression(&variables) {
        let text =
            format!("Failed to evaluate [{expression}] Property or field could not be found");
        leave_expression_failure(stage, &expression, &text, now);
        return Status::Terminal;
    }
    for variable in variables.as_array().into_iter().flatten() {
        let key = variable.get("key").and_then(Value::as_str);
        if let (Some(key), Some(value)) = (key, variable.get("value")) {
            stage.outputs.insert(key.to_owned(), value.clone());
        }
    }
    Status::Succeeded
}

fn leave_expression_failure(stage: &mut Stage, expression: &str, text: &str, now: u64) {
    let entry = json!([{
        "description": text,
        "exceptionType": "org.springframework.expression.spel.SpelEvaluationException",
        "level": "ERROR",
        "timestamp": now,
    }]);
    let mut summary = Map::new();
    summary.insert(expression.to_owned(), entry);
    stage
        .context
        .insert("expressionEvaluationSummary".into(), Value::Object(summary));
}

fn leave_failure(
    execution: &str,
    stage: &mut Stage,
    task: usize,
    place: FailurePlace,
    text: &str,
    now: u64,
) {
    let operation = stage.tasks.get(task).map_or("task", |task| task.name);
    match place {
        FailurePlace::ExceptionErrors => {
            let exception = json!({
                "details": {"error": "Unexpected Task Failure", "errors": [text]},
                "exceptionType": "RuntimeException",
                "operation": operation,
                "shouldRetry": false,
                "timestamp": now,
            });
            stage.context.insert("exception".into(), exception);
        }
        FailurePlace::ExceptionError => {
            let exception = json!({
                "details": {"error": text, "errors": [], "stackTrace": "java.lang.IllegalStateException\n\tat…"},
                "exceptionType": "IllegalStateException",
                "operation": operation,
                "shouldRetry": false,
                "timestamp": now,
            });
            stage.context.insert("exception".into(), exception);
        }
        FailurePlace::KatoTasks => {
            let tasks = json!([{
                "id": "01HKATO",
                "status": {"completed": true, "failed": true, "retryable": false},
                "history": [{"phase": "DEPLOY_KUBERNETES_MANIFEST", "status": "Beginning deployment of manifest..."}],
                "exception": {"message": text, "operation": "deployManifest", "type": "EXCEPTION", "cause": null},
            }]);
            stage.context.insert("kato.tasks".into(), tasks);
        }
        FailurePlace::KatoHistory => {
            let tasks = json!([{
                "id": "01HKATO",
                "status": {"completed": true, "failed": true, "retryable": false},
                "history": [
                    {"phase": "ORCHESTRATION", "status": "Initializing Orchestration Task"},
                    {"phase": "ORCHESTRATION", "status": text},
                ],
            }]);
            stage.context.insert("kato.tasks".into(), tasks);
        }
        FailurePlace::FailureMessage => {
            stage.context.insert("failureMessage".into(), json!(text));
        }
        FailurePlace::Webhook => {
            let url = stage.context.get("url").and_then(Value::as_str);
            let url = url.unwrap_or("http://hooks.internal:8080/nf");
            let error = format!(
                "Error submitting webhook for pipeline {execution} to {url} with status code 404. {text}"
            );
            let webhook = json!({
                "headers": {"Content-Type": "application/json"},
                "statusCodeValue": 404,
                "statusCode": "NOT_FOUND",
                "error": error,
                "body": {"ok": false},
            });
            stage.context.insert("webhook".into(), webhook);
        }
        FailurePlace::Expression => leave_expression_failure(stage, "nosuch.thing", text, now),
        FailurePlace::FailedManifests => {
            let name = json!("deployment web");
            stage.context.insert(
                "failedManifests".into(),
                json!([{"account": "staging", "location": "web", "manifestName": name}]),
            );
            stage.context.insert("messages".into(), json!([text]));
        }
        FailurePlace::TaskException => {
            if let Some(task) = stage.tasks.get_mut(task) {
                task.exception = json!({"exception": {"details": {"error": text, "errors": []}}});
            }
        }
        FailurePlace::Nowhere => {}
    }
}

/// What a failed stage does to the pipeline, by its "if stage fails" choice.
pub(super) fn failure_choice(stage: &Stage) -> Status {
    let flag = |key: &str| stage.context.get(key).and_then(Value::as_bool);
    match (flag("failPipeline"), flag("continuePipeline")) {
        (_, Some(true)) => Status::FailedContinue,
        (Some(false), _) => Status::Stopped,
        _ => Status::Terminal,
    }
}
