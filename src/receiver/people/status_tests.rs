//! What is written of a person, and when.

use super::*;
use crate::identity::{Member, Nobody};

const AGE: Duration = Duration::from_secs(200);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside what fails")]
fn groups(names: &[&str], second: i64) -> Result<Groups, Unknown> {
    Ok(Groups {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        at: at(second),
        note: None,
    })
}

fn found(second: i64, sources: Vec<(&'static str, Result<Groups, Unknown>)>) -> Found {
    let member = Member {
        username: "alice@corp.example".to_owned(),
        email: None,
    };
    Found {
        standing: Ok((Ok(member), at(second))),
        sources,
    }
}

fn nobody(second: i64) -> Found {
    Found {
        standing: Ok((Err(Nobody::Deactivated), at(second))),
        sources: Vec::new(),
    }
}

/// What stands there, as if nothing had been before.
fn status(found: &Found) -> PersonStatus {
    next(None, found, AGE, at(1_000)).unwrap()
}

fn down() -> Result<Groups, Unknown> {
    Err(Unknown::for_now(
        "server_error",
        "Okta answers with status 500",
    ))
}

#[test]
fn what_says_the_same_and_is_young_is_not_written_again() {
    let before = status(&found(1_000, vec![("okta", groups(&["okta:a"], 1_000))]));
    let again = found(1_100, vec![("okta", groups(&["okta:a"], 1_100))]);
    assert_eq!(next(Some(&before), &again, AGE, at(1_100)), None);
    let later = next(Some(&before), &again, AGE, at(1_201)).unwrap();
    assert_eq!(later.checked_at, Some(Time(at(1_100))));
    assert_eq!(later.sources[0].at, Some(Time(at(1_100))));
}

#[test]
fn what_changed_is_written_at_once() {
    let before = status(&found(1_000, vec![("okta", groups(&["okta:a"], 1_000))]));
    let removed = found(1_001, vec![("okta", groups(&[], 1_001))]);
    let now = next(Some(&before), &removed, AGE, at(1_001)).unwrap();
    assert_eq!(now.sources[0].groups, Vec::<String>::new());
    let gone = next(Some(&before), &nobody(1_001), AGE, at(1_001)).unwrap();
    assert_eq!(gone.nobody.as_deref(), Some("Deactivated"));
    assert_eq!(gone.sources, []);
    // Which human it is, is still to be told.
    assert_eq!(gone.username, before.username);
    let back = found(1_002, vec![("okta", groups(&["okta:a"], 1_002))]);
    let back = next(Some(&gone), &back, AGE, at(1_002)).unwrap();
    assert_eq!((back.nobody, back.sources.len()), (None, 1));
}

#[test]
fn a_source_that_fails_keeps_what_it_said_and_its_time() {
    let before = status(&found(1_000, vec![("okta", groups(&["okta:a"], 1_000))]));
    let failing = found(1_100, vec![("okta", down())]);
    let now = next(Some(&before), &failing, AGE, at(1_100)).unwrap();
    assert_eq!(now.sources[0].groups, ["okta:a"]);
    assert_eq!(now.sources[0].at, Some(Time(at(1_000))));
    let problem = now.sources[0].problem.as_deref();
    assert_eq!(problem, Some("Okta answers with status 500"));
    assert_eq!(next(Some(&now), &failing, AGE, at(1_101)), None);
    let mended = found(1_110, vec![("okta", groups(&["okta:a"], 1_110))]);
    let mended = next(Some(&now), &mended, AGE, at(1_110)).unwrap();
    assert_eq!(mended.sources[0].problem, None);
}

#[test]
fn a_source_that_never_said_anything_has_no_time() {
    let now = status(&found(1_000, vec![("okta", down())]));
    assert_eq!((now.sources[0].at.as_ref(), oldest(&now)), (None, None));
    assert!(is_old(&now, AGE, at(1_000)));
}

#[test]
fn what_is_older_overwrites_nothing() {
    let before = status(&found(1_000, vec![("okta", groups(&["okta:a"], 1_000))]));
    let late = found(990, vec![("okta", groups(&["okta:a", "okta:b"], 990))]);
    assert_eq!(next(Some(&before), &late, AGE, at(1_001)), None);
    assert_eq!(next(Some(&before), &nobody(990), AGE, at(1_001)), None);
    let gone = status(&nobody(1_000));
    assert_eq!(next(Some(&gone), &late, AGE, at(1_001)), None);
}

#[test]
fn when_slack_does_not_say_all_stays() {
    let before = status(&found(1_000, vec![("okta", groups(&["okta:a"], 1_000))]));
    let silent = Found {
        standing: Err("ratelimited"),
        sources: Vec::new(),
    };
    assert_eq!(next(Some(&before), &silent, AGE, at(1_100)), None);
    let later = next(Some(&before), &silent, AGE, at(2_000));
    assert_eq!(later, None, "it would say nothing new");
    assert_eq!(next(None, &silent, AGE, at(1_000)), None);
}

#[test]
fn a_source_that_is_no_longer_asked_goes() {
    let both = vec![
        ("okta", groups(&["okta:a"], 1_000)),
        ("slack", groups(&["slack:b"], 1_000)),
    ];
    let before = status(&found(1_000, both));
    let one = found(1_001, vec![("slack", groups(&["slack:b"], 1_001))]);
    let now = next(Some(&before), &one, AGE, at(1_001)).unwrap();
    let names: Vec<&str> = now
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    assert_eq!(names, ["slack"]);
}
