//! How an execution moves: stages start when those before them are done, tasks run and end, and failures spread.
//! Touches the world only; the time of each step is handed in.

use serde_json::{Value, json};

use super::execution::{Doom, Execution, Status, Step};
use super::launch::Order;
use super::parameters::evaluated;
use super::stages::{Ends, end_task, ends, failure_choice, preconditions_of, tasks_of};
use super::world::{World, milliseconds};

const SUPERSEDED: &str = "This execution was queued but then canceled because a newer queued execution superceded it. \
     This pipeline is configured to automatically cancel waiting executions.";

impl World {
    /// Does one step of an execution.
    pub(super) fn apply(&mut self, execution: &mut Execution, step: Step, now: u64) {
        match step {
            Step::Begin => self.begin(execution, now),
            Step::TaskStart { stage, task } => self.start_task(execution, &stage, task, now),
            Step::TaskEnd { stage, task } => self.end_task(execution, &stage, task, now),
            Step::CancelTakesEffect => self.stop_work(execution, Status::Canceled, now),
            Step::RestartTakesEffect { stage, by } => {
                self.restart_now(execution, &stage, &by, now);
            }
            Step::Collapse => self.complete(execution, Status::Terminal, now),
        }
    }

    fn begin(&mut self, execution: &mut Execution, now: u64) {
        if execution.status != Status::NotStarted {
            return;
        }
        if execution.limit_concurrent
            && self.under_way(&execution.config_id) >= execution.max_concurrent.max(1)
        {
            let waiting = self.waiting.entry(execution.config_id.clone()).or_default();
            if !waiting.contains(&execution.id) {
                waiting.push(execution.id.clone());
            }
            return;
        }
        execution.status = Status::Running;
        execution.start_time = Some(now);
        if execution.doom == Doom::Torn {
            let due = now + milliseconds(self.timing.task);
            self.schedule(execution, due, Step::Collapse);
        } else if execution.stages.is_empty() {
            self.complete(execution, Status::Terminal, now);
        } else {
            self.start_ready(execution, now);
        }
    }

    /// Starts the stages whose turn it is, or ends the execution when none is left.
    pub(super) fn start_ready(&mut self, execution: &mut Execution, now: u64) {
        let done = |reference: &String| {
            execution
                .stages
                .iter()
                .filter(|stage| stage.parent.is_none() && stage.reference == *reference)
                .all(|stage| {
                    matches!(
                        stage.status,
                        Status::Succeeded | Status::FailedContinue | Status::Skipped
                    )
                })
        };
        let ready: Vec<String> = execution
            .stages
            .iter()
            .filter(|stage| stage.parent.is_none() && stage.status == Status::NotStarted)
            .filter(|stage| stage.requisites.iter().all(done))
            .map(|stage| stage.id.clone())
            .collect();
        for stage in &ready {
            self.start_stage(execution, stage, now);
        }
        let under_way = execution
            .stages
            .iter()
            .any(|stage| stage.status.is_under_way());
        if !under_way && !execution.status.is_complete() {
            self.complete(execution, Status::Succeeded, now);
        }
    }

    fn start_stage(&mut self, execution: &mut Execution, id: &str, now: u64) {
        let Some(stage) = execution.stage_mut(id) else {
            return;
        };
        stage.status = Status::Running;
        stage.start_time = Some(now);
        if let Value::Object(context) = evaluated(&Value::Object(stage.context.clone())) {
            stage.context = context;
        }
        if stage.kind == "checkPreconditions" && stage.parent.is_none() {
            let made = preconditions_of(stage, || self.next_ulid(now));
            let first = made.first().map(|stage| stage.id.clone());
            let position = execution.stages.iter().position(|stage| stage.id == id);
            let position = position.unwrap_or_default();
            execution.stages.splice(position..position, made);
            match first {
                Some(first) => self.start_stage(execution, &first, now),
                None => self.end_stage(execution, id, Status::Succeeded, now),
            }
            return;
        }
        stage.tasks = tasks_of(&stage.kind);
        let due = now + milliseconds(self.timing.task_start);
        let stage = id.to_owned();
        self.schedule(execution, due, Step::TaskStart { stage, task: 0 });
    }

