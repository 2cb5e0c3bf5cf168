//! What each role has to be allowed, and whether it is. Touches nothing.

use serde_json::{Value, json};

use crate::{
    access::rights::VAULT_ACCOUNT,
    api::GROUP,
    doctor::{
        page::{Finding, few, word},
        seen::{Seen, Unseen},
    },
};

const CHECK: &str = "rights";

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

/// Where a right has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Wherever foredeck works.
    Work,
    /// In foredeck's own namespace.
    Home,
    /// It is of no namespace.
    Cluster,
}

/// A right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    /// Of this object alone.
    name: Option<&'static str>,
    /// In this namespace; in all where none is named, or of none.
    namespace: Option<String>,
}

/// What the rights depend on.
#[derive(Debug, Clone, Copy)]
pub struct Extent<'a> {
    /// Foredeck's own namespace.
    pub home: &'a str,
    /// Where it works; everywhere when empty.
    pub namespaces: &'a [String],
    /// Whether a connection logs in to Vault by a `ServiceAccount`.
    pub vault: bool,
    /// Whether the API server stamps who asks.
    pub stamps: bool,
}

type Row = (
    Where,
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<&'static str>,
);

const READ: &[&str] = &["get", "list", "watch"];
const ADMISSION: &str = "admissionregistration.k8s.io";
const LEASES: &str = "coordination.k8s.io";
const REVIEWS: &str = "authorization.k8s.io";

const CONTROLLER: &[Row] = &[
    (Where::Work, GROUP, "applications", READ, None),
    (Where::Work, GROUP, "environments", READ, None),
    (Where::Work, GROUP, "spinnakerconnections", READ, None),
    (Where::Work, GROUP, "deployrequests", READ, None),
    (
        Where::Work,
        GROUP,
        "deployrequests",
        &["patch", "delete"],
        None,
    ),
    (Where::Work, GROUP, "deployapprovals", READ, None),
    (Where::Work, GROUP, "deploytargets", READ, None),
    (Where::Work, GROUP, "deploytargets", &["create"], None),
    (Where::Work, GROUP, "applications/status", &["patch"], None),
    (Where::Work, GROUP, "environments/status", &["patch"], None),
    (
        Where::Work,
        GROUP,
        "spinnakerconnections/status",
        &["patch"],
        None,
    ),
    (
        Where::Work,
        GROUP,
        "deployrequests/status",
        &["patch"],
        None,
    ),
    (
        Where::Work,
        GROUP,
        "deployapprovals/status",
        &["patch"],
        None,
    ),
    (Where::Work, GROUP, "deploytargets/status", &["patch"], None),
    (
        Where::Work,
        REVIEWS,
        "localsubjectaccessreviews",
        &["create"],
        None,
    ),
    (
        Where::Work,
        "events.k8s.io",
        "events",
        &["create", "patch"],
        None,
    ),
    (
        Where::Cluster,
        "",
        "namespaces",
        &["get"],
        Some("kube-system"),
    ),
    (
        Where::Cluster,
        ADMISSION,
        "validatingadmissionpolicies",
        &["get"],
        Some("foredeck-deployrequests"),
    ),
    (
        Where::Cluster,
        ADMISSION,
        "validatingadmissionpolicybindings",
        &["get"],
        Some("foredeck-deployrequests"),
    ),
    (Where::Home, GROUP, "persons", READ, None),
    (
        Where::Home,
        LEASES,
        "leases",
        &["get", "update"],
        Some("foredeck-controller"),
    ),
    (Where::Home, LEASES, "leases", &["create"], None),
];
const STAMPS: &[Row] = &[
    (
        Where::Cluster,
        ADMISSION,
        "mutatingadmissionpolicies",
        &["get"],
        Some("foredeck-requester"),
    ),
    (
        Where::Cluster,
        ADMISSION,
        "mutatingadmissionpolicybindings",
        &["get"],
        Some("foredeck-requester"),
    ),
];
const VAULT: &[Row] = &[(
    Where::Work,
    "",
    "serviceaccounts/token",
    &["create"],
    Some(VAULT_ACCOUNT),
)];
const RECEIVER: &[Row] = &[
    (Where::Work, GROUP, "applications", READ, None),
    (Where::Work, GROUP, "environments", READ, None),
    (Where::Work, GROUP, "deployrequests", READ, None),
    (
        Where::Work,
        GROUP,
        "deployrequests",
        &["create", "patch"],
        None,
    ),
    (Where::Work, GROUP, "deployapprovals", READ, None),
    (Where::Work, GROUP, "deployapprovals", &["create"], None),
    (Where::Work, GROUP, "deploytargets", READ, None),
    (
        Where::Work,
        REVIEWS,
        "localsubjectaccessreviews",
        &["create"],
        None,
    ),
    (Where::Home, GROUP, "persons", READ, None),
    (Where::Home, GROUP, "persons", &["create"], None),
    (Where::Home, GROUP, "persons/status", &["patch"], None),
];
const RELAY: &[Row] = &[
    (Where::Work, GROUP, "applications", READ, None),
    (Where::Work, GROUP, "environments", READ, None),
    (Where::Work, GROUP, "deployrequests", READ, None),
    (Where::Work, GROUP, "deployapprovals", READ, None),
    (
        Where::Work,
        GROUP,
        "deployrequests/status",
        &["patch"],
        None,
    ),
    (
        Where::Work,
        "events.k8s.io",
        "events",
        &["create", "patch"],
        None,
    ),
    (
        Where::Home,
        LEASES,
        "leases",
        &["get", "update"],
        Some("foredeck-relay"),
    ),
    (Where::Home, LEASES, "leases", &["create"], None),
];

