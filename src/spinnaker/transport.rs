//! One HTTP call to Gate: permits, rate, deadline, headers, a bound on the body, no second attempt. Touches Gate.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};

use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    answer::{Answer, Trouble},
    metrics::{self, Endpoint, GateMetrics},
    settings::{GateLogin, GateSettings, Rate, SettingsError},
    unanswered,
};
use crate::runtime::{
    http::{self, NoBody},
    telemetry,
    traces::{self, Value},
};

/// The longest wait that we let Gate ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Tomcat closes idle connections after 20 s or more; ours go first.
const IDLE: Duration = Duration::from_secs(10);

/// The permits to call, and HTTP clients for the login of the moment.
#[derive(Clone)]
pub(super) struct Transport {
    login: watch::Receiver<Option<Arc<GateLogin>>>,
    clients: Arc<Mutex<Option<Arc<Clients>>>>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    pace: Option<Arc<Pace>>,
    connect: Duration,
    deadline: Duration,
    max_idle: usize,
    max_body: usize,
    metrics: GateMetrics,
}

/// HTTP clients that speak with one login. Whoever calls keeps them until the answer is there; with the last of them their
/// connections go.
struct Clients {
    login: Arc<GateLogin>,
    reading: reqwest::Client,
    writing: reqwest::Client,
}

/// How often Gate may be called. Who waits stands in line.
struct Pace {
    line: tokio::sync::Mutex<()>,
    limiter: DefaultDirectRateLimiter,
}

impl Pace {
    fn new(rate: Rate) -> Self {
        Self {
            line: tokio::sync::Mutex::default(),
            limiter: RateLimiter::direct(
                Quota::per_second(rate.per_second).allow_burst(rate.burst),
            ),
        }
    }

    async fn turn(&self) {
        let _first = self.line.lock().await;
        while let Err(not_yet) = self.limiter.check() {
            let wait = not_yet.wait_time_from(self.limiter.clock().now());
            tokio::time::sleep(wait).await;
        }
    }
}

