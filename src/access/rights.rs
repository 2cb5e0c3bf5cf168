//! Which rights the roles need for the connections and repositories that there are: exactly the Secrets that they name, and
//! the `ServiceAccount` by which connections log in to Vault. Pure: connections and Applications in, YAML out.
//!
//! The chart gives no right on any Secret. What is made here is for whoever keeps the namespaces to read and to apply: in
//! each namespace a Role with the names of the Secrets of its connections, for the controller, and one with those of its
//! Applications' repositories, for controller and receiver; and their bindings.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::{
    Application, SpinnakerConnection,
    connection::{Trust, VaultLogin},
};

/// The name of the Role in a connection's namespace, and of its binding.
pub const ROLE: &str = "foredeck-connections";
/// The name of the Role for the logins of repositories in an Application's namespace, and of its binding.
pub const REPOSITORIES_ROLE: &str = "foredeck-repositories";
/// The `ServiceAccount` of the controller.
pub const CONTROLLER: &str = "foredeck-controller";
/// The `ServiceAccount` of the receiver.
pub const RECEIVER: &str = "foredeck-receiver";
/// The `ServiceAccount` of a connection's namespace by whose tokens foredeck logs in to Vault.
pub const VAULT_ACCOUNT: &str = "foredeck-vault";

/// What somebody who reads a Role for repositories has to know.
const WITHOUT_SLACK: &str =
    "# Where nobody asks in Slack there is no foredeck-receiver: leave it out here.\n";

/// What the connections of one namespace need there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The Secrets that they name: to be read, each by its name.
    pub secrets: BTreeSet<String>,
    /// Whether one logs in to Vault as [`VAULT_ACCOUNT`], which then has to exist.
    pub vault_account: bool,
}

impl Needs {
    fn is_nothing(&self) -> bool {
        self.secrets.is_empty() && !self.vault_account
    }

    /// Adds what one connection needs. Every field of its spec that names a Secret counts, also one that another field makes
    /// useless: what is read is then still among these.
    pub fn add(&mut self, connection: &SpinnakerConnection) {
        let spec = &connection.spec;
        self.trust(spec.tls.as_ref());
        let Some(auth) = &spec.auth else { return };
        let basic = auth.basic.iter().map(|basic| &basic.secret_name);
        let token = auth.token.iter().map(|token| &token.secret_name);
        let mtls = auth
            .mtls
            .iter()
            .filter_map(|mtls| mtls.secret_name.as_ref());
        self.secrets.extend(basic.chain(token).chain(mtls).cloned());
        let vault = auth.mtls.as_ref().and_then(|mtls| mtls.vault.as_ref());
        if let Some(vault) = vault {
            self.trust(vault.tls.as_ref());
            self.login(&vault.login);
        }
    }

    fn trust(&mut self, trust: Option<&Trust>) {
        let named = trust.and_then(|trust| trust.ca_secret_ref.as_ref());
        self.secrets.extend(named.map(|secret| secret.name.clone()));
    }

    fn login(&mut self, login: &VaultLogin) {
        self.vault_account |= login.kubernetes.is_some() || login.jwt.is_some();
        self.secrets
            .extend(login.token.iter().map(|token| token.secret_name.clone()));
    }
}

/// What each namespace's connections need there; those that need nothing are left out.
pub fn needs<'a>(
    connections: impl IntoIterator<Item = &'a SpinnakerConnection>,
) -> BTreeMap<String, Needs> {
    let mut all: BTreeMap<String, Needs> = BTreeMap::new();
    for connection in connections {
        all.entry(connection.namespace().unwrap_or_default())
            .or_default()
            .add(connection);
    }
    all.retain(|_, needs| !needs.is_nothing());
    all
}

/// The Secrets that the Applications of each namespace name for their repositories.
pub fn repositories<'a>(
    applications: impl IntoIterator<Item = &'a Application>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for application in applications {
        let repository = application.spec.repository.as_ref();
        if let Some(name) = repository.and_then(|repository| repository.secret_name.clone()) {
            all.entry(application.namespace().unwrap_or_default())
                .or_default()
                .insert(name);
        }
    }
    all
}

