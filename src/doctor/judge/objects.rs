//! Connections, applications and environments: what their own status says. Touches nothing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};

use crate::{
    api::{
        Application, Environment, SpinnakerConnection,
        conditions::{self, ConditionType},
    },
    doctor::{
        page::{Finding, count, few, lasting, word},
        seen::Seen,
    },
    domain::hosts::{self, HostPattern},
};

const CONNECTIONS: &str = "connections";
const APPLICATIONS: &str = "applications";
const ENVIRONMENTS: &str = "environments";
/// Connections that are shown each; beyond, those that are well are only counted.
const SHOWN: usize = 20;
/// A certificate that ends sooner should have been renewed, in seconds.
const SOON: i64 = 30;

/// Where to look when nothing is said of an object.
const WATCHED: &str =
    "See that the controller runs and holds its Lease, and that it works in that namespace";

/// Every connection.
pub fn connections(
    seen: &Seen<Vec<SpinnakerConnection>>,
    allowed: Option<&[HostPattern]>,
    now: Timestamp,
) -> Vec<Finding> {
    let all = match seen {
        Ok(all) => all,
        Err(unseen) => return vec![unseen.line(CONNECTIONS, "The SpinnakerConnections")],
    };
    if all.is_empty() {
        return vec![Finding::warn(
            CONNECTIONS,
            "There is no SpinnakerConnection, so nothing can be deployed",
            "Make one: the quickstart has one to begin with",
        )];
    }
    let (mut lines, mut silent) = (Vec::new(), 0);
    for one in all {
        let line = connection(one, allowed, now);
        if lines.len() >= SHOWN && line.state == crate::doctor::page::State::Ok {
            silent += 1;
        } else {
            lines.push(line);
        }
    }
    if silent > 0 {
        let found = format!(
            "{} more, all ready",
            count(silent, "connection", "connections")
        );
        lines.push(Finding::ok(CONNECTIONS, &found));
    }
    lines
}

fn connection(
    one: &SpinnakerConnection,
    allowed: Option<&[HostPattern]>,
    now: Timestamp,
) -> Finding {
    let name = place(one);
    let host = host(&one.spec.gate_url);
    if let (Some(patterns), Some((host, port))) = (allowed, &host)
        && !hosts::allow(patterns, host, *port)
    {
        return Finding::fail(
            CONNECTIONS,
            &format!(
                "{name}: its Gate is at {}:{port}, which is none of the hosts that are allowed",
                word(host)
            ),
            "Correct the connection, or add the host to controller.allowGateHosts of the chart",
        );
    }
    let status = one.status.clone().unwrap_or_default();
    let standing = standing(
        &status.conditions,
        status.observed_generation,
        one.metadata.generation,
        now,
    );
    let (since, certificate) = match standing {
        Standing::Unknown => {
            return Finding::fail(
                CONNECTIONS,
                &format!("{name}: nobody has looked at it"),
                WATCHED,
            );
        }
        Standing::Outdated => {
            return Finding::warn(
                CONNECTIONS,
                &format!("{name}: it was changed, and nobody has looked at it since"),
                WATCHED,
            );
        }
        Standing::NotReady {
            reason,
            message,
            since,
        } => {
            return Finding::fail(
                CONNECTIONS,
                &format!("{name}: not ready for {since} ({reason}): {message}"),
                "Operations has the reason by its name, and who can do what about it",
            );
        }
        Standing::Ready { since } => (since, status.certificate),
    };
    let host = host.map_or_else(String::new, |(host, _)| {
        format!(", Gate at {}", word(&host))
    });
    let version = status
        .version
        .as_deref()
        .map_or_else(String::new, |version| format!(" ({})", word(version)));
    let user = status
        .user
        .as_deref()
        .map_or_else(String::new, |user| format!(", as {}", word(user)));
    let well = format!("{name}: ready for {since}{host}{version}{user}");
    let Some(certificate) = certificate else {
        return Finding::ok(CONNECTIONS, &well);
    };
    let left = certificate
        .not_after
        .0
        .as_second()
        .saturating_sub(now.as_second());
    let todo = "See the connection's Vault, and the controller's log for why it wasn't renewed";
    if left <= 0 {
        let found = format!("{well}; its certificate ended {} ago", lasting(left));
        Finding::fail(CONNECTIONS, &found, todo)
    } else if left < SOON {
        let found = format!(
            "{well}; its certificate ends in {}, and should have been renewed",
            lasting(left)
        );
        Finding::warn(CONNECTIONS, &found, todo)
    } else {
        Finding::ok(
            CONNECTIONS,
            &format!("{well}; certificate good for {}", lasting(left)),
        )
    }
}

