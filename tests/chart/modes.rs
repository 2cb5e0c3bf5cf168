//! Every way to install the chart: helm finds no fault with it, and the API server takes all of it as it stands.

use anyhow::{Context, Result};
use foredeck_testkit::{ControlPlane, definitions, helm};
use serde_json::{Value, json};

use crate::support::{HOME, documents, of_kind, rendered, root, set};

/// A namespace whose name YAML takes for something else.
const NUMBER: &str = "456";

/// The ways that somebody installs it, by name.
pub(crate) fn modes() -> Vec<(&'static str, Value)> {
    let slack = json!({"enabled": true});
    let http = json!({"enabled": true, "transport": "http"});
    vec![
        ("as-it-stands", json!({})),
        ("separate", json!({"slack": slack})),
        (
            "single",
            json!({
                "mode": "single", "slack": slack, "namespaces": ["team-a"],
                // What a role's block says of its Pods isn't said of this one.
                "receiver": {"replicas": 10},
            }),
        ),
        ("single-without-slack", json!({"mode": "single"})),
        (
            "single-over-http",
            json!({"mode": "single", "slack": http, "ingress": {"enabled": true, "host": "foredeck.corp.example"}}),
        ),
        (
            "namespaced",
            json!({"slack": slack, "namespaces": ["team-a", "team-b"]}),
        ),
        (
            "one-of-each",
            json!({
                "slack": slack,
                "controller": {"replicas": 1}, "receiver": {"replicas": 1, "socketsPerReplica": 4}, "relay": {"replicas": 1},
            }),
        ),
        (
            "http",
            json!({
                "slack": http, "receiver": {"replicas": 5},
                "ingress": {
                    "enabled": true, "className": "public", "host": "foredeck.corp.example", "tlsSecret": "foredeck-tls",
                    "annotations": {"corp.example/waf": "on"},
                },
                "httpRoute": {
                    "enabled": true, "parentRefs": [{"name": "public", "namespace": "gateways"}],
                    "hostnames": ["foredeck.corp.example"],
                },
            }),
        ),
        // What YAML takes for something else than a name.
        (
            "numbers-for-names",
            json!({
                "namespaces": ["123"],
                "slack": {"enabled": true, "transport": "http", "existingSecret": "1e3"},
                "okta": {"url": "https://corp.okta.com", "existingSecret": "123"},
                "relay": {"priorityClassName": "true"},
                "controller": {"audit": {"url": "https://audit.corp.example", "existingSecret": "1", "caConfigMap": "2"}},
                "ingress": {"enabled": true, "host": "1", "className": "2", "tlsSecret": "3"},
            }),
        ),
        ("secrets-in-vault", in_vault()),
        ("without-definitions", json!({"crds": {"install": false}})),
        ("everything", everything()),
    ]
}

/// No Secret at all.
fn in_vault() -> Value {
    json!({
        "slack": {
            "enabled": true, "existingSecret": "",
            "vault": {
                "botToken": "foredeck/slack#bot-token", "appToken": "foredeck/slack#app-token",
                "oldBotToken": "foredeck/slack#old-bot-token",
            },
        },
        "okta": {"url": "https://corp.okta.com", "existingSecret": "", "vaultToken": "foredeck/okta#token"},
        "secretsVault": {
            "address": "https://vault.corp.example:8200", "role": "foredeck-slack", "audience": "vault.corp.example",
            "mount": "kubernetes-prod", "namespace": "platform", "kvMount": "kv", "caConfigMap": "vault-authorities",
        },
    })
}

