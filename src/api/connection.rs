//! `SpinnakerConnection`: one Gate. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bounds, selector::LabelSelector};

/// `https`, or `http` on the loopback, where nobody listens in; a host, perhaps a port, and nothing after it. No backslash
/// either, which URLs take for a slash.
const VAULT_ADDRESS: &str =
    r"^(https://[A-Za-z0-9._:\[\]-]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?)/?$";
/// Segments of a path in Vault, none of which leads elsewhere.
const VAULT_PATH: &str = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$";
/// A name in Vault.
const VAULT_NAME: &str = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$";
/// Vault takes lists with commas between their items.
const NO_COMMA: &str = "^[^, ]+$";
const TRUST_RULE: &str = "has(self.caBundle) != has(self.caSecretRef)";
const TRUST_MESSAGE: &str = "tls takes exactly one of caBundle and caSecretRef";

/// One Gate: where it is, how to log in, and what may be reached through it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "SpinnakerConnection",
    namespaced,
    status = "SpinnakerConnectionStatus",
    shortname = "spincon",
    category = "foredeck",
    derive = "PartialEq",
    printcolumn(name = "Gate", type_ = "string", json_path = ".spec.gateUrl"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "User", type_ = "string", json_path = ".status.user"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Certificate until",
        type_ = "string",
        json_path = ".status.certificate.notAfter"
    ),
    printcolumn(
        name = "Serial",
        type_ = "string",
        json_path = ".status.certificate.serial",
        priority = 1
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.auth) || !has(self.auth.mtls) || self.gateUrl.startsWith('https://')",
    "message": "auth.mtls takes a gateUrl that begins with https://",
}]))]
pub struct SpinnakerConnectionSpec {
    /// Gate's base URL, with its path prefix if it has one.
    #[schemars(length(min = 8, max = bounds::URL), regex(pattern = "^https?://[^ ?#]+$"))]
    pub gate_url: String,
    /// Deck's base URL, for links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = bounds::URL), regex(pattern = "^https?://[^ ?#]+$"))]
    pub deck_url: Option<String>,
    /// By which endpoint executions are started.
    #[serde(default)]
    pub trigger: TriggerMode,
    /// What to do when a start's outcome can't be known.
    #[serde(default)]
    pub on_unknown: OnUnknown,
    /// What may be reached through it. Empty allows nothing.
    #[serde(default)]
    pub allow: Allow,
    /// Which other namespaces may use it, within `allow`: those whose labels it matches. It counts in foredeck's own
    /// namespace only; anywhere else a connection is its own namespace's. Left out: no other; `{}`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// How to log in; not at all when left out. Exactly one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "[has(self.basic), has(self.token), has(self.mtls)].filter(one, one).size() == 1",
        "message": "auth takes exactly one of basic, token and mtls",
    }]))]
    pub auth: Option<Auth>,
    /// Whose certificates Gate's is checked by; those that the controller's machine trusts when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": TRUST_RULE, "message": TRUST_MESSAGE}]))]
    pub tls: Option<Trust>,
    /// Deadlines.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How often Gate is called at most; as often as needed when left out. No more than 16 calls that read are ever under
    /// way at once, and as many that start or cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// By which endpoint executions are started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TriggerMode {
    /// `POST /pipelines/start`, which takes our execution id.
    #[default]
    Start,
    /// `POST /pipelines/{application}/{id}`, where a site forbids the other; the execution is found by correlation id.
    V1,
}

/// What to do when a start's outcome can't be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnknown {
    /// After the settle time of clean "not found" answers, send it again with the same ids.
    #[default]
    Retry,
    /// Wait for a person.
    Hold,
}

/// What may be reached through a connection. `*` stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Spinnaker applications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(min = 1, max = bounds::NAME)))]
    pub applications: Vec<String>,
    /// Spinnaker accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(min = 1, max = bounds::NAME)))]
    pub accounts: Vec<String>,
    /// Kubernetes namespaces in those accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(min = 1, max = bounds::NAME)))]
    pub namespaces: Vec<String>,
}

/// How to log in. Secrets are read from the connection's own namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// User name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// A token in a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenAuth>,
    /// A client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "has(self.secretName) != has(self.vault)",
        "message": "mtls takes exactly one of secretName and vault",
    }]))]
    pub mtls: Option<MtlsAuth>,
}

/// A client certificate: one that lies in a Secret, or short-lived ones that Vault issues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MtlsAuth {
    /// A Secret of type `kubernetes.io/tls`: keys `tls.crt` (the chain, leaf first) and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub secret_name: Option<String>,
    /// A Vault (or OpenBao) that issues them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultAuth>,
}

/// Certificates from a Vault's PKI engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuth {
    /// Vault's address, without a path: `https`, or `http` on the loopback.
    #[schemars(length(min = 8, max = bounds::URL), regex(pattern = VAULT_ADDRESS))]
    pub address: String,
    /// The `X-Vault-Namespace` of all calls; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME), regex(pattern = VAULT_PATH))]
    pub namespace: Option<String>,
    /// Whose certificates Vault's is checked by; those that the controller's machine trusts when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": TRUST_RULE, "message": TRUST_MESSAGE}]))]
    pub tls: Option<Trust>,
    /// How to log in to it.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "[has(self.kubernetes), has(self.jwt), has(self.token)].filter(one, one).size() == 1",
        "message": "login takes exactly one of kubernetes, jwt and token",
    }]))]
    pub login: VaultLogin,
    /// What to ask for.
    pub pki: Pki,
}

