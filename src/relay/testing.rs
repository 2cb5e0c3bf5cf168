//! Requests at every point of their lives, for the tests of what is said about them. Touches nothing.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Application, DeployRequest, Environment, deploy_request::Phase};

/// The moment at which all of these tests take place: five minutes after the request was made.
pub(super) fn now() -> Timestamp {
    "2026-03-04T10:05:00Z".parse().unwrap()
}

/// checkout main to production, asked by alice in `C0ASKED`, as it looks in that phase.
pub(super) fn request(phase: Phase) -> DeployRequest {
    changed(phase, &json!({}))
}

/// The same, with a merge patch on top.
pub(super) fn changed(phase: Phase, patch: &Value) -> DeployRequest {
    let mut object = json!({
        "apiVersion": "foredeck.dev/v1alpha1",
        "kind": "DeployRequest",
        "metadata": {"name": "checkout-main-7f3c2a", "namespace": "shop", "uid": "0b1c4d5e", "creationTimestamp": "2026-03-04T10:00:00Z"},
        "spec": {
            "application": "checkout", "environment": "production", "version": "main",
            "requester": {"username": "alice@corp.example", "slack": {"team": "T01", "user": "U01"}},
            "notify": {"slack": {"channel": "C0ASKED"}},
        },
        "status": {"phase": phase},
    });
    merge(&mut object["status"], &status(phase));
    merge(&mut object, patch);
    serde_json::from_value(object).unwrap()
}

fn status(phase: Phase) -> Value {
    let resolved = json!({
        "connection": "main", "pipeline": {"application": "checkout", "name": "Deploy to production", "id": "p1"},
        "version": "v42", "target": {"account": "eks-1", "namespace": "shop"}, "deployTarget": "t", "digest": "d",
    });
    let stages = |second: &str| {
        json!([
            {"name": "Bake", "type": "bake", "status": "SUCCEEDED", "startedAt": "2026-03-04T10:01:00Z", "finishedAt": "2026-03-04T10:02:30Z"},
            {"name": "Deploy", "type": "deploy", "status": second, "startedAt": "2026-03-04T10:02:30Z",
             "finishedAt": (second != "RUNNING").then_some("2026-03-04T10:04:00Z")},
            {"name": "Smoke test", "type": "script", "status": if second == "SUCCEEDED" { "SUCCEEDED" } else { "NOT_STARTED" }},
        ])
    };
    let execution = |word: &str, second: &str| json!({"id": "01J", "url": "https://deck.example/#/applications/checkout/executions/01J", "status": word, "stages": stages(second)});
    let approvals = json!({
        "required": 2, "missingGroups": ["okta:leads"], "until": "2026-03-04T14:00:30Z",
        "given": [{"name": "approval-1", "by": "bob@corp.example", "at": "2026-03-04T10:00:30Z", "comment": "looks good"}],
    });
    let started = "2026-03-04T10:01:00Z";
    let finished = "2026-03-04T10:04:12Z";
    match phase {
        Phase::Pending => json!({
            "message": "there is no Environment \"production\" in this namespace; it goes on as soon as somebody creates it.",
            "waiting": {"for": "Configuration", "message": "there is no Environment \"production\" in this namespace; it goes on as soon as somebody creates it.", "since": "2026-03-04T10:00:01Z", "until": "2026-03-05T10:00:00Z"},
        }),
        Phase::AwaitingApproval => json!({
            "resolved": resolved, "approvals": approvals,
            "waiting": {"for": "Approval", "message": "1 of 2 approvals: somebody with the verb approve has to say yes.", "since": "2026-03-04T10:00:01Z", "until": "2026-03-05T10:00:00Z"},
        }),
        Phase::Queued => json!({
            "resolved": resolved,
            "waiting": {"for": "Queue", "message": "\"checkout-v41\" holds the target.", "since": "2026-03-04T10:00:01Z"},
        }),
        Phase::Starting => {
            json!({"resolved": resolved, "message": "it holds its target and is being sent to Spinnaker."})
        }
        Phase::Running => json!({
            "resolved": resolved, "startedAt": started, "stage": "Deploy", "message": "Spinnaker runs it: Deploy.",
            "execution": execution("RUNNING", "RUNNING"),
        }),
        Phase::Unknown => json!({
            "resolved": resolved, "message": "it was sent, and no answer came.",
            "waiting": {"for": "Person", "message": "whether it runs can't be known; look for execution 01J.", "since": "2026-03-04T10:01:01Z"},
        }),
        Phase::Succeeded => json!({
            "resolved": resolved, "startedAt": started, "finishedAt": finished, "execution": execution("SUCCEEDED", "SUCCEEDED"),
            "message": "it succeeded.",
        }),
        Phase::Failed => {
            let mut failed = execution("TERMINAL", "TERMINAL");
            failed["failure"] = json!({"stage": "Deploy", "message": "\n---\nDeployment exceeded its progress deadline\n0 of 3 pods are ready"});
            json!({"resolved": resolved, "startedAt": started, "finishedAt": finished, "execution": failed, "message": "stage \"Deploy\" failed"})
        }
        Phase::Canceled => json!({
            "resolved": resolved, "finishedAt": finished, "message": "it was canceled before anything was started.",
        }),
        Phase::Denied => json!({
            "finishedAt": finished, "message": "\"alice@corp.example\" has no verb deploy on Environment \"production\".",
        }),
        Phase::Expired => json!({
            "finishedAt": finished, "message": "it waited for more than 24 h. It last waited because its turn did not come.",
        }),
    }
}

/// checkout waits at a manual judgment, with a merge patch on top.
pub(super) fn judged(patch: &Value) -> DeployRequest {
    let mut object = json!({"status": {
        "execution": {"stages": [{"name": "Go?", "type": "manualJudgment", "status": "RUNNING", "startedAt": "2026-03-04T10:01:00Z"}]},
        "waiting": {"for": "Judgment", "message": "stage \"Go?\" waits for a person", "since": "2026-03-04T10:01:00Z"},
        "judgment": {"stage": "01J-GO", "name": "Go?", "instructions": "Look at the graphs.\nThen decide."},
    }});
    merge(&mut object, patch);
    changed(Phase::Running, &object)
}

/// checkout, whose commits are on GitHub.
pub(super) fn application() -> Application {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application", "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"repository": {"github": "shop/checkout"}, "actions": {"deploy": {"pipeline": "Deploy"}}},
    }))
    .unwrap()
}

/// production, which asks for approvals.
pub(super) fn protected(protection: &Value) -> Environment {
    let mut environment = environment(&json!({}));
    environment.spec.protection = serde_json::from_value(protection.clone()).unwrap();
    environment
}

/// production, with this in `spec.notify.slack`.
pub(super) fn environment(slack: &Value) -> Environment {
    serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "production", "namespace": "shop"},
        "spec": {"connection": "main", "target": {"account": "eks-1", "namespace": "shop"}, "notify": {"slack": slack}},
    }))
    .unwrap()
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}
