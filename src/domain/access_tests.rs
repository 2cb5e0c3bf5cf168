//! Every answer about somebody, and what it comes to.

use serde_json::{Value, json};

use super::*;

const FLUX: &str = "system:serviceaccount:flux-system:kustomize-controller";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn actor(username: &str) -> Actor {
    Actor {
        username: username.to_owned(),
        ..Actor::default()
    }
}

fn wish(holders: Option<&[String]>) -> Wish<'_> {
    Wish {
        verb: "deploy",
        namespace: "shop",
        application: "checkout",
        environment: "production",
        holders,
    }
}

fn standing(username: &str, groups: &[&str], missing: &[(&'static str, &str)]) -> Known {
    let missing: Vec<Missing> = missing
        .iter()
        .map(|(resource, name)| Missing {
            verb: "deploy".to_owned(),
            resource,
            name: (*name).to_owned(),
        })
        .collect();
    let subject = Subject {
        username: username.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    let permission = if missing.is_empty() {
        Permission::Granted("RBAC: allowed".to_owned())
    } else {
        Permission::Refused(missing)
    };
    known(subject, Ok::<_, String>(permission))
}

fn silent() -> Known {
    let subject = Subject {
        username: "alice@corp.example".to_owned(),
        groups: Vec::new(),
    };
    known(
        subject,
        Err("the API server did not say within 2 s what \"alice\" may do"),
    )
}

fn nobody() -> Known {
    Err(Refusal::permanent(Reason::Nobody, "they are nobody."))
}

fn request(cancel: &Value, requester: Option<&str>) -> DeployRequest {
    let mut object = json!({
        "metadata": {"name": "r", "namespace": "shop", "uid": "u"},
        "spec": {"application": "checkout", "environment": "production", "cancel": cancel},
    });
    if let Some(requester) = requester {
        object["spec"]["requester"] = json!({"username": requester});
    }
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_refusal_names_who_what_where_and_whom_to_ask() {
    let holders: Vec<String> = (0..7)
        .map(|number| format!("okta:group-{number}"))
        .collect();
    let Known::Ok(standing) = standing(
        "alice@corp.example",
        &[],
        &[("applications", "checkout"), ("environments", "production")],
    ) else {
        panic!("it is known")
    };
    let Access::Denied(refusal) = access(wish(Some(&holders)), &Ok(standing)) else {
        panic!("it is refused")
    };
    assert_eq!(refusal.reason, Reason::NotAuthorized);
    assert_eq!(
        refusal.message,
        "Not allowed: `alice@corp.example` has no verb `deploy` on Application `checkout` and no verb `deploy` on Environment `production` in `shop`. Ask one who has it (`okta:group-0`, `okta:group-1`, `okta:group-2`, `okta:group-3`, `okta:group-4`, …), or who can change the RoleBindings there."
    );
    assert_eq!(
        wish(Some(&[])).ask(),
        "Ask who can change the RoleBindings there."
    );
    // Nobody may read here who has it.
    assert_eq!(
        wish(None).ask(),
        "Ask who can change the RoleBindings there; `kubectl describe roles,rolebindings --namespace shop` shows who has it."
    );
}

#[test]
fn whether_somebody_may_is_granted_denied_or_unknown() {
    let granted = access(wish(None), &standing("alice", &[], &[]));
    assert!(
        matches!(granted, Access::Granted { username, rule } if username == "alice" && rule == "RBAC: allowed")
    );
    let Access::Unknown(refusal) = access(wish(None), &silent()) else {
        panic!("it is not known")
    };
    assert_eq!(
        (refusal.reason, refusal.waiting_for),
        (Reason::AccessUnknown, Some(WaitingFor::Authorization))
    );
    assert!(
        matches!(access(wish(None), &nobody()), Access::Denied(refusal) if refusal.reason == Reason::Nobody)
    );
}

#[test]
fn automation_is_somebody_only_for_the_verbs_that_the_environment_lists() {
    let listed = [Automation {
        username: FLUX.to_owned(),
        verbs: vec!["deploy".to_owned()],
    }];
    let people = People::default();
    let ask = |actor: &Actor, verb, automation: &[Automation], hours| {
        let who = Stamped {
            actor,
            at: now() - jiff::SignedDuration::from_hours(hours),
        };
        let found = subject(who, verb, automation, &people, Limits::default(), now());
        found.map_err(|refusal| refusal.reason)
    };
    let flux = actor(FLUX);
    assert_eq!(ask(&flux, "deploy", &listed, 0).unwrap().username, FLUX);
    assert_eq!(
        ask(&flux, "deploy", &listed, 25),
        Err(Reason::IdentityStale)
    );
    assert_eq!(ask(&flux, "deploy", &[], 0), Err(Reason::Nobody));
    for verb in ["rollback", "cancel", "approve"] {
        assert_eq!(ask(&flux, verb, &listed, 0), Err(Reason::Nobody), "{verb}");
    }
    assert_eq!(
        ask(&actor("system:admin"), "deploy", &listed, 0),
        Err(Reason::Nobody)
    );
    let mut in_slack = flux.clone();
    in_slack.slack = Some(crate::api::actor::SlackPerson {
        team: "T1".to_owned(),
        user: "U1".to_owned(),
    });
    assert_eq!(
        ask(&in_slack, "deploy", &listed, 0),
        Err(Reason::Nobody),
        "no ServiceAccount is in Slack"
    );
    assert!(
        ask(&actor("carol"), "deploy", &[], 0).is_ok(),
        "a person needs no list"
    );
}

#[test]
fn a_cancel_counts_of_who_asked_and_of_who_has_the_verb() {
    let by = |username: &str| json!({"by": {"username": username}});
    let people = People::default();
    let own = |request: &DeployRequest, automation: &[Automation]| {
        cancels_own(request, &people, automation)
    };
    assert!(own(&request(&by("ALICE"), Some("alice")), &[]));
    assert!(!own(&request(&by("bob"), Some("alice")), &[]));
    assert!(!own(&request(&by("bob"), None), &[]));
    assert!(
        !own(&request(&json!({}), Some("alice")), &[]),
        "nobody says who"
    );
    let flux = request(&by(FLUX), Some(FLUX));
    assert!(!own(&flux, &[]));
    let listed = |verb: &str| Automation {
        username: FLUX.to_owned(),
        verbs: vec![verb.to_owned()],
    };
    assert!(!own(&flux, &[listed("deploy")]));
    assert!(own(&flux, &[listed("cancel")]));

    let counts = |request: &DeployRequest, own, known: &Known| {
        cancel(request, own, wish(None), known)
            .map_err(|refusal| (refusal.reason, refusal.waiting_for.is_some()))
    };
    let bobs = request(&by("bob"), Some("alice"));
    assert_eq!(counts(&bobs, true, &nobody()), Ok(()));
    assert_eq!(counts(&bobs, false, &standing("bob", &[], &[])), Ok(()));
    let refused = Err((Reason::CancelRefused, false));
    assert_eq!(
        counts(
            &bobs,
            false,
            &standing("bob", &[], &[("environments", "production")])
        ),
        refused
    );
    assert_eq!(counts(&bobs, false, &nobody()), refused);
    assert_eq!(
        counts(&bobs, false, &silent()),
        Err((Reason::AccessUnknown, true))
    );
    let unstamped = request(&json!({"reason": "x"}), Some("alice"));
    assert_eq!(
        counts(&unstamped, false, &standing("alice", &[], &[])),
        refused
    );
    assert_eq!(
        counts(&request(&Value::Null, None), false, &nobody()),
        Ok(()),
        "there is none"
    );
}

#[test]
fn a_judge_needs_the_verb_and_one_of_the_roles() {
    let mapped = [JudgmentRole {
        role: "release".to_owned(),
        group: "okta:leads".to_owned(),
    }];
    let may = |known: &Known, roles: &[&str]| {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        judge(wish(None), known, &roles, &mapped).map_err(|refusal| refusal.reason)
    };
    let lead = standing("alice", &["okta:leads"], &[]);
    let member = standing("bob", &["okta:others", "release"], &[]);
    assert_eq!(may(&lead, &["audit", "release"]), Ok(()));
    assert_eq!(may(&lead, &["audit"]), Err(Reason::RoleMissing));
    assert_eq!(
        may(&member, &["release"]),
        Err(Reason::RoleMissing),
        "a role is no group"
    );
    assert_eq!(may(&member, &[]), Ok(()));
    assert_eq!(
        may(
            &standing("bob", &["okta:leads"], &[("environments", "production")]),
            &[]
        ),
        Err(Reason::NotAuthorized)
    );
    assert_eq!(
        may(&standing("system:admin", &["okta:leads"], &[]), &[]),
        Err(Reason::Nobody)
    );
    assert_eq!(may(&silent(), &[]), Err(Reason::AccessUnknown));
}

#[test]
fn a_cancel_that_was_refused_keeps_nobody_out_of_line() {
    let mut asked = request(&json!({"by": {"username": "mallory"}}), Some("alice"));
    assert!(is_canceled(&asked));
    for (status, expected) in [("False", false), ("Unknown", true), ("True", true)] {
        asked.status = Some(
            serde_json::from_value(json!({"conditions": [{
                "type": "Cancelable", "status": status, "reason": "CancelRefused", "message": "",
                "lastTransitionTime": "2026-11-22T12:00:00Z",
            }]}))
            .unwrap(),
        );
        assert_eq!(is_canceled(&asked), expected, "{status}");
    }
    assert!(!is_canceled(&request(&Value::Null, None)));
}

#[test]
fn who_asked_is_not_told_to_ask_themselves() {
    let all = || ["Alice@corp.example", "bob@corp.example"].map(str::to_owned);
    let alice = actor("alice@corp.example");
    assert_eq!(others(Some(&alice), all().into()), ["bob@corp.example"]);
    assert_eq!(others(None, all().into()), all());
}
