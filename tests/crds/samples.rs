//! Values that a schema takes, made from the schema itself. Touches nothing.

use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value, json};

/// Two values for each pattern that a spec uses. A new pattern wants a row here.
const BY_PATTERN: [(&str, [&str; 2]); 21] = [
    (r"^\S+( +\S+){4}$", ["0 18 * * 5", "30 6 1 * *"]),
    (
        "^[A-Za-z][A-Za-z0-9_+/-]*$",
        ["Europe/Berlin", "America/New_York"],
    ),
    ("^([0-9]{1,8}(ms|s|m|h))+$", ["30s", "1h30m"]),
    ("^[a-z][a-z0-9-]{1,30}$", ["restart", "rollback"]),
    (
        "^https?://[^ ?#]+$",
        ["https://one.example", "http://two.example/gate"],
    ),
    ("^[A-Za-z0-9-]+$", ["X-One", "X-Two"]),
    (
        "^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$",
        ["acme/checkout", "acme/other"],
    ),
    (
        r"^https?://[^@\s]+$",
        ["https://one.example/api/v3", "http://two.example"],
    ),
    (
        "^[0-9a-f]{40}$",
        [
            "0123456789abcdef0123456789abcdef01234567",
            "89abcdef0123456789abcdef0123456789abcdef",
        ],
    ),
    ("^[A-Z0-9]{2,32}$", ["C01", "U02"]),
    ("^([0-9]{1,8}(s|m|h))+$", ["30s", "1h30m"]),
    (
        r"^(https://[A-Za-z0-9._:\[\]-]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?)/?$",
        ["https://vault.example:8200", "http://127.0.0.1:8200"],
    ),
    ("^[SUW][A-Z0-9]{1,31}$", ["S01", "U02"]),
    (
        "^[0-9a-f]{32}$",
        [
            "0123456789abcdef0123456789abcdef",
            "00000000000000000000000000000001",
        ],
    ),
    ("^[^, ]+$", ["one", "two"]),
    ("^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", ["one", "two"]),
    (
        "^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$",
        ["pki", "auth/kubernetes"],
    ),
    (
        "-----BEGIN CERTIFICATE-----",
        [
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n",
        ],
    ),
    (
        "^[0-9a-f]{64}$",
        [
            "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
            "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
        ],
    ),
    (
        r"^[0-9]{1,16}\.[0-9]{1,9}$",
        ["1700000000.000100", "1700000000.000200"],
    ),
    (
        r"^(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$",
        DAYS,
    ),
];

/// Two times.
const DAYS: [&str; 2] = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];

/// Two different values that `schema` takes, neither of which is its default.
pub(crate) fn two(schema: &JSONSchemaProps) -> Result<[Value; 2]> {
    let values = match schema.type_.as_deref() {
        Some("string") => strings(schema)?,
        Some("boolean") => vec![json!(true), json!(false)],
        Some("integer") => vec![json!(3), json!(4)],
        Some("array") => {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else {
                bail!("an array of what: {schema:?}");
            };
            two(items)?.map(|value| json!([value])).to_vec()
        }
        Some("object") => match (&schema.properties, &schema.additional_properties) {
            (Some(_), _) => objects(schema)?.map(Value::Object).to_vec(),
            (None, Some(JSONSchemaPropsOrBool::Schema(values))) => {
                two(values)?.map(|value| json!({"sample": value})).to_vec()
            }
            _ => bail!("an object of what: {schema:?}"),
        },
        _ => bail!("no sample for {schema:?}"),
    };
    let default = schema.default.as_ref().map(|default| &default.0);
    let mut others = values.into_iter().filter(|value| Some(value) != default);
    match (others.next(), others.next()) {
        (Some(one), Some(other)) => Ok([one, other]),
        _ => bail!("{schema:?} has no two values beside its default"),
    }
}

/// A value that `schema` takes, with everything in it.
pub(crate) fn whole(schema: &JSONSchemaProps) -> Result<Value> {
    Ok(match schema.type_.as_deref() {
        Some("string") => strings(schema)?.swap_remove(0),
        Some("array") => {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else {
                bail!("an array of what: {schema:?}");
            };
            json!([whole(items)?])
        }
        Some("object") => {
            let mut object = Map::new();
            for (name, property) in schema.properties.iter().flatten() {
                let value = whole(property).with_context(|| name.clone())?;
                object.insert(name.clone(), value);
            }
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                object.insert("sample".to_owned(), whole(values)?);
            }
            Value::Object(object)
        }
        _ => two(schema)?[0].clone(),
    })
}

fn strings(schema: &JSONSchemaProps) -> Result<Vec<Value>> {
    if let Some(values) = &schema.enum_ {
        return Ok(values.iter().map(|value| value.0.clone()).collect());
    }
    if let Some(pattern) = &schema.pattern {
        let (_, values) = BY_PATTERN
            .iter()
            .find(|(known, _)| known == pattern)
            .with_context(|| format!("BY_PATTERN has no values for {pattern:?}"))?;
        return Ok(values.map(Value::from).to_vec());
    }
    if schema.format.as_deref() == Some("date-time") {
        return Ok(DAYS.map(Value::from).to_vec());
    }
    if let Some(format) = &schema.format {
        bail!("no sample for the format {format:?}");
    }
    Ok(vec![json!("sample-a"), json!("sample-b")])
}

fn objects(schema: &JSONSchemaProps) -> Result<[Map<String, Value>; 2]> {
    let (mut one, mut other) = (Map::new(), Map::new());
    for (name, property) in schema.properties.iter().flatten() {
        let [first, second] = two(property).with_context(|| name.clone())?;
        one.insert(name.clone(), first);
        other.insert(name.clone(), second);
    }
    Ok([one, other])
}

/// What `schema` takes with the properties that it requires and no others.
pub(crate) fn least(schema: &JSONSchemaProps) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for name in schema.required.iter().flatten() {
        let property = schema
            .properties
            .as_ref()
            .and_then(|properties| properties.get(name));
        let property = property.with_context(|| format!("{name} is required and not there"))?;
        let [value, _] = two(property).with_context(|| name.clone())?;
        object.insert(name.clone(), value);
    }
    Ok(object)
}
