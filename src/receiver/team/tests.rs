//! Two teams with the same application and environment names, asked from each team's channel, from neither, from a
//! direct message; and that nothing of what one may not see shows anywhere.

use std::fmt::{Debug, Write as _};

use serde_json::{Value, json};

use super::*;
use crate::receiver::grammar::{CancelWhat, Intent, parse};

const SHOP: &str = "C0SHOP";
const BANK: &str = "C0BANK";
const NEITHER: &str = "C0OTHER";
const DIRECT: &str = "D0ALICE";

#[derive(Default)]
struct World {
    applications: Vec<Application>,
    environments: Vec<Environment>,
    targets: Vec<DeployTarget>,
    requests: Vec<DeployRequest>,
}

fn object<Kind: serde::de::DeserializeOwned>(
    namespace: &str,
    name: &str,
    spec: &Value,
    status: &Value,
) -> Kind {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}/{name}")},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

impl World {
    fn application(&mut self, namespace: &str, name: &str, channels: &[&str], verbs: &[&str]) {
        let actions: serde_json::Map<String, Value> = verbs
            .iter()
            .map(|verb| ((*verb).to_owned(), json!({"pipeline": "Run"})))
            .collect();
        let spec = json!({"actions": actions, "slack": {"channels": channels}});
        self.applications
            .push(object(namespace, name, &spec, &Value::Null));
    }

    fn environment(&mut self, namespace: &str, name: &str, channels: &[&str]) {
        let spec = json!({
            "connection": "gate", "target": {"account": "eks", "namespace": namespace},
            "protection": {"channels": channels},
        });
        self.environments
            .push(object(namespace, name, &spec, &Value::Null));
    }

    fn ran(&mut self, namespace: &str, application: &str, environment: &str, versions: &[&str]) {
        let run = |version: &&str| {
            json!({
                "uid": version, "name": format!("ran-{version}"), "action": "deploy", "version": version, "connection": "gate",
                "phase": "Succeeded", "reason": "Succeeded", "sentAt": "2026-03-01T10:00:00Z", "finishedAt": "2026-03-01T10:00:00Z",
            })
        };
        let history: Vec<Value> = versions.iter().map(run).collect();
        let spec = json!({
            "application": application, "environment": environment,
            "place": {"account": "eks", "namespace": namespace},
        });
        let status = json!({"current": history[0], "history": history});
        let name = format!("{application}.{environment}.0");
        self.targets.push(object(namespace, &name, &spec, &status));
    }

    fn request(
        &mut self,
        namespace: &str,
        name: &str,
        (application, environment): (&str, &str),
        phase: &str,
    ) {
        let spec = json!({"application": application, "environment": environment});
        self.requests
            .push(object(namespace, name, &spec, &json!({"phase": phase})));
    }

    fn sight(&self, channel: &str, visible: &[&str]) -> Sight<'_> {
        let visible = visible
            .iter()
            .map(|namespace| (*namespace).to_owned())
            .collect();
        Sight::new(visible, channel)
            .with_applications(&self.applications)
            .with_environments(&self.environments)
            .with_targets(&self.targets)
            .with_requests(&self.requests)
    }

    /// As if a namespace had nothing in it.
    fn without(mut self, namespace: &str) -> Self {
        let keep = |own: &Option<String>| own.as_deref() != Some(namespace);
        self.applications
            .retain(|one| keep(&one.metadata.namespace));
        self.environments
            .retain(|one| keep(&one.metadata.namespace));
        self.targets.retain(|one| keep(&one.metadata.namespace));
        self.requests.retain(|one| keep(&one.metadata.namespace));
        self
    }
}

