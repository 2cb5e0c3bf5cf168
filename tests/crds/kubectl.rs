//! The kinds as people see them with kubectl.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::ControlPlane;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{Kind, installed};

#[tokio::test]
async fn a_listing_reads_like_a_sentence() -> Result<()> {
    let (plane, namespace) = installed("listing").await?;
    request(plane, &namespace, "first", "staging").await?;
    let kind = Kind::named("DeployRequest")?;
    let status = json!({"status": {
        "phase": "Running", "stage": "Deploy (Manifest)",
        "waiting": {"for": "Judgment", "message": "", "since": "2026-01-01T00:00:00Z"},
        "execution": {"id": "01M", "status": "RUNNING"},
    }});
    kind.api(plane, &namespace)
        .patch_status("first", &PatchParams::default(), &Patch::Merge(status))
        .await?;

    let table = kubectl(plane, &namespace, &["get", "dr"])?;
    let mut lines = table.lines();
    assert_eq!(
        words(lines.next()),
        [
            "NAME",
            "APPLICATION",
            "VERSION",
            "ENVIRONMENT",
            "PHASE",
            "STAGE",
            "REQUESTER",
            "AGE"
        ]
    );
    let line = words(lines.next());
    assert_eq!(
        line[..line.len() - 1],
        [
            "first",
            "checkout",
            "main",
            "staging",
            "Running",
            "Deploy",
            "(Manifest)"
        ]
    );

    let wide = kubectl(plane, &namespace, &["get", "dr", "--output", "wide"])?;
    let head = wide.lines().next().unwrap_or_default();
    assert!(
        head.contains("WAITING FOR") && head.contains("EXECUTION"),
        "{wide}"
    );
    assert!(wide.contains("Judgment") && wide.contains("01M"), "{wide}");
    Ok(())
}

