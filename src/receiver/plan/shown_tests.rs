//! What a plan shows of a world that is all plain data.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    super::{
        asked::Said,
        held::Held,
        repeat::Repeat,
        shown::{Shown, Step, Warning},
        tests::{now, order, request, wish},
    },
    Sights, Times, question, shown,
};
use crate::{
    api::{
        Application, DeployRequest, DeployTarget, Environment, deploy_request::Place,
        environment::Confirm, gate::GateKind, version::Relation,
    },
    domain::{guards::freeze::Freezes, ids, version::Unresolved},
};

#[path = "queue_tests.rs"]
mod queue;

struct World {
    application: Application,
    environment: Environment,
    targets: Vec<DeployTarget>,
    requests: Vec<DeployRequest>,
    freezes: Freezes,
}

fn world() -> World {
    let pipeline = json!({
        "action": "deploy", "environment": "staging", "name": "Deploy", "id": "p1",
        "parameters": [
            {"name": "branch", "required": true},
            {"name": "replicas", "default": "2"},
            {"name": "size", "default": "small", "options": ["small", "large"]},
            {"name": "ticket", "required": true},
        ],
    });
    let name = ids::target_name(
        "checkout",
        "staging",
        &Place {
            account: "eks".to_owned(),
            namespace: "shop".to_owned(),
        },
    );
    World {
        application: serde_json::from_value(json!({
            "metadata": {"name": "checkout", "namespace": "shop"},
            "spec": {"actions": {
                "deploy": {"pipeline": "Deploy", "parameters": {"branch": "{{ version }}"}},
                "rollback": {"pipeline": "Rollback", "parameters": {"to": "{{ version }}"}},
            }},
            "status": {"pipelines": [pipeline]},
        }))
        .unwrap(),
        environment: serde_json::from_value(json!({
            "metadata": {"name": "staging", "namespace": "shop"},
            "spec": {"connection": "gate", "target": {"account": "eks", "namespace": "shop"}},
        }))
        .unwrap(),
        targets: vec![
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"application": "checkout", "environment": "staging", "place": {"account": "eks", "namespace": "shop"}},
                "status": {"current": run("v1", "2026-03-01T10:00:00Z")},
            }))
            .unwrap(),
        ],
        requests: Vec::new(),
        freezes: Freezes {
            home: "home".to_owned(),
            ..Freezes::default()
        },
    }
}

fn run(version: &str, at: &str) -> Value {
    json!({
        "uid": version, "name": format!("request-{version}"), "action": "deploy", "version": version,
        "connection": "gate", "phase": "Succeeded", "reason": "Succeeded", "sentAt": at, "finishedAt": at,
    })
}

impl World {
    fn shown(&self, text: &str) -> Shown {
        self.told(text, &Said::default())
    }

    fn told(&self, text: &str, said: &Said) -> Shown {
        let times = Times {
            asked_at: now(),
            now: now(),
        };
        self.with(|sights| shown("shop", &order(text), sights, said, times))
    }

    fn with<T>(&self, judge: impl FnOnce(Sights<'_>) -> T) -> T {
        let targets: Vec<&DeployTarget> = self.targets.iter().collect();
        let requests: Vec<&DeployRequest> = self.requests.iter().collect();
        let sights = Sights {
            application: &self.application,
            environment: &self.environment,
            targets: &targets,
            requests: &requests,
            environments: &[&self.environment],
            freezes: &self.freezes,
            namespace_labels: None,
        };
        judge(sights)
    }

    fn reasons(&self, text: &str) -> Vec<String> {
        let problems = self.shown(text).problems;
        problems.into_iter().map(|problem| problem.reason).collect()
    }

    fn waiting(&mut self, name: &str) {
        self.waiting_for(name, "Queue");
    }

    fn waiting_for(&mut self, name: &str, gate: &str) {
        let target = self.targets[0].name_any();
        self.requests.push(request(
            name,
            &wish(),
            &json!({"phase": "Queued", "resolved": {
                "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p1"},
                "target": {"account": "eks", "namespace": "shop"}, "deployTarget": target, "digest": "d",
            }, "waiting": {"for": gate, "message": "it waits.", "since": "2026-03-01T11:00:00Z"}}),
        ));
    }

