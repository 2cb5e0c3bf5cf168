//! Everything in every schema is bounded: the API server prices rules by the bounds, and etcd has its own.

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::json;

use crate::Kind;

#[test]
fn everything_in_every_schema_is_bounded() -> Result<()> {
    for kind in Kind::all() {
        let mut found = Vec::new();
        unbounded(kind.root()?, kind.name(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn what_has_no_bound_is_found() {
    let schema: JSONSchemaProps = serde_json::from_value(json!({"type": "object", "properties": {
        "text": {"type": "string"},
        "word": {"type": "string", "enum": ["one"]},
        "list": {"type": "array", "items": {"type": "string", "maxLength": 1}},
        "map": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string", "pattern": "^a*$"}},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}))
    .unwrap();
    let mut found = Vec::new();
    unbounded(&schema, "Sample", &mut found);
    assert_eq!(
        found,
        [
            "Sample.any takes anything",
            "Sample.list has no maxItems",
            "Sample.map{} has no maxLength",
            "Sample.text has no maxLength",
        ]
    );
}

fn unbounded(schema: &JSONSchemaProps, path: &str, found: &mut Vec<String>) {
    if schema.x_kubernetes_preserve_unknown_fields == Some(true)
        || schema.x_kubernetes_int_or_string == Some(true)
        || schema.type_.is_none()
    {
        found.push(format!("{path} takes anything"));
    }
    if schema.type_.as_deref() == Some("string")
        && schema.max_length.is_none()
        && schema.enum_.is_none()
    {
        found.push(format!("{path} has no maxLength"));
    }
    if schema.type_.as_deref() == Some("array") && schema.max_items.is_none() {
        found.push(format!("{path} has no maxItems"));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        unbounded(items, &format!("{path}[]"), found);
    }
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => {
            if schema.max_properties.is_none() {
                found.push(format!("{path} has no maxProperties"));
            }
            unbounded(values, &format!("{path}{{}}"), found);
        }
        Some(JSONSchemaPropsOrBool::Bool(true)) => found.push(format!("{path} takes anything")),
        _ => {}
    }
    for (name, property) in schema.properties.iter().flatten() {
        unbounded(property, &format!("{path}.{name}"), found);
    }
}
