//! Tells every decision once more, outside of the object that it is about: as one audit line on stdout, as an event, and to
//! the sinks that are configured. Touches the API server, stdout and the sinks.
//!
//! What is told was written into `status.decisions` before, so nothing is told that doesn't stand. Whoever dies between
//! the two leaves it to its successor. A line may come twice, with the same `id`, and comes at least once.
//!
//! Of stdout nobody can know whether a line was written: the event, which is written after it, is how a successor knows, and
//! what is older than events live it takes as told. What the sinks have is counted in `status.audited`: see [`delivery`].

mod delivery;
mod file;
mod ledger;
mod line;
mod metrics;
mod server;
mod sink;
mod standing;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};

pub use self::sink::{AuditServer, AuditSettings, NoFile, NoServer};
use self::{delivery::Outbox, line::Line};
pub(super) use self::{
    delivery::deliver,
    metrics::AuditMetrics,
    sink::{Sinks, open},
};
use super::{API_DEADLINE, context::Context, error::ControllerError, objects};
use crate::{api::DeployRequest, domain::backoff, runtime::telemetry};

/// How long an API server keeps events, if nobody told it otherwise.
const EVENTS_LIVE: Duration = Duration::from_hours(1);
/// What is told of the decisions of one set of namespaces.
pub(super) struct Audit {
    /// Which this process has told on stdout, by request.
    told: Mutex<HashMap<String, BTreeSet<String>>>,
    /// What the sinks don't have yet; none without sinks.
    outbox: Option<Outbox>,
    metrics: AuditMetrics,
}

impl Audit {
    /// Nothing is told yet.
    pub(super) fn new(sinks: &Sinks, metrics: AuditMetrics) -> Self {
        let outbox = (!sinks.is_empty()).then(|| Outbox::new(sinks.clone(), metrics.clone()));
        Self {
            told: Mutex::default(),
            outbox,
            metrics,
        }
    }

    /// A watch brought this version of a request; or its last one, if it is gone.
    pub(super) fn seen(&self, request: &DeployRequest, gone: bool) {
        if let Some(outbox) = &self.outbox {
            outbox.seen(request, gone);
        }
    }

    /// A request is gone, and its last version doesn't decode.
    pub(super) fn vanished(&self, meta: &ObjectMeta) {
        if let Some(outbox) = &self.outbox {
            outbox.vanished(meta);
        }
    }

    /// Whether there are sinks that don't have every decision about this request: it is not removed before they do, or
    /// what one of them refuses is given up; see [`ledger`].
    pub(super) fn is_behind(&self, request: &DeployRequest) -> bool {
        self.outbox.is_some() && line::audited(request) < line::decisions(request).len()
    }

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
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`tell`], of a request that is gone: only its target remembers what stood in it.
pub(super) async fn tell_gone(context: &Context, request: &DeployRequest) {
    if let Some(outbox) = &context.audit.outbox {
        let uid = request.uid().unwrap_or_default();
        let (untold, _) = context.audit.untold(&uid, Line::all(request));
        outbox.keep(request, untold);
    }
    tell(context, request).await;
}

/// Tells what stands in the request's `status.decisions` and was not told.
pub(super) async fn tell(context: &Context, request: &DeployRequest) {
    let uid = request.uid().unwrap_or_default();
    let lines = Line::all(request);
    if lines.is_empty() {
        return;
    }
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
        context.audit.metrics.count("stdout", "accepted", 1);
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
        if backoff::elapsed(line.at(), now) > EVENTS_LIVE || was_told(context, &line).await {
            break;
        }
        untold.push(line);
    }
    untold.reverse();
    untold
}

async fn was_told(context: &Context, line: &Line) -> bool {
    let api: Api<Event> = Api::namespaced(context.client.clone(), line.namespace());
    let name = line.event_name();
    let found = tokio::time::timeout(API_DEADLINE, api.get_metadata_opt(&name)).await;
    // Whoever may not look tells it once more.
    matches!(found, Ok(Ok(Some(_))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::deploy_request::DecisionKind;

    fn request(decisions: &serde_json::Value) -> DeployRequest {
        serde_json::from_value(json!({
            "metadata": {"name": "n".repeat(253), "namespace": "shop", "uid": "u-1"},
            "spec": {"application": "checkout", "environment": "production", "version": "v1"},
            "status": {"decisions": decisions},
        }))
        .unwrap()
    }

    #[test]
    fn each_decision_is_told_once_also_when_older_ones_fall_off_or_an_old_object_is_seen() {
        let asked =
            json!({"at": "2026-11-22T10:00:00Z", "what": "Requested", "by": "alice@corp.example"});
        let approved = json!({"at": "2026-11-22T10:00:00Z", "what": "Approved", "by": "bob@corp.example", "why": "fine"});
        let started =
            json!({"at": "2026-11-22T10:01:00Z", "what": "Started", "by": "alice@corp.example"});
        let audit = Audit::new(&Sinks::default(), AuditMetrics::default());
        let mut told = Vec::new();
        for decisions in [
            json!([asked]),
            json!([asked, approved]),
            json!([asked]),
            json!([approved, started]),
            json!([approved, started]),
        ] {
            let (untold, met) = audit.untold("u-1", Line::all(&request(&decisions)));
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
                .untold("u-1", Line::all(&request(&json!([asked]))))
                .0
                .len(),
            1
        );
    }
}