    fn held(&mut self) {
        let pinned = json!({
            "connection": "gate", "connectionUid": "c", "gateUrl": "https://gate", "trigger": "Start",
            "pipeline": {"application": "checkout", "name": "Deploy", "id": "p1"}, "bodyDigest": "d",
        });
        let active = json!({
            "uid": "h", "name": "holder", "key": "k", "digest": "d", "action": "deploy", "version": "v7", "sends": 1,
            "attempt": {"executionId": "e", "correlationId": "c", "holder": "p", "pinned": pinned, "claimedAt": "2026-03-01T11:00:00Z"},
        });
        let status = self.targets[0].status.as_mut().unwrap();
        status.active = Some(serde_json::from_value(active).unwrap());
    }
}

#[test]
fn a_plan_shows_what_would_change() {
    let shown =
        world().shown("checkout main to staging ticket=INC-1 size=small replicas=3 reason=why");
    assert!(shown.is_possible(), "{:?}", shown.problems);
    assert_eq!(shown.version.as_deref(), Some("main"));
    assert_eq!(
        shown.current.as_ref().unwrap().version.as_deref(),
        Some("v1")
    );
    assert_eq!(shown.pipeline.as_deref(), Some("Deploy"));
    let differing: Vec<(&str, &str, Option<&str>, bool)> = shown
        .parameters
        .iter()
        .map(|one| (&*one.name, &*one.value, one.default.as_deref(), one.asked))
        .collect();
    assert_eq!(
        differing,
        [
            ("branch", "main", None, false),
            ("replicas", "3", Some("2"), true),
            ("ticket", "INC-1", None, true),
        ]
    );
    assert_eq!((shown.waits, shown.warnings), (vec![], vec![]));
}

#[test]
fn what_the_controller_would_refuse_is_told_early() {
    let world = world();
    assert_eq!(
        world.reasons("checkout main to staging"),
        ["ParameterMissing"]
    );
    let all = world.reasons("checkout main to staging size=huge colour=red a=${x} branch=x");
    assert_eq!(
        all,
        ["ParameterUnknown"],
        "what the action sets can't be set"
    );
    let all = world.reasons("checkout main to staging size=huge colour=red replicas=${x}");
    assert_eq!(
        all,
        [
            "ParameterUnknown",
            "ExpressionRefused",
            "ParameterNotOffered",
            "ParameterMissing"
        ]
    );
    assert_eq!(
        world.reasons("checkout ${x} to staging ticket=1"),
        ["ExpressionRefused", "ExpressionRefused"],
        "as version, and as the parameter that it becomes"
    );
    assert_eq!(
        world.reasons("restart checkout to staging"),
        ["ActionNotFound"]
    );
    assert_eq!(
        world.reasons("rollback checkout in staging"),
        ["NoEarlierVersion"]
    );
    assert_eq!(
        world.reasons("checkout main to staging ticket=1 target.namespace=pr-1"),
        ["TargetNotAllowed"]
    );
}

#[test]
fn a_rollback_shows_the_version_that_it_goes_back_to() {
    let mut world = world();
    let history = json!([
        run("v1", "2026-03-01T10:00:00Z"),
        run("v0", "2026-03-01T09:00:00Z")
    ]);
    world.targets[0].status.as_mut().unwrap().history = serde_json::from_value(history).unwrap();
    let shown = world.shown("rollback checkout in staging");
    assert!(shown.is_possible(), "{:?}", shown.problems);
    assert_eq!(
        (shown.version.as_deref(), shown.version_given),
        (Some("v0"), false)
    );
    assert_eq!(shown.warnings, [Warning::NotDescribed]);
    assert!(world.shown("rollback checkout v0 in staging").is_possible());
    assert_eq!(
        world.reasons("rollback checkout v9 in staging"),
        ["NoEarlierVersion"],
        "it never ran there"
    );
}

#[test]
fn what_is_not_described_is_not_judged() {
    let mut world = world();
    let status = world.application.status.as_mut().unwrap();
    status.pipelines[0].incomplete = true;
    status.pipelines[0].parameters[2].incomplete = true;
    let shown = world.shown("checkout main to staging ticket=1 colour=red size=huge");
    assert!(shown.is_possible(), "{:?}", shown.problems);
    assert_eq!(shown.warnings, [Warning::NotDescribed]);
    world.application.status = None;
    assert_eq!(
        world.reasons("checkout main to staging colour=red"),
        Vec::<String>::new()
    );
    assert_eq!(
        world.reasons("checkout main to staging colour=${x}"),
        ["ExpressionRefused"]
    );
}

