//! The Pods that come of the chart: under the strictest Pod Security there is, spread, probed, and without secrets in what
//! everybody may read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    modes::{empty, everything, modes},
    support::{HOME, of_kind, render, rendered},
};

/// A Pod of that Deployment.
fn pod(deployment: &Value, name: &str) -> Value {
    let template = &deployment["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": HOME,
            "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
        },
        "spec": template["spec"],
    })
}

#[tokio::test]
async fn every_pod_is_let_in_where_pod_security_is_restricted() -> Result<()> {
    let plane = empty().await?;
    for name in ["platform", "true"] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000,
        });
        plane.apply(&class.to_string()).await?;
    }
    let mut seen = 0;
    for (mode, values) in modes() {
        let manifests = rendered(&values).await?;
        for account in of_kind(&manifests, "ServiceAccount") {
            plane.apply(&account.to_string()).await?;
        }
        for deployment in of_kind(&manifests, "Deployment") {
            let name = deployment["metadata"]["name"].as_str().context("a name")?;
            let whole = pod(deployment, &format!("{mode}-{name}"));
            plane.apply(&whole.to_string()).await?;
            seen += 1;
            if seen > 1 {
                continue;
            }
            // That the API server looks at all.
            for (taken, name) in [
                ("/spec/securityContext", "no-seccomp"),
                ("/spec/containers/0/securityContext", "all-capabilities"),
            ] {
                let mut worse = pod(deployment, name);
                *worse.pointer_mut(taken).context("what is taken away")? = json!({});
                let refused = plane.apply(&worse.to_string()).await;
                let why = format!("{:#}", refused.err().context("a refusal")?);
                assert!(why.contains("violates PodSecurity \"restricted"), "{why}");
            }
        }
    }
    assert!(seen > 15, "{seen} Pods");
    Ok(())
}

#[tokio::test]
async fn every_pod_has_what_keeps_it_going() -> Result<()> {
    for (mode, values) in modes() {
        let manifests = rendered(&values).await?;
        for deployment in of_kind(&manifests, "Deployment") {
            let spec = &deployment["spec"];
            let pod = &spec["template"]["spec"];
            let container = &pod["containers"][0];
            let rolls = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
            assert_eq!(spec["strategy"], rolls, "{mode}");
            assert_eq!(pod["terminationGracePeriodSeconds"], 45, "{mode}");
            assert_eq!(pod["automountServiceAccountToken"], true, "{mode}");
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            // A claimed volume is root's, and what is appended to it is ours.
            let may_write = &pod["securityContext"];
            assert_eq!(may_write["fsGroup"], may_write["runAsUser"], "{mode}");
            assert_eq!(may_write["fsGroupChangePolicy"], "OnRootMismatch", "{mode}");
            for (probe, path) in [
                ("startupProbe", "/livez"),
                ("livenessProbe", "/livez"),
                ("readinessProbe", "/readyz"),
            ] {
                let asks = &container[probe]["httpGet"];
                assert_eq!(
                    asks,
                    &json!({"path": path, "port": "admin"}),
                    "{mode} {probe}"
                );
            }
            let limits = &container["resources"]["limits"];
            assert!(limits["memory"].is_string(), "{mode}");
            assert_eq!(limits["cpu"], Value::Null, "{mode}");
            let replicas = spec["replicas"].as_u64().context("replicas")?;
            let spread = &pod["topologySpreadConstraints"];
            assert_eq!(spread.is_array(), replicas > 1, "{mode}");
            // A receiver that Slack reaches over HTTP answers on by itself until nobody sends any more.
            assert_eq!(container["lifecycle"], Value::Null, "{mode}");
        }
    }
    Ok(())
}

