//! From an e-mail address to the Kubernetes user name that the cluster knows the person by. Touches nothing.

use std::{fmt, str::FromStr};

use crate::{api::bounds, domain::access::is_system};

/// Where the address goes in a format.
const PLACE: &str = "{email}";
/// The longest text around the address.
const MOST_AROUND: usize = 100;

/// A user name, a format, a domain or a prefix that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// The format.
    #[error(
        "{0:?} can't be a format of user names: it holds {{email}} once, and around it at most {MOST_AROUND} ASCII \
         characters without spaces"
    )]
    Format(String),
    /// The format makes names that are Kubernetes' own.
    #[error("user names that begin with `system:` are Kubernetes' own: {0:?} would make such")]
    System(String),
    /// The domain.
    #[error("{0:?} is no domain of e-mail addresses, such as corp.example")]
    Domain(String),
}

impl UsernameError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Format(_) => "username-format",
            Self::System(_) => "username-system",
            Self::Domain(_) => "email-domain",
        }
    }
}

/// How an e-mail address becomes a Kubernetes user name; as the cluster's OIDC does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsernameFormat {
    before: String,
    after: String,
}

impl Default for UsernameFormat {
    /// The address itself.
    fn default() -> Self {
        Self {
            before: String::new(),
            after: String::new(),
        }
    }
}

impl UsernameFormat {
    /// The user name of who has this address; none when it is longer than a name may be.
    pub fn name(&self, email: &str) -> Option<String> {
        let name = format!("{}{email}{}", self.before, self.after);
        (name.len() <= bounds::NAME && !is_system(&name)).then_some(name)
    }
}

impl FromStr for UsernameFormat {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        let invalid = || UsernameError::Format(text.to_owned());
        let (before, after) = text.split_once(PLACE).ok_or_else(invalid)?;
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
        let fine = plain(before) && plain(after) && before.len() + after.len() <= MOST_AROUND;
        if !fine || after.contains(PLACE) {
            return Err(invalid());
        }
        // An address has no colon, so what it makes begins so only if this does.
        if is_system(before) {
            return Err(UsernameError::System(text.to_owned()));
        }
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }
}

impl fmt::Display for UsernameFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{PLACE}{}", self.before, self.after)
    }
}

/// What addresses end with behind their `@`: the whole of it, so that `corp.example` isn't `sub.corp.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailDomain(String);

impl EmailDomain {
    /// Whether the address is of this domain.
    pub fn has(&self, email: &str) -> bool {
        let host = email.rsplit_once('@').map(|(_, host)| host);
        host.is_some_and(|host| host.eq_ignore_ascii_case(&self.0))
    }

    /// The domain, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailDomain {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        let domain = text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            let dash = label.starts_with('-') || label.ends_with('-');
            !label.is_empty()
                && !dash
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if domain.len() <= bounds::NAME && domain.split('.').all(label) {
            Ok(Self(domain))
        } else {
            Err(UsernameError::Domain(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_format_says_where_the_address_goes_once() {
        for (format, name) in [
            ("{email}", "alice@corp.example"),
            ("oidc:{email}", "oidc:alice@corp.example"),
            (
                "https://login.corp.example#{email}",
                "https://login.corp.example#alice@corp.example",
            ),
            ("{email}/slack", "alice@corp.example/slack"),
        ] {
            let read: UsernameFormat = format.parse().unwrap();
            assert_eq!(read.name("alice@corp.example").as_deref(), Some(name));
            assert_eq!(read.to_string(), format);
        }
        assert_eq!(UsernameFormat::default(), "{email}".parse().unwrap());
        for bad in [
            "",
            "alice",
            "{email}{email}",
            "a b{email}",
            "ü{email}",
            "{EMAIL}",
        ] {
            let read = bad.parse::<UsernameFormat>();
            assert_eq!(read, Err(UsernameError::Format(bad.to_owned())));
        }
        let long = format!("{}{{email}}", "x".repeat(101));
        assert!(long.parse::<UsernameFormat>().is_err());
    }

    #[test]
    fn no_format_makes_a_name_of_kubernetes_own() {
        for bad in [
            "system:{email}",
            "System:x:{email}",
            "system:masters{email}",
        ] {
            let read = bad.parse::<UsernameFormat>();
            assert_eq!(read, Err(UsernameError::System(bad.to_owned())));
        }
    }

    #[test]
    fn a_name_too_long_for_kubernetes_is_none() {
        let format: UsernameFormat = "oidc:{email}".parse().unwrap();
        let email = format!("{}@corp.example", "a".repeat(240));
        assert_eq!(format.name(&email), None);
    }

    #[test]
    fn a_domain_is_the_whole_of_what_follows_the_at() {
        let domain: EmailDomain = "@Corp.Example".parse().unwrap();
        assert_eq!(domain.as_str(), "corp.example");
        assert!(domain.has("alice@corp.example") && domain.has("alice@CORP.example"));
        for other in [
            "alice@sub.corp.example",
            "alice@evilcorp.example",
            "corp.example",
            "alice@corp.example.evil",
        ] {
            assert!(!domain.has(other), "{other}");
        }
        for bad in [
            "",
            "corp..example",
            "a@b",
            "-corp.example",
            "corp.example/",
            "cörp",
        ] {
            assert!(bad.parse::<EmailDomain>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_format_and_the_address_no_name_is_kubernetes_own(
            before in "[sStTeEmM:]{0,9}", email in "[a-z]{1,8}@[a-z.]{1,8}",
        ) {
            if let Ok(format) = format!("{before}{{email}}").parse::<UsernameFormat>()
                && let Some(name) = format.name(&email)
            {
                prop_assert!(!name.to_ascii_lowercase().starts_with("system:"), "{name}");
            }
        }
    }
}
