//! The Web API: reads a call, checks it as Slack does, lets it take effect and answers. Touches the world, and the network.

mod chat;
mod conversations;
mod decode;
mod reactions;
mod refusal;
mod response_url;
mod users;
mod views;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method as HttpMethod, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub(super) use self::chat::content as message_content;
pub(super) use self::decode::Arguments;
use self::decode::Received;
pub(super) use self::refusal::Refusal;
pub(super) use self::response_url::{reply, respond};
pub(super) use self::views::checked as checked_view;

use super::calls::Call;
use super::delivery;
use super::faults::Effect;
use super::methods::{self, Method, Tier};
use super::shared::Shared;
use super::world::{Installation, World};
use crate::server::Connection;

/// What a method answers besides `ok`.
pub(super) type Answer = Result<Map<String, Value>, Refusal>;

/// An object for an answer.
#[expect(clippy::unnecessary_wraps, reason = "it is what handlers end with")]
fn answer(value: Value) -> Answer {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// One call of a method.
pub(super) async fn call(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(name): Path<String>,
    http_method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received::read(&name, &http_method, &uri, &headers, &body);
    let at = shared.world().now();
    let number = shared.log().record(Call {
        number: 0,
        at,
        method: name.clone(),
        http_method: http_method.to_string(),
        encoding: received.encoding,
        arguments: received.arguments.0.clone(),
        fault: None,
        status: None,
        answer: None,
    });
    let outcome = befall(
        &shared,
        &connection,
        number,
        &name,
        &received.arguments,
        || {
            let result = execute(&shared, &name, &received);
            finish(&shared, &name, &received, result)
        },
    );
    outcome.await
}

/// Runs a call under the fault that is meant for it, and notes the answer.
pub(super) async fn befall(
    shared: &Arc<Shared>,
    connection: &Connection,
    number: u64,
    name: &str,
    arguments: &Arguments,
    run: impl FnOnce() -> (StatusCode, HeaderMap, Value),
) -> Response {
    let effect = shared.faults().take(name, &arguments.0);
    if let Some(effect) = &effect {
        let word = format!("{effect:?}");
        shared.log().change(number, |call| call.fault = Some(word));
    }
    let reset = || {
        connection.reset();
        StatusCode::OK.into_response()
    };
    match &effect {
        Some(Effect::RateLimited(seconds)) => return too_many(shared, number, u64::from(*seconds)),
        Some(Effect::Status(status)) => {
            let status = *status;
            shared
                .log()
                .change(number, |call| call.status = Some(status));
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (status, "<html><body>Server Error</body></html>").into_response();
        }
        Some(Effect::Error(code)) => {
            let body = json!({"ok": false, "error": code});
            return noted(shared, number, StatusCode::OK, HeaderMap::new(), body);
        }
        Some(Effect::ResetBefore) => return reset(),
        Some(Effect::Hang) => std::future::pending().await,
        Some(Effect::SlowStart(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    let place = match name {
        "chat.postMessage" => arguments.text("channel").map(str::to_owned),
        "response_url" => arguments.text("response_url").map(str::to_owned),
        _ => None,
    };
    let tier = methods::find(name).map_or(Tier::Special, |method| method.tier);
    let now = shared.world().now();
    let admitted = shared.limits().admit(name, tier, place.as_deref(), now);
    if let Err(seconds) = admitted {
        return too_many(shared, number, seconds);
    }
    let (status, headers, body) = run();
    delivery::send_outbox(shared);
    match effect {
        Some(Effect::LoseAnswer) => {
            shared.log().change(number, |call| call.answer = Some(body));
            reset()
        }
        Some(Effect::InternalErrorAfter) => {
            let body = json!({"ok": false, "error": "internal_error"});
            noted(shared, number, StatusCode::OK, HeaderMap::new(), body)
        }
        Some(Effect::SlowAnswer(time)) => {
            tokio::time::sleep(time).await;
            noted(shared, number, status, headers, body)
        }
        _ => noted(shared, number, status, headers, body),
    }
}

fn too_many(shared: &Arc<Shared>, number: u64, seconds: u64) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    let body = json!({"ok": false, "error": "ratelimited"});
    noted(shared, number, StatusCode::TOO_MANY_REQUESTS, headers, body)
}

/// Notes an answer in the log, and sends it. Text that is no JSON is sent as it is.
fn noted(
    shared: &Arc<Shared>,
    number: u64,
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
) -> Response {
    let text = match &body {
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let is_json = !body.is_string();
    shared.log().change(number, |call| {
        call.status = Some(status.as_u16());
        call.answer = is_json.then_some(body);
    });
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = if is_json {
        "application/json; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().extend(headers);
    response
}

fn finish(
    shared: &Arc<Shared>,
    name: &str,
    received: &Received,
    result: Answer,
) -> (StatusCode, HeaderMap, Value) {
    let mut headers = HeaderMap::new();
    let authenticated = !matches!(
        &result,
        Err(refusal) if ["not_authed", "invalid_auth"].contains(&refusal.code.as_str())
    );
    if authenticated && let Some(method) = methods::find(name) {
        let scopes = if method.app_token {
            "connections:write,authorizations:read".to_owned()
        } else {
            shared.world().app.scopes.join(",")
        };
        for (key, value) in [
            ("x-oauth-scopes", scopes),
            ("x-accepted-oauth-scopes", method.scopes.join(",")),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(key, value);
            }
        }
    }
    let mut body = match result {
        Ok(mut fields) => {
            fields.insert("ok".to_owned(), json!(true));
            Value::Object(fields)
        }
        Err(refusal) => refusal.json(),
    };
    if !received.warnings.is_empty() {
        body["warning"] = json!(received.warnings.join(","));
        body["response_metadata"]["warnings"] = json!(received.warnings);
    }
    (StatusCode::OK, headers, body)
}

fn execute(shared: &Arc<Shared>, name: &str, received: &Received) -> Answer {
    let Some(method) = methods::find(name) else {
        let mut refusal = Refusal::code("unknown_method");
        refusal.extra.insert("req_method".to_owned(), json!(name));
        return Err(refusal);
    };
    if let Some(problem) = received.unreadable {
        return Err(Refusal::code(problem));
    }
    let mut world = shared.change();
    authenticate(&world, method, received.token.as_deref())?;
    if received.json_ignored {
        world.violation(format!(
            "{name} does not read JSON: its arguments were not seen"
        ));
    }
    let nothing = Arguments::default();
    let arguments = if received.json_ignored {
        &nothing
    } else {
        &received.arguments
    };
    check_arguments(method, arguments)?;
    match name {
        "auth.test" => answer(users::auth_test(&world)),
        "apps.connections.open" => {
            drop(world);
            answer(json!({"url": delivery::new_address(shared)}))
        }
        "chat.postMessage" => chat::post_message(&mut world, arguments),
        "chat.update" => chat::update(&mut world, arguments),
        "chat.delete" => chat::delete(&mut world, arguments),
        "chat.postEphemeral" => chat::post_ephemeral(&mut world, arguments),
        "chat.getPermalink" => chat::permalink(&world, arguments),
        "views.open" => views::open(&mut world, arguments),
        "views.push" => views::push(&mut world, arguments),
        "views.update" => views::update(&mut world, arguments),
        "views.publish" => views::publish(&mut world, arguments),
        "conversations.info" => conversations::info(&world, arguments),
        "conversations.open" => conversations::open(&mut world, arguments),
        "conversations.replies" => conversations::replies(&world, arguments),
        "conversations.history" => conversations::history(&world, arguments),
        "conversations.members" => conversations::members(&world, arguments),
        "conversations.list" => conversations::list(&world, arguments),
        "users.info" => users::info(&world, arguments),
        "users.list" => users::list(&world, arguments),
        "users.lookupByEmail" => users::lookup_by_email(&world, arguments),
        "usergroups.list" => users::groups(&world, arguments),
        "usergroups.users.list" => users::group_users(&world, arguments),
        "reactions.add" => reactions::react(&mut world, arguments, true),
        "reactions.remove" => reactions::react(&mut world, arguments, false),
        _ => Err(Refusal::code("unknown_method")),
    }
}

fn authenticate(world: &World, method: &Method, token: Option<&str>) -> Result<(), Refusal> {
    let app = &world.app;
    let token = token.ok_or_else(|| Refusal::code("not_authed"))?;
    let is_bot = token == app.bot_token;
    if !is_bot && token != app.app_token {
        return Err(Refusal::code("invalid_auth"));
    }
    if is_bot == method.app_token {
        return Err(Refusal::code("not_allowed_token_type"));
    }
    match app.installation {
        Installation::Active => {}
        Installation::TokenRevoked if !is_bot => {}
        Installation::TokenRevoked => return Err(Refusal::code("token_revoked")),
        Installation::Inactive => return Err(Refusal::code("account_inactive")),
    }
    if !method.scopes.is_empty() && !method.scopes.iter().any(|scope| app.has_scope(scope)) {
        let mut refusal = Refusal::code("missing_scope");
        let needed = json!(method.scopes.join(","));
        refusal.extra.insert("needed".to_owned(), needed);
        let provided = json!(app.scopes.join(","));
        refusal.extra.insert("provided".to_owned(), provided);
        return Err(refusal);
    }
    Ok(())
}

fn check_arguments(method: &Method, arguments: &Arguments) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    for name in method.required {
        let given = arguments.0.get(*name);
        if given.is_none_or(|value| value.is_null() || value == "") {
            problems.push(format!("missing required field: {name}"));
        }
    }
    for name in arguments.0.keys().filter(|name| !method.knows(name)) {
        problems.push(format!("invalid additional property: {name}"));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refusal::arguments(&problems))
    }
}