    fn start_task(&mut self, execution: &mut Execution, id: &str, task: usize, now: u64) {
        let doom = execution.doom;
        let Some(stage) = execution.stage_mut(id) else {
            return;
        };
        if stage.status != Status::Running {
            return;
        }
        if let Some(context) = stage.overwritten_by.take() {
            // Orca writes the stage it has read before the PATCH came: the judgment is gone.
            stage.context = context;
            stage.last_modified = None;
        }
        if let Some(task) = stage.tasks.get_mut(task) {
            task.status = Status::Running;
            task.start_time = Some(now);
        }
        let due = match ends(stage, task) {
            Ends::After(time) => now + time,
            Ends::Later if doom == Doom::None => return,
            Ends::Soon | Ends::Later => now + milliseconds(self.timing.task),
        };
        let step = match doom {
            Doom::None => Step::TaskEnd {
                stage: id.to_owned(),
                task,
            },
            Doom::Frozen | Doom::Torn => Step::Collapse,
        };
        self.schedule(execution, due, step);
    }

    fn end_task(&mut self, execution: &mut Execution, id: &str, task: usize, now: u64) {
        let execution_id = execution.id.clone();
        let running = execution
            .stage(id)
            .filter(|stage| stage.status == Status::Running);
        let Some(kind) = running.map(|stage| stage.kind.clone()) else {
            return;
        };
        if kind == "manualJudgment" {
            self.turn_away(execution, id);
        }
        let status = match (kind.as_str(), task) {
            ("pipeline", 0) => self.start_child(execution, id, now),
            ("pipeline", _) => self.notice_child(execution, id),
            _ => match execution.stage_mut(id) {
                Some(stage) => end_task(&execution_id, stage, task, now),
                None => return,
            },
        };
        let Some(stage) = execution.stage_mut(id) else {
            return;
        };
        if status == Status::Running {
            return;
        }
        if let Some(task) = stage.tasks.get_mut(task) {
            task.status = status;
            task.end_time = Some(now);
        }
        if status == Status::Succeeded && task + 1 < stage.tasks.len() {
            let due = now + milliseconds(self.timing.task_start);
            let stage = id.to_owned();
            let task = task + 1;
            self.schedule(execution, due, Step::TaskStart { stage, task });
        } else {
            self.end_stage(execution, id, status, now);
        }
    }

