//! The time that a request names. Touches nothing.

use jiff::Timestamp;

use super::Closed;
use crate::{
    api::{DeployRequest, conditions::Reason, deploy_request::WaitingFor},
    domain::{moments::when, refusal::Refusal},
};

/// Why it is too early.
pub fn closed(request: &DeployRequest, now: Timestamp) -> Option<Closed> {
    let begins = request.spec.not_before.as_ref()?.0;
    if begins <= now {
        return None;
    }
    let message = format!(
        "It starts {} at the earliest, as it was asked for (spec.notBefore); everything else is judged again then. For another time, cancel it and ask anew.",
        when(begins)
    );
    Some(Closed {
        refusal: Refusal::passing(WaitingFor::Time, Reason::NotYet, message),
        until: Some(begins),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(not_before: &Value) -> DeployRequest {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "one"},
            "spec": {"application": "checkout", "environment": "production", "notBefore": not_before},
        }))
        .unwrap()
    }

    #[test]
    fn a_request_starts_at_its_time_and_not_a_moment_before() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let tonight = request(&json!("2026-03-29T20:00:00Z"));
        let table = [
            ("2026-03-29T08:00:00Z", true),
            ("2026-03-29T19:59:59.999999999Z", true),
            ("2026-03-29T20:00:00Z", false),
            ("2026-03-30T00:00:00Z", false),
        ];
        for (now, early) in table {
            let found = closed(&tonight, at(now));
            assert_eq!(found.is_some(), early, "{now}");
            let Some(found) = found else { continue };
            assert_eq!(found.until, Some(at("2026-03-29T20:00:00Z")));
            assert_eq!(found.refusal.waiting_for, Some(WaitingFor::Time));
            assert_eq!(found.refusal.reason, Reason::NotYet);
            assert!(
                found.refusal.message.contains("2026-03-29 20:00 UTC"),
                "{}",
                found.refusal.message
            );
        }
        assert_eq!(
            closed(&request(&Value::Null), at("2026-03-29T08:00:00Z")),
            None
        );
    }
}
