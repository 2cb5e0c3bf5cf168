//! What every test here stands on: the real control plane, a Slack of its own, teams of its own, and receivers in this
//! process that Slack reaches over signed HTTP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{Application, DeployRequest, Environment, Person, person::PersonStatus},
    git,
    identity::PeopleSettings,
    receiver::{self, Door, ReceiverSettings, Transport},
    runtime::{admin::Readiness, client, metrics::Metrics},
    slack::{
        blocks,
        client::{Destination, Post, Priority, SlackClient, SlackSettings},
        inbound::Allowed,
        metrics::SlackMetrics,
        signature::SigningSecrets,
    },
};
use foredeck_testkit::{
    ApiProxy, ControlPlane, StandInSlack,
    slack::{self, Delivery, Ephemeral, RequestUrls},
    wait_for,
};
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that one test needs.
pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) client: Client,
    /// The team `shop`, under a name that no other test has.
    pub(crate) namespace: String,
    /// All teams of this test: others' are not looked at.
    pub(crate) teams: Vec<String>,
    pub(crate) slack: StandInSlack,
    /// Who counts: this test's own people, by their addresses and without groups.
    pub(crate) people: PeopleSettings,
    /// Where repositories may be, and how long a plan waits for one.
    pub(crate) git: git::Settings,
    pub(crate) git_patience: Duration,
}

impl Bed {
    /// A namespace with the application `checkout` and the environments `staging`, `production` and `quick` (which asks
    /// for no confirmation), where alice may do anything; and a Slack.
    pub(crate) async fn new(prefix: &str) -> Result<Self> {
        static DEFINITIONS: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        DEFINITIONS
            .get_or_try_init(|| async { plane.install_crds(&foredeck::api::crds()).await })
            .await?;
        let namespace = plane.namespace(prefix).await?;
        let bed = Self {
            plane,
            client: plane.admin(),
            teams: vec![namespace.clone()],
            people: PeopleSettings::new(namespace.clone()),
            namespace,
            slack: StandInSlack::start().await?,
            git: git::Settings::default(),
            // No test is about a machine that is busy, unless it says so.
            git_patience: Duration::from_secs(2),
        };
        bed.furnish(&bed.namespace).await?;
        bed.allow(
            &bed.namespace,
            "alice",
            &["deploy", "rollback", "restart", "cancel"],
        )
        .await?;
        Ok(bed)
    }

    /// An application and its environments, in a namespace.
    pub(crate) async fn furnish(&self, namespace: &str) -> Result<()> {
        self.create::<Application>(namespace, "checkout", application())
            .await?;
        for (name, confirm) in [
            ("staging", "Always"),
            ("production", "Always"),
            ("quick", "Never"),
        ] {
            self.create::<Environment>(namespace, name, environment(name, confirm))
                .await?;
        }
        Ok(())
    }

