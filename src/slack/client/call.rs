//! One HTTP call to Slack: encoding, token, deadline, a bound on the answer, no second attempt, and what came of it.
//! Touches Slack.

use std::time::{Duration, Instant};

use reqwest::{
    RequestBuilder, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    budget::{Budget, Permit},
    error::{Detail, SlackError},
    method::{Encoding, Method},
    settings::{SettingsError, SlackSettings, token},
};
use crate::{
    runtime::{
        http::{self, NoBody},
        live::LiveSecret,
        telemetry, traces,
    },
    slack::metrics::SlackMetrics,
};

/// The longest wait that we let Slack ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// What is assumed when Slack limits us without saying for how long.
const USUAL_RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long a call waits for the source of a token that Slack refuses. What a person waits for must be there after three
/// seconds.
const SOURCE_PATIENCE: Duration = Duration::from_secs(2);
/// Histories are the longest answers, and far shorter.
const MOST_BODY: usize = 8 << 20;
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The arguments of a method.
pub(super) type Arguments = Map<String, Value>;

/// What Slack answered: its body, and its scopes where it tells them.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Value,
    pub(super) scopes: Option<String>,
}

/// How Slack is called.
#[derive(Clone)]
pub(super) struct Caller {
    repeating: reqwest::Client,
    once: reqwest::Client,
    api: Url,
    pub(super) budget: Budget,
    metrics: SlackMetrics,
}

impl Caller {
    pub(super) fn new(settings: &SlackSettings) -> Result<Self, SettingsError> {
        let client = |idle: usize| {
            let builder = http::client()
                .http1_only()
                .tcp_nodelay(true)
                .connect_timeout(settings.connect_deadline)
                .timeout(settings.deadline)
                .pool_max_idle_per_host(idle)
                .pool_idle_timeout(Duration::from_secs(30));
            let builder = if settings.proxies_from_environment {
                builder
            } else {
                builder.no_proxy()
            };
            builder.build().map_err(SettingsError::Client)
        };
        Ok(Self {
            repeating: client(8)?,
            // A connection of its own for each: on a reused one that has just been closed, hyper sends again.
            once: client(0)?,
            api: settings.api_url.clone(),
            budget: Budget::measured(settings.metrics.budget_waits.clone()),
            metrics: settings.metrics.clone(),
        })
    }

    pub(super) fn api(&self) -> &Url {
        &self.api
    }

    /// Calls the method that the permit is for.
    ///
    /// A token that Slack refuses may have been changed a moment ago: its source is asked, and if there is another one,
    /// the call is made once more. Whatever it is, that does it no second time: who isn't known to Slack does nothing.
    pub(super) async fn call(
        &self,
        permit: Permit,
        token: &LiveSecret,
        arguments: Arguments,
    ) -> Result<Answer, SlackError> {
        let method = permit.method();
        let used = token.current();
        let result = self
            .counted(method, self.send(method, &used, arguments.clone()))
            .await;
        if !result.as_ref().is_err_and(SlackError::is_refused_token) {
            return result;
        }
        let Some(new) = token.another_than(&used, SOURCE_PATIENCE).await else {
            return result;
        };
        self.counted(method, self.send(method, &new, arguments))
            .await
    }

    /// Posts to a response URL, which answers in its own way and needs no token.
    pub(super) async fn respond(
        &self,
        permit: Permit,
        url: Url,
        body: &Value,
    ) -> Result<Answer, SlackError> {
        let method = permit.method();
        let request = self.once.post(url).header(CONTENT_TYPE, JSON);
        let request = request.body(body.to_string());
        self.counted(method, self.exchange(method, request)).await
    }

    /// Makes a call, and counts what came of it.
    async fn counted(
        &self,
        method: Method,
        call: impl Future<Output = Result<Answer, SlackError>>,
    ) -> Result<Answer, SlackError> {
        let span = traces::call(method.name());
        let began = Instant::now();
        let result = call.await;
        let failed = result.as_ref().err().map(SlackError::reason);
        self.metrics
            .call(method.name(), failed.unwrap_or("ok"), began.elapsed());
        if let Some(mut span) = span {
            // A response URL is somewhere else, and secret.
            if method != Method::ResponseUrl {
                let server = self.api.host_str().unwrap_or_default().to_owned();
                span.say("server.address", traces::Value::Name(server));
            }
            span.ended(failed);
        }
        result
    }