#[tokio::test]
async fn a_listing_of_connections_says_who_is_logged_in_and_for_how_long() -> Result<()> {
    let (plane, namespace) = installed("connections").await?;
    let kind = Kind::named("SpinnakerConnection")?;
    let spec =
        json!({"gateUrl": "https://gate.example:8085", "auth": {"mtls": {"secretName": "gate"}}});
    for name in ["new", "ready"] {
        kind.api(plane, &namespace)
            .create(&PostParams::default(), &kind.object(name, spec.clone()))
            .await?;
    }
    let status = json!({"status": {
        "user": "foredeck-shop", "version": "6.69.0",
        "certificate": {"serial": "3a:0f:99", "notAfter": "2026-01-01T00:10:00Z"},
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "ConfigurationValid", "message": "Gate answers.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }});
    kind.api(plane, &namespace)
        .patch_status("ready", &PatchParams::default(), &Patch::Merge(status))
        .await?;

    let get = ["get", "spinnakerconnections"];
    let table = kubectl(plane, &namespace, &get)?;
    let head = table.lines().next().unwrap_or_default();
    assert_eq!(
        columns(head),
        [
            "NAME",
            "GATE",
            "VERSION",
            "USER",
            "READY",
            "REASON",
            "CERTIFICATE UNTIL",
            "AGE"
        ]
    );
    let lines: Vec<_> = table.lines().skip(1).map(columns).collect();
    assert_eq!(lines[0][..2], ["new", "https://gate.example:8085"]);
    assert_eq!(lines[0].len(), 3, "of a new one nothing is known: {table}");
    assert_eq!(
        lines[1][..7],
        [
            "ready",
            "https://gate.example:8085",
            "6.69.0",
            "foredeck-shop",
            "True",
            "ConfigurationValid",
            "2026-01-01T00:10:00Z"
        ]
    );
    let wide = kubectl(
        plane,
        &namespace,
        &[&get[..], &["--output", "wide"]].concat(),
    )?;
    for shown in ["SERIAL", "3a:0f:99", "WHY", "Gate answers."] {
        assert!(wide.contains(shown), "{shown}: {wide}");
    }
    Ok(())
}

#[tokio::test]
async fn each_kind_answers_to_its_short_name_and_all_to_foredeck() -> Result<()> {
    let (plane, namespace) = installed("names").await?;
    for kind in Kind::all() {
        let object = kind.object("one", kind.least()?);
        kind.api(plane, &namespace)
            .create(&PostParams::default(), &object)
            .await?;
        let names = &kind.definition.spec.names;
        let short = names.short_names.iter().flatten().next();
        // A person is short enough.
        let short = short.or((kind.name() == "Person").then_some(&names.plural));
        let short = short.with_context(|| format!("{} has no short name", kind.name()))?;
        let line = kubectl(plane, &namespace, &["get", short, "--output", "name"])?;
        let full = format!(
            "{}/one",
            kind.definition
                .spec
                .names
                .singular
                .clone()
                .unwrap_or_default()
        );
        assert_eq!(line.trim(), full.replacen('/', ".foredeck.dev/", 1));
    }
    let all = kubectl(plane, &namespace, &["get", "foredeck", "--output", "name"])?;
    assert_eq!(all.lines().count(), Kind::all().len(), "{all}");
    Ok(())
}

#[tokio::test]
async fn requests_and_targets_can_be_picked_by_what_they_name() -> Result<()> {
    let (plane, namespace) = installed("selected").await?;
    request(plane, &namespace, "here", "staging").await?;
    request(plane, &namespace, "there", "production").await?;
    let by = |selector: &str| {
        kubectl(
            plane,
            &namespace,
            &[
                "get",
                "dr",
                "--output",
                "name",
                "--field-selector",
                selector,
            ],
        )
    };
    assert_eq!(
        by("spec.environment=production")?.trim(),
        "deployrequest.foredeck.dev/there"
    );
    assert_eq!(by("spec.application=checkout")?.lines().count(), 2);
    assert_eq!(
        by("spec.application=checkout,spec.environment=none")?.trim(),
        ""
    );

    let kind = Kind::named("DeployTarget")?;
    let spec = json!({"application": "checkout", "environment": "staging", "place": {"account": "eks", "namespace": "shop"}});
    kind.api(plane, &namespace)
        .create(&PostParams::default(), &kind.object("dt", spec))
        .await?;
    let selector = [
        "get",
        "dt",
        "--output",
        "name",
        "--field-selector",
        "spec.environment=staging",
    ];
    assert_eq!(
        kubectl(plane, &namespace, &selector)?.trim(),
        "deploytarget.foredeck.dev/dt"
    );
    Ok(())
}

#[tokio::test]
async fn kubectl_waits_for_the_end() -> Result<()> {
    let (plane, namespace) = installed("wait").await?;
    request(plane, &namespace, "done", "staging").await?;
    let wait = [
        "wait",
        "--for=condition=Succeeded",
        "dr/done",
        "--timeout=1s",
    ];
    let early = kubectl(plane, &namespace, &wait).unwrap_err().to_string();
    assert!(early.contains("timed out"), "{early}");

    let status = json!({"status": {"phase": "Succeeded", "conditions": [{
        "type": "Succeeded", "status": "True", "reason": "Succeeded", "message": "the execution succeeded.",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    Kind::named("DeployRequest")?
        .api(plane, &namespace)
        .patch_status("done", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    let wait = [
        "wait",
        "--for=condition=Succeeded",
        "dr/done",
        "--timeout=30s",
    ];
    assert!(kubectl(plane, &namespace, &wait)?.contains("condition met"));
    Ok(())
}

#[tokio::test]
async fn each_kind_explains_itself() -> Result<()> {
    let (plane, namespace) = installed("explain").await?;
    for kind in Kind::all() {
        let plural = &kind.definition.spec.names.plural;
        let page = kubectl(plane, &namespace, &["explain", &format!("{plural}.spec")])?;
        for name in kind
            .spec()?
            .properties
            .iter()
            .flatten()
            .map(|(name, _)| name)
        {
            assert!(
                page.contains(name.as_str()),
                "{plural}.spec.{name} in {page}"
            );
        }
        assert!(!page.contains("<no description>"), "{page}");
    }
    Ok(())
}

async fn request(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    environment: &str,
) -> Result<()> {
    let kind = Kind::named("DeployRequest")?;
    let spec: Value =
        json!({"application": "checkout", "version": "main", "environment": environment});
    kind.api(plane, namespace)
        .create(&PostParams::default(), &kind.object(name, spec))
        .await?;
    Ok(())
}

/// The cells of a line, some of which have spaces in them; those that are empty are missing.
fn columns(line: &str) -> Vec<&str> {
    line.split("   ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect()
}

fn words(line: Option<&str>) -> Vec<&str> {
    line.unwrap_or_default().split_whitespace().collect()
}

fn kubectl(plane: &ControlPlane, namespace: &str, arguments: &[&str]) -> Result<String> {
    let kubeconfig: &Path = plane.admin_kubeconfig();
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--namespace", namespace])
        .args(arguments)
        .output()
        .context("this test needs kubectl on the PATH: https://kubernetes.io/docs/tasks/tools/")?;
    ensure!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
