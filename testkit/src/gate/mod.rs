//! A stand-in for Spinnaker's Gate that behaves as Gate 2026.1.2 was observed to, wrong habits included.
//!
//! It vouches for foredeck where no real Spinnaker can run: it stores over what exists, forgets judgments that come too
//! early, answers 200 when it failed, and counts every start, so that a test can say "exactly one". Faults come from the
//! handle ([`StandInGate::inject`]). Touches a port of 127.0.0.1 and the clock.

mod answers;
mod artifacts;
mod call_log;
mod control;
mod execution;
mod faults;
mod intercept;
mod launch;
mod ledger;
mod operation;
mod parameters;
mod pipeline;
mod reads;
mod routes;

mod shared;
mod stages;
mod steps;
mod tls;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use rustls::ServerConfig;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

pub use self::artifacts::ExpectedArtifact;
pub use self::call_log::{Call, Recording};
pub use self::execution::Status;
pub use self::faults::{Effect, Fault};
pub use self::ledger::{Launch, LaunchKind};
pub use self::operation::Operation;
pub use self::pipeline::{FailurePlace, Parameter, Pipeline, Stage};
pub use self::shared::Authentication;
pub use self::tls::GateTls;
pub use self::world::Timing;

use self::shared::Shared;
use self::world::World;
use crate::server::{Server, Tally};

/// How long [`StandInGate::wait_for`] waits before it says what it saw instead.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running stand-in. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Debug, Clone)]
pub struct StandInGate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
    tally: Tally,
    tls: Option<watch::Sender<Arc<ServerConfig>>>,
}

