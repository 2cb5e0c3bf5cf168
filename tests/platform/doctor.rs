//! `foredeck doctor`: one page of an installation that is well, and of one in which each thing is broken once.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use foredeck_testkit::{
    ApiProxy,
    api_proxy::{ApiEffect, ApiFault},
    tls::Authority,
    toolbox::{Github, Node},
};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, HOME, command, finished, text};

/// A page, and how the command ended.
struct Page {
    well: bool,
    text: String,
}

impl Page {
    /// The one line that holds all of these words.
    fn has(&self, words: &[&str]) -> Result<()> {
        let told = self
            .text
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(told, "no line with {words:?} in:\n{}", self.text);
        Ok(())
    }
}

fn page(command: Command) -> Result<Page> {
    let output = finished(command)?;
    let page = text(&output.stdout);
    ensure!(!page.is_empty(), "{output:?}");
    Ok(Page {
        well: output.status.success(),
        text: page,
    })
}

/// With everything given that can be.
fn doctor(bed: &Bed, more: &[&str]) -> Command {
    let ca = bed.plane.directory().join("vault-ca.pem");
    // It is the same each time.
    let _ = fs::write(&ca, bed.vault.ca_pem());
    let policies = bed.policies.display().to_string();
    let (vault, ca, slack) = (
        bed.vault.url(),
        ca.display().to_string(),
        bed.slack.api_url(),
    );
    let usual = [
        "doctor",
        "--timeout",
        "5s",
        "--allow-gate-host",
        "127.0.0.1",
        "--admission-policies",
        &policies,
        "--vault-address",
        &vault,
        "--vault-ca-file",
        &ca,
        "--slack-api-url",
        &slack,
    ];
    let mut command = bed.command(&[&usual, more].concat());
    command
        .env("SLACK_BOT_TOKEN", bed.slack.bot_token())
        .env("SLACK_APP_TOKEN", bed.slack.app_token());
    command
}

/// Without what differs from run to run.
fn steady(page: &str) -> String {
    let mut page = page.to_owned();
    for (pattern, with) in [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\d+ (s|min)\b", "N s"),
        (r"since \d{4}-\S+", "since THEN"),
        (r"held by [^,]+,", "held by SOMEBODY,"),
        (r"Kubernetes v\d\S+", "Kubernetes VERSION"),
        (r"\d+ rights", "N rights"),
    ] {
        let pattern = regex_lite::Regex::new(pattern).map_err(|error| error.to_string());
        if let Ok(pattern) = pattern {
            page = pattern.replace_all(&page, with).into_owned();
        }
    }
    page
}

/// Any object, by its kind.
fn api(
    bed: &Bed,
    group: &str,
    kind: &str,
    plural: &str,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(bed.plane.admin(), namespace, &resource),
        None => Api::all_with(bed.plane.admin(), &resource),
    }
}

