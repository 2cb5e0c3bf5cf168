//! What every test here stands on: the real control plane, a stand-in Gate and a stand-in Slack of its own, a namespace
//! of its own, and the three roles as processes.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, Environment, SpinnakerConnection, deploy_request::Phase,
};
use foredeck_testkit::{
    ControlPlane, StandInGate, StandInSlack,
    gate::{Parameter, Pipeline, Stage},
    slack::{Ephemeral, Message, RequestUrls},
    wait_for,
};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// What foredeck is installed by.
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/install");
/// Where requests are told.
pub(crate) const CHANNEL: &str = "deploys";

/// Everything that one test needs.
pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) gate: StandInGate,
    pub(crate) slack: StandInSlack,
}

impl Bed {
    /// A namespace with the application `checkout`, its environments `staging`, `production` (both to be confirmed) and
    /// `free` (not), and alice and bob, who may do everything there.
    pub(crate) async fn new(prefix: &str, work: Duration) -> Result<Self> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        INSTALLED
            .get_or_try_init(async || {
                plane
                    .install(&foredeck::api::crds(), Path::new(INSTALL))
                    .await
            })
            .await?;
        let bed = Self {
            plane,
            client: plane.admin(),
            namespace: plane.namespace(prefix).await?,
            gate: StandInGate::start().await?,
            slack: StandInSlack::start().await?,
        };
        for environment in ["staging", "production", "free"] {
            bed.gate.put_pipeline(deploying(environment, work));
        }
        let allow =
            json!({"applications": ["checkout"], "accounts": ["eks-*"], "namespaces": ["*"]});
        let timeouts = json!({"request": "1s"});
        let connection = json!({"gateUrl": bed.gate.url(), "deckUrl": "https://deck.example", "allow": allow, "timeouts": timeouts});
        bed.create::<SpinnakerConnection>("gate", connection)
            .await?;
        let parameters = json!({"branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}"});
        let deploy =
            json!({"pipeline": "Deploy to {{ environment.name }}", "parameters": parameters});
        let channel = bed.slack.channel(CHANNEL)?.id;
        let spec = json!({"actions": {"deploy": deploy}, "slack": {"channels": [channel]}});
        bed.create::<Application>("checkout", spec).await?;
        for (name, confirm) in [
            ("staging", "Always"),
            ("production", "Always"),
            ("free", "Never"),
        ] {
            let target = json!({"account": format!("eks-{name}"), "namespace": "shop"});
            let spec = json!({
                "connection": "gate", "target": target, "protection": {"confirm": confirm},
                "notify": {"slack": {"channel": channel}},
            });
            bed.create::<Environment>(name, spec).await?;
        }
        bed.grant(&["alice", "bob"]).await?;
        Ok(bed)
    }

    /// Lets these people do everything here.
    async fn grant(&self, people: &[&str]) -> Result<()> {
        let subjects: Vec<Value> = people
            .iter()
            .filter_map(|name| self.slack.world(|world| world.user(name)?.email.clone()))
            .map(|email| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": email}))
            .collect();
        let rules = json!([{"apiGroups": ["foredeck.dev"], "resources": ["*"], "verbs": ["*"]}]);
        let role = json!({"metadata": {"name": "deployers"}, "rules": rules});
        let reference =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployers"});
        let binding =
            json!({"metadata": {"name": "deployers"}, "roleRef": reference, "subjects": subjects});
        let parameters = PostParams::default();
        self.api::<Role>()
            .create(&parameters, &serde_json::from_value(role)?)
            .await?;
        self.api::<RoleBinding>()
            .create(&parameters, &serde_json::from_value(binding)?)
            .await?;
        self.grant_leases().await
    }

    /// Leases of its own for this namespace's roles: those of an installation are one for all.
    async fn grant_leases(&self) -> Result<()> {
        let subjects: Vec<Value> = ["controller", "relay"]
            .iter()
            .map(|role| json!({"kind": "ServiceAccount", "namespace": "foredeck-system", "name": format!("foredeck-{role}")}))
            .collect();
        let rules = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}]);
        let role = json!({"metadata": {"name": "leases"}, "rules": rules});
        let reference =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leases"});
        let binding =
            json!({"metadata": {"name": "leases"}, "roleRef": reference, "subjects": subjects});
        let parameters = PostParams::default();
        self.api::<Role>()
            .create(&parameters, &serde_json::from_value(role)?)
            .await?;
        self.api::<RoleBinding>()
            .create(&parameters, &serde_json::from_value(binding)?)
            .await?;
        Ok(())
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn create<K>(&self, name: &str, spec: Value) -> Result<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
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

    pub(crate) async fn requests(&self) -> Result<Vec<DeployRequest>> {
        Ok(self
            .api::<DeployRequest>()
            .list(&ListParams::default())
            .await?
            .items)
    }

    /// The only request there is, once there is one.
    pub(crate) async fn only_request(&self) -> Result<DeployRequest> {
        let all = wait_for("a request", PATIENCE, async || {
            let all = self.requests().await?;
            ensure!(!all.is_empty(), "none yet");
            Ok(all)
        })
        .await?;
        let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        ensure!(all.len() == 1, "there are {names:?}");
        all.into_iter().next().context("none")
    }

    pub(crate) async fn until_phase(&self, name: &str, phase: Phase) -> Result<DeployRequest> {
        wait_for(&format!("{name}: {phase:?}"), PATIENCE, async || {
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

    /// The messages that begin a thread or stand alone, in the channel where requests are told.
    pub(crate) fn told(&self) -> Vec<Message> {
        let mut all = self.slack.messages(CHANNEL);
        all.retain(|message| !message.is_reply());
        all
    }

    /// Everything that is said in a message's thread.
    pub(crate) fn thread(&self, message: &Message) -> Vec<Message> {
        let mut all = self.slack.messages(CHANNEL);
        all.retain(|reply| reply.is_reply() && reply.thread_ts.as_ref() == Some(&message.ts));
        all
    }

    /// Waits until the only message in the channel says all of that, and gives it.
    pub(crate) async fn until_told(&self, words: &[&str]) -> Result<Message> {
        wait_for(
            &format!("one message with {words:?}"),
            PATIENCE,
            async || {
                let all = self.told();
                ensure!(all.len() == 1, "{} messages: {:?}", all.len(), texts(&all));
                let message = all.into_iter().next().context("none")?;
                let shown = shown(&message);
                for word in words {
                    ensure!(shown.contains(word), "no {word:?} in {shown}");
                }
                Ok(message)
            },
        )
        .await
    }

    /// Waits for what only this person sees, and gives the newest that says all of that.
    pub(crate) async fn until_whispered(&self, who: &str, words: &[&str]) -> Result<Ephemeral> {
        wait_for(&format!("a whisper with {words:?}"), PATIENCE, async || {
            let all = self.slack.ephemerals(who);
            let text = |whisper: &Ephemeral| format!("{} {}", whisper.text, json!(whisper.blocks));
            let said: Vec<String> = all.iter().map(text).collect();
            let found = all
                .into_iter()
                .rev()
                .find(|whisper| words.iter().all(|word| text(whisper).contains(word)));
            found.with_context(|| format!("{said:#?}"))
        })
        .await
    }

    /// Asks in the channel, and confirms the plan.
    pub(crate) async fn ask_and_confirm(&self, who: &str, line: &str) -> Result<()> {
        let person = self.slack.user(who);
        person.command(CHANNEL, line)?;
        let plan = self.until_whispered(who, &["plan-deploy"]).await?;
        person.click(&plan, "plan-deploy")?;
        Ok(())
    }

    /// Starts a controller, a receiver by Socket Mode and a relay, and waits until they are ready.
    pub(crate) async fn all_roles(&self) -> Result<[Process; 3]> {
        Ok([
            self.role("controller", &[]).await?,
            self.role("receiver", &[]).await?,
            self.role("relay", &[]).await?,
        ])
    }

    /// Starts a receiver by signed HTTP, and has Slack deliver there.
    pub(crate) async fn http_receiver(&self, arguments: &[&str]) -> Result<Process> {
        let listen = free_address()?;
        let own = ["--slack-mode", "http", "--listen", &listen];
        let receiver = self.role("receiver", &[&own, arguments].concat()).await?;
        let urls = RequestUrls {
            commands: format!("http://{listen}/slack/commands"),
            interactivity: format!("http://{listen}/slack/interactivity"),
            options: None,
            events: format!("http://{listen}/slack/events"),
        };
        self.slack.deliver_by_http(urls);
        Ok(receiver)
    }

    /// Starts a role for this namespace, with the rights of its `ServiceAccount`, and waits until it is ready.
    pub(crate) async fn role(&self, name: &'static str, arguments: &[&str]) -> Result<Process> {
        self.role_in(&[], name, arguments).await
    }

    /// As [`Self::role`], with these variables in its environment.
    pub(crate) async fn role_in(
        &self,
        environment: &[(&str, &str)],
        name: &'static str,
        arguments: &[&str],
    ) -> Result<Process> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let log = self.plane.directory().join(format!(
            "{name}-{}-{}.log",
            self.namespace,
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let admin = free_address()?;
        // All roles in one take their rights themselves.
        let kubeconfig = if name == "run" {
            self.plane.admin_kubeconfig().to_owned()
        } else {
            let account = format!("system:serviceaccount:foredeck-system:foredeck-{name}");
            self.plane.kubeconfig_as(&account, &[], None)?
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_foredeck"));
        command
            .arg(name)
            .args(["--namespace", &self.namespace, "--admin-listen", &admin])
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("FOREDECK_LEASE_NAMESPACE", &self.namespace)
            .env(
                "FOREDECK_LEASE_NAME",
                format!("controller-{}", self.namespace),
            )
            .env(
                "FOREDECK_RELAY_LEASE_NAME",
                format!("relay-{}", self.namespace),
            )
            .env(
                "FOREDECK_ADMISSION_POLICIES",
                format!("{INSTALL}/admission.yaml"),
            )
            .env("RUST_LOG", "foredeck=debug,warn")
            .env("SLACK_API_URL", self.slack.api_url())
            .env("FOREDECK_ALLOW_GATE_HOST", "127.0.0.1")
            .env("FOREDECK_ALLOW_GIT_HOST", "127.0.0.1")
            .env("SLACK_BOT_TOKEN", self.slack.bot_token())
            .env("SLACK_APP_TOKEN", self.slack.app_token())
            .env("SLACK_SIGNING_SECRET", self.slack.signing_secret())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let child = command
            .spawn()
            .with_context(|| format!("start the {name}"))?;
        let mut process = Process { child, admin, log };
        process.until_ready(name).await?;
        if ["controller", "run"].contains(&name) {
            self.until_looked_at().await?;
        }
        Ok(process)
    }

    /// Waits until the controller has said what it thinks of the application: a plan made before that is made anew when
    /// it is confirmed, and a test that confirms once would wait for ever.
    async fn until_looked_at(&self) -> Result<()> {
        wait_for("the application to be ready", PATIENCE, async || {
            let application = self.api::<Application>().get("checkout").await?;
            let status = application.status.unwrap_or_default();
            let ready = status
                .conditions
                .iter()
                .any(|one| one.type_ == "Ready" && one.status == "True");
            ensure!(ready, "{:?}", status.conditions);
            Ok(())
        })
        .await
    }
}

/// A role that runs as a process of its own; killed when dropped, and its log shown when a test fails.
pub(crate) struct Process {
    child: Child,
    admin: String,
    log: PathBuf,
}

impl Process {
    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let answer = reqwest::get(format!("http://{}/metrics", self.admin)).await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    async fn until_ready(&mut self, name: &str) -> Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        let ended = std::cell::RefCell::new(&mut self.child);
        wait_for(&format!("the {name} to be ready"), PATIENCE, async || {
            let ended = ended.borrow_mut().try_wait()?;
            ensure!(ended.is_none(), "it ended: {ended:?}");
            let answer = reqwest::get(&url).await?;
            let (status, text) = (answer.status(), answer.text().await?);
            ensure!(status.is_success(), "{text}");
            Ok(())
        })
        .await
        .with_context(|| self.log())
    }

    /// Asks it to end, as Kubernetes does, and says how long that took.
    pub(crate) async fn end(&self) -> Result<Duration> {
        let pid = self.child.id().to_string();
        let began = std::time::Instant::now();
        let asked = Command::new("kill").args(["-s", "TERM", &pid]).status()?;
        ensure!(asked.success(), "it has ended");
        wait_for("its end", PATIENCE, async || {
            // Nobody has waited for it, so what has ended is still there, as a zombie.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            ensure!(stat.contains(") Z "), "it runs");
            Ok(())
        })
        .await
        .with_context(|| self.log())?;
        Ok(began.elapsed())
    }

    pub(crate) fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() || std::env::var_os("FOREDECK_TEST_LOGS").is_some() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(100).collect();
            eprintln!("--- {}", self.log.display());
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A pipeline that fails in its second stage when the branch is `broken`.
fn deploying(environment: &str, work: Duration) -> Pipeline {
    Pipeline::new("checkout", &format!("Deploy to {environment}"))
        .parameter(Parameter::new("account").required())
        .parameter(Parameter::new("namespace").required())
        .parameter(Parameter::new("branch").required())
        .parameter(Parameter::new("replicas").default_value("2"))
        .stage(Stage::wait("Bake", work / 2))
        .stage(Stage::precondition(
            "Smoke test",
            "${parameters.branch != 'broken'}",
            "GET /healthz answered 503 for two minutes",
        ))
        .stage(Stage::deploy("Deploy", work / 2))
}

/// Everything that a message shows, as text.
pub(crate) fn shown(message: &Message) -> String {
    format!("{} {}", message.text(), json!(message.blocks()))
}

pub(crate) fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(Message::text).collect()
}
