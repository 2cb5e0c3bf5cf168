//! Gate's answers when it refuses: both shapes of error JSON, and texts that give internal addresses away. Pure.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Where the imagined Orca listens; it shows in messages, as the real address does.
const ORCA: &str = "http://spin-orca.spinnaker:8083";

const HTTP_EXCEPTION: &str =
    "com.netflix.spinnaker.kork.retrofit.exceptions.SpinnakerHttpException";
const NETWORK_EXCEPTION: &str =
    "com.netflix.spinnaker.kork.retrofit.exceptions.SpinnakerNetworkException";
const CONVERSION_EXCEPTION: &str =
    "com.netflix.spinnaker.kork.retrofit.exceptions.SpinnakerConversionException";
const NOT_FOUND_EXCEPTION: &str = "com.netflix.spinnaker.kork.web.exceptions.NotFoundException";
const INVALID_REQUEST_EXCEPTION: &str =
    "com.netflix.spinnaker.kork.web.exceptions.InvalidRequestException";

/// A refusal in one of Gate's two shapes.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: u16,
    exception: &'static str,
    message: String,
    /// `application/problem+json`, which Spring's own errors have since Spring 6.
    problem: bool,
}

impl Refusal {
    fn new(status: u16, exception: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            exception,
            message: message.into(),
            problem: false,
        }
    }

    /// What Gate makes of an error answer of Orca to a POST.
    pub(super) fn orca(status: u16, path: &str, message: &str) -> Self {
        let message =
            format!("Status: {status}, Method: POST, URL: {ORCA}{path}, Message: {message}");
        Self::new(status, HTTP_EXCEPTION, message)
    }

    /// An id that does not fit into its column.
    pub(super) fn value_too_long(width: usize) -> Self {
        Self::orca(
            500,
            "/orchestrate",
            &format!("ERROR: value too long for type character({width})"),
        )
    }

    /// The frame that v1 puts around everything that goes wrong in it.
    #[must_use]
    pub(super) fn while_triggering(mut self, application: &str, name_or_id: &str) -> Self {
        self.message = format!(
            "Unable to trigger pipeline (application: {application}, pipelineNameOrId: {name_or_id}). Error: {}",
            self.message
        );
        self
    }

    /// A required parameter is missing; only v1 says so.
    pub(super) fn missing_parameter(name: &str) -> Self {
        Self::new(
            400,
            INVALID_REQUEST_EXCEPTION,
            format!("Required parameter {name} is missing"),
        )
    }

    /// No pipeline config of that name or id.
    pub(super) fn no_config(name_or_id: &str) -> Self {
        Self::new(
            404,
            HTTP_EXCEPTION,
            format!(
                "Status: 404, Method: GET, URL: http://spin-front50.spinnaker:8080/pipelines/{name_or_id}/get, \
                 Message: No pipeline found with id '{name_or_id}'"
            ),
        )
    }

    /// No pipeline config for a read of it.
    pub(super) fn config_not_found(name_or_id: &str) -> Self {
        Self::new(
            404,
            NOT_FOUND_EXCEPTION,
            format!("Pipeline configuration not found (nameOrId: {name_or_id})"),
        )
    }

    /// No execution of that id.
    pub(super) fn no_execution(id: &str) -> Self {
        Self::new(
            404,
            NOT_FOUND_EXCEPTION,
            format!("Pipeline not found (id: {id})"),
        )
    }

    /// One unknown id spoils the whole batch.
    pub(super) fn null_in_batch() -> Self {
        Self::new(
            500,
            "java.lang.NullPointerException",
            "The iterator returned a null value",
        )
    }

    /// What `/executions/failedStages` answers out of the box.
    pub(super) fn failed_stages() -> Self {
        Self::new(
            500,
            HTTP_EXCEPTION,
            format!(
                "Status: 500, Method: GET, URL: {ORCA}/executions/failedStages, Message: Cannot get property \
                 'onlyIncludeStagesThatFailPipelines' on null object"
            ),
        )
    }

    /// Orca answers a PATCH of an unknown stage with nothing, which Gate cannot read.
    pub(super) fn unknown_stage(execution: &str, stage: &str) -> Self {
        Self::new(
            500,
            CONVERSION_EXCEPTION,
            format!(
                "Failed to process response body: No content to map due to end-of-input: \
                 {ORCA}/pipelines/{execution}/stages/{stage}"
            ),
        )
    }

    /// Orca cannot be reached: certainly nothing happened.
    pub(super) fn failed_to_connect() -> Self {
        Self::new(
            500,
            NETWORK_EXCEPTION,
            "Failed to connect to spin-orca.spinnaker/10.96.14.7:8083",
        )
    }

    /// Orca did not answer in time: it may have done what it was asked.
    pub(super) fn timeout() -> Self {
        Self::new(500, NETWORK_EXCEPTION, "timeout")
    }

    /// A running execution cannot be deleted.
    pub(super) fn still_running(id: &str) -> Self {
        Self::new(
            409,
            HTTP_EXCEPTION,
            format!(
                "Status: 409, Method: DELETE, URL: {ORCA}/pipelines/{id}, Message: Not deleting execution: running"
            ),
        )
    }

    /// Anything the caller did wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, INVALID_REQUEST_EXCEPTION, message)
    }

    /// A `/start` without the config's id.
    pub(super) fn no_pipeline_id() -> Self {
        Self::new(
            400,
            "java.lang.IllegalArgumentException",
            "Path parameter \"pipelineId\" value must not be null.",
        )
    }

    /// A body that is no JSON: Spring answers this one itself, in the other shape.
    pub(super) fn unreadable() -> Self {
        Self {
            problem: true,
            ..Self::new(400, "", "Failed to read request")
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let word = status.canonical_reason().unwrap_or("Error");
        if self.problem {
            let body = json!({
                "type": "about:blank",
                "title": word,
                "status": self.status,
                "detail": self.message,
                "instance": "/pipelines/start",
            });
            let mut response = (status, Json(body)).into_response();
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/problem+json"),
            );
            return response;
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00");
        let body = json!({
            "timestamp": now.to_string(),
            "status": self.status,
            "error": word,
            "exception": self.exception,
            "message": self.message,
        });
        (status, Json(body)).into_response()
    }
}
