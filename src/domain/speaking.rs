//! In which channels a request may have itself told. Touches nothing.
//!
//! The receiver stamps where somebody asked. Anybody else who may create a request could name any channel that the app is
//! in, and have their words shown there: such a channel counts only where the team's own configuration lists it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{
    Application, DeployRequest, Environment,
    conditions::{self, ConditionType, Reason},
};

/// The channel that a request names and that doesn't count: the receiver didn't stamp it, and neither its Environment nor
/// its Application lists it.
pub fn unlisted<'a>(
    request: &'a DeployRequest,
    environment: Option<&Environment>,
    application: Option<&Application>,
) -> Option<&'a str> {
    let spec = &request.spec;
    let channel = &spec.notify.as_ref()?.slack.as_ref()?.channel;
    let requester = spec.requester.as_ref();
    if requester.is_some_and(|requester| requester.slack.is_some()) {
        return None;
    }
    let listed = environment.is_some_and(|environment| names(environment, channel))
        || application
            .and_then(|application| application.spec.slack.as_ref())
            .is_some_and(|slack| slack.channels.contains(channel));
    (!listed).then_some(channel.as_str())
}

fn names(environment: &Environment, channel: &String) -> bool {
    let spec = &environment.spec;
    let notify = spec
        .notify
        .as_ref()
        .and_then(|notify| notify.slack.as_ref());
    spec.protection.channels.contains(channel)
        || notify.is_some_and(|slack| {
            slack.channel.as_ref() == Some(channel) || slack.also.contains(channel)
        })
}

/// Says by the condition `Notified` that a channel doesn't count; takes that back where it does again.
pub fn note(
    conditions: &mut Vec<Condition>,
    request: &DeployRequest,
    unlisted: Option<&str>,
    now: Timestamp,
) {
    let kind = ConditionType::Notified;
    let reason = Reason::ChannelNotListed;
    let generation = request.metadata.generation;
    match unlisted {
        Some(channel) => {
            let message = format!(
                "nothing is told in {channel}: it was not asked for there in Slack, and neither the Environment (spec.notify.slack, spec.protection.channels) nor the Application (spec.slack.channels) lists that channel; whoever keeps them can."
            );
            conditions::set(
                conditions,
                kind,
                Some(false),
                reason,
                &message,
                generation,
                now,
            );
        }
        None => conditions.retain(|condition| {
            condition.type_ != kind.to_string() || condition.reason != reason.to_string()
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(requester: &Value) -> DeployRequest {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "one", "generation": 1},
            "spec": {"application": "checkout", "environment": "production", "requester": requester,
                     "notify": {"slack": {"channel": "C0NAMED"}}},
        }))
        .unwrap()
    }

    fn environment(patch: &Value) -> Environment {
        let mut spec = json!({"connection": "main", "target": {"account": "a", "namespace": "n"}});
        spec.as_object_mut()
            .unwrap()
            .extend(patch.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "production"}, "spec": spec,
        }))
        .unwrap()
    }

    fn application(channels: &[&str]) -> Application {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application", "metadata": {"name": "checkout"},
            "spec": {"actions": {"deploy": {"pipeline": "p"}}, "slack": {"channels": channels}},
        }))
        .unwrap()
    }

    #[test]
    fn a_channel_counts_where_it_was_asked_or_where_it_is_listed() {
        let stranger = request(&json!({"username": "bob@corp.example"}));
        let stamped =
            json!({"username": "alice@corp.example", "slack": {"team": "T01", "user": "U01"}});
        let bare = environment(&json!({}));
        let other = application(&["C0OTHER"]);
        assert_eq!(unlisted(&request(&stamped), None, None), None);
        for request in [&stranger, &request(&Value::Null)] {
            assert_eq!(unlisted(request, None, None), Some("C0NAMED"));
            assert_eq!(
                unlisted(request, Some(&bare), Some(&other)),
                Some("C0NAMED")
            );
            for listing in [
                json!({"notify": {"slack": {"channel": "C0NAMED"}}}),
                json!({"notify": {"slack": {"also": ["C0NAMED"]}}}),
                json!({"protection": {"channels": ["C0NAMED"]}}),
            ] {
                assert_eq!(
                    unlisted(request, Some(&environment(&listing)), None),
                    None,
                    "{listing}"
                );
            }
            assert_eq!(
                unlisted(request, None, Some(&application(&["C0NAMED"]))),
                None
            );
        }
        let mut nowhere = stranger;
        nowhere.spec.notify = None;
        assert_eq!(unlisted(&nowhere, None, None), None);
    }

    #[test]
    fn the_condition_comes_and_goes_with_the_listing() {
        let request = request(&Value::Null);
        let mut conditions = Vec::new();
        note(
            &mut conditions,
            &request,
            Some("C0NAMED"),
            Timestamp::UNIX_EPOCH,
        );
        let said = conditions::find(&conditions, ConditionType::Notified).unwrap();
        assert_eq!(
            (said.status.as_str(), said.reason.as_str()),
            ("False", "ChannelNotListed")
        );
        assert!(said.message.contains("C0NAMED"), "{}", said.message);
        note(&mut conditions, &request, None, Timestamp::UNIX_EPOCH);
        assert!(conditions.is_empty());
    }
}
