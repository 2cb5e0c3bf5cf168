//! Applications and Environments for what a Spinnaker has already, as YAML to read, correct and apply. Touches Gate (reads) and,
//! for a connection's login, the API server (reads).
//!
//! `guess` is pure: pipelines in, a page out. One application that can't be read costs itself alone.

pub mod guess;
pub mod login;

use std::collections::HashSet;

use futures::{StreamExt, stream};

use self::guess::page::{self, Destination, Imported, Outcome};
use crate::spinnaker::{GateClient, GateError};

/// Applications read at once: a Gate has others to serve.
const AT_ONCE: usize = 4;
/// Applications read by one import, each by a call of its own: how many there are is Gate's word.
const MOST: usize = 10_000;

/// Reads these Spinnaker applications, all where none is named, and says what they come to. What doesn't exist, and what
/// can't be read, is in [`Imported::failed`]; so is how many there are beyond 10 000, which are not asked for.
///
/// # Errors
/// When Gate doesn't say which applications there are.
pub async fn import(
    gate: &GateClient,
    named: &[String],
    destination: &Destination,
) -> Result<Imported, GateError> {
    // Also where some are named: whether there is such a one, a list of no pipelines doesn't tell.
    let known = gate.applications().await?;
    let wanted = wanted(&known, named);
    let mut outcomes: Vec<Outcome> = stream::iter(wanted.names)
        .map(async |(name, there)| {
            if !there {
                let why = "Gate lists no such application for this login";
                return Err((name, why.to_owned()));
            }
            // Only what it comes to is kept: definitions can be megabytes.
            match gate.pipelines(&name).await {
                Ok(pipelines) => Ok(guess::application(&name, pipelines)),
                Err(error) => Err((name, error.to_string())),
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    outcomes.extend(wanted.beyond.map(Err));
    Ok(page::page(destination, outcomes))
}

/// What is to be read.
struct Wanted {
    /// Each application, and whether Gate lists it.
    names: Vec<(String, bool)>,
    /// Those that are too many, as a line of their own.
    beyond: Option<(String, String)>,
}

fn wanted(known: &[String], named: &[String]) -> Wanted {
    let listed: HashSet<String> = known.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut chosen = if named.is_empty() { known } else { named }.to_vec();
    chosen.sort();
    chosen.dedup();
    let beyond = chosen.len().saturating_sub(MOST);
    chosen.truncate(MOST);
    let beyond = (beyond > 0).then(|| {
        let why =
            format!("one import reads {MOST} applications at most; name these with --application");
        (format!("{beyond} more applications"), why)
    });
    let chosen = chosen.into_iter().map(|name| {
        let there = listed.contains(&name.to_ascii_lowercase());
        (name, there)
    });
    Wanted {
        names: chosen.collect(),
        beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_application_is_known_whatever_its_case() {
        let wanted = wanted(&texts(&["Shop", "till"]), &texts(&["shop", "TILL", "none"]));
        let found: Vec<(&str, bool)> = wanted
            .names
            .iter()
            .map(|(name, there)| (name.as_str(), *there))
            .collect();
        assert_eq!(found, [("TILL", true), ("none", false), ("shop", true)]);
        assert!(wanted.beyond.is_none());
    }

    #[test]
    fn however_many_gate_lists_there_is_an_end_and_it_is_told() {
        let known: Vec<String> = (0..MOST + 7)
            .map(|number| format!("app{number:06}"))
            .collect();
        let wanted = wanted(&known, &[]);
        assert_eq!(wanted.names.len(), MOST);
        assert!(wanted.names.iter().all(|(_, there)| *there));
        let (what, why) = wanted.beyond.unwrap();
        assert_eq!(what, "7 more applications");
        assert!(why.contains("10000 applications at most"), "{why}");
    }
}
