//! `chat.*`: posts, changes, deletions, ephemeral messages. Touches the world.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::super::blocks;
use super::super::payloads;
use super::super::world::{Author, ChannelKind, Content, Post, World};
use super::decode::Arguments;
use super::{Answer, Refusal, answer};

/// Past this, Slack cuts a text off.
const TEXT: usize = 40_000;
/// Past this, an update is refused.
const UPDATED_TEXT: usize = 4_000;
const METADATA: usize = 8_000;

/// Checks and completes what a message is to say. `None` where neither text nor blocks are given.
pub(in crate::slack) fn content(
    world: &mut World,
    arguments: &Arguments,
) -> Result<Option<Content>, Refusal> {
    let mut text = arguments.text("text").unwrap_or_default().to_owned();
    if let Some(markdown) = arguments.text("markdown_text") {
        if !text.is_empty() || arguments.value("blocks").is_some() {
            return Err(Refusal::code("markdown_text_conflict"));
        }
        markdown.clone_into(&mut text);
    }
    if text.chars().count() > TEXT {
        world.violation("a text of more than 40,000 characters is cut off");
        text = text.chars().take(TEXT).collect();
    }
    let mut blocks = list(arguments, "blocks", "invalid_blocks_format")?;
    let attachments = list(arguments, "attachments", "invalid_attachments")?;
    if attachments.len() > 100 {
        return Err(Refusal::code("too_many_attachments"));
    }
    let problems = blocks::check_message(&Value::Array(blocks.clone()));
    if !problems.is_empty() {
        return Err(Refusal::blocks(&problems));
    }
    if blocks::too_long(&blocks) {
        return Err(Refusal::code("msg_blocks_too_long"));
    }
    if text.is_empty() && blocks.is_empty() && attachments.is_empty() {
        return Ok(None);
    }
    if text.is_empty() {
        world.violation(
            "a message without text: notifications and screen readers have nothing to say",
        );
    }
    blocks::complete(&mut blocks, || short_id(world));
    Ok(Some(Content {
        text,
        blocks,
        attachments,
    }))
}

/// An id such as Slack gives to blocks without one.
pub(super) fn short_id(world: &mut World) -> String {
    let id = world.next_id('b');
    id.get(2..7).unwrap_or_default().to_owned()
}

fn list(arguments: &Arguments, name: &str, error: &'static str) -> Result<Vec<Value>, Refusal> {
    match arguments.value(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => Ok(values.clone()),
        Some(_) => Err(Refusal::code(error)),
    }
}

/// What a call says about the metadata of a message.
#[derive(PartialEq)]
enum Metadata {
    Unmentioned,
    Removed,
    Given(Value),
}

fn metadata(arguments: &Arguments) -> Result<Metadata, Refusal> {
    let Some(metadata) = arguments.value("metadata") else {
        return Ok(Metadata::Unmentioned);
    };
    let fields = metadata
        .as_object()
        .ok_or_else(|| Refusal::code("invalid_metadata_format"))?;
    if fields.is_empty() {
        return Ok(Metadata::Removed);
    }
    let well_formed = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
    if !well_formed && metadata.get("entities").is_none() {
        return Err(Refusal::code("invalid_metadata_schema"));
    }
    if metadata.to_string().len() > METADATA {
        return Err(Refusal::code("metadata_too_large"));
    }
    Ok(Metadata::Given(metadata.clone()))
}

pub(super) fn post_message(world: &mut World, arguments: &Arguments) -> Answer {
    let channel = world.postable(arguments.text("channel").unwrap_or_default())?;
    if world.channels[&channel].archived {
        return Err(Refusal::code("is_archived"));
    }
    let content = content(world, arguments)?.ok_or_else(|| Refusal::code("no_text"))?;
    let metadata = match metadata(arguments)? {
        Metadata::Given(metadata) => Some(metadata),
        Metadata::Unmentioned | Metadata::Removed => None,
    };
    let ts = world.post(Post {
        channel: channel.clone(),
        author: Author::App,
        content,
        thread_ts: arguments.text("thread_ts").map(str::to_owned),
        broadcast: arguments.flag("reply_broadcast"),
        metadata,
    })?;
    payloads::tell_of_direct_message(world, &channel, &ts);
    let message = world.visible_message(&channel, &ts)?.json(world);
    answer(json!({"channel": channel, "ts": ts, "message": message}))
}

