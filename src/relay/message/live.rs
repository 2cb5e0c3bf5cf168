//! The live message: one for each request, from its first word to its last. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use reqwest::Url;

use super::{
    super::purpose::Purpose,
    about_earlier, approval,
    changes::{self, Length},
    gates, marked, overriding,
    words::{self, Progress},
};
use crate::{
    api::{
        Application, DeployRequest,
        conditions::{self, ConditionType},
        deploy_request::{DeployRequestStatus, EarlierMessage, Failure, Phase, StageStatus},
    },
    domain::access,
    slack::{
        actions,
        blocks::{Actions, Block, Message, RichText, Section},
        elements::{Button, Confirm, Element, Style},
        text::Mrkdwn,
    },
};

/// Stages shown by name; of more, those that run or failed, and how many are done.
const MOST_STAGES: usize = 8;
/// The most characters of a failure's text.
pub(super) const MOST_FAILURE: usize = 600;

/// Where the request stands, and what can be done about it.
pub fn live(
    request: &DeployRequest,
    application: Option<&Application>,
    earlier: Option<EarlierMessage>,
) -> Message {
    let first = words::first_line(request);
    let status = super::status(request);
    let mut blocks = vec![Block::section(first.clone())];
    blocks.extend(overriding::blocks(request));
    blocks.push(Section::of_fields(fields(request, application)).into());
    if let Some(reason) = &request.spec.reason {
        blocks.push(RichText::new().quote(reason).into());
    }
    blocks.extend(changes::blocks(request, application, Length::Short));
    blocks.extend(status.and_then(stage_line).map(Block::section));
    let held = gates::blocks(request);
    if held.is_empty() {
        blocks.extend(status.into_iter().flat_map(waits));
    }
    blocks.extend(held);
    blocks.extend(canceling(request));
    blocks.extend(rejection(request));
    blocks.extend(failure(request));
    blocks.extend(gates::hold(request));
    blocks.extend(rerun(request));
    blocks.extend(about_earlier(earlier));
    blocks.push(Block::context([origin(request)]));
    let buttons = buttons(request, application);
    if !buttons.is_empty() {
        blocks.push(Actions::new(buttons).id("request").into());
    }
    marked(
        Message::new(sentence(request, first), blocks),
        request,
        &Purpose::Live,
    )
}

/// What a phone shows: the first line, and on failure where it failed.
fn sentence(request: &DeployRequest, first: Mrkdwn) -> Mrkdwn {
    match stage_that_failed(request) {
        Some(stage) => first + " at stage " + Mrkdwn::code_within(stage, 80),
        None => first,
    }
}

fn fields(request: &DeployRequest, application: Option<&Application>) -> Vec<Mrkdwn> {
    let spec = &request.spec;
    let status = super::status(request);
    let resolved = status.and_then(|status| status.resolved.as_ref());
    let mut fields = Vec::new();
    let mut field = |title: &'static str, value: Option<Mrkdwn>| {
        if let Some(value) = value {
            fields.push(Mrkdwn::fixed("*") + title + "*\n" + value);
        }
    };
    let requester = spec.requester.as_ref();
    field(
        "Asked by",
        Some(requester.map_or_else(
            || Mrkdwn::fixed("nobody named"),
            |requester| Mrkdwn::code(&requester.username),
        )),
    );
    field("Version", changes::version(request, application));
    field(
        "Pipeline",
        resolved.map(|resolved| Mrkdwn::code_within(&resolved.pipeline.name, 80)),
    );
    field(
        "Where",
        resolved.map(|resolved| {
            let place = &resolved.target;
            Mrkdwn::code_within(&place.account, 80)
                + " / "
                + Mrkdwn::code_within(&place.namespace, 80)
        }),
    );
    field(
        "Approvals",
        status
            .and_then(|status| status.approvals.as_deref())
            .map(approval::count),
    );
    let started = status.and_then(|status| status.started_at.as_ref());
    match started {
        Some(started) => field("Started", Some(Mrkdwn::date(started.0))),
        None => {
            let date = |at: Option<Time>| at.map(|at| Mrkdwn::date(at.0));
            field("Asked", date(request.creation_timestamp()));
            field("Not before", date(spec.not_before.clone()));
            field("Start before", date(spec.start_before.clone()));
        }
    }
    field(
        "Ended",
        status
            .and_then(|status| status.finished_at.as_ref())
            .map(|finished| Mrkdwn::date(finished.0)),
    );
    field("Took", status.and_then(words::took));
    fields
}

