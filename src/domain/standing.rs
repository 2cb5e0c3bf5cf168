//! Whether what a target says runs there does, and how far that is from its repository's default branch. Touches nothing.
//!
//! Who can start pipelines in Spinnaker can change what runs on a target without us, and what they write of themselves is
//! text of strangers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{moments::when, outcome::Mark};
use crate::api::{
    DeployTarget, bounds,
    conditions::{self, ConditionType, Reason},
    deploy_request::{DEFAULT_ACTION, Phase, ROLLBACK_ACTION},
    deploy_target::{DeployTargetStatus, Run},
    version::Drift,
};

/// By how much Spinnaker's clock and ours may disagree.
const CLOCKS: i64 = 60_000;
/// By how much the clocks of Spinnaker's own processes may disagree.
const OWN_CLOCKS: i64 = 10_000;
/// The most characters of a name within a sentence.
const WHO: usize = 80;

/// An execution as Spinnaker showed it. Times are milliseconds since 1970 by Spinnaker's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Spinnaker's id.
    pub id: String,
    /// The pipeline's id.
    pub pipeline: String,
    /// Our mark, if it carries one.
    pub mark: Option<Mark>,
    /// The target that the mark names remembers it: anybody can write a mark.
    pub remembered: bool,
    /// Who started it, or what, as Spinnaker says.
    pub by: Option<String>,
    /// The parameters that it was started with.
    pub parameters: BTreeMap<String, String>,
    /// Whether it ended.
    pub over: bool,
    /// When Spinnaker accepted it.
    pub build_time: Option<i64>,
    /// When it began; moves when it is restarted.
    pub start_time: Option<i64>,
    /// When it ended, perhaps before it was restarted.
    pub end_time: Option<i64>,
    /// When the first of its stages began.
    pub first_stage: Option<i64>,
    /// When Spinnaker was asked, by our clock.
    pub asked_at: Timestamp,
}

impl Shown {
    /// Since when it may change something.
    fn began(&self) -> Option<i64> {
        self.start_time.or(self.first_stage)
    }

    /// Until when it may have changed something.
    fn until(&self) -> i64 {
        let last = self.end_time.max(self.start_time).max(self.build_time);
        match last {
            Some(last) if self.over => last,
            _ => i64::MAX,
        }
    }
}

/// The pipelines by which what runs on the target is changed: that of what runs, and those of its deployments and
/// rollbacks. Bounded as the history is.
pub fn pipelines(status: &DeployTargetStatus) -> BTreeSet<&str> {
    let Some(current) = &status.current else {
        return BTreeSet::new();
    };
    let changing = status.history.iter().filter(|run| {
        run.connection == current.connection
            && matches!(run.action.as_str(), DEFAULT_ACTION | ROLLBACK_ACTION)
    });
    let runs = changing.chain([current]);
    runs.filter_map(|run| run.pipeline.as_ref().map(|pipeline| pipeline.id.as_str()))
        .collect()
}

/// The target's conditions, of which `Known` says whether what is said to run there does. `shown` is what Spinnaker showed
/// of its [`pipelines`]; `None` where it didn't answer: what it said last counts until something else runs.
///
/// An execution that was run again, or was run by others, stays one until the next request succeeds, also when Spinnaker
/// doesn't show it any more.
pub fn known(target: &DeployTarget, shown: Option<&[Shown]>, now: Timestamp) -> Vec<Condition> {
    let status = target.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.clone();
    let before = conditions::find(&conditions, ConditionType::Known).cloned();
    let Some((last, failed)) = last_and_failed(&status) else {
        return conditions;
    };
    // Before what runs now succeeded, something else ran.
    let still = before.filter(|before| before.last_transition_time.0 >= last);
    let mut said: Vec<(Reason, String)> = failed.into_iter().collect();
    if let Some(current) = &status.current {
        let shown = shown.unwrap_or_default();
        said.extend(rerun(current, shown).map(|sentence| (Reason::ExecutionRerun, sentence)));
        said.extend(
            elsewhere(target, &status, current, shown)
                .map(|sentence| (Reason::RanElsewhere, sentence)),
        );
    }
    if still.is_none() {
        let known = ConditionType::Known.to_string();
        conditions.retain(|condition| condition.type_ != known);
    } else if said.is_empty()
        && still.as_ref().is_some_and(|still| {
            [Reason::ExecutionRerun, Reason::RanElsewhere]
                .iter()
                .any(|stays| still.reason == stays.to_string())
        })
    {
        return conditions;
    }
    let (known, reason, message) = match said.first() {
        Some((reason, _)) => {
            let sentences: Vec<&str> = said.iter().map(|(_, said)| said.as_str()).collect();
            (false, *reason, sentences.join(" "))
        }
        None => (
            true,
            Reason::Succeeded,
            "the last request that ran here succeeded, and nothing else was seen to run."
                .to_owned(),
        ),
    };
    let kind = ConditionType::Known;
    conditions::set(
        &mut conditions,
        kind,
        Some(known),
        reason,
        &message,
        None,
        now,
    );
    conditions
}

