//! Ties processes and their folder to the life of this process: however it ends, they are gone a moment later.
//!
//! Touches nothing but what it ties. A destructor does not run on SIGKILL, after a panic that aborts, or for a static,
//! so the tie is a pipe: the kernel closes our end when we are gone, and a shell at the other end does the rest.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Nothing is ever written to the pipe, so `read` ends when its last writer has: us, as Rust opens pipes close-on-exec.
const UNTIL_WE_ARE_GONE: &str = "trap '' HUP INT TERM; read -r end";

/// A killed process may still be creating a file while its folder is removed, hence the attempts.
const CLEAN_UP: &str =
    "kill -s KILL -- \"-$1\"; for attempt in 1 2 3 4 5; do rm -rf -- \"$2\" && exit; sleep 1; done";

/// A folder and the processes that work in it.
#[derive(Debug)]
pub(crate) struct Leash {
    directory: PathBuf,
    /// Its process id is the group's. It does nothing but keep the group in being from before the first process on.
    leader: Child,
    /// In a group of its own, or it would end with the others before it has removed the folder.
    watchdog: Child,
    processes: Vec<Child>,
}

impl Leash {
    /// Creates `directory`, readable by nobody else, since it holds credentials.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.arg("-c").arg(script).arg("foredeck-testkit");
            // An inherited standard output would keep a reader of ours waiting for its end.
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0);
            command
        };
        let leader = shell(UNTIL_WE_ARE_GONE).spawn().context("cannot run sh")?;
        let watchdog = shell(&format!("{UNTIL_WE_ARE_GONE}; {CLEAN_UP}"))
            .arg(leader.id().to_string())
            .arg(directory)
            .spawn()
            .context("cannot run sh")?;
        let leash = Self {
            directory: directory.to_owned(),
            leader,
            watchdog,
            processes: Vec::new(),
        };
        DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(leash)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a process in the group, its output in `log` within the folder.
    pub(crate) fn spawn(&mut self, command: &mut Command, log: &str) -> Result<&mut Child> {
        let log = self.directory.join(log);
        // What runs again writes on below what it wrote before.
        let output = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&log)
            .with_context(|| format!("cannot create {}", log.display()))?;
        let errors = output
            .try_clone()
            .with_context(|| format!("cannot write {}", log.display()))?;
        let process = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(i32::try_from(self.leader.id()).context("a process id out of range")?)
            .spawn()
            .with_context(|| {
                format!("cannot run {}", Path::new(command.get_program()).display())
            })?;
        self.processes.push(process);
        self.processes
            .last_mut()
            .context("a process was just added")
    }

    /// Kills the processes, as a machine that loses its power does, and returns when they are gone. The folder stays.
    pub(crate) fn kill(&mut self) {
        // Nothing can be done about a failure here: the watchdog does the same once more.
        for mut process in self.processes.drain(..) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Sends the processes a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        for process in &self.processes {
            kill_process(Pid::from_child(process), signal).context("cannot send a signal")?;
        }
        Ok(())
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.kill();
        // Waiting closes the pipe first, which sets the watchdog to work.
        let _ = self.watchdog.wait();
        let _ = self.leader.wait();
    }
}
