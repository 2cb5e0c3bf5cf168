//! Every decision reaches the sinks at least once: whoever dies, whatever is down, whatever is deleted.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{DeployRequest, deploy_request::Phase},
    runtime::crash::AUDIT_POINTS,
};
use foredeck_testkit::{StandInSink, sink::SinkAnswer, wait_for};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{Bed, Controller, PATIENCE, deploy};

const QUICK: Duration = Duration::from_millis(200);
const TOKEN: &str = "a-token-that-no-log-shows";

/// A bed with a sink on TLS, and a file beside it.
struct Sinks {
    bed: Bed,
    server: StandInSink,
    file: PathBuf,
    authorities: PathBuf,
    token: PathBuf,
}

impl Sinks {
    async fn new(prefix: &str) -> Result<Self> {
        let bed = Bed::new(prefix, QUICK).await?;
        let server = StandInSink::start().await?;
        let place = |name: &str| {
            let folder = bed.plane.directory();
            folder.join(format!("{name}-{}", bed.namespace))
        };
        let (file, authorities, token) =
            (place("sink-file"), place("sink-ca"), place("sink-token"));
        fs::write(&authorities, server.ca_pem())?;
        fs::write(&token, format!("{TOKEN}\n"))?;
        Ok(Self {
            bed,
            server,
            file,
            authorities,
            token,
        })
    }

    /// A controller that tells the server, and the file if wanted.
    fn controller(&self, file: bool, arguments: &[&str]) -> Result<Controller> {
        let url = self.server.url();
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let (file_path, authorities, token) =
            (path(&self.file), path(&self.authorities), path(&self.token));
        let mut all = vec!["--audit-url", &url, "--audit-ca-file", &authorities];
        all.extend(["--audit-token-file", &token]);
        if file {
            all.extend(["--audit-file", &file_path]);
        }
        all.extend(arguments);
        self.bed.controller_with(&all)
    }

    /// Waits until the object says that the sinks have all of it, and gives its decisions in the words of lines.
    async fn until_audited(&self, request: &str) -> Result<Vec<Value>> {
        self.bed
            .until(request, "told to every sink", |request| {
                let status = request.status.clone().unwrap_or_default();
                let count = u32::try_from(status.decisions.len()).ok();
                !status.decisions.is_empty() && status.audited == count
            })
            .await?;
        self.decisions(request).await
    }

    async fn decisions(&self, request: &str) -> Result<Vec<Value>> {
        let status = self.bed.get(request).await?.status.unwrap_or_default();
        let all = status.decisions.iter().map(serde_json::to_value);
        Ok(all.collect::<Result<_, _>>()?)
    }

    /// What was accepted about a request, each line once, in the order in which it first came; and how many came again.
    fn told(&self, request: &str) -> Result<(Vec<Value>, usize)> {
        told(self.server.lines()?, request)
    }

    /// What is in the file about it, likewise.
    fn written(&self, request: &str) -> Result<(Vec<Value>, usize)> {
        let text = fs::read_to_string(&self.file)?;
        let lines = text.lines().map(serde_json::from_str);
        told(lines.collect::<Result<_, _>>()?, request)
    }

    async fn nobody_leads(&self) -> Result<()> {
        let leases = self.bed.api::<Lease>();
        leases
            .delete("foredeck-controller", &DeleteParams::default())
            .await?;
        Ok(())
    }
}

