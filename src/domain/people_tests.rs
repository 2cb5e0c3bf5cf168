//! Who is one human and as whom they are judged, for every kind of Person and every age of what is known.

use serde_json::{Value, json};

use super::*;

const NAMESPACE: &str = "foredeck-system";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> String {
    (now() - jiff::SignedDuration::from_secs(seconds)).to_string()
}

fn person(name: &str, spec: &Value, status: &Value) -> Arc<Person> {
    let object = json!({
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec, "status": status,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn people(persons: Vec<Arc<Person>>) -> People {
    People::new(NAMESPACE, persons)
}

fn account(user: &str) -> SlackPerson {
    SlackPerson {
        team: "T1".to_owned(),
        user: user.to_owned(),
    }
}

fn in_slack(username: &str, user: &str) -> Actor {
    Actor {
        username: username.to_owned(),
        groups: vec!["stale".to_owned()],
        slack: Some(account(user)),
    }
}

fn by_kubectl(username: &str) -> Actor {
    Actor {
        username: username.to_owned(),
        groups: vec!["oidc:deployers".to_owned(), "system:masters".to_owned()],
        slack: None,
    }
}

/// What the receiver writes of somebody whom it has just asked about.
fn fresh_status(username: &str) -> Value {
    json!({
        "username": username, "checkedAt": ago(10), "sources": [
            {"name": "okta", "at": ago(20), "groups": ["okta:b", "okta:a", "system:masters"]},
            {"name": "slack", "at": ago(30), "groups": ["slack:oncall", "okta:a"]},
        ],
    })
}

fn judged(people: &People, actor: &Actor) -> Judged {
    people
        .subject(actor, now(), Limits::default(), now())
        .map_err(|refusal| (refusal.reason, refusal.waiting_for.is_some()))
}

/// What a case changes of a fresh status.
type Change<'a> = &'a dyn Fn(&mut Value);

/// As whom, or why not, and whether that may come right.
type Judged = Result<Subject, (Reason, bool)>;

const UNKNOWN: Judged = Err((Reason::GroupsUnknown, true));
const NOBODY: Judged = Err((Reason::Nobody, false));
const MENDABLE: Judged = Err((Reason::Nobody, true));

#[test]
fn an_account_is_whose_spec_names_it_before_who_is_named_after_it() {
    let named = person("slack-t1-u1", &json!({}), &json!({}));
    let mapped = person(
        "alice",
        &json!({"slack": {"team": "T1", "user": "U1"}}),
        &json!({}),
    );
    let elsewhere = person(
        "slack-t1-u2",
        &json!({"slack": {"team": "T1", "user": "U3"}}),
        &json!({}),
    );
    let found = |people: &People, user| {
        let person = people.of_slack(&account(user));
        person.map(|person| person.metadata.name.clone().unwrap())
    };
    let people = people(vec![named, mapped, elsewhere]);
    assert_eq!(found(&people, "U1").as_deref(), Some("alice"));
    assert_eq!(found(&people, "U2"), None, "its spec names another account");
    assert_eq!(found(&people, "U3").as_deref(), Some("slack-t1-u2"));
    assert_eq!(found(&people, "U4"), None);
}

#[test]
fn persons_in_other_namespaces_and_odd_names_are_nobodys() {
    let status = fresh_status("alice@corp.example");
    let mut foreign = Arc::unwrap_or_clone(person("slack-t1-u1", &json!({}), &status));
    foreign.metadata.namespace = Some("shop".to_owned());
    let odd = [
        "slack-",
        "slack-t1",
        "slack-T1-U1",
        "slack-t1-u1-x",
        "t1-u1",
        "",
    ];
    let odd = odd.map(|name| person(name, &json!({}), &status));
    let people = People::new(NAMESPACE, odd.into_iter().chain([Arc::new(foreign)]));
    assert_eq!(
        judged(&people, &in_slack("alice@corp.example", "U1")),
        UNKNOWN
    );
}

#[test]
fn somebody_in_slack_has_the_groups_of_now_and_never_those_of_the_cluster() {
    let status = fresh_status("Alice@Corp.example");
    let people = people(vec![person("slack-t1-u1", &json!({}), &status)]);
    let subject = judged(&people, &in_slack("alice@corp.example", "U1")).unwrap();
    assert_eq!(subject.username, "alice@corp.example");
    assert_eq!(subject.groups, ["okta:a", "okta:b", "slack:oncall"]);
}

#[test]
fn what_is_not_known_lately_waits_and_who_is_nobody_is_denied() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut status = fresh_status("alice@corp.example");
        change(&mut status);
        people(vec![person("slack-t1-u1", &json!({}), &status)])
    };
    let alice = in_slack("alice@corp.example", "U1");
    let cases: [(&str, Change<'_>, Judged); 19] = [
        ("no status", &|status| *status = json!({}), UNKNOWN),
        (
            "no user name yet",
            &|status| status["username"] = Value::Null,
            UNKNOWN,
        ),
        (
            "never checked",
            &|status| status["checkedAt"] = Value::Null,
            UNKNOWN,
        ),
        (
            "checked long ago",
            &|status| status["checkedAt"] = json!(ago(601)),
            UNKNOWN,
        ),
        (
            "checked far ahead",
            &|status| status["checkedAt"] = json!(ago(-601)),
            UNKNOWN,
        ),
        (
            "groups never told",
            &|status| status["sources"][0]["at"] = Value::Null,
            UNKNOWN,
        ),
        (
            "groups of long ago",
            &|status| status["sources"][1]["at"] = json!(ago(601)),
            UNKNOWN,
        ),
        (
            "groups of far ahead",
            &|status| status["sources"][1]["at"] = json!(ago(-99_999)),
            UNKNOWN,
        ),
        (
            "nobody",
            &|status| status["nobody"] = json!("Deactivated"),
            NOBODY,
        ),
        ("a bot", &|status| status["nobody"] = json!("Bot"), NOBODY),
        (
            "of another workspace",
            &|status| status["nobody"] = json!("Stranger"),
            NOBODY,
        ),
        (
            "suspended in Okta",
            &|status| status["nobody"] = json!("SuspendedInOkta"),
            NOBODY,
        ),
        (
            "no scope for addresses",
            &|status| status["nobody"] = json!("NoEmail"),
            MENDABLE,
        ),
        (
            "a domain that was forgotten",
            &|status| status["nobody"] = json!("OtherDomain"),
            MENDABLE,
        ),
        (
            "a bad mapping",
            &|status| status["nobody"] = json!("BadMapping"),
            MENDABLE,
        ),
        (
            "whatever else, such as a password that has to be set",
            &|status| status["nobody"] = json!("InactiveInOkta"),
            MENDABLE,
        ),
        (
            "nobody, long ago",
            &|status| {
                status["nobody"] = json!("Guest");
                status["checkedAt"] = json!(ago(99_999));
            },
            NOBODY,
        ),
        (
            "another user",
            &|status| status["username"] = json!("bob@corp.example"),
            NOBODY,
        ),
        (
            "another user by a letter",
            &|status| status["username"] = json!("älice@corp.example"),
            NOBODY,
        ),
    ];
    for (name, change, expected) in cases {
        assert_eq!(judged(&with(change), &alice), expected, "{name}");
    }
    let barely = with(&|status| status["checkedAt"] = json!(ago(600)));
    assert!(judged(&barely, &alice).is_ok());
    let no_sources = with(&|status| status["sources"] = json!([]));
    assert_eq!(
        judged(&no_sources, &alice).unwrap().groups,
        Vec::<String>::new()
    );
    assert_eq!(
        judged(&People::default(), &alice),
        UNKNOWN,
        "no Person at all"
    );
}

#[test]
fn an_account_that_two_persons_claim_is_not_believed() {
    let claim = json!({"slack": {"team": "T1", "user": "U1"}});
    let status = fresh_status("alice@corp.example");
    let people = people(vec![
        person("one", &claim, &status),
        person("two", &claim, &status),
    ]);
    assert_eq!(
        judged(&people, &in_slack("alice@corp.example", "U1")),
        UNKNOWN
    );
    let alice = in_slack("alice@corp.example", "U1");
    let refusal = people.subject(&alice, now(), Limits::default(), now());
    assert_eq!(
        refusal.unwrap_err().waiting_for,
        Some(WaitingFor::Configuration),
        "nobody's identity mends that"
    );
}

#[test]
fn everybody_else_has_the_groups_that_were_stamped_for_a_day() {
    let people = People::default();
    let actor = by_kubectl("carol");
    let at = |seconds: i64| {
        let stamped = now() - jiff::SignedDuration::from_secs(seconds);
        people
            .subject(&actor, stamped, Limits::default(), now())
            .map_err(|refusal| (refusal.reason, refusal.waiting_for.is_some()))
    };
    // Who is in the cluster's own groups is so by the API server's word.
    assert_eq!(at(86_400).unwrap().groups, actor.groups);
    assert_eq!(at(86_401), Err((Reason::IdentityStale, false)));
    let refusal = people.subject(
        &actor,
        now() - jiff::SignedDuration::from_hours(25),
        Limits::default(),
        now(),
    );
    let message = refusal.unwrap_err().message;
    assert!(
        message.contains("25h ago") && message.contains("counts for 24h"),
        "{message}"
    );
}

#[test]
fn who_the_cluster_made_is_no_person_however_it_is_written() {
    let status = fresh_status("system:serviceaccount:shop:bot");
    let people = people(vec![person("slack-t1-u1", &json!({}), &status)]);
    for username in [
        "system:serviceaccount:shop:bot",
        "System:admin",
        "SYSTEM:x",
        "system:",
        "",
    ] {
        assert_eq!(judged(&people, &by_kubectl(username)), NOBODY, "{username}");
        assert_eq!(
            judged(&people, &in_slack(username, "U1")),
            NOBODY,
            "{username}"
        );
    }
}

#[test]
fn one_human_is_one_under_every_name_and_account() {
    let people = people(vec![
        person(
            "slack-t1-u1",
            &json!({"usernames": ["arn:aws:iam::1:role/alice"]}),
            &json!({"username": "alice@corp.example"}),
        ),
        person(
            "second",
            &json!({"slack": {"team": "T1", "user": "U9"}, "username": "ALICE@corp.example"}),
            &json!({}),
        ),
        person(
            "slack-t1-u2",
            &json!({"usernames": ["bob"]}),
            &json!({"username": "bob@corp.example"}),
        ),
        person("slack-t1-u3", &json!({}), &json!({})),
        person("empty", &json!({}), &json!({})),
        person("also-empty", &json!({}), &json!({})),
    ]);
    let alice = [
        in_slack("alice@corp.example", "U1"),
        in_slack("whatever@corp.example", "U1"),
        in_slack("new@corp.example", "U9"),
        by_kubectl("Alice@Corp.Example"),
        by_kubectl("arn:aws:iam::1:role/alice"),
    ];
    let bob = [
        in_slack("bob@corp.example", "U2"),
        by_kubectl("bob"),
        by_kubectl("BOB"),
    ];
    let others = [
        in_slack("carol@corp.example", "U3"),
        by_kubectl("dave"),
        by_kubectl("nobody-else"),
    ];
    for one in &alice {
        for other in &alice {
            assert!(people.same_human(one, other), "{one:?} {other:?}");
        }
        for other in bob.iter().chain(&others) {
            assert!(!people.same_human(one, other), "{one:?} {other:?}");
            assert!(!people.same_human(other, one), "{other:?} {one:?}");
        }
    }
    for (index, one) in others.iter().enumerate() {
        for (place, other) in others.iter().enumerate() {
            assert_eq!(people.same_human(one, other), index == place);
        }
    }
    let nameless = by_kubectl("");
    assert!(
        !people.same_human(&nameless, &nameless),
        "no name is nobody's"
    );
}

#[test]
fn two_persons_who_claim_one_name_are_one_human_and_all_their_names_too() {
    let chain = |number: u32| {
        let names = json!([format!("name-{number}"), format!("name-{}", number + 1)]);
        person(
            &format!("p{number}"),
            &json!({"usernames": names}),
            &json!({}),
        )
    };
    // In an order in which the ends meet last.
    let people = people([0, 2, 4, 6, 5, 3, 1].map(chain).to_vec());
    assert!(people.same_human(&by_kubectl("name-0"), &by_kubectl("NAME-7")));
    assert!(!people.same_human(&by_kubectl("name-0"), &by_kubectl("name-8")));
    let claimants: Vec<&Person> = people.of_username("Name-3").collect();
    assert_eq!(claimants.len(), 2);
    // A chain takes a right away and gives none.
    let sure = |one: &str, other: &str| people.certainly_same(&by_kubectl(one), &by_kubectl(other));
    assert!(sure("name-3", "NAME-4"));
    assert!(sure("name-9", "NAME-9"), "whom no Person names");
    assert!(!sure("name-3", "name-5"));
}

#[test]
fn only_one_account_one_name_or_one_person_are_beyond_doubt_one_human() {
    let claim = |name: &str, user: &str, usernames: &[&str]| {
        let spec = json!({"slack": {"team": "T1", "user": user}, "usernames": usernames});
        person(name, &spec, &json!({}))
    };
    let people = people(vec![
        claim("alice", "U1", &["alice", "root"]),
        claim("bob", "U2", &["bob", "root"]),
        claim("one", "U3", &["carol"]),
        claim("other", "U3", &["dave"]),
    ]);
    let cases = [
        (in_slack("x", "U1"), by_kubectl("alice"), true),
        (in_slack("x", "U1"), in_slack("y", "U1"), true),
        (in_slack("x", "U1"), by_kubectl("root"), true),
        (by_kubectl("root"), by_kubectl("bob"), true),
        (by_kubectl("alice"), by_kubectl("bob"), false),
        (in_slack("x", "U1"), in_slack("y", "U2"), false),
        // Two claim the account: neither is believed.
        (in_slack("x", "U3"), by_kubectl("carol"), false),
        (in_slack("x", "U3"), by_kubectl("dave"), false),
        (by_kubectl("carol"), by_kubectl("dave"), false),
        (in_slack("", "U1"), by_kubectl(""), false),
    ];
    for (one, other, expected) in cases {
        assert_eq!(
            people.certainly_same(&one, &other),
            expected,
            "{one:?} {other:?}"
        );
        assert_eq!(
            people.certainly_same(&other, &one),
            expected,
            "{other:?} {one:?}"
        );
    }
}
