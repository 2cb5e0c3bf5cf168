//! A page that shows the workspace to one person and lets them act: what a demo is clicked through on. Touches the world.

mod actions;
mod state;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use ulid::Ulid;

use super::shared::Shared;

const PAGE: &str = include_str!("page.html");
/// The page's script; the last part starts it.
const SCRIPT: &str = concat!(
    include_str!("signs.js"),
    include_str!("words.js"),
    include_str!("blocks.js"),
    include_str!("page.js"),
);
/// How long a question for news is held when there are none.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(page))
        .route("/page/state", get(news))
        .route("/page/act", post(act))
}

/// The page. Nothing but its own script runs on it, and nothing is loaded from elsewhere.
async fn page() -> Response {
    let nonce = Ulid::new().to_string();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut response = Html(
        PAGE.replace("{{nonce}}", &nonce)
            .replace("{{script}}", SCRIPT),
    )
    .into_response();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_SECURITY_POLICY, &policy);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CACHE_CONTROL, "no-store");
    response
}

/// What a person sees: at once, or with `seen` as soon as it is something newer.
async fn news(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let user = query.get("user").map_or("alice", String::as_str);
    let seen = query.get("seen").and_then(|seen| seen.parse::<u64>().ok());
    let mut changes = shared.changes();
    // Running out of patience is no failure: the page asks again.
    let _ = tokio::time::timeout(PATIENCE, changes.wait_for(|count| Some(*count) != seen)).await;
    let count = *changes.borrow();
    let shown = state::of(&shared.world(), user, count);
    match shown {
        Some(shown) => Json(shown).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({"error": "No such person."})),
        )
            .into_response(),
    }
}

/// What a person does. Only JSON is taken, which no form of another site can send.
async fn act(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(action): Json<actions::Action>,
) -> Response {
    let foreign = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    if foreign {
        return StatusCode::FORBIDDEN.into_response();
    }
    match actions::run(&shared, action).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            let body = Json(json!({"error": error.to_string()}));
            (StatusCode::UNPROCESSABLE_ENTITY, body).into_response()
        }
    }
}