#[test]
fn warnings_say_what_somebody_should_know() {
    let text = "checkout main to staging ticket=1";
    let mut world = world();
    assert_eq!(
        world.shown("checkout v1 to staging ticket=1").warnings,
        [Warning::SameVersion]
    );
    world.environment.status = serde_json::from_value(json!({"conditions": [{
        "type": "Ready", "status": "False", "reason": "TargetShared", "message": "shared",
        "lastTransitionTime": "2026-03-01T10:00:00Z",
    }]}))
    .unwrap();
    let pipelines = &mut world.application.status.as_mut().unwrap().pipelines;
    pipelines[0].problem = Some("trouble".to_owned());
    let message = |text: &str| text.to_owned();
    assert_eq!(
        world.shown(text).warnings,
        [
            Warning::Pipeline {
                message: message("trouble")
            },
            Warning::EnvironmentNotReady {
                message: message("shared")
            },
        ]
    );
    world.application.status.as_mut().unwrap().pipelines[0].disabled = true;
    assert_eq!(world.reasons(text), ["PipelineDisabled"]);
}

#[test]
fn whatever_changes_changes_the_digest() {
    let text = "checkout main to staging ticket=1";
    let first = world().shown(text).digest();
    assert_eq!(first, world().shown(text).digest());
    assert_eq!(first.len(), 32);
    let mut elsewhere = world();
    elsewhere.environment.spec.target.namespace = "moved".to_owned();
    let mut newer = world();
    newer.targets[0].status.as_mut().unwrap().current =
        serde_json::from_value(run("v2", "2026-03-01T11:00:00Z")).unwrap();
    let mut default = world();
    default.application.status.as_mut().unwrap().pipelines[0].name = "Another".to_owned();
    for other in [elsewhere, newer, default] {
        assert_ne!(other.shown(text).digest(), first);
    }
    assert_ne!(
        world().shown("checkout main to staging ticket=2").digest(),
        first
    );
    let mut held = world();
    held.held();
    assert_eq!(held.shown(text).digest(), first, "only when, not what");
}

#[test]
fn a_repetition_is_shown_even_where_nothing_is_confirmed() {
    let shown = world().shown("checkout main to staging ticket=1");
    let equal = request("equal", &wish(), &json!({}));
    let again = Some(Repeat::Waiting(&equal));
    assert_eq!(shown.step(Confirm::Always, None), Step::Confirm);
    assert_eq!(shown.step(Confirm::Never, None), Step::Create);
    assert!(matches!(
        shown.step(Confirm::Never, again),
        Step::ShowRepeat(_)
    ));
    let impossible = world().shown("checkout main to staging");
    assert_eq!(impossible.step(Confirm::Never, again), Step::Refuse);
}

#[test]
fn approvals_are_announced_and_a_version_that_moves_is_refused_early() {
    let mut world = world();
    let rules = json!({"approvals": {"required": 2, "groups": ["okta:leads"]}});
    world.environment.spec.protection = serde_json::from_value(rules).unwrap();
    let fixed = world.shown("checkout v1.2.3 to staging ticket=INC-1");
    let needed = fixed.approvals.clone().unwrap();
    assert_eq!((needed.people, needed.asker_may), (2, false));
    assert_eq!(needed.groups, ["okta:leads"]);
    assert!(fixed.is_possible(), "{:?}", fixed.problems);
    let moving = world.reasons("checkout main to staging ticket=INC-1");
    assert_eq!(moving, ["VersionMoves"]);
}

#[test]
fn what_is_secret_is_not_shown() {
    let mut world = world();
    let deploy = world.application.spec.actions.get_mut("deploy").unwrap();
    deploy.secret_parameters = vec!["ticket".to_owned(), "size".to_owned()];
    let shown = world.shown("checkout main to staging ticket=hunter2 size=hunter3");
    let text = serde_json::to_string(&shown).unwrap();
    assert!(!text.contains("hunter"), "{text}");
    assert!(text.contains("\"***\""), "{text}");
    assert_eq!(
        world.reasons("checkout main to staging ticket=a size=hunter3"),
        ["ParameterNotOffered"]
    );
}

fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// An application whose commits are somewhere, and of which `a` runs.
fn in_git() -> World {
    let mut world = world();
    let spec = &mut world.application.spec;
    spec.repository = serde_json::from_value(json!({"github": "shop/checkout"})).unwrap();
    let deploy = spec.actions.get_mut("deploy").unwrap();
    deploy.artifacts = serde_json::from_value(json!([
        {"type": "docker/image", "name": "shop/checkout", "version": "{{ short_commit }}"},
    ]))
    .unwrap();
    let current = world.targets[0].status.as_mut().unwrap();
    current.current.as_mut().unwrap().commit = Some(sha('a'));
    world
}

fn said(commit: Result<String, Unresolved>) -> Said {
    Said::again(commit, None)
}

fn unclear() -> Result<String, Unresolved> {
    Err(Unresolved::Unclear("GitHub doesn't answer.".to_owned()))
}

const MAIN: &str = "checkout main to staging ticket=1";

#[test]
fn a_version_is_shown_with_its_commit_and_what_is_made_of_it() {
    let world = in_git();
    let shown = world.told(MAIN, &said(Ok(sha('b'))));
    assert!(shown.is_possible(), "{:?}", shown.problems);
    assert_eq!(shown.commit, Some(sha('b')));
    assert_eq!(shown.artifacts[0].version.as_deref(), Some("bbbbbbb"));
    assert_eq!(
        shown.repository.as_deref(),
        Some("https://github.com/shop/checkout")
    );
    let asked = world.with(|sights| question("shop", &order(MAIN), sights));
    assert_eq!(asked.name.as_deref(), Some("main"));
    assert_eq!(asked.span(Some(&Ok(sha('b')))), Some((sha('a'), sha('b'))));
}

#[test]
fn another_commit_is_another_plan_and_what_lies_between_is_none() {
    let world = in_git();
    let digest = |said: &Said| world.told(MAIN, said).digest();
    let first = said(Ok(sha('b')));
    assert_ne!(digest(&first), digest(&said(Ok(sha('c')))));
    let silent = Said {
        between: Some(Err("late".to_owned())),
        not_again: Some("GitHub is down".to_owned()),
        ..first.clone()
    };
    assert_eq!(digest(&first), digest(&silent));
    let mut untagged = in_git();
    let deploy = untagged.application.spec.actions.get_mut("deploy");
    deploy.unwrap().artifacts[0].name = "shop/other".to_owned();
    assert_ne!(digest(&first), untagged.told(MAIN, &first).digest());
}

#[test]
fn an_unknown_commit_goes_where_the_environment_lets_it() {
    let mut world = in_git();
    let shown = world.told(MAIN, &said(unclear()));
    let unresolved = Warning::Unresolved {
        sentence: "GitHub doesn't answer.".to_owned(),
        missing: false,
    };
    assert!(shown.is_possible(), "{:?}", shown.problems);
    assert_eq!(shown.warnings, [unresolved, Warning::NeedsCommit]);
    let late = world.told(MAIN, &Said::default());
    assert!(matches!(
        late.warnings[0],
        Warning::Unresolved { missing: false, .. }
    ));
    assert_eq!(late.digest(), shown.digest(), "why is no part of what");
    let rules = json!({"approvals": {"required": 1, "groups": []}});
    world.environment.spec.protection = serde_json::from_value(rules).unwrap();
    let moves = world.told(MAIN, &said(unclear()));
    let reasons: Vec<&str> = moves.problems.iter().map(|one| &*one.reason).collect();
    assert_eq!(reasons, ["VersionMoves"], "whatever its commit is");
    let known = world.told(MAIN, &said(Ok(sha('b'))));
    let reasons: Vec<&str> = known.problems.iter().map(|one| &*one.reason).collect();
    assert_eq!(
        reasons,
        ["VersionMoves"],
        "its name is handed to the pipeline"
    );
    let deploy = world.application.spec.actions.get_mut("deploy").unwrap();
    let commit = ("branch".to_owned(), "{{ commit }}".to_owned());
    deploy.parameters = [commit].into();
    let known = world.told(MAIN, &said(Ok(sha('b'))));
    assert!(known.is_possible(), "{:?}", known.problems);
    let waits = world.told(MAIN, &said(unclear()));
    assert!(waits.is_possible(), "{:?}", waits.problems);
    let sentence = "GitHub doesn't answer.".to_owned();
    assert_eq!(
        waits.warnings,
        [Warning::WaitsForCommit { sentence }, Warning::NeedsCommit]
    );
    let late = world.told(MAIN, &Said::default());
    assert_eq!(late.digest(), waits.digest(), "why is no part of what");
}

