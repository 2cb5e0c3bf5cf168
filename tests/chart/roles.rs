//! What the chart's RBAC allows each role: exactly this.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use foredeck::api::{DeployApproval, DeployFreeze, DeployRequest, DeployTarget, Person};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::{
    Api,
    api::{PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, HOME, account, all_resources};

const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
const READ: &str = "get list watch";
/// Of what is only looked up in caches.
const FOLLOW: &str = "list watch";

/// What a role may do to foredeck's kinds in any namespace; everything else it may not.
fn everywhere(role: &str) -> Vec<(&'static str, &'static str)> {
    match role {
        "controller" => vec![
            ("applications", READ),
            ("environments", READ),
            ("spinnakerconnections", READ),
            ("deployrequests", "get list watch patch delete"),
            ("deployapprovals", FOLLOW),
            ("deploytargets", "get list watch create"),
            ("deployfreezes", FOLLOW),
            ("applications/status", "patch"),
            ("environments/status", "patch"),
            ("spinnakerconnections/status", "patch"),
            ("deployrequests/status", "patch"),
            ("deployapprovals/status", "patch"),
            ("deploytargets/status", "patch"),
            ("deployfreezes/status", "patch"),
        ],
        "receiver" => vec![
            ("applications", FOLLOW),
            ("environments", "get list watch patch"),
            ("deploytargets", "get list watch create patch"),
            ("deployfreezes", FOLLOW),
            ("deployrequests", "get list watch create patch"),
            ("deployapprovals", "get list watch create"),
        ],
        _ => vec![
            ("applications", FOLLOW),
            ("environments", FOLLOW),
            ("deployrequests", READ),
            ("deployfreezes", READ),
            ("deployrequests/status", "patch"),
            ("deployfreezes/status", "patch"),
        ],
    }
}

