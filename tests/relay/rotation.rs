//! A bot token that changes in its file while the real binary tells of a deployment: the message goes on, and nothing that
//! is written or said holds a token.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use foredeck::slack::client::SlackClient;
use foredeck_testkit::wait_for;

use crate::{
    leaks::{Secrets, Written},
    support::{Bed, PATIENCE, all_for, queued, running, succeeded},
};

/// The relay as a process of its own; killed when dropped, and its log shown when a test fails.
struct Process {
    child: Child,
    admin: String,
    log: PathBuf,
}

impl Process {
    fn start(bed: &Bed, token_file: &Path) -> Result<Self> {
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let log = token_file.with_extension("log");
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args(["relay", "--admin-listen", &admin])
            .args(["--namespace", &bed.namespace])
            .args(["--lease-namespace", &bed.namespace])
            .arg("--slack-bot-token-file")
            .arg(token_file)
            .env("KUBECONFIG", bed.plane.admin_kubeconfig())
            .env("SLACK_API_URL", bed.slack.api_url())
            .env("RUST_LOG", "foredeck=trace,reqwest=debug,hyper=debug,warn")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start the relay")?;
        Ok(Self { child, admin, log })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the token was read so.
    async fn counted(&self, outcome: &str) -> Result<()> {
        let line = format!(
            "foredeck_secret_reads_total{{secret=\"slack-bot-token\",outcome=\"{outcome}\"}}"
        );
        let url = format!("http://{}/metrics", self.admin);
        wait_for(&line, PATIENCE, async || {
            let page = reqwest::get(&url).await?.text().await?;
            ensure!(page.contains(&line), "{page}");
            Ok(())
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() || std::env::var_os("FOREDECK_TEST_LOGS").is_some() {
            for line in self.log().lines().filter(|line| line.contains(" foredeck")) {
                eprintln!("{line}");
            }
        }
    }
}

/// As the kubelet does: the file is replaced as a whole.
fn put(file: &Path, token: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{token}\n"))?;
    fs::rename(new, file)?;
    Ok(())
}

#[tokio::test]
async fn a_message_goes_on_with_another_bot_token_and_nothing_that_is_said_holds_one() -> Result<()>
{
    let bed = Bed::new("rotation").await?;
    let file = bed
        .plane
        .directory()
        .join(format!("bot-token-{}", bed.namespace));
    let mut secrets = Secrets::default();
    let token = bed.slack.bot_token();
    secrets.add("the first token", &token)?;
    put(&file, &token)?;
    let relay = Process::start(&bed, &file)?;
    bed.request("one", bed.asked()).await?;
    bed.status("one", queued()).await?;
    bed.until_says("deploys", "waits for its turn").await?;

    // A call that Slack refuses has the file read at once.
    let old = bed.slack_settings()?;
    let token = bed.slack.rotate_bot_token();
    secrets.add("the second token", &token)?;
    put(&file, &token)?;
    bed.status("one", running()).await?;
    bed.until_says("deploys", "running").await?;

    let old = SlackClient::new(old)?.auth_test().await;
    ensure!(old.is_err_and(|error| error.to_string().contains("invalid_auth")));

    bed.status("one", succeeded()).await?;
    bed.until_posted("one", "end").await?;
    bed.until_says("deploys", "*production*: succeeded").await?;
    for purpose in ["live", "end"] {
        let all = all_for(&bed.slack, "deploys", purpose);
        ensure!(all.len() == 1, "{purpose}: {}", bed.slack.describe());
    }
    relay.counted("changed").await?;

    let log = relay.log();
    ensure!(log.contains("slack-bot-token"), "{log}");
    let mut written = Written::default();
    written.text("the log", log);
    written.slack(&bed.slack);
    written.objects(bed.plane).await?;
    written.has_none_of(&secrets)
}
