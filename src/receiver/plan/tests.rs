//! Identity, sealing, repetition, and what a plan shows.

use jiff::{Timestamp, ToSpan};
use kube::ResourceExt;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    repeat::{Repeat, repeat},
    seal::{BUTTON, METADATA, Nonce, Purpose, SealError, Sealer},
    shown::{Shown, Sights, Step, Wait, Warning, shown},
    *,
};
use crate::{
    api::{
        Application, DeployTarget, Environment,
        deploy_request::Place,
        environment::{Concurrency, Confirm},
    },
    domain::ids,
    slack::{
        grammar::{Intent, Vocabulary, parse},
        ids::{ChannelId, MessageTs, TeamId, TriggerId, ViewId},
    },
};

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn alice() -> SlackPerson {
    SlackPerson {
        team: "T1".to_owned(),
        user: "U1".to_owned(),
    }
}

fn order(text: &str) -> Order {
    let verbs = ["rollback", "restart"].map(str::to_owned);
    let vocabulary = Vocabulary::new(verbs, Vec::new(), ["staging".to_owned()]);
    match parse(text, &vocabulary) {
        Ok(Intent::Act(act)) => Order::of(&act).unwrap(),
        other => panic!("{text}: {other:?}"),
    }
}

fn plan(text: &str) -> Plan {
    Plan {
        id: PlanId::of_command(
            &TeamId::new("T1").unwrap(),
            &TriggerId::new("1.2.3").unwrap(),
        ),
        namespace: "shop".to_owned(),
        order: order(text),
        asker: alice(),
        place: SlackPlace {
            channel: "C1".to_owned(),
            thread_ts: Some("1712345678.000100".to_owned()),
        },
        asked_at: now(),
        shown: "0123456789abcdef".to_owned(),
    }
}

// === Identity ===

#[test]
fn the_name_is_made_of_the_delivery_alone_and_is_a_dns_label() {
    let team = TeamId::new("T1").unwrap();
    let trigger = |text: &str| TriggerId::new(text).unwrap();
    let one = PlanId::of_command(&team, &trigger("1.2.3"));
    assert_eq!(one, PlanId::of_command(&team, &trigger("1.2.3")));
    let channel = ChannelId::new("C1").unwrap();
    let message = PlanId::of_message(&channel, &MessageTs::new("1.2").unwrap());
    let others = [
        PlanId::of_command(&team, &trigger("1.2.4")),
        PlanId::of_command(&TeamId::new("T2").unwrap(), &trigger("1.2.3")),
        PlanId::of_message(&channel, &MessageTs::new("1.3").unwrap()),
        PlanId::of_view(&ViewId::new("V1").unwrap()),
        message,
    ];
    let mut names: Vec<String> = others.iter().map(request_name).collect();
    names.push(request_name(&one));
    for name in &names {
        assert!(name.len() <= 63 && name.starts_with("slack-"), "{name}");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6);
}

#[test]
fn an_edit_keeps_the_name_the_namespace_and_the_time() {
    let first = plan("checkout main to staging");
    let edited = first.edited(
        order("restart cart in staging replicas=5"),
        "other".to_owned(),
    );
    assert_eq!(edited.request_name(), first.request_name());
    assert_eq!(edited.namespace, first.namespace);
    assert_eq!(edited.expires_at(), first.expires_at());
    assert_eq!(edited.order.application, "cart");
    let request = edited.request("alice@corp.example");
    assert_eq!(request.metadata.name, Some(first.request_name()));
    assert_eq!(request.metadata.namespace.as_deref(), Some("shop"));
    assert_eq!(request.spec.requester.unwrap().slack, Some(alice()));
    assert_eq!(request.spec.notify.unwrap().slack, Some(first.place));
}

// === Seal ===

fn sealer(tokens: &[&str]) -> Sealer {
    let tokens: Vec<SecretString> = tokens
        .iter()
        .map(|token| SecretString::from(*token))
        .collect();
    Sealer::new(&tokens).unwrap()
}

