//! Whom a freeze holds, and what it says.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const HOME: &str = "foredeck-system";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn freeze(namespace: &str, name: &str, patch: &Value) -> DeployFreeze {
    let mut spec = json!({"reason": "stocktaking"});
    spec.as_object_mut()
        .unwrap()
        .extend(patch.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployFreeze",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-06-01T00:00:00Z"},
        "spec": spec,
    }))
    .unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn subject() -> Subject<'static> {
    Subject {
        namespace: "shop",
        namespace_labels: None,
        application: "checkout",
        application_labels: None,
        environment: "production",
        environment_labels: None,
        action: "deploy",
    }
}

fn freezes(all: &[DeployFreeze]) -> Freezes {
    Freezes {
        all: all.iter().cloned().map(Arc::new).collect(),
        home: HOME.to_owned(),
        unreadable: None,
    }
}

fn running(freezes: &Freezes, subject: Subject<'_>, now: Timestamp) -> Option<Refusal> {
    verdict(freezes, subject, now).running(freezes)
}

#[test]
fn a_freeze_is_about_what_it_names_and_nothing_else() {
    let (shop, front, prod) = (
        labels(&[("team", "shop")]),
        labels(&[("tier", "front")]),
        labels(&[("stage", "prod")]),
    );
    let known = Subject {
        namespace_labels: Some(&shop),
        application_labels: Some(&front),
        environment_labels: Some(&prod),
        ..subject()
    };
    let rollback = Subject {
        action: "rollback",
        ..known
    };
    let unknown = subject();
    let matching = |key: &str, value: &str| json!({"matchLabels": {key: value}});
    let invalid = json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": []}]});
    let table = [
        // Its own namespace; another; home, which is everywhere.
        ("shop", json!({}), known, About::Yes),
        ("cart", json!({}), known, About::No),
        (HOME, json!({}), known, About::Yes),
        // Names.
        (
            "shop",
            json!({"applications": ["checkout"]}),
            known,
            About::Yes,
        ),
        (
            "shop",
            json!({"applications": ["cart", "check*"]}),
            known,
            About::Yes,
        ),
        ("shop", json!({"applications": ["cart"]}), known, About::No),
        (
            "shop",
            json!({"environments": ["prod*"]}),
            known,
            About::Yes,
        ),
        (
            "shop",
            json!({"environments": ["staging"]}),
            known,
            About::No,
        ),
        (
            "shop",
            json!({"applications": ["checkout"], "environments": ["staging"]}),
            known,
            About::No,
        ),
        // Actions.
        ("shop", json!({"actions": ["deploy"]}), known, About::Yes),
        ("shop", json!({"actions": ["deploy"]}), rollback, About::No),
        (
            "shop",
            json!({"exceptActions": ["rollback"]}),
            known,
            About::Yes,
        ),
        (
            "shop",
            json!({"exceptActions": ["rollback"]}),
            rollback,
            About::No,
        ),
        // Labels; each of what it says has to hold.
        (
            "shop",
            json!({"applicationSelector": matching("tier", "front")}),
            known,
            About::Yes,
        ),
        (
            "shop",
            json!({"applicationSelector": matching("tier", "back")}),
            known,
            About::No,
        ),
        (
            "shop",
            json!({"environmentSelector": matching("stage", "prod")}),
            known,
            About::Yes,
        ),
        (
            "shop",
            json!({"environmentSelector": matching("stage", "test")}),
            known,
            About::No,
        ),
        (
            "shop",
            json!({"applications": ["cart"], "applicationSelector": matching("tier", "front")}),
            known,
            About::No,
        ),
        (
            HOME,
            json!({"namespaceSelector": matching("team", "shop")}),
            known,
            About::Yes,
        ),
        (
            HOME,
            json!({"namespaceSelector": matching("team", "cart")}),
            known,
            About::No,
        ),
        // A team can't reach beyond its own namespace, whatever it selects.
        (
            "cart",
            json!({"namespaceSelector": matching("team", "shop")}),
            known,
            About::No,
        ),
        (
            "shop",
            json!({"namespaceSelector": matching("team", "cart")}),
            known,
            About::Yes,
        ),
        // What can't be read or says nothing valid holds.
        (
            "shop",
            json!({"applicationSelector": matching("tier", "back")}),
            unknown,
            About::Unknown,
        ),
        (
            "shop",
            json!({"environmentSelector": matching("stage", "test")}),
            unknown,
            About::Unknown,
        ),
        (
            HOME,
            json!({"namespaceSelector": matching("team", "cart")}),
            unknown,
            About::Unknown,
        ),
        (
            "shop",
            json!({"applicationSelector": invalid}),
            known,
            About::Unknown,
        ),
        (
            "shop",
            json!({"environments": ["staging"], "applicationSelector": matching("tier", "front")}),
            unknown,
            About::No,
        ),
        // Whoever asks for no label needs to know none.
        (HOME, json!({"namespaceSelector": {}}), unknown, About::Yes),
    ];
    let now = at("2026-06-06T12:00:00Z");
    for (namespace, mut patch, subject, wanted) in table {
        patch["running"] = json!("Cancel");
        let freeze = freeze(namespace, "quiet", &patch);
        let which = format!("{namespace} {patch} {}", subject.action);
        assert_eq!(about(&freeze, subject, HOME), wanted, "{which}");
        // What can't be said holds, and says so; only what is certain cancels what runs.
        let all = freezes(&[freeze]);
        let reason = closed(&all, subject, now).map(|closed| closed.refusal.reason);
        let held = match wanted {
            About::Yes => Some(Reason::Frozen),
            About::Unknown => Some(Reason::GuardsUnknown),
            About::No => None,
        };
        assert_eq!(reason, held, "{which}");
        let cancels = running(&all, subject, now).is_some();
        assert_eq!(cancels, wanted == About::Yes, "{which}");
    }
}

