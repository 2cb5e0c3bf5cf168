//! What every test here stands on: the real control plane with foredeck installed, worlds of a Vault, a Gate and a namespace
//! each, and the controller as a process with the rights of its `ServiceAccount`.

use std::{
    fs::{self, File},
    net::TcpListener,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use foredeck::api::{
    Application, DeployRequest, Environment, SpinnakerConnection,
    connection::SpinnakerConnectionStatus, deploy_request::Phase,
};
use foredeck_testkit::{
    ControlPlane, StandInGate,
    gate::{Call, GateTls, Operation, Parameter, Pipeline, Stage},
    tls::{Authority, Issued},
    toolbox::{OpenBao, PKI_ISSUING, ServiceAccountRole},
    wait_for,
};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::witness;

/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// The `ServiceAccount` by which foredeck logs in to Vault.
pub(crate) const ACCOUNT: &str = "foredeck-vault";
/// The role of PKI and of logins, and the policy between them.
pub(crate) const ROLE: &str = "foredeck";
/// The connection of every world.
pub(crate) const CONNECTION: &str = "gate";
/// The environment of every world.
pub(crate) const ENVIRONMENT: &str = "live";
/// Which Secrets the controller may read in every world.
pub(crate) const SECRETS: [&str; 5] = ["client", "authority", "token", "another", "stranger"];
/// What foredeck is installed by.
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/install");
/// Secrets are read and connections are looked at more often than else, and the stand-in has no Orca that goes on for minutes.
const OFTEN: [&str; 6] = [
    "--test-secret-age",
    "1s",
    "--test-refresh",
    "2s",
    "--test-minimum-settle",
    "3s",
];
/// What the controller logs.
const LOGGED: &str = "foredeck=debug,warn";

/// How a connection logs in to its Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Vault asks the API server (`TokenReview`).
    Kubernetes,
    /// Vault checks the token by itself.
    Jwt,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Jwt => "jwt",
        }
    }
}

/// A namespace as a platform team furnishes it: the `ServiceAccount`, the right to read Secrets, an Application `checkout` and
/// an Environment `live` of the connection `gate`, which is yet to come.
pub(crate) struct Place {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
}

/// A place with the connection `gate` to its own Gate, whose client certificates its own Vault issues.
pub(crate) struct World {
    place: Place,
    pub(crate) vault: OpenBao,
    pub(crate) gate: StandInGate,
    /// The authority of Gate's own certificate.
    pub(crate) authority: Authority,
    /// Whom tokens for this Vault are for.
    pub(crate) audience: String,
    /// The common name of its certificates, and so as whom Gate knows foredeck.
    pub(crate) principal: String,
}

impl World {
    /// A world with certificates for a minute and a login by `TokenReview`, whose deployments are quick. None where OpenBao
    /// is left out. The name has a few letters.
    pub(crate) async fn new(name: &str) -> Result<Option<Self>> {
        Self::with(name, "60s", Method::Kubernetes).await
    }

    /// The same with certificates for that long and another login.
    pub(crate) async fn with(name: &str, ttl: &str, method: Method) -> Result<Option<Self>> {
        let Some(world) = Self::bare(name, ttl).await? else {
            return Ok(None);
        };
        let connection = world.connection(method);
        world
            .create::<SpinnakerConnection>(CONNECTION, connection)
            .await?;
        Ok(Some(world))
    }

    /// A world without a connection.
    pub(crate) async fn bare(name: &str, ttl: &str) -> Result<Option<Self>> {
        let Some(program) = OpenBao::fetch().await? else {
            return Ok(None);
        };
        let vault = program.start().await?;
        vault.pki().await?;
        let authority = Authority::new("Spinnaker")?;
        let gate = StandInGate::start_tls(GateTls {
            server: authority.server()?,
            clients: Some(issuing_authority(&vault).await?),
        })
        .await?;
        gate.put_pipeline(deploying());
        gate.put_pipeline(Pipeline::new("checkout", "Hold").stage(Stage::held("Hold")));
        let world = Self {
            place: Place::new(name).await?,
            vault,
            gate,
            authority,
            audience: format!("vault.{name}.example"),
            principal: format!("foredeck-{name}"),
        };
        world.furnish_vault(ttl).await?;
        Ok(Some(world))
    }

