//! `slack_sdk.models`, which knows what Slack takes for a block, a view and an option: a judge of what is sent. Touches a
//! process.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Python, Script};
use crate::StandInSlack;
use crate::provision::Places;

/// It answers in milliseconds, but for its start.
const PATIENCE: Duration = Duration::from_secs(30);

/// The judge. It ends with this value.
#[derive(Debug)]
pub struct SlackModels(Script);

impl SlackModels {
    /// Starts it; `None` if Python was left out on request.
    ///
    /// # Errors
    /// When there is no Python that will do.
    pub async fn fetch() -> Result<Option<Self>> {
        let Some(python) = Python::fetch().await? else {
            return Ok(None);
        };
        let script = Places::find()?
            .testkit
            .join("toolbox")
            .join("python")
            .join("models.py");
        Ok(Some(Self(python.run(&script, &[])?)))
    }

    /// What is wrong with `{"blocks": […]}`, `{"view": {…}}` or `{"options": […]}`; nothing if Slack takes it as it is.
    pub async fn problems(&mut self, sent: &Value) -> Result<Vec<String>> {
        self.0.tell(sent).await?;
        let answer = self.0.next(PATIENCE).await?;
        serde_json::from_value(answer["problems"].clone()).context("the judge makes no sense")
    }

    /// Judges everything that the app sent to the stand-in so far, and says how much that was.
    ///
    /// # Errors
    /// At the first thing that is wrong: shows it.
    pub async fn judge(&mut self, slack: &StandInSlack) -> Result<usize> {
        let sent = everything_sent(slack);
        for one in &sent {
            let problems = self.problems(one).await?;
            ensure!(problems.is_empty(), "{}: {one:#}", problems.join("; "));
        }
        Ok(sent.len())
    }
}

/// What the app sent that has a form: in its calls, to response URLs, in answers to deliveries.
fn everything_sent(slack: &StandInSlack) -> Vec<Value> {
    let mut sent = Vec::new();
    for call in slack.calls() {
        collect(&Value::Object(call.arguments), &mut sent);
    }
    for delivery in slack.deliveries() {
        for attempt in delivery.attempts() {
            let answers = [attempt.result.and_then(Result::ok), attempt.late];
            for answer in answers.into_iter().flatten() {
                collect(&answer.body.unwrap_or_default(), &mut sent);
            }
        }
    }
    sent
}

fn collect(body: &Value, sent: &mut Vec<Value>) {
    for name in ["blocks", "options", "view"] {
        // Over the socket, answers are in an envelope.
        for found in [&body[name], &body["payload"][name]] {
            if !found.is_null() {
                sent.push(json!({ name: found }));
            }
        }
    }
}