impl StandInGate {
    /// Starts on a free port of 127.0.0.1, with quick timing.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(0, Timing::default()).await
    }

    /// Starts on the given port of 127.0.0.1 (0: a free one), with the given timing.
    pub async fn start_with(port: u16, timing: Timing) -> anyhow::Result<Self> {
        Self::listen(port, timing, None).await
    }

    async fn listen(
        port: u16,
        timing: Timing,
        tls: Option<watch::Sender<Arc<ServerConfig>>>,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::new(World::new(timing)));
        let router = routes::router(Arc::clone(&shared));
        let tally = Tally::default();
        let config = tls.as_ref().map(watch::Sender::subscribe);
        let server = Server::listen(port, router, config, tally.clone()).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                address: server.address,
                shared,
                server: Mutex::new(Some(server)),
                tally,
                tls,
            }),
        })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`; `https` on TLS. Stays the same over [`Self::stop`] and
    /// [`Self::restart`].
    pub fn url(&self) -> String {
        let scheme = match self.inner.tls {
            None => "http",
            Some(_) => "https",
        };
        format!("{scheme}://{}", self.inner.address)
    }

    /// Closes the port and every connection. Executions move on, as they do in Orca while Gate is down.
    pub async fn stop(&self) {
        let server = self.server().take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Listens again on the same port, with all data kept. Does nothing while it listens.
    pub async fn restart(&self) -> anyhow::Result<()> {
        if self.server().is_some() {
            return Ok(());
        }
        let router = routes::router(Arc::clone(&self.inner.shared));
        let config = self.inner.tls.as_ref().map(watch::Sender::subscribe);
        let (port, tally) = (self.inner.address.port(), self.inner.tally.clone());
        let server = Server::listen(port, router, config, tally).await?;
        *self.server() = Some(server);
        Ok(())
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Server>> {
        self.inner
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets every call hang without effect or answer, from now on or no more.
    pub fn set_hanging(&self, hanging: bool) {
        self.inner.shared.hanging.store(hanging, Ordering::SeqCst);
    }

    /// Takes Orca down, or up again: Gate answers 500 "Failed to connect to …" and does nothing.
    pub fn set_orca_down(&self, down: bool) {
        self.inner.shared.orca_down.store(down, Ordering::SeqCst);
    }

    /// Sets whom it lets in.
    pub fn set_authentication(&self, authentication: Authentication) {
        *self.inner.shared.authentication() = authentication;
    }

    /// Tells who has which roles, so that judgment stages that name some take no answer from anybody else. Until then
    /// nobody is asked for one, as where Spinnaker runs without authorisation.
    pub fn set_roles<'a>(&self, roles: impl IntoIterator<Item = (&'a str, &'a [&'a str])>) {
        let owned = |roles: &[&str]| roles.iter().map(ToString::to_string).collect();
        let roles = roles
            .into_iter()
            .map(|(user, roles)| (user.to_owned(), owned(roles)))
            .collect();
        self.inner.shared.world().roles = Some(roles);
    }

    /// Changes how long things take, for what happens from now on.
    pub fn set_timing(&self, timing: Timing) {
        self.inner.shared.world().timing = timing;
    }

    // Pipeline configs.

    /// Stores a pipeline and returns its config id.
    pub fn put_pipeline(&self, pipeline: Pipeline) -> String {
        self.put_config(pipeline.into_json())
    }

    /// Stores a config as JSON and returns its id.
    pub fn put_config(&self, config: Value) -> String {
        self.inner.shared.world().put_config(config)
    }

    /// A config as it is stored.
    pub fn config(&self, config_id: &str) -> Option<Value> {
        self.inner.shared.world().configs.get(config_id).cloned()
    }

    /// Disables or enables a pipeline. Returns whether it exists.
    pub fn set_disabled(&self, config_id: &str, disabled: bool) -> bool {
        let mut world = self.inner.shared.world();
        match world.configs.get_mut(config_id) {
            Some(Value::Object(config)) => {
                config.insert("disabled".to_owned(), json!(disabled));
                true
            }
            _ => false,
        }
    }

    /// Disables a pipeline. Returns whether it exists.
    pub fn disable(&self, config_id: &str) -> bool {
        self.set_disabled(config_id, true)
    }

    /// Removes a config. Returns whether it existed.
    pub fn remove_config(&self, config_id: &str) -> bool {
        let mut world = self.inner.shared.world();
        world.configs.remove(config_id).is_some()
    }

    // Executions.

    /// An execution as Gate shows it, past faults and hiding.
    pub fn execution(&self, id: &str) -> Option<Value> {
        let world = self.inner.shared.world();
        let execution = world.executions.get(id)?;
        Some(execution.to_json(true))
    }

    /// An execution's status.
    pub fn status(&self, id: &str) -> Option<Status> {
        let world = self.inner.shared.world();
        world.executions.get(id).map(|execution| execution.status)
    }

    /// How many executions are stored.
    pub fn execution_count(&self) -> usize {
        self.inner.shared.world().executions.len()
    }

    /// Waits until an execution has the status, at most ten seconds, and returns it as JSON.
    pub async fn wait_for(&self, id: &str, status: Status) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.status(id);
            if seen == Some(status) {
                return Ok(self.execution(id).unwrap_or_default());
            }
            if Instant::now() >= deadline {
                let whole = self.execution(id).unwrap_or_default();
                bail!("execution {id} is {seen:?} and not {status:?} after {PATIENCE:?}: {whole}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Makes a finished execution run again, as a stage's restart in Deck does. Returns whether it was finished.
    pub fn restart_finished(&self, id: &str) -> bool {
        let mut world = self.inner.shared.world();
        let now = world.now();
        world.restart_finished(id, now)
    }

    /// Wipes an execution and runs it again, as a second start of its id does; counts as a launch.
    pub fn rerun(&self, id: &str) -> bool {
        let mut world = self.inner.shared.world();
        let now = world.now();
        world.rerun(id, now)
    }

    /// Removes an execution, as Orca's cleanup does. Returns whether it existed.
    pub fn forget(&self, id: &str) -> bool {
        self.inner.shared.world().forget(id)
    }

    /// Removes every complete execution and returns how many; keeps the memory of a long bench bounded.
    pub fn forget_complete(&self) -> usize {
        let mut world = self.inner.shared.world();
        let complete: Vec<String> = world
            .executions
            .values()
            .filter(|execution| execution.status.is_complete())
            .map(|execution| execution.id.clone())
            .collect();
        for id in &complete {
            world.forget(id);
        }
        complete.len()
    }

    /// Sets an execution's status and leaves its stages as they are.
    pub fn set_status(&self, id: &str, status: Status) -> bool {
        let mut world = self.inner.shared.world();
        let now = world.now();
        world.set_status(id, status, now)
    }

    /// Ends everything that is left of an execution as SUCCEEDED.
    pub fn finish(&self, id: &str) -> bool {
        let mut world = self.inner.shared.world();
        let now = world.now();
        world.finish(id, now)
    }

    /// Cancels an execution, as somebody in Deck does.
    pub fn cancel(&self, id: &str, by: &str, reason: &str) -> bool {
        let mut world = self.inner.shared.world();
        let now = world.now();
        world.cancel(id, by, Some(reason), now)
    }

    /// Answers the judgment that waits, as somebody in Deck does: `continue` or `stop`. Returns whether one waited.
    pub fn judge(&self, id: &str, verdict: &str, by: &str) -> bool {
        let mut world = self.inner.shared.world();
        let now = world.now();
        let Some(stage) = world.waiting_judgment(id) else {
            return false;
        };
        let mut patch = Map::new();
        patch.insert("judgmentStatus".to_owned(), json!(verdict));
        world.patch_stage(id, &stage, &patch, by, now);
        true
    }

    /// Hides an execution from reads for this long, as a replica that lags does.
    pub fn hide(&self, id: &str, time: Duration) -> bool {
        let mut world = self.inner.shared.world();
        let until = world.now() + world::milliseconds(time);
        world
            .change(id, |_, execution| execution.hidden_until = until)
            .is_some()
    }

    // Faults.

    /// Puts a fault in the way of calls to come; of several that match, the first put in befalls.
    pub fn inject(&self, fault: Fault) {
        self.inner.shared.faults().add(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.inner.shared.faults().clear();
    }

    /// How many faults are still to befall a call, permanent ones included.
    pub fn pending_faults(&self) -> usize {
        self.inner.shared.faults().pending()
    }

    // Records.

    /// Every launch of work that was asked for, oldest first: what a client started, wipes of one id included; without
    /// children of `pipeline` stages and records of disabled pipelines.
    pub fn launches(&self) -> Vec<Launch> {
        self.launches_where(|launch| matches!(launch.kind, LaunchKind::New | LaunchKind::Wiped))
    }

    /// Everything that was stored, children and TERMINAL records of disabled pipelines included.
    pub fn stored_starts(&self) -> Vec<Launch> {
        self.launches_where(|_| true)
    }

    /// The launches of one request: those with its `trigger.foredeck.uid`, or without one and with this correlation id.
    pub fn launches_of(&self, request: &str) -> Vec<Launch> {
        self.launches()
            .into_iter()
            .filter(|launch| {
                let name = launch
                    .request_uid
                    .as_ref()
                    .or(launch.correlation_id.as_ref());
                name.is_some_and(|name| name == request)
            })
            .collect()
    }

    fn launches_where(&self, wanted: impl Fn(&Launch) -> bool) -> Vec<Launch> {
        let world = self.inner.shared.world();
        let launches = world.ledger.launches.iter();
        launches.filter(|launch| wanted(launch)).cloned().collect()
    }

    /// The most executions that ran at the same time, by key: `<config id>/<account>/<namespace>` from the parameters
    /// `account` and `namespace` (`-` when absent), and `target/<trigger.foredeck.target>`. Paused ones count, those
    /// that wait for their turn do not.
    pub fn peak_concurrency(&self) -> BTreeMap<String, usize> {
        self.inner.shared.world().ledger.peaks()
    }

    /// The recorded calls, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.shared.log().calls()
    }

    /// The recorded calls of one operation, oldest first.
    pub fn calls_of(&self, operation: Operation) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.operation == operation);
        calls
    }

    /// How many calls of an operation came, dropped ones included; [`Operation::Any`] counts all.
    pub fn count_calls(&self, operation: Operation) -> usize {
        self.inner.shared.log().count(operation)
    }

    /// Sets how much of the calls is kept.
    pub fn set_recording(&self, recording: Recording) {
        self.inner.shared.log().set_recording(recording);
    }

    /// How many connections were made, those with a failed handshake included. [`Call::connection`] tells them apart.
    pub fn connections(&self) -> u64 {
        self.inner.tally.connections()
    }

    /// Forgets calls, launches and peaks; executions and configs stay.
    pub fn reset_log(&self) {
        self.inner.shared.log().reset();
        self.inner.shared.world().ledger.reset();
    }
}
