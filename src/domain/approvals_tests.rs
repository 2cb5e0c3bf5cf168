//! Every kind of voice, and what voices come to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    api::Person,
    domain::access::{Missing, Subject},
};

const DIGEST: &str = "d1";
const FLUX: &str = "system:serviceaccount:flux-system:kustomize-controller";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub(super) fn rules(change: &Value) -> ApprovalRules {
    let mut rules = json!({"required": 2});
    for (name, value) in change.as_object().unwrap() {
        rules[name] = value.clone();
    }
    serde_json::from_value(rules).unwrap()
}

fn request(requester: Option<&str>) -> DeployRequest {
    let mut object = json!({
        "metadata": {"name": "r", "namespace": "shop", "uid": "u-1"},
        "spec": {"application": "checkout", "environment": "production"},
        "status": {"resolved": {
            "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p"},
            "target": {"account": "eks", "namespace": "shop"}, "deployTarget": "t", "digest": "d0",
        }},
    });
    if let Some(requester) = requester {
        object["spec"]["requester"] = json!({"username": requester});
    }
    serde_json::from_value(object).unwrap()
}

/// One human has two names, and is `erin` and `erin@corp.example`.
fn people() -> People {
    let person = json!({
        "metadata": {"name": "erin", "namespace": "ns"},
        "spec": {"usernames": ["erin", "erin@corp.example"]},
    });
    let person: Person = serde_json::from_value(person).unwrap();
    People::new("ns", [Arc::new(person)])
}

