//! What is installed: namespaces, Deployments, Leases, admission policies, and what keeps `foredeck-vault` for foredeck.
//! Touches nothing.

use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::Deployment,
    coordination::v1::Lease,
};
use kube::ResourceExt;

use super::rights::Role;
use crate::doctor::{
    page::{Finding, count, few, lasting, word},
    seen::{Seen, Unseen},
};

const NAMESPACES: &str = "namespaces";
const WORKLOADS: &str = "workloads";
const LEASES: &str = "leases";
const POLICIES: &str = "policies";
const VAULT_ACCOUNT: &str = "vault-account";

/// The policies without which somebody could ask or approve in the name of another.
pub const VOUCHING: [&str; 10] = [
    "foredeck-deployapprovals",
    "foredeck-deployfreezes",
    "foredeck-deployfreezes-status",
    "foredeck-deployrequests",
    "foredeck-deployrequests-status",
    "foredeck-deploytargets",
    "foredeck-environments",
    "foredeck-persons",
    "foredeck-persons-status",
    "foredeck-status",
];
/// The policies that keep the `ServiceAccount` by which foredeck logs in to Vault for its controller.
pub const KEEPING: [&str; 3] = [
    "foredeck-vault-pods",
    "foredeck-vault-secrets",
    "foredeck-vault-tokens",
];

/// Those and their bindings, by which the controller looks at them where no file says more: the plural and the name of each.
pub fn vouching() -> Vec<(&'static str, String)> {
    let plurals = [
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    ];
    let each = |name: &'static str| plurals.map(|plural| (plural, name.to_owned()));
    VOUCHING.into_iter().flat_map(each).collect()
}

/// Whether the namespaces are there in which foredeck is told to be and to work.
pub fn namespaces(seen: &[(String, Seen<()>)]) -> Vec<Finding> {
    let mut lines = Vec::new();
    let mut there = Vec::new();
    for (name, seen) in seen {
        match seen {
            Ok(()) => there.push(name.clone()),
            Err(Unseen::Absent) => lines.push(Finding::fail(
                NAMESPACES,
                &format!("The namespace {} doesn't exist", word(name)),
                "Make it, or name another; foredeck works in no namespace that isn't there",
            )),
            Err(unseen) => lines.push(unseen.line(NAMESPACES, &format!("The namespace {name}"))),
        }
    }
    if !there.is_empty() {
        lines.push(Finding::ok(NAMESPACES, &format!("There: {}", few(&there))));
    }
    lines
}

/// The Deployments of the roles.
pub fn workloads(seen: &Seen<Vec<Deployment>>, home: &str) -> Vec<Finding> {
    let all = match seen {
        Ok(all) => all,
        Err(unseen) => return vec![unseen.line(WORKLOADS, "The Deployments of foredeck")],
    };
    if all.is_empty() {
        return vec![Finding::warn(
            WORKLOADS,
            &format!("No Deployment in {home} is foredeck's (app.kubernetes.io/name: foredeck)"),
            "Install the chart, or name its namespace with --home-namespace",
        )];
    }
    all.iter().map(workload).collect()
}

fn workload(one: &Deployment) -> Finding {
    let name = one.name_any();
    let wanted = one.spec.replicas.unwrap_or(1);
    let status = one.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let updated = status.updated_replicas.unwrap_or(0);
    let template = &one.spec.template;
    let images: Vec<&str> = template
        .spec
        .iter()
        .flat_map(|pod| &pod.containers)
        .filter(|container| {
            container.name.starts_with("foredeck")
                || container
                    .image
                    .as_ref()
                    .is_some_and(|image| image.contains("foredeck"))
        })
        .filter_map(|container| container.image.as_deref())
        .collect();
    let labelled = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.as_ref())
        .or(one.metadata.labels.as_ref())
        .and_then(|labels| labels.get("app.kubernetes.io/version"));
    let own = env!("CARGO_PKG_VERSION");
    let version = labelled
        .map(String::as_str)
        .or_else(|| images.iter().find_map(|image| tag(image)));
    let standing = format!("{name}: {ready} of {wanted} ready");
    let logs = format!(
        "Look at `kubectl describe` and `kubectl logs` of deployment/{name}; its Pods' /readyz says for what they wait"
    );
    if wanted == 0 {
        return Finding::warn(
            WORKLOADS,
            &format!("{name}: it is scaled to none"),
            "Scale it up: nobody does its work",
        );
    }
    if ready == 0 {
        return Finding::fail(WORKLOADS, &standing, &logs);
    }
    if ready < wanted || updated < wanted {
        let found = format!("{standing}, {updated} of them of the newest kind");
        return Finding::warn(WORKLOADS, &found, &logs);
    }
    match version {
        Some(version) if version.trim_start_matches('v') != own => Finding::warn(
            WORKLOADS,
            &format!("{standing}, of version {}; this is {own}", word(version)),
            "Ask with the binary that runs there: `kubectl exec` into it, or take its version",
        ),
        Some(version) => Finding::ok(
            WORKLOADS,
            &format!("{standing}, of version {}", word(version)),
        ),
        None => Finding::ok(WORKLOADS, &standing),
    }
}

