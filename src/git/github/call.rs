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
    sync::{AcquireError, Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{
    answer::{Place, Refusal, refusal},
    login::Shown,
};
use crate::{
    git::{
        GitError,
        metrics::{GitMetrics, outcome},
    },
    runtime::http::{self, Cause, NoBody},
};

/// The version of the API that we know.
const VERSION: &str = "2022-11-28";
/// The longest answer, which a comparison's is: it shows what changed in 300 files.
const MOST_BODY: usize = 16 << 20;
/// The longest of all other answers.
const MOST_USUAL: usize = 2 << 20;
/// Calls under way at once with one login; GitHub asks for few.
const AT_ONCE: usize = 8;
/// How many of them nobody waits for: the others are left for people's versions.
const IN_BACKGROUND: usize = 4;
/// How many deadlines a call waits for its turn.
const TURNS: u32 = 2;
/// Answers that are read at once, of all logins: 48 MiB of usual ones, and 32 MiB of long ones.
const USUAL_AT_ONCE: usize = 24;
const LONG_AT_ONCE: usize = 2;
/// Redirects that are followed: one is a repository that was renamed.
const REDIRECTS: usize = 3;

/// What one login may do at one host: few calls at once, and none while it is limited. Shared by all repositories of it.
pub(in crate::git) struct Budget {
    at_once: Semaphore,
    in_background: Semaphore,
    paused: Mutex<Option<Pause>>,
}

/// Which version of the Secret is limited, and until when: what replaced it is somebody else's token.
struct Pause {
    version: String,
    until: Timestamp,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            at_once: Semaphore::new(AT_ONCE),
            in_background: Semaphore::new(IN_BACKGROUND),
            paused: Mutex::default(),
        }
    }
}

impl Budget {
    fn paused(&self, version: &str, now: Timestamp) -> Option<Timestamp> {
        let paused = self.lock();
        let paused = paused.as_ref().filter(|pause| pause.version == version);
        paused.map(|pause| pause.until).filter(|until| *until > now)
    }

    fn pause(&self, version: &str, until: Timestamp) {
        let mut paused = self.lock();
        let already = paused.as_ref().filter(|pause| pause.version == version);
        let until = already.map_or(until, |pause| pause.until.max(until));
        *paused = Some(Pause {
            version: version.to_owned(),
            until,
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pause>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many answers are read at once, whoever asked: each takes memory until it is read.
pub(in crate::git) struct Readers {
    usual: Semaphore,
    long: Semaphore,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            usual: Semaphore::new(USUAL_AT_ONCE),
            long: Semaphore::new(LONG_AT_ONCE),
        }
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
    pub(in crate::git) readers: Arc<Readers>,
    pub(in crate::git) memory: Memory,
    /// Whose answers are remembered: the namespace and the Secret.
    pub(in crate::git) login: Arc<str>,
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody waits for it.
    Usual,
    /// Nobody does.
    Background,
    /// Its answer may be long.
    Long,
}

/// A question.
pub(super) struct Asked<'a> {
    pub(super) kind: Kind,
    /// A fixed word, for metrics.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<&'a serde_json::Value>,
    /// What is shown.
    pub(super) token: Option<&'a SecretString>,
    /// Of which version of the Secret that is.
    pub(super) version: &'a str,
}

/// What lets a call go out, until it is dropped.
struct Turn<'a> {
    _background: Option<SemaphorePermit<'a>>,
    _call: SemaphorePermit<'a>,
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
        shown: &Shown,
    ) -> Result<T, Refusal> {
        let key = (Arc::clone(&self.login), url.to_string());
        let known = self.memory.get(&key).await;
        let asked = Asked {
            kind: Kind::Usual,
            operation,
            method: Method::GET,
            url: url.clone(),
            body: None,
            token: shown.token.as_deref(),
            version: &shown.version,
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
        let (operation, version) = (asked.operation, asked.version);
        self.unpaused(operation, version)?;
        let _turn = self.turn(&asked).await?;
        // Somebody may have met the limit while this one waited.
        self.unpaused(operation, version)?;
        let began = Instant::now();
        let deadline = began + self.deadline;
        let late = || Refusal::Error(self.place.unavailable("it doesn't answer in time"));
        // On the heap: what asks several times carries each call about with it.
        let exchange = Box::pin(self.follow(asked, etag, deadline));
        let answered = timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(late()));
        let outcome = match &answered {
            Ok(raw) if raw.status == StatusCode::NOT_MODIFIED => outcome::UNCHANGED,
            Ok(_) => outcome::OK,
            Err(Refusal::Missing(_)) => outcome::MISSING,
            Err(Refusal::Login(_)) => outcome::LOGIN_REFUSED,
            Err(Refusal::Impossible(_)) => outcome::IMPOSSIBLE,
            Err(Refusal::Error(error)) => error.reason(),
        };
        if let Err(Refusal::Error(GitError::Limited { until, .. })) = &answered {
            self.budget.pause(version, *until);
        }
        self.metrics.call(operation, outcome, began.elapsed());
        answered
    }

    /// Refuses, and counts that, while the login is limited.
    fn unpaused(&self, operation: &'static str, version: &str) -> Result<(), Refusal> {
        let Some(until) = self.budget.paused(version, (self.clock)()) else {
            return Ok(());
        };
        let limited = GitError::Limited {
            host: self.place.host.clone(),
            until,
        };
        self.metrics.unsent(operation, limited.reason());
        Err(Refusal::Error(limited))
    }

    /// Waits until few enough calls of the login are under way. What the host takes for its answer counts from then on.
    async fn turn(&self, asked: &Asked<'_>) -> Result<Turn<'_>, Refusal> {
        let waiting = async {
            let background = if asked.kind == Kind::Background {
                Some(self.budget.in_background.acquire().await?)
            } else {
                None
            };
            Ok::<_, AcquireError>(Turn {
                _background: background,
                _call: self.budget.at_once.acquire().await?,
            })
        };
        let longest = self.deadline * TURNS;
        match timeout_at(Instant::now() + longest, waiting).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => {
                self.metrics.unsent(asked.operation, outcome::BUSY);
                Err(self.busy("asked of it with this login"))
            }
        }
    }

    fn busy(&self, what: &str) -> Refusal {
        let message = format!("foredeck has too much to be {what} at once, and asks again later");
        Refusal::Error(self.place.unavailable(message))
    }

    /// Sends it, and again to where it is sent on: the token goes to no other server.
    async fn follow(
        &self,
        asked: Asked<'_>,
        etag: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Raw, Refusal> {
        let astray = |what: &str| Refusal::Error(self.place.unavailable(what));
        let mut url = asked.url.clone();
        for _ in 0..=REDIRECTS {
            let raw = self.once(&asked, url.clone(), etag, deadline).await?;
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
        deadline: Instant,
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
        let (readers, most) = match asked.kind {
            Kind::Long => (&self.readers.long, MOST_BODY),
            Kind::Usual | Kind::Background => (&self.readers.usual, MOST_USUAL),
        };
        let Ok(Ok(_reader)) = timeout_at(deadline, readers.acquire()).await else {
            return Err(self.busy("read of all hosts"));
        };
        let body = http::body(response, most).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_for_the_version_of_the_secret_that_met_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let budget = Budget::default();
        budget.pause("1", at(100));
        budget.pause("1", at(50));
        assert_eq!(budget.paused("1", at(60)), Some(at(100)));
        assert_eq!(budget.paused("1", at(100)), None);
        assert_eq!(budget.paused("2", at(60)), None);
        budget.pause("2", at(70));
        assert_eq!(budget.paused("2", at(60)), Some(at(70)));
    }
}