/// The manifests that give the controller and the receiver of `home_namespace` what these connections and repositories need,
/// and nothing more: one YAML stream, for `kubectl apply`. Empty where they need nothing.
///
/// Whoever may write a connection or an Application chooses the names in it: somebody has to read this before it is applied.
pub fn manifests<'a>(
    connections: impl IntoIterator<Item = &'a SpinnakerConnection>,
    applications: impl IntoIterator<Item = &'a Application>,
    home_namespace: &str,
) -> String {
    let of_repositories =
        repositories(applications)
            .into_iter()
            .flat_map(|(namespace, secrets)| {
                let name = (namespace.as_str(), REPOSITORIES_ROLE);
                role(name, &secrets, &[CONTROLLER, RECEIVER], home_namespace)
            });
    let documents = needs(connections)
        .into_iter()
        .flat_map(|(namespace, needs)| {
            let mut documents = Vec::new();
            if needs.vault_account {
                documents.push(account(&namespace));
            }
            if !needs.secrets.is_empty() {
                let name = (namespace.as_str(), ROLE);
                documents.extend(role(name, &needs.secrets, &[CONTROLLER], home_namespace));
            }
            documents
        })
        .chain(of_repositories);
    let texts: Vec<String> = documents
        // A Value is always YAML.
        .map(|document| {
            let text = serde_saphyr::to_string(&document).unwrap_or_default();
            let is_shared = document["subjects"]
                .as_array()
                .is_some_and(|all| all.len() > 1);
            if is_shared {
                format!("{WITHOUT_SLACK}{text}")
            } else {
                text
            }
        })
        .collect();
    texts.join("---\n")
}

fn account(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": VAULT_ACCOUNT, "namespace": namespace},
        "automountServiceAccountToken": false,
    })
}

