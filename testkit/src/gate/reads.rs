//! How executions are found: by id, in batches, by pipeline and by search. Reads the world only.

use std::collections::HashMap;
use std::str::FromStr;

use serde_json::{Value, json};

use super::answers::Refusal;
use super::execution::Execution;
use super::shared::from_base64;
use super::world::World;

type Query = HashMap<String, String>;

impl World {
    /// An execution, unless it is hidden from reads.
    pub(super) fn visible(&self, id: &str) -> Option<&Execution> {
        let now = self.now();
        self.executions
            .get(id)
            .filter(|execution| execution.hidden_until <= now)
    }

    /// `GET /executions`.
    pub(super) fn executions(&self, query: &Query) -> Result<Value, Refusal> {
        let expand = query.get("expand").is_none_or(|expand| expand != "false");
        match (query.get("executionIds"), query.get("pipelineConfigIds")) {
            (None, None) => Ok(json!([])),
            (Some(_), Some(_)) => Err(Refusal::invalid(
                "Only one of pipelineConfigIds and executionIds may be given",
            )),
            (Some(ids), None) => ids
                .split(',')
                .filter(|id| !id.is_empty())
                .map(|id| {
                    let execution = self.visible(id).ok_or_else(Refusal::null_in_batch)?;
                    Ok(execution.to_json(expand))
                })
                .collect(),
            (None, Some(ids)) => {
                let limit = number(query, "limit").unwrap_or(1);
                let statuses = statuses(query);
                let now = self.now();
                let mut found: Vec<&Execution> = Vec::new();
                for config in ids.split(',') {
                    let newest = self
                        .by_config
                        .get(config)
                        .into_iter()
                        .flat_map(|ids| ids.iter().rev())
                        .filter_map(|id| self.executions.get(id))
                        .filter(|execution| execution.hidden_until <= now)
                        .filter(|execution| is_wanted(execution, statuses.as_deref()))
                        .take(limit);
                    found.extend(newest);
                }
                // The newest were taken, and are handed out oldest first.
                found.sort_by_key(|execution| execution.build_time);
                Ok(found
                    .into_iter()
                    .map(|execution| execution.to_json(expand))
                    .collect())
            }
        }
    }

    /// `GET /applications/{application}/executions/search`: newest first; the time boundaries are exclusive.
    pub(super) fn search(&self, application: &str, query: &Query) -> Result<Value, Refusal> {
        let expand = query.get("expand").is_some_and(|expand| expand == "true");
        let start = number(query, "triggerTimeStartBoundary").unwrap_or(0);
        let end = number(query, "triggerTimeEndBoundary").unwrap_or(u64::MAX);
        let size = number(query, "size").unwrap_or(10);
        let skipped = number(query, "startIndex").unwrap_or(0);
        let statuses = statuses(query);
        let trigger = match query.get("trigger") {
            None => None,
            Some(encoded) => Some(
                from_base64(encoded)
                    .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
                    .ok_or_else(|| Refusal::invalid("Failed to parse encoded trigger"))?,
            ),
        };
        let types = query.get("triggerTypes").filter(|types| *types != "*");
        let now = self.now();
        let mut found: Vec<&Execution> = self
            .executions
            .values()
            .filter(|execution| application == "*" || execution.application == application)
            .filter(|execution| execution.hidden_until <= now)
            .filter(|execution| execution.build_time > start && execution.build_time < end)
            .filter(|execution| is_wanted(execution, statuses.as_deref()))
            .filter(|execution| {
                query
                    .get("pipelineName")
                    .is_none_or(|name| execution.name == *name)
            })
            .filter(|execution| {
                query.get("eventId").is_none_or(|event| {
                    execution.trigger.get("eventId") == Some(&Value::String(event.clone()))
                })
            })
            .filter(|execution| {
                types.is_none_or(|types| {
                    let kind = execution.trigger.get("type").and_then(Value::as_str);
                    types.split(',').any(|wanted| Some(wanted) == kind)
                })
            })
            .filter(|execution| {
                trigger
                    .as_ref()
                    .is_none_or(|wanted| is_subset(wanted, &execution.trigger))
            })
            .collect();
        found.sort_by_key(|execution| std::cmp::Reverse(execution.build_time));
        if query
            .get("reverse")
            .is_some_and(|reverse| reverse == "true")
        {
            found.reverse();
        }
        Ok(found
            .into_iter()
            .skip(skipped)
            .take(size)
            .map(|execution| execution.to_json(expand))
            .collect())
    }
}

fn number<Number: FromStr>(query: &Query, key: &str) -> Option<Number> {
    query.get(key)?.parse().ok()
}

fn statuses(query: &Query) -> Option<Vec<&str>> {
    let statuses = query.get("statuses").filter(|words| !words.is_empty())?;
    Some(statuses.split(',').collect())
}

fn is_wanted(execution: &Execution, statuses: Option<&[&str]>) -> bool {
    statuses.is_none_or(|statuses| statuses.contains(&execution.status.word()))
}

/// Orca's match of triggers: maps and lists as subsets, text without regard to case.
fn is_subset(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => wanted.iter().all(|(key, wanted)| {
            actual
                .get(key)
                .is_some_and(|actual| is_subset(wanted, actual))
        }),
        (Value::Array(wanted), Value::Array(actual)) => wanted
            .iter()
            .all(|wanted| actual.iter().any(|actual| is_subset(wanted, actual))),
        (Value::String(wanted), Value::String(actual)) => wanted.eq_ignore_ascii_case(actual),
        (wanted, actual) => wanted == actual,
    }
}