/// A yes by somebody, so many seconds ago; `change` is merged into its spec.
fn yes(name: &str, by: &str, seconds: i64, change: &Value) -> DeployApproval {
    let at = now() - jiff::SignedDuration::from_secs(seconds);
    let mut spec = json!({
        "request": {"name": "r", "uid": "u-1"}, "decision": "Approve", "digest": DIGEST, "approver": {"username": by},
    });
    for (field, value) in change.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let object = json!({
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": at.to_string()}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as what judging takes")]
fn may(groups: &[&str]) -> Known {
    Ok(standing(
        groups,
        Permission::Granted("RBAC: allowed".to_owned()),
    ))
}

fn standing(groups: &[&str], permission: Permission) -> Standing {
    Standing {
        subject: Subject {
            // As who it is, `judged` fills in.
            username: String::new(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        },
        permission,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as what judging takes")]
fn may_not() -> Known {
    let missing = Missing {
        verb: "approve".to_owned(),
        resource: "environments",
        name: "production".to_owned(),
    };
    Ok(standing(&[], Permission::Refused(vec![missing])))
}

fn unknown() -> Known {
    Err(Refusal::passing(
        WaitingFor::Authorization,
        Reason::GroupsUnknown,
        "nothing is known.",
    ))
}

fn judged(requester: &str, rules: &ApprovalRules, voices: &[(DeployApproval, Known)]) -> Judged {
    judged_of(&request(Some(requester)), Some(rules), voices)
}

fn judged_of(
    request: &DeployRequest,
    rules: Option<&ApprovalRules>,
    voices: &[(DeployApproval, Known)],
) -> Judged {
    let people = people();
    let matter = Matter {
        request,
        rules,
        digest: DIGEST,
        changes: &["the pipeline's definition".to_owned()],
        people: &people,
        holders: None,
        now: now(),
    };
    let voices: Vec<Voice<'_>> = voices
        .iter()
        .map(|(approval, known)| Voice {
            approval,
            known: known.clone().map(|mut standing| {
                let approver = approval.spec.approver.as_ref();
                standing.subject.username = approver
                    .map(|approver| approver.username.clone())
                    .unwrap_or_default();
                standing
            }),
        })
        .collect();
    judge(&matter, &voices)
}

fn verdicts(judged: &Judged) -> Vec<(&str, Option<bool>, Reason)> {
    judged
        .verdicts
        .iter()
        .map(|verdict| (verdict.name.as_str(), verdict.counts, verdict.reason))
        .collect()
}

/// Who is counted, and whether that is enough.
fn given(judged: &Judged) -> (bool, Vec<&str>) {
    match &judged.approval {
        Approval::Enough(approvals) => (
            true,
            approvals
                .given
                .iter()
                .map(|given| given.by.as_str())
                .collect(),
        ),
        Approval::Missing(approvals, _) => (
            false,
            approvals
                .given
                .iter()
                .map(|given| given.by.as_str())
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

fn missing(judged: &Judged) -> &Refusal {
    match &judged.approval {
        Approval::Missing(_, refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_of_voice_counts_or_says_why_not() {
    let cases: [(&str, DeployApproval, Known, Option<bool>, Reason); 13] = [
        (
            "a yes",
            yes("a", "bob", 1, &json!({})),
            may(&[]),
            Some(true),
            Reason::Counts,
        ),
        (
            "for another request",
            yes(
                "a",
                "bob",
                1,
                &json!({"request": {"name": "r", "uid": "u-0"}}),
            ),
            may(&[]),
            Some(false),
            Reason::RequestGone,
        ),
        (
            "nobody's",
            yes("a", "bob", 1, &json!({"approver": null})),
            may(&[]),
            Some(false),
            Reason::Nobody,
        ),
        (
            "automation's",
            yes("a", FLUX, 1, &json!({})),
            may(&[]),
            Some(false),
            Reason::Nobody,
        ),
        (
            "of something else",
            yes("a", "bob", 1, &json!({"digest": "d0"})),
            may(&[]),
            Some(false),
            Reason::DigestChanged,
        ),
        (
            "of nothing",
            yes("a", "bob", 1, &json!({"digest": null})),
            may(&[]),
            Some(false),
            Reason::DigestChanged,
        ),
        (
            "too old",
            yes("a", "bob", 600, &json!({})),
            may(&[]),
            Some(false),
            Reason::ApprovalExpired,
        ),
        (
            "nearly too old",
            yes("a", "bob", 599, &json!({})),
            may(&[]),
            Some(true),
            Reason::Counts,
        ),
        (
            "who asked",
            yes("a", "ALICE", 1, &json!({})),
            may(&[]),
            Some(false),
            Reason::ApproverIsRequester,
        ),
        (
            "without the verb",
            yes("a", "bob", 1, &json!({})),
            may_not(),
            Some(false),
            Reason::ApproverNotAuthorized,
        ),
        (
            "not known",
            yes("a", "bob", 1, &json!({})),
            unknown(),
            None,
            Reason::GroupsUnknown,
        ),
        (
            "nobody any more",
            yes("a", "bob", 1, &json!({})),
            Err(Refusal::permanent(Reason::Nobody, "gone.")),
            Some(false),
            Reason::Nobody,
        ),
        (
            "stamped long ago",
            yes("a", "bob", 1, &json!({})),
            Err(Refusal::permanent(Reason::IdentityStale, "old.")),
            Some(false),
            Reason::IdentityStale,
        ),
    ];
    for decision in ["Approve", "Reject"] {
        for (name, voice, known, counts, reason) in &cases {
            let mut voice = voice.clone();
            if decision == "Reject" {
                voice.spec.decision = ApprovalDecision::Reject;
                voice.spec.comment = Some("no".to_owned());
            }
            let rules = rules(&json!({"expireAfter": "10m", "required": 1}));
            let judged = judged("alice", &rules, &[(voice.clone(), known.clone())]);
            assert_eq!(
                verdicts(&judged),
                [("a", *counts, *reason)],
                "{decision} {name}"
            );
            assert!(
                judged.verdicts[0].message.ends_with('.'),
                "{}",
                judged.verdicts[0].message
            );
            match (decision, counts) {
                ("Approve", Some(true)) => {
                    assert!(matches!(judged.approval, Approval::Enough(_)), "{name}");
                }
                ("Reject", Some(true)) => assert!(
                    matches!(judged.approval, Approval::Rejected { .. }),
                    "{name}"
                ),
                (_, None) => assert_eq!(
                    missing(&judged).waiting_for,
                    Some(WaitingFor::Authorization),
                    "{name}"
                ),
                _ => {
                    assert_eq!(given(&judged), (false, Vec::new()), "{decision} {name}");
                    assert_eq!(
                        missing(&judged).waiting_for,
                        Some(WaitingFor::Approval),
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_needs_no_review_is_told_without_one() {
    let people = people();
    let request = request(Some("alice"));
    let rules = rules(&json!({}));
    let matter = Matter {
        request: &request,
        rules: Some(&rules),
        digest: DIGEST,
        changes: &[],
        people: &people,
        holders: None,
        now: now(),
    };
    assert_eq!(settled(&matter, &yes("a", "bob", 1, &json!({}))), None);
    let own = settled(&matter, &yes("a", "alice", 1, &json!({}))).unwrap();
    assert_eq!(
        (own.counts, own.reason),
        (Some(false), Reason::ApproverIsRequester)
    );
}

#[test]
fn nobody_has_to_say_yes_where_no_rules_are() {
    let no = yes(
        "a",
        "bob",
        1,
        &json!({"decision": "Reject", "comment": "no"}),
    );
    let judged = judged_of(&request(Some("alice")), None, &[(no, may(&[]))]);
    assert_eq!(judged.approval, Approval::NotNeeded);
    assert_eq!(
        verdicts(&judged),
        [("a", Some(false), Reason::ApprovalNotNeeded)]
    );
}

#[test]
fn as_many_humans_as_are_required_and_each_once() {
    let rules = rules(&json!({}));
    let voices = [
        (yes("b", "erin@corp.example", 20, &json!({})), may(&[])),
        (yes("c", "ERIN", 10, &json!({})), may(&[])),
        (
            yes(
                "a",
                "erin",
                30,
                &json!({"decision": "Approve", "digest": "d0"}),
            ),
            may(&[]),
        ),
    ];
    let judged_one = judged("alice", &rules, &voices);
    assert_eq!(given(&judged_one), (false, vec!["erin@corp.example"]));
    assert_eq!(
        verdicts(&judged_one),
        [
            ("a", Some(false), Reason::DigestChanged),
            ("b", Some(true), Reason::Counts),
            ("c", Some(false), Reason::SamePerson)
        ]
    );
    let bob = (yes("d", "bob", 5, &json!({})), may(&[]));
    let judged_two = judged("alice", &rules, &[voices.as_slice(), &[bob]].concat());
    assert_eq!(given(&judged_two), (true, vec!["erin@corp.example", "bob"]));
}

#[test]
fn an_earlier_word_that_does_not_count_bars_no_later_one_of_the_same_human() {
    let rules = rules(&json!({"required": 1}));
    let voices = [
        (yes("a", "erin", 20, &json!({})), may_not()),
        (yes("b", "erin@corp.example", 10, &json!({})), may(&[])),
    ];
    assert_eq!(
        given(&judged("alice", &rules, &voices)),
        (true, vec!["erin@corp.example"])
    );
}

#[test]
fn who_asked_may_say_yes_only_where_the_rules_let_them_and_under_no_other_name() {
    let voice = [(yes("a", "erin@corp.example", 1, &json!({})), may(&[]))];
    let strict = rules(&json!({"required": 1}));
    assert_eq!(
        verdicts(&judged("erin", &strict, &voice)),
        [("a", Some(false), Reason::ApproverIsRequester)]
    );
    let lenient = rules(&json!({"required": 1, "requesterMayApprove": true}));
    assert_eq!(
        given(&judged("erin", &lenient, &voice)),
        (true, vec!["erin@corp.example"])
    );
    let nobody = judged_of(&request(None), Some(&lenient), &voice);
    assert_eq!(
        verdicts(&nobody),
        [("a", Some(false), Reason::Nobody)],
        "nobody says who asked"
    );
}

#[test]
fn a_no_ends_it_however_many_said_yes_before_and_whoever_said_yes_may_say_no() {
    let rules = rules(&json!({"required": 1}));
    let no = json!({"decision": "Reject", "comment": "the disks are full"});
    let voices = [
        (yes("a", "bob", 30, &json!({})), may(&[])),
        (yes("b", "carol", 20, &json!({})), may(&[])),
        (yes("c", "bob", 10, &no), may(&[])),
    ];
    let rejected = judged("alice", &rules, &voices).approval;
    assert_eq!(
        rejected,
        Approval::Rejected {
            by: "bob".to_owned(),
            comment: "the disks are full".to_owned()
        }
    );
    let stranger = [voices[0].clone(), (yes("c", "mallory", 10, &no), may_not())];
    assert!(
        given(&judged("alice", &rules, &stranger)).0,
        "a stranger's no stops nothing"
    );
    let perhaps = [voices[0].clone(), (yes("c", "dave", 10, &no), unknown())];
    let judged = judged("alice", &rules, &perhaps);
    assert_eq!(
        given(&judged),
        (false, vec!["bob"]),
        "it could be the no of somebody who may"
    );
    assert_eq!(
        missing(&judged).waiting_for,
        Some(WaitingFor::Authorization)
    );
}

#[test]
fn a_yes_in_doubt_holds_up_only_what_still_needs_one() {
    let voices = [
        (yes("a", "bob", 30, &json!({})), may(&[])),
        (yes("b", "dave", 20, &json!({})), unknown()),
    ];
    for (required, enough) in [(1, true), (2, false)] {
        let judged = judged("alice", &rules(&json!({"required": required})), &voices);
        assert_eq!(given(&judged), (enough, vec!["bob"]));
        assert_eq!(judged.verdicts[1].counts, None);
    }
}

#[test]
fn what_is_being_deleted_counts_no_more() {
    let mut no = yes("b", "dave", 20, &json!({"decision": "Reject"}));
    no.metadata.deletion_timestamp = Some(Time(now()));
    let judged = judged("alice", &rules(&json!({})), &[(no, may(&[]))]);
    assert_eq!(given(&judged), (false, Vec::new()));
}

#[test]
fn of_each_group_somebody_has_to_be_among_them() {
    let rules = rules(&json!({"groups": ["okta:sre", "okta:qa"]}));
    let bob = (yes("a", "bob", 30, &json!({})), may(&["okta:sre"]));
    let carol = (
        yes("b", "carol", 20, &json!({})),
        may(&["okta:sre", "okta:dev"]),
    );
    let dave = (yes("c", "dave", 10, &json!({})), may(&["okta:qa"]));
    let two = judged("alice", &rules, &[bob.clone(), carol.clone()]);
    assert_eq!(given(&two), (false, vec!["bob", "carol"]));
    let Approval::Missing(approvals, refusal) = &two.approval else {
        panic!("{two:?}")
    };
    assert_eq!(approvals.missing_groups, ["okta:qa"]);
    assert!(
        refusal
            .message
            .contains("Somebody of `okta:qa` has to be among them."),
        "{}",
        refusal.message
    );
    assert!(given(&judged("alice", &rules, &[bob, dave])).0);
}

#[test]
fn what_automation_asks_for_is_approved_by_the_named_groups_alone() {
    let bob = (yes("a", "bob", 30, &json!({})), may(&["okta:sre"]));
    let carol = (yes("b", "carol", 20, &json!({})), may(&["okta:dev"]));
    let none = rules(&json!({"required": 1}));
    let nobody = judged(FLUX, &none, std::slice::from_ref(&bob));
    assert_eq!(given(&nobody), (false, Vec::new()));
    assert_eq!(
        missing(&nobody).waiting_for,
        Some(WaitingFor::Configuration)
    );
    assert!(missing(&nobody).message.contains("approvals.groups"));
    let named = rules(&json!({"groups": ["okta:sre"]}));
    let one = judged(FLUX, &named, &[bob, carol]);
    assert_eq!(given(&one), (false, vec!["bob"]));
    assert_eq!(
        verdicts(&one)[1],
        ("b", Some(false), Reason::ApproverNotAuthorized)
    );
    let system = judged(
        FLUX,
        &named,
        &[(yes("a", FLUX, 1, &json!({})), may(&["okta:sre"]))],
    );
    assert_eq!(
        given(&system),
        (false, Vec::new()),
        "it can't approve itself"
    );
}

#[test]
fn the_first_that_lapses_is_when_to_look_again() {
    let rules = rules(&json!({"expireAfter": "10m"}));
    let voices = [
        (yes("a", "bob", 100, &json!({})), may(&[])),
        (yes("b", "carol", 400, &json!({})), may(&[])),
        (yes("c", "dave", 590, &json!({})), may_not()),
    ];
    let judged = judged("alice", &rules, &voices);
    assert_eq!(given(&judged), (true, vec!["carol", "bob"]), "oldest first");
    let first = now() + std::time::Duration::from_secs(200);
    let Approval::Enough(approvals) = judged.approval else {
        panic!()
    };
    assert_eq!(approvals.until, Some(Time(first)));
}

#[test]
fn a_life_that_never_ends_lapses_never() {
    let rules = rules(&json!({"expireAfter": "99999999h", "required": 1}));
    let judged = judged(
        "alice",
        &rules,
        &[(yes("a", "bob", 1, &json!({})), may(&[]))],
    );
    assert!(matches!(judged.approval, Approval::Enough(given) if given.until.is_none()));
}

#[test]
fn what_changed_is_said_where_it_is_known_and_stays_said() {
    let rules = rules(&json!({}));
    let message = |approval: DeployApproval| {
        let judged = judged("alice", &rules, &[(approval, may(&[]))]);
        let refusal = missing(&judged).message.clone();
        (judged.verdicts[0].message.clone(), refusal)
    };
    let (known, refusal) = message(yes("a", "bob", 1, &json!({"digest": "d0"})));
    assert_eq!(
        known,
        "what would run has changed since (the pipeline's definition); look at it and approve again."
    );
    assert!(refusal.contains(&known), "{refusal}");
    let mut told = yes("a", "bob", 1, &json!({"digest": "of before"}));
    assert!(
        message(told.clone())
            .0
            .starts_with("what would run has changed since, or never was this")
    );
    told.status = Some(serde_json::from_value(json!({"conditions": [{
        "type": "Counts", "status": "False", "reason": "DigestChanged", "message": known.clone(),
        "lastTransitionTime": "2026-11-22T12:00:00Z",
    }]})).unwrap());
    assert_eq!(message(told).0, known);
}

#[test]
fn judgments_are_no_approvals_of_a_start() {
    let judgment = yes("a", "bob", 1, &json!({"for": "Judgment"}));
    let rules = rules(&json!({"required": 1}));
    let judged = judged("alice", &rules, &[(judgment, may(&[]))]);
    assert_eq!(given(&judged), (false, Vec::new()));
    assert_eq!(judged.verdicts, Vec::new());
}

#[test]
fn refused_words_are_told_but_not_without_end() {
    let voices: Vec<(DeployApproval, Known)> = (0..30)
        .map(|number| {
            (
                yes(&format!("a{number:02}"), "mallory", 60 - number, &json!({})),
                may_not(),
            )
        })
        .collect();
    let judged = judged("alice", &rules(&json!({})), &voices);
    assert_eq!((judged.verdicts.len(), judged.refused.len()), (30, REFUSED));
    assert_eq!(judged.refused[0].by.as_deref(), Some("mallory"));
    assert!(
        judged.refused[0].why.starts_with(
            "Not allowed: `mallory` has no verb `approve` on Environment `production`"
        )
    );
}

#[test]
fn a_status_shows_no_more_than_it_can_hold() {
    let voices: Vec<(DeployApproval, Known)> = (0..50)
        .map(|number| {
            (
                yes(
                    &format!("a{number}"),
                    &format!("person-{number}"),
                    1,
                    &json!({}),
                ),
                may(&[]),
            )
        })
        .collect();
    let judged = judged("alice", &rules(&json!({"required": 10})), &voices);
    assert_eq!((given(&judged).0, given(&judged).1.len()), (true, SHOWN));
}
