//! What helm renders, runs: each container's arguments, with the files that its Pod mounts, as its `ServiceAccount`, on an API
//! server with everything else that was rendered.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{
    ControlPlane, StandInSlack,
    role::{Role, RoleCommand, free_address},
    toolbox::{OpenBao, ServiceAccountRole},
};
use serde_json::{Value, json};
use ulid::Ulid;

use crate::{
    modes::empty,
    support::{HOME, documents, of_kind, render, set},
};

pub(crate) const SOON: Duration = Duration::from_mins(1);
const PROGRAM: &str = env!("CARGO_BIN_EXE_foredeck");
const AUDIENCE: &str = "vault.corp.example";

/// An installation, and what its Pods find in their namespace.
pub(crate) struct Desk {
    pub(crate) plane: ControlPlane,
    slack: StandInSlack,
    /// By `Secret/name/key` and `ConfigMap/name/key`.
    files: BTreeMap<String, String>,
}

impl Desk {
    async fn new() -> Result<Self> {
        Self::on(empty().await?).await
    }

    pub(crate) async fn on(plane: ControlPlane) -> Result<Self> {
        let slack = StandInSlack::start().await?;
        let files = [
            ("bot-token", slack.bot_token()),
            ("app-token", slack.app_token()),
            ("signing-secret", slack.signing_secret()),
            ("old-bot-token", "xoxb-old".to_owned()),
        ];
        let files = files.map(|(key, text)| (format!("Secret/foredeck-slack/{key}"), text));
        Ok(Self {
            plane,
            slack,
            files: files.into(),
        })
    }

    /// Installs it, and runs the container of each Deployment until it is ready; then asks all to end.
    async fn runs(&self, values: &Value) -> Result<usize> {
        let arguments = set(values);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let manifests = render(&arguments).await?;
        self.plane.apply(&manifests).await?;
        self.plane.policies_in_force().await?;
        let manifests = documents(&manifests)?;
        let mut roles = Vec::new();
        for deployment in of_kind(&manifests, "Deployment") {
            let pod = &deployment["spec"]["template"]["spec"];
            roles.push(self.start(pod, &manifests).await?);
        }
        for role in &roles {
            role.until_ready(SOON).await?;
        }
        for role in &roles {
            role.terminate()?;
        }
        for role in &roles {
            let ended = role.until_ended(SOON).await?;
            ensure!(ended.success(), "{ended}\n{}", role.tail());
        }
        Ok(roles.len())
    }

    /// The one container of a Pod; not yet ready.
    pub(crate) async fn start(&self, pod: &Value, manifests: &[Value]) -> Result<Role> {
        let place = self.place(pod, manifests).await?;
        let mut role = RoleCommand::new(PROGRAM, &place.command, &place.folder)?
            .arguments(place.arguments)
            .kubeconfig(place.kubeconfig);
        for (name, value) in &place.environment {
            role = role.env(name, value);
        }
        role.start()
    }