/// What it may do in foredeck's own namespace, beside.
fn at_home(role: &str) -> Vec<(&'static str, &'static str)> {
    match role {
        "controller" => vec![("persons", READ)],
        "receiver" => vec![
            ("persons", "get list watch create"),
            ("persons/status", "patch"),
            ("deployfreezes", "create"),
        ],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn each_role_may_exactly_what_it_needs_of_foredecks_kinds() -> Result<()> {
    let bed = Bed::new(true, "rights").await?;
    for role in ["controller", "receiver", "relay"] {
        for (namespace, expected) in [
            (bed.namespace.as_str(), everywhere(role)),
            (HOME, [everywhere(role), at_home(role)].concat()),
        ] {
            let expected: BTreeSet<String> = expected
                .iter()
                .flat_map(|(kind, verbs)| {
                    verbs.split(' ').map(move |verb| format!("{verb} {kind}"))
                })
                .collect();
            let mut allowed = BTreeSet::new();
            for plural in all_resources().map(|resource| resource.plural) {
                for subresource in ["", "status"] {
                    for verb in VERBS {
                        let kind = [plural.as_str(), subresource].join("/");
                        if may(
                            &bed,
                            role,
                            namespace,
                            verb,
                            ("foredeck.dev", &plural, subresource),
                        )
                        .await?
                        {
                            allowed.insert(format!("{verb} {}", kind.trim_end_matches('/')));
                        }
                    }
                }
            }
            assert_eq!(allowed, expected, "{role} in {namespace}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_role_reads_secrets_or_touches_who_may_what() -> Result<()> {
    let bed = Bed::new(true, "others").await?;
    for role in ["controller", "receiver", "relay"] {
        for (group, resource) in [
            ("", "secrets"),
            ("", "pods"),
            ("", "configmaps"),
            ("rbac.authorization.k8s.io", "rolebindings"),
            (
                "admissionregistration.k8s.io",
                "validatingadmissionpolicies",
            ),
            (
                "admissionregistration.k8s.io",
                "mutatingadmissionpolicybindings",
            ),
        ] {
            for verb in ["create", "update", "patch", "delete", "watch"] {
                let may = may(&bed, role, HOME, verb, (group, resource, "")).await?;
                assert!(!may, "{role}: {verb} {resource}");
            }
        }
        assert!(
            !may(&bed, role, HOME, "get", ("", "secrets", "")).await?,
            "{role}"
        );
        // None holds a verb that lets things start.
        for verb in ["deploy", "approve", "cancel", "lock", "override", "judge"] {
            for resource in ["applications", "environments", "deployfreezes"] {
                let may = may(&bed, role, HOME, verb, ("foredeck.dev", resource, "")).await?;
                assert!(!may, "{role}: {verb} {resource}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_stolen_token_is_stopped_by_rbac_first() -> Result<()> {
    let bed = Bed::new(true, "tokens").await?;
    bed.asked_by(crate::support::ALICE, "one").await?;
    let forbidden = |what: &str, answer: kube::Result<()>| -> Result<()> {
        let error = answer
            .err()
            .with_context(|| format!("{what} was let through"))?;
        let kube::Error::Api(status) = &error else {
            return Err(error).context(what.to_owned());
        };
        assert_eq!(status.code, 403, "{what}: {status:?}");
        assert!(
            status.message.contains("cannot"),
            "{what}: {}",
            status.message
        );
        Ok(())
    };
    let nothing = kube::api::Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let (merge, plain) = (PatchParams::default(), PostParams::default());
    for (role, what) in [
        ("relay", "patch a request"),
        ("receiver", "patch a status"),
        ("relay", "make a person"),
        ("controller", "make a person"),
        ("receiver", "make a person elsewhere"),
        ("relay", "approve"),
        ("controller", "approve"),
        ("relay", "make a target"),
        ("relay", "freeze"),
        ("controller", "freeze"),
        ("receiver", "freeze"),
        ("relay", "ask"),
        ("controller", "ask"),
    ] {
        let client = bed.plane.client_as(&account(role), &[]);
        let requests: Api<DeployRequest> = Api::namespaced(client.clone(), &bed.namespace);
        let make = |kind: &str, spec: serde_json::Value| json!({"apiVersion": "foredeck.dev/v1alpha1", "kind": kind, "metadata": {"name": "new"}, "spec": spec});
        let ask = json!({"application": "a", "environment": "b"});
        let answer = match what {
            "patch a request" => requests.patch("one", &merge, &nothing).await.map(drop),
            "patch a status" => requests
                .patch_status("one", &merge, &nothing)
                .await
                .map(drop),
            "ask" => {
                let object = serde_json::from_value(make("DeployRequest", ask))?;
                requests.create(&plain, &object).await.map(drop)
            }
            "approve" => {
                let spec = json!({"request": {"name": "one", "uid": "u"}, "decision": "Approve", "digest": "a".repeat(64)});
                let object: DeployApproval = serde_json::from_value(make("DeployApproval", spec))?;
                Api::namespaced(client, &bed.namespace)
                    .create(&plain, &object)
                    .await
                    .map(drop)
            }
            "make a target" => {
                let spec = json!({"application": "a", "environment": "b", "place": {"account": "c", "namespace": "d"}});
                let object: DeployTarget = serde_json::from_value(make("DeployTarget", spec))?;
                Api::namespaced(client, &bed.namespace)
                    .create(&plain, &object)
                    .await
                    .map(drop)
            }
            "freeze" => {
                let object: DeployFreeze =
                    serde_json::from_value(make("DeployFreeze", json!({"reason": "forged"})))?;
                Api::namespaced(client, &bed.namespace)
                    .create(&plain, &object)
                    .await
                    .map(drop)
            }
            _ => {
                let object: Person = serde_json::from_value(make("Person", json!({})))?;
                let namespace = if what == "make a person" {
                    HOME
                } else {
                    &bed.namespace
                };
                Api::namespaced(client, namespace)
                    .create(&plain, &object)
                    .await
                    .map(drop)
            }
        };
        forbidden(&format!("{role}: {what}"), answer)?;
    }
    Ok(())
}

/// Whether the chart's RBAC lets the role's `ServiceAccount`.
async fn may(
    bed: &Bed,
    role: &str,
    namespace: &str,
    verb: &str,
    (group, resource, subresource): (&str, &str, &str),
) -> Result<bool> {
    let review: SubjectAccessReview = serde_json::from_value(json!({
        "metadata": {},
        "spec": {
            "user": account(role),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{HOME}"), "system:authenticated"],
            "resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            },
        },
    }))?;
    let answer = Api::all(bed.plane.admin())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer.status.context("an answer")?.allowed)
}

/// Kubernetes' own roles, to which rights can be added by a label.
const AGGREGATED: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// Every `ClusterRole` and Role that the chart makes with these values, and what labels they have.
async fn roles(values: &[&str]) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(&crate::support::render(values).await?)?;
    let role = |one: &Value| matches!(one["kind"].as_str(), Some("ClusterRole" | "Role"));
    Ok(all.into_iter().filter(role).collect())
}

/// The words of a list.
fn words(value: &Value) -> Vec<&str> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

/// Every way to install it that changes the rights.
const WAYS: [&[&str]; 5] = [
    &[],
    &["--set", "mode=single"],
    &["--set", "namespaces={shop,pay}"],
    &[
        "--set",
        "namespaces={foredeck-system}",
        "--set",
        "mode=single",
    ],
    &[
        "--set",
        "vault.enabled=false",
        "--set",
        "access.nameHolders=false",
    ],
];

#[tokio::test]
async fn nothing_is_added_to_edit_or_admin_and_only_reading_to_view() -> Result<()> {
    for values in WAYS {
        for role in roles(values).await? {
            let labels = role["metadata"]["labels"].as_object();
            let mut labels = labels.into_iter().flatten();
            assert!(!labels.any(|(label, _)| label.starts_with(AGGREGATED)));
        }
        let values = [values, &["--set", "access.aggregateToView=true"]].concat();
        let mut aggregated = Vec::new();
        for role in roles(&values).await? {
            let labels = role["metadata"]["labels"].as_object().cloned();
            for (label, _) in labels.unwrap_or_default() {
                let Some(to) = label.strip_prefix(AGGREGATED) else {
                    continue;
                };
                assert_eq!(to, "view", "{role}");
                for rule in role["rules"].as_array().into_iter().flatten() {
                    assert_eq!(words(&rule["verbs"]), ["get", "list", "watch"], "{role}");
                    assert_eq!(words(&rule["apiGroups"]), ["foredeck.dev"], "{role}");
                    for kept in ["persons", "spinnakerconnections"] {
                        assert!(!words(&rule["resources"]).contains(&kept), "{role}");
                    }
                }
                aggregated.push(role["metadata"]["name"].clone());
            }
        }
        assert_eq!(aggregated, [json!("foredeck-view")], "{values:?}");
    }
    Ok(())
}

#[tokio::test]
async fn whatever_says_who_may_what_is_known_by_the_usual_labels() -> Result<()> {
    for values in WAYS {
        let all = [values, &["--set", "access.aggregateToView=true"]].concat();
        let all: Vec<Value> = serde_saphyr::from_multiple(&crate::support::render(&all).await?)?;
        let mut seen = BTreeSet::new();
        for one in all {
            let kind = one["kind"].as_str().unwrap_or_default();
            let group = one["apiVersion"].as_str().unwrap_or_default();
            if !group.starts_with("rbac.") && kind != "ServiceAccount" {
                continue;
            }
            seen.insert(kind.to_owned());
            let labels = &one["metadata"]["labels"];
            for (label, value) in [
                ("app.kubernetes.io/name", "foredeck"),
                ("app.kubernetes.io/instance", "foredeck"),
                ("app.kubernetes.io/managed-by", "Helm"),
            ] {
                assert_eq!(labels[label], value, "{kind} {}", one["metadata"]["name"]);
            }
            assert!(labels["app.kubernetes.io/component"].is_string());
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn no_rule_has_a_wildcard_or_a_secret_or_a_lease_of_any_name() -> Result<()> {
    for values in WAYS {
        for role in roles(values).await? {
            for rule in role["rules"].as_array().into_iter().flatten() {
                for list in ["apiGroups", "resources", "verbs", "resourceNames"] {
                    assert!(!words(&rule[list]).contains(&"*"), "{values:?}: {role}");
                }
                let resources = words(&rule["resources"]);
                assert!(!resources.contains(&"secrets"), "{values:?}: {role}");
                let named = !words(&rule["resourceNames"]).is_empty();
                if resources.contains(&"leases") {
                    assert!(named || words(&rule["verbs"]) == ["create"], "{role}");
                }
                if resources.contains(&"serviceaccounts/token")
                    || resources.contains(&"serviceaccounts")
                {
                    assert!(named, "{role}");
                }
                assert!(rule.get("nonResourceURLs").is_none(), "{role}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn told_where_to_work_a_role_has_rights_there_and_at_home_alone() -> Result<()> {
    let values = ["--set", "namespaces={shop,pay}"];
    let all: Vec<Value> = serde_saphyr::from_multiple(&crate::support::render(&values).await?)?;
    let mut bound = BTreeSet::new();
    for binding in &all {
        let named = |pointer: &str| binding.pointer(pointer).and_then(Value::as_str);
        let place = match binding["kind"].as_str() {
            Some("RoleBinding") => named("/metadata/namespace").unwrap_or_default(),
            Some("ClusterRoleBinding") => "everywhere",
            _ => continue,
        };
        bound.insert((place, named("/roleRef/name").unwrap_or_default()));
    }
    let mut expected = BTreeSet::from([
        ("everywhere", "foredeck-controller-cluster"),
        ("everywhere", "foredeck-receiver-cluster"),
    ]);
    for role in ["foredeck-controller", "foredeck-receiver", "foredeck-relay"] {
        expected.extend(["shop", "pay", HOME].map(|place| (place, role)));
    }
    assert_eq!(bound, expected);
    let expected: [(&str, &[&str]); 2] = [
        (
            "foredeck-controller-cluster",
            &["kube-system", "shop", "pay"],
        ),
        ("foredeck-receiver-cluster", &["shop", "pay"]),
    ];
    for (name, expected) in expected {
        let named = all.iter().filter(|one| one["metadata"]["name"] == name);
        let rules = named.flat_map(|role| role["rules"].as_array().into_iter().flatten());
        let mut namespaces = rules.filter(|rule| words(&rule["resources"]) == ["namespaces"]);
        let rule = namespaces.next().context("no rule on namespaces")?;
        assert_eq!(words(&rule["resourceNames"]), expected, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn all_in_one_may_act_as_the_three_and_nothing_else() -> Result<()> {
    let named = |role: &Value| role["metadata"]["name"] == "foredeck";
    assert!(!roles(&[]).await?.iter().any(named));
    let single = roles(&["--set", "mode=single"]).await?;
    let own: Vec<_> = single.into_iter().filter(named).collect();
    let rules: Vec<_> = own.iter().map(|role| &role["rules"]).collect();
    let only = json!([{
        "apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"],
        "resourceNames": ["foredeck-controller", "foredeck-receiver", "foredeck-relay"],
    }]);
    assert_eq!(rules, [&only]);
    Ok(())
}

/// Role, verb and resource of each rule that the chart gives to a role.
async fn given() -> Result<BTreeSet<String>> {
    let mut given = BTreeSet::new();
    for role in roles(&["--set-string", "admission.mutating=on"]).await? {
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        let Some(name) = name
            .strip_prefix("foredeck-")
            .filter(|name| *name != "view")
        else {
            continue;
        };
        let name = name.trim_end_matches("-cluster");
        for rule in role["rules"].as_array().into_iter().flatten() {
            for resource in words(&rule["resources"]) {
                let verbs = words(&rule["verbs"]).into_iter();
                given.extend(verbs.map(|verb| format!("{name}: {verb} {resource}")));
            }
        }
    }
    Ok(given)
}

#[tokio::test]
async fn the_table_of_rights_says_what_the_chart_gives() -> Result<()> {
    let page = std::fs::read_to_string(crate::support::root().join("docs/security.md"))?;
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with("What each role may"))
        .context("no section on rights")?;
    let mut told = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [role, resources, verbs, why] = cells[..] else {
            anyhow::bail!("not four cells: {row}");
        };
        if role == "role" {
            continue;
        }
        assert!(!why.is_empty(), "{row}");
        for resource in resources.split(", ") {
            for verb in verbs.split(", ") {
                let new = told.insert(format!("{role}: {verb} {}", resource.trim_matches('`')));
                assert!(new, "twice: {row}");
            }
        }
    }
    assert_eq!(told, given().await?);
    Ok(())
}
