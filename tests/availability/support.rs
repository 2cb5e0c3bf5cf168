//! What every test here stands on: the real control plane with foredeck's rights and policies, a stand-in Gate and a
//! stand-in Slack of its own, and roles as processes under the Leases that a cluster has.
//!
//! One test at a time, since the Leases are one set. Those that kill again and again mostly wait for a Lease to run out: they
//! have a control plane of their own beside the others, and take turns too. While a promise in seconds is measured, nothing
//! else runs in either.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, Environment, SpinnakerConnection, deploy_request::Phase,
};
use foredeck_testkit::{
    ControlPlane, Role, RoleCommand, StandInGate, StandInSlack,
    gate::{Parameter, Pipeline, Stage},
    wait_for,
};
use k8s_openapi::api::{
    coordination::v1::Lease,
    rbac::v1::{Role as Rights, RoleBinding},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{MissedTickBehavior, interval},
};

/// How long anything here may take that isn't measured: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// How long Kubernetes waits between asking a Pod to end and killing it.
pub(crate) const GRACE: Duration = Duration::from_secs(45);
/// Between two looks at all requests.
const BETWEEN_LISTS: Duration = Duration::from_secs(1);
/// What foredeck is installed by.
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/install");
/// Where foredeck is installed.
const HOME: &str = "foredeck-system";
/// Where requests are told.
pub(crate) const CHANNEL: &str = "deploys";
pub(crate) const CONTROLLERS: &str = "foredeck-controller";
pub(crate) const RELAYS: &str = "foredeck-relay";

/// A control plane with foredeck's rights and policies, for one test at a time.
struct Lane {
    turn: Mutex<()>,
    plane: OnceCell<&'static ControlPlane>,
}

impl Lane {
    const fn new() -> Self {
        Self {
            turn: Mutex::const_new(()),
            plane: OnceCell::const_new(),
        }
    }

    async fn plane(
        &self,
        begun: impl AsyncFnOnce() -> Result<&'static ControlPlane>,
    ) -> Result<&'static ControlPlane> {
        let plane = self.plane.get_or_try_init(async || {
            let plane = begun().await?;
            plane
                .install(&foredeck::api::crds(), Path::new(INSTALL))
                .await?;
            anyhow::Ok(plane)
        });
        plane.await.copied()
    }
}

static OTHERS: Lane = Lane::new();
static KILLED: Lane = Lane::new();
/// Whoever measures writes, everybody else reads: taken after the turn in a lane.
static QUIET: RwLock<()> = RwLock::const_new(());

/// What a test holds while it runs.
enum Turn {
    BesideOthers {
        _lane: MutexGuard<'static, ()>,
        _quiet: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _lane: MutexGuard<'static, ()>,
        _quiet: RwLockWriteGuard<'static, ()>,
    },
}

impl Lane {
    async fn beside_others(&'static self) -> Turn {
        Turn::BesideOthers {
            _lane: self.turn.lock().await,
            _quiet: QUIET.read().await,
        }
    }

    async fn alone(&'static self) -> Turn {
        Turn::Alone {
            _lane: self.turn.lock().await,
            _quiet: QUIET.write().await,
        }
    }
}

/// Everything that one test needs.
pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) gate: StandInGate,
    pub(crate) slack: StandInSlack,
    _turn: Turn,
}

impl Bed {
    /// A namespace with the application `checkout`, which alice and bob may deploy, and these many environments `env-0`, …,
    /// each a place of its own. What runs there takes about as long as `work`.
    pub(crate) async fn new(prefix: &str, environments: usize, work: Duration) -> Result<Self> {
        Self::with(prefix, environments, work, "Never").await
    }

    /// The same, with what an environment says of confirming.
    pub(crate) async fn with(
        prefix: &str,
        environments: usize,
        work: Duration,
        confirm: &str,
    ) -> Result<Self> {
        let turn = OTHERS.beside_others().await;
        let plane = OTHERS.plane(async || Ok(ControlPlane::shared().await));
        Self::on(plane.await?, turn, (prefix, environments, work, confirm)).await
    }

