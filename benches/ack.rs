//! From a command or a click to its answer, with the request persisted in between: the real binary on a real API server
//! by signed HTTP, next to the bare create of the same object on the same API server, in the same run.
//!
//! `cargo bench --bench ack`. Open loop: what is due is sent, whether or not anything was answered, and counted from the
//! moment at which it was due. Nothing here asserts a time.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use foredeck::api::{Application, DeployRequest, Environment};
use foredeck_testkit::{ControlPlane, StandInSlack, wait_for};
use hmac::{Hmac, KeyInit, Mac};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use sha2::Sha256;

/// How long each rate is kept up.
const DURATION: Duration = Duration::from_secs(10);
/// Commands, clicks and creates a second.
const RATES: [u32; 3] = [20, 100, 300];
const PATIENCE: Duration = Duration::from_mins(1);
/// The person who asks.
const USERNAME: &str = "alice@harbor.example";

#[tokio::main]
async fn main() -> Result<()> {
    foredeck::runtime::tls::install();
    let plane = ControlPlane::start().await?;
    plane.install_crds(&foredeck::api::crds()).await?;
    println!(
        "latencies in ms from the moment at which it was due to its answer; {} s of each\n",
        DURATION.as_secs()
    );
    println!(
        "{:<7} {:<20} {:>6} {:>8} {:>8} {:>8} {:>10} {:>10}",
        "load", "what", "done", "p50", "p90", "p99", "RSS MB", "CPU ms each"
    );
    for rate in RATES {
        let bare = bare(&plane, rate).await?;
        bare.print(rate, "bare create");
        let (commands, clicks) = receiver(&plane, rate).await?;
        commands.print(rate, "command to answer");
        clicks.print(rate, "click to answer");
        for (what, measured) in [("command", &commands), ("click", &clicks)] {
            println!(
                "{:<7} {:<20} {:>6} {:>8.2} {:>8.2} {:>8.2}",
                "",
                format!("{what} / bare create"),
                "",
                measured.quantile(50) / bare.quantile(50),
                measured.quantile(90) / bare.quantile(90),
                measured.quantile(99) / bare.quantile(99),
            );
        }
        println!();
    }
    Ok(())
}

struct Measured {
    latencies: Vec<f64>,
    memory: Option<f64>,
    cpu_each: Option<f64>,
}

impl Measured {
    fn quantile(&self, percent: usize) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted
            .get(last * percent / 100)
            .copied()
            .unwrap_or(f64::NAN)
    }

    fn print(&self, rate: u32, what: &str) {
        let number =
            |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.1}"));
        println!(
            "{:<7} {what:<20} {:>6} {:>8.2} {:>8.2} {:>8.2} {:>10} {:>10}",
            format!("{rate}/s"),
            self.latencies.len(),
            self.quantile(50),
            self.quantile(90),
            self.quantile(99),
            number(self.memory),
            number(self.cpu_each),
        );
    }
}

/// Does `one` so many times, `rate` a second, and says how long each took from when it was due.
async fn open_loop<Work>(rate: u32, count: u32, one: impl Fn(u32) -> Work) -> Result<Vec<f64>>
where
    Work: Future<Output = Result<()>> + Send + 'static,
{
    let begun = Instant::now() + Duration::from_millis(100);
    let mut all = tokio::task::JoinSet::new();
    for index in 0..count {
        let due = begun + Duration::from_secs(1) / rate * index;
        tokio::time::sleep_until(due.into()).await;
        let work = one(index);
        all.spawn(async move {
            work.await?;
            anyhow::Ok(due.elapsed().as_secs_f64() * 1_000.0)
        });
    }
    let mut latencies = Vec::new();
    while let Some(latency) = all.join_next().await {
        latencies.push(latency??);
    }
    Ok(latencies)
}

fn count(rate: u32) -> u32 {
    rate * u32::try_from(DURATION.as_secs()).unwrap_or(1)
}

/// The floor: what a client of the API server waits for one create.
async fn bare(plane: &ControlPlane, rate: u32) -> Result<Measured> {
    let namespace = plane.namespace("bare").await?;
    let requests: Api<DeployRequest> = Api::namespaced(plane.admin(), &namespace);
    let latencies = open_loop(rate, count(rate), |index| {
        let requests = requests.clone();
        async move {
            let spec = json!({
                "application": "checkout", "environment": "staging", "version": format!("v{index}"),
                "requester": {"username": USERNAME, "slack": {"team": "T0001", "user": "U0001"}},
                "notify": {"slack": {"channel": "C0001"}},
            });
            let request: DeployRequest = named(&format!("request-{index}"), &spec)?;
            requests.create(&PostParams::default(), &request).await?;
            Ok(())
        }
    })
    .await?;
    Ok(Measured {
        latencies,
        memory: None,
        cpu_each: None,
    })
}

