//! Parameters that are pasted as a whole: one flat object of JSON or YAML. Touches nothing.
//!
//! Values are kept exactly as they are written (`1.10` is "1.10", `yes` is "yes"), since the pipeline takes text and a
//! number read and written again may be another one.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    budget::BudgetBreach,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

use super::name::{hides, parameter_name};
use crate::api::bounds;

/// The most that is read, in bytes.
pub const MOST_PAYLOAD: usize = 16 * 1024;

/// Why something pasted can't be read as parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Longer than [`MOST_PAYLOAD`].
    #[error("it is longer than {} KiB", MOST_PAYLOAD / 1024)]
    TooLarge,
    /// More parameters than a request holds.
    #[error("it has more than {} parameters", bounds::PARAMETERS)]
    TooMany,
    /// A value that holds others.
    #[error("the value of \"{0}\" holds others; parameters are one flat list of names and values")]
    Nested(String),
    /// The whole is no object.
    #[error("it is no list of names and values, such as {{\"replicas\": 3}} or replicas: 3")]
    NoObject,
    /// A name that can't be a parameter's.
    #[error(
        "\"{0}\" can't be the name of a parameter: names are at most 64 letters, digits, dashes, dots and underscores"
    )]
    Name(String),
    /// A name that stands there twice.
    #[error("\"{0}\" stands there twice")]
    Duplicate(String),
    /// A name without a value.
    #[error("\"{0}\" has no value; leave it out, or write \"\" for an empty one")]
    Empty(String),
    /// A value longer than a parameter's may be.
    #[error("the value of \"{0}\" is longer than {max} characters", max = bounds::VALUE)]
    TooLong(String),
    /// A value with a character that doesn't show.
    #[error("the value of \"{0}\" holds a character that doesn't show")]
    Hidden(String),
    /// YAML's `&`, `*` and `<<`.
    #[error("anchors, aliases, merges and tags of YAML are not taken; write each value out")]
    Reference,
    /// It breaks off or is malformed.
    #[error("it is not well formed")]
    Malformed,
}

impl PayloadError {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "payload-too-large",
            Self::TooMany => "payload-too-many",
            Self::Nested(_) => "payload-nested",
            Self::NoObject => "payload-no-object",
            Self::Name(_) => "payload-name",
            Self::Duplicate(_) => "payload-duplicate",
            Self::Empty(_) => "payload-empty",
            Self::TooLong(_) => "payload-too-long",
            Self::Hidden(_) => "payload-hidden",
            Self::Reference => "payload-reference",
            Self::Malformed => "payload-malformed",
        }
    }
}

/// Reads what stands in a fence or behind a line: JSON if it begins with a brace, else YAML. A language's name behind
/// the opening fence is skipped.
///
/// # Errors
/// When it is no flat object of at most 64 parameters and 16 KiB.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, PayloadError> {
    if text.len() > MOST_PAYLOAD {
        return Err(PayloadError::TooLarge);
    }
    let text = without_language(text).trim();
    let pairs = if text.starts_with('{') {
        json(text).or_else(|error| match error {
            // Keyboards make curly quotes, with which JSON is none.
            PayloadError::Malformed if text.contains(CURLY) => json(&text.replace(CURLY, "\"")),
            error => Err(error),
        })?
    } else {
        yaml(text)?
    };
    checked(pairs)
}

const CURLY: [char; 4] = ['“', '”', '„', '‟'];

fn without_language(text: &str) -> &str {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    match first.trim() {
        "json" | "yaml" | "yml" => rest,
        _ => text,
    }
}

