//! What each role has to be allowed, and whether it is. Touches nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::{Value, json};

use crate::{
    access::{
        needs::{self, Places},
        rights::VAULT_ACCOUNT,
    },
    doctor::{
        page::{Finding, few, word},
        seen::{Seen, Unseen},
    },
    runtime::{
        cache::Scope,
        rights::{Lack, Right},
    },
};

const CHECK: &str = "rights";
const SECRETS: &str = "secrets";

/// A role of the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Starts and follows executions.
    Controller,
    /// Turns what people say into requests.
    Receiver,
    /// Tells how they go.
    Relay,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Controller, Self::Receiver, Self::Relay];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Receiver => "receiver",
            Self::Relay => "relay",
        }
    }

    /// Its user name.
    pub fn user(self, home: &str) -> String {
        format!("system:serviceaccount:{home}:foredeck-{}", self.name())
    }
}

/// What the rights depend on.
#[derive(Debug, Clone, Copy)]
pub struct Extent<'a> {
    /// Foredeck's own namespace.
    pub home: &'a str,
    /// Where it works.
    pub scopes: &'a [Scope],
    /// The Leases' namespace.
    pub lease_namespace: &'a str,
    /// Their names: the controller's and the relay's.
    pub leases: &'a [String; 2],
    /// Whether a connection logs in to Vault by a `ServiceAccount`.
    pub vault: bool,
    /// The Secrets that Applications name for their repositories, by namespace; none where no host of such may be asked.
    pub repositories: &'a BTreeMap<String, BTreeSet<String>>,
    /// The admission policies and their bindings: the plural and the name of each.
    pub policies: &'a [(&'static str, String)],
}

/// Every right that a role needs, and those that it needs in this installation.
pub fn needed(role: Role, extent: &Extent<'_>) -> Vec<Right> {
    let [controller, relay] = extent.leases;
    let needs = match role {
        Role::Controller => {
            let places = Places {
                scopes: extent.scopes,
                home: extent.home,
                lease: (extent.lease_namespace, controller),
                policies: extent.policies,
            };
            needs::controller(places)
        }
        Role::Receiver => needs::receiver(extent.scopes, extent.home),
        Role::Relay => needs::relay(extent.scopes, (extent.lease_namespace, relay)),
    };
    let mut rights: Vec<Right> = needs.all().cloned().collect();
    if role != Role::Relay {
        let secrets = extent.repositories.iter().flat_map(|(namespace, names)| {
            names.iter().map(move |name| Right {
                verb: "get",
                group: "",
                resource: SECRETS,
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
            })
        });
        rights.extend(secrets);
    }
    if role != Role::Controller {
        return rights;
    }
    if extent.vault {
        rights.extend(extent.scopes.iter().map(|scope| Right {
            verb: "create",
            group: "",
            resource: "serviceaccounts/token",
            namespace: match scope {
                Scope::Cluster => None,
                Scope::Namespace(namespace) => Some(namespace.clone()),
            },
            name: Some(VAULT_ACCOUNT.to_owned()),
        }));
    }
    rights
}

/// A right, as the attributes of an access review.
pub fn attributes(right: &Right) -> Value {
    let (resource, subresource) = right
        .resource
        .split_once('/')
        .unwrap_or((right.resource, ""));
    json!({
        "group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb,
        "name": right.name.as_deref().unwrap_or_default(),
        "namespace": right.namespace.as_deref().unwrap_or_default(),
    })
}

/// `get leases.coordination.k8s.io foredeck-relay in foredeck-system`.
fn words(right: &Right) -> String {
    let mut words = format!("{} {}", right.verb, right.resource);
    if !right.group.is_empty() {
        let _ = write!(words, ".{}", right.group);
    }
    if let Some(name) = &right.name {
        let _ = write!(words, " {name}");
    }
    if let Some(namespace) = &right.namespace {
        let _ = write!(words, " in {namespace}");
    }
    words
}

/// Who asks, as the API server knows them.
pub fn asker(seen: &Seen<String>) -> Finding {
    match seen {
        Ok(username) => Finding::ok(CHECK, &format!("Asked as {}", word(username))),
        Err(unseen) => unseen.line(CHECK, "As whom this asks"),
    }
}

