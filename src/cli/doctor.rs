//! `foredeck doctor`: its flags, and with which tokens others are asked. Touches what [`crate::doctor`] touches, Slack and
//! Okta, and the files that hold their tokens.

use std::{collections::BTreeSet, fmt::Debug, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt, api::ListParams, core::DeserializeGuard};
use reqwest::Url;
use serde::de::DeserializeOwned;

use super::{
    explain,
    git::GitArguments,
    print,
    process::Process,
    secret::{Secrets, Source},
    slack::{SlackArguments, is},
    values,
    vault::KeyInVault,
};
use crate::{
    access::{policies::Policies, rights},
    api::{Application, SpinnakerConnection},
    doctor::{
        self, DoctorSettings, Outside,
        judge::slack::{Asked, BotFacts},
        repositories,
    },
    domain::hosts::HostPattern,
    git,
    identity::groups::{
        GroupPrefix,
        okta::{OktaGroups, OktaSettings},
    },
    runtime::{client, telemetry::chain},
    slack::client::token,
};

#[derive(Args, Debug)]
pub(super) struct DoctorArguments {
    /// Namespace in which foredeck works; repeat it or separate with commas for several. All when left out
    #[arg(long = "namespace", value_name = "NAME", env = "FOREDECK_NAMESPACE", value_delimiter = ',', value_parser = values::namespace)]
    namespaces: Vec<String>,

    /// Foredeck's own namespace
    #[arg(long, value_name = "NAME", env = "FOREDECK_HOME_NAMESPACE", default_value = "foredeck-system", value_parser = values::namespace)]
    home_namespace: String,

    /// Namespace of the Leases; foredeck's own when left out
    #[arg(long, value_name = "NAME", env = "FOREDECK_LEASE_NAMESPACE", value_parser = values::namespace)]
    lease_namespace: Option<String>,

    /// The controller's Lease
    #[arg(
        long,
        value_name = "NAME",
        env = "FOREDECK_LEASE_NAME",
        default_value = "foredeck-controller"
    )]
    lease_name: String,

    /// The relay's Lease
    #[arg(
        long,
        value_name = "NAME",
        env = "FOREDECK_RELAY_LEASE_NAME",
        default_value = "foredeck-relay"
    )]
    relay_lease_name: String,

    /// File with the admission policies as they have to be; without it only their presence is looked at
    #[arg(long, value_name = "FILE", env = "FOREDECK_ADMISSION_POLICIES")]
    admission_policies: Option<PathBuf>,

    /// Host that a connection's Gate may be at, as the controller is told; not looked at when left out
    #[arg(long = "allow-gate-host", value_name = "HOST", env = "FOREDECK_ALLOW_GATE_HOST", value_delimiter = ',', value_parser = values::host_pattern)]
    gate_hosts: Vec<HostPattern>,

    /// Host that a connection's Vault may be at, likewise: no other is asked for its health
    #[arg(long = "allow-vault-host", value_name = "HOST", env = "FOREDECK_ALLOW_VAULT_HOST", value_delimiter = ',', value_parser = values::host_pattern)]
    vault_hosts: Vec<HostPattern>,

    /// How long one answer may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    timeout: Duration,

    /// How the page looks
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    /// Print instead what the logins of connections and repositories need of RBAC, as YAML to read and to apply
    #[arg(long)]
    print_rbac: bool,

    /// File that holds the app-level token (xapp-…); else `SLACK_APP_TOKEN` does
    #[arg(long, value_name = "FILE", env = "SLACK_APP_TOKEN_FILE")]
    slack_app_token_file: Option<PathBuf>,

    /// Where Vault holds the app-level token
    #[arg(long, value_name = "PATH#KEY", env = "SLACK_APP_TOKEN_VAULT")]
    slack_app_token_vault: Option<KeyInVault>,

    /// The Okta organisation whose groups people have
    #[arg(long, value_name = "URL", env = "FOREDECK_OKTA_URL")]
    okta_url: Option<Url>,

    /// File that holds Okta's API token; else `OKTA_API_TOKEN` does
    #[arg(long, value_name = "FILE", env = "OKTA_API_TOKEN_FILE")]
    okta_token_file: Option<PathBuf>,

    /// Where Vault holds Okta's API token
    #[arg(long, value_name = "PATH#KEY", env = "OKTA_API_TOKEN_VAULT")]
    okta_token_vault: Option<KeyInVault>,

    #[command(flatten)]
    git: GitArguments,

    #[command(flatten)]
    slack: SlackArguments,
}

/// How the page looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// A line each
    #[default]
    Text,
    /// JSON
    Json,
}

/// The exit code when nothing could be looked at; that something was found to be wrong is another.
const NOT_RUN: u8 = 2;

pub(super) async fn run(arguments: DoctorArguments) -> Result<ExitCode> {
    Ok(look(arguments).await.unwrap_or_else(|error| {
        eprintln!("foredeck: {}", explain(&error));
        ExitCode::from(NOT_RUN)
    }))
}

