//! GitHub beside a bed: checkout's repository, and the application that names it.

use anyhow::{Context, Result};
use foredeck::api::{Application, DeployRequest};
use foredeck_testkit::toolbox::{Github, Node};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt, api::PostParams};
use serde_json::{Value, json};

use crate::support::Bed;

/// Checkout's.
pub(crate) const REPOSITORY: &str = "acme/checkout";

impl Bed {
    /// GitHub with checkout's repository, a first commit on `main` in it, and checkout naming it from now on with a Secret
    /// that holds its token. Nothing where Node is left out.
    pub(crate) async fn repository(&self) -> Result<Option<Github>> {
        let Some(node) = Node::fetch().await? else {
            return Ok(None);
        };
        let github = Github::start(&node, REPOSITORY).await?;
        self.is_in(&github).await?;
        Ok(Some(github))
    }

    /// Checkout names the repository of this GitHub from now on.
    pub(crate) async fn is_in(&self, github: &Github) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "github"}, "stringData": {"token": github.token()},
        }))?;
        self.api::<Secret>()
            .create(&PostParams::default(), &secret)
            .await?;
        let repository =
            json!({"github": REPOSITORY, "apiUrl": github.url(), "secretName": "github"});
        let named = json!({"spec": {"repository": repository}});
        self.merge::<Application>("checkout", named).await?;
        Ok(())
    }

    /// From now on Spinnaker gets this for the version of what checkout deploys, and of what it goes back to.
    pub(crate) async fn sends(&self, template: &str) -> Result<()> {
        let actions = json!({"deploy": {"parameters": {"branch": template}}, "rollback": {"parameters": {"to": template}}});
        self.merge::<Application>("checkout", json!({"spec": {"actions": actions}}))
            .await?;
        Ok(())
    }

    /// The trigger with which the request's execution was started.
    pub(crate) async fn trigger(&self, request: &DeployRequest) -> Result<Value> {
        let id = self.until_launched(request).await?;
        let execution = self.gate.execution(&id);
        let execution =
            execution.with_context(|| format!("{} was launched", request.name_any()))?;
        Ok(execution["trigger"].clone())
    }
}

/// The commit that a request was accepted as.
pub(crate) fn commit_of(request: &DeployRequest) -> Option<String> {
    request.status.as_ref()?.resolved.as_ref()?.commit.clone()
}

/// How often GitHub was asked with this in the path.
pub(crate) fn asked(github: &Github, part: &str) -> usize {
    let calls = github.calls();
    calls.iter().filter(|call| call.path.contains(part)).count()
}