    /// Lets a person see a team, and use these verbs on all of it.
    pub(crate) async fn allow(&self, namespace: &str, name: &str, verbs: &[&str]) -> Result<()> {
        let user = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("{name}@harbor.example"),
        });
        self.bind(namespace, name, user, verbs).await
    }

    /// Lets a group see the team, and use these verbs on all of it.
    pub(crate) async fn allow_group(&self, group: &str, verbs: &[&str]) -> Result<()> {
        let name = group.replace(':', "-");
        let group =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group});
        self.bind(&self.namespace, &name, group, verbs).await
    }

    /// Lets a subject see a team, and use these verbs on all of it.
    pub(crate) async fn bind(
        &self,
        namespace: &str,
        name: &str,
        subject: Value,
        verbs: &[&str],
    ) -> Result<()> {
        let mut rules = vec![
            json!({"apiGroups": ["foredeck.dev"], "resources": ["applications"], "verbs": ["list"]}),
        ];
        if !verbs.is_empty() {
            rules.push(json!({"apiGroups": ["foredeck.dev"], "resources": ["applications", "environments"], "verbs": verbs}));
        }
        let role: Role =
            serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [subject],
        }))?;
        let parameters = PostParams::default();
        Api::namespaced(self.client.clone(), namespace)
            .create(&parameters, &role)
            .await?;
        Api::namespaced(self.client.clone(), namespace)
            .create(&parameters, &binding)
            .await?;
        Ok(())
    }

    pub(crate) async fn create<K>(&self, namespace: &str, name: &str, spec: Value) -> Result<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + serde::de::DeserializeOwned
            + serde::Serialize
            + Clone
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        }))?;
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let created = api.create(&PostParams::default(), &object).await;
        created.with_context(|| format!("create {} {name}", K::kind(&())))
    }

    pub(crate) fn requests_api(&self) -> Api<DeployRequest> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// All requests of the team.
    pub(crate) async fn requests(&self) -> Result<Vec<DeployRequest>> {
        Ok(self
            .requests_api()
            .list(&ListParams::default())
            .await?
            .items)
    }

    /// The only request, once there is one.
    pub(crate) async fn request(&self) -> Result<DeployRequest> {
        wait_for("one request", PATIENCE, async || {
            let mut all = self.requests().await?;
            ensure!(
                all.len() == 1,
                "{} requests; {}",
                all.len(),
                self.slack.describe()
            );
            Ok(all.remove(0))
        })
        .await
    }

    /// The `Person` that the receiver makes for somebody.
    pub(crate) fn person_name(&self, person: &str) -> String {
        format!(
            "slack-{}-{}",
            self.slack.team_id(),
            self.slack.user(person).id()
        )
        .to_ascii_lowercase()
    }

    pub(crate) fn persons(&self) -> Api<Person> {
        Api::namespaced(self.client.clone(), &self.people.namespace)
    }

    /// What is written down of somebody, once `wanted` is so.
    pub(crate) async fn until_known(
        &self,
        person: &str,
        what: &str,
        wanted: impl Fn(&PersonStatus) -> bool,
    ) -> Result<PersonStatus> {
        let name = self.person_name(person);
        wait_for(&format!("{person}: {what}"), PATIENCE, async || {
            let status = self.persons().get(&name).await?.status.unwrap_or_default();
            ensure!(wanted(&status), "{status:?}");
            Ok(status)
        })
        .await
    }

    /// Writes into a request's status, as the controller would.
    pub(crate) async fn set_status(&self, name: &str, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.requests_api()
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// A receiver that Slack delivers to from now on.
    pub(crate) async fn receiver(&self) -> Result<Replica> {
        self.receiver_as(self.plane.admin_config(), Timestamp::now)
            .await
    }

    /// A receiver that speaks to the API server through a proxy.
    pub(crate) async fn receiver_behind(&self, proxy: &ApiProxy) -> Result<Replica> {
        self.receiver_behind_at(proxy, Timestamp::now).await
    }

    /// The same, by another clock.
    pub(crate) async fn receiver_behind_at(
        &self,
        proxy: &ApiProxy,
        clock: fn() -> Timestamp,
    ) -> Result<Replica> {
        let file = self.plane.kubeconfig_through(&proxy.url())?;
        let kubeconfig = Kubeconfig::read_from(file)?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        self.receiver_as(config, clock).await
    }

    pub(crate) async fn receiver_as(
        &self,
        config: Config,
        clock: fn() -> Timestamp,
    ) -> Result<Replica> {
        let replica = Replica::start(self, config, clock).await?;
        self.slack.deliver_by_http(replica.urls());
        Ok(replica)
    }

    /// Types a command, and waits for the answer that only this person sees.
    pub(crate) async fn typed(&self, person: &str, channel: &str, line: &str) -> Result<Ephemeral> {
        let before = self.slack.ephemerals(person).len();
        let delivery = self.slack.user(person).command(channel, line)?;
        delivery.answered().await?;
        self.shown(person, before).await
    }

    /// The newest of what only this person sees, once there is more than `before`.
    pub(crate) async fn shown(&self, person: &str, before: usize) -> Result<Ephemeral> {
        self.slack
            .until("an answer", PATIENCE, |world| {
                let all = world.ephemerals(person);
                (all.len() > before).then(|| all.last().cloned()).flatten()
            })
            .await
    }

    /// Presses a button of a message that only this person sees, and waits for what stands there afterwards.
    pub(crate) async fn pressed(
        &self,
        person: &str,
        on: &Ephemeral,
        button: &str,
    ) -> Result<Ephemeral> {
        let before: Vec<String> = self
            .slack
            .ephemerals(person)
            .into_iter()
            .map(|one| one.ts)
            .collect();
        self.press(person, on, button)?.answered().await?;
        let was = text(on);
        self.slack
            .until(&format!("what {button} comes to"), PATIENCE, |world| {
                let all = world.ephemerals(person);
                let changed = all.iter().find(|one| one.ts == on.ts && text(one) != was);
                let newer = all.iter().find(|one| !before.contains(&one.ts));
                changed.or(newer).cloned()
            })
            .await
    }

    /// Posts a message in #deploys, as the relay does, and gives it as it stands there.
    pub(crate) async fn post(&self, message: &blocks::Message) -> Result<slack::Message> {
        let settings = SlackSettings::new(
            &self.slack.api_url().parse()?,
            self.slack.bot_token().into(),
        )?;
        let client = SlackClient::new(settings.without_proxies())?;
        let channel = self.slack.channel("deploys")?;
        let to = Destination::Channel(channel.id.parse()?);
        let permit = client.reserve_post(&to, Priority::Interactive).await;
        let post = Post {
            to: &to,
            thread: None,
            broadcast: false,
            message,
        };
        let posted = client.post_message(permit, post).await?;
        let channel = self.slack.channel("deploys")?;
        let found = channel.message(posted.ts.as_str()).cloned();
        found.context("the message")
    }

    pub(crate) fn press(&self, person: &str, on: &Ephemeral, button: &str) -> Result<Delivery> {
        self.slack.user(person).click(on, button)
    }
}

