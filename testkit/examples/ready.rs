//! Measures how long a foredeck takes from its start until it is ready, on a real control plane with its definitions:
//! `cargo run -p foredeck-testkit --example ready FILE`. Prints the best and the median of five, and asserts nothing: a busy
//! machine is slow.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{ControlPlane, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What it should take at most.
const BUDGET: Duration = Duration::from_millis(500);
const RUNS: usize = 5;

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let program = std::env::args().nth(1).context("name the program")?;
    let plane = ControlPlane::start().await?;
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    for file in fs::read_dir(definitions)? {
        plane.apply(&fs::read_to_string(file?.path())?).await?;
    }
    let mut all = Vec::new();
    for _ in 0..RUNS {
        all.push(one(&program, &plane).await?);
    }
    all.sort();
    let (best, median) = (all[0], all[RUNS / 2]);
    println!(
        "{program}: ready after {median:.0?} (best {best:.0?}; it should be {BUDGET:?} at most)"
    );
    Ok(())
}

/// A namespace of its own each time, so that nobody waits for the Lease of one that was killed.
async fn one(program: &str, plane: &ControlPlane) -> Result<Duration> {
    let namespace = plane.namespace("ready").await?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let listen = format!("127.0.0.1:{port}");
    let begun = Instant::now();
    let child = Command::new(program)
        .args(["controller", "--admin-listen", &listen])
        .args(["--namespace", &namespace, "--lease-namespace", &namespace])
        .args(["--home-namespace", &namespace])
        .env("KUBECONFIG", plane.admin_kubeconfig())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let _running = Running(child);
    wait_for("it to be ready", Duration::from_mins(1), async || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(begun.elapsed())
    })
    .await
}
