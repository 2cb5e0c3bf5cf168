//! Whose yes and no count for a start, and whether they are enough. Touches nothing.

mod moving;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use self::moving::{FIXED_VERSIONS, fixed, fixed_versions};
use super::{
    access::{self, Known, Permission, Standing, Wish, is_system, quoted},
    gates::{Approval, RefusedVoice},
    moments::span,
    people::People,
    refusal::Refusal,
};
use crate::api::{
    DeployApproval, DeployRequest,
    actor::Actor,
    conditions::{self, ConditionType, Reason},
    deploy_approval::{ApprovalDecision, ApprovalSubject},
    deploy_request::{Approvals, GivenApproval, WaitingFor},
    environment::ApprovalRules,
};

/// Approvals shown in a status; the schema's bound.
const SHOWN: usize = 20;
/// Refused voices that are told of, oldest first: whoever may create approvals could otherwise fill the record.
const REFUSED: usize = 10;

/// What is to be approved.
#[derive(Debug, Clone, Copy)]
pub struct Matter<'a> {
    /// The request.
    pub request: &'a DeployRequest,
    /// The Environment's `spec.protection.approvals`.
    pub rules: Option<&'a ApprovalRules>,
    /// The digest of what would run now.
    pub digest: &'a str,
    /// What would run otherwise than the request's status says,.
    pub changes: &'a [String],
    /// Everybody.
    pub people: &'a People,
    /// Who has the verb `approve` on Environment and Application, where that could be read: whom to ask.
    pub holders: Option<&'a [String]>,
    /// Now.
    pub now: Timestamp,
}

/// One `DeployApproval`, and what its approver may now.
#[derive(Debug, Clone)]
pub struct Voice<'a> {
    /// The object.
    pub approval: &'a DeployApproval,
    /// About its approver and the verb `approve`; not looked at where [`settled`] says enough.
    pub known: Known,
}

/// Whether a `DeployApproval` counts, for its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The object's name.
    pub name: String,
    /// Whether it counts; `None` while that can't be said.
    pub counts: Option<bool>,
    /// The fixed word.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
}

/// What all voices come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Whether everybody who has to say yes did.
    pub approval: Approval,
    /// Of every `DeployApproval` for the start, whether it counts.
    pub verdicts: Vec<Verdict>,
    /// Those that don't count since whoever gave them may not.
    pub refused: Vec<RefusedVoice>,
}

/// Why a voice doesn't count, without asking what its approver may: so that needs no review.
pub fn settled(matter: &Matter<'_>, approval: &DeployApproval) -> Option<Verdict> {
    let no = |reason, message: String| {
        Some(Verdict {
            name: name(approval),
            counts: Some(false),
            reason,
            message,
        })
    };
    let Some(rules) = matter.rules else {
        return no(
            Reason::ApprovalNotNeeded,
            "nobody has to approve what this Environment gets.".to_owned(),
        );
    };
    let spec = &approval.spec;
    if matter.request.metadata.uid.as_deref() != Some(spec.request.uid.as_str()) {
        return no(
            Reason::RequestGone,
            format!(
                "it speaks of another request named {:?}, which is gone.",
                spec.request.name
            ),
        );
    }
    let Some(approver) = &spec.approver else {
        return no(
            Reason::Nobody,
            "nobody says whose word it is (spec.approver is empty); make it anew.".to_owned(),
        );
    };
    let username = &approver.username;
    if is_system(username) {
        return no(
            Reason::Nobody,
            format!("`{username}` is no person, and only people approve."),
        );
    }
    if spec.digest.as_deref() != Some(matter.digest) {
        return no(Reason::DigestChanged, digest_changed(matter, approval));
    }
    if let Some(life) = rules.expire_after
        && lapse(approval, rules, matter.now).is_some_and(|lapse| lapse <= matter.now)
    {
        return no(
            Reason::ApprovalExpired,
            format!(
                "it was good for {}, which are over; approve again.",
                span(life.into())
            ),
        );
    }
    let Some(requester) = &matter.request.spec.requester else {
        return no(Reason::Nobody, access::unstamped().message);
    };
    if !rules.requester_may_approve && matter.people.same_human(approver, requester) {
        return no(
            Reason::ApproverIsRequester,
            format!("`{username}` asked for it themselves; somebody else has to approve it."),
        );
    }
    None
}

