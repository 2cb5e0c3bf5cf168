//! What is said beside the live message: one line elsewhere, and the answers in its thread. Touches nothing.

use reqwest::Url;

use super::{
    super::purpose::Purpose,
    about_earlier, gates, live, marked,
    words::{self, Progress},
};
use crate::{
    api::{
        DeployRequest,
        deploy_request::{EarlierMessage, Phase, StageStatus},
    },
    slack::{
        blocks::{Block, Message, RichText},
        ids::{ChannelId, UserId},
        text::Mrkdwn,
    },
};

/// Stages that fit into one message.
const MOST_STAGES: usize = 60;

/// Tells who asked where the live message is.
pub fn link(request: &DeployRequest, channel: Option<&ChannelId>, at: Option<&Url>) -> Message {
    let mut line = words::subject(request) + " is told";
    if let Some(channel) = channel {
        line += Mrkdwn::fixed(" in ") + Mrkdwn::channel(channel);
    }
    line += " from its start to its end";
    line += match at {
        Some(at) => Mrkdwn::fixed(": ") + Mrkdwn::link(at, "the message"),
        None => Mrkdwn::fixed("."),
    };
    marked(one(line, []), request, &Purpose::Link)
}

/// One line in a further channel: it runs now.
pub fn started(
    request: &DeployRequest,
    channel: &ChannelId,
    at: Option<&Url>,
    earlier: Option<EarlierMessage>,
) -> Message {
    let mut line = Mrkdwn::fixed("🔄 ") + words::subject(request) + ": started";
    if let Some(requester) = &request.spec.requester {
        line += Mrkdwn::fixed(" by ") + Mrkdwn::code(&requester.username);
    }
    let message = one(line + details(at), about_earlier(earlier));
    marked(message, request, &Purpose::Started(channel.clone()))
}

/// One line in a further channel: how it ended.
pub fn ended(
    request: &DeployRequest,
    channel: &ChannelId,
    at: Option<&Url>,
    earlier: Option<EarlierMessage>,
) -> Message {
    let line = outcome(request) + details(at);
    let message = one(line, about_earlier(earlier));
    marked(message, request, &Purpose::Ended(channel.clone()))
}

/// The stages with their times, in the thread.
pub fn stages(request: &DeployRequest) -> Message {
    let line = Mrkdwn::fixed("Stages of ") + words::subject(request);
    let message = Message::new(
        line.clone(),
        [Block::section(line)]
            .into_iter()
            .chain(Block::sections(&stage_list(request))),
    );
    marked(message, request, &Purpose::Stages)
}

/// How it ended, in the thread: the one place that mentions who asked, since an update notifies nobody. With `stages`
/// they are listed too.
pub fn end(
    request: &DeployRequest,
    requester: Option<&UserId>,
    with_stages: bool,
    earlier: Option<EarlierMessage>,
) -> Message {
    let line = outcome(request);
    let line = match requester {
        Some(user) => Mrkdwn::user(user) + " " + line,
        None => line,
    };
    let mut blocks = vec![Block::section(line.clone())];
    blocks.extend(live::rejection(request));
    blocks.extend(live::failure(request));
    blocks.extend(gates::hold(request));
    let list = stage_list(request);
    if with_stages && !list.is_empty() {
        blocks.extend(Block::sections(&list));
    }
    if let Some(url) = live::execution_url(request) {
        blocks.push(Block::context([Mrkdwn::link(&url, "Open in Spinnaker")]));
    }
    blocks.extend(about_earlier(earlier));
    marked(Message::new(line, blocks), request, &Purpose::End)
}

/// In the place of the live message or of a question: the request was deleted before it ended.
pub fn gone(request: &DeployRequest, purpose: &Purpose) -> Message {
    let line = Mrkdwn::fixed("⚠️ ") + words::subject(request) + ": its request was deleted";
    let started = super::status(request).is_some_and(|status| {
        status.started_at.is_some()
            || status
                .attempt
                .as_ref()
                .is_some_and(|attempt| attempt.sent_at.is_some())
    });
    let rest = if *purpose != Purpose::Live {
        "Nobody is asked any more."
    } else if started {
        "Deleting is not cancelling: what Spinnaker runs goes on to its end. How it ends stands in the history of its DeployTarget, not here."
    } else {
        "Nothing had been started for it when it was last seen, and nothing will be."
    };
    let mut blocks = vec![
        Block::section(line.clone()),
        RichText::new().line(rest).into(),
    ];
    if let Some(url) = live::execution_url(request) {
        blocks.push(Block::context([Mrkdwn::link(&url, "Open in Spinnaker")]));
    }
    marked(Message::new(line, blocks), request, purpose)
}

fn one(line: Mrkdwn, more: impl IntoIterator<Item = Block>) -> Message {
    let first = Block::section(line.clone());
    Message::new(line, [first].into_iter().chain(more))
}

pub(super) fn details(at: Option<&Url>) -> Mrkdwn {
    match at {
        Some(at) => Mrkdwn::fixed(" · ") + Mrkdwn::link(at, "details"),
        None => Mrkdwn::default(),
    }
}

/// `✅ *checkout* `v42` to *production*: succeeded after 3 min 12 s`.
fn outcome(request: &DeployRequest) -> Mrkdwn {
    let mut line = words::first_line(request);
    if let Some(took) = super::status(request).and_then(words::took) {
        line += Mrkdwn::fixed(" after ") + took;
    }
    if let Some(stage) = live::stage_that_failed(request) {
        line += Mrkdwn::fixed(" at stage ") + Mrkdwn::code_within(stage, 80);
    }
    line
}

fn stage_list(request: &DeployRequest) -> Mrkdwn {
    let Some(execution) = super::status(request).and_then(|status| status.execution.as_ref())
    else {
        return Mrkdwn::default();
    };
    let ended = super::phase(request).is_terminal();
    let shown: Vec<&StageStatus> = execution
        .stages
        .iter()
        .filter(|stage| !ended || Progress::of(stage) != Progress::Ahead)
        .collect();
    let mut lines: Vec<Mrkdwn> = shown
        .iter()
        .take(MOST_STAGES)
        .map(|stage| line_of(stage))
        .collect();
    if shown.len() > MOST_STAGES {
        lines.push(Mrkdwn::number(shown.len() - MOST_STAGES) + " more");
    }
    Mrkdwn::join(lines, "\n")
}

fn line_of(stage: &StageStatus) -> Mrkdwn {
    let mut line = Mrkdwn::fixed(Progress::of(stage).sign())
        + " "
        + Mrkdwn::code_within(&stage.name, 80)
        + ": "
        + words::stage_word(stage);
    if let (Some(started), Some(finished)) = (&stage.started_at, &stage.finished_at)
        && let Ok(took) = finished.0.duration_since(started.0).try_into()
    {
        line += Mrkdwn::fixed(", ") + words::duration(took);
    }
    line
}

/// Whether it ended in a way that the whole channel should see.
pub fn is_bad(phase: Phase) -> bool {
    matches!(phase, Phase::Failed | Phase::Expired)
}