/// Every value that makes the roles' Pods another.
pub(crate) fn everything() -> Value {
    let pod = json!({
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"pool": "platform"},
        "tolerations": [{"key": "platform", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}},
        ]}},
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "foredeck"}},
        }],
        "priorityClassName": "platform",
        "podAnnotations": {"corp.example/owner": "platform"},
        "podLabels": {"corp.example/cost": "platform"},
        "extraEnvironment": [{"name": "SSL_CERT_FILE", "value": "/etc/corp/ca.crt"}],
        "extraVolumes": [{"name": "corp", "configMap": {"name": "corp-authorities"}}],
        "extraVolumeMounts": [{"name": "corp", "mountPath": "/etc/corp", "readOnly": true}],
    });
    let with = |more: Value| {
        let mut pod = pod.clone();
        for (key, value) in more.as_object().into_iter().flatten() {
            pod[key] = value.clone();
        }
        pod
    };
    json!({
        "namespaces": ["team-a"],
        "image": {"repository": "registry.corp.example/foredeck", "tag": "", "digest": format!("sha256:{}", "0".repeat(64)), "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "crds": {"install": true, "keep": false},
        "log": {"format": "text", "filter": "info,foredeck=debug"},
        "proxy": {"https": "http://proxy.corp.example:3128", "noProxy": [".corp.example", "10.0.0.0/8"]},
        "controller": with(json!({
            "replicas": 3, "allowGateHosts": ["gate.corp.example", "*.spinnaker.corp.example:8084"],
            "allowVaultHosts": ["vault.corp.example:8200"], "extraArguments": ["--lease-duration=30s"],
            "extraVolumes": [{"name": "log", "persistentVolumeClaim": {"claimName": "audit"}}],
            "extraVolumeMounts": [{"name": "log", "mountPath": "/var/log/foredeck"}],
            "audit": {
                "file": "/var/log/foredeck/audit.jsonl", "url": "https://audit.corp.example/foredeck", "existingSecret": "audit",
                "caConfigMap": "audit-authorities",
            },
        })),
        "receiver": with(json!({"replicas": 4, "socketsPerReplica": 1, "extraArguments": ["--slack-grace=1m"]})),
        "relay": with(json!({"replicas": 3, "extraArguments": ["--lease-duration=30s"]})),
        "slack": {
            "enabled": true, "existingSecret": "slack", "oldBotToken": true, "appId": "A0123456789", "command": "/ship",
            "apiUrl": "https://slack.corp.example/api/", "startupChannel": "C0123456789", "userGroups": true,
            "groupPrefix": "slack:corp-", "requestTtl": "24h",
        },
        "okta": {"url": "https://corp.okta.com", "groupPrefix": "okta:"},
        "git": {"enabled": true, "allowHosts": ["api.github.com", "github.corp.example"]},
        "tracing": {"endpoint": "http://collector.observability:4318"},
        "identity": {
            "emailDomains": ["corp.example"], "usernameFormat": "oidc:{email}", "usernames": ["kube-alice"],
            "groupPrefixes": ["slack:", "okta:"], "groupsMaxAge": "15m", "stampedGroupsMaxAge": "12h",
        },
        "admission": {"mutating": "on", "administrators": ["platform"]},
    })
}

/// A control plane with what the chart takes for granted.
pub(crate) async fn empty() -> Result<ControlPlane> {
    let plane = ControlPlane::start().await?;
    plane
        .install_crds(&definitions::gateway_api().await?)
        .await?;
    for name in [HOME, "team-a", "team-b", "123", NUMBER] {
        let mut namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        if name == HOME {
            namespace["metadata"]["labels"] =
                json!({"pod-security.kubernetes.io/enforce": "restricted"});
        }
        plane.apply(&namespace.to_string()).await?;
    }
    Ok(plane)
}

