//! How Orca takes a start: what dedupes, what is refused, and what is stored over what. Touches the world only.

use serde_json::Value;

use super::answers::Refusal;
use super::artifacts;
use super::execution::{Doom, Execution, Status, Step};
use super::ledger::{LaunchKind, concurrency_keys};
use super::parameters::{stored_trigger, with_parameters};
use super::stages::stages_of;
use super::world::{World, milliseconds};

/// What Postgres keeps an execution id in.
const ID_WIDTH: usize = 26;
const CORRELATION_WIDTH: usize = 255;
pub(super) const DISABLED: &str = "Pipeline is disabled and cannot be started.";

/// A start as Orca gets it from Gate.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) config: Value,
    pub(super) trigger: Option<Value>,
    pub(super) execution_id: Option<String>,
    pub(super) principal: String,
    /// When the order was checked; what was stored since then makes two starts at one moment.
    pub(super) checked_at: u64,
    /// The parent execution, its stage and its root.
    pub(super) parent: Option<(String, String, String)>,
}

/// What the check of an order says.
#[derive(Debug)]
pub(super) enum Checked {
    /// Nothing stands in the way: store it.
    Go(Order),
    /// An execution that is not complete has this correlation id: its id is the answer.
    Existing(String),
}

impl World {
    /// Checks an order. The check and the storing are two steps in Orca too, and nothing locks what is between them.
    pub(super) fn check(&mut self, mut order: Order) -> Result<Checked, Refusal> {
        let now = self.now();
        // Before anything else is asked, and so over an execution that has the id.
        let config_id = order.config.get("id").and_then(Value::as_str);
        let prior = config_id.map_or_else(Vec::new, |id| self.artifacts_of_newest(id));
        match artifacts::resolved(&order.config, order.trigger.as_ref(), &prior) {
            Ok(None) => {}
            Ok(trigger) => order.trigger = trigger,
            Err(message) => {
                self.store_refused(&order, now, &message);
                return Err(Refusal::orca(400, "/orchestrate", &message));
            }
        }
        let correlation = correlation_of(order.trigger.as_ref());
        if let Some(correlation) = &correlation {
            let too_long = order
                .execution_id
                .as_ref()
                .is_some_and(|id| id.len() > ID_WIDTH);
            if too_long {
                return Err(Refusal::value_too_long(ID_WIDTH));
            }
            if correlation.len() > CORRELATION_WIDTH {
                return Err(Refusal::value_too_long(CORRELATION_WIDTH));
            }
            if let Some(existing) = self.correlated(correlation) {
                return Ok(Checked::Existing(existing));
            }
        }
        if order.config.get("disabled") == Some(&Value::Bool(true)) {
            self.store_refused(&order, now, DISABLED);
            return Err(Refusal::orca(400, "/orchestrate", DISABLED));
        }
        order.checked_at = now;
        Ok(Checked::Go(order))
    }

    /// The execution that a correlation id stands for, as long as it is not complete.
    fn correlated(&mut self, correlation: &str) -> Option<String> {
        let id = self.correlations.get(correlation)?.clone();
        let complete = self
            .executions
            .get(&id)
            .is_none_or(|execution| execution.status.is_complete());
        if complete {
            self.correlations.remove(correlation);
            return None;
        }
        Some(id)
    }

    /// Stores an order and sets it going. An upsert: what had the id before is wiped.
    pub(super) fn store(&mut self, order: Order, now: u64) -> String {
        let mut kind = if order.parent.is_some() {
            LaunchKind::Child
        } else {
            LaunchKind::New
        };
        let checked_at = order.checked_at;
        let mut execution = self.execution_of(order, now);
        if let Some(existing) = self.executions.get(&execution.id) {
            kind = LaunchKind::Wiped;
            if !existing.status.is_complete() {
                execution.doom = if existing.build_time >= checked_at {
                    Doom::Torn
                } else {
                    Doom::Frozen
                };
            }
        }
        self.ledger.record(
            &execution.id,
            &execution.config_id,
            &execution.trigger,
            kind,
            now,
        );
        let id = execution.id.clone();
        let due = now + milliseconds(self.timing.begin);
        self.put(execution);
        self.change(&id, |world, execution| {
            world.schedule(execution, due, Step::Begin);
        });
        id
    }

