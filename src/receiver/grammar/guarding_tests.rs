//! `lock`, `unlock`, `stop-all`, `resume-all` and `why`: what they mean, and what is missing where they can't be read.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    table::{Allowed, help},
    tests::vocabulary,
    *,
};
use crate::api::deploy_request::TargetOverride;

pub(super) fn lock(what: LockWhat, reason: &str, until: Option<Until>) -> Intent {
    Intent::Lock(Lock {
        what,
        reason: reason.to_owned(),
        until,
    })
}

pub(super) fn checkout_in_production() -> LockWhat {
    LockWhat::Target {
        application: ApplicationRef::bare("checkout"),
        environment: "production".to_owned(),
        target: None,
    }
}

pub(super) fn production() -> LockWhat {
    LockWhat::Environment {
        team: None,
        name: "production".to_owned(),
    }
}

/// Somebody who may do these, and lock and stop nothing.
pub(super) fn actions(names: &[&str]) -> Allowed {
    Allowed {
        actions: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Allowed::default()
    }
}

pub(super) fn everything(names: &[&str]) -> Allowed {
    Allowed {
        locks: true,
        stops: true,
        ..actions(names)
    }
}

fn read(text: &str) -> Intent {
    parse(text, &vocabulary()).unwrap_or_else(|error| panic!("{text:?}: {}", error.sentence()))
}

fn refused(text: &str) -> ParseError {
    match parse(text, &vocabulary()) {
        Ok(intent) => panic!("{text:?} is read as {intent:?}"),
        Err(error) => error,
    }
}

fn hours(hours: u64) -> Until {
    Until::For(Duration::from_hours(hours))
}

#[test]
fn a_lock_may_be_said_in_several_ways() {
    let wanted = |until| lock(checkout_in_production(), "database migration", until);
    for text in [
        "lock checkout production \"database migration\" 2h",
        "lock checkout in production \"database migration\" 2h",
        "LOCK checkout in production “database migration” for 2h",
        "lock checkout in production 2h 'database migration'",
        "lock checkout in production for 120m \"database migration\"",
        "lock in production checkout 1h60m \"database migration\"",
        "lock checkout in production 2h reason: database migration",
        "lock \"checkout\" \"production\" 2h reason=\"database migration\"",
        "lock \"checkout\" in \"production\" \"database migration\" until \"2h\"",
        "/deploy lock checkout on production \"database migration\" 2H",
    ] {
        assert_eq!(read(text), wanted(Some(hours(2))), "{text}");
    }
    for text in [
        "lock checkout production \"database migration\"",
        "lock checkout in production reason:\"database migration\"",
    ] {
        assert_eq!(read(text), wanted(None), "{text}");
    }
    assert_eq!(
        read("lock checkout in production \"database migration\" 1w1d"),
        wanted(Some(hours(8 * 24)))
    );
    let at: Timestamp = "2026-11-24T06:00:00Z".parse().unwrap();
    for time in [
        "2026-11-24T06:00Z",
        "2026-11-24T06:00:00Z",
        "2026-11-24T07:00+01:00",
    ] {
        let text = format!("lock checkout in production \"database migration\" until {time}");
        assert_eq!(read(&text), wanted(Some(Until::At(at))), "{text}");
    }
}

#[test]
fn an_environment_is_locked_as_a_whole_where_it_alone_is_named() {
    let whole = |team: Option<&str>, name: &str| LockWhat::Environment {
        team: team.map(str::to_owned),
        name: name.to_owned(),
    };
    for (text, team, name) in [
        ("production", None, "production"),
        ("in production", None, "production"),
        ("shop/production", Some("shop"), "production"),
        ("in shop/production", Some("shop"), "production"),
        ("elsewhere", None, "elsewhere"),
        // A name like a word of ours, or like an application's.
        ("in checkout", None, "checkout"),
        ("in \"to\"", None, "to"),
        ("in 2h", None, "2h"),
    ] {
        let wanted = whole(team, name);
        let text = format!("lock {text} \"audit\"");
        assert_eq!(read(&text), lock(wanted.clone(), "audit", None), "{text}");
        let text = text.replace("lock ", "unlock ").replace(" \"audit\"", "");
        assert_eq!(read(&text), Intent::Unlock(wanted), "{text}");
    }
}

#[test]
fn a_place_that_an_environment_allows_is_locked_by_its_name() {
    let wanted = LockWhat::Target {
        application: ApplicationRef::of("shop", "checkout"),
        environment: "staging".to_owned(),
        target: Some(TargetOverride {
            account: None,
            namespace: Some("pr-42".to_owned()),
        }),
    };
    for place in [
        "shop/checkout in staging",
        "checkout in shop/staging",
        "shop/checkout staging",
    ] {
        let text = format!("lock {place} target.namespace=pr-42 \"demo\"");
        assert_eq!(read(&text), lock(wanted.clone(), "demo", None), "{text}");
    }
}

