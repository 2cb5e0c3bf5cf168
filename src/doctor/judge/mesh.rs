//! A mesh that repeats what foredeck sends: a POST that a sidecar sends twice is one that foredeck can't see. Touches
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::doctor::{
    page::{Finding, few, word},
    seen::{Seen, Unseen},
};

const CHECK: &str = "mesh";

/// Containers by which a mesh is known.
const SIDECARS: [(&str, &str); 3] = [
    ("istio-proxy", "Istio"),
    ("linkerd-proxy", "Linkerd"),
    ("kuma-sidecar", "Kuma"),
];

/// What is known of meshes.
pub struct MeshFacts {
    /// Foredeck's own namespace.
    pub namespace: Seen<Namespace>,
    /// Its Pods that are foredeck's.
    pub pods: Seen<Vec<Pod>>,
    /// Istio's routes: absent where it isn't installed.
    pub virtual_services: Seen<Vec<DynamicObject>>,
    /// Linkerd's rules, likewise.
    pub service_profiles: Seen<Vec<DynamicObject>>,
    /// Routes of the Gateway API, likewise.
    pub http_routes: Seen<Vec<DynamicObject>>,
    /// Hosts of the connections' Gates, and whether they are spoken to without TLS, which is what a sidecar can repeat.
    pub gates: BTreeMap<String, bool>,
}

/// Whether something between us and Gate repeats.
pub fn mesh(facts: &MeshFacts) -> Vec<Finding> {
    let mut lines = vec![injection(facts)];
    lines.extend(istio(facts));
    lines.extend(linkerd(facts));
    lines.extend(routes(facts));
    lines
}

/// Whether foredeck's Pods have a sidecar, or will have one.
fn injection(facts: &MeshFacts) -> Finding {
    let mut meshes = BTreeSet::new();
    let mut unseen: Option<&Unseen> = None;
    match &facts.namespace {
        Ok(namespace) => meshes.extend(announced(namespace.labels(), namespace.annotations())),
        Err(why) => unseen = Some(why),
    }
    match &facts.pods {
        Ok(pods) => {
            for pod in pods {
                meshes.extend(announced(pod.labels(), pod.annotations()));
                let spec = pod.spec.clone().unwrap_or_default();
                let containers = spec
                    .containers
                    .into_iter()
                    .chain(spec.init_containers.unwrap_or_default());
                for container in containers {
                    let known = SIDECARS.iter().find(|(name, _)| container.name == *name);
                    meshes.extend(known.map(|(_, mesh)| *mesh));
                }
            }
        }
        Err(why) => unseen = Some(why),
    }
    let meshes: Vec<String> = meshes.into_iter().map(str::to_owned).collect();
    let open: Vec<String> = facts
        .gates
        .iter()
        .filter(|(_, open)| **open)
        .map(|(host, _)| host.clone())
        .collect();
    if meshes.is_empty() {
        return match unseen {
            Some(unseen) => unseen.line(CHECK, "Whether foredeck's Pods are in a mesh"),
            None => Finding::ok(CHECK, "Foredeck's Pods are in no mesh that is known here"),
        };
    }
    let mesh = meshes.join(" and ");
    if open.is_empty() {
        return Finding::ok(
            CHECK,
            &format!(
                "Foredeck's Pods are in {mesh}; it speaks TLS to every Gate, which a sidecar can't repeat"
            ),
        );
    }
    Finding::warn(
        CHECK,
        &format!(
            "Foredeck's Pods are in {mesh}, and {} without TLS: a sidecar that repeats a POST starts a pipeline twice, and foredeck can't see it",
            gates(&open)
        ),
        "Switch retries off towards Gate (Istio: a VirtualService for that host with retries.attempts 0, since Istio repeats by itself; \
         Linkerd: no retry annotation and no isRetryable there; Kuma: no MeshRetry), leave foredeck's Pods out of the mesh, or speak TLS to Gate",
    )
}

fn gates(hosts: &[String]) -> String {
    format!("it speaks to {}", few(hosts))
}

