//! Who has a verb, as far as `RoleBinding`s tell: whom to ask. Touches the API server: reads of `Role`s and their bindings.
//!
//! Only for sentences, never for a decision: that is the API server's, which knows more than RBAC in one namespace.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role, RoleBinding, Subject};
use kube::{Api, Client, ResourceExt, api::ListParams};
use moka::future::Cache;

use crate::api::GROUP;

/// How long an answer is good: nobody is let in or kept out by it.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Answers remembered at most.
const ANSWERS: u64 = 10_000;
/// The deadline of one read.
const DEADLINE: Duration = Duration::from_secs(2);
/// `RoleBinding`s looked at, at most.
const BINDINGS: u32 = 500;

/// What is asked: who has this verb on both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    verb: String,
    namespace: String,
    application: String,
    environment: String,
}

/// Looks up who has a verb, and remembers for a moment.
#[derive(Clone)]
pub struct Holders {
    client: Client,
    /// Also that it can't be read: that is asked no more often.
    known: Cache<Question, Option<Vec<String>>>,
}

impl Holders {
    /// Reads through this client. One that may not read `RoleBinding`s and `Role`s finds nobody.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: Cache::builder()
                .max_capacity(ANSWERS)
                .time_to_live(REMEMBERED)
                .build(),
        }
    }

    /// The users and groups to whom a `RoleBinding` in the namespace gives the verb on that Application and that
    /// Environment, by one role or by two; in their order. `None` where it can't be read.
    pub async fn of(
        &self,
        verb: &str,
        namespace: &str,
        application: &str,
        environment: &str,
    ) -> Option<Vec<String>> {
        let question = Question {
            verb: verb.to_owned(),
            namespace: namespace.to_owned(),
            application: application.to_owned(),
            environment: environment.to_owned(),
        };
        let looking = self.look(question.clone());
        self.known
            .get_with(question, async {
                tokio::time::timeout(DEADLINE, looking).await.ok().flatten()
            })
            .await
    }

    async fn look(&self, question: Question) -> Option<Vec<String>> {
        let some = ListParams::default().limit(BINDINGS);
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), &question.namespace);
        let roles: Api<Role> = Api::namespaced(self.client.clone(), &question.namespace);
        let (bindings, roles) = tokio::try_join!(bindings.list(&some), roles.list(&some)).ok()?;
        let (mut on_application, mut on_environment) = (BTreeSet::new(), BTreeSet::new());
        for binding in bindings.items {
            let granted = match binding.role_ref.kind.as_str() {
                "Role" => roles
                    .items
                    .iter()
                    .find(|role| role.name_any() == binding.role_ref.name)
                    .and_then(|role| role.rules.clone()),
                "ClusterRole" => self.cluster_role(&binding.role_ref.name).await,
                _ => None,
            }
            .unwrap_or_default();
            let subjects = binding.subjects.unwrap_or_default();
            let people = subjects.iter().filter_map(person).map(str::to_owned);
            let people: Vec<String> = people.collect();
            if grants(
                &granted,
                &question.verb,
                "applications",
                &question.application,
            ) {
                on_application.extend(people.clone());
            }
            if grants(
                &granted,
                &question.verb,
                "environments",
                &question.environment,
            ) {
                on_environment.extend(people);
            }
        }
        Some(
            on_application
                .intersection(&on_environment)
                .cloned()
                .collect(),
        )
    }

    /// A `ClusterRole`'s rules, where it may be read.
    async fn cluster_role(&self, name: &str) -> Option<Vec<PolicyRule>> {
        let api: Api<ClusterRole> = Api::all(self.client.clone());
        api.get_opt(name).await.ok().flatten()?.rules
    }
}

/// A person or a group of persons; not what the cluster itself made.
fn person(subject: &Subject) -> Option<&str> {
    let name = subject.name.as_str();
    (matches!(subject.kind.as_str(), "User" | "Group") && !name.starts_with("system:"))
        .then_some(name)
}

/// As RBAC reads rules.
fn grants(rules: &[PolicyRule], verb: &str, resource: &str, name: &str) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter()
            .flatten()
            .any(|entry| entry == "*" || entry == wanted)
    };
    rules.iter().any(|rule| {
        let names = rule.resource_names.as_deref().unwrap_or_default();
        has(&Some(rule.verbs.clone()), verb)
            && has(&rule.api_groups, GROUP)
            && has(&rule.resources, resource)
            && (names.is_empty() || names.iter().any(|known| known == name))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_grants_what_rbac_grants_by_it() {
        let granted = |rule| {
            let rule: PolicyRule = serde_json::from_value(rule).unwrap();
            grants(&[rule], "deploy", "environments", "staging")
        };
        let rule = |group: &str, resource: &str, verb: &str, names: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": names});
        assert!(granted(rule(
            "foredeck.dev",
            "environments",
            "deploy",
            &["staging"]
        )));
        assert!(granted(rule("*", "*", "*", &[])));
        assert!(!granted(rule(
            "foredeck.dev",
            "environments",
            "deploy",
            &["production"]
        )));
        assert!(!granted(rule(
            "foredeck.dev",
            "applications",
            "deploy",
            &[]
        )));
        assert!(!granted(rule(
            "foredeck.dev",
            "environments",
            "restart",
            &[]
        )));
        assert!(!granted(rule("apps", "environments", "deploy", &[])));
    }
}
