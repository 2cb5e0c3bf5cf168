//! How a phase, a stage and a duration are said: by a word and a sign, never by colour. Touches nothing.

use std::time::Duration;

use super::gates;
use crate::{
    api::{
        DeployRequest,
        deploy_request::{
            DEFAULT_ACTION, DeployRequestStatus, Phase, ROLLBACK_ACTION, StageStatus, WaitingFor,
        },
    },
    domain::access,
    slack::{commits, text::Mrkdwn},
};

/// The sign and the word for where a request stands.
pub(super) fn state(request: &DeployRequest) -> (&'static str, &'static str) {
    let status = request.status.as_ref();
    let phase = super::phase(request);
    let waiting = status.and_then(|status| status.waiting.as_ref());
    let canceling = access::is_canceled(request);
    match (phase, waiting.map(|waiting| waiting.subject)) {
        (Phase::Succeeded, _) if request.spec.dry_run => ("✅", "valid, nothing was started"),
        (Phase::Succeeded, _) => ("✅", "succeeded"),
        (Phase::Failed, _) => ("❌", "failed"),
        (Phase::Canceled, _) => ("🚫", "canceled"),
        (Phase::Denied, _) => ("⛔", "denied"),
        (Phase::Expired, _) => ("⌛", "expired"),
        (Phase::Unknown, _) => ("⚠️", "unclear whether it runs"),
        (_, Some(WaitingFor::Person)) => ("⚠️", "needs a person"),
        (_, Some(WaitingFor::Judgment)) if !canceling => ("✋", "waits for a judgment"),
        (_, _) if canceling => ("🔄", "being canceled"),
        (_, Some(WaitingFor::Configuration)) => ("⚠️", "waits for its configuration"),
        (_, Some(WaitingFor::Authorization)) => ("⏳", "waits to know who may"),
        (Phase::AwaitingApproval, _) | (_, Some(WaitingFor::Approval)) => {
            ("✋", "waits for approval")
        }
        (Phase::Running, _) => ("🔄", "running"),
        (_, Some(WaitingFor::Spinnaker)) => ("⏳", "waits for Spinnaker"),
        (Phase::Starting, _) => ("🔄", "starting"),
        (Phase::Queued, _) | (_, Some(WaitingFor::Queue)) => ("⏳", "waits for its turn"),
        (Phase::Pending, _) => ("⏳", "being checked"),
    }
}

/// Who can do something about what it waits for.
pub(super) fn who_can(subject: WaitingFor) -> &'static str {
    match subject {
        WaitingFor::Configuration => {
            "Whoever keeps the team's configuration can mend it; the request then goes on by itself."
        }
        WaitingFor::Authorization => "It goes on by itself once that is known.",
        WaitingFor::Repository => {
            "It goes on by itself once the repository answers. What is missing or refused there, a Secret or a login, is \
             mended by whoever keeps the team's configuration."
        }
        WaitingFor::Approval => {
            "Whoever may approve there says yes or no in the thread, or by kubectl."
        }
        WaitingFor::Time => "It goes on by itself when its time comes.",
        WaitingFor::Order => {
            "It goes on by itself once the version is through there. Whoever may override can let it pass."
        }
        WaitingFor::Freeze => {
            "It goes on by itself when the freeze is over. Whoever may override can let it pass."
        }
        WaitingFor::Lock => {
            "It goes on by itself once that is unlocked. Whoever may override can let it pass."
        }
        WaitingFor::Queue => "It goes on by itself. To let it go sooner, cancel what is before it.",
        WaitingFor::Spinnaker => "It is tried again by itself.",
        WaitingFor::Judgment => "Whoever may judge there answers in the thread, or in Spinnaker.",
        WaitingFor::Person => "Somebody has to look in Spinnaker.",
    }
}

/// `✅ *checkout* `v42` to *production*: succeeded`.
pub(super) fn first_line(request: &DeployRequest) -> Mrkdwn {
    let (sign, words) = gates::state(request).unwrap_or_else(|| {
        let (sign, word) = state(request);
        (sign, Mrkdwn::fixed(word))
    });
    Mrkdwn::fixed(sign) + " " + subject(request) + ": " + words
}

