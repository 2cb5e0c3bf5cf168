//! What network policies, as they are rendered, let Pods reach and be reached by, in words that a test can compare.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::HOME;

/// What all policies together let Pods of that component reach, or be reached by; fails if no policy closes them.
pub(crate) fn open(
    policies: &[Value],
    component: &str,
    direction: &str,
) -> Result<BTreeSet<String>> {
    let mut open = BTreeSet::new();
    let mut closed = false;
    for policy in policies {
        ensure!(policy["kind"] == "NetworkPolicy", "{policy}");
        ensure!(policy["metadata"]["namespace"] == HOME, "{policy}");
        let spec = &policy["spec"];
        if !selects(&spec["podSelector"], component)? {
            continue;
        }
        closed |= strings(&spec["policyTypes"])
            .iter()
            .any(|kind| kind.to_lowercase() == direction);
        let side = if direction == "egress" { "to" } else { "from" };
        for rule in items(&spec[direction]) {
            ensure!(!items(&rule[side]).is_empty(), "everybody: {rule}");
            ensure!(!items(&rule["ports"]).is_empty(), "every port: {rule}");
            for peer in items(&rule[side]) {
                for port in items(&rule["ports"]) {
                    let number = port["port"].to_string();
                    open.insert(format!(
                        "{} {} {}",
                        of_peer(peer)?,
                        word(&port["protocol"]),
                        number.trim_matches('"')
                    ));
                }
            }
        }
    }
    ensure!(closed, "{direction} of {component} is open");
    Ok(open)
}

fn of_peer(peer: &Value) -> Result<String> {
    if let Some(block) = peer.get("ipBlock") {
        let mut but = strings(&block["except"]);
        but.sort();
        let cidr = word(&block["cidr"]).to_owned();
        return Ok(if but.is_empty() {
            cidr
        } else {
            format!("{cidr} but {}", but.join(" "))
        });
    }
    let namespace = word(&peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]);
    ensure!(!namespace.is_empty(), "every namespace: {peer}");
    Ok(match peer.get("podSelector") {
        None => format!("{namespace}/*"),
        Some(pods) => format!("{namespace}/{}", labels(&pods["matchLabels"])?),
    })
}

/// As [`open`], of Cilium's.
pub(crate) fn open_to_cilium(
    policies: &[Value],
    component: &str,
    direction: &str,
) -> Result<BTreeSet<String>> {
    let sides = if direction == "egress" {
        ["toEndpoints", "toCIDR", "toEntities", "toFQDNs"]
    } else {
        ["fromEndpoints", "fromCIDR", "fromEntities", "fromFQDNs"]
    };
    let mut open = BTreeSet::new();
    let mut closed = false;
    for policy in policies {
        ensure!(policy["kind"] == "CiliumNetworkPolicy", "{policy}");
        let spec = &policy["spec"];
        if !selects(&spec["endpointSelector"], component)? {
            continue;
        }
        for rule in items(&spec[direction]) {
            let rule_fields = rule.as_object().context("a rule")?;
            if rule_fields.is_empty() {
                closed = true;
                continue;
            }
            let peers: Vec<_> = sides
                .iter()
                .filter(|side| rule.get(**side).is_some())
                .collect();
            ensure!(peers.len() == 1, "one kind of peers in a rule: {rule}");
            ensure!(rule_fields.len() == 2, "further fields: {rule}");
            for peer in items(&rule[*peers[0]]) {
                let name = match peer {
                    Value::String(name) => name.clone(),
                    _ if peer.get("matchLabels").is_some() => of_endpoint(peer)?,
                    _ => [&peer["matchName"], &peer["matchPattern"]]
                        .map(word)
                        .concat(),
                };
                ensure!(!name.is_empty(), "everybody: {rule}");
                for ports in items(&rule["toPorts"]) {
                    let dns: String = items(&ports["rules"]["dns"])
                        .iter()
                        .flat_map(|rule| [" dns ", word(&rule["matchPattern"])])
                        .collect();
                    for port in items(&ports["ports"]) {
                        let (protocol, port) = (word(&port["protocol"]), word(&port["port"]));
                        open.insert(format!("{name} {protocol} {port}{dns}"));
                    }
                }
            }
        }
    }
    ensure!(closed, "{direction} of {component} is open");
    Ok(open)
}

fn of_endpoint(peer: &Value) -> Result<String> {
    let mut all: BTreeMap<String, Value> = serde_json::from_value(peer["matchLabels"].clone())?;
    let namespace = all
        .remove("k8s:io.kubernetes.pod.namespace")
        .with_context(|| format!("every namespace: {peer}"))?;
    let pods: Vec<String> = all
        .iter()
        .map(|(name, value)| format!("{}={}", name.trim_start_matches("k8s:"), word(value)))
        .collect();
    let pods = if pods.is_empty() {
        "*".to_owned()
    } else {
        pods.join(",")
    };
    Ok(format!("{}/{pods}", word(&namespace)))
}

/// Whether a selector selects the Pods of a component.
fn selects(selector: &Value, component: &str) -> Result<bool> {
    let pod = [
        ("app.kubernetes.io/name", "foredeck"),
        ("app.kubernetes.io/instance", "foredeck"),
        ("app.kubernetes.io/component", component),
    ];
    let wanted = selector["matchLabels"].as_object().context("labels")?;
    Ok(wanted
        .iter()
        .all(|(name, value)| pod.iter().any(|(own, is)| own == name && value == is)))
}

fn labels(labels: &Value) -> Result<String> {
    let labels = labels.as_object().context("labels")?;
    ensure!(!labels.is_empty(), "every Pod");
    let all: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", word(value)))
        .collect();
    Ok(all.join(","))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> Vec<String> {
    items(value)
        .iter()
        .map(|item| word(item).to_owned())
        .collect()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
