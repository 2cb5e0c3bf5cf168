//! `foredeck import`: its flags, and as whom Gate is asked. Touches what [`crate::import`] touches, and the files that hold a
//! login.

use std::fmt::Write;

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use reqwest::Url;
use secrecy::SecretString;

use super::{print, values};
use crate::{
    domain::hosts::HostPattern,
    import::{
        self,
        guess::page::{Destination, Imported},
        login,
    },
    runtime::{
        client,
        tls::{ClientCertificate, Trust},
    },
    spinnaker::{Credentials, GateClient, GateLogin, GateSettings},
};

/// What is left out is told by this many lines at most.
const MOST_TOLD: usize = 40;

#[derive(Args, Debug)]
pub(super) struct ImportArguments {
    /// The `SpinnakerConnection` that the Environments are to name, and whose Gate is asked unless --gate-url names one
    #[arg(long, value_name = "NAME", value_parser = values::namespace)]
    connection: String,

    /// Namespace for the objects; the kubeconfig's with a connection, and none with --gate-url, when left out
    #[arg(long, value_name = "NAME", value_parser = values::namespace)]
    namespace: Option<String>,

    /// Namespace of the connection, where it is another's that shares it
    #[arg(long, value_name = "NAME", value_parser = values::namespace, conflicts_with = "gate_url")]
    connection_namespace: Option<String>,

    /// A Spinnaker application; repeat it or separate with commas for several. All that the login may see when left out
    #[arg(long = "application", value_name = "NAME", value_delimiter = ',')]
    applications: Vec<String>,

    /// Host that the connection's Gate may be at, where the controller hasn't found the connection ready
    #[arg(long = "allow-gate-host", value_name = "HOST", env = "FOREDECK_ALLOW_GATE_HOST", value_delimiter = ',', value_parser = values::host_pattern)]
    gate_hosts: Vec<HostPattern>,

    /// Gate itself, with a login of your own: before anything is installed
    #[arg(long, value_name = "URL")]
    gate_url: Option<Url>,

    /// File that holds a token for Gate
    #[arg(long, value_name = "FILE", requires = "gate_url", conflicts_with_all = ["username", "cert_file"])]
    token_file: Option<PathBuf>,

    /// Header that takes the token
    #[arg(
        long,
        value_name = "HEADER",
        default_value = "Authorization",
        requires = "token_file"
    )]
    token_header: String,

    /// User name for Gate
    #[arg(long, value_name = "NAME", requires_all = ["gate_url", "password_file"], conflicts_with = "cert_file")]
    username: Option<String>,

    /// File that holds the password
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,

    /// File that holds a client certificate for Gate, as PEM, its chain behind it
    #[arg(long, value_name = "FILE", requires_all = ["gate_url", "key_file"])]
    cert_file: Option<PathBuf>,

    /// File that holds the certificate's key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,

    /// File of the authorities that Gate's certificate is checked by, as PEM; the machine's when left out
    #[arg(long, value_name = "FILE", requires = "gate_url")]
    ca_file: Option<PathBuf>,

    /// How long one answer of Gate's may take, with --gate-url
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = values::duration)]
    timeout: Duration,
}

pub(super) async fn run(arguments: ImportArguments) -> Result<ExitCode> {
    let (settings, namespace) = match arguments.gate_url.clone() {
        Some(url) => (own(&arguments, url)?, arguments.namespace.clone()),
        None => {
            let client = client::connect().await?;
            let namespace = arguments
                .namespace
                .clone()
                .unwrap_or_else(|| client.default_namespace().to_owned());
            let at = arguments
                .connection_namespace
                .as_ref()
                .unwrap_or(&namespace);
            let settings =
                login::settings(&client, at, &arguments.connection, &arguments.gate_hosts).await?;
            (settings, Some(namespace))
        }
    };
    let gate = GateClient::new(settings)?;
    gate.login().await.context("Gate can't be asked")?;
    let destination = Destination {
        namespace,
        connection: arguments.connection,
    };
    let imported = import::import(&gate, &arguments.applications, &destination)
        .await
        .context("Gate doesn't list its applications")?;
    print::page(&imported.yaml)?;
    eprint!("{}", summary(&imported));
    Ok(if imported.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Gate with a login of one's own.
fn own(arguments: &ImportArguments, url: Url) -> Result<GateSettings> {
    let secret = |file: &PathBuf| -> Result<SecretString> {
        let text =
            fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        let text = text.trim_end_matches(['\r', '\n']);
        ensure!(!text.is_empty(), "{} is empty", file.display());
        Ok(SecretString::from(text))
    };
    let credentials = if let Some(file) = &arguments.token_file {
        Credentials::Token {
            header: arguments.token_header.clone(),
            value: secret(file)?,
        }
    } else if let (Some(username), Some(file)) = (&arguments.username, &arguments.password_file) {
        Credentials::Basic {
            username: username.clone(),
            password: secret(file)?,
        }
    } else if let (Some(chain), Some(key)) = (&arguments.cert_file, &arguments.key_file) {
        let pem = fs::read(chain).with_context(|| format!("can't read {}", chain.display()))?;
        let certificate = ClientCertificate::from_pem(&pem, &secret(key)?)
            .context("--cert-file and --key-file can't be used")?;
        Credentials::Certificate(Arc::new(certificate))
    } else {
        Credentials::None
    };
    let trust = match &arguments.ca_file {
        None => Trust::Machine,
        Some(file) => {
            let pem = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
            Trust::from_pem(&pem).context("--ca-file can't be used")?
        }
    };
    let login = GateLogin::new(&credentials, &trust)?;
    let mut settings = GateSettings::fixed(url, login);
    settings.request_deadline = arguments.timeout;
    settings.connect_deadline = settings.connect_deadline.min(arguments.timeout / 2);
    Ok(settings)
}

/// What was made of it, for whoever sends the page to a file.
fn summary(imported: &Imported) -> String {
    let Imported {
        applications,
        environments,
        actions,
        todos,
        left_out,
        failed,
        ..
    } = imported;
    let mut text = format!(
        "foredeck: {applications} Applications with {actions} actions and {environments} Environments; {todos} parameters to say by hand (TODO)\n"
    );
    let told = left_out.iter().map(|what| format!("left out: {what}"));
    let failed_lines = failed
        .iter()
        .map(|(name, why)| format!("not read: {name}: {why}"));
    let lines: Vec<String> = failed_lines.chain(told).collect();
    for line in lines.iter().take(MOST_TOLD) {
        let _ = writeln!(text, "foredeck: {line}");
    }
    if lines.len() > MOST_TOLD {
        let _ = writeln!(
            text,
            "foredeck: and {} more, as comments on the page",
            lines.len() - MOST_TOLD
        );
    }
    text
}