/// Whether everybody who has to say yes did, and whose word counts.
pub fn judge(matter: &Matter<'_>, voices: &[Voice<'_>]) -> Judged {
    let mut voices: Vec<&Voice<'_>> = voices
        .iter()
        .filter(|voice| voice.approval.spec.subject == ApprovalSubject::Start)
        // What is being deleted was taken back.
        .filter(|voice| voice.approval.metadata.deletion_timestamp.is_none())
        .collect();
    voices.sort_by_key(|voice| (given_at(voice.approval, matter.now), name(voice.approval)));
    let mut counted: Vec<Counted<'_>> = Vec::new();
    let (mut verdicts, mut refused) = (Vec::new(), Vec::new());
    let (mut rejection, mut doubts) = (None, Doubts::default());
    for voice in voices {
        let verdict = settled(matter, voice.approval)
            .or_else(|| without_right(matter, &voice.known, voice.approval));
        let verdict = match (verdict, &voice.known, &voice.approval.spec.approver) {
            (Some(verdict), known, _) => {
                if let (None, Err(refusal)) = (verdict.counts, known) {
                    let doubt = match voice.approval.spec.decision {
                        ApprovalDecision::Approve => &mut doubts.yes,
                        ApprovalDecision::Reject => &mut doubts.no,
                    };
                    doubt.get_or_insert_with(|| refusal.clone());
                }
                verdict
            }
            (None, Ok(standing), Some(approver)) => count(
                matter,
                voice.approval,
                standing,
                approver,
                &mut counted,
                &mut rejection,
            ),
            // Neither can be: what is settled or has no right was told apart above.
            (None, _, _) => continue,
        };
        let barred = matches!(
            verdict.reason,
            Reason::ApproverIsRequester | Reason::ApproverNotAuthorized | Reason::Nobody
        );
        if barred && verdict.counts == Some(false) && refused.len() < REFUSED {
            refused.push(RefusedVoice {
                by: voice
                    .approval
                    .spec
                    .approver
                    .as_ref()
                    .map(|actor| actor.username.clone()),
                at: given_at(voice.approval, matter.now),
                why: verdict.message.clone(),
            });
        }
        verdicts.push(verdict);
    }
    let again = matter.rules.and_then(|rules| {
        counted
            .iter()
            .filter_map(|counted| lapse(counted.approval, rules, matter.now))
            .min()
    });
    Judged {
        approval: approval(matter, &counted, rejection, doubts, &verdicts, again),
        verdicts,
        refused,
    }
}

/// A yes that counts.
struct Counted<'a> {
    approval: &'a DeployApproval,
    approver: &'a Actor,
    standing: &'a Standing,
}

/// Why it can't be said of a voice whether it counts.
#[derive(Default)]
struct Doubts {
    yes: Option<Refusal>,
    no: Option<Refusal>,
}

/// Why a voice doesn't count since its approver may not, or can't be said to.
fn without_right(matter: &Matter<'_>, known: &Known, approval: &DeployApproval) -> Option<Verdict> {
    let verdict = |counts, reason, message| {
        Some(Verdict {
            name: name(approval),
            counts,
            reason,
            message,
        })
    };
    let standing = match known {
        Ok(standing) => standing,
        Err(refusal) if refusal.waiting_for.is_some() => {
            return verdict(None, refusal.reason, refusal.message.clone());
        }
        Err(refusal) => return verdict(Some(false), refusal.reason, refusal.message.clone()),
    };
    let username = &standing.subject.username;
    if let Permission::Refused(missing) = &standing.permission {
        let message = wish(matter).refused(username, missing);
        return verdict(Some(false), Reason::ApproverNotAuthorized, message);
    }
    let groups = matter
        .rules
        .map(|rules| rules.groups.as_slice())
        .unwrap_or_default();
    if asked_by_automation(matter.request)
        && !groups
            .iter()
            .any(|group| standing.subject.groups.contains(group))
    {
        let whose = if groups.is_empty() {
            "the Environment's spec.protection.approvals.groups, which names none".to_owned()
        } else {
            quoted(groups)
        };
        let message = format!(
            "Not allowed: automation asked for it, so only members of {whose} approve it, and `{username}` is in none of them."
        );
        return verdict(Some(false), Reason::ApproverNotAuthorized, message);
    }
    None
}