    /// What `/foredeck doctor` says to whoever runs it in a Pod.
    async fn examined(&self, pod: &Value, manifests: &[Value]) -> Result<Value> {
        let place = self.place(pod, manifests).await?;
        let output = tokio::process::Command::new(PROGRAM)
            .args(["doctor", "--output", "json"])
            .env_clear()
            .envs(place.environment)
            .env("KUBECONFIG", place.kubeconfig)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).with_context(|| said.into_owned())
    }

    /// What the kubelet would make for a Pod.
    async fn place(&self, pod: &Value, manifests: &[Value]) -> Result<Place> {
        let account = pod["serviceAccountName"].as_str().context("an account")?;
        let container = &pod["containers"][0];
        let folder = self.folder(account)?;
        let mut mounted = BTreeMap::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let name = mount["name"].as_str().context("a mount's name")?;
            let volumes = pod["volumes"].as_array().context("volumes")?;
            let volume = volumes.iter().find(|volume| volume["name"] == name);
            let place = folder.join(name);
            fs::create_dir(&place)?;
            self.fill(&place, volume.context("a volume")?, account, manifests)
                .await?;
            let path = mount["mountPath"].as_str().context("a path")?;
            mounted.insert(path.to_owned(), place.display().to_string());
        }
        let arguments = container["args"].as_array().context("arguments")?;
        let mut arguments = arguments.iter().filter_map(Value::as_str);
        let command = arguments.next().context("a command")?;
        let mut given = Vec::new();
        for argument in arguments {
            match argument {
                // Pods have addresses of their own.
                "--admin-listen=0.0.0.0:9090" => {}
                "--listen=0.0.0.0:8080" => given.push(format!("--listen={}", free_address()?)),
                argument => given.push(elsewhere(argument, &mounted)),
            }
        }
        let mut environment = BTreeMap::new();
        for variable in container["env"].as_array().into_iter().flatten() {
            let (name, value) = (&variable["name"], &variable["value"]);
            let value = elsewhere(value.as_str().context("a value")?, &mounted);
            environment.insert(name.as_str().context("a name")?.to_owned(), value);
        }
        Ok(Place {
            command: command.to_owned(),
            arguments: given,
            environment,
            kubeconfig: self.plane.kubeconfig_of(HOME, account, None).await?,
            folder,
        })
    }

    /// A folder of its own, below the control plane's.
    fn folder(&self, account: &str) -> Result<PathBuf> {
        let name = format!("{account}-{}", Ulid::new());
        let folder = self.plane.directory().join(name);
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// Does what the kubelet does for a volume.
    async fn fill(
        &self,
        place: &Path,
        volume: &Value,
        account: &str,
        manifests: &[Value],
    ) -> Result<()> {
        if let Some(sources) = volume["projected"]["sources"].as_array() {
            for source in sources {
                let token = &source["serviceAccountToken"];
                let audience = token["audience"].as_str().context("an audience")?;
                let made = self
                    .plane
                    .service_account_token(HOME, account, &[audience])
                    .await?;
                fs::write(place.join(token["path"].as_str().context("a path")?), made)?;
            }
            return Ok(());
        }
        let (kind, name, items) = match (&volume["secret"], &volume["configMap"]) {
            (secret, Value::Null) => ("Secret", &secret["secretName"], &secret["items"]),
            (_, map) => ("ConfigMap", &map["name"], &map["items"]),
        };
        let name = name.as_str().with_context(|| volume.to_string())?;
        for item in items.as_array().into_iter().flatten() {
            let (key, path) = (item["key"].as_str(), item["path"].as_str());
            let key = format!("{kind}/{name}/{}", key.context("a key")?);
            let content = self.files.get(&key).with_context(|| key.clone())?;
            fs::write(place.join(path.context("a path")?), content)?;
        }
        if items.is_null() {
            let map = of_kind(manifests, kind).find(|map| map["metadata"]["name"] == name);
            let data = map.with_context(|| name.to_owned())?["data"].as_object();
            for (key, content) in data.context("data")? {
                fs::write(place.join(key), content.as_str().context("text")?)?;
            }
        }
        Ok(())
    }
}