/// `*checkout* `v42` to *production*`: what, which version, where.
pub(super) fn subject(request: &DeployRequest) -> Mrkdwn {
    let spec = &request.spec;
    let application = Mrkdwn::name(&spec.application);
    let environment = Mrkdwn::name(&spec.environment);
    let version = commits::version(version(request), commit(request), None);
    let dry = if spec.dry_run { "dry run: " } else { "" };
    let what = match (spec.action.as_str(), version) {
        (DEFAULT_ACTION, Some(version)) => application + " " + version + " to " + environment,
        (DEFAULT_ACTION, None) => application + " to " + environment,
        (ROLLBACK_ACTION, Some(version)) => {
            Mrkdwn::fixed("rollback of ") + application + " to " + version + " in " + environment
        }
        (ROLLBACK_ACTION, None) => {
            Mrkdwn::fixed("rollback of ") + application + " in " + environment
        }
        (action, version) => {
            let of = Mrkdwn::name(action) + " of " + application;
            let of = match version {
                Some(version) => of + " " + version,
                None => of,
            };
            of + " in " + environment
        }
    };
    Mrkdwn::fixed(dry) + what
}

/// What runs or is to run, as far as it is known.
pub(super) fn version(request: &DeployRequest) -> Option<&str> {
    let resolved = request
        .status
        .as_ref()
        .and_then(|status| status.resolved.as_ref())
        .and_then(|resolved| resolved.version.as_deref());
    resolved.or(request.spec.version.as_deref())
}

/// The commit that it stands for, as far as that is known.
pub(super) fn commit(request: &DeployRequest) -> Option<&str> {
    let resolved = request
        .status
        .as_ref()
        .and_then(|status| status.resolved.as_ref());
    match resolved {
        Some(resolved) => resolved.commit.as_deref(),
        None => request.spec.commit.as_deref(),
    }
}

/// Whether a stage has ended, runs, or is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Ahead,
    Running,
    Done,
    Bad,
    Skipped,
}

impl Progress {
    /// Of Spinnaker's own word. An unknown one counts as running: it is neither good nor bad yet.
    pub(super) fn of(stage: &StageStatus) -> Self {
        match stage.status.as_str() {
            "NOT_STARTED" | "BUFFERED" => Self::Ahead,
            "SUCCEEDED" => Self::Done,
            "FAILED_CONTINUE" | "TERMINAL" | "STOPPED" | "CANCELED" => Self::Bad,
            "SKIPPED" => Self::Skipped,
            _ => Self::Running,
        }
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Ahead => "▫️",
            Self::Running => "🔄",
            Self::Done => "✅",
            Self::Bad => "❌",
            Self::Skipped => "⏭️",
        }
    }
}

/// What Spinnaker's word for a stage's state means; its own where we have none.
pub(super) fn stage_word(stage: &StageStatus) -> Mrkdwn {
    Mrkdwn::fixed(match stage.status.as_str() {
        "NOT_STARTED" | "BUFFERED" => "to come",
        "RUNNING" => "running",
        "PAUSED" => "paused",
        "SUSPENDED" => "suspended",
        "SUCCEEDED" => "succeeded",
        "FAILED_CONTINUE" => "failed, and the pipeline went on",
        "TERMINAL" => "failed",
        "STOPPED" => "stopped",
        "CANCELED" => "canceled",
        "SKIPPED" => "skipped",
        other => return Mrkdwn::code_within(other, 40),
    })
}

/// How long it ran, or existed where nothing was started.
pub(super) fn took(status: &DeployRequestStatus) -> Option<Mrkdwn> {
    let finished = status.finished_at.as_ref()?.0;
    let started = status.started_at.as_ref()?.0;
    Some(duration(
        Duration::try_from(finished.duration_since(started)).ok()?,
    ))
}

/// `2 h 5 min`, `3 min 12 s`, `7 s`.
pub(super) fn duration(duration: Duration) -> Mrkdwn {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let pair = |one: u64, unit: &'static str, two: u64, small: &'static str| {
        let first = Mrkdwn::number(one) + unit;
        if two == 0 {
            return first;
        }
        first + " " + Mrkdwn::number(two) + small
    };
    match (hours, minutes) {
        (0, 0) => Mrkdwn::number(rest) + " s",
        (0, minutes) => pair(minutes, " min", rest, " s"),
        (hours, minutes) => pair(hours, " h", minutes, " min"),
    }
}
