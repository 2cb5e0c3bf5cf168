//! What is built or fetched once and then kept in the target folder, with progress shown. Touches that folder, and runs
//! programs.

use std::collections::VecDeque;
use std::env;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};

/// Long enough not to fill a screen, short enough that nobody thinks that it hangs.
const BETWEEN_REPORTS: Duration = Duration::from_secs(15);

/// How much of a failed program's output is quoted.
const QUOTED_LINES: usize = 40;

/// The workspace's folder, and where its testkit keeps what it made.
pub(crate) struct Places {
    pub(crate) testkit: PathBuf,
    pub(crate) kept: PathBuf,
}

impl Places {
    pub(crate) fn find() -> Result<Self> {
        let testkit = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = testkit
            .parent()
            .context("the testkit is no member of a workspace")?;
        // A relative target folder is taken from the workspace: cargo's own working directory is not known here.
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace.join("target"), |set| workspace.join(set));
        Ok(Self {
            testkit: testkit.to_owned(),
            kept: target.join("testkit"),
        })
    }
}

/// Sixteen digits that change with what is hashed.
pub(crate) fn short_hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let first: [u8; 8] = *hash.as_ref().first_chunk().unwrap_or(&[0; 8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

/// Gives the folder `key` below `shelf`, after filling it if no process has done so yet.
///
/// `fill` gets a folder that is moved into place when it is done. Blocks, for as long as that takes; of several processes
/// that come at once, one fills it. `what` is what the others are told to wait for.
pub(crate) fn once(
    shelf: &Path,
    key: &str,
    what: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let kept = shelf.join(key);
    if kept.is_dir() {
        return Ok(kept);
    }
    fs::create_dir_all(shelf).with_context(|| format!("cannot create {}", shelf.display()))?;
    let _lock = lock(&shelf.join("lock"), what)?;
    if kept.is_dir() {
        return Ok(kept);
    }
    // Only the holder of the lock is here; what lies there is left over from a process that was stopped.
    let unfinished = shelf.join("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)
            .with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    fs::create_dir(&unfinished)
        .with_context(|| format!("cannot create {}", unfinished.display()))?;
    let started = Instant::now();
    fill(&unfinished)?;
    fs::rename(&unfinished, &kept).with_context(|| format!("cannot create {}", kept.display()))?;
    say(format_args!(
        "done in {} s: {}",
        started.elapsed().as_secs(),
        kept.display()
    ));
    Ok(kept)
}

/// Several test processes start at once, and one of them works.
fn lock(path: &Path, what: &str) -> Result<File> {
    let lock = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    if lock.try_lock().is_err() {
        say(format_args!(
            "another process prepares {what}: waiting for it"
        ));
        lock.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(lock)
}

/// Runs a program to its end and tells now and then that it is still at it. Fails with the end of its output.
///
/// `doing` stands after "still" and "could not": `build kube-apiserver`. `lines` is what a line of its output stands for.
pub(crate) fn run(mut command: Command, doing: &str, lines: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let (sender, output) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        read_lines(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(stderr, sender);
    }

    let started = Instant::now();
    let mut next_report = started + BETWEEN_REPORTS;
    let mut count: usize = 0;
    let mut tail = VecDeque::new();
    loop {
        match output.recv_timeout(next_report.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                count += 1;
                tail.push_back(line);
                if tail.len() > QUOTED_LINES {
                    tail.pop_front();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= next_report {
            next_report += BETWEEN_REPORTS;
            let seconds = started.elapsed().as_secs();
            say(format_args!(
                "still at it ({doing}): {count} {lines} in {seconds} s"
            ));
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {program}"))?;
    ensure!(
        status.success(),
        "could not {doing} ({status}):\n{}",
        Vec::from(tail).join("\n")
    );
    Ok(())
}

fn read_lines(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// Tells the person in front of the terminal, also under `cargo test`: that captures `eprintln!`, but not this.
pub(crate) fn say(line: impl Display) {
    // Progress that nobody can read is no reason to fail.
    let _ = writeln!(io::stderr(), "foredeck-testkit: {line}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn shelf(name: &str) -> PathBuf {
        let shelf = env::temp_dir().join(format!("foredeck-{name}-{}", ulid::Ulid::new()));
        fs::create_dir_all(&shelf).unwrap();
        shelf
    }

    #[test]
    fn of_many_that_come_at_once_one_fills_and_all_get_it() {
        let shelf = shelf("once");
        let filled = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let kept = once(&shelf, "key", "a word", |folder| {
                        filled.fetch_add(1, Ordering::SeqCst);
                        fs::write(folder.join("word"), "deck")?;
                        Ok(())
                    });
                    assert_eq!(
                        fs::read_to_string(kept.unwrap().join("word")).unwrap(),
                        "deck"
                    );
                });
            }
        });
        assert_eq!(filled.load(Ordering::SeqCst), 1);
        fs::remove_dir_all(shelf).unwrap();
    }

    #[test]
    fn what_failed_half_way_is_made_anew() {
        let shelf = shelf("again");
        let failed = once(&shelf, "key", "a word", |folder| {
            fs::write(folder.join("half"), "de")?;
            anyhow::bail!("out of ink")
        });
        assert!(failed.unwrap_err().to_string().contains("out of ink"));
        let kept = once(&shelf, "key", "a word", |_| Ok(())).unwrap();
        assert!(!kept.join("half").exists());
        fs::remove_dir_all(shelf).unwrap();
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = run(shell, "count to three", "numbers")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("could not count to three (exit status: 3)"),
            "{error}"
        );
        assert!(error.contains("one") && error.contains("two"), "{error}");
    }
}
