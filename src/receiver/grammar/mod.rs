//! What people type: from a line of text to what they mean. Touches nothing.
//!
//! [`parse`] is total and drops nothing silently: every word is part of the meaning, or the answer quotes the input, says
//! what is wrong with it and shows the nearest form that would do. The forms stand in [`table`], which drives help and the
//! tests; [`render`] writes a meaning as a person would type it.
//!
//! A word in quotes is a value, never a verb or a connective, so that whatever is named like one can still be reached.

mod error;
mod guarding;
mod intent;
mod line;
mod name;
mod nearest;
mod normal;
mod parse;
mod payload;
mod render;
pub mod table;
mod vocabulary;
mod words;

pub use error::{ParseError, Problem};
pub use intent::{
    Act, ApplicationRef, Cancel, CancelWhat, Draft, Intent, Lock, LockWhat, Terms, Until,
};
pub use name::{InvalidName, application_name, environment_name, parameter_name, version_name};
pub(crate) use nearest::closest;
pub use normal::wire;
pub use parse::{Typed, parse, parse_typed};
pub use payload::{MOST_PAYLOAD, PayloadError, read as read_payload};
pub use render::{guarded, render, render_draft};
pub use vocabulary::Vocabulary;

#[cfg(test)]
mod guarding_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
