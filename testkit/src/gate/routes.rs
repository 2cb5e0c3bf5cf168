//! Gate's endpoints: each reads its call, asks the world and answers as Gate does.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use axum::{Extension, Json, Router, middleware};
use serde_json::{Map, Value, json};

use super::answers::Refusal;
use super::control::Patched;
use super::intercept::{intercept, login_page};
use super::launch::Order;
use super::parameters::missing_required;
use super::shared::{Principal, Shared};

type Gate = State<Arc<Shared>>;
type Words = Query<HashMap<String, String>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/pipelines/start", post(start))
        .route("/pipelines", post(save_config))
        .route("/pipelines/{id}", get(execution).delete(delete_execution))
        .route("/pipelines/{id}/{name_or_id}", post(trigger))
        .route("/pipelines/{id}/cancel", put(cancel))
        .route("/pipelines/{id}/pause", put(pause))
        .route("/pipelines/{id}/resume", put(resume))
        .route("/pipelines/{id}/stages/{stage}", patch(patch_stage))
        .route("/pipelines/{id}/stages/{stage}/restart", put(restart_stage))
        .route("/executions", get(executions))
        .route("/executions/failedStages", get(failed_stages))
        .route("/applications", get(applications))
        .route("/applications/{application}/pipelineConfigs", get(configs))
        .route(
            "/applications/{application}/pipelineConfigs/{name_or_id}",
            get(config),
        )
        .route("/applications/{application}/executions/search", get(search))
        .route("/auth/user", get(user))
        .route("/health", get(health))
        .route("/version", get(version))
        .route("/login", get(async || login_page()))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&shared),
            intercept,
        ))
        .with_state(shared)
}

fn reference(id: &str) -> Json<Value> {
    Json(json!({"ref": format!("/pipelines/{id}")}))
}

fn done() -> Response {
    StatusCode::OK.into_response()
}

fn json_object(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::unreadable())
}

/// `POST /pipelines/start`: the whole config is run as it is sent, under the sent execution id if there is one.
async fn start(
    State(shared): Gate,
    Extension(Principal(principal)): Extension<Principal>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut config = json_object(&body)?;
    if config.get("id").and_then(Value::as_str).is_none() {
        let pause = shared.world().timing.refusal;
        tokio::time::sleep(pause).await;
        return Err(Refusal::no_pipeline_id());
    }
    let trigger = config.remove("trigger");
    let execution_id = config
        .remove("executionId")
        .and_then(|id| id.as_str().map(str::to_owned));
    let id = shared
        .launch(Order {
            config: Value::Object(config),
            trigger,
            execution_id,
            principal,
            checked_at: 0,
            parent: None,
        })
        .await?;
    Ok(reference(&id).into_response())
}