    /// The artifacts that the newest execution of a pipeline was started with, however it ended.
    fn artifacts_of_newest(&self, config_id: &str) -> Vec<Value> {
        let ids = self.by_config.get(config_id).into_iter().flatten();
        let executions = ids.filter_map(|id| self.executions.get(id));
        let newest = executions.max_by_key(|execution| execution.start_time.unwrap_or_default());
        let artifacts = newest.and_then(|execution| execution.trigger["artifacts"].as_array());
        artifacts.cloned().unwrap_or_default()
    }

    /// A start that Orca refuses leaves a TERMINAL record under the id that was asked for, and runs nothing.
    fn store_refused(&mut self, order: &Order, now: u64, why: &str) {
        let mut execution = self.execution_of(order.clone(), now);
        execution.status = Status::Terminal;
        execution.canceled = true;
        execution.canceled_by = Some("system".to_owned());
        execution.cancellation_reason = Some(format!("Failed on startup: {why}"));
        for stage in &mut execution.stages {
            stage.context.clear();
        }
        self.ledger.record(
            &execution.id,
            &execution.config_id,
            &execution.trigger,
            LaunchKind::Refused,
            now,
        );
        self.put(execution);
    }

    fn put(&mut self, execution: Execution) {
        if let Some(before) = self.executions.remove(&execution.id) {
            let was = before.status.is_under_way();
            let mut gone = before;
            gone.status = Status::Canceled;
            self.account(&gone, was);
            for waiting in self.waiting.values_mut() {
                waiting.retain(|waiter| *waiter != gone.id);
            }
        }
        self.by_config
            .entry(execution.config_id.clone())
            .or_default()
            .insert(execution.id.clone());
        if let Some(correlation) = correlation_of(Some(&execution.trigger)) {
            // SQL: "on conflict do nothing".
            self.correlations
                .entry(correlation)
                .or_insert_with(|| execution.id.clone());
        }
        self.executions.insert(execution.id.clone(), execution);
    }

    fn execution_of(&mut self, order: Order, now: u64) -> Execution {
        let Order {
            config,
            trigger,
            execution_id,
            principal,
            parent,
            ..
        } = order;
        let text = |key: &str| {
            config
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
        let config_id = text("id");
        let trigger = stored_trigger(&config, trigger.as_ref(), &principal);
        let id = execution_id
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| self.next_ulid(now));
        let stages = stages_of(&with_parameters(&config, &trigger), || self.next_ulid(now));
        Execution {
            application: text("application"),
            name: text("name"),
            build_time: self.next_build_time(now),
            start_time: None,
            end_time: None,
            status: Status::NotStarted,
            canceled: false,
            canceled_by: None,
            cancellation_reason: None,
            limit_concurrent: flag("limitConcurrent"),
            keep_waiting: flag("keepWaitingPipelines"),
            max_concurrent: config
                .get("maxConcurrentExecutions")
                .and_then(Value::as_u64)
                .unwrap_or(0),
            paused: None,
            principal,
            stages,
            root: parent
                .as_ref()
                .map_or_else(|| id.clone(), |(_, _, root)| root.clone()),
            parent: parent.map(|(execution, stage, _)| (execution, stage)),
            doom: Doom::None,
            hidden_until: 0,
            concurrency_keys: concurrency_keys(&config_id, &trigger),
            agenda: Vec::new(),
            trigger,
            config_id,
            id,
        }
    }
}

/// The correlation id of a trigger; anything but text is ignored.
fn correlation_of(trigger: Option<&Value>) -> Option<String> {
    trigger?
        .get("correlationId")?
        .as_str()
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
}
