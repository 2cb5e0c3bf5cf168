//! A GitHub, a namespace, and the front door to both.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use foredeck::{
    api::version::{Deployments, Repository},
    git::{GitError, GitMetrics, Host, Hosts, Settings},
    runtime::metrics::Metrics,
};
use foredeck_testkit::{
    ControlPlane,
    toolbox::{Github, Node},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

/// `owner/name` of all.
pub(crate) const REPOSITORY: &str = "acme/checkout";

/// Everything that one test needs.
pub(crate) struct Bed {
    pub(crate) github: Github,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) metrics: Metrics,
    counted: GitMetrics,
}

impl Bed {
    /// A repository with a first commit, and a namespace with the Secret `github` that holds its token; nothing where Node is
    /// left out.
    pub(crate) async fn new() -> Result<Option<Self>> {
        foredeck::runtime::tls::install();
        let Some(node) = Node::fetch().await? else {
            return Ok(None);
        };
        let plane = ControlPlane::shared().await;
        let metrics = Metrics::default();
        let bed = Self {
            github: Github::start(&node, REPOSITORY).await?,
            client: plane.admin(),
            namespace: plane.namespace("git").await?,
            counted: GitMetrics::register(&metrics),
            metrics,
        };
        bed.secret("github", json!({"token": bed.github.token()}))
            .await?;
        Ok(Some(bed))
    }

    /// Makes a Secret hold just this.
    pub(crate) async fn secret(&self, name: &str, entries: Value) -> Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        if api.get_opt(name).await?.is_some() {
            api.delete(name, &kube::api::DeleteParams::default())
                .await?;
        }
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": entries});
        let parameters = PatchParams::apply("test").force();
        api.patch(name, &parameters, &Patch::Apply(&secret)).await?;
        Ok(())
    }

    /// A front door of its own: it remembers nothing.
    pub(crate) fn hosts(&self) -> Hosts {
        self.hosts_at(Timestamp::now)
    }

    /// A front door with another clock.
    pub(crate) fn hosts_at(&self, clock: fn() -> Timestamp) -> Hosts {
        let settings = Settings {
            allowed: "127.0.0.1".parse().into_iter().collect(),
            deadline: Duration::from_secs(20),
            clock,
        };
        Hosts::new(self.client.clone(), settings, self.counted.clone())
    }

    /// A front door that waits so long.
    pub(crate) fn impatient(&self, deadline: Duration) -> Hosts {
        let settings = Settings {
            allowed: "127.0.0.1".parse().into_iter().collect(),
            deadline,
            ..Settings::default()
        };
        Hosts::new(self.client.clone(), settings, self.counted.clone())
    }

    /// As an Application would name it.
    pub(crate) fn repository(&self, secret: Option<&str>) -> Repository {
        Repository {
            github: REPOSITORY.to_owned(),
            api_url: Some(self.github.url()),
            secret_name: secret.map(str::to_owned),
            deployments: Deployments::default(),
        }
    }

    /// The repository, with the token.
    pub(crate) async fn host(&self) -> Result<Arc<dyn Host>> {
        self.host_with(Some("github")).await
    }

    /// The repository, with a Secret or none.
    pub(crate) async fn host_with(&self, secret: Option<&str>) -> Result<Arc<dyn Host>> {
        let repository = self.repository(secret);
        Ok(self.hosts().of(&self.namespace, &repository).await?)
    }

    /// How many calls there were whose method and path have this in them.
    pub(crate) fn asked(&self, part: &str) -> usize {
        let calls = self.github.calls();
        let line =
            |call: &foredeck_testkit::toolbox::GithubCall| format!("{} {}", call.method, call.path);
        calls
            .iter()
            .filter(|call| line(call).contains(part))
            .count()
    }
}

/// The fixed word of what has to fail.
pub(crate) fn reason<T>(answer: Result<T, GitError>) -> Result<&'static str> {
    match answer {
        Ok(_) => Err(anyhow!("it was answered")),
        Err(error) => Ok(error.reason()),
    }
}