/// All that a message says, as people read it.
pub(crate) fn text(message: &Ephemeral) -> String {
    format!("{}\n{}", message.text, words(&json!(message.blocks)))
}

/// Every text in there, one a line.
pub(crate) fn words(value: &Value) -> String {
    let mut found = Vec::new();
    collect(value, &mut found);
    found.join("\n")
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect(one, found)),
        Value::Object(fields) => {
            for (name, one) in fields {
                match one {
                    Value::String(text) if name == "text" => found.push(text.clone()),
                    _ => collect(one, found),
                }
            }
        }
        _ => {}
    }
}

/// The ids of the buttons of a message.
pub(crate) fn buttons(blocks: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    for block in blocks {
        let elements = block["elements"].as_array().into_iter().flatten();
        for element in elements.chain([&block["accessory"]]) {
            if element["type"] == "button" {
                found.push(element["action_id"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

/// One receiver with its address.
pub(crate) struct Replica {
    address: String,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    work: tokio::task::JoinHandle<()>,
}

impl Replica {
    async fn start(bed: &Bed, config: Config, clock: fn() -> Timestamp) -> Result<Self> {
        let settings =
            SlackSettings::new(&bed.slack.api_url().parse()?, bed.slack.bot_token().into())?
                .without_proxies();
        let (readiness, metrics) = (Readiness::default(), Metrics::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let door = Door {
            transport: Transport::Http {
                listener,
                secrets: SigningSecrets::new([bed.slack.signing_secret().into()])?,
                drain: Duration::ZERO,
            },
            allowed: Allowed::default(),
            metrics: SlackMetrics::default(),
        };
        let work = receiver::run(
            ReceiverSettings {
                namespaces: bed.teams.clone(),
                command: "/deploy".to_owned(),
                bot_tokens: vec![bed.slack.bot_token().into()],
                people: bed.people.clone(),
                ttl: Some(Duration::from_hours(24 * 30)),
                git: bed.git.clone(),
                git_metrics: git::GitMetrics::default(),
                git_patience: bed.git_patience,
                clock,
                draw: || [7; 12],
            },
            Client::try_from(client::bounded(config))?,
            SlackClient::new(settings)?,
            door,
            readiness.clone(),
            metrics.clone(),
            CancellationToken::new(),
        );
        let replica = Self {
            address,
            readiness,
            metrics,
            work: tokio::spawn(async move { drop(work.await) }),
        };
        wait_for("a ready receiver", PATIENCE, async || {
            let closed = replica.readiness.closed();
            ensure!(closed.is_empty(), "{closed:?}");
            Ok(())
        })
        .await?;
        Ok(replica)
    }

    pub(crate) fn urls(&self) -> RequestUrls {
        RequestUrls {
            commands: format!("{}/slack/commands", self.address),
            interactivity: format!("{}/slack/interactivity", self.address),
            options: None,
            events: format!("{}/slack/events", self.address),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.work.abort();
    }
}

pub(crate) fn application() -> Value {
    let action =
        |pipeline: &str| json!({"pipeline": pipeline, "parameters": {"branch": "{{ version }}"}});
    json!({"actions": {
        "deploy": action("Deploy to {{ environment.name }}"),
        "rollback": action("Deploy to {{ environment.name }}"),
        "restart": {"pipeline": "Restart in {{ environment.name }}"},
    }})
}

pub(crate) fn environment(name: &str, confirm: &str) -> Value {
    json!({
        "connection": "gate",
        "target": {"account": "eks-test", "namespace": format!("shop-{name}")},
        "protection": {"confirm": confirm},
    })
}

/// Names, sorted.
pub(crate) fn names(requests: &[DeployRequest]) -> Vec<String> {
    let mut names: Vec<String> = requests.iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}
