//! Slack's identifiers, checked where they come in, so that none can smuggle markup, paths or labels. Touches nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Slack's own have 9 to 13 characters; the bound is for what isn't Slack's.
const MOST: usize = 64;
/// Triggers are longer.
const MOST_TRIGGER: usize = 255;

/// A string that can't be such an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no {what}")]
pub struct InvalidId {
    what: &'static str,
}

impl InvalidId {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        "invalid-id"
    }
}

macro_rules! identifier {
    ($(#[$documentation:meta])* $name:ident, $what:literal, $valid:expr) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// When its characters, its first letter or its length are not such an identifier's.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { what: $what })
                }
            }

            /// The identifier as Slack writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// A workspace (`T…`). For people of an Enterprise organisation Slack may give the organisation (`E…`) here.
    TeamId, "workspace id", |text| begins(text, &['T', 'E'])
);
identifier!(
    /// An Enterprise organisation (`E…`).
    EnterpriseId, "enterprise id", |text| begins(text, &['E'])
);
identifier!(
    /// A person or a bot user (`U…`, `W…`). Unique within a workspace, or an organisation.
    UserId, "user id", |text| begins(text, &['U', 'W'])
);
identifier!(
    /// A channel (`C…`), an older private channel or group conversation (`G…`), or a direct one (`D…`).
    ChannelId, "channel id", |text| begins(text, &['C', 'G', 'D'])
);
identifier!(
    /// An app (`A…`).
    AppId, "app id", |text| begins(text, &['A'])
);
identifier!(
    /// A user group (`S…`).
    GroupId, "user group id", |text| begins(text, &['S'])
);
identifier!(
    /// An open modal (`V…`).
    ViewId, "view id", |text| begins(text, &['V'])
);
identifier!(
    /// One event, the same in every redelivery (`Ev…`).
    EventId, "event id", |text| of(text, MOST, |char| char.is_ascii_alphanumeric())
);
identifier!(
    /// The right to open one modal within three seconds, and what tells one command or click from another.
    TriggerId, "trigger id",
    |text| of(text, MOST_TRIGGER, |char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_'))
);
identifier!(
    /// A message within its channel: seconds and microseconds (`1712345678.000100`).
    MessageTs, "message timestamp", is_timestamp
);

impl ChannelId {
    /// A direct conversation with one person.
    pub fn is_direct(&self) -> bool {
        self.0.starts_with('D')
    }
}

fn begins(text: &str, first: &[char]) -> bool {
    text.len() > 1
        && text.starts_with(first)
        && of(text, MOST, |char| {
            char.is_ascii_uppercase() || char.is_ascii_digit()
        })
}

fn of(text: &str, most: usize, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= most && text.chars().all(allowed)
}

fn is_timestamp(text: &str) -> bool {
    let digits = |text: &str, most| of(text, most, |char| char.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(seconds, rest)| digits(seconds, 12) && digits(rest, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slacks_own_identifiers_pass() {
        assert!(TeamId::new("T1DC2JH3J").is_ok());
        assert!(TeamId::new("E0123ABCD").is_ok());
        assert!(UserId::new("W012A3CDE").is_ok());
        assert!(UserId::new("USLACKBOT").is_ok());
        assert!(ChannelId::new("D024BE91L").unwrap().is_direct());
        assert!(!ChannelId::new("C024BE91L").unwrap().is_direct());
        assert!(ViewId::new("VMHU10V25").is_ok());
        assert!(EventId::new("Ev08MFMKH6").is_ok());
        assert!(TriggerId::new("13485157268.106474464.c70f1e_x-").is_ok());
        assert!(MessageTs::new("1712345678.000100").is_ok());
    }

    #[test]
    fn hostile_strings_are_refused() {
        for bad in [
            "",
            "U",
            "u123",
            "X123",
            "U12>3",
            "U1|evil",
            "U1 2",
            "U1\n2",
            "U1\u{202e}",
            "Ü123",
            "../U1",
            &"U1".repeat(40),
        ] {
            assert!(UserId::new(bad).is_err(), "{bad:?}");
            assert!(
                serde_json::from_value::<UserId>(bad.into()).is_err(),
                "{bad:?}"
            );
        }
        for bad in [
            "",
            "1",
            ".1",
            "1.",
            "1.2.3",
            "1.x",
            "-1.2",
            "1.1234567",
            "1234567890123.1",
        ] {
            assert!(MessageTs::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a b", "a/b", "a:b", &"a".repeat(256)] {
            assert!(TriggerId::new(bad).is_err(), "{bad:?}");
        }
    }
}
