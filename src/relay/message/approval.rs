//! The answer in the thread that asks people to approve, from the first question to what they said. Touches nothing.

use kube::ResourceExt;

use super::{
    super::purpose::Purpose,
    about_earlier,
    changes::{self, Length},
    live, marked, words,
};
use crate::{
    api::{
        Application, DeployRequest, Environment,
        deploy_request::{
            Approvals, DecisionKind, DecisionRecord, EarlierMessage, GivenApproval, Phase,
        },
        environment::ApprovalRules,
    },
    domain::access,
    slack::{
        actions::{self, Question, Target},
        blocks::{Actions, Block, Message, RichText, Section},
        elements::{Button, Confirm, Element, Style, Value},
        text::Mrkdwn,
    },
};

/// The most characters of all parameters, and of all that people said: Slack takes some 13,000 in one message, and without
/// its blocks it would lose its buttons.
const MOST_TEXT: usize = 2500;
/// The most characters of a parameter's value.
const MOST_VALUE: usize = 120;
/// The most characters of what somebody said.
const MOST_COMMENT: usize = 200;

/// How it stands with the approvals.
enum Standing<'a> {
    /// People are asked.
    Asked,
    /// Enough of them said yes.
    Enough,
    /// Somebody said no.
    Rejected(&'a DecisionRecord),
    /// Nobody is asked any more, or for now.
    Over,
}

/// Who reads the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Everybody in the channel.
    Channel,
    /// Who asked, in a direct message.
    RequesterOnly,
}

/// Asks people to approve it, or tells what became of that. While it asks it mentions whom the Environment names; Slack
/// notifies them when it is posted, and of no change. Where only who asked reads it nobody is mentioned, there are buttons
/// only if they may approve it themselves, and it says how others do.
pub fn approval(
    request: &DeployRequest,
    environment: Option<&Environment>,
    application: Option<&Application>,
    readers: Readers,
    earlier: Option<EarlierMessage>,
) -> Message {
    let standing = standing(request);
    let rules = rules(environment);
    let asked = matches!(standing, Standing::Asked);
    let line = first_line(request, &standing);
    let alone = readers == Readers::RequesterOnly;
    let line = match rules
        .map(mentions)
        .filter(|mentions| asked && !alone && !mentions.is_empty())
    {
        Some(mentions) => mentions + " " + line,
        None => line,
    };
    let mut blocks = vec![Block::section(line.clone())];
    if asked {
        blocks.push(Section::of_fields(facts(request, application)).into());
        if let Some(reason) = &request.spec.reason {
            blocks.push(RichText::new().quote(reason).into());
        }
        blocks.extend(changes::blocks(request, application, Length::Whole));
        blocks.extend(Block::sections(&parameters(request)));
    }
    if let Standing::Rejected(decision) = standing {
        blocks.extend(
            decision
                .why
                .as_ref()
                .map(|why| RichText::new().quote(why).into()),
        );
    }
    blocks.extend(Block::sections(&given(request)));
    if asked {
        blocks.extend(Block::sections(&who_may(request, rules)));
        if alone {
            blocks.push(Block::section(by_kubectl(request)));
        }
        blocks.push(Block::context(until(request)));
        let own = rules.is_some_and(|rules| rules.requester_may_approve);
        let mut buttons = buttons(request)
            .filter(|_| own || !alone)
            .unwrap_or_default();
        buttons.extend(changes::show_all(request, application));
        if !buttons.is_empty() {
            blocks.push(Actions::new(buttons).id("approval").into());
        }
    }
    blocks.extend(about_earlier(earlier));
    marked(Message::new(line, blocks), request, &Purpose::Approval)
}

/// `1 of 2`, and who.
pub(super) fn count(approvals: &Approvals) -> Mrkdwn {
    let mut line =
        Mrkdwn::number(approvals.given.len()) + " of " + Mrkdwn::number(approvals.required);
    if !approvals.given.is_empty() {
        line += Mrkdwn::fixed(" approved by ") + names(&approvals.given);
    }
    line
}

/// Who said no, when and why.
pub(super) fn rejection(request: &DeployRequest) -> Option<&DecisionRecord> {
    let decisions = &super::status(request)?.decisions;
    let denied = super::phase(request) == Phase::Denied;
    let mut rejections = decisions.iter().rev();
    rejections.find(|decision| denied && decision.what == DecisionKind::Rejected)
}

/// `Rejected by `bob@corp.example`, today 10:03`.
pub(super) fn rejected_by(decision: &DecisionRecord) -> Mrkdwn {
    let by = decision.by.as_deref().unwrap_or_default();
    Mrkdwn::fixed("Rejected by ") + Mrkdwn::code_within(by, 80) + ", " + Mrkdwn::date(decision.at.0)
}

fn approvals(request: &DeployRequest) -> Option<&Approvals> {
    super::status(request)?.approvals.as_deref()
}

