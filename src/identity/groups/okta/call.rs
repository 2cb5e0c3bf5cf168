//! One call of Okta's API: token, deadline, a bound on the answer, its limits kept, and what came of it. Touches Okta and
//! the clock.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue},
};
use secrecy::{SecretString, zeroize::Zeroizing};
use serde::de::DeserializeOwned;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

use super::{OktaSettings, OktaSettingsError, link};
use crate::runtime::{
    http::{self, NoBody},
    live::{self, LiveSecret},
};

/// Calls under way at once.
const AT_ONCE: usize = 4;
/// The longest answer: hundreds of groups with their descriptions.
const MOST_BODY: usize = 4 << 20;
/// How long a limit holds where Okta doesn't say; its own windows last a minute.
const USUAL_PAUSE: Duration = Duration::from_mins(1);
/// The longest that we let Okta ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// For a pause that ends within this time a call waits; for another it is refused.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why Okta doesn't say.
#[derive(Debug, thiserror::Error)]
pub enum OktaError {
    /// It limits us.
    #[error("Okta limits how often it may be asked")]
    Limited,
    /// It doesn't take the token.
    #[error("Okta doesn't accept the API token, or the token may not read users and groups")]
    Token,
    /// It has trouble of its own.
    #[error("Okta answers with status {0}")]
    Status(u16),
    /// It didn't answer in time.
    #[error("Okta doesn't answer in time")]
    Silent,
    /// It can't be reached.
    #[error("Okta can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It sends us elsewhere: the token goes nowhere else.
    #[error("what answers for Okta sends us to another address")]
    Astray,
    /// It answers something else than was asked for.
    #[error("Okta's answer can't be read")]
    Unclear,
    /// There is always one more page.
    #[error("Okta's list of groups doesn't end")]
    Endless,
}

impl OktaError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Limited => "rate_limited",
            Self::Token => "token_refused",
            Self::Status(_) => "server_error",
            Self::Silent => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::Astray => "astray",
            Self::Unclear => "unclear_answer",
            Self::Endless => "endless",
        }
    }

    /// Only somebody who runs foredeck or Okta can help.
    pub(super) fn needs_operator(&self) -> bool {
        matches!(self, Self::Token | Self::Astray)
    }

    /// For people, without a full stop.
    pub(super) fn sentence(&self) -> String {
        self.to_string()
    }
}

/// How Okta is called.
pub(super) struct Caller {
    client: reqwest::Client,
    base: Url,
    token: LiveSecret,
    deadline: Duration,
    clock: fn() -> Timestamp,
    at_once: Semaphore,
    /// Okta limits us until then.
    paused_until: Mutex<Option<Instant>>,
}

/// An answer.
pub(super) struct Page {
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Page {
    /// What it says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, OktaError> {
        serde_json::from_slice(&self.body).map_err(|_| OktaError::Unclear)
    }

    /// Where it goes on.
    pub(super) fn next(&self, first: &Url) -> Result<Option<Url>, OktaError> {
        link::next(&self.headers, first)
    }
}

impl Caller {
    pub(super) fn new(
        settings: &OktaSettings,
        clock: fn() -> Timestamp,
    ) -> Result<Self, OktaSettingsError> {
        let builder = http::client()
            .connect_timeout(settings.deadline.min(Duration::from_secs(5)))
            .timeout(settings.deadline)
            .pool_max_idle_per_host(AT_ONCE)
            .pool_idle_timeout(Duration::from_secs(30));
        let builder = if settings.proxies_from_environment {
            builder
        } else {
            builder.no_proxy()
        };
        Ok(Self {
            client: builder.build().map_err(OktaSettingsError::Client)?,
            base: settings.url.clone(),
            token: settings.token.clone(),
            deadline: settings.deadline,
            clock,
            at_once: Semaphore::new(AT_ONCE),
            paused_until: Mutex::new(None),
        })
    }

