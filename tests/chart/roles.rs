//! What the chart's RBAC allows each role: exactly this.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use foredeck::api::{DeployApproval, DeployRequest, DeployTarget, Person};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::{
    Api,
    api::{PatchParams, PostParams},
};
use serde_json::json;

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

/// What a role may do to foredeck's kinds in any namespace; everything else it may not.
fn everywhere(role: &str) -> Vec<(&'static str, String)> {
    let reads = |kinds: &[&'static str]| -> Vec<(&'static str, String)> {
        kinds.iter().map(|kind| (*kind, READ.to_owned())).collect()
    };
    let (mut allowed, more): (_, &[(&'static str, &str)]) = match role {
        "controller" => (
            reads(&[
                "applications",
                "environments",
                "spinnakerconnections",
                "deployapprovals",
            ]),
            &[
                ("deployrequests", "get list watch patch delete"),
                ("deploytargets", "get list watch create"),
                ("applications/status", "patch"),
                ("environments/status", "patch"),
                ("spinnakerconnections/status", "patch"),
                ("deployrequests/status", "patch"),
                ("deployapprovals/status", "patch"),
                ("deploytargets/status", "patch"),
            ],
        ),
        "receiver" => (
            reads(&["applications", "environments", "deploytargets"]),
            &[
                ("deployrequests", "get list watch create patch"),
                ("deployapprovals", "get list watch create"),
            ],
        ),
        _ => (
            reads(&[
                "applications",
                "environments",
                "deployrequests",
                "deployapprovals",
            ]),
            &[("deployrequests/status", "patch")],
        ),
    };
    allowed.extend(
        more.iter()
            .map(|(kind, verbs)| (*kind, (*verbs).to_owned())),
    );
    allowed
}

/// What it may do in foredeck's own namespace, beside.
fn at_home(role: &str) -> Vec<(&'static str, String)> {
    match role {
        "controller" => vec![("persons", READ.to_owned())],
        "receiver" => vec![
            ("persons", format!("{READ} create")),
            ("persons/status", "patch".to_owned()),
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
        for verb in ["deploy", "approve", "cancel", "override", "judge"] {
            for resource in ["applications", "environments"] {
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
        ("receiver", "make a target"),
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