fn rules(environment: Option<&Environment>) -> Option<&ApprovalRules> {
    environment?.spec.protection.approvals.as_ref()
}

/// Whether people are asked to approve it now.
pub fn is_asked(request: &DeployRequest) -> bool {
    super::phase(request) == Phase::AwaitingApproval && !access::is_canceled(request)
}

fn standing(request: &DeployRequest) -> Standing<'_> {
    if is_asked(request) {
        return Standing::Asked;
    }
    if let Some(decision) = rejection(request) {
        return Standing::Rejected(decision);
    }
    let enough = approvals(request).is_some_and(|approvals| {
        approvals.required > 0
            && approvals.given.len() >= usize::try_from(approvals.required).unwrap_or(usize::MAX)
    });
    let asked_again = matches!(
        super::phase(request),
        Phase::Pending | Phase::AwaitingApproval
    );
    if enough && !asked_again {
        Standing::Enough
    } else {
        Standing::Over
    }
}

fn first_line(request: &DeployRequest, standing: &Standing<'_>) -> Mrkdwn {
    let subject = words::subject(request);
    match standing {
        Standing::Asked => {
            let count = approvals(request).map(|approvals| {
                Mrkdwn::fixed(", ")
                    + Mrkdwn::number(approvals.given.len())
                    + " of "
                    + Mrkdwn::number(approvals.required)
                    + " so far"
            });
            Mrkdwn::fixed("✋ ") + subject + ": needs approval" + count.unwrap_or_default()
        }
        Standing::Enough => {
            let by = approvals(request).map(|approvals| names(&approvals.given));
            Mrkdwn::fixed("✅ ") + subject + ": approved by " + by.unwrap_or_default()
        }
        Standing::Rejected(decision) => {
            let by = decision.by.as_deref().unwrap_or_default();
            Mrkdwn::fixed("⛔ ") + subject + ": rejected by " + Mrkdwn::code_within(by, 80)
        }
        Standing::Over => words::first_line(request) + "; nobody is asked to approve it now",
    }
}

fn names(given: &[GivenApproval]) -> Mrkdwn {
    let names = given.iter().map(|one| Mrkdwn::code_within(&one.by, 80));
    Mrkdwn::join(names, ", ")
}

fn mentions(rules: &ApprovalRules) -> Mrkdwn {
    let mentions = rules.mention.iter().filter_map(|id| {
        let group = id.parse().map(|group| Mrkdwn::group(&group));
        let user = || id.parse().map(|user| Mrkdwn::user(&user));
        group.or_else(|_| user()).ok()
    });
    Mrkdwn::join(mentions, " ")
}

/// What exactly is to run, and who wants it.
fn facts(request: &DeployRequest, application: Option<&Application>) -> Vec<Mrkdwn> {
    let spec = &request.spec;
    let titled = |title: &'static str, value: Mrkdwn| Mrkdwn::fixed("*") + title + "*\n" + value;
    let requester = match &spec.requester {
        Some(requester) => Mrkdwn::code(&requester.username),
        None => Mrkdwn::fixed("nobody named"),
    };
    let mut facts = vec![
        titled("Application", Mrkdwn::name(&spec.application)),
        titled("Environment", Mrkdwn::name(&spec.environment)),
        titled("Asked by", requester),
        titled("Action", Mrkdwn::name(&spec.action)),
    ];
    let version = changes::version(request, application);
    facts.extend(version.map(|version| titled("Version", version)));
    if let Some(resolved) = super::status(request).and_then(|status| status.resolved.as_ref()) {
        facts.push(titled(
            "Pipeline",
            Mrkdwn::code_within(&resolved.pipeline.name, 80),
        ));
        let place = &resolved.target;
        let place = Mrkdwn::code_within(&place.account, 80)
            + " / "
            + Mrkdwn::code_within(&place.namespace, 80);
        facts.push(titled("Where", place));
    }
    facts
}

/// What is sent to the pipeline; secret values are masked where it was resolved.
fn parameters(request: &DeployRequest) -> Mrkdwn {
    let resolved = super::status(request).and_then(|status| status.resolved.as_ref());
    let Some(parameters) = resolved
        .map(|resolved| &resolved.parameters)
        .filter(|parameters| !parameters.is_empty())
    else {
        return Mrkdwn::default();
    };
    let lines = parameters.iter().map(|(name, value)| {
        Mrkdwn::code_within(name, 80) + " = " + Mrkdwn::code_within(value, MOST_VALUE)
    });
    let all = Mrkdwn::fixed("*Parameters*\n") + Mrkdwn::join(lines, "\n");
    let shown = all.clone().cut(MOST_TEXT);
    if shown == all {
        return all;
    }
    shown + "\nAll of them stand in the request's `status.resolved.parameters`."
}

