//! What the table of gates reads like.

use serde_json::{Value, json};

use super::*;

fn request(spec: &Value, status: &Value) -> DeployRequest {
    let mut whole = json!({
        "application": "checkout", "environment": "production", "version": "v2",
        "requester": {"username": "alice@corp.example"},
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
        "metadata": {"name": "one", "namespace": "shop"}, "spec": whole, "status": status,
    }))
    .unwrap()
}

fn held() -> Value {
    json!({
        "phase": "Queued",
        "message": "Held: freeze `weekend`. Also closed: Lock.",
        "waiting": {"for": "Freeze", "message": "Held: freeze `weekend`. Also closed: Lock.", "since": "2026-06-06T12:00:00Z"},
        "gates": [
            {"gate": "Lock", "state": "Closed", "reason": "Locked", "message": "locked by `ada`"},
            {"gate": "Policies", "state": "Open"},
            {"gate": "Order", "state": "Unknown", "reason": "GuardsUnknown", "message": "no answer."},
            {"gate": "Freeze", "state": "Closed", "reason": "Frozen", "message": "Held: \u{202e}freeze\n`week\u{200b}end`.\u{1b}[2J", "until": "2026-06-08T06:00:00Z"},
        ],
        "decisions": [{"at": "2026-06-06T12:00:00Z", "what": "Requested", "by": "alice@corp.example"}],
    })
}

#[test]
fn a_held_request_shows_every_gate_and_what_can_be_done() {
    let text = explain(&request(&json!({}), &held())).text();
    assert_eq!(
        text,
        "\
Queued: shop/one
Asks for deploy of `checkout` `v2` in `production`, asked for by `alice@corp.example`.
Held: freeze `weekend`. Also closed: Lock.

Gates, as they were last judged:
  ✓ open        Policies
  ? unknown     Order          no answer.
  ✗ closed      Freeze         Held: freeze `weekend`. [2J Opens 2026-06-08 06:00 UTC.
  ✗ closed      Lock           locked by `ada`

Decided:
  2026-06-06 12:00 UTC Requested by `alice@corp.example`

What can be done:
  Whoever has the verb `override` can let it pass order, freezes and locks: `kubectl patch dr one -n shop --type merge -p '{\"spec\":{\"override\":{\"reason\":\"…\"}}}'`.
  Who asked for it, or has the verb `cancel`, can cancel it: `kubectl patch dr one -n shop --type merge -p '{\"spec\":{\"cancel\":{\"reason\":\"…\"}}}'`.
"
    );
}

#[test]
fn one_that_ended_says_how_and_that_it_stays_so() {
    let mut status = held();
    status["phase"] = json!("Expired");
    status["message"] = json!("it waited too long.");
    status["finishedAt"] = json!("2026-06-07T12:00:00Z");
    status["conditions"] = json!([{
        "type": "Succeeded", "status": "False", "reason": "Expired", "message": "", "lastTransitionTime": "2026-06-07T12:00:00Z",
    }]);
    let found = explain(&request(&json!({}), &status));
    assert_eq!(found.reason.as_deref(), Some("Expired"));
    assert_eq!(found.waiting, None);
    assert_eq!(found.gates.len(), 4);
    assert_eq!(found.ways.len(), 1);
    let text = found.text();
    assert!(
        text.starts_with("Expired: shop/one (Expired)\n")
            && text.contains("\nEnded 2026-06-07 12:00 UTC.\nit waited too long.\n"),
        "{text}"
    );
}

#[test]
fn only_what_would_help_is_named() {
    let ways = |spec: Value, gates: Value| {
        let status = json!({"phase": "Queued", "gates": gates});
        explain(&request(&spec, &status)).ways.join("\n")
    };
    let gate = |kind: &str, state: &str| json!([{"gate": kind, "state": state}]);
    for kind in ["Order", "Freeze", "Lock"] {
        assert!(
            ways(json!({}), gate(kind, "Closed")).contains("`override`"),
            "{kind}"
        );
        assert!(
            !ways(json!({}), gate(kind, "Open")).contains("`override`"),
            "{kind}"
        );
        assert!(
            !ways(json!({}), gate(kind, "Overridden")).contains("`override`"),
            "{kind}"
        );
    }
    for kind in ["Policies", "Authorization", "Approval", "Time", "Queue"] {
        assert!(
            !ways(json!({}), gate(kind, "Closed")).contains("`override`"),
            "{kind}"
        );
    }
    assert!(ways(json!({}), gate("Approval", "Closed")).contains("`approve`"));
    assert_eq!(ways(json!({"cancel": {}}), json!([])), "");
}

#[test]
fn one_that_nobody_has_seen_is_explained_too() {
    let found = explain(&request(&json!({}), &Value::Null));
    assert_eq!(found.phase, Phase::Pending);
    assert!(found.text().contains("No gate was judged for it so far."));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["phase"], "Pending");
    assert_eq!(json["gates"], json!([]));
}
