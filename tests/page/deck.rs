//! What the stories are told on: a team of its own on the real control plane, a Gate and a Slack of its own, the three roles
//! in this process.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::{
    access::policies::Policies,
    api::{
        Application, DeployFreeze, DeployRequest, Environment, SpinnakerConnection,
        deploy_request::Phase,
    },
    controller::{self, ControllerSettings},
    domain::hosts::AllowedHosts,
    git,
    identity::PeopleSettings,
    receiver::{self, Door, ReceiverSettings, Transport},
    relay::{self, RelayParts, RelaySettings},
    runtime::{
        admin::Readiness,
        client,
        lease::{Lease, LeaseSettings, unique_holder},
        metrics::Metrics,
    },
    slack::{
        client::{SlackClient, SlackSettings},
        inbound::Allowed,
        metrics::SlackMetrics,
        signature::SigningSecrets,
    },
};
use foredeck_testkit::{
    ControlPlane, StandInGate, StandInSlack,
    gate::{Parameter, Pipeline, Stage},
    slack::RequestUrls,
    toolbox::{Github, SlackModels},
    wait_for,
};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::Namespace,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::OnceCell, task::JoinSet};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// What foredeck is installed by.
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/install");
/// Where alice asks, and where it is told.
pub(crate) const CHANNEL: &str = "deploys";
/// Everything that one story needs.
pub(crate) struct Deck {
    plane: &'static ControlPlane,
    client: Client,
    namespace: String,
    pub(crate) gate: StandInGate,
    pub(crate) slack: StandInSlack,
    shutdown: CancellationToken,
    roles: JoinSet<()>,
}

impl Deck {
    /// A team with the application `checkout`, the environments `staging` and `production`, and alice and bob, who may do
    /// anything there. `team` is its namespace, which no other test has; `work` is how long a deployment takes.
    pub(crate) async fn new(team: &str, work: Duration) -> Result<Self> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        INSTALLED
            .get_or_try_init(async || {
                plane
                    .install(&foredeck::api::crds(), Path::new(INSTALL))
                    .await
            })
            .await?;
        let slack = StandInSlack::start().await?;
        let mut deck = Self {
            plane,
            client: Client::try_from(client::bounded(plane.admin_config()))?,
            namespace: team.to_owned(),
            gate: StandInGate::start().await?,
            slack,
            shutdown: CancellationToken::new(),
            roles: JoinSet::new(),
        };
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": team}}))?;
        Api::all(deck.client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;
        deck.furnish(work).await?;
        let readiness = Readiness::default();
        deck.start_controller(&readiness)?;
        deck.described().await?;
        deck.start_receiver(&readiness).await?;
        deck.start_relay(&readiness)?;
        wait_for("three ready roles", PATIENCE, async || {
            let closed = readiness.closed();
            ensure!(closed.is_empty(), "{closed:?}");
            Ok(())
        })
        .await?;
        Ok(deck)
    }

    /// Waits until the controller has described both pipelines: a plan that was shown before would change under the click.
    async fn described(&self) -> Result<()> {
        wait_for("described pipelines", PATIENCE, async || {
            let application = self.api::<Application>().get("checkout").await?;
            let pipelines = application.status.unwrap_or_default().pipelines;
            let described = pipelines.iter().filter(|one| one.problem.is_none());
            ensure!(described.count() == 2, "{pipelines:?}");
            Ok(())
        })
        .await
    }