/// How to log in to a Vault. `kubernetes` and `jwt` show a token of the `ServiceAccount` `foredeck-vault` in the
/// connection's namespace, good for ten minutes and for that audience alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultLogin {
    /// The Kubernetes auth method: Vault asks the API server about the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<ServiceAccountLogin>,
    /// The JWT auth method: Vault checks the token's signature by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<ServiceAccountLogin>,
    /// A Vault token in a Secret. It is renewed as long as Vault lets it be, and lives in a Secret: for trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<VaultTokenLogin>,
}

/// A login with a `ServiceAccount`'s token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountLogin {
    /// Where the method is mounted, without `auth/`; `kubernetes` or `jwt`, as the method is named, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME), regex(pattern = VAULT_PATH))]
    pub mount: Option<String>,
    /// The method's role.
    #[schemars(length(min = 1, max = bounds::NAME), regex(pattern = VAULT_NAME))]
    pub role: String,
    /// Whom the token is for, as the role in Vault names it. Never the API server's own audience.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub audience: String,
}

/// A Vault token from a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultTokenLogin {
    /// The Secret's name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub secret_name: String,
    /// The key in it; `token` when left out.
    #[serde(default = "default_token_key")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub key: String,
}

/// What certificate to ask for: `POST /v1/{mount}/issue/{role}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pki {
    /// Where the PKI engine is mounted; `pki` when left out.
    #[serde(default = "default_pki_mount")]
    #[schemars(length(min = 1, max = bounds::NAME), regex(pattern = VAULT_PATH))]
    pub mount: String,
    /// The engine's role.
    #[schemars(length(min = 1, max = bounds::NAME), regex(pattern = VAULT_NAME))]
    pub role: String,
    /// The subject's common name, by which Gate knows who calls unless the certificate has an e-mail address.
    #[schemars(length(min = 1, max = bounds::NAME), regex(pattern = NO_COMMA))]
    pub common_name: String,
    /// Further names: host names and e-mail addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = bounds::NAME), regex(pattern = NO_COMMA)))]
    pub alt_names: Vec<String>,
    /// IP addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = bounds::LABEL), regex(pattern = NO_COMMA)))]
    pub ip_sans: Vec<String>,
    /// URIs, such as a SPIFFE ID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = bounds::NAME), regex(pattern = NO_COMMA)))]
    pub uri_sans: Vec<String>,
    /// How long it is to be good; what the role says when left out. Vault may give less. At least 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(s|m|h))+$"))]
    pub ttl: Option<Duration>,
}

fn default_pki_mount() -> String {
    "pki".to_owned()
}

/// Whose certificates a server's is checked by: these and no others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// PEM certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 65_536),
        regex(pattern = "-----BEGIN CERTIFICATE-----")
    )]
    pub ca_bundle: Option<String>,
    /// A Secret that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// A Secret with PEM certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub name: String,
    /// The key in it; `ca.crt` when left out.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub key: String,
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

/// How often a Gate is called at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Calls a second, in the long run.
    #[schemars(range(min = 1, max = 1_000))]
    pub per_second: u32,
    /// Calls that may come at once; as many as `perSecond` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub burst: Option<u32>,
}

/// User name and password from a Secret of type `kubernetes.io/basic-auth`: keys `username` and `password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The Secret's name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub secret_name: String,
}

/// A token from a Secret, sent as `Authorization: Bearer …` or in a header of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenAuth {
    /// The Secret's name.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub secret_name: String,
    /// The key in it; `token` when left out.
    #[serde(default = "default_token_key")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub key: String,
    /// The header. `Authorization` carries `Bearer` before the token; any other, such as `X-Spinnaker-Token`, the bare
    /// token.
    #[serde(default = "default_token_header")]
    #[schemars(length(min = 1, max = bounds::LABEL), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub header: String,
}

fn default_token_key() -> String {
    "token".to_owned()
}

fn default_token_header() -> String {
    "Authorization".to_owned()
}

/// Deadlines of a connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// For name, connection and TLS together; 5 s when left out, and at most half of `request` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub connect: Option<Duration>,
    /// Of one call to Gate; 20 s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub request: Option<Duration>,
    /// How long Gate has to answer "not found" before a start whose outcome is unknown is sent again. At least 150 s,
    /// which is the default: Gate itself waits 120 s for Orca, and an abandoned start may still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^([0-9]{1,8}(ms|s|m|h))+$"))]
    pub settle: Option<Duration>,
}

/// What the controller found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpinnakerConnectionStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// As whom Gate knows us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub user: Option<String>,
    /// Gate's version, as it says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub version: Option<String>,
    /// The client certificate that Gate is shown now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
}

/// What may be known of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Its serial number: hexadecimal pairs with colons between them, as Vault and OpenSSL write it.
    #[schemars(length(max = bounds::NAME))]
    pub serial: String,
    /// Until when it is good.
    pub not_after: Time,
}
