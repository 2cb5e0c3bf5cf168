//! Tells every decision once more, outside of the object that it is about: as one audit line on stdout, and as an event.
//! Touches the API server (events) and stdout.
//!
//! What is told was written into `status.decisions` before, so nothing is told that doesn't stand. Whoever dies between
//! the two leaves it to its successor, which can't know whether the line was written: so a line may come twice, with the
//! same `id`, and comes at least once. The event, which is written after the line, is how a successor knows; what is older
//! than events live it takes as told.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use serde::Serialize;

use super::{
    API_DEADLINE, context::Context, dereference::about, error::ControllerError, objects, record,
};
use crate::{
    api::{
        CONTROLLER, DeployRequest, bounds,
        deploy_request::{DecisionKind, DecisionRecord},
    },
    domain::{backoff, ids},
    runtime::telemetry::{self, AUDIT},
};

/// How long an API server keeps events, if nobody told it otherwise.
const EVENTS_LIVE: Duration = Duration::from_hours(1);
/// On the event: the line's fields.
const FIELDS: &str = "foredeck.dev/audit";

/// Which decisions this process has told, by request.
#[derive(Debug, Default)]
pub(super) struct Audit(Mutex<HashMap<String, BTreeSet<String>>>);

impl Audit {
    /// The request is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Those that were not told, and whether anything was ever told of this request.
    fn untold(&self, uid: &str, lines: Vec<Line>) -> (Vec<Line>, bool) {
        let all = self.lock();
        let told = all.get(uid);
        let untold = lines
            .into_iter()
            .filter(|line| told.is_none_or(|told| !told.contains(&line.id)));
        (untold.collect(), told.is_some())
    }

    fn told(&self, uid: &str, ids: impl IntoIterator<Item = String>) {
        self.lock().entry(uid.to_owned()).or_default().extend(ids);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One audit line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// Of this decision: whoever tells it again gives it the same.
    id: String,
    at: Timestamp,
    what: DecisionKind,
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

impl Line {
    fn of(request: &DeployRequest, record: &DecisionRecord) -> Self {
        let uid = request.uid().unwrap_or_default();
        let DecisionRecord { at, what, by, why } = record;
        let identity = format!("{uid}\n{}\n{what:?}\n{by:?}\n{why:?}", at.0);
        let mut id = ids::sha256(identity.as_bytes());
        id.truncate(20);
        Self {
            id,
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

    fn write(&self) {
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

    /// The event's name: a second one for the same decision can't be created.
    fn event_name(&self) -> String {
        let request: String = self
            .request
            .chars()
            .take(bounds::NAME - 1 - self.id.len())
            .collect();
        format!("{}.{}", request.trim_end_matches(['-', '.']), self.id)
    }

    fn event(&self, request: &DeployRequest, holder: &str) -> Event {
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

/// Tells what stands in the request's `status.decisions` and was not told.
pub(super) async fn tell(context: &Context, request: &DeployRequest) {
    let Some(status) = &request.status else {
        return;
    };
    let uid = request.uid().unwrap_or_default();
    let lines: Vec<Line> = status
        .decisions
        .iter()
        .map(|record| Line::of(request, record))
        .collect();
    let ids: Vec<String> = lines.iter().map(|line| line.id.clone()).collect();
    let (mut untold, met) = context.audit.untold(&uid, lines);
    if !met {
        untold = left_by_another(context, untold).await;
    }
    let api: Api<Event> = Api::namespaced(
        context.client.clone(),
        &request.namespace().unwrap_or_default(),
    );
    for line in untold {
        line.write();
        let event = line.event(request, &context.holder);
        match objects::within(
            "publish a decision",
            api.create(&PostParams::default(), &event),
        )
        .await
        {
            // Told twice: the event of the first time stands.
            Ok(_) | Err(ControllerError::Conflict { .. }) => {}
            Err(error) => {
                tracing::debug!(error = %telemetry::chain(&error), "a decision's event could not be published");
            }
        }
    }
    context.audit.told(&uid, ids);
}

/// Of what stood in the request before this process met it: what nobody has told, as far as that can be known.
async fn left_by_another(context: &Context, lines: Vec<Line>) -> Vec<Line> {
    let now = Timestamp::now();
    let mut untold = Vec::new();
    for line in lines.into_iter().rev() {
        // They are told in their order.
        if backoff::elapsed(line.at, now) > EVENTS_LIVE || was_told(context, &line).await {
            break;
        }
        untold.push(line);
    }
    untold.reverse();
    untold
}

async fn was_told(context: &Context, line: &Line) -> bool {
    let api: Api<Event> = Api::namespaced(context.client.clone(), &line.namespace);
    let name = line.event_name();
    let found = tokio::time::timeout(API_DEADLINE, api.get_metadata_opt(&name)).await;
    // Whoever may not look tells it once more.
    matches!(found, Ok(Ok(Some(_))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(decisions: &serde_json::Value) -> DeployRequest {
        serde_json::from_value(json!({
            "metadata": {"name": "n".repeat(253), "namespace": "shop", "uid": "u-1"},
            "spec": {"application": "checkout", "environment": "production", "version": "v1"},
            "status": {"decisions": decisions},
        }))
        .unwrap()
    }

    fn lines(request: &DeployRequest) -> Vec<Line> {
        let status = request.status.as_ref().unwrap();
        let all = status.decisions.iter();
        all.map(|record| Line::of(request, record)).collect()
    }

    #[test]
    fn each_decision_is_told_once_also_when_older_ones_fall_off_or_an_old_object_is_seen() {
        let asked =
            json!({"at": "2026-11-22T10:00:00Z", "what": "Requested", "by": "alice@corp.example"});
        let approved = json!({"at": "2026-11-22T10:00:00Z", "what": "Approved", "by": "bob@corp.example", "why": "fine"});
        let started =
            json!({"at": "2026-11-22T10:01:00Z", "what": "Started", "by": "alice@corp.example"});
        let audit = Audit::default();
        let mut told = Vec::new();
        for decisions in [
            json!([asked]),
            json!([asked, approved]),
            json!([asked]),
            json!([approved, started]),
            json!([approved, started]),
        ] {
            let (untold, met) = audit.untold("u-1", lines(&request(&decisions)));
            assert_eq!(met, !told.is_empty());
            audit.told("u-1", untold.iter().map(|line| line.id.clone()));
            told.extend(untold.into_iter().map(|line| line.what));
        }
        assert_eq!(
            told,
            [
                DecisionKind::Requested,
                DecisionKind::Approved,
                DecisionKind::Started
            ]
        );
        audit.forget("u-1");
        assert_eq!(
            audit
                .untold("u-1", lines(&request(&json!([asked]))))
                .0
                .len(),
            1
        );
    }

    #[test]
    fn an_event_has_the_lines_fields_and_fits() {
        let long = "ä".repeat(1024);
        let request = request(
            &json!([{"at": "2026-11-22T10:00:00Z", "what": "Denied", "by": "mallory", "why": long}]),
        );
        let line = &lines(&request)[0];
        let event = line.event(&request, "holder");
        assert!(event.metadata.name.as_ref().unwrap().len() <= bounds::NAME);
        assert!(event.note.as_ref().unwrap().len() <= 1024);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        let fields: serde_json::Value =
            serde_json::from_str(&event.metadata.annotations.unwrap()[FIELDS]).unwrap();
        assert_eq!(fields["id"], line.id);
        assert_eq!(fields["why"], long);
        assert_eq!(fields["at"], "2026-11-22T10:00:00Z");
    }
}
