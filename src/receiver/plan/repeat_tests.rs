//! What counts as the same wish, and for how long.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    super::tests::{now, order, request, wish},
    Repeat, repeat,
};
use crate::api::DeployRequest;

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
