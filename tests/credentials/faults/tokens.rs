//! The `ServiceAccount` by which foredeck logs in to Vault, and the right to its tokens.

use anyhow::Result;
use foredeck::api::SpinnakerConnection;
use foredeck_testkit::FalseVault;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::World;
use crate::support::{ACCOUNT, CONNECTION, Controller, ENVIRONMENT, PATIENCE};

impl World {
    async fn account(&self) -> Result<()> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": self.namespace},
        });
        self.plane.apply(&account.to_string()).await
    }

    /// From now on nobody gets a token of it, as without the right to.
    async fn forbid_tokens(&self, policy: &str) -> Result<()> {
        let group = "admissionregistration.k8s.io/v1";
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["serviceaccounts/token"]});
        let mine = format!("request.namespace == '{}'", self.namespace);
        let rules = json!({
            "apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": policy},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "matchConditions": [{"name": "mine", "expression": mine}],
                "validations": [{"expression": "false", "reason": "Forbidden"}],
            },
        });
        let binding = json!({
            "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": policy},
            "spec": {"policyName": policy, "validationActions": ["Deny"]},
        });
        self.plane
            .apply(&format!("{rules}\n---\n{binding}"))
            .await?;
        let api: Api<ServiceAccount> = self.api();
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec!["nobody".to_owned()]),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        foredeck_testkit::wait_for("the policy to be in force", PATIENCE, async || {
            let given = api
                .create_token_request(ACCOUNT, &PostParams::default(), &request)
                .await;
            anyhow::ensure!(given.is_err(), "a token is given");
            Ok(())
        })
        .await
    }

    async fn allow_tokens(&self, policy: &str) -> Result<()> {
        let client = self.plane.admin();
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        bindings.delete(policy, &DeleteParams::default()).await?;
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client);
        policies.delete(policy, &DeleteParams::default()).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_missing_or_whose_tokens_are_forbidden_is_named_and_then_used()
-> Result<()> {
    let Some(world) = World::bare("account", "60s").await? else {
        return Ok(());
    };
    let vault = FalseVault::start().await?;
    world.gate_trusts(&vault.ca_pem())?;
    let accounts: Api<ServiceAccount> = world.api();
    accounts.delete(ACCOUNT, &DeleteParams::default()).await?;
    let spec = world.connection_to(&vault);
    world
        .create::<SpinnakerConnection>(CONNECTION, spec.clone())
        .await?;
    world.ask("missing", "deploy", ENVIRONMENT).await?;
    let _controller = Controller::start(&[&world]).await?;
    let says = format!(
        "there is no ServiceAccount {ACCOUNT} in the namespace {}",
        world.namespace
    );
    let reason = "LoginFailed";
    world
        .until_said(CONNECTION, reason, &says.replacen('t', "T", 1))
        .await?;
    world.until_waiting("missing", reason).await?;
    anyhow::ensure!(vault.connections() == 0, "Vault was asked");
    world.account().await?;
    world.until_ready().await?;
    world.until_gone_on("missing").await?;

    let policy = format!("no-tokens-{}", world.namespace);
    world.forbid_tokens(&policy).await?;
    world
        .create::<SpinnakerConnection>("forbidden", spec)
        .await?;
    world.environment("forbidden", "forbidden").await?;
    world.ask("forbidden", "deploy", "forbidden").await?;
    let says = format!("forbids foredeck a token of the ServiceAccount {ACCOUNT}");
    world.until_said("forbidden", reason, &says).await?;
    world.until_waiting("forbidden", reason).await?;
    world.allow_tokens(&policy).await?;
    world
        .until_said("forbidden", "ConfigurationValid", &world.principal)
        .await?;
    world.until_gone_on("forbidden").await
}
