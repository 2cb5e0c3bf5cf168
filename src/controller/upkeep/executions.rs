//! What Spinnaker shows of the pipelines by which targets are changed. Touches Gate (reads).

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{DeployTarget, bounds},
    controller::{
        connections::Gate,
        sighting::{self, Look},
    },
    domain::standing::{self, Shown},
    spinnaker::{Execution, GateError, Lookup, clean},
};

/// How many of each pipeline's newest executions are looked through.
const NEWEST: usize = 20;
/// How many pipelines are asked for at once.
const PIPELINES: usize = 10;
/// How many executions that Spinnaker has no more are remembered as such.
const GONE: usize = 50_000;
/// The most characters of who started one.
const WHO: usize = 80;

/// Executions that Spinnaker has no more: nobody asks for them again.
#[derive(Default)]
pub(super) struct Executions {
    gone: Mutex<HashSet<String>>,
}

impl Executions {
    /// The newest executions of the targets' pipelines, and those that brought what runs.
    pub(super) async fn of(
        &self,
        gate: &Gate,
        targets: &[DeployTarget],
    ) -> Result<Vec<Shown>, GateError> {
        let statuses = || targets.iter().filter_map(|target| target.status.as_ref());
        let pipelines: BTreeSet<&str> = statuses().flat_map(standing::pipelines).collect();
        let pipelines: Vec<&str> = pipelines.into_iter().collect();
        let mut all: BTreeMap<String, Shown> = BTreeMap::new();
        // One after the other: Gate has better to do.
        for some in pipelines.chunks(PIPELINES) {
            let _permit = gate.catalog.acquire().await;
            let asked_at = Timestamp::now();
            let executions = gate.client.executions_of(some, NEWEST).await?;
            let shown = executions
                .iter()
                .map(|execution| shown(execution, asked_at));
            all.extend(shown.map(|shown| (shown.id.clone(), shown)));
        }
        let brought: BTreeSet<String> = statuses()
            .filter_map(|status| status.current.as_ref()?.execution_id.clone())
            .filter(|id| !all.contains_key(id) && !self.gone().contains(id))
            .collect();
        let looks = brought.iter().map(async |id| {
            let asked_at = Timestamp::now();
            (
                id,
                asked_at,
                sighting::execution(gate, id, Look::Batched).await,
            )
        });
        for (id, asked_at, lookup) in futures::future::join_all(looks).await {
            match lookup {
                Lookup::Found(execution) => {
                    let shown = shown(&execution, asked_at);
                    all.insert(shown.id.clone(), shown);
                }
                Lookup::Absent => {
                    let mut gone = self.gone();
                    if gone.len() >= GONE {
                        gone.clear();
                    }
                    gone.insert(id.clone());
                }
                Lookup::Unclear(error) => return Err(error),
            }
        }
        Ok(all.into_values().collect())
    }

    fn gone(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(execution: &Execution, asked_at: Timestamp) -> Shown {
    let trigger = &execution.trigger;
    let text = |key: &str| {
        let text = clean(trigger.get(key)?.as_str()?);
        (!text.is_empty()).then(|| bounds::cut(&text, WHO))
    };
    let by = text("user").or_else(|| text("type").map(|kind| format!("a trigger of type {kind}")));
    let parameters = trigger.get("parameters").and_then(Value::as_object);
    let parameters = parameters
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| {
            let value = value.as_str()?;
            (value.len() <= bounds::VALUE).then(|| (name.clone(), value.to_owned()))
        });
    Shown {
        id: execution.id.clone(),
        pipeline: execution.pipeline_config_id.clone().unwrap_or_default(),
        mark: sighting::mark(execution),
        remembered: false,
        by,
        parameters: parameters.take(bounds::PARAMETERS).collect(),
        over: execution.status.is_complete(),
        build_time: execution.build_time,
        start_time: execution.start_time,
        end_time: execution.end_time,
        first_stage: execution
            .stages
            .iter()
            .filter_map(|stage| stage.start_time)
            .min(),
        asked_at,
    }
}