/// One call.
pub(super) struct Call {
    pub(super) endpoint: Endpoint,
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
        Ok(Self {
            login: settings.login.clone(),
            clients: Arc::default(),
            reads: Arc::new(Semaphore::new(settings.max_in_flight)),
            writes: Arc::new(Semaphore::new(settings.max_in_flight)),
            pace: settings.rate.map(Pace::new).map(Arc::new),
            connect: settings.connect_deadline.min(settings.request_deadline / 2),
            deadline: settings.request_deadline,
            max_idle: settings.max_in_flight,
            max_body: settings.max_body,
            metrics: settings.metrics.clone(),
        })
    }

    /// A call that changes nothing.
    pub(super) async fn read(&self, call: Call) -> Result<Answer, Trouble> {
        let permit = self.permit(&self.reads, call.endpoint).await?;
        let answer = self.measured(call, |clients| &clients.reading).await;
        drop(permit);
        answer
    }

    /// Waits for the right to a call that changes something, and for its turn where Gate may not be called as often as
    /// needed; at most for the deadline.
    pub(super) async fn reserve(&self, endpoint: Endpoint) -> Result<WritePermit, Trouble> {
        self.permit(&self.writes, endpoint).await.map(WritePermit)
    }

    /// A call that changes something; sent at most once.
    pub(super) async fn write(&self, permit: WritePermit, call: Call) -> Result<Answer, Trouble> {
        let WritePermit(permit) = permit;
        let answer = self.measured(call, |clients| &clients.writing).await;
        drop(permit);
        answer
    }

    /// Sends it, and counts what came of it.
    async fn measured(
        &self,
        call: Call,
        which: impl FnOnce(&Clients) -> &reqwest::Client,
    ) -> Result<Answer, Trouble> {
        let (endpoint, began) = (call.endpoint, Instant::now());
        let mut span = traces::call(endpoint.span());
        if let Some(span) = &mut span {
            let server = call.url.host_str().unwrap_or_default().to_owned();
            span.say("server.address", Value::Name(server));
            let port = call.url.port_or_known_default().unwrap_or_default();
            span.say("server.port", Value::Number(port.into()));
            span.say("http.request.method", Value::Word(endpoint.method()));
        }
        let answer = match self.clients() {
            Ok(clients) => self.send(which(&clients), &clients.login, call).await,
            Err(trouble) => Err(trouble),
        };
        let outcome = metrics::outcome(&answer);
        self.metrics.called(endpoint, outcome, began.elapsed());
        if let Some(mut span) = span {
            if let Ok(answer) = &answer {
                let status = Value::Number(answer.status.into());
                span.say("http.response.status_code", status);
            }
            span.ended((outcome != "ok").then_some(outcome));
        }
        answer
    }

    async fn permit(
        &self,
        permits: &Arc<Semaphore>,
        endpoint: Endpoint,
    ) -> Result<OwnedSemaphorePermit, Trouble> {
        let both = async {
            let permit = Arc::clone(permits).acquire_owned().await;
            if let Some(pace) = &self.pace {
                pace.turn().await;
            }
            permit
        };
        tokio::time::timeout(self.deadline, both)
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| {
                self.metrics.refused_a_permit(endpoint);
                Trouble::NoPermit
            })
    }

    /// Those for the login of this moment. The ones of an earlier login go when the last call on them has ended.
    fn clients(&self) -> Result<Arc<Clients>, Trouble> {
        let login = self.login.borrow().clone();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(login) = login else {
            *clients = None;
            return Err(Trouble::NotConnected("there is no login for it now"));
        };
        if let Some(made) = clients.as_ref()
            && Arc::ptr_eq(&made.login, &login)
        {
            return Ok(Arc::clone(made));
        }
        let made = self.make(login).map(Arc::new).map_err(|error| {
            tracing::warn!(
                error = %telemetry::chain(&error),
                "no HTTP client for Gate can be made"
            );
            Trouble::NotConnected("no HTTP client can be made for it")
        })?;
        *clients = Some(Arc::clone(&made));
        Ok(made)
    }

    fn make(&self, login: Arc<GateLogin>) -> Result<Clients, reqwest::Error> {
        let client = |idle: usize| {
            http::client()
                .default_headers(headers())
                // What the environment says of proxies is for other hosts; one that repeats a POST would destroy it.
                .no_proxy()
                .http1_only()
                .tcp_nodelay(true)
                .tls_backend_preconfigured(login.tls.clone())
                .connect_timeout(self.connect)
                .pool_max_idle_per_host(idle)
                .pool_idle_timeout(IDLE)
                .build()
        };
        Ok(Clients {
            reading: client(self.max_idle)?,
            // A connection of its own for each: on a reused one that Gate has just closed, hyper sends again.
            writing: client(0)?,
            login,
        })
    }

    async fn send(
        &self,
        client: &reqwest::Client,
        login: &GateLogin,
        call: Call,
    ) -> Result<Answer, Trouble> {
        let mut request = client.request(call.method, call.url).timeout(self.deadline);
        if let Some(body) = call.body {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body);
        }
        if let Some(id) = call.request_id {
            request = request.header(REQUEST_ID, id);
        }
        let response = login
            .headers
            .add(request)
            .send()
            .await
            .map_err(|error| unanswered::before_an_answer(error, self.deadline))?;
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
            repeats_credentials: false,
        };
        let body = http::body(response, self.max_body).await;
        let mut body = body.map_err(|error| match error {
            NoBody::Broken(error) => unanswered::within_an_answer(error, self.deadline),
            NoBody::TooLong => Trouble::TooLong,
        })?;
        answer.body = std::mem::take(&mut *body);
        login.echo.take_out(&mut answer);
        Ok(answer)
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-spinnaker-request-id");

fn headers() -> HeaderMap {
    HeaderMap::from_iter([
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
