//! One audit line: what it says, wherever it is told. Touches stdout.

use jiff::Timestamp;
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{ResourceExt, api::ObjectMeta};
use serde::Serialize;

use crate::{
    api::{
        CONTROLLER, DeployRequest, bounds,
        deploy_request::{DecisionKind, DecisionRecord},
    },
    controller::{dereference::about, record},
    domain::ids,
    runtime::telemetry::AUDIT,
};

/// On the event: the line's fields.
const FIELDS: &str = "foredeck.dev/audit";

/// One audit line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    /// Of this decision: whoever tells it again gives it the same.
    pub id: String,
    at: Timestamp,
    pub what: DecisionKind,
    namespace: String,
    request: String,
    uid: String,
    application: String,
    environment: String,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// As a sink gets it: marked like on stdout, but without the time of writing, so that it is the same each time.
#[derive(Serialize)]
struct Marked<'a> {
    audit: bool,
    #[serde(flatten)]
    line: &'a Line,
}

impl Line {
    /// About this decision.
    pub(super) fn of(request: &DeployRequest, record: &DecisionRecord) -> Self {
        let uid = request.uid().unwrap_or_default();
        let DecisionRecord { at, what, by, why } = record;
        Self {
            id: id(&uid, record),
            at: at.0,
            what: *what,
            namespace: request.namespace().unwrap_or_default(),
            request: request.name_any(),
            uid,
            application: request.spec.application.clone(),
            environment: request.spec.environment.clone(),
            action: request.spec.action.clone(),
            version: request.spec.version.clone(),
            by: by.clone(),
            why: why.clone(),
        }
    }

    /// About every decision that stands in the request, in their order.
    pub(super) fn all(request: &DeployRequest) -> Vec<Self> {
        decisions(request)
            .iter()
            .map(|record| Self::of(request, record))
            .collect()
    }

    /// When it was decided.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// Where the request is.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The request's name.
    pub(super) fn request(&self) -> &str {
        &self.request
    }

    /// Writes it to stdout.
    pub(super) fn write(&self) {
        let Self {
            id,
            at,
            what,
            namespace,
            request,
            uid,
            application,
            environment,
            action,
            version,
            by,
            why,
        } = self;
        tracing::info!(
            target: AUDIT, audit = true, id, %at, ?what, namespace, request, uid, application, environment, action,
            version = version.as_deref(), by = by.as_deref(), why = why.as_deref(),
        );
    }

    /// It as one line of JSON, with its end.
    pub(super) fn for_a_sink(&self) -> String {
        let marked = Marked {
            audit: true,
            line: self,
        };
        let mut text = serde_json::to_string(&marked).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The event's name: a second one for the same decision can't be created.
    pub(super) fn event_name(&self) -> String {
        let request: String = self
            .request
            .chars()
            .take(bounds::NAME - 1 - self.id.len())
            .collect();
        format!("{}.{}", request.trim_end_matches(['-', '.']), self.id)
    }

    /// The event that tells it.
    pub(super) fn event(&self, request: &DeployRequest, holder: &str) -> Event {
        let bad = matches!(
            self.what,
            DecisionKind::Denied
                | DecisionKind::Rejected
                | DecisionKind::Lapsed
                | DecisionKind::Refused
        );
        let by = self.by.as_deref().unwrap_or("nobody in particular");
        let note = match &self.why {
            Some(why) => format!("{by}: {why}"),
            None => by.to_owned(),
        };
        let fields = serde_json::to_string(self).unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(self.event_name()),
                namespace: Some(self.namespace.clone()),
                annotations: Some([(FIELDS.to_owned(), fields)].into()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(self.at)),
            action: Some("Decide".to_owned()),
            reason: Some(format!("{:?}", self.what)),
            note: Some(record::fitting(&note)),
            type_: Some(if bad { "Warning" } else { "Normal" }.to_owned()),
            regarding: Some(about(request)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(holder.to_owned()),
            ..Event::default()
        }
    }
}

/// What names a decision, wherever and however often it is told.
pub(super) fn id(uid: &str, record: &DecisionRecord) -> String {
    let DecisionRecord { at, what, by, why } = record;
    let identity = format!("{uid}\n{}\n{what:?}\n{by:?}\n{why:?}", at.0);
    let mut id = ids::sha256(identity.as_bytes());
    id.truncate(20);
    id
}

/// What stands in the request.
pub(super) fn decisions(request: &DeployRequest) -> &[DecisionRecord] {
    request
        .status
        .as_ref()
        .map_or(&[], |status| status.decisions.as_slice())
}

/// How many of them, from the first, every sink has.
pub(super) fn audited(request: &DeployRequest) -> usize {
    let count = request.status.as_ref().and_then(|status| status.audited);
    let count = usize::try_from(count.unwrap_or_default()).unwrap_or_default();
    count.min(decisions(request).len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_has_the_lines_fields_and_fits() {
        let long = "ä".repeat(1024);
        let request: DeployRequest = serde_json::from_value(json!({
            "metadata": {"name": "n".repeat(253), "namespace": "shop", "uid": "u-1"},
            "spec": {"application": "checkout", "environment": "production", "version": "v1"},
            "status": {"decisions": [{"at": "2026-11-22T10:00:00Z", "what": "Denied", "by": "mallory", "why": long}]},
        }))
        .unwrap();
        let line = &Line::all(&request)[0];
        let event = line.event(&request, "holder");
        assert!(event.metadata.name.as_ref().unwrap().len() <= bounds::NAME);
        assert!(event.note.as_ref().unwrap().len() <= 1024);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        let fields: serde_json::Value =
            serde_json::from_str(&event.metadata.annotations.unwrap()[FIELDS]).unwrap();
        assert_eq!(fields["id"], line.id);
        assert_eq!(fields["why"], long);
        assert_eq!(fields["at"], "2026-11-22T10:00:00Z");
        let mut sent: serde_json::Value = serde_json::from_str(&line.for_a_sink()).unwrap();
        assert_eq!(sent["audit"].take(), json!(true));
        sent.as_object_mut().unwrap().remove("audit");
        assert_eq!(sent, fields);
    }
}
