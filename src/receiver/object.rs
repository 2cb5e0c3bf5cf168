//! From a plan to the `DeployRequest` that carries it out, and whether an existing one is that. Touches nothing.

use std::time::Duration;

use kube::ResourceExt;

use super::plan::{Plan, repeat};
use crate::{
    api::{DeployRequest, deploy_request::DeployRequestSpec},
    identity::Person,
};

/// Which application a request is for, to be selected by.
const APPLICATION_LABEL: &str = "foredeck.dev/application";
/// Which environment.
const ENVIRONMENT_LABEL: &str = "foredeck.dev/environment";
/// That it was asked for in Slack.
const ORIGIN_LABEL: &str = "foredeck.dev/origin";

/// The key under which a plan runs once. Not the default, which knows no difference between asking and asking again.
fn key(plan: &Plan) -> String {
    plan.request_name()
}

/// The request that carries the plan out. `ttl` is how long the object stays after its end; for ever when absent.
pub(super) fn request(plan: &Plan, person: &Person, ttl: Option<Duration>) -> DeployRequest {
    let actor = person.actor();
    let mut request = plan.request(actor.username, actor.groups);
    request.spec.idempotency_key = Some(key(plan));
    request.spec.ttl_after_finished = ttl.map(Into::into);
    let labels = [
        (APPLICATION_LABEL, plan.order.application.as_str()),
        (ENVIRONMENT_LABEL, plan.order.environment.as_str()),
        (ORIGIN_LABEL, "slack"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    request.labels_mut().extend(labels);
    request
}

/// What an existing object is to a plan of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It is what was asked for.
    Same,
    /// It is another copy of the plan: one before an edit, or after it.
    OtherCopy,
    /// It is something else, or somebody else's.
    Foreign,
}

/// What an existing object of the plan's name is to the plan.
pub(super) fn likeness(plan: &Plan, existing: &DeployRequest) -> Likeness {
    let spec = &existing.spec;
    let requester = spec.requester.as_ref();
    let asker = requester.and_then(|requester| requester.slack.as_ref());
    let same_plan = spec.idempotency_key == Some(key(plan)) && asker == Some(&plan.asker);
    let same_team = existing.metadata.namespace.as_deref() == Some(plan.namespace.as_str());
    if !same_plan {
        Likeness::Foreign
    } else if same_team
        && repeat::is_same(&plan.order.spec(None, None), existing)
        && has_terms(plan, existing)
    {
        Likeness::Same
    } else {
        Likeness::OtherCopy
    }
}

/// Whether it may start when the plan says, and passes what the plan says: what somebody had it pass since is no part of any
/// plan.
fn has_terms(plan: &Plan, existing: &DeployRequest) -> bool {
    let asked = plan.order.spec(None, None);
    let spec = &existing.spec;
    let why = |spec: &DeployRequestSpec| spec.override_.as_ref().map(|it| it.reason.clone());
    asked.not_before == spec.not_before
        && asked.start_before == spec.start_before
        && (asked.override_.is_none() || why(&asked) == why(spec))
}

/// Whether the object is of this plan: somebody else may have made one of that name.
pub(super) fn is_of(plan: &Plan, existing: &DeployRequest) -> bool {
    likeness(plan, existing) != Likeness::Foreign
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        api::actor::SlackPerson,
        receiver::plan::PlanId,
        slack::ids::{TeamId, TriggerId},
    };

    fn plan(trigger: &str) -> Plan {
        Plan {
            id: PlanId::of_command(
                &TeamId::new("T1").unwrap(),
                &TriggerId::new(trigger).unwrap(),
            ),
            namespace: "shop".to_owned(),
            order: serde_json::from_value(json!({
                "action": "deploy", "application": "checkout", "version": "main", "environment": "staging",
                "parameters": {"replicas": "3"}, "reason": "because", "target": null,
            }))
            .unwrap(),
            asker: SlackPerson {
                team: "T1".to_owned(),
                user: "U1".to_owned(),
            },
            place: serde_json::from_value(json!({"channel": "C1", "threadTs": "1.2"})).unwrap(),
            asked_at: Timestamp::UNIX_EPOCH,
            shown: "digest".to_owned(),
        }
    }

    fn person() -> Person {
        Person {
            username: "alice@corp.example".to_owned(),
            groups: vec!["okta:shop-deployers".to_owned()],
            slack: plan("1.2.x").asker,
            silent: Vec::new(),
        }
    }

    #[test]
    fn a_request_says_what_who_where_and_for_how_long() {
        let plan = plan("1.2.x");
        let request = request(&plan, &person(), Some(Duration::from_hours(720)));
        let name = plan.request_name();
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({
                "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
                "metadata": {"name": name, "namespace": "shop", "labels": {
                    "foredeck.dev/application": "checkout", "foredeck.dev/environment": "staging", "foredeck.dev/origin": "slack",
                }},
                "spec": {
                    "application": "checkout", "environment": "staging", "action": "deploy", "version": "main",
                    "parameters": {"replicas": "3"}, "reason": "because", "idempotencyKey": name,
                    "requester": {
                        "username": "alice@corp.example", "groups": ["okta:shop-deployers"],
                        "slack": {"team": "T1", "user": "U1"},
                    },
                    "notify": {"slack": {"channel": "C1", "threadTs": "1.2"}}, "ttlAfterFinished": "2592000s",
                },
            })
        );
    }

    #[test]
    fn an_object_of_the_name_is_the_plan_a_copy_of_it_or_foreign() {
        let plan = plan("1.2.x");
        let own = request(&plan, &person(), None);
        assert_eq!(likeness(&plan, &own), Likeness::Same);
        let mut edited = own.clone();
        edited.spec.version = Some("other".to_owned());
        assert_eq!(likeness(&plan, &edited), Likeness::OtherCopy);
        let at = |commit: char| Some(commit.to_string().repeat(40));
        let (mut at_plan, mut at_request) = (plan.clone(), own.clone());
        at_plan.order.commit = at('a');
        assert_eq!(likeness(&at_plan, &own), Likeness::Same, "nobody knew");
        at_request.spec.commit = at('a');
        assert_eq!(likeness(&at_plan, &at_request), Likeness::Same);
        at_request.spec.commit = at('b');
        assert_eq!(likeness(&at_plan, &at_request), Likeness::OtherCopy);
        let mut timed = plan.clone();
        timed.order.terms.not_before = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(likeness(&timed, &own), Likeness::OtherCopy, "another time");
        let mut passing = plan.clone();
        passing.order.terms.overriding = Some("why".to_owned());
        assert_eq!(likeness(&passing, &own), Likeness::OtherCopy);
        let passed = request(&passing, &person(), None);
        assert_eq!(likeness(&passing, &passed), Likeness::Same);
        assert_eq!(
            likeness(&plan, &passed),
            Likeness::Same,
            "somebody had it pass since"
        );
        let mut moved = own.clone();
        moved.metadata.namespace = Some("bank".to_owned());
        assert_eq!(likeness(&plan, &moved), Likeness::OtherCopy);
        let mut unsigned = own.clone();
        unsigned.spec.requester = None;
        assert_eq!(likeness(&plan, &unsigned), Likeness::Foreign);
        let mut keyless = own;
        keyless.spec.idempotency_key = None;
        assert_eq!(likeness(&plan, &keyless), Likeness::Foreign);
    }
}
