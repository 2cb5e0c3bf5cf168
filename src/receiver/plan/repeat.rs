//! People repeat themselves: whether what is asked for is under way already, waits, or has just ended. Touches nothing.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        DeployRequest,
        deploy_request::{DeployRequestSpec, Phase},
    },
    domain::ids::ask_digest,
};

/// How long after its end a request still counts.
pub const RECENT: Duration = Duration::from_mins(10);

/// An equal request that is there already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Repeat<'a> {
    /// It has its target: it is being started, runs, or nobody knows.
    Active(&'a DeployRequest),
    /// It waits.
    Waiting(&'a DeployRequest),
    /// It ended, at that time.
    Ended(&'a DeployRequest, Timestamp),
}

impl<'a> Repeat<'a> {
    /// The request.
    pub fn request(&self) -> &'a DeployRequest {
        match self {
            Self::Active(request) | Self::Waiting(request) | Self::Ended(request, _) => request,
        }
    }
}

/// The request of `namespace` that asks for the same as `asked`, is active, waits, or ended less than [`RECENT`] ago:
/// an active one before one that waits, that before one that ended, of several the youngest.
///
/// Same is what [`is_same`] calls so. Who asks and why doesn't matter. `own` is the name that the request itself is to have: that is no repetition, but the
/// same. Dry runs are no deployments.
pub fn repeat<'a>(
    asked: &DeployRequestSpec,
    namespace: &str,
    own: &str,
    requests: impl IntoIterator<Item = &'a DeployRequest>,
    now: Timestamp,
) -> Option<Repeat<'a>> {
    let wish = wish(asked);
    requests
        .into_iter()
        .filter(|request| {
            request.namespace().as_deref() == Some(namespace)
                && request.metadata.name.as_deref() != Some(own)
                && request.spec.application == asked.application
                && request.spec.environment == asked.environment
                && request.spec.dry_run == asked.dry_run
                && self::wish(&request.spec) == wish
                && !are_apart(asked.commit.as_deref(), commit(request))
        })
        .filter_map(|request| counted(request, now))
        .max_by_key(|repeat| {
            let rank = match repeat {
                Repeat::Active(_) => 2,
                Repeat::Waiting(_) => 1,
                Repeat::Ended(..) => 0,
            };
            let created = repeat.request().creation_timestamp().map(|time| time.0);
            (rank, created, repeat.request().uid())
        })
}

/// The digest of what is asked for whatever the commit: application, environment, place, action, version as it was typed,
/// parameters.
pub fn wish(spec: &DeployRequestSpec) -> String {
    ask_digest(&DeployRequestSpec {
        commit: None,
        ..spec.clone()
    })
}

/// Whether the request is what is asked for. A branch at another commit is something else; where one of both commits isn't
/// known, it isn't known to be.
pub fn is_same(asked: &DeployRequestSpec, request: &DeployRequest) -> bool {
    wish(asked) == wish(&request.spec) && !are_apart(asked.commit.as_deref(), commit(request))
}

/// Whether both are known and differ.
pub fn are_apart(one: Option<&str>, other: Option<&str>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// The commit that a request is for, as far as it or the controller says.
pub fn commit(request: &DeployRequest) -> Option<&str> {
    let resolved = request
        .status
        .as_ref()
        .and_then(|status| status.resolved.as_ref());
    let found = resolved.and_then(|resolved| resolved.commit.as_deref());
    request.spec.commit.as_deref().or(found)
}

fn counted(request: &DeployRequest, now: Timestamp) -> Option<Repeat<'_>> {
    let status = request.status.as_ref();
    match status.and_then(|status| status.phase).unwrap_or_default() {
        Phase::Pending | Phase::AwaitingApproval | Phase::Queued => Some(Repeat::Waiting(request)),
        Phase::Starting | Phase::Running | Phase::Unknown => Some(Repeat::Active(request)),
        Phase::Succeeded | Phase::Failed | Phase::Canceled | Phase::Denied | Phase::Expired => {
            let ended = status
                .and_then(|status| status.finished_at.as_ref())
                .map(|time| time.0)
                .or_else(|| request.creation_timestamp().map(|time| time.0))?;
            let recent = ended.saturating_add(RECENT).unwrap_or(Timestamp::MAX) > now;
            recent.then_some(Repeat::Ended(request, ended))
        }
    }
}

#[cfg(test)]
#[path = "repeat_tests.rs"]
mod tests;
