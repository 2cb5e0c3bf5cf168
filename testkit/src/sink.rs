//! A stand-in for what collects audit lines: a server on TLS that takes them, refuses them, or says nothing. Touches a port
//! of 127.0.0.1.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::sync::watch;

use crate::server::{Server, Tally};
use crate::tls::Authority;

/// A running sink. It ends with this value.
#[derive(Debug)]
pub struct StandInSink {
    shared: Arc<Shared>,
    authority: Authority,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    answer: watch::Sender<SinkAnswer>,
    posts: Mutex<Vec<SinkPost>>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkAnswer {
    /// 204.
    Accept,
    /// This status.
    Status(u16),
    /// 400 where this is in the body, else 204.
    RefuseWith(String),
    /// Nothing, until something else is to be answered.
    Silence,
}

/// What came.
#[derive(Debug, Clone)]
pub struct SinkPost {
    /// All headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: String,
    /// What was answered; nothing yet while it is silent.
    pub answered: Option<u16>,
}

impl StandInSink {
    /// Starts on a free port, with a certificate of its own authority. Accepts all.
    pub async fn start() -> Result<Self> {
        let authority = Authority::new("Stand-in sink")?;
        let (_, tls) = watch::channel(authority.server()?.server_config(None)?);
        let shared = Arc::new(Shared {
            answer: watch::channel(SinkAnswer::Accept).0,
            posts: Mutex::default(),
        });
        let router = Router::new()
            .route("/audit", post(take))
            .with_state(Arc::clone(&shared));
        let server = Server::listen(0, router, Some(tls), Tally::default()).await?;
        Ok(Self {
            shared,
            authority,
            server,
        })
    }

    /// Where lines are posted.
    pub fn url(&self) -> String {
        format!("https://{}/audit", self.server.address)
    }

    /// The authority of its certificate, in PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.ca_pem()
    }

    /// From now on it answers so.
    pub fn answer(&self, answer: SinkAnswer) {
        self.shared.answer.send_replace(answer);
    }

    /// Everything that came, oldest first.
    pub fn posts(&self) -> Vec<SinkPost> {
        self.shared.posts().clone()
    }

    /// Every line that was accepted, oldest first, each as often as it came.
    pub fn lines(&self) -> Result<Vec<Value>> {
        let posts = self.posts();
        let accepted = posts.iter().filter(|post| post.answered == Some(204));
        let lines = accepted.flat_map(|post| post.body.lines());
        lines
            .map(|line| serde_json::from_str(line).with_context(|| format!("{line:?} is no line")))
            .collect()
    }
}

impl Shared {
    fn posts(&self) -> MutexGuard<'_, Vec<SinkPost>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> StatusCode {
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    let number = {
        let mut posts = shared.posts();
        posts.push(SinkPost {
            headers: headers.collect(),
            body: body.clone(),
            answered: None,
        });
        posts.len() - 1
    };
    let mut answers = shared.answer.subscribe();
    let answer = match answers
        .wait_for(|answer| *answer != SinkAnswer::Silence)
        .await
    {
        Ok(answer) => answer.clone(),
        Err(_) => return StatusCode::SERVICE_UNAVAILABLE,
    };
    let status = match answer {
        SinkAnswer::Status(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        SinkAnswer::RefuseWith(words) if body.contains(&words) => StatusCode::BAD_REQUEST,
        _ => StatusCode::NO_CONTENT,
    };
    shared.posts()[number].answered = Some(status.as_u16());
    status
}
