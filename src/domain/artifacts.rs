//! The artifacts that a pipeline gets, and whether they are those that it expects. Touches nothing.
//!
//! Orca's own rules, in kork's `ExpectedArtifact.matches` and Orca's `ArtifactResolver.resolveSingleArtifact`: type, name,
//! version, location and reference are compared, the account isn't. A field that the pipeline leaves out or empty takes
//! anything; otherwise the artifact must have it, and it must be equal to the field or, as a whole, match it as a regular
//! expression of Java's. More than one that match are refused, and so are none; then an earlier execution's artifact is
//! taken where the pipeline says so (of the newest execution, however that ended), and then its default. What matches is
//! bound only if the trigger names it: `ArtifactUtils.resolveArtifacts` passes over an expected artifact that is not in the
//! trigger's `expectedArtifactIds` and has neither default nor predecessor, silently. It is why the ids are sent, and why
//! every expected artifact has to be met here. Where Orca refuses, it answers 400 "Unmatched expected artifact … could not be
//! resolved." or "Expected artifact … matches multiple artifacts …" and leaves a TERMINAL record under the execution's id
//! (`OperationsController.orchestratePipeline`, `ExecutionLauncher.fail`), over whatever had that id.
//!
//! Java's regular expressions are more than ours. Of one that can't be read here nobody knows what it takes, so that an
//! artifact which isn't equal to it is refused.

use regex_lite::Regex;

use super::{
    parameters,
    refusal::Refusal,
    resolve::{Pipeline, render},
    template::Scope,
};
use crate::api::{application::Action, artifact::Artifact, bounds, conditions::Reason};

/// Two types that Orca takes for each other.
const BASE64: [&str; 2] = ["embedded/base64", "remote/base64"];
/// What begins a template.
const TEMPLATE: &str = "{{";
/// Ends of lines, at which a dot of Java's stops and one of ours doesn't, are all among these.
const LINES: [char; 2] = ['\u{2028}', '\u{2029}'];

/// An artifact that a pipeline expects, as its definition has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Spinnaker's id of it.
    pub id: String,
    /// As people see it.
    pub name: String,
    /// What has to match: each field that is there, a regular expression.
    pub wanted: Pattern,
    /// Whether the pipeline has a default for it.
    pub has_default: bool,
    /// Whether it would take an earlier execution's.
    pub takes_earlier: bool,
}

/// What an artifact has to look like; any where a field is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pattern {
    /// Spinnaker's type.
    pub kind: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its location.
    pub location: Option<String>,
    /// Its reference.
    pub reference: Option<String>,
}

/// A field of an artifact of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    /// It has none.
    Absent,
    /// This.
    Is(&'a str),
    /// What a template makes of a request.
    Open,
}

/// A pattern of Java's that isn't one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unreadable<'a>(&'a str);

/// The action's artifacts, rendered.
///
/// # Errors
/// A template names what the request hasn't got, or a field holds what Spinnaker would evaluate or a control character.
pub fn rendered(action: &Action, scope: &Scope<'_>) -> Result<Vec<Artifact>, Refusal> {
    let one = |text: &String| -> Result<String, Refusal> {
        let value = render(text, scope)?;
        parameters::refuse_expression("an artifact of the action", &value)?;
        if value
            .chars()
            .any(|letter| letter.is_control() || LINES.contains(&letter))
        {
            return Err(Refusal::permanent(
                Reason::TemplateFailed,
                format!(
                    "an artifact of the action {:?} has a control character in it; correct the template, or what the request gives it.",
                    scope.action
                ),
            ));
        }
        Ok(value)
    };
    let field = |text: &Option<String>| text.as_ref().map(&one).transpose();
    action
        .artifacts
        .iter()
        .map(|artifact| {
            Ok(Artifact {
                kind: one(&artifact.kind)?,
                name: one(&artifact.name)?,
                version: field(&artifact.version)?,
                location: field(&artifact.location)?,
                reference: field(&artifact.reference)?,
                artifact_account: field(&artifact.artifact_account)?,
            })
        })
        .collect()
}

