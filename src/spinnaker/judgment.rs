//! Manual judgments: the stages of an execution at which it waits for a person, and the answer as Gate takes it.
//! Touches nothing.

use serde_json::{Map, Value, json};

use super::{
    lenient,
    markup::readable,
    model::{Execution, Stage, Status},
    text::clean,
};
use crate::api::{
    bounds,
    deploy_approval::{ApprovalDecision, JudgmentAnswer},
    deploy_request::Judgment,
};

/// Orca's type of a stage that waits for a person.
pub(super) const MANUAL_JUDGMENT: &str = "manualJudgment";
/// Our key in a judged stage's context. `lastModifiedBy` is Spinnaker's own: the account that Foredeck logs in with.
const MARK: &str = "foredeck";

/// A stage at which somebody decides whether the pipeline goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgmentStage {
    /// What it tells people and asks for; nothing but its id and name while it is [`Moment::Unread`].
    pub judgment: Judgment,
    /// Where it is.
    pub moment: Moment,
    /// What its context says of an answer, whoever gave it and whatever became of it.
    pub given: Option<Given>,
    /// When somebody last restarted it, in milliseconds since 1970.
    pub restarted_at: Option<i64>,
}

/// Where a judgment stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Its turn has not come, or it is paused.
    Ahead,
    /// It runs, and was read without its context and its tasks.
    Unread,
    /// It runs and its task doesn't yet. An answer that comes now is acknowledged and lost: Orca writes back the stage as
    /// it had read it before (observed on Gate 2026.1.2).
    Opening,
    /// It waits for an answer.
    Waiting,
    /// It has an answer, and Orca has yet to act on it.
    Answered,
    /// It ended. An answer that comes now is acknowledged, and falsifies the record.
    Over,
}

/// An answer as a stage's context shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// `continue` or `stop`. Absent where it was taken back: Orca does so when the account that gave it has none of the
    /// stage's roles.
    pub decision: Option<ApprovalDecision>,
    /// The input that was chosen.
    pub input: Option<String>,
    /// Spinnaker's user who gave it.
    pub by: Option<String>,
    /// The `DeployApproval` that it was, where it came from Foredeck.
    pub approval: Option<String>,
}

impl Execution {
    /// Its judgment stages, in the pipeline's order.
    pub fn judgments(&self) -> Vec<JudgmentStage> {
        self.ordered_stages()
            .into_iter()
            .chain(self.stages.iter().filter(|stage| stage.is_synthetic()))
            .filter(|stage| stage.kind == MANUAL_JUDGMENT)
            .map(Stage::judgment)
            .collect()
    }

    /// Whether one of its judgment stages runs.
    pub fn is_at_a_judgment(&self) -> bool {
        let runs = |stage: &Stage| stage.kind == MANUAL_JUDGMENT && stage.status == Status::Running;
        self.stages.iter().any(runs)
    }
}

impl Stage {
    fn judgment(&self) -> JudgmentStage {
        let given = self.given();
        let answered = given.as_ref().is_some_and(|given| given.decision.is_some());
        let moment = match (&self.status, self.tasks.first()) {
            (status, _) if status.is_complete() => Moment::Over,
            (Status::Running, None) => Moment::Unread,
            (Status::Running, Some(task)) if task.status == Status::NotStarted => Moment::Opening,
            (Status::Running, Some(_)) if answered => Moment::Answered,
            (Status::Running, Some(task)) if task.status == Status::Running => Moment::Waiting,
            (Status::Running, Some(_)) => Moment::Answered,
            _ => Moment::Ahead,
        };
        let instructions = self
            .context
            .get("instructions")
            .and_then(Value::as_str)
            .map(readable)
            .filter(|text| !text.is_empty());
        JudgmentStage {
            judgment: Judgment {
                stage: bounds::cut(&self.id, bounds::NAME),
                name: bounds::cut(&clean(self.label()), bounds::NAME),
                instructions,
                inputs: self.inputs(),
                roles: self.roles(),
                answer: None,
            },
            moment,
            given,
            restarted_at: self
                .context
                .get("restartDetails")
                .and_then(|details| details.get("restartTime"))
                .and_then(Value::as_i64),
        }
    }

