//! Manual judgments: what a stage of a running execution asks, whose answer counts, and which is handed over. Touches
//! nothing.
//!
//! An answer is a `DeployApproval` for a judgment. Gate checks nothing of what it is given, so everything is checked here:
//! whose word it is, whether they may, the input, and above all the moment.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    access::{self, Known, Wish},
    approvals::Verdict,
    decisions,
    refusal::Refusal,
};
use crate::api::{
    DeployApproval, DeployRequest,
    conditions::{self, ConditionType, Reason},
    deploy_approval::{ApprovalDecision, JudgmentAnswer},
    deploy_request::{DecisionKind, DeployRequestStatus, GivenApproval, Judgment},
    environment::JudgmentRole,
};

/// A stage at which somebody decides whether the pipeline goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgmentStage {
    /// What it tells people and asks for; nothing but its id and name while it is [`Moment::Unread`].
    pub judgment: Judgment,
    /// Where it is.
    pub moment: Moment,
    /// What Spinnaker shows of an answer, whoever gave it and whatever became of it.
    pub shown: Option<ShownAnswer>,
    /// When somebody last restarted it.
    pub restarted_at: Option<Timestamp>,
}

/// Where a judgment stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Its turn has not come, or it is paused.
    Ahead,
    /// It runs; what it asks was not read.
    Unread,
    /// It runs and doesn't listen yet: an answer would be acknowledged and lost.
    Opening,
    /// It waits for an answer.
    Waiting,
    /// It has an answer that Spinnaker has yet to act on.
    Answered,
    /// It ended: an answer would be acknowledged, and falsify the record.
    Over,
}

impl Moment {
    /// Whether the stage runs.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Ahead | Self::Over)
    }
}

/// An answer as Spinnaker shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownAnswer {
    /// Absent where Spinnaker took it back, which it does when the account that gave it has none of the stage's roles.
    pub decision: Option<ApprovalDecision>,
    /// The input that was chosen.
    pub input: Option<String>,
    /// Spinnaker's user.
    pub by: Option<String>,
    /// The `DeployApproval`, where it came from us.
    pub approval: Option<String>,
}

/// A `DeployApproval` for a judgment, as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The object.
    pub approval: DeployApproval,
    /// About its approver and the verb `judge`, or why nobody vouches for who that is; absent where nothing waits for
    /// their answer, and nobody was asked.
    pub known: Option<Known>,
}

/// What was gathered about judgments for one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JudgmentFacts {
    /// The answers that name this request, in any order.
    pub answers: Vec<Answer>,
    /// Which group has which of the roles that stages name.
    pub roles: Vec<JudgmentRole>,
    /// Who has the verb `judge`, where that could be read: whom to ask.
    pub holders: Option<Vec<String>>,
}

/// Whose judgments are weighed.
#[derive(Debug, Clone, Copy)]
pub struct Matter<'a> {
    /// The request.
    pub request: &'a DeployRequest,
    /// Its execution.
    pub execution: &'a str,
    /// The judgment stages of that.
    pub stages: &'a [JudgmentStage],
    /// What was gathered.
    pub facts: &'a JudgmentFacts,
}

/// An answer that is to be handed to Spinnaker. Safe to repeat: it says the same again.
#[derive(Debug, Clone, PartialEq)]
pub struct Handover {
    /// The stage, as people see it.
    pub stage: Judgment,
    /// The `DeployApproval` that counts.
    pub approval: DeployApproval,
    /// What it answers.
    pub answer: JudgmentAnswer,
    /// As whom its author counts.
    pub by: String,
}

impl Handover {
    /// The answer for the request's status.
    pub fn given(&self) -> GivenApproval {
        GivenApproval {
            name: name(&self.approval).to_owned(),
            by: self.by.clone(),
            at: Time(created(&self.approval)),
            comment: self.approval.spec.comment.clone(),
        }
    }
}

/// What all answers come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weighed {
    /// The answer that counts, of a stage that runs.
    pub counted: Option<Handover>,
    /// Where that stage is.
    pub moment: Option<Moment>,
    /// Spinnaker took that answer and took it back: the account that gave it has none of the stage's roles there.
    pub turned_away: bool,
    /// What is said of each answer.
    pub verdicts: Vec<Verdict>,
}