/// Whether a role may all that it needs.
pub fn role(role: Role, asked: &Seen<Vec<(Right, Option<Lack>)>>) -> Finding {
    let name = role.name();
    let reviewed = match asked {
        Ok(reviewed) => reviewed,
        Err(Unseen::Forbidden { right }) => {
            return Finding::skip(
                CHECK,
                &format!(
                    "What the {name} may isn't known: whoever asks may not {right}, and isn't the {name}"
                ),
                Some(&format!(
                    "Ask again as somebody who may {right}, or from a Pod of the {name}'s"
                )),
            );
        }
        Err(unseen) => return unseen.line(CHECK, &format!("What the {name} may")),
    };
    let missing: Vec<String> = reviewed
        .iter()
        .filter(|(_, lack)| matches!(lack, Some(Lack::Missing)))
        .map(|(right, _)| words(right))
        .collect();
    let unknown = reviewed.iter().find_map(|(right, lack)| match lack {
        Some(Lack::Unknown(why)) => Some((words(right), why)),
        _ => None,
    });
    if let (true, Some((right, why))) = (missing.is_empty(), unknown) {
        return Finding::warn(
            CHECK,
            &format!(
                "Whether the {name} may {right} isn't known: the API server says {}",
                word(why)
            ),
            "Mend what it can't evaluate: a binding may name a role that isn't there",
        );
    }
    if missing.is_empty() {
        return Finding::ok(
            CHECK,
            &format!(
                "The {name} may all that it needs ({} rights)",
                reviewed.len()
            ),
        );
    }
    let of_chart = reviewed
        .iter()
        .any(|(right, lack)| matches!(lack, Some(Lack::Missing)) && right.resource != SECRETS);
    let todo = if of_chart {
        "Install the chart again, with the same namespaces; its roles give all of these but those on Secrets"
    } else {
        "Have foredeck doctor --print-rbac print the Roles for repositories' Secrets, read them and apply them"
    };
    Finding::fail(
        CHECK,
        &format!("The {name} may not: {}", few(&missing)),
        todo,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::page::State;

    fn rights(role: Role, namespaces: &[&str], more: bool) -> Vec<Right> {
        let leases = ["foredeck-controller", "foredeck-relay"].map(str::to_owned);
        let scopes: Vec<Scope> = match namespaces {
            [] => vec![Scope::Cluster],
            names => names
                .iter()
                .map(|name| Scope::Namespace((*name).to_owned()))
                .collect(),
        };
        let policies = [("validatingadmissionpolicies", "foredeck-persons".to_owned())];
        let extent = Extent {
            home: "foredeck-system",
            scopes: &scopes,
            lease_namespace: "foredeck-system",
            leases: &leases,
            vault: more,
            repositories: &BTreeMap::new(),
            policies: &policies,
        };
        needed(role, &extent)
    }

    #[test]
    fn what_is_needed_depends_on_where_foredeck_works_and_on_what_is_used() {
        let all = |role, namespaces: &[&str]| -> Vec<String> {
            rights(role, namespaces, false).iter().map(words).collect()
        };
        let everywhere = all(Role::Relay, &[]);
        assert!(everywhere.contains(&"patch deployrequests/status.foredeck.dev".to_owned()));
        let controllers = all(Role::Controller, &[]);
        let policy =
            "get validatingadmissionpolicies.admissionregistration.k8s.io foredeck-persons";
        assert!(
            controllers.iter().any(|right| right == policy),
            "{controllers:?}"
        );
        let lease =
            "update leases.coordination.k8s.io foredeck-relay in foredeck-system".to_owned();
        assert!(everywhere.contains(&lease), "{everywhere:?}");
        let narrow = all(Role::Relay, &["a", "b"]);
        assert!(narrow.contains(&"patch deployrequests/status.foredeck.dev in b".to_owned()));
        assert!(!narrow.contains(&"patch deployrequests/status.foredeck.dev".to_owned()));
        let (less, more) = (
            rights(Role::Controller, &[], false),
            rights(Role::Controller, &[], true),
        );
        assert_eq!(more.len(), less.len() + 1);
    }

    #[test]
    fn a_right_that_is_missing_is_named() {
        let all: Vec<_> = rights(Role::Receiver, &[], false)
            .into_iter()
            .map(|right| (right, None))
            .collect();
        assert_eq!(role(Role::Receiver, &Ok(all.clone())).state, State::Ok);
        let mut without = all;
        without[3].1 = Some(Lack::Missing);
        let finding = role(Role::Receiver, &Ok(without.clone()));
        assert_eq!(finding.state, State::Fail);
        assert!(finding.found.contains(&words(&without[3].0)), "{finding:?}");
        without[3].1 = Some(Lack::Unknown("no such role".to_owned()));
        let unknown = role(Role::Receiver, &Ok(without));
        assert_eq!(unknown.state, State::Warn);
        assert!(unknown.found.contains("no such role"), "{unknown:?}");
        let right = "create subjectaccessreviews".to_owned();
        let unknown = role(Role::Receiver, &Err(Unseen::Forbidden { right }));
        assert_eq!(unknown.state, State::Skip);
    }

    #[test]
    fn controller_and_receiver_need_the_secrets_that_repositories_name() {
        let leases = ["foredeck-controller", "foredeck-relay"].map(str::to_owned);
        let names = BTreeSet::from(["github".to_owned()]);
        let extent = Extent {
            home: "foredeck-system",
            scopes: &[Scope::Cluster],
            lease_namespace: "foredeck-system",
            leases: &leases,
            vault: false,
            repositories: &BTreeMap::from([("shop".to_owned(), names)]),
            policies: &[],
        };
        let secret = "get secrets github in shop";
        for (role, needs) in [
            (Role::Controller, true),
            (Role::Receiver, true),
            (Role::Relay, false),
        ] {
            let all = needed(role, &extent);
            assert_eq!(all.iter().any(|right| words(right) == secret), needs);
        }
        let lacking = needed(Role::Receiver, &extent).into_iter().map(|right| {
            let lack = (right.resource == SECRETS).then_some(Lack::Missing);
            (right, lack)
        });
        let finding = role(Role::Receiver, &Ok(lacking.collect()));
        assert_eq!(finding.state, State::Fail);
        assert!(
            finding.found.ends_with(&format!("may not: {secret}")),
            "{finding:?}"
        );
        assert!(finding.todo.unwrap().contains("--print-rbac"));
    }
}
