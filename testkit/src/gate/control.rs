//! What can be done to an execution that exists: cancel, pause, judge, restart, and what only a test may do.
//! Touches the world only.

use serde_json::{Map, Value, json};

use super::execution::{Execution, Paused, Status, Step};
use super::launch::Order;
use super::world::{World, milliseconds};

/// What a PATCH of a stage did.
#[derive(Debug)]
pub(super) enum Patched {
    NoExecution,
    NoStage,
    Done(Value),
}

impl World {
    /// Cancels: `canceled` at once, the status later. On a complete execution the flag is set all the same.
    pub(super) fn cancel(&mut self, id: &str, by: &str, reason: Option<&str>, now: u64) -> bool {
        let due = now + milliseconds(self.timing.cancel);
        self.change(id, |world, execution| {
            execution.canceled = true;
            execution.canceled_by = Some(by.to_owned());
            execution.cancellation_reason = reason.map(str::to_owned);
            if execution.status == Status::NotStarted {
                world.complete(execution, Status::Canceled, now);
            } else if !execution.status.is_complete() {
                world.schedule(execution, due, Step::CancelTakesEffect);
            }
        })
        .is_some()
    }

    /// Pauses a running execution; timers stand still.
    pub(super) fn pause(&mut self, id: &str, by: &str, now: u64) -> bool {
        self.change(id, |_, execution| {
            if execution.status != Status::Running {
                return;
            }
            swap_status(execution, Status::Running, Status::Paused);
            execution.paused = Some(Paused {
                by: by.to_owned(),
                at: now,
                resumed: None,
            });
        })
        .is_some()
    }

    /// Resumes a paused execution; timers go on where they stood.
    pub(super) fn resume(&mut self, id: &str, by: &str, now: u64) -> bool {
        self.change(id, |world, execution| {
            if execution.status != Status::Paused {
                return;
            }
            swap_status(execution, Status::Paused, Status::Running);
            let Some(paused) = &mut execution.paused else {
                return;
            };
            paused.resumed = Some((by.to_owned(), now));
            let since = paused.at;
            let agenda = std::mem::take(&mut execution.agenda);
            for (due, step) in agenda {
                let due = now + due.saturating_sub(since);
                world.schedule(execution, due, step);
            }
        })
        .is_some()
    }

    /// Merges a body into a stage's context, whatever state the stage is in.
    pub(super) fn patch_stage(
        &mut self,
        id: &str,
        stage_id: &str,
        patch: &Map<String, Value>,
        by: &str,
        now: u64,
    ) -> Patched {
        let judged = now + milliseconds(self.timing.judgment);
        self.change(id, |world, execution| {
            let Some(stage) = execution.stage_mut(stage_id) else {
                return Patched::NoStage;
            };
            let task_runs = stage
                .tasks
                .first()
                .is_some_and(|task| task.status == Status::Running);
            if stage.status == Status::Running && !task_runs && stage.overwritten_by.is_none() {
                stage.overwritten_by = Some(stage.context.clone());
            }
            for (key, value) in patch {
                stage.context.insert(key.clone(), value.clone());
            }
            stage.context.insert("lastModifiedBy".into(), json!(by));
            stage.last_modified = Some(json!({
                "user": by,
                "allowedAccounts": [],
                "lastModifiedTime": now,
            }));
            let answers = match stage.kind.as_str() {
                "manualJudgment" => patch.contains_key("judgmentStatus"),
                "wait" => patch.get("skipRemainingWait") == Some(&Value::Bool(true)),
                _ => false,
            };
            if answers && task_runs {
                let step = Step::TaskEnd {
                    stage: stage_id.to_owned(),
                    task: 0,
                };
                world.schedule(execution, judged, step);
            }
            Patched::Done(execution.to_json(true))
        })
        .unwrap_or(Patched::NoExecution)
    }

    /// Asks for a restart of a stage. For a while the old state is still read.
    pub(super) fn restart(&mut self, id: &str, stage_id: &str, by: &str, now: u64) -> bool {
        let due = now + milliseconds(self.timing.restart_staleness);
        self.change(id, |world, execution| {
            let restartable = execution
                .stage(stage_id)
                .is_some_and(|stage| stage.status.is_complete());
            if restartable {
                let step = Step::RestartTakesEffect {
                    stage: stage_id.to_owned(),
                    by: by.to_owned(),
                };
                world.schedule(execution, due, step);
            }
        })
        .is_some()
    }

