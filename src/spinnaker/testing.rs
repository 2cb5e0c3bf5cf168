//! A Gate of a few lines for the tests beside the code: canned answers, and a count of what came. Touches loopback.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{Response, StatusCode, header::CONTENT_TYPE},
};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    client::GateClient,
    settings::{GateLogin, GateSettings},
};

/// What came in: method, path with query, headers, body.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) line: String,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Bytes,
}

pub(super) struct TestGate {
    pub(super) url: Url,
    came: Arc<Mutex<Vec<Came>>>,
    server: JoinHandle<()>,
}

impl Drop for TestGate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl TestGate {
    /// A Gate that answers each `METHOD /path?query` as `answer` says.
    pub(super) async fn new(
        answer: impl Fn(&str) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let came = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&came);
        let router = Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), Arc::clone(&log));
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let headers = request.headers().clone();
                let body = axum::body::to_bytes(request.into_body(), usize::MAX)
                    .await
                    .unwrap();
                let reply = answer(&line);
                log.lock().unwrap().push(Came {
                    line,
                    headers,
                    body,
                });
                reply.send().await
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, came, server }
    }

    pub(super) fn client(&self) -> GateClient {
        GateClient::new(self.settings()).unwrap()
    }

    pub(super) fn settings(&self) -> GateSettings {
        settings(self.url.clone())
    }

    pub(super) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.came().into_iter().map(|came| came.line).collect()
    }
}

pub(super) fn settings(url: Url) -> GateSettings {
    let mut settings = GateSettings::fixed(url, GateLogin::nobody().unwrap());
    settings.request_deadline = Duration::from_secs(5);
    settings
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str, String),
    Redirect(String),
    /// No answer for so long that only a deadline ends it.
    Never,
}

impl Reply {
    async fn send(self) -> Response<Body> {
        let (status, kind, body) = match self {
            Self::Json(status, body) => (status, "application/json", body.to_string()),
            Self::Text(status, kind, body) => (status, kind, body),
            Self::Redirect(to) => {
                return Response::builder()
                    .status(StatusCode::FOUND)
                    .header("location", to)
                    .body(Body::empty())
                    .unwrap();
            }
            Self::Never => std::future::pending().await,
        };
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, kind)
            .body(body.into())
            .unwrap()
    }
}

/// An error as Spring writes it.
pub(super) fn spring(status: u16, exception: &str, message: &str) -> Value {
    json!({"timestamp": "2026-11-22T02:05:14.270+00:00", "status": status, "error": "Whatever",
        "exception": format!("com.netflix.spinnaker.kork.retrofit.exceptions.{exception}"), "message": message})
}

/// What Gate answers for an execution that isn't there.
pub(super) fn not_there(id: &str) -> Reply {
    Reply::Json(
        404,
        spring(
            404,
            "NotFoundException",
            &format!("Pipeline not found (id: {id})"),
        ),
    )
}

pub(super) fn execution(id: &str) -> Value {
    json!({"id": id, "application": "shop", "status": "RUNNING", "buildTime": 1, "pipelineConfigId": "4f0a", "stages": []})
}
