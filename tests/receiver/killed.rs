//! The real process, killed at the worst moments, by Socket Mode as people run it: what was answered "accepted" exists,
//! and nothing exists twice.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{DeployFreeze, DeployTarget, deploy_freeze::STOP_ALL};
use foredeck_testkit::wait_for;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use crate::{
    guardrails::may_stop,
    held::{held_request, live, modal},
    support::{Bed, PATIENCE, names, text, words},
};

const STAGING: &str = "/deploy checkout main to staging";
const QUICK: &str = "/deploy checkout main to quick";

/// A receiver as a process of its own; killed when dropped, and its log shown when a test fails.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// One that Slack delivers to by the time this returns.
    async fn start(bed: &Bed, arguments: &[&str]) -> Result<Self> {
        let log = bed
            .plane
            .directory()
            .join(format!("receiver-{}-{}.log", bed.namespace, ulid()));
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args(["receiver", "--slack-mode", "socket", "--slack-sockets", "1"])
            .args(["--admin-listen", "off", "--namespace", &bed.namespace])
            .args(["--home-namespace", &bed.namespace])
            .args(arguments)
            .env("KUBECONFIG", bed.plane.admin_kubeconfig())
            .env("SLACK_API_URL", bed.slack.api_url())
            .env("SLACK_BOT_TOKEN", bed.slack.bot_token())
            .env("SLACK_APP_TOKEN", bed.slack.app_token())
            .env("RUST_LOG", "foredeck=debug,warn")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start the receiver")?;
        let process = Self { child, log };
        bed.slack.connected(1, PATIENCE).await?;
        Ok(process)
    }

    async fn ended(&mut self) -> Result<()> {
        let child = std::cell::RefCell::new(&mut self.child);
        wait_for("the receiver to die", PATIENCE, async || {
            child.borrow_mut().try_wait()?.context("it still runs")
        })
        .await?;
        Ok(())
    }

    fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() || std::env::var_os("FOREDECK_TEST_LOGS").is_some() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {}\n{log}", self.log.display());
        }
    }
}

fn ulid() -> String {
    let now = jiff::Timestamp::now();
    now.as_nanosecond().to_string()
}

#[tokio::test]
async fn a_command_that_nobody_answered_was_asked_once() -> Result<()> {
    let bed = Bed::new("crash").await?;
    let mut first = Process::start(&bed, &["--test-crash-at", "after-persist"]).await?;
    let lost = bed.slack.user("alice").command("deploys", QUICK)?;
    first.ended().await?;
    let request = bed.request().await?;
    ensure!(lost.ended().await?.is_err(), "nobody can have answered");

    // She sees that it failed, and types it again.
    let _second = Process::start(&bed, &[]).await?;
    let before = bed.slack.ephemerals("alice").len();
    bed.slack
        .user("alice")
        .command("deploys", QUICK)?
        .answered()
        .await?;
    let answer = bed.shown("alice", before).await?;
    assert!(
        answer.text.contains("This waits already"),
        "{}",
        text(&answer)
    );
    assert!(
        text(&answer).contains(&request.name_any()),
        "{}",
        text(&answer)
    );
    assert_eq!(names(&bed.requests().await?), [request.name_any()]);
    Ok(())
}

#[tokio::test]
async fn a_click_that_nobody_answered_can_be_repeated() -> Result<()> {
    for (point, exists) in [("after-persist", true), ("before-persist", false)] {
        let bed = Bed::new("click-crash").await?;
        let mut first = Process::start(&bed, &["--test-crash-at", point]).await?;
        let plan = bed.typed("alice", "deploys", STAGING).await?;
        let _lost = bed.press("alice", &plan, "plan-deploy")?;
        first.ended().await?;
        assert_eq!(bed.requests().await?.len(), usize::from(exists), "{point}");

        let _second = Process::start(&bed, &[]).await?;
        let answer = bed.pressed("alice", &plan, "plan-deploy").await?;
        let expected = if exists {
            "asked for this already"
        } else {
            "Accepted"
        };
        assert!(answer.text.contains(expected), "{point}: {}", text(&answer));
        let request = bed.request().await?;
        assert!(
            text(&answer).contains(&request.name_any()),
            "{point}: {}",
            text(&answer)
        );
    }
    Ok(())
}

/// What locks and stops there are, by what changes with each write.
#[derive(Debug, PartialEq, Eq)]
struct Guards {
    targets: Vec<(bool, Option<String>)>,
    stopped: Option<String>,
}

async fn guards(bed: &Bed) -> Result<Guards> {
    let targets: Api<DeployTarget> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let freezes: Api<DeployFreeze> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let targets = targets.list(&ListParams::default()).await?.items;
    let targets = targets
        .iter()
        .map(|target| (target.spec.lock.is_some(), target.resource_version()));
    Ok(Guards {
        targets: targets.collect(),
        stopped: freezes
            .get_opt(STOP_ALL)
            .await?
            .and_then(|freeze| freeze.uid()),
    })
}

