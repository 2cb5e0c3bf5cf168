//! `foredeck controller`: its flags, and the process around [`crate::controller`]: logs, signals, client, admin server,
//! Lease. Touches the API server through them.

use std::{future::pending, time::Duration};

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::values::{self, AdminListen};
use crate::controller::{self, ControllerSettings};
use crate::runtime::{
    admin::{AdminServer, Readiness},
    client,
    crash::{self, CrashAt},
    lease::{Lease, LeaseError, LeaseSettings, unique_holder},
    metrics::Metrics,
    shutdown,
    telemetry::{self, LogFormat},
};

#[derive(Args, Debug)]
pub(super) struct ControllerArguments {
    /// Namespace to work in; repeat it or separate with commas for several. All when left out
    #[arg(long = "namespace", value_name = "NAME", env = "FOREDECK_NAMESPACE", value_delimiter = ',', value_parser = values::namespace)]
    namespaces: Vec<String>,

    /// Where /livez, /readyz and /metrics answer, or `off`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "FOREDECK_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090"
    )]
    admin_listen: AdminListen,

    /// How log lines look; `RUST_LOG` says which there are
    #[arg(long, value_enum, env = "FOREDECK_LOG_FORMAT", default_value_t)]
    log_format: LogFormat,

    /// Lease that keeps two controllers from working at once: the same for all that share an API server
    #[arg(
        long,
        value_name = "NAME",
        env = "FOREDECK_LEASE_NAME",
        default_value = "foredeck-controller"
    )]
    lease_name: String,

    /// Namespace of the Lease
    #[arg(long, value_name = "NAME", env = "FOREDECK_LEASE_NAMESPACE", default_value = "foredeck-system", value_parser = values::namespace)]
    lease_namespace: String,

    /// How long others leave the Lease of a dead controller alone; whole seconds
    #[arg(long, value_name = "DURATION", env = "FOREDECK_LEASE_DURATION", default_value = "15s", value_parser = values::duration)]
    lease_duration: Duration,

    /// Post again after an unknown outcome sooner than is safe against a real Spinnaker
    #[arg(long, hide = true, value_name = "DURATION", value_parser = values::duration)]
    test_minimum_settle: Option<Duration>,

    /// Look at configuration that is in order again after this time
    #[arg(long, hide = true, value_name = "DURATION", value_parser = values::duration)]
    test_refresh: Option<Duration>,

    /// Abort at a crash point, the N-th time it is passed
    #[arg(long, hide = true, value_name = "POINT[@N]")]
    test_crash_at: Option<CrashAt>,

    /// Tell each crash point passed on stderr
    #[arg(long, hide = true)]
    test_list_crash_points: bool,
}

/// Runs until a signal has been answered and everything drained (`Ok`), or until the process must end.
pub(super) async fn run(arguments: ControllerArguments) -> anyhow::Result<()> {
    telemetry::install(arguments.log_format)?;
    crash::install(
        arguments.test_crash_at.clone(),
        arguments.test_list_crash_points,
    )?;
    let shutdown = shutdown::on_signals().context("can't listen for signals")?;
    let readiness = Readiness::default();
    let metrics = Metrics::default();
    let server = match arguments.admin_listen {
        AdminListen::At(address) => Some(AdminServer::bind(address).await?),
        AdminListen::Off => None,
    };
    // Probes and scrapes are answered to the very end, hence no token of its own.
    let admin = async {
        match server {
            Some(server) => {
                server
                    .serve(readiness.clone(), metrics.clone(), CancellationToken::new())
                    .await
            }
            None => pending().await,
        }
    };
    tokio::select! {
        outcome = work(arguments, &readiness, &metrics, shutdown) => outcome,
        outcome = admin => Ok(outcome?),
    }
}

/// Waits for the Lease, works while it is held, and gives it back when everything has drained.
async fn work(
    arguments: ControllerArguments,
    readiness: &Readiness,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let known = readiness.gate("lease");
    let client = client::connect().await?;
    let settings = LeaseSettings::new(
        arguments.lease_namespace,
        arguments.lease_name,
        unique_holder(),
    )
    .lasting(arguments.lease_duration);
    let drained = CancellationToken::new();
    let (claim, mut lease) = Lease::new(client.clone(), settings)?.hold(drained.clone());
    let held = async {
        claim.observed().await?;
        known.ready();
        claim.held().await
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        Ok(()) = held => {
            let settings = ControllerSettings {
                namespaces: arguments.namespaces,
                minimum_settle: arguments.test_minimum_settle,
                refresh: arguments.test_refresh,
            };
            let controller = controller::run(settings, client, claim.clone(), readiness.clone(), metrics.clone(), shutdown);
            tokio::select! {
                // An error may leave work behind: the Lease then runs out by itself, once this process has ended.
                outcome = controller => outcome?,
                lost = &mut lease => return ended(lost),
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

/// The lease's task ended by itself: nothing more may be done here.
fn ended(outcome: Result<Result<(), LeaseError>, tokio::task::JoinError>) -> anyhow::Result<()> {
    outcome.context("the task that keeps the lease broke down")??;
    Err(LeaseError::Ended.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: ControllerArguments,
    }

    fn parse(line: &str) -> Result<ControllerArguments, String> {
        Line::try_parse_from(format!("controller {line}").split_whitespace())
            .map(|line| line.arguments)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_suit_one_installation_per_api_server() {
        let arguments = parse("").unwrap();
        assert!(arguments.namespaces.is_empty());
        assert_eq!(
            arguments.admin_listen,
            AdminListen::At("127.0.0.1:9090".parse().unwrap())
        );
        assert_eq!(arguments.log_format, LogFormat::Text);
        assert_eq!(arguments.lease_namespace, "foredeck-system");
        assert_eq!(arguments.lease_name, "foredeck-controller");
        assert_eq!(arguments.lease_duration, Duration::from_secs(15));
        assert_eq!(arguments.test_minimum_settle, None);
        assert_eq!(arguments.test_crash_at, None);
    }

    #[test]
    fn namespaces_repeat_or_stand_in_one_list() {
        assert_eq!(
            parse("--namespace a --namespace b,c").unwrap().namespaces,
            ["a", "b", "c"]
        );
        assert!(parse("--namespace A").unwrap_err().contains("lower-case"));
    }

    #[test]
    fn crash_points_must_exist() {
        let arguments = parse("--test-crash-at before-post@2 --test-minimum-settle 2s").unwrap();
        assert_eq!(
            arguments.test_crash_at,
            Some("before-post@2".parse().unwrap())
        );
        assert_eq!(arguments.test_minimum_settle, Some(Duration::from_secs(2)));
        assert!(
            parse("--test-crash-at nowhere")
                .unwrap_err()
                .contains("before-post")
        );
    }
}
