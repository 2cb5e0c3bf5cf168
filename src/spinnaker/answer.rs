//! One HTTP answer, or why there is none, and whether the answer is in Gate's own words. Touches nothing.

use std::time::Duration;

use serde_json::Value;

/// A complete answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
    /// Whether it held our own credentials, which were taken out.
    pub(super) repeats_credentials: bool,
}

/// Why there is no complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection: nothing was sent.
    NotConnected(&'static str),
    /// TLS on the other side does not take our certificate, or wants one.
    CertificateRefused {
        /// In fixed words.
        why: &'static str,
        /// Whether this ended the handshake, so that no request was read.
        unread: bool,
    },
    /// All permits were taken for the whole deadline, or no turn came: nothing was sent.
    NoPermit,
    /// The deadline passed after a connection stood.
    TimedOut(Duration),
    /// The connection broke.
    Broken,
    /// The answer is longer than we read.
    TooLong,
}

/// What Gate says itself: Spring's error JSON, or RFC 9457 problem JSON as for a malformed body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) message: String,
    pub(super) exception: String,
}

impl Trouble {
    /// Whether nobody can have read the request. All else leaves it open.
    pub(super) fn proves_that_nothing_was_read(&self) -> bool {
        matches!(
            self,
            Self::NotConnected(_) | Self::NoPermit | Self::CertificateRefused { unread: true, .. }
        )
    }
}

impl Words {
    /// Whether Gate hands on what a service behind it answered: `… Status: 503, Method: POST, URL: …, Message: …`.
    pub(super) fn are_handed_on(&self) -> bool {
        self.exception.ends_with("SpinnakerHttpException")
            || (self.message.contains("Status: ") && self.message.contains("URL: "))
    }

    /// Whether Gate could not connect to a service behind it.
    ///
    /// Observed on Gate 2026.1.2 with a dead Orca: 500, `SpinnakerNetworkException`, "Failed to connect to …", within
    /// 30 ms. Handed-on words don't count: they tell of a connection further behind.
    pub(super) fn tell_of_no_connection(&self) -> bool {
        self.exception.ends_with("SpinnakerNetworkException")
            && self.message.contains("Failed to connect to")
            && !self.are_handed_on()
    }

    /// The part that a person can use: what follows the last `Message: `.
    pub(super) fn human_part(&self) -> &str {
        self.message
            .rsplit_once("Message: ")
            .map_or(self.message.as_str(), |(_, rest)| rest)
            .trim()
    }
}

impl Answer {
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.body.iter().all(u8::is_ascii_whitespace)
    }

    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Gate's own words of an error. A proxy's page, and a proxy's JSON, have none: the body must repeat the status
    /// as Spring writes it.
    pub(super) fn words(&self) -> Option<Words> {
        let body = self.json()?;
        if body.get("status")?.as_u64()? != u64::from(self.status) {
            return None;
        }
        let text = |key: &str| body.get(key).and_then(Value::as_str);
        let spring = body.get("timestamp").is_some() && text("error").is_some();
        let problem = text("title").is_some() && text("type").is_some();
        if !spring && !problem {
            return None;
        }
        let message = text("message")
            .or_else(|| text("detail"))
            .filter(|text| !text.trim().is_empty())
            .or_else(|| text("error"))
            .or_else(|| text("title"))
            .unwrap_or_default();
        Some(Words {
            message: message.to_owned(),
            exception: text("exception").unwrap_or_default().to_owned(),
        })
    }

    /// Whether it says that a login is wanted, in any of the ways that Gate and the proxies before it have.
    ///
    /// Gate answers a wrong or missing login with a 302 to `/login` or to the identity provider, also to a POST with
    /// `Accept: application/json`. A page counts only when it plainly is a login: others may stand for anything.
    pub(super) fn wants_login(&self) -> bool {
        match self.status {
            401 => true,
            302 | 303 | 307 => self.location.as_deref().is_some_and(leads_to_login),
            200 if self.is_html() => {
                let page = String::from_utf8_lossy(&self.body).to_ascii_lowercase();
                [
                    "type=\"password\"",
                    "type='password'",
                    "samlrequest",
                    "/oauth2/authorization/",
                    "/saml2/authenticate",
                ]
                .iter()
                .any(|sign| page.contains(sign))
            }
            _ => false,
        }
    }

    /// nginx ends the handshake in any case, and answers 400 with a page of its own where the client certificate is missing
    /// or not taken. Of a start this proves nothing: any server may write such a page.
    pub(super) fn is_about_a_client_certificate(&self) -> bool {
        self.status == 400 && self.is_html() && {
            let page = String::from_utf8_lossy(&self.body);
            page.contains("No required SSL certificate was sent")
                || page.contains("The SSL certificate error")
        }
    }

    pub(super) fn is_html(&self) -> bool {
        let start = self.body.trim_ascii_start();
        self.content_type
            .to_ascii_lowercase()
            .starts_with("text/html")
            || start
                .get(..9)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"<!doctype"))
            || start
                .get(..5)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"<html"))
    }
}

fn leads_to_login(location: &str) -> bool {
    let place = location
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    [
        "login", "signin", "sign-in", "oauth", "saml", "/sso", "//sso", "/auth", "//auth",
    ]
    .iter()
    .any(|sign| place.contains(sign))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &Value) -> Answer {
        Answer {
            status,
            body: body.to_string().into_bytes(),
            ..Answer::default()
        }
    }

    #[test]
    fn gates_words_are_known_in_both_shapes() {
        let spring = json!({"timestamp": "t", "status": 404, "error": "Not Found", "exception": "x.SpinnakerHttpException",
            "message": "Unable to trigger pipeline (application: a). Error: Status: 404, Method: GET, URL: http://front50/x, Message: No pipeline found"});
        let words = answer(404, &spring).words().unwrap();
        assert_eq!(words.human_part(), "No pipeline found");
        assert!(words.are_handed_on());
        let problem = json!({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "Failed to read request"});
        let words = answer(400, &problem).words().unwrap();
        assert_eq!(words.human_part(), "Failed to read request");
    }

    #[test]
    fn other_json_is_not_gates_words() {
        for body in [
            json!({"message": "no Route matched with those values"}),
            json!({"status": "404", "timestamp": "t", "error": "Not Found"}),
            json!({"status": 500, "timestamp": "t", "error": "Not Found"}),
            json!({"status": 404, "message": "nope"}),
            json!([]),
        ] {
            assert_eq!(answer(404, &body).words(), None, "{body}");
        }
    }

    #[test]
    fn a_redirect_elsewhere_is_no_login() {
        let to = |location: &str| Answer {
            status: 302,
            location: Some(location.to_owned()),
            ..Answer::default()
        };
        for location in [
            "http://gate.example/login",
            "/oauth2/authorization/okta",
            "https://sso.example/start",
            "https://corp.example/auth/realms/x?next=/",
        ] {
            assert!(to(location).wants_login(), "{location}");
        }
        for location in ["https://gate.example/sorry", "/pipelines?from=login", ""] {
            assert!(!to(location).wants_login(), "{location}");
        }
    }
}
