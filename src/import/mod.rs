//! Applications and Environments for what a Spinnaker has already, as YAML to read, correct and apply. Touches Gate (reads) and,
//! for a connection's login, the API server (reads).
//!
//! `guess` is pure: pipelines in, a page out. One application that can't be read costs itself alone.

pub mod guess;
pub mod login;

use futures::{StreamExt, stream};

use self::guess::page::{self, Destination, Imported, Outcome};
use crate::spinnaker::{GateClient, GateError};

/// Applications read at once: a Gate has others to serve.
const AT_ONCE: usize = 4;

/// Reads these Spinnaker applications, all where none is named, and says what they come to. What doesn't exist, and what
/// can't be read, is in [`Imported::failed`].
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
    let mut wanted: Vec<String> = if named.is_empty() {
        known.clone()
    } else {
        named.to_vec()
    };
    wanted.sort();
    wanted.dedup();
    let outcomes: Vec<Outcome> = stream::iter(wanted)
        .map(async |name| {
            let there = known.iter().any(|known| known.eq_ignore_ascii_case(&name));
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
    Ok(page::page(destination, outcomes))
}
