//! Many requests that one lifted freeze releases.

use std::collections::BTreeMap;

use foredeck::api::SpinnakerConnection;
use foredeck_testkit::gate::Operation;
use kube::api::ListParams;

use super::{Guard, QUICK};
use crate::support::{Bed, deploy, phase_of};
use anyhow::{Result, ensure};
use foredeck::api::DeployRequest;
use foredeck::api::deploy_request::{Phase, WaitingFor};
use foredeck_testkit::wait_for;
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

const REQUESTS: usize = 200;
const ENVIRONMENTS: usize = 8;
/// Calls of Gate a second, and at once.
const RATE: u64 = 40;
const BURST: u64 = 10;
/// Calls take their time on their way, a start between its turn and its POST above all, so that some come closer together than
/// they left.
const SLACK: u64 = 10;
/// Far longer than it takes.
const TIME: Duration = Duration::from_mins(6);

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_that_one_lifted_freeze_releases_start_in_order_one_at_a_time() -> Result<()> {
    let bed = Bed::new("many", QUICK).await?;
    let limit = json!({"spec": {"rateLimit": {"perSecond": RATE, "burst": BURST}}});
    bed.merge::<SpinnakerConnection>("gate", limit).await?;
    let environments = bed
        .more_environments(ENVIRONMENTS, Duration::from_millis(50))
        .await?;
    let _controller = bed.controller()?;
    Guard::Freeze.set(&bed).await?;
    let mut requests = Vec::with_capacity(REQUESTS);
    for number in 0..REQUESTS {
        let spec = deploy(&environments[number % ENVIRONMENTS], &format!("v{number}"));
        requests.push(bed.request(&format!("r-{number}"), spec).await?);
    }
    let phases = async |wanted: Phase, subject: Option<WaitingFor>| {
        wait_for(&format!("all to be {wanted:?}"), TIME, async || {
            let all = bed
                .api::<DeployRequest>()
                .list(&ListParams::default())
                .await?;
            let there = all.items.iter().filter(|request| {
                let status = request.status.as_ref();
                let waiting = status.and_then(|status| status.waiting.as_ref());
                phase_of(request) == wanted && waiting.map(|waiting| waiting.subject) == subject
            });
            let count = there.count();
            ensure!(count == REQUESTS, "{count} of {REQUESTS}");
            Ok(())
        })
        .await
    };
    phases(Phase::Queued, Some(WaitingFor::Freeze)).await?;
    ensure!(bed.gate.launches().is_empty());
    bed.gate.reset_log();
    Guard::Freeze.lift(&bed).await?;
    phases(Phase::Succeeded, None).await?;

    let mut asked: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for request in &requests {
        let place = (
            request.creation_timestamp().map(|time| time.0),
            request.uid().unwrap_or_default(),
        );
        asked
            .entry(&request.spec.environment)
            .or_default()
            .push(place);
    }
    let launches = bed.gate.launches();
    ensure!(launches.len() == REQUESTS, "{} launches", launches.len());
    for (environment, mut asked) in asked {
        asked.sort();
        let asked: Vec<&String> = asked.iter().map(|(_, uid)| uid).collect();
        let started: Vec<&String> = launches
            .iter()
            .filter_map(|launch| launch.request_uid.as_ref())
            .filter(|uid| asked.contains(uid))
            .collect();
        ensure!(started == asked, "{environment}: {started:?} of {asked:?}");
    }
    ensure!(bed.peak() == 1, "{:?}", bed.gate.peak_concurrency());
    ensure!(bed.gate.count_calls(Operation::Start) == REQUESTS);
    let mut calls: Vec<u64> = bed.gate.calls().iter().map(|call| call.at).collect();
    calls.sort_unstable();
    let (mut most, mut when) = (0, 0);
    for (first, from) in calls.iter().enumerate() {
        for (last, to) in calls.iter().enumerate().skip(first) {
            let (count, took) = (u64::try_from(last - first + 1)?, to - from);
            let beyond = count.saturating_sub(BURST + RATE * took / 1_000);
            if beyond > most {
                (most, when) = (beyond, took);
            }
        }
    }
    let all = calls.len();
    println!("{all} calls of Gate, {most} more than it allows within {when} ms at the most");
    ensure!(most <= SLACK, "{most} calls too many within {when} ms");
    Ok(())
}