const NONCE: Nonce = Nonce([7; 12]);

#[test]
fn a_sealed_plan_comes_back_as_it_was() {
    let sealer = sealer(&["xoxb-1"]);
    let plan = plan(
        "shop/checkout feature/ü@1 to staging a=\"b c\" reason=\"why <not>\" target.account=eks target.namespace=pr-1",
    );
    let sealed = sealer.seal(&plan, Purpose::Deploy, NONCE).unwrap();
    assert!(sealed.len() <= BUTTON);
    assert!(
        sealed
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    );
    let opened = sealer
        .open(&sealed, Purpose::Deploy, &alice(), now())
        .unwrap();
    assert!(opened.complete);
    assert_eq!(opened.plan, plan);
}

#[test]
fn nobody_alters_a_plan_uses_anothers_or_uses_it_for_something_else() {
    let sealer = sealer(&["xoxb-1"]);
    let plan = plan("checkout main to staging");
    let sealed = sealer.seal(&plan, Purpose::Edit, NONCE).unwrap();
    let open = |sealed: &str, purpose, user: &str| {
        let person = SlackPerson {
            user: user.to_owned(),
            ..alice()
        };
        sealer.open(sealed, purpose, &person, now()).map(|_| ())
    };
    assert_eq!(open(&sealed, Purpose::Edit, "U1"), Ok(()));
    assert_eq!(
        open(&sealed, Purpose::Deploy, "U1"),
        Err(SealError::Altered)
    );
    assert_eq!(open(&sealed, Purpose::Edit, "U2"), Err(SealError::NotYours));
    let stranger = SlackPerson {
        team: "T2".to_owned(),
        ..alice()
    };
    assert_eq!(
        sealer
            .open(&sealed, Purpose::Edit, &stranger, now())
            .map(|_| ()),
        Err(SealError::NotYours),
        "the same id in another workspace is somebody else"
    );
    for index in 0..sealed.len() {
        let mut altered = sealed.clone().into_bytes();
        altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(
            open(&altered, Purpose::Edit, "U1"),
            Err(SealError::Altered),
            "{index}"
        );
    }
    for bad in [
        "",
        "A",
        "AQ",
        "not base64",
        &"A".repeat(METADATA + 1),
        &sealed[..sealed.len() - 4],
    ] {
        assert_eq!(
            open(bad, Purpose::Edit, "U1"),
            Err(SealError::Altered),
            "{bad}"
        );
    }
}

#[test]
fn it_expires_ten_minutes_after_it_was_first_asked_for_however_often_it_was_edited() {
    let sealer = sealer(&["xoxb-1"]);
    let first = plan("checkout main to staging");
    let edited = first.edited(order("checkout v2 to staging"), "x".to_owned());
    let sealed = sealer.seal(&edited, Purpose::Deploy, NONCE).unwrap();
    let at = |time| {
        sealer
            .open(&sealed, Purpose::Deploy, &alice(), time)
            .map(|opened| opened.plan.asked_at)
    };
    assert_eq!(at(now() + 599.seconds()), Ok(now()));
    assert_eq!(at(now() + 600.seconds()), Err(SealError::Expired));
}

#[test]
fn a_replaced_token_still_opens_and_an_unknown_one_does_not() {
    let sealed = sealer(&["xoxb-old"])
        .seal(&plan("checkout main to staging"), Purpose::Deploy, NONCE)
        .unwrap();
    let open = |tokens: &[&str]| {
        sealer(tokens)
            .open(&sealed, Purpose::Deploy, &alice(), now())
            .map(|_| ())
    };
    assert_eq!(open(&["xoxb-new", "xoxb-old"]), Ok(()));
    assert_eq!(open(&["xoxb-new"]), Err(SealError::Altered));
    assert!(matches!(Sealer::new(&[]), Err(SealError::NoKey)));
    assert!(matches!(
        Sealer::new(&[SecretString::from(" ")]),
        Err(SealError::NoKey)
    ));
    assert!(!format!("{:?}", sealer(&["xoxb-old"])).contains("xoxb"));
}