#[test]
fn whom_nobody_can_place_is_told_that_after_what_is_certain() {
    let now = at("2026-06-06T12:00:00Z");
    let patch = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    let vague = freeze(HOME, "vague", &patch);
    let found = closed(&freezes(std::slice::from_ref(&vague)), subject(), now).unwrap();
    assert_eq!(
        found.refusal.message,
        "Held: whether freeze `vague` in `foredeck-system` is about this can't be said, since labels that it selects by aren't known, or its selector says nothing valid; so it holds. It says “stocktaking”. It stays until somebody changes or deletes it. Whoever has the verb `override` may let one request pass, with a reason (spec.override)."
    );
    let sure = freeze("shop", "sure", &json!({"until": "2026-06-07T00:00:00Z"}));
    let found = closed(&freezes(&[vague, sure]), subject(), now).unwrap();
    assert_eq!(found.refusal.reason, Reason::Frozen);
    assert!(found.refusal.message.contains("`sure`"), "{found:?}");
    assert_eq!(found.until, None);
}

#[test]
fn only_freezes_of_foredecks_own_namespace_ask_for_the_labels_of_namespaces() {
    let selecting = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    assert!(freezes(&[freeze(HOME, "quiet", &selecting)]).asks_for_labels());
    assert!(!freezes(&[freeze("shop", "quiet", &selecting)]).asks_for_labels());
    assert!(!freezes(&[freeze(HOME, "quiet", &json!({}))]).asks_for_labels());
    // It is selected like any other.
    let (own, other) = (labels(&[("team", "shop")]), labels(&[("team", "cart")]));
    for (labels, wanted) in [(&own, About::Yes), (&other, About::No)] {
        let subject = Subject {
            namespace: HOME,
            namespace_labels: Some(labels),
            ..subject()
        };
        let found = about(&freeze(HOME, "quiet", &selecting), subject, HOME);
        assert_eq!(found, wanted);
    }
}