    /// PKI's role, the policy, and both logins with a role for the namespace's `ServiceAccount`.
    async fn furnish_vault(&self, ttl: &str) -> Result<()> {
        self.issue_for(ttl).await?;
        self.allow_issuing().await?;
        self.vault
            .kubernetes_login("kubernetes", self.plane)
            .await?;
        self.vault.jwt_login("jwt", self.plane).await?;
        self.bind("10m").await
    }

    /// Sets PKI's role: certificates for the principal that last this long.
    pub(crate) async fn issue_for(&self, ttl: &str) -> Result<()> {
        let names = [self.principal.as_str()];
        self.vault.pki_role(ROLE, ttl, &names, json!({})).await
    }

    /// Sets the policy as it should be.
    pub(crate) async fn allow_issuing(&self) -> Result<()> {
        let rules =
            format!("path \"{PKI_ISSUING}/issue/{ROLE}\" {{ capabilities = [\"update\"] }}");
        self.vault.policy(ROLE, &rules).await
    }

    /// Sets the roles of both logins, whose client tokens last this long.
    pub(crate) async fn bind(&self, ttl: &str) -> Result<()> {
        let account = ServiceAccountRole {
            namespace: &self.namespace,
            name: ACCOUNT,
            audience: &self.audience,
            policies: &[ROLE],
            ttl,
        };
        self.vault
            .kubernetes_role("kubernetes", ROLE, account)
            .await?;
        self.vault.jwt_role("jwt", ROLE, account).await
    }

    /// Waits until Vault has issued so many certificates more than now to whoever isn't root.
    pub(crate) async fn until_renewed(&self, times: usize) -> Result<()> {
        let before = witness::issued(&self.vault)?.len();
        let what = format!("{times} more certificates");
        wait_for(&what, PATIENCE, async || {
            let now = witness::issued(&self.vault)?.len();
            ensure!(now >= before + times, "{} so far", now - before);
            Ok(())
        })
        .await
    }

    /// The spec of a connection to this world's Gate with certificates of its Vault.
    pub(crate) fn connection(&self, method: Method) -> Value {
        self.connection_by(&self.vault_auth(method))
    }

    /// The spec of a connection to this world's Gate whose `mtls` is this.
    pub(crate) fn connection_by(&self, mtls: &Value) -> Value {
        json!({
            "gateUrl": self.gate.url(),
            "deckUrl": "https://deck.example",
            "allow": {"applications": ["checkout"], "accounts": ["eks-*"], "namespaces": ["*"]},
            "timeouts": {"connect": "3s", "request": "5s", "settle": "3s"},
            "tls": {"caBundle": self.authority.ca_pem()},
            "auth": {"mtls": mtls},
        })
    }

    /// The `mtls` of a connection with certificates of this world's Vault.
    pub(crate) fn vault_auth(&self, method: Method) -> Value {
        let login = json!({"role": ROLE, "audience": self.audience});
        json!({"vault": {
            "address": self.vault.url(),
            "tls": {"caBundle": self.vault.ca_pem()},
            "login": {method.name(): login},
            "pki": {"mount": PKI_ISSUING, "role": ROLE, "commonName": self.principal},
        }})
    }

    /// Waits until the world's connection is ready, and gives its status.
    pub(crate) async fn until_ready(&self) -> Result<SpinnakerConnectionStatus> {
        let known = format!("{:?}", self.principal);
        self.until_said(CONNECTION, "ConfigurationValid", &known)
            .await
    }

