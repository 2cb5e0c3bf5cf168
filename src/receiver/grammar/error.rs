//! What is wrong with a line, in words for whoever typed it. Touches nothing.

use super::{Draft, InvalidName, PayloadError, name::hides};
use crate::api::bounds;

/// How much of the input is quoted.
const MOST_QUOTED: usize = 200;
/// How much of a single word.
const MOST_WORD: usize = 60;

/// A line that can't be read.
///
/// Everything in it came from the person who typed, or from the vocabulary of what they may see. It is plain text and
/// not escaped for Slack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ParseError {
    input: String,
    problem: Problem,
    nearest: String,
    draft: Box<Draft>,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A word too many.
    #[error("\"{}\" has no place here", word(.0))]
    UnknownWord(String),
    /// It stands where the verb does, and no application that the person may see has such an action.
    #[error("\"{}\" is nothing that can be done here", word(.0))]
    UnknownVerb(String),
    /// `--force` and the like.
    #[error("there is no option \"{}\"; put a value that begins with a dash in quotes", word(.0))]
    UnknownOption(String),
    /// Help on what there is none on.
    #[error("there is no help on \"{}\"", word(.0))]
    UnknownTopic(String),
    /// The verb needs an application.
    #[error("\"{0}\" needs an application")]
    MissingApplication(String),
    /// `to`, `in` or `on` with nothing behind it.
    #[error("\"{0}\" needs an environment behind it; put it in quotes if it is a name")]
    MissingEnvironment(String),
    /// `cancel` alone.
    #[error("\"cancel\" needs the name of a request, or an application and an environment")]
    MissingCancelled,
    /// `lock` or `unlock` alone.
    #[error("\"{0}\" needs an application and an environment, or an environment alone")]
    MissingGuarded(&'static str),
    /// An application, and no environment.
    #[error("\"{verb}\" needs an environment behind \"{}\"", word(.application))]
    MissingWhere {
        /// The verb.
        verb: &'static str,
        /// The application.
        application: String,
    },
    /// It keeps others from starting, and doesn't say why.
    #[error("\"{0}\" needs a reason, in quotes: everybody whom it stops reads it")]
    MissingReason(&'static str),
    /// `why` alone.
    #[error("\"why\" needs the name of a request, or an application and an environment")]
    MissingAsked,
    /// A time that isn't one, or none.
    #[error("\"{}\" is no time: say how long, as 2h or 3d, or until when with its zone, as 2026-11-24T06:00Z", word(.0))]
    HowLong(String),
    /// The same thing is said twice.
    #[error("{0} is given twice")]
    Repeated(String),
    /// The verb takes nothing of the kind.
    #[error("\"{verb}\" takes no {what}")]
    NotTaken {
        /// The verb.
        verb: String,
        /// What it doesn't take.
        what: &'static str,
    },
    /// A word that can't be a name.
    #[error("\"{}\" can't be {}: {}", word(&.0.given), .0.what, .0.rule)]
    Name(InvalidName),
    /// A quote without its end.
    #[error("a quote begins with {} and never ends", word(.0))]
    Unclosed(String),
    /// Text right behind a closing quote.
    #[error("something follows right behind the closing quote of {}; leave a space, or write \\\" for a quote inside", word(.0))]
    Glued(String),
    /// A character that doesn't show.
    #[error("the text holds a character that doesn't show (U+{0:04X}); type it again without")]
    Hidden(u32),
    /// Too much of something.
    #[error("{what} may have {most} characters at most")]
    TooLong {
        /// Of what.
        what: String,
        /// The bound.
        most: usize,
    },
    /// More parameters than a request holds.
    #[error("a request holds {} parameters at most", bounds::PARAMETERS)]
    TooManyParameters,
    /// A time that isn't one.
    #[error(
        "\"{}\" is no time: write it as 2027-01-31T22:00:00+01:00, or with a Z at its end for UTC, behind \"{what}\"",
        word(given)
    )]
    Moment {
        /// The word before it.
        what: &'static str,
        /// What stands there.
        given: String,
    },
    /// It couldn't start at all.
    #[error(
        "it can't start between \"at:\" and \"before:\", since the second is not after the first"
    )]
    NoTime,
    /// What follows the line can't be read as parameters.
    #[error("what follows can't be read as parameters: {0}")]
    Payload(#[from] PayloadError),
}

impl From<InvalidName> for Problem {
    fn from(invalid: InvalidName) -> Self {
        Self::Name(invalid)
    }
}

impl Problem {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownWord(_) => "unknown-word",
            Self::UnknownVerb(_) => "unknown-verb",
            Self::UnknownOption(_) => "unknown-option",
            Self::UnknownTopic(_) => "unknown-topic",
            Self::MissingApplication(_) => "missing-application",
            Self::MissingEnvironment(_) => "missing-environment",
            Self::MissingCancelled => "missing-cancelled",
            Self::MissingGuarded(_) => "missing-guarded",
            Self::MissingWhere { .. } => "missing-where",
            Self::MissingReason(_) => "missing-reason",
            Self::MissingAsked => "missing-asked",
            Self::HowLong(_) => "invalid-time",
            Self::Repeated(_) => "repeated",
            Self::NotTaken { .. } => "not-taken",
            Self::Name(invalid) => invalid.reason(),
            Self::Unclosed(_) => "unclosed-quote",
            Self::Glued(_) => "glued-quote",
            Self::Hidden(_) => "hidden-character",
            Self::TooLong { .. } => "too-long",
            Self::TooManyParameters => "too-many-parameters",
            Self::Moment { .. } => "unreadable-time",
            Self::NoTime => "no-time-between",
            Self::Payload(error) => error.reason(),
        }
    }
}

impl ParseError {
    pub(super) fn new(input: &str, problem: Problem, nearest: String, draft: Draft) -> Self {
        Self {
            input: bounds::cut(&visible(input.trim()), MOST_QUOTED),
            problem,
            nearest,
            draft: Box::new(draft),
        }
    }

    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        self.problem.reason()
    }

    /// What is wrong.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What was typed, on one line, cut to 200 characters, with a sign for each that doesn't show. Untrusted.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The nearest form that would do, with the command before it: `/deploy checkout main to staging`. What has to be
    /// filled in stands in angle brackets. Untrusted, since it repeats what was understood.
    pub fn nearest(&self) -> &str {
        &self.nearest
    }

    /// What was understood, for the button that opens the form.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// All of it as one paragraph of plain text: for Slack, where markup isn't parsed. Untrusted.
    pub fn sentence(&self) -> String {
        let Self {
            input,
            problem,
            nearest,
            ..
        } = self;
        format!("\"{input}\" can't be read: {problem}. Nothing was started. Try: {nearest}")
    }
}

/// A word of the input, fit to stand in a sentence.
fn word(text: &str) -> String {
    bounds::cut(&visible(text), MOST_WORD)
}

/// On one line, and with a sign for each character that doesn't show.
fn visible(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\n' | '\t' => ' ',
            _ if hides(char) => char::REPLACEMENT_CHARACTER,
            _ => char,
        })
        .collect()
}
