//! Whether an object's labels are what a selector asks for. Touches nothing.

use std::collections::BTreeMap;

use kube::core::{Expression, Selector, SelectorExt};

use crate::api::selector::{LabelExpression, LabelOperator, LabelSelector};

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// Whether the selector matches, as Kubernetes' label selectors do: all that it says must hold, and `NotIn` holds where
/// the label is missing. One with an expression that says nothing valid matches nothing, where Kubernetes would refuse it.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .map(|(key, value)| Some(Expression::Equal(key.clone(), value.clone())));
    let all: Option<Selector> = equal
        .chain(selector.match_expressions.iter().map(expression))
        .collect::<Option<Vec<_>>>()
        .map(|all| all.into_iter().collect());
    all.is_some_and(|all| all.matches(labels))
}

/// Whether it asks for nothing, and so selects everything.
pub fn selects_all(selector: &LabelSelector) -> bool {
    selector.match_labels.is_empty() && selector.match_expressions.is_empty()
}

/// Whether each of its expressions says something, as the API server demands.
pub fn is_valid(selector: &LabelSelector) -> bool {
    selector
        .match_expressions
        .iter()
        .all(|rule| expression(rule).is_some())
}

fn expression(rule: &LabelExpression) -> Option<Expression> {
    let (key, values) = (rule.key.clone(), &rule.values);
    let set = || values.iter().cloned().collect();
    match (rule.operator, values.is_empty()) {
        _ if key.is_empty() => None,
        (LabelOperator::In, false) => Some(Expression::In(key, set())),
        (LabelOperator::NotIn, false) => Some(Expression::NotIn(key, set())),
        (LabelOperator::Exists, true) => Some(Expression::Exists(key)),
        (LabelOperator::DoesNotExist, true) => Some(Expression::DoesNotExist(key)),
        (LabelOperator::In | LabelOperator::NotIn, true)
        | (LabelOperator::Exists | LabelOperator::DoesNotExist, false) => None,
    }
}
