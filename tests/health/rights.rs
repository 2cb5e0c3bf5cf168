//! Rights that are missing, that come, and that are taken away: of each role each rule of the chart.

use std::fs;

use anyhow::{Context, Result, ensure};
use foredeck::api::crds;
use foredeck_testkit::{ControlPlane, role::Role, wait_for};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{PATIENCE, gate, role};

const ROLES: [&str; 3] = ["controller", "receiver", "relay"];
/// Cases under way at once.
const AT_ONCE: usize = 4;

/// A role's manifests, for a home and under names that nobody else has.
fn manifests(name: &str, home: &str) -> Result<Vec<Value>> {
    let file = format!(
        "{}/examples/install/{name}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = fs::read_to_string(file)?.replace("foredeck-system", home);
    let all: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let own = |value: &mut Value| {
        if let Some(name) = value.as_str() {
            *value = json!(format!("{name}-{home}"));
        }
    };
    let ours = all.into_iter().filter(|one| one["kind"] != "Namespace");
    Ok(ours
        .map(|mut one| {
            if one["kind"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("ClusterRole"))
            {
                own(&mut one["metadata"]["name"]);
            }
            if one["roleRef"]["kind"] == "ClusterRole" {
                own(&mut one["roleRef"]["name"]);
            }
            one
        })
        .collect())
}

async fn apply(plane: &ControlPlane, manifests: &[Value]) -> Result<()> {
    let text: Vec<String> = manifests.iter().map(Value::to_string).collect();
    plane.apply(&text.join("\n---\n")).await
}

/// Where each rule is: the manifest, and its place in it.
fn rules(manifests: &[Value]) -> Vec<(usize, usize)> {
    let all = manifests.iter().enumerate();
    all.flat_map(|(at, one)| {
        let rules = one["rules"].as_array().map(Vec::len).unwrap_or_default();
        (0..rules).map(move |rule| (at, rule))
    })
    .collect()
}

/// What a rule is about, as it is told; nothing for what is missed where it is used, and not before.
fn about(rule: &Value) -> Vec<String> {
    let words = |key: &str| -> Vec<String> {
        let all = rule[key].as_array().cloned().unwrap_or_default();
        all.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let groups = words("apiGroups");
    let group = groups.first().map(String::as_str).unwrap_or_default();
    let spared = group == "rbac.authorization.k8s.io";
    let resources = words("resources");
    if spared || resources == ["serviceaccounts/token"] {
        return Vec::new();
    }
    let dot = if group.is_empty() { "" } else { "." };
    let told = resources
        .iter()
        .map(|resource| format!("{resource}{dot}{group}"));
    told.collect()
}

fn started(plane: &ControlPlane, name: &str, home: &str) -> Result<Role> {
    let user = format!("system:serviceaccount:{home}:foredeck-{name}");
    let kubeconfig = plane.kubeconfig_as(&user, &[], None)?;
    let command = role(plane, name, home)?.kubeconfig(kubeconfig);
    let policies = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/install/admission.yaml"
    );
    match name {
        "controller" => command
            .arguments(["--admission-policies", policies])
            .start(),
        _ => command.start(),
    }
}

/// One process of all roles acts as each of them, which takes a right of its own.
#[tokio::test]
async fn a_process_that_may_not_act_as_its_roles_says_so() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crds()).await?;
    let home = plane.namespace("single").await?;
    for one in manifests("controller", &home)? {
        apply(plane, &[one]).await?;
    }
    let role = role(plane, "run", &home)?
        .kubeconfig(plane.kubeconfig_of(&home, "foredeck", None).await?)
        .arguments(["--roles-namespace", &home])
        .arguments(["--slack-mode", "http", "--listen", "127.0.0.1:0"])
        .env("SLACK_SIGNING_SECRET", "0123456789abcdef0123456789abcdef")
        .start()?;
    let cannot = ["cannot impersonate".to_owned()];
    until_missed(&role, "controller", &cannot).await?;
    let allowed = json!([
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "foredeck", "namespace": home},
            "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"],
                "resourceNames": ["foredeck-controller", "foredeck-receiver", "foredeck-relay"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "foredeck", "namespace": home},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "foredeck"},
            "subjects": [{"kind": "ServiceAccount", "name": "foredeck", "namespace": home}]},
    ]);
    apply(plane, allowed.as_array().context("a list")?).await?;
    wait_for("the controller to have its rights", PATIENCE, async || {
        let said = gate(&role, "controller-rights").await?;
        ensure!(said.is_none(), "{said:?}");
        Ok(())
    })
    .await
    .with_context(|| role.tail())?;
    // The receiver's are not installed.
    let all = ["deployapprovals.foredeck.dev".to_owned()];
    until_missed(&role, "receiver", &all).await?;
    Ok(())
}

async fn until_missed(role: &Role, name: &str, any: &[String]) -> Result<String> {
    let gates = format!("{name}-rights");
    wait_for(&format!("{name} to miss {any:?}"), PATIENCE, async || {
        let said = gate(role, &gates).await?.unwrap_or_default();
        let named = any.iter().any(|one| said.contains(one));
        ensure!(said.contains("can't") && named, "{said:?}");
        Ok(said)
    })
    .await
    .with_context(|| role.tail())
}

