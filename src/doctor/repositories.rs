//! Repositories: one question to the host of each, with the login that its Application names. Touches the API server
//! (Secrets) and those hosts.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use super::{
    judge::{
        objects::host,
        repositories::{Looked, repositories},
    },
    page::Finding,
};
use crate::{
    api::{Application, version::Repository},
    domain::hosts,
    git::{Described, GITHUB, GitError, Hosts, Settings},
};

/// Repositories that are asked, at most: each question counts towards its host's limit.
const MOST: usize = 30;
/// And at once.
const AT_ONCE: usize = 5;

/// Whether its host may be asked at all.
pub fn allowed(repository: &Repository, settings: &Settings) -> bool {
    let (name, port) = match &repository.api_url {
        None => (GITHUB.to_owned(), 443),
        Some(url) => match host(url) {
            Some(at) => at,
            None => return false,
        },
    };
    hosts::allow(&settings.allowed, &name, port)
}

/// What each Application's repository says, with a deadline each.
pub(super) async fn asked(
    applications: &[Application],
    client: &Client,
    hosts: Hosts,
    deadline: Duration,
) -> Vec<Finding> {
    let named: Vec<(String, String, Repository)> = applications
        .iter()
        .filter_map(|one| {
            let namespace = one.namespace().unwrap_or_default();
            Some((namespace, one.name_any(), one.spec.repository.clone()?))
        })
        .collect();
    let left = named.len().saturating_sub(MOST);
    let hosts = Arc::new(hosts);
    let looks = named
        .into_iter()
        .take(MOST)
        .map(|(namespace, name, repository)| {
            let hosts = Arc::clone(&hosts);
            async move {
                let said = described(&hosts, &namespace, &repository, deadline).await;
                let secret = repository.secret_name.as_deref();
                let hidden = match (&said, secret) {
                    (Err(GitError::Credentials { .. }), Some(name)) => {
                        hidden(client, &namespace, name, deadline).await
                    }
                    _ => false,
                };
                Looked {
                    hidden,
                    application: format!("{namespace}/{name}"),
                    login: repository.secret_name.is_some(),
                    repository: repository.github,
                    said,
                }
            }
        });
    let all: Vec<Looked> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    repositories(&all, left)
}

/// Whether the API server shows a Secret to nobody like us. Of one that may be read nothing but its metadata is.
async fn hidden(client: &Client, namespace: &str, name: &str, deadline: Duration) -> bool {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let seen = tokio::time::timeout(deadline, secrets.get_metadata(name)).await;
    matches!(seen, Ok(Err(kube::Error::Api(status))) if status.code == 403)
}

async fn described(
    hosts: &Hosts,
    namespace: &str,
    repository: &Repository,
    deadline: Duration,
) -> Result<Described, GitError> {
    let asked = async {
        let host = hosts.of(namespace, repository).await?;
        host.described().await
    };
    let said = tokio::time::timeout(deadline, asked).await;
    said.unwrap_or_else(|_| {
        Err(GitError::Unavailable {
            host: repository.github.clone(),
            message: format!("no answer within {} s", deadline.as_secs()),
        })
    })
}
