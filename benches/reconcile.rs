//! From a request's creation to Spinnaker's launch, and what it costs: the real binary on a real API server and the
//! stand-in Gate, next to a naive peer in the same run: one that starts an execution for whatever it sees created and
//! remembers nothing.
//!
//! `cargo bench --bench reconcile`. Nothing here asserts a time.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{
    Application, DeployRequest, Environment, SpinnakerConnection, deploy_request::Phase,
};
use foredeck_testkit::{
    ControlPlane, StandInGate,
    gate::{Operation, Parameter, Pipeline, Recording, Stage},
    wait_for,
};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long an execution runs.
const WORK: Duration = Duration::from_secs(2);
/// Requests one after the other: so many, so many a second.
const STEADY: usize = 200;
const PER_SECOND: usize = 10;
/// Requests at once, on so many targets.
const BURST: usize = 1_000;
const TARGETS: usize = 200;
const PATIENCE: Duration = Duration::from_mins(4);
/// What foredeck is installed by: it starts nothing without its admission policies.
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/install");

#[tokio::main]
async fn main() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane
        .install(&foredeck::api::crds(), Path::new(INSTALL))
        .await?;
    println!(
        "executions of {} s; latencies in ms from the create call to the launch in Gate\n",
        WORK.as_secs()
    );
    println!(
        "{:<10} {:<8} {:>6} {:>7} {:>7} {:>7} {:>9} {:>14} {:>9} {:>9}",
        "load",
        "who",
        "starts",
        "p50",
        "p90",
        "p99",
        "all done",
        "GETs/execution",
        "RSS MB",
        "CPU s"
    );
    for (load, count, rate) in [("10/s", STEADY, Some(PER_SECOND)), ("at once", BURST, None)] {
        let naive = measure(&plane, load, count, rate, Who::Naive).await?;
        let own = measure(&plane, load, count, rate, Who::Foredeck).await?;
        println!(
            "{load:<10} {:<8} {:>6} {:>7.2} {:>7.2} {:>7.2} {:>9} {:>14}\n",
            "ratio",
            "",
            own.quantile(50) / naive.quantile(50),
            own.quantile(90) / naive.quantile(90),
            own.quantile(99) / naive.quantile(99),
            own.done.map_or(String::new(), |done| format!(
                "{:.2}",
                done.as_secs_f64() / WORK.as_secs_f64()
            )),
            "",
        );
    }
    println!(
        "all done, ratio: to the time of one execution; with {BURST} requests on {TARGETS} targets, five run after each other"
    );
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Foredeck,
    Naive,
}

struct Measured {
    latencies: Vec<f64>,
    done: Option<Duration>,
}

impl Measured {
    fn quantile(&self, percent: usize) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
            .get((sorted.len().saturating_sub(1)) * percent / 100)
            .copied()
            .unwrap_or(f64::NAN)
    }
}