/// Every right that a role needs.
pub fn needed(role: Role, extent: &Extent<'_>) -> Vec<Right> {
    let mut rows: Vec<Row> = match role {
        Role::Controller => CONTROLLER,
        Role::Receiver => RECEIVER,
        Role::Relay => RELAY,
    }
    .to_vec();
    if role == Role::Controller && extent.stamps {
        rows.extend(STAMPS);
    }
    if role == Role::Controller && extent.vault {
        rows.extend(VAULT);
    }
    let mut rights = Vec::new();
    for (place, group, resource, verbs, name) in rows {
        let namespaces: Vec<Option<String>> = match place {
            Where::Home => vec![Some(extent.home.to_owned())],
            Where::Work if !extent.namespaces.is_empty() => {
                extent.namespaces.iter().cloned().map(Some).collect()
            }
            Where::Work | Where::Cluster => vec![None],
        };
        for namespace in namespaces {
            rights.extend(verbs.iter().map(|verb| Right {
                group,
                resource,
                verb,
                name,
                namespace: namespace.clone(),
            }));
        }
    }
    rights
}

impl Right {
    /// It, as the attributes of an access review.
    pub fn attributes(&self) -> Value {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        json!({
            "group": self.group, "resource": resource, "subresource": subresource, "verb": self.verb,
            "name": self.name.unwrap_or_default(), "namespace": self.namespace.as_deref().unwrap_or_default(),
        })
    }

    /// `get leases.coordination.k8s.io/foredeck-relay in foredeck-system`.
    fn words(&self) -> String {
        let mut words = format!("{} {}", self.verb, self.resource);
        if !self.group.is_empty() {
            words.push_str(&format!(".{}", self.group));
        }
        if let Some(name) = self.name {
            words.push_str(&format!(" {name}"));
        }
        if let Some(namespace) = &self.namespace {
            words.push_str(&format!(" in {namespace}"));
        }
        words
    }
}

/// Who asks, as the API server knows them.
pub fn asker(seen: &Seen<String>) -> Finding {
    match seen {
        Ok(username) => Finding::ok(CHECK, &format!("Asked as {}", word(username))),
        Err(unseen) => unseen.line(CHECK, "As whom this asks"),
    }
}

/// Whether a role may all that it needs.
pub fn role(role: Role, asked: &Seen<Vec<(Right, bool)>>) -> Finding {
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
        .filter(|(_, allowed)| !allowed)
        .map(|(right, _)| right.words())
        .collect();
    if missing.is_empty() {
        return Finding::ok(
            CHECK,
            &format!(
                "The {name} may all that it needs ({} rights)",
                reviewed.len()
            ),
        );
    }
    Finding::fail(
        CHECK,
        &format!("The {name} may not: {}", few(&missing)),
        "Install the chart again, with the same namespaces; its roles give all of these",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::page::State;

    const EVERYWHERE: Extent<'static> = Extent {
        home: "foredeck-system",
        namespaces: &[],
        vault: false,
        stamps: false,
    };

    #[test]
    fn where_a_right_has_to_hold_depends_on_where_foredeck_works() {
        let rights = needed(Role::Relay, &EVERYWHERE);
        let words: Vec<String> = rights.iter().map(Right::words).collect();
        assert!(words.contains(&"patch deployrequests/status.foredeck.dev".to_owned()));
        assert!(words.contains(
            &"update leases.coordination.k8s.io foredeck-relay in foredeck-system".to_owned()
        ));
        let namespaces = ["a".to_owned(), "b".to_owned()];
        let narrow = Extent {
            namespaces: &namespaces,
            ..EVERYWHERE
        };
        let words: Vec<String> = needed(Role::Relay, &narrow)
            .iter()
            .map(Right::words)
            .collect();
        assert!(words.contains(&"patch deployrequests/status.foredeck.dev in b".to_owned()));
        assert!(!words.contains(&"patch deployrequests/status.foredeck.dev".to_owned()));
        let more = Extent {
            vault: true,
            stamps: true,
            ..EVERYWHERE
        };
        assert_eq!(
            needed(Role::Controller, &more).len(),
            needed(Role::Controller, &EVERYWHERE).len() + 3
        );
    }

    #[test]
    fn a_right_that_is_missing_is_named() {
        let rights = needed(Role::Receiver, &EVERYWHERE);
        let all: Vec<_> = rights.into_iter().map(|right| (right, true)).collect();
        assert_eq!(role(Role::Receiver, &Ok(all.clone())).state, State::Ok);
        let mut without = all;
        without[3].1 = false;
        let finding = role(Role::Receiver, &Ok(without.clone()));
        assert_eq!(finding.state, State::Fail);
        assert!(finding.found.contains(&without[3].0.words()), "{finding:?}");
        let right = "create subjectaccessreviews".to_owned();
        let unknown = role(Role::Receiver, &Err(Unseen::Forbidden { right }));
        assert_eq!(unknown.state, State::Skip);
    }
}