/// A Role that names these Secrets and no others, for these `ServiceAccount`s of foredeck's own namespace.
fn role(
    (namespace, name): (&str, &str),
    secrets: &BTreeSet<String>,
    accounts: &[&str],
    home_namespace: &str,
) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let metadata = json!({"name": name, "namespace": namespace});
    let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get"]});
    let subjects: Vec<Value> = accounts
        .iter()
        .map(|account| json!({"kind": "ServiceAccount", "name": account, "namespace": home_namespace}))
        .collect();
    [
        json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": [rule]}),
        json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": subjects,
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(namespace: &str, tls: &Value, auth: &Value) -> SpinnakerConnection {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "SpinnakerConnection",
            "metadata": {"name": "gate", "namespace": namespace},
            "spec": {"gateUrl": "https://gate.example", "tls": tls, "auth": auth},
        }))
        .unwrap()
    }

    fn vault(login: &Value) -> Value {
        json!({"mtls": {"vault": {
            "address": "https://vault.example",
            "tls": {"caSecretRef": {"name": "vault-ca"}},
            "login": login,
            "pki": {"role": "foredeck", "commonName": "foredeck"},
        }}})
    }

    fn named(connection: &SpinnakerConnection) -> (Vec<String>, bool) {
        let mut needs = Needs::default();
        needs.add(connection);
        (needs.secrets.into_iter().collect(), needs.vault_account)
    }

    #[test]
    fn every_field_that_names_a_secret_counts() {
        let none = Value::Null;
        let login = json!({"role": "r", "audience": "a"});
        let rows: [(Value, Value, &[&str], bool); 7] = [
            (none.clone(), none.clone(), &[], false),
            (
                json!({"caSecretRef": {"name": "ca"}}),
                json!({"basic": {"secretName": "login"}}),
                &["ca", "login"],
                false,
            ),
            (
                json!({"caBundle": "PEM"}),
                json!({"token": {"secretName": "token"}}),
                &["token"],
                false,
            ),
            (
                none.clone(),
                json!({"mtls": {"secretName": "client"}}),
                &["client"],
                false,
            ),
            (
                none.clone(),
                vault(&json!({"kubernetes": login})),
                &["vault-ca"],
                true,
            ),
            (
                none.clone(),
                vault(&json!({"jwt": login})),
                &["vault-ca"],
                true,
            ),
            (
                none,
                vault(&json!({"token": {"secretName": "vault-token"}})),
                &["vault-ca", "vault-token"],
                false,
            ),
        ];
        for (tls, auth, secrets, account) in rows {
            let connection = connection("shop", &tls, &auth);
            let expected = secrets.iter().map(ToString::to_string).collect();
            assert_eq!(named(&connection), (expected, account), "{tls} {auth}");
        }
    }

    #[test]
    fn each_namespace_has_a_role_with_the_names_that_its_own_connections_say() {
        let none = Value::Null;
        let all = [
            connection("shop", &none, &json!({"basic": {"secretName": "login"}})),
            connection("shop", &none, &json!({"token": {"secretName": "another"}})),
            connection("open", &none, &none),
            connection(
                "pay",
                &none,
                &vault(&json!({"jwt": {"role": "r", "audience": "a"}})),
            ),
        ];
        let text = manifests(&all, [], "home");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let what: Vec<String> = documents
            .iter()
            .map(|document| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let rule = &document["rules"][0];
                format!(
                    "{} {} {}",
                    text(&document["kind"]),
                    text(&document["metadata"]["namespace"]),
                    rule["resourceNames"]
                )
            })
            .collect();
        assert_eq!(
            what,
            [
                "ServiceAccount pay null",
                r#"Role pay ["vault-ca"]"#,
                "RoleBinding pay null",
                r#"Role shop ["another","login"]"#,
                "RoleBinding shop null",
            ],
            "{text}"
        );
        for document in &documents {
            if let Some(subjects) = document["subjects"].as_array() {
                let expected = json!([{"kind": "ServiceAccount", "name": "foredeck-controller", "namespace": "home"}]);
                assert_eq!(json!(subjects), expected);
            }
            for rule in document["rules"].as_array().into_iter().flatten() {
                assert_eq!(rule["verbs"], json!(["get"]));
                assert_eq!(rule["resources"], json!(["secrets"]));
            }
        }
        assert_eq!(manifests(&all[2..3], [], "home"), "");
    }

    fn application(namespace: &str, repository: &Value) -> Application {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": "checkout", "namespace": namespace},
            "spec": {"repository": repository, "actions": {"deploy": {"pipeline": "Deploy"}}},
        }))
        .unwrap()
    }

    #[test]
    fn controller_and_receiver_read_the_secrets_that_repositories_name_and_no_others() {
        let named = |name: &str| json!({"github": "acme/shop", "secretName": name});
        let all = [
            application("shop", &named("b")),
            application("shop", &named("a")),
            application("shop", &named("a")),
            application("shop", &Value::Null),
            application("open", &json!({"github": "acme/open"})),
        ];
        let text = manifests([], &all, "home");
        assert!(text.contains(WITHOUT_SLACK), "{text}");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let metadata = json!({"name": "foredeck-repositories", "namespace": "shop"});
        let account =
            |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "home"});
        assert_eq!(documents.len(), 2, "{documents:#?}");
        assert_eq!(documents[0]["kind"], "Role");
        assert_eq!(
            documents[0]["rules"],
            json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"], "verbs": ["get"]}])
        );
        assert_eq!(documents[1]["roleRef"]["name"], "foredeck-repositories");
        assert_eq!(documents[1]["roleRef"]["kind"], "Role");
        for document in &documents {
            assert_eq!(document["metadata"], metadata);
        }
        assert_eq!(
            documents[1]["subjects"],
            json!([account("foredeck-controller"), account("foredeck-receiver")])
        );
    }

    #[test]
    fn a_hostile_name_stays_a_name() {
        let name = "x\"]\n---\nkind: ClusterRole # *";
        let all = [connection(
            "shop",
            &Value::Null,
            &json!({"basic": {"secretName": name}}),
        )];
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&manifests(&all, [], "home")).unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0]["rules"][0]["resourceNames"], json!([name]));
    }
}