    /// For who measures what is promised in seconds: no other test of the suite runs meanwhile.
    pub(crate) async fn measured(prefix: &str, work: Duration) -> Result<Self> {
        let turn = OTHERS.alone().await;
        let plane = OTHERS.plane(async || Ok(ControlPlane::shared().await));
        Self::on(plane.await?, turn, (prefix, 1, work, "Never")).await
    }

    /// For who kills again and again.
    pub(crate) async fn of_killing(
        prefix: &str,
        environments: usize,
        work: Duration,
    ) -> Result<Self> {
        let turn = KILLED.beside_others().await;
        let plane = KILLED.plane(async || Ok(&*Box::leak(Box::new(ControlPlane::start().await?))));
        Self::on(plane.await?, turn, (prefix, environments, work, "Never")).await
    }

    async fn on(
        plane: &'static ControlPlane,
        turn: Turn,
        (prefix, environments, work, confirm): (&str, usize, Duration, &str),
    ) -> Result<Self> {
        let gate = StandInGate::start().await?;
        let url = gate.url();
        let bed = Self {
            plane,
            client: plane.admin(),
            namespace: plane.namespace(prefix).await?,
            gate,
            slack: StandInSlack::start().await?,
            _turn: turn,
        };
        bed.free_leases().await?;
        let connection = json!({
            "gateUrl": url,
            "allow": {"applications": ["checkout"], "accounts": ["eks-*"], "namespaces": ["*"]},
            "timeouts": {"settle": "3s"},
        });
        bed.create::<SpinnakerConnection>("gate", connection)
            .await?;
        let parameters = json!({"branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}"});
        let deploy =
            json!({"pipeline": "Deploy to {{ environment.name }}", "parameters": parameters});
        let channel = bed.slack.channel(CHANNEL)?.id;
        let spec = json!({"actions": {"deploy": deploy}, "slack": {"channels": [channel]}});
        bed.create::<Application>("checkout", spec).await?;
        for number in 0..environments {
            let name = environment(number);
            bed.gate.put_pipeline(deploying(&name, work));
            let target = json!({"account": format!("eks-{name}"), "namespace": "shop"});
            let spec = json!({
                "connection": "gate", "target": target, "protection": {"confirm": confirm},
                "notify": {"slack": {"channel": channel}},
            });
            bed.create::<Environment>(&name, spec).await?;
        }
        bed.grant(&["alice", "bob"]).await?;
        Ok(bed)
    }