async fn merge(api: &Api<DynamicObject>, name: &str, patch: Value) -> Result<()> {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// There is no kubelet here: somebody has to say that the Pods run.
async fn deployed(bed: &Bed, ready: i32) -> Result<()> {
    let deployments = api(bed, "apps", "Deployment", "deployments", Some(HOME));
    let patch =
        json!({"status": {"replicas": 2, "readyReplicas": ready, "updatedReplicas": ready}});
    deployments
        .patch_status(
            "foredeck-controller",
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_has_its_line_and_a_healthy_installation_has_none() -> Result<()> {
    let bed = Bed::new().await?;
    deployed(&bed, 2).await?;

    // Nothing is allowed to read the connection's Secret yet.
    bed.until_connection(false).await?;
    let before = page(doctor(&bed, &[]))?;
    before.has(&[
        "✗ fail",
        "connections",
        "shop/spinnaker",
        "CredentialsNotFound",
    ])?;
    ensure!(!before.well, "{}", before.text);
    bed.allow_secrets().await?;
    bed.until_connection(true).await?;

    // All is well.
    let healthy = page(doctor(&bed, &[]))?;
    ensure!(
        healthy.well && !healthy.text.contains("✗"),
        "{}",
        healthy.text
    );
    insta::assert_snapshot!("healthy", steady(&healthy.text));
    let printed = finished(doctor(&bed, &["--output", "json"]))?;
    let read: Value = serde_json::from_slice(&printed.stdout).context("JSON")?;
    ensure!(
        read["summary"]["fail"] == 0 && read["findings"][0]["check"] == "api-server",
        "{read}"
    );

    installation(&bed).await?;
    rights(&bed).await?;
    outside(&bed).await?;
    mesh(&bed).await?;
    repositories(&bed).await?;
    connection(&bed).await?;

    // And well again.
    let mended = page(doctor(&bed, &[]))?;
    ensure!(mended.well, "{}", mended.text);
    Ok(())
}

/// What the chart installs.
async fn installation(bed: &Bed) -> Result<()> {
    let seen = page(doctor(bed, &["--namespace", "shop,nowhere"]))?;
    seen.has(&["✗ fail", "namespaces", "nowhere doesn't exist"])?;
    ensure!(!seen.well, "{}", seen.text);

    deployed(bed, 0).await?;
    page(doctor(bed, &[]))?.has(&["✗ fail", "workloads", "foredeck-controller: 0 of 2 ready"])?;
    deployed(bed, 2).await?;

    // A definition that is another version's.
    let definitions = api(
        bed,
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        None,
    );
    let name = "deploytargets.foredeck.dev";
    merge(
        &definitions,
        name,
        json!({"spec": {"names": {"shortNames": ["old"]}}}),
    )
    .await?;
    page(doctor(bed, &[]))?.has(&["✗ fail", "kinds", name, "spec.names.shortNames"])?;
    bed.plane.install_crds(&foredeck::api::crds()).await?;

    // A policy that lets everything through.
    let policies = api(
        bed,
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        None,
    );
    let name = "foredeck-deployrequests";
    let kept = policies.get(name).await?;
    merge(
        &policies,
        name,
        json!({"spec": {"failurePolicy": "Ignore"}}),
    )
    .await?;
    page(doctor(bed, &[]))?.has(&[
        "✗ fail",
        "policies",
        name,
        "isn't what foredeck's chart says",
    ])?;
    policies.delete(name, &DeleteParams::default()).await?;
    page(doctor(bed, &[]))?.has(&["✗ fail", "policies", name, "is missing"])?;
    let whole = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": kept.data["spec"]});
    bed.plane.apply(&whole.to_string()).await?;

    // Nobody works under a Lease of another name.
    let leases = api(bed, "coordination.k8s.io", "Lease", "leases", Some(HOME));
    let held = leases.get("foredeck-controller").await?;
    ensure!(held.data["spec"]["holderIdentity"].is_string(), "{held:?}");
    page(doctor(bed, &["--lease-namespace", "shop"]))?.has(&[
        "✗ fail",
        "leases",
        "was never taken",
    ])?;
    Ok(())
}

/// Who may what.
async fn rights(bed: &Bed) -> Result<()> {
    let bindings = api(
        bed,
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        "clusterrolebindings",
        None,
    );
    let kept = bindings.get("foredeck-controller").await?;
    bindings
        .delete("foredeck-controller", &DeleteParams::default())
        .await?;
    foredeck_testkit::wait_for(
        "the right to be gone",
        Duration::from_secs(30),
        async || {
            page(doctor(bed, &[]))?.has(&[
                "✗ fail",
                "rights",
                "The controller may not: get applications.foredeck.dev",
            ])
        },
    )
    .await?;
    let whole = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "foredeck-controller"},
        "roleRef": kept.data["roleRef"], "subjects": kept.data["subjects"],
    });
    bed.plane.apply(&whole.to_string()).await?;

    // A wildcard, bound to somebody whose name is made to be misread.
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "everything-ours"},
        "rules": [{"apiGroups": ["foredeck.dev"], "resources": ["*"], "verbs": ["*"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "everything-ours", "namespace": "shop"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "everything-ours"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory\n✓ ok  all is well"}],
    });
    bed.plane.apply(&format!("{role}\n---\n{binding}")).await?;
    let seen = page(doctor(bed, &[]))?;
    seen.has(&[
        "! warn",
        "wildcards",
        "ClusterRole everything-ours",
        "mallory ✓ ok all is well in shop",
    ])?;
    ensure!(seen.well, "{}", seen.text);
    let bindings = api(
        bed,
        "rbac.authorization.k8s.io",
        "RoleBinding",
        "rolebindings",
        Some("shop"),
    );
    bindings
        .delete("everything-ours", &DeleteParams::default())
        .await?;

    // Somebody who may next to nothing learns what it takes.
    let kubeconfig = bed.plane.kubeconfig_as("bob@corp.example", &[], None)?;
    let seen = page(command(&kubeconfig, &["doctor", "--timeout", "5s"]))?;
    for words in [
        ["- skip", "rights", "create subjectaccessreviews"],
        ["- skip", "wildcards", "list clusterroles"],
        ["- skip", "connections", "list spinnakerconnections"],
        ["- skip", "leases", "get leases foredeck-controller"],
        ["- skip", "slack", "SLACK_BOT_TOKEN"],
    ] {
        seen.has(&words)?;
    }
    // A role looks at its own rights.
    let own = bed.plane.kubeconfig_as(
        &format!("system:serviceaccount:{HOME}:foredeck-relay"),
        &[],
        None,
    )?;
    page(command(&own, &["doctor", "--timeout", "5s"]))?.has(&[
        "✓ ok",
        "rights",
        "The relay may all that it needs",
    ])?;
    Ok(())
}

