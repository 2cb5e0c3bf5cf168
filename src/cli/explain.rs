//! `foredeck explain`: why a request starts or doesn't. Touches the API server, with the rights of whoever asks, and stdout.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use kube::Api;

use super::{explain, print, values};
use crate::{api::DeployRequest, domain::guards, runtime::client};

#[derive(Args, Debug)]
pub(super) struct ExplainArguments {
    /// The `DeployRequest`: `dr/NAME` or its name alone
    #[arg(value_name = "dr/NAME", value_parser = request_name)]
    request: String,

    /// Its namespace; that of the kubeconfig's context when left out
    #[arg(long, short, value_name = "NAME", value_parser = values::namespace)]
    namespace: Option<String>,

    /// How it looks
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// How it looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// Lines for people
    #[default]
    Text,
    /// JSON
    Json,
}

/// The exit code when there is no such request.
const ABSENT: u8 = 1;
/// The exit code when it could not be read.
const UNREAD: u8 = 2;

pub(super) async fn run(arguments: ExplainArguments) -> Result<ExitCode> {
    Ok(look(arguments).await.unwrap_or_else(|error| {
        eprintln!("foredeck: {}", explain(&error));
        ExitCode::from(UNREAD)
    }))
}

async fn look(arguments: ExplainArguments) -> Result<ExitCode> {
    let client = client::connect().await?;
    let namespace = arguments
        .namespace
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let name = &arguments.request;
    let api: Api<DeployRequest> = Api::namespaced(client, &namespace);
    let request = match api.get(name).await {
        Ok(request) => request,
        Err(kube::Error::Api(status)) if status.code == 404 => {
            eprintln!(
                "foredeck: there is no DeployRequest {name} in namespace {namespace}; `kubectl get dr -A` shows those that there are"
            );
            return Ok(ExitCode::from(ABSENT));
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            eprintln!(
                "foredeck: you may not read DeployRequest {name} in namespace {namespace}: it takes the verb `get` on deployrequests.foredeck.dev there, as who can change the RoleBindings there can give it"
            );
            return Ok(ExitCode::from(UNREAD));
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("can't read DeployRequest {name} in {namespace}"));
        }
    };
    let explanation = guards::explain::explain(&request);
    match arguments.output {
        Output::Text => print::page(&explanation.text())?,
        Output::Json => {
            let text = serde_json::to_string_pretty(&explanation)
                .context("can't write the explanation as JSON")?;
            print::page(&format!("{text}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A `DeployRequest` as kubectl names one.
fn request_name(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        None => text,
        Some(("dr" | "deployrequest" | "deployrequests" | "deployrequests.foredeck.dev", name)) => {
            name
        }
        Some((kind, _)) => {
            return Err(format!(
                "only a DeployRequest can be explained, as dr/NAME, and {kind:?} is none"
            ));
        }
    };
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("a DeployRequest is named as dr/NAME".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_as_for_kubectl() {
        for text in [
            "one",
            "dr/one",
            "deployrequest/one",
            "deployrequests.foredeck.dev/one",
        ] {
            assert_eq!(request_name(text).as_deref(), Ok("one"), "{text}");
        }
        for text in [
            "",
            "dr/",
            "dt/one",
            "dr/one/status",
            "../one",
            "one?watch=1",
        ] {
            assert!(request_name(text).is_err(), "{text}");
        }
    }
}
