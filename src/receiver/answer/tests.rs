//! What people read, as it is; and that foreign text stays text.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cancelled, overriding, planned, reading, refusing, standing, started};
use crate::{
    access::Missing,
    api::{DeployRequest, actor::SlackPerson, gate::GateKind},
    identity::{Nobody, Person},
    receiver::grammar::{self, ApplicationRef, Vocabulary},
    receiver::{
        object::Likeness,
        occasion::{Attempted, What},
        plan::{
            Order, Plan, PlanId,
            held::{Gate, GivenUp, Held, Stop},
            repeat::Repeat,
            seal::SealError,
            shown::{Current, Differing, Needed, Problem, Shown, Wait, Warning},
        },
    },
    slack::{
        blocks::Message,
        elements::Value as Carried,
        ids::{ChannelId, TeamId, TriggerId, UserId},
    },
};

/// What somebody could write who wants to be taken for something else.
pub(super) const HOSTILE: &str =
    "`*x*` <!channel> <https://evil.example|Spinnaker>\n:white_check_mark: *Deployed*\u{202e}";

fn plan() -> Plan {
    let id = PlanId::of_command(
        &TeamId::new("T1").unwrap(),
        &TriggerId::new("1.2.x").unwrap(),
    );
    serde_json::from_value::<Order>(json!({
        "action": "deploy", "application": "checkout", "version": "main", "environment": "staging",
        "parameters": {}, "reason": null, "target": null,
    }))
    .map(|order| Plan {
        id,
        namespace: "shop".to_owned(),
        order,
        asker: SlackPerson {
            team: "T1".to_owned(),
            user: "U1".to_owned(),
        },
        place: serde_json::from_value(json!({"channel": "C1"})).unwrap(),
        asked_at: at(),
        shown: String::new(),
    })
    .unwrap()
}

pub(super) fn at() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

pub(super) fn person() -> Person {
    Person {
        username: "alice@corp.example".to_owned(),
        groups: Vec::new(),
        slack: plan().asker,
        silent: Vec::new(),
    }
}

pub(super) fn request(status: &Value) -> DeployRequest {
    serde_json::from_value(json!({
        "metadata": {"name": "slack-7f3c", "namespace": "shop", "uid": "u-1", "creationTimestamp": "2026-01-02T03:00:00Z"},
        "spec": {
            "application": "checkout", "environment": "staging", "version": "main", "action": "deploy",
            "requester": {"username": "alice@corp.example", "slack": {"team": "T1", "user": "U1"}},
        },
        "status": status,
    }))
    .unwrap()
}

pub(super) fn shown() -> Shown {
    Shown {
        namespace: "shop".to_owned(),
        action: "deploy".to_owned(),
        application: "checkout".to_owned(),
        environment: "production".to_owned(),
        place: serde_json::from_value(json!({"account": "eks-eu-2", "namespace": "shop"})).unwrap(),
        elsewhere: false,
        version: Some("v1.3".to_owned()),
        version_given: true,
        pipeline: Some("Deploy to production".to_owned()),
        commit: None,
        repository: None,
        difference: None,
        artifacts: Vec::new(),
        current: Some(Current {
            version: Some("v1.2".to_owned()),
            commit: None,
            request: "slack-0".to_owned(),
            requester: Some("bob@corp.example".to_owned()),
            since: at(),
        }),
        parameters: vec![
            Differing {
                name: "replicas".to_owned(),
                value: "3".to_owned(),
                default: Some("2".to_owned()),
                asked: true,
            },
            Differing {
                name: "branch".to_owned(),
                value: "v1.3".to_owned(),
                default: None,
                asked: false,
            },
        ],
        reason: Some("hotfix for INC-42".to_owned()),
        approvals: None,
        waits: vec![
            Wait::Held {
                request: "slack-1".to_owned(),
                version: Some("v1.2".to_owned()),
                requester: Some("bob@corp.example".to_owned()),
            },
            Wait::Line { requests: 2 },
        ],
        held: Held::default(),
        warnings: vec![Warning::SameVersion, Warning::NotDescribed],
        problems: Vec::new(),
    }
}

pub(super) fn beside(repeat: Option<Repeat<'_>>) -> planned::Beside<'_> {
    planned::Beside {
        expires: at(),
        changed: false,
        moved: None,
        repeat,
        telling: planned::Telling::Here,
    }
}

pub(super) fn buttons() -> planned::Buttons {
    let value = |text: &str| Carried::new(text).unwrap();
    planned::Buttons {
        go: value("go"),
        edit: value("edit"),
        dismiss: value("dismiss"),
        overriding: None,
    }
}

/// A message as a person reads it: its first line, then every text of its blocks.
fn read(message: &Message) -> String {
    let mut page = format!("{}\n", message.text());
    lines(&json!(message.blocks()), &mut page);
    page
}

fn lines(value: &Value, page: &mut String) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| lines(one, page)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str);
            if let Some(text) = fields.get("text").and_then(Value::as_str) {
                let sign = if kind == Some("plain_text") {
                    "[]"
                } else {
                    "|"
                };
                writeln!(page, "  {sign} {}", text.replace('\n', "\n  | ")).unwrap();
                return;
            }
            for name in ["text", "fields", "elements", "accessory"] {
                if let Some(inner) = fields.get(name) {
                    lines(inner, page);
                }
            }
        }
        _ => {}
    }
}