async fn measure(
    plane: &ControlPlane,
    load: &str,
    count: usize,
    rate: Option<usize>,
    who: Who,
) -> Result<Measured> {
    let gate = StandInGate::start().await?;
    gate.set_recording(Recording {
        bodies: false,
        calls: 0,
    });
    let client = plane.admin();
    let namespace = plane.namespace("bench").await?;
    configure(&client, &namespace, &gate).await?;
    let mut worker = Worker::start(plane, &client, &namespace, &gate, who).await?;
    gate.reset_log();
    let requests: Api<DeployRequest> = Api::namespaced(client.clone(), &namespace);
    let begun = Instant::now();
    let created = create(&requests, count, rate).await?;
    let name = |uid: &str| created.get(uid).copied();
    wait_for("every request to be launched", PATIENCE, async || {
        let launched = gate.launches().len();
        ensure!(launched >= count, "{launched} of {count}");
        Ok(())
    })
    .await?;
    let launches = gate.launches();
    ensure!(
        launches.len() == count,
        "{} launches for {count} requests",
        launches.len()
    );
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one day")]
    let latencies = launches
        .iter()
        .filter_map(|launch| {
            Some(
                launch
                    .at
                    .saturating_sub(name(launch.request_uid.as_deref()?)?) as f64,
            )
        })
        .collect();
    let done = if who == Who::Foredeck {
        Some(until_succeeded(&requests, begun, count).await?)
    } else {
        None
    };
    let measured = Measured { latencies, done };
    let gets: usize = [
        Operation::GetExecution,
        Operation::Batch,
        Operation::List,
        Operation::GetConfig,
        Operation::ListConfigs,
    ]
    .into_iter()
    .map(|operation| gate.count_calls(operation))
    .sum();
    let (memory, cpu) = worker.usage();
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let gets_each = gets as f64 / count as f64;
    println!(
        "{load:<10} {:<8} {:>6} {:>7.0} {:>7.0} {:>7.0} {:>9} {gets_each:>14.2} {:>9} {:>9}",
        if who == Who::Foredeck {
            "foredeck"
        } else {
            "naive"
        },
        launches.len(),
        measured.quantile(50),
        measured.quantile(90),
        measured.quantile(99),
        measured
            .done
            .map_or(String::new(), |done| format!("{:.1} s", done.as_secs_f64())),
        memory.map_or(String::new(), |memory| format!("{memory:.0}")),
        cpu.map_or(String::new(), |cpu| format!("{cpu:.1}")),
    );
    Ok(measured)
}

async fn until_succeeded(
    requests: &Api<DeployRequest>,
    begun: Instant,
    count: usize,
) -> Result<Duration> {
    wait_for("every request to succeed", PATIENCE, async || {
        let all = requests.list(&ListParams::default().match_any()).await?;
        let ended = |phase| {
            all.iter()
                .filter(|request| {
                    request.status.as_ref().and_then(|status| status.phase) == Some(phase)
                })
                .count()
        };
        ensure!(
            ended(Phase::Succeeded) == count,
            "{} of {count} succeeded, {} failed",
            ended(Phase::Succeeded),
            ended(Phase::Failed)
        );
        Ok(begun.elapsed())
    })
    .await
}

/// Creates them and says when each create call began, in milliseconds since 1970, by uid.
async fn create(
    requests: &Api<DeployRequest>,
    count: usize,
    rate: Option<usize>,
) -> Result<BTreeMap<String, u64>> {
    let parameters = PostParams::default();
    let one = async |index: usize| {
        let spec = json!({"application": "checkout", "environment": environment(index), "version": format!("v{index}")});
        let request: DeployRequest = named(&format!("request-{index}"), &spec)?;
        let at = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let created = requests.create(&parameters, &request).await?;
        anyhow::Ok((created.uid().unwrap_or_default(), at))
    };
    match rate {
        None => {
            stream::iter(0..count)
                .map(one)
                .buffer_unordered(32)
                .try_collect()
                .await
        }
        Some(rate) => {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate)?);
            let mut created = BTreeMap::new();
            for index in 0..count {
                ticks.tick().await;
                created.extend([one(index).await?]);
            }
            Ok(created)
        }
    }
}

async fn configure(client: &Client, namespace: &str, gate: &StandInGate) -> Result<()> {
    let pipeline = ["branch", "account", "namespace"]
        .into_iter()
        .fold(Pipeline::new("checkout", "Deploy"), |pipeline, name| {
            pipeline.parameter(Parameter::new(name).required())
        });
    gate.put_pipeline(
        pipeline
            .stage(Stage::wait("Bake", WORK / 2))
            .stage(Stage::deploy("Deploy", WORK / 2)),
    );
    let allow = json!({"applications": ["*"], "accounts": ["*"], "namespaces": ["*"]});
    make::<SpinnakerConnection>(
        client,
        namespace,
        "gate",
        json!({"gateUrl": gate.url(), "allow": allow}),
    )
    .await?;
    let deploy = json!({"pipeline": "Deploy", "parameters": {
        "branch": "{{ version }}", "account": "{{ target.account }}", "namespace": "{{ target.namespace }}",
    }});
    make::<Application>(
        client,
        namespace,
        "checkout",
        json!({"actions": {"deploy": deploy}}),
    )
    .await?;
    for index in 0..TARGETS {
        let target = json!({"account": "eks", "namespace": format!("shop-{index}")});
        make::<Environment>(
            client,
            namespace,
            &environment(index),
            json!({"connection": "gate", "target": target}),
        )
        .await?;
    }
    Ok(())
}

