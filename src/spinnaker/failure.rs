//! Why an execution failed, in its own words. Touches Gate, to walk into child pipelines.
//!
//! Orca has no one place for it. The order here follows where its stages leave their errors; Gate's
//! `/executions/failedStages` is a 500 unless the operator configured Orca for it (observed on Gate 2026.1.2), and
//! gives no texts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    client::GateClient,
    lenient::scalar,
    model::{Execution, Stage, Status},
    outcome::Lookup,
    text::clean,
};
use crate::api::{bounds, deploy_request::Failure};

/// How many pipelines deep it looks, the first included.
const DEPTH: usize = 5;

/// What one execution says of its failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// The stage that tells most, the deepest that failed if several do.
    pub stage: Option<String>,
    /// What it says, as it stands there: not cleaned, not cut.
    pub text: Option<String>,
    /// The execution of a child pipeline that knows more.
    pub child: Option<String>,
}

/// What `execution` says of its failure. It must have been read in full: contexts are empty with `expand=false`.
pub fn find(execution: &Execution) -> Finding {
    let by_id = execution.by_id();
    let depth = |stage: &Stage| {
        let mut above = stage.parent_stage_id.as_deref();
        // No deeper than there are stages: a circle ends.
        (0..by_id.len())
            .take_while(|_| {
                let parent = above.and_then(|id| by_id.get(id));
                above = parent.and_then(|parent| parent.parent_stage_id.as_deref());
                parent.is_some()
            })
            .count()
    };
    execution
        .stages
        .iter()
        .filter(|stage| stage.status.is_failure())
        .map(|stage| {
            let text = text(stage);
            let child = child(stage).filter(|child| *child != execution.id);
            let rank = (
                // What stopped the pipeline before what it went on from.
                stage.status != Status::FailedContinue,
                text.is_some() || child.is_some(),
                depth(stage),
                // Of equals the first: what came after may be its consequence.
                std::cmp::Reverse(stage.end_time.unwrap_or(i64::MAX)),
            );
            (rank, stage, text, child)
        })
        // The last of equals wins with max_by_key, hence from the end.
        .rev()
        .max_by_key(|(rank, ..)| *rank)
        .map(|(_, stage, text, child)| Finding {
            stage: Some(named(stage, &by_id)),
            text,
            child,
        })
        .unwrap_or_default()
}

/// A stage as the pipeline's author knows it: what Orca made of a stage stands behind that stage's own name.
fn named(stage: &Stage, by_id: &BTreeMap<&str, &Stage>) -> String {
    let parent = |stage: &Stage| by_id.get(stage.parent_stage_id.as_deref()?).copied();
    // No further up than there are stages: a circle ends.
    let authored = (0..by_id.len()).try_fold(stage, |stage, _| parent(stage).ok_or(stage));
    let (Ok(authored) | Err(authored)) = authored;
    if authored.label() == stage.label() {
        stage.label().to_owned()
    } else {
        format!("{}: {}", authored.label(), stage.label())
    }
}

impl GateClient {
    /// Why `execution` failed, for people: from the deepest failed stage, walking into child pipelines. Reads it again
    /// when it was read without contexts. Always says something, also when Gate doesn't answer.
    pub async fn failure(&self, execution: &Execution) -> Failure {
        if let Some(failure) = without_stage(execution) {
            return failure;
        }
        let mut current = execution.clone();
        if current
            .stages
            .iter()
            .all(|stage| stage.context.is_empty() && stage.tasks.is_empty())
            && let Lookup::Found(full) = self.execution(&current.id).await
        {
            current = *full;
        }
        let mut finding = find(&current);
        let mut seen = BTreeSet::from([current.id]);
        let mut pipeline = None;
        for _ in 1..DEPTH {
            let Some(child) = finding.child.as_deref().filter(|_| finding.text.is_none()) else {
                break;
            };
            if !seen.insert(child.to_owned()) {
                break;
            }
            let Lookup::Found(execution) = self.execution(child).await else {
                break;
            };
            let mut deeper = find(&execution);
            if deeper.stage.is_none() {
                // The child has no failed stage: cancelled, or never begun.
                deeper = Finding {
                    stage: finding.stage.take(),
                    text: Some(without_stage(&execution).map_or_else(
                        || format!("it ended {}", execution.status),
                        |failure| failure.message,
                    )),
                    child: None,
                };
            }
            finding = deeper;
            pipeline = execution.name.clone().or(Some(execution.id));
        }
        let text = finding
            .text
            .filter(|text| !text.trim().is_empty())
            .unwrap_or_else(|| match &finding.child {
                Some(child) => format!("the pipeline that it started failed (execution {child})"),
                None => "the stage gives no reason".to_owned(),
            });
        let message = match pipeline {
            Some(pipeline) => format!("in the pipeline {pipeline}: {text}"),
            None => text,
        };
        Failure {
            stage: finding
                .stage
                .map(|stage| bounds::cut(&clean(&stage), bounds::NAME)),
            message: clean(&message),
        }
    }
}

