//! The addresses at which commands and clicks are answered later. Touches the world, and the network.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::calls::{Call, Encoding};
use super::super::shared::Shared;
use super::super::world::{Author, Content, Post, ResponseUrl, Source, World};
use super::decode::Arguments;
use super::{Refusal, befall, message_content};
use crate::server::Connection;

/// `POST` to a response URL.
pub(in crate::slack) async fn respond(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    uri: Uri,
    body: Bytes,
) -> Response {
    let parsed = read(&body);
    let mut arguments = parsed.clone().unwrap_or_default();
    let path = uri.path().to_owned();
    arguments.0.insert("response_url".to_owned(), json!(path));
    let at = shared.world().now();
    let number = shared.log().record(Call {
        number: 0,
        at,
        method: "response_url".to_owned(),
        http_method: "POST".to_owned(),
        encoding: Encoding::Json,
        arguments: arguments.0.clone(),
        fault: None,
        status: None,
        answer: None,
    });
    let run = || {
        let result = match &parsed {
            Some(arguments) => apply(&mut shared.change(), &path, arguments),
            None => Err(Refusal::code("invalid_payload")),
        };
        match result {
            Ok(()) => (StatusCode::OK, HeaderMap::new(), json!("ok")),
            Err(refusal) => {
                let status = match refusal.code.as_str() {
                    "used_url" | "expired_url" | "invalid_url" => StatusCode::NOT_FOUND,
                    "invalid_payload" => StatusCode::BAD_REQUEST,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, HeaderMap::new(), refusal.json())
            }
        }
    };
    befall(
        &shared,
        &connection,
        number,
        "response_url",
        &arguments,
        run,
    )
    .await
}

/// JSON, or a form with JSON in `payload`.
fn read(body: &[u8]) -> Option<Arguments> {
    let parse = |bytes: &[u8]| match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Some(Arguments(fields)),
        _ => None,
    };
    parse(body).or_else(|| {
        let (_, payload) = form_urlencoded::parse(body).find(|(name, _)| name == "payload")?;
        parse(payload.as_bytes())
    })
}

fn apply(world: &mut World, path: &str, arguments: &Arguments) -> Result<(), Refusal> {
    let url = world.use_response_url(path)?;
    if arguments.flag("delete_original") {
        remove(world, &url)?;
        return Ok(());
    }
    let content = message_content(world, arguments)?.ok_or_else(|| Refusal::code("no_text"))?;
    if arguments.flag("replace_original")
        && let Some(source) = &url.source
    {
        return replace(world, &url, source, content);
    }
    let thread = arguments.text("thread_ts").map(str::to_owned);
    let in_channel = arguments.text("response_type") == Some("in_channel");
    let source = reply(world, &url, thread, in_channel, content)?;
    if url.source.is_none()
        && let Some(known) = world.response_urls.get_mut(path)
    {
        // The first answer to a command is what `replace_original` means from now on.
        known.source = Some(source);
    }
    Ok(())
}

fn remove(world: &mut World, url: &ResponseUrl) -> Result<(), Refusal> {
    match &url.source {
        Some(Source::Ephemeral(ts)) => {
            world.remove_ephemeral(ts);
        }
        Some(Source::Message(ts)) => world.delete_message(&url.channel, ts)?,
        None => {}
    }
    Ok(())
}

fn replace(
    world: &mut World,
    url: &ResponseUrl,
    source: &Source,
    content: Content,
) -> Result<(), Refusal> {
    match source {
        Source::Ephemeral(ts) => {
            // Gone from the screen: nothing to see, and Slack says ok.
            world.replace_ephemeral(ts, content);
        }
        Source::Message(ts) => world.rewrite(&url.channel, ts, content)?,
    }
    Ok(())
}

/// Says something in answer to a command or a click.
pub(in crate::slack) fn reply(
    world: &mut World,
    url: &ResponseUrl,
    thread_ts: Option<String>,
    in_channel: bool,
    content: Content,
) -> Result<Source, Refusal> {
    if in_channel {
        let thread_ts = thread_ts.or_else(|| url.thread_ts.clone());
        let ts = world.post(Post {
            channel: url.channel.clone(),
            author: Author::App,
            content,
            thread_ts,
            broadcast: false,
            metadata: None,
        })?;
        return Ok(Source::Message(ts));
    }
    let thread = thread_ts.or_else(|| url.thread_ts.clone());
    let ts = world.show_ephemeral(&url.user, &url.channel, thread, content);
    Ok(Source::Ephemeral(ts))
}
