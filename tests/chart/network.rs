//! Who may speak to whom, by the chart's network policies as they are rendered. That a network plugin heeds them is nothing
//! that a test without a network can show: these read what is allowed, and have the real API server take it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{ControlPlane, definitions};
use serde_json::{Value, json};

use crate::{
    reach::{open, open_to_cilium},
    support::{HOME, render, root},
};

const DNS: [&str; 2] = [
    "kube-system/k8s-app=kube-dns TCP 53",
    "kube-system/k8s-app=kube-dns UDP 53",
];
const SERVER: &str = "10.0.0.4/32 TCP 6443";
/// All public addresses.
const INTERNET: [&str; 2] = [
    "0.0.0.0/0 but 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 TCP 443",
    "::/0 but fc00::/7 fe80::/10 TCP 443",
];
const SCRAPED: &str = "monitoring/* TCP admin";

/// What every role needs.
const ON: [&str; 2] = [
    "networkPolicy.enabled=true",
    "networkPolicy.apiServer.cidrs={10.0.0.4/32}",
];
const SLACK: &str = "slack.enabled=true";
/// Gate at two addresses, and its ports.
const GATE: [&str; 2] = [
    "controller.allowGateHosts={gate.corp.example:8085,*.gates.corp.example}",
    "networkPolicy.gate.cidrs={10.9.0.0/24}",
];
const GATE_OPEN: [&str; 2] = ["10.9.0.0/24 TCP 8084", "10.9.0.0/24 TCP 8085"];

/// Repositories on an Enterprise Server.
const GIT: [&str; 2] = [
    "git.enabled=true",
    "git.allowHosts={github.corp.example:8443}",
];

