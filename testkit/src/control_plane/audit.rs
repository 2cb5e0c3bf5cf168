//! The API server's own record of who asked it for what, and whether they might. Touches one file of the control plane.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Every request once it is answered, without what it carried.
pub(super) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata"}]
}"#;

/// A request that the API server answered, or began to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedCall {
    /// Whose credentials it came with.
    pub user: String,
    /// Whom that user acted as, by impersonation.
    pub acting_as: Option<String>,
    /// RBAC's verb: `get`, `list`, `watch`, `create`, …
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, in plural; empty for what is none (`/version`, discovery).
    pub resource: String,
    /// `status`, `token`, …; empty for the object itself.
    pub subresource: String,
    /// Empty for what belongs to none.
    pub namespace: String,
    /// The name by which RBAC decides: that in the path, so empty for a list and for an object that is created.
    pub name: String,
    /// The HTTP status of the answer; 0 while there is none.
    pub code: u16,
    /// Whether RBAC let it pass. Admission may have refused it all the same, and the object may not exist.
    pub allowed: bool,
    /// By which binding, in the API server's words.
    pub reason: String,
    /// Path and query.
    pub uri: String,
}

impl AuditedCall {
    /// The user whose rights counted.
    pub fn who(&self) -> &str {
        self.acting_as.as_deref().unwrap_or(&self.user)
    }
}

/// A line, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    object_ref: Reference,
    response_status: Option<Status>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// All calls so far, in the order in which they were answered.
pub(super) fn read(file: &Path) -> Result<Vec<AuditedCall>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // The last line may still be written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let call = |line: &str| {
        serde_json::from_str::<Line>(line)
            .map(AuditedCall::from)
            .with_context(|| format!("no audit line: {line}"))
    };
    whole.lines().map(call).collect()
}

impl From<Line> for AuditedCall {
    fn from(line: Line) -> Self {
        let annotation = |name: &str| {
            let name = format!("authorization.k8s.io/{name}");
            line.annotations.get(&name).cloned().unwrap_or_default()
        };
        let (allowed, reason) = (annotation("decision") == "allow", annotation("reason"));
        let object = line.object_ref;
        // The log takes the name of what is made from its body, which RBAC doesn't see.
        let named = line.verb != "create" || !object.subresource.is_empty();
        Self {
            user: line.user.username,
            acting_as: line.impersonated_user.map(|user| user.username),
            verb: line.verb,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: if named { object.name } else { String::new() },
            code: line.response_status.map_or(0, |status| status.code),
            allowed,
            reason,
            uri: line.uri,
        }
    }
}
