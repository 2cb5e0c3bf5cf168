//! What a plan shows of its pipeline: parameters, and what it would not take. Touches nothing.

use std::collections::BTreeMap;

use super::{
    Order,
    shown::{Differing, Problem, Warning},
};
use crate::{
    api::{
        application::{ParameterDescription, PipelineDescription},
        conditions::Reason,
    },
    domain::{
        parameters::{self, refuse_expression},
        refusal::Refusal,
    },
};

/// The values that are others than the pipeline's defaults; of those that are secret only that they are.
pub(super) fn differences(
    values: &BTreeMap<String, String>,
    declared: &[ParameterDescription],
    order: &Order,
    secret: &[String],
) -> Vec<Differing> {
    values
        .iter()
        .map(|(name, value)| Differing {
            name: name.clone(),
            value: value.clone(),
            default: declared
                .iter()
                .find(|parameter| parameter.name == *name)
                .and_then(|parameter| parameter.default.clone()),
            asked: order.parameters.contains_key(name),
        })
        .filter(|parameter| parameter.default.as_ref() != Some(&parameter.value))
        .map(|parameter| {
            if !secret.contains(&parameter.name) {
                return parameter;
            }
            Differing {
                value: parameters::MASK.to_owned(),
                default: None,
                ..parameter
            }
        })
        .collect()
}

/// What the pipeline would not take, as far as its description goes.
pub(super) fn judged(
    described: Option<&PipelineDescription>,
    values: &BTreeMap<String, String>,
    secret: &[String],
) -> Vec<Problem> {
    let Some(pipeline) = described.filter(|pipeline| pipeline.id.is_some()) else {
        // Whatever the pipeline is, an expression is refused.
        return values
            .iter()
            .filter_map(|(name, value)| {
                let refusal = refuse_expression(&format!("parameter {name:?}"), value).err()?;
                Some(about(name, refusal))
            })
            .collect();
    };
    let declared = &pipeline.parameters;
    let one = |name: &String, value: &String| {
        let cut = declared
            .iter()
            .any(|parameter| parameter.name == *name && parameter.incomplete);
        let refusal = parameters::takes(&pipeline.name, declared, name, Some(value)).err()?;
        let known = match refusal.reason {
            Reason::ParameterUnknown => !pipeline.incomplete,
            Reason::ParameterNotOffered => !cut,
            _ => true,
        };
        let hidden = refusal.reason == Reason::ParameterNotOffered && secret.contains(name);
        let refusal = if hidden {
            let message = format!(
                "what is given for {name:?}, which is secret, is not among the values that pipeline {:?} offers for it.",
                pipeline.name
            );
            Refusal { message, ..refusal }
        } else {
            refusal
        };
        known.then(|| about(name, refusal))
    };
    let taken = values.iter().filter_map(|(name, value)| one(name, value));
    let missing = parameters::missing(declared, values).map(|parameter| Problem {
        reason: Reason::ParameterMissing.to_string(),
        parameter: Some(parameter.name.clone()),
        message: format!(
            "pipeline {:?} requires parameter {:?}; add {}=… to what you type, or fill it in in the form.",
            pipeline.name, parameter.name, parameter.name
        ),
    });
    taken.chain(missing).collect()
}

fn about(parameter: &str, refusal: Refusal) -> Problem {
    Problem {
        parameter: Some(parameter.to_owned()),
        ..refusal.into()
    }
}

/// What the controller found about the pipeline.
pub(super) fn about_pipeline(
    described: Option<&PipelineDescription>,
    problems: &mut Vec<Problem>,
) -> Option<Warning> {
    let Some(pipeline) = described else {
        return Some(Warning::NotDescribed);
    };
    if pipeline.disabled {
        problems.push(Problem {
            reason: Reason::PipelineDisabled.to_string(),
            parameter: None,
            message: format!(
                "pipeline {:?} is disabled; enable it in Spinnaker and ask again.",
                pipeline.name
            ),
        });
        return None;
    }
    match &pipeline.problem {
        Some(message) => Some(Warning::Pipeline {
            message: message.clone(),
        }),
        None => pipeline.incomplete.then_some(Warning::NotDescribed),
    }
}
