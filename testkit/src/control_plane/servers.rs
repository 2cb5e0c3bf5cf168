//! The running etcd and kube-apiserver: their flags, and when they count as ready.
//!
//! Touches one folder below the system's temporary folder, and one port of the loopback address.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use axum::http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::net::UnixStream;
use tokio::time::sleep;
use ulid::Ulid;

use super::access::Access;
use super::audit;
use super::programs::Programs;
use super::service_account_keys;
use crate::leash::Leash;
use crate::wait::{BETWEEN_LOOKS, wait_for};

/// Seconds are usual; a minute and more happens on a loaded machine with a cold disk.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// A free port may be taken by somebody else before the API server listens on it.
const PORT_ATTEMPTS: usize = 5;

/// How much of a log a failed start quotes.
const QUOTED_LINES: usize = 15;

/// A path to a socket has to fit into 104 bytes on some systems, and 108 on others.
const LONGEST_SOCKET_PATH: usize = 100;

const ETCD_LOG: &str = "etcd.log";
const API_SERVER_LOG: &str = "kube-apiserver.log";

const AUDIT_POLICY: &str = "audit-policy.json";
pub(super) const AUDIT_LOG: &str = "audit.log";

/// The public half of the pair that `ServiceAccount` tokens are signed with.
pub(super) const SERVICE_ACCOUNT_KEY: &str = "service-accounts.pub";

/// Both servers, ready, for as long as this value and this process live.
#[derive(Debug)]
pub(super) struct Servers {
    leash: Leash,
    access: Access,
}

impl Servers {
    /// With `audited` the API server records every request.
    pub(super) async fn start(programs: &Programs, audited: bool) -> Result<Self> {
        for _ in 0..PORT_ATTEMPTS {
            if let Some(servers) = Self::attempt(programs, audited).await? {
                return Ok(servers);
            }
        }
        Err(anyhow!(
            "{PORT_ATTEMPTS} free ports in a row were taken by another process before kube-apiserver listened"
        ))
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn directory(&self) -> &Path {
        self.leash.directory()
    }

    /// Starts both servers once. None: somebody else has taken the port.
    async fn attempt(programs: &Programs, audited: bool) -> Result<Option<Self>> {
        let directory = std::env::temp_dir().join(format!("foredeck-{}", Ulid::new()));
        let etcd_socket = directory.join("etcd.sock");
        ensure!(
            etcd_socket.as_os_str().len() <= LONGEST_SOCKET_PATH,
            "the temporary folder's path is too long for a socket in it: set TMPDIR to a shorter one than {}",
            std::env::temp_dir().display()
        );
        let mut leash = Leash::new(&directory)?;

        // etcd listens on a socket of its folder: no port to be taken, and no other etcd to be mistaken for this one.
        let etcd_url = format!("unix://{}", etcd_socket.display());
        let mut etcd = Command::new(&programs.etcd);
        etcd.arg("--data-dir")
            .arg(directory.join("etcd"))
            .args(["--listen-client-urls", &etcd_url]);
        // Must have a port, though nobody asks etcd for it; the peers' port is the kernel's choice, as there are none.
        etcd.args([
            "--advertise-client-urls",
            "http://127.0.0.1:0",
            "--listen-peer-urls",
            "http://127.0.0.1:0",
        ]);
        etcd.args(["--unsafe-no-fsync", "--log-level", "warn"]);
        let etcd = leash.spawn(&mut etcd, ETCD_LOG)?;
        let listens = wait_for("etcd to listen", READY_WITHIN, async || {
            UnixStream::connect(&etcd_socket)
                .await
                .context("its socket answers nobody")
        });
        let listens = tokio::select! {
            status = ended(etcd) => Err(anyhow!("etcd ended at its start ({})", status?)),
            connection = listens => connection,
        };
        listens.with_context(|| quote(&directory, ETCD_LOG))?;

        let port = free_port()?;
        let admin_token = Ulid::new().to_string();
        write(
            &directory,
            "tokens.csv",
            &format!("{admin_token},foredeck-test-admin,foredeck-test-admin,\"system:masters\"\n"),
        )?;
        let keys = service_account_keys::generate()?;
        write(&directory, "service-accounts.key", &keys.private_pem)?;
        write(&directory, SERVICE_ACCOUNT_KEY, &keys.public_pem)?;
        let flag = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
        let mut api_server = Command::new(&programs.kube_apiserver);
        // A sixth of its time went into collecting garbage; a test's memory is cheaper than that.
        api_server.envs([("GOGC", "400"), ("GOMEMLIMIT", "2GiB")]);
        api_server.args([
            format!("--etcd-servers={etcd_url}"),
            format!("--secure-port={port}"),
            // Writes a certificate for the address below there, followed by that of the authority made for it alone.
            flag("cert-dir", "certificates"),
            flag("token-auth-file", "tokens.csv"),
            flag("service-account-key-file", SERVICE_ACCOUNT_KEY),
            flag("service-account-signing-key-file", "service-accounts.key"),
        ]);
        api_server.args([
            "--bind-address=127.0.0.1",
            // Nobody looks for the API server through its Service, whose endpoints may not be loopback addresses.
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            // Waits for default ServiceAccounts, which no controller makes here.
            "--disable-admission-plugins=ServiceAccount",
        ]);
        if audited {
            write(&directory, AUDIT_POLICY, audit::POLICY)?;
            api_server.args([
                flag("audit-policy-file", AUDIT_POLICY),
                flag("audit-log-path", AUDIT_LOG),
                // Whoever has an answer finds it in the log.
                "--audit-log-mode=blocking".to_owned(),
            ]);
        }
        let api_server = leash.spawn(&mut api_server, API_SERVER_LOG)?;
        let status = tokio::select! {
            status = ended(api_server) => status?,
            access = ready(&directory, port, &admin_token) => {
                let access = access.with_context(|| quote(&directory, API_SERVER_LOG))?;
                return Ok(Some(Self { leash, access }));
            }
        };
        let log = fs::read_to_string(directory.join(API_SERVER_LOG)).unwrap_or_default();
        if log.contains("address already in use") {
            return Ok(None);
        }
        Err(anyhow!("kube-apiserver ended at its start ({status})")
            .context(quote(&directory, API_SERVER_LOG)))
    }
}

/// Waits until the API server answers that it is ready.
async fn ready(directory: &Path, port: u16, admin_token: &str) -> Result<Access> {
    let url = format!("https://127.0.0.1:{port}");
    let certificates = directory.join("certificates").join("apiserver.crt");
    let access = wait_for(
        "the certificate of kube-apiserver",
        READY_WITHIN,
        async || {
            let chain = fs::read_to_string(&certificates).context("it is not written yet")?;
            Access::new(&url, &chain, admin_token)
        },
    );
    let access = access.await?;
    let client = Client::try_from(access.config(None))?;
    wait_for("kube-apiserver to be ready", READY_WITHIN, async || {
        client
            .request_text(Request::get("/readyz").body(Vec::new())?)
            .await?;
        // Made by a task in the background, after the server calls itself ready.
        Api::<Namespace>::all(client.clone()).get("default").await?;
        Ok(())
    })
    .await?;
    Ok(access)
}

async fn ended(process: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

fn write(directory: &Path, name: &str, content: &str) -> Result<()> {
    let file = directory.join(name);
    fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))
}

fn quote(directory: &Path, log: &str) -> String {
    let text = fs::read_to_string(directory.join(log)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(QUOTED_LINES)..)
        .unwrap_or_default()
        .join("\n");
    format!("the control plane did not start; the end of {log}:\n{tail}\n")
}