/// `registry:5000/foredeck:1.2.3@sha256:…` has the tag `1.2.3`.
fn tag(image: &str) -> Option<&str> {
    let image = image.split('@').next()?;
    let last = image.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
}

/// Who works now, of a role of which one does.
pub fn lease(role: Role, name: &str, seen: &Seen<Lease>, now: Timestamp) -> Finding {
    let who = role.name();
    let start = format!("Start the {who}, and look into its log for why it doesn't take the Lease");
    let lease = match seen {
        Ok(lease) => lease.spec.clone().unwrap_or_default(),
        Err(Unseen::Absent) if role == Role::Relay => {
            let found = format!("The Lease {name}: there is none, as where Slack was never used");
            return Finding::skip(LEASES, &found, None);
        }
        Err(Unseen::Absent) => {
            return Finding::fail(
                LEASES,
                &format!("The Lease {name} was never taken: no {who} has worked yet"),
                &start,
            );
        }
        Err(unseen) => return unseen.line(LEASES, &format!("The Lease {name}")),
    };
    let holder = lease.holder_identity.filter(|holder| !holder.is_empty());
    let (Some(holder), Some(renewed)) = (holder, lease.renew_time) else {
        return Finding::fail(
            LEASES,
            &format!("Nobody holds the Lease {name}: no {who} works"),
            &start,
        );
    };
    let age = now.as_second().saturating_sub(renewed.0.as_second());
    let lasts = i64::from(lease.lease_duration_seconds.unwrap_or_default());
    let held = format!(
        "{name}: held by {}, renewed {} ago",
        word(&holder),
        lasting(age)
    );
    if age > lasts {
        return Finding::fail(
            LEASES,
            &format!("{held}, though it lasts {lasts} s: no {who} works"),
            &start,
        );
    }
    Finding::ok(LEASES, &held)
}

/// Whether the policies are there that vouch for who asked; nothing is known of what they say.
pub fn presence(
    policies: &Seen<Vec<ValidatingAdmissionPolicy>>,
    bindings: &Seen<Vec<ValidatingAdmissionPolicyBinding>>,
) -> Finding {
    match gaps(&VOUCHING, policies, bindings) {
        Err(unseen) => unseen.line(POLICIES, "The admission policies"),
        Ok(gaps) if gaps.is_empty() => Finding::ok(
            POLICIES,
            &format!(
                "All {} are there and refuse; with --admission-policies it is also said whether they are what the chart says",
                VOUCHING.len()
            ),
        ),
        Ok(gaps) => Finding::fail(
            POLICIES,
            &format!("Nobody vouches for who asks: {}", few(&gaps)),
            "Install foredeck's chart again; nothing starts until then",
        ),
    }
}

/// Whether the policies are what the file says: `Err` is the sentence that says why not, and whether it is known at all.
pub fn unaltered(compared: &Result<Timestamp, (bool, String)>) -> Finding {
    match compared {
        Ok(since) => Finding::ok(
            POLICIES,
            &format!("All are there, and what the file says, since {since}"),
        ),
        Err((true, message)) => Finding::fail(
            POLICIES,
            message,
            "Install foredeck's chart again, and find out who changed it",
        ),
        Err((false, message)) => Finding::skip(
            POLICIES,
            message,
            Some("Ask again as somebody who may get admission policies"),
        ),
    }
}