#[test]
fn everything_is_stopped_by_the_stop_button_alone_and_only_while_it_holds_all() {
    let now = at("2026-06-06T12:00:00Z");
    let table = [
        (HOME, STOP_ALL, json!({}), true),
        (
            HOME,
            STOP_ALL,
            json!({"until": "2026-06-06T13:00:00Z"}),
            true,
        ),
        (HOME, STOP_ALL, json!({"until": now.to_string()}), false),
        (
            HOME,
            STOP_ALL,
            json!({"from": "2026-06-06T13:00:00Z"}),
            false,
        ),
        (
            HOME,
            STOP_ALL,
            json!({"exceptActions": ["rollback"]}),
            false,
        ),
        (HOME, STOP_ALL, json!({"actions": ["deploy"]}), false),
        (
            HOME,
            STOP_ALL,
            json!({"environments": ["production"]}),
            false,
        ),
        (
            HOME,
            STOP_ALL,
            json!({"applicationSelector": {"matchLabels": {"tier": "front"}}}),
            false,
        ),
        // What can't be understood holds all the time.
        (
            HOME,
            STOP_ALL,
            json!({"schedule": {"cron": "0 0 31 2 *", "duration": "1h"}}),
            true,
        ),
        ("shop", STOP_ALL, json!({}), false),
        (HOME, "quiet", json!({}), false),
    ];
    for (namespace, name, patch, wanted) in table {
        let found = stops_everything(&freeze(namespace, name, &patch), HOME, now);
        assert_eq!(found, wanted, "{namespace} {name} {patch}");
    }
}

#[test]
fn a_freeze_without_a_schedule_holds_from_its_first_to_its_last_moment() {
    let told = |patch: &Value, now: &str| {
        let spec = freeze("shop", "quiet", patch).spec;
        window(&spec, at("2026-06-01T00:00:00Z"), at(now)).unwrap()
    };
    let window = |since: &str, until: &str, next: &str| {
        let moment = |text: &str| (!text.is_empty()).then(|| at(text));
        Window {
            since: moment(since),
            until: moment(until),
            next: moment(next),
        }
    };
    let (first, last) = ("2026-06-05T16:00:00Z", "2026-06-08T06:00:00Z");
    let dated = json!({"from": first, "until": last});
    let table = [
        (
            json!({}),
            "2026-06-01T00:00:00Z",
            window("2026-06-01T00:00:00Z", "", ""),
        ),
        (
            json!({}),
            "2036-06-01T00:00:00Z",
            window("2026-06-01T00:00:00Z", "", ""),
        ),
        (dated.clone(), "2026-06-05T15:59:59Z", window("", "", first)),
        (dated.clone(), first, window(first, last, "")),
        (
            dated.clone(),
            "2026-06-08T05:59:59Z",
            window(first, last, ""),
        ),
        (dated, last, window("", "", "")),
        (
            json!({"from": first}),
            "2027-01-01T00:00:00Z",
            window(first, "", ""),
        ),
        (
            json!({"until": last}),
            "2026-06-01T00:00:00Z",
            window("2026-06-01T00:00:00Z", last, ""),
        ),
        // What the API server refuses.
        (
            json!({"from": last, "until": first}),
            "2026-06-01T00:00:00Z",
            window("", "", ""),
        ),
    ];
    for (patch, now, wanted) in table {
        assert_eq!(told(&patch, now), wanted, "{patch} at {now}");
    }
}