/// Which meshes labels and annotations say that they are in.
fn announced(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Vec<&'static str> {
    let is = |name: &str, wanted: &[&str]| {
        [labels, annotations]
            .iter()
            .filter_map(|map| map.get(name))
            .any(|value| wanted.contains(&value.as_str()))
    };
    let mut meshes = Vec::new();
    let revision = labels.contains_key("istio.io/rev") || annotations.contains_key("istio.io/rev");
    let off = is("istio-injection", &["disabled"]) || is("sidecar.istio.io/inject", &["false"]);
    let on = is("istio-injection", &["enabled"])
        || is("sidecar.istio.io/inject", &["true"])
        || is("istio.io/dataplane-mode", &["ambient"]);
    if (on || revision) && !off {
        meshes.push("Istio");
    }
    if is("linkerd.io/inject", &["enabled", "ingress"]) {
        meshes.push("Linkerd");
    }
    if is("kuma.io/sidecar-injection", &["enabled", "true"]) {
        meshes.push("Kuma");
    }
    meshes
}

fn istio(facts: &MeshFacts) -> Option<Finding> {
    let services = match &facts.virtual_services {
        Ok(services) => services,
        Err(Unseen::Absent) => return None,
        Err(unseen) => return Some(unseen.line(CHECK, "Istio's VirtualServices")),
    };
    let repeating = services.iter().filter(|service| {
        let spec = service.data.get("spec").unwrap_or(&Value::Null);
        let ours = texts(spec.get("hosts"))
            .iter()
            .any(|host| is_gate(host, &facts.gates));
        ours && list(spec.get("http")).iter().any(|route| {
            route
                .pointer("/retries/attempts")
                .and_then(Value::as_i64)
                .is_some_and(|attempts| attempts > 0)
        })
    });
    repeat(
        "VirtualService",
        repeating,
        "Set retries.attempts to 0 in its routes to Gate, or match POST in a route of its own without retries",
    )
}

fn linkerd(facts: &MeshFacts) -> Option<Finding> {
    let profiles = match &facts.service_profiles {
        Ok(profiles) => profiles,
        Err(Unseen::Absent) => return None,
        Err(unseen) => return Some(unseen.line(CHECK, "Linkerd's ServiceProfiles")),
    };
    let repeating = profiles.iter().filter(|profile| {
        let routes = profile.data.pointer("/spec/routes");
        is_gate(&profile.name_any(), &facts.gates)
            && list(routes)
                .iter()
                .any(|route| route.get("isRetryable").and_then(Value::as_bool) == Some(true))
    });
    repeat(
        "ServiceProfile",
        repeating,
        "Take isRetryable off its routes that take a POST",
    )
}

fn routes(facts: &MeshFacts) -> Option<Finding> {
    let routes = match &facts.http_routes {
        Ok(routes) => routes,
        Err(Unseen::Absent) => return None,
        Err(unseen) => return Some(unseen.line(CHECK, "The HTTPRoutes")),
    };
    let repeating = routes.iter().filter(|route| {
        let namespace = route.namespace().unwrap_or_default();
        let spec = route.data.get("spec").unwrap_or(&Value::Null);
        let parents = list(spec.get("parentRefs")).iter().filter_map(|parent| {
            let place = parent
                .get("namespace")
                .and_then(Value::as_str)
                .unwrap_or(&namespace);
            let name = parent.get("name").and_then(Value::as_str)?;
            Some(format!("{name}.{place}.svc.cluster.local"))
        });
        let ours = texts(spec.get("hostnames"))
            .into_iter()
            .chain(parents)
            .any(|host| is_gate(&host, &facts.gates));
        let annotated = route
            .annotations()
            .keys()
            .any(|name| name.starts_with("retry.linkerd.io/"));
        let attempts = list(spec.get("rules")).iter().any(|rule| {
            rule.pointer("/retry/attempts")
                .is_none_or(|attempts| attempts.as_i64() != Some(0))
                && rule.get("retry").is_some()
        });
        ours && (annotated || attempts)
    });
    repeat(
        "HTTPRoute",
        repeating,
        "Take the retries off its rules that lead to Gate",
    )
}

fn repeat<'a>(
    kind: &str,
    repeating: impl Iterator<Item = &'a DynamicObject>,
    todo: &str,
) -> Option<Finding> {
    let names: Vec<String> = repeating
        .map(|one| format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any()))
        .collect();
    if names.is_empty() {
        return None;
    }
    Some(Finding::fail(
        CHECK,
        &format!(
            "The {kind} {} repeats calls to Gate: a POST that is repeated starts a pipeline twice, and foredeck can't see it",
            word(&few(&names))
        ),
        todo,
    ))
}