/// When what runs succeeded, and the newest that failed since after it had begun. `None` where nothing ever ran.
fn last_and_failed(status: &DeployTargetStatus) -> Option<(Timestamp, Option<(Reason, String)>)> {
    let current = status.current.as_ref();
    let since = status
        .history
        .iter()
        .take_while(|run| current.is_none_or(|current| current.uid != run.uid));
    let failed = since.clone().find(|run| broke_off(run));
    let last = match (current, failed) {
        (Some(current), _) => current.finished_at.0,
        (None, Some(failed)) => failed.finished_at.0,
        (None, None) => return None,
    };
    let said = failed.map(|failed| {
        let earlier = match current {
            Some(_) => "how much of it runs here",
            None => "what runs here",
        };
        let sentence = format!(
            "nobody knows {earlier}: the last request ({}) {} after it had begun, as {:?} at {}. Look at it in Spinnaker, or deploy again.",
            asked(failed),
            match failed.phase {
                Phase::Canceled => "was canceled",
                _ => "failed",
            },
            failed.name,
            when(failed.finished_at.0),
        );
        (Reason::LastRequestFailed, sentence)
    });
    Some((last, said))
}

/// Whether it ended otherwise than well after it had begun, or perhaps had.
fn broke_off(run: &Run) -> bool {
    let perhaps = [
        Reason::StartUnknown,
        Reason::Released,
        Reason::ExecutionLost,
        Reason::ExecutionConflict,
        Reason::StartedTwice,
    ];
    run.phase != Phase::Succeeded
        && (run.execution_id.is_some()
            || perhaps
                .iter()
                .any(|reason| run.reason == reason.to_string()))
}

/// That the execution that brought what runs was run again after it had ended.
fn rerun(current: &Run, shown: &[Shown]) -> Option<String> {
    let finished = current.finished_at.0;
    let again = shown.iter().find(|shown| {
        Some(&shown.id) == current.execution_id.as_ref() && shown.asked_at > finished
    })?;
    let another =
        matches!((again.build_time, current.build_time), (Some(now), Some(then)) if now != then);
    // A restart moves the beginning behind the stages that are left of the first run.
    let before = again.first_stage.zip(again.start_time);
    let moved = before.is_some_and(|(stage, start)| stage < start.saturating_sub(OWN_CLOCKS));
    let late = finished.as_millisecond().saturating_add(CLOCKS);
    let later = again
        .start_time
        .max(again.end_time)
        .is_some_and(|time| time > late);
    (another || !again.over || moved || later).then(|| {
        format!(
            "execution {}, which brought {} here, was run again in Spinnaker after it had ended: what runs here may not be that any more. Look at it there, or deploy again.",
            bounds::cut(&again.id, WHO),
            asked(current),
        )
    })
}

/// That somebody else ran one of the target's pipelines since.
fn elsewhere(
    target: &DeployTarget,
    status: &DeployTargetStatus,
    current: &Run,
    shown: &[Shown],
) -> Option<String> {
    let pipelines = pipelines(status);
    let sent = current.sent_at.0.as_millisecond();
    let begun = current.build_time.unwrap_or(sent);
    let own = shown
        .iter()
        .find(|shown| Some(&shown.id) == current.execution_id.as_ref());
    let other = shown
        .iter()
        .filter(|shown| pipelines.contains(shown.pipeline.as_str()))
        .filter(|shown| shown.began().is_some() && shown.until() > begun)
        .filter(|shown| !is_ours(target, status, shown))
        .filter(|shown| !own.is_some_and(|own| is_of_another_place(target, own, shown)))
        .max_by_key(|shown| (shown.began(), &shown.id))?;
    let by = other.by.as_deref().map_or_else(
        || "somebody whom Spinnaker doesn't name".to_owned(),
        |by| bounds::cut(by, WHO),
    );
    let at = other.began().and_then(bounds::date).map(when);
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    Some(format!(
        "others ran the same pipeline since: execution {}, started by {by}{at}. It may have changed what runs here; deploy again to be sure.",
        bounds::cut(&other.id, WHO),
    ))
}

