//! What Spinnaker's pipelines probably mean to foredeck: Applications, Environments, and what a connection would have to allow.
//! Guesses, each with where it comes from. Touches nothing.

pub mod names;
pub mod page;
pub mod parameters;
pub mod places;

use std::collections::BTreeSet;

use self::{
    parameters::{Fate, ParameterGuess},
    places::Places,
};
use crate::{api::bounds, spinnaker::PipelineConfig};

/// Actions of one Application at most.
const MOST_ACTIONS: usize = 16;

/// An Application that there probably is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationGuess {
    /// Spinnaker's name for it.
    pub spinnaker: String,
    /// Its actions, by name.
    pub actions: Vec<ActionGuess>,
    /// What was left out, and why: sentences.
    pub left_out: Vec<String>,
    /// Where its pipelines deploy to.
    pub places: Places,
}

/// An action that there probably is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionGuess {
    /// Its name.
    pub verb: String,
    /// The pipeline's name, or its id where the name can't stand in an Application.
    pub pipeline: String,
    /// The pipeline's name, where its id stands for it.
    pub called: Option<String>,
    /// What becomes of its parameters.
    pub parameters: Vec<ParameterGuess>,
}

/// What one application's pipelines come to, whatever order Gate lists them in.
pub fn application(spinnaker: &str, mut pipelines: Vec<PipelineConfig>) -> ApplicationGuess {
    pipelines.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let mut guess = ApplicationGuess {
        spinnaker: spinnaker.to_owned(),
        actions: Vec::new(),
        left_out: Vec::new(),
        places: Places::default(),
    };
    let mut taken = BTreeSet::new();
    let names: Vec<String> = pipelines
        .iter()
        .map(|pipeline| pipeline.name.clone())
        .collect();
    for pipeline in pipelines {
        let left_out = |why: &str| format!("pipeline {:?}: {why}", bounds::cut(&pipeline.name, 80));
        if !pipeline.application.eq_ignore_ascii_case(spinnaker) {
            let whose = bounds::cut(&pipeline.application, 80);
            guess.left_out.push(left_out(&format!(
                "it belongs to the application {whose:?}"
            )));
            continue;
        }
        if pipeline.disabled {
            guess.left_out.push(left_out("it is disabled in Spinnaker"));
            continue;
        }
        if hides_parameters(&pipeline) {
            guess.left_out.push(left_out(
                "its parameters are its template's, and Gate doesn't show them: add it by hand",
            ));
            continue;
        }
        if guess.actions.len() == MOST_ACTIONS {
            guess.left_out.push(left_out(&format!(
                "an Application has {MOST_ACTIONS} actions at most"
            )));
            continue;
        }
        let twice = names.iter().filter(|name| **name == pipeline.name).count() > 1;
        let by_name = !twice && is_plain(&pipeline.name);
        if !by_name && !is_id(&pipeline.id) {
            guess.left_out.push(left_out(
                "neither its name nor its id can stand in an Application",
            ));
            continue;
        }
        let verb = names::verb(&pipeline.name, &taken);
        taken.insert(verb.clone());
        guess.places.add(&pipeline);
        guess.actions.push(ActionGuess {
            verb,
            parameters: parameters::parameters(&pipeline),
            called: (!by_name).then(|| pipeline.name.clone()),
            pipeline: if by_name { pipeline.name } else { pipeline.id },
        });
    }
    guess.actions.sort_by(|a, b| a.verb.cmp(&b.verb));
    guess
}

impl ApplicationGuess {
    /// How many parameters somebody has to say.
    pub fn todos(&self) -> usize {
        let parameters = self.actions.iter().flat_map(|action| &action.parameters);
        parameters
            .filter(|parameter| parameter.fate == Fate::Todo)
            .count()
    }
}

/// A pipeline made of a template, whose parameters Gate doesn't list.
fn hides_parameters(pipeline: &PipelineConfig) -> bool {
    let text = |key: &str| pipeline.raw.get(key).and_then(serde_json::Value::as_str);
    let templated = text("type") == Some("templatedPipeline")
        || (text("schema") == Some("v2") && pipeline.raw.get("template").is_some());
    templated && pipeline.parameters.is_empty()
}

/// Whether a pipeline can be named by this: it is no template of ours, Gate takes it in an address, and it is one line.
fn is_plain(name: &str) -> bool {
    name.trim() == name
        && (1..=bounds::NAME).contains(&name.chars().count())
        && !["{{", "{%", "{#", "${"]
            .iter()
            .any(|sign| name.contains(sign))
        && !name
            .chars()
            .any(|char| char.is_control() || matches!(char, '/' | '%' | ';' | '\\'))
        && !matches!(name, "." | "..")
}

fn is_id(id: &str) -> bool {
    (1..=bounds::NAME).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
pub(crate) mod testing {
    use serde_json::Value;

    use crate::spinnaker::PipelineConfig;

    pub(crate) fn pipeline(raw: &Value) -> PipelineConfig {
        PipelineConfig::from_json(raw.clone()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pipelines_become_actions_and_what_cant_is_named() {
        let pipelines = [
            json!({"id": "1", "name": "Deploy", "application": "shop"}),
            json!({"id": "2", "name": "Off", "application": "shop", "disabled": true}),
            json!({"id": "3", "name": "{{ evil }}", "application": "Shop"}),
            json!({"id": "4", "name": "Templated", "application": "shop", "type": "templatedPipeline"}),
            json!({"id": "5", "name": "Foreign", "application": "other"}),
            json!({"id": "6 7", "name": "a/b", "application": "shop"}),
            json!({"id": "8", "name": "deploy!", "application": "shop"}),
            json!({"id": "9", "name": "Twice", "application": "shop"}),
            json!({"id": "10", "name": "Twice", "application": "shop"}),
        ];
        let guess = application("shop", pipelines.iter().map(testing::pipeline).collect());
        let actions: Vec<(&str, &str)> = guess
            .actions
            .iter()
            .map(|action| (action.verb.as_str(), action.pipeline.as_str()))
            .collect();
        assert_eq!(
            actions,
            [
                ("deploy", "Deploy"),
                ("deploy-2", "deploy!"),
                ("evil", "3"),
                ("twice", "10"),
                ("twice-2", "9")
            ]
        );
        assert_eq!(guess.left_out.len(), 4, "{:?}", guess.left_out);
        let mut backwards: Vec<_> = pipelines.iter().map(testing::pipeline).collect();
        backwards.reverse();
        assert_eq!(application("shop", backwards), guess);
    }

    #[test]
    fn an_application_has_so_many_actions_and_no_more() {
        let pipelines = (0..30).map(|at| {
            testing::pipeline(
                &json!({"id": format!("{at}"), "name": format!("P{at:02}"), "application": "shop"}),
            )
        });
        let guess = application("shop", pipelines.collect());
        assert_eq!((guess.actions.len(), guess.left_out.len()), (16, 14));
    }
}
