//! Pipeline configs to put into the stand-in: parameters, and stages with a script of how they go. Touches nothing.
//!
//! A script travels inside the stage's JSON (key `standIn`), because a client of `POST /pipelines/start` sends the whole
//! config back and Orca runs what it is sent. The key never shows in an execution.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::artifacts::ExpectedArtifact;

/// Where the script of a stage sits in its JSON.
pub(super) const SCRIPT_KEY: &str = "standIn";

/// Where Orca puts the text of a failure; each place is one that a real failing stage uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePlace {
    /// `context.exception.details.errors[]`, as a Kubernetes deployment does.
    ExceptionErrors,
    /// `context.exception.details.error` with empty `errors`, as a task that threw does.
    ExceptionError,
    /// `context["kato.tasks"][-1].exception.message`, as a failed Clouddriver operation does.
    KatoTasks,
    /// The last entry of `context["kato.tasks"][-1].history`, when Clouddriver gives no exception.
    KatoHistory,
    /// `context.failureMessage`, as a script or a Jenkins stage does.
    FailureMessage,
    /// `context.webhook.error`.
    Webhook,
    /// `context.expressionEvaluationSummary`, as an expression that cannot be evaluated does.
    Expression,
    /// `context.failedManifests` and `context.messages`, as a manifest that never became stable does.
    FailedManifests,
    /// `tasks[].taskExceptionDetails.exception`.
    TaskException,
    /// No text anywhere.
    Nowhere,
}

impl FailurePlace {
    pub(super) const ALL: [(Self, &str); 10] = [
        (Self::ExceptionErrors, "exceptionErrors"),
        (Self::ExceptionError, "exceptionError"),
        (Self::KatoTasks, "katoTasks"),
        (Self::KatoHistory, "katoHistory"),
        (Self::FailureMessage, "failureMessage"),
        (Self::Webhook, "webhook"),
        (Self::Expression, "expression"),
        (Self::FailedManifests, "failedManifests"),
        (Self::TaskException, "taskException"),
        (Self::Nowhere, "nowhere"),
    ];

    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(place, _)| *place == self)
            .map_or("nowhere", |(_, word)| word)
    }

    pub(super) fn from_word(word: &str) -> Self {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == word)
            .map_or(Self::Nowhere, |(place, _)| *place)
    }
}

/// One stage of a pipeline. Stages run one after the other unless [`Stage::after`] says otherwise.
#[derive(Debug, Clone)]
pub struct Stage {
    body: Map<String, Value>,
    script: Map<String, Value>,
}

impl Stage {
    /// A stage of any type, as its JSON in the config. Types without a script succeed at once.
    pub fn of_type(kind: &str, name: &str) -> Self {
        let mut body = Map::new();
        body.insert("type".into(), kind.into());
        body.insert("name".into(), name.into());
        Self {
            body,
            script: Map::new(),
        }
    }

    /// A `wait` stage. Fractions of a second are kept, which a real Orca would refuse.
    pub fn wait(name: &str, time: Duration) -> Self {
        let seconds = if time.subsec_nanos() == 0 {
            json!(time.as_secs())
        } else {
            json!(time.as_secs_f64())
        };
        Self::of_type("wait", name).with("waitTime", seconds)
    }

    /// A `deployManifest` stage that succeeds after the given time.
    pub fn deploy(name: &str, time: Duration) -> Self {
        Self::of_type("deployManifest", name)
            .with("cloudProvider", json!("kubernetes"))
            .scripted("seconds", json!(time.as_secs_f64()))
    }

    /// A `deployManifest` stage that stays RUNNING until it is cancelled or the handle finishes it.
    pub fn held(name: &str) -> Self {
        Self::of_type("deployManifest", name)
            .with("cloudProvider", json!("kubernetes"))
            .scripted("held", json!(true))
    }

    /// A `deployManifest` stage that fails with the text where a Kubernetes deployment puts it.
    pub fn fail(name: &str, text: &str) -> Self {
        Self::fail_in(name, FailurePlace::ExceptionErrors, text)
    }

