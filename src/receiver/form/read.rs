//! What comes back of the form, and of a plan's fields: looked up among what was offered. Touches nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    ACTION, APPLICATION, AT, BEFORE, Filled, GIVEN, OVERRIDE, REASON, application_id, block_of,
    chosen_action, environment_block, open_parameters, pipeline,
};
use crate::{
    api::{Application, Environment, bounds},
    receiver::{
        grammar::{ApplicationRef, Draft, Terms, version_name},
        plan::{Order, Plan, held, shown::Shown},
        sight::Sight,
        versions::{self, Written},
    },
    slack::{actions, inbound::Values, text::Plain},
};

/// What stands in a form that comes back, as far as it chooses what can be chosen.
pub(in crate::receiver) fn filled(sight: &Sight, values: &Values, team: Option<&str>) -> Filled {
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

/// What stands in the fields of the times and the override.
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

/// What stands in the fields of [`write_given`](super::write_given). An empty one is nothing said.
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

/// A complete form as a team and what is to be done there, or what is wrong with it by the block that it is about.
pub(in crate::receiver) fn complete(
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
pub(in crate::receiver) fn blame(
    plan: &Plan,
    shown: &Shown,
    values: &Values,
) -> BTreeMap<String, Plain> {
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

/// Takes what a plan's fields hold into a plan that came back without it.
pub(in crate::receiver) fn fill_in(plan: &mut Plan, values: &Values) {
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