/// Some values, and what each component may reach with them, DNS and the API server aside.
type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a [&'a str])]);

#[tokio::test]
async fn each_role_reaches_what_it_speaks_to_and_nothing_else() -> Result<()> {
    let secrets = [
        "secretsVault.address=https://vault.corp.example:8200",
        "secretsVault.role=foredeck",
        "secretsVault.audience=vault",
        "slack.vault.appToken=foredeck/slack#app-token",
    ];
    let vaulted = [
        &[SLACK, "networkPolicy.secretsVault.cidrs={10.8.0.1/32}"][..],
        &secrets,
    ]
    .concat();
    let through_proxy = [
        SLACK,
        "okta.url=https://corp.okta.com",
        "proxy.https=http://proxy.corp.example:3128",
        "networkPolicy.egressProxy.cidrs={10.7.0.1/32}",
    ];
    let vault_beside_a_proxy = [&through_proxy[..], &vaulted[1..]].concat();
    // What proxy.noProxy lists.
    let audited_past_a_proxy = [
        "controller.audit.url=https://audit.corp.example:8443/lines",
        "proxy.https=http://proxy.corp.example:3128",
        "networkPolicy.egressProxy.cidrs={10.7.0.1/32}",
        "networkPolicy.audit.pods[0].namespace=audit",
    ];
    let named = [
        &[SLACK, GATE[0], GATE[1], "mode=single"][..],
        &["okta.url=https://corp.okta.com:8443"],
        &["networkPolicy.okta.cidrs={10.6.0.1/32}"],
    ]
    .concat();
    let gate_in_cluster = [
        GATE[0],
        "networkPolicy.gate.pods[0].namespace=spinnaker",
        "networkPolicy.gate.pods[0].labels.app=gate",
        "networkPolicy.gate.ports={8084}",
    ];
    let traced = [
        SLACK,
        "tracing.endpoint=http://collector.observability:4318",
        "networkPolicy.tracing.pods[0].namespace=observability",
    ];
    let repositories = [SLACK, "git.enabled=true"];
    let enterprise = [
        SLACK,
        GIT[0],
        GIT[1],
        "networkPolicy.git.cidrs={10.5.0.1/32}",
    ];
    let internet_but = "0.0.0.0/0 but 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 203.0.113.0/24 TCP 443";
    let rows: [Row; 14] = [
        (&[], &[("controller", &[])]),
        (&GATE, &[("controller", &GATE_OPEN)]),
        (
            &gate_in_cluster,
            &[(
                "controller",
                &["spinnaker/app=gate TCP 8084", "spinnaker/app=gate TCP 8085"],
            )],
        ),
        (
            &[
                "controller.allowVaultHosts={vault.corp.example:8200}",
                "networkPolicy.vault.cidrs={10.8.0.0/24}",
                SLACK,
            ],
            &[
                ("controller", &["10.8.0.0/24 TCP 8200"]),
                ("receiver", &INTERNET),
                ("relay", &INTERNET),
            ],
        ),
        // Only the receiver uses the app's token.
        (
            &vaulted,
            &[
                ("controller", &[]),
                (
                    "receiver",
                    &[INTERNET[0], INTERNET[1], "10.8.0.1/32 TCP 8200"],
                ),
                ("relay", &INTERNET),
            ],
        ),
        (
            &through_proxy,
            &[
                ("controller", &[]),
                ("receiver", &["10.7.0.1/32 TCP 3128"]),
                ("relay", &["10.7.0.1/32 TCP 3128"]),
            ],
        ),
        (
            &vault_beside_a_proxy,
            &[
                ("controller", &[]),
                (
                    "receiver",
                    &["10.7.0.1/32 TCP 3128", "10.8.0.1/32 TCP 8200"],
                ),
                ("relay", &["10.7.0.1/32 TCP 3128"]),
            ],
        ),
        (
            &audited_past_a_proxy,
            &[(
                "controller",
                &[
                    "10.7.0.1/32 TCP 3128",
                    "audit/* TCP 443",
                    "audit/* TCP 8443",
                ],
            )],
        ),
        (
            &named,
            &[(
                "all",
                &[
                    INTERNET[0],
                    INTERNET[1],
                    GATE_OPEN[0],
                    GATE_OPEN[1],
                    "10.6.0.1/32 TCP 443",
                    "10.6.0.1/32 TCP 8443",
                ],
            )],
        ),
        (
            &traced,
            &[
                ("controller", &["observability/* TCP 4318"]),
                (
                    "receiver",
                    &[INTERNET[0], INTERNET[1], "observability/* TCP 4318"],
                ),
                (
                    "relay",
                    &[INTERNET[0], INTERNET[1], "observability/* TCP 4318"],
                ),
            ],
        ),
        // The relay tells what others found.
        (
            &repositories,
            &[
                ("controller", &INTERNET),
                ("receiver", &INTERNET),
                ("relay", &INTERNET),
            ],
        ),
        (
            &enterprise,
            &[
                (
                    "controller",
                    &["10.5.0.1/32 TCP 443", "10.5.0.1/32 TCP 8443"],
                ),
                (
                    "receiver",
                    &[
                        INTERNET[0],
                        INTERNET[1],
                        "10.5.0.1/32 TCP 443",
                        "10.5.0.1/32 TCP 8443",
                    ],
                ),
                ("relay", &INTERNET),
            ],
        ),
        // Without its switch the hosts open nothing.
        (
            &[GIT[1], "networkPolicy.git.cidrs={10.5.0.1/32}"],
            &[("controller", &[])],
        ),
        (
            &[SLACK, "networkPolicy.internalCidrs={203.0.113.0/24}"],
            &[
                ("controller", &[]),
                ("receiver", &[internet_but, INTERNET[1]]),
                ("relay", &[internet_but, INTERNET[1]]),
            ],
        ),
    ];
    for (values, expected) in rows {
        let policies = policies(values).await?;
        for component in ["controller", "receiver", "relay", "all"] {
            let row = expected.iter().find(|(name, _)| *name == component);
            let seen = open(&policies, component, "egress")?;
            let wanted: BTreeSet<String> = match row {
                Some((_, more)) => DNS.iter().chain([&SERVER]).chain(*more).copied().collect(),
                // No such Pods; if there were, they would be closed.
                None => BTreeSet::new(),
            }
            .into_iter()
            .map(str::to_owned)
            .collect();
            assert_eq!(seen, wanted, "{component} with {values:?}");
            let seen = open(&policies, component, "ingress")?;
            let wanted: BTreeSet<String> = row.iter().map(|_| SCRAPED.to_owned()).collect();
            assert_eq!(seen, wanted, "to {component} with {values:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn slack_arrives_at_the_receiver_alone_and_from_those_who_send_it_on() -> Result<()> {
    let http = [
        SLACK,
        "slack.transport=http",
        "networkPolicy.ingressController.pods[0].namespace=ingress-nginx",
        "networkPolicy.monitoring.pods[0].namespace=observability",
        "networkPolicy.monitoring.pods[0].labels.app=prometheus",
    ];
    let scraped = "observability/app=prometheus TCP admin".to_owned();
    let sent_on = "ingress-nginx/* TCP http".to_owned();
    let separate = policies(&http).await?;
    for component in ["controller", "relay"] {
        let seen = open(&separate, component, "ingress")?;
        assert_eq!(seen, [scraped.clone()].into(), "{component}");
    }
    let both = BTreeSet::from([scraped, sent_on]);
    assert_eq!(open(&separate, "receiver", "ingress")?, both);
    let single = policies(&[&http[..], &["mode=single"]].concat()).await?;
    assert_eq!(open(&single, "all", "ingress")?, both);

    let unscraped = [
        &[SLACK][..],
        &["networkPolicy.monitoring.pods=null", "mode=single"],
    ]
    .concat();
    let none = open(&policies(&unscraped).await?, "all", "ingress")?;
    assert!(none.is_empty(), "{none:?}");
    Ok(())
}

#[tokio::test]
async fn no_value_opens_everything_and_what_would_close_too_much_is_refused() -> Result<()> {
    let cilium = "networkPolicy.cilium.enabled=true";
    let vault = [
        SLACK,
        "slack.vault.botToken=foredeck/slack#bot-token",
        "secretsVault.address=https://vault.corp.example:8200",
        "secretsVault.role=foredeck",
        "secretsVault.audience=vault",
    ];
    let vault_beside_a_proxy = [
        &vault[..],
        &["proxy.https=http://proxy.corp.example:3128"],
        &["networkPolicy.egressProxy.cidrs={10.7.0.1/32}"],
    ]
    .concat();
    let refusals: [(&[&str], &str); 24] = [
        (
            &["networkPolicy.apiServer.cidrs=null"],
            "kubectl get endpointslices",
        ),
        (
            &["networkPolicy.dns.pods=null"],
            "networkPolicy.dns names nobody",
        ),
        (&[GATE[0]], "networkPolicy.gate names nobody"),
        (
            &["controller.allowVaultHosts={vault.corp.example}"],
            "networkPolicy.vault names nobody",
        ),
        (
            &["tracing.endpoint=http://collector:4318"],
            "networkPolicy.tracing names nobody",
        ),
        (
            &[SLACK, "proxy.https=http://proxy.corp.example:3128"],
            "networkPolicy.egressProxy names nobody",
        ),
        (
            &[SLACK, "slack.transport=http"],
            "networkPolicy.ingressController names nobody",
        ),
        (
            &[
                "monitoring.podMonitor.enabled=true",
                "networkPolicy.monitoring.pods=null",
            ],
            "networkPolicy.monitoring names nobody",
        ),
        (&vault, "networkPolicy.secretsVault names nobody"),
        (
            &vault_beside_a_proxy,
            "networkPolicy.secretsVault names nobody",
        ),
        (&["networkPolicy.gate.cidrs={0.0.0.0/0}"], "half the world"),
        (
            &["networkPolicy.apiServer.cidrs={0.0.0.0/1,128.0.0.0/1}"],
            "half the world",
        ),
        (&["networkPolicy.monitoring.cidrs={::/0}"], "half the world"),
        (&["networkPolicy.slack.cidrs={2000::/3}"], "half the world"),
        (&["networkPolicy.gate.cidrs={everywhere}"], "schema"),
        (&["networkPolicy.gate.pods[0].labels.app=gate"], "schema"),
        (&["networkPolicy.gate.pods[0].namespace=*"], "schema"),
        (
            &[
                "networkPolicy.gate.pods[0].namespace=spinnaker",
                "networkPolicy.gate.ports=null",
            ],
            "would open every port",
        ),
        (&["networkPolicy.gat.cidrs={10.0.0.1/32}"], "schema"),
        (
            &[cilium, "git.enabled=true", "git.allowHosts={*}"],
            "networkPolicy.git.cidrs",
        ),
        (
            &[cilium, "controller.allowGateHosts={*}"],
            "stands for hosts that are no one's",
        ),
        (
            &[
                cilium,
                "controller.allowGateHosts={gate*}",
                "networkPolicy.gate.pods[0].namespace=a",
                "controller.allowVaultHosts={10.*}",
            ],
            "stands for hosts that are no one's",
        ),
        (
            &[cilium, "controller.allowGateHosts={gate.*}"],
            "stands for hosts that are no one's",
        ),
        (
            &[cilium, "controller.allowGateHosts={gate.spinnaker.svc}"],
            "networkPolicy.gate.pods",
        ),
    ];
    for (values, words) in refusals {
        let refused = policies(values).await.err();
        let refused = refused.with_context(|| format!("{values:?} is let through"))?;
        let said = format!("{refused:#}");
        assert!(said.contains(words), "{values:?}: {said}");
    }
    Ok(())
}

/// With names in place of addresses.
#[tokio::test]
async fn with_cilium_hosts_are_known_by_their_names() -> Result<()> {
    let values = [
        "networkPolicy.enabled=true",
        "networkPolicy.cilium.enabled=true",
        SLACK,
        "okta.url=https://corp.okta.com",
        "controller.allowGateHosts={gate.corp.example:8085,*.gates.corp.example,10.1.1.1,[fd00::1]:8086}",
        "controller.allowVaultHosts={vault.corp.example:8200}",
    ];
    let plain = rendered(&values, "networkpolicies").await;
    ensure!(plain.is_err(), "both kinds are rendered, and add up");
    let policies = documents(&rendered(&values, "ciliumnetworkpolicies").await?)?;
    let dns = "kube-system/k8s-app=kube-dns ANY 53 dns *";
    let server = "kube-apiserver TCP 6443";
    let slack = ["slack.com TCP 443", "*.slack.com TCP 443"];
    for (component, more) in [
        (
            "controller",
            &[
                "gate.corp.example TCP 8085",
                "*.gates.corp.example TCP 8084",
                "10.1.1.1/32 TCP 8084",
                "fd00::1/128 TCP 8086",
                "vault.corp.example TCP 8200",
            ][..],
        ),
        ("receiver", &[slack[0], slack[1], "corp.okta.com TCP 443"]),
        ("relay", &slack),
    ] {
        let seen = open_to_cilium(&policies, component, "egress")?;
        let wanted: BTreeSet<String> = [dns, server]
            .iter()
            .chain(more)
            .map(ToString::to_string)
            .collect();
        assert_eq!(seen, wanted, "{component}");
        let seen = open_to_cilium(&policies, component, "ingress")?;
        assert_eq!(seen, [SCRAPED.to_owned()].into(), "{component}");
    }
    let with_repositories = [&values[..], &GIT].concat();
    let policies = documents(&rendered(&with_repositories, "ciliumnetworkpolicies").await?)?;
    for (component, reaches) in [("controller", true), ("receiver", true), ("relay", false)] {
        let seen = open_to_cilium(&policies, component, "egress")?;
        let host = "github.corp.example TCP 8443";
        assert_eq!(seen.contains(host), reaches, "{component}: {seen:?}");
    }
    let behind_a_proxy = [
        &values[..],
        &["proxy.https=http://proxy.corp.example:3128"],
        &["secretsVault.address=https://secrets.corp.example:8200"],
        &["secretsVault.role=foredeck", "secretsVault.audience=vault"],
        &["okta.vaultToken=foredeck/okta#token"],
    ]
    .concat();
    let policies = documents(&rendered(&behind_a_proxy, "ciliumnetworkpolicies").await?)?;
    for (component, more) in [
        (
            "receiver",
            &[
                "proxy.corp.example TCP 3128",
                "secrets.corp.example TCP 8200",
            ][..],
        ),
        ("relay", &["proxy.corp.example TCP 3128"]),
    ] {
        let seen = open_to_cilium(&policies, component, "egress")?;
        let wanted: BTreeSet<String> = [dns, server]
            .iter()
            .chain(more)
            .map(ToString::to_string)
            .collect();
        assert_eq!(seen, wanted, "{component}");
    }
    let http = [&values[..], &["slack.transport=http"]].concat();
    let policies = documents(&rendered(&http, "ciliumnetworkpolicies").await?)?;
    let seen = open_to_cilium(&policies, "receiver", "ingress")?;
    assert!(seen.contains("ingress TCP http"), "{seen:?}");
    Ok(())
}

/// Strictly, and by the real definition of Cilium's.
#[tokio::test]
async fn the_policies_are_well_formed() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&definitions::cilium().await?).await?;
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}});
    plane.apply(&home.to_string()).await?;
    let everything = [
        "networkPolicy.enabled=true",
        "networkPolicy.apiServer.cidrs={10.0.0.4/32,fd00::4/128}",
        SLACK,
        "slack.transport=http",
        "slack.apiUrl=https://slack.corp.example/api/",
        "okta.url=https://corp.okta.com",
        GATE[0],
        GATE[1],
        "networkPolicy.gate.pods[0].namespace=spinnaker",
        "networkPolicy.gate.pods[0].labels.app\\.kubernetes\\.io/name=gate",
        "controller.allowVaultHosts={vault.corp.example}",
        "networkPolicy.vault.cidrs={10.8.0.0/24}",
        "networkPolicy.dns.cidrs={169.254.20.10/32}",
        "tracing.endpoint=http://collector.observability:4318",
        "networkPolicy.tracing.pods[0].namespace=observability",
        "networkPolicy.ingressController.pods[0].namespace=ingress-nginx",
        "networkPolicy.ingressController.cidrs={10.5.0.0/16}",
        "networkPolicy.monitoring.cidrs={10.4.0.0/16}",
        "networkPolicy.internalCidrs={203.0.113.0/24,2001:db8::/32}",
    ];
    for mode in ["mode=separate", "mode=single"] {
        let values = [&everything[..], &[mode]].concat();
        plane
            .apply(&rendered(&values, "networkpolicies").await?)
            .await?;
        let values = [&values[..], &["networkPolicy.cilium.enabled=true"]].concat();
        plane
            .apply(&rendered(&values, "ciliumnetworkpolicies").await?)
            .await?;
    }
    Ok(())
}