    /// No process of an earlier test has them any more.
    async fn free_leases(&self) -> Result<()> {
        for name in [CONTROLLERS, RELAYS] {
            let deleted = self.leases().delete(name, &DeleteParams::default()).await;
            if let Err(error) = deleted {
                ensure!(
                    matches!(&error, kube::Error::Api(status) if status.is_not_found()),
                    error
                );
            }
        }
        Ok(())
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
        self.api::<Rights>()
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

    /// Asks for a version in the environment of that number, as kubectl does.
    pub(crate) async fn ask(&self, name: &str, number: usize) -> Result<()> {
        let spec =
            json!({"application": "checkout", "environment": environment(number), "version": name});
        self.create::<DeployRequest>(name, spec).await.map(drop)
    }

    pub(crate) async fn requests(&self) -> Result<Vec<DeployRequest>> {
        let api = self.api::<DeployRequest>();
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// Waits until there are these many requests and all of them have succeeded, each by one launch, never two at a time on
    /// a target.
    pub(crate) async fn until_all_succeeded(
        &self,
        count: usize,
        deadline: Duration,
    ) -> Result<Vec<DeployRequest>> {
        let what = format!("{count} requests to succeed");
        // A list of hundreds is work for the API server, which the roles need more.
        let mut looks = interval(BETWEEN_LISTS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looks = Mutex::new(looks);
        let all = wait_for(&what, deadline, async || {
            looks.lock().await.tick().await;
            let all = self.requests().await?;
            let open: Vec<String> = all
                .iter()
                .filter(|request| phase(request) != Phase::Succeeded)
                .map(|request| {
                    let status = request.status.clone().unwrap_or_default();
                    format!(
                        "{}: {:?} {:?}",
                        request.name_any(),
                        phase(request),
                        status.message
                    )
                })
                .collect();
            let some = open.iter().take(5).collect::<Vec<_>>();
            ensure!(
                open.is_empty() && all.len() == count,
                "{} of {}, and {} have not: {some:#?}",
                all.len(),
                count,
                open.len()
            );
            Ok(all)
        })
        .await?;
        for request in &all {
            let launches = self.gate.launches_of(&request.uid().unwrap_or_default());
            ensure!(
                launches.len() == 1,
                "{} was launched {} times",
                request.name_any(),
                launches.len()
            );
        }
        ensure!(self.gate.launches().len() == count, "others were launched");
        let peaks = self.gate.peak_concurrency();
        let crowded: Vec<_> = peaks
            .iter()
            .filter(|(key, peak)| key.starts_with("target/") && **peak > 1)
            .collect();
        ensure!(crowded.is_empty(), "two at a time: {crowded:?}");
        Ok(all)
    }

    pub(crate) async fn until_phase(&self, name: &str, wanted: Phase) -> Result<DeployRequest> {
        wait_for(&format!("{name}: {wanted:?}"), PATIENCE, async || {
            let request = self.api::<DeployRequest>().get(name).await?;
            let message = request
                .status
                .as_ref()
                .and_then(|status| status.message.clone());
            ensure!(
                phase(&request) == wanted,
                "{:?}: {message:?}",
                phase(&request)
            );
            Ok(request)
        })
        .await
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), HOME)
    }

    /// Who holds the Lease.
    pub(crate) async fn holder(&self, lease: &str) -> Result<Option<String>> {
        let lease = self.leases().get_opt(lease).await?;
        let holder = lease
            .and_then(|lease| lease.spec)
            .and_then(|spec| spec.holder_identity);
        Ok(holder.filter(|holder| !holder.is_empty()))
    }

    /// Waits until the Lease names another than `before`. That one takes over with this write; its caches fill from then on.
    pub(crate) async fn until_held(
        &self,
        lease: &str,
        before: Option<&str>,
        deadline: Duration,
    ) -> Result<String> {
        wait_for("another holder", deadline, async || {
            let holder = self.holder(lease).await?;
            let holder = holder.filter(|holder| Some(holder.as_str()) != before);
            holder.context("nobody else holds the Lease")
        })
        .await
    }

    /// Waits until a process other than `before` holds the Lease and works, and gives its name in the Lease and which it is.
    pub(crate) async fn until_led(
        &self,
        lease: &str,
        before: Option<&str>,
        among: &[Role],
        deadline: Duration,
    ) -> Result<(String, usize)> {
        wait_for("another leader at work", deadline, async || {
            let holder = self.holder(lease).await?;
            let holder = holder.filter(|holder| Some(holder.as_str()) != before);
            let holder = holder.context("nobody else holds the Lease")?;
            let leader = leader(&holder, among)?;
            ensure!(
                works(&among[leader]),
                "it holds the Lease and has not filled its caches"
            );
            Ok((holder, leader))
        })
        .await
    }

    /// A role for this namespace with the rights of its `ServiceAccount`, not started yet.
    pub(crate) fn role(&self, name: &str) -> Result<RoleCommand> {
        let kubeconfig = if name == "run" {
            self.plane.admin_kubeconfig().to_owned()
        } else {
            let account = format!("system:serviceaccount:{HOME}:foredeck-{name}");
            self.plane.kubeconfig_as(&account, &[], None)?
        };
        let command =
            RoleCommand::new(env!("CARGO_BIN_EXE_foredeck"), name, self.plane.directory())?
                .arguments(["--namespace", &self.namespace])
                .kubeconfig(kubeconfig)
                .env("RUST_LOG", "foredeck=info,warn")
                .env(
                    "FOREDECK_ADMISSION_POLICIES",
                    format!("{INSTALL}/admission.yaml"),
                )
                .env("FOREDECK_ALLOW_GATE_HOST", "127.0.0.1")
                .env("SLACK_API_URL", self.slack.api_url());
        Ok(match name {
            "controller" => command.arguments(["--test-minimum-settle", "1s"]),
            "relay" => command.env("SLACK_BOT_TOKEN", self.slack.bot_token()),
            _ => command
                .env("SLACK_BOT_TOKEN", self.slack.bot_token())
                .env("SLACK_APP_TOKEN", self.slack.app_token())
                .env("SLACK_SIGNING_SECRET", self.slack.signing_secret()),
        })
    }

    /// A copy of that role's kubeconfig that goes to another address of the same API server.
    pub(crate) fn kubeconfig_by(&self, name: &str, url: &str) -> Result<PathBuf> {
        let account = format!("system:serviceaccount:{HOME}:foredeck-{name}");
        let file = self.plane.kubeconfig_as(&account, &[], None)?;
        let text = fs::read_to_string(&file)?;
        let server = self.plane.url().trim_end_matches('/');
        ensure!(text.contains(server), "no {server} in {text}");
        let other = file.with_extension(format!("by-{}", self.namespace));
        fs::write(&other, text.replace(server, url.trim_end_matches('/')))?;
        Ok(other)
    }

    /// The messages that begin a thread or stand alone, in the channel where requests are told, as text.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut all = self.slack.messages(CHANNEL);
        all.retain(|message| !message.is_reply());
        all.iter()
            .map(|message| format!("{} {}", message.text(), json!(message.blocks())))
            .collect()
    }