/// A container's own.
struct Place {
    command: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

/// An argument, or the value of a variable, with the path of what is mounted as it is on this machine.
fn elsewhere(argument: &str, mounted: &BTreeMap<String, String>) -> String {
    for (path, place) in mounted {
        if let Some(file) = argument.strip_prefix(&format!("{path}/")) {
            return format!("{place}/{file}");
        }
        if let Some((flag, file)) = argument.split_once(&format!("={path}/")) {
            return format!("{flag}={place}/{file}");
        }
    }
    argument.to_owned()
}

#[tokio::test]
async fn each_deployment_gets_ready_as_its_service_account() -> Result<()> {
    let desk = Desk::new().await?;
    let slack = json!({"enabled": true, "apiUrl": desk.slack.api_url(), "oldBotToken": true});
    let mut over_http = slack.clone();
    over_http["transport"] = json!("http");
    let allowed = json!({"allowGateHosts": ["gate.corp.example", "*.corp.test:8084"], "allowVaultHosts": ["[::1]:8200"]});
    let identity = json!({"emailDomains": ["corp.example"], "usernameFormat": "oidc:{email}"});
    for (values, count) in [
        (
            json!({"slack": slack, "controller": allowed, "identity": identity}),
            3,
        ),
        (
            json!({"slack": over_http, "namespaces": ["team-a", "team-b"]}),
            3,
        ),
        (
            json!({"mode": "single", "slack": slack, "controller": allowed, "identity": identity}),
            1,
        ),
        (json!({"mode": "single", "namespaces": ["team-a"]}), 1),
    ] {
        let ran = desk.runs(&values).await;
        assert_eq!(ran.with_context(|| values.to_string())?, count, "{values}");
    }
    Ok(())
}

#[tokio::test]
async fn a_doctor_in_a_pod_knows_what_the_pods_role_is_told() -> Result<()> {
    let desk = Desk::new().await?;
    let values = json!({
        "slack": {"enabled": true, "apiUrl": desk.slack.api_url()}, "namespaces": ["team-a", "team-b"],
        "controller": {"allowGateHosts": ["gate.corp.example", "*.corp.test:8084"]},
    });
    let arguments = set(&values);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let manifests = render(&arguments).await?;
    desk.plane.apply(&manifests).await?;
    desk.plane.policies_in_force().await?;
    let manifests = documents(&manifests)?;
    for (role, check, words) in [
        ("controller", "namespaces", "team-b"),
        ("controller", "policies", "what the file says"),
        ("receiver", "slack", ""),
    ] {
        let deployment = of_kind(&manifests, "Deployment")
            .find(|deployment| deployment["metadata"]["name"] == format!("foredeck-{role}"));
        let pod = &deployment.context("a Deployment")?["spec"]["template"]["spec"];
        let page = desk.examined(pod, &manifests).await?;
        let findings = page["findings"].as_array().context("findings")?;
        let told = findings.iter().any(|finding| {
            let found = finding["found"].as_str().unwrap_or_default();
            finding["check"] == check && finding["state"] == "ok" && found.contains(words)
        });
        ensure!(told, "{role}, {check}: {page:#}");
    }
    Ok(())
}

#[tokio::test]
async fn secrets_come_from_a_vault_by_the_pods_own_token() -> Result<()> {
    let Some(program) = OpenBao::fetch().await? else {
        return Ok(());
    };
    let (vault, mut desk) = (program.start().await?, Desk::new().await?);
    vault.enable("kv-v2", "kv").await?;
    let rules = "path \"kv/data/foredeck/slack\" { capabilities = [\"read\"] }";
    vault.policy("slack", rules).await?;
    vault.kubernetes_login("kubernetes", &desk.plane).await?;
    let tokens = json!({"bot": desk.slack.bot_token(), "app": desk.slack.app_token()});
    vault.put_secret("kv", "foredeck/slack", tokens).await?;
    // No Secret is there.
    desk.files.clear();
    let authorities = fs::read_to_string(vault.ca_file())?;
    desk.files
        .insert("ConfigMap/vault-authorities/ca.crt".to_owned(), authorities);
    let role = ServiceAccountRole {
        namespace: HOME,
        name: "foredeck-receiver,foredeck-relay,foredeck",
        audience: AUDIENCE,
        policies: &["slack"],
        ttl: "1h",
    };
    vault
        .kubernetes_role("kubernetes", "foredeck-slack", role)
        .await?;
    let mut values = json!({
        "slack": {
            "enabled": true, "existingSecret": "", "apiUrl": desk.slack.api_url(),
            "vault": {"botToken": "foredeck/slack#bot", "appToken": "foredeck/slack#app"},
        },
        "secretsVault": {
            "address": vault.url(), "role": "foredeck-slack", "audience": AUDIENCE, "kvMount": "kv",
            "caConfigMap": "vault-authorities",
        },
    });
    assert_eq!(desk.runs(&values).await?, 3);
    values["mode"] = json!("single");
    assert_eq!(desk.runs(&values).await?, 1);
    Ok(())
}
