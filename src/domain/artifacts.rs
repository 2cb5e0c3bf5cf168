//! The artifacts that a pipeline gets, and whether they are those that it expects. Touches nothing.

use super::{refusal::Refusal, resolve::render, template::Scope};
use crate::api::{application::Action, artifact::Artifact};

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

/// The action's artifacts, rendered.
///
/// # Errors
/// A template names what the request hasn't got.
pub fn rendered(action: &Action, scope: &Scope<'_>) -> Result<Vec<Artifact>, Refusal> {
    let field = |text: &Option<String>| text.as_ref().map(|text| render(text, scope)).transpose();
    action
        .artifacts
        .iter()
        .map(|artifact| {
            Ok(Artifact {
                kind: render(&artifact.kind, scope)?,
                name: render(&artifact.name, scope)?,
                version: field(&artifact.version)?,
                location: field(&artifact.location)?,
                reference: field(&artifact.reference)?,
                artifact_account: field(&artifact.artifact_account)?,
            })
        })
        .collect()
}