fn checked(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, PayloadError> {
    let mut found = BTreeMap::new();
    for (key, value) in pairs {
        if value.chars().count() > bounds::VALUE {
            return Err(PayloadError::TooLong(key));
        }
        if value.chars().any(hides) {
            return Err(PayloadError::Hidden(key));
        }
        if found.insert(key.clone(), value).is_some() {
            return Err(PayloadError::Duplicate(key));
        }
    }
    if found.len() > bounds::PARAMETERS {
        return Err(PayloadError::TooMany);
    }
    Ok(found)
}

fn name(key: &str) -> Result<String, PayloadError> {
    parameter_name(key).map_err(|invalid| PayloadError::Name(bounds::cut(&invalid.given, 60)))
}

// === JSON ===

/// The names and values of one object. Each value is found by JSON's own grammar and taken as it is written.
fn json(text: &str) -> Result<Vec<(String, String)>, PayloadError> {
    let mut rest = text.strip_prefix('{').ok_or(PayloadError::NoObject)?;
    let mut pairs = Vec::new();
    if let Some(behind) = rest.trim_start().strip_prefix('}') {
        return ended(behind, pairs);
    }
    loop {
        let (key, behind) = value::<String>(rest)?;
        let key = name(&key)?;
        rest = behind
            .trim_start()
            .strip_prefix(':')
            .ok_or(PayloadError::Malformed)?
            .trim_start();
        let (_, behind) = value::<IgnoredAny>(rest)?;
        let written = rest[..rest.len() - behind.len()].trim();
        let value = match written.chars().next() {
            Some('"') => serde_json::from_str(written).map_err(|_| PayloadError::Malformed)?,
            Some('{' | '[') => return Err(PayloadError::Nested(key)),
            Some('n') => return Err(PayloadError::Empty(key)),
            _ => written.to_owned(),
        };
        pairs.push((key, value));
        let behind = behind.trim_start();
        if let Some(next) = behind.strip_prefix(',') {
            rest = next;
        } else if let Some(behind) = behind.strip_prefix('}') {
            return ended(behind, pairs);
        } else {
            return Err(PayloadError::Malformed);
        }
    }
}

fn ended(
    behind: &str,
    pairs: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, PayloadError> {
    if behind.trim().is_empty() {
        Ok(pairs)
    } else {
        Err(PayloadError::Malformed)
    }
}

/// One JSON value, and what stands behind it.
fn value<'a, Value: Deserialize<'a>>(text: &'a str) -> Result<(Value, &'a str), PayloadError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values
        .next()
        .and_then(Result::ok)
        .ok_or(PayloadError::Malformed)?;
    let behind = text
        .get(values.byte_offset()..)
        .ok_or(PayloadError::Malformed)?;
    Ok((value, behind))
}

// === YAML ===

/// The names and values of one mapping, read twice: once for their kinds, once for their text.
fn yaml(text: &str) -> Result<Vec<(String, String)>, PayloadError> {
    let Shape(kinds) = yaml_as(text)?;
    let kinds = kinds.ok_or(PayloadError::NoObject)?;
    if kinds.len() > bounds::PARAMETERS {
        return Err(PayloadError::TooMany);
    }
    for (key, kind) in kinds {
        let key = name(&key)?;
        match kind {
            Kind::Scalar => {}
            Kind::Nested => return Err(PayloadError::Nested(key)),
            Kind::Nothing => return Err(PayloadError::Empty(key)),
        }
    }
    let found: BTreeMap<String, String> = yaml_as(text)?;
    Ok(found.into_iter().collect())
}

fn yaml_as<Value: for<'de> Deserialize<'de>>(text: &str) -> Result<Value, PayloadError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_documents: 1,
            max_depth: 32,
            max_merge_keys: 0,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        ignore_binary_tag_for_string: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(refused)
}

fn refused(error: serde_saphyr::Error) -> PayloadError {
    match error {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
            PayloadError::Duplicate(bounds::cut(&key.unwrap_or_default(), 60))
        }
        serde_saphyr::Error::MergeKeyNotAllowed { .. }
        | serde_saphyr::Error::UnsupportedTag { .. }
        | serde_saphyr::Error::UnknownAnchor { .. }
        | serde_saphyr::Error::Budget {
            breach:
                BudgetBreach::Aliases { .. }
                | BudgetBreach::Anchors { .. }
                | BudgetBreach::MergeKeys { .. },
            ..
        } => PayloadError::Reference,
        _ => PayloadError::Malformed,
    }
}

enum Kind {
    Scalar,
    Nested,
    Nothing,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<From: Deserializer<'de>>(from: From) -> Result<Self, From::Error> {
        from.deserialize_any(KindOf)
    }
}

struct KindOf;

impl<'de> Visitor<'de> for KindOf {
    type Value = Kind;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_some<From: Deserializer<'de>>(self, from: From) -> Result<Kind, From::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<Items: SeqAccess<'de>>(self, mut items: Items) -> Result<Kind, Items::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Kind::Nested)
    }

    fn visit_map<Pairs: MapAccess<'de>>(self, mut pairs: Pairs) -> Result<Kind, Pairs::Error> {
        while pairs.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Kind::Nested)
    }
}

/// What the values of a mapping are; nothing if the whole is no mapping.
struct Shape(Option<Vec<(String, Kind)>>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<From: Deserializer<'de>>(from: From) -> Result<Self, From::Error> {
        from.deserialize_any(ShapeOf)
    }
}

struct ShapeOf;