pub(super) fn post_ephemeral(world: &mut World, arguments: &Arguments) -> Answer {
    let channel = world.postable(arguments.text("channel").unwrap_or_default())?;
    if world.channels[&channel].archived {
        return Err(Refusal::code("is_archived"));
    }
    let user = arguments.text("user").unwrap_or_default().to_owned();
    if !world.channels[&channel].has_member(&user) {
        return Err(Refusal::code("user_not_in_channel"));
    }
    let content = content(world, arguments)?.ok_or_else(|| Refusal::code("no_text"))?;
    if content.text.chars().count() > UPDATED_TEXT {
        return Err(Refusal::code("msg_too_long"));
    }
    let thread = arguments.text("thread_ts").map(str::to_owned);
    let ts = world.show_ephemeral(&user, &channel, thread, content);
    answer(json!({"message_ts": ts}))
}

pub(super) fn update(world: &mut World, arguments: &Arguments) -> Answer {
    let (channel, ts) = own_message(world, arguments, "cant_update_message")?;
    if world.channels[&channel].archived {
        return Err(Refusal::code("is_inactive"));
    }
    if arguments
        .text("text")
        .is_some_and(|text| text.chars().count() > UPDATED_TEXT)
    {
        return Err(Refusal::code("msg_too_long"));
    }
    let broadcast = arguments.flag("reply_broadcast");
    let now = world.visible_message(&channel, &ts)?.clone();
    if broadcast && (!now.is_reply() || now.broadcast) {
        return Err(Refusal::code("cant_broadcast_message"));
    }
    let gives_blocks = arguments.value("blocks").is_some();
    let gives_attachments = arguments.value("attachments").is_some();
    let new = content(world, arguments)?;
    let says_something = new.is_some() || gives_blocks || gives_attachments;
    if broadcast && says_something {
        return Err(Refusal::code("no_dual_broadcast_content_update"));
    }
    let new_metadata = metadata(arguments)?;
    if !says_something && !broadcast && new_metadata == Metadata::Unmentioned {
        return Err(Refusal::code("no_text"));
    }
    if says_something {
        let mut new = new.unwrap_or_default();
        if !gives_blocks && arguments.text("text").is_none() {
            // Neither text nor blocks: both stay.
            new.blocks.clone_from(&now.content.blocks);
        }
        if arguments.text("text").is_none() && arguments.text("markdown_text").is_none() {
            new.text.clone_from(&now.content.text);
        }
        if !gives_attachments {
            new.attachments.clone_from(&now.content.attachments);
        }
        if new.text.is_empty() && new.blocks.is_empty() && new.attachments.is_empty() {
            return Err(Refusal::code("no_text"));
        }
        world.rewrite(&channel, &ts, new)?;
    }
    let message = world
        .channels
        .get_mut(&channel)
        .and_then(|channel| channel.message_mut(&ts));
    if let Some(message) = message {
        message.broadcast |= broadcast;
        match new_metadata {
            Metadata::Unmentioned => {}
            Metadata::Removed => message.metadata = None,
            Metadata::Given(metadata) => message.metadata = Some(metadata),
        }
    }
    let message = world.visible_message(&channel, &ts)?;
    let text = message.content.text.clone();
    let shown = message.json(world);
    answer(json!({"channel": channel, "ts": ts, "text": text, "message": shown}))
}

pub(super) fn delete(world: &mut World, arguments: &Arguments) -> Answer {
    let (channel, ts) = own_message(world, arguments, "cant_delete_message")?;
    world.delete_message(&channel, &ts)?;
    answer(json!({"channel": channel, "ts": ts}))
}

/// The channel and ts of a message that the app wrote.
fn own_message(
    world: &World,
    arguments: &Arguments,
    otherwise: &'static str,
) -> Result<(String, String), Refusal> {
    let channel = arguments.text("channel").unwrap_or_default();
    let ts = arguments.text("ts").unwrap_or_default();
    // Unlike a post, a change wants the id.
    let found = world.channels.get(channel).ok_or("channel_not_found")?;
    if !world.app_sees(found) && found.kind != ChannelKind::Public {
        return Err(Refusal::code("channel_not_found"));
    }
    let message = world.visible_message(channel, ts)?;
    if !message.by_app {
        return Err(Refusal::code(otherwise));
    }
    Ok((channel.to_owned(), ts.to_owned()))
}

pub(super) fn permalink(world: &World, arguments: &Arguments) -> Answer {
    let channel = arguments.text("channel").unwrap_or_default();
    let ts = arguments.text("message_ts").unwrap_or_default();
    let message = world.visible_message(channel, ts)?;
    let mut link = format!(
        "https://{}.slack.com/archives/{channel}/p{}",
        world.team().domain,
        ts.replace('.', ""),
    );
    if let Some(thread) = message.thread_ts.as_ref().filter(|_| message.is_reply()) {
        // Writing to a String cannot fail.
        let _ = write!(link, "?thread_ts={thread}&cid={channel}");
    }
    let mut fields = Map::new();
    fields.insert("channel".to_owned(), json!(channel));
    fields.insert("permalink".to_owned(), json!(link));
    Ok(fields)
}