/// The stages by sign and name, or where there are many, how far it is.
fn stage_line(status: &DeployRequestStatus) -> Option<Mrkdwn> {
    let stages = &status.execution.as_ref()?.stages;
    if stages.is_empty() {
        return None;
    }
    let named = |stage: &StageStatus| {
        Mrkdwn::fixed(Progress::of(stage).sign()) + " " + Mrkdwn::code_within(&stage.name, 60)
    };
    if stages.len() <= MOST_STAGES {
        return Some(Mrkdwn::join(stages.iter().map(named), "  "));
    }
    let done = stages
        .iter()
        .filter(|stage| matches!(Progress::of(stage), Progress::Done | Progress::Skipped))
        .count();
    let now = stages
        .iter()
        .filter(|stage| matches!(Progress::of(stage), Progress::Running | Progress::Bad))
        .take(MOST_STAGES)
        .map(named);
    let count = Mrkdwn::number(done) + " of " + Mrkdwn::number(stages.len()) + " stages done";
    Some(Mrkdwn::join(std::iter::once(count).chain(now), "  "))
}

/// What it waits for, and who can do something about it.
fn waits(status: &DeployRequestStatus) -> Vec<Block> {
    let Some(waiting) = &status.waiting else {
        return Vec::new();
    };
    let mut small = vec![
        Mrkdwn::fixed("Waits since ") + Mrkdwn::date(waiting.since.0),
        Mrkdwn::fixed(words::who_can(waiting.subject)),
    ];
    if let Some(until) = &waiting.until {
        small.insert(1, Mrkdwn::fixed("Gives up ") + Mrkdwn::date(until.0));
    }
    vec![
        RichText::new().sentence(&capital(&waiting.message)).into(),
        Block::context(small),
    ]
}

fn canceling(request: &DeployRequest) -> Option<Block> {
    let cancel = request.spec.cancel.as_ref()?;
    if !access::is_canceled(request) {
        let conditions = &super::status(request)?.conditions;
        let refused = conditions::find(conditions, ConditionType::Cancelable)?;
        return Some(RichText::new().line(&capital(&refused.message)).into());
    }
    let reason = cancel.reason.as_deref().unwrap_or_default();
    let by = cancel.by.as_ref().map(|by| by.username.as_str());
    let said = match (super::phase(request).is_terminal(), by) {
        (true, None) if reason.trim().is_empty() => return None,
        (true, None) => "Asked to end it".to_owned(),
        (true, Some(by)) => format!("{by} asked to end it"),
        (false, None) => "It was asked to end".to_owned(),
        (false, Some(by)) => format!("{by} asked it to end"),
    };
    let note = match reason.trim() {
        "" => said + ".",
        reason => format!("{said}: {reason}"),
    };
    Some(RichText::new().line(&note).into())
}

/// Who said no, and why.
pub(super) fn rejection(request: &DeployRequest) -> Vec<Block> {
    let Some(decision) = approval::rejection(request) else {
        return Vec::new();
    };
    let why = decision
        .why
        .as_ref()
        .map(|why| RichText::new().quote(why).into());
    std::iter::once(Block::section(approval::rejected_by(decision)))
        .chain(why)
        .collect()
}