/// Whether somebody else could use the `ServiceAccount` by which foredeck logs in to Vault. `used` is how many connections
/// do.
pub fn vault_account(
    used: &Seen<usize>,
    policies: &Seen<Vec<ValidatingAdmissionPolicy>>,
    bindings: &Seen<Vec<ValidatingAdmissionPolicyBinding>>,
) -> Finding {
    let used = match used {
        Ok(used) => *used,
        Err(unseen) => {
            return unseen.line(
                VAULT_ACCOUNT,
                "Whether a connection logs in to Vault as the ServiceAccount foredeck-vault",
            );
        }
    };
    if used == 0 {
        return Finding::ok(
            VAULT_ACCOUNT,
            "No connection logs in to a Vault as the ServiceAccount foredeck-vault",
        );
    }
    let logins = format!(
        "{} in to Vault as the ServiceAccount foredeck-vault",
        count(used, "connection logs", "connections log")
    );
    match gaps(&KEEPING, policies, bindings) {
        Err(unseen) => unseen.line(
            VAULT_ACCOUNT,
            &format!("{logins}; whether others can use it"),
        ),
        Ok(gaps) if gaps.is_empty() => Finding::ok(
            VAULT_ACCOUNT,
            &format!("{logins}, and nobody else can use it"),
        ),
        Ok(gaps) => Finding::fail(
            VAULT_ACCOUNT,
            &format!(
                "{logins}, and whoever may edit its namespace can do so too: {}",
                few(&gaps)
            ),
            "Install the chart with vault.enabled: its policies keep that account for the controller",
        ),
    }
}