    /// A stage that fails with the text in the given place.
    pub fn fail_in(name: &str, place: FailurePlace, text: &str) -> Self {
        let kind = match place {
            FailurePlace::Webhook => "webhook",
            FailurePlace::Expression => "evaluateVariables",
            FailurePlace::FailureMessage => "script",
            _ => "deployManifest",
        };
        let stage = Self::of_type(kind, name)
            .scripted("fail", json!(text))
            .scripted("place", json!(place.word()));
        match place {
            FailurePlace::Webhook => stage
                .with("url", json!("http://hooks.internal:8080/nf"))
                .with("method", json!("POST"))
                .with("payload", json!({}))
                .with("waitForCompletion", json!(false)),
            FailurePlace::Expression => stage.with(
                "variables",
                json!([{"key": "value", "value": "${nosuch.thing}"}]),
            ),
            _ => stage,
        }
    }

    /// A `checkPreconditions` stage with one expression, such as `1 == 2`. When the expression is false, the message
    /// ends up in the synthetic child's `context.context.failureMessage` and in no other usual place.
    pub fn precondition(name: &str, expression: &str, failure_message: &str) -> Self {
        Self::of_type("checkPreconditions", name).with(
            "preconditions",
            json!([{
                "type": "expression",
                "failPipeline": true,
                "context": {"expression": expression, "failureMessage": failure_message},
            }]),
        )
    }

    /// A `manualJudgment` stage offering the given inputs.
    pub fn judgment<'a>(
        name: &str,
        instructions: &str,
        inputs: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let inputs: Vec<Value> = inputs
            .into_iter()
            .map(|value| json!({"value": value}))
            .collect();
        Self::of_type("manualJudgment", name)
            .with("instructions", json!(instructions))
            .with("judgmentInputs", Value::Array(inputs))
            .with("notifications", json!([]))
    }

    /// A `pipeline` stage that runs another pipeline and waits for it.
    pub fn pipeline(name: &str, application: &str, config_id: &str) -> Self {
        Self::of_type("pipeline", name)
            .with("application", json!(application))
            .with("pipeline", json!(config_id))
            .with("pipelineParameters", json!({}))
            .with("waitForCompletion", json!(true))
    }

    /// An `evaluateVariables` stage.
    pub fn evaluate_variables<'a>(
        name: &str,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let variables: Vec<Value> = variables
            .into_iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        Self::of_type("evaluateVariables", name)
            .with("failOnFailedExpressions", json!(true))
            .with("variables", Value::Array(variables))
    }

    /// Adds a field of the stage's JSON.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.body.insert(key.into(), value);
        self
    }

    /// Runs the stage after the given ones, by their 1-based position, instead of after the previous one.
    #[must_use]
    pub fn after(self, positions: impl IntoIterator<Item = usize>) -> Self {
        let references: Vec<Value> = positions
            .into_iter()
            .map(|position| json!(position.to_string()))
            .collect();
        self.with("requisiteStageRefIds", Value::Array(references))
    }

    /// How long the stage runs before it ends as its script says.
    #[must_use]
    pub fn taking(self, time: Duration) -> Self {
        self.scripted("seconds", json!(time.as_secs_f64()))
    }

    /// Lets a failing stage fail only this many times: a restart after that succeeds.
    #[must_use]
    pub fn failing_times(self, times: u32) -> Self {
        self.scripted("failTimes", json!(times))
    }

    /// "If the stage fails, ignore it": it ends `FAILED_CONTINUE` and the pipeline goes on.
    #[must_use]
    pub fn ignoring_failure(self) -> Self {
        self.with("failPipeline", json!(false))
            .with("continuePipeline", json!(true))
    }

    fn scripted(mut self, key: &str, value: Value) -> Self {
        self.script.insert(key.into(), value);
        self
    }

    fn into_json(mut self, position: usize) -> Value {
        self.body
            .entry("refId")
            .or_insert_with(|| json!(position.to_string()));
        self.body
            .entry("requisiteStageRefIds")
            .or_insert_with(|| match position {
                1 => json!([]),
                _ => json!([(position - 1).to_string()]),
            });
        if !self.script.is_empty() {
            self.body
                .insert(SCRIPT_KEY.into(), Value::Object(self.script));
        }
        Value::Object(self.body)
    }
}

