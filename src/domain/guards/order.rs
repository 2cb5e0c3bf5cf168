//! Order and soak: a version has to have succeeded elsewhere first, and to have stayed there. Touches nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Closed, PASS};
use crate::{
    api::{
        conditions::Reason,
        deploy_request::{Phase, ROLLBACK_ACTION, Resolved, WaitingFor},
        deploy_target::{DeployTargetStatus, Run},
    },
    domain::{
        backoff,
        moments::{about, span, when},
        refusal::Refusal,
        version::{self, Version},
    },
};

/// An Environment that comes before, and what is known of it.
#[derive(Debug, Clone)]
pub struct Before {
    /// The Environment's name.
    pub environment: String,
    /// How long the version must have stayed there.
    pub soak: Duration,
    /// The target's status there, of the same Application at the Environment's own place; a sentence where that can't be
    /// said: the Environment is gone, the target can't be read. `Ok(None)`: nothing ever ran there.
    pub there: Result<Option<DeployTargetStatus>, String>,
}

/// How far it got in one Environment that comes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It succeeded there and stayed long enough.
    Passed,
    /// It runs there, and has to stay until then.
    Soaking(Timestamp),
    /// It didn't stay long enough: replaced, or rolled back.
    Left(String),
    /// It is what succeeded there last, and more was sent since than is kept: nobody knows how long it stayed.
    Forgotten,
    /// It never succeeded there: what runs there instead, where something does.
    Absent(Option<String>),
    /// It can't be said: a sentence.
    Unknown(String),
}

fn is_nothing(version: &Version) -> bool {
    version.name.is_none() && version.commit.is_none()
}

fn named(version: &Version) -> String {
    let commit = version.commit.as_deref().map(version::short);
    match (&version.name, commit) {
        (Some(name), Some(commit)) if !name.starts_with(commit) => {
            format!("`{name}` (`{commit}`)")
        }
        (Some(name), _) => format!("`{name}`"),
        (None, Some(commit)) => format!("`{commit}`"),
        (None, None) => "no version".to_owned(),
    }
}

fn wanted(resolved: &Resolved) -> Version {
    Version {
        name: resolved.version.clone(),
        commit: resolved.commit.clone(),
    }
}

/// Something that was sent there.
struct Step<'a> {
    content: Version,
    is_rollback: bool,
    name: &'a str,
    sent: Timestamp,
    /// When it ended well, if it did.
    succeeded: Option<Timestamp>,
    /// Whether what was sent right after it is still known.
    is_followed: bool,
}

/// What was sent there and may have begun, the oldest first.
fn steps(status: &DeployTargetStatus) -> Vec<Step<'_>> {
    let begun = |run: &Run| run.reason != Reason::StartRefused.to_string();
    let history = &status.history;
    // So many may have ended since it succeeded that the history no longer has it, nor the first of those.
    let current = status
        .current
        .iter()
        .filter(|current| history.iter().all(|run| run.uid != current.uid))
        .map(|current| (current, history.is_empty()));
    let mut steps: Vec<Step<'_>> = current
        .chain(history.iter().rev().map(|run| (run, true)))
        .filter(|(run, _)| begun(run))
        .map(|(run, is_followed)| Step {
            content: Version::that_ran(run),
            is_rollback: run.action == ROLLBACK_ACTION,
            name: &run.name,
            sent: run.sent_at.0,
            succeeded: (run.phase == Phase::Succeeded).then_some(run.finished_at.0),
            is_followed,
        })
        .collect();
    if let Some(active) = &status.active
        && let Some(sent) = &active.attempt.sent_at
    {
        steps.push(Step {
            content: Version {
                name: active.version.clone(),
                commit: active.commit.clone(),
            },
            is_rollback: active.action == ROLLBACK_ACTION,
            name: &active.name,
            sent: sent.0,
            succeeded: None,
            is_followed: true,
        });
    }
    steps
}

