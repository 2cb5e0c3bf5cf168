//! The answer in the thread that asks people for one manual judgment, and tells what they said. Touches nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{super::purpose::Purpose, about_earlier, approval, live, marked, words};
use crate::{
    api::{
        DeployRequest, Environment,
        deploy_request::{DecisionKind, DecisionRecord, EarlierMessage, Judgment, StageStatus},
    },
    domain::{access, ids, roles},
    slack::{
        actions,
        blocks::{Actions, Block, Message, RichText},
        elements::{Button, Confirm, Element, Style},
        text::Mrkdwn,
    },
};

/// Inputs that get a button each; of more, one is chosen in a modal.
const MOST_BUTTONS: usize = 5;
/// The most characters of what somebody said.
const MOST_COMMENT: usize = 300;
/// Spinnaker's type of the stages that are judged.
const STAGE_TYPE: &str = "manualJudgment";

/// The judgment that its execution waits at, and its mark.
pub fn current(request: &DeployRequest) -> Option<(String, &Judgment)> {
    let status = super::status(request)?;
    let judgment = status.judgment.as_deref()?;
    let execution = status.execution.as_ref()?;
    let uid = request.uid().unwrap_or_default();
    let mark = ids::judgment_mark(&uid, &execution.id, &judgment.stage);
    (!super::phase(request).is_terminal()).then_some((mark, judgment))
}

/// Asks for the judgment with this mark, or tells what became of it. `since` is when it was first asked for.
pub fn judgment(
    request: &DeployRequest,
    environment: Option<&Environment>,
    mark: &str,
    since: Option<Timestamp>,
    earlier: Option<EarlierMessage>,
) -> Message {
    let found = current(request).filter(|(current, _)| current == mark);
    let (line, mut blocks) = match found {
        Some((_, judgment)) => match &judgment.answer {
            Some(answer) => {
                let line = Mrkdwn::fixed("☑️ ")
                    + of_stage(request, Some(&judgment.name))
                    + ": answered by "
                    + Mrkdwn::code_within(&answer.by, 80)
                    + ", "
                    + Mrkdwn::date(answer.at.0);
                let blocks = [
                    answer
                        .comment
                        .as_ref()
                        .map(|said| RichText::new().quote(said).into()),
                    Some(Block::context([Mrkdwn::fixed(
                        "It is being handed to Spinnaker.",
                    )])),
                ];
                (line, blocks.into_iter().flatten().collect())
            }
            None => (
                Mrkdwn::fixed("✋ ")
                    + of_stage(request, Some(&judgment.name))
                    + ": waits for a judgment",
                open(request, environment, mark, judgment),
            ),
        },
        None => over(request, since),
    };
    blocks.insert(0, Block::section(line.clone()));
    blocks.extend(about_earlier(earlier));
    let purpose = Purpose::Judgment(mark.to_owned());
    marked(Message::new(line, blocks), request, &purpose)
}

/// What goes where, and at which stage.
fn of_stage(request: &DeployRequest, stage: Option<&str>) -> Mrkdwn {
    match stage {
        Some(stage) => words::subject(request) + ", stage " + Mrkdwn::code_within(stage, 80),
        None => words::subject(request) + ", a manual judgment",
    }
}

fn open(
    request: &DeployRequest,
    environment: Option<&Environment>,
    mark: &str,
    judgment: &Judgment,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    let instructions = judgment.instructions.as_deref().unwrap_or_default();
    if !instructions.trim().is_empty() {
        blocks.push(RichText::new().quote(instructions).into());
    }
    if access::is_canceled(request) {
        let note = "It was asked to end; nobody is asked to judge it any more.";
        blocks.push(Block::section(Mrkdwn::fixed(note)));
        return blocks;
    }
    let groups = roles::judging_groups(&judgment.roles, environment);
    let elsewhere = groups
        .as_ref()
        .is_some_and(std::collections::BTreeSet::is_empty);
    let named = |all: &mut dyn Iterator<Item = &str>| {
        Mrkdwn::join(all.take(10).map(|one| Mrkdwn::code_within(one, 80)), ", ")
    };
    let roles = named(&mut judgment.roles.iter().map(String::as_str));
    let who = if elsewhere {
        Mrkdwn::fixed("The stage asks for one of the roles ")
            + roles
            + ", and environment "
            + Mrkdwn::name(&request.spec.environment)
            + " maps no group to them (`spec.protection.judgmentRoles`): it can be answered in Spinnaker only."
    } else {
        let mut who = Mrkdwn::fixed("Whoever has the verb `judge` on application ")
            + Mrkdwn::name(&request.spec.application)
            + " and on environment "
            + Mrkdwn::name(&request.spec.environment);
        if let Some(groups) = groups {
            who += Mrkdwn::fixed(", and is in one of the groups ")
                + named(&mut groups.into_iter())
                + ", since the stage asks for one of the roles "
                + roles
                + ",";
        }
        who + " may answer; the first answer counts."
    };
    blocks.push(Block::section(who));
    blocks.push(Block::context([live::origin(request)]));
    let mut elements = if elsewhere {
        Vec::new()
    } else {
        buttons(request, mark, judgment)
    };
    if let Some(url) = live::execution_url(request) {
        let link = Button::new(actions::LINK, "Open in Spinnaker").url(&url);
        elements.push(
            link.spoken(format!("Open {} in Spinnaker", live::in_words(request)))
                .into(),
        );
    }
    if !elements.is_empty() {
        blocks.push(Actions::new(elements).id("judgment").into());
    }
    blocks
}