pub(super) fn page<'a>(messages: impl IntoIterator<Item = (&'a str, Message)>) -> String {
    messages
        .into_iter()
        .map(|(what, message)| format!("== {what}\n{}", read(&message)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A plan that a freeze and a lock hold.
fn held() -> Held {
    let gate = |gate, reason: &str, message: &str, until| Gate {
        gate,
        reason: reason.to_owned(),
        message: message.to_owned(),
        until,
    };
    Held {
        gates: vec![
            gate(
                GateKind::Time,
                "NotYet",
                "It starts 2026-01-02 22:00 UTC at the earliest.",
                Some(at()),
            ),
            gate(
                GateKind::Freeze,
                "Frozen",
                "Held: freeze `closing` in `shop` says \"year-end closing\".",
                None,
            ),
        ],
        not_before: Some(at()),
        start_before: Some(at()),
        ..Held::default()
    }
}

fn stop() -> Stop {
    Stop {
        reason: "the database is gone".to_owned(),
        by: Some("lead@corp.example".to_owned()),
        since: Some(at()),
        contact: Some("#incidents".to_owned()),
    }
}

/// Everything in it is written by others.
fn hostile_held() -> Held {
    let mut held = held();
    held.gates[1].message = HOSTILE.to_owned();
    held.stop = Some(Stop {
        reason: HOSTILE.to_owned(),
        by: Some(HOSTILE.to_owned()),
        since: None,
        contact: Some(HOSTILE.to_owned()),
    });
    held.given_up = Some(GivenUp {
        from: Some(HOSTILE.to_owned()),
        from_commit: None,
        to: Some(HOSTILE.to_owned()),
        to_commit: None,
    });
    held
}

#[test]
fn what_is_held_reads_like_this() {
    let mut frozen = shown();
    frozen.held = held();
    let mut stopped = shown();
    stopped.held.stop = Some(stop());
    let mut overridden = shown();
    overridden.held = Held {
        overriding: Some("the shop is down".to_owned()),
        ..held()
    };
    let mut back = shown();
    back.action = "rollback".to_owned();
    back.version = Some("v1.1".to_owned());
    back.held.given_up = Some(GivenUp {
        from: Some("v1.2".to_owned()),
        from_commit: Some("a".repeat(40)),
        to: Some("v1.1".to_owned()),
        to_commit: None,
    });
    let may = || planned::Buttons {
        overriding: Carried::new("override").ok(),
        ..buttons()
    };
    let fresh = request(&json!({}));
    let mut overridden_request = fresh.clone();
    overridden_request.spec.override_ = serde_json::from_value(json!({
        "reason": "the shop is down", "by": {"username": "bob@corp.example"},
    }))
    .ok();
    let missing = [Missing {
        verb: "override".to_owned(),
        resource: "environments",
        name: "production".to_owned(),
    }];
    let wish = || standing::asked(&fresh.spec);
    insta::assert_snapshot!(
        "held",
        page([
            ("held", planned::message(&frozen, &beside(None), may())),
            (
                "stopped",
                planned::message(&stopped, &beside(None), buttons())
            ),
            (
                "overridden",
                planned::message(&overridden, &beside(None), buttons())
            ),
            (
                "given up",
                planned::message(&back, &beside(None), buttons())
            ),
            ("accepted", started::accepted(&fresh, false, &held(), true)),
            ("asked", overriding::asked(&fresh)),
            ("before", overriding::before(&overridden_request, &person())),
            ("late", overriding::late(&fresh)),
            ("canceled", overriding::canceled(&fresh)),
            ("not held", overriding::not_held(&fresh)),
            ("gone", overriding::gone()),
            ("refused", overriding::refused(&fresh, "no")),
            ("unknown", overriding::unknown(&fresh, "/deploy")),
            ("no modal", overriding::no_modal()),
            (
                "not allowed",
                overriding::not_allowed(&person(), "shop", wish(), &missing, Some("#incidents")),
            ),
        ])
    );
}

#[test]
fn plans_read_like_this() {
    let running = request(&json!({"phase": "Running", "stage": "Bake", "execution": {
        "id": "01", "status": "RUNNING", "url": "https://deck.example/#/executions/01"}}));
    let ended = request(
        &json!({"phase": "Failed", "finishedAt": "2026-01-02T03:04:05Z", "execution": {
        "id": "01", "status": "TERMINAL", "failure": {"stage": "Deploy", "message": "image not found"}}}),
    );
    let channel = ChannelId::new("C0DEPLOYS").unwrap();
    let mut elsewhere = beside(None);
    elsewhere.telling = planned::Telling::Channel(channel.clone());
    elsewhere.changed = true;
    let mut outside = beside(None);
    outside.telling = planned::Telling::Direct {
        channel,
        bot: Some(UserId::new("U0BOT").unwrap()),
    };
    let mut between = beside(None);
    between.telling = planned::Telling::Direct {
        channel: ChannelId::new("D0PEOPLE").unwrap(),
        bot: None,
    };
    let mut restart = shown();
    restart.action = "restart".to_owned();
    restart.version_given = false;
    restart.current = None;
    let mut impossible = shown();
    impossible.problems = vec![Problem {
        reason: "ParameterMissing".to_owned(),
        parameter: Some("size".to_owned()),
        message: "pipeline \"Deploy\" requires parameter \"size\".".to_owned(),
    }];
    let mut protected = shown();
    protected.approvals = Some(Needed {
        people: 2,
        groups: vec!["okta:leads".to_owned()],
        asker_may: false,
    });
    let active = Some(Repeat::Active(&running));
    let over = Some(Repeat::Ended(&ended, at()));
    insta::assert_snapshot!(
        "plans",
        page([
            ("plan", planned::message(&shown(), &beside(None), buttons())),
            (
                "changed, told elsewhere",
                planned::message(&shown(), &elsewhere, buttons())
            ),
            (
                "not a member",
                planned::message(&restart, &outside, buttons())
            ),
            (
                "between people",
                planned::message(&shown(), &between, buttons())
            ),
            (
                "under way already",
                planned::message(&shown(), &beside(active), buttons())
            ),
            (
                "ended a moment ago",
                planned::message(&shown(), &beside(over), buttons())
            ),
            (
                "needs approval",
                planned::message(&protected, &beside(None), buttons())
            ),
            (
                "impossible",
                planned::impossible(&impossible, Carried::new("edit").ok())
            ),
        ])
    );
}

#[test]
fn outcomes_read_like_this() {
    let attempted = Attempted {
        namespace: "shop".to_owned(),
        name: "slack-7f3c".to_owned(),
        what: What::Request,
    };
    let word = Attempted {
        name: "approval-7f3c".to_owned(),
        what: What::Approval,
        ..attempted.clone()
    };
    let queued = request(&json!({"phase": "Queued", "waiting": {
        "for": "Queue", "message": "slack-1 is before it", "since": "2026-01-02T03:04:05Z"}}));
    let (plan, fresh) = (plan(), request(&json!({})));
    insta::assert_snapshot!(
        "outcomes",
        page([
            (
                "accepted",
                started::accepted(&fresh, true, &Held::default(), false)
            ),
            (
                "the same",
                started::existing(&queued, Likeness::Same, &plan)
            ),
            (
                "another copy",
                started::existing(&queued, Likeness::OtherCopy, &plan)
            ),
            (
                "foreign",
                started::existing(&queued, Likeness::Foreign, &plan)
            ),
            ("refused", started::refused(&plan, "spec.version: Too long")),
            ("not done", started::not_done()),
            ("unknown", started::unknown(&attempted, "/deploy")),
            ("never known", started::never_known(&attempted, "/deploy")),
            ("a word, unknown", started::unknown(&word, "/deploy")),
            ("taken away", started::dropped(&plan)),
            ("late", refusing::late()),
            ("silent", refusing::silent()),
            ("unsure", refusing::unsure("/deploy")),
        ])
    );
}

#[test]
fn refusals_read_like_this() {
    let lacking = |verb: &str| {
        [("applications", "checkout"), ("environments", "production")].map(|(resource, name)| {
            Missing {
                verb: verb.to_owned(),
                resource,
                name: name.to_owned(),
            }
        })
    };
    let error = grammar::parse("checkout main to", &Vocabulary::default()).unwrap_err();
    let plan = plan();
    let open = request(&json!({"phase": "Running"}));
    let done = request(&json!({"phase": "Succeeded", "finishedAt": "2026-01-02T03:04:05Z"}));
    insta::assert_snapshot!(
        "refusals",
        page([
            (
                "verbs",
                refusing::not_allowed(&person(), &plan, &lacking("deploy"))
            ),
            ("nobody", refusing::nobody(&Nobody::Guest.to_string())),
            (
                "unreadable",
                refusing::unreadable(&error, Carried::new("draft").ok())
            ),
            (
                "no environment",
                refusing::no_environment(&plan, &["production".to_owned()])
            ),
            (
                "channel",
                refusing::wrong_channel(&plan, &["C0OPS".to_owned()])
            ),
            ("shared channel", refusing::shared_channel(&plan)),
            ("sealed", refusing::sealed(SealError::Expired)),
            (
                "cancel: not allowed",
                cancelled::not_allowed(&person(), &open, &lacking("cancel"))
            ),
            ("cancel: late", cancelled::late(&done)),
            (
                "cancel: which",
                cancelled::which(&[open.clone(), open.clone()])
            ),
            ("cancel: asked", cancelled::asked(&open)),
            ("cancel: unknown", cancelled::unknown(&open, "/deploy")),
            (
                "which team",
                reading::which_team(
                    &ApplicationRef::bare("checkout"),
                    &["shop".to_owned(), "bank".to_owned()],
                    vec![("shop".to_owned(), Carried::new("sealed").unwrap())],
                )
            ),
            ("form", reading::open_form(Carried::new("sealed").ok())),
        ])
    );
}

/// Every text of a message that Slack parses.
pub(super) fn parsed(message: &Message) -> Vec<String> {
    let mut found = vec![message.text().as_str().to_owned()];
    markup(&json!(message.blocks()), &mut found);
    found
}

/// Every markup in there.
pub(super) fn markup(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| markup(one, found)),
        Value::Object(fields) => {
            if fields.get("type") == Some(&json!("mrkdwn")) {
                found.push(fields["text"].as_str().unwrap().to_owned());
            }
            fields.values().for_each(|one| markup(one, found));
        }
        _ => {}
    }
}

#[test]
fn foreign_text_stays_text_wherever_it_stands() {
    let hostile = HOSTILE.to_owned();
    let mut plan = plan();
    plan.namespace.clone_from(&hostile);
    plan.order.application.clone_from(&hostile);
    plan.order.environment.clone_from(&hostile);
    plan.order.version = Some(hostile.clone());
    let mut shown = shown();
    shown.namespace.clone_from(&hostile);
    shown.action.clone_from(&hostile);
    shown.application.clone_from(&hostile);
    shown.environment.clone_from(&hostile);
    shown.version = Some(hostile.clone());
    shown.pipeline = Some(hostile.clone());
    shown.reason = Some(hostile.clone());
    shown.place.account.clone_from(&hostile);
    shown.parameters[0].name.clone_from(&hostile);
    shown.parameters[0].value.clone_from(&hostile);
    shown.warnings = vec![Warning::Pipeline {
        message: hostile.clone(),
    }];
    shown.waits = vec![Wait::Held {
        request: hostile.clone(),
        version: Some(hostile.clone()),
        requester: Some(hostile.clone()),
    }];
    shown.approvals = Some(Needed {
        people: 1,
        groups: vec![hostile.clone()],
        asker_may: true,
    });
    shown.problems = vec![Problem {
        reason: String::new(),
        parameter: None,
        message: hostile.clone(),
    }];
    let mut request = request(
        &json!({"phase": "Failed", "message": HOSTILE, "stage": HOSTILE, "execution": {
        "id": HOSTILE, "status": HOSTILE, "url": "https://deck.example/|<!here>", "failure": {"message": HOSTILE}}}),
    );
    request.spec.version = Some(hostile.clone());
    request.spec.application.clone_from(&hostile);
    request.metadata.name = Some(hostile.clone());
    let error = grammar::parse(HOSTILE, &Vocabulary::default()).unwrap_err();
    let repeat = Some(Repeat::Ended(&request, at()));
    let messages = [
        planned::message(&shown, &beside(None), buttons()),
        planned::message(&shown, &beside(repeat), buttons()),
        planned::impossible(&shown, None),
        started::accepted(&request, true, &hostile_held(), true),
        started::existing(&request, Likeness::OtherCopy, &plan),
        started::refused(&plan, HOSTILE),
        refusing::unreadable(&error, None),
        refusing::no_environment(&plan, std::slice::from_ref(&hostile)),
        refusing::nobody(HOSTILE),
        cancelled::which(std::slice::from_ref(&request)),
        cancelled::refused(&request, HOSTILE),
        reading::which_team(
            &ApplicationRef::bare(HOSTILE),
            std::slice::from_ref(&hostile),
            Vec::new(),
        ),
        reading::said(standing::line(&request)),
    ];
    for message in &messages {
        for text in parsed(message) {
            assert!(!text.contains("<!channel>"), "{text}");
            assert!(!text.contains("<!here>"), "{text}");
            assert!(!text.contains("<https://evil"), "{text}");
            assert!(!text.contains('\u{202e}'), "{text}");
            // A backtick of theirs would end our code span; in a code block a line could begin anew.
            assert!(!text.contains("*x*`"), "{text}");
            let forged = text
                .lines()
                .any(|line| line.starts_with(":white_check_mark: *Deployed*"));
            assert!(!forged || text.contains("```"), "{text}");
        }
    }
}
