//! `Application`: what can be deployed. Touches nothing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{artifact::Artifact, bounds, version::Repository};

/// What can be deployed: its Spinnaker application, and per action the pipeline and how a request's fields become its
/// parameters.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "foredeck.dev",
    version = "v1alpha1",
    kind = "Application",
    namespaced,
    status = "ApplicationStatus",
    shortname = "fdapp",
    category = "foredeck",
    derive = "PartialEq",
    printcolumn(
        name = "Spinnaker",
        type_ = "string",
        json_path = ".spec.spinnakerApplication"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSpec {
    /// Spinnaker's name for it; by default this object's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub spinnaker_application: Option<String>,
    /// Where its commits are: then a branch, a tag or a short SHA becomes one commit before anything starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// What can be done with it: `deploy`, `rollback`, `restart`, or any other name.
    #[schemars(schema_with = "actions")]
    pub actions: BTreeMap<String, Action>,
    /// Its team in Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<ApplicationSlack>,
}

/// An application's team in Slack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSlack {
    /// The ids of the channels in which its bare name means this application, whatever other teams call theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        inner(length(max = 32), regex(pattern = "^[A-Z0-9]{2,32}$"))
    )]
    pub channels: Vec<String>,
}

/// An action's name is a verb of access control and a word of the command in Slack, so Kubernetes' own verbs and
/// foredeck's are not to be had, nor what the command itself understands as something else.
fn actions(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let action = generator.subschema_for::<Action>();
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 16,
        "additionalProperties": action,
        "x-kubernetes-validations": [{
            "rule": "self.all(name, name.matches('^[a-z][a-z0-9-]{1,30}$') && !(name in ['get', 'list', 'watch', \
                'create', 'update', 'patch', 'delete', 'deletecollection', 'impersonate', 'bind', 'escalate', 'use', \
                'approve', 'cancel', 'lock', 'override', 'judge', 'unlock', 'stop-all', 'resume-all', 'why']))",
            "message": "an action is 2 to 31 lower-case letters, digits and dashes, no verb of Kubernetes' or foredeck's own \
                (get, list, create, …, approve, cancel, lock, override, judge), and no word of the command in Slack \
                (unlock, stop-all, resume-all, why)",
        }],
    })
}

/// One thing that can be done: a pipeline, and what it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// The pipeline's name or id; a template.
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub pipeline: String,
    /// The pipeline's parameters; templates over `application`, `environment`, `target`, `version`, `commit`,
    /// `short_commit`, `previous`, `action`, `reason`, `request`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::deploy_request::parameters")]
    pub parameters: BTreeMap<String, String>,
    /// The artifacts that the pipeline gets, each field a template as the parameters are. They have to match what the
    /// pipeline expects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::ARTIFACTS))]
    pub artifacts: Vec<Artifact>,
    /// Whether the pipeline may use its default, or an earlier execution's, for an artifact that it expects and doesn't get:
    /// that is an old one, and nobody is told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_default_artifact: bool,
    /// The names of parameters whose values are shown nowhere but in the request itself and in Spinnaker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::PARAMETERS), inner(length(min = 1, max = bounds::NAME)))]
    pub secret_parameters: Vec<String>,
}

/// What the controller found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Per action and environment, the pipeline as Spinnaker has it: forms and early validation need no Gate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::PIPELINES))]
    pub pipelines: Vec<PipelineDescription>,
}

/// A pipeline as Spinnaker has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineDescription {
    /// The action.
    #[schemars(length(max = bounds::LABEL))]
    pub action: String,
    /// The Environment.
    #[schemars(length(max = bounds::NAME))]
    pub environment: String,
    /// Its name.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// Its id; absent while it can't be found, as `problem` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub id: Option<String>,
    /// Switched off in Spinnaker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::PARAMETERS))]
    pub parameters: Vec<ParameterDescription>,
    /// It has parameters that are not shown: there are too many, or too long ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// Why a request for it would fail now, or why only a request can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub problem: Option<String>,
}

/// A parameter as the pipeline declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterDescription {
    /// Its name.
    #[schemars(length(max = bounds::NAME))]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub description: Option<String>,
    /// What it is when nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE))]
    pub default: Option<String>,
    /// Whether somebody has to say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The only values that it takes; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::OPTIONS), inner(length(max = bounds::VALUE)))]
    pub options: Vec<String>,
    /// It takes options that are not shown, or its default is shown cut: there is too much of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}