fn buttons(request: &DeployRequest, mark: &str, judgment: &Judgment) -> Vec<Element> {
    let question = |answer| approval::question(request, mark.to_owned(), answer);
    let asks = |text: Mrkdwn| {
        let text = words::subject(request)
            + ", stage "
            + Mrkdwn::code_within(&judgment.name, 60)
            + ": "
            + text;
        Confirm::new("Answer this judgment?", text, "Yes", "Go back")
    };
    let mut elements: Vec<Element> = Vec::new();
    if judgment.inputs.is_empty() {
        elements.extend(question(None).map(|value| {
            Button::new(actions::JUDGE, "Continue")
                .value(value)
                .style(Style::Primary)
                .spoken(format!("Continue {}", live::in_words(request)))
                .confirm(asks(Mrkdwn::fixed("the pipeline goes on.")))
                .into()
        }));
    } else if judgment.inputs.len() <= MOST_BUTTONS {
        for (index, input) in judgment.inputs.iter().enumerate() {
            let goes_on =
                Mrkdwn::fixed("the pipeline goes on with ") + Mrkdwn::code_within(input, 80);
            elements.extend(question(Some(ids::input_mark(input))).map(|value| {
                Button::new(format!("{}-{index}", actions::JUDGE), input.as_str())
                    .value(value)
                    .spoken(format!("Continue with {input}"))
                    .confirm(asks(goes_on))
                    .into()
            }));
        }
    } else {
        elements.extend(question(None).map(|value| {
            Button::new(actions::JUDGE_CHOOSE, "Continue with …")
                .value(value)
                .style(Style::Primary)
                .spoken(format!(
                    "Choose with what to continue {}",
                    live::in_words(request)
                ))
                .into()
        }));
    }
    elements.extend(question(None).map(|value| {
        Button::new(actions::JUDGE_STOP, "Stop")
            .value(value)
            .style(Style::Danger)
            .spoken(format!("Stop {}", live::in_words(request)))
            .into()
    }));
    elements
}

/// It is no longer asked for: the status knows neither the stage's id nor its words any more, but which stage ran at that
/// time, and what was decided after it began.
fn over(request: &DeployRequest, since: Option<Timestamp>) -> (Mrkdwn, Vec<Block>) {
    let stage = since.and_then(|since| stage_at(request, since));
    let name = stage.map(|stage| stage.name.as_str());
    let begun = stage
        .and_then(|stage| stage.started_at.as_ref())
        .map(|started| started.0)
        .or(since);
    match begun.and_then(|begun| judged(request, begun)) {
        Some(decision) => {
            let by = match &decision.by {
                Some(by) => Mrkdwn::fixed("by ") + Mrkdwn::code_within(by, 80),
                None => Mrkdwn::fixed("in Spinnaker"),
            };
            let line = Mrkdwn::fixed("☑️ ")
                + of_stage(request, name)
                + ": judged "
                + by
                + ", "
                + Mrkdwn::date(decision.at.0);
            let said = decision.why.as_deref().filter(|why| !why.trim().is_empty());
            let said = said.map(|why| Block::section(Mrkdwn::code_within(why, MOST_COMMENT)));
            (line, said.into_iter().collect())
        }
        None => {
            let line = Mrkdwn::fixed("☑️ ")
                + of_stage(request, name)
                + ": nobody is asked to judge it any more";
            (line, Vec::new())
        }
    }
}

/// The judgment stage that had begun by then, the last one if there were several.
fn stage_at(request: &DeployRequest, then: Timestamp) -> Option<&StageStatus> {
    let execution = super::status(request)?.execution.as_ref()?;
    let begun = |stage: &&StageStatus| stage.started_at.as_ref().map(|started| started.0);
    let judged = execution
        .stages
        .iter()
        .filter(|stage| stage.kind == STAGE_TYPE);
    judged
        .filter(|stage| begun(stage).is_some_and(|begun| begun <= then))
        .max_by_key(begun)
}

fn judged(request: &DeployRequest, begun: Timestamp) -> Option<&DecisionRecord> {
    let decisions = &super::status(request)?.decisions;
    let mut decisions = decisions.iter();
    decisions.find(|decision| decision.what == DecisionKind::Judged && decision.at.0 >= begun)
}
