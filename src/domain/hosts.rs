//! Where connections may say that Gate and Vault are: hosts that the controller's operators list, since whoever may write a
//! connection could otherwise have the controller call anything that it can reach. Touches nothing.

use std::{fmt, str::FromStr};

use super::wildcard;

/// The hosts that are allowed. None is, where none is listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// For Gate.
    pub gate: Vec<HostPattern>,
    /// For Vault.
    pub vault: Vec<HostPattern>,
}

/// A host in which `*` stands for any characters, and perhaps a port; any port without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    host: String,
    port: Option<u16>,
}

/// Not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host such as gate.prod.example, *.prod.example:8085, 10.0.0.7 or [::1]")]
pub struct NoHost;

impl HostPattern {
    /// Whether a URL's host and port (its scheme's own, where it names none) are allowed by it. An IPv6 address stands
    /// in brackets, as in a URL.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.port.is_none_or(|allowed| allowed == port)
            && wildcard::any_matches(std::slice::from_ref(&self.host), &host)
    }
}

/// Whether any of the patterns allows it.
pub fn allow(patterns: &[HostPattern], host: &str, port: u16) -> bool {
    patterns.iter().any(|pattern| pattern.allows(host, port))
}

impl FromStr for HostPattern {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let text = text.trim().to_ascii_lowercase();
        let end_of_host = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text[end_of_host..].rfind(':') {
            None => (text.as_str(), None),
            Some(colon) => {
                let (host, port) = text.split_at(end_of_host + colon);
                (host, Some(port[1..].parse().map_err(|_| NoHost)?))
            }
        };
        let inner = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']').ok_or(NoHost)?,
            None => host,
        };
        let v6 = inner.len() < host.len();
        let fits = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'-' | b'_' | b'*')
                || (v6 && byte == b':')
        };
        if inner.is_empty() || !inner.bytes().all(fits) {
            return Err(NoHost);
        }
        Ok(Self {
            host: host.trim_end_matches('.').to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_allowed_as_a_whole_whatever_its_case_and_its_last_dot() {
        let one = pattern("Gate.prod.example");
        assert!(one.allows("gate.PROD.example", 443));
        assert!(one.allows("gate.prod.example.", 8085));
        for other in [
            "gate.prod.example.evil.example",
            "evil-gate.prod.example",
            "gate.prod.exampl",
            "",
        ] {
            assert!(!one.allows(other, 443), "{other}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_port_for_itself() {
        let any = pattern("gate.*.example:8085");
        assert!(any.allows("gate.prod.example", 8085));
        assert!(any.allows("gate.eu.prod.example", 8085));
        assert!(!any.allows("gate.prod.example", 443));
        assert!(pattern("[::1]:8200").allows("[::1]", 8200));
        assert!(pattern("[::1]").allows("[::1]", 1));
    }

    #[test]
    fn nothing_is_allowed_where_nothing_is_listed() {
        assert!(!allow(&AllowedHosts::default().gate, "gate.example", 443));
        assert!(allow(&[pattern("a"), pattern("b")], "b", 443));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            " ",
            "https://gate.example",
            "gate.example/api",
            "gate:port",
            "gate:70000",
            "user@gate",
            "[::1",
            "a b",
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(NoHost), "{text:?}");
        }
        assert_eq!(pattern("*.Example.:80").to_string(), "*.example:80");
    }
}