#[test]
fn what_is_missing_is_said_and_shown() {
    for (text, reason, nearest) in [
        (
            "lock",
            "missing-guarded",
            "/deploy lock <application> in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production",
            "missing-reason",
            "/deploy lock checkout in production \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production 2h",
            "missing-reason",
            "/deploy lock checkout in production \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production database migration",
            "missing-reason",
            "/deploy lock checkout in production \"<why>\" [<how long>]",
        ),
        (
            "lock production",
            "missing-reason",
            "/deploy lock production \"<why>\" [until <time>]",
        ),
        (
            "lock checkout \"production\"",
            "missing-where",
            "/deploy lock checkout in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production \"\"",
            "not-taken",
            "/deploy lock <application> in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production \"x\" until tomorrow",
            "invalid-time",
            "/deploy lock <application> in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production \"x\" until",
            "invalid-time",
            "/deploy lock <application> in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production \"x\" until 2026-11-24T06:00",
            "invalid-time",
            "/deploy lock <application> in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production \"x\" 2h until 3h",
            "repeated",
            "/deploy lock <application> in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock checkout in production \"x\" replicas=3",
            "not-taken",
            "/deploy lock <application> in <environment> \"<why>\" [<how long>]",
        ),
        (
            "lock production \"x\" target.namespace=pr-1",
            "not-taken",
            "/deploy lock production \"<why>\" [until <time>]",
        ),
        (
            "lock shop/checkout in bank/production \"x\"",
            "repeated",
            "/deploy lock shop/checkout in production \"<why>\" [<how long>]",
        ),
        (
            "unlock",
            "missing-guarded",
            "/deploy unlock <application> in <environment>",
        ),
        (
            "unlock checkout",
            "missing-where",
            "/deploy unlock checkout in <environment>",
        ),
        (
            "unlock checkout in production reason:x",
            "not-taken",
            "/deploy unlock <application> in <environment>",
        ),
        (
            "unlock checkout production now",
            "unknown-word",
            "/deploy unlock checkout in production",
        ),
        ("stop-all", "missing-reason", "/deploy stop-all \"<why>\""),
        (
            "stop-all production",
            "missing-reason",
            "/deploy stop-all \"<why>\"",
        ),
        (
            "stop-all \"x\" production",
            "unknown-word",
            "/deploy stop-all \"<why>\"",
        ),
        (
            "stop-all \"x\" \"y\"",
            "repeated",
            "/deploy stop-all \"<why>\"",
        ),
        ("resume-all now", "unknown-word", "/deploy resume-all"),
        ("why", "missing-asked", "/deploy why <request>"),
        (
            "why in production",
            "missing-application",
            "/deploy why <request>",
        ),
    ] {
        let error = refused(text);
        assert_eq!(error.reason(), reason, "{text}");
        assert_eq!(error.nearest(), nearest, "{text}");
    }
    for time in [
        "0h",
        "9999999999999999999h",
        "99999w",
        "2",
        "h",
        "2x",
        "1h2",
    ] {
        let text = format!("lock checkout in production \"x\" for {time}");
        assert_eq!(refused(&text).reason(), "invalid-time", "{text}");
    }
    let long = format!("stop-all \"{}\"", "x".repeat(1025));
    assert_eq!(refused(&long).reason(), "too-long");
}

#[test]
fn why_takes_a_request_or_what_waits_somewhere() {
    let target = |environment: Option<&str>| {
        Intent::Why(CancelWhat::Target {
            application: ApplicationRef::bare("checkout"),
            environment: environment.map(str::to_owned),
        })
    };
    assert_eq!(read("why checkout production"), target(Some("production")));
    assert_eq!(read("why checkout"), target(None));
    assert_eq!(
        read("why shop/slack-1"),
        Intent::Why(CancelWhat::Named(ApplicationRef::of("shop", "slack-1")))
    );
}

#[test]
fn an_action_that_is_called_like_one_of_these_words_is_no_verb() {
    let words = ["lock", "unlock", "stop-all", "resume-all", "why"].map(str::to_owned);
    let vocabulary = Vocabulary::new(words.clone(), Vec::new(), Vec::new());
    for word in &words {
        assert!(!vocabulary.verbs().any(|verb| verb == word), "{word}");
    }
    // Quoted, each is a name like any other.
    let typed = parse("\"lock\" main to staging", &vocabulary).unwrap();
    let Intent::Act(act) = typed else {
        panic!("{typed:?}");
    };
    assert_eq!(act.application.name, "lock");
}

#[test]
fn locking_and_stopping_are_shown_to_whom_they_are_of_use() {
    let vocabulary = vocabulary();
    let shown = |allowed: &Allowed, word: &str| {
        help(&vocabulary, allowed, None)
            .iter()
            .filter(|line| line.example.starts_with(&format!("/deploy {word}")))
            .count()
    };
    let deployer = actions(&["deploy"]);
    for (word, for_deployer, for_all) in [
        ("lock", 0, 2),
        ("unlock", 1, 2),
        ("stop-all", 0, 1),
        ("resume-all", 0, 1),
        ("why", 2, 2),
    ] {
        assert_eq!(shown(&deployer, word), for_deployer, "{word}");
        assert_eq!(shown(&everything(&["deploy"]), word), for_all, "{word}");
    }
}

#[test]
fn the_sentences_stay_as_they_were_written() {
    let sentences: Vec<String> = [
        "lock",
        "lock checkout in production",
        "unlock checkout",
        "lock checkout in production \"x\" until tomorrow",
        "lock production \"x\" target.namespace=pr-1",
        "stop-all",
        "stop-all production",
        "why",
    ]
    .into_iter()
    .map(|text| refused(text).sentence())
    .collect();
    insta::assert_snapshot!("guarding", sentences.join("\n"));
}