/// The ids of the expected artifacts that these meet: what the trigger has to name.
///
/// # Errors
/// One is met by none of them or by several ([`Reason::ArtifactUnmatched`]), or only by a default or an earlier execution's
/// artifact without `allow_default` ([`Reason::ArtifactDefault`]).
pub fn bound(
    pipeline: &Pipeline,
    artifacts: &[Artifact],
    allow_default: bool,
) -> Result<Vec<String>, Refusal> {
    let mut ids = Vec::new();
    for expected in &pipeline.expected {
        let mut met: Vec<&Artifact> = Vec::new();
        for artifact in artifacts {
            let matches = takes(&expected.wanted, &fields(artifact, Field::Is))
                .map_err(|pattern| unreadable(pipeline, expected, pattern))?;
            // Orca keeps a set: the same one twice is one.
            if matches && !met.contains(&artifact) {
                met.push(artifact);
            }
        }
        match met.as_slice() {
            [_] => ids.push(expected.id.clone()),
            [] if allow_default && falls_back(expected) => {}
            [] => return Err(unmet(pipeline, expected, artifacts)),
            several => {
                let listed: Vec<String> = several.iter().map(|one| shown(one)).collect();
                return Err(Refusal::permanent(
                    Reason::ArtifactUnmatched,
                    format!(
                        "{} is matched by more than one artifact of the action: {}; leave one of them out, or have the pipeline expect something narrower.",
                        of(pipeline, expected),
                        listed.join(", ")
                    ),
                ));
            }
        }
    }
    Ok(ids)
}

/// Whether some request could meet all that the pipeline expects: whatever a template may become counts for anything.
///
/// # Errors
/// None could, as far as the action's fixed texts say: as in [`bound`].
pub fn possible(pipeline: &Pipeline, action: &Action) -> Result<(), Refusal> {
    let open = |text| {
        if str::contains(text, TEMPLATE) {
            Field::Open
        } else {
            Field::Is(text)
        }
    };
    for expected in &pipeline.expected {
        let met = action.artifacts.iter().any(|artifact| {
            // What can't be read is said of the request, which may be equal to it.
            takes(&expected.wanted, &fields(artifact, open)).unwrap_or(true)
        });
        let allowed = action.allow_default_artifact && falls_back(expected);
        if !(met || allowed) {
            return Err(unmet(pipeline, expected, &action.artifacts));
        }
    }
    Ok(())
}

/// An expected artifact in a few words, for people: `image: docker/image registry.example/shop/checkout`.
pub fn in_words(expected: &Expected) -> String {
    let wanted = &expected.wanted;
    let parts: Vec<&str> = [
        &wanted.kind,
        &wanted.name,
        &wanted.version,
        &wanted.location,
        &wanted.reference,
    ]
    .into_iter()
    .filter_map(|field| field.as_deref())
    .filter(|text| !text.is_empty())
    .collect();
    let what = if parts.is_empty() {
        "anything".to_owned()
    } else {
        parts.join(" ")
    };
    let name = if expected.name.is_empty() {
        &expected.id
    } else {
        &expected.name
    };
    bounds::cut(&format!("{name}: {what}"), bounds::VALUE)
}

fn falls_back(expected: &Expected) -> bool {
    expected.has_default || expected.takes_earlier
}

/// Type, name, version, location and reference, in Orca's order.
fn fields<'a>(artifact: &'a Artifact, is: impl Fn(&'a str) -> Field<'a>) -> [Field<'a>; 5] {
    let optional = |text: &'a Option<String>| text.as_deref().map_or(Field::Absent, &is);
    [
        is(&artifact.kind),
        is(&artifact.name),
        optional(&artifact.version),
        optional(&artifact.location),
        optional(&artifact.reference),
    ]
}