/// `POST /pipelines/{application}/{name or id}`: the stored config is run; a sent execution id is only kept.
async fn trigger(
    State(shared): Gate,
    Extension(Principal(principal)): Extension<Principal>,
    Path((application, name_or_id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let trigger = if body.is_empty() {
        Map::new()
    } else {
        json_object(&body)?
    };
    let trigger = Value::Object(trigger);
    let in_frame = |refusal: Refusal| refusal.while_triggering(&application, &name_or_id);
    let config = shared
        .world()
        .find_config(&application, &name_or_id)
        .cloned()
        .ok_or_else(|| in_frame(Refusal::no_config(&name_or_id)))?;
    if let Some(name) = missing_required(&config, &trigger) {
        return Err(in_frame(Refusal::missing_parameter(&name)));
    }
    let id = shared
        .launch(Order {
            config,
            trigger: Some(trigger),
            execution_id: None,
            principal,
            checked_at: 0,
            parent: None,
        })
        .await
        .map_err(in_frame)?;
    Ok((StatusCode::ACCEPTED, reference(&id)).into_response())
}

/// `POST /pipelines`: saves a config. A second one of that name without its id is refused.
async fn save_config(State(shared): Gate, body: Bytes) -> Result<Response, Refusal> {
    let config = Value::Object(json_object(&body)?);
    let text = |config: &Value, key: &str| {
        config
            .get(key)
            .and_then(Value::as_str)
            .map(str::to_lowercase)
    };
    let mut world = shared.world();
    let taken = world.configs.values().any(|known| {
        text(known, "name") == text(&config, "name")
            && text(known, "application") == text(&config, "application")
            && known.get("id") != config.get("id")
    });
    if taken {
        return Err(Refusal::invalid(
            "A pipeline with that name already exists in the application",
        ));
    }
    world.put_config(config);
    Ok(done())
}

async fn execution(State(shared): Gate, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let world = shared.world();
    let execution = world
        .visible(&id)
        .ok_or_else(|| Refusal::no_execution(&id))?;
    Ok(Json(execution.to_json(true)))
}

async fn executions(State(shared): Gate, Query(query): Words) -> Result<Json<Value>, Refusal> {
    shared.world().executions(&query).map(Json)
}

async fn search(
    State(shared): Gate,
    Path(application): Path<String>,
    Query(query): Words,
) -> Result<Json<Value>, Refusal> {
    shared.world().search(&application, &query).map(Json)
}

async fn failed_stages() -> Refusal {
    Refusal::failed_stages()
}

async fn configs(State(shared): Gate, Path(application): Path<String>) -> Json<Value> {
    let world = shared.world();
    let of_application = |config: &&Value| {
        config
            .get("application")
            .and_then(Value::as_str)
            .is_some_and(|owner| owner.eq_ignore_ascii_case(&application))
    };
    let configs = world.configs.values().filter(of_application);
    Json(configs.cloned().collect())
}

async fn config(
    State(shared): Gate,
    Path((application, name_or_id)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    shared
        .world()
        .find_config(&application, &name_or_id)
        .cloned()
        .map(Json)
        .ok_or_else(|| Refusal::config_not_found(&name_or_id))
}

async fn cancel(
    State(shared): Gate,
    Extension(Principal(principal)): Extension<Principal>,
    Path(id): Path<String>,
    Query(query): Words,
) -> Result<Response, Refusal> {
    let mut world = shared.world();
    let now = world.now();
    let reason = query.get("reason").map(String::as_str);
    if world.cancel(&id, &principal, reason, now) {
        Ok(done())
    } else {
        Err(Refusal::no_execution(&id))
    }
}

async fn pause(
    State(shared): Gate,
    Extension(Principal(principal)): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let mut world = shared.world();
    let now = world.now();
    if world.pause(&id, &principal, now) {
        Ok(done())
    } else {
        Err(Refusal::no_execution(&id))
    }
}

async fn resume(
    State(shared): Gate,
    Extension(Principal(principal)): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let mut world = shared.world();
    let now = world.now();
    if world.resume(&id, &principal, now) {
        Ok(done())
    } else {
        Err(Refusal::no_execution(&id))
    }
}

/// `PATCH …/stages/{stage}`: answers with the value in the body even when Orca is about to overwrite it.
async fn patch_stage(
    State(shared): Gate,
    Extension(Principal(principal)): Extension<Principal>,
    Path((id, stage)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let patch = json_object(&body)?;
    let (patched, pause) = {
        let mut world = shared.world();
        let now = world.now();
        let patched = world.patch_stage(&id, &stage, &patch, &principal, now);
        (patched, world.timing.refusal)
    };
    match patched {
        Patched::Done(execution) => Ok(Json(execution)),
        Patched::NoExecution => Err(Refusal::no_execution(&id)),
        Patched::NoStage => {
            tokio::time::sleep(pause).await;
            Err(Refusal::unknown_stage(&id, &stage))
        }
    }
}

async fn restart_stage(
    State(shared): Gate,
    Extension(Principal(principal)): Extension<Principal>,
    Path((id, stage)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    json_object(&body)?;
    let mut world = shared.world();
    let now = world.now();
    if !world.restart(&id, &stage, &principal, now) {
        return Err(Refusal::no_execution(&id));
    }
    let execution = world
        .visible(&id)
        .ok_or_else(|| Refusal::no_execution(&id))?;
    Ok(Json(execution.to_json(true)))
}

async fn delete_execution(
    State(shared): Gate,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let mut world = shared.world();
    let complete = world
        .visible(&id)
        .map(|execution| execution.status.is_complete());
    match complete {
        None => Err(Refusal::no_execution(&id)),
        Some(false) => Err(Refusal::still_running(&id)),
        Some(true) => {
            world.forget(&id);
            Ok(done())
        }
    }
}

async fn applications(State(shared): Gate) -> Json<Value> {
    let world = shared.world();
    let mut names = BTreeSet::new();
    for config in world.configs.values() {
        if let Some(name) = config.get("application").and_then(Value::as_str) {
            names.insert(name.to_lowercase());
        }
    }
    let applications = names.iter().map(|name| {
        json!({"name": name, "email": "owners@corp.example", "accounts": "", "cloudProviders": "kubernetes"})
    });
    Json(applications.collect())
}

/// `GET /auth/user`: open to all, and empty for whom Gate does not know.
async fn user(Extension(Principal(principal)): Extension<Principal>) -> Response {
    if principal.is_empty() {
        return done();
    }
    Json(json!({
        "username": principal,
        "email": principal,
        "roles": [],
        "allowedAccounts": [],
        "authorities": [],
        "enabled": true,
        "isAdmin": false,
    }))
    .into_response()
}

async fn health(State(shared): Gate, Query(query): Words) -> Response {
    let downstream = query
        .get("downstreamServices")
        .is_some_and(|wanted| wanted == "true");
    if downstream && !shared.backends_are_up() {
        let body = json!({"status": "DOWN"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    Json(json!({"status": "UP"})).into_response()
}

async fn version() -> Json<Value> {
    Json(json!({"version": "2026.1.2"}))
}
