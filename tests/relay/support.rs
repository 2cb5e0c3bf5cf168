//! What every test here stands on: the real control plane, a Slack of its own, a namespace of its own, and relays.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use foredeck::{
    api::{
        Application, DeployRequest, Environment,
        deploy_request::{SlackMessage, SlackStatus},
    },
    relay::{self, Pace, RelayParts, RelaySettings, plan::Timing},
    runtime::{admin::Readiness, lease::Claim, metrics::Metrics},
    slack::client::{SlackClient, SlackSettings},
};
use foredeck_testkit::{
    ControlPlane, StandInSlack,
    slack::{Message, World},
    wait_for,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    io::copy,
    net::{TcpListener, TcpStream},
    sync::OnceCell,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// What foredeck is installed by.
pub(crate) const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/install");
/// How long after it was begun a message may still be on its way here.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);

/// Everything that one test needs.
pub(crate) struct Bed {
    pub plane: &'static ControlPlane,
    pub client: Client,
    /// Who creates requests.
    asking: Client,
    pub namespace: String,
    pub slack: StandInSlack,
    /// The ids of two channels that the app is in.
    pub deploys: String,
    pub general: String,
    pub alice: String,
    /// Where relays call Slack.
    api_url: String,
}

impl Bed {
    /// A namespace without anything, and a Slack with alice, bob, #general and #deploys.
    pub(crate) async fn new(prefix: &str) -> Result<Self> {
        static DEFINITIONS: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        DEFINITIONS
            .get_or_try_init(|| async { plane.install_crds(&foredeck::api::crds()).await })
            .await?;
        Self::on(plane, prefix).await
    }

    /// The same where the admission policies are: a controller starts something there, and only the receiver speaks for
    /// alice.
    pub(crate) async fn with_policies(prefix: &str) -> Result<Self> {
        let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
        plane
            .install(&foredeck::api::crds(), Path::new(INSTALL))
            .await?;
        let mut bed = Self::on(plane, prefix).await?;
        bed.asking = plane.client_as(
            "system:serviceaccount:foredeck-system:foredeck-receiver",
            &[],
        );
        Ok(bed)
    }

    async fn on(plane: &'static ControlPlane, prefix: &str) -> Result<Self> {
        let slack = StandInSlack::start().await?;
        let channel = |name: &str| slack.channel(name).map(|channel| channel.id);
        Ok(Self {
            plane,
            client: plane.admin(),
            asking: plane.admin(),
            namespace: plane.namespace(prefix).await?,
            deploys: channel("deploys")?,
            general: channel("general")?,
            alice: slack.user("alice").id().to_owned(),
            api_url: slack.api_url(),
            slack,
        })
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// alice asks in #deploys.
    pub(crate) fn asked(&self) -> Value {
        self.asked_in(&json!({"channel": self.deploys}))
    }

    pub(crate) fn asked_in(&self, place: &Value) -> Value {
        let mut spec = spec();
        spec["requester"] = json!({"username": "alice@corp.example", "slack": {"team": self.slack.team_id(), "user": self.alice}});
        spec["notify"] = json!({"slack": place});
        spec
    }

    pub(crate) async fn request(&self, name: &str, spec: Value) -> Result<DeployRequest> {
        let object = serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        }))?;
        let api = Api::namespaced(self.asking.clone(), &self.namespace);
        let created = api.create(&PostParams::default(), &object).await;
        created.context("create a request")
    }

    /// The environment production, with this in `spec.notify.slack`.
    pub(crate) async fn environment(&self, slack: Value) -> Result<()> {
        self.environment_under(slack, json!({})).await
    }

    /// The same, with these rules.
    pub(crate) async fn environment_under(&self, slack: Value, protection: Value) -> Result<()> {
        let object: Environment = serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Environment",
            "metadata": {"name": "production", "namespace": self.namespace},
            "spec": {"connection": "gate", "target": {"account": "eks-1", "namespace": "shop"}, "notify": {"slack": slack}, "protection": protection},
        }))?;
        self.api().create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Writes a request's status as the controller would.
    pub(crate) async fn status(&self, name: &str, status: Value) -> Result<()> {
        let kind = ApiResource::erase::<DeployRequest>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"cancel": {"reason": "wrong one"}}}));
        let api = self.api::<DeployRequest>();
        api.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// The application checkout, in these channels.
    pub(crate) async fn application(&self, channels: &[&str]) -> Result<()> {
        let object: Application = serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": "checkout", "namespace": self.namespace},
            "spec": {"actions": {"deploy": {"pipeline": "p"}}, "slack": {"channels": channels}},
        }))?;
        self.api().create(&PostParams::default(), &object).await?;
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        let api = self.api::<DeployRequest>();
        api.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// What the status says was told.
    pub(crate) async fn told(&self, name: &str) -> Result<SlackStatus> {
        let request = self.api::<DeployRequest>().get(name).await?;
        let told = request.status.and_then(|status| status.slack);
        Ok(told.unwrap_or_default())
    }

    /// Waits until what was told is as wanted.
    pub(crate) async fn until_told(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&SlackStatus) -> bool,
    ) -> Result<SlackStatus> {
        wait_for(&format!("{name}: {what}"), PATIENCE, async || {
            let told = self.told(name).await?;
            ensure!(wanted(&told), "{told:?}\n{}", self.slack.describe());
            Ok(told)
        })
        .await
    }

    /// Waits until that purpose has a message.
    pub(crate) async fn until_posted(&self, name: &str, purpose: &str) -> Result<SlackMessage> {
        let told = self
            .until_told(name, &format!("{purpose} is posted"), |told| {
                entry(told, purpose).is_some_and(|entry| entry.ts.is_some())
            })
            .await?;
        entry(&told, purpose).cloned().context("no entry")
    }

    /// Waits for an event with that reason about the request, and gives its text.
    pub(crate) async fn until_event(&self, name: &str, reason: &str) -> Result<String> {
        let api: Api<k8s_openapi::api::events::v1::Event> =
            Api::namespaced(self.client.clone(), &self.namespace);
        wait_for(
            &format!("an event {reason} about {name}"),
            PATIENCE,
            async || {
                let about = ListParams::default().fields(&format!("regarding.name={name}"));
                let all = api.list(&about).await?.items;
                let seen: Vec<_> = all.iter().map(|event| event.reason.clone()).collect();
                let found = all
                    .into_iter()
                    .find(|event| event.reason.as_deref() == Some(reason));
                found
                    .and_then(|event| event.note)
                    .with_context(|| format!("{seen:?}"))
            },
        )
        .await
    }

    /// Waits until Slack shows what is wanted.
    pub(crate) async fn until_seen<T>(
        &self,
        what: &str,
        look: impl FnMut(&World) -> Option<T>,
    ) -> Result<T> {
        self.slack.until(what, PATIENCE, look).await
    }

    /// Waits until a message in that channel begins so.
    pub(crate) async fn until_says(&self, channel: &str, text: &str) -> Result<Message> {
        self.until_seen(&format!("{text:?} in {channel}"), |world| {
            let all = world.messages(channel);
            all.into_iter()
                .find(|message| message.text().contains(text))
        })
        .await
    }

    /// The app may read channels, not only direct messages.
    pub(crate) fn may_look(&self) {
        self.slack.change_app(|app| {
            let more = ["channels:history", "groups:history"].map(str::to_owned);
            app.scopes.extend(more);
        });
    }

    /// Puts something between Slack and the relays that keeps what was sent on its way when they hang up.
    pub(crate) async fn through_a_patient_proxy(&mut self) -> Result<()> {
        let mut url: reqwest::Url = self.slack.api_url().parse()?;
        let slack = (
            url.host_str().context("a host")?.to_owned(),
            url.port().context("a port")?,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let here = listener.local_addr()?;
        url.set_ip_host(here.ip())
            .and_then(|()| url.set_port(Some(here.port())))
            .map_err(|()| anyhow::anyhow!("an address with a port"))?;
        self.api_url = url.to_string();
        tokio::spawn(async move {
            while let Ok((mut relay, _)) = listener.accept().await {
                let slack = slack.clone();
                tokio::spawn(async move {
                    let mut slack = TcpStream::connect(slack).await?;
                    let (mut asked, mut answer) = relay.split();
                    let (mut answered, mut ask) = slack.split();
                    // That one side hangs up is not passed on.
                    tokio::try_join!(copy(&mut asked, &mut ask), copy(&mut answered, &mut answer))
                });
            }
        });
        Ok(())
    }

    pub(crate) fn slack_settings(&self) -> Result<SlackSettings> {
        let url = self.api_url.parse()?;
        let settings = SlackSettings::new(&url, self.slack.bot_token().into())?;
        Ok(settings.without_proxies().deadline(Duration::from_secs(2)))
    }

    pub(crate) fn settings(&self) -> RelaySettings {
        hurried(&self.namespace)
    }

    /// Starts a relay.
    pub(crate) fn relay(&self) -> Result<Relay> {
        self.relay_with(self.settings())
    }

    pub(crate) fn relay_with(&self, settings: RelaySettings) -> Result<Relay> {
        self.relay_under(settings, None)
    }

    /// Starts a relay that may act only while it holds a Lease.
    pub(crate) fn relay_under(
        &self,
        settings: RelaySettings,
        claim: Option<Claim>,
    ) -> Result<Relay> {
        self.relay_calling(self.slack_settings()?, settings, claim)
    }

    /// Starts a relay that waits for Slack's answers, however long they take.
    pub(crate) fn patient_relay(&self) -> Result<Relay> {
        let slack = self.slack_settings()?.deadline(PATIENCE);
        self.relay_calling(slack, self.settings(), None)
    }

    fn relay_calling(
        &self,
        slack: SlackSettings,
        settings: RelaySettings,
        claim: Option<Claim>,
    ) -> Result<Relay> {
        let parts = RelayParts {
            client: self.client.clone(),
            slack: SlackClient::new(slack)?,
            claim,
            readiness: Readiness::default(),
            metrics: Metrics::default(),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(relay::run(settings, parts.clone(), shutdown.clone()));
        Ok(Relay {
            parts,
            shutdown,
            task,
        })
    }
}

/// Settings for a Slack that never makes anybody wait.
pub(crate) fn hurried(namespace: &str) -> RelaySettings {
    RelaySettings {
        namespaces: vec![namespace.to_owned()],
        home: None,
        startup_channel: None,
        timing: Timing {
            first_word: Duration::from_secs(1),
            stages: Duration::from_hours(1),
            ..Timing::default()
        },
        pace: Pace {
            settle: SETTLE,
            slowly: Duration::from_millis(500),
            shortest_update: Duration::from_millis(50),
        },
    }
}

/// A relay in this process; ended when dropped.
pub(crate) struct Relay {
    pub parts: RelayParts,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), foredeck::relay::RelayError>>,
}

