//! The bytes that start an execution. Touches nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::{
        SpinnakerConnection,
        connection::TriggerMode,
        deploy_request::{Attempt, Pinned, Resolved},
    },
    domain::{ids, outcome::Mark},
};

/// As whom Spinnaker records the start: its principal is the connection's login, this is only a note beside it.
const USER: &str = "foredeck";

/// What goes into the body beside the pipeline's own configuration.
pub(super) struct Contents<'a> {
    pub resolved: &'a Resolved,
    /// With their real values, unlike those of `resolved`.
    pub parameters: &'a BTreeMap<String, String>,
    /// The ids of the expected artifacts that those of `resolved` meet: Orca binds no other.
    pub expected: &'a [String],
    pub mark: &'a Mark,
    pub execution_id: &'a str,
    pub correlation_id: &'a str,
}

/// The body for the mode: the whole configuration with our execution id and trigger, or the trigger alone.
pub(super) fn body(mode: TriggerMode, config: &Value, contents: &Contents<'_>) -> Vec<u8> {
    let mut trigger = json!({
        "type": "manual",
        "user": USER,
        "parameters": contents.parameters,
        "correlationId": contents.correlation_id,
        "foredeck": contents.mark,
    });
    let artifacts = &contents.resolved.artifacts;
    if !artifacts.is_empty() {
        trigger["artifacts"] = json!(artifacts);
        trigger["expectedArtifactIds"] = json!(contents.expected);
    }
    let body = match mode {
        TriggerMode::Start => {
            let mut body = config.clone();
            if let Some(fields) = body.as_object_mut() {
                fields.insert("executionId".to_owned(), json!(contents.execution_id));
                fields.insert("trigger".to_owned(), trigger);
            }
            body
        }
        TriggerMode::V1 => {
            // Kept as sent by this endpoint, and searchable.
            trigger["eventId"] = json!(contents.correlation_id);
            trigger
        }
    };
    body.to_string().into_bytes()
}

/// The attempt as it would be claimed now; the time of the claim and the holder are the claimer's to fill in.
pub(super) fn attempt(
    connection: &SpinnakerConnection,
    body: &[u8],
    contents: &Contents<'_>,
    holder: &str,
    now: jiff::Timestamp,
) -> Attempt {
    Attempt {
        execution_id: contents.execution_id.to_owned(),
        correlation_id: contents.correlation_id.to_owned(),
        holder: holder.to_owned(),
        pinned: Pinned {
            connection: contents.resolved.connection.clone(),
            connection_uid: connection.metadata.uid.clone().unwrap_or_default(),
            gate_url: connection.spec.gate_url.clone(),
            trigger: connection.spec.trigger,
            pipeline: contents.resolved.pipeline.clone(),
            body_digest: ids::sha256(body),
        },
        claimed_at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
        sent_at: None,
    }
}