/// Both have `checkout` and `staging`; `ledger`, `vault`, `audit` and `settle` are the bank's alone.
fn world() -> World {
    let mut world = World::default();
    world.application("shop", "checkout", &[SHOP], &["deploy", "rollback"]);
    world.application("shop", "cart", &[SHOP], &["deploy"]);
    world.application("bank", "checkout", &[BANK], &["deploy", "settle"]);
    world.application("bank", "ledger", &[BANK], &["deploy"]);
    for (namespace, names) in [
        ("shop", ["staging", "production"]),
        ("bank", ["staging", "vault"]),
    ] {
        for name in names {
            world.environment(namespace, name, &[]);
        }
        world.ran(
            namespace,
            "checkout",
            "staging",
            &[&format!("{namespace}-v2"), &format!("{namespace}-v1")],
        );
        world.request(
            namespace,
            &format!("slack-{namespace}"),
            ("checkout", "staging"),
            "Running",
        );
        world.request(namespace, "same-name", ("checkout", names[1]), "Queued");
    }
    world.environment("bank", "audit", &[BANK]);
    world.request("shop", "ended", ("cart", "staging"), "Failed");
    world
}

const BOTH: &[&str] = &["shop", "bank"];

/// The teams and names that a reference comes to, or why it comes to none.
fn team(found: Found<&Application>) -> String {
    match found {
        Found::One(application) => team_and_name(application),
        Found::Several(several) => {
            let names: Vec<String> = several.iter().map(|one| team_and_name(one)).collect();
            format!("pick {}", names.join(" "))
        }
        Found::Absent(absent) => absent.reason().to_owned(),
    }
}

