//! Which artifacts a start binds, as Orca's `ArtifactUtils` and `ArtifactResolver` do it. Pure.
//!
//! Of regular expressions only `.*` is known here, in front and at the end: a script needs no more.

use serde_json::{Map, Value, json};

/// Fields that are compared, in Orca's order.
const FIELDS: [&str; 5] = ["type", "name", "version", "location", "reference"];

/// One artifact that a pipeline expects.
#[derive(Debug, Clone)]
pub struct ExpectedArtifact(pub(super) Map<String, Value>);

impl ExpectedArtifact {
    /// One with this id that must be of this type and name; `.*` in front and at the end stand for anything.
    pub fn new(id: &str, kind: &str, name: &str) -> Self {
        let mut body = Map::new();
        body.insert("id".into(), id.into());
        body.insert("displayName".into(), id.into());
        body.insert("matchArtifact".into(), json!({"type": kind, "name": name}));
        body.insert("useDefaultArtifact".into(), json!(false));
        body.insert("usePriorArtifact".into(), json!(false));
        // As Deck writes it where nobody gave one.
        body.insert("defaultArtifact".into(), json!({"customKind": true}));
        Self(body)
    }

    /// Wants this version too.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.0["matchArtifact"]["version"] = version.into();
        self
    }

    /// Takes this where none is given.
    #[must_use]
    pub fn default_artifact(mut self, artifact: Value) -> Self {
        self.0.insert("useDefaultArtifact".into(), json!(true));
        self.0.insert("defaultArtifact".into(), artifact);
        self
    }

    /// Takes the newest execution's where none is given.
    #[must_use]
    pub fn prior_artifact(mut self) -> Self {
        self.0.insert("usePriorArtifact".into(), json!(true));
        self
    }
}

/// The trigger with what it binds; `None` where the pipeline expects nothing.
///
/// # Errors
/// Orca's words for why it doesn't start.
pub(super) fn resolved(
    config: &Value,
    trigger: Option<&Value>,
    prior: &[Value],
) -> Result<Option<Value>, String> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let expected = list(config.get("expectedArtifacts"));
    if expected.is_empty() {
        return Ok(None);
    }
    let asked = list(trigger.and_then(|trigger| trigger.get("expectedArtifactIds")));
    let mut received: Vec<Value> = Vec::new();
    for artifact in list(trigger.and_then(|trigger| trigger.get("artifacts"))) {
        if !received.contains(&artifact) {
            received.push(artifact);
        }
    }
    let mut artifacts = received.clone();
    let mut bound = Vec::new();
    for one in &expected {
        let flag = |key: &str| one.get(key) == Some(&Value::Bool(true));
        let wanted = one.get("id").is_some_and(|id| asked.contains(id));
        if !wanted && !flag("useDefaultArtifact") && !flag("usePriorArtifact") {
            continue;
        }
        let mut found = single(one, &received)?;
        if found.is_none() && flag("usePriorArtifact") {
            found = single(one, prior)?;
        }
        if found.is_none() && flag("useDefaultArtifact") {
            found = one
                .get("defaultArtifact")
                .filter(|value| value.is_object())
                .cloned();
        }
        let Some(found) = found else {
            return Err(format!(
                "Unmatched expected artifact {} could not be resolved.",
                words(one)
            ));
        };
        let mut with = one.clone();
        with["boundArtifact"] = found.clone();
        bound.push(with);
        if !artifacts.contains(&found) {
            artifacts.push(found);
        }
    }
    let mut trigger = match trigger {
        Some(Value::Object(fields)) => fields.clone(),
        _ => Map::new(),
    };
    trigger.insert("artifacts".into(), Value::Array(artifacts));
    trigger.insert("expectedArtifacts".into(), Value::Array(bound.clone()));
    trigger.insert("resolvedExpectedArtifacts".into(), Value::Array(bound));
    Ok(Some(Value::Object(trigger)))
}

fn single(expected: &Value, artifacts: &[Value]) -> Result<Option<Value>, String> {
    let mut found = artifacts
        .iter()
        .filter(|artifact| matches(&expected["matchArtifact"], artifact));
    let first = found.next().cloned();
    let rest: Vec<String> = found.map(artifact_words).collect();
    match (first, rest.as_slice()) {
        (Some(first), [_, ..]) => Err(format!(
            "Expected artifact {} matches multiple artifacts [{}, {}]",
            words(expected),
            artifact_words(&first),
            rest.join(", ")
        )),
        (first, _) => Ok(first),
    }
}

fn matches(wanted: &Value, artifact: &Value) -> bool {
    FIELDS.iter().all(|field| {
        let Some(wanted) = wanted[field].as_str().filter(|text| !text.is_empty()) else {
            return true;
        };
        artifact[field]
            .as_str()
            .is_some_and(|text| like(wanted, text))
    })
}

fn like(pattern: &str, text: &str) -> bool {
    if pattern == text {
        return true;
    }
    match (pattern.strip_prefix(".*"), pattern.strip_suffix(".*")) {
        (Some(""), _) => true,
        (Some(rest), _) if rest.ends_with(".*") => text.contains(rest.trim_end_matches(".*")),
        (Some(end), _) => text.ends_with(end),
        (None, Some(begin)) => text.starts_with(begin),
        (None, None) => false,
    }
}

/// As Lombok writes an `ExpectedArtifact`.
fn words(expected: &Value) -> String {
    let flag = |key: &str| expected.get(key) == Some(&Value::Bool(true));
    let default = match &expected["defaultArtifact"] {
        Value::Null => "null".to_owned(),
        artifact => artifact_words(artifact),
    };
    format!(
        "ExpectedArtifact(matchArtifact={}, usePriorArtifact={}, useDefaultArtifact={}, defaultArtifact={default}, id={}, boundArtifact=null)",
        artifact_words(&expected["matchArtifact"]),
        flag("usePriorArtifact"),
        flag("useDefaultArtifact"),
        expected["id"].as_str().unwrap_or_default(),
    )
}

fn artifact_words(artifact: &Value) -> String {
    let text = |key: &str| artifact[key].as_str().unwrap_or("null").to_owned();
    format!(
        "Artifact(type={}, customKind={}, name={}, version={}, location={}, reference={}, metadata={{}}, artifactAccount={}, provenance={}, uuid={})",
        text("type"),
        artifact["customKind"] == json!(true),
        text("name"),
        text("version"),
        text("location"),
        text("reference"),
        text("artifactAccount"),
        text("provenance"),
        text("uuid"),
    )
}
