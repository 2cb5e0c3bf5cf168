//! Points at which a test makes the process die, to see that nothing is started or told twice afterwards.
//!
//! Without [`install`] a point costs one atomic load. Touches stderr, and ends the process.

use std::{
    io::{self, Write},
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use thiserror::Error;

/// The controller's: before and after each effect, in the order of a request's life.
pub const POINTS: &[&str] = &[
    "before-seen",
    "after-seen",
    "before-create-target",
    "after-create-target",
    "before-initialise",
    "after-initialise",
    "before-claim-target",
    "after-claim-target",
    "before-mark-request",
    "after-mark-request",
    "before-mark-target",
    "after-mark-target",
    "before-unmark",
    "after-unmark",
    "before-post",
    "after-post",
    "before-record",
    "after-record",
    "before-adopt",
    "after-adopt",
    "before-status",
    "after-status",
    "before-forbid",
    "after-forbid",
    "before-cancel",
    "after-cancel",
    "before-mark-judged",
    "after-mark-judged",
    "before-judge",
    "after-judge",
    "before-finish-target",
    "after-finish-target",
    "before-release",
    "after-release",
];

/// The controller's too: before and after a sink is told, and before and after it is written down that it was.
pub const AUDIT_POINTS: &[&str] = &[
    "before-audit-delivery",
    "after-audit-delivery",
    "before-audit-mark",
    "after-audit-mark",
];

/// The controller's as well: around the mark on the request, the new deployment, each of its states, and the record of it.
pub const GIT_POINTS: &[&str] = &[
    "before-git-mark",
    "after-git-mark",
    "before-git-announce",
    "after-git-announce",
    "before-git-tell",
    "after-git-tell",
    "before-git-record",
    "after-git-record",
];

/// The relay's: before and after each effect.
pub const RELAY_POINTS: &[&str] = &[
    "before-slack-intent",
    "after-slack-intent",
    "before-slack-post",
    "after-slack-post",
    "before-slack-record",
    "after-slack-record",
    "before-slack-update",
    "after-slack-update",
];

/// The receiver's: around each write, and before an answer.
pub const RECEIVER_POINTS: &[&str] = &[
    "before-persist",
    "after-persist",
    "before-ask-cancel",
    "after-ask-cancel",
    "before-ask-override",
    "after-ask-override",
    "before-answer",
    "after-answer",
];

fn all() -> impl Iterator<Item = &'static str> {
    let lists = [
        POINTS,
        AUDIT_POINTS,
        GIT_POINTS,
        RELAY_POINTS,
        RECEIVER_POINTS,
    ];
    lists.into_iter().flatten().copied()
}

static PLAN: OnceLock<Plan> = OnceLock::new();

/// Where to die: `before-post`, or `before-post@3` for the third time the process passes there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CrashAt {
    point: &'static str,
    pass: u64,
}

/// Why a crash was not planned.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CrashError {
    /// The name is in none of the lists.
    #[error("there is no crash point {0:?}; there are: {points}", points = all().collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// What stands behind the `@` is not a whole number from 1.
    #[error("{0:?} is not how often to pass the point: a whole number from 1 is")]
    Pass(String),
    /// There is a plan already.
    #[error("crash points are already set")]
    Installed,
}

impl CrashError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "CrashPointUnknown",
            Self::Pass(_) => "CrashPassInvalid",
            Self::Installed => "CrashPointsInstalledTwice",
        }
    }
}

impl FromStr for CrashAt {
    type Err = CrashError;

    fn from_str(text: &str) -> Result<Self, CrashError> {
        let (name, pass) = text.split_once('@').unwrap_or((text, "1"));
        let point = all()
            .find(|point| *point == name)
            .ok_or_else(|| CrashError::Unknown(name.to_owned()))?;
        let pass = pass
            .parse()
            .ok()
            .filter(|pass| *pass > 0)
            .ok_or_else(|| CrashError::Pass(pass.to_owned()))?;
        Ok(Self { point, pass })
    }
}

#[derive(Debug)]
struct Plan {
    at: Option<CrashAt>,
    list: bool,
    passed: AtomicU64,
}

impl Plan {
    fn new(at: Option<CrashAt>, list: bool) -> Self {
        Self {
            at,
            list,
            passed: AtomicU64::new(0),
        }
    }

    /// Whether this is the pass to die at.
    fn ends_here(&self, name: &str) -> bool {
        self.at.as_ref().is_some_and(|at| {
            at.point == name && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == at.pass
        })
    }
}

/// Plans a crash (`at`), and with `list` writes each point passed to stderr as `crash point NAME`. Once per process.
pub fn install(at: Option<CrashAt>, list: bool) -> Result<(), CrashError> {
    if at.is_none() && !list {
        return Ok(());
    }
    PLAN.set(Plan::new(at, list))
        .map_err(|_plan| CrashError::Installed)
}

/// Dies here, without unwinding or flushing anything, if that was planned. `name` is in one of the lists.
pub fn point(name: &'static str) {
    let Some(plan) = PLAN.get() else { return };
    debug_assert!(all().any(|point| point == name), "{name} is in no list");
    if plan.list {
        tell(name, "");
    }
    if plan.ends_here(name) {
        tell(name, ": aborting, as asked");
        std::process::abort();
    }
}

/// Straight to stderr: logs may be filtered or buffered.
fn tell(name: &str, what: &str) {
    let _stderr_closed = writeln!(io::stderr().lock(), "crash point {name}{what}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn name_and_pass_are_read() {
        let cases = [
            ("before-post", Ok(("before-post", 1))),
            ("after-record@3", Ok(("after-record", 3))),
            ("before-post@0", Err(CrashError::Pass("0".into()))),
            ("before-post@", Err(CrashError::Pass(String::new()))),
            ("before-post@x", Err(CrashError::Pass("x".into()))),
            ("nowhere", Err(CrashError::Unknown("nowhere".into()))),
            ("", Err(CrashError::Unknown(String::new()))),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(point, pass)| CrashAt { point, pass });
            assert_eq!(text.parse::<CrashAt>(), expected, "{text}");
        }
    }

    #[test]
    fn only_the_asked_pass_of_the_asked_point_ends_the_process() {
        let plan = Plan::new(Some("before-post@2".parse().unwrap()), false);
        assert!(!plan.ends_here("after-post"));
        assert!(!plan.ends_here("before-post"));
        assert!(!plan.ends_here("after-post"));
        assert!(plan.ends_here("before-post"));
        assert!(!plan.ends_here("before-post"));
    }

    #[test]
    fn point_without_a_plan_does_nothing() {
        point("before-post");
    }

    #[test]
    fn names_are_unique_and_come_in_pairs() {
        let names: BTreeSet<_> = all().collect();
        assert_eq!(names.len(), all().count());
        for effect in all().filter_map(|name| name.strip_prefix("before-")) {
            assert!(
                names.contains(format!("after-{effect}").as_str()),
                "{effect}"
            );
        }
    }
}
