//! The form: a modal with everything that can be chosen; what comes back of it is read in `read`. Touches nothing.
//!
//! What comes back is anybody's: each value is looked up among what was offered, and what it chooses is resolved and
//! authorised like a typed line.

mod read;

use std::collections::BTreeMap;

use kube::ResourceExt;

pub(super) use self::read::{blame, complete, fill_in, filled};
use super::{
    answer::planned::{self, Beside},
    plan::{Plan, shown::Shown},
    sight::Sight,
    versions,
};
use crate::{
    api::{
        Application,
        application::{ParameterDescription, PipelineDescription},
        deploy_request::DEFAULT_ACTION,
    },
    domain::ids,
    receiver::grammar::{ApplicationRef, Draft, Terms},
    slack::{
        actions,
        blocks::{Block, Input},
        elements::{Choice, DateTimePicker, ExternalSelect, PlainTextInput, StaticSelect},
        text::{Mrkdwn, Plain},
        view::View,
    },
};

const APPLICATION: &str = "application";
const ACTION: &str = "action";
const ENVIRONMENT: &str = "environment";
const REASON: &str = "reason";
const OVERRIDE: &str = "override";
/// The fields of the two times.
const AT: &str = "at";
const BEFORE: &str = "before";
/// Begins the id of a parameter's block.
const PARAMETER: &str = "parameter";
/// Begins the id of a block that brings back a parameter for which no field is known; the parameter's name follows.
const GIVEN: &str = "given:";
/// Characters of a parameter or a reason.
const MOST_VALUE: u16 = 1024;
/// Choices of one menu.
const MOST_CHOICES: usize = 100;

/// What stands in the form.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filled {
    /// The team and the application.
    pub(super) application: Option<(String, String)>,
    /// The rest.
    pub(super) draft: Draft,
    /// A branch was chosen of which nobody knows any more which one it was.
    pub(super) version_lost: bool,
}

/// The modal. `metadata` is the sealed plan that it edits.
pub(super) fn view(sight: &Sight, filled: &Filled, metadata: String, note: Option<Mrkdwn>) -> View {
    let mut blocks: Vec<Block> = note.into_iter().map(Block::section).collect();
    let application = filled
        .application
        .as_ref()
        .and_then(|(team, name)| sight.get::<Application>(team, name));
    blocks.push(choose_application(sight, filled));
    if let Some(application) = &application {
        let team = application.namespace().unwrap_or_default();
        let action = chosen_action(filled, application);
        blocks.extend(choose_action(application, &action));
        let environments = sight.environments(&team);
        blocks.extend(choose_environment(filled, &team, &environments));
        let version = filled.draft.version.as_deref();
        blocks.push(versions::field(Some(application), version));
        let environment = filled.draft.environment.as_deref().unwrap_or_default();
        let pipeline = pipeline(application, &action, environment);
        let open = pipeline.map(|pipeline| open_parameters(application, &action, pipeline));
        let open = open.unwrap_or_default();
        // Before the others: a modal ends after a hundred blocks, and what was typed must not be lost there.
        blocks.extend(write_given(&filled.draft.parameters, &open));
        if let Some(pipeline) = pipeline {
            for parameter in open {
                let id = block_of(
                    (&team, &application.name_any()),
                    &action,
                    environment,
                    &parameter.name,
                );
                let given = filled.draft.parameters.get(&parameter.name);
                blocks.push(write_parameter(id, parameter, given));
            }
            if pipeline.incomplete {
                blocks.push(Block::context([Mrkdwn::fixed(
                    "The pipeline has more parameters than fit here; type those behind the command.",
                )]));
            }
        }
        blocks.extend(choose_times(&filled.draft.terms));
        blocks.extend(write_override(&filled.draft.terms));
        blocks.push(write_reason(filled.draft.reason.as_deref()));
    } else {
        // What was said already stays until there is an application that it is for.
        let draft = &filled.draft;
        blocks.extend(
            draft
                .version
                .as_deref()
                .map(|it| versions::field(None, Some(it))),
        );
        blocks.extend(write_given(&draft.parameters, &[]));
        if draft
            .terms
            .not_before
            .or(draft.terms.start_before)
            .is_some()
        {
            blocks.extend(choose_times(&draft.terms));
        }
        blocks.extend(write_override(&draft.terms));
        blocks.extend(draft.reason.as_deref().map(|it| write_reason(Some(it))));
    }
    let view = View::modal(actions::FORM, "Plan a deployment", blocks)
        .submit("Show plan")
        .close("Close");
    // Sealed frames are short; without one the submission says that the form is too old.
    match view.clone().private_metadata(metadata) {
        Ok(view) => view,
        Err(_) => view,
    }
}

/// The action that a form says, or the one that it comes to.
pub(super) fn chosen_action(filled: &Filled, application: &Application) -> String {
    let wanted = filled.draft.action.as_deref().unwrap_or(DEFAULT_ACTION);
    let actions = &application.spec.actions;
    if actions.contains_key(wanted) {
        return wanted.to_owned();
    }
    actions.keys().next().cloned().unwrap_or_default()
}

