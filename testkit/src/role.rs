//! A role as a process of its own: the built binary, with its arguments, its environment, its kubeconfig and its log.
//!
//! Touches processes, files in the directory that it is handed, and the role's own admin address. However a test ends,
//! its roles are gone a moment later.

use std::{
    fmt::Debug,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio, id},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::wait_for;

/// Everything that a role of a test calls is on this machine.
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];
/// Nothing is ever written to its input, which ends with us: then it ends its group, in which the role is.
const UNTIL_WE_ARE_GONE: &str = "trap '' HUP INT TERM; read -r end; kill -s KILL 0";
/// How much of its log is shown when a test fails.
const LINES_SHOWN: usize = 200;
/// How long one read of the admin address may take.
const READ: Duration = Duration::from_secs(5);
/// Below what the kernel hands out to connections, so that none takes an address between its choice and its use.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// What starts a role.
#[derive(Debug)]
pub struct RoleCommand {
    name: String,
    directory: PathBuf,
    command: Command,
    admin: SocketAddr,
}

impl RoleCommand {
    /// `role` (`controller`, `run`, …) of the binary at that path; its output goes to files in `directory`, such as a
    /// control plane's. It logs `foredeck=debug,warn` unless its environment says otherwise.
    ///
    /// # Errors
    /// When no address is free for its admin server.
    pub fn new(binary: impl AsRef<Path>, role: &str, directory: &Path) -> Result<Self> {
        let admin = free_address()?;
        let mut command = Command::new(binary.as_ref());
        command
            .arg(role)
            .args(["--admin-listen", &admin.to_string()])
            .env("RUST_LOG", "foredeck=debug,warn");
        for proxy in PROXIES {
            command.env_remove(proxy);
        }
        Ok(Self {
            name: role.to_owned(),
            directory: directory.to_owned(),
            command,
            admin,
        })
    }

    /// More arguments.
    #[must_use]
    pub fn arguments<T: AsRef<str>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        for argument in arguments {
            self.command.arg(argument.as_ref());
        }
        self
    }

    /// One variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// As whom it speaks to which API server.
    #[must_use]
    pub fn kubeconfig(self, file: impl AsRef<Path>) -> Self {
        self.env("KUBECONFIG", file.as_ref())
    }

    /// Starts it. It isn't ready yet.
    ///
    /// # Errors
    /// When the binary can't be run or its files can't be written.
    pub fn start(mut self) -> Result<Role> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = self
            .directory
            .join(format!("{}-{}-{number}.log", self.name, id()));
        let output = log.with_extension("stdout");
        let watchdog = Command::new("sh")
            .args(["-c", UNTIL_WE_ARE_GONE, "foredeck-testkit"])
            // An inherited output would keep a reader of ours waiting for its end.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        let mut role = Role {
            name: self.name,
            admin: self.admin,
            log,
            output,
            child: Mutex::default(),
            watchdog,
        };
        let create =
            |file: &Path| File::create(file).with_context(|| format!("create {}", file.display()));
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(create(&role.output)?)
            .stderr(create(&role.log)?)
            .process_group(i32::try_from(role.watchdog.id())?)
            .spawn()
            .with_context(|| format!("start the {}", role.name))?;
        role.child = Mutex::new(Some(child));
        Ok(role)
    }
}

/// A role that runs; killed when dropped. The end of its log is shown when the test panics, or always with
/// `FOREDECK_TEST_LOGS`.
#[derive(Debug)]
pub struct Role {
    name: String,
    admin: SocketAddr,
    log: PathBuf,
    output: PathBuf,
    child: Mutex<Option<Child>>,
    /// Its process id is the group's, and keeps it from becoming another's.
    watchdog: Child,
}

