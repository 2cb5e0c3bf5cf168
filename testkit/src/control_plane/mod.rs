//! The real etcd and kube-apiserver, built once from Go modules, on free ports and in a folder of their own.
//!
//! Real: RBAC, admission policies, CEL rules, server-side apply, watches, `ServiceAccount` tokens by `TokenRequest`.
//! Absent: controllers. Nothing follows owner references, a deleted namespace stays `Terminating`, a namespace has no
//! default `ServiceAccount`.

mod access;
mod audit;
mod definitions;
mod manifests;
mod programs;
mod servers;
mod service_account_keys;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::sync::OnceCell;
use ulid::Ulid;

pub use audit::AuditedCall;

use access::Identity;
use programs::Programs;
use servers::Servers;

/// A running control plane. It ends with this value, and with this process however that ends.
///
/// Clients belong to the runtime that they were made in, so ask for one in each test rather than keep one in a static.
#[derive(Debug)]
pub struct ControlPlane {
    servers: Servers,
    admin_kubeconfig: PathBuf,
}

impl ControlPlane {
    /// Starts a control plane for the caller alone; most tests share one with [`ControlPlane::shared`].
    ///
    /// Takes about two seconds. The first time on a machine it builds etcd and kube-apiserver with Go, which takes
    /// minutes, unless `KUBEBUILDER_ASSETS` names a folder that has them.
    ///
    /// # Errors
    /// When the programs cannot be had or do not become ready; quotes the end of the log.
    pub async fn start() -> Result<Self> {
        Self::begin(false).await
    }

    /// The same with an API server that records every request, for [`ControlPlane::audited`].
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn start_audited() -> Result<Self> {
        Self::begin(true).await
    }

    async fn begin(audited: bool) -> Result<Self> {
        // Both crypto providers may be in the graph of a test, and kube panics when none is chosen. Fails if one is.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let programs = tokio::task::spawn_blocking(Programs::find_or_build)
            .await
            .context("the build broke off")??;
        let servers = Servers::start(&programs, audited).await?;
        let admin_kubeconfig = servers.directory().join("admin.kubeconfig");
        let plane = Self {
            servers,
            admin_kubeconfig,
        };
        plane.write_kubeconfig(&plane.admin_kubeconfig, plane.url(), None)?;
        Ok(plane)
    }