/// What the receivers of those values take for one flag.
async fn argument(values: &Value, flag: &str) -> Result<String> {
    let manifests = rendered(values).await?;
    let last = of_kind(&manifests, "Deployment").filter(|deployment| {
        let name = &deployment["metadata"]["name"];
        name == "foredeck-receiver" || name == "foredeck"
    });
    let receiver = last.last().context("a receiver")?;
    let container = &receiver["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().context("arguments")?;
    let found = arguments
        .iter()
        .filter_map(Value::as_str)
        .find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='));
    Ok(found.with_context(|| flag.to_owned())?.to_owned())
}

#[tokio::test]
async fn sockets_of_a_rolling_update_are_nobody_elses() -> Result<()> {
    let slack = json!({"enabled": true});
    for (values, of_one, of_all) in [
        (json!({"slack": slack}), "2", "6"),
        (
            json!({"slack": slack, "receiver": {"replicas": 4, "socketsPerReplica": 1}}),
            "1",
            "5",
        ),
        (json!({"slack": slack, "mode": "single"}), "2", "4"),
    ] {
        assert_eq!(argument(&values, "--slack-sockets").await?, of_one);
        assert_eq!(argument(&values, "--slack-sockets-expected").await?, of_all);
    }
    Ok(())
}

#[tokio::test]
async fn secrets_are_files_and_each_role_gets_its_own_alone() -> Result<()> {
    let values = json!({
        "slack": {"enabled": true, "oldBotToken": true}, "okta": {"url": "https://corp.okta.com"},
    });
    let manifests = rendered(&values).await?;
    for (role, mounted) in [
        ("controller", vec![]),
        (
            "receiver",
            vec![
                "foredeck-okta/token",
                "foredeck-slack/app-token",
                "foredeck-slack/bot-token",
                "foredeck-slack/old-bot-token",
            ],
        ),
        ("relay", vec!["foredeck-slack/bot-token"]),
    ] {
        let deployment = of_kind(&manifests, "Deployment")
            .find(|deployment| deployment["metadata"]["name"] == format!("foredeck-{role}"))
            .with_context(|| role.to_owned())?;
        let pod = &deployment["spec"]["template"]["spec"];
        let volumes = pod["volumes"].as_array().context("volumes")?;
        let mut files = BTreeSet::new();
        for secret in volumes.iter().map(|volume| &volume["secret"]) {
            for item in secret["items"].as_array().into_iter().flatten() {
                let (secret, key) = (secret["secretName"].as_str(), item["key"].as_str());
                files.insert(format!("{}/{}", secret.context("")?, key.context("")?));
            }
        }
        let mounted: BTreeSet<String> = mounted.into_iter().map(str::to_owned).collect();
        assert_eq!(files, mounted, "{role}");
        for variable in pod["containers"][0]["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default();
            let is_place = name.ends_with("_FILE") || name.ends_with("_VAULT");
            ensure!(
                is_place || !name.contains("TOKEN") && !name.contains("SECRET"),
                "{name}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn without_slack_nothing_of_slack_is_mounted() -> Result<()> {
    let single = render(&[
        "--set",
        "mode=single",
        "--show-only",
        "templates/single.yaml",
    ])
    .await?;
    assert!(!single.contains("slack"), "{single}");
    Ok(())
}

#[tokio::test]
async fn what_selects_a_pod_is_no_label_of_somebody_elses() -> Result<()> {
    let others = json!({
        "app.kubernetes.io/name": "theirs", "app.kubernetes.io/instance": "theirs", "app.kubernetes.io/component": "theirs",
        "app.kubernetes.io/managed-by": "theirs", "app.kubernetes.io/version": "theirs", "helm.sh/chart": "theirs",
        "corp.example/cost": "theirs",
    });
    let annotations = json!({"kubectl.kubernetes.io/default-container": "theirs"});
    let values = json!({"controller": {"podLabels": others, "podAnnotations": annotations}});
    // A key that comes twice is no YAML.
    let manifests = rendered(&values).await?;
    let deployment = of_kind(&manifests, "Deployment").next();
    let deployment = deployment.context("a Deployment")?;
    let metadata = &deployment["spec"]["template"]["metadata"];
    let labels = metadata["labels"].as_object().context("labels")?;
    let theirs = labels.iter().filter(|(_, value)| *value == "theirs");
    let theirs: Vec<&str> = theirs.map(|(name, _)| name.as_str()).collect();
    assert_eq!(theirs, ["corp.example/cost"]);
    let default = &metadata["annotations"]["kubectl.kubernetes.io/default-container"];
    assert_eq!(default, "foredeck");
    Ok(())
}

/// Flags that have no value: those that a chart for one installation has no use for, and those of people who know.
const LEFT_TO_EXTRA_ARGUMENTS: [&str; 6] = [
    "--drain",
    "--lease-duration",
    "--lease-name",
    "--relay-lease-name",
    "--slack-grace",
    "--help",
];

#[tokio::test]
async fn every_flag_has_a_value_or_is_left_out_knowingly() -> Result<()> {
    let binary = env!("CARGO_BIN_EXE_foredeck");
    let help = std::process::Command::new(binary)
        .args(["run", "--help"])
        .output()?;
    let help = String::from_utf8(help.stdout)?;
    // Each with its variable, if it has one.
    let mut flags: BTreeMap<&str, &str> = BTreeMap::new();
    let mut last = "";
    for line in help.lines().map(str::trim_start) {
        let flag = line.strip_prefix("-h, ").unwrap_or(line);
        if flag.starts_with("--") {
            last = flag.split([' ', '=']).next().unwrap_or(flag);
            flags.insert(last, "");
        }
        if let Some((_, variable)) = line.split_once("[env: ") {
            let variable = variable.split(['=', ']']).next().unwrap_or_default();
            flags.insert(last, variable);
        }
    }
    ensure!(flags.len() > 40, "{help}");

    let mut modes = modes();
    let mut token = everything();
    token["secretsVault"] = json!({
        "address": "https://vault.corp.example:8200", "login": "token", "existingSecret": "vault-token",
    });
    token["slack"]["vault"] = json!({"signingSecret": "foredeck/slack#signing-secret"});
    token["slack"]["transport"] = json!("http");
    modes.push(("a token for Vault", token));
    let mut passed = BTreeSet::from(LEFT_TO_EXTRA_ARGUMENTS.map(str::to_owned));
    for (_, values) in modes {
        let manifests = rendered(&values).await?;
        for deployment in of_kind(&manifests, "Deployment") {
            let container = &deployment["spec"]["template"]["spec"]["containers"][0];
            for argument in container["args"].as_array().into_iter().flatten() {
                let argument = argument.as_str().unwrap_or_default();
                let flag = argument.split('=').next().unwrap_or(argument);
                passed.insert(flag.to_owned());
            }
            for variable in container["env"].as_array().into_iter().flatten() {
                let name = variable["name"].as_str().unwrap_or_default();
                passed.insert(name.to_owned());
            }
        }
    }
    for (flag, variable) in flags {
        assert!(
            passed.contains(flag) || passed.contains(variable),
            "{flag} has no value in the chart"
        );
    }
    Ok(())
}
