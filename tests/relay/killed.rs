//! The relay dies at every point between writing down that it will post and writing down what it posted; the next one
//! goes on.
//!
//! The relay that dies is this test program, started once more with only [`the_relay_that_dies`] to run.

use std::{
    env,
    fs::{self, File},
    process::{Child, Command},
};

use anyhow::{Context, Result, ensure};
use foredeck::{
    relay::{self, RelayParts},
    runtime::{
        admin::Readiness,
        client,
        crash::{self, RELAY_POINTS},
        metrics::Metrics,
    },
    slack::client::{SlackClient, SlackSettings},
};
use foredeck_testkit::wait_for;
use tokio_util::sync::CancellationToken;

use crate::support::{Bed, PATIENCE, all_for, failed, hurried, running};

const NAMESPACE: &str = "FOREDECK_TEST_RELAY_NAMESPACE";
const POINT: &str = "FOREDECK_TEST_RELAY_POINT";
const API_URL: &str = "FOREDECK_TEST_RELAY_API_URL";
const TOKEN: &str = "FOREDECK_TEST_RELAY_TOKEN";

/// Does nothing by itself: a test that kills starts it in a process of its own.
#[tokio::test]
async fn the_relay_that_dies() -> Result<()> {
    let Ok(namespace) = env::var(NAMESPACE) else {
        return Ok(());
    };
    foredeck::runtime::tls::install();
    crash::install(Some(env::var(POINT)?.parse()?), true)?;
    let slack = SlackSettings::new(&env::var(API_URL)?.parse()?, env::var(TOKEN)?.into())?;
    let parts = RelayParts {
        client: client::connect().await?,
        slack: SlackClient::new(slack.without_proxies())?,
        claim: None,
        readiness: Readiness::default(),
        metrics: Metrics::default(),
    };
    relay::run(hurried(&namespace), parts, CancellationToken::new()).await?;
    Ok(())
}

/// A relay that dies at one point, in a process of its own.
pub(crate) struct Doomed {
    child: Child,
    log: std::path::PathBuf,
}

impl Doomed {
    pub(crate) fn start(bed: &Bed, point: &str) -> Result<Self> {
        let log = bed
            .plane
            .directory()
            .join(format!("relay-{}-{point}.log", bed.namespace));
        let child = Command::new(env::current_exe()?)
            .args(["--exact", "killed::the_relay_that_dies", "--nocapture"])
            .env("KUBECONFIG", bed.plane.admin_kubeconfig())
            .env(NAMESPACE, &bed.namespace)
            .env(POINT, point)
            .env(API_URL, bed.slack.api_url())
            .env(TOKEN, bed.slack.bot_token())
            .stdout(File::create(log.with_extension("out"))?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("start a relay")?;
        Ok(Self { child, log })
    }

    /// Waits until it has died at its point, and nowhere else.
    pub(crate) async fn died(mut self, point: &str) -> Result<()> {
        let last = format!("{point}: aborting, as asked");
        wait_for("the relay has died", PATIENCE, async || {
            let log = fs::read_to_string(&self.log)?;
            ensure!(log.contains(&last), "{log}");
            Ok(())
        })
        .await?;
        ensure!(!self.child.wait()?.success(), "it ended well");
        Ok(())
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a relay passes for a request that runs and then fails: the live message, an update, the answer at the end.
fn passes() -> Vec<String> {
    let mut passes: Vec<String> = RELAY_POINTS.iter().map(ToString::to_string).collect();
    // The second post is the end's; the second record is the update's, the third the end's.
    for (effect, pass) in [("intent", 2), ("post", 2), ("record", 2), ("record", 3)] {
        for side in ["before", "after"] {
            passes.push(format!("{side}-slack-{effect}@{pass}"));
        }
    }
    passes
}

async fn killed_at(pass: &str, may_look: bool) -> Result<()> {
    let bed = Bed::new("killed").await?;
    if may_look {
        bed.may_look();
    }
    let doomed = Doomed::start(&bed, pass)?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", running()).await?;
    let point = pass.split('@').next().unwrap_or(pass);
    // What comes later in its life wants the end.
    let early = !pass.contains('@') && !pass.contains("update");
    if !early {
        bed.until_posted("one", "live").await?;
        bed.status("one", failed()).await?;
    }
    doomed.died(point).await?;
    if early {
        bed.status("one", failed()).await?;
    }
    let _next = bed.relay()?;
    bed.until_posted("one", "end").await?;
    bed.until_says("deploys", "*production*: failed at").await?;
    for purpose in ["live", "end"] {
        let all = all_for(&bed.slack, "deploys", purpose);
        if may_look {
            ensure!(all.len() == 1, "{purpose}: {}", bed.slack.describe());
            continue;
        }
        // Where it can't look, one extra at most, and that one says so.
        ensure!(
            (1..=2).contains(&all.len()),
            "{purpose}: {}",
            bed.slack.describe()
        );
        for extra in all.iter().skip(1) {
            let text = serde_json::to_string(extra.blocks())?;
            ensure!(text.contains("second copy"), "{purpose}: {text}");
        }
    }
    Ok(())
}

async fn all_killed(may_look: bool) -> Result<()> {
    let mut wrong = Vec::new();
    for some in passes().chunks(4) {
        let outcomes = some.iter().map(|pass| async move {
            let outcome = killed_at(pass, may_look).await;
            outcome.map_err(|error| format!("{pass}: {error:#}"))
        });
        let outcomes = futures::future::join_all(outcomes).await;
        wrong.extend(outcomes.into_iter().filter_map(Result::err));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn a_killed_relays_messages_are_found_by_the_next() -> Result<()> {
    all_killed(true).await
}

#[tokio::test]
async fn where_nobody_may_look_a_killed_relay_costs_one_extra_that_says_so() -> Result<()> {
    all_killed(false).await
}