    /// Restarts a stage and those behind it. The execution runs again under its id, with its OLD end time.
    pub(super) fn restart_now(
        &mut self,
        execution: &mut Execution,
        stage_id: &str,
        by: &str,
        now: u64,
    ) {
        let Some(reference) = execution
            .stage(stage_id)
            .map(|stage| stage.reference.clone())
        else {
            return;
        };
        let mut behind = vec![reference];
        let mut seen = 0;
        while seen < behind.len() {
            let followers: Vec<String> = execution
                .stages
                .iter()
                .filter(|stage| stage.requisites.contains(&behind[seen]))
                .map(|stage| stage.reference.clone())
                .filter(|reference| !behind.contains(reference))
                .collect();
            behind.extend(followers);
            seen += 1;
        }
        let again: Vec<String> = execution
            .stages
            .iter()
            .filter(|stage| stage.parent.is_none() && behind.contains(&stage.reference))
            .map(|stage| stage.id.clone())
            .collect();
        execution.stages.retain(|stage| {
            stage
                .parent
                .as_ref()
                .is_none_or(|parent| !again.contains(parent))
        });
        for stage in &mut execution.stages {
            if !again.contains(&stage.id) {
                continue;
            }
            stage.status = Status::NotStarted;
            stage.start_time = None;
            stage.end_time = None;
            stage.tasks.clear();
            stage.outputs.clear();
            stage.context.remove("judgmentStatus");
            let exception = stage.context.remove("exception");
            if stage.id == stage_id {
                stage.restarts += 1;
                let mut details = json!({"restartedBy": by, "restartTime": now});
                if let (Some(exception), Some(fields)) = (exception, details.as_object_mut()) {
                    fields.insert("previousException".into(), exception);
                }
                stage.context.insert("restartDetails".into(), details);
            }
        }
        execution.status = Status::Running;
        execution.start_time = Some(now);
        execution.canceled = false;
        execution.canceled_by = None;
        execution.cancellation_reason = None;
        execution.agenda.clear();
        self.start_ready(execution, now);
    }

    /// Makes a finished execution run again, as somebody who restarts its failed (or last) stage in Deck does.
    pub(super) fn restart_finished(&mut self, id: &str, now: u64) -> bool {
        self.change(id, |world, execution| {
            let top = || {
                execution
                    .stages
                    .iter()
                    .filter(|stage| stage.parent.is_none())
            };
            let stage = top()
                .find(|stage| stage.status.is_complete() && stage.status != Status::Succeeded)
                .or_else(|| top().next_back())
                .map(|stage| stage.id.clone());
            if let (true, Some(stage)) = (execution.status.is_complete(), stage) {
                world.restart_now(execution, &stage, "somebody", now);
                return true;
            }
            false
        })
        .unwrap_or(false)
    }

    /// Wipes an execution and runs it again from its pipeline's config, as a second start of its id does.
    pub(super) fn rerun(&mut self, id: &str, now: u64) -> bool {
        let Some(execution) = self.executions.get(id) else {
            return false;
        };
        let Some(config) = self.configs.get(&execution.config_id).cloned() else {
            return false;
        };
        let order = Order {
            config,
            trigger: Some(execution.trigger.clone()),
            execution_id: Some(id.to_owned()),
            principal: execution.principal.clone(),
            checked_at: now,
            parent: None,
        };
        self.store(order, now);
        true
    }

    /// Ends everything that is left as SUCCEEDED.
    pub(super) fn finish(&mut self, id: &str, now: u64) -> bool {
        self.change(id, |world, execution| {
            for stage in &mut execution.stages {
                if stage.status.is_complete() {
                    continue;
                }
                stage.status = Status::Succeeded;
                stage.start_time.get_or_insert(now);
                stage.end_time = Some(now);
                for task in &mut stage.tasks {
                    task.status = Status::Succeeded;
                    task.end_time = Some(now);
                }
            }
            execution.start_time.get_or_insert(now);
            world.complete(execution, Status::Succeeded, now);
        })
        .is_some()
    }

    /// Sets an execution's status and nothing else; what was planned for it does not happen.
    pub(super) fn set_status(&mut self, id: &str, status: Status, now: u64) -> bool {
        self.change(id, |world, execution| {
            if status.is_complete() {
                world.complete(execution, status, now);
            } else {
                execution.agenda.clear();
                execution.status = status;
            }
        })
        .is_some()
    }

    /// The id of the judgment stage that waits, if one does.
    pub(super) fn waiting_judgment(&self, id: &str) -> Option<String> {
        self.executions
            .get(id)?
            .stages
            .iter()
            .find(|stage| stage.kind == "manualJudgment" && stage.status == Status::Running)
            .map(|stage| stage.id.clone())
    }
}

fn swap_status(execution: &mut Execution, from: Status, to: Status) {
    execution.status = to;
    for stage in &mut execution.stages {
        if stage.status == from {
            stage.status = to;
        }
        for task in &mut stage.tasks {
            if task.status == from {
                task.status = to;
            }
        }
    }
}
