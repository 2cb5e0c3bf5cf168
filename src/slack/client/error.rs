//! What can go wrong between us and Slack's Web API, sorted by what to do about it. Touches nothing.

use std::{fmt, time::Duration};

use super::words::{self, Class};
use crate::slack::text::clean;

/// The most characters of anything that Slack says.
const MOST: usize = 300;

/// Why a call did not do what it should, by what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlackError {
    /// Nothing was done; the same call may work later.
    #[error("Slack can't do it now: {word}")]
    Retry {
        /// What went wrong.
        word: Word,
        /// How long Slack asks us to wait.
        after: Option<Duration>,
    },
    /// The answer is lost: it may have been done. Sent again, people may see it twice.
    #[error("it is unknown whether Slack did it: {word}")]
    Uncertain {
        /// What went wrong.
        word: Word,
    },
    /// Nothing will work until somebody changes the app's installation or its token.
    #[error("Slack doesn't accept the app: {word}{detail}")]
    Stop {
        /// What went wrong.
        word: Word,
        /// What is missing.
        detail: Detail,
    },
    /// Not there, but elsewhere it may work.
    #[error("not possible there: {word}")]
    FallBack {
        /// Where it may work.
        to: Elsewhere,
        /// What went wrong.
        word: Word,
    },
    /// We sent what Slack doesn't take. Without blocks it may.
    #[error("Slack doesn't take what was sent: {word}{detail}")]
    OurBug {
        /// What went wrong.
        word: Word,
        /// Which part of it.
        detail: Detail,
    },
    /// What was asked for isn't there, or is no longer.
    #[error("Slack doesn't find it: {word}")]
    Missing {
        /// What went wrong.
        word: Word,
    },
    /// Slack refuses, for a reason that we don't know how to answer.
    #[error("Slack refuses: {word}")]
    Refused {
        /// What went wrong.
        word: Word,
    },
}

/// Where something may work that doesn't work here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// The channel can't be written to: in a direct message to whoever asked.
    DirectMessage,
    /// The message can't be changed: in a new one, in its thread.
    NewMessage,
}

/// Slack's word for an error, or ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    fixed: &'static str,
    said: Option<String>,
}

impl Word {
    pub(super) fn fixed(word: &'static str) -> Self {
        Self {
            fixed: word,
            said: None,
        }
    }

    /// The word, if it is one that we know; else `other`.
    pub fn as_str(&self) -> &'static str {
        self.fixed
    }
}

impl fmt::Display for Word {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.said.as_deref().unwrap_or(self.fixed))
    }
}

/// More than the word, cleaned and cut; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    pub(super) fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let parts: Vec<&str> = parts.into_iter().collect();
        Self(clean(&parts.join("; "), MOST))
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(formatter, " ({})", self.0)
    }
}

impl SlackError {
    /// The fixed word for metrics and conditions: Slack's own where we know it, else `other`.
    pub fn reason(&self) -> &'static str {
        self.word().as_str()
    }

    /// How long Slack asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retry { after, .. } => *after,
            _ => None,
        }
    }

    /// Whether Slack knows nobody by that token (any more), so that nothing was done. Another token may do.
    pub(super) fn is_refused_token(&self) -> bool {
        let words = [
            "invalid_auth",
            "not_authed",
            "token_revoked",
            "token_expired",
            "account_inactive",
        ];
        matches!(self, Self::Stop { word, .. } if words.contains(&word.as_str()))
    }

    fn word(&self) -> &Word {
        match self {
            Self::Retry { word, .. }
            | Self::Uncertain { word }
            | Self::Stop { word, .. }
            | Self::FallBack { word, .. }
            | Self::OurBug { word, .. }
            | Self::Missing { word }
            | Self::Refused { word } => word,
        }
    }

    /// What Slack's `error` means. `repeatable` says that a second call does no harm.
    pub(super) fn said(error: &str, detail: Detail, repeatable: bool) -> Self {
        let (fixed, class) = words::find(error);
        let word = Word {
            fixed,
            said: (fixed == words::OTHER).then(|| clean(error, MOST)),
        };
        match class {
            Class::Limited => Self::Retry { word, after: None },
            Class::Trouble if repeatable => Self::Retry { word, after: None },
            Class::Trouble => Self::Uncertain { word },
            Class::Stop => Self::Stop { word, detail },
            Class::FallBack(to) => Self::FallBack { to, word },
            Class::OurBug => Self::OurBug { word, detail },
            Class::Missing => Self::Missing { word },
            Class::Other => Self::Refused { word },
        }
    }

    /// The answer is lost, or makes no sense.
    pub(super) fn lost(word: &'static str, repeatable: bool) -> Self {
        let word = Word::fixed(word);
        if repeatable {
            Self::Retry { word, after: None }
        } else {
            Self::Uncertain { word }
        }
    }

    /// Nothing was sent.
    pub(super) fn not_sent(word: &'static str) -> Self {
        Self::Retry {
            word: Word::fixed(word),
            after: None,
        }
    }

    /// We can't even send it.
    pub(super) fn own(word: &'static str) -> Self {
        Self::OurBug {
            word: Word::fixed(word),
            detail: Detail::default(),
        }
    }
}