/// Commands where none is to be confirmed; then clicks on buttons shown before.
async fn receiver(plane: &ControlPlane, rate: u32) -> Result<(Measured, Measured)> {
    let client = plane.admin();
    let namespace = plane.namespace("receiver").await?;
    configure(&client, &namespace).await?;
    let slack = StandInSlack::start().await?;
    let receiver = Arc::new(Receiver::start(plane, &namespace, &slack).await?);
    let requests: Api<DeployRequest> = Api::namespaced(client, &namespace);

    // People, rights and connections are remembered by whoever has worked for a moment.
    receiver
        .command("warm", "/deploy", "checkout warm to free")
        .await?;
    let before = receiver.cpu();
    let total = count(rate);
    let latencies = open_loop(rate, total, |index| {
        let receiver = receiver.clone();
        async move {
            let text = format!("checkout v{index} to free");
            let answer = receiver
                .command(&format!("command-{index}"), "/deploy", &text)
                .await?;
            ensure!(answer.to_string().contains("Accepted"), "{answer}");
            Ok(())
        }
    })
    .await?;
    let commands = receiver.measured(latencies, before, total);
    persisted(&requests, "free", total as usize + 1).await?;

    let mut buttons = Vec::new();
    for index in 0..total {
        let text = format!("checkout v{index} to careful");
        let answer = receiver
            .command(&format!("plan-{index}"), "/deploy", &text)
            .await?;
        buttons.push(plan(&answer).with_context(|| format!("no plan to confirm: {answer}"))?);
    }
    let buttons = Arc::new(buttons);
    let before = receiver.cpu();
    let latencies = open_loop(rate, total, |index| {
        let (receiver, buttons) = (receiver.clone(), buttons.clone());
        async move { receiver.click(index, &buttons[index as usize]).await }
    })
    .await?;
    let clicks = receiver.measured(latencies, before, total);
    persisted(&requests, "careful", total as usize).await?;
    Ok((commands, clicks))
}

/// What was answered "accepted" is in the API server.
async fn persisted(requests: &Api<DeployRequest>, environment: &str, count: usize) -> Result<()> {
    let selector = ListParams::default().fields(&format!("spec.environment={environment}"));
    let found = requests.list(&selector).await?.items.len();
    ensure!(
        found == count,
        "{found} requests for {environment}, not {count}"
    );
    Ok(())
}

async fn configure(client: &Client, namespace: &str) -> Result<()> {
    make::<Application>(
        client,
        namespace,
        "checkout",
        json!({"actions": {"deploy": {"pipeline": "Deploy"}}}),
    )
    .await?;
    for (name, confirm) in [("free", "Never"), ("careful", "Always")] {
        let target = json!({"account": "eks", "namespace": name});
        let protection = json!({"confirm": confirm});
        make::<Environment>(
            client,
            namespace,
            name,
            json!({"connection": "gate", "target": target, "protection": protection}),
        )
        .await?;
    }
    let rules = json!([{"apiGroups": ["foredeck.dev"], "resources": ["*"], "verbs": ["*"]}]);
    let reference =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "everything"});
    let subjects =
        json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USERNAME}]);
    let role: k8s_openapi::api::rbac::v1::Role =
        serde_json::from_value(json!({"metadata": {"name": "everything"}, "rules": rules}))?;
    let binding: k8s_openapi::api::rbac::v1::RoleBinding = serde_json::from_value(
        json!({"metadata": {"name": "everything"}, "roleRef": reference, "subjects": subjects}),
    )?;
    Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &role)
        .await?;
    Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &binding)
        .await?;
    Ok(())
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

/// The value of the button that confirms a plan, somewhere in the answer.
fn plan(answer: &Value) -> Option<String> {
    match answer {
        Value::Array(items) => items.iter().find_map(plan),
        Value::Object(fields)
            if fields.get("action_id").and_then(Value::as_str) == Some("plan-deploy") =>
        {
            Some(fields.get("value")?.as_str()?.to_owned())
        }
        Value::Object(fields) => fields.values().find_map(plan),
        _ => None,
    }
}