    /// What `judgmentInputs: [{"value": …}]` offers. One that is longer than an approval can say is left to Deck.
    fn inputs(&self) -> Vec<String> {
        let listed = self.context.get("judgmentInputs").and_then(Value::as_array);
        let mut inputs = Vec::new();
        for entry in listed.into_iter().flatten() {
            let value = entry.get("value").and_then(lenient::scalar);
            if let Some(value) = value
                && !value.trim().is_empty()
                && value.chars().count() <= bounds::VALUE
                && !inputs.contains(&value)
                && inputs.len() < bounds::INPUTS
            {
                inputs.push(value);
            }
        }
        inputs
    }

    /// As Orca reads them: `requiredJudgmentRoles`, and where that is empty what Deck writes, `selectedStageRoles`. Each
    /// is kept, if cut: a role that nobody can be mapped to keeps everybody out, as it should.
    fn roles(&self) -> Vec<String> {
        ["requiredJudgmentRoles", "selectedStageRoles"]
            .into_iter()
            .map(|key| {
                let listed = self.context.get(key).and_then(Value::as_array);
                let listed = listed.into_iter().flatten().filter_map(lenient::scalar);
                listed
                    .map(|role| bounds::cut(&role, bounds::NAME))
                    .take(bounds::INPUTS)
                    .collect::<Vec<_>>()
            })
            .find(|roles| !roles.is_empty())
            .unwrap_or_default()
    }

    fn given(&self) -> Option<Given> {
        let text = |value: Option<&Value>, most| {
            let text = value.and_then(Value::as_str)?.trim();
            (!text.is_empty()).then(|| bounds::cut(text, most))
        };
        let status = self.context.get("judgmentStatus")?.as_str()?;
        let mark = self.context.get(MARK);
        Some(Given {
            // As Orca reads it, which takes any other word for none.
            decision: match status.to_lowercase().as_str() {
                "continue" => Some(ApprovalDecision::Approve),
                "stop" => Some(ApprovalDecision::Reject),
                _ => None,
            },
            input: text(self.context.get("judgmentInput"), bounds::VALUE),
            by: text(self.context.get("lastModifiedBy"), bounds::NAME),
            approval: text(mark.and_then(|mark| mark.get("approval")), bounds::NAME),
        })
    }
}

/// Orca's word for a decision.
pub fn verdict(decision: ApprovalDecision) -> &'static str {
    match decision {
        ApprovalDecision::Approve => "continue",
        ApprovalDecision::Reject => "stop",
    }
}