/// Weighs all answers against the judgment stages of the request's execution.
///
/// The first one that counts wins: by creation, then by name. One that was handed over (`held`, its name) stays the
/// winner as long as it counts, since Spinnaker may have it.
pub fn weigh(matter: Matter<'_>, held: Option<&str>) -> Weighed {
    let mut answers: Vec<&Answer> = matter.facts.answers.iter().collect();
    // What is being deleted was taken back.
    answers.retain(|answer| answer.approval.metadata.deletion_timestamp.is_none());
    answers.sort_by_key(|answer| {
        let name = name(&answer.approval);
        (held != Some(name), created(&answer.approval), name)
    });
    let mut weighed = Weighed::default();
    let mut winners: Vec<Handover> = Vec::new();
    for answer in answers {
        let approval = &answer.approval;
        let word = match standing(matter, answer) {
            Err(word) => word,
            Ok((stage, handover)) => match winners
                .iter()
                .find(|first| first.answer.stage == handover.answer.stage)
            {
                Some(first) => Word::No(
                    Reason::JudgmentOver,
                    format!("`{}` answered first: {}.", first.by, words(&first.approval)),
                ),
                None => {
                    let turned_away = is_turned_away(stage, approval);
                    // What can be handed over comes before what only waits for Spinnaker.
                    let better =
                        stage.moment == Moment::Waiting && weighed.moment != Some(Moment::Waiting);
                    if weighed.counted.is_none() || better {
                        weighed.counted = Some(handover.clone());
                        weighed.moment = Some(stage.moment);
                        weighed.turned_away = turned_away;
                    }
                    winners.push(handover);
                    Word::Yes(if turned_away {
                        taken_back(stage)
                    } else {
                        format!("{}, which is handed to Spinnaker.", words(approval))
                    })
                }
            },
        };
        weighed.verdicts.extend(word.about(approval));
    }
    weighed
}

/// What is said of an answer to a request that has ended, or is to be cancelled, where Spinnaker doesn't show otherwise:
/// nothing, if that was settled.
pub fn too_late(stages: &[JudgmentStage], approval: &DeployApproval) -> Option<Verdict> {
    if let Some(stage) = stage_of(stages, approval)
        && stage.moment == Moment::Over
    {
        return over(stage, approval).about(approval);
    }
    if was_said(approval, "True") {
        return None;
    }
    let message = "the request has ended or is to be cancelled, and takes no answer any more.";
    Word::No(Reason::JudgmentOver, message.to_owned()).about(approval)
}

/// Whether it was said of an answer that it counts (`True`), or doesn't (`False`).
fn was_said(approval: &DeployApproval, status: &str) -> bool {
    approval.status.as_ref().is_some_and(|known| {
        conditions::find(&known.conditions, ConditionType::Counts)
            .is_some_and(|condition| condition.status == status)
    })
}

/// Whether it could be an answer to a stage that runs, so that it matters whether its author may.
pub fn is_wanted(execution: &str, stages: &[JudgmentStage], approval: &DeployApproval) -> bool {
    let named = approval.spec.judgment.as_ref();
    named.is_some_and(|named| named.execution == execution)
        && stage_of(stages, approval).is_some_and(|stage| stage.moment.is_open())
}

fn stage_of<'a>(
    stages: &'a [JudgmentStage],
    approval: &DeployApproval,
) -> Option<&'a JudgmentStage> {
    let named = approval.spec.judgment.as_ref()?;
    stages
        .iter()
        .find(|stage| stage.judgment.stage == named.stage)
}