impl Relay {
    /// Ends it as a signal would.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.task.await??;
        Ok(())
    }

    pub(crate) fn metrics(&self) -> Result<String> {
        Ok(self.parts.metrics.encode()?)
    }

    /// Waits until the caches are filled and Slack has accepted us.
    pub(crate) async fn ready(&self) -> Result<()> {
        wait_for("the relay is ready", PATIENCE, async || {
            let closed = self.parts.readiness.closed();
            ensure!(closed.is_empty(), "{closed:?}");
            Ok(())
        })
        .await
    }
}

/// checkout main to production, asked by nobody and nowhere.
pub(crate) fn spec() -> Value {
    json!({"application": "checkout", "environment": "production", "version": "main"})
}

pub(crate) fn queued() -> Value {
    json!({"phase": "Queued"})
}

/// What runs, if enough people of `required` say yes; `given` have.
pub(crate) fn awaiting(digest: &str, given: &[&str]) -> Value {
    let given: Vec<Value> = given
        .iter()
        .map(|by| json!({"name": by, "by": by, "at": now(), "comment": "fine by me"}))
        .collect();
    json!({"phase": "AwaitingApproval", "approvals": {"required": 2, "given": given}, "resolved": {
        "connection": "gate", "pipeline": {"application": "checkout", "name": "Deploy", "id": "p1"}, "version": "v42",
        "parameters": {"branch": digest, "password": "***"}, "target": {"account": "eks-1", "namespace": "shop"},
        "deployTarget": "t", "digest": digest,
    }})
}