/// What is merged into the stage's context: the verdict, the input, and who gave it, by which `DeployApproval`.
pub(super) fn patch(
    answer: &JudgmentAnswer,
    decision: ApprovalDecision,
    approval: &str,
    judged_by: &str,
) -> Value {
    let mut patch = Map::new();
    patch.insert("judgmentStatus".to_owned(), json!(verdict(decision)));
    if let Some(input) = &answer.input {
        patch.insert("judgmentInput".to_owned(), json!(input));
    }
    // Orca would evaluate it as an expression, wherever the context is read.
    let judged_by = judged_by.replace("${", "$ {");
    patch.insert(
        MARK.to_owned(),
        json!({"judgedBy": judged_by, "approval": approval}),
    );
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stage(status: &str, task: &str, context: &Value) -> JudgmentStage {
        let body = json!({"id": "E", "application": "shop", "status": "RUNNING", "stages": [{
            "id": "S", "refId": "1", "type": MANUAL_JUDGMENT, "name": "Looks good?", "status": status,
            "context": context, "tasks": [{"name": "waitForJudgment", "status": task}],
        }]});
        let execution: Execution = serde_json::from_value(body).unwrap();
        execution.judgments().remove(0)
    }

    #[test]
    fn a_stage_tells_people_in_plain_words_and_offers_each_input_once() {
        let stage = stage(
            "RUNNING",
            "RUNNING",
            &json!({
                "instructions": "<b>Look</b> at the dashboard.<br>Then decide &amp; answer.",
                "judgmentInputs": [{"value": "eu"}, {"value": 7}, {"value": " "}, {"value": "eu"}, "us", {"value": "x".repeat(2_000)}],
                "selectedStageRoles": ["qa", "release managers"],
                "requiredJudgmentRoles": [],
            }),
        );
        assert_eq!(stage.moment, Moment::Waiting);
        assert_eq!(stage.judgment.stage, "S");
        assert_eq!(stage.judgment.name, "Looks good?");
        assert_eq!(
            stage.judgment.instructions.as_deref(),
            Some("Look at the dashboard.\nThen decide & answer.")
        );
        assert_eq!(stage.judgment.inputs, ["eu", "7"]);
        assert_eq!(stage.judgment.roles, ["qa", "release managers"]);
        assert_eq!(stage.given, None);
    }

    #[test]
    fn it_waits_only_while_its_first_task_runs_and_nobody_has_answered() {
        let rows = [
            ("NOT_STARTED", "NOT_STARTED", json!({}), Moment::Ahead),
            ("PAUSED", "PAUSED", json!({}), Moment::Ahead),
            ("RUNNING", "NOT_STARTED", json!({}), Moment::Opening),
            // The answer stands there until Orca writes back what it had read before.
            (
                "RUNNING",
                "NOT_STARTED",
                json!({"judgmentStatus": "continue"}),
                Moment::Opening,
            ),
            ("RUNNING", "RUNNING", json!({}), Moment::Waiting),
            (
                "RUNNING",
                "RUNNING",
                json!({"judgmentStatus": "banana"}),
                Moment::Waiting,
            ),
            (
                "RUNNING",
                "RUNNING",
                json!({"judgmentStatus": "Continue"}),
                Moment::Answered,
            ),
            ("RUNNING", "SUCCEEDED", json!({}), Moment::Answered),
            ("SUCCEEDED", "SUCCEEDED", json!({}), Moment::Over),
            ("TERMINAL", "TERMINAL", json!({}), Moment::Over),
            ("CANCELED", "RUNNING", json!({}), Moment::Over),
        ];
        for (status, task, context, moment) in rows {
            assert_eq!(
                stage(status, task, &context).moment,
                moment,
                "{status} {task} {context}"
            );
        }
    }

    #[test]
    fn without_its_tasks_a_running_stage_is_not_answered() {
        let body = json!({"id": "E", "application": "shop", "status": "RUNNING", "stages": [
            {"id": "S", "type": MANUAL_JUDGMENT, "status": "RUNNING", "context": {}, "tasks": []},
        ]});
        let execution: Execution = serde_json::from_value(body).unwrap();
        assert!(execution.is_at_a_judgment());
        assert_eq!(execution.judgments()[0].moment, Moment::Unread);
    }

    #[test]
    fn an_answer_shows_who_gave_it_and_whether_it_was_ours() {
        let answer = JudgmentAnswer {
            execution: "E".to_owned(),
            stage: "S".to_owned(),
            input: Some("eu".to_owned()),
        };
        let mut context = patch(&answer, ApprovalDecision::Reject, "a", "alice ${x}");
        assert_eq!(context["foredeck"]["judgedBy"], "alice $ {x}");
        context["lastModifiedBy"] = json!("foredeck");
        let ours = stage("TERMINAL", "TERMINAL", &context);
        let expected = Given {
            decision: Some(ApprovalDecision::Reject),
            input: Some("eu".to_owned()),
            by: Some("foredeck".to_owned()),
            approval: Some("a".to_owned()),
        };
        assert_eq!(ours.given, Some(expected));
        // Of another account than the roles allow: Orca takes the verdict away and leaves the rest.
        context["judgmentStatus"] = json!("");
        let refused = stage("RUNNING", "RUNNING", &context);
        assert_eq!(refused.moment, Moment::Waiting);
        let given = refused.given.unwrap();
        assert_eq!(
            (given.decision, given.approval.as_deref()),
            (None, Some("a"))
        );
    }

    proptest! {
        #[test]
        fn no_context_makes_it_panic(key in "instructions|judgmentInputs|selectedStageRoles|judgmentStatus|foredeck|restartDetails",
            text in ".{0,200}", shape in 0..4_u8) {
            let value = match shape {
                0 => json!(text),
                1 => json!([text, {"value": text}]),
                2 => json!({"approval": text, "restartTime": text}),
                _ => json!(7),
            };
            let stage = stage("RUNNING", "RUNNING", &json!({key: value}));
            prop_assert!(stage.judgment.inputs.len() <= 1);
        }
    }
}