fn told(lines: Vec<Value>, request: &str) -> Result<(Vec<Value>, usize)> {
    let (mut ids, mut first, mut again) = (BTreeSet::new(), Vec::new(), 0);
    for line in lines {
        ensure!(line["audit"] == json!(true), "{line}");
        if line["request"] != json!(request) {
            continue;
        }
        let id = line["id"].as_str().context("no id")?.to_owned();
        if ids.insert(id) {
            let mut record = json!({});
            for field in ["at", "what", "by", "why"] {
                if let Some(value) = line.get(field) {
                    record[field] = value.clone();
                }
            }
            first.push(record);
        } else {
            again += 1;
        }
    }
    Ok((first, again))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sink_gets_each_decision_once_and_in_order() -> Result<()> {
    let sinks = Sinks::new("sinks").await?;
    let controller = sinks.controller(true, &[])?;
    sinks.bed.deploy("first").await?;
    sinks.bed.until_phase("first", Phase::Succeeded).await?;
    let decisions = sinks.until_audited("first").await?;
    ensure!(decisions.len() >= 3, "{decisions:?}");
    ensure!(
        sinks.told("first")? == (decisions.clone(), 0),
        "{:?}",
        sinks.server.posts()
    );
    ensure!(sinks.written("first")? == (decisions, 0));
    let posts = sinks.server.posts();
    let mut keys = BTreeSet::new();
    for post in &posts {
        let header = |name: &str| post.headers.get(name).map(String::as_str);
        ensure!(
            header("authorization") == Some(&format!("Bearer {TOKEN}")),
            "{post:?}"
        );
        ensure!(
            header("content-type") == Some("application/x-ndjson"),
            "{post:?}"
        );
        ensure!(post.body.ends_with('\n'), "{post:?}");
        ensure!(keys.insert(header("idempotency-key").context("no key")?.to_owned()));
    }
    ensure!(!controller.log().contains(TOKEN));
    // Its successor has nothing to tell of it again, also where no event says so.
    controller.kill();
    sinks.nobody_leads().await?;
    let _second = sinks.controller(true, &[])?;
    sinks.bed.deploy("second").await?;
    sinks.bed.until_phase("second", Phase::Succeeded).await?;
    sinks.until_audited("second").await?;
    ensure!(sinks.told("first")?.1 == 0 && sinks.written("first")?.1 == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sink_nothing_is_marked() -> Result<()> {
    let bed = Bed::new("sinkless", QUICK).await?;
    let _controller = bed.controller()?;
    bed.deploy("first").await?;
    let ended = bed.until_phase("first", Phase::Succeeded).await?;
    ensure!(ended.status.unwrap_or_default().audited.is_none());
    Ok(())
}

/// Whoever dies at any step leaves to its successor what it can't know was told.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_while_telling_a_sink_loses_nothing() -> Result<()> {
    for point in AUDIT_POINTS {
        let sinks = Sinks::new("sinkdies").await?;
        let mut first = sinks.controller(false, &["--test-crash-at", point])?;
        let request = sinks.bed.deploy("first").await?;
        first.until_ended().await?;
        let came = sinks.server.lines()?.len();
        ensure!(
            (came > 0) == (*point != "before-audit-delivery"),
            "{point}: {came} lines"
        );
        let marked = sinks
            .bed
            .get("first")
            .await?
            .status
            .unwrap_or_default()
            .audited;
        ensure!(
            marked.is_some() == (*point == "after-audit-mark"),
            "{point}: {marked:?}"
        );
        sinks.nobody_leads().await?;
        let _second = sinks.controller(false, &[])?;
        sinks.bed.until_phase("first", Phase::Succeeded).await?;
        let decisions = sinks.until_audited("first").await?;
        let (told, again) = sinks.told("first")?;
        ensure!(told == decisions, "{point}: {told:?} {decisions:?}");
        let twice = matches!(*point, "after-audit-delivery" | "before-audit-mark");
        ensure!((again > 0) == twice, "{point}: {again} lines came again");
        ensure!(sinks.bed.launches(&request) == 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_down_delays_no_deployment_and_misses_no_decision() -> Result<()> {
    let sinks = Sinks::new("sinkdown").await?;
    let bed = &sinks.bed;
    sinks.server.answer(SinkAnswer::Status(503));
    let controller = sinks.controller(true, &[])?;
    let mut spec = deploy("staging", "main");
    spec["ttlAfterFinished"] = json!("1ms");
    bed.request("brief", spec).await?;
    bed.until_phase("brief", Phase::Succeeded).await?;
    let brief = sinks.decisions("brief").await?;
    bed.deploy("deleted").await?;
    bed.until_phase("deleted", Phase::Succeeded).await?;
    let deleted = sinks.decisions("deleted").await?;
    bed.delete::<DeployRequest>("deleted").await?;
    // The file is waited for by nobody, and waits for nobody.
    wait_for("the file to have both", PATIENCE, async || {
        ensure!(sinks.written("brief")?.0 == brief && sinks.written("deleted")?.0 == deleted);
        Ok(())
    })
    .await?;
    wait_for("the trouble to be told", PATIENCE, async || {
        ensure!(controller.log().contains("an audit sink takes no lines"));
        Ok(())
    })
    .await?;
    bed.touch("brief").await?;
    ensure!(sinks.server.lines()?.is_empty());
    ensure!(
        bed.get("brief")
            .await?
            .status
            .unwrap_or_default()
            .audited
            .is_none()
    );

    sinks.server.answer(SinkAnswer::Accept);
    wait_for("the server to have both", PATIENCE, async || {
        ensure!(sinks.told("brief")? == (brief.clone(), 0));
        ensure!(sinks.told("deleted")? == (deleted.clone(), 0));
        Ok(())
    })
    .await?;
    wait_for("the one whose time is over to go", PATIENCE, async || {
        ensure!(bed.api::<DeployRequest>().get_opt("brief").await?.is_none());
        Ok(())
    })
    .await?;
    ensure!(sinks.told("brief")?.1 == 0 && sinks.written("brief")?.1 == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_controller_tells_what_one_hangs_with() -> Result<()> {
    let sinks = Sinks::new("sinkslow").await?;
    sinks.server.answer(SinkAnswer::Silence);
    let first = sinks.controller(false, &[])?;
    let request = sinks.bed.deploy("first").await?;
    wait_for("something to be told", PATIENCE, async || {
        ensure!(!sinks.server.posts().is_empty());
        Ok(())
    })
    .await?;
    sinks.bed.until_phase("first", Phase::Succeeded).await?;
    first.signal("STOP")?;
    let _second = sinks.controller(false, &[])?;
    let before = sinks.server.posts().len();
    wait_for("the other one to tell it", PATIENCE, async || {
        ensure!(sinks.server.posts().len() > before);
        Ok(())
    })
    .await?;
    sinks.server.answer(SinkAnswer::Accept);
    let decisions = sinks.until_audited("first").await?;
    first.signal("CONT")?;
    let (told, again) = sinks.told("first")?;
    ensure!(told == decisions && again > 0, "{told:?} {again}");
    ensure!(sinks.bed.launches(&request) == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_sink_will_not_have_holds_up_no_other() -> Result<()> {
    let sinks = Sinks::new("sinkpoison").await?;
    let poison = SinkAnswer::RefuseWith("\"request\":\"poison\"".to_owned());
    sinks.server.answer(poison);
    let _controller = sinks.controller(false, &[])?;
    sinks.bed.deploy("poison").await?;
    sinks.bed.deploy("good").await?;
    sinks.bed.until_phase("good", Phase::Succeeded).await?;
    sinks.until_audited("good").await?;
    let poison = sinks.bed.get("poison").await?;
    ensure!(poison.status.unwrap_or_default().audited.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_to_no_server_that_is_not_trusted() -> Result<()> {
    let sinks = Sinks::new("sinktrust").await?;
    let other = StandInSink::start().await?;
    fs::write(&sinks.authorities, other.ca_pem())?;
    let controller = sinks.controller(false, &[])?;
    sinks.bed.deploy("first").await?;
    sinks.bed.until_phase("first", Phase::Succeeded).await?;
    wait_for("the trouble to be told", PATIENCE, async || {
        ensure!(controller.log().contains("its certificate is not trusted"));
        Ok(())
    })
    .await?;
    ensure!(sinks.server.posts().is_empty());
    // Whom to trust is read anew.
    fs::write(&sinks.authorities, sinks.server.ca_pem())?;
    let decisions = sinks.until_audited("first").await?;
    ensure!(sinks.told("first")?.0 == decisions);
    Ok(())
}
