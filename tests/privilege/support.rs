//! What every test here stands on: a control plane that records every call, with the chart installed as helm renders it, a
//! team's namespace, a stand-in Gate, Slack and Vault, and the roles as processes with tokens of the chart's own
//! `ServiceAccount`s.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::{
    access::rights::manifests,
    api::{Application, DeployRequest, Environment, SpinnakerConnection, deploy_request::Phase},
};
use foredeck_testkit::{
    ControlPlane, FalseVault, Role, RoleCommand, StandInGate, StandInSlack,
    gate::{Parameter, Pipeline, Stage},
    helm,
    slack::Message,
    toolbox::{Github, Node},
    wait_for,
};
use k8s_openapi::{NamespaceResourceScope, api::authorization::v1::SubjectAccessReview};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::rights::{self, Act, Right};

/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// Where foredeck itself lives.
pub(crate) const HOME: &str = "foredeck-system";
/// The team's namespace.
pub(crate) const TEAM: &str = "shop";
/// Another's, where foredeck doesn't work if it is told where it does.
pub(crate) const OUTSIDE: &str = "outside";
/// The application's repository, and the Secret with its login.
const REPOSITORY: &str = "acme/checkout";
pub(crate) const GIT_TOKEN: &str = "github-token";
/// Where requests are told.
pub(crate) const CHANNEL: &str = "deploys";
/// How long the stages of a deployment take.
const WORK: Duration = Duration::from_millis(300);
/// What the chart is installed with.
const VALUES: [&str; 4] = [
    "--set",
    "identity.emailDomains={harbor.example}",
    "--set-string",
    "admission.mutating=on",
];
/// What of the chart matters here; nothing runs its Deployments.
const KINDS: [&str; 9] = [
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
];

/// The user name of a `ServiceAccount` of foredeck's own namespace.
pub(crate) fn account(name: &str) -> String {
    format!("system:serviceaccount:{HOME}:{name}")
}

/// One installation with its world.
pub(crate) struct Installation {
    pub(crate) plane: ControlPlane,
    pub(crate) gate: StandInGate,
    pub(crate) slack: StandInSlack,
    pub(crate) vault: FalseVault,
    /// The repository; without Node there is none, and no right for it.
    pub(crate) github: Option<Github>,
    /// What the chart gives, and the rights that the connections and the repository need.
    pub(crate) documents: Vec<Value>,
    /// What the roles are told on their command line.
    arguments: Vec<String>,
    policies: std::path::PathBuf,
}

