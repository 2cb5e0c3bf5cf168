//! An execution as the stand-in keeps it, and as Gate shows it. Pure.

use serde_json::{Map, Value, json};

/// The status of an execution, a stage or a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Accepted, or waiting because of `limitConcurrent`.
    NotStarted,
    /// Running.
    Running,
    /// Paused by somebody.
    Paused,
    /// Suspended.
    Suspended,
    /// Buffered by an execution window.
    Buffered,
    /// Ended well.
    Succeeded,
    /// Failed, and the pipeline goes on.
    FailedContinue,
    /// Failed.
    Terminal,
    /// Cancelled.
    Canceled,
    /// Failed, and only this branch ends.
    Stopped,
    /// Skipped.
    Skipped,
}

impl Status {
    /// The word in Gate's JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Suspended => "SUSPENDED",
            Self::Buffered => "BUFFERED",
            Self::Succeeded => "SUCCEEDED",
            Self::FailedContinue => "FAILED_CONTINUE",
            Self::Terminal => "TERMINAL",
            Self::Canceled => "CANCELED",
            Self::Stopped => "STOPPED",
            Self::Skipped => "SKIPPED",
        }
    }

    /// Whether nothing more happens, unless somebody restarts a stage.
    pub fn is_complete(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::FailedContinue
                | Self::Terminal
                | Self::Canceled
                | Self::Stopped
                | Self::Skipped
        )
    }

    /// Whether work is under way: running, or paused in the middle of it.
    pub(super) fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Suspended)
    }
}

/// What is to happen to an execution at some time.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Begin,
    TaskStart {
        stage: String,
        task: usize,
    },
    TaskEnd {
        stage: String,
        task: usize,
    },
    CancelTakesEffect,
    RestartTakesEffect {
        stage: String,
        by: String,
    },
    /// Ends TERMINAL without a reason, leaving the stages as they are: what two starts of one id do to it.
    Collapse,
}

/// What went wrong at the start of an execution, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doom {
    None,
    /// Started again while running: ends TERMINAL with its first stage frozen in RUNNING.
    Frozen,
    /// Two starts at one moment: ends TERMINAL with a stage that never started.
    Torn,
}

#[derive(Debug, Clone)]
pub(super) struct Paused {
    pub(super) by: String,
    pub(super) at: u64,
    pub(super) resumed: Option<(String, u64)>,
}

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) start_time: Option<u64>,
    pub(super) end_time: Option<u64>,
    pub(super) exception: Value,
}

#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) id: String,
    pub(super) reference: String,
    pub(super) requisites: Vec<String>,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) start_time: Option<u64>,
    pub(super) end_time: Option<u64>,
    pub(super) context: Map<String, Value>,
    pub(super) outputs: Map<String, Value>,
    pub(super) tasks: Vec<Task>,
    /// The stage that this one was made for; only stages made before their parent are needed here.
    pub(super) parent: Option<String>,
    pub(super) last_modified: Option<Value>,
    pub(super) script: Value,
    pub(super) restarts: u64,
    /// The context that Orca is about to write back over a PATCH that came before the first task ran.
    pub(super) overwritten_by: Option<Map<String, Value>>,
}

#[derive(Debug, Clone)]
pub(super) struct Execution {
    pub(super) id: String,
    pub(super) application: String,
    pub(super) name: String,
    pub(super) config_id: String,
    pub(super) build_time: u64,
    pub(super) start_time: Option<u64>,
    pub(super) end_time: Option<u64>,
    pub(super) status: Status,
    pub(super) canceled: bool,
    pub(super) canceled_by: Option<String>,
    pub(super) cancellation_reason: Option<String>,
    pub(super) limit_concurrent: bool,
    pub(super) keep_waiting: bool,
    pub(super) max_concurrent: u64,
    pub(super) paused: Option<Paused>,
    pub(super) principal: String,
    pub(super) trigger: Value,
    pub(super) stages: Vec<Stage>,
    pub(super) root: String,
    /// The execution and stage that run this one as a child.
    pub(super) parent: Option<(String, String)>,
    pub(super) doom: Doom,
    /// Until then, reads by id and lists do not see it.
    pub(super) hidden_until: u64,
    /// Under which keys the peak of concurrency counts it.
    pub(super) concurrency_keys: Vec<String>,
    pub(super) agenda: Vec<(u64, Step)>,
}

