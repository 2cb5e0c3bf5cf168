//! The admin server: `/livez`, `/readyz` and `/metrics`. Listens on one address; touches nothing else.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why the admin server doesn't run.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address is taken or not ours.
    #[error("can't listen on {address} for the admin server")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The listener broke while serving.
    #[error("the admin server stopped")]
    Serve(#[source] io::Error),
}

impl AdminError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "AdminListenFailed",
            Self::Serve(_) => "AdminServeFailed",
        }
    }
}

/// What must be there before the process is ready: named gates, each closed with a reason until it is opened.
///
/// A process without gates is ready. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    closed: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Adds a gate, closed with the reason `starting`. Asking for a name again closes it again.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate {
            name,
            readiness: self.clone(),
        };
        gate.not_ready("starting");
        gate
    }

    /// Gates that somebody is going to ask for: closed from now on, so that nobody finds the process ready before it has
    /// told what it needs.
    pub fn expect(&self, names: &[&'static str]) {
        for name in names {
            self.gate(name);
        }
    }

    /// The gates that aren't ready, with their reasons, by name. Empty means ready.
    pub fn closed(&self) -> Vec<(&'static str, String)> {
        self.lock()
            .iter()
            .map(|(name, reason)| (*name, reason.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One condition of being ready. Dropping it changes nothing: a gate that was closed stays closed.
#[derive(Clone, Debug)]
pub struct Gate {
    name: &'static str,
    readiness: Readiness,
}

impl Gate {
    /// Opens the gate.
    pub fn ready(&self) {
        self.readiness.lock().remove(self.name);
    }

    /// Closes the gate. `reason` is shown to whoever asks `/readyz`: no secrets, one line.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.lock().insert(self.name, reason.into());
    }
}

/// A bound address that doesn't answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
}

impl AdminServer {
    /// Takes the address; port 0 lets the operating system choose.
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self { listener }),
            Err(source) => Err(AdminError::Listen { address, source }),
        }
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `end`. That should come after draining: metrics are wanted then too.
    pub async fn serve(
        self,
        readiness: Readiness,
        metrics: Metrics,
        end: CancellationToken,
    ) -> Result<(), AdminError> {
        axum::serve(self.listener, router(readiness, metrics))
            .with_graceful_shutdown(end.cancelled_owned())
            .await
            .map_err(AdminError::Serve)
    }
}

fn router(readiness: Readiness, metrics: Metrics) -> Router {
    // Alive means: the process runs and its event loop turns. Restarting cures nothing else.
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .merge(
            Router::new()
                .route("/readyz", get(readyz))
                .with_state(readiness),
        )
        .merge(
            Router::new()
                .route("/metrics", get(page))
                .with_state(metrics),
        )
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let closed = readiness.closed();
    if closed.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let mut body = String::from("not ready\n");
    for (name, reason) in closed {
        let _infallible = writeln!(body, "{name}: {reason}");
    }
    (StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn page(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics can't be written as text\n",
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Served {
        base: String,
        readiness: Readiness,
        end: CancellationToken,
    }

    async fn served() -> Served {
        crate::runtime::tls::install();
        let server = AdminServer::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let base = format!("http://{}", server.address().unwrap());
        let (readiness, end) = (Readiness::default(), CancellationToken::new());
        tokio::spawn(server.serve(readiness.clone(), Metrics::default(), end.clone()));
        Served {
            base,
            readiness,
            end,
        }
    }

    impl Served {
        async fn get(&self, path: &str) -> (u16, String, String) {
            let answer = reqwest::get(format!("{}{path}", self.base)).await.unwrap();
            let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
            (answer.status().as_u16(), kind, answer.text().await.unwrap())
        }
    }

    #[tokio::test]
    async fn readyz_names_each_closed_gate_until_all_are_open() {
        let served = served().await;
        assert_eq!(served.get("/readyz").await.0, 200);

        let requests = served.readiness.gate("deployrequests");
        let lease = served.readiness.gate("lease");
        lease.not_ready("forbidden");
        let (status, _, body) = served.get("/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (
                503,
                "not ready\ndeployrequests: starting\nlease: forbidden\n"
            )
        );

        lease.ready();
        assert_eq!(
            served.get("/readyz").await.2,
            "not ready\ndeployrequests: starting\n"
        );
        requests.ready();
        let (status, _, body) = served.get("/readyz").await;
        assert_eq!((status, body.as_str()), (200, "ready\n"));
        requests.not_ready("API server unreachable");
        assert_eq!(served.get("/readyz").await.0, 503);
        assert_eq!(served.get("/livez").await.0, 200, "alive though not ready");
    }

    #[test]
    fn what_is_expected_is_closed_until_somebody_opens_it() {
        let readiness = Readiness::default();
        readiness.expect(&["bridge", "harbour"]);
        assert_eq!(readiness.closed().len(), 2);
        readiness.gate("bridge").ready();
        assert_eq!(readiness.closed(), [("harbour", "starting".to_owned())]);
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let (status, kind, body) = served().await.get("/metrics").await;
        assert_eq!((status, kind.as_str()), (200, OPEN_METRICS));
        assert!(body.contains("foredeck_build_info{version="), "{body}");
    }

    #[tokio::test]
    async fn taken_address_is_an_error_that_names_it() {
        let first = AdminServer::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = first.address().unwrap();
        let error = AdminServer::bind(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert_eq!(error.reason(), "AdminListenFailed");
    }

    #[tokio::test]
    async fn server_ends_when_told() {
        let served = served().await;
        assert_eq!(served.get("/livez").await.0, 200);
        served.end.cancel();
        let refused = async {
            while reqwest::get(format!("{}/livez", served.base)).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), refused)
            .await
            .expect("the server still answers 10 s after its end");
    }
}
