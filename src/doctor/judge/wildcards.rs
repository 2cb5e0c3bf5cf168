//! Who may more than anybody meant: actions are verbs, so a `*` among a role's verbs gives deploy, approve and override too.
//! Touches nothing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject,
};
use kube::ResourceExt;

use crate::{
    api::GROUP,
    doctor::{
        page::{Finding, count, few, word},
        seen::Seen,
    },
    domain::access::OVERRIDE,
};

const CHECK: &str = "wildcards";
/// The one that may everything, by Kubernetes' own word.
const CLUSTER_ADMIN: &str = "cluster-admin";
/// The group that is bound to it in every cluster.
const MASTERS: &str = "system:masters";
/// On these, the actions and foredeck's own verbs are verbs.
const ACTED_ON: [&str; 3] = ["applications", "environments", "deployfreezes"];
/// On these somebody overrides: of the second the stop button is one.
const OVERRIDDEN: [&str; 2] = ["environments", "deployfreezes"];
/// What the platform team configures, and what of it keeps things from starting.
const CONFIGURATION: [&str; 6] = [
    "applications",
    "deployfreezes",
    "deploytargets",
    "environments",
    "persons",
    "spinnakerconnections",
];
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// By these labels Kubernetes adds a role to its own `admin` and `edit`.
const AGGREGATED: [&str; 2] = [
    "rbac.authorization.k8s.io/aggregate-to-admin",
    "rbac.authorization.k8s.io/aggregate-to-edit",
];

/// All roles and bindings.
pub struct RoleFacts {
    /// Of the whole cluster.
    pub cluster_roles: Seen<Vec<ClusterRole>>,
    /// Of the whole cluster.
    pub cluster_bindings: Seen<Vec<ClusterRoleBinding>>,
    /// Of each namespace.
    pub roles: Seen<Vec<Role>>,
    /// Of each namespace.
    pub bindings: Seen<Vec<RoleBinding>>,
}

/// What is too much in them.
pub fn wildcards(facts: &RoleFacts) -> Vec<Finding> {
    let (cluster_roles, cluster_bindings, roles, bindings) = match (
        &facts.cluster_roles,
        &facts.cluster_bindings,
        &facts.roles,
        &facts.bindings,
    ) {
        (Ok(a), Ok(b), Ok(c), Ok(d)) => (a, b, c, d),
        (Err(unseen), ..) | (_, Err(unseen), ..) | (_, _, Err(unseen), _) | (.., Err(unseen)) => {
            return vec![unseen.line(CHECK, "Who may more than was meant")];
        }
    };
    let holders = holders(cluster_bindings, bindings);
    let held = |role: &str| holders.get(role).cloned().unwrap_or_default();
    let mut lines = vec![administrators(&held(&format!(
        "ClusterRole {CLUSTER_ADMIN}"
    )))];
    for role in cluster_roles {
        let name = role.name_any();
        if is_kubernetes_own(&name) {
            continue;
        }
        let key = format!("ClusterRole {name}");
        lines.extend(excess(&key, role.rules.iter().flatten(), &held(&key)));
        let labels = role.labels();
        let aggregated = AGGREGATED
            .iter()
            .any(|label| labels.get(*label).is_some_and(|value| value == "true"));
        if aggregated && let Some(kind) = writes(role.rules.iter().flatten()) {
            lines.push(Finding::warn(
                CHECK,
                &format!("The ClusterRole {} adds the right to write {kind} to Kubernetes' own edit or admin: every member of a team could change where, how and when is deployed", word(&name)),
                "Take the label off, and bind the role to the platform team",
            ));
        }
    }
    for role in roles {
        let key = format!(
            "Role {}/{}",
            role.namespace().unwrap_or_default(),
            role.name_any()
        );
        lines.extend(excess(&key, role.rules.iter().flatten(), &held(&key)));
    }
    if lines.len() == 1 {
        lines.push(Finding::ok(
            CHECK,
            "No other role that somebody holds gives every verb on foredeck's kinds",
        ));
    }
    lines.push(overriders(cluster_roles, roles, &held));
    lines
}

/// Who may pass order, freezes and locks, and stop everything, by a role that says so.
fn overriders(
    cluster_roles: &[ClusterRole],
    roles: &[Role],
    held: &impl Fn(&str) -> BTreeSet<String>,
) -> Finding {
    let of_cluster = cluster_roles
        .iter()
        .map(|role| (format!("ClusterRole {}", role.name_any()), &role.rules));
    let of_namespaces = roles.iter().map(|role| {
        let namespace = role.namespace().unwrap_or_default();
        (format!("Role {namespace}/{}", role.name_any()), &role.rules)
    });
    let mut all: BTreeSet<String> = BTreeSet::new();
    for (key, rules) in of_cluster.chain(of_namespaces) {
        let gives = rules.iter().flatten().any(|rule| {
            rule.verbs.iter().any(|verb| verb == OVERRIDE)
                && is_of_group(rule)
                && OVERRIDDEN.iter().any(|kind| is_about(rule, kind))
        });
        if gives {
            all.extend(held(&key));
        }
    }
    if all.is_empty() {
        return Finding::ok(
            CHECK,
            "Nobody holds override by its name: whoever has every verb passes freezes and locks, lifts others' locks and stops everything",
        );
    }
    let all: Vec<String> = all.into_iter().collect();
    Finding::ok(
        CHECK,
        &format!(
            "{} override, to pass freezes and locks, to lift others' locks or to stop everything: {}",
            count(all.len(), "holder has", "holders have"),
            few(&all)
        ),
    )
}