/// How far this version got there.
///
/// It stays from the moment at which it succeeded until something else is sent; a run without a version, such as a restart,
/// is nothing else, and neither is the same version again. A rollback that takes it away undoes whatever it had. Where what was
/// sent next is forgotten, it succeeded, and that is all that counts.
pub fn standing(before: &Before, resolved: &Resolved, now: Timestamp) -> Standing {
    let status = match &before.there {
        Err(problem) => return Standing::Unknown(problem.clone()),
        Ok(None) => return Standing::Absent(None),
        Ok(Some(status)) => status,
    };
    let wanted = wanted(resolved);
    let soak = SignedDuration::try_from(before.soak).unwrap_or(SignedDuration::MAX);
    let (mut since, mut passed, mut left) = (None, false, None);
    // Whether it is what succeeded last, so that a rollback would take it away.
    let mut is_current = false;
    for step in steps(status) {
        if step.content.is_same(&wanted) {
            if let Some(succeeded) = step.succeeded {
                if step.is_followed {
                    since = since.or(Some(succeeded));
                } else {
                    passed = soak.is_zero();
                    left = Some(Standing::Forgotten);
                }
                is_current = true;
            }
            continue;
        }
        if step.is_rollback && is_current {
            (since, passed) = (None, false);
            left = Some(Standing::Left(format!(
                "it was rolled back there {} (request `{}`)",
                when(step.sent),
                step.name
            )));
        } else if is_nothing(&step.content) && !step.is_rollback {
            continue;
        } else if let Some(began) = since.take() {
            passed |= step.sent.duration_since(began) >= soak;
            left = Some(Standing::Left(format!(
                "{} replaced it there after {}",
                named(&step.content),
                about(backoff::elapsed(began, step.sent))
            )));
        }
        is_current &= step.succeeded.is_none();
    }
    let stays_until = since.map(|began| began.checked_add(soak).unwrap_or(Timestamp::MAX));
    match stays_until {
        _ if passed => Standing::Passed,
        Some(until) if until <= now => Standing::Passed,
        Some(until) => Standing::Soaking(until),
        None => left.unwrap_or_else(|| {
            let current = status.current.as_ref();
            Standing::Absent(current.map(|current| named(&Version::that_ran(current))))
        }),
    }
}

/// Why order keeps it from starting; every Environment that comes before is told with where it stands. A rollback, what
/// has no version, and what runs on the target already, go without.
pub fn closed(
    action: &str,
    resolved: &Resolved,
    own: Option<&DeployTargetStatus>,
    before: &[Before],
    now: Timestamp,
) -> Option<Closed> {
    let content = wanted(resolved);
    let runs_already = own
        .and_then(|own| own.current.as_ref())
        .is_some_and(|current| Version::that_ran(current).is_same(&content));
    if action == ROLLBACK_ACTION || is_nothing(&content) || runs_already {
        return None;
    }
    let standings: Vec<(&Before, Standing)> = before
        .iter()
        .map(|before| (before, standing(before, resolved, now)))
        .collect();
    let mut missing = standings
        .iter()
        .filter(|(_, standing)| *standing != Standing::Passed)
        .peekable();
    missing.peek()?;
    let until: Option<Vec<Timestamp>> = missing
        .clone()
        .map(|(_, standing)| match standing {
            Standing::Soaking(until) => Some(*until),
            _ => None,
        })
        .collect();
    let unknown = missing
        .clone()
        .all(|(_, standing)| matches!(standing, Standing::Unknown(_)));
    let told: Vec<String> = standings
        .iter()
        .map(|(before, standing)| told(before, standing))
        .collect();
    let rules: Vec<String> = before.iter().map(rule).collect();
    let reason = if unknown {
        Reason::GuardsUnknown
    } else {
        Reason::OrderUnmet
    };
    let message = format!(
        "Not yet: {} has to have succeeded in {} (spec.protection.after of the Environment). {} {PASS}",
        named(&content),
        rules.join(" and in "),
        told.join(" ")
    );
    Some(Closed {
        refusal: Refusal::passing(WaitingFor::Order, reason, message),
        until: until.and_then(|until| until.into_iter().max()),
    })
}

fn rule(before: &Before) -> String {
    if before.soak.is_zero() {
        format!("`{}`", before.environment)
    } else {
        format!(
            "`{}` and stayed there for {}",
            before.environment,
            span(before.soak)
        )
    }
}

fn told(before: &Before, standing: &Standing) -> String {
    let name = &before.environment;
    match standing {
        Standing::Passed => format!("In `{name}` it has."),
        Standing::Soaking(until) => {
            format!(
                "In `{name}` it runs, and has to stay until {}.",
                when(*until)
            )
        }
        Standing::Left(why) => {
            format!("In `{name}` it did not stay: {why}. Deploy it there again.")
        }
        Standing::Forgotten => {
            format!(
                "In `{name}` it succeeded, and so much was sent there since that nobody knows how long it stayed. Deploy it there again."
            )
        }
        Standing::Absent(Some(instead)) => {
            format!("In `{name}` it has not: {instead} runs there. Deploy it there first.")
        }
        Standing::Absent(None) => {
            format!("In `{name}` it has not: nothing is known to run there. Deploy it there first.")
        }
        Standing::Unknown(problem) => {
            let problem = problem.trim().trim_end_matches('.');
            format!("Of `{name}` that can't be said: {problem}; it is tried again.")
        }
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
