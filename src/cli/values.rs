//! Values that flags take. Touches nothing.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use jiff::SignedDuration;

use crate::domain::hosts::HostPattern;

/// Nothing here lasts longer, and times are added to others.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// `15s`, `2m 30s`, `1h`; a year at most.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text
        .parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "not a duration such as 15s, 2m 30s or 1h".to_owned())?;
    if duration > LONGEST {
        return Err("longer than a year, which is the most".to_owned());
    }
    Ok(duration)
}

/// As [`duration`], but long enough for Slack to be asked once a minute, some times over.
pub(super) fn groups_max_age(text: &str) -> Result<Duration, String> {
    let least = Duration::from_mins(3);
    let age = duration(text)?;
    if age < least {
        return Err("groups can't be asked for that often: 3m is the least".to_owned());
    }
    Ok(age)
}

/// A name that the API server would take for a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|byte| inner(*byte))
        && bytes.last().is_some_and(|byte| inner(*byte));
    if ends && text.len() <= 63 && bytes.iter().all(|byte| inner(*byte) || *byte == b'-') {
        return Ok(text.to_owned());
    }
    Err(
        "a namespace has 1 to 63 lower-case letters, digits and dashes, no dash first or last"
            .to_owned(),
    )
}

/// `gate.prod.example`, `*.example:8085`.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    text.parse::<HostPattern>()
        .map_err(|error| error.to_string())
}

/// Where the admin server listens, if anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AdminListen {
    /// No admin server.
    Off,
    /// On this address.
    At(SocketAddr),
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "none" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| {
                "neither an address such as 0.0.0.0:9090 or [::]:9090, nor off".to_owned()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_grow_old_no_faster_than_they_can_be_asked_for() {
        assert_eq!(groups_max_age("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(groups_max_age("3m"), Ok(Duration::from_mins(3)));
        assert!(groups_max_age("179s").unwrap_err().contains("3m"));
        assert!(groups_max_age("soon").is_err());
    }

    #[test]
    fn durations_have_units_and_are_not_negative() {
        assert_eq!(duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("2m 30s"), Ok(Duration::from_secs(150)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("8760h"), Ok(LONGEST));
        for text in ["8761h", "9223372036854775807s"] {
            assert!(duration(text).unwrap_err().contains("year"), "{text}");
        }
        for text in ["", "15", "-15s", "soon", "15 s x"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn namespaces_are_labels() {
        let longest = "a".repeat(63);
        for text in ["shop", "0", "team-a-2", longest.as_str()] {
            assert_eq!(namespace(text).as_deref(), Ok(text));
        }
        let too_long = "a".repeat(64);
        for text in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a/b",
            "ä",
            " a",
            too_long.as_str(),
        ] {
            assert!(namespace(text).is_err(), "{text}");
        }
    }

    #[test]
    fn admin_server_can_be_off() {
        assert_eq!("off".parse(), Ok(AdminListen::Off));
        assert_eq!("none".parse(), Ok(AdminListen::Off));
        assert_eq!(
            "[::]:9090".parse(),
            Ok(AdminListen::At("[::]:9090".parse().unwrap()))
        );
        assert!("9090".parse::<AdminListen>().is_err());
    }
}