/// Who may everything, once and counted.
fn administrators(holders: &BTreeSet<String>) -> Finding {
    let others: Vec<String> = holders
        .iter()
        .filter(|holder| **holder != format!("Group {MASTERS}"))
        .cloned()
        .collect();
    if others.is_empty() {
        return Finding::ok(
            CHECK,
            &format!("Nobody but {MASTERS} is bound to cluster-admin"),
        );
    }
    Finding::warn(
        CHECK,
        &format!(
            "{} bound to cluster-admin, and so may deploy, approve and override everywhere: {}",
            count(others.len(), "holder is", "holders are"),
            few(&others)
        ),
        "Keep that to those who run the cluster",
    )
}

/// A role that gives every verb, if somebody holds it.
fn excess<'a>(
    role: &str,
    rules: impl Iterator<Item = &'a PolicyRule>,
    holders: &BTreeSet<String>,
) -> Option<Finding> {
    if holders.is_empty() {
        return None;
    }
    let gives = rules.into_iter().any(|rule| {
        rule.verbs.iter().any(|verb| verb == "*")
            && is_of_group(rule)
            && ACTED_ON.iter().any(|kind| is_about(rule, kind))
    });
    let holders: Vec<String> = holders.iter().cloned().collect();
    gives.then(|| {
        Finding::warn(
            CHECK,
            &format!(
                "The {} gives every verb on foredeck's kinds, deploy, approve and override among them, to {}",
                word(role),
                few(&holders)
            ),
            "Name the verbs in it, such as [get, list, watch]: an action, and each of foredeck's own verbs, is a verb",
        )
    })
}

/// What of the configuration such rules let somebody write.
fn writes<'a>(rules: impl Iterator<Item = &'a PolicyRule>) -> Option<&'static str> {
    rules
        .into_iter()
        .filter(|rule| is_of_group(rule))
        .filter(|rule| {
            rule.verbs
                .iter()
                .any(|verb| verb == "*" || WRITES.contains(&verb.as_str()))
        })
        .find_map(|rule| CONFIGURATION.into_iter().find(|kind| is_about(rule, kind)))
}

fn is_of_group(rule: &PolicyRule) -> bool {
    rule.api_groups
        .iter()
        .flatten()
        .any(|group| group == "*" || group == GROUP)
}

fn is_about(rule: &PolicyRule, kind: &str) -> bool {
    rule.resources
        .iter()
        .flatten()
        .any(|resource| resource == "*" || resource == kind)
}

/// Kubernetes keeps these itself.
fn is_kubernetes_own(name: &str) -> bool {
    name == CLUSTER_ADMIN || name.starts_with("system:")
}

/// By role, who holds it: where that is in one namespace only, it is said.
fn holders(
    cluster_bindings: &[ClusterRoleBinding],
    bindings: &[RoleBinding],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut holders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for binding in cluster_bindings {
        let names = binding
            .subjects
            .iter()
            .flatten()
            .map(|subject| name(subject, None));
        holders
            .entry(format!("ClusterRole {}", binding.role_ref.name))
            .or_default()
            .extend(names);
    }
    for binding in bindings {
        let namespace = binding.namespace().unwrap_or_default();
        let key = if binding.role_ref.kind == "Role" {
            format!("Role {namespace}/{}", binding.role_ref.name)
        } else {
            format!("ClusterRole {}", binding.role_ref.name)
        };
        let names = binding
            .subjects
            .iter()
            .flatten()
            .map(|subject| name(subject, Some(&namespace)));
        holders.entry(key).or_default().extend(names);
    }
    holders
}