/// The stage that waits for it and what it is to be told, or what else is to be said.
fn standing<'a>(
    matter: Matter<'a>,
    answer: &Answer,
) -> Result<(&'a JudgmentStage, Handover), Word> {
    let approval = &answer.approval;
    let no = |reason, message| Err(Word::No(reason, message));
    let wait = |reason, message| Err(Word::Unknown(reason, message));
    let Some(named) = &approval.spec.judgment else {
        return no(
            Reason::Invalid,
            "it names no judgment: spec.judgment has the execution and the stage.".to_owned(),
        );
    };
    let execution = matter.execution;
    if named.execution != execution {
        let message = format!(
            "it answers execution {}, and the request's is {execution}.",
            named.execution
        );
        return no(Reason::JudgmentOver, message);
    }
    let Some(stage) = stage_of(matter.stages, approval) else {
        let message = format!(
            "execution {execution} has no manual judgment stage {}; status.judgment.stage of the request has the id of the one that waits.",
            named.stage
        );
        return no(Reason::JudgmentOver, message);
    };
    let name = &stage.judgment.name;
    let before = stage
        .restarted_at
        .is_some_and(|restarted| created(approval) < restarted);
    if before && stage.moment != Moment::Over {
        let message = format!("stage {name:?} was restarted since; it takes a new answer.");
        return no(Reason::JudgmentOver, message);
    }
    let otherwise = stage.shown.as_ref().is_some_and(|shown| {
        shown.decision.is_some() && stage.moment == Moment::Answered && !is_shown(stage, approval)
    });
    match stage.moment {
        Moment::Over => return Err(over(stage, approval)),
        Moment::Answered if otherwise => return Err(over(stage, approval)),
        Moment::Ahead => {
            let message = format!("stage {name:?} does not wait for it yet.");
            return wait(Reason::Accepted, message);
        }
        Moment::Unread => {
            let message = format!("what stage {name:?} asks is being looked at.");
            return wait(Reason::Accepted, message);
        }
        Moment::Opening | Moment::Waiting | Moment::Answered => {}
    }
    let Some(known) = &answer.known else {
        let message = "whether its author may judge is being looked at.";
        return wait(Reason::Accepted, message.to_owned());
    };
    let by = may_judge(matter, &stage.judgment, known)?;
    is_offered(&stage.judgment, approval.spec.decision, named)?;
    let handover = Handover {
        stage: stage.judgment.clone(),
        approval: approval.clone(),
        answer: named.clone(),
        by,
    };
    Ok((stage, handover))
}

/// As whom its author counts.
fn may_judge(matter: Matter<'_>, stage: &Judgment, known: &Known) -> Result<String, Word> {
    let facts = matter.facts;
    let wish = Wish::of(matter.request, access::JUDGE, facts.holders.as_deref());
    let word = |refusal: Refusal| match refusal.reason {
        reason if refusal.waiting_for.is_some() => Word::Unknown(reason, refusal.message),
        Reason::NotAuthorized => Word::No(Reason::ApproverNotAuthorized, refusal.message),
        reason => Word::No(reason, refusal.message),
    };
    let standing = known.as_ref().map_err(|refusal| word(refusal.clone()))?;
    access::judge(wish, known, &stage.roles, &facts.roles).map_err(word)?;
    Ok(standing.subject.username.clone())
}

/// Whoever lets it go on says with which input; whoever stops it may.
fn is_offered(
    stage: &Judgment,
    decision: ApprovalDecision,
    answer: &JudgmentAnswer,
) -> Result<(), Word> {
    let (name, offered) = (&stage.name, stage.inputs.join(", "));
    let problem = match &answer.input {
        Some(input) if stage.inputs.contains(input) => return Ok(()),
        Some(input) if stage.inputs.is_empty() => {
            format!("stage {name:?} takes no input, and it says {input:?}.")
        }
        Some(input) => format!("stage {name:?} takes one of {offered}, and not {input:?}."),
        None if stage.inputs.is_empty() || decision == ApprovalDecision::Reject => return Ok(()),
        None => format!("stage {name:?} wants one of its inputs named: {offered}."),
    };
    Err(Word::No(
        Reason::InputNotOffered,
        format!("{problem} Delete it and answer again."),
    ))
}

/// Whether what Spinnaker shows is this answer. Our mark alone doesn't say so: whoever answers in Deck leaves it there.
fn is_shown(stage: &JudgmentStage, approval: &DeployApproval) -> bool {
    let (Some(shown), Some(named)) = (&stage.shown, &approval.spec.judgment) else {
        return false;
    };
    shown.approval.as_deref() == Some(name(approval))
        && shown.decision == Some(approval.spec.decision)
        && (named.input.is_none() || shown.input == named.input)
}

fn is_turned_away(stage: &JudgmentStage, approval: &DeployApproval) -> bool {
    stage.moment == Moment::Waiting
        && stage.shown.as_ref().is_some_and(|shown| {
            shown.decision.is_none() && shown.approval.as_deref() == Some(name(approval))
        })
}

/// What is said of an answer that Spinnaker took back.
fn taken_back(stage: &JudgmentStage) -> String {
    let by = stage.shown.as_ref().and_then(|shown| shown.by.as_deref());
    format!(
        "Spinnaker took the answer and took it back, as its account {} has none of the roles {} there. Spinnaker's operators can give it one, or somebody answers in Spinnaker.",
        by.unwrap_or("that Foredeck logs in with"),
        stage.judgment.roles.join(", ")
    )
}

