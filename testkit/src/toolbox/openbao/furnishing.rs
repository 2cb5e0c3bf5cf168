//! What a test puts into an OpenBao: authorities that issue certificates, logins for service accounts, secrets, policies.
//! Touches the server, and the control plane whose service accounts are to log in.

use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::Method;
use serde_json::{Value, json};

use super::OpenBao;
use crate::ControlPlane;
use crate::wait::wait_for;

/// Where the root authority is mounted.
pub const PKI: &str = "pki";

/// Where the authority below it is, which issues.
pub const PKI_ISSUING: &str = "pki-int";

/// A tenth of a second is usual.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Who asks the API server about tokens for OpenBao.
const REVIEWER: &str = "openbao-reviewer";

/// Whom a role of a login is for, and what it gives.
#[derive(Debug, Clone, Copy)]
pub struct ServiceAccountRole<'a> {
    /// The service account's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The audience that its token must have.
    pub audience: &'a str,
    /// The policies of the client token.
    pub policies: &'a [&'a str],
    /// How long the client token lasts, such as `60s`.
    pub ttl: &'a str,
}

impl OpenBao {
    /// Mounts a secrets engine, such as `kv-v2`, and returns when it can be used.
    pub async fn enable(&self, engine: &str, path: &str) -> Result<()> {
        let mount = json!({"type": engine, "config": {"max_lease_ttl": "87600h"}});
        self.write(&format!("sys/mounts/{path}"), mount).await?;
        if engine == "kv-v2" {
            // Right after its mount it is refused with "Upgrading from non-versioned to versioned data".
            let config = format!("{path}/config");
            wait_for("the secrets engine to be there", READY_WITHIN, async || {
                self.read(&config).await
            })
            .await?;
        }
        Ok(())
    }

    /// Mounts a login.
    pub async fn enable_login(&self, method: &str, path: &str) -> Result<()> {
        let mount = json!({"type": method});
        self.write(&format!("sys/auth/{path}"), mount)
            .await
            .map(drop)
    }

    /// Sets a policy, in OpenBao's own language.
    pub async fn policy(&self, name: &str, rules: &str) -> Result<()> {
        let policy = json!({"policy": rules});
        self.write(&format!("sys/policies/acl/{name}"), policy)
            .await
            .map(drop)
    }

    /// A client token with these policies that can be renewed.
    pub async fn token(&self, policies: &[&str], ttl: &str) -> Result<String> {
        let wanted = json!({"policies": policies, "ttl": ttl, "no_parent": true});
        let made = self.write("auth/token/create", wanted).await?;
        text(&made["auth"]["client_token"])
    }

    /// Mounts a root authority at [`PKI`] and one below it at [`PKI_ISSUING`]. Gives the root's certificate, in PEM: whoever
    /// trusts it trusts what the other issues, if it comes with its chain.
    pub async fn pki(&self) -> Result<String> {
        self.enable("pki", PKI).await?;
        self.enable("pki", PKI_ISSUING).await?;
        self.rotate_root().await
    }

    /// Replaces the root authority and the one below it by new ones. Gives the new root's certificate, in PEM.
    pub async fn rotate_root(&self) -> Result<String> {
        let wanted =
            json!({"common_name": "Root", "key_type": "ec", "key_bits": 256, "ttl": "87600h"});
        let made = self
            .write(&format!("{PKI}/root/rotate/internal"), wanted)
            .await?;
        self.make_default(PKI, &made["data"]["issuer_id"]).await?;
        self.rotate_issuing().await?;
        text(&made["data"]["certificate"])
    }

    /// Replaces the issuing authority by a new one below the same root. Gives its certificate, in PEM.
    pub async fn rotate_issuing(&self) -> Result<String> {
        let wanted = json!({"common_name": "Issuing", "key_type": "ec", "key_bits": 256});
        let path = format!("{PKI_ISSUING}/intermediate/generate/internal");
        let request = self.write(&path, wanted).await?;
        let wanted =
            json!({"csr": request["data"]["csr"], "common_name": "Issuing", "ttl": "43800h"});
        let path = format!("{PKI}/root/sign-intermediate");
        let signed = self.write(&path, wanted).await?;
        // With the root's, so that `ca_chain` is whole.
        let chain = format!(
            "{}\n{}",
            text(&signed["data"]["certificate"])?,
            text(&signed["data"]["issuing_ca"])?
        );
        let path = format!("{PKI_ISSUING}/intermediate/set-signed");
        let set = self.write(&path, json!({"certificate": chain})).await?;
        // Of those that came with the chain, the one whose key is here.
        let mapping = set["data"]["mapping"].as_object().context("no mapping")?;
        let ours = mapping
            .iter()
            .find(|(_, key)| key.as_str().is_some_and(|key| !key.is_empty()));
        let (issuer, _) = ours.context("no issuer with a key")?;
        self.make_default(PKI_ISSUING, &json!(issuer)).await?;
        text(&signed["data"]["certificate"])
    }