    /// Certificates of this world's Vault for its principal that last this long, given to the test.
    pub(crate) async fn issue(&self, ttl: &str) -> Result<Issued> {
        let wanted = json!({"common_name": self.principal, "ttl": ttl});
        let path = format!("{PKI_ISSUING}/issue/{ROLE}");
        let given = self.vault.write(&path, wanted).await?;
        let text = |key: &str| given["data"][key].as_str().context("not issued");
        Ok(Issued {
            chain_pem: format!("{}\n", text("certificate")?),
            key_pem: text("private_key")?.to_owned(),
        })
    }

    /// How often a request was launched at this world's Gate.
    pub(crate) async fn launches(&self, name: &str) -> Result<usize> {
        let request = self.api::<DeployRequest>().get(name).await?;
        Ok(self
            .gate
            .launches_of(&request.uid().unwrap_or_default())
            .len())
    }
}

impl Deref for World {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Place {
    /// A namespace of its own.
    pub(crate) async fn new(name: &str) -> Result<Self> {
        let plane = installed().await?;
        let made = Self {
            plane,
            namespace: plane.namespace(name).await?,
        };
        made.furnish().await?;
        Ok(made)
    }

    async fn furnish(&self) -> Result<()> {
        let metadata = json!({"name": "foredeck-connections", "namespace": self.namespace});
        let group = "rbac.authorization.k8s.io";
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": self.namespace},
        });
        // And a Lease of this namespace's own: that of an installation is one for all.
        let rules = json!([
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": SECRETS, "verbs": ["get"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
        ]);
        let role = json!({
            "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": rules,
        });
        let subject = json!({"kind": "ServiceAccount", "name": "foredeck-controller", "namespace": "foredeck-system"});
        let binding = json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata, "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "foredeck-connections"},
        });
        self.plane
            .apply(&format!("{account}\n---\n{role}\n---\n{binding}\n"))
            .await?;
        let parameters = json!({"branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}"});
        let actions = json!({"deploy": {"pipeline": "Deploy", "parameters": parameters}, "hold": {"pipeline": "Hold"}});
        self.create::<Application>("checkout", json!({"actions": actions}))
            .await?;
        self.environment(ENVIRONMENT, CONNECTION).await
    }

    /// An Environment of that name, with a place of its own behind that connection.
    pub(crate) async fn environment(&self, name: &str, connection: &str) -> Result<()> {
        let target = json!({"account": format!("eks-{name}"), "namespace": "shop"});
        let spec = json!({"connection": connection, "target": target});
        self.create::<Environment>(name, spec).await.map(drop)
    }

    /// A connection, and an Environment of the same name behind it.
    pub(crate) async fn connect(&self, name: &str, spec: &Value) -> Result<()> {
        self.create::<SpinnakerConnection>(name, spec.clone())
            .await?;
        self.environment(name, name).await
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.plane.admin(), &self.namespace)
    }

    pub(crate) async fn create<K>(&self, name: &str, spec: Value) -> Result<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + serde::de::DeserializeOwned
            + serde::Serialize
            + Clone
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        }))?;
        let created = self
            .api::<K>()
            .create(&PostParams::default(), &object)
            .await;
        created.with_context(|| format!("create {} {name}", K::kind(&())))
    }

    /// Makes a Secret what it is to be, in one write.
    pub(crate) async fn put_secret(&self, name: &str, data: Value) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
        }))?;
        let parameters = PatchParams::apply("test").force();
        let api = self.api::<Secret>();
        api.patch(name, &parameters, &Patch::Apply(&secret)).await?;
        Ok(())
    }

    /// What the connection's status says now.
    pub(crate) async fn status(&self, connection: &str) -> Result<SpinnakerConnectionStatus> {
        let connection = self.api::<SpinnakerConnection>().get(connection).await?;
        Ok(connection.status.unwrap_or_default())
    }

    /// Waits until the connection's Ready, of its newest spec, has this reason and its sentence holds `says`.
    pub(crate) async fn until_said(
        &self,
        connection: &str,
        reason: &str,
        says: &str,
    ) -> Result<SpinnakerConnectionStatus> {
        let what = format!("{}/{connection}: {reason}, {says:?}", self.namespace);
        wait_for(&what, PATIENCE, async || {
            let now = self.api::<SpinnakerConnection>().get(connection).await?;
            let status = now.status.clone().unwrap_or_default();
            let found = status.conditions.iter().any(|ready| {
                ready.type_ == "Ready"
                    && ready.reason == reason
                    && ready.message.contains(says)
                    && ready.observed_generation == now.metadata.generation
            });
            ensure!(found, "{:?}", status.conditions);
            Ok(status)
        })
        .await
    }

    /// Asks for an action of `checkout` (`deploy` or `hold`) in an Environment.
    pub(crate) async fn ask(&self, name: &str, action: &str, environment: &str) -> Result<()> {
        let mut spec =
            json!({"application": "checkout", "environment": environment, "action": action});
        if action == "deploy" {
            spec["version"] = json!("main");
        }
        self.create::<DeployRequest>(name, spec).await.map(drop)
    }

    /// Asks for a deployment to `live` and waits until it has succeeded.
    pub(crate) async fn deploy(&self, name: &str) -> Result<()> {
        self.ask(name, "deploy", ENVIRONMENT).await?;
        self.until_phase(name, Phase::Succeeded).await.map(drop)
    }

    pub(crate) async fn until_phase(&self, name: &str, phase: Phase) -> Result<DeployRequest> {
        let what = format!("{}/{name}: {phase:?}", self.namespace);
        wait_for(&what, PATIENCE, async || {
            let request = self.api::<DeployRequest>().get(name).await?;
            let status = request.status.clone().unwrap_or_default();
            ensure!(
                status.phase == Some(phase),
                "{:?}: {:?}",
                status.phase,
                status.message
            );
            Ok(request)
        })
        .await
    }

    /// Waits until the request waits for this reason, and gives the sentence that says so.
    pub(crate) async fn until_waiting(&self, name: &str, reason: &str) -> Result<String> {
        let what = format!("{}/{name} to wait for {reason}", self.namespace);
        wait_for(&what, PATIENCE, async || {
            let request = self.api::<DeployRequest>().get(name).await?;
            let status = request.status.unwrap_or_default();
            let found = status
                .conditions
                .iter()
                .any(|condition| condition.reason == reason);
            ensure!(found && status.waiting.is_some(), "{:?}", status.conditions);
            status.message.context("no message")
        })
        .await
    }

    /// What `kubectl get spinnakerconnections` shows of one.
    pub(crate) fn row(&self, connection: &str, more: &[&str]) -> Result<String> {
        let listed = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.plane.admin_kubeconfig())
            .args(["--namespace", &self.namespace, "get"])
            .args(["spinnakerconnections.foredeck.dev", connection])
            .args(more)
            .output()
            .context(
                "this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/",
            )?;
        Ok(String::from_utf8(listed.stdout)?)
    }
}

