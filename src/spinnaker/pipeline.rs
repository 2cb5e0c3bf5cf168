//! A pipeline's definition as Gate tells it. Touches nothing.

use serde_json::Value;

use super::lenient::scalar;

/// A pipeline's definition.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineConfig {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The Spinnaker application that it belongs to. Gate doesn't compare it with the one in the path when a pipeline
    /// is asked for by id: whoever asks must.
    pub application: String,
    /// Whether Spinnaker refuses to start it.
    pub disabled: bool,
    /// What it takes.
    pub parameters: Vec<Parameter>,
    /// The artifacts that it expects.
    pub expected_artifacts: Vec<ExpectedArtifact>,
    /// The whole definition, as `/pipelines/start` wants it back.
    pub raw: Value,
}

/// One parameter of a pipeline. Spinnaker itself checks next to nothing of this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it is for, in the words of the pipeline's author.
    pub description: Option<String>,
    /// What it is when nobody says.
    pub default: Option<String>,
    /// Whether it must have a value.
    pub required: bool,
    /// The values that it may have; empty when it may have any.
    pub options: Vec<String>,
}

/// One artifact that a pipeline expects. Each field that is there has to match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedArtifact {
    /// Its id, by which stages and triggers name it.
    pub id: String,
    /// As people see it.
    pub name: String,
    /// The type, equal or as a regular expression of Java's; so are those that follow.
    pub kind: Option<String>,
    /// The artifact's name.
    pub artifact: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its location.
    pub location: Option<String>,
    /// Its reference.
    pub reference: Option<String>,
    /// Whether there is one that is taken where none is given.
    pub has_default: bool,
    /// Whether one of the newest execution is taken where none is given.
    pub takes_earlier: bool,
}

impl PipelineConfig {
    /// A definition as somebody else has it.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn from_json(raw: Value) -> Result<Self, &'static str> {
        Self::decode(raw)
    }

    /// Decodes a definition; the error says in words what is wrong with it.
    pub(super) fn decode(raw: Value) -> Result<Self, &'static str> {
        let text = |key: &str| {
            raw.get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let (Some(id), Some(name), Some(application)) =
            (text("id"), text("name"), text("application"))
        else {
            return Err("the JSON is not a pipeline");
        };
        let parameters = raw
            .get("parameterConfig")
            .and_then(Value::as_array)
            .map(|entries| entries.iter().filter_map(Parameter::decode).collect())
            .unwrap_or_default();
        let expected_artifacts = raw
            .get("expectedArtifacts")
            .and_then(Value::as_array)
            .map(|entries| entries.iter().map(ExpectedArtifact::decode).collect())
            .unwrap_or_default();
        Ok(Self {
            id,
            name,
            application,
            disabled: is_true(&raw, "disabled"),
            parameters,
            expected_artifacts,
            raw,
        })
    }
}

impl ExpectedArtifact {
    fn decode(entry: &Value) -> Self {
        let text = |value: &Value, key: &str| value.get(key).and_then(scalar);
        let wanted = |key| text(&entry["matchArtifact"], key);
        Self {
            id: text(entry, "id").unwrap_or_default(),
            name: text(entry, "displayName").unwrap_or_default(),
            kind: wanted("type"),
            artifact: wanted("name"),
            version: wanted("version"),
            location: wanted("location"),
            reference: wanted("reference"),
            // Deck keeps an empty default beside the switch.
            has_default: is_true(entry, "useDefaultArtifact")
                && entry.get("defaultArtifact").is_some_and(Value::is_object),
            takes_earlier: is_true(entry, "usePriorArtifact"),
        }
    }
}

impl Parameter {
    fn decode(entry: &Value) -> Option<Self> {
        let options = if is_true(entry, "hasOptions") {
            entry
                .get("options")
                .and_then(Value::as_array)
                .map(|options| {
                    options
                        .iter()
                        .filter_map(|option| scalar(option.get("value").unwrap_or(option)))
                        .collect()
                })
                .unwrap_or_default()
        } else {
            Vec::new()
        };
        Some(Self {
            name: entry
                .get("name")?
                .as_str()
                .filter(|name| !name.is_empty())?
                .to_owned(),
            description: entry
                .get("description")
                .or_else(|| entry.get("label"))
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            default: entry.get("default").and_then(scalar),
            required: is_true(entry, "required"),
            options,
        })
    }
}

/// Hand-written definitions have `"true"` where Deck writes `true`.
fn is_true(value: &Value, key: &str) -> bool {
    match value.get(key) {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_read_with_options_only_where_the_pipeline_has_them() {
        let raw = json!({
            "id": "4f0a", "name": "Deploy", "application": "shop", "disabled": "true", "schema": "1",
            "parameterConfig": [
                {"name": "tag", "required": true, "default": null, "options": [{"value": "x"}], "hasOptions": false},
                {"name": "replicas", "default": 3, "label": "How many"},
                {"name": "colour", "hasOptions": true, "options": [{"value": "blue"}, {"value": 2}, "green", {}]},
                {"description": "nameless"},
                "odd",
            ],
        });
        let config = PipelineConfig::decode(raw.clone()).unwrap();
        assert_eq!(config.raw, raw);
        assert!(config.disabled);
        let [tag, replicas, colour] = config.parameters.as_slice() else {
            panic!("{:?}", config.parameters)
        };
        assert!(tag.required && tag.default.is_none() && tag.options.is_empty());
        assert_eq!(replicas.default.as_deref(), Some("3"));
        assert_eq!(replicas.description.as_deref(), Some("How many"));
        assert_eq!(colour.options, ["blue", "2", "green"]);
    }

    #[test]
    fn expected_artifacts_are_read_as_orca_reads_them() {
        let raw = json!({
            "id": "4f0a", "name": "Deploy", "application": "shop",
            "expectedArtifacts": [
                {
                    "id": "e-1", "displayName": "image", "useDefaultArtifact": false, "usePriorArtifact": "true",
                    "matchArtifact": {"type": "docker/image", "name": "checkout", "version": 3, "artifactAccount": "docker"},
                    "defaultArtifact": {"customKind": true},
                },
                {"id": "e-2", "useDefaultArtifact": true, "defaultArtifact": {"name": "old"}},
                {"id": "e-3", "useDefaultArtifact": true, "matchArtifact": null},
            ],
        });
        let config = PipelineConfig::decode(raw).unwrap();
        let [first, second, third] = config.expected_artifacts.as_slice() else {
            panic!("{:?}", config.expected_artifacts)
        };
        assert_eq!(first.kind.as_deref(), Some("docker/image"));
        assert_eq!(
            (first.version.as_deref(), first.location.as_deref()),
            (Some("3"), None)
        );
        assert!(first.takes_earlier && !first.has_default);
        assert!(second.has_default && second.kind.is_none());
        assert!(!third.has_default && third.name.is_empty());
    }

    #[test]
    fn what_has_no_id_name_and_application_is_no_pipeline() {
        for raw in [
            json!(null),
            json!([]),
            json!({"id": "4f0a", "name": "Deploy"}),
            json!({"id": "", "name": "Deploy", "application": "shop"}),
        ] {
            assert!(PipelineConfig::decode(raw.clone()).is_err(), "{raw}");
        }
    }
}
