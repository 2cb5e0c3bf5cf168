//! What every emitted schema gets on top of the derived one. Touches nothing.
//!
//! - No property is `nullable`: the API server then prunes nulls, so a null and an absent field are the same thing.
//! - A time in a spec is one that everybody reads who has to: Kubernetes takes more for a `date-time` than our types and its
//!   own rules do.
//! - `conditions` are a map by type, so that two writers don't wipe each other's.
//! - `DeployRequest.spec` and what a `DeployTarget` stands for are immutable, by one generated rule per property: a
//!   rule that sits on an optional property is skipped when the old value is absent, and somebody could add it later.
//!   `DeployRequest.spec.cancel` and `spec.override` can each be set once, and replaced as long as the status says that it
//!   doesn't count; since that looks at the status, their rules sit on the whole object.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};

use super::bounds;

/// Properties of a `DeployRequest`'s spec that a rule of the whole object is about.
const RULED_ELSEWHERE: [&str; 2] = ["cancel", "override"];
/// When `spec.cancel` may be what it is.
const CANCEL_RULE: &str = "!has(oldSelf.spec.cancel) || (has(self.spec.cancel) && (self.spec.cancel == oldSelf.spec.cancel || (has(oldSelf.status) && has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(c, c.type == 'Cancelable' && c.status == 'False'))))";
/// When `spec.override` may be what it is.
const OVERRIDE_RULE: &str = "!has(oldSelf.spec.override) || (has(self.spec.override) && (self.spec.override == oldSelf.spec.override || (has(oldSelf.status) && has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(c, c.type == 'Overridden' && c.status == 'False'))))";
/// Properties of a `DeployTarget`'s spec that people write.
const PEOPLES: [&str; 3] = ["release", "lock", "unhold"];
/// A time in a spec: of the years 1 to 9998, with capital letters, to the nanosecond, and no further from UTC than any clock
/// goes. It only narrows `format: date-time`, which minds months, days, hours and leap seconds, and takes what jiff, whose
/// calendar ends on 9999-12-30, and CEL, which knows no small letters, don't: an object with such a time decodes for nobody, and
/// one that a rule can't read is never written again.
const TIME: &str = concat!(
    "^(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])",
    r"-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$",
);

pub(super) fn finish(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let kind = definition.spec.names.kind.clone();
    for version in &mut definition.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        walk(root, false);
        root.description = root
            .properties
            .as_ref()
            .and_then(|all| all.get("spec"))
            .and_then(|spec| spec.description.clone());
        if let Some(spec) = property(root, "spec") {
            match kind.as_str() {
                "DeployRequest" => make_immutable(spec, &RULED_ELSEWHERE),
                "DeployTarget" => make_immutable(spec, &PEOPLES),
                "DeployApproval" => {
                    make_immutable(spec, &[]);
                    approval_rules(spec);
                }
                _ => {}
            }
        }
        if kind == "DeployRequest" {
            let once = [
                (
                    CANCEL_RULE,
                    "cancel can be set once, and not taken back; it can be replaced as long as the condition Cancelable is False",
                    ".spec.cancel",
                ),
                (
                    OVERRIDE_RULE,
                    "override can be set once, and not taken back; it can be replaced as long as the condition Overridden is False",
                    ".spec.override",
                ),
            ];
            root.x_kubernetes_validations
                .get_or_insert_default()
                .extend(once.map(|(rule, message, field)| ValidationRule {
                    rule: rule.to_owned(),
                    message: Some(message.to_owned()),
                    field_path: Some(field.to_owned()),
                    ..ValidationRule::default()
                }));
        }
        if let Some(conditions) =
            property(root, "status").and_then(|status| property(status, "conditions"))
        {
            conditions.x_kubernetes_list_type = Some("map".to_owned());
            conditions.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
            conditions.max_items = Some(16);
        }
    }
    definition
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}

/// `in_spec`: people write it, and not only we.
fn walk(schema: &mut JSONSchemaProps, in_spec: bool) {
    schema.nullable = None;
    // Kubernetes knows only int32 and int64, and warns on each apply.
    schema.format.take_if(|format| format.starts_with("uint"));
    if schema.type_.as_deref() == Some("string") && schema.format.as_deref() == Some("date-time") {
        schema.max_length = Some(40);
        schema.pattern = in_spec.then(|| TIME.to_owned());
    }
    for (name, child) in schema.properties.iter_mut().flatten() {
        walk(child, in_spec || name == "spec");
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        walk(items, in_spec);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        walk(values, in_spec);
    }
    // k8s-openapi's Condition comes without bounds.
    if schema
        .properties
        .as_ref()
        .is_some_and(|properties| properties.contains_key("lastTransitionTime"))
    {
        for (name, most) in [
            ("type", bounds::NAME),
            ("status", 16),
            ("reason", bounds::NAME),
            ("message", 32_768),
        ] {
            if let Some(field) = property(schema, name) {
                field.max_length = i64::try_from(most).ok();
            }
        }
    }
}

/// What each kind of approval has to name.
fn approval_rules(spec: &mut JSONSchemaProps) {
    let rules = [
        (
            "self.__for__ == 'Start' ? has(self.digest) && !has(self.judgment) : has(self.judgment) && !has(self.digest)",
            "for a Start give digest (status.resolved.digest of the request), for a Judgment give judgment, and not both",
        ),
        (
            "self.decision == 'Approve' || (has(self.comment) && self.comment.size() > 0)",
            "a rejection needs a comment: say why",
        ),
    ];
    spec.x_kubernetes_validations
        .get_or_insert_default()
        .extend(rules.map(|(rule, message)| ValidationRule {
            rule: rule.to_owned(),
            message: Some(message.to_owned()),
            ..ValidationRule::default()
        }));
}

/// A property as CEL names it: its reserved words are written otherwise.
fn identifier(property: &str) -> String {
    match property {
        "for" => "__for__".to_owned(),
        other => other.to_owned(),
    }
}

fn make_immutable(spec: &mut JSONSchemaProps, free: &[&str]) {
    let names: Vec<String> = spec
        .properties
        .iter()
        .flat_map(|properties| properties.keys().cloned())
        .collect();
    let rules = names.into_iter().filter(|name| !free.contains(&name.as_str())).map(|name| {
        let field = identifier(&name);
        ValidationRule {
            rule: format!(
                "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
            ),
            message: Some(format!("{name} is immutable: make a new object")),
            field_path: Some(format!(".{name}")),
            ..ValidationRule::default()
        }
    });
    spec.x_kubernetes_validations
        .get_or_insert_default()
        .extend(rules);
}
