//! Whose word requests wait for, or may start by. Touches nothing but the directory.

use std::collections::HashSet;

use kube::ResourceExt;

use crate::{
    api::{
        DeployApproval, DeployRequest,
        actor::{Actor, SlackPerson},
        deploy_request::Phase,
    },
    receiver::directory::Directory,
    slack::ids::TeamId,
};

/// Everybody in this workspace by whose word a request that hasn't ended may still be started, or not: who asked for it,
/// who approved it, who wants it cancelled, who judged it.
pub(super) fn needed(directory: &Directory, home: &TeamId) -> HashSet<SlackPerson> {
    let mut needed = HashSet::new();
    let mut open = HashSet::new();
    let mut note = |actor: Option<&Actor>| {
        let slack = actor.and_then(|actor| actor.slack.as_ref());
        needed.extend(slack.filter(|slack| slack.team == home.as_str()).cloned());
    };
    let open_requests = directory.those(|request: &DeployRequest| !phase(request).is_terminal());
    for request in open_requests.iter().filter_map(|one| one.0.as_ref().ok()) {
        open.extend(request.uid());
        // Once it runs, nothing is started by the requester's word.
        if phase(request) != Phase::Running {
            note(request.spec.requester.as_ref());
        }
        note(
            request
                .spec
                .cancel
                .as_ref()
                .and_then(|cancel| cancel.by.as_ref()),
        );
    }
    let theirs = |approval: &DeployApproval| open.contains(&approval.spec.request.uid);
    let approvals = directory.those(theirs);
    for approval in approvals.iter().filter_map(|one| one.0.as_ref().ok()) {
        note(approval.spec.approver.as_ref());
    }
    needed
}

fn phase(request: &DeployRequest) -> Phase {
    let status = request.status.as_ref();
    status.and_then(|status| status.phase).unwrap_or_default()
}
