//! The words of a line, sorted, and what each of them names. Touches nothing.

use std::collections::BTreeMap;

use super::{
    ApplicationRef, Problem,
    name::{application_name, environment_name, team_name, version_name},
    table,
    words::{AT, BEFORE, OVERRIDE, REASON, Word},
};

/// The words of a line, sorted by what they are.
#[derive(Default)]
pub(super) struct Line {
    /// Application and version, in this order, and the environment if no connective names it.
    pub(super) places: Vec<Value>,
    pub(super) environment: Option<String>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) payload: Option<String>,
}

#[derive(Clone)]
pub(super) struct Value {
    pub(super) text: String,
    /// The version behind `@`, where it stands in quotes.
    pub(super) version: Option<String>,
    pub(super) quoted: bool,
}

/// Sorts the words behind the verb.
pub(super) fn line(words: &[Word], payload: Option<String>) -> Result<Line, Problem> {
    let mut line = Line {
        payload,
        ..Line::default()
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = match word {
            Word::Setting(key, value) => {
                line.settings.push((key.clone(), value.clone()));
                continue;
            }
            Word::Bare(text) if table::is_connective(text) => {
                let place = match words.next() {
                    Some(Word::Bare(place)) if !table::is_connective(place) => place,
                    Some(Word::Quoted(place)) => place,
                    _ => return Err(Problem::MissingEnvironment(text.to_ascii_lowercase())),
                };
                set(
                    &mut line.environment,
                    environment_name(place)?,
                    "the environment",
                )?;
                continue;
            }
            Word::Bare(text) if text.starts_with('-') => {
                return Err(Problem::UnknownOption(text.clone()));
            }
            Word::Bare(text) => Value {
                text: text.clone(),
                version: None,
                quoted: false,
            },
            Word::Quoted(text) => Value {
                text: text.clone(),
                version: None,
                quoted: true,
            },
            Word::Versioned(name, version) => Value {
                text: name.clone(),
                version: Some(version.clone()),
                quoted: false,
            },
        };
        // Only an application has a version behind it.
        if value.version.is_some() && !line.places.is_empty() {
            return Err(Problem::UnknownWord(format!("{}@", value.text)));
        }
        line.places.push(value);
    }
    Ok(line)
}

impl Value {
    /// As the vocabulary has it: without team and version, in lower case.
    pub(super) fn name(&self) -> String {
        let name = self.text.split('@').next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        name.to_ascii_lowercase()
    }
}

/// `application`, `team/application`, `application@version`.
pub(super) fn application(value: &Value) -> Result<(ApplicationRef, Option<String>), Problem> {
    let (name, version) = match (&value.version, value.text.split_once('@')) {
        (Some(version), _) => (value.text.as_str(), Some(version.as_str())),
        (None, Some((name, version))) => (name, Some(version)),
        (None, None) => (value.text.as_str(), None),
    };
    let application = reference(name, application_name)?;
    let version = version.map(version_name).transpose()?;
    Ok((application, version))
}

/// A name with or without its team, and without a version.
pub(super) fn qualified(
    value: &Value,
    check: fn(&str) -> Result<String, super::InvalidName>,
) -> Result<ApplicationRef, Problem> {
    match &value.version {
        Some(version) => Err(Problem::UnknownWord(version.clone())),
        None => reference(&value.text, check),
    }
}

fn reference(
    text: &str,
    check: fn(&str) -> Result<String, super::InvalidName>,
) -> Result<ApplicationRef, Problem> {
    Ok(match text.split_once('/') {
        Some((team, name)) => ApplicationRef::of(team_name(team)?, check(name)?),
        None => ApplicationRef::bare(check(text)?),
    })
}

pub(super) fn one_too_many(value: &Value, what: &str) -> Problem {
    if value.quoted {
        Problem::Repeated(what.to_owned())
    } else {
        Problem::UnknownWord(value.text.clone())
    }
}

pub(super) fn environment(value: &Value) -> Result<String, Problem> {
    match &value.version {
        Some(version) => Err(Problem::UnknownWord(version.clone())),
        None => Ok(environment_name(&value.text)?),
    }
}

pub(super) fn set<T>(field: &mut Option<T>, value: T, what: &str) -> Result<(), Problem> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::Repeated(what.to_owned())),
    }
}

/// Refuses settings and pasted parameters where nothing is made of them.
pub(super) fn only_names(line: &Line, verb: &str, reasons: bool) -> Result<(), Problem> {
    let not_taken = |what| {
        Err(Problem::NotTaken {
            verb: verb.to_owned(),
            what,
        })
    };
    let settings: BTreeMap<&str, &str> = line
        .settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    for (key, what) in [(OVERRIDE, "override"), (AT, "time"), (BEFORE, "time")] {
        if settings.contains_key(key) {
            return not_taken(what);
        }
    }
    if line.payload.is_some() || settings.keys().any(|key| *key != REASON) {
        return not_taken("parameters");
    }
    if settings.contains_key(REASON) && !reasons {
        return not_taken("reason");
    }
    Ok(())
}
