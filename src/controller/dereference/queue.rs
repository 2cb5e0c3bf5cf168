//! The target's queue, derived from the requests and never stored: by creation, then uid. Touches nothing but caches.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Ahead, Gathered};
use crate::{
    api::{DeployRequest, environment::Concurrency},
    controller::context::Context,
    domain::{guards::Guards, target::is_in_line},
    runtime::cache::Guarded,
};

/// How a request stands in its line.
pub(super) struct Line {
    /// Who comes before it.
    pub(super) ahead: Option<String>,
    /// Who came after it, and takes its place where only the newest counts.
    pub(super) newer: Option<String>,
}

/// Who comes before, and whether somebody came after who takes its place: by creation, then uid.
///
/// Whoever is held is in nobody's way. That is judged for all of them at one moment on the same caches, so that the oldest goes
/// first when what held them is lifted. `own` is what holds the request itself.
pub(super) fn look(
    context: &Context,
    request: &DeployRequest,
    gathered: &Gathered,
    (held, own): (&Ahead, &Guards),
    now: Timestamp,
) -> Line {
    let (uid, place) = (request.uid(), place_in_line(request));
    let mut line = in_line(
        context,
        &request.namespace().unwrap_or_default(),
        gathered.facts.target_name.as_deref().unwrap_or_default(),
    );
    line.sort_by_key(|object| object.0.as_ref().ok().map(place_in_line));
    let others = line
        .iter()
        .filter_map(|object| object.0.as_ref().ok())
        .filter(|other| other.uid() != uid);
    let mut known = HashMap::new();
    let mut of = |other: &DeployRequest| held.of_another(other, &gathered.named, &mut known, now);
    let before = |other: &&DeployRequest| place_in_line(other) < place;
    let ahead = others
        .clone()
        .take_while(before)
        .find(|other| !of(other).holds());
    let environment = gathered.named.environment.as_ref();
    let only_newest = environment.is_some_and(|environment| {
        environment.spec.protection.concurrency == Concurrency::Supersede
    });
    let newer = others
        .rev()
        .take_while(|other| only_newest && !before(other))
        .find(|other| of(other).supersedes(own));
    Line {
        ahead: ahead.map(ResourceExt::name_any),
        newer: newer.map(ResourceExt::name_any),
    }
}

/// Requests that wait for this target, as far as the cache knows. One that is cancelled stands in line until it says
/// itself that it isn't: whether a cancel counts is its own to find out.
pub(in crate::controller) fn in_line(
    context: &Context,
    namespace: &str,
    target: &str,
) -> Vec<Arc<Guarded<DeployRequest>>> {
    context.caches.requests.filter(|other| {
        other.namespace().as_deref() == Some(namespace) && is_in_line(other, target)
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
