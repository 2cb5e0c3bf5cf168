//! `foredeck controller`: its flags, and how [`crate::controller`] is run. Touches what that touches.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    audit::AuditArguments,
    git::{Git, GitArguments},
    people::PeopleArguments,
    process::{self, LeaseArguments, Process, ProcessArguments},
    values,
};
use crate::{
    access::{
        needs::{self, Places},
        policies::Policies,
    },
    controller::{self, ControllerSettings},
    domain::hosts::{AllowedHosts, HostPattern},
};

/// What is closed until it works, or waits for its Lease.
pub(super) const GATES: [&str; 3] = ["lease", "controller-definitions", "controller-rights"];

#[derive(Args, Debug)]
pub(super) struct ControllerArguments {
    #[command(flatten)]
    process: ProcessArguments,
    #[command(flatten)]
    lease: LeaseArguments,
    #[command(flatten)]
    people: PeopleArguments,
    #[command(flatten)]
    git: GitArguments,
    #[command(flatten)]
    own: ControllerFlags,
}

/// What only the controller takes.
#[derive(Args, Debug)]
pub(super) struct ControllerFlags {
    /// Lease that keeps two controllers from working at once: the same for all that share an API server
    #[arg(
        long,
        value_name = "NAME",
        env = "FOREDECK_LEASE_NAME",
        default_value = "foredeck-controller"
    )]
    lease_name: String,

    /// How long the groups count that admission stamped into an object, from its creation on; after that, Denied
    #[arg(long, value_name = "DURATION", env = "FOREDECK_STAMPED_GROUPS_MAX_AGE", default_value = "24h", value_parser = values::duration)]
    stamped_groups_max_age: Duration,

    /// File with the admission policies as they have to be; without it nothing starts
    #[arg(long, value_name = "FILE", env = "FOREDECK_ADMISSION_POLICIES")]
    admission_policies: Option<PathBuf>,

    /// Host that a connection's Gate may be at, perhaps with a port (`gate.prod.example:8085`); `*` stands for any
    /// characters. Repeat it or separate with commas. No Gate is spoken to when left out
    #[arg(long = "allow-gate-host", value_name = "HOST", env = "FOREDECK_ALLOW_GATE_HOST", value_delimiter = ',', value_parser = values::host_pattern)]
    gate_hosts: Vec<HostPattern>,

    /// Host that a connection's Vault may be at, likewise. No Vault is spoken to when left out
    #[arg(long = "allow-vault-host", value_name = "HOST", env = "FOREDECK_ALLOW_VAULT_HOST", value_delimiter = ',', value_parser = values::host_pattern)]
    vault_hosts: Vec<HostPattern>,

    #[command(flatten)]
    audit: AuditArguments,

    /// Post again after an unknown outcome sooner than is safe against a real Spinnaker
    #[arg(long, hide = true, value_name = "DURATION", value_parser = values::duration)]
    test_minimum_settle: Option<Duration>,

    /// Look at configuration that is in order again after this time
    #[arg(long, hide = true, value_name = "DURATION", value_parser = values::duration)]
    test_refresh: Option<Duration>,

    /// Look after what targets say of what runs there after this time
    #[arg(long, hide = true, value_name = "DURATION", value_parser = values::duration)]
    test_upkeep: Option<Duration>,

    /// Believe what a connection's Secrets hold for this time
    #[arg(long, hide = true, value_name = "DURATION", value_parser = values::duration)]
    test_secret_age: Option<Duration>,
}

pub(super) async fn run(arguments: ControllerArguments) -> anyhow::Result<()> {
    let ControllerArguments {
        process,
        lease,
        people,
        git,
        own,
    } = arguments;
    process::run("controller", process, &GATES, |process| {
        let git = git.open(&process.metrics);
        work(process, lease, people, git, own)
    })
    .await
}

