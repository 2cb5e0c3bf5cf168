//! A small Slack for tests: answers each method as told, and remembers what it was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) verb: Method,
    pub(super) headers: HeaderMap,
    pub(super) query: Option<String>,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

type Headers = Vec<(&'static str, String)>;
type Script = (u16, Headers, String);

#[derive(Default)]
struct Told {
    answers: BTreeMap<String, VecDeque<Script>>,
    asked: BTreeMap<String, Vec<Asked>>,
}

/// A Slack that runs until the test ends.
#[derive(Clone)]
pub(super) struct SmallSlack {
    told: Arc<Mutex<Told>>,
    pub(super) api: Url,
}

impl SmallSlack {
    pub(super) async fn start() -> Self {
        crate::runtime::tls::install();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::new(Mutex::new(Told::default()));
        let router = Router::new()
            .route("/api/{method}", axum::routing::any(answer))
            .with_state(Arc::clone(&told));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let api = format!("http://127.0.0.1:{port}/api/").parse().unwrap();
        Self { told, api }
    }

    /// The next answer of a method; the last one stays.
    pub(super) fn answers(&self, method: &str, body: &Value) {
        self.answers_with(method, 200, &[], &body.to_string());
    }

    pub(super) fn answers_with(
        &self,
        method: &str,
        status: u16,
        headers: &[(&'static str, &str)],
        body: &str,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let mut told = self.told.lock().unwrap();
        let answers = told.answers.entry(method.to_owned()).or_default();
        answers.push_back((status, headers, body.to_owned()));
    }

    pub(super) fn asked(&self, method: &str) -> Vec<Asked> {
        let told = self.told.lock().unwrap();
        told.asked.get(method).cloned().unwrap_or_default()
    }

    /// A method without answers, that was never asked.
    pub(super) fn forget(&self, method: &str) {
        let mut told = self.told.lock().unwrap();
        told.answers.remove(method);
        told.asked.remove(method);
    }
}

async fn answer(
    State(told): State<Arc<Mutex<Told>>>,
    Path(method): Path<String>,
    verb: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let mut told = told.lock().unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let asked = Asked {
        verb,
        headers,
        query,
        body,
    };
    told.asked.entry(method.clone()).or_default().push(asked);
    let answers = told.answers.entry(method).or_default();
    let script = if answers.len() > 1 {
        answers.pop_front()
    } else {
        answers.front().cloned()
    };
    let unknown = json!({"ok": false, "error": "unknown_method"}).to_string();
    let (status, headers, body) = script.unwrap_or((200, Vec::new(), unknown));
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