#[test]
fn what_ran_by_its_commit_is_compared_with_though_nobody_wrote_the_commit_down() {
    let mut world = in_git();
    world.targets[0].status.as_mut().unwrap().current =
        serde_json::from_value(run(&sha('a'), "2026-03-01T10:00:00Z")).unwrap();
    let asked = world.with(|sights| question("shop", &order(MAIN), sights));
    assert_eq!(asked.span(Some(&Ok(sha('b')))), Some((sha('a'), sha('b'))));
    let same = world.told(MAIN, &said(Ok(sha('a'))));
    let difference = same.difference.unwrap();
    assert_eq!(difference.changes.relation, Some(Relation::Identical));
    assert_eq!(same.current.unwrap().commit, Some(sha('a')));
}

#[test]
fn a_version_that_is_not_there_is_refused_or_goes_by_its_name() {
    let mut world = in_git();
    let missing = || said(Err(Unresolved::Missing("there is no `main`.".to_owned())));
    let reasons = |world: &World| -> Vec<String> {
        let problems = world.told(MAIN, &missing()).problems;
        problems.into_iter().map(|problem| problem.reason).collect()
    };
    let deploy = world.application.spec.actions.get_mut("deploy").unwrap();
    deploy.artifacts.clear();
    assert_eq!(reasons(&world), Vec::<String>::new());
    let rule = json!({"unresolvedVersions": "Refuse"});
    world.environment.spec.protection = serde_json::from_value(rule).unwrap();
    assert_eq!(reasons(&world), ["VersionNotFound"]);
}

#[test]
fn the_name_says_nothing_where_both_commits_are_known() {
    let mut world = in_git();
    world.targets[0].status.as_mut().unwrap().current =
        serde_json::from_value(run("main", "2026-03-01T10:00:00Z")).unwrap();
    let unknown = world.told(MAIN, &said(Ok(sha('b'))));
    assert_eq!(unknown.warnings, [Warning::SameVersion]);
    let current = world.targets[0].status.as_mut().unwrap();
    current.current.as_mut().unwrap().commit = Some(sha('a'));
    let other = world.told(MAIN, &said(Ok(sha('b'))));
    assert_eq!(other.warnings, []);
}

impl World {
    fn frozen(&mut self, name: &str, namespace: &str, spec: &Value) {
        let freeze = json!({
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-03-01T10:00:00Z"},
            "spec": spec,
        });
        let freeze = serde_json::from_value(freeze).unwrap();
        self.freezes.all.push(std::sync::Arc::new(freeze));
    }
}

const ASK: &str = "checkout main to staging ticket=1";

#[test]
fn what_holds_it_is_shown_in_the_order_of_the_table_and_doesnt_keep_it_from_being_asked() {
    let mut world = world();
    world.frozen("closing", "shop", &json!({"reason": "year-end closing"}));
    world.environment.spec.lock = serde_json::from_value(json!({"reason": "migration"})).ok();
    let text = "checkout main to staging ticket=1 at:2026-03-01T20:00:00Z";
    let shown = world.shown(text);
    assert!(shown.is_possible(), "{:?}", shown.problems);
    let gates: Vec<GateKind> = shown.held.gates.iter().map(|gate| gate.gate).collect();
    assert_eq!(gates, [GateKind::Time, GateKind::Freeze, GateKind::Lock]);
    assert_eq!(shown.held.closed().count(), 3);
    assert!(shown.held.can_be_passed());

    let overridden = world.shown(&format!("{text} override:\"INC-42\""));
    let closed: Vec<GateKind> = overridden.held.closed().map(|gate| gate.gate).collect();
    assert_eq!(closed, [GateKind::Time], "nobody passes the time");
    assert_eq!(overridden.held.passed().count(), 2);
    assert_ne!(overridden.digest(), shown.digest());
}

