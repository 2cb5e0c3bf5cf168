//! Every decision is a status entry, an audit line and an event, with the same fields.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    DeployRequest,
    deploy_request::{DecisionRecord, Phase},
};
use foredeck_testkit::wait_for;
use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, Controller, PATIENCE, deploy};

const QUICK: Duration = Duration::from_millis(200);
const ALICE: &str = "alice@corp.example";
const CAROL: &str = "carol@corp.example";

/// The audit lines about a request, by their ids, each told once.
fn lines(controllers: &[&Controller], request: &str) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for controller in controllers {
        for line in controller.audit()? {
            ensure!(line["audit"] == json!(true), "{line}");
            if line["request"] == json!(request) {
                let id = line["id"].as_str().context("no id")?.to_owned();
                let before = all.insert(id, line.clone());
                ensure!(before.is_none(), "told twice: {line}");
            }
        }
    }
    Ok(all)
}

/// The fields of the events that tell decisions about a request, by their ids.
async fn events(bed: &Bed, request: &str) -> Result<BTreeMap<String, (Event, Value)>> {
    let about = ListParams::default().fields(&format!("regarding.name={request}"));
    let mut all = BTreeMap::new();
    for event in bed.api::<Event>().list(&about).await?.items {
        let Some(fields) = event.annotations().get("foredeck.dev/audit") else {
            continue;
        };
        let fields: Value = serde_json::from_str(fields)?;
        let id = fields["id"].as_str().context("no id")?.to_owned();
        ensure!(all.insert(id, (event, fields)).is_none());
    }
    Ok(all)
}

async fn all_told(bed: &Bed, controllers: &[&Controller], request: &str) -> Result<Vec<String>> {
    let decisions = bed.get(request).await?.status.unwrap_or_default().decisions;
    let what = format!("{} decisions about {request} to be told", decisions.len());
    wait_for(&what, PATIENCE, async || {
        let lines = lines(controllers, request)?;
        let events = events(bed, request).await?;
        ensure!(
            lines.len() == decisions.len() && events.len() == decisions.len(),
            "{lines:?} {events:?}"
        );
        for (id, line) in &lines {
            let (event, fields) = events
                .get(id)
                .with_context(|| format!("no event for {line}"))?;
            for field in [
                "at",
                "what",
                "namespace",
                "request",
                "uid",
                "application",
                "environment",
                "action",
                "version",
                "by",
                "why",
            ] {
                ensure!(
                    line.get(field) == fields.get(field),
                    "{field}: {line} {fields}"
                );
            }
            let record: DecisionRecord = serde_json::from_value(line.clone())?;
            ensure!(
                decisions.contains(&record),
                "{line} is not among {decisions:?}"
            );
            ensure!(
                event.reason.as_deref() == line["what"].as_str(),
                "{event:?}"
            );
        }
        Ok(())
    })
    .await?;
    Ok(decisions
        .iter()
        .map(|record| format!("{:?} {}", record.what, record.by.as_deref().unwrap_or("-")))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_decision_is_told_in_three_places_alike() -> Result<()> {
    let bed = Bed::new("audit", QUICK).await?;
    bed.let_people_write().await?;
    bed.let_them(ALICE, &["deploy"], "production").await?;
    bed.let_them(CAROL, &["approve"], "production").await?;
    bed.protect("production", json!({"approvals": {"required": 1}}))
        .await?;
    let first = bed.controller_with(&["--log-format", "text"])?;
    let alice = bed.somebody(ALICE, &[]);
    let mut spec = deploy("production", "v1.0.0");
    spec["reason"] = json!("because\n\"quoted\"");
    bed.request_as(&alice, "good", spec).await?;
    bed.approve(CAROL, "good").await?;
    bed.until_phase("good", Phase::Succeeded).await?;
    let told = all_told(&bed, &[&first], "good").await?;
    ensure!(
        told == [
            format!("Requested {ALICE}"),
            format!("Authorized {ALICE}"),
            format!("Approved {CAROL}"),
            "Started -".to_owned(),
        ],
        "{told:?}"
    );
    bed.request_as(&alice, "bad", deploy("staging", "v1.0.0"))
        .await?;
    bed.until_phase("bad", Phase::Denied).await?;
    let told = all_told(&bed, &[&first], "bad").await?;
    ensure!(
        told == [format!("Requested {ALICE}"), format!("Denied {ALICE}")],
        "{told:?}"
    );

    // A successor tells nothing of this again, and begins with what is new.
    first.signal("TERM")?;
    let leases = bed.api::<Lease>();
    wait_for("the lease to be given back", PATIENCE, async || {
        let lease = leases.get("foredeck-controller").await?;
        let holder = lease
            .spec
            .and_then(|spec| spec.holder_identity)
            .unwrap_or_default();
        ensure!(holder.is_empty(), "{holder}");
        Ok(())
    })
    .await?;
    let second = bed.controller()?;
    bed.request_as(&alice, "new", deploy("staging", "v1.0.0"))
        .await?;
    bed.until_phase("new", Phase::Denied).await?;
    all_told(&bed, &[&second], "new").await?;
    for request in ["good", "bad"] {
        ensure!(
            lines(&[&second], request)?.is_empty(),
            "{request} was told again"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_controller_wrote_and_did_not_tell_its_successor_tells() -> Result<()> {
    let bed = Bed::new("untold", QUICK).await?;
    let mut first = bed.controller_with(&["--test-crash-at", "after-status"])?;
    let request = bed.deploy("first").await?;
    first.until_ended().await?;
    let decided = bed.get("first").await?.status.unwrap_or_default().decisions;
    ensure!(!decided.is_empty() && first.audit()?.is_empty());
    bed.api::<Lease>()
        .delete("foredeck-controller", &DeleteParams::default())
        .await?;
    let second = bed.controller()?;
    bed.until_phase("first", Phase::Succeeded).await?;
    all_told(&bed, &[&second], "first").await?;
    ensure!(bed.launches(&request) == 1 && request.uid().is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_request_was_deleted_before_that_was_told_is_told() -> Result<()> {
    let bed = Bed::new("gone", Duration::from_mins(10)).await?;
    let mut first = bed.controller_with(&["--test-crash-at", "after-post"])?;
    let request = bed.deploy("first").await?;
    first.until_ended().await?;
    ensure!(first.audit()?.is_empty());
    let sent = bed.gate.launches();
    ensure!(sent.len() == 1, "{sent:?}");
    bed.delete::<DeployRequest>("first").await?;
    bed.api::<Lease>()
        .delete("foredeck-controller", &DeleteParams::default())
        .await?;
    let second = bed.controller()?;
    let told = wait_for("the start to be told", PATIENCE, async || {
        let lines = lines(&[&second], "first")?;
        lines.into_values().next().context("nothing")
    })
    .await?;
    ensure!(
        told["what"] == "Started"
            && told["uid"] == json!(request.uid())
            && told["why"] == json!(format!("execution {}", sent[0].execution_id)),
        "{told}"
    );
    ensure!(bed.finish(&request));
    bed.until_free().await?;
    ensure!(lines(&[&second], "first")?.len() == 1);
    Ok(())
}