#[test]
fn what_holds_longest_is_told_with_whom_to_ask_and_how_to_go_on() {
    let now = at("2026-06-06T12:00:00Z");
    let weekend = freeze(
        "shop",
        "weekend",
        &json!({
            "reason": "nobody is\nthere", "contact": "#releases", "by": {"username": "ada@corp.example"},
            "schedule": {"cron": "0 16 * * FRI", "duration": "64h"},
        }),
    );
    let month = freeze(
        HOME,
        "month",
        &json!({"until": "2026-07-01T00:00:00Z", "exceptActions": ["rollback"]}),
    );
    let over = freeze("shop", "over", &json!({"until": "2026-06-02T00:00:00Z"}));
    let elsewhere = freeze("cart", "elsewhere", &json!({}));

    let found = closed(
        &freezes(&[weekend.clone(), over.clone(), elsewhere.clone()]),
        subject(),
        now,
    )
    .unwrap();
    assert_eq!(
        found.refusal.message,
        "Held: freeze `weekend` in `shop` by `ada@corp.example` says “nobody is there”. It ends 2026-06-08 08:00 UTC. Ask “#releases”. Whoever has the verb `override` may let one request pass, with a reason (spec.override)."
    );
    assert_eq!(found.until, Some(at("2026-06-08T08:00:00Z")));
    assert_eq!(found.refusal.waiting_for, Some(WaitingFor::Freeze));
    assert_eq!(found.refusal.reason, Reason::Frozen);

    let two = freezes(&[weekend.clone(), month, over, elsewhere]);
    let found = closed(&two, subject(), now).unwrap();
    assert_eq!(
        found.refusal.message,
        "Held: freeze `month` in `foredeck-system` says “stocktaking”. It ends 2026-07-01 00:00 UTC. Whoever has the verb `override` may let one request pass, with a reason (spec.override). One more freeze holds it too."
    );
    assert_eq!(found.until, Some(at("2026-07-01T00:00:00Z")));
    let rollback = Subject {
        action: "rollback",
        ..subject()
    };
    let found = closed(&two, rollback, now).unwrap();
    assert!(found.refusal.message.contains("`weekend`"), "{found:?}");

    let stop = freeze(
        HOME,
        STOP_ALL,
        &json!({"reason": "an incident", "until": "2026-06-06T13:00:00Z"}),
    );
    let found = closed(&freezes(&[weekend.clone(), stop.clone()]), subject(), now).unwrap();
    assert!(
        found
            .refusal
            .message
            .starts_with("Held: the stop button says “an incident”."),
        "{found:?}"
    );
    // It is not open before the last of them is.
    assert_eq!(found.until, Some(at("2026-06-08T08:00:00Z")));
    let for_ever = freeze(HOME, STOP_ALL, &json!({}));
    let found = closed(&freezes(&[weekend, for_ever]), subject(), now).unwrap();
    assert_eq!(found.until, None);
    assert!(
        found
            .refusal
            .message
            .contains("until somebody with the verb `override`"),
        "{found:?}"
    );
    // A freeze of that name is the stop button only in foredeck's own namespace.
    let own = freeze("shop", STOP_ALL, &json!({}));
    let found = closed(&freezes(&[own]), subject(), now).unwrap();
    assert!(
        found
            .refusal
            .message
            .contains("freeze `stop-all` in `shop`"),
        "{found:?}"
    );
}

#[test]
fn what_cannot_be_understood_or_read_holds() {
    let now = at("2026-06-06T12:00:00Z");
    let never = freeze(
        "shop",
        "never",
        &json!({"schedule": {"cron": "0 0 31 2 *", "duration": "1h"}, "running": "Cancel"}),
    );
    let found = closed(&freezes(std::slice::from_ref(&never)), subject(), now).unwrap();
    assert_eq!(found.until, None);
    assert!(
        found
            .refusal
            .message
            .contains("can't be understood: spec.schedule.cron \"0 0 31 2 *\" never comes"),
        "{found:?}"
    );
    // But nothing that runs is cancelled by a mistake.
    assert_eq!(running(&freezes(&[never]), subject(), now), None);

    let unreadable = Freezes {
        unreadable: Some("the API server doesn't answer.".to_owned()),
        ..freezes(&[])
    };
    let found = closed(&unreadable, subject(), now).unwrap();
    assert_eq!(found.refusal.reason, Reason::GuardsUnknown);
    assert_eq!(found.refusal.waiting_for, Some(WaitingFor::Freeze));
    assert_eq!(
        found.refusal.message,
        "Held: whether a freeze is on can't be said, so nothing starts. the API server doesn't answer. It is tried again."
    );
}