    async fn furnish(&self, work: Duration) -> Result<()> {
        let allow =
            json!({"applications": ["checkout"], "accounts": ["eks-*"], "namespaces": ["shop"]});
        let connection =
            json!({"gateUrl": self.gate.url(), "deckUrl": "https://deck.example", "allow": allow});
        self.create::<SpinnakerConnection>("spinnaker", "spec", connection)
            .await?;
        let channel = self.slack.channel(CHANNEL)?.id;
        let parameters = json!({
            "branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}",
        });
        let deploy =
            json!({"pipeline": "Deploy to {{ environment.name }}", "parameters": parameters});
        let application = json!({"actions": {"deploy": deploy}, "slack": {"channels": [channel]}});
        self.create::<Application>("checkout", "spec", application)
            .await?;
        for name in ["staging", "production"] {
            self.gate.put_pipeline(pipeline(name, work));
            let environment = json!({
                "connection": "spinnaker",
                "target": {"account": format!("eks-{name}"), "namespace": "shop"},
                "notify": {"slack": {"channel": channel}},
            });
            self.create::<Environment>(name, "spec", environment)
                .await?;
        }
        let rules = json!([{"apiGroups": ["foredeck.dev"], "resources": ["*"], "verbs": ["*"]}]);
        self.create::<Role>("deployers", "rules", rules).await?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "deployers"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployers"},
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice@harbor.example"},
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob@harbor.example"},
            ],
        }))?;
        let bindings: Api<RoleBinding> = self.api();
        bindings.create(&PostParams::default(), &binding).await?;
        // A Lease of this team's own: that of an installation is one for all.
        let rules = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}]);
        self.create::<Role>("leases", "rules", rules).await?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "leases"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leases"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "foredeck-system", "name": "foredeck-controller"}],
        }))?;
        bindings.create(&PostParams::default(), &binding).await?;
        Ok(())
    }

    /// From now on this freeze holds.
    pub(crate) async fn freeze(&self, name: &str, spec: Value) -> Result<()> {
        self.create::<DeployFreeze>(name, "spec", spec).await?;
        Ok(())
    }

    /// From now on this environment takes somebody else's yes.
    pub(crate) async fn guard(&self, environment: &str) -> Result<()> {
        let guarded = json!({"spec": {"protection": {"approvals": {"required": 1}}}});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&guarded));
        let api = self.api::<Environment>();
        api.patch(environment, &parameters, &patch).await?;
        Ok(())
    }

    /// From now on checkout's commits are here, and Spinnaker gets the commit.
    pub(crate) async fn keep_commits_at(&self, github: &Github) -> Result<()> {
        let named = json!({"spec": {
            "repository": {"github": "acme/checkout", "apiUrl": github.url()},
            "actions": {"deploy": {"parameters": {"branch": "{{ commit }}"}}},
        }});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&named));
        let api = self.api::<Application>();
        api.patch("checkout", &parameters, &patch).await?;
        Ok(())
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create<K>(&self, name: &str, field: &str, content: Value) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, field: content,
        }))?;
        let (api, parameters) = (self.api::<K>(), PostParams::default());
        api.create(&parameters, &object)
            .await
            .with_context(|| format!("create {} {name}", K::kind(&())))?;
        Ok(())
    }

    /// The API server as a role sees it, with the rights of its `ServiceAccount`.
    fn client_of(&self, role: &str) -> Result<Client> {
        let account = format!("system:serviceaccount:foredeck-system:foredeck-{role}");
        let config = self.plane.config_as(&account, &[]);
        Ok(Client::try_from(client::bounded(config))?)
    }

    fn start_controller(&mut self, readiness: &Readiness) -> Result<()> {
        let settings = LeaseSettings::new(
            self.namespace.clone(),
            format!("controller-{}", self.namespace),
            unique_holder(),
        );
        let client = self.client_of("controller")?;
        let (claim, lease) = Lease::new(client.clone(), settings)?.hold(self.shutdown.clone());
        let readiness = readiness.clone();
        let settings = ControllerSettings {
            namespaces: vec![self.namespace.clone()],
            hosts: AllowedHosts {
                gate: vec!["127.0.0.1".parse()?],
                vault: Vec::new(),
            },
            policies: Policies::from_file(&Path::new(INSTALL).join("admission.yaml"))?,
            git: git_settings()?,
            ..ControllerSettings::default()
        };
        let shutdown = self.shutdown.clone();
        self.roles.spawn(async move {
            drop(lease.await);
        });
        self.roles.spawn(async move {
            if claim.held().await.is_ok() {
                let metrics = Metrics::default();
                let ended =
                    controller::run(settings, client, claim, readiness, metrics, shutdown).await;
                assert!(ended.is_ok(), "the controller: {ended:?}");
            }
        });
        Ok(())
    }

    fn slack_client(&self) -> Result<SlackClient> {
        let (url, token) = (self.slack.api_url().parse()?, self.slack.bot_token());
        let settings = SlackSettings::new(&url, token.into())?.without_proxies();
        Ok(SlackClient::new(settings)?)
    }

    async fn start_receiver(&mut self, readiness: &Readiness) -> Result<()> {
        let settings = ReceiverSettings {
            namespaces: vec![self.namespace.clone()],
            command: "/deploy".to_owned(),
            bot_tokens: vec![self.slack.bot_token().into()],
            people: PeopleSettings::new("foredeck-system".to_owned()),
            ttl: None,
            git: git_settings()?,
            git_metrics: git::GitMetrics::default(),
            git_patience: receiver::GIT_PATIENCE,
            clock: Timestamp::now,
            draw: || {
                let mut drawn = [0; 12];
                drawn.copy_from_slice(&Ulid::new().to_bytes()[4..]);
                drawn
            },
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        self.slack.deliver_by_http(RequestUrls {
            commands: format!("{address}/slack/commands"),
            interactivity: format!("{address}/slack/interactivity"),
            options: None,
            events: format!("{address}/slack/events"),
        });
        let door = Door {
            transport: Transport::Http {
                listener,
                secrets: SigningSecrets::new([self.slack.signing_secret().into()])?,
                drain: Duration::ZERO,
            },
            allowed: Allowed::default(),
            metrics: SlackMetrics::default(),
        };
        let work = receiver::run(
            settings,
            self.client_of("receiver")?,
            self.slack_client()?,
            door,
            readiness.clone(),
            Metrics::default(),
            self.shutdown.clone(),
        );
        self.roles.spawn(async move {
            let ended = work.await;
            assert!(ended.is_ok(), "the receiver: {ended:?}");
        });
        Ok(())
    }

    fn start_relay(&mut self, readiness: &Readiness) -> Result<()> {
        let settings = RelaySettings {
            namespaces: vec![self.namespace.clone()],
            ..RelaySettings::default()
        };
        let parts = RelayParts {
            client: self.client_of("relay")?,
            slack: self.slack_client()?,
            claim: None,
            readiness: readiness.clone(),
            metrics: Metrics::default(),
        };
        let shutdown = self.shutdown.clone();
        self.roles.spawn(async move {
            let ended = relay::run(settings, parts, shutdown).await;
            assert!(ended.is_ok(), "the relay: {ended:?}");
        });
        Ok(())
    }

    /// The newest request, once it is in that phase; no other is on its way there.
    pub(crate) async fn until(&self, phase: Phase) -> Result<DeployRequest> {
        wait_for(
            &format!("a request that is {phase:?}"),
            PATIENCE,
            async || {
                let api = self.api::<DeployRequest>();
                let mut found = api.list(&ListParams::default()).await?.items;
                let seen: Vec<_> = found
                    .iter()
                    .map(|request| {
                        let status = request.status.as_ref();
                        (
                            status.and_then(|status| status.phase),
                            status.and_then(|status| status.message.clone()),
                        )
                    })
                    .collect();
                found.retain(|request| {
                    request.status.as_ref().and_then(|status| status.phase) == Some(phase)
                });
                ensure!(found.len() == 1, "{seen:?}");
                found.pop().context("none")
            },
        )
        .await
    }

    /// Nothing went wrong between us and Slack, and Slack's SDK takes all that was sent.
    pub(crate) async fn end(self) -> Result<()> {
        let violations = self.slack.violations();
        ensure!(violations.is_empty(), "{violations:?}");
        let refused: Vec<_> = self
            .slack
            .calls()
            .into_iter()
            .filter(|call| !call.is_ok())
            .map(|call| format!("{}: {}", call.method, call.error()))
            .collect();
        ensure!(refused.is_empty(), "Slack refused: {refused:?}");
        if let Some(mut models) = SlackModels::fetch().await? {
            let judged = models.judge(&self.slack).await?;
            ensure!(judged > 0, "nothing was sent to Slack");
        }
        self.shutdown.cancel();
        Ok(())
    }
}

/// GitHub is on this machine.
fn git_settings() -> Result<git::Settings> {
    Ok(git::Settings {
        allowed: vec!["127.0.0.1".parse()?],
        ..git::Settings::default()
    })
}

/// A pipeline that fails in its second stage when the branch is `broken`.
fn pipeline(environment: &str, work: Duration) -> Pipeline {
    Pipeline::new("checkout", &format!("Deploy to {environment}"))
        .parameter(Parameter::new("account").required())
        .parameter(Parameter::new("namespace").required())
        .parameter(Parameter::new("branch").required())
        .stage(Stage::wait("Bake", work / 2))
        .stage(Stage::precondition(
            "Smoke test",
            "${parameters.branch != 'broken'}",
            "GET /healthz answered 503 for two minutes",
        ))
        .stage(Stage::deploy("Deploy", work / 2))
}