impl Role {
    /// Which role it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it logs.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Everything that it has written to standard output: the controller's audit lines.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// The end of its log, for what is said when something fails.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines.len().saturating_sub(LINES_SHOWN);
        format!("--- {}\n{}", self.log.display(), lines[shown..].join("\n"))
    }

    /// Waits until its log contains that text.
    ///
    /// # Errors
    /// When the deadline passes or the process ends first, with the end of the log.
    pub async fn until_logged(&self, text: &str, deadline: Duration) -> Result<()> {
        let what = format!("the {} to log {text:?}", self.name);
        let ended = std::cell::Cell::new(false);
        let waited = wait_for(&what, deadline, async || {
            // Looked at in this order: what it logged last is in the file when it has ended.
            let over = self.ended()?;
            if self.log().contains(text) {
                return Ok(true);
            }
            ended.set(over.is_some());
            ensure!(ended.get(), "nothing of that");
            Ok(false)
        })
        .await
        .with_context(|| self.tail())?;
        ensure!(
            waited,
            "the {} ended without logging {text:?}\n{}",
            self.name,
            self.tail()
        );
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        let child = child.as_mut().context("it was never started")?;
        // One that was waited for may have left its number to another.
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "the {} has ended: {ended:?}", self.name);
        kill_process(Pid::from_child(child), signal)
            .with_context(|| format!("send {signal:?} to the {}", self.name))
    }

    /// Asks it to end, as Kubernetes does first.
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills it, as a node that loses its power does, and returns when it is gone.
    pub fn kill(&self) {
        if let Some(child) = self.child().as_mut() {
            // One that has ended is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the operating system doesn't say.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        match self.child().as_mut() {
            Some(child) => child.try_wait().context("look at a process"),
            None => Ok(Some(ExitStatus::from_raw(0))),
        }
    }

    /// Waits until it has ended, and gives how.
    ///
    /// # Errors
    /// When it still runs at the deadline, with the end of its log.
    pub async fn until_ended(&self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the {} to end", self.name);
        wait_for(&what, deadline, async || {
            self.ended()?.context("it still runs")
        })
        .await
        .with_context(|| self.tail())
    }

    /// What a path of its admin server answers: `/livez`, `/readyz`, `/metrics`.
    ///
    /// # Errors
    /// When nothing answers there.
    pub async fn read(&self, path: &str) -> Result<(u16, String)> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(READ)
            .build()?;
        let url = format!("http://{}{path}", self.admin);
        let answer = http.get(&url).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// What `/readyz` says now: its status and its lines.
    ///
    /// # Errors
    /// When nothing answers there.
    pub async fn readyz(&self) -> Result<(u16, String)> {
        self.read("/readyz").await
    }

    /// Waits until `/readyz` says ready.
    ///
    /// # Errors
    /// When the deadline passes or the process ends first, with what it said last and the end of its log.
    pub async fn until_ready(&self, deadline: Duration) -> Result<()> {
        let what = format!("the {} to be ready", self.name);
        let ended = wait_for(&what, deadline, async || {
            if let Some(ended) = self.ended()? {
                return Ok(Some(ended));
            }
            let (status, said) = self.readyz().await?;
            ensure!(status == 200, "{said}");
            Ok(None)
        })
        .await
        .with_context(|| self.tail())?;
        if let Some(ended) = ended {
            bail!("the {} ended ({ended})\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// Waits until `/readyz` says not ready, and that text.
    ///
    /// # Errors
    /// When the deadline passes first, with what it said last.
    pub async fn until_unready(&self, text: &str, deadline: Duration) -> Result<String> {
        let what = format!("the {} to be not ready for {text:?}", self.name);
        wait_for(&what, deadline, async || {
            let (status, said) = self.readyz().await?;
            ensure!(status == 503 && said.contains(text), "{status} {said}");
            Ok(said)
        })
        .await
        .with_context(|| self.tail())
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// When it doesn't answer well.
    pub async fn metrics(&self) -> Result<String> {
        let (status, page) = self.read("/metrics").await?;
        ensure!(status == 200, "{status} {page}");
        Ok(page)
    }

    /// The value of the one metric whose line begins like this, labels included; none when there is no such line.
    ///
    /// # Errors
    /// When several lines begin so, or `/metrics` doesn't answer.
    pub async fn metric(&self, line: &str) -> Result<Option<f64>> {
        let metrics = self.metrics().await?;
        let mut found = metrics.lines().filter(|known| known.starts_with(line));
        let value = found.next().and_then(|line| line.rsplit(' ').next());
        ensure!(found.next().is_none(), "several lines begin with {line:?}");
        Ok(value.map(str::parse).transpose()?)
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
        // Waiting closes the pipe first, which lets the watchdog end.
        let _ = self.watchdog.wait();
        if std::thread::panicking() || std::env::var_os("FOREDECK_TEST_LOGS").is_some() {
            eprintln!("{}", self.tail());
        }
    }
}

/// An address of this machine that nobody listens on, and that this process hands out once.
///
/// # Errors
/// When every one is taken.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = u32::from(PORTS.end - PORTS.start);
    for _ in 0..span {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        // Processes of tests begin far from each other.
        let place = (id().wrapping_mul(331) + next) % span;
        let port = PORTS.start + u16::try_from(place)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {PORTS:?} is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A shell in the place of the binary: its first argument is its script.
    fn shell(script: &str) -> Role {
        let directory = std::env::temp_dir();
        let mut command = RoleCommand::new("sh", "-c", &directory).unwrap();
        command.name = "shell".to_owned();
        command.command = Command::new("sh");
        command.arguments(["-c", script]).start().unwrap()
    }

    #[tokio::test]
    async fn a_role_tells_what_it_logged_and_how_it_ended() {
        let role =
            shell("echo audit; echo started >&2; trap 'exit 7' TERM; while :; do sleep 0.05; done");
        role.until_logged("started", SOON).await.unwrap();
        assert_eq!(role.output(), "audit\n");
        assert_eq!(role.ended().unwrap(), None);
        role.terminate().unwrap();
        assert_eq!(role.until_ended(SOON).await.unwrap().code(), Some(7));
        assert!(role.signal(Signal::TERM).is_err(), "it has ended");
    }

    #[tokio::test]
    async fn a_role_that_ends_too_early_fails_the_wait_at_once() {
        let role = shell("echo broken >&2");
        let error = role.until_logged("started", SOON).await.unwrap_err();
        assert!(error.to_string().contains("broken"), "{error:#}");
        let error = role.until_ready(SOON).await.unwrap_err();
        assert!(error.to_string().contains("ended"), "{error:#}");
    }

    #[tokio::test]
    async fn a_dropped_role_is_gone_with_what_it_started() {
        let role = shell("sleep 1000 & echo \"child $!\" >&2; wait");
        role.until_logged("child ", SOON).await.unwrap();
        let child: i32 = role
            .log()
            .trim()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        drop(role);
        wait_for("its child to be gone", SOON, async || {
            let gone = rustix::process::test_kill_process(Pid::from_raw(child).unwrap());
            let zombie = fs::read_to_string(format!("/proc/{child}/stat"))
                .is_ok_and(|stat| stat.contains(") Z "));
            ensure!(gone.is_err() || zombie, "it runs");
            Ok(())
        })
        .await
        .unwrap();
    }

    #[test]
    fn no_address_is_handed_out_twice() {
        let all: std::collections::BTreeSet<_> = (0..50).map(|_| free_address().unwrap()).collect();
        assert_eq!(all.len(), 50);
    }
}