impl Execution {
    pub(super) fn stage(&self, id: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.id == id)
    }

    pub(super) fn stage_mut(&mut self, id: &str) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.id == id)
    }

    /// Takes the earliest step that is due, unless the execution is paused.
    pub(super) fn next_due(&mut self, now: u64) -> Option<(u64, Step)> {
        let paused = self.status == Status::Paused;
        let position = self
            .agenda
            .iter()
            .enumerate()
            .filter(|(_, (due, _))| *due <= now)
            .filter(|(_, (_, step))| !paused || matches!(step, Step::CancelTakesEffect))
            .min_by_key(|(_, (due, _))| *due)
            .map(|(position, _)| position)?;
        Some(self.agenda.remove(position))
    }

    /// The execution as Gate shows it. Without `expand`, contexts, outputs and tasks are empty; the trigger stays whole.
    pub(super) fn to_json(&self, expand: bool) -> Value {
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| {
            body.insert(key.to_owned(), value);
        };
        put("type", json!("PIPELINE"));
        put("id", json!(self.id));
        put("application", json!(self.application));
        put("rootId", json!(self.root));
        put("name", json!(self.name));
        put("buildTime", json!(self.build_time));
        put("canceled", json!(self.canceled));
        if let Some(by) = &self.canceled_by {
            put("canceledBy", json!(by));
        }
        if let Some(reason) = &self.cancellation_reason {
            put("cancellationReason", json!(reason));
        }
        put("limitConcurrent", json!(self.limit_concurrent));
        put("maxConcurrentExecutions", json!(self.max_concurrent));
        put("keepWaitingPipelines", json!(self.keep_waiting));
        put(
            "stages",
            self.stages
                .iter()
                .map(|stage| stage.to_json(expand))
                .collect(),
        );
        if let Some(time) = self.start_time {
            put("startTime", json!(time));
        }
        if let Some(time) = self.end_time {
            put("endTime", json!(time));
        }
        put("status", json!(self.status.word()));
        put(
            "authentication",
            json!({"user": self.principal, "allowedAccounts": []}),
        );
        if let Some(paused) = &self.paused {
            put("paused", paused.to_json());
        }
        if self.parent.is_none() {
            put("origin", json!("api"));
        }
        put("trigger", self.trigger.clone());
        put("pipelineConfigId", json!(self.config_id));
        put("notifications", json!([]));
        put("initialConfig", json!({}));
        put("systemNotifications", json!([]));
        put("templateVariables", json!({}));
        put("additionalHeaders", json!({}));
        Value::Object(body)
    }
}

impl Paused {
    fn to_json(&self) -> Value {
        let mut body = json!({
            "pausedBy": self.by,
            "pauseTime": self.at,
            "pausedMs": self.resumed.as_ref().map_or(0, |(_, at)| at.saturating_sub(self.at)),
            "paused": self.resumed.is_none(),
        });
        if let (Some((by, at)), Some(body)) = (&self.resumed, body.as_object_mut()) {
            body.insert("resumedBy".into(), json!(by));
            body.insert("resumeTime".into(), json!(at));
        }
        body
    }
}

impl Stage {
    pub(super) fn to_json(&self, expand: bool) -> Value {
        let mut body = json!({
            "id": self.id,
            "refId": self.reference,
            "type": self.kind,
            "name": self.name,
            "status": self.status.word(),
            "context": {},
            "outputs": {},
            "tasks": [],
            "requisiteStageRefIds": self.requisites,
        });
        let Some(fields) = body.as_object_mut() else {
            return body;
        };
        if let Some(time) = self.start_time {
            fields.insert("startTime".into(), json!(time));
        }
        if let Some(time) = self.end_time {
            fields.insert("endTime".into(), json!(time));
        }
        if let Some(parent) = &self.parent {
            fields.insert("syntheticStageOwner".into(), json!("STAGE_BEFORE"));
            fields.insert("parentStageId".into(), json!(parent));
        }
        if let Some(modified) = &self.last_modified {
            fields.insert("lastModified".into(), modified.clone());
        }
        if expand {
            fields.insert("context".into(), Value::Object(self.context.clone()));
            fields.insert("outputs".into(), Value::Object(self.outputs.clone()));
            let count = self.tasks.len();
            let tasks = self
                .tasks
                .iter()
                .enumerate()
                .map(|(position, task)| task.to_json(position, count))
                .collect();
            fields.insert("tasks".into(), Value::Array(tasks));
        }
        body
    }
}

impl Task {
    fn to_json(&self, position: usize, count: usize) -> Value {
        let mut body = json!({
            "id": (position + 1).to_string(),
            "implementingClass": self.class,
            "name": self.name,
            "status": self.status.word(),
            "stageStart": position == 0,
            "stageEnd": position + 1 == count,
            "loopStart": false,
            "loopEnd": false,
            "taskExceptionDetails": self.exception,
        });
        if let Some(fields) = body.as_object_mut() {
            if let Some(time) = self.start_time {
                fields.insert("startTime".into(), json!(time));
            }
            if let Some(time) = self.end_time {
                fields.insert("endTime".into(), json!(time));
            }
        }
        body
    }
}