fn choose_application(sight: &Sight, filled: &Filled) -> Block {
    let initial = filled.application.as_ref().and_then(|(team, name)| {
        Choice::new(label(sight, team, name), application_id(team, name)).ok()
    });
    let menu =
        ExternalSelect::new(actions::FORM_APPLICATION, "Choose an application").initial(initial);
    Input::new(APPLICATION, "Application", menu)
        .dispatching()
        .into()
}

fn label(sight: &Sight, team: &str, name: &str) -> String {
    if sight.sees_several() {
        format!("{team}/{name}")
    } else {
        name.to_owned()
    }
}

fn choose_action(application: &Application, chosen: &str) -> Option<Block> {
    let choices: Vec<Choice> = application
        .spec
        .actions
        .keys()
        .filter_map(|action| Choice::new(action.as_str(), action.as_str()).ok())
        .collect();
    if choices.len() < 2 {
        return None;
    }
    let menu = StaticSelect::new(actions::FORM_ACTION, "Choose an action", choices).initial(chosen);
    // Another application's actions are another field: else Slack would keep the old choice.
    let id = format!(
        "{ACTION}-{}",
        application_id(
            &application.namespace().unwrap_or_default(),
            &application.name_any()
        )
    );
    Some(Input::new(id, "Action", menu).dispatching().into())
}

fn choose_environment(filled: &Filled, team: &str, names: &[String]) -> Option<Block> {
    let choices: Vec<Choice> = names
        .iter()
        .take(MOST_CHOICES)
        .filter_map(|name| Choice::new(name.as_str(), name.as_str()).ok())
        .collect();
    if choices.is_empty() {
        return None;
    }
    let mut menu = StaticSelect::new(actions::FORM_ENVIRONMENT, "Choose an environment", choices);
    if let Some(environment) = &filled.draft.environment {
        menu = menu.initial(environment);
    }
    let id = environment_block(team);
    Some(Input::new(id, "Environment", menu).dispatching().into())
}

fn write_reason(reason: Option<&str>) -> Block {
    let reason = reason.unwrap_or_default();
    let field = PlainTextInput::new(actions::FORM_VALUE)
        .multiline()
        .max_length(MOST_VALUE);
    let field = field.clone().initial(reason).unwrap_or(field);
    Input::new(REASON, "Reason", field).optional().into()
}

/// When it may start, by the clock of whoever chooses.
fn choose_times(terms: &Terms) -> [Block; 2] {
    let fields = [
        (
            AT,
            "Not before",
            terms.not_before,
            "By your own clock. It can be approved before; when empty, it starts as soon as it may.",
        ),
        (
            BEFORE,
            "Not after",
            terms.start_before,
            "What has not started by then expires.",
        ),
    ];
    fields.map(|(id, label, time, hint)| {
        let field = DateTimePicker::new(actions::FORM_VALUE);
        let field = match time {
            Some(time) => field.initial(time),
            None => field,
        };
        Input::new(id, label, field).hint(hint).optional().into()
    })
}

/// Why it passes what would hold it, where that was said: nobody is asked for it who didn't.
fn write_override(terms: &Terms) -> Option<Block> {
    let why = terms.overriding.as_deref()?;
    let field = PlainTextInput::new(actions::FORM_VALUE)
        .multiline()
        .max_length(MOST_VALUE);
    let field = field.clone().initial(why).unwrap_or(field);
    let hint = "Passes order, freezes and locks, and is told in the environment's channels. When it is empty, it waits.";
    Some(
        Input::new(OVERRIDE, "Override: why", field)
            .hint(hint)
            .optional()
            .into(),
    )
}

/// The fields of what was given and has no field of its own.
fn write_given(
    given: &BTreeMap<String, String>,
    open: &[&ParameterDescription],
) -> impl Iterator<Item = Block> {
    let without = given
        .iter()
        .filter(|(name, _)| open.iter().all(|parameter| parameter.name != **name));
    without.map(|(name, value)| {
        Input::new(format!("{GIVEN}{name}"), name.as_str(), write_value(value))
            .hint("As you gave it. When it is empty, it is left out.")
            .optional()
            .into()
    })
}

/// A field with a value in it; of several lines, if the value is.
fn write_value(value: &str) -> PlainTextInput {
    let field = PlainTextInput::new(actions::FORM_VALUE).max_length(MOST_VALUE);
    let field = if value.contains('\n') {
        field.multiline()
    } else {
        field
    };
    field.clone().initial(value).unwrap_or(field)
}

