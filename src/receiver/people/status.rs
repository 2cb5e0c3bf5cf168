//! What is to be written of a person: what was found out, unless what stands there is as good. Touches nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        bounds,
        person::{GroupSource, PersonStatus},
    },
    identity::{
        Found,
        groups::{Groups, Unknown},
    },
};

/// The status as it is to be, or nothing where what stands there says the same and none of it is as old as `age`.
///
/// Of each part the newer one counts: another replica may have asked later and been first to write. What can't be found
/// out now stays as it was, with its time.
pub(super) fn next(
    before: Option<&PersonStatus>,
    found: &Found,
    age: Duration,
    now: Timestamp,
) -> Option<PersonStatus> {
    let mut next = before.cloned().unwrap_or_default();
    if let Ok((standing, at)) = &found.standing
        && is_newer(*at, next.checked_at.as_ref())
    {
        next.checked_at = Some(Time(*at));
        match standing {
            Ok(member) => {
                next.username = Some(member.username.clone());
                next.nobody = None;
            }
            Err(nobody) => {
                // The name stays: it still says which human this is.
                next.nobody = Some(nobody.reason().to_owned());
                next.sources = Vec::new();
            }
        }
    }
    if next.nobody.is_none() && matches!(found.standing, Ok((Ok(_), _))) {
        let sources = found.sources.iter();
        next.sources = sources
            .map(|(name, said)| {
                let mut before = next.sources.iter();
                source(name, said, before.find(|before| before.name == *name))
            })
            .collect();
    }
    let Some(old) = before else {
        return (next != PersonStatus::default()).then_some(next);
    };
    let wanted = *old != next && (!says_the_same(old, &next) || is_old(old, age, now));
    wanted.then_some(next)
}

/// Whether any part of it was last said longer ago than `age`, or never.
pub(super) fn is_old(status: &PersonStatus, age: Duration, now: Timestamp) -> bool {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    let since = now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    oldest(status).is_none_or(|oldest| oldest < since)
}

/// When the oldest part of it was last said; nothing where one never was.
pub(super) fn oldest(status: &PersonStatus) -> Option<Timestamp> {
    let checked = status.checked_at.as_ref().map(|at| at.0)?;
    let mut oldest = checked;
    for source in &status.sources {
        oldest = oldest.min(source.at.as_ref()?.0);
    }
    Some(oldest)
}

fn source(name: &str, said: &Result<Groups, Unknown>, before: Option<&GroupSource>) -> GroupSource {
    let mut source = before.cloned().unwrap_or_else(|| GroupSource {
        name: name.to_owned(),
        groups: Vec::new(),
        at: None,
        problem: None,
    });
    match said {
        Ok(groups) if is_newer(groups.at, source.at.as_ref()) => {
            source.groups.clone_from(&groups.names);
            source.at = Some(Time(groups.at));
            source.problem.clone_from(&groups.note);
        }
        Ok(_) => {}
        Err(unknown) => source.problem = Some(unknown.to_string()),
    }
    source.problem = source
        .problem
        .map(|problem| bounds::cut(&problem, bounds::MESSAGE));
    source
}

/// What is written has whole seconds; of one second, what is found out now counts.
fn is_newer(at: Timestamp, than: Option<&Time>) -> bool {
    than.is_none_or(|than| at.as_second() >= than.0.as_second())
}

fn says_the_same(one: &PersonStatus, other: &PersonStatus) -> bool {
    let without_times = |status: &PersonStatus| {
        let mut status = status.clone();
        status.checked_at = None;
        for source in &mut status.sources {
            source.at = None;
        }
        status
    };
    without_times(one) == without_times(other)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
