//! What each role has to be allowed to do, as the chart's rights allow it. Touches nothing.
//!
//! Left out is what only a part of the installations needs, and is missed where it is used: making tokens of
//! `foredeck-vault`, reading the Secrets of connections and repositories, naming who holds a verb.

use crate::{
    api::{GROUP, deploy_freeze::STOP_ALL},
    runtime::{
        cache::Scope,
        health::{Needs, Place},
        rights::Right,
    },
};

const READ: &[&str] = &["get", "list", "watch"];
/// Of what is only looked up in caches.
const FOLLOW: &[&str] = &["list", "watch"];

/// Where a role works.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Where requests are.
    pub scopes: &'a [Scope],
    /// Foredeck's own namespace, where `Person`s are.
    pub home: &'a str,
    /// The namespace and the name of the role's Lease.
    pub lease: (&'a str, &'a str),
    /// The admission policies and their bindings that have to be looked at: the plural and the name of each.
    pub policies: &'a [(&'static str, String)],
}

/// What the controller needs.
pub fn controller(places: Places<'_>) -> Needs {
    let mut needed = Needed::default();
    needed.within(
        places.scopes,
        GROUP,
        &[
            ("applications", READ),
            ("environments", READ),
            ("spinnakerconnections", READ),
            ("deployrequests", READ),
            ("deployapprovals", FOLLOW),
            ("deploytargets", READ),
            ("deployfreezes", FOLLOW),
            ("deployrequests", &["patch", "delete"]),
            ("deploytargets", &["create"]),
            ("applications/status", &["patch"]),
            ("environments/status", &["patch"]),
            ("spinnakerconnections/status", &["patch"]),
            ("deployrequests/status", &["patch"]),
            ("deployapprovals/status", &["patch"]),
            ("deploytargets/status", &["patch"]),
            ("deployfreezes/status", &["patch"]),
        ],
    );
    needed.reviews(places.scopes);
    needed.within(
        places.scopes,
        "events.k8s.io",
        &[("events", &["get", "create", "patch"])],
    );
    // The installation's identity.
    needed.add("", "namespaces", &["get"], None, Some("kube-system"));
    needed.lease(places.lease);
    // Without these it believes nobody, and so starts nothing.
    for (plural, name) in places.policies {
        let group = "admissionregistration.k8s.io";
        needed.add(group, plural, &["get"], None, Some(name));
    }
    needed.add(GROUP, "persons", READ, Some(places.home), None);
    if Scope::beside(places.scopes, places.home).is_some() {
        let home = Some(places.home);
        // Connections that are shared.
        needed.add(GROUP, "spinnakerconnections", READ, home, None);
        // Freezes that hold everywhere.
        needed.add(GROUP, "deployfreezes", FOLLOW, home, None);
        needed.add(GROUP, "deployfreezes/status", &["patch"], home, None);
        needed.add("events.k8s.io", "events", &["create"], home, None);
    }
    needed.named("controller-definitions", "controller-rights")
}

/// What the receiver needs.
pub fn receiver(scopes: &[Scope], home: &str) -> Needs {
    let mut needed = Needed::default();
    needed.within(
        scopes,
        GROUP,
        &[
            ("applications", FOLLOW),
            ("environments", READ),
            ("deployrequests", READ),
            ("deployapprovals", READ),
            ("deploytargets", READ),
            ("deployfreezes", FOLLOW),
            ("deployrequests", &["create", "patch"]),
            ("deployapprovals", &["create"]),
            // To lock and to unlock.
            ("environments", &["patch"]),
            ("deploytargets", &["create", "patch"]),
        ],
    );
    needed.reviews(scopes);
    // The labels by which a freeze of foredeck's own namespace selects others.
    for scope in scopes {
        let name = match scope {
            Scope::Cluster => None,
            Scope::Namespace(namespace) => Some(namespace.as_str()),
        };
        needed.add("", "namespaces", &["get"], None, name);
    }
    needed.add(
        GROUP,
        "persons",
        &["get", "list", "watch", "create"],
        Some(home),
        None,
    );
    needed.add(GROUP, "persons/status", &["patch"], Some(home), None);
    if Scope::beside(scopes, home).is_some() {
        needed.add(GROUP, "deployfreezes", FOLLOW, Some(home), None);
        let (group, reviews) = ("authorization.k8s.io", "localsubjectaccessreviews");
        needed.add(group, reviews, &["create"], Some(home), None);
    }
    // The stop button. A right to create is one to create any; admission allows this one.
    needed.add(GROUP, "deployfreezes", &["create"], Some(home), None);
    needed.add(
        GROUP,
        "deployfreezes",
        &["get", "delete"],
        Some(home),
        Some(STOP_ALL),
    );
    needed.named("receiver-definitions", "receiver-rights")
}

