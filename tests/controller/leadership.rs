//! Two controllers at once: beside each other, one after the other, killed, frozen and told to stop in between.

use std::{net::TcpListener, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::api::{DeployRequest, deploy_request::Phase};
use foredeck_testkit::{
    gate::{Effect, Fault, Operation},
    wait_for,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;

use crate::support::{Bed, Controller, PATIENCE, deploy};

/// How long an execution takes.
const WORK: Duration = Duration::from_millis(300);
const LEASE: &str = "foredeck-controller";
/// Of a leader that is to be outlived.
const SHORT: &str = "4s";
/// Of whoever is to keep it, on a machine that does much else besides: who can't renew in time ends, and nothing here
/// starts it again.
const LONG: &str = "30s";
const TARGETS: usize = 10;
const REQUESTS: usize = 50;

impl Bed {
    async fn with_ten_targets(prefix: &str) -> Result<(Self, Vec<String>)> {
        let bed = Self::new(prefix, WORK).await?;
        let environments = bed.more_environments(TARGETS, WORK).await?;
        Ok((bed, environments))
    }

    async fn fifty(&self, environments: &[String]) -> Result<Vec<DeployRequest>> {
        let mut requests = Vec::with_capacity(REQUESTS);
        for number in 0..REQUESTS / TARGETS {
            for environment in environments {
                let version = format!("v{number}");
                let name = format!("{version}-{environment}");
                requests.push(self.request(&name, deploy(environment, &version)).await?);
            }
        }
        Ok(requests)
    }

    async fn until_started(&self, count: usize) -> Result<()> {
        wait_for(&format!("{count} starts"), PATIENCE, async || {
            let starts = self.gate.count_calls(Operation::Start);
            ensure!(starts >= count, "{starts} so far");
            Ok(())
        })
        .await
    }

    /// All end well, each by one launch, and never two at a time on a target.
    async fn all_end_with_one_launch_each(&self, requests: &[DeployRequest]) -> Result<()> {
        for request in requests {
            self.until_phase(&request.name_any(), Phase::Succeeded)
                .await?;
            ensure!(self.launches(request) == 1, "{}", request.name_any());
        }
        self.until_free().await?;
        ensure!(self.gate.launches().len() == requests.len());
        ensure!(self.peak() == 1, "{:?}", self.gate.peak_concurrency());
        Ok(())
    }

    async fn holder(&self) -> Result<Option<String>> {
        let lease = self.api::<Lease>().get_opt(LEASE).await?;
        let spec = lease.and_then(|lease| lease.spec);
        Ok(spec.and_then(|spec| spec.holder_identity))
    }

    /// Waits until somebody holds the Lease who isn't `before`, and gives their name.
    async fn until_held(&self, before: Option<&str>) -> Result<String> {
        wait_for("the lease to be held by another", PATIENCE, async || {
            let holder = self.holder().await?;
            holder
                .filter(|holder| !holder.is_empty() && Some(holder.as_str()) != before)
                .context("it is not")
        })
        .await
    }

    /// The first holds the Lease, for so long; the second waits for it.
    async fn leader_and_standby(&self, lease: &str) -> Result<(Controller, Controller, String)> {
        let leader = self.controller_lasting(lease, &[])?;
        let holder = self.until_held(None).await?;
        let standby = self.controller_lasting(LONG, &[])?;
        standby.until_logged("waiting for the lease").await?;
        Ok((leader, standby, holder))
    }
}

impl Controller {
    async fn until_logged(&self, text: &str) -> Result<()> {
        wait_for(&format!("{text:?} in the log"), PATIENCE, async || {
            ensure!(self.log().contains(text), "{}", self.log());
            Ok(())
        })
        .await
    }

    fn sends(&self) -> usize {
        self.log().matches("start sent").count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_that_share_the_lease_start_each_request_once() -> Result<()> {
    let (bed, environments) = Bed::with_ten_targets("shared").await?;
    let (leader, standby, _) = bed.leader_and_standby(LONG).await?;
    let requests = bed.fifty(&environments).await?;
    bed.all_end_with_one_launch_each(&requests).await?;
    ensure!(leader.sends() == REQUESTS && standby.sends() == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_that_both_act_start_each_request_once() -> Result<()> {
    let (bed, environments) = Bed::with_ten_targets("both").await?;
    // The Lease keeps noise down; the guards on each write are what it all stands on.
    let one = bed.controller_lasting(LONG, &["--lease-name", "one"])?;
    let two = bed.controller_lasting(LONG, &["--lease-name", "two"])?;
    for controller in [&one, &two] {
        controller.until_logged("caches are filled").await?;
    }
    let requests = bed.fifty(&environments).await?;
    bed.all_end_with_one_launch_each(&requests).await?;
    ensure!(one.sends() + two.sends() == REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_from_a_killed_leader() -> Result<()> {
    let (bed, environments) = Bed::with_ten_targets("killed").await?;
    let (leader, standby, _) = bed.leader_and_standby(SHORT).await?;
    let requests = bed.fifty(&environments).await?;
    bed.until_started(TARGETS + 5).await?;
    leader.kill();
    bed.all_end_with_one_launch_each(&requests).await?;
    ensure!(standby.sends() > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_told_to_stop_finishes_its_starts_and_hands_over() -> Result<()> {
    let (bed, environments) = Bed::with_ten_targets("told").await?;
    let (mut leader, standby, holder) = bed.leader_and_standby(LONG).await?;
    // Each start is accepted at once and answered later, so that some are always under way.
    let slow = Effect::SlowAnswer(Duration::from_millis(400));
    bed.gate
        .inject(Fault::new(Operation::Start, slow).permanently());
    let requests = bed.fifty(&environments).await?;
    bed.until_started(5).await?;
    leader.signal("TERM")?;
    let status = leader.until_ended().await?;
    ensure!(status.success(), "{status:?}");
    let log = leader.log();
    ensure!(log.contains("gave the lease back"), "{log}");
    ensure!(!log.contains("outcome=Unknown"), "{log}");
    bed.until_held(Some(&holder)).await?;
    bed.all_end_with_one_launch_each(&requests).await?;
    // Nothing was lost, so that nothing had to be sent again.
    ensure!(leader.sends() + standby.sends() == REQUESTS);
    ensure!(bed.gate.count_calls(Operation::Start) == REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_wakes_after_its_lease_does_nothing_more() -> Result<()> {
    let (bed, environments) = Bed::with_ten_targets("frozen").await?;
    let (mut leader, standby, holder) = bed.leader_and_standby(SHORT).await?;
    let slow = Effect::SlowAnswer(Duration::from_millis(400));
    bed.gate
        .inject(Fault::new(Operation::Start, slow).permanently());
    let requests = bed.fifty(&environments).await?;
    bed.until_started(5).await?;
    leader.signal("STOP")?;
    bed.until_held(Some(&holder)).await?;
    // It wakes while the other is in the middle of it.
    bed.until_started(TARGETS + 5).await?;
    leader.signal("CONT")?;
    let status = leader.until_ended().await?;
    ensure!(!status.success(), "{status:?}");
    ensure!(leader.log().contains("lost the lease"), "{}", leader.log());
    bed.all_end_with_one_launch_each(&requests).await?;
    ensure!(standby.sends() > 0);
    ensure!(bed.gate.count_calls(Operation::Start) == REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_lease_ends_its_holder() -> Result<()> {
    let (bed, environments) = Bed::with_ten_targets("unleased").await?;
    let (mut leader, standby, holder) = bed.leader_and_standby(LONG).await?;
    // Each start is accepted at once and answered later, so that some are always under way.
    let slow = Effect::SlowAnswer(Duration::from_millis(400));
    bed.gate
        .inject(Fault::new(Operation::Start, slow).permanently());
    let requests = bed.fifty(&environments).await?;
    bed.until_started(5).await?;
    bed.delete::<Lease>(LEASE).await?;
    let status = leader.until_ended().await?;
    ensure!(!status.success(), "{status:?}");
    let log = leader.log();
    ensure!(log.contains("lost the lease"), "{log}");
    ensure!(!log.contains("outcome=Unknown"), "{log}");
    bed.until_held(Some(&holder)).await?;
    bed.all_end_with_one_launch_each(&requests).await?;
    // What was under way was heard out and written down, so that nothing had to be sent again.
    ensure!(leader.sends() + standby.sends() == REQUESTS);
    ensure!(bed.gate.count_calls(Operation::Start) == REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_ready_and_idle() -> Result<()> {
    let bed = Bed::new("standby", WORK).await?;
    let _leader = bed.controller_lasting(LONG, &[])?;
    bed.until_held(None).await?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let standby = bed.controller_lasting(LONG, &["--admin-listen", &address])?;
    let client = reqwest::Client::new();
    let url = format!("http://{address}/readyz");
    wait_for("the standby to be ready", PATIENCE, async || {
        let answer = client.get(&url).send().await?;
        ensure!(answer.status() == 200, "{:?}", answer.text().await?);
        Ok(())
    })
    .await?;
    let request = bed.deploy("first").await?;
    bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(bed.launches(&request) == 1);
    let log = standby.log();
    ensure!(log.contains("waiting for the lease"), "{log}");
    ensure!(!log.contains("caches are filled"), "{log}");
    let answer = client.get(&url).send().await?;
    ensure!(answer.status() == 200, "{:?}", answer.text().await?);
    Ok(())
}