#[test]
fn a_plan_too_long_for_a_button_goes_into_a_form_without_its_parameters() {
    let sealer = sealer(&["xoxb-1"]);
    let mut plan = plan("checkout main to staging reason=why");
    plan.order.parameters = (0..64)
        .map(|number| (format!("parameter-{number}"), "x".repeat(1024)))
        .collect();
    plan.order.version = Some("v".repeat(253));
    plan.order.target = Some(TargetOverride {
        account: Some("a".repeat(253)),
        namespace: Some("n".repeat(63)),
    });
    assert_eq!(
        sealer.seal(&plan, Purpose::Deploy, NONCE),
        Err(SealError::TooLong)
    );
    let stub = sealer.seal_stub(&plan, Purpose::Form, NONCE).unwrap();
    assert!(stub.len() <= METADATA);
    let opened = sealer.open(&stub, Purpose::Form, &alice(), now()).unwrap();
    assert!(!opened.complete);
    assert!(opened.plan.order.parameters.is_empty() && opened.plan.order.reason.is_none());
    assert_eq!(opened.plan.request_name(), plan.request_name());
    assert_eq!(opened.plan.order.version, plan.order.version);
}

proptest! {
    #[test]
    fn nothing_that_comes_back_panics(text in any::<String>(), bytes in "[A-Za-z0-9_-]{0,300}") {
        let sealer = sealer(&["xoxb-1"]);
        prop_assert!(sealer.open(&text, Purpose::Deploy, &alice(), now()).is_err());
        let begun = format!("AQ{bytes}");
        prop_assert!(sealer.open(&begun, Purpose::Deploy, &alice(), now()).is_err());
    }
}

// === Repetition ===

fn request(name: &str, spec: &Value, status: &Value) -> DeployRequest {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-03-01T11:00:00Z"},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn wish() -> Value {
    json!({"application": "checkout", "environment": "staging", "version": "main"})
}

#[test]
fn an_equal_request_is_found_while_it_is_active_waits_or_has_just_ended() {
    let asked = order("checkout main to staging").spec(None, None);
    let find = |requests: &[DeployRequest]| {
        repeat(&asked, "shop", "own", requests, now()).map(|repeat| match repeat {
            Repeat::Active(request) => ("active", request.name_any()),
            Repeat::Waiting(request) => ("waiting", request.name_any()),
            Repeat::Ended(request, _) => ("ended", request.name_any()),
        })
    };
    let of = |name: &str, status: Value| request(name, &wish(), &status);
    let ended = |name: &str, at: &str| of(name, json!({"phase": "Failed", "finishedAt": at}));
    assert_eq!(find(&[]), None);
    assert_eq!(
        find(&[of("a", json!({}))]),
        Some(("waiting", "a".to_owned()))
    );
    assert_eq!(
        find(&[of("a", json!({"phase": "Unknown"}))]),
        Some(("active", "a".to_owned()))
    );
    assert_eq!(
        find(&[ended("a", "2026-03-01T11:50:01Z")]),
        Some(("ended", "a".to_owned()))
    );
    assert_eq!(find(&[ended("a", "2026-03-01T11:50:00Z")]), None);
    assert_eq!(
        find(&[of("own", json!({"phase": "Running"}))]),
        None,
        "itself"
    );
    let all = [
        ended("a", "2026-03-01T11:59:00Z"),
        of("b", json!({"phase": "Running"})),
        of("c", json!({"phase": "Queued"})),
    ];
    assert_eq!(find(&all), Some(("active", "b".to_owned())));
}