async fn look(arguments: DoctorArguments) -> Result<ExitCode> {
    let client = client::connect().await?;
    if arguments.print_rbac {
        return print_rbac(client, &arguments).await;
    }
    let policies = match &arguments.admission_policies {
        Some(file) => Some(Policies::from_file(file)?),
        None => None,
    };
    let outside = outside(&client, &arguments);
    let settings = DoctorSettings {
        lease_namespace: arguments
            .lease_namespace
            .unwrap_or_else(|| arguments.home_namespace.clone()),
        home: arguments.home_namespace,
        namespaces: arguments.namespaces,
        leases: [arguments.lease_name, arguments.relay_lease_name],
        policies,
        gate_hosts: (!arguments.gate_hosts.is_empty()).then_some(arguments.gate_hosts),
        vault_hosts: arguments.vault_hosts,
        git: arguments.git.settings(),
        deadline: arguments.timeout,
        clock: Timestamp::now,
    };
    let page = doctor::examine(client, settings, outside).await;
    match arguments.output {
        Output::Text => print::page(&page.text())?,
        Output::Json => {
            let text =
                serde_json::to_string_pretty(&page).context("can't write the page as JSON")?;
            print::page(&format!("{text}\n"))?;
        }
    }
    Ok(if page.fails() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn print_rbac(client: kube::Client, arguments: &DoctorArguments) -> Result<ExitCode> {
    let home = &arguments.home_namespace;
    let places = with_connections(&arguments.namespaces, home);
    let connections = listed::<SpinnakerConnection>(&client, arguments.timeout, &places).await?;
    let places = match arguments.namespaces.as_slice() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let listed = listed::<Application>(&client, arguments.timeout, &places).await;
    let whole = listed.is_ok();
    let applications = listed.unwrap_or_else(|error| {
        eprintln!(
            "foredeck: the Roles for repositories are left out: {}",
            explain(&error)
        );
        Vec::new()
    });
    let applications = at_allowed_hosts(applications, &arguments.git.clone().settings());
    let yaml = rights::manifests(&connections, &applications, home);
    if yaml.is_empty() && whole {
        eprintln!(
            "foredeck: no SpinnakerConnection and no Application's repository at a host of --allow-git-hosts names a Secret, so nothing has to be allowed"
        );
    }
    print::page(&yaml)?;
    Ok(if whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The Applications whose repositories may be asked; the others' Secrets are read by nobody, which is told.
fn at_allowed_hosts(mut all: Vec<Application>, settings: &git::Settings) -> Vec<Application> {
    all.retain(|one| {
        let Some(repository) = &one.spec.repository else {
            return false;
        };
        let allowed = repositories::allowed(repository, settings);
        if !allowed && repository.secret_name.is_some() {
            eprintln!(
                "foredeck: the Secret of the repository of the Application {}/{} is left out, since --allow-git-hosts doesn't list its host",
                one.namespace().unwrap_or_default(),
                one.name_any()
            );
        }
        allowed
    });
    all
}

/// Every object of a kind in these places; one that can't be read is told, and left out.
async fn listed<K>(
    client: &kube::Client,
    limit: Duration,
    places: &[Option<&str>],
) -> Result<Vec<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let kind = K::kind(&());
    let mut all = Vec::new();
    for place in places {
        let api: Api<DeserializeGuard<K>> = match place {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let parameters = ListParams::default();
        let listed = tokio::time::timeout(limit, api.list(&parameters))
            .await
            .with_context(|| format!("the API server doesn't show the {kind}s in time"))?
            .with_context(|| format!("the API server doesn't show the {kind}s"))?;
        for one in listed.items {
            let (namespace, name) = (one.namespace().unwrap_or_default(), one.name_any());
            match one.0 {
                Ok(read) => all.push(read),
                Err(invalid) => eprintln!(
                    "foredeck: the {kind} {namespace}/{name} is left out, since it can't be read: {:?}",
                    invalid.error
                ),
            }
        }
    }
    Ok(all)
}

/// Where connections are that the controller may use, each namespace once: where it works, and foredeck's own, whose connections
/// may be shared. One that is none stands for all.
fn with_connections<'a>(namespaces: &'a [String], home: &'a str) -> Vec<Option<&'a str>> {
    if namespaces.is_empty() {
        return vec![None];
    }
    let all: BTreeSet<&str> = namespaces
        .iter()
        .map(String::as_str)
        .chain([home])
        .collect();
    all.into_iter().map(Some).collect()
}

/// Whatever is asked with a token, begun when it is waited for.
fn outside(client: &kube::Client, arguments: &DoctorArguments) -> Outside {
    let process = Process::asking(client.clone());
    let secrets = Secrets::new(arguments.slack.vault().clone(), &process);
    Outside {
        bot: bot(arguments.slack.clone(), process.clone(), secrets.clone()),
        app: app(arguments, process, secrets.clone()),
        okta: okta(arguments, secrets),
        vault: arguments
            .slack
            .vault()
            .health()
            .map(|vault| vault.map_err(|error| explain(&error))),
    }
}

fn bot(
    arguments: SlackArguments,
    process: Process,
    secrets: Secrets,
) -> BoxFuture<'static, Asked<BotFacts>> {
    async move {
        match arguments.is_configured() {
            Ok(false) => return Asked::Ungiven,
            Err(error) => return Asked::Unusable(explain(&error)),
            Ok(true) => {}
        }
        let opened = arguments.open_with(&process, secrets).await;
        let client = match opened.and_then(|slack| slack.client()) {
            Ok(client) => client,
            Err(error) => return Asked::Unusable(explain(&error)),
        };
        match client.auth_test().await {
            Ok(installation) => Asked::Answered(BotFacts {
                team: installation.team_name,
                scopes: installation.scopes,
            }),
            Err(error) => Asked::Refused(chain(&error)),
        }
    }
    .boxed()
}

fn app(
    arguments: &DoctorArguments,
    process: Process,
    secrets: Secrets,
) -> BoxFuture<'static, Asked<()>> {
    let (file, vault) = (
        arguments.slack_app_token_file.clone(),
        arguments.slack_app_token_vault.clone(),
    );
    let slack = arguments.slack.clone();
    async move {
        let source = Source {
            name: "slack-app-token",
            variable: "SLACK_APP_TOKEN",
            flag: "--slack-app-token",
            file: file.as_ref(),
            vault: vault.as_ref(),
            check: |secret| is(token("app-level token", secret)),
        };
        let app_token = match secrets.optional(&source).await {
            Ok(None) => return Asked::Ungiven,
            Ok(Some(token)) => token,
            Err(error) => return Asked::Unusable(explain(&error)),
        };
        let client = match slack.client_for(app_token.clone(), &process) {
            Ok(client) => client,
            Err(error) => return Asked::Unusable(explain(&error)),
        };
        match client.may_open_sockets(&app_token).await {
            Ok(()) => Asked::Answered(()),
            Err(error) => Asked::Refused(chain(&error)),
        }
    }
    .boxed()
}

fn okta(arguments: &DoctorArguments, secrets: Secrets) -> BoxFuture<'static, Asked<()>> {
    let Some(url) = arguments.okta_url.clone() else {
        return async { Asked::Ungiven }.boxed();
    };
    let (file, vault) = (
        arguments.okta_token_file.clone(),
        arguments.okta_token_vault.clone(),
    );
    let limit = arguments.timeout;
    async move {
        let source = Source {
            name: "okta-token",
            variable: "OKTA_API_TOKEN",
            flag: "--okta-token",
            file: file.as_ref(),
            vault: vault.as_ref(),
            check: |secret| is(OktaSettings::check(secret)),
        };
        let okta_token = match secrets.optional(&source).await {
            Ok(None) => return Asked::Ungiven,
            Ok(Some(token)) => token,
            Err(error) => return Asked::Unusable(explain(&error)),
        };
        let made = "okta:"
            .parse::<GroupPrefix>()
            .map_err(anyhow::Error::from)
            .and_then(|prefix| Ok(OktaSettings::new(&url, &okta_token, prefix)?))
            .and_then(|settings| Ok(OktaGroups::new(&settings, limit, Timestamp::now)?));
        match made {
            Err(error) => Asked::Unusable(explain(&error)),
            Ok(groups) => match groups.may_ask().await {
                Ok(()) => Asked::Answered(()),
                Err(error) => Asked::Refused(chain(&error)),
            },
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_of_repositories_that_nobody_may_ask_are_left_out() {
        let application = |name: &str, address: Option<&str>| -> Application {
            serde_json::from_value(json!({
                "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {
                    "repository": {"github": "acme/shop", "apiUrl": address, "secretName": name},
                    "actions": {"deploy": {"pipeline": "Deploy"}},
                },
            }))
            .unwrap()
        };
        let all = || {
            vec![
                application("usual", None),
                application("own", Some("https://github.corp.example/api/v3")),
                application("theirs", Some("https://evil.example")),
            ]
        };
        for (hosts, left) in [
            (&[][..], &[][..]),
            (&["api.github.com"], &["usual"]),
            (&["api.github.com", "*.corp.example"], &["usual", "own"]),
        ] {
            let settings = git::Settings {
                allowed: hosts.iter().map(|host| host.parse().unwrap()).collect(),
                ..git::Settings::default()
            };
            let names: Vec<String> = at_allowed_hosts(all(), &settings)
                .iter()
                .map(ResourceExt::name_any)
                .collect();
            assert_eq!(names, left, "{hosts:?}");
        }
    }

    #[test]
    fn connections_that_are_shared_are_looked_for_wherever_foredeck_works() {
        let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (namespaces, looked_in) in [
            (named(&[]), vec![None]),
            (
                named(&["shop"]),
                vec![Some("foredeck-system"), Some("shop")],
            ),
            (
                named(&["shop", "foredeck-system", "shop"]),
                vec![Some("foredeck-system"), Some("shop")],
            ),
        ] {
            assert_eq!(with_connections(&namespaces, "foredeck-system"), looked_in);
        }
    }
}
