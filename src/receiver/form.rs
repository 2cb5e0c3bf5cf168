//! The form: a modal with everything that can be chosen, and what comes back of it. Touches nothing.
//!
//! What comes back is anybody's: each value is looked up among what was offered, and what it chooses is resolved and
//! authorised like a typed line.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    answer::planned::{self, Beside},
    plan::{Order, Plan, held, shown::Shown},
    sight::Sight,
    versions::{self, Written},
};
use crate::{
    api::{
        Application, Environment,
        application::{ParameterDescription, PipelineDescription},
        bounds,
        deploy_request::DEFAULT_ACTION,
    },
    domain::ids,
    receiver::grammar::{ApplicationRef, Draft, Terms, version_name},
    slack::{
        actions,
        blocks::{Block, Input},
        elements::{Choice, DateTimePicker, ExternalSelect, PlainTextInput, StaticSelect},
        inbound::Values,
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

/// What stands in those fields.
fn terms(values: &Values) -> Terms {
    let time = |block: &str| {
        let chosen = values.get(block, actions::FORM_VALUE)?;
        Timestamp::from_second(chosen.parse().ok()?).ok()
    };
    let why = values.get(OVERRIDE, actions::FORM_VALUE);
    Terms {
        not_before: time(AT),
        start_before: time(BEFORE),
        overriding: why
            .map(str::trim)
            .filter(|why| !why.is_empty())
            .map(str::to_owned),
    }
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

/// What stands in a form that comes back, as far as it chooses what can be chosen.
pub(super) fn filled(sight: &Sight, values: &Values, team: Option<&str>) -> Filled {
    let find = |block: &str, action: &str| {
        values.iter().find_map(|(id, element, given)| {
            let fits = element == action && (id == block || id.starts_with(&format!("{block}-")));
            fits.then(|| given.first()).flatten()
        })
    };
    let chosen = find(APPLICATION, actions::FORM_APPLICATION);
    let application = chosen.and_then(|id| application_of(sight, id, team));
    let mut draft = Draft {
        version: match versions::written(values) {
            Some(Written::Version(version)) => Some(version),
            Some(Written::Digest(_)) | None => None,
        },
        reason: find(REASON, actions::FORM_VALUE)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        parameters: given(values).collect(),
        terms: terms(values),
        ..Draft::default()
    };
    let Some((team, name)) = &application else {
        return Filled {
            application,
            draft,
            version_lost: false,
        };
    };
    let Some(object) = sight.get::<Application>(team, name) else {
        return Filled {
            application,
            draft,
            version_lost: false,
        };
    };
    draft.application = Some(ApplicationRef::of(team, name));
    let action_block = format!("{ACTION}-{}", application_id(team, name));
    let action = values.get(&action_block, actions::FORM_ACTION);
    draft.action = action
        .filter(|action| object.spec.actions.contains_key(*action))
        .map(str::to_owned);
    let environment_block = environment_block(team);
    let environment = values.get(&environment_block, actions::FORM_ENVIRONMENT);
    draft.environment = environment
        .filter(|name| sight.get::<Environment>(team, name).is_some())
        .map(str::to_owned);
    let filled = Filled {
        application: application.clone(),
        draft,
        version_lost: false,
    };
    let of_fields = parameters(&filled, &object, values);
    let mut filled = filled;
    filled.draft.parameters.extend(of_fields);
    filled
}

/// What stands in the fields of [`write_given`]. An empty one is nothing said.
fn given(values: &Values) -> impl Iterator<Item = (String, String)> {
    values.iter().filter_map(|(block, action, given)| {
        let name = block.strip_prefix(GIVEN)?;
        let value = given.value.clone().filter(|value| !value.is_empty())?;
        (action == actions::FORM_VALUE).then(|| (name.to_owned(), value))
    })
}

fn parameters(
    filled: &Filled,
    application: &Application,
    values: &Values,
) -> BTreeMap<String, String> {
    let action = chosen_action(filled, application);
    let environment = filled.draft.environment.as_deref().unwrap_or_default();
    let Some(pipeline) = pipeline(application, &action, environment) else {
        return BTreeMap::new();
    };
    let team = application.namespace().unwrap_or_default();
    open_parameters(application, &action, pipeline)
        .into_iter()
        .filter_map(|parameter| {
            let block = block_of(
                (&team, &application.name_any()),
                &action,
                environment,
                &parameter.name,
            );
            let given = values.given(&block, actions::FORM_VALUE)?;
            let value = match (&given.value, given.chosen.first()) {
                (Some(typed), _) => typed.clone(),
                (None, Some(index)) => parameter.options.get(index.parse::<usize>().ok()?)?.clone(),
                (None, None) => return None,
            };
            // An empty field, and a default left alone, are nothing said.
            let said = !value.is_empty() && parameter.default.as_ref() != Some(&value);
            said.then(|| (parameter.name.clone(), value))
        })
        .collect()
}

/// The application behind a menu's value, within a team if the form is bound to one.
fn application_of(sight: &Sight, id: &str, team: Option<&str>) -> Option<(String, String)> {
    sight
        .pick(|application: &Application| {
            let (namespace, name) = (application.namespace()?, application.name_any());
            let fits = application_id(&namespace, &name) == id
                && team.is_none_or(|team| team == namespace);
            fits.then_some((namespace, name))
        })
        .pop()
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

/// A complete form as a team and what is to be done there, or what is wrong with it by the block that it is about.
pub(super) fn complete(
    filled: &Filled,
    sight: &Sight,
    values: &Values,
) -> Result<(String, Order), BTreeMap<String, Plain>> {
    let wrong = |block: String, words: &str| Err(BTreeMap::from([(block, Plain::from(words))]));
    let Some((team, name)) = &filled.application else {
        return wrong(
            APPLICATION.to_owned(),
            "Choose an application that you may see.",
        );
    };
    let Some(application) = sight.get::<Application>(team, name) else {
        return wrong(
            APPLICATION.to_owned(),
            "There is no such application any more.",
        );
    };
    let Some(environment) = filled.draft.environment.clone() else {
        // Without environments there is no such field to complain about.
        let block = if sight.environments(team).is_empty() {
            APPLICATION.to_owned()
        } else {
            environment_block(team)
        };
        return wrong(block, "Choose an environment of this application's team.");
    };
    if let Some(version) = &filled.draft.version
        && let Err(invalid) = version_name(version)
    {
        return wrong(versions::block_of(values), &invalid.to_string());
    }
    if filled.version_lost {
        return wrong(
            versions::block_of(values),
            "This branch can't be looked up now. Choose it again, or type it behind the command.",
        );
    }
    let too_long = |text: &str| text.chars().count() > bounds::VALUE;
    if filled.draft.reason.as_deref().is_some_and(too_long) {
        return wrong(REASON.to_owned(), "1024 characters at most.");
    }
    let terms = &filled.draft.terms;
    if terms.overriding.as_deref().is_some_and(too_long) {
        return wrong(OVERRIDE.to_owned(), "1024 characters at most.");
    }
    let crossed = terms.not_before.zip(terms.start_before);
    if crossed.is_some_and(|(at, before)| before <= at) {
        return wrong(
            BEFORE.to_owned(),
            "This has to come after the time before which it is not to start.",
        );
    }
    let draft = filled.draft.clone();
    let order = Order {
        action: chosen_action(filled, &application),
        application: name.clone(),
        version: draft.version,
        commit: None,
        environment,
        parameters: draft.parameters,
        reason: draft.reason,
        target: draft.target,
        terms: draft.terms,
    };
    Ok((team.clone(), order))
}

/// What speaks against a plan, by the field of the form that can change it; by the first field, if none can.
pub(super) fn blame(plan: &Plan, shown: &Shown, values: &Values) -> BTreeMap<String, Plain> {
    let order = &plan.order;
    let has = |block: &str| values.iter().any(|(id, ..)| id == block);
    shown
        .problems
        .iter()
        .map(|problem| {
            let block = problem.parameter.as_deref().map(|name| {
                let application = (plan.namespace.as_str(), order.application.as_str());
                block_of(application, &order.action, &order.environment, name)
            });
            let time = match problem.parameter.as_deref() {
                Some(held::AT) => Some(AT.to_owned()),
                Some(held::BEFORE) => Some(BEFORE.to_owned()),
                _ => None,
            };
            let given = problem
                .parameter
                .as_deref()
                .map(|name| format!("{GIVEN}{name}"));
            let mut candidates = time.into_iter().chain(block).chain(given);
            let block = candidates.find(|block| has(block));
            (
                block.unwrap_or_else(|| APPLICATION.to_owned()),
                Plain::from(problem.message.as_str()),
            )
        })
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

/// Takes what a plan's fields hold into a plan that came back without it.
pub(super) fn fill_in(plan: &mut Plan, values: &Values) {
    for (block, action, given) in values.iter() {
        if action != actions::FORM_VALUE {
            continue;
        }
        let text = given.value.clone().unwrap_or_default();
        if let Some(name) = block.strip_prefix(GIVEN) {
            plan.order.parameters.insert(name.to_owned(), text);
        } else if block == REASON && !text.trim().is_empty() {
            plan.order.reason = Some(text);
        } else if block == OVERRIDE && !text.trim().is_empty() {
            plan.order.terms.overriding = Some(text);
        }
    }
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