/// What NOTES and the refusal tell people to run.
#[tokio::test]
async fn the_command_shows_the_api_servers_addresses_and_ports() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let refused = policies(&["networkPolicy.apiServer.cidrs=null"]).await;
    let said = format!("{:#}", refused.err().context("it is let through")?);
    let command = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("kubectl "))
        .with_context(|| format!("no command in {said}"))?;
    let page = std::fs::read_to_string(root().join("docs/security.md"))?;
    ensure!(page.contains(command), "docs/security.md has another");
    // An API server on the loopback publishes no address of its own, so this is one as others publish theirs.
    let namespace = plane.namespace("published").await?;
    let published = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kubernetes", "namespace": namespace, "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": ["192.0.2.7"]}, {"addresses": ["192.0.2.8"]}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
    });
    plane.apply(&published.to_string()).await?;
    let there = command.replace("--namespace default", &format!("--namespace {namespace}"));
    let output = tokio::process::Command::new("sh")
        .args(["-c", &format!("kubectl {there}")])
        .env("KUBECONFIG", plane.admin_kubeconfig())
        .output()
        .await?;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "192.0.2.7 192.0.2.8 port 6443\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The network policies with these values.
async fn policies(values: &[&str]) -> Result<Vec<Value>> {
    let cilium = values.contains(&"networkPolicy.cilium.enabled=true");
    let template = if cilium {
        "ciliumnetworkpolicies"
    } else {
        "networkpolicies"
    };
    documents(&rendered(&[&ON[..], values].concat(), template).await?)
}

async fn rendered(values: &[&str], template: &str) -> Result<String> {
    let template = format!("templates/{template}.yaml");
    let mut arguments = vec!["--show-only", &template];
    for value in values {
        arguments.extend(["--set", value]);
    }
    render(&arguments).await
}

fn documents(rendered: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(rendered)?)
}