/// The calls that failed. That an execution isn't there before it is started is no failure.
pub(crate) fn failed(calls: &[Call]) -> Vec<&Call> {
    let started = |call: &Call| {
        calls.iter().any(|start| {
            start.operation == Operation::Start
                && start.number < call.number
                && start.execution == call.execution
        })
    };
    let fine = |call: &Call| match call.status {
        Some(404) => call.operation == Operation::GetExecution && !started(call),
        status => status == Some(200),
    };
    calls.iter().filter(|call| !fine(call)).collect()
}

/// The certificate of the authority that issues, in PEM.
pub(crate) async fn issuing_authority(vault: &OpenBao) -> Result<String> {
    let found = vault.read(&format!("{PKI_ISSUING}/cert/ca")).await?;
    let pem = found["data"]["certificate"].as_str();
    Ok(pem.context("no certificate of the authority")?.to_owned())
}

/// The control plane with foredeck installed as the manifests of `examples/install` say.
pub(crate) async fn installed() -> Result<&'static ControlPlane> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let plane = ControlPlane::shared().await;
    INSTALLED
        .get_or_try_init(async || {
            plane
                .install(&foredeck::api::crds(), Path::new(INSTALL))
                .await
        })
        .await?;
    Ok(plane)
}

fn deploying() -> Pipeline {
    Pipeline::new("checkout", "Deploy")
        .parameter(Parameter::new("account").required())
        .parameter(Parameter::new("namespace").required())
        .parameter(Parameter::new("branch").required())
        .stage(Stage::deploy("Deploy", Duration::from_millis(100)))
}