    /// Waits until each of these versions has one message, and that says that it succeeded.
    pub(crate) async fn until_all_told(
        &self,
        versions: &[String],
        deadline: Duration,
    ) -> Result<()> {
        let what = format!("the end of {} requests to be told", versions.len());
        wait_for(&what, deadline, async || {
            let told = self.told();
            for version in versions {
                let of: Vec<_> = told.iter().filter(|text| text.contains(version)).collect();
                ensure!(
                    of.len() == 1,
                    "{version} has {} messages: {of:#?}",
                    of.len()
                );
                ensure!(of[0].contains("succeeded"), "{}", of[0]);
            }
            ensure!(told.len() == versions.len(), "{} messages", told.len());
            Ok(())
        })
        .await
    }

    /// The app may read what it has posted, so that who takes over finds it.
    pub(crate) fn may_look(&self) {
        self.slack.change_app(|app| {
            let more = ["channels:history", "groups:history"].map(str::to_owned);
            app.scopes.extend(more);
        });
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn started(&self, command: RoleCommand) -> Result<Role> {
        let role = command.start()?;
        role.until_ready(PATIENCE).await?;
        Ok(role)
    }
}

/// What a Deployment does: there are two of a role, whatever ends.
pub(crate) struct Replicas<'a> {
    bed: &'a Bed,
    role: &'static str,
    lease: &'static str,
    arguments: &'static [&'static str],
    running: Vec<Role>,
    /// How many have ended.
    pub(crate) ended: usize,
    /// The leader that was killed last, by its name in the Lease, and when.
    killed: Option<(String, Instant)>,
    /// How many leaders were killed while they ran, and the longest that the Lease then named none that runs.
    pub(crate) kills: usize,
    pub(crate) slowest: Duration,
}