/// A pipeline's parameter (`parameterConfig[]`). Neither Gate nor Orca checks values against it.
#[derive(Debug, Clone)]
pub struct Parameter(Map<String, Value>);

impl Parameter {
    /// An optional parameter without a default.
    pub fn new(name: &str) -> Self {
        let mut body = Map::new();
        body.insert("name".into(), name.into());
        body.insert("label".into(), "".into());
        body.insert("required".into(), false.into());
        body.insert("hasOptions".into(), false.into());
        body.insert("options".into(), json!([]));
        Self(body)
    }

    /// Makes it required.
    #[must_use]
    pub fn required(self) -> Self {
        self.with("required", json!(true))
    }

    /// Gives it a default.
    #[must_use]
    pub fn default_value(self, value: &str) -> Self {
        self.with("default", json!(value))
    }

    /// Gives it options to choose from.
    #[must_use]
    pub fn options<'a>(self, values: impl IntoIterator<Item = &'a str>) -> Self {
        let options: Vec<Value> = values
            .into_iter()
            .map(|value| json!({"value": value}))
            .collect();
        self.with("hasOptions", json!(true))
            .with("options", Value::Array(options))
    }

    /// Adds a field of the parameter's JSON.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.into(), value);
        self
    }
}

/// A pipeline config.
#[derive(Debug, Clone)]
pub struct Pipeline {
    body: Map<String, Value>,
    parameters: Vec<Value>,
    stages: Vec<Stage>,
}

impl Pipeline {
    /// A pipeline without parameters and stages; the stand-in gives it a UUID unless [`Pipeline::id`] does.
    pub fn new(application: &str, name: &str) -> Self {
        let mut body = Map::new();
        body.insert("application".into(), application.into());
        body.insert("name".into(), name.into());
        body.insert("keepWaitingPipelines".into(), false.into());
        body.insert("limitConcurrent".into(), false.into());
        body.insert("spelEvaluator".into(), "v4".into());
        body.insert("triggers".into(), json!([]));
        Self {
            body,
            parameters: Vec::new(),
            stages: Vec::new(),
        }
    }

    /// Sets the config id.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.with("id", json!(id))
    }

    /// Adds a parameter.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(Value::Object(parameter.0));
        self
    }

    /// Adds an artifact that it expects.
    #[must_use]
    pub fn expects(mut self, artifact: ExpectedArtifact) -> Self {
        let all = self
            .body
            .entry("expectedArtifacts")
            .or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push(Value::Object(artifact.0));
        }
        self
    }

    /// Adds a stage.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Disables it.
    #[must_use]
    pub fn disabled(self) -> Self {
        self.with("disabled", json!(true))
    }

    /// Allows one running execution; of those that wait the newest wins, unless all are kept waiting.
    #[must_use]
    pub fn limit_concurrent(self, keep_waiting: bool) -> Self {
        self.with("limitConcurrent", json!(true))
            .with("keepWaitingPipelines", json!(keep_waiting))
    }

    /// Adds a field of the config's JSON.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.body.insert(key.into(), value);
        self
    }

    /// The config as `POST /pipelines` takes it.
    pub fn into_json(mut self) -> Value {
        let stages = self
            .stages
            .into_iter()
            .zip(1..)
            .map(|(stage, position)| stage.into_json(position))
            .collect();
        self.body.insert("stages".into(), Value::Array(stages));
        self.body
            .insert("parameterConfig".into(), Value::Array(self.parameters));
        Value::Object(self.body)
    }
}
