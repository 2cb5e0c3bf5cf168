//! How to reach the API server, and as whom: configurations for clients, and kubeconfig files. Touches nothing.

use anyhow::{Context, Result};
use axum::http::Uri;
use k8s_openapi::ByteString;
use kube::Config;
use kube::config::AuthInfo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Somebody else than the administrator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    pub(super) user: &'a str,
    pub(super) groups: &'a [&'a str],
}

/// The address, what to trust there, and the administrator's token.
#[derive(Debug)]
pub(super) struct Access {
    url: String,
    uri: Uri,
    ca_pem: String,
    ca_der: Vec<u8>,
    admin_token: String,
}

impl Access {
    /// `chain` is the server's certificate followed by its authority's. Fails while it is not written to its end.
    pub(super) fn new(url: &str, chain: &str, admin_token: &str) -> Result<Self> {
        let authority = chain.match_indices(BEGIN_CERTIFICATE).nth(1);
        let (start, _) = authority.context("the authority's certificate is missing")?;
        let ca_pem = chain
            .get(start..)
            .context("the authority's certificate is missing")?
            .to_owned();
        let ca_der = CertificateDer::from_pem_slice(ca_pem.as_bytes())
            .context("the authority's certificate is unreadable")?;
        Ok(Self {
            url: url.to_owned(),
            uri: url.parse().with_context(|| format!("{url} is no URL"))?,
            ca_der: ca_der.to_vec(),
            ca_pem,
            admin_token: admin_token.to_owned(),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(super) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// A client's configuration, as the administrator or as another.
    pub(super) fn config(&self, identity: Option<Identity<'_>>) -> Config {
        self.config_with(&self.admin_token, identity)
    }

    /// The same with another's token.
    pub(super) fn config_with(&self, token: &str, identity: Option<Identity<'_>>) -> Config {
        let mut config = Config::new(self.uri.clone());
        config.root_cert = Some(vec![self.ca_der.clone()]);
        config.auth_info = AuthInfo {
            token: Some(token.to_owned().into()),
            impersonate: identity.map(|identity| identity.user.to_owned()),
            impersonate_groups: identity
                .map(|identity| identity.groups.iter().map(ToString::to_string).collect()),
            ..AuthInfo::default()
        };
        config
    }

    /// The content of a kubeconfig for `server`, which is the API server or something in front of it: the administrator's,
    /// perhaps as another.
    pub(super) fn kubeconfig(&self, server: &str, identity: Option<Identity<'_>>) -> Result<Value> {
        self.kubeconfig_with(server, &self.admin_token, identity)
    }

    /// The same with another's token.
    ///
    /// JSON, which every reader of YAML takes.
    pub(super) fn kubeconfig_with(
        &self,
        server: &str,
        token: &str,
        identity: Option<Identity<'_>>,
    ) -> Result<Value> {
        let mut cluster = json!({"server": server});
        if server.starts_with("https://")
            && let Some(cluster) = cluster.as_object_mut()
        {
            cluster.insert(
                "certificate-authority-data".to_owned(),
                base64(self.ca_pem.as_bytes())?.into(),
            );
        }
        let mut user = json!({"token": token});
        if let Some(identity) = identity
            && let Some(user) = user.as_object_mut()
        {
            user.insert("as".to_owned(), identity.user.into());
            user.insert("as-groups".to_owned(), identity.groups.into());
        }
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "foredeck-test", "cluster": cluster}],
            "users": [{"name": "foredeck-test", "user": user}],
            "contexts": [{"name": "foredeck-test", "context": {"cluster": "foredeck-test", "user": "foredeck-test"}}],
            "current-context": "foredeck-test",
        }))
    }
}

/// Kubernetes' own encoding of bytes, at hand without another dependency.
pub(super) fn base64(bytes: &[u8]) -> Result<String> {
    let encoded = serde_json::to_value(ByteString(bytes.to_vec()))?;
    Ok(encoded
        .as_str()
        .context("bytes are encoded as a string")?
        .to_owned())
}