/// What went wrong, as far as it is known.
pub(super) fn failure(request: &DeployRequest) -> Vec<Block> {
    if !matches!(
        super::phase(request),
        Phase::Failed | Phase::Expired | Phase::Canceled | Phase::Denied | Phase::Unknown
    ) {
        return Vec::new();
    }
    // Who said no is told in its own block.
    if approval::rejection(request).is_some() {
        return Vec::new();
    }
    let Some(status) = super::status(request) else {
        return Vec::new();
    };
    let known = status
        .execution
        .as_ref()
        .and_then(|execution| execution.failure.as_ref());
    match known {
        Some(Failure { stage, message }) => {
            let title = match stage {
                Some(stage) => Mrkdwn::fixed("*Failed stage* ") + Mrkdwn::code_within(stage, 120),
                None => Mrkdwn::fixed("*What went wrong*"),
            };
            vec![Block::section(
                title + "\n" + Mrkdwn::code_block(useful(message), MOST_FAILURE),
            )]
        }
        // A wait says the same in its own block.
        None if status.waiting.is_some() => Vec::new(),
        None => status
            .message
            .as_ref()
            .map(|message| RichText::new().line(&capital(message)).into())
            .into_iter()
            .collect(),
    }
}

/// The text from its first line that says anything.
fn useful(message: &str) -> &str {
    let blank = |line: &str| !line.chars().any(char::is_alphanumeric);
    let mut rest = message;
    while let Some((line, after)) = rest.split_once('\n') {
        if !blank(line) {
            break;
        }
        rest = after;
    }
    rest
}

pub(super) fn stage_that_failed(request: &DeployRequest) -> Option<&str> {
    if super::phase(request) != Phase::Failed {
        return None;
    }
    let execution = super::status(request)?.execution.as_ref()?;
    execution.failure.as_ref()?.stage.as_deref()
}

fn rerun(request: &DeployRequest) -> Option<Block> {
    let execution = super::status(request)?.execution.as_ref()?;
    let word = execution.rerun.as_ref()?;
    let note = Mrkdwn::fixed("Somebody restarted it in Spinnaker after its end; there it is ")
        + Mrkdwn::code_within(word, 40)
        + ". What stands above is how it ended first.";
    Some(Block::section(note))
}

/// By which name it is found with kubectl.
pub(super) fn origin(request: &DeployRequest) -> Mrkdwn {
    let namespace = request.namespace().unwrap_or_default();
    Mrkdwn::fixed("Request ") + Mrkdwn::code(&format!("{namespace}/{}", request.name_any()))
}

/// Only those that do something now.
fn buttons(request: &DeployRequest, application: Option<&Application>) -> Vec<Element> {
    let mut buttons: Vec<Element> = Vec::new();
    if let Some(url) = execution_url(request) {
        buttons.push(
            Button::new(actions::LINK, "Open in Spinnaker")
                .url(&url)
                .spoken(format!("Open {} in Spinnaker", in_words(request)))
                .into(),
        );
    }
    buttons.extend(changes::show_all(request, application));
    let cancelable = !super::phase(request).is_terminal() && !access::is_canceled(request);
    let target = actions::Target {
        namespace: request.namespace().unwrap_or_default(),
        name: request.name_any(),
        uid: request.uid().unwrap_or_default(),
    };
    if let (true, Ok(value)) = (cancelable, target.value()) {
        buttons.extend(gates::button(request, &value));
        let question = Confirm::new(
            "Cancel this?",
            words::subject(request)
                + " ends. What Spinnaker has already changed stays as it is then.",
            "Cancel it",
            "Let it go on",
        )
        .style(Style::Danger);
        buttons.push(
            Button::new(actions::REQUEST_CANCEL, "Cancel")
                .value(value)
                .style(Style::Danger)
                .spoken(format!("Cancel {}", in_words(request)))
                .confirm(question)
                .into(),
        );
    }
    buttons
}

/// Where a person can look at it, if that is a web address.
pub(super) fn execution_url(request: &DeployRequest) -> Option<Url> {
    let execution = super::status(request)?.execution.as_ref()?;
    let url: Url = execution.url.as_deref()?.parse().ok()?;
    matches!(url.scheme(), "https" | "http").then_some(url)
}

/// For screen readers.
pub(super) fn in_words(request: &DeployRequest) -> String {
    let spec = &request.spec;
    format!(
        "{} of {} in {}",
        spec.action, spec.application, spec.environment
    )
}

/// Our own sentences in a status begin with a small letter, as they continue others.
pub(super) fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}