    /// The control plane of this test process, started by whoever asks first. Take a [`ControlPlane::namespace`] each.
    ///
    /// # Panics
    /// When it cannot be started; every test that asks is told why, without another attempt.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Result<ControlPlane>> = OnceCell::const_new();
        match SHARED.get_or_init(Self::start).await {
            Ok(plane) => plane,
            Err(error) => panic!("no control plane: {error:#}"),
        }
    }

    /// A client that may do everything.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as every client does.
    pub fn admin(&self) -> Client {
        client(self.admin_config())
    }

    /// A client that may do what RBAC allows to `user` and `groups` (`system:authenticated` comes by itself).
    ///
    /// For a `ServiceAccount`, `system:serviceaccount:<namespace>:<name>` without groups gets the groups of one.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as every client does.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        client(self.config_as(user, groups))
    }

    /// The configuration behind [`ControlPlane::admin`], for a test that changes something about it.
    pub fn admin_config(&self) -> Config {
        self.servers.access().config(None)
    }

    /// The configuration behind [`ControlPlane::client_as`], for a test that changes something about it.
    pub fn config_as(&self, user: &str, groups: &[&str]) -> Config {
        self.servers
            .access()
            .config(Some(Identity { user, groups }))
    }

    /// A kubeconfig for kubectl and child processes that may do everything.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// Writes a kubeconfig of [`ControlPlane::client_as`] into `folder`, or where it goes with the control plane.
    ///
    /// It holds the administrator's token, so it is no way to keep a process from being somebody else.
    pub fn kubeconfig_as(
        &self,
        user: &str,
        groups: &[&str],
        folder: Option<&Path>,
    ) -> Result<PathBuf> {
        let file = self.new_kubeconfig(folder);
        self.write_kubeconfig(&file, self.url(), Some(Identity { user, groups }))?;
        Ok(file)
    }

    /// Writes the administrator's kubeconfig with another address, such as that of a proxy that a test holds in between.
    ///
    /// The proxy gets the token with each request and hands it on; the far end is at [`ControlPlane::url`], to be
    /// trusted by [`ControlPlane::ca_pem`].
    pub fn kubeconfig_through(&self, url: &str) -> Result<PathBuf> {
        let file = self.new_kubeconfig(None);
        self.write_kubeconfig(&file, url, None)?;
        Ok(file)
    }

    /// The API server's address: `https://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        self.servers.access().url()
    }

    /// The authority that the API server's certificate is checked by, in PEM. It is this control plane's alone.
    pub fn ca_pem(&self) -> &str {
        self.servers.access().ca_pem()
    }

    /// The bearer token of a member of `system:masters`.
    pub fn admin_token(&self) -> &str {
        self.servers.access().admin_token()
    }

    /// A token of a `ServiceAccount`, which is made if there is none, for these audiences (the API server's own if empty).
    /// It lasts an hour.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[&str],
    ) -> Result<String> {
        let account = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        });
        self.apply(&account.to_string()).await?;
        let audiences = audiences.iter().map(ToString::to_string).collect();
        let wanted = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audiences),
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts = Api::<ServiceAccount>::namespaced(self.admin(), namespace);
        let made = accounts
            .create_token_request(name, &PostParams::default(), &wanted)
            .await
            .with_context(|| format!("no token of {namespace}/{name}"))?;
        let token = made.status.and_then(|status| status.token);
        token.context("the API server gave no token")
    }

    /// A client with a token of a `ServiceAccount` and nothing of the administrator's: what it may is what RBAC gives that
    /// account.
    ///
    /// # Errors
    /// When there is no token.
    pub async fn client_of(&self, namespace: &str, name: &str) -> Result<Client> {
        let token = self.service_account_token(namespace, name, &[]).await?;
        Ok(client(self.servers.access().config_with(&token, None)))
    }

    /// Writes a kubeconfig with such a token. `through` is the address of something in front of the API server, if any.
    ///
    /// # Errors
    /// When there is no token, or the file can't be written.
    pub async fn kubeconfig_of(
        &self,
        namespace: &str,
        name: &str,
        through: Option<&str>,
    ) -> Result<PathBuf> {
        let token = self.service_account_token(namespace, name, &[]).await?;
        let server = through.unwrap_or(self.url());
        let content = self
            .servers
            .access()
            .kubeconfig_with(server, &token, None)?;
        let file = self.new_kubeconfig(None);
        write_private(&file, &content.to_string())?;
        Ok(file)
    }

    /// Every request that was answered so far, of all users.
    ///
    /// # Errors
    /// When the control plane was not started by [`ControlPlane::start_audited`].
    pub fn audited(&self) -> Result<Vec<AuditedCall>> {
        audit::read(&self.directory().join(servers::AUDIT_LOG))
    }

    /// The key that tokens of a `ServiceAccount` are checked by, in PEM.
    pub fn service_account_key_pem(&self) -> Result<String> {
        let file = self.directory().join(servers::SERVICE_ACCOUNT_KEY);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Holds the logs (`etcd.log`, `kube-apiserver.log`), the data and the credentials; removed with the control plane.
    pub fn directory(&self) -> &Path {
        self.servers.directory()
    }

    /// Creates a namespace that no other test has, and gives its name.
    ///
    /// `prefix` has at most 36 characters of a DNS label. Nothing is gained by deleting the namespace afterwards.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", Ulid::new().to_string().to_lowercase());
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::<Namespace>::all(self.admin())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("cannot create the namespace {name}"))?;
        Ok(name)
    }

    /// Installs the definitions, and returns once the API server serves and discovers them.
    ///
    /// Many tests may install the same ones at once. Different definitions of one name overwrite each other: such a test
    /// wants a control plane of its own.
    pub async fn install_crds(&self, definitions: &[CustomResourceDefinition]) -> Result<()> {
        definitions::install(&self.admin(), definitions).await
    }

    /// Installs definitions and every manifest (`*.yaml`) right in the folder, and returns once all admission policies
    /// count. Many tests may install the same at once.
    pub async fn install(
        &self,
        definitions: &[CustomResourceDefinition],
        folder: &Path,
    ) -> Result<()> {
        self.install_crds(definitions).await?;
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        for file in files {
            if file.extension().is_some_and(|ending| ending == "yaml") {
                self.apply(&fs::read_to_string(&file)?)
                    .await
                    .with_context(|| file.display().to_string())?;
            }
        }
        self.policies_in_force().await
    }

    /// Applies manifests, several YAML documents, as `kubectl apply --server-side --force-conflicts` would, and refuses
    /// fields that the API server doesn't know. Their own order is kept.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        manifests::apply(&self.admin(), manifests).await
    }

    /// Returns once all admission policies that are installed count. The API server takes a second or two to heed a new one.
    pub async fn policies_in_force(&self) -> Result<()> {
        manifests::in_force(&self.admin()).await
    }

    fn new_kubeconfig(&self, folder: Option<&Path>) -> PathBuf {
        folder
            .unwrap_or(self.directory())
            .join(format!("{}.kubeconfig", Ulid::new()))
    }

    fn write_kubeconfig(
        &self,
        file: &Path,
        server: &str,
        identity: Option<Identity<'_>>,
    ) -> Result<()> {
        let content = self
            .servers
            .access()
            .kubeconfig(server, identity)?
            .to_string();
        write_private(file, &content)
    }
}

/// Tools warn about a kubeconfig that others can read.
fn write_private(file: &Path, content: &str) -> Result<()> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    opened
        .and_then(|mut opened| opened.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn client(config: Config) -> Client {
    match Client::try_from(config) {
        Ok(client) => client,
        // The start made one of the same parts, so this is a mistake in the testkit.
        Err(error) => panic!("no client for the test control plane: {error}"),
    }
}