#[test]
fn only_a_freeze_that_says_so_cancels_what_runs_and_only_while_it_holds() {
    let cancels = json!({
        "running": "Cancel", "contact": "#sre", "from": "2026-06-05T16:00:00Z", "until": "2026-06-08T06:00:00Z",
    });
    let all = freezes(&[
        freeze("shop", "goes-on", &json!({})),
        freeze("shop", "cancels", &cancels),
    ]);
    let found = running(&all, subject(), at("2026-06-06T12:00:00Z")).unwrap();
    assert_eq!(found.waiting_for, None);
    assert_eq!(
        found.message,
        "it is cancelled: freeze `cancels` in `shop` began, and cancels what runs (spec.running), saying “stocktaking”. Ask “#sre”."
    );
    assert_eq!(running(&all, subject(), at("2026-06-05T15:00:00Z")), None);
    assert_eq!(running(&all, subject(), at("2026-06-08T06:00:00Z")), None);
    let staging = Subject {
        environment: "staging",
        ..subject()
    };
    let elsewhere = freezes(&[freeze(
        "shop",
        "cancels",
        &json!({"running": "Cancel", "environments": ["production"]}),
    )]);
    let now = at("2026-06-06T12:00:00Z");
    assert!(running(&elsewhere, subject(), now).is_some());
    assert_eq!(running(&elsewhere, staging, now), None);
}

#[test]
fn whoever_waits_is_woken_when_the_next_freeze_begins_or_ends() {
    let soon = freeze(
        "shop",
        "soon",
        &json!({"from": "2026-06-05T16:00:00Z", "until": "2026-06-08T06:00:00Z"}),
    );
    let later = freeze(
        HOME,
        "later",
        &json!({"schedule": {"cron": "0 8 7 6 *", "duration": "1h"}}),
    );
    let other = freeze("cart", "other", &json!({"from": "2026-06-02T00:00:00Z"}));
    let all = freezes(&[soon, later, other]);
    let table = [
        ("2026-06-01T12:00:00Z", "2026-06-05T16:00:00Z"),
        ("2026-06-05T16:00:00Z", "2026-06-07T08:00:00Z"),
        ("2026-06-07T08:00:00Z", "2026-06-07T09:00:00Z"),
        ("2026-06-07T09:00:00Z", "2026-06-08T06:00:00Z"),
        ("2026-06-08T06:00:00Z", "2027-06-07T08:00:00Z"),
    ];
    for (now, wanted) in table {
        let found = verdict(&all, subject(), at(now));
        assert_eq!(found.changes_at, Some(at(wanted)), "{now}");
    }
}

fn any_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "*", "a*", "*b"]).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn whatever_else_a_freeze_names_it_is_about_less(
        applications in prop::collection::vec(any_name(), 0..3),
        environments in prop::collection::vec(any_name(), 0..3),
        selector in prop::collection::btree_map("[ab]", "[xy]", 0..2),
        own in prop::collection::btree_map("[ab]", "[xy]", 0..3),
        (application, environment) in ("[ab]{1,2}", "[ab]{1,2}"),
        (namespace, is_home) in (prop::sample::select(vec!["shop", "cart"]), any::<bool>()),
        (actions, except) in (any::<bool>(), any::<bool>()),
    ) {
        let subject = Subject {
            namespace: "shop", namespace_labels: Some(&own), application: &application, application_labels: Some(&own),
            environment: &environment, environment_labels: Some(&own), action: "deploy",
        };
        let place = if is_home { HOME } else { namespace };
        let mut patch = json!({});
        let mut wider = about(&freeze(place, "quiet", &patch), subject, HOME);
        prop_assert_eq!(wider, About::whether(is_home || namespace == "shop"));
        let labels = json!({"matchLabels": selector});
        for (key, value) in [
            ("applications", json!(applications)), ("environments", json!(environments)), ("applicationSelector", labels.clone()),
            ("environmentSelector", labels.clone()), ("namespaceSelector", labels),
            ("actions", json!(if actions { vec!["deploy"] } else { vec!["rollback"] })),
            ("exceptActions", json!(if except { vec!["deploy"] } else { vec!["rollback"] })),
        ] {
            patch[key] = value;
            let narrower = about(&freeze(place, "quiet", &patch), subject, HOME);
            // An empty list names everything.
            prop_assert!(narrower <= wider, "{patch} is about more than without {key}");
            wider = narrower;
        }
    }
}