/// Slack, Vault, and an API server that doesn't answer.
async fn outside(bed: &Bed) -> Result<()> {
    bed.slack
        .change_app(|app| app.scopes.retain(|scope| scope != "chat:write"));
    page(doctor(bed, &[]))?.has(&["✗ fail", "slack", "lacks chat:write"])?;
    bed.slack
        .change_app(|app| app.scopes.push("chat:write".to_owned()));
    let mut command = doctor(bed, &[]);
    command.env("SLACK_BOT_TOKEN", "xoxb-0-0-wrong");
    let seen = page(command)?;
    seen.has(&["✗ fail", "slack", "The bot's token doesn't work"])?;
    ensure!(!seen.text.contains("xoxb-"), "{}", seen.text);

    bed.vault.set_skew(600);
    page(doctor(bed, &[]))?.has(&["✗ fail", "vault", "behind"])?;
    bed.vault.set_skew(0);
    let stranger = bed.plane.directory().join("stranger.pem");
    fs::write(&stranger, Authority::new("Stranger")?.ca_pem())?;
    let stranger = stranger.display().to_string();
    let mut other = bed.command(&[
        "doctor",
        "--vault-address",
        &bed.vault.url(),
        "--vault-ca-file",
        &stranger,
    ]);
    other.env_remove("SLACK_BOT_TOKEN");
    page(other)?.has(&["✗ fail", "vault", "not trusted"])?;

    // One thing that hangs costs its line, and no more than its time.
    let proxy = ApiProxy::start(&bed.plane).await?;
    let kubeconfig = bed.plane.kubeconfig_through(&proxy.url())?;
    proxy.inject(ApiFault::new(Method::GET, "leases", ApiEffect::Refuse(503)));
    let seen = page(command_through(&kubeconfig))?;
    seen.has(&["✗ fail", "leases", "can't be looked at"])?;
    seen.has(&["✓ ok", "kinds"])?;
    proxy.clear_faults();
    let held = proxy.hold(Method::GET, "deployments", "");
    let begun = Instant::now();
    let seen = page(command_through(&kubeconfig))?;
    seen.has(&["✗ fail", "workloads", "no answer within 2 s"])?;
    seen.has(&["✓ ok", "kinds"])?;
    ensure!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    drop(held);

    // And one that is gone is one trouble.
    let gone = bed.plane.kubeconfig_through("https://127.0.0.1:9")?;
    let seen = page(command_through(&gone))?;
    ensure!(!seen.well, "{}", seen.text);
    insta::assert_snapshot!("gone", steady(&seen.text));
    Ok(())
}

fn command_through(kubeconfig: &std::path::Path) -> Command {
    command(kubeconfig, &["doctor", "--timeout", "2s"])
}

/// A mesh by a label, and one by its rules.
async fn mesh(bed: &Bed) -> Result<()> {
    let namespaces = api(bed, "", "Namespace", "namespaces", None);
    merge(
        &namespaces,
        HOME,
        json!({"metadata": {"labels": {"istio-injection": "enabled"}}}),
    )
    .await?;
    page(doctor(bed, &[]))?.has(&["! warn", "mesh", "Istio", "starts a pipeline twice"])?;
    merge(
        &namespaces,
        HOME,
        json!({"metadata": {"labels": {"istio-injection": null}}}),
    )
    .await?;
    Ok(())
}

