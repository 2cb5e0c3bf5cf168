//! What each kind takes and refuses when it is created, and who writes its status.

use anyhow::{Context, Result};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use crate::{Kind, installed, refusal};

/// What is tried on one kind: a change of the least spec, and what the refusal has to name, if there is to be one.
pub(crate) type Row = (Value, Option<&'static str>);

pub(crate) async fn check(kind: &str, rows: Vec<Row>) -> Result<()> {
    let (plane, namespace) = installed("rules").await?;
    let kind = Kind::named(kind)?;
    let api = kind.api(plane, &namespace);
    for (index, (change, refused)) in rows.into_iter().enumerate() {
        let mut spec = kind.least()?;
        spec.extend(change.as_object().context("a change")?.clone());
        let answer = api
            .create(
                &PostParams::default(),
                &kind.object(&format!("row-{index}"), spec),
            )
            .await;
        let what = change.to_string().chars().take(200).collect::<String>();
        match refused {
            None => {
                answer.with_context(|| what)?;
            }
            Some(named) => {
                let message = refusal(&what, answer)?;
                anyhow::ensure!(message.contains(named), "{what} is refused with: {message}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_action_is_a_verb_that_is_free() -> Result<()> {
    let action = |name: &str| json!({"actions": {name: {"pipeline": "Any"}}});
    let reserved = [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "impersonate",
        "bind",
        "escalate",
        "use",
        "approve",
        "cancel",
        "lock",
        "override",
        "judge",
    ];
    let malformed = [
        "x",
        "Deploy",
        "2nd",
        "de_ploy",
        "deploy!",
        "a2345678901234567890123456789012",
    ];
    let free = [
        "deploy",
        "rollback",
        "restart",
        "scale-up",
        "a234567890123456789012345678901",
    ];
    let rows = reserved
        .iter()
        .chain(&malformed)
        .map(|name| (action(name), Some("spec.actions")))
        .chain(free.iter().map(|name| (action(name), None)))
        .chain([(json!({"actions": {}}), Some("spec.actions"))])
        .collect();
    check("Application", rows).await
}

#[tokio::test]
async fn durations_are_written_as_kubernetes_writes_them() -> Result<()> {
    for (kind, path) in [
        ("DeployRequest", ["timeout"].as_slice()),
        ("DeployRequest", &["ttlAfterFinished"]),
        ("Environment", &["protection", "expireAfter"]),
        ("SpinnakerConnection", &["timeouts", "connect"]),
        ("SpinnakerConnection", &["timeouts", "request"]),
        ("SpinnakerConnection", &["timeouts", "settle"]),
    ] {
        let change = |text: &str| {
            path.iter()
                .rev()
                .fold(json!(text), |value, name| json!({(*name): value}))
        };
        let named = path.last().copied();
        let good = ["30s", "90m", "1h30m", "500ms", "0s"];
        let bad = [
            "",
            "30",
            "s",
            "-30s",
            "1d",
            "1.5h",
            "30 s",
            "P1D",
            "123456789s",
            "1h1h1h1h1h1h1h1h1h",
        ];
        let rows = good
            .map(|text| (change(text), None))
            .into_iter()
            .chain(bad.map(|text| (change(text), named)))
            .collect();
        check(kind, rows)
            .await
            .with_context(|| format!("{kind} {path:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn an_approval_answers_one_question() -> Result<()> {
    let judgment = json!({"execution": "01M", "stage": "s1"});
    let rows = vec![
        (json!({}), None),
        (json!({"for": "Start"}), None),
        (json!({"digest": null}), Some("for a Start give digest")),
        (json!({"digest": "ab"}), Some("spec.digest")),
        (json!({"digest": "A".repeat(64)}), Some("spec.digest")),
        (
            json!({"digest": null, "judgment": judgment}),
            Some("for a Start give digest"),
        ),
        (json!({"judgment": judgment}), Some("not both")),
        (
            json!({"for": "Judgment", "digest": null, "judgment": judgment}),
            None,
        ),
        (
            json!({"for": "Judgment", "judgment": judgment}),
            Some("not both"),
        ),
        (
            json!({"for": "Judgment"}),
            Some("for a Judgment give judgment"),
        ),
        (
            json!({"for": "Judgment", "digest": null}),
            Some("for a Judgment give judgment"),
        ),
        (
            json!({"for": "Judgment", "digest": null, "judgment": {"execution": "01M"}}),
            Some("spec.judgment.stage"),
        ),
        (json!({"for": "Everything"}), Some("spec.for")),
        (json!({"decision": "Maybe"}), Some("spec.decision")),
        (
            json!({"decision": "Reject"}),
            Some("a rejection needs a comment"),
        ),
        (
            json!({"decision": "Reject", "comment": ""}),
            Some("a rejection needs a comment"),
        ),
        (json!({"decision": "Reject", "comment": "not today"}), None),
        (json!({"comment": "c".repeat(1025)}), Some("spec.comment")),
        (
            json!({"request": {"name": "one"}}),
            Some("spec.request.uid"),
        ),
        (
            json!({"approver": {"groups": ["a"]}}),
            Some("spec.approver.username"),
        ),
    ];
    check("DeployApproval", rows).await
}

#[tokio::test]
async fn whoever_did_something_has_bounds() -> Result<()> {
    let groups = |count: usize| -> Vec<String> { (0..count).map(|at| format!("g{at}")).collect() };
    let actor = |more: Value| {
        let mut actor = json!({"username": "alice@corp.example"});
        for (name, value) in more.as_object().into_iter().flatten() {
            actor[name] = value.clone();
        }
        json!({"requester": actor})
    };
    let slack = |team: &str, user: &str| actor(json!({"slack": {"team": team, "user": user}}));
    let rows = vec![
        (actor(json!({})), None),
        (actor(json!({"username": ""})), Some("requester.username")),
        (
            actor(json!({"username": "a".repeat(254)})),
            Some("requester.username"),
        ),
        (actor(json!({"groups": groups(500)})), None),
        (
            actor(json!({"groups": groups(501)})),
            Some("requester.groups"),
        ),
        (actor(json!({"groups": [""]})), Some("requester.groups")),
        (slack("T01", "U01"), None),
        (slack("t01", "U01"), Some("requester.slack.team")),
        (slack("T01", "U 1"), Some("requester.slack.user")),
        (
            actor(json!({"slack": {"team": "T01"}})),
            Some("requester.slack.user"),
        ),
    ];
    check("DeployRequest", rows).await
}

#[tokio::test]
async fn a_person_has_bounds() -> Result<()> {
    let names = |count: usize| -> Vec<String> { (0..count).map(|at| format!("n{at}")).collect() };
    let rows = vec![
        (json!({"username": "alice"}), None),
        (json!({"username": ""}), Some("spec.username")),
        (json!({"usernames": names(20)}), None),
        (json!({"usernames": names(21)}), Some("spec.usernames")),
        (json!({"slack": {"team": "T01", "user": "U01"}}), None),
        (json!({"slack": {"team": "T01"}}), Some("spec.slack.user")),
    ];
    check("Person", rows).await
}

#[tokio::test]
async fn a_request_has_bounds() -> Result<()> {
    let parameters = |count: usize| -> Value {
        (0..count)
            .map(|index| (format!("p{index}"), json!("v")))
            .collect::<Map<_, _>>()
            .into()
    };
    let rows = vec![
        (json!({"parameters": parameters(64)}), None),
        (
            json!({"parameters": parameters(65)}),
            Some("spec.parameters"),
        ),
        (json!({"parameters": {"p": "x".repeat(1024)}}), None),
        (json!({"parameters": {"p": "ü".repeat(1024)}}), None),
        (
            json!({"parameters": {"p": "x".repeat(1025)}}),
            Some("spec.parameters"),
        ),
        (json!({"parameters": {"p": 3}}), Some("spec.parameters")),
        (json!({"application": "a".repeat(63)}), None),
        (
            json!({"application": "a".repeat(64)}),
            Some("spec.application"),
        ),
        (json!({"application": ""}), Some("spec.application")),
        (json!({"version": ""}), Some("spec.version")),
        (json!({"version": "v".repeat(254)}), Some("spec.version")),
        (json!({"action": "Deploy"}), Some("spec.action")),
        (json!({"idempotencyKey": ""}), Some("spec.idempotencyKey")),
        (
            json!({"target": {"namespace": "n".repeat(64)}}),
            Some("spec.target.namespace"),
        ),
        (
            json!({"cancel": {"reason": "r".repeat(1025)}}),
            Some("spec.cancel.reason"),
        ),
    ];
    check("DeployRequest", rows).await
}

#[tokio::test]
async fn a_request_starts_between_two_times() -> Result<()> {
    let (early, late) = ("2026-11-27T18:00:00Z", "2026-11-27T20:00:00+01:00");
    let rows = vec![
        (json!({"notBefore": early}), None),
        (json!({"startBefore": early}), None),
        (json!({"notBefore": early, "startBefore": late}), None),
        (
            json!({"notBefore": late, "startBefore": early}),
            Some("startBefore has to come after notBefore"),
        ),
        // The same moment, by another clock.
        (
            json!({"notBefore": early, "startBefore": "2026-11-27T19:00:00+01:00"}),
            Some("startBefore has to come after notBefore"),
        ),
        (json!({"notBefore": "tonight"}), Some("spec.notBefore")),
        (json!({"override": {}}), Some("spec.override.reason")),
        (
            json!({"override": {"reason": ""}}),
            Some("spec.override.reason"),
        ),
        (json!({"override": {"reason": "checkout is down"}}), None),
    ];
    check("DeployRequest", rows).await
}

#[tokio::test]
async fn a_freeze_has_times_and_actions_that_make_sense() -> Result<()> {
    let (early, late) = ("2026-11-27T18:00:00Z", "2026-11-30T07:00:00Z");
    let schedule =
        |cron: &str, duration: &str| json!({"schedule": {"cron": cron, "duration": duration}});
    let zone =
        |zone: &str| json!({"schedule": {"cron": "0 18 * * 5", "duration": "1h", "zone": zone}});
    let one_way = "actions and exceptActions exclude each other";
    let rows = vec![
        (json!({}), None),
        (json!({"reason": ""}), Some("spec.reason")),
        (json!({"reason": null}), Some("spec.reason")),
        (json!({"from": early, "until": late}), None),
        (
            json!({"from": late, "until": early}),
            Some("until has to come after from"),
        ),
        (
            json!({"from": early, "until": early}),
            Some("until has to come after from"),
        ),
        (json!({"actions": ["deploy"]}), None),
        (json!({"exceptActions": ["rollback"]}), None),
        (
            json!({"actions": ["deploy"], "exceptActions": ["rollback"]}),
            Some(one_way),
        ),
        (json!({"actions": ["Deploy"]}), Some("spec.actions")),
        (schedule("0 18 * * 5", "61h"), None),
        (schedule("0 18 * *", "61h"), Some("spec.schedule.cron")),
        (schedule("0 0 18 * * 5", "61h"), Some("spec.schedule.cron")),
        (schedule("0 18 * * 5", "3d"), Some("spec.schedule.duration")),
        (zone("Europe/Berlin"), None),
        (zone("../../etc/passwd"), Some("spec.schedule.zone")),
        (json!({"running": "Cancel"}), None),
        (json!({"running": "Pause"}), Some("spec.running")),
        (
            json!({"environmentSelector": {"matchExpressions": [{"key": "tier", "operator": "In"}]}}),
            Some("In and NotIn take values"),
        ),
        (
            json!({"notify": {"slack": {"channels": []}}}),
            Some("spec.notify.slack.channels"),
        ),
        (
            json!({"notify": {"slack": {"channels": ["#ops"]}}}),
            Some("spec.notify.slack.channels"),
        ),
    ];
    check("DeployFreeze", rows).await
}

#[tokio::test]
async fn locks_and_order_have_bounds() -> Result<()> {
    let lock = |reason: Value| json!({"lock": {"reason": reason}});
    for kind in ["DeployTarget", "Environment"] {
        let rows = vec![
            (lock(json!("the till is migrated")), None),
            (lock(json!("")), Some("spec.lock.reason")),
            (lock(json!("r".repeat(1025))), Some("spec.lock.reason")),
            (json!({"lock": {}}), Some("spec.lock.reason")),
            (
                json!({"lock": {"reason": "x", "until": "2h"}}),
                Some("spec.lock.until"),
            ),
        ];
        check(kind, rows).await.context(kind)?;
    }
    let unhold = vec![
        (json!({"unhold": {"uid": "u1"}}), None),
        (json!({"unhold": {"uid": ""}}), Some("spec.unhold.uid")),
        (json!({"unhold": {}}), Some("spec.unhold.uid")),
    ];
    check("DeployTarget", unhold).await?;
    let after = |after: Value| json!({"protection": {"after": after}});
    let staging = |soak: &str| after(json!([{"environment": "staging", "for": soak}]));
    let many: Vec<Value> = (0..11)
        .map(|at| json!({"environment": format!("e{at}")}))
        .collect();
    let order = vec![
        (after(json!([{"environment": "staging"}])), None),
        (staging("10m"), None),
        (staging("1d"), Some("spec.protection.after[0].for")),
        (
            after(json!([{"for": "10m"}])),
            Some("spec.protection.after[0].environment"),
        ),
        (after(json!(many)), Some("spec.protection.after")),
    ];
    check("Environment", order).await
}

#[tokio::test]
async fn a_status_is_written_by_itself_only() -> Result<()> {
    let (plane, namespace) = installed("status").await?;
    for kind in Kind::all() {
        let api = kind.api(plane, &namespace);
        let mut object = kind.object("own", kind.least()?);
        let condition = json!([{
            "type": "Ready", "status": "True", "reason": "Forged", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]);
        // The one kind of whose status nobody makes conditions.
        let status = match kind.name() {
            "Person" => json!({"username": "forged"}),
            _ => json!({"conditions": condition}),
        };
        object.data["status"] = status.clone();
        let created = api.create(&PostParams::default(), &object).await?;
        assert_eq!(
            created.data.get("status"),
            None,
            "{} by create",
            kind.name()
        );

        let patch = Patch::Merge(json!({"status": status}));
        let patched = api.patch("own", &PatchParams::default(), &patch).await?;
        assert_eq!(patched.data.get("status"), None, "{} by patch", kind.name());

        let mut replaced = patched;
        replaced.data["status"] = status.clone();
        let replaced = api
            .replace("own", &PostParams::default(), &replaced)
            .await?;
        assert_eq!(replaced.data.get("status"), None, "{} by put", kind.name());

        let both = Patch::Merge(
            json!({"status": status, "spec": {"x": 1}, "metadata": {"labels": {"a": "b"}}}),
        );
        let own = api
            .patch_status("own", &PatchParams::default(), &both)
            .await?;
        assert_eq!(own.data["status"], status, "{}", kind.name());
        assert_eq!(own.data["spec"], replaced.data["spec"], "{}", kind.name());
        assert_eq!(own.metadata.generation, replaced.metadata.generation);
    }
    Ok(())
}