/// Why an execution ended in which no stage failed.
fn without_stage(execution: &Execution) -> Option<Failure> {
    if execution
        .stages
        .iter()
        .any(|stage| stage.status.is_failure())
    {
        return None;
    }
    let message = if execution.looks_started_twice() {
        "Spinnaker was told twice to start it, which destroys an execution; what its stages did is unknown"
            .to_owned()
    } else {
        match (&execution.cancellation_reason, &execution.canceled_by) {
            (Some(reason), Some(by)) => format!("{reason} (cancelled by {by})"),
            (Some(reason), None) => reason.clone(),
            (None, Some(by)) => format!("cancelled by {by}"),
            (None, None) if execution.stages.is_empty() => "the pipeline has no stages".to_owned(),
            (None, None) => format!(
                "it is {}, no stage failed and Spinnaker gives no reason",
                execution.status
            ),
        }
    };
    Some(Failure {
        stage: None,
        message: clean(&message),
    })
}

/// What a stage says, from the most telling place to the least.
fn text(stage: &Stage) -> Option<String> {
    let context = &stage.context;
    None.or_else(|| exception(context.get("exception")))
        .or_else(|| kato(context))
        .or_else(|| string(context.get("failureMessage")))
        .or_else(|| string(stage.outputs.get("failureMessage")))
        .or_else(|| precondition(stage))
        .or_else(|| webhook(context))
        .or_else(|| expressions(context))
        .or_else(|| judgment(stage))
        .or_else(|| manifests(context))
        .or_else(|| {
            stage
                .tasks
                .iter()
                .find_map(|task| exception(task.task_exception_details.get("exception")))
        })
}

/// `details.errors[]`, else `details.error`.
fn exception(exception: Option<&Value>) -> Option<String> {
    let details = exception?.get("details")?;
    strings(details.get("errors")).or_else(|| string(details.get("error")))
}

/// Clouddriver's last task: its exception, else the last line of its history.
fn kato(context: &Map<String, Value>) -> Option<String> {
    let task = context.get("kato.tasks")?.as_array()?.last()?;
    let failed = || {
        let status = task.get("status")?;
        (status.get("failed")?.as_bool()?).then_some(())?;
        string(task.get("history")?.as_array()?.last()?.get("status"))
    };
    task.get("exception")
        .and_then(|exception| string(exception.get("message")))
        .or_else(failed)
}

/// The synthetic stage of a precondition has it in `context.context`, its parent in `context.preconditions[]`.
fn precondition(stage: &Stage) -> Option<String> {
    let inner = |outer: &Value| string(outer.get("failureMessage"));
    stage.context.get("context").and_then(inner).or_else(|| {
        let preconditions = stage.context.get("preconditions")?.as_array()?;
        joined(
            preconditions
                .iter()
                .filter_map(|precondition| inner(precondition.get("context")?)),
        )
    })
}

fn webhook(context: &Map<String, Value>) -> Option<String> {
    let webhook = context.get("webhook")?;
    string(webhook.get("error")).or_else(|| {
        let status = scalar(
            webhook
                .get("statusCodeValue")
                .or_else(|| webhook.get("statusCode"))?,
        )?;
        let body = webhook.get("body").map(|body| match body {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        Some(match body {
            Some(body) => format!("the webhook answered {status}: {body}"),
            None => format!("the webhook answered {status}"),
        })
    })
}

fn expressions(context: &Map<String, Value>) -> Option<String> {
    let summary = context.get("expressionEvaluationSummary")?.as_object()?;
    joined(
        summary
            .values()
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(|entry| string(entry.get("description"))),
    )
}

fn judgment(stage: &Stage) -> Option<String> {
    let stopped =
        stage.kind == "manualJudgment" && stage.context.get("judgmentStatus")?.as_str()? == "stop";
    let by = ["approvedBy", "lastModifiedBy"]
        .iter()
        .find_map(|key| string(stage.context.get(*key)));
    stopped.then(|| match by {
        Some(by) => format!("the manual judgment was answered with \"stop\" by {by}"),
        None => "the manual judgment was answered with \"stop\"".to_owned(),
    })
}

fn manifests(context: &Map<String, Value>) -> Option<String> {
    strings(context.get("messages")).or_else(|| {
        let manifests = context.get("failedManifests")?.as_array()?;
        let names = joined(
            manifests
                .iter()
                .filter_map(|manifest| string(manifest.get("manifestName"))),
        )?;
        Some(format!("not stable: {names}"))
    })
}

fn string(value: Option<&Value>) -> Option<String> {
    value?
        .as_str()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn strings(value: Option<&Value>) -> Option<String> {
    joined(
        value?
            .as_array()?
            .iter()
            .filter_map(|entry| string(Some(entry)).or_else(|| string(entry.get("message")))),
    )
}

/// Each text once, in their order.
fn joined(texts: impl Iterator<Item = String>) -> Option<String> {
    let mut seen = BTreeSet::new();
    let texts: Vec<String> = texts.filter(|text| seen.insert(text.clone())).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// The execution that a stage started or waited for.
fn child(stage: &Stage) -> Option<String> {
    let context = &stage.context;
    let monitored = || {
        let ids = context.get("executionIds")?.as_array()?;
        let status = |id: &str| context.get("executionStatuses")?.get(id)?.as_str();
        let mut ids = ids.iter().filter_map(Value::as_str);
        let first = ids.clone().next();
        ids.find(|id| status(id) == Some("TERMINAL"))
            .or(first)
            .map(str::to_owned)
    };
    let source = context
        .get("exception")
        .and_then(|exception| exception.get("source"))
        .and_then(|source| string(source.get("executionId")));
    source
        .or_else(|| string(context.get("executionId")).filter(|_| stage.kind == "pipeline"))
        .or_else(monitored)
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
