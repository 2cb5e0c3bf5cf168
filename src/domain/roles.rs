//! Which groups may answer a manual judgment that names roles of Spinnaker's. Touches nothing.

use std::collections::BTreeSet;

use crate::api::{Environment, environment::JudgmentRole};

/// The groups, as RBAC names them, of which a judge must be in one; `None` where the stage names no roles. Empty where
/// nobody's group is mapped to any of them: then nobody can answer but in Spinnaker.
pub fn judging_groups<'a>(
    roles: &[String],
    environment: Option<&'a Environment>,
) -> Option<BTreeSet<&'a str>> {
    let mapped = environment.map(|environment| &environment.spec.protection.judgment_roles);
    groups_of(roles, mapped.map_or(&[], Vec::as_slice))
}

/// As [`judging_groups`], by the Environment's `spec.protection.judgmentRoles`.
pub(super) fn groups_of<'a>(
    roles: &[String],
    mapped: &'a [JudgmentRole],
) -> Option<BTreeSet<&'a str>> {
    if roles.is_empty() {
        return None;
    }
    let groups = mapped
        .iter()
        .filter(|mapping| roles.contains(&mapping.role))
        .map(|mapping| mapping.group.as_str());
    Some(groups.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_groups_of_the_roles_that_a_stage_names_may_judge_it() {
        let environment: Environment = serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "production"},
            "spec": {"connection": "main", "target": {"account": "a", "namespace": "n"}, "protection": {"judgmentRoles": [
                {"role": "ops", "group": "okta:ops"}, {"role": "ops", "group": "okta:night"}, {"role": "qa", "group": "okta:qa"},
            ]}},
        }))
        .unwrap();
        let groups = |roles: &[&str]| {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            judging_groups(&roles, Some(&environment)).map(|found| found.into_iter().collect())
        };
        assert_eq!(groups(&[]), None::<Vec<&str>>);
        assert_eq!(groups(&["ops"]), Some(vec!["okta:night", "okta:ops"]));
        assert_eq!(groups(&["qa", "other"]), Some(vec!["okta:qa"]));
        assert_eq!(groups(&["other"]), Some(Vec::new()));
        assert_eq!(
            judging_groups(&["ops".to_owned()], None),
            Some(BTreeSet::new())
        );
    }
}
