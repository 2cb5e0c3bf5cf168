//! A request's parameters against what the pipeline declares. Touches nothing.
//!
//! Gate checks next to nothing: options, unknown names and types pass, and a missing value is filled in silently. So
//! it is checked here, before anything is claimed.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use crate::api::{application::ParameterDescription, bounds, conditions::Reason};

/// The start of an expression that Spinnaker would evaluate wherever it meets one.
const EXPRESSION: &str = "${";

/// Checks `values` against `declared`: whether exactly they can be sent. Defaults are Spinnaker's to fill in. No refusal
/// shows a value of the `secret` ones.
pub fn validate(
    pipeline: &str,
    declared: &[ParameterDescription],
    values: &BTreeMap<String, String>,
    secret: &[String],
) -> Result<(), Refusal> {
    problems(pipeline, declared, values, secret)
        .into_iter()
        .next()
        .map_or(Ok(()), Err)
}

/// What is shown of a secret value.
pub const MASK: &str = "***";

/// The values as they may be shown: those under `secret` names are not.
pub fn masked(values: &BTreeMap<String, String>, secret: &[String]) -> BTreeMap<String, String> {
    values
        .iter()
        .map(|(name, value)| {
            let shown = if secret.contains(name) { MASK } else { value };
            (name.clone(), shown.to_owned())
        })
        .collect()
}

/// Everything for which `values` would be refused, what is missing last.
pub fn problems(
    pipeline: &str,
    declared: &[ParameterDescription],
    values: &BTreeMap<String, String>,
    secret: &[String],
) -> Vec<Refusal> {
    let mut found = Vec::new();
    if values.len() > bounds::PARAMETERS {
        found.push(Refusal::permanent(
            Reason::Invalid,
            format!(
                "with the Application's own, {} parameters would be sent; {} at most.",
                values.len(),
                bounds::PARAMETERS
            ),
        ));
    }
    for (name, value) in values {
        let refusal = takes(pipeline, declared, name, Some(value)).err();
        found.extend(refusal.map(|refusal| match refusal.reason {
            Reason::ParameterNotOffered if secret.contains(name) => Refusal::permanent(
                Reason::ParameterNotOffered,
                format!("what is given for {name:?}, which is secret, is not among the values that pipeline {pipeline:?} offers for it."),
            ),
            _ => refusal,
        }));
    }
    let missing = missing(declared, values).map(|missing| {
        Refusal::permanent(
            Reason::ParameterMissing,
            format!(
                "pipeline {pipeline:?} requires parameter {:?}; set it in the request's spec.parameters or in the Application's action.",
                missing.name
            ),
        )
    });
    found.extend(missing);
    found
}

/// The parameters that somebody has to say and nobody says.
pub fn missing<'a>(
    declared: &'a [ParameterDescription],
    values: &BTreeMap<String, String>,
) -> impl Iterator<Item = &'a ParameterDescription> {
    declared.iter().filter(|parameter| {
        parameter.required && parameter.default.is_none() && !values.contains_key(&parameter.name)
    })
}

/// Whether the pipeline takes this value under this name; without a value, whether it has the name at all.
pub fn takes(
    pipeline: &str,
    declared: &[ParameterDescription],
    name: &str,
    value: Option<&str>,
) -> Result<(), Refusal> {
    if let Some(value) = value {
        refuse_expression(&format!("parameter {name:?}"), value)?;
        if value.chars().count() > bounds::VALUE {
            return Err(Refusal::permanent(
                Reason::Invalid,
                format!(
                    "parameter {name:?} is longer than {} characters.",
                    bounds::VALUE
                ),
            ));
        }
    }
    let Some(parameter) = declared.iter().find(|parameter| parameter.name == name) else {
        let known: Vec<&str> = declared
            .iter()
            .map(|parameter| parameter.name.as_str())
            .collect();
        let known = if known.is_empty() {
            "no parameters".to_owned()
        } else {
            known.join(", ")
        };
        return Err(Refusal::permanent(
            Reason::ParameterUnknown,
            format!("pipeline {pipeline:?} has no parameter {name:?}; it takes {known}."),
        ));
    };
    match value {
        Some(value)
            if !parameter.options.is_empty()
                && !parameter.options.iter().any(|option| option == value) =>
        {
            Err(Refusal::permanent(
                Reason::ParameterNotOffered,
                format!(
                    "{value:?} is not among the values that pipeline {pipeline:?} offers for {name:?}: {}.",
                    parameter.options.join(", ")
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses text in which Spinnaker would find an expression to evaluate.
pub fn refuse_expression(what: &str, text: &str) -> Result<(), Refusal> {
    if text.contains(EXPRESSION) {
        return Err(Refusal::permanent(
            Reason::ExpressionRefused,
            format!(
                "{what} contains \"${{\", which Spinnaker would evaluate as an expression; write the value itself."
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Vec<ParameterDescription> {
        let parameter =
            |name: &str, required, default: Option<&str>, options: &[&str]| ParameterDescription {
                name: name.to_owned(),
                required,
                default: default.map(str::to_owned),
                options: options.iter().map(|option| (*option).to_owned()).collect(),
                ..ParameterDescription::default()
            };
        vec![
            parameter("branch", true, None, &[]),
            parameter("size", false, Some("small"), &["small", "large"]),
            parameter("region", true, Some("eu"), &[]),
        ]
    }

    fn reason(values: &[(&str, &str)]) -> Option<Reason> {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        validate("Deploy", &declared(), &values, &[])
            .err()
            .map(|refusal| refusal.reason)
    }

    #[test]
    fn what_the_pipeline_would_not_take_is_refused() {
        assert_eq!(reason(&[("branch", "main")]), None);
        assert_eq!(reason(&[("branch", "main"), ("size", "large")]), None);
        assert_eq!(reason(&[]), Some(Reason::ParameterMissing));
        assert_eq!(
            reason(&[("branch", "main"), ("size", "huge")]),
            Some(Reason::ParameterNotOffered)
        );
        assert_eq!(
            reason(&[("branch", "main"), ("colour", "red")]),
            Some(Reason::ParameterUnknown)
        );
        assert_eq!(
            reason(&[("branch", "${T(java.lang.Runtime)}")]),
            Some(Reason::ExpressionRefused)
        );
    }
}