/// Whether an artifact is what is wanted.
fn takes<'a>(wanted: &'a Pattern, artifact: &[Field<'_>; 5]) -> Result<bool, Unreadable<'a>> {
    let patterns = [
        &wanted.kind,
        &wanted.name,
        &wanted.version,
        &wanted.location,
        &wanted.reference,
    ];
    for (index, (pattern, field)) in patterns.into_iter().zip(artifact).enumerate() {
        let Some(pattern) = pattern.as_deref().filter(|text| !text.is_empty()) else {
            continue;
        };
        let text = match field {
            Field::Absent => return Ok(false),
            Field::Open => continue,
            Field::Is(text) => *text,
        };
        let related = index == 0 && BASE64.contains(&pattern) && BASE64.contains(&text);
        if pattern != text && !related && !whole(pattern)?.is_match(text) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A pattern of Java's that is to match as a whole, where it means the same here.
fn whole(pattern: &str) -> Result<Regex, Unreadable<'_>> {
    let mut before = None;
    let mut escaped = false;
    for letter in pattern.chars() {
        // Possessive in Java, a repetition of a repetition here; and what has another meaning behind a backslash.
        let repeated = before.is_some_and(|before| "*+?}".contains(before));
        if (!escaped && letter == '+' && repeated) || (escaped && "v<>".contains(letter)) {
            return Err(Unreadable(pattern));
        }
        before = (!escaped).then_some(letter);
        escaped = !escaped && letter == '\\';
    }
    // Flags that Java reads otherwise.
    if pattern.contains("(?U") || pattern.contains("\\b{") {
        return Err(Unreadable(pattern));
    }
    Regex::new(&format!("\\A(?:{pattern})\\z")).map_err(|_| Unreadable(pattern))
}

fn unreadable(pipeline: &Pipeline, expected: &Expected, pattern: Unreadable<'_>) -> Refusal {
    Refusal::permanent(
        Reason::ArtifactUnmatched,
        format!(
            "{} is described by a regular expression that Foredeck can't read, {:?}, and no artifact of the action equals it; have the pipeline expect it by a simpler one.",
            of(pipeline, expected),
            bounds::cut(pattern.0, bounds::NAME)
        ),
    )
}

fn unmet(pipeline: &Pipeline, expected: &Expected, artifacts: &[Artifact]) -> Refusal {
    let ours = if artifacts.is_empty() {
        "the action has no artifacts".to_owned()
    } else {
        let listed: Vec<String> = artifacts.iter().map(shown).collect();
        format!(
            "none of the action's artifacts matches it: {}",
            listed.join(", ")
        )
    };
    let what = of(pipeline, expected);
    if falls_back(expected) {
        let instead = match (expected.takes_earlier, expected.has_default) {
            (true, true) => "an earlier execution's, or its default",
            (true, false) => "an earlier execution's",
            _ => "its default",
        };
        return Refusal::permanent(
            Reason::ArtifactDefault,
            format!(
                "{what} isn't given: {ours}; Spinnaker would silently take {instead}. Give the action an artifact that matches, or say allowDefaultArtifact: true there."
            ),
        );
    }
    Refusal::permanent(
        Reason::ArtifactUnmatched,
        format!(
            "{what} isn't given: {ours}. Correct the action's artifacts, or what the pipeline expects."
        ),
    )
}

fn of(pipeline: &Pipeline, expected: &Expected) -> String {
    let name = bounds::cut(&pipeline.name, bounds::NAME);
    let wanted = bounds::cut(&in_words(expected), bounds::TITLE);
    format!("the artifact that pipeline {name:?} expects ({wanted})")
}

/// An artifact of ours in a few words: `docker/image registry.example/shop/checkout 3f2a1bc`.
pub fn shown(artifact: &Artifact) -> String {
    let rest = [&artifact.version, &artifact.location, &artifact.reference];
    let parts: Vec<&str> = [artifact.kind.as_str(), artifact.name.as_str()]
        .into_iter()
        .chain(rest.into_iter().filter_map(|field| field.as_deref()))
        .filter(|text| !text.is_empty())
        .collect();
    bounds::cut(&parts.join(" "), bounds::TITLE)
}

#[cfg(test)]
#[path = "artifacts_tests.rs"]
mod tests;
