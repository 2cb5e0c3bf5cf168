//! The rights that rendered manifests give to the roles, one verb on one resource by one name at a time, and which calls each
//! of them allows. Touches nothing.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, Result};
use foredeck_testkit::AuditedCall;
use serde_json::{Value, json};

use crate::support::{HOME, account};

/// What a role asked of the API server, as far as RBAC sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Act {
    /// The `ServiceAccount`'s name.
    pub(crate) role: String,
    pub(crate) verb: String,
    pub(crate) group: String,
    /// With its subresource: `deployrequests/status`.
    pub(crate) resource: String,
    /// Empty for what belongs to none, or for all.
    pub(crate) namespace: String,
    /// Empty where no name was said.
    pub(crate) name: String,
}

impl Act {
    /// What a role of foredeck's did; none for others, and for what is no resource (discovery).
    pub(crate) fn of(call: &AuditedCall) -> Option<Self> {
        let role = role_of(call.who())?;
        if call.resource.is_empty() {
            return None;
        }
        let resource = match call.subresource.as_str() {
            "" => call.resource.clone(),
            subresource => format!("{}/{subresource}", call.resource),
        };
        Some(Self {
            role,
            verb: call.verb.clone(),
            group: call.group.clone(),
            resource,
            namespace: call.namespace.clone(),
            name: call.name.clone(),
        })
    }

    /// That a role acted as another.
    pub(crate) fn impersonation(call: &AuditedCall) -> Option<Self> {
        Some(Self {
            role: role_of(&call.user)?,
            verb: "impersonate".to_owned(),
            group: String::new(),
            resource: "serviceaccounts".to_owned(),
            namespace: HOME.to_owned(),
            name: role_of(call.acting_as.as_deref()?)?,
        })
    }

    /// The question whether its role may do this.
    pub(crate) fn review(&self) -> Value {
        let (resource, subresource) = self
            .resource
            .split_once('/')
            .unwrap_or((&self.resource, ""));
        json!({
            "metadata": {},
            "spec": {
                "user": account(&self.role),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{HOME}"), "system:authenticated"],
                "resourceAttributes": {
                    "namespace": self.namespace, "verb": self.verb, "group": self.group,
                    "resource": resource, "subresource": subresource, "name": self.name,
                },
            },
        })
    }
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            verb,
            group,
            resource,
            namespace,
            name,
        } = self;
        write!(
            formatter,
            "{role}: {verb} {resource}.{group} {name:?} in {namespace:?}"
        )
    }
}

/// The name of the `ServiceAccount` of foredeck's own namespace that a user name is of.
fn role_of(user: &str) -> Option<String> {
    let name = user.strip_prefix(&format!("system:serviceaccount:{HOME}:"))?;
    name.starts_with("foredeck").then(|| name.to_owned())
}

/// One verb on one resource, perhaps by one name, that a role has somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// The `ServiceAccount`'s name.
    pub(crate) role: String,
    /// The binding's namespace; none where it holds everywhere.
    pub(crate) within: Option<String>,
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    /// The object that it stands in: `ClusterRole` or `Role`, its namespace and its name.
    pub(crate) source: (String, String, String),
}

impl Right {
    pub(crate) fn allows(&self, act: &Act) -> bool {
        self.role == act.role
            && self.verb == act.verb
            && self.group == act.group
            && self.resource == act.resource
            && self
                .within
                .as_ref()
                .is_none_or(|within| *within == act.namespace)
            && self.name.as_ref().is_none_or(|name| *name == act.name)
    }
}

impl Right {
    /// What is done by it there.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Act {
        Act {
            role: self.role.clone(),
            verb: self.verb.clone(),
            group: self.group.clone(),
            resource: self.resource.clone(),
            namespace: namespace.to_owned(),
            name: self.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.within.as_deref().unwrap_or("all namespaces");
        write!(
            formatter,
            "{}: {} {}.{}",
            self.role, self.verb, self.resource, self.group
        )?;
        if let Some(name) = &self.name {
            write!(formatter, " {name:?}")?;
        }
        write!(
            formatter,
            " in {place} ({} {})",
            self.source.0, self.source.2
        )
    }
}

/// Rendered manifests, one by one.
pub(crate) fn documents(manifests: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> =
        serde_saphyr::from_multiple(manifests).context("the manifests are no YAML")?;
    Ok(all.into_iter().filter(|one| !one.is_null()).collect())
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Kind, namespace and name.
pub(crate) fn identity(document: &Value) -> (String, String, String) {
    let own = |pointer| text(document, pointer).to_owned();
    (
        own("/kind"),
        own("/metadata/namespace"),
        own("/metadata/name"),
    )
}

/// Every rule of a role in Kubernetes' sense, taken apart so that each says one thing.
pub(crate) fn atoms(role: &Value) -> Vec<Value> {
    let mut atoms = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        let names = texts(&rule["resourceNames"]);
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let plain =
                        json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
                    if names.is_empty() {
                        atoms.push(plain);
                        continue;
                    }
                    for name in &names {
                        let mut narrowed = plain.clone();
                        narrowed["resourceNames"] = json!([name]);
                        atoms.push(narrowed);
                    }
                }
            }
        }
    }
    atoms
}

/// Every right that the manifests give to a `ServiceAccount` of foredeck's own namespace.
pub(crate) fn rights(documents: &[Value]) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for binding in documents {
        let (kind, namespace, _) = identity(binding);
        let within = match kind.as_str() {
            "ClusterRoleBinding" => None,
            "RoleBinding" => Some(namespace.clone()),
            _ => continue,
        };
        let referred = (
            text(binding, "/roleRef/kind").to_owned(),
            if text(binding, "/roleRef/kind") == "Role" {
                namespace
            } else {
                String::new()
            },
            text(binding, "/roleRef/name").to_owned(),
        );
        let role = documents.iter().find(|one| identity(one) == referred);
        let subjects = binding["subjects"].as_array().into_iter().flatten();
        for subject in subjects.filter(|subject| text(subject, "/namespace") == HOME) {
            for atom in role.map(atoms).unwrap_or_default() {
                all.insert(Right {
                    role: text(subject, "/name").to_owned(),
                    within: within.clone(),
                    verb: text(&atom, "/verbs/0").to_owned(),
                    group: text(&atom, "/apiGroups/0").to_owned(),
                    resource: text(&atom, "/resources/0").to_owned(),
                    name: atom
                        .pointer("/resourceNames/0")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                    source: referred.clone(),
                });
            }
        }
    }
    all
}

/// The role in Kubernetes' sense that a right stands in, without it.
pub(crate) fn without(documents: &[Value], right: &Right) -> Result<Value> {
    let source = documents.iter().find(|one| identity(one) == right.source);
    let mut mutated = source
        .with_context(|| format!("{right} stands nowhere"))?
        .clone();
    let mut atoms = atoms(&mutated);
    let before = atoms.len();
    atoms.retain(|atom| {
        let name = atom.pointer("/resourceNames/0").and_then(Value::as_str);
        text(atom, "/verbs/0") != right.verb
            || text(atom, "/apiGroups/0") != right.group
            || text(atom, "/resources/0") != right.resource
            || name != right.name.as_deref()
    });
    anyhow::ensure!(atoms.len() < before, "{right} stands nowhere in its role");
    mutated["rules"] = atoms.into();
    Ok(mutated)
}
