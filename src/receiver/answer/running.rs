//! What runs where, in words: version and commit, since when and by whom, how far behind, and whether that is known. Touches
//! nothing.

use super::standing::{self, Prefix};
use crate::{
    api::{
        conditions::{self, ConditionType, Reason},
        deploy_target::{DeployTargetStatus, Run},
        version::{Drift, Repository},
    },
    domain::repository,
    receiver::team::Running,
    slack::{artifacts, commits, text::Mrkdwn},
};

/// The most characters of a sentence that the controller wrote.
const MOST_SENTENCE: usize = 400;
/// The most characters of the artifacts of one place.
const MOST_ARTIFACTS: usize = 600;
/// The most characters of a version or a name.
const MOST_NAME: usize = 80;

/// What runs in one place.
pub(super) fn line(one: &Running<'_>, prefix: Prefix) -> Mrkdwn {
    let spec = &one.target.spec;
    let mut line = prefix.of(one.target.metadata.namespace.as_deref())
        + Mrkdwn::name(&spec.application)
        + " in "
        + Mrkdwn::name(&spec.environment)
        + ": ";
    let nothing = DeployTargetStatus::default();
    let status = one.target.status.as_ref().unwrap_or(&nothing);
    match &status.current {
        None => line += "nothing deployed from here yet",
        Some(run) => {
            line += version(
                run.version.as_deref(),
                run.commit.as_deref(),
                one.repository,
            );
            line = line + " since " + Mrkdwn::date(run.finished_at.0) + by(run);
            if let Some(drift) = &status.drift {
                line = line + ", " + behind(drift);
            }
        }
    }
    if let Some(active) = &status.active {
        let wanted = version(
            active.version.as_deref(),
            active.commit.as_deref(),
            one.repository,
        );
        line = line + "; now " + Mrkdwn::name(&active.action) + " " + wanted;
    }
    if let Some(doubt) = doubt(status) {
        line = line + ". " + doubt;
    }
    match status.current.as_ref().and_then(handed) {
        Some(handed) => line + "\n" + handed,
        None => line,
    }
}

/// The artifacts that what runs was given.
fn handed(run: &Run) -> Option<Mrkdwn> {
    let lines = run.artifacts.iter().map(artifacts::brief);
    let (list, shown) = artifacts::list(lines, MOST_ARTIFACTS);
    let more = run.artifacts.len().saturating_sub(shown);
    match (shown, more) {
        (0, _) => None,
        (_, 0) => Some(list),
        (_, more) => Some(list + "\nand " + Mrkdwn::number(more) + " more"),
    }
}

/// One request that ran there.
pub(super) fn earlier(one: &Running<'_>, run: &Run, prefix: Prefix) -> Mrkdwn {
    let spec = &one.target.spec;
    let page = one.repository.map(repository::page);
    let version = commits::version(
        run.version.as_deref(),
        run.commit.as_deref(),
        page.as_deref(),
    );
    let wish = standing::wish(&run.action, &spec.application, version, &spec.environment);
    prefix.of(one.target.metadata.namespace.as_deref())
        + standing::sign(run.phase)
        + ": "
        + wish
        + ", "
        + Mrkdwn::date(run.finished_at.0)
        + by(run)
}

/// A version with its commit. Links are our own, of the repository that the Application names.
fn version(name: Option<&str>, sha: Option<&str>, repository: Option<&Repository>) -> Mrkdwn {
    let page = repository.map(repository::page);
    commits::version(name, sha, page.as_deref())
        .unwrap_or_else(|| Mrkdwn::fixed("without a version"))
}

/// Who asked for it, without a mention: that would call them.
fn by(run: &Run) -> Mrkdwn {
    run.requester
        .as_deref()
        .map_or_else(Mrkdwn::default, |requester| {
            Mrkdwn::fixed(" by ") + Mrkdwn::code_within(requester, MOST_NAME)
        })
}

fn counted(count: u32) -> Mrkdwn {
    let word = if count == 1 { " commit" } else { " commits" };
    Mrkdwn::number(count) + word
}

/// How far it is from the default branch.
fn behind(drift: &Drift) -> Mrkdwn {
    let branch = || {
        drift.branch.as_deref().map_or_else(
            || Mrkdwn::fixed("the default branch"),
            |branch| Mrkdwn::code_within(branch, MOST_NAME),
        )
    };
    let Some(behind) = drift.behind else {
        let problem = drift.problem.as_deref().unwrap_or("nobody has asked yet.");
        return Mrkdwn::fixed("how far behind isn't known: ")
            + Mrkdwn::code_within(problem, MOST_SENTENCE);
    };
    let ahead = drift.ahead.unwrap_or_default();
    match (behind, ahead) {
        (0, 0) => Mrkdwn::fixed("the head of ") + branch(),
        (0, ahead) => counted(ahead) + " ahead of " + branch(),
        (behind, 0) => counted(behind) + " behind " + branch(),
        (behind, ahead) => {
            counted(behind) + " behind " + branch() + " and " + counted(ahead) + " beside it"
        }
    }
}

/// Why it isn't known whether that runs there.
fn doubt(status: &DeployTargetStatus) -> Option<Mrkdwn> {
    let known = conditions::find(&status.conditions, ConditionType::Known)
        .filter(|known| known.status == "False")?;
    let is = |reason: Reason| known.reason == reason.to_string();
    let sign = if is(Reason::RanElsewhere) {
        ":warning: run by others: "
    } else if is(Reason::ExecutionRerun) {
        ":warning: run again in Spinnaker: "
    } else {
        ":grey_question: not known: "
    };
    Some(Mrkdwn::fixed(sign) + Mrkdwn::code_within(&known.message, MOST_SENTENCE))
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