/// A repository at a host that isn't allowed, with a login that isn't there, that nobody may read for the roles, that is
/// refused; and one that can be read.
async fn repositories(bed: &Bed) -> Result<()> {
    let Some(node) = Node::fetch().await? else {
        return Ok(());
    };
    let github = Github::start(&node, "acme/checkout").await?;
    let repository = json!({
        "github": "acme/checkout", "apiUrl": github.url(), "secretName": "github",
    });
    let spec = json!({"repository": repository, "actions": {"deploy": {"pipeline": "Deploy"}}});
    bed.ours("Application", "versioned", &spec).await?;
    let ours = ["--allow-git-hosts", "127.0.0.1"];
    page(doctor(bed, &[]))?.has(&[
        "! warn",
        "repositories",
        "shop/versioned",
        "none of the hosts",
        "git.enabled",
    ])?;
    let seen = page(doctor(bed, &ours))?;
    seen.has(&["✗ fail", "repositories", "shop/versioned", "does not exist"])?;
    for role in ["controller", "receiver"] {
        let lacks = format!("The {role} may not: get secrets github in shop.");
        seen.has(&["✗ fail", "rights", &lacks, "--print-rbac"])?;
    }
    bed.allow_secrets().await?;
    bed.secret("github", "nobodys").await?;
    let seen = page(doctor(bed, &ours))?;
    seen.has(&["✗ fail", "repositories", "refuses our login"])?;
    ensure!(!seen.text.contains("nobodys"), "{}", seen.text);
    for role in ["controller", "receiver"] {
        seen.has(&["✓ ok", "rights", &format!("The {role} may all")])?;
    }
    bed.secret("github", github.token()).await?;
    let line = ["✓ ok", "repositories", "shop/versioned", "branch is main"];
    page(doctor(bed, &ours))?.has(&line)?;
    let printed = finished(doctor(bed, &[&ours[..], &["--output", "json"]].concat()))?;
    let read: Value = serde_json::from_slice(&printed.stdout).context("JSON")?;
    let findings = read["findings"].as_array().context("findings")?;
    let mut told = findings.iter().filter(|one| one["check"] == "repositories");
    ensure!(told.all(|one| one["state"] == "ok"), "{read}");
    let version = GroupVersionKind::gvk("foredeck.dev", "v1alpha1", "Application");
    let resource = ApiResource::from_gvk_with_plural(&version, "applications");
    let applications: Api<DynamicObject> =
        Api::namespaced_with(bed.plane.admin(), "shop", &resource);
    applications
        .delete("versioned", &DeleteParams::default())
        .await?;
    Ok(())
}

/// A connection that stops being ready, and an Application that never was.
async fn connection(bed: &Bed) -> Result<()> {
    bed.ours(
        "Application",
        "checkout",
        &json!({"actions": {"deploy": {"pipeline": "Nowhere"}}}),
    )
    .await?;
    bed.ours(
        "Environment",
        "staging",
        &json!({"connection": "spinnaker", "target": {"account": "eks", "namespace": "shop"}}),
    )
    .await?;
    foredeck_testkit::wait_for(
        "the Application to be told",
        Duration::from_secs(30),
        async || {
            page(doctor(bed, &[]))?.has(&[
                "! warn",
                "applications",
                "shop/checkout",
                "PipelineNotFound",
            ])
        },
    )
    .await?;
    bed.gate
        .set_authentication(foredeck_testkit::gate::Authentication::Token {
            token: "another".to_owned(),
            principal: "foredeck@corp.example".to_owned(),
        });
    bed.until_connection(false).await?;
    let ill = page(doctor(bed, &[]))?;
    ill.has(&["✗ fail", "connections", "shop/spinnaker", "LoginFailed"])?;
    insta::assert_snapshot!("ill", steady(&ill.text));
    bed.gate
        .set_authentication(foredeck_testkit::gate::Authentication::Token {
            token: crate::support::TOKEN.to_owned(),
            principal: "foredeck@corp.example".to_owned(),
        });
    bed.until_connection(true).await?;
    page(doctor(bed, &["--allow-gate-host", "gate.corp.example"]))?
        .has(&["✓ ok", "connections"])?;
    Ok(())
}
