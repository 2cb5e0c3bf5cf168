//! A running OpenBao: started, initialised, unsealed, and what a test does to it. Touches its folder, its process and its
//! port.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use ulid::Ulid;

use super::OpenBaoProgram;
use crate::leash::Leash;
use crate::tls::Authority;
use crate::wait::wait_for;

/// A second is usual; a busy machine takes its time.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of the log a failed start quotes.
const QUOTED_LINES: usize = 15;

const LOG: &str = "openbao.log";
const CONFIGURATION: &str = "openbao.json";
const AUTHORITY: &str = "ca.pem";
const AUDIT: &str = "audit.jsonl";

/// A server with storage that outlives a stop. It ends with this value, and with this process however that ends.
#[derive(Debug)]
pub struct OpenBao {
    program: OpenBaoProgram,
    leash: Mutex<Leash>,
    directory: PathBuf,
    /// Bound and never listening: nobody else gets the port while the server is stopped, and who connects is refused.
    _port: TcpSocket,
    url: String,
    ca_pem: String,
    client: reqwest::Client,
    unseal_key: String,
    root_token: String,
}

impl OpenBao {
    pub(super) async fn start(program: OpenBaoProgram) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("foredeck-{}", Ulid::new()));
        let leash = Leash::new(&directory)?;
        let authority = Authority::new("OpenBao of a test")?;
        let certificate = authority.server()?;
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = port.local_addr()?;
        let place = |name: &str| directory.join(name);
        let url = format!("https://{address}");
        let configuration = json!({
            "storage": {"raft": {"path": place("data"), "node_id": "one", "performance_multiplier": 1}},
            "listener": [{"tcp": {
                "address": address,
                // Of other servers, which there are none of.
                "cluster_address": "127.0.0.1:0",
                "tls_cert_file": place("server.pem"),
                "tls_key_file": place("server.key"),
            }}],
            // The description keeps the type and the name apart: its reader of JSON drops levels that have one key alone.
            "audit": [{"file": {"file": {
                "description": "everything",
                "options": {"file_path": place(AUDIT), "log_raw": "true"},
            }}}],
            "api_addr": url,
            "cluster_addr": "https://127.0.0.1:1",
        });
        fs::create_dir(place("data"))?;
        fs::write(place(CONFIGURATION), configuration.to_string())?;
        fs::write(place("server.pem"), &certificate.chain_pem)?;
        fs::write(place("server.key"), &certificate.key_pem)?;
        let ca_pem = authority.ca_pem();
        fs::write(place(AUTHORITY), &ca_pem)?;
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca_pem.as_bytes())?])
            .no_proxy()
            // A stopped server leaves no connection behind that a call could be lost on.
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build()?;
        let server = Self {
            program,
            leash: Mutex::new(leash),
            directory,
            _port: port,
            url,
            ca_pem,
            client,
            unseal_key: String::new(),
            root_token: String::new(),
        };
        server.run().await?;
        Ok(server)
    }

    /// Makes what it stores in, and opens it.
    pub(super) async fn initialise(mut self) -> Result<Self> {
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = self.call(Method::PUT, "sys/init", shares).await?;
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .context("no answer of init")
        };
        self.unseal_key = text(&made["keys"][0])?;
        self.root_token = text(&made["root_token"])?;
        self.unseal().await?;
        Ok(self)
    }

    /// Where it is: `https://127.0.0.1:<port>`. Stays the same over [`Self::stop`] and [`Self::restart`].
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The authority of its certificate, in PEM; it is this server's alone.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The same as a file.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join(AUTHORITY)
    }

    /// The token that may do everything.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// The folder with `bao` in it and no other program, for a PATH.
    pub fn program_folder(&self) -> &Path {
        self.program.folder()
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join(LOG)).unwrap_or_default()
    }

    /// What it was asked and what it answered, oldest first, as its audit device writes it; with every token, key and password
    /// as it was, for tests that look for them elsewhere. Questions for its health are left out.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn audited(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.directory.join(AUDIT))?;
        // The last line may be half written.
        let lines = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read = |line| serde_json::from_str(line).context("a line of the audit is no JSON");
        lines.lines().map(read).collect()
    }

    /// Asks with the root token. `path` has no `/v1/`; a body of `Null` is none, and so is an answer.
    ///
    /// # Errors
    /// When it can't be reached, or refuses: names the status and what it says.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        self.call_with(&self.root_token, method, path, body).await
    }

    /// The same with another token, or none if empty.
    pub async fn call_with(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<Value> {
        let url = format!("{}/v1/{path}", self.url);
        let mut request = self.client.request(method.clone(), url);
        if !token.is_empty() {
            request = request.header("x-vault-token", token);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{method} {path}: {status} {text}");
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {path}: no JSON"))
    }

    /// Reads a path with the root token.
    pub async fn read(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, Value::Null).await
    }

    /// Writes to a path with the root token.
    pub async fn write(&self, path: &str, body: Value) -> Result<Value> {
        self.call(Method::POST, path, body).await
    }

    /// Deletes a path with the root token.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.call(Method::DELETE, path, Value::Null).await.map(drop)
    }

    /// What tells `bao` and `vault` where the server is, whom to trust and that they are root.
    pub fn environment(&self) -> Vec<(String, String)> {
        let ca_file = self.ca_file().display().to_string();
        let values = [
            ("ADDR", self.url.clone()),
            ("CACERT", ca_file),
            ("TOKEN", self.root_token.clone()),
        ];
        let named = |(name, value): (&str, String)| {
            ["BAO", "VAULT"].map(|program| (format!("{program}_{name}"), value.clone()))
        };
        values.into_iter().flat_map(named).collect()
    }

    /// Runs `bao` as its user would, with this on its standard input, and gives what it prints.
    ///
    /// # Errors
    /// When it fails: quotes what it says.
    pub async fn cli(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = tokio::process::Command::new(self.program.program());
        let mut child = command
            .args(arguments)
            .envs(self.environment())
            // What it remembers of a login is not the user's.
            .env("HOME", &self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who doesn't read it may be gone by now.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "bao {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Seals it: from now on it answers 503 to everything but questions for its health.
    pub async fn seal(&self) -> Result<()> {
        self.call(Method::PUT, "sys/seal", Value::Null).await?;
        self.wait_for_health(StatusCode::SERVICE_UNAVAILABLE).await
    }

    /// Unseals it, and returns when it answers.
    pub async fn unseal(&self) -> Result<()> {
        let key = json!({"key": self.unseal_key});
        self.call(Method::PUT, "sys/unseal", key).await?;
        self.wait_for_health(StatusCode::OK).await
    }

    /// Kills it, as a machine that loses its power does. Its port refuses connections until [`Self::restart`].
    pub fn stop(&self) {
        self.leash().kill();
    }

    /// Starts it again on the same port with all that it stored, unsealed. Kills it first if it runs.
    pub async fn restart(&self) -> Result<()> {
        self.stop();
        self.run().await?;
        self.unseal().await
    }

    /// Lets it stand still: connections are taken, and nothing is answered until [`Self::resume`].
    pub fn pause(&self) -> Result<()> {
        self.leash().signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.leash().signal(Signal::CONT)
    }

    fn leash(&self) -> MutexGuard<'_, Leash> {
        self.leash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process and returns when it answers, sealed or not initialised.
    async fn run(&self) -> Result<()> {
        let mut command = Command::new(self.program.program());
        command
            .arg("server")
            .arg(format!(
                "-config={}",
                self.directory.join(CONFIGURATION).display()
            ))
            .env("HOME", &self.directory);
        self.leash().spawn(&mut command, LOG)?;
        wait_for("OpenBao to answer", READY_WITHIN, async || {
            self.health().await.map(drop)
        })
        .await
        .with_context(|| self.quote())
    }

    async fn wait_for_health(&self, wanted: StatusCode) -> Result<()> {
        let what = format!("OpenBao's health to be {wanted}");
        wait_for(&what, READY_WITHIN, async || {
            let health = self.health().await?;
            ensure!(health == wanted, "it is {health}");
            Ok(())
        })
        .await
        .with_context(|| self.quote())
    }

    /// 200 where all is well, 501 before it is initialised, 503 sealed, 429 and others while it takes its seat.
    async fn health(&self) -> Result<StatusCode> {
        let url = format!("{}/v1/sys/health", self.url);
        Ok(self.client.get(url).send().await?.status())
    }

    fn quote(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(QUOTED_LINES)..)
            .unwrap_or_default()
            .join("\n");
        format!("the end of OpenBao's log:\n{tail}\n")
    }
}