/// Whether the execution is one that we started: for this target, as it remembers, or for another one.
fn is_ours(target: &DeployTarget, status: &DeployTargetStatus, shown: &Shown) -> bool {
    if ran(status, &shown.id) {
        return true;
    }
    let Some(mark) = &shown.mark else {
        return false;
    };
    let namespace = target.metadata.namespace.as_ref();
    let of_this = Some(&mark.target) == target.metadata.name.as_ref()
        && mark
            .namespace
            .as_ref()
            .is_none_or(|of| Some(of) == namespace);
    if of_this {
        remembers(status, mark, &shown.id)
    } else {
        shown.remembered
    }
}

/// Whether a target knows the execution with this id as what it ran.
fn ran(status: &DeployTargetStatus, id: &str) -> bool {
    let mut runs = status.history.iter().chain(&status.current);
    runs.any(|run| run.execution_id.as_deref() == Some(id))
}

/// Whether the target that a mark names knows the execution with this id as its own.
pub fn remembers(status: &DeployTargetStatus, mark: &Mark, id: &str) -> bool {
    if ran(status, id) {
        return true;
    }
    // Spinnaker's "run again" copies the mark: another execution than the one that was seen is somebody else's.
    let active = status
        .active
        .as_ref()
        .filter(|active| active.uid == mark.uid);
    let seen = active.map(|active| active.execution.as_ref().map(|seen| &seen.id));
    let known = status.keys.iter().find(|record| record.uid == mark.uid);
    let seen = seen.or_else(|| known.map(|record| record.execution_id.as_ref()));
    seen.is_some_and(|seen| seen.is_none_or(|seen| seen == id))
}

/// Whether the other execution went elsewhere: where ours named the target's place, it named another.
fn is_of_another_place(target: &DeployTarget, own: &Shown, other: &Shown) -> bool {
    let place = &target.spec.place;
    own.parameters.iter().any(|(name, value)| {
        (*value == place.account || *value == place.namespace || *value == target.spec.environment)
            && other
                .parameters
                .get(name)
                .is_some_and(|there| there != value)
    })
}

/// `v2 by bob@corp.example`.
fn asked(run: &Run) -> String {
    let version = run.version.as_deref().map_or_else(
        || bounds::cut(&run.action, WHO),
        |version| bounds::cut(version, WHO),
    );
    match &run.requester {
        Some(requester) => format!("{version} by {}", bounds::cut(requester, WHO)),
        None => version,
    }
}

// === Drift ===

/// What the repository says of what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It was compared with the head of the default branch.
    Compared {
        /// The default branch.
        branch: String,
        /// Its head.
        head: String,
        /// How many commits what runs lacks.
        behind: u32,
        /// How many commits the head lacks.
        ahead: u32,
    },
    /// It can't be.
    Problem {
        /// The default branch, where it is known.
        branch: Option<String>,
        /// Its head, likewise.
        head: Option<String>,
        /// Why, for people.
        sentence: String,
        /// Whether what was said last is good enough for now.
        passing: bool,
    },
}

/// How far what runs is from the default branch. Nothing where nothing runs or there is no repository. `since` moves only
/// when the numbers or what runs do.
pub fn drift(status: &DeployTargetStatus, heard: Option<Heard>, now: Timestamp) -> Option<Drift> {
    let (current, heard) = (status.current.as_ref()?, heard?);
    let before = status
        .drift
        .as_ref()
        .filter(|before| before.since.0 >= current.finished_at.0);
    let name = |text: String| bounds::cut(&text, bounds::NAME);
    let next = match heard {
        Heard::Compared {
            branch,
            head,
            behind,
            ahead,
        } => Drift {
            branch: Some(name(branch)),
            head: Some(head),
            behind: Some(behind),
            ahead: Some(ahead),
            since: Time(now),
            problem: None,
        },
        Heard::Problem { passing: true, .. } if before.is_some() => return before.cloned(),
        Heard::Problem {
            branch,
            head,
            sentence,
            ..
        } => Drift {
            branch: branch.map(name),
            head,
            behind: None,
            ahead: None,
            since: Time(now),
            problem: Some(bounds::cut(&sentence, bounds::MESSAGE)),
        },
    };
    let same = before.filter(|before| {
        (
            before.behind,
            before.ahead,
            &before.branch,
            before.problem.is_some(),
        ) == (
            next.behind,
            next.ahead,
            &next.branch,
            next.problem.is_some(),
        )
    });
    Some(Drift {
        since: same.map_or(next.since, |before| before.since.clone()),
        ..next
    })
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