/// The controller as a process of its own; killed when dropped, and its log shown when a test fails.
pub(crate) struct Controller {
    child: Child,
    admin: String,
    log: PathBuf,
    audit: PathBuf,
}

impl Controller {
    /// For these worlds, with the rights of its `ServiceAccount`; returns when it is ready.
    pub(crate) async fn start(worlds: &[&World]) -> Result<Self> {
        Self::start_with(worlds, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn start_with(worlds: &[&World], arguments: &[&str]) -> Result<Self> {
        let places: Vec<&Place> = worlds.iter().map(|world| &world.place).collect();
        Self::start_for(&places, LOGGED, arguments).await
    }

    /// For these places, logging by these directives.
    pub(crate) async fn start_for(
        places: &[&Place],
        logged: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let plane = installed().await?;
        let namespaces: Vec<&str> = places
            .iter()
            .map(|place| place.namespace.as_str())
            .collect();
        let first = namespaces.first().context("a controller of nothing")?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = plane
            .directory()
            .join(format!("controller-{first}-{number}.log"));
        let audit = log.with_extension("stdout");
        let admin = free_address()?;
        let account = "system:serviceaccount:foredeck-system:foredeck-controller";
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .arg("controller")
            .args(["--namespace", &namespaces.join(",")])
            .args(["--admin-listen", &admin])
            .args(OFTEN)
            .args(arguments)
            .env("KUBECONFIG", plane.kubeconfig_as(account, &[], None)?)
            .env("FOREDECK_LEASE_NAMESPACE", first)
            .env("FOREDECK_LEASE_NAME", format!("controller-{first}"))
            .env(
                "FOREDECK_ADMISSION_POLICIES",
                format!("{INSTALL}/admission.yaml"),
            )
            .env("FOREDECK_ALLOW_GATE_HOST", "127.0.0.1")
            .env("FOREDECK_ALLOW_VAULT_HOST", "127.0.0.1")
            .env("RUST_LOG", logged)
            .stdin(Stdio::null())
            .stdout(File::create(&audit)?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("start the controller")?;
        let mut controller = Self {
            child,
            admin,
            log,
            audit,
        };
        controller.until_ready().await?;
        Ok(controller)
    }

    async fn until_ready(&mut self) -> Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        let child = std::cell::RefCell::new(&mut self.child);
        wait_for("the controller to be ready", PATIENCE, async || {
            let ended = child.borrow_mut().try_wait()?;
            ensure!(ended.is_none(), "it ended: {ended:?}");
            let answer = reqwest::get(&url).await?;
            let (status, text) = (answer.status(), answer.text().await?);
            ensure!(status.is_success(), "{text}");
            Ok(())
        })
        .await
        .with_context(|| self.log())
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let answer = reqwest::get(format!("http://{}/metrics", self.admin)).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// The value of the one metric whose line begins like this, labels included; none when there is no such line.
    pub(crate) async fn metric(&self, line: &str) -> Result<Option<f64>> {
        let metrics = self.metrics().await?;
        let mut found = metrics.lines().filter(|known| known.starts_with(line));
        let value = found.next().and_then(|line| line.rsplit(' ').next());
        if found.next().is_some() {
            bail!("several lines begin with {line:?}");
        }
        Ok(value.map(str::parse).transpose()?)
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Everything that it has written elsewhere: its audit lines.
    pub(crate) fn audit(&self) -> String {
        fs::read_to_string(&self.audit).unwrap_or_default()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() || std::env::var_os("FOREDECK_TEST_LOGS").is_some() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
