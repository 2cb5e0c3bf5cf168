//! The target's queue, derived from the requests and never stored: by creation, then uid. Touches nothing but caches.

use std::sync::Arc;

use kube::ResourceExt;

use super::Gathered;
use crate::{
    api::{DeployRequest, deploy_request::Phase},
    controller::context::Context,
    runtime::cache::Guarded,
};

/// Who comes before, and whether somebody came after: by creation, then uid.
pub(super) fn look(context: &Context, request: &DeployRequest, gathered: &mut Gathered) {
    let uid = request.uid();
    let own = place_in_line(request);
    let others = in_line(
        context,
        &request.namespace().unwrap_or_default(),
        gathered.facts.target_name.as_deref().unwrap_or_default(),
    );
    let others = others
        .iter()
        .filter_map(|object| object.0.as_ref().ok())
        .filter(|other| other.uid() != uid);
    let (mut ahead, mut newer): (Option<&DeployRequest>, Option<&DeployRequest>) = (None, None);
    for other in others {
        if place_in_line(other) < own {
            ahead = Some(
                ahead
                    .filter(|known| place_in_line(known) <= place_in_line(other))
                    .unwrap_or(other),
            );
        } else {
            newer = Some(
                newer
                    .filter(|known| place_in_line(known) >= place_in_line(other))
                    .unwrap_or(other),
            );
        }
    }
    gathered.facts.ahead = ahead.map(ResourceExt::name_any);
    gathered.facts.newer = newer.map(ResourceExt::name_any);
}

/// Requests that wait for this target, as far as the cache knows. One that is cancelled stands in line until it says
/// itself that it isn't: whether a cancel counts is its own to find out.
pub(in crate::controller) fn in_line(
    context: &Context,
    namespace: &str,
    target: &str,
) -> Vec<Arc<Guarded<DeployRequest>>> {
    context.caches.requests.filter(|other| {
        other.namespace().as_deref() == Some(namespace)
            && other.status.as_ref().is_some_and(|status| {
                status.phase == Some(Phase::Queued)
                    && status
                        .resolved
                        .as_ref()
                        .is_some_and(|resolved| resolved.deploy_target == target)
            })
    })
}

/// The order of the queue.
pub(in crate::controller) fn place_in_line(
    request: &DeployRequest,
) -> (Option<jiff::Timestamp>, Option<String>) {
    (
        request.creation_timestamp().map(|time| time.0),
        request.uid(),
    )
}