/// Which policies aren't there, or don't refuse.
fn gaps(
    names: &[&str],
    policies: &Seen<Vec<ValidatingAdmissionPolicy>>,
    bindings: &Seen<Vec<ValidatingAdmissionPolicyBinding>>,
) -> Seen<Vec<String>> {
    let (policies, bindings) = (
        policies.as_ref().map_err(Clone::clone)?,
        bindings.as_ref().map_err(Clone::clone)?,
    );
    let mut gaps = Vec::new();
    for name in names {
        let policy = policies.iter().find(|policy| policy.name_any() == *name);
        match policy.map(|policy| policy.spec.clone().unwrap_or_default()) {
            None => {
                gaps.push(format!("the policy {name} is missing"));
                continue;
            }
            Some(spec) if spec.failure_policy.as_deref() == Some("Ignore") => {
                gaps.push(format!(
                    "the policy {name} lets through what it can't judge"
                ));
            }
            Some(_) => {}
        }
        let denies = bindings.iter().map(|binding| &binding.spec).any(|spec| {
            spec.policy_name == *name
                && spec.match_resources.is_none()
                && spec
                    .validation_actions
                    .iter()
                    .any(|action| action == "Deny")
        });
        if !denies {
            gaps.push(format!(
                "the policy {name} refuses nothing, for lack of a binding that denies everywhere"
            ));
        }
    }
    Ok(gaps)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MatchResources;
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::page::State;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_policies_are_those_of_the_chart() {
        let read = |file: &str| -> Vec<String> {
            let path = format!("{}/examples/install/{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            let ours = all
                .iter()
                .filter(|one| one["kind"] == "ValidatingAdmissionPolicy");
            let mut names: Vec<String> = ours
                .filter_map(|one| one["metadata"]["name"].as_str().map(str::to_owned))
                .collect();
            names.sort();
            names
        };
        assert_eq!(read("admission.yaml"), VOUCHING);
        assert_eq!(read("vault.yaml"), KEEPING);
    }

    #[test]
    fn leases_by_who_holds_them() {
        let lease = |holder: &str, renewed: &str| -> Seen<Lease> {
            Ok(read(json!({"metadata": {"name": "l"}, "spec": {
                "holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15,
            }})))
        };
        for (role, seen, expected) in [
            (
                Role::Controller,
                lease("a", "2026-01-01T11:59:55.000000Z"),
                State::Ok,
            ),
            (
                Role::Controller,
                lease("a", "2026-01-01T11:59:40.000000Z"),
                State::Fail,
            ),
            (
                Role::Controller,
                lease("", "2026-01-01T11:59:59.000000Z"),
                State::Fail,
            ),
            (Role::Controller, Err(Unseen::Absent), State::Fail),
            (Role::Relay, Err(Unseen::Absent), State::Skip),
        ] {
            let finding = super::lease(role, "l", &seen, now());
            assert_eq!(finding.state, expected, "{finding:?}");
        }
    }

    #[test]
    fn deployments_by_how_many_are_ready_and_of_which_version() {
        let deployment = |ready: i32,
                          updated: i32,
                          version: Option<&str>,
                          image: &str|
         -> Deployment {
            read(json!({
                "metadata": {"name": "foredeck-controller"},
                "spec": {"replicas": 2, "selector": {}, "template": {
                    "metadata": {"labels": version.map(|version| json!({"app.kubernetes.io/version": version}))},
                    "spec": {"containers": [{"name": "foredeck", "image": image}]},
                }},
                "status": {"readyReplicas": ready, "updatedReplicas": updated},
            }))
        };
        let own = env!("CARGO_PKG_VERSION");
        let pinned = format!("r:5000/foredeck:v{own}@sha256:0");
        for (ready, updated, version, image, expected) in [
            (2, 2, Some(own), "x", State::Ok),
            (2, 2, None, pinned.as_str(), State::Ok),
            (2, 2, None, "r:5000/foredeck:9.9.9", State::Warn),
            (2, 2, Some("9.9.9"), "x", State::Warn),
            (1, 2, Some(own), "x", State::Warn),
            (2, 1, Some(own), "x", State::Warn),
            (0, 0, Some(own), "x", State::Fail),
        ] {
            let one = deployment(ready, updated, version, image);
            let lines = workloads(&Ok(vec![one]), "home");
            assert_eq!(lines[0].state, expected, "{lines:?}");
        }
        assert_eq!(workloads(&Ok(Vec::new()), "home")[0].state, State::Warn);
    }

    #[test]
    fn policies_have_to_be_there_and_refuse() {
        let policies = || -> Vec<ValidatingAdmissionPolicy> {
            VOUCHING
                .iter()
                .map(|name| {
                    read(json!({"metadata": {"name": name}, "spec": {"failurePolicy": "Fail"}}))
                })
                .collect()
        };
        let bindings = || -> Vec<ValidatingAdmissionPolicyBinding> {
            VOUCHING
                .iter()
                .map(|name| read(json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}})))
                .collect()
        };
        assert_eq!(presence(&Ok(policies()), &Ok(bindings())).state, State::Ok);
        let judged = |change: fn(
            &mut Vec<ValidatingAdmissionPolicy>,
            &mut Vec<ValidatingAdmissionPolicyBinding>,
        )| {
            let (mut all, mut bound) = (policies(), bindings());
            change(&mut all, &mut bound);
            presence(&Ok(all), &Ok(bound))
        };
        for finding in [
            judged(|all, _| drop(all.pop())),
            judged(|_, bound| drop(bound.pop())),
            judged(|all, _| {
                all[0].spec.as_mut().unwrap().failure_policy = Some("Ignore".to_owned());
            }),
            judged(|_, bound| bound[0].spec.validation_actions = vec!["Warn".to_owned()]),
            judged(|_, bound| bound[0].spec.match_resources = Some(MatchResources::default())),
        ] {
            assert_eq!(finding.state, State::Fail, "{finding:?}");
        }
        let right = "list".to_owned();
        let hidden = presence(&Err(Unseen::Forbidden { right }), &Ok(bindings()));
        assert_eq!(hidden.state, State::Skip);
        assert_eq!(
            vault_account(&Ok(1), &Ok(policies()), &Ok(bindings())).state,
            State::Fail
        );
        assert_eq!(
            vault_account(&Ok(0), &Ok(policies()), &Ok(bindings())).state,
            State::Ok
        );
    }

    #[test]
    fn a_namespace_that_does_not_exist_is_told() {
        let lines = namespaces(&[
            ("a".to_owned(), Ok(())),
            ("b".to_owned(), Err(Unseen::Absent)),
        ]);
        assert_eq!(lines[0].state, State::Fail);
        assert!(lines[1].found.contains("There: a"), "{lines:?}");
    }
}
