//! How requests stand, in words: what was asked, how it goes, where to look. Touches nothing.

use kube::ResourceExt;
use reqwest::Url;

use crate::{
    api::{
        DeployRequest,
        deploy_request::{DEFAULT_ACTION, DeployRequestSpec, Phase},
    },
    domain::access,
    slack::{commits, text::Mrkdwn},
};

/// The most characters of a sentence that the controller or Spinnaker wrote.
const MOST_SENTENCE: usize = 300;

/// Whether lines name the team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) enum Prefix {
    /// There is but one.
    None,
    /// There are several.
    Team,
}

impl Prefix {
    /// The team, where lines name it.
    pub(in crate::receiver) fn of(self, namespace: Option<&str>) -> Mrkdwn {
        match (self, namespace) {
            (Self::Team, Some(namespace)) => Mrkdwn::name(namespace) + " / ",
            _ => Mrkdwn::default(),
        }
    }
}

/// What somebody wants: `deploy *checkout* `main` (`3f2a1bc`) to *staging*`.
pub(in crate::receiver) fn wish(
    action: &str,
    application: &str,
    version: Option<Mrkdwn>,
    environment: &str,
) -> Mrkdwn {
    let (before, after) = if action == DEFAULT_ACTION {
        (Mrkdwn::fixed("deploy "), " to ")
    } else {
        (Mrkdwn::name(action) + " ", " in ")
    };
    let version = version.map_or_else(Mrkdwn::default, |version| Mrkdwn::fixed(" ") + version);
    before + Mrkdwn::name(application) + version + after + Mrkdwn::name(environment)
}

/// What a request asks for.
pub(in crate::receiver) fn asked(spec: &DeployRequestSpec) -> Mrkdwn {
    wish(
        &spec.action,
        &spec.application,
        commits::version(spec.version.as_deref(), spec.commit.as_deref(), None),
        &spec.environment,
    )
}

/// Where a request stands.
pub(in crate::receiver) fn phase(request: &DeployRequest) -> Phase {
    let status = request.status.as_ref();
    status.and_then(|status| status.phase).unwrap_or_default()
}

/// A phase by sign and word.
pub(in crate::receiver) fn sign(phase: Phase) -> Mrkdwn {
    Mrkdwn::fixed(match phase {
        Phase::Pending => ":hourglass_flowing_sand: pending",
        Phase::AwaitingApproval => ":raised_hand: waiting for approval",
        Phase::Queued => ":hourglass_flowing_sand: waiting in line",
        Phase::Starting => ":arrow_forward: starting",
        Phase::Running => ":arrow_forward: running",
        Phase::Unknown => ":grey_question: outcome unknown",
        Phase::Succeeded => ":white_check_mark: succeeded",
        Phase::Failed => ":x: failed",
        Phase::Canceled => ":no_entry_sign: canceled",
        Phase::Denied => ":no_entry: denied",
        Phase::Expired => ":no_entry_sign: expired",
    })
}

/// How a request stands: sign, stage or reason, since when, where to look.
pub(in crate::receiver) fn standing(request: &DeployRequest) -> Mrkdwn {
    let mut line = sign(phase(request));
    let Some(status) = &request.status else {
        return line;
    };
    let ended = phase(request).is_terminal();
    if access::is_canceled(request) && !ended {
        line += ", to be canceled";
    }
    if let Some(stage) = status.stage.as_deref().filter(|stage| !stage.is_empty()) {
        line = line + ", stage " + Mrkdwn::code_within(stage, 80);
    }
    if let Some(finished) = &status.finished_at {
        line = line + ", " + Mrkdwn::date(finished.0);
    }
    let reason = match (&status.waiting, &status.execution) {
        (Some(waiting), _) if !ended => Some(waiting.message.as_str()),
        (_, Some(execution)) if ended => execution
            .failure
            .as_ref()
            .map(|failure| failure.message.as_str()),
        _ => None,
    };
    // What a success says is what its sign says.
    let telling = !matches!(
        phase(request),
        Phase::Succeeded | Phase::Running | Phase::Starting
    );
    let reason = reason.or(status.message.as_deref().filter(|_| telling));
    if let Some(reason) = reason.filter(|reason| !reason.trim().is_empty()) {
        line = line + ": " + Mrkdwn::code_within(reason, MOST_SENTENCE);
    }
    match execution_link(request) {
        Some(look) => line + " · " + look,
        None => line,
    }
}

/// Where a person can look at the execution.
pub(in crate::receiver) fn execution_link(request: &DeployRequest) -> Option<Mrkdwn> {
    let execution = request.status.as_ref()?.execution.as_ref()?;
    let url = Url::parse(execution.url.as_deref()?).ok()?;
    Some(Mrkdwn::link(&url, "Spinnaker"))
}

/// Who asked, without a mention: that would call them.
pub(in crate::receiver) fn requester(request: &DeployRequest) -> Mrkdwn {
    match &request.spec.requester {
        Some(requester) => Mrkdwn::code_within(&requester.username, 80),
        None => Mrkdwn::fixed("somebody outside Slack"),
    }
}

/// One request in a line of its own: what, how it stands, who asked and when.
pub(in crate::receiver) fn line(request: &DeployRequest) -> Mrkdwn {
    let mut line = asked(&request.spec) + " – " + standing(request);
    line = line + " · asked by " + requester(request);
    if let Some(created) = request.creation_timestamp() {
        line = line + ", " + Mrkdwn::date(created.0);
    }
    line
}
