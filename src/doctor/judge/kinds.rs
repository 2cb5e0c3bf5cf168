//! The kinds' definitions: there, in use, and those of this binary. Touches nothing.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::Value;

use crate::doctor::{
    page::{Finding, few, word},
    seen::{Seen, Unseen},
};

const CHECK: &str = "kinds";
const INSTALL_THEM: &str = "Install this version's: `foredeck crds | kubectl apply --server-side -f -`, or the chart with crds.install";

/// All of them, as this binary has them and as the API server shows them.
pub fn definitions(
    seen: &[(CustomResourceDefinition, Seen<CustomResourceDefinition>)],
) -> Vec<Finding> {
    let mut lines = Vec::new();
    let mut unseen: Vec<&Unseen> = Vec::new();
    let mut good = 0;
    for (wanted, live) in seen {
        let name = wanted.name_any();
        match live {
            Err(Unseen::Absent) => lines.push(Finding::fail(
                CHECK,
                &format!("The definition {name} is missing"),
                INSTALL_THEM,
            )),
            Err(other) => unseen.push(other),
            Ok(live) => match problem(wanted, live) {
                Some(problem) => lines.push(Finding::fail(
                    CHECK,
                    &format!("The definition {name} {problem}"),
                    INSTALL_THEM,
                )),
                None => good += 1,
            },
        }
    }
    // They are read in one way, so one line says it for all.
    if let Some(first) = unseen.first() {
        let what = format!(
            "The kinds' definitions ({} of {})",
            unseen.len(),
            seen.len()
        );
        lines.push(first.line(CHECK, &what));
    } else if good == seen.len() {
        let version = env!("CARGO_PKG_VERSION");
        lines.push(Finding::ok(
            CHECK,
            &format!("All {good} definitions are there, in use, and of version {version}"),
        ));
    }
    lines
}

/// What is wrong with a definition, as the end of a sentence.
fn problem(wanted: &CustomResourceDefinition, live: &CustomResourceDefinition) -> Option<String> {
    if live.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted, and every object of it with it".to_owned());
    }
    let conditions = live
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let condition = |kind: &str| {
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == kind)
    };
    let established = condition("Established").is_some_and(|condition| condition.status == "True");
    if !established {
        let why = condition("NamesAccepted")
            .filter(|condition| condition.status != "True")
            .and_then(|condition| condition.message.clone())
            .map_or_else(String::new, |why| format!(": {}", word(&why)));
        return Some(format!("isn't served{why}"));
    }
    let differing = differing(wanted, live);
    (!differing.is_empty())
        .then(|| format!("isn't this binary's: it differs at {}", few(&differing)))
}

/// Where two definitions differ, without what the API server fills in.
fn differing(wanted: &CustomResourceDefinition, live: &CustomResourceDefinition) -> Vec<String> {
    let mut found = Vec::new();
    let value = |definition: &CustomResourceDefinition| {
        serde_json::to_value(&definition.spec).unwrap_or_default()
    };
    let (wanted, live) = (value(wanted), value(live));
    for field in ["group", "scope"] {
        if wanted.get(field) != live.get(field) {
            found.push(format!("spec.{field}"));
        }
    }
    // The API server adds names of its own making.
    for (name, wanted) in wanted
        .get("names")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if live.pointer(&format!("/names/{name}")) != Some(wanted) {
            found.push(format!("spec.names.{name}"));
        }
    }
    let none = Value::Null;
    compare(
        "spec.versions",
        wanted.get("versions").unwrap_or(&none),
        live.get("versions").unwrap_or(&none),
        &mut found,
    );
    found
}

fn compare(path: &str, wanted: &Value, live: &Value, found: &mut Vec<String>) {
    match (wanted, live) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                match b.get(name) {
                    Some(other) => compare(&format!("{path}.{name}"), value, other, found),
                    None => found.push(format!("{path}.{name}")),
                }
            }
            for name in b.keys().filter(|name| !a.contains_key(*name)) {
                found.push(format!("{path}.{name}"));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (value, other)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), value, other, found);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (a, b) if a == b => {}
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
    use serde_json::json;

    use super::*;
    use crate::doctor::page::State;

    fn served(wanted: &CustomResourceDefinition) -> CustomResourceDefinition {
        let mut live = wanted.clone();
        live.status = serde_json::from_value(json!({
            "conditions": [{"type": "Established", "status": "True"}],
        }))
        .unwrap();
        live
    }

    #[test]
    fn definitions_that_are_this_binarys_are_ok_whatever_the_api_server_adds() {
        let seen: Vec<_> = crate::api::crds()
            .into_iter()
            .map(|wanted| {
                let mut live = served(&wanted);
                live.spec.names.list_kind = Some("Somethings".to_owned());
                (wanted, Ok(live))
            })
            .collect();
        let lines = definitions(&seen);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].state, State::Ok, "{lines:?}");
    }

    #[test]
    fn each_way_to_be_wrong_has_its_words() {
        type Change = fn(&mut CustomResourceDefinition);
        let changes: [(&str, Change); 4] = [
            ("isn't served", |live| live.status = None),
            ("is being deleted", |live| {
                live.metadata.deletion_timestamp =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                        jiff::Timestamp::UNIX_EPOCH,
                    ));
            }),
            ("spec.scope", |live| live.spec.scope = "Cluster".to_owned()),
            ("properties.surprise", |live| {
                let schema = live.spec.versions[0].schema.as_mut().unwrap();
                let schema = schema.open_api_v3_schema.as_mut().unwrap();
                schema
                    .properties
                    .as_mut()
                    .unwrap()
                    .insert("surprise".to_owned(), JSONSchemaProps::default());
            }),
        ];
        for (words, change) in changes {
            let wanted = crate::api::crds().remove(0);
            let mut live = served(&wanted);
            change(&mut live);
            let lines = definitions(&[(wanted, Ok(live))]);
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0].state, State::Fail);
            assert!(lines[0].found.contains(words), "{lines:?}");
        }
        let absent = definitions(&[(crate::api::crds().remove(0), Err(Unseen::Absent))]);
        assert!(absent[0].found.contains("is missing"), "{absent:?}");
    }
}
