//! Which of Gate's operations a request asks for. Pure: reads a method, a path, a query and a body.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::Value;

/// What a call to Gate asks for; faults and counters name calls by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// In a fault: every operation. Never the operation of a call.
    Any,
    /// `POST /pipelines/start`.
    Start,
    /// `POST /pipelines/{application}/{name or id}`, called v1.
    Trigger,
    /// `GET /pipelines/{id}`.
    GetExecution,
    /// `GET /executions?executionIds=…`.
    Batch,
    /// `GET /executions?pipelineConfigIds=…`.
    List,
    /// `GET /applications/{application}/executions/search`.
    Search,
    /// `GET /executions/failedStages`.
    FailedStages,
    /// `GET /applications/{application}/pipelineConfigs/{name or id}`.
    GetConfig,
    /// `GET /applications/{application}/pipelineConfigs`.
    ListConfigs,
    /// `POST /pipelines`.
    SaveConfig,
    /// `PUT /pipelines/{id}/cancel`.
    Cancel,
    /// `PUT /pipelines/{id}/pause`.
    Pause,
    /// `PUT /pipelines/{id}/resume`.
    Resume,
    /// `PATCH /pipelines/{id}/stages/{stage}`: judgments and skipped waits.
    PatchStage,
    /// `PUT /pipelines/{id}/stages/{stage}/restart`.
    RestartStage,
    /// `DELETE /pipelines/{id}`.
    DeleteExecution,
    /// `GET /auth/user`.
    AuthUser,
    /// `GET /health`.
    Health,
    /// `GET /version`.
    Version,
    /// `GET /applications`.
    Applications,
    /// Anything else.
    Other,
}

impl Operation {
    /// Whether Gate hands this operation on to Orca.
    pub(super) fn needs_orca(self) -> bool {
        !matches!(
            self,
            Self::GetConfig
                | Self::ListConfigs
                | Self::AuthUser
                | Self::Health
                | Self::Version
                | Self::Applications
                | Self::Other
        )
    }
}

/// An operation and what it is about.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) operation: Operation,
    /// The execution id in the path, or in the body of a start.
    pub(super) execution: Option<String>,
    /// The pipeline's name or id in the path, or its id in the body of a start.
    pub(super) pipeline: Option<String>,
}

/// Reads what a request asks for.
pub(super) fn subject_of(
    method: &Method,
    path: &str,
    query: &HashMap<String, String>,
    body: Option<&Value>,
) -> Subject {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let text_in_body = |key: &str| {
        body.and_then(|body| body.get(key))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let (operation, execution, pipeline) = match (method.as_str(), segments.as_slice()) {
        ("POST", ["pipelines", "start"]) => (
            Operation::Start,
            text_in_body("executionId"),
            text_in_body("id"),
        ),
        ("POST", ["pipelines", _, pipeline]) => {
            (Operation::Trigger, None, Some((*pipeline).to_owned()))
        }
        ("POST", ["pipelines"]) => (Operation::SaveConfig, None, text_in_body("id")),
        ("GET", ["pipelines", id]) => (Operation::GetExecution, Some(*id), None).owned(),
        ("DELETE", ["pipelines", id]) => (Operation::DeleteExecution, Some(*id), None).owned(),
        ("PUT", ["pipelines", id, "cancel"]) => (Operation::Cancel, Some(*id), None).owned(),
        ("PUT", ["pipelines", id, "pause"]) => (Operation::Pause, Some(*id), None).owned(),
        ("PUT", ["pipelines", id, "resume"]) => (Operation::Resume, Some(*id), None).owned(),
        ("PATCH", ["pipelines", id, "stages", _]) => {
            (Operation::PatchStage, Some(*id), None).owned()
        }
        ("PUT", ["pipelines", id, "stages", _, "restart"]) => {
            (Operation::RestartStage, Some(*id), None).owned()
        }
        ("GET", ["executions"]) => {
            let single = |key: &str| {
                query
                    .get(key)
                    .filter(|ids| !ids.contains(','))
                    .map(String::as_str)
            };
            if query.contains_key("executionIds") {
                (Operation::Batch, single("executionIds"), None).owned()
            } else {
                (Operation::List, None, single("pipelineConfigIds")).owned()
            }
        }
        ("GET", ["executions", "failedStages"]) => {
            let id = query.get("executionId").map(String::as_str);
            (Operation::FailedStages, id, None).owned()
        }
        ("GET", ["applications"]) => (Operation::Applications, None, None),
        ("GET", ["applications", _, "pipelineConfigs"]) => (Operation::ListConfigs, None, None),
        ("GET", ["applications", _, "pipelineConfigs", pipeline]) => {
            (Operation::GetConfig, None, Some(*pipeline)).owned()
        }
        ("GET", ["applications", _, "executions", "search"]) => (Operation::Search, None, None),
        ("GET", ["auth", "user"]) => (Operation::AuthUser, None, None),
        ("GET", ["health"]) => (Operation::Health, None, None),
        ("GET", ["version"]) => (Operation::Version, None, None),
        _ => (Operation::Other, None, None),
    };
    Subject {
        operation,
        execution,
        pipeline,
    }
}

/// Turns borrowed path segments into owned ones, so that the table above stays readable.
trait Owned {
    fn owned(self) -> (Operation, Option<String>, Option<String>);
}

impl Owned for (Operation, Option<&str>, Option<&str>) {
    fn owned(self) -> (Operation, Option<String>, Option<String>) {
        (self.0, self.1.map(str::to_owned), self.2.map(str::to_owned))
    }
}
