//! What every test here stands on: the real control plane, a stand-in Gate of its own, a namespace of its own, and the
//! real binary as a child process.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, DeployTarget, Environment, SpinnakerConnection,
    deploy_request::Phase, deploy_target::DeployTargetStatus,
};
use foredeck_testkit::{
    ControlPlane, StandInGate,
    gate::{Parameter, Pipeline, Stage},
    wait_for,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The settle time of these tests: the stand-in has no Orca that goes on for two minutes.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// The admission policies, as the chart renders them.
pub(crate) const POLICIES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/install/admission.yaml"
);
/// How long anything here may take: far longer than it does.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A Lease that a busy machine doesn't lose, and that whoever comes after a killed one doesn't wait for long.
pub(crate) const LEASE: &str = "10s";

/// Everything that one test needs.
pub(crate) struct Bed {
    pub plane: &'static ControlPlane,
    pub client: Client,
    pub namespace: String,
    pub gate: StandInGate,
}

impl Bed {
    /// A namespace with the connection `gate`, the application `checkout`, and the environments `staging` and
    /// `production`; a Gate with their pipelines, whose executions take about as long as `work`.
    pub(crate) async fn new(prefix: &str, work: Duration) -> Result<Self> {
        let bed = Self::unconnected(prefix, work).await?;
        bed.create::<SpinnakerConnection>("gate", bed.connection())
            .await?;
        Ok(bed)
    }

    /// The same without the connection.
    pub(crate) async fn unconnected(prefix: &str, work: Duration) -> Result<Self> {
        static DEFINITIONS: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        DEFINITIONS
            .get_or_try_init(|| async {
                plane.install_crds(&foredeck::api::crds()).await?;
                plane.apply(&fs::read_to_string(POLICIES)?).await?;
                plane.policies_in_force().await
            })
            .await?;
        let bed = Self {
            plane,
            client: plane.admin(),
            namespace: plane.namespace(prefix).await?,
            gate: StandInGate::start().await?,
        };
        furnish(&bed.gate, work);
        bed.create::<Application>("checkout", application()).await?;
        for name in ["staging", "production"] {
            bed.create::<Environment>(name, environment(name)).await?;
        }
        Ok(bed)
    }

