//! The process around a role: logs, signals, admin server, API server, and the Lease of a role of which one works at a
//! time. Touches all of them.

use std::{future::pending, pin::pin, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use kube::Client;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::values::{self, AdminListen};
use crate::runtime::{
    admin::{AdminServer, Readiness},
    cache::Scope,
    client,
    crash::{self, CrashAt},
    health::{self, Needs},
    lease::{Claim, Lease, LeaseError, LeaseSettings, unique_holder},
    metrics::Metrics,
    shutdown,
    telemetry::{self, LogFormat},
    traces,
};

/// How long what had begun may take to end after the signal. Everything has a deadline of its own and ends sooner; this
/// is shorter than the 45 s after which Kubernetes kills, so that what still hangs is told.
const LEAVE_WITHIN: Duration = Duration::from_secs(40);

/// How long what had begun may take to end once the Lease is lost: a call to Spinnaker, and writing down what came of it.
/// Shorter than [`LEAVE_WITHIN`], so that the process ends with the Lease's own error.
const END_WITHIN: Duration = Duration::from_secs(30);

/// What every role takes.
#[derive(Args, Debug)]
pub(super) struct ProcessArguments {
    /// Namespace to work in; repeat it or separate with commas for several. All when left out
    #[arg(long = "namespace", value_name = "NAME", env = "FOREDECK_NAMESPACE", value_delimiter = ',', value_parser = values::namespace)]
    pub(super) namespaces: Vec<String>,

    /// Where /livez, /readyz and /metrics answer, or `off`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "FOREDECK_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090"
    )]
    pub(super) admin_listen: AdminListen,

    /// How log lines look; `RUST_LOG` says which there are
    #[arg(long, value_enum, env = "FOREDECK_LOG_FORMAT", default_value_t)]
    pub(super) log_format: LogFormat,

    /// Collector that traces are sent to by OTLP over HTTP (`http://collector:4318`); none are made when left out
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(super) otlp_endpoint: Option<String>,

    /// Abort at a crash point, the N-th time it is passed
    #[arg(long, hide = true, value_name = "POINT[@N]")]
    pub(super) test_crash_at: Option<CrashAt>,

    /// Tell each crash point passed on stderr
    #[arg(long, hide = true)]
    pub(super) test_list_crash_points: bool,
}

/// Where the Leases are, of the roles of which one works at a time.
#[derive(Args, Clone, Debug)]
pub(super) struct LeaseArguments {
    /// Namespace of the Leases
    #[arg(long, value_name = "NAME", env = "FOREDECK_LEASE_NAMESPACE", default_value = "foredeck-system", value_parser = values::namespace)]
    pub(super) lease_namespace: String,

    /// How long others leave the Lease of a dead process alone; whole seconds
    #[arg(long, value_name = "DURATION", env = "FOREDECK_LEASE_DURATION", default_value = "15s", value_parser = values::duration)]
    pub(super) lease_duration: Duration,
}

/// What a role works with.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) client: Client,
    /// A connection of its own: a renewal must not stand in line behind our own work.
    leases: Client,
    pub(super) readiness: Readiness,
    pub(super) metrics: Metrics,
    pub(super) shutdown: CancellationToken,
    pub(super) namespaces: Vec<String>,
    leaders: Family<LeaseName, Gauge>,
}

/// Which Lease.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct LeaseName {
    lease: String,
}

impl Process {
    /// One that asks, and does no role's work: nobody scrapes it or waits for it.
    pub(super) fn asking(client: Client) -> Self {
        Self {
            leases: client.clone(),
            client,
            readiness: Readiness::default(),
            metrics: Metrics::default(),
            shutdown: CancellationToken::new(),
            namespaces: Vec::new(),
            leaders: Family::default(),
        }
    }

    /// Where it works.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        Scope::of(&self.namespaces)
    }

    /// Works, and looks meanwhile whether what that needs is there.
    pub(super) async fn needing<T>(&self, needs: Needs, work: impl Future<Output = T>) -> T {
        let (client, readiness) = (self.client.clone(), self.readiness.clone());
        tokio::select! {
            done = work => done,
            never = health::keep(client, needs, readiness, self.metrics.watches().clone()) => match never {},
        }
    }

    /// The same process as another user, which takes the right to impersonate it.
    pub(super) async fn acting_as(&self, user: String) -> anyhow::Result<Self> {
        Ok(Self {
            client: client::connect_as(Some(user.clone())).await?,
            leases: client::connect_as(Some(user)).await?,
            ..self.clone()
        })
    }

    /// Does it, unless a signal comes first.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.shutdown.run_until_cancelled(work).await
    }
}

