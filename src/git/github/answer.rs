//! What GitHub's answers mean: its limits, its refusals, and what isn't its own. Touches nothing.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;

use crate::{domain::commits, git::GitError};

/// The longest that a limit is believed.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// How long a limit holds where GitHub doesn't say, as it asks for itself.
const USUAL_PAUSE: Duration = Duration::from_mins(1);
/// The most of what GitHub says that people are shown, in characters.
const MOST_MESSAGE: usize = 200;

/// Who is spoken to, for the words of errors.
#[derive(Debug, Clone)]
pub(in crate::git) struct Place {
    /// The host, perhaps with a port.
    pub(in crate::git) host: String,
    /// `owner/name`.
    pub(in crate::git) repository: String,
}

impl Place {
    /// It doesn't answer as it should.
    pub(in crate::git) fn unavailable(&self, message: impl Into<String>) -> GitError {
        GitError::Unavailable {
            host: self.host.clone(),
            message: message.into(),
        }
    }

    /// It doesn't let us.
    pub(super) fn forbidden(&self, message: impl Into<String>) -> GitError {
        GitError::Forbidden {
            host: self.host.clone(),
            repository: self.repository.clone(),
            message: message.into(),
        }
    }

    pub(in crate::git) fn no_repository(&self) -> GitError {
        GitError::NoSuchRepository {
            repository: self.repository.clone(),
        }
    }

    /// There is nothing of that name, which is shown as far as it fits a sentence.
    pub(super) fn no_version(&self, version: &str) -> GitError {
        GitError::NoSuchVersion {
            repository: self.repository.clone(),
            version: commits::plain(version, 100).replace('`', "'"),
        }
    }
}

/// What GitHub says where it doesn't do what is asked.
#[derive(Debug, Deserialize)]
struct Told {
    message: String,
}

/// That it answered, but not with what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 404: it isn't there, or we may not see it.
    Missing(String),
    /// 401: the login isn't taken.
    Login(String),
    /// 409 or 422: what was asked can't be.
    Impossible(String),
    /// All else.
    Error(GitError),
}

/// What an answer without success means.
pub(super) fn refusal(
    place: &Place,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Refusal {
    let Ok(Told { message }) = serde_json::from_slice(body) else {
        // A proxy's page says nothing of a repository.
        let what = format!(
            "it answers with status {} and no JSON, which isn't GitHub's own",
            status.as_u16()
        );
        return Refusal::Error(place.unavailable(what));
    };
    let limited = status == StatusCode::FORBIDDEN || status == StatusCode::TOO_MANY_REQUESTS;
    if limited && let Some(until) = limit(status, headers, &message, now) {
        return Refusal::Error(GitError::Limited {
            host: place.host.clone(),
            until,
        });
    }
    let message = commits::plain(&message, MOST_MESSAGE);
    match status {
        StatusCode::UNAUTHORIZED => Refusal::Login(message),
        StatusCode::FORBIDDEN => Refusal::Error(place.forbidden(message)),
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Refusal::Impossible(message),
        // Some are taken away by law, or for other reasons of GitHub's.
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            Refusal::Missing(message)
        }
        _ => {
            let what = format!("it answers with status {}", status.as_u16());
            Refusal::Error(place.unavailable(what))
        }
    }
}

/// Until when GitHub wants to be left alone, if that is why it refuses. A secondary limit comes with `retry-after`, or with
/// nothing but its words.
fn limit(
    status: StatusCode,
    headers: &HeaderMap,
    message: &str,
    now: Timestamp,
) -> Option<Timestamp> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let after = |time: Duration| now.checked_add(time).unwrap_or(now);
    let words = message.to_ascii_lowercase();
    let until = if let Some(seconds) = number(RETRY_AFTER.as_str()) {
        after(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST_PAUSE))
    } else if number("x-ratelimit-remaining") == Some(0) {
        number("x-ratelimit-reset")
            .and_then(|second| Timestamp::from_second(second).ok())
            .unwrap_or_else(|| after(USUAL_PAUSE))
    } else if status == StatusCode::TOO_MANY_REQUESTS
        || words.contains("rate limit")
        || words.contains("abuse detection")
    {
        after(USUAL_PAUSE)
    } else {
        return None;
    };
    Some(until.clamp(after(Duration::from_secs(1)), after(LONGEST_PAUSE)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn place() -> Place {
        Place {
            host: "api.github.com".to_owned(),
            repository: "o/r".to_owned(),
        }
    }

    fn said(status: u16, lines: &[(&'static str, &str)], body: &str) -> Refusal {
        let headers = lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let now = Timestamp::from_second(1000).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        refusal(&place(), status, &headers, body.as_bytes(), now)
    }

    fn until(status: u16, lines: &[(&'static str, &str)], message: &str) -> Option<i64> {
        let body = format!("{{\"message\": \"{message}\"}}");
        match said(status, lines, &body) {
            Refusal::Error(GitError::Limited { until, .. }) => Some(until.as_second()),
            _ => None,
        }
    }

    #[test]
    fn limits_are_known_in_all_their_shapes_and_last_an_hour_at_most() {
        let spent = ("x-ratelimit-remaining", "0");
        assert_eq!(
            until(403, &[spent, ("x-ratelimit-reset", "1090")], "x"),
            Some(1090)
        );
        assert_eq!(
            until(403, &[spent, ("x-ratelimit-reset", "99999999")], "x"),
            Some(4600)
        );
        assert_eq!(
            until(403, &[spent, ("x-ratelimit-reset", "3")], "x"),
            Some(1001)
        );
        assert_eq!(
            until(429, &[spent, ("x-ratelimit-reset", "soon")], "x"),
            Some(1060)
        );
        assert_eq!(until(403, &[("retry-after", "7")], "x"), Some(1007));
        assert_eq!(until(403, &[("retry-after", "-7")], "x"), Some(1001));
        assert_eq!(
            until(403, &[("retry-after", "9223372036854775807")], "x"),
            Some(4600)
        );
        assert_eq!(
            until(403, &[], "You have exceeded a secondary rate limit."),
            Some(1060)
        );
        assert_eq!(until(429, &[], "x"), Some(1060));
        assert_eq!(
            until(403, &[("x-ratelimit-remaining", "7")], "Resource not"),
            None
        );
        assert_eq!(until(404, &[spent], "x"), None);
    }

    #[test]
    fn what_is_not_githubs_own_says_nothing_of_a_repository() {
        for (status, body) in [
            (404, "<html>no</html>"),
            (401, ""),
            (403, "[]"),
            (502, "{\"message\": \"x\"}"),
        ] {
            let Refusal::Error(error) = said(status, &[], body) else {
                panic!("{status} {body}");
            };
            assert_eq!(error.reason(), "unavailable");
        }
    }

    #[test]
    fn what_it_says_is_cleaned() {
        let body = serde_json::json!({"message": format!("no\n\u{202e}way {}", "x".repeat(999))});
        let Refusal::Login(message) = said(401, &[], &body.to_string()) else {
            panic!("taken");
        };
        assert!(message.starts_with("no way x") && message.chars().count() == 200);
    }
}
