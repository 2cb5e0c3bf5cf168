//! Two Environments that reach one place: a mistake, until one says that it isn't. Touches nothing.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::api::Environment;

/// What can be reached through an Environment.
#[derive(Debug, Clone)]
pub struct Reach<'a> {
    /// The Environment.
    pub environment: &'a Environment,
    /// Its connection's Gate.
    pub gate_url: &'a str,
    /// The Spinnaker applications of its namespace's Applications.
    pub applications: BTreeSet<&'a str>,
}

/// Another Environment through which the same Spinnaker application reaches the same account and namespace by the same
/// Gate, where neither says `sharedTarget`. Two targets in one place would each think that they are alone there.
pub fn shared_with<'a>(
    own: &Reach<'_>,
    others: impl IntoIterator<Item = Reach<'a>>,
) -> Option<&'a Environment> {
    others.into_iter().find_map(|other| {
        let environment = other.environment;
        let itself = environment.name_any() == own.environment.name_any()
            && environment.namespace() == own.environment.namespace();
        let same = other.gate_url.trim_end_matches('/') == own.gate_url.trim_end_matches('/')
            && environment.spec.target == own.environment.spec.target
            && !other.applications.is_disjoint(&own.applications);
        let agreed = environment.spec.shared_target || own.environment.spec.shared_target;
        (same && !itself && !agreed).then_some(environment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, namespace: &str, shared: bool) -> Environment {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"connection": "gate", "sharedTarget": shared, "target": {"account": "eks", "namespace": namespace}},
        }))
        .unwrap()
    }

    #[test]
    fn two_environments_in_one_place_need_one_to_say_so() {
        let reach = |environment, gate_url| Reach {
            environment,
            gate_url,
            applications: BTreeSet::from(["checkout"]),
        };
        let (one, two) = (
            environment("one", "shop", false),
            environment("two", "shop", false),
        );
        let (agreed, elsewhere) = (
            environment("three", "shop", true),
            environment("four", "cart", false),
        );
        let shared = |other, gate_url| {
            shared_with(&reach(&one, "http://gate"), [reach(other, gate_url)]).is_some()
        };
        assert!(shared(&two, "http://gate/"));
        assert!(!shared(&one, "http://gate"), "it may reach what it reaches");
        assert!(!shared(&two, "http://other"));
        assert!(!shared(&agreed, "http://gate"));
        assert!(!shared(&elsewhere, "http://gate"));
        let stranger = Reach {
            applications: BTreeSet::from(["cart"]),
            ..reach(&two, "http://gate")
        };
        assert!(shared_with(&reach(&one, "http://gate"), [stranger]).is_none());
    }
}
