//! One call of GitHub's API: login, deadline, a bound on the answer, redirects within it, `ETag`s and limits. Touches GitHub
//! and the clock.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use moka::future::Cache;
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION},
};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::answer::{Place, Refusal, refusal};
use crate::{
    git::{GitError, metrics::GitMetrics},
    runtime::http::{self, Cause, NoBody},
};

/// The version of the API that we know.
const VERSION: &str = "2022-11-28";
/// The longest answer: a comparison shows what changed in 300 files.
const MOST_BODY: usize = 16 << 20;
/// Calls under way at once with one login; GitHub asks for few.
const AT_ONCE: usize = 8;
/// Redirects that are followed: one is a repository that was renamed.
const REDIRECTS: usize = 3;

/// What one login may do at one host: few calls at once, and none while it is limited. Shared by all repositories of it.
pub(in crate::git) struct Budget {
    at_once: Semaphore,
    paused_until: Mutex<Option<Timestamp>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            at_once: Semaphore::new(AT_ONCE),
            paused_until: Mutex::default(),
        }
    }
}

impl Budget {
    fn paused(&self, now: Timestamp) -> Option<Timestamp> {
        let paused = *self.lock();
        paused.filter(|until| *until > now)
    }

    fn pause(&self, until: Timestamp) {
        let mut paused = self.lock();
        *paused = Some(paused.map_or(until, |already| already.max(until)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
        self.paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was answered before, by login and address.
pub(in crate::git) type Memory = Cache<(Arc<str>, String), Arc<Remembered>>;

/// As much of an answer as we read of it, with its `ETag`.
pub(in crate::git) struct Remembered {
    etag: HeaderValue,
    body: Vec<u8>,
}

/// The memory of all repositories, bounded by its bytes.
pub(in crate::git) fn memory(most: u64) -> Memory {
    Cache::builder()
        .max_capacity(most)
        .weigher(
            |(login, url): &(Arc<str>, String), answer: &Arc<Remembered>| {
                let bytes = login.len() + url.len() + answer.body.len() + answer.etag.len();
                u32::try_from(bytes).unwrap_or(u32::MAX)
            },
        )
        .build()
}

/// How a repository's host is called.
pub(in crate::git) struct Caller {
    pub(in crate::git) client: reqwest::Client,
    /// The API's address.
    pub(in crate::git) base: Url,
    /// The repository's owner and name.
    pub(in crate::git) owner: String,
    pub(in crate::git) name: String,
    pub(in crate::git) place: Place,
    pub(in crate::git) deadline: Duration,
    pub(in crate::git) clock: fn() -> Timestamp,
    pub(in crate::git) metrics: GitMetrics,
    pub(in crate::git) budget: Arc<Budget>,
    pub(in crate::git) memory: Memory,
    /// Whose answers are remembered: the namespace and the Secret.
    pub(in crate::git) login: Arc<str>,
}

/// A question.
pub(super) struct Asked<'a> {
    /// A fixed word, for metrics.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<&'a serde_json::Value>,
    /// What is shown.
    pub(super) token: Option<&'a SecretString>,
}

/// What was answered, before it is read.
struct Raw {
    status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Caller {
    /// The address below the API's; each part is one, whatever is in it.
    pub(super) fn url(&self, parts: &[&str], query: &[(&str, &str)]) -> Result<Url, GitError> {
        let mut url = self.base.clone();
        let wrong = |()| self.place.unavailable("its address can't be used");
        url.path_segments_mut()
            .map_err(wrong)?
            .pop_if_empty()
            .extend(parts);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// The address below the repository's.
    pub(super) fn repository(
        &self,
        parts: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Url, Refusal> {
        let own = ["repos", self.owner.as_str(), self.name.as_str()];
        let parts = [&own, parts].concat();
        self.url(&parts, query).map_err(Refusal::Error)
    }

    /// What is there, as far as `T` reads it; from memory where it hasn't changed.
    pub(super) async fn get<T: Serialize + DeserializeOwned>(
        &self,
        operation: &'static str,
        url: &Url,
        token: Option<&SecretString>,
    ) -> Result<T, Refusal> {
        let key = (Arc::clone(&self.login), url.to_string());
        let known = self.memory.get(&key).await;
        let asked = Asked {
            operation,
            method: Method::GET,
            url: url.clone(),
            body: None,
            token,
        };
        let raw = self
            .exchange(asked, known.as_ref().map(|known| &known.etag))
            .await?;
        if raw.status == StatusCode::NOT_MODIFIED {
            let known = known.ok_or_else(|| self.unreadable("that nothing changed, unasked"))?;
            return self.read(&known.body);
        }
        let read: T = self.read(&raw.body)?;
        if let (Some(etag), Ok(body)) = (raw.headers.get(ETAG), serde_json::to_vec(&read)) {
            let etag = etag.clone();
            self.memory
                .insert(key, Arc::new(Remembered { etag, body }))
                .await;
        }
        Ok(read)
    }

    /// Sends something that changes something, or that isn't to be remembered.
    pub(super) async fn send<T: DeserializeOwned>(&self, asked: Asked<'_>) -> Result<T, Refusal> {
        let raw = self.exchange(asked, None).await?;
        self.read(&raw.body)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Refusal> {
        serde_json::from_slice(body)
            .map_err(|_| self.unreadable("something else than was asked for"))
    }

    fn unreadable(&self, what: &str) -> Refusal {
        let message = format!("it answers {what}");
        Refusal::Error(self.place.unavailable(message))
    }

    async fn exchange(&self, asked: Asked<'_>, etag: Option<&HeaderValue>) -> Result<Raw, Refusal> {
        if let Some(until) = self.budget.paused((self.clock)()) {
            return Err(Refusal::Error(GitError::Limited {
                host: self.place.host.clone(),
                until,
            }));
        }
        let began = Instant::now();
        let operation = asked.operation;
        let deadline = began + self.deadline;
        let late = || Refusal::Error(self.place.unavailable("it doesn't answer in time"));
        // On the heap: what asks several times carries each call about with it.
        let exchange = Box::pin(async {
            let _permit = self.budget.at_once.acquire().await.map_err(|_| late())?;
            self.follow(asked, etag).await
        });
        let answered = timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(late()));
        let outcome = match &answered {
            Ok(raw) if raw.status == StatusCode::NOT_MODIFIED => "unchanged",
            Ok(_) => "ok",
            Err(Refusal::Missing(_)) => "missing",
            Err(Refusal::Login(_)) => "login-refused",
            Err(Refusal::Impossible(_)) => "impossible",
            Err(Refusal::Error(error)) => error.reason(),
        };
        if let Err(Refusal::Error(GitError::Limited { until, .. })) = &answered {
            self.budget.pause(*until);
        }
        self.metrics.call(operation, outcome, began.elapsed());
        answered
    }

    /// Sends it, and again to where it is sent on: the token goes to no other server.
    async fn follow(&self, asked: Asked<'_>, etag: Option<&HeaderValue>) -> Result<Raw, Refusal> {
        let astray = |what: &str| Refusal::Error(self.place.unavailable(what));
        let mut url = asked.url.clone();
        for _ in 0..=REDIRECTS {
            let raw = self.once(&asked, url.clone(), etag).await?;
            if !is_redirect(raw.status, &asked.method) {
                return self.judged(raw);
            }
            let to = raw
                .headers
                .get(LOCATION)
                .and_then(|to| to.to_str().ok())
                .and_then(|to| url.join(to).ok())
                .ok_or_else(|| astray("it sends us to no address"))?;
            let safe = to.origin() == self.base.origin()
                && to.username().is_empty()
                && to.password().is_none();
            if !safe {
                return Err(astray("it sends us to another server"));
            }
            url = to;
        }
        Err(astray("it sends us from one address to the next"))
    }

    async fn once(
        &self,
        asked: &Asked<'_>,
        url: Url,
        etag: Option<&HeaderValue>,
    ) -> Result<Raw, Refusal> {
        let mut request = self
            .client
            .request(asked.method.clone(), url)
            .header(
                ACCEPT,
                HeaderValue::from_static("application/vnd.github+json"),
            )
            .header("x-github-api-version", HeaderValue::from_static(VERSION));
        if let Some(token) = asked.token {
            let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
            let mut bearer = HeaderValue::from_str(&bearer)
                .map_err(|_| Refusal::Login("the token isn't one".to_owned()))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag.clone());
        }
        if let Some(body) = asked.body {
            request = request.json(body);
        }
        let trouble = |error: &reqwest::Error| Refusal::Error(self.place.unavailable(words(error)));
        let response = request.send().await.map_err(|error| trouble(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = http::body(response, MOST_BODY).await;
        let body = body.map_err(|error| match error {
            NoBody::Broken(error) => trouble(&error),
            NoBody::TooLong => {
                Refusal::Error(self.place.unavailable("its answer is longer than we read"))
            }
        })?;
        Ok(Raw {
            status,
            headers,
            body,
        })
    }

    fn judged(&self, raw: Raw) -> Result<Raw, Refusal> {
        let good = matches!(
            raw.status,
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::NOT_MODIFIED
        );
        if good {
            return Ok(raw);
        }
        let now = (self.clock)();
        Err(refusal(
            &self.place,
            raw.status,
            &raw.headers,
            &raw.body,
            now,
        ))
    }
}

/// What is sent on. A browser makes a GET of anything that meets 301 or 302; nothing of ours may become another.
fn is_redirect(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::GET,
        _ => false,
    }
}

/// Why there is no answer, without addresses.
fn words(error: &reqwest::Error) -> &'static str {
    match http::cause(error) {
        Cause::Late => "it doesn't answer in time",
        Cause::Name => "its name can't be resolved",
        Cause::Refused => "nothing listens there",
        Cause::Untrusted(distrust) => distrust.words(),
        Cause::Alert(_) | Cause::Tls => "no TLS connection comes about",
        Cause::Broken => "the connection broke",
    }
}