impl<'a> Replicas<'a> {
    pub(crate) fn new(
        bed: &'a Bed,
        role: &'static str,
        lease: &'static str,
        arguments: &'static [&'static str],
    ) -> Result<Self> {
        let mut replicas = Self {
            bed,
            role,
            lease,
            arguments,
            running: Vec::new(),
            ended: 0,
            killed: None,
            kills: 0,
            slowest: Duration::ZERO,
        };
        replicas.restart()?;
        Ok(replicas)
    }

    fn restart(&mut self) -> Result<()> {
        let mut index = 0;
        while index < self.running.len() {
            if self.running[index].ended()?.is_some() {
                self.running.remove(index);
                self.ended += 1;
            } else {
                index += 1;
            }
        }
        while self.running.len() < 2 {
            let command = self.bed.role(self.role)?.arguments(self.arguments);
            self.running.push(command.start()?);
        }
        Ok(())
    }

    /// Waits until one of them leads that isn't the one that was killed last; both are kept in being meanwhile.
    pub(crate) async fn led(&mut self) -> Result<Leader> {
        let (bed, lease) = (self.bed, self.lease);
        let killed = self.killed.take();
        let before = killed.as_ref().map(|(before, _)| before.as_str());
        let replicas = RefCell::new(&mut *self);
        let found = wait_for("another leader", PATIENCE, async || {
            replicas.borrow_mut().restart()?;
            let holder = bed.holder(lease).await?;
            let holder = holder.filter(|holder| Some(holder.as_str()) != before);
            let holder = holder.context("nobody else holds the Lease")?;
            let index = leader(&holder, &replicas.borrow().running)?;
            Ok(Leader { holder, index })
        })
        .await?;
        if let Some((_, at)) = killed {
            self.slowest = self.slowest.max(at.elapsed());
        }
        Ok(found)
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_gone(&self, leader: &Leader) -> Result<bool> {
        Ok(self.running[leader.index].ended()?.is_some())
    }

    /// Kills it, unless it has ended by itself: then that was no kill.
    pub(crate) fn kill(&mut self, leader: Leader) -> Result<()> {
        if !self.is_gone(&leader)? {
            self.running[leader.index].kill();
            self.kills += 1;
            self.killed = Some((leader.holder, Instant::now()));
        }
        Ok(())
    }

    /// No more kills: whoever follows has the Lease that a cluster has, which a slow machine doesn't take from it.
    pub(crate) fn at_ease(&mut self) {
        self.arguments = &[];
        self.running.iter().for_each(Role::kill);
    }

    /// Keeps them in being until something has come.
    pub(crate) async fn kept_while<T>(
        &mut self,
        what: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let keeping = async {
            let mut looks = tokio::time::interval(Duration::from_millis(200));
            loop {
                looks.tick().await;
                self.restart()?;
            }
        };
        tokio::select! {
            done = what => done,
            broken = keeping => broken,
        }
    }
}

/// One of the replicas, by its name in the Lease and its place among those that run.
pub(crate) struct Leader {
    holder: String,
    index: usize,
}

/// Which of them has that name in the Lease.
pub(crate) fn leader(holder: &str, among: &[Role]) -> Result<usize> {
    let mut all = among.iter();
    all.position(|role| {
        let log = role.log();
        log.lines()
            .any(|line| line.contains("holding the lease") && line.contains(holder))
    })
    .with_context(|| format!("{holder} is none of them"))
}

fn works(role: &Role) -> bool {
    role.log().contains("caches are filled")
}

/// Asks a role to end, waits until it has, within the grace period and well, and says how long that took.
pub(crate) async fn ends(role: &Role) -> Result<Duration> {
    let asked = Instant::now();
    role.terminate()?;
    let status = role.until_ended(GRACE).await?;
    ensure!(status.success(), "{status}\n{}", role.tail());
    Ok(asked.elapsed())
}

pub(crate) fn phase(request: &DeployRequest) -> Phase {
    let status = request.status.as_ref();
    status.and_then(|status| status.phase).unwrap_or_default()
}

pub(crate) fn environment(number: usize) -> String {
    format!("env-{number}")
}

fn deploying(environment: &str, work: Duration) -> Pipeline {
    Pipeline::new("checkout", &format!("Deploy to {environment}"))
        .id(&format!("deploy-{environment}"))
        .parameter(Parameter::new("account").required())
        .parameter(Parameter::new("namespace").required())
        .parameter(Parameter::new("branch").required())
        .stage(Stage::wait("Bake", work / 2))
        .stage(Stage::deploy("Deploy", work / 2))
}

/// Numbers that look random and come again from the same seed (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    /// From `FOREDECK_TEST_SEED`, or another one each time, which is printed.
    pub(crate) fn new() -> Result<Self> {
        let seed = match std::env::var("FOREDECK_TEST_SEED") {
            Ok(seed) => seed.parse()?,
            Err(_) => u64::from(std::process::id()),
        };
        eprintln!("seed {seed}: FOREDECK_TEST_SEED={seed} brings it again");
        Ok(Self(seed))
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
