//! The stand-in's addresses.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};

use super::shared::Shared;
use super::{api, delivery, page};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/{method}", any(api::call))
        .route("/commands/{team}/{number}/{secret}", post(api::respond))
        .route("/actions/{team}/{number}/{secret}", post(api::respond))
        .route("/link/", get(delivery::connect))
        .merge(page::router())
        .layer(DefaultBodyLimit::max(4 << 20))
        .with_state(shared)
}