/// A voice that nothing forbids: a no ends it; a yes counts once for each human.
fn count<'a>(
    matter: &Matter<'_>,
    approval: &'a DeployApproval,
    standing: &'a Standing,
    approver: &'a Actor,
    counted: &mut Vec<Counted<'a>>,
    rejection: &mut Option<(String, String)>,
) -> Verdict {
    let username = &standing.subject.username;
    let verdict = |counts, reason, message| Verdict {
        name: name(approval),
        counts: Some(counts),
        reason,
        message,
    };
    if approval.spec.decision == ApprovalDecision::Reject {
        let comment = approval.spec.comment.clone().unwrap_or_default();
        rejection.get_or_insert_with(|| (username.clone(), comment));
        return verdict(true, Reason::Counts, format!("`{username}` said no."));
    }
    if let Some(earlier) = counted
        .iter()
        .find(|earlier| matter.people.same_human(earlier.approver, approver))
    {
        return verdict(
            false,
            Reason::SamePerson,
            format!(
                "`{username}` and `{}`, whose approval {:?} counts, are one human; somebody else has to approve it too.",
                earlier.standing.subject.username,
                name(earlier.approval)
            ),
        );
    }
    counted.push(Counted {
        approval,
        approver,
        standing,
    });
    verdict(true, Reason::Counts, format!("`{username}` said yes."))
}