#[test]
fn what_begins_to_hold_it_changes_the_digest() {
    let before = world().shown(ASK).digest();
    let changes: [fn(&mut World); 4] = [
        |world| world.frozen("closing", "shop", &json!({"reason": "closing"})),
        |world| world.frozen("stop-all", "home", &json!({"reason": "all"})),
        |world| {
            world.environment.spec.lock = serde_json::from_value(json!({"reason": "no"})).ok();
        },
        |world| {
            let after = json!([{"environment": "dev"}]);
            world.environment.spec.protection.after = serde_json::from_value(after).unwrap();
        },
    ];
    let mut seen = vec![before];
    for change in changes {
        let mut world = world();
        change(&mut world);
        let digest = world.shown(ASK).digest();
        assert!(!seen.contains(&digest));
        seen.push(digest);
    }
    // A longer one, beside the first.
    let mut two = world();
    two.frozen("closing", "shop", &json!({"reason": "closing"}));
    let one = two.shown(ASK).digest();
    two.frozen("longer", "home", &json!({"reason": "longer"}));
    assert_ne!(two.shown(ASK).digest(), one);
}

#[test]
fn the_stop_button_is_shown_and_confirmed_whatever_the_environment_says_of_confirmations() {
    let mut world = world();
    assert_eq!(world.shown(ASK).step(Confirm::Never, None), Step::Create);
    world.frozen("stop-all", "shop", &json!({"reason": "not this one"}));
    assert_eq!(
        world.shown(ASK).held.stop,
        None,
        "only in foredeck's own namespace"
    );
    for less in [
        json!({"until": "2026-03-01T11:00:00Z"}),
        json!({"from": "2026-03-01T13:00:00Z"}),
        json!({"exceptActions": ["rollback"]}),
    ] {
        let mut spec = less.clone();
        spec["reason"] = json!("not everything");
        let mut world = self::world();
        world.frozen("stop-all", "home", &spec);
        assert_eq!(world.shown(ASK).held.stop, None, "{less}");
    }
    world.frozen("stop-all", "home", &json!({"reason": "all"}));
    let shown = world.shown(ASK);
    assert_eq!(
        shown.held.stop.as_ref().map(|stop| &*stop.reason),
        Some("all")
    );
    assert_eq!(shown.step(Confirm::Never, None), Step::Confirm);
    let overridden = self::world().shown(&format!("{ASK} override:why"));
    assert_eq!(overridden.step(Confirm::Never, None), Step::Confirm);
}

#[test]
fn times_that_cant_come_are_problems_and_one_that_comes_while_somebody_looks_is_none() {
    let world = world();
    let problem = |text: &str, asked_at: &str| {
        let times = Times {
            asked_at: asked_at.parse().unwrap(),
            now: now(),
        };
        let order = order(&format!("{ASK} {text}"));
        let shown = world.with(|sights| shown("shop", &order, sights, &Said::default(), times));
        shown
            .problems
            .into_iter()
            .map(|problem| problem.message)
            .collect::<Vec<_>>()
    };
    let asked = "2026-03-01T12:00:00Z";
    assert_eq!(
        problem("at:2026-03-01T12:05:00Z", asked),
        Vec::<String>::new()
    );
    assert_eq!(
        problem("at:2026-03-01T11:55:00Z", "2026-03-01T11:54:00Z"),
        Vec::<String>::new()
    );
    assert!(problem("at:2026-03-01T11:55:00Z", asked)[0].contains("has passed already"));
    assert!(problem("before:2026-03-01T12:00:00Z", asked)[0].contains("would never start"));
}

#[test]
fn a_rollback_shows_what_it_gives_up() {
    let mut world = world();
    let status = world.targets[0].status.as_mut().unwrap();
    status.history = vec![
        serde_json::from_value(run("v1", "2026-03-01T10:00:00Z")).unwrap(),
        serde_json::from_value(run("v0", "2026-03-01T09:00:00Z")).unwrap(),
    ];
    let shown = world.shown("rollback checkout v0 in staging");
    let given_up = shown.held.given_up.unwrap();
    assert_eq!(
        (given_up.from.as_deref(), given_up.to.as_deref()),
        (Some("v1"), Some("v0"))
    );
    assert_eq!(world.shown(ASK).held, Held::default());
}
