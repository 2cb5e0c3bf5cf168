//! An execution as Gate tells it. Touches nothing.
//!
//! Only `id`, `application` and `status` must be there; everything else may be missing or of another type, and unknown
//! fields are ignored. All times are milliseconds since 1970.

use std::{collections::BTreeMap, convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::lenient;

/// One run of a pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// Its id.
    pub id: String,
    /// The Spinnaker application.
    pub application: String,
    /// The pipeline's id.
    #[serde(default, deserialize_with = "lenient::field")]
    pub pipeline_config_id: Option<String>,
    /// The pipeline's name at the start.
    #[serde(default, deserialize_with = "lenient::field")]
    pub name: Option<String>,
    /// How it goes. This alone says whether it ended: `canceled` can be set on a succeeded one.
    pub status: Status,
    /// When Orca accepted it. Another value under the same id is another start.
    #[serde(default, deserialize_with = "lenient::field")]
    pub build_time: Option<i64>,
    /// When it began to run; moves when a stage is restarted.
    #[serde(default, deserialize_with = "lenient::field")]
    pub start_time: Option<i64>,
    /// When it ended. Left over from the first run while a restarted one runs.
    #[serde(default, deserialize_with = "lenient::field")]
    pub end_time: Option<i64>,
    /// Why it was cancelled, or why it could not begin.
    #[serde(default, deserialize_with = "lenient::field")]
    pub cancellation_reason: Option<String>,
    /// Who cancelled it: Gate's principal, `spinnaker`, `system` or `parent pipeline`.
    #[serde(default, deserialize_with = "lenient::field")]
    pub canceled_by: Option<String>,
    /// What started it; nothing in it is trusted.
    #[serde(default)]
    pub trigger: Value,
    /// Its stages in no useful order; entries that are no stages are left out.
    #[serde(default, deserialize_with = "lenient::list")]
    pub stages: Vec<Stage>,
    /// The last time it was paused.
    #[serde(default, deserialize_with = "lenient::field")]
    pub paused: Option<Paused>,
}

/// One stage, top-level or synthetic.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Its id.
    #[serde(default, deserialize_with = "lenient::field")]
    pub id: String,
    /// Its place in the pipeline's graph.
    #[serde(default, deserialize_with = "lenient::field")]
    pub ref_id: String,
    /// The places that it comes after.
    #[serde(default, deserialize_with = "lenient::list")]
    pub requisite_stage_ref_ids: Vec<String>,
    /// Its type.
    #[serde(rename = "type", default, deserialize_with = "lenient::field")]
    pub kind: String,
    /// Its name.
    #[serde(default, deserialize_with = "lenient::field")]
    pub name: String,
    /// How it goes.
    #[serde(default, deserialize_with = "lenient::field")]
    pub status: Status,
    /// When it began.
    #[serde(default, deserialize_with = "lenient::field")]
    pub start_time: Option<i64>,
    /// When it ended.
    #[serde(default, deserialize_with = "lenient::field")]
    pub end_time: Option<i64>,
    /// Its inputs and findings; empty when read with `expand=false`.
    #[serde(default, deserialize_with = "lenient::field")]
    pub context: Map<String, Value>,
    /// What it hands on; empty when read with `expand=false`.
    #[serde(default, deserialize_with = "lenient::field")]
    pub outputs: Map<String, Value>,
    /// Its tasks; empty when read with `expand=false`.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tasks: Vec<Task>,
    /// The stage that this synthetic one belongs to.
    #[serde(default, deserialize_with = "lenient::field")]
    pub parent_stage_id: Option<String>,
    /// Whether a synthetic one runs before (`STAGE_BEFORE`) or after its parent.
    #[serde(default, deserialize_with = "lenient::field")]
    pub synthetic_stage_owner: Option<String>,
}

/// One task of a stage.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its name.
    #[serde(default, deserialize_with = "lenient::field")]
    pub name: String,
    /// How it goes.
    #[serde(default, deserialize_with = "lenient::field")]
    pub status: Status,
    /// What it threw, under `exception`.
    #[serde(default, deserialize_with = "lenient::field")]
    pub task_exception_details: Map<String, Value>,
}

/// When somebody paused an execution. Orca keeps only the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// Since when.
    #[serde(default, deserialize_with = "lenient::field")]
    pub pause_time: Option<i64>,
    /// Until when; absent while it is paused.
    #[serde(default, deserialize_with = "lenient::field")]
    pub resume_time: Option<i64>,
}

/// How an execution, stage or task goes: Orca's `ExecutionStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Status {
    /// `NOT_STARTED`, also while it waits behind another execution.
    NotStarted,
    /// `RUNNING`.
    Running,
    /// `PAUSED`.
    Paused,
    /// `SUSPENDED`.
    Suspended,
    /// `REDIRECT`.
    Redirect,
    /// `BUFFERED`.
    Buffered,
    /// `SUCCEEDED`.
    Succeeded,
    /// `FAILED_CONTINUE`: failed, and the pipeline went on.
    FailedContinue,
    /// `TERMINAL`: failed.
    Terminal,
    /// `CANCELED`.
    Canceled,
    /// `STOPPED`: failed, its branch ended.
    Stopped,
    /// `SKIPPED`.
    Skipped,
    /// A word that we don't know, or none; counts as not complete.
    Other(String),
}