    /// The address below the organisation's; each part is one, whatever is in it.
    pub(super) fn url(&self, parts: &[&str]) -> Result<Url, OktaError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| OktaError::Unclear)?
            .clear()
            .extend(parts);
        Ok(url)
    }

    /// What is there; nothing where Okta knows nothing of that name.
    pub(super) async fn get(&self, url: &Url) -> Result<Option<Page>, OktaError> {
        let _permit = self
            .at_once
            .acquire()
            .await
            .map_err(|_| OktaError::Silent)?;
        self.wait().await?;
        let used = self.token.current();
        let answered = self.exchange(url, &used).await;
        if !matches!(answered, Err(OktaError::Token)) {
            return answered;
        }
        // It may have been changed a moment ago.
        match self.token.another_than(&used, PATIENCE).await {
            Some(new) => self.exchange(url, &new).await,
            None => answered,
        }
    }

    async fn exchange(&self, url: &Url, token: &SecretString) -> Result<Option<Page>, OktaError> {
        let token = live::token(token).ok_or(OktaError::Token)?;
        let mut token =
            HeaderValue::try_from(format!("SSWS {token}")).map_err(|_| OktaError::Token)?;
        token.set_sensitive(true);
        let request = self.client.get(url.clone()).header(AUTHORIZATION, token);
        // The time that is left for the body is in it too.
        let exchange = timeout(self.deadline, async {
            let response = request.send().await.map_err(trouble)?;
            self.answered(response).await
        });
        exchange.await.unwrap_or(Err(OktaError::Silent))
    }

    async fn answered(&self, response: Response) -> Result<Option<Page>, OktaError> {
        let status = response.status();
        let headers = response.headers().clone();
        if status == StatusCode::TOO_MANY_REQUESTS || is_spent(&headers) {
            self.pause(pause(&headers, (self.clock)()));
        }
        match status {
            StatusCode::OK => {
                let body = read(response).await?;
                Ok(Some(Page { headers, body }))
            }
            StatusCode::NOT_FOUND => {
                // A proxy's page says nothing of a person; Okta says so in JSON, with a code.
                let body = read(response).await?;
                let error: serde_json::Value =
                    serde_json::from_slice(&body).map_err(|_| OktaError::Unclear)?;
                let code = error.get("errorCode").and_then(serde_json::Value::as_str);
                match code {
                    Some("E0000007") => Ok(None),
                    _ => Err(OktaError::Unclear),
                }
            }
            StatusCode::TOO_MANY_REQUESTS => Err(OktaError::Limited),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(OktaError::Token),
            status if status.is_redirection() => Err(OktaError::Astray),
            status => Err(OktaError::Status(status.as_u16())),
        }
    }

    /// Waits where Okta soon takes calls again.
    async fn wait(&self) -> Result<(), OktaError> {
        let until = *self
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match until {
            Some(until) if until > Instant::now() + PATIENCE => Err(OktaError::Limited),
            Some(until) => {
                sleep_until(until).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut paused = self
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *paused = Some(paused.map_or(until, |earlier| earlier.max(until)));
    }
}

/// Whether this was the last call of the window.
fn is_spent(headers: &HeaderMap) -> bool {
    number(headers, "x-rate-limit-remaining") == Some(0)
}

/// How long to wait: until `X-Rate-Limit-Reset`, in seconds since 1970 by Okta's clock, which `Date` tells.
fn pause(headers: &HeaderMap, now: Timestamp) -> Duration {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let now = date.map_or(now, |date| date.timestamp());
    number(headers, "x-rate-limit-reset")
        .and_then(|reset| reset.checked_sub(now.as_second()))
        .map_or(USUAL_PAUSE, |seconds| {
            // Its seconds begin when they like.
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) + Duration::from_secs(1)
        })
        .min(LONGEST_PAUSE)
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

async fn read(response: Response) -> Result<Zeroizing<Vec<u8>>, OktaError> {
    let body = http::body(response, MOST_BODY).await;
    body.map_err(|error| match error {
        NoBody::Broken(error) => trouble(error),
        NoBody::TooLong => OktaError::Unclear,
    })
}

fn trouble(error: reqwest::Error) -> OktaError {
    if error.is_timeout() {
        OktaError::Silent
    } else {
        // The address holds somebody's e-mail address.
        OktaError::Unreachable(error.without_url())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|(name, value)| {
                let name = reqwest::header::HeaderName::from_static(name);
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_limit_lasts_until_okta_says_by_its_own_clock() {
        let now = Timestamp::from_second(1_000).unwrap();
        let seconds = |lines: &[(&'static str, &str)]| pause(&headers(lines), now).as_secs();
        assert_eq!(seconds(&[]), 60);
        assert_eq!(seconds(&[("x-rate-limit-reset", "1030")]), 31);
        assert_eq!(seconds(&[("x-rate-limit-reset", "999")]), 1);
        assert_eq!(seconds(&[("x-rate-limit-reset", "99999999")]), 300);
        assert_eq!(seconds(&[("x-rate-limit-reset", "soon")]), 60);
        let date = ("date", "Thu, 01 Jan 1970 00:16:20 GMT");
        assert_eq!(seconds(&[("x-rate-limit-reset", "1000"), date]), 21);
    }

    #[test]
    fn the_last_call_of_a_window_is_known() {
        assert!(is_spent(&headers(&[("x-rate-limit-remaining", "0")])));
        assert!(!is_spent(&headers(&[("x-rate-limit-remaining", "1")])));
        assert!(!is_spent(&headers(&[])));
    }
}
