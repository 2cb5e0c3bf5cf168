//! One HTTP call to Gate: permits, deadline, headers, a bound on the body, no second attempt. Touches Gate.

use std::{error::Error, io, sync::Arc, time::Duration};

use reqwest::{
    Method, Url,
    header::{
        ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    answer::{Answer, Trouble},
    settings::{GateSettings, Login, SettingsError},
};

/// The longest wait that we let Gate ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Tomcat closes idle connections after 20 s or more; ours go first.
const IDLE: Duration = Duration::from_secs(10);

/// Two HTTP clients and the permits to use them.
#[derive(Clone)]
pub(super) struct Transport {
    reading: reqwest::Client,
    writing: reqwest::Client,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    login: Login,
    deadline: Duration,
    max_body: usize,
}

/// One call.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<Vec<u8>>,
    pub(super) request_id: Option<HeaderValue>,
}

/// The right to one call that starts or cancels.
#[derive(Debug)]
pub(super) struct WritePermit(OwnedSemaphorePermit);

impl Transport {
    pub(super) fn new(settings: &GateSettings) -> Result<Self, SettingsError> {
        if settings.max_in_flight == 0
            || settings.max_in_flight > Semaphore::MAX_PERMITS
            || settings.max_body == 0
            || settings.request_deadline.is_zero()
            || settings.connect_deadline.is_zero()
        {
            return Err(SettingsError::Limits);
        }
        let connect = settings.connect_deadline.min(settings.request_deadline / 2);
        let client = |idle: usize| {
            reqwest::Client::builder()
                .default_headers(headers())
                // A login page behind a redirect would pass for an answer.
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .retry(reqwest::retry::never())
                // What the environment says of proxies is for other hosts; one that repeats a POST would destroy it.
                .no_proxy()
                .http1_only()
                .tcp_nodelay(true)
                .connect_timeout(connect)
                .pool_max_idle_per_host(idle)
                .pool_idle_timeout(IDLE)
                .build()
                .map_err(SettingsError::Client)
        };
        Ok(Self {
            reading: client(settings.max_in_flight)?,
            // A connection of its own for each: on a reused one that Gate has just closed, hyper sends again.
            writing: client(0)?,
            reads: Arc::new(Semaphore::new(settings.max_in_flight)),
            writes: Arc::new(Semaphore::new(settings.max_in_flight)),
            login: Login::new(settings.credentials.clone())?,
            deadline: settings.request_deadline,
            max_body: settings.max_body,
        })
    }

    /// A call that changes nothing.
    pub(super) async fn read(&self, call: Call) -> Result<Answer, Trouble> {
        let permit = self.permit(&self.reads).await?;
        let answer = self.send(&self.reading, call).await;
        drop(permit);
        answer
    }

    /// Waits for the right to a call that changes something, at most for the deadline.
    pub(super) async fn reserve(&self) -> Result<WritePermit, Trouble> {
        self.permit(&self.writes).await.map(WritePermit)
    }

    /// A call that changes something; sent at most once.
    pub(super) async fn write(&self, permit: WritePermit, call: Call) -> Result<Answer, Trouble> {
        let WritePermit(permit) = permit;
        let answer = self.send(&self.writing, call).await;
        drop(permit);
        answer
    }

    async fn permit(&self, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Trouble> {
        tokio::time::timeout(self.deadline, Arc::clone(permits).acquire_owned())
            .await
            .map_err(|_| Trouble::NoPermit)?
            .map_err(|_| Trouble::NoPermit)
    }

    async fn send(&self, client: &reqwest::Client, call: Call) -> Result<Answer, Trouble> {
        let mut request = client.request(call.method, call.url).timeout(self.deadline);
        if let Some(body) = call.body {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body);
        }
        if let Some(id) = call.request_id {
            request = request.header(REQUEST_ID, id);
        }
        let mut response = self
            .login
            .add(request)
            .send()
            .await
            .map_err(|error| self.trouble(error))?;
        let headers = response.headers();
        let text = |name: HeaderName| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            content_type: text(CONTENT_TYPE).unwrap_or_default(),
            location: text(LOCATION),
            retry_after: text(RETRY_AFTER)
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER)),
            body: Vec::new(),
        };
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.trouble(error))?
        {
            if answer.body.len().saturating_add(chunk.len()) > self.max_body {
                return Err(Trouble::TooLong);
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    fn trouble(&self, error: reqwest::Error) -> Trouble {
        let error = error.without_url();
        tracing::debug!(
            error = &error as &(dyn Error + 'static),
            "no answer from Gate"
        );
        // First of all: a connection that timed out says both.
        if error.is_connect() {
            Trouble::NotConnected(why_no_connection(&error))
        } else if error.is_builder() {
            Trouble::NotConnected("the request could not be made")
        } else if error.is_timeout() {
            Trouble::TimedOut(self.deadline)
        } else {
            Trouble::Broken
        }
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-spinnaker-request-id");

fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        // Gate can answer YAML too.
        (ACCEPT, HeaderValue::from_static("application/json")),
        (
            USER_AGENT,
            HeaderValue::from_static(concat!("foredeck/", env!("CARGO_PKG_VERSION"))),
        ),
        (
            HeaderName::from_static("x-ratelimit-app"),
            HeaderValue::from_static("foredeck"),
        ),
        (
            HeaderName::from_static("x-envoy-max-retries"),
            HeaderValue::from_static("0"),
        ),
    ])
}

/// In fixed words: the library's own name hosts and addresses.
fn why_no_connection(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        return "no connection within the deadline";
    }
    if error.is_dns() {
        return "its name can't be resolved";
    }
    let mut source = error.source();
    while let Some(cause) = source {
        match tls(cause) {
            Some(rustls::Error::InvalidCertificate(_)) => return "its certificate is not trusted",
            Some(_) => return "the TLS handshake failed",
            None => {}
        }
        if cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
        {
            return "the connection was refused";
        }
        source = cause.source();
    }
    "no connection came about"
}

/// The TLS library's error, which comes wrapped in I/O errors that don't name it as their source.
fn tls<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref().or_else(|| {
        let inner: &(dyn Error + 'static) = cause.downcast_ref::<io::Error>()?.get_ref()?;
        tls(inner)
    })
}