impl Installation {
    /// The chart with these values beside the usual ones, in a world where everything can happen.
    pub(crate) async fn new(values: &[&str], arguments: &[&str]) -> Result<Self> {
        let plane = ControlPlane::start_audited().await?;
        plane.install_crds(&foredeck::api::crds()).await?;
        for (name, labels) in [
            (HOME, json!({})),
            (TEAM, json!({"team": "shop"})),
            (OUTSIDE, json!({"team": "shop"})),
        ] {
            let metadata = json!({"name": name, "labels": labels});
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            plane.apply(&namespace.to_string()).await?;
        }
        let mut documents = rights::documents(&render(values).await?)?;
        documents.retain(|one| KINDS.contains(&rights::text(one, "/kind")));
        let policies = plane.directory().join("policies.yaml");
        let only = ["--show-only", "templates/admission.yaml"];
        fs::write(&policies, render(&[&only, values].concat()).await?)?;
        let mut installed = Self {
            gate: StandInGate::start().await?,
            slack: StandInSlack::start().await?,
            vault: FalseVault::start().await?,
            github: repository().await?,
            documents: Vec::new(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            policies,
            plane,
        };
        installed.apply(&documents).await?;
        let connections = installed.furnish().await?;
        let applications = installed.api::<Application>(TEAM);
        let applications = applications.list(&ListParams::default()).await?.items;
        let needed = rights::documents(&manifests(&connections, &applications, HOME))?;
        installed.apply(&needed).await?;
        documents.extend(needed);
        installed.documents = documents;
        installed.plane.policies_in_force().await?;
        Ok(installed)
    }

    pub(crate) async fn apply(&self, documents: &[Value]) -> Result<()> {
        for document in documents {
            self.plane.apply(&document.to_string()).await?;
        }
        Ok(())
    }

    /// The team's applications, environments, connections and people; and what is outside. Gives the connections.
    async fn furnish(&self) -> Result<Vec<SpinnakerConnection>> {
        for (environment, stages) in [
            ("staging", vec![Stage::deploy("Deploy", WORK)]),
            ("production", vec![Stage::deploy("Deploy", WORK)]),
            ("judged", vec![Stage::judgment("Go?", "Well?", ["yes"])]),
            ("endless", vec![Stage::held("Hold")]),
        ] {
            self.gate.put_pipeline(pipeline(environment, stages));
        }
        let secret = |name: &str, namespace: &str| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
                "stringData": {"token": "hush"},
            })
        };
        self.apply(&[
            secret("gate-token", TEAM),
            secret("gate-token", HOME),
            secret("stranger", TEAM),
        ])
        .await?;
        if let Some(github) = &self.github {
            for namespace in [TEAM, OUTSIDE] {
                let login = json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": GIT_TOKEN, "namespace": namespace},
                    "stringData": {"token": github.token()},
                });
                self.apply(&[login]).await?;
            }
        }
        let token = json!({"token": {"secretName": "gate-token"}});
        let shared = json!({"matchLabels": {"team": "shop"}});
        let mut connections = Vec::new();
        for (namespace, name, gate, auth, selector) in [
            (TEAM, "own", self.gate.url(), token.clone(), Value::Null),
            (HOME, "shared", self.gate.url(), token, shared.clone()),
            (
                TEAM,
                "vaulted",
                "https://127.0.0.1:9".to_owned(),
                self.by_vault(),
                Value::Null,
            ),
            (
                HOME,
                "vaulted-home",
                "https://127.0.0.1:9".to_owned(),
                self.by_vault(),
                shared,
            ),
        ] {
            let spec = json!({
                "gateUrl": gate, "auth": auth, "namespaceSelector": selector,
                "allow": {"applications": ["checkout"], "accounts": ["eks-*"], "namespaces": ["*"]},
                "timeouts": {"request": "2s"},
            });
            connections.push(self.create(namespace, name, spec).await?);
        }
        self.team(TEAM).await?;
        Ok(connections)
    }

    fn by_vault(&self) -> Value {
        let login = json!({"role": "foredeck", "audience": "vault.example"});
        json!({"mtls": {"vault": {
            "address": self.vault.url(), "tls": {"caBundle": self.vault.ca_pem()},
            "login": {"kubernetes": login}, "pki": {"role": "foredeck", "commonName": "foredeck"},
        }}})
    }

    /// A namespace with an application `checkout` and its environments.
    pub(crate) async fn team(&self, namespace: &str) -> Result<()> {
        let channel = self.slack.channel(CHANNEL)?.id;
        let parameters = json!({"branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}"});
        let deploy =
            json!({"pipeline": "Deploy to {{ environment.name }}", "parameters": parameters});
        let repository = self.github.as_ref().map(
            |github| json!({"github": REPOSITORY, "apiUrl": github.url(), "secretName": GIT_TOKEN}),
        );
        let spec = json!({
            "repository": repository, "actions": {"deploy": deploy}, "slack": {"channels": [channel]},
        });
        self.create::<Application>(namespace, "checkout", spec)
            .await?;
        for (name, connection, protection) in [
            ("staging", "shared", json!({"confirm": "Always"})),
            (
                "production",
                "own",
                json!({"confirm": "Always", "approvals": {"required": 1}}),
            ),
            ("judged", "own", json!({"confirm": "Always"})),
            ("endless", "own", json!({"confirm": "Always"})),
            ("sealed", "vaulted-home", json!({})),
        ] {
            let spec = json!({
                "connection": connection, "target": {"account": format!("eks-{name}"), "namespace": "shop"},
                "protection": protection, "notify": {"slack": {"channel": channel}},
            });
            self.create::<Environment>(namespace, name, spec).await?;
        }
        let subjects: Vec<Value> = ["alice", "bob"]
            .into_iter()
            .filter_map(|name| self.slack.world(|world| world.user(name)?.email.clone()))
            .map(|email| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": email}))
            .collect();
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        let rules = json!([{"apiGroups": ["foredeck.dev"], "resources": ["*"], "verbs": ["*"]}]);
        let writes = json!([{"apiGroups": ["foredeck.dev"], "resources": ["deployrequests"], "verbs": ["create", "get", "list"]}]);
        let binding = |name: &str, kind: &str, subjects: Value| {
            json!({
                "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": name, "namespace": namespace},
                "roleRef": {"apiGroup": group, "kind": kind, "name": name}, "subjects": subjects,
            })
        };
        let carol = json!([{"apiGroup": group, "kind": "User", "name": "carol@harbor.example"}]);
        self.apply(&[
            json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": "deployers"}, "rules": rules}),
            binding("deployers", "ClusterRole", json!(subjects)),
            json!({"apiVersion": version, "kind": "Role", "metadata": {"name": "askers", "namespace": namespace}, "rules": writes}),
            binding("askers", "Role", carol),
        ])
        .await
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.plane.admin(), namespace)
    }

    pub(crate) async fn create<K>(&self, namespace: &str, name: &str, spec: Value) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + DeserializeOwned
            + Serialize
            + Clone
            + std::fmt::Debug,
    {
        create(&self.api::<K>(namespace), name, spec).await
    }

    /// Starts a role with a token of the `ServiceAccount` of that name.
    pub(crate) async fn start(&self, role: &str, account: &str) -> Result<Role> {
        let kubeconfig = self.plane.kubeconfig_of(HOME, account, None).await?;
        self.start_with(role, &kubeconfig)
    }

    pub(crate) fn start_with(&self, role: &str, kubeconfig: &Path) -> Result<Role> {
        let often = [
            "--test-secret-age",
            "1s",
            "--test-refresh",
            "2s",
            "--test-minimum-settle",
            "1s",
        ];
        let hosts = [
            "--allow-gate-host",
            "127.0.0.1",
            "--allow-vault-host",
            "127.0.0.1",
        ];
        let repositories = ["--allow-git-host", "127.0.0.1"];
        let own = match role {
            "controller" | "run" => [&often[..], &hosts, &repositories].concat(),
            "receiver" => repositories.to_vec(),
            _ => Vec::new(),
        };
        RoleCommand::new(env!("CARGO_BIN_EXE_foredeck"), role, self.plane.directory())?
            .arguments(&self.arguments)
            .arguments(own)
            .kubeconfig(kubeconfig)
            .env("FOREDECK_ADMISSION_POLICIES", &self.policies)
            .env("SLACK_API_URL", self.slack.api_url())
            .env("SLACK_BOT_TOKEN", self.slack.bot_token())
            .env("SLACK_APP_TOKEN", self.slack.app_token())
            .env("SLACK_SIGNING_SECRET", self.slack.signing_secret())
            .start()
    }

    /// What the roles have asked of the API server, each act once; with whether RBAC allowed it.
    pub(crate) fn acts(&self) -> Result<Vec<(Act, bool)>> {
        let calls = self.plane.audited()?;
        let mut acts: Vec<(Act, bool)> = calls
            .iter()
            .flat_map(|call| {
                let own = Act::of(call).map(|act| (act, call.allowed));
                own.into_iter()
                    .chain(Act::impersonation(call).map(|act| (act, call.allowed)))
            })
            // What everybody may ask who is known at all.
            .filter(|(act, _)| act.resource != "selfsubjectaccessreviews")
            .collect();
        acts.sort();
        acts.dedup();
        Ok(acts)
    }

    pub(crate) fn rights(&self) -> std::collections::BTreeSet<Right> {
        rights::rights(&self.documents)
    }

    /// Whether the API server lets a role do this now.
    pub(crate) async fn may(&self, act: &Act) -> Result<bool> {
        let review: SubjectAccessReview = serde_json::from_value(act.review())?;
        let answer = Api::all(self.plane.admin())
            .create(&PostParams::default(), &review)
            .await?;
        Ok(answer.status.context("an answer")?.allowed)
    }

    /// Waits until the API server lets a role do this, or doesn't.
    pub(crate) async fn until_may(&self, act: &Act, expected: bool) -> Result<()> {
        let what = format!("{act}: {expected}");
        wait_for(&what, PATIENCE, async || {
            ensure!(self.may(act).await? == expected, "{}", !expected);
            Ok(())
        })
        .await
    }

    pub(crate) async fn until_phase(&self, name: &str, phase: Phase) -> Result<DeployRequest> {
        wait_for(&format!("{name}: {phase:?}"), PATIENCE, async || {
            let request = self.api::<DeployRequest>(TEAM).get(name).await?;
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

    /// The request to that environment, once there is one.
    pub(crate) async fn request_to(&self, environment: &str) -> Result<String> {
        wait_for(
            &format!("a request to {environment}"),
            PATIENCE,
            async || {
                let all = self
                    .api::<DeployRequest>(TEAM)
                    .list(&ListParams::default())
                    .await?;
                let found = all.iter().find(|one| one.spec.environment == environment);
                found.map(ResourceExt::name_any).context("none yet")
            },
        )
        .await
    }

    /// Waits until something Ready says this of itself.
    pub(crate) async fn until_said<K>(
        &self,
        namespace: &str,
        name: &str,
        words: &[&str],
    ) -> Result<String>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + DeserializeOwned
            + Serialize
            + Clone
            + std::fmt::Debug,
    {
        wait_for(&format!("{name} to say {words:?}"), PATIENCE, async || {
            let object = self.api::<K>(namespace).get(name).await?;
            let object = serde_json::to_value(object)?;
            let said = object["status"].to_string();
            ensure!(words.iter().all(|word| said.contains(word)), "{said}");
            Ok(said)
        })
        .await
    }

    /// Waits for a message in the channel, thread or not, that says all of that.
    pub(crate) async fn until_told(&self, words: &[&str]) -> Result<Message> {
        wait_for(&format!("a message with {words:?}"), PATIENCE, async || {
            let all = self.slack.messages(CHANNEL);
            let text =
                |message: &Message| format!("{} {}", message.text(), json!(message.blocks()));
            let said: Vec<String> = all.iter().map(text).collect();
            let mut found = all.into_iter().rev();
            let found = found.find(|one| words.iter().all(|word| text(one).contains(word)));
            found.with_context(|| format!("{said:#?}"))
        })
        .await
    }
}

pub(crate) async fn create<K>(api: &Api<K>, name: &str, spec: Value) -> Result<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Serialize + Clone + std::fmt::Debug,
{
    let object: K = serde_json::from_value(json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
    }))?;
    let created = api.create(&PostParams::default(), &object).await;
    created.with_context(|| format!("create {} {name}", K::kind(&())))
}

/// With the versions that are asked for here.
async fn repository() -> Result<Option<Github>> {
    let Some(node) = Node::fetch().await? else {
        return Ok(None);
    };
    let github = Github::start(&node, REPOSITORY).await?;
    for version in ["1.4.1", "1.4.2", "1.4.3"] {
        let commit = github.commit("main", "A change", "Robin").await?;
        github.tag(version, &commit).await?;
    }
    Ok(Some(github))
}

fn pipeline(environment: &str, stages: Vec<Stage>) -> Pipeline {
    let pipeline = Pipeline::new("checkout", &format!("Deploy to {environment}"))
        .parameter(Parameter::new("account").required())
        .parameter(Parameter::new("namespace").required())
        .parameter(Parameter::new("branch").required());
    stages.into_iter().fold(pipeline, Pipeline::stage)
}

/// The chart as helm renders it for foredeck's own namespace.
pub(crate) async fn render(arguments: &[&str]) -> Result<String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/foredeck");
    helm::template(
        &chart,
        &[&["--namespace", HOME], &VALUES[..], arguments].concat(),
    )
    .await
}
