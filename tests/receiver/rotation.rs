//! Secrets that change while receivers run, as the files of a mounted Secret do: nothing that people do in that moment is
//! lost, and nothing that is written or said holds one of them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{
    slack::{Ephemeral, RequestUrls},
    wait_for,
};

use crate::{
    leaks::{Secrets, Written},
    support::{Bed, PATIENCE, text},
};

const STAGING: &str = "/deploy checkout main to staging";
/// Long enough for a file to be read anew by itself, twice.
const REREAD: Duration = Duration::from_secs(45);

/// A folder as the kubelet mounts a Secret: each file is replaced as a whole.
struct Mounted(PathBuf);

impl Mounted {
    fn new(bed: &Bed) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mounted-{}-{count}", bed.namespace);
        let mounted = Self(bed.plane.directory().join(name));
        fs::create_dir(&mounted.0)?;
        mounted.write("bot", &bed.slack.bot_token())?;
        mounted.write("app", &bed.slack.app_token())?;
        mounted.write("signing", &bed.slack.signing_secret())?;
        Ok(mounted)
    }

    fn write(&self, name: &str, secret: &str) -> Result<()> {
        let new = self.0.join(format!("..{name}"));
        fs::write(&new, format!("{secret}\n"))?;
        fs::rename(new, self.0.join(name))?;
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// A receiver as a process of its own; killed when dropped, and its log shown when a test fails.
pub(crate) struct Process {
    child: Child,
    admin: String,
    listen: String,
    log: PathBuf,
}

impl Process {
    /// One with its secrets in files, and ready.
    async fn start(bed: &Bed, mounted: &Mounted, mode: &str) -> Result<Self> {
        let files = [
            ("--slack-bot-token-file", "bot"),
            ("--slack-app-token-file", "app"),
            ("--slack-signing-secret-file", "signing"),
        ];
        let files = files.map(|(flag, name)| [flag.to_owned(), mounted.path(name)]);
        let process = Self::begin(bed, &mounted.0, mode, &files.concat())?;
        process.ready().await?;
        Ok(process)
    }

    /// One that may take its time.
    pub(crate) fn begin(bed: &Bed, folder: &Path, mode: &str, secrets: &[String]) -> Result<Self> {
        let (admin, listen) = (free_address()?, free_address()?);
        let log = folder.join(format!("{}.log", admin.replace(':', "-")));
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args(["receiver", "--slack-mode", mode, "--slack-sockets", "1"])
            .args(["--admin-listen", &admin, "--listen", &listen])
            .args(["--namespace", &bed.namespace])
            .args(["--home-namespace", &bed.namespace])
            .args(secrets)
            .env("KUBECONFIG", bed.plane.admin_kubeconfig())
            .env("SLACK_API_URL", bed.slack.api_url())
            .env(
                "RUST_LOG",
                "foredeck=trace,reqwest=debug,hyper=debug,vaultrs=trace,rustify=trace,warn",
            )
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start the receiver")?;
        Ok(Self {
            child,
            admin,
            listen,
            log,
        })
    }

    pub(crate) async fn ready(&self) -> Result<()> {
        self.says("ready\n").await
    }

    /// Waits until `/readyz` says this.
    pub(crate) async fn says(&self, expected: &str) -> Result<()> {
        wait_for(expected, REREAD, async || {
            let body = self.page("readyz").await?;
            ensure!(
                body.starts_with(expected) || body.contains(&format!(" {expected}")),
                "{body}"
            );
            Ok(())
        })
        .await
    }

    /// Waits until reading a secret has come to this.
    pub(crate) async fn counted(&self, secret: &str, outcome: &str) -> Result<()> {
        let line =
            format!("foredeck_secret_reads_total{{secret=\"{secret}\",outcome=\"{outcome}\"}}");
        wait_for(&line, REREAD, async || {
            let page = self.page("metrics").await?;
            ensure!(page.contains(&line), "{page}");
            Ok(())
        })
        .await
    }

    /// Waits until the log has this line so many times.
    pub(crate) async fn logged(&self, line: &str, times: usize) -> Result<()> {
        wait_for(line, REREAD, async || {
            let found = self.log().matches(line).count();
            ensure!(found == times, "{found} times");
            Ok(())
        })
        .await
    }

    async fn page(&self, name: &str) -> Result<String> {
        let page = reqwest::get(format!("http://{}/{name}", self.admin)).await?;
        Ok(page.text().await?)
    }

    /// From now on Slack delivers to this one.
    fn takes(&self, bed: &Bed) {
        let base = format!("http://{}/slack", self.listen);
        bed.slack.deliver_by_http(RequestUrls {
            commands: format!("{base}/commands"),
            interactivity: format!("{base}/interactivity"),
            options: None,
            events: format!("{base}/events"),
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Neither its log, nor what Slack was asked, nor what is in the API server has any of these in it.
    pub(crate) async fn told_none_of(&self, bed: &Bed, secrets: &[String]) -> Result<()> {
        let (log, calls) = (self.log(), bed.slack.calls());
        ensure!(log.contains("caches are filled"), "{log}");
        ensure!(!calls.is_empty(), "Slack was asked nothing");
        let (mut hushed, mut written) = (Secrets::default(), Written::default());
        for (number, secret) in secrets.iter().enumerate() {
            hushed.add(&format!("secret {number}"), secret)?;
        }
        written.text("the log", log);
        written.slack(&bed.slack);
        written.objects(bed.plane).await?;
        written.has_none_of(&hushed)
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

/// A plan that alice is shown. The first answer of a new process may come too late for Slack.
pub(crate) async fn planned(bed: &Bed, line: &str) -> Result<Ephemeral> {
    wait_for("a plan", REREAD, async || {
        bed.typed("alice", "deploys", line).await
    })
    .await
}

fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

/// All secrets of the app as they are now.
fn secrets(bed: &Bed) -> Vec<String> {
    vec![
        bed.slack.bot_token(),
        bed.slack.app_token(),
        bed.slack.signing_secret(),
    ]
}

#[tokio::test]
async fn a_plan_shown_before_the_token_changed_is_confirmed_right_after() -> Result<()> {
    let bed = Bed::new("rotation").await?;
    let mounted = Mounted::new(&bed)?;
    let process = Process::start(&bed, &mounted, "socket").await?;
    let plan = planned(&bed, STAGING).await?;
    let mut seen = secrets(&bed);

    mounted.write("bot", &bed.slack.rotate_bot_token())?;
    let answer = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    bed.request().await?;
    // Slack has to be asked who bob is, with a token that it knows.
    let before = bed.slack.calls_of("users.info").len();
    bed.slack
        .user("bob")
        .command("deploys", STAGING)?
        .answered()
        .await?;
    bed.shown("bob", 0).await?;
    assert!(bed.slack.calls_of("users.info").len() > before);

    // The app's token changes too: the socket stays, and the next one is opened with the new token.
    let socket = bed.slack.sockets()[0];
    mounted.write("app", &bed.slack.rotate_app_token())?;
    planned(&bed, "/deploy checkout v2 to staging").await?;
    assert_eq!(bed.slack.sockets()[0].id, socket.id);
    bed.slack.drop_socket(socket.id);
    wait_for("another socket", PATIENCE, async || {
        let sockets = bed.slack.sockets();
        ensure!(sockets.iter().any(|one| one.id != socket.id), "{sockets:?}");
        Ok(())
    })
    .await?;
    let answer = planned(&bed, "/deploy checkout v3 to staging").await?;
    assert!(text(&answer).contains("v3"), "{}", text(&answer));

    seen.extend(secrets(&bed));
    process.told_none_of(&bed, &seen).await
}

#[tokio::test]
async fn replicas_that_learn_of_it_at_different_moments_take_each_others_plans() -> Result<()> {
    let bed = Bed::new("rotation").await?;
    let (mine, other) = (Mounted::new(&bed)?, Mounted::new(&bed)?);
    let one = Process::start(&bed, &mine, "http").await?;
    let slow = Process::start(&bed, &other, "http").await?;
    // Both know who she is: with a token that Slack refuses, nobody can be asked for.
    slow.takes(&bed);
    planned(&bed, STAGING).await?;
    one.takes(&bed);
    let first = planned(&bed, STAGING).await?;
    let mut seen = secrets(&bed);

    // The first replica has the new token; Slack refuses the old one, and the other replica has nothing else yet.
    let new = bed.slack.rotate_bot_token();
    mine.write("bot", &new)?;
    bed.typed("bob", "deploys", "/deploy checkout v2 to quick")
        .await?;
    let shown_between = planned(&bed, "/deploy checkout v3 to staging").await?;
    slow.takes(&bed);
    for plan in [&first, &shown_between] {
        let answer = bed.pressed("alice", plan, "plan-deploy").await?;
        assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    }

    // One that started since knows the new token only; what it shows opens at the other once its file has it.
    let newcomer = Process::start(&bed, &mine, "http").await?;
    newcomer.takes(&bed);
    let plan = planned(&bed, "/deploy checkout v4 to staging").await?;
    other.write("bot", &new)?;
    slow.takes(&bed);
    let answer = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    assert_eq!(bed.requests().await?.len(), 3);

    seen.extend(secrets(&bed));
    for process in [&one, &slow, &newcomer] {
        process.told_none_of(&bed, &seen).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_first_click_that_a_new_signing_secret_signs_is_taken() -> Result<()> {
    let bed = Bed::new("rotation").await?;
    let mounted = Mounted::new(&bed)?;
    let process = Process::start(&bed, &mounted, "http").await?;
    process.takes(&bed);
    let plan = planned(&bed, STAGING).await?;
    let mut seen = secrets(&bed);

    mounted.write("signing", &bed.slack.rotate_signing_secret())?;
    let answer = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    seen.extend(secrets(&bed));
    process.told_none_of(&bed, &seen).await
}

#[tokio::test]
async fn a_file_is_read_anew_by_itself_and_what_can_not_be_a_token_changes_nothing() -> Result<()> {
    let bed = Bed::new("rotation").await?;
    let mounted = Mounted::new(&bed)?;
    let process = Process::start(&bed, &mounted, "socket").await?;
    let broken = "xoxb broken-and-hush-hush";
    mounted.write("bot", broken)?;
    process.counted("slack-bot-token", "unusable").await?;
    planned(&bed, STAGING).await?;
    let log = process.log();
    assert_eq!(log.matches("stays in use").count(), 1, "said once");
    assert!(log.contains("slack-bot-token"), "and of what");

    let new = bed.slack.rotate_bot_token();
    mounted.write("bot", &new)?;
    process.logged("the new one is used from now on", 1).await?;
    let seen = [secrets(&bed), vec![broken.to_owned()]].concat();
    process.told_none_of(&bed, &seen).await
}