fn name(subject: &Subject, namespace: Option<&str>) -> String {
    let place = subject
        .namespace
        .as_deref()
        .filter(|place| !place.is_empty());
    let place = place.map_or_else(String::new, |place| format!("{place}/"));
    let within = namespace.map_or_else(String::new, |namespace| format!(" in {namespace}"));
    format!("{} {place}{}{within}", subject.kind, subject.name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::{page::State, seen::Unseen};

    fn facts(rules: &Value, labels: &Value, bound: bool) -> RoleFacts {
        let read = |value: Value| serde_json::from_value(value).unwrap();
        let role = json!({"metadata": {"name": "team", "labels": labels}, "rules": rules});
        let admin = json!({"metadata": {"name": CLUSTER_ADMIN}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
        let masters = json!({
            "metadata": {"name": CLUSTER_ADMIN}, "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": CLUSTER_ADMIN},
            "subjects": [{"kind": "Group", "name": MASTERS}],
        });
        let binding = json!({
            "metadata": {"name": "team", "namespace": "shop"}, "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": "team"},
            "subjects": [{"kind": "User", "name": "mallory\u{1b}[2J"}],
        });
        RoleFacts {
            cluster_roles: Ok(vec![read(role), read(admin)]),
            cluster_bindings: Ok(vec![serde_json::from_value(masters).unwrap()]),
            roles: Ok(Vec::new()),
            bindings: Ok(if bound {
                vec![serde_json::from_value(binding).unwrap()]
            } else {
                Vec::new()
            }),
        }
    }

    fn rule(group: &str, resource: &str, verb: &str) -> Value {
        json!([{"apiGroups": [group], "resources": [resource], "verbs": [verb]}])
    }

    #[test]
    fn whoever_holds_override_by_its_name_is_told() {
        for (rules, bound, expected) in [
            (rule("foredeck.dev", "environments", "override"), true, true),
            (
                rule("foredeck.dev", "deployfreezes", "override"),
                true,
                true,
            ),
            (
                rule("foredeck.dev", "environments", "override"),
                false,
                false,
            ),
            (rule("foredeck.dev", "environments", "lock"), true, false),
            (rule("apps", "environments", "override"), true, false),
        ] {
            let lines = wildcards(&facts(&rules, &json!({}), bound));
            let line = lines.last().unwrap();
            assert_eq!(line.state, State::Ok, "{line:?}");
            let told = line.found.starts_with("1 holder has override")
                && line.found.contains("User mallory[2J in shop");
            assert_eq!(told, expected, "{rules}: {line:?}");
            assert_eq!(
                line.found.starts_with("Nobody holds"),
                !expected,
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_wildcard_that_somebody_holds_is_named_with_them() {
        for (rules, expected) in [
            (rule("*", "*", "*"), true),
            (rule("foredeck.dev", "*", "*"), true),
            (rule("foredeck.dev", "environments", "*"), true),
            (rule("*", "applications", "*"), true),
            (rule("foredeck.dev", "deployfreezes", "*"), true),
            (rule("foredeck.dev", "applications", "get"), false),
            (rule("foredeck.dev", "deployrequests", "*"), false),
            (rule("apps", "*", "*"), false),
        ] {
            let lines = wildcards(&facts(&rules, &json!({}), true));
            let told = lines
                .iter()
                .any(|line| line.state == State::Warn && line.found.contains("ClusterRole team"));
            assert_eq!(told, expected, "{rules}: {lines:?}");
            if told {
                assert!(
                    lines[1].found.ends_with("to User mallory[2J in shop"),
                    "{lines:?}"
                );
            }
            let lines = wildcards(&facts(&rules, &json!({}), false));
            assert!(
                lines.iter().all(|line| line.state == State::Ok),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_role_that_grows_edit_by_writes_is_told() {
        let labels = json!({"rbac.authorization.k8s.io/aggregate-to-edit": "true"});
        for kind in ["applications", "deployfreezes", "deploytargets"] {
            let lines = wildcards(&facts(&rule(GROUP, kind, "patch"), &labels, false));
            assert_eq!(lines[1].state, State::Warn, "{kind}: {lines:?}");
            assert!(
                lines[1].found.contains(&format!("to write {kind}")),
                "{lines:?}"
            );
        }
        let lines = wildcards(&facts(&rule(GROUP, "applications", "get"), &labels, false));
        assert_eq!(lines[1].state, State::Ok, "{lines:?}");
        let lines = wildcards(&facts(
            &rule(GROUP, "deployrequests", "create"),
            &labels,
            false,
        ));
        assert_eq!(lines[1].state, State::Ok, "{lines:?}");
    }

    #[test]
    fn who_else_is_cluster_admin_is_counted_once() {
        let mut all = facts(&rule("apps", "*", "*"), &json!({}), false);
        for user in ["a", "b"] {
            all.cluster_bindings.as_mut().unwrap().push(
                serde_json::from_value(json!({
                    "metadata": {"name": user}, "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": CLUSTER_ADMIN},
                    "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": "ci"}],
                }))
                .unwrap(),
            );
        }
        let lines = wildcards(&all);
        assert_eq!(lines[0].state, State::Warn);
        assert!(lines[0].found.contains("2 holders are bound"), "{lines:?}");
        assert!(lines[0].found.contains("ServiceAccount ci/a"), "{lines:?}");
        all.roles = Err(Unseen::Forbidden {
            right: "list roles".to_owned(),
        });
        assert_eq!(wildcards(&all)[0].state, State::Skip);
    }
}