#[test]
fn another_wish_is_no_repetition() {
    let asked = order("checkout main to staging replicas=3").spec(None, None);
    let mut equal = wish();
    equal["parameters"] = json!({"replicas": "3"});
    equal["reason"] = json!("other words");
    equal["requester"] = json!({"username": "bob@corp.example"});
    let mut different = Vec::new();
    for (field, value) in [
        ("version", json!("next")),
        ("action", json!("restart")),
        ("environment", json!("production")),
        ("application", json!("cart")),
        ("parameters", json!({"replicas": "4"})),
        ("target", json!({"namespace": "pr-1"})),
        ("dryRun", json!(true)),
    ] {
        let mut spec = equal.clone();
        spec[field] = value;
        different.push(request(field, &spec, &json!({"phase": "Running"})));
    }
    assert_eq!(repeat(&asked, "shop", "own", &different, now()), None);
    different.push(request("equal", &equal, &json!({"phase": "Running"})));
    let found = repeat(&asked, "shop", "own", &different, now()).unwrap();
    assert_eq!(found.request().name_any(), "equal");
    assert_eq!(
        repeat(&asked, "other", "own", &different, now()),
        None,
        "another namespace"
    );
}

// === What is shown ===

struct World {
    application: Application,
    environment: Environment,
    targets: Vec<DeployTarget>,
    requests: Vec<DeployRequest>,
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
        let targets: Vec<&DeployTarget> = self.targets.iter().collect();
        let requests: Vec<&DeployRequest> = self.requests.iter().collect();
        let sights = Sights {
            application: &self.application,
            environment: &self.environment,
            targets: &targets,
            requests: &requests,
        };
        shown("shop", &order(text), sights)
    }

    fn reasons(&self, text: &str) -> Vec<String> {
        let problems = self.shown(text).problems;
        problems.into_iter().map(|problem| problem.reason).collect()
    }

    fn waiting(&mut self, name: &str) {
        let target = self.targets[0].name_any();
        self.requests.push(request(
            name,
            &wish(),
            &json!({"phase": "Queued", "resolved": {
                "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p1"},
                "target": {"account": "eks", "namespace": "shop"}, "deployTarget": target, "digest": "d",
            }}),
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
fn the_queue_is_shown_as_the_environments_rule_has_it() {
    let text = "checkout main to staging ticket=1";
    let mut world = world();
    world.held();
    world.waiting("one");
    world.waiting("two");
    let held = Wait::Held {
        request: "holder".to_owned(),
        version: Some("v7".to_owned()),
        requester: None,
    };
    let shown = world.shown(text);
    assert_eq!(shown.waits, [held.clone(), Wait::Line { requests: 2 }]);
    assert!(shown.is_possible());
    world.environment.spec.protection.concurrency = Concurrency::Supersede;
    let shown = world.shown(text);
    assert_eq!(
        (shown.waits, shown.warnings),
        (vec![held], vec![Warning::Supersedes { requests: 2 }])
    );
    world.environment.spec.protection.concurrency = Concurrency::Reject;
    assert_eq!(world.reasons(text), ["TargetBusy"]);
}

#[test]
fn whatever_changes_changes_the_digest() {
    let text = "checkout main to staging ticket=1";
    let first = world().shown(text).digest();
    assert_eq!(first, world().shown(text).digest());
    assert_eq!(first.len(), 32);
    let mut held = world();
    held.held();
    let mut elsewhere = world();
    elsewhere.environment.spec.target.namespace = "moved".to_owned();
    let mut newer = world();
    newer.targets[0].status.as_mut().unwrap().current =
        serde_json::from_value(run("v2", "2026-03-01T11:00:00Z")).unwrap();
    let mut default = world();
    default.application.status.as_mut().unwrap().pipelines[0].name = "Another".to_owned();
    for other in [held, elsewhere, newer, default] {
        assert_ne!(other.shown(text).digest(), first);
    }
    assert_ne!(
        world().shown("checkout main to staging ticket=2").digest(),
        first
    );
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