/// Runs `work` until a signal has been answered and everything drained (`Ok`), or until the process must end. It isn't ready
/// before `work` has opened these gates.
pub(super) async fn run<Work>(
    role: &'static str,
    arguments: ProcessArguments,
    gates: &[&'static str],
    work: impl FnOnce(Process) -> Work,
) -> anyhow::Result<()>
where
    Work: Future<Output = anyhow::Result<()>>,
{
    telemetry::install(arguments.log_format)?;
    crash::install(arguments.test_crash_at, arguments.test_list_crash_points)?;
    let shutdown = shutdown::on_signals().context("can't listen for signals")?;
    let readiness = Readiness::default();
    readiness.expect(gates);
    let metrics = Metrics::default();
    let leaders = metrics.register(|registry| {
        let leaders = Family::<LeaseName, Gauge>::default();
        let help = "Whether this process holds the Lease: 1 where it does";
        registry.register("leader", help, leaders.clone());
        leaders
    });
    let collector = traces::of(role, arguments.otlp_endpoint.as_deref(), &metrics)?;
    let server = match arguments.admin_listen {
        AdminListen::At(address) => Some(AdminServer::bind(address).await?),
        AdminListen::Off => None,
    };
    // Probes and scrapes are answered to the very end, hence no token of its own.
    let admin = {
        let (readiness, metrics) = (readiness.clone(), metrics.clone());
        async {
            match server {
                Some(server) => {
                    server
                        .serve(readiness, metrics, CancellationToken::new())
                        .await
                }
                None => pending().await,
            }
        }
    };
    let (asked, said) = (shutdown.clone(), readiness.clone());
    let working = async {
        let process = Process {
            client: client::connect().await?,
            leases: client::connect().await?,
            readiness,
            metrics,
            shutdown,
            namespaces: arguments.namespaces,
            leaders,
        };
        work(process).await
    };
    let leaving = async {
        asked.cancelled().await;
        // Whoever sends people here is told first of all; liveness and metrics go on.
        said.gate("shutdown").not_ready("asked to stop");
        sleep(LEAVE_WITHIN).await;
    };
    let outcome = tokio::select! {
        outcome = working => outcome,
        outcome = admin => outcome.map_err(Into::into),
        () = leaving => Err(anyhow!("what had begun did not end within {} s of the signal; it is found again by whoever works next", LEAVE_WITHIN.as_secs())),
    };
    if let Some(collector) = collector {
        collector.leave().await;
    }
    outcome
}

/// Waits for the Lease of that name, works while it is held, and gives it back when everything has drained. Once it is lost
/// the whole process is asked to end, and ends with that error when what had begun has ended.
///
/// Of the two readiness gates the first is open once the Lease's state is known, and the second is the work's own, closed
/// from when it is to work: who waits for the Lease is as ready as it can be.
pub(super) async fn under_lease<Work, E>(
    process: &Process,
    (gate, works): (&'static str, &'static str),
    lease: LeaseArguments,
    name: String,
    work: impl FnOnce(Claim) -> Work,
) -> anyhow::Result<()>
where
    Work: Future<Output = Result<(), E>>,
    E: Into<anyhow::Error>,
{
    let known = process.readiness.gate(gate);
    let settings = LeaseSettings::new(lease.lease_namespace, name, unique_holder())
        .lasting(lease.lease_duration);
    let drained = CancellationToken::new();
    let leads = process.leaders.get_or_create_owned(&LeaseName {
        lease: settings.name().to_owned(),
    });
    let (claim, mut lease) = Lease::new(process.leases.clone(), settings)?.hold(drained.clone());
    let held = async {
        claim.observed().await?;
        if claim.is_current() {
            process.readiness.expect(&[works]);
        }
        known.ready();
        claim.held().await?;
        process.readiness.expect(&[works]);
        leads.set(1);
        Ok::<_, LeaseError>(())
    };
    let _ending = Leading(&leads);
    tokio::select! {
        biased;
        () = process.shutdown.cancelled() => {}
        Ok(()) = held => {
            let mut work = pin!(work(claim.clone()));
            tokio::select! {
                // An error may leave work behind: the Lease then runs out by itself, once this process has ended.
                outcome = &mut work => outcome.map_err(Into::into)?,
                lost = &mut lease => {
                    leads.set(0);
                    end_what_began(&process.shutdown, work).await;
                    return ended(lost);
                }
            }
        }
        lost = &mut lease => return ended(lost),
    }
    drained.cancel();
    lease
        .await
        .context("the task that keeps the lease broke down")??;
    Ok(())
}

/// Without the Lease nothing new begins, in no role of this process; but to cut off a call to Spinnaker or Slack would leave
/// unknown what came of it. What had begun is written down under the guard of the versions that it was decided on.
async fn end_what_began(shutdown: &CancellationToken, work: impl Future) {
    shutdown.cancel();
    tracing::warn!("nothing more begins without the lease; what had begun may end");
    if timeout(END_WITHIN, work).await.is_err() {
        tracing::warn!(
            "what had begun did not end within {} s of the lease's loss; it is found again by whoever works next",
            END_WITHIN.as_secs()
        );
    }
}

/// However the work ends, it leads no more.
struct Leading<'a>(&'a Gauge);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

/// The lease's task ended by itself: nothing more may be done here.
fn ended(outcome: Result<Result<(), LeaseError>, tokio::task::JoinError>) -> anyhow::Result<()> {
    outcome.context("the task that keeps the lease broke down")??;
    Err(LeaseError::Ended.into())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_had_begun_ends_though_the_lease_is_lost_and_nothing_more_begins() {
        let shutdown = CancellationToken::new();
        let (asked, mut done) = (shutdown.clone(), false);
        let work = async {
            asked.cancelled().await;
            sleep(Duration::from_secs(20)).await;
            done = true;
        };
        end_what_began(&shutdown, work).await;
        assert!(done);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_holds_up_no_process_that_lost_its_lease() {
        let began = Instant::now();
        end_what_began(&CancellationToken::new(), pending::<()>()).await;
        assert!(began.elapsed() < LEAVE_WITHIN, "{:?}", began.elapsed());
    }
}