impl Status {
    /// Whether nothing more happens unless somebody restarts it.
    pub fn is_complete(&self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::FailedContinue
                | Self::Terminal
                | Self::Canceled
                | Self::Stopped
                | Self::Skipped
        )
    }

    /// Whether it ended well.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// Whether it ended badly, by itself and not by a cancellation.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Terminal | Self::Stopped | Self::FailedContinue)
    }

    /// Orca's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Suspended => "SUSPENDED",
            Self::Redirect => "REDIRECT",
            Self::Buffered => "BUFFERED",
            Self::Succeeded => "SUCCEEDED",
            Self::FailedContinue => "FAILED_CONTINUE",
            Self::Terminal => "TERMINAL",
            Self::Canceled => "CANCELED",
            Self::Stopped => "STOPPED",
            Self::Skipped => "SKIPPED",
            Self::Other(word) => word,
        }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word {
            "NOT_STARTED" => Self::NotStarted,
            "RUNNING" => Self::Running,
            "PAUSED" => Self::Paused,
            "SUSPENDED" => Self::Suspended,
            "REDIRECT" => Self::Redirect,
            "BUFFERED" => Self::Buffered,
            "SUCCEEDED" => Self::Succeeded,
            "FAILED_CONTINUE" => Self::FailedContinue,
            "TERMINAL" => Self::Terminal,
            "CANCELED" => Self::Canceled,
            "STOPPED" => Self::Stopped,
            "SKIPPED" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        })
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(word.parse().unwrap_or(Self::Other(word)))
    }
}

impl Execution {
    /// Decodes one execution; the error says in words what is wrong with it.
    pub(super) fn decode(body: &[u8]) -> Result<Self, &'static str> {
        // By way of a Value, in which the last of two equal keys wins as it does in Gate's own parser.
        let value: Value =
            serde_json::from_slice(body).map_err(|_| "the body is not JSON that we can read")?;
        serde_json::from_value(value).map_err(|_| "the JSON is not an execution")
    }

    /// What Orca de-duplicates on.
    pub fn correlation_id(&self) -> Option<&str> {
        self.trigger.get("correlationId")?.as_str()
    }

    /// The stages of the pipeline itself, without those that other stages brought along.
    pub fn top_level(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter().filter(|stage| !stage.is_synthetic())
    }

    /// Stages by id.
    pub(super) fn by_id(&self) -> BTreeMap<&str, &Stage> {
        self.stages
            .iter()
            .map(|stage| (stage.id.as_str(), stage))
            .collect()
    }
}

impl Stage {
    /// Whether another stage brought it along.
    pub fn is_synthetic(&self) -> bool {
        self.parent_stage_id.is_some()
    }

    /// What to call it: its name, else its type, else its id.
    pub fn label(&self) -> &str {
        [&self.name, &self.kind]
            .into_iter()
            .find(|text| !text.trim().is_empty())
            .unwrap_or(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn decode(value: &Value) -> Result<Execution, &'static str> {
        Execution::decode(value.to_string().as_bytes())
    }

    #[test]
    fn an_execution_needs_id_application_and_status_only() {
        let least = json!({"id": "E", "application": "demo", "status": "RUNNING"});
        assert_eq!(decode(&least).unwrap().status, Status::Running);
        for key in ["id", "application", "status"] {
            let mut without = least.clone();
            without.as_object_mut().unwrap().remove(key);
            assert!(decode(&without).is_err(), "{key}");
        }
    }

    #[test]
    fn fields_of_the_wrong_type_do_not_hide_the_execution() {
        let execution = decode(&json!({
            "id": "E", "application": "demo", "status": "HIBERNATING", "buildTime": "yesterday", "name": 7,
            "trigger": [1], "paused": "no", "startTime": null, "surprise": {"a": 1},
            "stages": [
                3,
                {"id": "1", "status": "TERMINAL", "context": "none", "tasks": [{"status": 1}], "requisiteStageRefIds": [1, "2"]},
                {"status": "RUNNING"},
            ],
        }))
        .unwrap();
        assert_eq!(execution.status, Status::Other("HIBERNATING".to_owned()));
        assert!(!execution.status.is_complete());
        assert_eq!(execution.build_time, None);
        assert_eq!(execution.correlation_id(), None);
        assert_eq!(execution.stages.len(), 2);
        assert_eq!(execution.stages[0].requisite_stage_ref_ids, ["2"]);
    }

    #[test]
    fn the_correlation_id_is_in_the_trigger() {
        let value = json!({
            "id": "E", "application": "demo", "status": "RUNNING", "trigger": {"correlationId": "fd-1"},
        });
        let execution = decode(&value).unwrap();
        assert_eq!(execution.correlation_id(), Some("fd-1"));
    }

    #[test]
    fn every_known_word_survives_the_way_there_and_back() {
        for word in [
            "NOT_STARTED",
            "RUNNING",
            "PAUSED",
            "SUSPENDED",
            "REDIRECT",
            "BUFFERED",
            "SUCCEEDED",
            "FAILED_CONTINUE",
            "TERMINAL",
            "CANCELED",
            "STOPPED",
            "SKIPPED",
            "NEW",
        ] {
            let Ok(status) = word.parse::<Status>();
            assert_eq!(status.as_str(), word);
            assert_eq!(matches!(status, Status::Other(_)), word == "NEW");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Execution::decode(&body);
        }
    }
}
