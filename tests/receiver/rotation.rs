//! Secrets that change while receivers run, as the files of a mounted Secret do: nothing that people do in that moment is
//! lost, and no log ever holds one of them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{slack::RequestUrls, wait_for};

use crate::support::{Bed, PATIENCE, text};

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

/// A receiver as a process of its own, with its secrets in files; killed when dropped.
struct Process {
    child: Child,
    admin: String,
    listen: String,
    log: PathBuf,
}

impl Process {
    async fn start(bed: &Bed, mounted: &Mounted, mode: &str) -> Result<Self> {
        let (admin, listen) = (free_address()?, free_address()?);
        let log = mounted.0.join(format!("{}.log", admin.replace(':', "-")));
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args(["receiver", "--slack-mode", mode, "--slack-sockets", "1"])
            .args(["--admin-listen", &admin, "--listen", &listen])
            .args(["--namespace", &bed.namespace])
            .args(["--home-namespace", &bed.namespace])
            .args(["--slack-bot-token-file", &mounted.path("bot")])
            .args(["--slack-app-token-file", &mounted.path("app")])
            .args(["--slack-signing-secret-file", &mounted.path("signing")])
            .env("KUBECONFIG", bed.plane.admin_kubeconfig())
            .env("SLACK_API_URL", bed.slack.api_url())
            .env("RUST_LOG", "trace")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start the receiver")?;
        let process = Self {
            child,
            admin,
            listen,
            log,
        };
        wait_for("a ready receiver", PATIENCE, async || {
            let ready = reqwest::get(format!("http://{}/readyz", process.admin)).await?;
            let body = ready.text().await?;
            ensure!(body == "ready\n", "{body}");
            Ok(())
        })
        .await?;
        Ok(process)
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

    async fn metrics(&self) -> Result<String> {
        let page = reqwest::get(format!("http://{}/metrics", self.admin)).await?;
        Ok(page.text().await?)
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// No line holds any of these.
    fn told_none_of(&self, secrets: &[String]) {
        let log = self.log();
        assert!(log.contains("caches are filled"), "{log}");
        for (number, secret) in secrets.iter().enumerate() {
            assert!(
                !log.contains(secret.as_str()),
                "the log holds secret {number}"
            );
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            for line in self.log().lines().filter(|line| line.contains(" foredeck")) {
                eprintln!("{line}");
            }
        }
    }
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
    let plan = bed.typed("alice", "deploys", STAGING).await?;
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
    let socket = bed.slack.sockets()[0].clone();
    mounted.write("app", &bed.slack.rotate_app_token())?;
    bed.typed("alice", "deploys", "/deploy checkout v2 to staging")
        .await?;
    assert_eq!(bed.slack.sockets()[0].id, socket.id);
    bed.slack.drop_socket(socket.id);
    bed.slack.connected(1, PATIENCE).await?;
    let answer = bed
        .typed("alice", "deploys", "/deploy checkout v3 to staging")
        .await?;
    assert!(text(&answer).contains("v3"), "{}", text(&answer));

    seen.extend(secrets(&bed));
    process.told_none_of(&seen);
    Ok(())
}

#[tokio::test]
async fn replicas_that_learn_of_it_at_different_moments_take_each_others_plans() -> Result<()> {
    let bed = Bed::new("rotation").await?;
    let (mine, other) = (Mounted::new(&bed)?, Mounted::new(&bed)?);
    let one = Process::start(&bed, &mine, "http").await?;
    let slow = Process::start(&bed, &other, "http").await?;
    one.takes(&bed);
    let first = bed.typed("alice", "deploys", STAGING).await?;
    let mut seen = secrets(&bed);

    // The first replica has the new token; Slack refuses the old one, and the other replica has nothing else yet.
    let new = bed.slack.rotate_bot_token();
    mine.write("bot", &new)?;
    let second = bed
        .typed("bob", "deploys", "/deploy checkout v2 to quick")
        .await?;
    drop(second);
    let shown_between = bed
        .typed("alice", "deploys", "/deploy checkout v3 to staging")
        .await?;
    slow.takes(&bed);
    for plan in [&first, &shown_between] {
        let answer = bed.pressed("alice", plan, "plan-deploy").await?;
        assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    }

    // One that started since knows the new token only; what it shows opens at the other once its file has it.
    let newcomer = Process::start(&bed, &mine, "http").await?;
    newcomer.takes(&bed);
    let plan = bed
        .typed("alice", "deploys", "/deploy checkout v4 to staging")
        .await?;
    other.write("bot", &new)?;
    slow.takes(&bed);
    let answer = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    assert_eq!(bed.requests().await?.len(), 3);

    seen.extend(secrets(&bed));
    for process in [&one, &slow, &newcomer] {
        process.told_none_of(&seen);
    }
    Ok(())
}

#[tokio::test]
async fn the_first_click_that_a_new_signing_secret_signs_is_taken() -> Result<()> {
    let bed = Bed::new("rotation").await?;
    let mounted = Mounted::new(&bed)?;
    let process = Process::start(&bed, &mounted, "http").await?;
    process.takes(&bed);
    let plan = bed.typed("alice", "deploys", STAGING).await?;
    let mut seen = secrets(&bed);

    mounted.write("signing", &bed.slack.rotate_signing_secret())?;
    let answer = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    seen.extend(secrets(&bed));
    process.told_none_of(&seen);
    Ok(())
}

#[tokio::test]
async fn a_file_is_read_anew_by_itself_and_what_can_not_be_a_token_changes_nothing() -> Result<()> {
    let bed = Bed::new("rotation").await?;
    let mounted = Mounted::new(&bed)?;
    let process = Process::start(&bed, &mounted, "socket").await?;
    let counted = async |outcome: &str| {
        let line = format!(
            "foredeck_secret_reads_total{{secret=\"slack-bot-token\",outcome=\"{outcome}\"}}"
        );
        wait_for(&line, REREAD, async || {
            let page = process.metrics().await?;
            let lines = page.lines().filter(|found| found.starts_with(&line));
            let count = lines.filter_map(|found| found.rsplit(' ').next()?.parse::<u64>().ok());
            let count: u64 = count.sum();
            ensure!(count > 0, "{page}");
            Ok(())
        })
        .await
    };
    let broken = "xoxb broken-hush";
    mounted.write("bot", broken)?;
    counted("unusable").await?;
    bed.typed("alice", "deploys", STAGING).await?;
    let log = process.log();
    assert_eq!(log.matches("stays in use").count(), 1, "said once");
    assert!(log.contains("slack-bot-token"), "and of what");

    let new = bed.slack.rotate_bot_token();
    mounted.write("bot", &new)?;
    wait_for("the new token", REREAD, async || {
        ensure!(process.log().contains("the new one is used from now on"));
        Ok(())
    })
    .await?;
    process.told_none_of(&[secrets(&bed), vec![broken.to_owned(), "hush".to_owned()]].concat());
    ensure!(Path::new(&mounted.path("bot")).exists());
    Ok(())
}