#[tokio::test]
async fn every_mode_is_without_fault_and_taken_by_the_api_server() -> Result<()> {
    let plane = empty().await?;
    for (name, values) in modes() {
        let arguments = set(&values);
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let numbers = name == "numbers-for-names";
        arguments.extend(["--namespace", if numbers { NUMBER } else { HOME }]);
        let chart = root().join("charts/foredeck");
        helm::lint(&chart, &arguments)
            .await
            .with_context(|| name.to_owned())?;
        let chart = chart.to_str().context("a path that is text")?;
        let release = if numbers { "1e3" } else { "foredeck" };
        let template = [&["template", release, chart], &arguments[..]].concat();
        let manifests = helm::run(&template, None).await?;
        plane
            .apply(&manifests)
            .await
            .with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// The places of what isn't text, though it is a name, or the value of a label.
fn misread(at: &str, value: &Value, found: &mut Vec<String>) {
    let names =
        |key: &str| ["name", "namespace", "secretName", "serviceAccountName"].contains(&key);
    let labels = ["labels", "matchLabels", "selector", "annotations"];
    let of_labels = labels.iter().any(|label| at.ends_with(label));
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let at = format!("{at}/{key}");
                if (names(key) || of_labels) && (value.is_number() || value.is_boolean()) {
                    found.push(format!("{at}: {value}"));
                }
                misread(&at, value, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                misread(at, item, found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_name_that_is_a_number_stays_a_name() -> Result<()> {
    let modes = modes();
    let named = modes.iter().find(|(name, _)| *name == "numbers-for-names");
    let mut values = named.context("a mode")?.1.clone();
    let one = json!({"enabled": true});
    values["monitoring"] = json!({"podMonitor": one, "prometheusRule": one, "dashboard": one});
    let apart = json!([{"namespace": "7", "labels": {"app": "8"}}]);
    values["networkPolicy"] = json!({
        "enabled": true, "apiServer": {"cidrs": ["10.0.0.4/32"]}, "ingressController": {"pods": apart},
    });
    let chart = root().join("charts/foredeck");
    let chart = chart.to_str().context("a path that is text")?;
    for release in ["1e3", "123"] {
        for mode in ["separate", "single"] {
            for cilium in [false, true] {
                values["mode"] = json!(mode);
                values["networkPolicy"]["cilium"] = json!({"enabled": cilium});
                let arguments = set(&values);
                let mut all = vec!["template", release, chart, "--namespace", NUMBER];
                all.extend(arguments.iter().map(String::as_str));
                let manifests = documents(&helm::run(&all, None).await?)?;
                let mut found = Vec::new();
                for manifest in &manifests {
                    let kind = manifest["kind"].as_str().context("a kind")?;
                    if kind != "CustomResourceDefinition" {
                        misread(kind, manifest, &mut found);
                    }
                }
                assert!(manifests.len() > 30, "{} manifests", manifests.len());
                assert!(found.is_empty(), "{mode} of {release}: {found:#?}");
            }
        }
    }
    Ok(())
}

/// The names of the manifests of that kind.
async fn names(kind: &str, values: &Value) -> Result<Vec<String>> {
    let manifests = rendered(values).await?;
    let mut names: Vec<String> = of_kind(&manifests, kind)
        .filter_map(|manifest| manifest["metadata"]["name"].as_str())
        .map(str::to_owned)
        .collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn what_runs_follows_the_mode() -> Result<()> {
    let slack = json!({"enabled": true});
    let all = ["foredeck-controller", "foredeck-receiver", "foredeck-relay"];
    for (values, deployments, budgets) in [
        (json!({}), &all[..1], &all[..1]),
        (json!({"slack": slack}), &all[..], &all[..]),
        (
            json!({"slack": slack, "relay": {"replicas": 1}}),
            &all[..],
            &all[..2],
        ),
        (
            json!({"slack": slack, "podDisruptionBudget": {"enabled": false}}),
            &all[..],
            &[],
        ),
        (
            json!({"mode": "single", "slack": slack}),
            &["foredeck"][..],
            &[],
        ),
    ] {
        assert_eq!(names("Deployment", &values).await?, deployments, "{values}");
        // Metrics are read from Pods, so that nothing but Slack is led to any.
        assert!(names("Service", &values).await?.is_empty(), "{values}");
        assert_eq!(
            names("PodDisruptionBudget", &values).await?,
            budgets,
            "{values}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn slack_reaches_three_paths_over_http_and_nothing_else() -> Result<()> {
    let modes = modes();
    let (_, values) = modes
        .iter()
        .find(|(name, _)| *name == "http")
        .context("a mode")?;
    let manifests = rendered(values).await?;
    let one = |kind| {
        of_kind(&manifests, kind)
            .next()
            .with_context(|| format!("a {kind}"))
    };
    let slack = ["/slack/commands", "/slack/events", "/slack/interactivity"];
    let rule = &one("Ingress")?["spec"]["rules"][0];
    assert_eq!(rule["host"], "foredeck.corp.example");
    let paths = rule["http"]["paths"].as_array().context("paths")?;
    let mut ways = Vec::new();
    for path in paths {
        assert_eq!(path["pathType"], "Exact");
        assert_eq!(path["backend"]["service"]["name"], "foredeck-receiver");
        ways.push(path["path"].as_str().context("a path")?);
    }
    ways.sort_unstable();
    assert_eq!(ways, slack);

    let rules = one("HTTPRoute")?["spec"]["rules"]
        .as_array()
        .context("rules")?;
    assert_eq!(rules.len(), 1);
    let mut ways = Vec::new();
    for way in rules[0]["matches"].as_array().context("matches")? {
        assert_eq!(
            (&way["method"], &way["path"]["type"]),
            (&json!("POST"), &json!("Exact"))
        );
        ways.push(way["path"]["value"].as_str().context("a path")?);
    }
    ways.sort_unstable();
    assert_eq!(ways, slack);

    // Both lead to the Service, and that to the Pods' port.
    let service = of_kind(&manifests, "Service")
        .find(|service| service["metadata"]["name"] == "foredeck-receiver")
        .context("a Service")?;
    let ports = &service["spec"]["ports"];
    assert_eq!(
        (&ports[0]["name"], &ports[0]["port"]),
        (&json!("http"), &json!(80))
    );
    let receiver = of_kind(&manifests, "Deployment")
        .find(|deployment| deployment["metadata"]["name"] == "foredeck-receiver")
        .context("a Deployment")?;
    let pod = &receiver["spec"]["template"];
    let labels = pod["metadata"]["labels"].as_object().context("labels")?;
    for (label, value) in service["spec"]["selector"]
        .as_object()
        .context("a selector")?
    {
        assert_eq!(labels.get(label), Some(value), "{label}");
    }
    let port = pod["spec"]["containers"][0]["ports"]
        .as_array()
        .context("ports")?;
    assert!(
        port.iter()
            .any(|port| port["name"] == ports[0]["targetPort"])
    );
    Ok(())
}

#[tokio::test]
async fn the_definitions_are_those_of_the_binary_and_outlive_the_chart() -> Result<()> {
    let manifests = rendered(&json!({})).await?;
    let kept: Vec<Value> = of_kind(&manifests, "CustomResourceDefinition")
        .cloned()
        .collect();
    let generated = foredeck::api::crds();
    assert_eq!(kept.len(), generated.len());
    for definition in generated {
        let definition = serde_json::to_value(definition)?;
        let name = &definition["metadata"]["name"];
        let there = kept.iter().find(|kept| kept["metadata"]["name"] == *name);
        let there = there.with_context(|| name.to_string())?;
        assert_eq!(there["spec"], definition["spec"], "{name}");
        let policy = &there["metadata"]["annotations"]["helm.sh/resource-policy"];
        assert_eq!(policy, "keep", "{name}");
    }
    let gone = rendered(&json!({"crds": {"install": true, "keep": false}})).await?;
    for definition in of_kind(&gone, "CustomResourceDefinition") {
        assert_eq!(definition["metadata"]["annotations"], Value::Null);
    }
    assert!(
        names(
            "CustomResourceDefinition",
            &json!({"crds": {"install": false}})
        )
        .await?
        .is_empty()
    );
    Ok(())
}