    /// A role for client certificates that last this long, such as `60s`, in these names or e-mail addresses of these
    /// domains; `more` adds to it or overrides, as in OpenBao's API.
    pub async fn pki_role(&self, role: &str, ttl: &str, names: &[&str], more: Value) -> Result<()> {
        let mut wanted = json!({
            "ttl": ttl,
            "max_ttl": "24h",
            "allowed_domains": names,
            "allow_bare_domains": true,
            "allow_subdomains": false,
            "key_type": "ec",
            "key_bits": 256,
            "client_flag": true,
            "server_flag": false,
        });
        if let (Some(wanted), Value::Object(more)) = (wanted.as_object_mut(), more) {
            wanted.extend(more);
        }
        self.write(&format!("{PKI_ISSUING}/roles/{role}"), wanted)
            .await
            .map(drop)
    }

    /// Mounts a login for service accounts that asks the API server about each token (`TokenReview`).
    pub async fn kubernetes_login(&self, path: &str, plane: &ControlPlane) -> Result<()> {
        self.enable_login("kubernetes", path).await?;
        let config = json!({
            "kubernetes_host": plane.url(),
            "kubernetes_ca_cert": plane.ca_pem(),
            "token_reviewer_jwt": reviewer_token(plane).await?,
            "disable_local_ca_jwt": true,
        });
        self.write(&format!("auth/{path}/config"), config)
            .await
            .map(drop)
    }

    /// A role of [`Self::kubernetes_login`].
    pub async fn kubernetes_role(
        &self,
        path: &str,
        role: &str,
        account: ServiceAccountRole<'_>,
    ) -> Result<()> {
        let wanted = json!({
            "bound_service_account_names": account.name,
            "bound_service_account_namespaces": account.namespace,
            "audience": account.audience,
            "token_policies": account.policies,
            "token_ttl": account.ttl,
        });
        self.write(&format!("auth/{path}/role/{role}"), wanted)
            .await
            .map(drop)
    }

    /// Mounts a login for service accounts that checks tokens by the API server's key and asks nobody.
    pub async fn jwt_login(&self, path: &str, plane: &ControlPlane) -> Result<()> {
        self.enable_login("jwt", path).await?;
        let config = json!({"jwt_validation_pubkeys": [plane.service_account_key_pem()?]});
        self.write(&format!("auth/{path}/config"), config)
            .await
            .map(drop)
    }

    /// A role of [`Self::jwt_login`].
    pub async fn jwt_role(
        &self,
        path: &str,
        role: &str,
        account: ServiceAccountRole<'_>,
    ) -> Result<()> {
        let subject = format!(
            "system:serviceaccount:{}:{}",
            account.namespace, account.name
        );
        let wanted = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_subject": subject,
            "bound_audiences": account.audience,
            "token_policies": account.policies,
            "token_ttl": account.ttl,
        });
        self.write(&format!("auth/{path}/role/{role}"), wanted)
            .await
            .map(drop)
    }

    /// Logs in with a token of a service account, and gives the client token. Needs no token itself.
    ///
    /// # Errors
    /// When OpenBao refuses; names the status and what it says.
    pub async fn login(&self, path: &str, role: &str, jwt: &str) -> Result<String> {
        let body = json!({"role": role, "jwt": jwt});
        let path = format!("auth/{path}/login");
        let answer = self.call_with("", Method::POST, &path, body).await?;
        text(&answer["auth"]["client_token"])
    }

    /// Sets a secret of a mounted `kv-v2`; every call makes a new version.
    pub async fn put_secret(&self, mount: &str, name: &str, values: Value) -> Result<()> {
        let path = format!("{mount}/data/{name}");
        self.write(&path, json!({"data": values})).await.map(drop)
    }

    async fn make_default(&self, mount: &str, issuer: &Value) -> Result<()> {
        let wanted = json!({"default": issuer});
        self.write(&format!("{mount}/config/issuers"), wanted)
            .await
            .map(drop)
    }
}

/// A token that may ask about others, of a service account made for it.
async fn reviewer_token(plane: &ControlPlane) -> Result<String> {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": REVIEWER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": REVIEWER, "namespace": "default"}],
    });
    plane.apply(&binding.to_string()).await?;
    plane.service_account_token("default", REVIEWER, &[]).await
}

fn text(value: &Value) -> Result<String> {
    let text = value
        .as_str()
        .context("OpenBao's answer has no such text")?;
    Ok(text.to_owned())
}