fn write_parameter(id: String, parameter: &ParameterDescription, given: Option<&String>) -> Block {
    let label = Plain::from(parameter.name.as_str());
    let standing = given.or(parameter.default.as_ref());
    let offered = !parameter.options.is_empty()
        && parameter.options.len() <= MOST_CHOICES
        && !parameter.incomplete;
    let input = if offered {
        let choices = parameter
            .options
            .iter()
            .enumerate()
            .filter_map(|(index, option)| {
                let shown = if option.is_empty() { "(empty)" } else { option };
                Choice::new(shown, index.to_string()).ok()
            });
        let mut menu = StaticSelect::new(actions::FORM_VALUE, "Choose", choices);
        let chosen =
            standing.and_then(|value| parameter.options.iter().position(|one| one == value));
        if let Some(index) = chosen {
            menu = menu.initial(&index.to_string());
        }
        Input::new(id, label, menu)
    } else {
        // Only what was given stands in it: a default left alone stays Spinnaker's.
        let field = write_value(given.map(String::as_str).unwrap_or_default());
        let field = match &parameter.default {
            Some(default) if !default.is_empty() => field.placeholder(default.as_str()),
            _ => field,
        };
        Input::new(id, label, field)
    };
    let input = match parameter.description.as_deref() {
        Some(description) if !description.trim().is_empty() => input.hint(description),
        _ => input,
    };
    if parameter.required && parameter.default.is_none() {
        input.into()
    } else {
        input.optional().into()
    }
}

/// What a menu's value says of an application: never its name, which may be longer than a value.
pub(super) fn application_id(team: &str, name: &str) -> String {
    short(&format!("{team}/{name}"))
}

/// A digest that fits a menu's value.
pub(super) fn short(text: &str) -> String {
    ids::sha256(text.as_bytes()).chars().take(24).collect()
}

/// The block of a team's environments: another team's are another field, or Slack would keep the old choice.
fn environment_block(team: &str) -> String {
    format!("{ENVIRONMENT}-{}", short(team))
}

/// The block of a parameter: another pipeline's is another field.
fn block_of(
    (team, application): (&str, &str),
    action: &str,
    environment: &str,
    name: &str,
) -> String {
    let id = short(&format!(
        "{team}\n{application}\n{action}\n{environment}\n{name}"
    ));
    format!("{PARAMETER}-{id}")
}

/// The applications whose names hold what is typed so far, as choices.
pub(super) fn suggestions(sight: &Sight, typed: &str, team: Option<&str>) -> Vec<Choice> {
    let typed = typed.trim().to_lowercase();
    let mut found = sight.pick(|application: &Application| {
        let (namespace, name) = (application.namespace()?, application.name_any());
        let shown = label(sight, &namespace, &name);
        let fits = shown.contains(&typed) && team.is_none_or(|team| team == namespace);
        fits.then_some((shown, application_id(&namespace, &name)))
    });
    // Those that begin so come first.
    found.sort_by_key(|(shown, _)| (!shown.starts_with(&typed), shown.clone()));
    found
        .into_iter()
        .take(MOST_CHOICES)
        .filter_map(|(shown, id)| Choice::new(shown, id).ok())
        .collect()
}

/// What a form opens with that edits a plan.
pub(super) fn filled_from(plan: &Plan) -> Filled {
    let order = plan.order.clone();
    let known = |text: String| (!text.is_empty()).then_some(text);
    let application = known(order.application).zip(known(plan.namespace.clone()));
    Filled {
        application: application
            .as_ref()
            .map(|(name, team)| (team.clone(), name.clone())),
        draft: Draft {
            action: known(order.action),
            application: application.map(|(name, team)| ApplicationRef::of(team, name)),
            version: order.version,
            environment: known(order.environment),
            parameters: order.parameters,
            reason: order.reason,
            target: order.target,
            terms: order.terms,
        },
        version_lost: false,
    }
}

/// The modal that shows a plan. What the metadata doesn't hold, stands in fields that come back with it.
pub(super) fn plan_view(
    plan: &Plan,
    shown: &Shown,
    beside: &Beside<'_>,
    metadata: String,
    whole: bool,
) -> View {
    let (callback, label) = match planned::label(shown, beside) {
        (actions::PLAN_AGAIN, label) => (actions::PLAN_AGAIN, label),
        (_, label) => (actions::PLAN, label),
    };
    let mut blocks = planned::body(shown, beside);
    if !whole {
        for (name, value) in &plan.order.parameters {
            let id = format!("{GIVEN}{name}");
            let field = write_value(value);
            blocks.push(Input::new(id, name.as_str(), field).optional().into());
        }
        blocks.extend(write_override(&plan.order.terms));
        blocks.push(write_reason(plan.order.reason.as_deref()));
    }
    let view = View::modal(callback, "Plan", blocks)
        .submit(label)
        .close("Close");
    view.clone().private_metadata(metadata).unwrap_or(view)
}

/// The pipeline of an action in an environment, as the controller has seen it.
fn pipeline<'a>(
    application: &'a Application,
    action: &str,
    environment: &str,
) -> Option<&'a PipelineDescription> {
    let status = application.status.as_ref()?;
    let mut all = status.pipelines.iter();
    all.find(|one| one.action == action && one.environment == environment)
}

/// What the pipeline takes from a request: what the application's action sets itself is not to be had.
fn open_parameters<'a>(
    application: &Application,
    action: &str,
    pipeline: &'a PipelineDescription,
) -> Vec<&'a ParameterDescription> {
    let own = application.spec.actions.get(action);
    let parameters = pipeline.parameters.iter();
    parameters
        .filter(|parameter| {
            own.is_none_or(|action| !action.parameters.contains_key(&parameter.name))
        })
        .collect()
}
