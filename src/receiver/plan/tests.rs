//! Identity; and what the tests beside share.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    receiver::grammar::{Intent, Vocabulary, parse},
    slack::ids::{ChannelId, MessageTs, TeamId, TriggerId, ViewId},
};

pub(in crate::receiver) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(in crate::receiver) fn alice() -> SlackPerson {
    SlackPerson {
        team: "T1".to_owned(),
        user: "U1".to_owned(),
    }
}

pub(super) fn order(text: &str) -> Order {
    let verbs = ["rollback", "restart"].map(str::to_owned);
    let vocabulary = Vocabulary::new(verbs, Vec::new(), ["staging".to_owned()]);
    match parse(text, &vocabulary) {
        Ok(Intent::Act(act)) => Order::of(&act).unwrap(),
        other => panic!("{text}: {other:?}"),
    }
}

pub(in crate::receiver) fn plan(text: &str) -> Plan {
    Plan {
        id: PlanId::of_command(
            &TeamId::new("T1").unwrap(),
            &TriggerId::new("1.2.3").unwrap(),
        ),
        namespace: "shop".to_owned(),
        order: order(text),
        asker: alice(),
        place: SlackPlace {
            channel: "C1".to_owned(),
            thread_ts: Some("1712345678.000100".to_owned()),
        },
        asked_at: now(),
        shown: "0123456789abcdef".to_owned(),
    }
}

pub(super) fn request(name: &str, spec: &Value, status: &Value) -> DeployRequest {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-03-01T11:00:00Z"},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

pub(super) fn wish() -> Value {
    json!({"application": "checkout", "environment": "staging", "version": "main"})
}

#[test]
fn the_name_is_made_of_the_delivery_alone_and_is_a_dns_label() {
    let team = TeamId::new("T1").unwrap();
    let trigger = |text: &str| TriggerId::new(text).unwrap();
    let one = PlanId::of_command(&team, &trigger("1.2.3"));
    assert_eq!(one, PlanId::of_command(&team, &trigger("1.2.3")));
    let channel = ChannelId::new("C1").unwrap();
    let message = PlanId::of_message(&channel, &MessageTs::new("1.2").unwrap());
    let others = [
        PlanId::of_command(&team, &trigger("1.2.4")),
        PlanId::of_command(&TeamId::new("T2").unwrap(), &trigger("1.2.3")),
        PlanId::of_message(&channel, &MessageTs::new("1.3").unwrap()),
        PlanId::of_view(&ViewId::new("V1").unwrap()),
        message,
    ];
    let mut names: Vec<String> = others.iter().map(request_name).collect();
    names.push(request_name(&one));
    for name in &names {
        assert!(name.len() <= 63 && name.starts_with("slack-"), "{name}");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6);
}

#[test]
fn an_edit_keeps_the_name_the_namespace_and_the_time() {
    let first = plan("checkout main to staging");
    let edited = first.edited(
        order("restart cart in staging replicas=5"),
        "other".to_owned(),
    );
    assert_eq!(edited.request_name(), first.request_name());
    assert_eq!(edited.namespace, first.namespace);
    assert_eq!(edited.expires_at(), first.expires_at());
    assert_eq!(edited.order.application, "cart");
    let request = edited.request("alice@corp.example", Vec::new());
    assert_eq!(request.metadata.name, Some(first.request_name()));
    assert_eq!(request.metadata.namespace.as_deref(), Some("shop"));
    assert_eq!(request.spec.requester.unwrap().slack, Some(alice()));
    assert_eq!(request.spec.notify.unwrap().slack, Some(first.place));
}

#[test]
fn a_plan_is_valid_for_ten_minutes_and_not_before_it_was_asked_for() {
    let plan = plan("checkout main to staging");
    let expired = |seconds: i64| plan.is_expired(now() + jiff::SignedDuration::from_secs(seconds));
    assert!(expired(-61), "a clock that is wrong");
    assert!(!expired(-60));
    assert!(!expired(599));
    assert!(expired(600));
}
