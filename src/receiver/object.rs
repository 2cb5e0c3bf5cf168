//! From a plan to the `DeployRequest` that carries it out, and whether an existing one is that. Touches nothing.

use std::time::Duration;

use kube::ResourceExt;

use super::plan::Plan;
use crate::{api::DeployRequest, domain::ids, identity::Person};

/// Which application a request is for, to be selected by.
const APPLICATION_LABEL: &str = "foredeck.dev/application";
/// Which environment.
const ENVIRONMENT_LABEL: &str = "foredeck.dev/environment";
/// That it was asked for in Slack.
const ORIGIN_LABEL: &str = "foredeck.dev/origin";

/// The key under which a plan runs once. Not the default, which knows no difference between asking and asking again.
fn key(plan: &Plan) -> String {
    plan.request_name()
}

/// The request that carries the plan out. `ttl` is how long the object stays after its end; for ever when absent.
pub(super) fn request(plan: &Plan, person: &Person, ttl: Option<Duration>) -> DeployRequest {
    let mut request = plan.request(person.username.as_str());
    request.spec.idempotency_key = Some(key(plan));
    request.spec.ttl_after_finished = ttl.map(Into::into);
    let labels = [
        (APPLICATION_LABEL, plan.order.application.as_str()),
        (ENVIRONMENT_LABEL, plan.order.environment.as_str()),
        (ORIGIN_LABEL, "slack"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    request.labels_mut().extend(labels);
    request
}

/// What an existing object is to a plan of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It is what was asked for.
    Same,
    /// It is another copy of the plan: one before an edit, or after it.
    OtherCopy,
    /// It is something else, or somebody else's.
    Foreign,
}

/// What an existing object of the plan's name is to the plan.
pub(super) fn likeness(plan: &Plan, existing: &DeployRequest) -> Likeness {
    let spec = &existing.spec;
    let requester = spec.requester.as_ref();
    let asker = requester.and_then(|requester| requester.slack.as_ref());
    let same_plan = spec.idempotency_key == Some(key(plan)) && asker == Some(&plan.asker);
    let same_team = existing.metadata.namespace.as_deref() == Some(plan.namespace.as_str());
    if !same_plan {
        Likeness::Foreign
    } else if same_team && ids::ask_digest(spec) == ids::ask_digest(&plan.order.spec(None, None)) {
        Likeness::Same
    } else {
        Likeness::OtherCopy
    }
}

/// Whether the object is of this plan: somebody else may have made one of that name.
pub(super) fn is_of(plan: &Plan, existing: &DeployRequest) -> bool {
    likeness(plan, existing) != Likeness::Foreign
}