    async fn send(
        &self,
        method: Method,
        token: &SecretString,
        arguments: Arguments,
    ) -> Result<Answer, SlackError> {
        let url = self
            .api
            .join(method.name())
            .map_err(|_| SlackError::own("invalid_url"))?;
        let client = if method.is_repeatable() {
            &self.repeating
        } else {
            &self.once
        };
        let request = match method.encoding() {
            Encoding::Json => client
                .post(url)
                .header(CONTENT_TYPE, JSON)
                .body(Value::Object(arguments).to_string()),
            Encoding::Query => client.get(url).query(&flat(arguments)),
        };
        let request = request.header(AUTHORIZATION, bearer(token)?);
        self.exchange(method, request).await
    }

    async fn exchange(
        &self,
        method: Method,
        request: RequestBuilder,
    ) -> Result<Answer, SlackError> {
        let repeatable = method.is_repeatable();
        let response = request
            .send()
            .await
            .map_err(|error| trouble(error, repeatable))?;
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let scopes = header("x-oauth-scopes");
        let after = header(RETRY_AFTER.as_str())
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.limited(method, after));
        }
        if status.is_server_error() {
            let word = "server_error";
            return Err(match SlackError::lost(word, repeatable) {
                SlackError::Retry { word, .. } => SlackError::Retry { word, after },
                other => other,
            });
        }
        if status.is_redirection() {
            // Some proxy's login page: Slack never saw it.
            return Err(SlackError::not_sent("redirected"));
        }
        let body = http::body(response, MOST_BODY).await;
        let body = body.map_err(|error| match error {
            NoBody::Broken(error) => trouble(error, repeatable),
            NoBody::TooLong => SlackError::lost("answer_too_long", repeatable),
        })?;
        if method == Method::ResponseUrl {
            return responded(status, &body);
        }
        let body: Value = serde_json::from_slice(&body)
            .map_err(|_| SlackError::lost("unclear_answer", repeatable))?;
        match body.get("ok").and_then(Value::as_bool) {
            Some(true) => Ok(Answer { body, scopes }),
            Some(false) => Err(self.refusal(method, &body, after)),
            None => Err(SlackError::lost("unclear_answer", repeatable)),
        }
    }

    fn limited(&self, method: Method, after: Option<Duration>) -> SlackError {
        let after = after.unwrap_or(USUAL_RETRY_AFTER);
        self.budget.pause(method, after);
        match SlackError::not_sent("ratelimited") {
            SlackError::Retry { word, .. } => SlackError::Retry {
                word,
                after: Some(after),
            },
            other => other,
        }
    }

    fn refusal(&self, method: Method, body: &Value, after: Option<Duration>) -> SlackError {
        let error = body
            .get("error")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if matches!(error, "ratelimited" | "rate_limited") {
            return self.limited(method, after);
        }
        let word = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let list = |pointer: &str| {
            let list = body.pointer(pointer).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str)
        };
        let details = word("/needed")
            .into_iter()
            .chain(list("/response_metadata/messages"))
            .chain(list("/errors"));
        SlackError::said(error, Detail::new(details), method.is_repeatable())
    }
}

fn bearer(secret: &SecretString) -> Result<HeaderValue, SlackError> {
    let secret = token("token", secret).map_err(|_| SlackError::own("invalid_token"))?;
    let mut value = HeaderValue::try_from(format!("Bearer {secret}"))
        .map_err(|_| SlackError::own("invalid_token"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Arguments of a query: texts as they are, the rest as JSON.
fn flat(arguments: Arguments) -> Vec<(String, String)> {
    arguments
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect()
}

/// A response URL says `ok`, in words or in JSON, or what is wrong.
fn responded(status: StatusCode, body: &[u8]) -> Result<Answer, SlackError> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = body.get("error").and_then(Value::as_str);
    let refused = body.get("ok").and_then(Value::as_bool) == Some(false);
    match (status.is_success() && !refused, error) {
        (true, _) => Ok(Answer { body, scopes: None }),
        (false, Some(error)) => Err(SlackError::said(error, Detail::default(), false)),
        (false, None) if matches!(status.as_u16(), 404 | 410) => {
            Err(SlackError::said("expired_url", Detail::default(), false))
        }
        (false, None) => Err(SlackError::said("", Detail::default(), false)),
    }
}

fn trouble(error: reqwest::Error, repeatable: bool) -> SlackError {
    // A response URL is a secret.
    let error = error.without_url();
    tracing::debug!(
        error = %telemetry::chain(&error),
        "no answer from Slack"
    );
    // First of all: a connection that timed out says both.
    if error.is_connect() {
        SlackError::not_sent("unreachable")
    } else if error.is_builder() {
        SlackError::own("invalid_request")
    } else if error.is_timeout() {
        SlackError::lost("timed_out", repeatable)
    } else {
        SlackError::lost("connection_broken", repeatable)
    }
}
