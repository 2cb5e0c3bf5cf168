//! The end of each role while something that it calls doesn't answer: nothing holds it beyond its grace period.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use foredeck::api::{SpinnakerConnection, deploy_request::Phase};
use foredeck_testkit::{Role, RoleCommand, wait_for};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    creating::Creations,
    support::{Bed, CHANNEL, PATIENCE},
    valve::Valve,
};

/// What nobody waits for.
const AT_ONCE: Duration = Duration::from_secs(5);
/// One call to the API server, and what is said of its failure.
const ONE_CALL: Duration = Duration::from_secs(25);
/// Everything that is under way, at the longest: less than the grace period of 45 s.
const AT_MOST: Duration = Duration::from_secs(42);

/// A role that is asked to stop while something hangs.
struct Stopping {
    what: &'static str,
    role: Role,
    bound: Duration,
}

impl Stopping {
    /// It says at once that it isn't ready, lives on as long as it drains, and has ended within the bound.
    async fn ends(&self) -> Result<()> {
        let asked = Instant::now();
        self.role.terminate()?;
        let what = format!("{}: to say that it was asked to stop", self.what);
        let drained = wait_for(&what, AT_ONCE, async || {
            if self.role.ended()?.is_some() {
                return Ok(false);
            }
            let (status, said) = self.role.readyz().await?;
            let told = status == 503 && said.contains("shutdown: asked to stop");
            ensure!(told, "{status} {said}");
            Ok(true)
        })
        .await?;
        if drained {
            // It may end at any moment; as long as it answers, it is well.
            if let Ok((status, said)) = self.role.read("/livez").await {
                ensure!(status == 200, "{}: {status} {said}", self.what);
            }
        }
        let status = self.role.until_ended(self.bound).await;
        let status = status.with_context(|| self.what)?;
        eprintln!(
            "{}: ended {:?} after the signal, {status}",
            self.what,
            asked.elapsed()
        );
        Ok(())
    }
}

/// All of them at the same time.
async fn all_end(all: &[Stopping]) -> Result<()> {
    let ends = all.iter().map(Stopping::ends);
    for ended in futures::future::join_all(ends).await {
        ended?;
    }
    Ok(())
}