fn meant(channel: &str, visible: &[&str], text: &str) -> String {
    let world = world();
    let sight = world.sight(channel, visible);
    match parse(text, &sight.vocabulary()) {
        Ok(Intent::Act(act)) => team(sight.application(&act.application)),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_bare_name_means_the_channels_team_and_elsewhere_the_person_picks() {
    for (channel, expected) in [
        (SHOP, "shop/checkout"),
        (BANK, "bank/checkout"),
        (NEITHER, "pick bank/checkout shop/checkout"),
        (DIRECT, "pick bank/checkout shop/checkout"),
    ] {
        assert_eq!(
            meant(channel, BOTH, "checkout main to staging"),
            expected,
            "{channel}"
        );
        assert_eq!(
            meant(channel, BOTH, "bank/checkout main to staging"),
            "bank/checkout"
        );
        assert_eq!(
            meant(channel, BOTH, "shop/checkout main to staging"),
            "shop/checkout"
        );
    }
    assert_eq!(
        meant(SHOP, BOTH, "ledger main to staging"),
        "bank/ledger",
        "the only one of that name"
    );
    assert_eq!(meant(DIRECT, BOTH, "cart main to production"), "shop/cart");
}

#[test]
fn who_sees_one_team_is_never_asked_about_the_other() {
    for channel in [SHOP, BANK, NEITHER, DIRECT] {
        let shop: &[&str] = &["shop"];
        assert_eq!(
            meant(channel, shop, "checkout main to staging"),
            "shop/checkout",
            "{channel}"
        );
        for (text, expected) in [
            ("bank/checkout main to staging", "no-application"),
            ("nowhere/checkout main to staging", "no-application"),
            ("ledger main to staging", "no-application"),
        ] {
            assert_eq!(meant(channel, shop, text), expected, "{channel} {text}");
        }
        assert_eq!(
            meant(channel, &[], "checkout main to staging"),
            "no-application"
        );
    }
}

#[test]
fn what_has_ended_is_told_of_the_same_places_as_what_is_under_way() {
    let mut world = world();
    for (namespace, name) in [("shop", "shop-failed"), ("bank", "bank-failed")] {
        // Refused before it had a target: in `production`, nothing ran.
        world.request(namespace, name, ("checkout", "production"), "Failed");
    }
    world.environment("bank", "production", &[]);
    let names = |channel, application: Option<&str>, environment: Option<&str>| {
        let sight = world.sight(channel, BOTH);
        let reference = application.map(ApplicationRef::bare);
        match sight.ended(reference.as_ref(), environment) {
            Answer::Rows(rows) => {
                let mut names: Vec<String> = rows.iter().map(|one| one.name_any()).collect();
                names.sort();
                names
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(names(SHOP, None, None), ["ended", "shop-failed"]);
    assert_eq!(names(SHOP, Some("checkout"), None), ["shop-failed"]);
    assert_eq!(names(SHOP, Some("cart"), None), ["ended"]);
    assert_eq!(names(BANK, None, Some("production")), ["bank-failed"]);
    assert_eq!(
        names(NEITHER, None, Some("production")),
        ["bank-failed", "shop-failed"]
    );
}

#[test]
fn two_applications_of_one_name_in_one_channel_are_picked_from() {
    let mut world = world();
    world.application("third", "checkout", &[SHOP], &["deploy"]);
    let sight = world.sight(SHOP, &["shop", "bank", "third"]);
    assert_eq!(
        team(sight.application(&ApplicationRef::bare("checkout"))),
        "pick shop/checkout third/checkout",
        "the channel's, and not the bank's"
    );
}

#[test]
fn questions_are_about_the_channels_team_or_all_that_one_may_see() {
    let world = world();
    let statuses = |channel: &str, application: Option<&str>, environment: Option<&str>| {
        let reference = application.map(ApplicationRef::bare);
        match world
            .sight(channel, BOTH)
            .status(reference.as_ref(), environment)
        {
            Answer::Rows(rows) => rows
                .iter()
                .map(|one| full_name(*one))
                .collect::<Vec<_>>()
                .join(" "),
            Answer::Team(several) => format!("pick {}", several.len()),
            Answer::Absent(absent) => absent.reason().to_owned(),
        }
    };
    assert_eq!(statuses(SHOP, None, None), "shop/same-name shop/slack-shop");
    assert_eq!(
        statuses(BANK, Some("checkout"), Some("staging")),
        "bank/slack-bank"
    );
    assert_eq!(
        statuses(DIRECT, None, Some("staging")),
        "bank/slack-bank shop/slack-shop"
    );
    assert_eq!(
        statuses(SHOP, None, Some("vault")),
        "bank/same-name",
        "only the bank has one"
    );
    assert_eq!(statuses(DIRECT, Some("checkout"), None), "pick 2");
    assert_eq!(statuses(SHOP, Some("cart"), None), "");
    assert_eq!(
        statuses(SHOP, Some("cart"), Some("nowhere")),
        "no-environment"
    );
    assert_eq!(statuses(SHOP, None, Some("nowhere")), "no-environment");
    let running = |channel: &str, environment: Option<&str>| match world
        .sight(channel, BOTH)
        .what(environment)
    {
        Answer::Rows(rows) => rows
            .iter()
            .map(|row| {
                assert_eq!(row.environment.unwrap().namespace(), row.target.namespace());
                full_name(row.target)
            })
            .collect::<Vec<_>>()
            .join(" "),
        other => format!("{other:?}"),
    };
    assert_eq!(running(SHOP, None), "shop/checkout.staging.0");
    assert_eq!(running(SHOP, Some("staging")), "shop/checkout.staging.0");
    assert_eq!(
        running(NEITHER, Some("staging")),
        "bank/checkout.staging.0 shop/checkout.staging.0"
    );
    let sight = world.sight(BANK, BOTH);
    match sight.history(&ApplicationRef::bare("checkout"), None) {
        Answer::Rows(rows) => assert_eq!(full_name(rows[0].target), "bank/checkout.staging.0"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_ran_in_an_environment_that_is_gone_can_still_be_asked_for() {
    let mut world = world();
    world.ran("shop", "cart", "preview", &["v1"]);
    let sight = world.sight(SHOP, BOTH);
    match sight.history(&ApplicationRef::bare("cart"), Some("preview")) {
        Answer::Rows(rows) => assert!(rows.len() == 1 && rows[0].environment.is_none()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cancel_finds_the_request_by_its_name_or_its_target() {
    let world = world();
    let cancel = |channel: &str, visible: &[&str], text: &str| {
        let sight = world.sight(channel, visible);
        let Ok(Intent::Cancel(cancel)) = parse(text, &sight.vocabulary()) else {
            panic!("{text}")
        };
        match sight.cancellable(&cancel.what) {
            Cancellable::One(one) => full_name(one),
            Cancellable::Several(several) => {
                let names: Vec<String> = several.into_iter().map(full_name).collect();
                format!("pick {}", names.join(" "))
            }
            Cancellable::Ended(one) => format!("ended {}", full_name(one)),
            Cancellable::Team(several) => format!("team {}", several.len()),
            Cancellable::Absent(absent) => absent.reason().to_owned(),
        }
    };
    for (text, expected) in [
        ("cancel slack-bank", "bank/slack-bank"),
        ("cancel same-name", "pick bank/same-name shop/same-name"),
        ("cancel shop/same-name", "shop/same-name"),
        ("cancel ended", "ended shop/ended"),
        ("cancel checkout in staging", "shop/slack-shop"),
        ("cancel checkout", "pick shop/same-name shop/slack-shop"),
        ("cancel bank/checkout in vault", "bank/same-name"),
        ("cancel cart", "nothing-to-cancel"),
        ("cancel cart in staging", "nothing-to-cancel"),
        ("cancel cart in nowhere", "no-environment"),
        ("cancel weather", "no-request"),
    ] {
        assert_eq!(cancel(SHOP, BOTH, text), expected, "{text}");
    }
    assert_eq!(cancel(DIRECT, BOTH, "cancel checkout in staging"), "team 2");
    assert_eq!(
        cancel(SHOP, &["shop"], "cancel same-name"),
        "shop/same-name"
    );
    assert_eq!(cancel(SHOP, &["shop"], "cancel slack-bank"), "no-request");
}

/// Everything that can be said to somebody who types this, in one text.
fn everything(world: &World, channel: &str, text: &str) -> String {
    fn add(all: &mut String, what: &impl Debug) {
        let _ = writeln!(all, "{what:?}");
    }
    let sight = world.sight(channel, &["shop"]);
    let vocabulary = sight.vocabulary();
    let mut all = String::new();
    add(&mut all, &vocabulary);
    add(
        &mut all,
        &crate::receiver::grammar::table::help(
            &vocabulary,
            &crate::receiver::grammar::table::Allowed {
                actions: vocabulary.verbs().map(str::to_owned).collect(),
                locks: true,
                stops: true,
            },
            None,
        ),
    );
    match parse(text, &vocabulary) {
        Err(error) => add(&mut all, &error.sentence()),
        Ok(intent) => add(&mut all, &intent),
    }
    for word in text.split([' ', '@']) {
        let (team, name) = word
            .split_once('/')
            .map_or((None, word), |(team, name)| (Some(team.to_owned()), name));
        let reference = ApplicationRef {
            team,
            name: name.to_owned(),
        };
        let found = sight.application(&reference);
        if let Found::Absent(absent) = &found {
            all.push_str(&absent.sentence());
        }
        add(&mut all, &found);
        for environment in [
            None,
            Some("staging"),
            Some("vault"),
            Some("vualt"),
            Some("audit"),
            Some("nowhere"),
        ] {
            add(&mut all, &sight.status(Some(&reference), environment));
            add(&mut all, &sight.status(None, environment));
            add(&mut all, &sight.what(environment));
            add(&mut all, &sight.history(&reference, environment));
            let application = reference.clone();
            let target = CancelWhat::Target {
                application,
                environment: environment.map(str::to_owned),
            };
            add(&mut all, &sight.cancellable(&target));
        }
        add(&mut all, &sight.cancellable(&CancelWhat::Named(reference)));
    }
    all
}

#[test]
fn what_one_may_not_see_is_as_if_it_were_not_there() {
    for channel in [SHOP, BANK, NEITHER, DIRECT] {
        for text in [
            "checkout main to staging",
            "bank/checkout main to vault",
            "bank/chekcout main to vualt",
            "ledger@main",
            "ledgr main to vault now",
            "settle checkout in vault",
            "setle checkout in staging more words",
            "cancel slack-bank",
            "cancel slack-bnak",
            "status ledger in vault extra",
            "help settle",
            "bank-v1",
            "",
        ] {
            let with = everything(&world(), channel, text);
            let without = everything(&world().without("bank"), channel, text);
            assert_eq!(with, without, "{channel}: {text}");
            // And what they did not type themselves doesn't show at all.
            for secret in ["C0BANK", "bank-v2", "ledger", "settle", "slack-bank"] {
                if !text.contains(secret) {
                    assert!(
                        !with.contains(secret),
                        "{channel}: {text} tells of {secret}"
                    );
                }
            }
        }
    }
}

fn full_name<Kind: Resource>(object: &Kind) -> String {
    let meta = object.meta();
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&meta.namespace), part(&meta.name))
}