#[tokio::test]
async fn a_lock_and_the_stop_button_that_nobody_answered_can_be_said_again() -> Result<()> {
    // What is said again, where it was not done and where it was.
    let lines = [
        (
            "/deploy lock checkout in production \"audit\"",
            ["Locked:", "locked by you already"],
        ),
        (
            "/deploy unlock checkout in production",
            ["Unlocked:", "is not locked"],
        ),
        (
            "/deploy stop-all \"payments are down\"",
            ["Everything is stopped:", "stopped by you already"],
        ),
        ("/deploy resume-all", ["It goes on", "Nothing was stopped"]),
    ];
    for (point, exists) in [("before-persist", false), ("after-persist", true)] {
        let bed = Bed::new("guard-crash").await?;
        bed.allow(&bed.namespace, "bob", &["lock"]).await?;
        may_stop(&bed, "bob").await?;
        for (line, told) in lines {
            let before = guards(&bed).await?;
            let mut first = Process::start(&bed, &["--test-crash-at", point]).await?;
            let lost = bed.slack.user("bob").command("deploys", line)?;
            first.ended().await?;
            ensure!(lost.ended().await?.is_err(), "nobody can have answered");
            let crashed = guards(&bed).await?;
            assert_eq!(crashed != before, exists, "{point}, {line}: {crashed:?}");

            let second = Process::start(&bed, &[]).await?;
            let answer = text(&bed.typed("bob", "deploys", line).await?);
            let expected = told[usize::from(exists)];
            assert!(answer.contains(expected), "{point}, {line}: {answer}");
            let done = guards(&bed).await?;
            assert_eq!(done == crashed, exists, "{point}, {line}: {done:?}");
            second.kill();
            bed.slack
                .until("no socket", PATIENCE, |_| {
                    bed.slack.sockets().is_empty().then_some(())
                })
                .await?;
        }
        let left = guards(&bed).await?;
        assert_eq!(left.stopped, None, "{point}");
        let locked: Vec<bool> = left.targets.iter().map(|(locked, _)| *locked).collect();
        assert_eq!(locked, [false], "{point}");
    }
    Ok(())
}

#[tokio::test]
async fn an_override_that_nobody_answered_can_be_said_again() -> Result<()> {
    for (point, exists) in [("before-ask-override", false), ("after-ask-override", true)] {
        let bed = Bed::new("override-crash").await?;
        bed.allow(&bed.namespace, "bob", &["override"]).await?;
        let mut first = Process::start(&bed, &["--test-crash-at", point]).await?;
        held_request(&bed).await?;
        let message = live(&bed).await?;
        let bob = bed.slack.user("bob");
        bob.click(&message, "request-override")?.answered().await?;
        let form = modal(&bed, "bob", "Override").await?;
        bob.fill(&form, "answer", "the shop is down")?;
        let lost = bob.submit(&form)?;
        first.ended().await?;
        ensure!(lost.ended().await?.is_err(), "nobody can have answered");
        let crashed = bed.requests_api().get("one").await?;
        assert_eq!(crashed.spec.override_.is_some(), exists, "{point}");

        let _second = Process::start(&bed, &[]).await?;
        bob.submit(&form)?.answered().await?;
        let told = modal(&bed, "bob", "Foredeck").await?;
        let told = words(&json!(told.blocks()));
        let expected = if exists {
            "You have overridden that already"
        } else {
            "Overridden"
        };
        assert!(told.contains(expected), "{point}: {told}");
        let done = bed.requests_api().get("one").await?;
        let word = done.spec.override_.as_ref();
        assert_eq!(
            word.map(|word| word.reason.as_str()),
            Some("the shop is down"),
            "{point}"
        );
        let unchanged = done.resource_version() == crashed.resource_version();
        assert_eq!(unchanged, exists, "{point}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_accepted_before_a_kill_exists_and_nothing_exists_twice() -> Result<()> {
    let bed = Bed::new("killed").await?;
    let process = Process::start(&bed, &[]).await?;
    let alice = bed.slack.user("alice");
    let deliveries = (0..20)
        .map(|number| alice.command("deploys", &format!("/deploy checkout v{number} to quick")))
        .collect::<Result<Vec<_>>>()?;
    bed.slack
        .until("the first answers", PATIENCE, |world| {
            let answered = world.ephemerals("alice");
            let accepted = answered.iter().filter(|one| one.text.contains("Accepted"));
            (accepted.count() >= 3).then_some(())
        })
        .await?;
    process.kill();
    for delivery in &deliveries {
        let _answered_or_not = delivery.ended().await?;
    }
    let requests = bed.requests().await?;
    let of = |version: &str| {
        let same = requests
            .iter()
            .filter(|request| request.spec.version.as_deref() == Some(version));
        same.count()
    };
    for number in 0..20 {
        let version = format!("v{number}");
        let told =
            bed.slack.ephemerals("alice").into_iter().any(|one| {
                one.text.contains("Accepted") && one.text.contains(&format!("`{version}`"))
            });
        assert!(of(&version) <= 1, "{version} exists {} times", of(&version));
        assert!(
            !told || of(&version) == 1,
            "{version} was accepted and does not exist"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_is_told_to_stop_answers_what_it_took() -> Result<()> {
    let bed = Bed::new("drain").await?;
    let mut process = Process::start(&bed, &[]).await?;
    let alice = bed.slack.user("alice");
    let deliveries = (0..10)
        .map(|number| alice.command("deploys", &format!("/deploy checkout v{number} to quick")))
        .collect::<Result<Vec<_>>>()?;
    bed.slack
        .until("the first answer", PATIENCE, |world| {
            (!world.ephemerals("alice").is_empty()).then_some(())
        })
        .await?;
    let sent = Command::new("kill")
        .args(["-TERM", &process.child.id().to_string()])
        .status()?;
    ensure!(sent.success(), "kill -TERM failed");
    for delivery in &deliveries {
        delivery.answered().await?;
    }
    process.ended().await?;
    let accepted = bed.slack.ephemerals("alice");
    let accepted = accepted.iter().filter(|one| one.text.contains("Accepted"));
    let accepted = accepted.count();
    assert!(accepted > 0, "{}", bed.slack.describe());
    assert_eq!(accepted, bed.requests().await?.len());
    Ok(())
}