/// Whether a rule's host is one of the Gates: by its whole name, as a Service's short one, or by a `*` at its beginning.
fn is_gate(host: &str, gates: &BTreeMap<String, bool>) -> bool {
    gates.keys().any(|gate| {
        let rest = host.strip_prefix('*');
        gate == host
            || rest.is_some_and(|rest| gate.ends_with(rest))
            || (!host.contains('.') && gate.split('.').next() == Some(host))
            || (host.contains(".svc") && host.split('.').take(2).eq(gate.split('.').take(2)))
    })
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(value: Option<&Value>) -> Vec<String> {
    list(value)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::page::State;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn facts(open: bool) -> MeshFacts {
        MeshFacts {
            namespace: Ok(Namespace::default()),
            pods: Ok(Vec::new()),
            virtual_services: Err(Unseen::Absent),
            service_profiles: Err(Unseen::Absent),
            http_routes: Err(Unseen::Absent),
            gates: BTreeMap::from([("gate.spinnaker.svc.cluster.local".to_owned(), open)]),
        }
    }

    #[test]
    fn a_sidecar_is_known_by_labels_annotations_and_containers() {
        let namespace = |labels: Value, annotations: Value| {
            let mut facts = facts(true);
            facts.namespace = Ok(read(
                json!({"metadata": {"labels": labels, "annotations": annotations}}),
            ));
            mesh(&facts).remove(0)
        };
        for (labels, annotations, mesh) in [
            (
                json!({"istio-injection": "enabled"}),
                json!({}),
                Some("Istio"),
            ),
            (json!({"istio.io/rev": "stable"}), json!({}), Some("Istio")),
            (
                json!({"istio-injection": "disabled", "istio.io/rev": "stable"}),
                json!({}),
                None,
            ),
            (
                json!({}),
                json!({"linkerd.io/inject": "enabled"}),
                Some("Linkerd"),
            ),
            (json!({}), json!({"linkerd.io/inject": "disabled"}), None),
            (
                json!({"kuma.io/sidecar-injection": "enabled"}),
                json!({}),
                Some("Kuma"),
            ),
            (json!({"team": "a"}), json!({}), None),
        ] {
            let finding = namespace(labels, annotations);
            match mesh {
                Some(mesh) => {
                    assert_eq!(finding.state, State::Warn, "{finding:?}");
                    assert!(finding.found.contains(mesh), "{finding:?}");
                }
                None => assert_eq!(finding.state, State::Ok, "{finding:?}"),
            }
        }
        for (name, mesh_name) in SIDECARS {
            let mut facts = facts(true);
            facts.pods = Ok(vec![read(
                json!({"spec": {"containers": [{"name": "foredeck"}, {"name": name}]}}),
            )]);
            assert!(mesh(&facts)[0].found.contains(mesh_name));
            // What is encrypted end to end isn't repeated.
            facts.gates.values_mut().for_each(|open| *open = false);
            assert_eq!(mesh(&facts)[0].state, State::Ok);
        }
    }

    #[test]
    fn rules_that_repeat_calls_to_gate_are_told_and_others_are_not() {
        let service = |host: &str, attempts: i64| -> DynamicObject {
            read(json!({
                "metadata": {"name": "vs", "namespace": "spinnaker"},
                "spec": {"hosts": [host], "http": [{"retries": {"attempts": attempts}}]},
            }))
        };
        for (host, attempts, expected) in [
            ("gate.spinnaker.svc.cluster.local", 2, true),
            ("gate", 2, true),
            ("gate.spinnaker.svc", 2, true),
            ("*.svc.cluster.local", 2, true),
            ("gate.spinnaker.svc.cluster.local", 0, false),
            ("deck.spinnaker.svc.cluster.local", 2, false),
        ] {
            let mut facts = facts(false);
            facts.virtual_services = Ok(vec![service(host, attempts)]);
            let told = mesh(&facts).iter().any(|line| line.state == State::Fail);
            assert_eq!(told, expected, "{host} {attempts}");
        }
        let mut facts = facts(false);
        facts.service_profiles = Ok(vec![read(json!({
            "metadata": {"name": "gate.spinnaker.svc.cluster.local", "namespace": "spinnaker"},
            "spec": {"routes": [{"name": "POST", "isRetryable": true}]},
        }))]);
        facts.http_routes = Ok(vec![read(json!({
            "metadata": {"name": "gate", "namespace": "spinnaker", "annotations": {"retry.linkerd.io/http": "5xx"}},
            "spec": {"parentRefs": [{"kind": "Service", "name": "gate"}], "rules": [{}]},
        }))]);
        let lines = mesh(&facts);
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.state == State::Fail)
                .count(),
            2,
            "{lines:?}"
        );
    }
}
