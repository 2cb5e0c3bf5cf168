//! What is said of locks and of a rollback's hold: condition `Locked` of targets and Environments, and an event when it changes.
//! Touches the API server (events).
//!
//! Admission has no clock: that a lock is over, and so anybody's to replace, it knows from `Locked` being `False` for the
//! generation that it looks at.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;

use super::{context::Context, record};
use crate::{
    api::{
        DeployTarget, Environment,
        conditions::{self, ConditionType, Reason},
        lock::Lock,
    },
    domain::{guards::lock, moments::when},
};

/// Any action that a hold doesn't let through.
const ANY: &str = "deploy";

/// Says it of a target: when that changes by itself.
pub(super) fn of_target(
    target: &DeployTarget,
    conditions: &mut Vec<Condition>,
    now: Timestamp,
) -> Option<Timestamp> {
    let closed = lock::closed(None, Some(target), ANY, now);
    let own = target.spec.lock.as_ref();
    let held = target
        .status
        .as_ref()
        .is_some_and(|status| status.hold.is_some());
    let generation = target.metadata.generation;
    let found = closed.map(|closed| (closed.refusal.reason, closed.refusal.message));
    say(conditions, found, own, held, (generation, now));
    ends(own, now)
}

/// Says it of an Environment: when that changes by itself.
pub(super) fn of_environment(
    environment: &Environment,
    conditions: &mut Vec<Condition>,
    now: Timestamp,
) -> Option<Timestamp> {
    let closed = lock::closed(Some(environment), None, ANY, now);
    let own = environment.spec.lock.as_ref();
    let generation = environment.metadata.generation;
    let found = closed.map(|closed| (closed.refusal.reason, closed.refusal.message));
    say(conditions, found, own, false, (generation, now));
    ends(own, now)
}

fn ends(lock: Option<&Lock>, now: Timestamp) -> Option<Timestamp> {
    lock::in_force(lock, now)?
        .until
        .as_ref()
        .map(|until| until.0)
}

/// Nothing is said of what was never locked.
fn say(
    conditions: &mut Vec<Condition>,
    found: Option<(Reason, String)>,
    own: Option<&Lock>,
    held: bool,
    (generation, now): (Option<i64>, Timestamp),
) {
    let said = conditions::find(conditions, ConditionType::Locked).is_some();
    if own.is_none() && !held && !said {
        return;
    }
    let locked = found.is_some();
    let (reason, message) = found.unwrap_or_else(|| {
        let over = own.and_then(|lock| lock.until.as_ref()).map(|until| {
            format!(
                "its lock was over {}; whoever has the verb `lock` can set another.",
                when(until.0)
            )
        });
        let message = over.unwrap_or_else(|| "nothing is locked here.".to_owned());
        (Reason::Unlocked, message)
    });
    conditions::set(
        conditions,
        ConditionType::Locked,
        Some(locked),
        reason,
        &message,
        generation,
        now,
    );
}

/// One event when it is locked, unlocked, or locked otherwise.
pub(super) async fn tell<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    before: &[Condition],
    after: &[Condition],
) {
    let of = |conditions| conditions::find(conditions, ConditionType::Locked);
    let (was, Some(is)) = (of(before), of(after)) else {
        return;
    };
    let was_locked = was.is_some_and(|was| was.status == "True");
    let is_locked = is.status == "True";
    let otherwise = is_locked && was.is_some_and(|was| was.message != is.message);
    if was_locked != is_locked || otherwise {
        record::publish(context, object, is_locked, &is.reason, &is.message).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn target(spec: &Value, hold: &Value) -> DeployTarget {
        let mut whole = json!({
            "metadata": {"name": "t", "namespace": "shop", "generation": 4},
            "spec": {"application": "checkout", "environment": "production", "place": {"account": "eks", "namespace": "shop"}},
            "status": {"hold": hold},
        });
        for (key, value) in spec.as_object().unwrap() {
            whole["spec"][key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn said(
        target: &DeployTarget,
        before: &[Condition],
        now: &str,
    ) -> (Vec<Condition>, Option<Timestamp>) {
        let mut conditions = before.to_vec();
        let changes = of_target(target, &mut conditions, now.parse().unwrap());
        (conditions, changes)
    }

    #[test]
    fn a_target_says_who_locked_it_and_that_it_is_over_once_it_is() {
        let never = target(&json!({}), &Value::Null);
        assert_eq!(said(&never, &[], "2026-03-02T12:00:00Z"), (vec![], None));

        let lock = json!({"lock": {
            "reason": "a migration runs", "until": "2026-03-02T14:00:00Z", "by": {"username": "alice@corp.example"},
        }});
        let locked = target(&lock, &Value::Null);
        let (conditions, changes) = said(&locked, &[], "2026-03-02T12:00:00Z");
        let [is] = &conditions[..] else {
            panic!("{conditions:?}")
        };
        assert_eq!((is.status.as_str(), is.reason.as_str()), ("True", "Locked"));
        assert_eq!(is.observed_generation, Some(4));
        assert!(is.message.contains("alice@corp.example"), "{}", is.message);
        assert!(is.message.contains("a migration runs"), "{}", is.message);
        assert_eq!(changes, Some("2026-03-02T14:00:00Z".parse().unwrap()));

        let (over, changes) = said(&locked, &conditions, "2026-03-02T14:00:00Z");
        let [is] = &over[..] else { panic!("{over:?}") };
        assert_eq!(
            (is.status.as_str(), is.reason.as_str()),
            ("False", "Unlocked")
        );
        assert!(
            is.message.contains("2026-03-02 14:00 UTC"),
            "{}",
            is.message
        );
        assert_eq!(changes, None);

        let (lifted, _) = said(&never, &conditions, "2026-03-02T12:00:00Z");
        assert_eq!(lifted[0].status, "False");
    }

    #[test]
    fn a_hold_is_told_apart_from_a_lock() {
        let hold = json!({
            "uid": "r1", "name": "back", "by": "bob@corp.example", "from": "v2", "to": "v1", "since": "2026-03-02T10:00:00Z",
        });
        let (told, changes) = said(&target(&json!({}), &hold), &[], "2026-03-02T12:00:00Z");
        assert_eq!(
            (told[0].status.as_str(), told[0].reason.as_str()),
            ("True", "Held")
        );
        assert_eq!(changes, None);
        let lifted = target(&json!({"unhold": {"uid": "r1"}}), &hold);
        let (lifted, _) = said(&lifted, &told, "2026-03-02T12:00:00Z");
        assert_eq!(lifted[0].status, "False");
        let other = target(&json!({"unhold": {"uid": "r0"}}), &hold);
        assert_eq!(
            said(&other, &[], "2026-03-02T12:00:00Z").0[0].reason,
            "Held"
        );
    }
}