/// What the relay needs; its Lease is in foredeck's own namespace.
pub fn relay(scopes: &[Scope], lease: (&str, &str)) -> Needs {
    let mut needed = Needed::default();
    needed.within(
        scopes,
        GROUP,
        &[
            ("applications", FOLLOW),
            ("environments", FOLLOW),
            ("deployrequests", READ),
            ("deployfreezes", READ),
            ("deployrequests/status", &["patch"]),
            ("deployfreezes/status", &["patch"]),
        ],
    );
    needed.within(scopes, "events.k8s.io", &[("events", &["create", "patch"])]);
    let (home, _) = lease;
    if Scope::beside(scopes, home).is_some() {
        needed.add(GROUP, "deployfreezes", READ, Some(home), None);
        needed.add(GROUP, "deployfreezes/status", &["patch"], Some(home), None);
        needed.add(
            "events.k8s.io",
            "events",
            &["create", "patch"],
            Some(home),
            None,
        );
    }
    needed.lease(lease);
    needed.named("relay-definitions", "relay-rights")
}

#[derive(Default)]
struct Needed {
    rights: Vec<Right>,
    places: Vec<Place>,
}

impl Needed {
    fn add(
        &mut self,
        group: &'static str,
        resource: &'static str,
        verbs: &[&'static str],
        namespace: Option<&str>,
        name: Option<&str>,
    ) {
        self.rights
            .extend(rights(group, resource, verbs, namespace, name));
    }

    fn within(
        &mut self,
        scopes: &[Scope],
        group: &'static str,
        resources: &[(&'static str, &[&'static str])],
    ) {
        for scope in scopes {
            let namespace = match scope {
                Scope::Cluster => None,
                Scope::Namespace(namespace) => Some(namespace.as_str()),
            };
            let said = scope.said();
            let more = resources
                .iter()
                .flat_map(|(resource, verbs)| rights(group, resource, verbs, namespace, None));
            match self.places.iter_mut().find(|place| place.said == said) {
                Some(place) => place.rights.extend(more),
                None => self.places.push(Place {
                    said,
                    rights: more.collect(),
                }),
            }
        }
    }

    /// May this person?
    fn reviews(&mut self, scopes: &[Scope]) {
        let reviews: &[&str] = &["create"];
        let group = "authorization.k8s.io";
        self.within(scopes, group, &[("localsubjectaccessreviews", reviews)]);
    }

    fn lease(&mut self, (namespace, name): (&str, &str)) {
        let group = "coordination.k8s.io";
        self.add(
            group,
            "leases",
            &["get", "update"],
            Some(namespace),
            Some(name),
        );
        // A right to create is one to create any.
        self.add(group, "leases", &["create"], Some(namespace), None);
    }

    fn named(self, definitions_gate: &'static str, rights_gate: &'static str) -> Needs {
        Needs {
            definitions_gate,
            rights_gate,
            rights: self.rights,
            places: self.places,
        }
    }
}

fn rights<'a>(
    group: &'static str,
    resource: &'static str,
    verbs: &'a [&'static str],
    namespace: Option<&'a str>,
    name: Option<&'a str>,
) -> impl Iterator<Item = Right> + use<'a> {
    verbs.iter().map(move |verb| Right {
        verb,
        group,
        resource,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    })
}