fn approval(
    matter: &Matter<'_>,
    counted: &[Counted<'_>],
    rejection: Option<(String, String)>,
    doubts: Doubts,
    verdicts: &[Verdict],
    again: Option<Timestamp>,
) -> Approval {
    let Some(rules) = matter.rules else {
        return Approval::NotNeeded;
    };
    if let Some((by, comment)) = rejection {
        return Approval::Rejected { by, comment };
    }
    let missing_groups: Vec<String> = rules
        .groups
        .iter()
        .filter(|group| {
            !counted
                .iter()
                .any(|counted| counted.standing.subject.groups.contains(group))
        })
        .cloned()
        .collect();
    let required = rules.required.max(1);
    let approvals = Approvals {
        required,
        given: counted
            .iter()
            .take(SHOWN)
            .map(|counted| GivenApproval {
                name: name(counted.approval),
                by: counted.standing.subject.username.clone(),
                at: Time(given_at(counted.approval, matter.now)),
                comment: counted.approval.spec.comment.clone(),
            })
            .collect(),
        missing_groups: missing_groups.clone(),
        until: again.map(Time),
    };
    let automation = asked_by_automation(matter.request);
    let enough = u32::try_from(counted.len()).unwrap_or(u32::MAX) >= required
        && missing_groups.is_empty()
        && !(automation && rules.groups.is_empty());
    // A no that may count stops it however many said yes; one yes more is no news where enough did.
    let doubt = doubts.no.or(doubts.yes.filter(|_| !enough));
    if let Some(unknown) = doubt {
        let message = format!(
            "whether somebody's word on it counts can't be said: {}",
            unknown.message
        );
        return Approval::Missing(
            approvals,
            Refusal {
                message,
                waiting_for: Some(WaitingFor::Authorization),
                ..unknown
            },
        );
    }
    if enough {
        return Approval::Enough(approvals);
    }
    let (subject, message) = if automation && rules.groups.is_empty() {
        (
            WaitingFor::Configuration,
            format!(
                "automation asked for it, so members of certain groups have to approve it, and spec.protection.approvals.groups of Environment `{}` names none; who owns the Environment can add them.",
                matter.request.spec.environment
            ),
        )
    } else {
        (
            WaitingFor::Approval,
            asked(matter, rules, &approvals, verdicts),
        )
    };
    Approval::Missing(
        approvals,
        Refusal::passing(subject, Reason::ApprovalMissing, message),
    )
}

/// Who is still asked, and what became of approvals of something else.
fn asked(
    matter: &Matter<'_>,
    rules: &ApprovalRules,
    approvals: &Approvals,
    verdicts: &[Verdict],
) -> String {
    let given: BTreeSet<&str> = approvals
        .given
        .iter()
        .map(|given| given.by.as_str())
        .collect();
    let given = if given.is_empty() {
        String::new()
    } else {
        let names: Vec<String> = given.into_iter().map(|name| format!("`{name}`")).collect();
        format!(" ({})", names.join(", "))
    };
    let whose = if approvals.missing_groups.is_empty() {
        String::new()
    } else {
        format!(
            " Somebody of {} has to be among them.",
            quoted(&approvals.missing_groups)
        )
    };
    let other = if rules.requester_may_approve {
        ""
    } else {
        ", not being who asked,"
    };
    let changed = verdicts
        .iter()
        .find(|verdict| verdict.reason == Reason::DigestChanged)
        .map(|verdict| format!(" An earlier approval no longer counts: {}", verdict.message))
        .unwrap_or_default();
    format!(
        "{} of {} approvals are there{given}; whoever has the verb `approve` on Environment `{}` and Application `{}`{other} can give one. {}{whose}{changed}",
        approvals.given.len(),
        approvals.required,
        matter.request.spec.environment,
        matter.request.spec.application,
        wish(matter).ask(),
    )
}

/// That what would run has changed, and what of it, where that is known: now, or from when it was first found.
fn digest_changed(matter: &Matter<'_>, approval: &DeployApproval) -> String {
    let resolved = matter
        .request
        .status
        .as_ref()
        .and_then(|status| status.resolved.as_ref());
    let before = resolved.is_some_and(|resolved| {
        approval.spec.digest.as_ref() == Some(&resolved.digest) && resolved.digest != matter.digest
    });
    if before && !matter.changes.is_empty() {
        return format!(
            "what would run has changed since ({}); look at it and approve again.",
            matter.changes.join(", ")
        );
    }
    let told = approval.status.as_ref().and_then(|status| {
        conditions::find(&status.conditions, ConditionType::Counts)
            .filter(|condition| condition.reason == Reason::DigestChanged.to_string())
            .map(|condition| condition.message.clone())
    });
    told.unwrap_or_else(|| match approval.spec.digest {
        Some(_) => "what would run has changed since, or never was this; look at it and approve again.".to_owned(),
        None => "it does not say what it approves; spec.digest has to be status.resolved.digest of the request.".to_owned(),
    })
}

/// When an approval lapses, if ever.
fn lapse(approval: &DeployApproval, rules: &ApprovalRules, now: Timestamp) -> Option<Timestamp> {
    let life = std::time::Duration::from(rules.expire_after?);
    // A life that leads past the end of time is one without end.
    given_at(approval, now).checked_add(life).ok()
}

fn given_at(approval: &DeployApproval, now: Timestamp) -> Timestamp {
    approval
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(now, |time| time.0)
}

fn name(approval: &DeployApproval) -> String {
    approval.metadata.name.clone().unwrap_or_default()
}

fn asked_by_automation(request: &DeployRequest) -> bool {
    request
        .spec
        .requester
        .as_ref()
        .is_some_and(|requester| is_system(&requester.username))
}

fn wish<'a>(matter: &Matter<'a>) -> Wish<'a> {
    Wish::of(matter.request, access::APPROVE, matter.holders)
}

#[cfg(test)]
#[path = "approvals_tests.rs"]
mod tests;