/// The real binary, and a person who signs as Slack does.
struct Receiver {
    child: Child,
    http: reqwest::Client,
    base: String,
    signing_secret: String,
    team: String,
    user: String,
    channel: String,
    app: String,
    slack: String,
}

impl Receiver {
    async fn start(plane: &ControlPlane, namespace: &str, slack: &StandInSlack) -> Result<Self> {
        let (listen, admin) = (free_port()?, free_port()?);
        let child = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args(["receiver", "--namespace", namespace, "--slack-mode", "http"])
            .args(["--listen", &format!("127.0.0.1:{listen}")])
            .args(["--home-namespace", namespace])
            .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
            .env("KUBECONFIG", plane.admin_kubeconfig())
            .env("SLACK_API_URL", slack.api_url())
            .env("SLACK_BOT_TOKEN", slack.bot_token())
            .env("SLACK_SIGNING_SECRET", slack.signing_secret())
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned()),
            )
            .stderr(Stdio::inherit())
            .spawn()
            .context("start foredeck")?;
        let receiver = Self {
            child,
            http: reqwest::Client::new(),
            base: format!("http://127.0.0.1:{listen}"),
            signing_secret: slack.signing_secret(),
            team: slack.team_id(),
            user: slack
                .world(|world| world.user("alice").map(|user| user.id.clone()))
                .context("nobody is called alice")?,
            channel: slack.channel("general")?.id,
            app: slack.app_id(),
            slack: slack.url(),
        };
        wait_for("the receiver to be ready", PATIENCE, async || {
            let answer = receiver
                .http
                .get(format!("http://127.0.0.1:{admin}/readyz"))
                .send()
                .await?;
            answer.error_for_status().map(|_| ()).map_err(Into::into)
        })
        .await?;
        Ok(receiver)
    }

    async fn command(&self, trigger: &str, command: &str, text: &str) -> Result<Value> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("team_id", &self.team)
            .append_pair("channel_id", &self.channel)
            .append_pair("channel_name", "general")
            .append_pair("user_id", &self.user)
            .append_pair("api_app_id", &self.app)
            .append_pair("command", command)
            .append_pair("text", text)
            .append_pair("trigger_id", trigger)
            .append_pair(
                "response_url",
                &format!("{}/response/{trigger}", self.slack),
            )
            .finish();
        let answer = self.post("/slack/commands", form).await?;
        serde_json::from_str(&answer).with_context(|| format!("no message: {answer}"))
    }

    async fn click(&self, index: u32, value: &str) -> Result<()> {
        let payload = json!({
            "type": "block_actions",
            "user": {"id": self.user, "team_id": self.team, "username": "alice"},
            "team": {"id": self.team, "domain": "corp"},
            "api_app_id": self.app,
            "trigger_id": format!("click-{index}"),
            "container": {"type": "message", "message_ts": "1700000000.000100", "channel_id": self.channel, "is_ephemeral": true},
            "channel": {"id": self.channel, "name": "general"},
            "state": {"values": {}},
            "actions": [{"type": "button", "action_id": "plan-deploy", "block_id": "plan", "value": value, "action_ts": format!("1700000001.{index:06}")}],
        });
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload.to_string())
            .finish();
        self.post("/slack/interactivity", form).await.map(|_| ())
    }

    async fn post(&self, path: &str, body: String) -> Result<String> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut mac = Hmac::<Sha256>::new_from_slice(self.signing_secret.as_bytes())?;
        mac.update(format!("v0:{at}:{body}").as_bytes());
        let signature = mac
            .finalize()
            .into_bytes()
            .iter()
            .fold("v0=".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-request-timestamp", at.to_string())
            .header("x-slack-signature", signature)
            .body(body)
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{status}: {text}");
        Ok(text)
    }

    fn measured(&self, latencies: Vec<f64>, before: f64, count: u32) -> Measured {
        let status = self.read("status");
        let memory = status.lines().find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<f64>()
                .ok()
        });
        Measured {
            latencies,
            memory: memory.map(|kilobytes| kilobytes / 1024.0),
            cpu_each: Some((self.cpu() - before) * 1_000.0 / f64::from(count)),
        }
    }

    /// User and system time so far, in seconds: ticks of 10 ms, behind the command's closing bracket.
    fn cpu(&self) -> f64 {
        let stat = self.read("stat");
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
                .unwrap_or_default()
        };
        (ticks(11) + ticks(12)) / 100.0
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