impl<'de> Visitor<'de> for ShapeOf {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a mapping")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape(None))
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape(None))
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape(None))
    }

    fn visit_seq<Items: SeqAccess<'de>>(self, mut items: Items) -> Result<Shape, Items::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shape(None))
    }

    fn visit_map<Pairs: MapAccess<'de>>(self, mut pairs: Pairs) -> Result<Shape, Pairs::Error> {
        let mut found = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            found.push(pair);
        }
        Ok(Shape(Some(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(found: &[(&str, &str)]) -> BTreeMap<String, String> {
        found
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn values_are_kept_as_they_are_written() {
        let expected = pairs(&[
            ("a", "1.10"),
            ("b", "true"),
            ("c", "two words"),
            ("d", "1e999"),
            ("e", ""),
            ("f", "100000000000000000000000"),
        ]);
        for text in [
            r#"{"a": 1.10, "b": true, "c": "two words", "d": 1e999, "e": "", "f": 100000000000000000000000}"#,
            "a: 1.10\nb: true\nc: two words\nd: 1e999\ne: \"\"\nf: 100000000000000000000000",
            "yaml\n---\na: 1.10 # why\nb: true\nc: 'two words'\nd: 1e999\ne: ''\nf: 100000000000000000000000\n",
            "{“a”: 1.10, “b”: true, “c”: “two words”, “d”: 1e999, “e”: “”, “f”: 100000000000000000000000}",
        ] {
            assert_eq!(read(text), Ok(expected.clone()), "{text}");
        }
        assert_eq!(
            read("a: 0x1F\nb: 007\nc: yes\nd: 1_000\ne: 2026-11-22\nf: \"null\"\ng: .inf\nh: +1"),
            Ok(pairs(&[
                ("a", "0x1F"),
                ("b", "007"),
                ("c", "yes"),
                ("d", "1_000"),
                ("e", "2026-11-22"),
                ("f", "null"),
                ("g", ".inf"),
                ("h", "+1"),
            ]))
        );
        assert_eq!(
            read(r#"{"a": "\u00e9 \ud83d\ude80 \n"}"#),
            Ok(pairs(&[("a", "é 🚀 \n")]))
        );
        assert_eq!(read("{}"), Ok(pairs(&[])));
    }

    #[test]
    fn what_is_no_flat_list_is_refused() {
        let reason = |text: &str| read(text).map_err(|error| error.reason());
        for (text, expected) in [
            ("a: {b: 1}", "payload-nested"),
            ("a:\n  b: 1", "payload-nested"),
            ("a: [1]", "payload-nested"),
            (r#"{"a": {"b": 1}}"#, "payload-nested"),
            (r#"{"a": [1]}"#, "payload-nested"),
            ("- a", "payload-no-object"),
            ("just text", "payload-no-object"),
            ("17", "payload-no-object"),
            ("", "payload-no-object"),
            ("a:", "payload-empty"),
            ("a: ~", "payload-empty"),
            (r#"{"a": null}"#, "payload-empty"),
            ("a: 1\na: 2", "payload-duplicate"),
            (r#"{"a": 1, "a": 2}"#, "payload-duplicate"),
            ("a: &x 1\nb: *x", "payload-reference"),
            ("a: &x 1", "payload-reference"),
            ("a: *x", "payload-reference"),
            ("<<: {a: 1}", "payload-reference"),
            ("a: !secret 1", "payload-reference"),
            ("a b: 1", "payload-name"),
            ("\"<!channel>\": 1", "payload-name"),
            (r#"{"": 1}"#, "payload-name"),
            (r#"{"a": 1"#, "payload-malformed"),
            (r#"{"a": 1} x"#, "payload-malformed"),
            (r#"{"a": 01}"#, "payload-malformed"),
            (r#"{"a" 1}"#, "payload-malformed"),
            ("{\"a\": \"\\u202e\"}", "payload-hidden"),
            ("a: \"\\e\"", "payload-hidden"),
        ] {
            assert_eq!(reason(text), Err(expected), "{text}");
        }
        assert_eq!(
            reason(&format!("a: {}", "x".repeat(2000))),
            Err("payload-too-long")
        );
        assert_eq!(
            reason(&"#".repeat(MOST_PAYLOAD + 1)),
            Err("payload-too-large")
        );
        assert_eq!(
            reason(&format!("a: {}", "[".repeat(10_000))).map(|_| ()),
            Err("payload-malformed")
        );
        assert!(reason(&format!("{{\"a\": {}", "[".repeat(10_000))).is_err());
        let many: Vec<String> = (0..65).map(|number| format!("a{number}: 1")).collect();
        assert_eq!(reason(&many.join("\n")), Err("payload-too-many"));
    }
}