    /// The connection's spec: everything of checkout's may be reached.
    pub(crate) fn connection(&self) -> Value {
        json!({
            "gateUrl": self.gate.url(),
            "deckUrl": "https://deck.example",
            "allow": {"applications": ["checkout"], "accounts": ["eks-*"], "namespaces": ["*"]},
            "timeouts": {"request": "1s", "settle": format!("{}ms", SETTLE.as_millis())},
        })
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

    pub(crate) async fn request(&self, name: &str, spec: Value) -> Result<DeployRequest> {
        self.create(name, spec).await
    }

    /// A deployment of main to staging.
    pub(crate) async fn deploy(&self, name: &str) -> Result<DeployRequest> {
        self.request(name, deploy("staging", "main")).await
    }

    pub(crate) async fn merge<K>(&self, name: &str, patch: Value) -> Result<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        Ok(self
            .api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?)
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<DeployRequest> {
        self.merge(
            name,
            json!({"spec": {"cancel": {"reason": "changed my mind"}}}),
        )
        .await
    }

    pub(crate) async fn delete<K>(&self, name: &str) -> Result<()>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// Takes an object's whole status away, as somebody with a patch could.
    pub(crate) async fn wipe_status<K>(&self, name: &str) -> Result<()>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let patch = Patch::Merge(json!({"status": null}));
        self.api::<K>()
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Merges into a request's status, as somebody with a patch could.
    pub(crate) async fn merge_status(&self, name: &str, patch: Value) -> Result<()> {
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &ApiResource::erase::<DeployRequest>(&()),
        );
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Wakes the controller for a request without asking anything of it.
    pub(crate) async fn touch(&self, name: &str) -> Result<()> {
        let now = jiff::Timestamp::now().to_string();
        let patch = json!({"metadata": {"annotations": {"example.com/touched": now}}});
        self.merge::<DeployRequest>(name, patch).await?;
        Ok(())
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

    pub(crate) async fn get(&self, name: &str) -> Result<DeployRequest> {
        Ok(self.api::<DeployRequest>().get(name).await?)
    }

    pub(crate) async fn targets(&self) -> Result<Vec<DeployTarget>> {
        Ok(self
            .api::<DeployTarget>()
            .list(&ListParams::default())
            .await?
            .items)
    }

    /// The only target, or the one of that environment.
    pub(crate) async fn target(&self, environment: &str) -> Result<DeployTarget> {
        let all = self.targets().await?;
        all.into_iter()
            .find(|target| target.spec.environment == environment)
            .context("no such target")
    }

    /// Waits until the request is as wanted; on time-out the error shows the status as it was last.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&DeployRequest) -> bool,
    ) -> Result<DeployRequest> {
        wait_for(&format!("{name}: {what}"), PATIENCE, async || {
            let request = self.get(name).await?;
            ensure!(
                wanted(&request),
                "status {}",
                serde_json::to_string(&request.status).unwrap_or_default()
            );
            Ok(request)
        })
        .await
    }

    /// Waits until the target of an environment is as wanted.
    pub(crate) async fn until_target(
        &self,
        environment: &str,
        what: &str,
        wanted: impl Fn(&DeployTargetStatus) -> bool,
    ) -> Result<DeployTargetStatus> {
        wait_for(&format!("{environment}: {what}"), PATIENCE, async || {
            let status = self.target(environment).await?.status.unwrap_or_default();
            ensure!(wanted(&status), "{}", serde_json::to_string(&status)?);
            Ok(status)
        })
        .await
    }

    pub(crate) async fn until_phase(&self, name: &str, phase: Phase) -> Result<DeployRequest> {
        let request = self
            .until(name, &format!("{phase:?}"), |request| {
                phase_of(request) == phase || phase_of(request).is_terminal()
            })
            .await?;
        ensure!(
            phase_of(&request) == phase,
            "{name} is {:?}, not {phase:?}: {:?}",
            phase_of(&request),
            message(&request)
        );
        Ok(request)
    }

    pub(crate) async fn until_ended(&self, name: &str) -> Result<DeployRequest> {
        self.until(name, "ended", |request| phase_of(request).is_terminal())
            .await
    }

    /// Waits until the request's execution was started, and gives its id.
    pub(crate) async fn until_launched(&self, request: &DeployRequest) -> Result<String> {
        let name = request.name_any();
        wait_for(&format!("{name} to be launched"), PATIENCE, async || {
            let launches = self.gate.launches_of(&request.uid().unwrap_or_default());
            let first = launches.into_iter().next();
            match first {
                Some(launch) => Ok(launch.execution_id),
                None => anyhow::bail!("status {:?}", self.get(&name).await?.status),
            }
        })
        .await
    }

    /// An environment of that name with a place and rules of its own, whose Deploy pipeline takes `stages`.
    pub(crate) async fn another_environment(
        &self,
        name: &str,
        protection: Value,
        stages: impl IntoIterator<Item = Stage>,
    ) -> Result<()> {
        let mut spec = environment(name);
        spec["protection"] = protection;
        let pipeline =
            placed(&format!("Deploy to {name}")).parameter(Parameter::new("branch").required());
        self.gate
            .put_pipeline(stages.into_iter().fold(pipeline, Pipeline::stage));
        self.create::<Environment>(name, spec).await?;
        Ok(())
    }

    /// Waits until no target is held.
    pub(crate) async fn until_free(&self) -> Result<()> {
        wait_for("all targets are free", PATIENCE, async || {
            for target in self.targets().await? {
                let active = target
                    .status
                    .as_ref()
                    .and_then(|status| status.active.as_ref());
                ensure!(
                    active.is_none(),
                    "{} is held by {active:?}",
                    target.name_any()
                );
            }
            Ok(())
        })
        .await
    }

    pub(crate) fn launches(&self, request: &DeployRequest) -> usize {
        self.gate
            .launches_of(&request.uid().unwrap_or_default())
            .len()
    }

    /// Ends the request's execution well; whether it had one.
    pub(crate) fn finish(&self, request: &DeployRequest) -> bool {
        let uid = request.uid().unwrap_or_default();
        let launches = self.gate.launches_of(&uid);
        launches
            .iter()
            .any(|launch| self.gate.finish(&launch.execution_id))
    }

    /// The most executions that any target ever had at one time.
    pub(crate) fn peak(&self) -> usize {
        self.gate
            .peak_concurrency()
            .into_iter()
            .filter(|(key, _)| key.starts_with("target/"))
            .map(|(_, peak)| peak)
            .max()
            .unwrap_or_default()
    }

    /// More environments, each with a pipeline and a place of its own.
    pub(crate) async fn more_environments(
        &self,
        count: usize,
        work: Duration,
    ) -> Result<Vec<String>> {
        let names: Vec<String> = (0..count).map(|number| format!("env-{number}")).collect();
        for name in &names {
            self.gate
                .put_pipeline(deploying(&format!("Deploy to {name}"), work));
            self.create::<Environment>(name, environment(name)).await?;
        }
        Ok(names)
    }

    /// Starts the controller for this namespace.
    pub(crate) fn controller(&self) -> Result<Controller> {
        self.controller_with(&[])
    }

    pub(crate) fn controller_with(&self, arguments: &[&str]) -> Result<Controller> {
        self.controller_lasting(LEASE, arguments)
    }

    /// Starts the controller with a Lease of that duration.
    pub(crate) fn controller_lasting(&self, lease: &str, arguments: &[&str]) -> Result<Controller> {
        let lease = ["--lease-duration", lease];
        let kubeconfig = self.plane.admin_kubeconfig().to_owned();
        self.spawn(kubeconfig, &[&lease, arguments].concat())
    }

    /// Starts the controller with nothing said of its Lease.
    pub(crate) fn spawn(&self, kubeconfig: PathBuf, arguments: &[&str]) -> Result<Controller> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let log = self.plane.directory().join(format!(
            "controller-{}-{}.log",
            self.namespace,
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let file = File::create(&log)?;
        let audit = log.with_extension("audit");
        let own_home = ["--home-namespace", &self.namespace];
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args(["controller", "--test-minimum-settle", "1s"])
            .args(if arguments.contains(&"--admin-listen") {
                [].as_slice()
            } else {
                ["--admin-listen", "off"].as_slice()
            })
            .args([
                "--namespace",
                &self.namespace,
                "--lease-namespace",
                &self.namespace,
            ])
            .args(if arguments.contains(&"--home-namespace") {
                [].as_slice()
            } else {
                own_home.as_slice()
            })
            .args(if arguments.contains(&"--allow-gate-host") {
                [].as_slice()
            } else {
                ["--allow-gate-host", "127.0.0.1"].as_slice()
            })
            .args(if arguments.contains(&"--allow-git-host") {
                [].as_slice()
            } else {
                ["--allow-git-host", "127.0.0.1"].as_slice()
            })
            .args(if arguments.contains(&"--admission-policies") {
                [].as_slice()
            } else {
                ["--admission-policies", POLICIES].as_slice()
            })
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "foredeck=debug,warn")
            .stdout(File::create(&audit)?)
            .stderr(file)
            .spawn()
            .context("start the controller")?;
        Ok(Controller { child, log, audit })
    }
}

/// A controller that runs as a process of its own; killed when dropped, and its log shown when a test fails.
pub(crate) struct Controller {
    child: Child,
    log: PathBuf,
    audit: PathBuf,
}

impl Controller {
    pub(crate) fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends this process a signal: `STOP`, `CONT`, `TERM`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()?;
        ensure!(sent.success(), "kill -{name} failed");
        Ok(())
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(crate) async fn until_ended(&mut self) -> Result<ExitStatus> {
        let child = std::cell::RefCell::new(&mut self.child);
        wait_for("the controller to end", PATIENCE, async || {
            child.borrow_mut().try_wait()?.context("it still runs")
        })
        .await
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its audit lines so far, each as it is: one that is no JSON object is a mistake.
    pub(crate) fn audit(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.audit)?;
        let lines = text.lines().map(|line| {
            serde_json::from_str(line).with_context(|| format!("{line:?} is no audit line"))
        });
        lines.collect()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() || std::env::var_os("FOREDECK_TEST_LOGS").is_some() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(200).collect();
            eprintln!("--- {}", self.log.display());
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

pub(crate) fn deploy(environment: &str, version: &str) -> Value {
    json!({"application": "checkout", "environment": environment, "version": version})
}

pub(crate) fn environment(name: &str) -> Value {
    json!({"connection": "gate", "target": {"account": format!("eks-{name}"), "namespace": "shop"}})
}

pub(crate) fn application() -> Value {
    json!({"actions": {
        "deploy": {
            "pipeline": "Deploy to {{ environment.name }}",
            "parameters": {"branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}"},
        },
        "rollback": {
            "pipeline": "Rollback",
            "parameters": {"to": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}"},
        },
        "restart": {"pipeline": "Restart", "parameters": {"account": "{{ target.account }}", "namespace": "{{ target.namespace }}"}},
    }})
}

/// A pipeline of checkout that has to be told where.
fn placed(name: &str) -> Pipeline {
    Pipeline::new("checkout", name)
        .parameter(Parameter::new("account").required())
        .parameter(Parameter::new("namespace").required())
}

fn deploying(name: &str, work: Duration) -> Pipeline {
    placed(name)
        .parameter(Parameter::new("branch").required())
        .parameter(Parameter::new("replicas").default_value("2"))
        .parameter(
            Parameter::new("size")
                .default_value("small")
                .options(["small", "large"]),
        )
        .stage(Stage::wait("Bake", work / 2))
        .stage(Stage::deploy("Deploy", work / 2))
}

/// Gives a Gate the pipelines that the application names.
pub(crate) fn furnish(gate: &StandInGate, work: Duration) {
    for pipeline in pipelines(work) {
        gate.put_pipeline(pipeline);
    }
}

fn pipelines(work: Duration) -> Vec<Pipeline> {
    vec![
        deploying("Deploy to staging", work),
        deploying("Deploy to production", work),
        placed("Rollback")
            .parameter(Parameter::new("to").required())
            .stage(Stage::deploy("Roll back", work)),
        placed("Restart").stage(Stage::deploy("Restart", work)),
    ]
}

pub(crate) fn phase_of(request: &DeployRequest) -> Phase {
    request
        .status
        .as_ref()
        .and_then(|status| status.phase)
        .unwrap_or_default()
}

pub(crate) fn message(request: &DeployRequest) -> String {
    request
        .status
        .as_ref()
        .and_then(|status| status.message.clone())
        .unwrap_or_default()
}

/// The reason of a condition.
pub(crate) fn reason(request: &DeployRequest, condition: &str) -> String {
    let conditions = request
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    conditions
        .iter()
        .find(|known| known.type_ == condition)
        .map(|known| known.reason.clone())
        .unwrap_or_default()
}