/// The role itself, in whatever process.
pub(super) async fn work(
    process: Process,
    lease: LeaseArguments,
    people: PeopleArguments,
    git: Git,
    own: ControllerFlags,
) -> anyhow::Result<()> {
    let policies = match &own.admission_policies {
        Some(file) => Policies::from_file(file)?,
        None => Policies::default(),
    };
    let looked_at = policies.names();
    let settings = ControllerSettings {
        namespaces: process.namespaces.clone(),
        minimum_settle: own.test_minimum_settle,
        refresh: own.test_refresh,
        upkeep: own.test_upkeep,
        secret_age: own.test_secret_age,
        home_namespace: people.home_namespace,
        hosts: AllowedHosts {
            gate: own.gate_hosts,
            vault: own.vault_hosts,
        },
        groups_max_age: people.groups_max_age,
        stamped_groups_max_age: own.stamped_groups_max_age,
        policies,
        audit: own.audit.settings()?,
        git: git.settings,
        git_metrics: git.metrics,
    };
    let needs = needs::controller(Places {
        scopes: &process.scopes(),
        home: &settings.home_namespace,
        lease: (&lease.lease_namespace, &own.lease_name),
        policies: &looked_at,
    });
    let gates = ("lease", "caches");
    let work = process::under_lease(&process, gates, lease, own.lease_name, |claim| {
        let process = process.clone();
        controller::run(
            settings,
            process.client,
            claim,
            process.readiness,
            process.metrics,
            process.shutdown,
        )
    });
    process.needing(needs, Box::pin(work)).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{cli::values::AdminListen, runtime::telemetry::LogFormat};

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
        let ControllerArguments {
            process,
            lease,
            people,
            git,
            own,
        } = parse("").unwrap();
        assert!(process.namespaces.is_empty());
        assert_eq!(
            process.admin_listen,
            AdminListen::At("127.0.0.1:9090".parse().unwrap())
        );
        assert_eq!(process.log_format, LogFormat::Text);
        assert_eq!(lease.lease_namespace, "foredeck-system");
        assert_eq!(own.lease_name, "foredeck-controller");
        assert_eq!(lease.lease_duration, Duration::from_secs(15));
        assert_eq!(people.home_namespace, "foredeck-system");
        assert_eq!(people.groups_max_age, Duration::from_mins(10));
        assert_eq!(own.stamped_groups_max_age, Duration::from_hours(24));
        assert_eq!(own.admission_policies, None);
        assert!(own.gate_hosts.is_empty() && own.vault_hosts.is_empty());
        assert_eq!(git.git_hosts.len(), 1);
        assert_eq!(own.test_minimum_settle, None);
        assert_eq!(process.test_crash_at, None);
    }

    #[test]
    fn namespaces_repeat_or_stand_in_one_list() {
        let arguments = parse("--namespace a --namespace b,c").unwrap();
        assert_eq!(arguments.process.namespaces, ["a", "b", "c"]);
        assert!(parse("--namespace A").unwrap_err().contains("lower-case"));
    }

    #[test]
    fn hosts_repeat_or_stand_in_one_list() {
        let arguments =
            parse("--allow-gate-host a.example --allow-gate-host b.example:8085,*.c").unwrap();
        let hosts: Vec<_> = arguments
            .own
            .gate_hosts
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(hosts, ["a.example", "b.example:8085", "*.c"]);
        assert!(
            parse("--allow-vault-host https://vault")
                .unwrap_err()
                .contains("not a host")
        );
    }

    #[test]
    fn crash_points_must_exist() {
        let arguments = parse("--test-crash-at before-post@2 --test-minimum-settle 2s").unwrap();
        assert_eq!(
            arguments.process.test_crash_at,
            Some("before-post@2".parse().unwrap())
        );
        assert_eq!(
            arguments.own.test_minimum_settle,
            Some(Duration::from_secs(2))
        );
        assert!(
            parse("--test-crash-at nowhere")
                .unwrap_err()
                .contains("before-post")
        );
    }
}