/// The Applications, counted, and the first few that aren't ready.
pub fn applications(seen: &Seen<Vec<Application>>, now: Timestamp) -> Finding {
    let standing = |one: &Application| {
        let status = one.status.clone().unwrap_or_default();
        standing(
            &status.conditions,
            status.observed_generation,
            one.metadata.generation,
            now,
        )
    };
    configuration(APPLICATIONS, "Applications", seen, standing)
}

/// The Environments, likewise.
pub fn environments(seen: &Seen<Vec<Environment>>, now: Timestamp) -> Finding {
    let standing = |one: &Environment| {
        let status = one.status.clone().unwrap_or_default();
        standing(
            &status.conditions,
            status.observed_generation,
            one.metadata.generation,
            now,
        )
    };
    configuration(ENVIRONMENTS, "Environments", seen, standing)
}

fn configuration<K: Resource<DynamicType = ()>>(
    check: &'static str,
    kind: &str,
    seen: &Seen<Vec<K>>,
    standing: impl Fn(&K) -> Standing,
) -> Finding {
    let all = match seen {
        Ok(all) => all,
        Err(unseen) => return unseen.line(check, &format!("The {kind}")),
    };
    let mut unready: Vec<String> = all
        .iter()
        .filter_map(|one| {
            let name = place(one);
            match standing(one) {
                Standing::Ready { .. } => None,
                Standing::NotReady {
                    reason, message, ..
                } => Some(format!("{name} ({reason}: {message})")),
                Standing::Unknown | Standing::Outdated => {
                    Some(format!("{name} (nobody has looked at it as it is now)"))
                }
            }
        })
        .collect();
    unready.sort();
    if all.is_empty() {
        return Finding::ok(check, &format!("There are no {kind} yet"));
    }
    if unready.is_empty() {
        return Finding::ok(check, &format!("{} {kind}, all ready", all.len()));
    }
    Finding::warn(
        check,
        &format!(
            "{} {kind}, {} not ready: {}",
            all.len(),
            unready.len(),
            few(&unready)
        ),
        "Their teams correct them; what is asked for them waits or is refused meanwhile",
    )
}

/// What an object's conditions say of it.
enum Standing {
    Ready {
        since: String,
    },
    NotReady {
        reason: String,
        message: String,
        since: String,
    },
    /// It was changed since.
    Outdated,
    Unknown,
}

fn standing(
    conditions: &[Condition],
    observed: Option<i64>,
    generation: Option<i64>,
    now: Timestamp,
) -> Standing {
    let Some(ready) = conditions::find(conditions, ConditionType::Ready) else {
        return Standing::Unknown;
    };
    let since = lasting(
        now.as_second()
            .saturating_sub(ready.last_transition_time.0.as_second()),
    );
    if observed < generation {
        return Standing::Outdated;
    }
    if ready.status == "True" {
        return Standing::Ready { since };
    }
    Standing::NotReady {
        reason: word(&ready.reason),
        message: word(&ready.message),
        since,
    }
}

/// `namespace/name`.
fn place(one: &impl ResourceExt) -> String {
    format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any())
}