fn over(stage: &JudgmentStage, approval: &DeployApproval) -> Word {
    let name = &stage.judgment.name;
    if is_shown(stage, approval) {
        return Word::Yes(format!(
            "{}: so stage {name:?} was answered.",
            words(approval)
        ));
    }
    match &stage.shown {
        Some(shown) if shown.decision.is_some() => Word::No(
            Reason::JudgmentOver,
            format!("stage {name:?} was answered: {}.", shown.words()),
        ),
        // Read without what it was answered: that was said when it was read last.
        _ if was_said(approval, "True") || was_said(approval, "False") => Word::AsItWas,
        _ => Word::No(Reason::JudgmentOver, format!("stage {name:?} is over.")),
    }
}

impl ShownAnswer {
    /// `continue (input "eu"), by carol in Spinnaker`.
    fn words(&self) -> String {
        let by = self
            .by
            .as_deref()
            .map(|by| format!(", by {by} in Spinnaker"))
            .unwrap_or_default();
        format!("{}{by}", answered(self.decision, self.input.as_deref()))
    }
}

/// `continue (input "eu")`.
fn words(approval: &DeployApproval) -> String {
    let named = approval.spec.judgment.as_ref();
    let input = named.and_then(|named| named.input.as_deref());
    answered(Some(approval.spec.decision), input)
}

fn answered(decision: Option<ApprovalDecision>, input: Option<&str>) -> String {
    let verdict = match decision {
        Some(ApprovalDecision::Approve) => "continue",
        Some(ApprovalDecision::Reject) => "stop",
        None => "no verdict",
    };
    match input {
        Some(input) => format!("{verdict} (input {input:?})"),
        None => verdict.to_owned(),
    }
}

fn name(approval: &DeployApproval) -> &str {
    approval.metadata.name.as_deref().unwrap_or_default()
}

fn created(approval: &DeployApproval) -> Timestamp {
    let time = approval.metadata.creation_timestamp.as_ref();
    time.map_or(Timestamp::MIN, |time| time.0)
}

/// Whether an answer counts.
enum Word {
    Yes(String),
    No(Reason, String),
    Unknown(Reason, String),
    /// Nothing new is known.
    AsItWas,
}

impl Word {
    fn about(self, approval: &DeployApproval) -> Option<Verdict> {
        let (counts, reason, message) = match self {
            Self::Yes(message) => (Some(true), Reason::Counts, message),
            Self::No(reason, message) => (Some(false), reason, message),
            Self::Unknown(reason, message) => (None, reason, message),
            Self::AsItWas => return None,
        };
        Some(Verdict {
            name: name(approval).to_owned(),
            counts,
            reason,
            message,
        })
    }
}

// === What a request remembers ===

/// Writes down who answers what, before it is handed over: Spinnaker's own record can be overwritten by anybody.
pub fn mark(status: &mut DeployRequestStatus, handover: &Handover, now: Timestamp) {
    let judgment = Judgment {
        answer: Some(handover.given()),
        ..handover.stage.clone()
    };
    status.judgment = Some(Box::new(judgment));
    let why = format!(
        "{} at stage {:?}, by DeployApproval {}",
        words(&handover.approval),
        handover.stage.name,
        name(&handover.approval)
    );
    remember(status, Some(&handover.by), &why, now);
}

/// The judgment that a request shows is over: it shows it no longer, and remembers an answer that was not ours.
pub fn close(status: &mut DeployRequestStatus, stages: &[JudgmentStage], now: Timestamp) {
    let Some(known) = &status.judgment else {
        return;
    };
    let Some(stage) = stages
        .iter()
        .find(|stage| stage.judgment.stage == known.stage && stage.moment == Moment::Over)
    else {
        return;
    };
    let ours = known.answer.as_ref().map(|answer| &answer.name);
    let theirs = stage.shown.as_ref().filter(|shown| {
        shown.decision.is_some() && (shown.approval.is_none() || shown.approval.as_ref() != ours)
    });
    let why = theirs.map(|shown| format!("{} at stage {:?}", shown.words(), known.name));
    status.judgment = None;
    if let Some(why) = why {
        remember(status, None, &why, now);
    }
}

fn remember(status: &mut DeployRequestStatus, by: Option<&str>, why: &str, now: Timestamp) {
    let known = status.decisions.iter().any(|known| {
        known.what == DecisionKind::Judged
            && known.by.as_deref() == by
            && known.why.as_deref() == Some(why)
    });
    if !known {
        decisions::remember(status, DecisionKind::Judged, by, why, now);
    }
}

#[cfg(test)]
#[path = "judgment_tests.rs"]
mod tests;