fn environment(index: usize) -> String {
    format!("environment-{}", index % TARGETS)
}

fn named<K>(name: &str, spec: &Value) -> Result<K>
where
    K: Resource<DynamicType = ()> + serde::de::DeserializeOwned,
{
    Ok(serde_json::from_value(
        json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec}),
    )?)
}

async fn make<K>(client: &Client, namespace: &str, name: &str, spec: Value) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
{
    Api::<K>::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &named(name, &spec)?)
        .await?;
    Ok(())
}

/// Whoever starts the executions.
enum Worker {
    Process(Child),
    Task(JoinHandle<Result<()>>),
}

impl Worker {
    async fn start(
        plane: &ControlPlane,
        client: &Client,
        namespace: &str,
        gate: &StandInGate,
        who: Who,
    ) -> Result<Self> {
        if who == Who::Naive {
            return Ok(Self::Task(tokio::spawn(naive(
                client.clone(),
                namespace.to_owned(),
                gate.url(),
            ))));
        }
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args([
                "controller",
                "--admin-listen",
                "off",
                "--namespace",
                namespace,
                "--lease-namespace",
                namespace,
                "--allow-gate-host",
                "127.0.0.1",
                "--admission-policies",
                &format!("{INSTALL}/admission.yaml"),
            ])
            .stdout(Stdio::null())
            .env("KUBECONFIG", plane.admin_kubeconfig())
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned()),
            )
            .stderr(Stdio::inherit())
            .spawn()
            .context("start foredeck")?;
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
            Api::namespaced(client.clone(), namespace);
        wait_for("the controller to lead", PATIENCE, async || {
            leases
                .get("foredeck-controller")
                .await
                .map(|_| ())
                .map_err(Into::into)
        })
        .await?;
        Ok(Self::Process(child))
    }

    /// Peak resident memory in MB, and CPU seconds so far; of a process only.
    fn usage(&mut self) -> (Option<f64>, Option<f64>) {
        let Self::Process(child) = self else {
            return (None, None);
        };
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap_or_default()
        };
        let memory = read("status")
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmHWM:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse::<f64>()
                    .ok()
            })
            .map(|kilobytes| kilobytes / 1024.0);
        // User and system time in ticks of 10 ms, behind the command's closing bracket.
        let stat = read("stat");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |index: usize| {
            fields
                .get(index)
                .and_then(|field| field.parse::<f64>().ok())
        };
        (
            memory,
            ticks(11)
                .zip(ticks(12))
                .map(|(user, system)| (user + system) / 100.0),
        )
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        match self {
            Self::Process(child) => {
                drop(child.kill());
                drop(child.wait());
            }
            Self::Task(task) => task.abort(),
        }
    }
}

/// Starts an execution for whatever it sees created. Killed once, it starts everything again.
async fn naive(client: Client, namespace: String, gate: String) -> Result<()> {
    let http = reqwest::Client::new();
    let config: Value = http
        .get(format!(
            "{gate}/applications/checkout/pipelineConfigs/Deploy"
        ))
        .send()
        .await?
        .json()
        .await?;
    let created = watcher(
        Api::<DeployRequest>::namespaced(client, &namespace),
        watcher::Config::default(),
    )
    .applied_objects();
    created
        .map_err(anyhow::Error::from)
        .try_for_each_concurrent(64, |request| {
            let (http, mut body, url) = (http.clone(), config.clone(), format!("{gate}/pipelines/start"));
            async move {
                let parameters = json!({"branch": request.spec.version, "account": "eks", "namespace": request.spec.environment});
                body["trigger"] = json!({"type": "manual", "parameters": parameters, "foredeck": {"uid": request.uid()}});
                http.post(url).json(&body).send().await?.error_for_status()?;
                Ok(())
            }
        })
        .await
}