    /// Takes back the judgment of whoever has none of the stage's roles. It was answered with 200, as any is.
    fn turn_away(&mut self, execution: &mut Execution, id: &str) {
        let Some(stage) = execution.stage_mut(id) else {
            return;
        };
        let user = stage
            .last_modified
            .as_ref()
            .and_then(|modified| modified.get("user"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !self.may_judge(user, &stage.context) {
            stage.context.insert("judgmentStatus".into(), json!(""));
        }
    }

    pub(super) fn end_stage(
        &mut self,
        execution: &mut Execution,
        id: &str,
        status: Status,
        now: u64,
    ) {
        let Some(stage) = execution.stage_mut(id) else {
            return;
        };
        let status = match status {
            Status::Terminal if stage.parent.is_none() => failure_choice(stage),
            other => other,
        };
        stage.status = status;
        stage.end_time = Some(now);
        if let Some(parent) = stage.parent.clone() {
            let next = execution
                .stages
                .iter()
                .find(|sibling| {
                    sibling.parent.as_ref() == Some(&parent) && sibling.status == Status::NotStarted
                })
                .map(|sibling| sibling.id.clone());
            match (status, next) {
                (Status::Succeeded, Some(next)) => self.start_stage(execution, &next, now),
                (_, _) => self.end_stage(execution, &parent, status, now),
            }
        } else if status == Status::Terminal {
            self.stop_work(execution, Status::Terminal, now);
        } else {
            // A stopped stage ends its branch only: what is behind it never gets ready.
            self.start_ready(execution, now);
        }
    }

    /// Cancels whatever runs, and ends the execution.
    pub(super) fn stop_work(&mut self, execution: &mut Execution, status: Status, now: u64) {
        let mut children = Vec::new();
        for stage in &mut execution.stages {
            if !stage.status.is_under_way() {
                continue;
            }
            stage.status = Status::Canceled;
            stage.end_time = Some(now);
            for task in &mut stage.tasks {
                if task.status.is_under_way() {
                    task.status = Status::Canceled;
                    task.end_time = Some(now);
                }
            }
            if stage.kind == "pipeline" {
                let child = stage.context.get("executionId").and_then(Value::as_str);
                children.extend(child.map(str::to_owned));
            }
        }
        self.complete(execution, status, now);
        for child in children {
            self.cancel(&child, "parent pipeline", None, now);
        }
    }

    /// Ends an execution: the next one in line may begin, and a parent notices.
    pub(super) fn complete(&mut self, execution: &mut Execution, status: Status, now: u64) {
        execution.status = status;
        execution.agenda.clear();
        if execution.start_time.is_some() {
            execution.end_time = Some(now);
        }
        let mut waiting = self
            .waiting
            .remove(&execution.config_id)
            .unwrap_or_default();
        waiting.retain(|id| *id != execution.id);
        let keep = waiting
            .last()
            .and_then(|id| self.executions.get(id))
            .is_none_or(|waiter| waiter.keep_waiting);
        let next = if waiting.is_empty() {
            None
        } else if keep {
            Some(waiting.remove(0))
        } else {
            let newest = waiting.pop();
            for superseded in waiting.drain(..) {
                self.change(&superseded, |_, waiter| {
                    waiter.status = Status::Canceled;
                    waiter.canceled = true;
                    waiter.canceled_by = Some("spinnaker".to_owned());
                    waiter.cancellation_reason = Some(SUPERSEDED.to_owned());
                });
            }
            newest
        };
        if !waiting.is_empty() {
            self.waiting.insert(execution.config_id.clone(), waiting);
        }
        if let Some(next) = next {
            // At once: whoever is accepted later must not overtake it.
            self.change(&next, |world, waiter| {
                world.schedule(waiter, now, Step::Begin);
            });
        }
        if let Some((parent, stage)) = execution.parent.clone() {
            let due = now + milliseconds(self.timing.child_poll);
            self.change(&parent, |world, parent| {
                world.schedule(parent, due, Step::TaskEnd { stage, task: 1 });
            });
        }
    }

    fn start_child(&mut self, parent: &mut Execution, stage_id: &str, now: u64) -> Status {
        let whole_parent = parent.to_json(true);
        let parent_id = parent.id.clone();
        let parent_root = parent.root.clone();
        let principal = parent.principal.clone();
        let began = parent.start_time.unwrap_or_default();
        let Some(stage) = parent.stage_mut(stage_id) else {
            return Status::Terminal;
        };
        let config_id = stage.context.get("pipeline").and_then(Value::as_str);
        let Some(config) = config_id.and_then(|id| self.configs.get(id)).cloned() else {
            let text = format!(
                "The referenced pipeline {} cannot be located",
                config_id.unwrap_or_default()
            );
            stage.context.insert(
                "exception".into(),
                json!({"details": {"error": "Unexpected Task Failure", "errors": [text]}}),
            );
            return Status::Terminal;
        };
        let config_id = config_id.unwrap_or_default().to_owned();
        let parameters = stage.context.get("pipelineParameters").cloned();
        let trigger = json!({
            "type": "pipeline",
            "correlationId": format!("{parent_id}_{stage_id}_{config_id}_{began}"),
            "user": principal,
            "parameters": parameters.unwrap_or_else(|| json!({})),
            "parentExecution": whole_parent,
            "parentPipelineStageId": stage_id,
            "expectedArtifactIds": [],
        });
        let name = config.get("name").cloned().unwrap_or_default();
        let child = self.store(
            Order {
                config,
                trigger: Some(trigger),
                execution_id: None,
                principal,
                checked_at: now,
                parent: Some((parent_id, stage_id.to_owned(), parent_root)),
            },
            now,
        );
        stage.context.insert("executionId".into(), json!(child));
        stage.context.insert("executionName".into(), name);
        Status::Succeeded
    }

    /// What the parent makes of its child's end: the child's failure shows as its source, with no text.
    fn notice_child(&mut self, parent: &mut Execution, stage_id: &str) -> Status {
        let Some(stage) = parent.stage_mut(stage_id) else {
            return Status::Terminal;
        };
        if stage.context.get("waitForCompletion") == Some(&Value::Bool(false)) {
            return Status::Succeeded;
        }
        let child = stage.context.get("executionId").and_then(Value::as_str);
        let child = child.unwrap_or_default().to_owned();
        let ended = self
            .change(&child, |_, child| {
                let failed = child
                    .stages
                    .iter()
                    .enumerate()
                    .find(|(_, stage)| stage.status == Status::Terminal)
                    .map(|(index, stage)| {
                        json!({
                            "executionId": child.id,
                            "stageId": stage.id,
                            "stageName": stage.name,
                            "stageIndex": index,
                        })
                    });
                if child.status == Status::Terminal {
                    child.canceled = true;
                    child.canceled_by = Some("parent pipeline".to_owned());
                }
                (child.status, failed)
            })
            .unwrap_or((Status::Terminal, None));
        let (status, failed) = ended;
        if !status.is_complete() {
            return Status::Running;
        }
        stage.context.insert("status".into(), json!(status.word()));
        if status == Status::Succeeded {
            return Status::Succeeded;
        }
        if let Some(source) = failed {
            stage.context.insert(
                "exception".into(),
                json!({"details": {"errors": []}, "source": source}),
            );
        }
        match status {
            Status::Canceled => Status::Canceled,
            _ => Status::Terminal,
        }
    }
}