/// Who said yes so far, when, and what they said.
fn given(request: &DeployRequest) -> Mrkdwn {
    let given = approvals(request).map(|approvals| approvals.given.as_slice());
    let lines = given.unwrap_or_default().iter().map(|one| {
        let line =
            Mrkdwn::fixed("✅ ") + Mrkdwn::code_within(&one.by, 80) + ", " + Mrkdwn::date(one.at.0);
        match one
            .comment
            .as_deref()
            .filter(|comment| !comment.trim().is_empty())
        {
            Some(comment) => line + ": " + Mrkdwn::code_within(comment, MOST_COMMENT),
            None => line,
        }
    });
    Mrkdwn::join(lines, "\n").cut(MOST_TEXT)
}

/// Whose word counts, by which rule.
fn who_may(request: &DeployRequest, rules: Option<&ApprovalRules>) -> Mrkdwn {
    let mut text = Mrkdwn::fixed("Whoever has the verb `approve` on application ")
        + Mrkdwn::name(&request.spec.application)
        + " and on environment "
        + Mrkdwn::name(&request.spec.environment)
        + " may say yes or no";
    text += match rules {
        Some(rules) if rules.requester_may_approve => ", who asked for it too.",
        _ => ", but not who asked for it.",
    };
    let groups = rules
        .map(|rules| rules.groups.as_slice())
        .unwrap_or_default();
    if !groups.is_empty() {
        let groups = groups.iter().map(|group| Mrkdwn::code_within(group, 80));
        text += Mrkdwn::fixed(" Somebody of each of these has to be among them: ")
            + Mrkdwn::join(groups, ", ")
            + ".";
    }
    let missing = approvals(request).map(|approvals| approvals.missing_groups.as_slice());
    let missing = missing.unwrap_or_default();
    if !missing.is_empty() {
        let missing = missing.iter().map(|group| Mrkdwn::code_within(group, 80));
        text += Mrkdwn::fixed(" Still missing: ") + Mrkdwn::join(missing, ", ") + ".";
    }
    text
}

/// How it is approved where Slack shows it to nobody who may.
fn by_kubectl(request: &DeployRequest) -> Mrkdwn {
    let resolved = super::status(request).and_then(|status| status.resolved.as_ref());
    let digest = resolved.map(|resolved| resolved.digest.as_str());
    Mrkdwn::fixed(
        "Nobody else sees this message, so nobody else was asked in Slack. They can approve by kubectl, with a `DeployApproval` in namespace ",
    ) + Mrkdwn::code(&request.namespace().unwrap_or_default())
        + " whose `spec` holds `for: Start`, `decision: Approve`, `request.name` "
        + Mrkdwn::code(&request.name_any())
        + ", `request.uid` "
        + Mrkdwn::code(&request.uid().unwrap_or_default())
        + " and `digest` "
        + Mrkdwn::code(digest.unwrap_or_default())
        + "; `examples/approval.yaml` is one."
}

fn until(request: &DeployRequest) -> Vec<Mrkdwn> {
    let mut small = Vec::new();
    if let Some(waiting) = super::status(request).and_then(|status| status.waiting.as_ref()) {
        small.push(Mrkdwn::fixed("Waits since ") + Mrkdwn::date(waiting.since.0));
        small.extend(
            waiting
                .until
                .as_ref()
                .map(|until| Mrkdwn::fixed("Gives up ") + Mrkdwn::date(until.0)),
        );
    }
    let lapses = approvals(request).and_then(|approvals| approvals.until.as_ref());
    small.extend(lapses.map(|at| Mrkdwn::fixed("The first approval lapses ") + Mrkdwn::date(at.0)));
    small.push(live::origin(request));
    small
}

fn buttons(request: &DeployRequest) -> Option<Vec<Element>> {
    let digest = super::status(request)?.resolved.as_ref()?.digest.clone();
    let value = question(request, digest, None)?;
    let approve = Button::new(actions::APPROVE, "Approve")
        .value(value.clone())
        .style(Style::Primary)
        .spoken(format!("Approve {}", live::in_words(request)))
        .confirm(Confirm::new(
            "Approve this?",
            words::subject(request) + " may start as soon as enough people have approved it.",
            "Approve",
            "Go back",
        ));
    let reject = Button::new(actions::REJECT, "Reject")
        .value(value)
        .style(Style::Danger)
        .spoken(format!("Reject {}", live::in_words(request)));
    Some(vec![approve.into(), reject.into()])
}

/// What a button carries that asks for somebody's word.
pub(super) fn question(
    request: &DeployRequest,
    mark: String,
    answer: Option<String>,
) -> Option<Value> {
    let question = Question {
        target: Target {
            namespace: request.namespace().unwrap_or_default(),
            name: request.name_any(),
            uid: request.uid().unwrap_or_default(),
        },
        mark,
        answer,
    };
    question.value().ok()
}
