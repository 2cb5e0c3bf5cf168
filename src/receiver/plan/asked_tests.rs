//! What a repository is asked, and what it comes to where it doesn't say.

use serde_json::json;

use super::*;
use crate::domain::commits::Commit;

fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn application(repository: bool) -> Application {
    let repository = repository.then(|| json!({"github": "shop/checkout"}));
    serde_json::from_value(json!({
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"actions": {}, "repository": repository},
    }))
    .unwrap()
}

fn version(name: &str, commit: Option<String>) -> Version {
    Version {
        name: Some(name.to_owned()),
        commit,
    }
}

fn comparison(commits: Vec<Commit>, complete: bool) -> Comparison {
    Comparison {
        relation: Relation::Ahead,
        ahead: u32::try_from(commits.len()).unwrap(),
        behind: 0,
        commits,
        complete,
        url: None,
    }
}

fn commit(digit: char, merge: bool) -> Commit {
    Commit {
        sha: sha(digit),
        message: format!("Change {digit}"),
        author: "Ada".to_owned(),
        merge,
    }
}

#[test]
fn nothing_is_asked_where_no_repository_is_named() {
    let main = version("main", None);
    let question = Question::of(&application(false), &main, Some(&sha('a')));
    assert!(question.is_empty());
    assert_eq!(question.span(Some(&Ok(sha('b')))), None);
    let question = Question::of(&application(true), &main, None);
    assert_eq!(question.name.as_deref(), Some("main"));
    assert!(!question.is_empty());
}

#[test]
fn what_ran_is_a_commit_and_only_its_distance_is_asked() {
    let ran = version("main", Some(sha('b')));
    let question = Question::of(&application(true), &ran, Some(&sha('a')));
    assert_eq!(question.name, None);
    assert_eq!(question.span(None), Some((sha('a'), sha('b'))));
    let same = Question::of(&application(true), &ran, Some(&sha('b')));
    assert!(same.is_empty(), "one commit is no distance");
}

#[test]
fn what_was_shown_holds_where_nobody_says_anything_now() {
    let unclear = || Err(Unresolved::Unclear("it doesn't answer.".to_owned()));
    let (a, b) = (sha('a'), sha('b'));
    let again = Said::again(unclear(), Some(&a));
    assert_eq!(again.commit, Some(Ok(a.clone())));
    assert_eq!(again.not_again.as_deref(), Some("it doesn't answer."));
    assert_eq!(Said::again(unclear(), None).commit, Some(unclear()));
    let moved = Said::again(Ok(b.clone()), Some(&a));
    assert_eq!((moved.commit, moved.not_again), (Some(Ok(b)), None));
    let gone = || Err(Unresolved::Missing("there is no `main`.".to_owned()));
    let gone_now = Said::again(gone(), Some(&a));
    assert_eq!(gone_now.commit, Some(gone()), "that is an answer");
}

#[test]
fn what_changes_is_said_as_far_as_it_is_known() {
    let (a, b) = (sha('a'), sha('b'));
    let of = |base: Option<&str>, between: Option<Result<Comparison, String>>| {
        difference(base, &b, between.as_ref())
    };
    assert_eq!(
        of(Some(&b), None).changes.relation,
        Some(Relation::Identical)
    );
    let unknown = of(None, None).changes;
    assert_eq!((unknown.from, unknown.relation), (None, None));
    let silent = of(Some(&a), Some(Err("late.".to_owned()))).changes;
    assert_eq!(silent.problem.as_deref(), Some("late."));
    let commits = vec![commit('1', false), commit('2', true), commit('3', true)];
    let some = of(Some(&a), Some(Ok(comparison(commits.clone(), true))));
    assert_eq!((some.changes.added, some.merges), (1, 2));
    let cut = of(Some(&a), Some(Ok(comparison(commits, false))));
    assert_eq!(cut.merges, 0, "nobody has counted them");
}

#[test]
fn a_version_has_moved_where_two_looks_differ() {
    let (a, b) = (sha('a'), sha('b'));
    let moved = |from: Option<&str>, to: Option<&str>| Moved::between(Some("main"), from, to);
    assert_eq!(moved(Some(&a), Some(&a)), None);
    assert_eq!(moved(None, None), None);
    assert_eq!(
        moved(Some(&a), Some(&b)),
        Some(Moved {
            version: "main".to_owned(),
            from: Some(a.clone()),
            to: Some(b.clone()),
        })
    );
    assert!(moved(None, Some(&b)).is_some());
    assert!(moved(Some(&a), None).is_some());
    assert_eq!(Moved::between(None, Some(&a), Some(&b)), None);
}