/// A role whose rights don't matter, by way of a valve.
fn by(bed: &Bed, name: &str, api: &Valve) -> Result<RoleCommand> {
    let url = api.instead_of(bed.plane.url())?;
    let kubeconfig = bed.kubeconfig_by(name, &url)?;
    Ok(bed.role(name)?.kubeconfig(kubeconfig))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_whose_api_server_never_answered_ends_at_once() -> Result<()> {
    let bed = Bed::new("mute", 1, Duration::ZERO).await?;
    let api = Valve::before(bed.plane.url()).await?;
    api.shut();
    let mut all = Vec::new();
    for name in ["controller", "receiver", "relay"] {
        let role = by(&bed, name, &api)?.start()?;
        role.until_unready("", PATIENCE).await?;
        all.push(Stopping {
            what: "an API server that never answered",
            role,
            bound: AT_ONCE,
        });
    }
    wait_for("calls to hang", PATIENCE, async || {
        ensure!(api.swallowed() >= 3, "{}", api.swallowed());
        Ok(())
    })
    .await?;
    all_end(&all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_whose_api_server_stops_answering_ends_in_time() -> Result<()> {
    let bed = Bed::new("swallows", 2, Duration::from_mins(1)).await?;
    let mut all = Vec::new();
    let mut valves = Vec::new();
    for (name, bound) in [
        ("controller", ONE_CALL),
        ("receiver", AT_MOST),
        ("relay", ONE_CALL),
    ] {
        let api = Valve::before(bed.plane.url()).await?;
        all.push(Stopping {
            what: name,
            role: bed.started(by(&bed, name, &api)?).await?,
            bound,
        });
        valves.push(api);
    }
    bed.ask("runs", 0).await?;
    bed.until_phase("runs", Phase::Running).await?;
    let creations = Creations::held(&bed).await?;
    let before = creations.count();
    bed.slack
        .user("alice")
        .command(CHANNEL, "/deploy checkout v1 to env-1")?;
    creations.until_more(before).await?;
    valves.iter().for_each(Valve::shut);
    // The receiver's creation is under way, whatever else it asks for.
    until_all_hang([&valves[0], &valves[2]]).await?;
    all_end(&all).await
}

/// Waits until each of them holds something back.
async fn until_all_hang(valves: [&Valve; 2]) -> Result<()> {
    wait_for("calls to hang", PATIENCE, async || {
        let held = valves.map(Valve::swallowed);
        ensure!(held.iter().all(|held| *held > 0), "{held:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_whose_slack_gate_or_vault_stops_answering_ends_in_time() -> Result<()> {
    let bed = Bed::new("stuck", 3, Duration::from_mins(1)).await?;
    let url = bed.slack.api_url();
    let slacks = [Valve::before(&url).await?, Valve::before(&url).await?];
    // Takes connections, and never says anything.
    let vault = TcpListener::bind("127.0.0.1:0").await?;
    let mtls = json!({"vault": {
        "address": format!("https://{}", vault.local_addr()?),
        "login": {"kubernetes": {"role": "foredeck", "audience": "vault.example"}},
        "pki": {"mount": "pki", "role": "foredeck", "commonName": "foredeck", "ttl": "10m"},
    }});
    let connection = json!({
        "gateUrl": "https://127.0.0.1:1", "auth": {"mtls": mtls},
        "allow": {"applications": ["*"], "accounts": ["*"], "namespaces": ["*"]},
    });
    bed.create::<SpinnakerConnection>("vaulted", connection)
        .await?;
    let controller = bed
        .role("controller")?
        .env("FOREDECK_ALLOW_VAULT_HOST", "127.0.0.1");
    let receiver = bed
        .role("receiver")?
        .env("SLACK_API_URL", slacks[0].instead_of(&url)?);
    let relay = bed
        .role("relay")?
        .env("SLACK_API_URL", slacks[1].instead_of(&url)?);
    let all = [
        Stopping {
            what: "a controller whose Gate and Vault don't answer",
            role: bed.started(controller).await?,
            bound: ONE_CALL,
        },
        Stopping {
            what: "a receiver whose Slack doesn't answer",
            role: bed.started(receiver).await?,
            bound: AT_MOST,
        },
        Stopping {
            what: "a relay whose Slack doesn't answer",
            role: bed.started(relay).await?,
            bound: ONE_CALL,
        },
    ];
    bed.ask("runs", 0).await?;
    bed.until_phase("runs", Phase::Running).await?;
    slacks.iter().for_each(Valve::shut);
    bed.gate.set_hanging(true);
    bed.ask("asked-for", 1).await?;
    bed.slack
        .user("alice")
        .mention(CHANNEL, None, "checkout v2 to env-2")?;
    until_all_hang(slacks.each_ref()).await?;
    all_end(&all).await?;
    for one in &all {
        let status = one.role.ended()?.context("it runs")?;
        ensure!(
            status.success(),
            "{}: {status}\n{}",
            one.what,
            one.role.tail()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_roles_in_one_process_end_in_time_when_nothing_answers() -> Result<()> {
    let bed = Bed::new("all", 2, Duration::from_mins(1)).await?;
    let api = Valve::before(bed.plane.url()).await?;
    let slack = Valve::before(&bed.slack.api_url()).await?;
    let text = std::fs::read_to_string(bed.plane.admin_kubeconfig())?;
    let kubeconfig = bed.plane.directory().join("all-by-valve.kubeconfig");
    let by = api.instead_of(bed.plane.url())?;
    let (from, to) = (
        bed.plane.url().trim_end_matches('/'),
        by.trim_end_matches('/'),
    );
    std::fs::write(&kubeconfig, text.replace(from, to))?;
    let role = bed
        .role("run")?
        .kubeconfig(kubeconfig)
        .env("SLACK_API_URL", slack.instead_of(&bed.slack.api_url())?);
    let all = [Stopping {
        what: "all roles in one, and nothing answers",
        role: bed.started(role).await?,
        bound: AT_MOST,
    }];
    bed.ask("runs", 0).await?;
    bed.until_phase("runs", Phase::Running).await?;
    slack.shut();
    bed.gate.set_hanging(true);
    bed.ask("asked-for", 1).await?;
    api.shut();
    bed.slack
        .user("alice")
        .mention(CHANNEL, None, "checkout v2 to env-1")?;
    wait_for("calls to hang", PATIENCE, async || {
        ensure!(api.swallowed() >= 2, "{}", api.swallowed());
        Ok(())
    })
    .await?;
    all_end(&all).await?;
    // What is under way is waited for longer than a Lease can be believed in without an API server. Neither could be recorded
    // or given back: that is no clean end, and it says why.
    let status = all[0].role.ended()?.context("it runs")?;
    let log = all[0].role.log();
    let told = log.contains("foredeck: lost the lease: it could not be renewed for 10s");
    ensure!(
        status.success() || status.code() == Some(1) && told,
        "{status}\n{log}"
    );
    Ok(())
}