/// Host and port of an address, as the kinds' schema lets them be: `http` or `https`, and no login before the host.
pub fn host(address: &str) -> Option<(String, u16)> {
    let (scheme, rest) = address.split_once("://")?;
    let port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[end_of_host..].rfind(':') {
        None => (authority, port),
        Some(colon) => {
            let (host, named) = authority.split_at(end_of_host + colon);
            (host, named[1..].parse().ok()?)
        }
    };
    Some((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::page::State;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn made(status: &Value) -> SpinnakerConnection {
        serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "SpinnakerConnection",
            "metadata": {"name": "gate", "namespace": "shop", "generation": 2},
            "spec": {"gateUrl": "https://gate.example/api"}, "status": status,
        }))
        .unwrap()
    }

    fn ready(status: &str, generation: i64, until: Option<&str>) -> Value {
        json!({
            "observedGeneration": generation,
            "certificate": until.map(|until| json!({"serial": "01", "notAfter": until})),
            "conditions": [{
                "type": "Ready", "status": status, "reason": "LoginFailed", "message": "no\u{1b}[31m login",
                "lastTransitionTime": "2026-01-01T09:00:00Z",
            }],
        })
    }

    #[test]
    fn connections_by_their_status() {
        for (status, expected, words) in [
            (json!({}), State::Fail, "nobody has looked"),
            (ready("True", 1, None), State::Warn, "changed"),
            (
                ready("True", 2, None),
                State::Ok,
                "ready for 3 h, Gate at gate.example",
            ),
            (
                ready("False", 2, None),
                State::Fail,
                "not ready for 3 h (LoginFailed): no[31m login",
            ),
            (
                ready("True", 2, Some("2026-01-01T12:40:00Z")),
                State::Ok,
                "good for 40 min",
            ),
            (
                ready("True", 2, Some("2026-01-01T12:00:10Z")),
                State::Warn,
                "ends in 10 s",
            ),
            (
                ready("True", 2, Some("2026-01-01T11:00:00Z")),
                State::Fail,
                "ended 60 min ago",
            ),
        ] {
            let lines = connections(&Ok(vec![made(&status)]), None, now());
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0].state, expected, "{lines:?}");
            assert!(lines[0].found.contains(words), "{lines:?}");
        }
    }

    #[test]
    fn a_gate_at_a_host_that_is_not_allowed_is_told() {
        let one = || Ok(vec![made(&ready("True", 2, None))]);
        let patterns = |text: &str| vec![text.parse::<HostPattern>().unwrap()];
        let lines = connections(&one(), Some(&patterns("*.example")), now());
        assert_eq!(lines[0].state, State::Ok, "{lines:?}");
        let lines = connections(&one(), Some(&patterns("*.corp")), now());
        assert_eq!(lines[0].state, State::Fail, "{lines:?}");
        assert!(lines[0].found.contains("gate.example:443"), "{lines:?}");
    }

    #[test]
    fn hosts_and_ports() {
        let read = |address| host(address).map(|(host, port)| format!("{host} {port}"));
        for (address, expected) in [
            ("https://Gate.example/api/v1", Some("gate.example 443")),
            ("http://gate:8084", Some("gate 8084")),
            ("http://[::1]:8084/", Some("[::1] 8084")),
            ("https://[::1]", Some("[::1] 443")),
            ("https://good.example@evil.example", None),
            (
                "https://evil.example\\.good.example",
                Some("evil.example 443"),
            ),
            ("ftp://gate", None),
            ("https://", None),
            ("https://gate:port", None),
        ] {
            assert_eq!(read(address).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn of_many_connections_only_those_that_are_ill_are_shown() {
        let many = Ok(vec![made(&ready("True", 2, None)); 60]);
        let lines = connections(&many, None, now());
        assert_eq!(lines.len(), SHOWN + 1);
        assert!(
            lines[SHOWN].found.contains("40 connections more"),
            "{lines:?}"
        );
    }

    #[test]
    fn configuration_that_is_not_ready_is_counted_and_the_first_named() {
        let application = |name: String, status: &str| -> Application {
            serde_json::from_value(json!({
                "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application",
                "metadata": {"name": name, "namespace": "shop", "generation": 1},
                "spec": {"actions": {"deploy": {"pipeline": "Deploy"}}},
                "status": ready(status, 1, None),
            }))
            .unwrap()
        };
        let mut all: Vec<_> = (0..7)
            .map(|at| application(format!("a{at}"), "False"))
            .collect();
        all.push(application("well".to_owned(), "True"));
        let finding = applications(&Ok(all), now());
        assert_eq!(finding.state, State::Warn);
        assert!(
            finding
                .found
                .starts_with("8 Applications, 7 not ready: shop/a0 (LoginFailed"),
            "{finding:?}"
        );
        assert!(finding.found.ends_with("and 2 more"), "{finding:?}");
        assert_eq!(applications(&Ok(Vec::new()), now()).state, State::Ok);
    }
}
