//! What people read who may not lock, unlock or stop everything: which verb they lack on what, and whom to ask.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{
    locking, stopping,
    tests::{HOSTILE, at, parsed, person},
};
use crate::{
    access::Missing,
    api::{
        Environment,
        actor::Actor,
        lock::{Hold, Lock},
    },
    domain::access::{LOCK, OVERRIDE},
    receiver::{
        grammar::{ApplicationRef, LockWhat},
        locks::{Lifted, Spot, SpotTarget, Standing, Taken},
        plan::held::Stop,
    },
};

/// How somebody finds out who has it.
const ASK: &str = "`kubectl describe roles,rolebindings --namespace shop` shows who has it; whoever can change the RoleBindings there can change that.";

/// Checkout in production.
fn spot() -> Spot {
    let environment: Environment = serde_json::from_value(json!({
        "metadata": {"name": "production", "namespace": "shop"},
        "spec": {"connection": "gate", "target": {"account": "eks-eu-2", "namespace": "shop"}},
    }))
    .unwrap();
    Spot {
        named: LockWhat::Target {
            application: ApplicationRef::bare("checkout"),
            environment: "production".to_owned(),
            target: None,
        },
        namespace: "shop".to_owned(),
        target: Some(SpotTarget {
            application: "checkout".to_owned(),
            place: environment.spec.target.clone(),
            name: "checkout.production.1".to_owned(),
        }),
        environment,
    }
}

fn missing(verb: &str) -> Vec<Missing> {
    let both = [("applications", "checkout"), ("environments", "production")];
    let both = both.map(|(resource, name)| Missing {
        verb: verb.to_owned(),
        resource,
        name: name.to_owned(),
    });
    both.into()
}

fn lacks(verb: &str) -> String {
    format!(
        "`alice@corp.example` has no verb `{verb}` on application *checkout* and no verb `{verb}` on environment *production* in namespace *shop*."
    )
}

fn lock(reason: &str) -> Lock {
    Lock {
        reason: reason.to_owned(),
        until: None,
        by: Some(Actor {
            username: "bob@corp.example".to_owned(),
            ..Actor::default()
        }),
    }
}

fn locked(reason: &str) -> Box<Standing> {
    Box::new(Standing {
        lock: Some(Taken {
            lock: lock(reason),
            since: None,
        }),
        ..Standing::default()
    })
}

fn told(lifted: &Lifted) -> Vec<String> {
    let nothing = (&[][..], &[][..]);
    parsed(&locking::lifted(
        &person(),
        &spot(),
        lifted,
        nothing,
        "/deploy",
    ))
}

#[test]
fn who_may_not_lock_is_told_the_verbs_and_whom_to_ask() {
    let told = locking::not_allowed(&person(), &spot(), &missing(LOCK));
    assert_eq!(
        told.text().as_str(),
        format!(
            ":no_entry_sign: Not allowed, nothing was changed: {} {ASK}",
            lacks("lock")
        )
    );
}

#[test]
fn who_may_not_unlock_is_told_whose_it_is_the_verbs_and_whom_to_ask() {
    let hold = Hold {
        uid: "u1".to_owned(),
        name: "slack-1".to_owned(),
        by: Some("bob@corp.example".to_owned()),
        from: Some("v2".to_owned()),
        to: Some("v1".to_owned()),
        since: Time(at()),
    };
    let after_rollback = Box::new(Standing {
        hold: Some(hold),
        ..Standing::default()
    });
    let over = Box::new(Standing {
        over: Some(lock("audit")),
        ..Standing::default()
    });
    for (left, verb, says) in [
        (
            locked("audit"),
            OVERRIDE,
            "*checkout* in *production* is locked by `bob@corp.example`, until somebody unlocks it. Why: `audit`.",
        ),
        (
            after_rollback,
            OVERRIDE,
            "is held by `bob@corp.example` since",
        ),
        (over, LOCK, "has a lock that is over, by `bob@corp.example`"),
    ] {
        let missing = missing(verb);
        let told = told(&Lifted::NotAllowed { left, missing });
        assert!(
            told[0].starts_with(":no_entry_sign: Not allowed, nothing was changed: "),
            "{told:?}"
        );
        assert!(told[0].contains(says), "{says}: {told:?}");
        let rule = format!(
            "It is not yours, and {} Whoever set it can lift it, and whoever has the verb `override` there. {ASK}",
            lacks(verb)
        );
        assert!(told.contains(&rule), "{rule}: {told:?}");
    }
}

#[test]
fn what_was_locked_anew_is_told_with_how_to_lift_that() {
    let told_of = |reason: &str| told(&Lifted::Anew(locked(reason)));
    let told = told_of("audit");
    for part in [
        "Not unlocked: what was there has been replaced meanwhile, and now *checkout* in *production* is locked by `bob@corp.example`",
        "Why: `audit`",
        "`/deploy unlock checkout in production` lifts that.",
    ] {
        let says = told.iter().any(|text| text.contains(part));
        assert!(says, "{part}: {told:?}");
    }
    for text in told_of(HOSTILE) {
        assert!(!text.contains("<!channel>"), "{text}");
        assert!(!text.contains("*x*`"), "{text}");
    }
}

#[test]
fn who_may_not_stop_everything_is_told_the_verb_who_did_and_whom_to_ask() {
    let rule = ":no_entry_sign: Not allowed, nothing was changed: `alice@corp.example` has no verb `override` on `deployfreezes/stop-all` in namespace *shop*.";
    let stop = Stop {
        reason: "the database is gone".to_owned(),
        by: Some("lead@corp.example".to_owned()),
        since: None,
        contact: None,
    };
    let stopped = " Everything is stopped now by `lead@corp.example`: ask them.";
    for (stop, says) in [(None, ""), (Some(&stop), stopped)] {
        let told = stopping::not_allowed(&person(), "shop", stop);
        let told = told.text().as_str();
        let start = format!("{rule}{says} {ASK} ");
        assert!(told.starts_with(&start), "{start}: {told}");
    }
}