/// Waits until it has its rights; a controller also until it works, since it needs nobody else.
async fn until_has_all(role: &Role, name: &str) -> Result<()> {
    if name == "controller" {
        return role.until_ready(PATIENCE).await;
    }
    let gates = format!("{name}-rights");
    wait_for(
        &format!("{name} to have its rights"),
        PATIENCE,
        async || {
            let said = gate(role, &gates).await?;
            ensure!(said.is_none(), "{said:?}");
            Ok(())
        },
    )
    .await
    .with_context(|| role.tail())
}

async fn without(plane: &ControlPlane, name: &str, (at, nth): (usize, usize)) -> Result<()> {
    let home = plane.namespace("rights").await?;
    let whole = manifests(name, &home)?;
    let mut fewer = whole.clone();
    let rules = fewer[at]["rules"].as_array_mut().context("rules")?;
    let removed = rules.remove(nth);
    apply(plane, &fewer).await?;
    let role = started(plane, name, &home)?;
    let about = about(&removed);
    if about.is_empty() {
        return until_has_all(&role, name).await;
    }
    let said = until_missed(&role, name, &about).await?;
    let user = format!(
        "forbidden for system:serviceaccount:{home}:foredeck-{name}: install the chart's rights"
    );
    ensure!(said.contains(&user), "{said}");
    ensure!(
        role.read("/livez").await?.0 == 200,
        "missing a right is no illness"
    );
    apply(plane, &whole).await?;
    until_has_all(&role, name).await?;
    let told = role.log().matches(&said).count();
    ensure!(told == 1, "told {told} times: {said}");
    Ok(())
}

#[tokio::test]
async fn each_rule_that_is_missing_is_named_and_waited_for() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crds()).await?;
    let mut cases = Vec::new();
    for name in ROLES {
        let rules = rules(&manifests(name, "home")?);
        ensure!(rules.len() > 3, "{name}: {rules:?}");
        cases.extend(rules.into_iter().map(|rule| (name, rule)));
    }
    stream::iter(cases)
        .map(|(name, rule)| async move {
            let done = without(plane, name, rule).await;
            done.with_context(|| format!("{name} without rule {rule:?}"))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_taken_away_and_given_back_is_noticed() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crds()).await?;
    let home = plane.namespace("taken").await?;
    let whole = manifests("receiver", &home)?;
    apply(plane, &whole).await?;
    let role = started(plane, "receiver", &home)?;
    until_has_all(&role, "receiver").await?;
    let mut none = whole.clone();
    for one in &mut none {
        if one["kind"] == "ClusterRole" {
            one["rules"] = json!([]);
        }
    }
    apply(plane, &none).await?;
    let all = ["deployrequests.foredeck.dev in all namespaces".to_owned()];
    let said = until_missed(&role, "receiver", &all).await?;
    ensure!(
        said.contains(
            "or say which namespaces to work in (namespaces in the chart's values, --namespace)"
        ),
        "{said}"
    );
    apply(plane, &whole).await?;
    until_has_all(&role, "receiver").await
}

/// The right to work everywhere, given for these namespaces alone.
fn in_namespaces(manifests: &[Value], namespaces: &[&str]) -> Vec<Value> {
    let is_everywhere = |one: &Value| {
        one["kind"] == "ClusterRoleBinding"
            && !one["roleRef"]["name"]
                .as_str()
                .is_some_and(|name| name.contains("-cluster"))
    };
    let mut all: Vec<Value> = Vec::new();
    for one in manifests {
        if !is_everywhere(one) {
            all.push(one.clone());
            continue;
        }
        all.extend(namespaces.iter().map(|namespace| {
            let mut bound = one.clone();
            bound["kind"] = json!("RoleBinding");
            bound["metadata"] = json!({"name": "foredeck-work", "namespace": namespace});
            bound
        }));
    }
    all
}

#[tokio::test]
async fn a_namespace_without_rights_keeps_no_other_waiting() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crds()).await?;
    let home = plane.namespace("several").await?;
    let other = plane.namespace("other").await?;
    let whole = in_namespaces(&manifests("controller", &home)?, &[&home, &other]);
    apply(plane, &whole).await?;
    let started = || -> Result<Role> {
        let user = format!("system:serviceaccount:{home}:foredeck-controller");
        let command = role(plane, "controller", &home)?
            .kubeconfig(plane.kubeconfig_as(&user, &[], None)?)
            .env("FOREDECK_NAMESPACE", format!("{home},{other}"));
        command.start()
    };
    let line =
        format!(r#"foredeck_rights_missing{{gate="controller-rights",place="namespace {other}"}}"#);
    let counted = async |role: &Role| {
        wait_for("the missing rights to be counted", PATIENCE, async || {
            let (_, page) = role.read("/metrics").await?;
            ensure!(page.contains(&line), "{page}");
            Ok(())
        })
        .await
        .with_context(|| role.tail())
    };
    let first = started()?;
    first.until_ready(PATIENCE).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(plane.admin(), &other);
    bindings
        .delete("foredeck-work", &DeleteParams::default())
        .await?;
    counted(&first).await?;
    ensure!(first.readyz().await?.0 == 200, "{}", first.tail());
    drop(first);
    let again = started()?;
    again.until_ready(PATIENCE).await?;
    counted(&again).await?;
    apply(plane, &whole).await?;
    wait_for("the rights to be there again", PATIENCE, async || {
        let (_, page) = again.read("/metrics").await?;
        ensure!(!page.contains(&line), "{page}");
        Ok(())
    })
    .await
    .with_context(|| again.tail())
}
