//! A program that says what it saw in lines of JSON and takes orders in lines of JSON. Ends with this value.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How much of what it complained about a failure quotes.
const QUOTED_LINES: usize = 60;

/// A running script. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Script {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<String>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(super) fn start(command: std::process::Command) -> Result<Self> {
        let mut command = Command::from(command);
        // What it speaks with is on this machine, whatever way leads out of it.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let stdin = child.stdin.take();
        let (sender, lines) = mpsc::unbounded_channel();
        let stdout = child.stdout.take().context("no standard output")?;
        tokio::spawn(read_lines(stdout, move |line| sender.send(line).is_ok()));
        let complaints = Arc::<Mutex<Vec<String>>>::default();
        let quoted = Arc::clone(&complaints);
        let stderr = child.stderr.take().context("no standard error")?;
        tokio::spawn(read_lines(stderr, move |line| {
            quoted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
            true
        }));
        Ok(Self {
            child,
            stdin,
            lines,
            complaints,
        })
    }

    /// The next line that is JSON. Others are taken for a library's chatter.
    ///
    /// # Errors
    /// When it ends first or the deadline passes; quotes what it wrote to its standard error.
    pub async fn next(&mut self, deadline: Duration) -> Result<Value> {
        timeout(deadline, self.read())
            .await
            .unwrap_or_else(|_| Err(anyhow!("the script said nothing for {deadline:?}")))
            .with_context(|| self.quote())
    }

    async fn read(&mut self) -> Result<Value> {
        while let Some(line) = self.lines.recv().await {
            if let Ok(value) = serde_json::from_str(&line) {
                return Ok(value);
            }
        }
        bail!("the script ended without a word")
    }

    /// The next line with this text as its `saw`; those before it are passed over.
    pub async fn saw(&mut self, what: &str, deadline: Duration) -> Result<Value> {
        let mut before = Vec::new();
        loop {
            let value = self
                .next(deadline)
                .await
                .with_context(|| format!("waited for {what:?}; before: {before:?}"))?;
            if value["saw"] == what {
                return Ok(value);
            }
            before.push(value.to_string());
        }
    }

    /// Tells it something.
    pub async fn tell(&mut self, order: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("it is told nothing more")?;
        stdin
            .write_all(format!("{order}\n").as_bytes())
            .await
            .with_context(|| format!("cannot tell the script {order}"))
    }

    /// Closes what it reads and gives what it had left to say, once it ended by itself.
    ///
    /// # Errors
    /// When it fails, or is not at its end by the deadline.
    pub async fn end(mut self, deadline: Duration) -> Result<Vec<Value>> {
        drop(self.stdin.take());
        let mut rest = Vec::new();
        let ended = timeout(deadline, async {
            while let Some(line) = self.lines.recv().await {
                rest.extend(serde_json::from_str::<Value>(&line));
            }
            self.child.wait().await
        });
        let status = match ended.await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(error).context("cannot wait for the script"),
            Err(_) => {
                return Err(anyhow!("the script did not end in {deadline:?}"))
                    .with_context(|| self.quote());
            }
        };
        if ExitStatus::success(&status) {
            Ok(rest)
        } else {
            Err(anyhow!("the script failed ({status})")).with_context(|| self.quote())
        }
    }

    /// What it wrote to its standard error, from the end.
    fn quote(&self) -> String {
        let complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let first = complaints.len().saturating_sub(QUOTED_LINES);
        format!("it complained:\n{}", complaints[first..].join("\n"))
    }
}

async fn read_lines(output: impl AsyncRead + Unpin, mut take: impl FnMut(String) -> bool) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if !take(line) {
            return;
        }
    }
}