pub(crate) fn running() -> Value {
    json!({"phase": "Running", "startedAt": now(), "execution": {
        "id": "01J", "url": "https://deck.example/#/executions/01J", "status": "RUNNING",
        "stages": [stage("Bake", "SUCCEEDED"), stage("Deploy", "RUNNING")],
    }})
}

pub(crate) fn succeeded() -> Value {
    json!({"phase": "Succeeded", "startedAt": now(), "finishedAt": now(), "execution": {
        "id": "01J", "status": "SUCCEEDED", "stages": [stage("Bake", "SUCCEEDED"), stage("Deploy", "SUCCEEDED")],
    }})
}

pub(crate) fn failed() -> Value {
    json!({"phase": "Failed", "startedAt": now(), "finishedAt": now(), "execution": {
        "id": "01J", "status": "TERMINAL", "stages": [stage("Bake", "SUCCEEDED"), stage("Deploy", "TERMINAL")],
        "failure": {"stage": "Deploy", "message": "0 of 3 pods are ready"},
    }})
}

pub(crate) fn stage(name: &str, status: &str) -> Value {
    json!({"name": name, "type": "deploy", "status": status})
}

pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

pub(crate) fn entry<'a>(told: &'a SlackStatus, purpose: &str) -> Option<&'a SlackMessage> {
    told.messages
        .iter()
        .find(|message| message.purpose == purpose)
}

/// The purpose that a message's mark names.
pub(crate) fn purpose(message: &Message) -> String {
    let mark = message.metadata.clone().unwrap_or_default();
    let purpose = mark["event_payload"]["purpose"].as_str();
    purpose.unwrap_or_default().to_owned()
}

/// The messages for a purpose in a channel.
pub(crate) fn all_for(slack: &StandInSlack, channel: &str, wanted: &str) -> Vec<Message> {
    let all = slack.messages(channel);
    all.into_iter()
        .filter(|message| purpose(message) == wanted)
        .collect()
}
