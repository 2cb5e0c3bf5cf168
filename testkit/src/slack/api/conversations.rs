//! `conversations.*`: channels, their members and what was said in them. Touches the world.

use serde_json::{Value, json};

use super::super::world::{Channel, ChannelKind, Message, World};
use super::decode::Arguments;
use super::{Answer, Refusal, answer};

/// A channel that the app can see.
fn visible<'a>(world: &'a World, arguments: &Arguments) -> Result<&'a Channel, Refusal> {
    let id = arguments.text("channel").unwrap_or_default();
    let found = world
        .channels
        .get(id)
        .filter(|channel| world.app_sees(channel));
    Ok(found.ok_or("channel_not_found")?)
}

/// One page of a list, and the cursor of the next.
fn page<T>(
    mut all: Vec<T>,
    arguments: &Arguments,
    default: usize,
) -> Result<(Vec<T>, String), Refusal> {
    let start = match arguments.text("cursor") {
        None => 0,
        Some(cursor) => cursor
            .strip_prefix("bmV4dDo")
            .and_then(|digits| digits.parse().ok())
            .filter(|start| *start <= all.len())
            .ok_or("invalid_cursor")?,
    };
    let limit = arguments
        .number("limit")
        .filter(|limit| *limit > 0)
        .unwrap_or(default);
    let end = all.len().min(start.saturating_add(limit.min(1000)));
    let next = if end < all.len() {
        format!("bmV4dDo{end}")
    } else {
        String::new()
    };
    let rest = all.split_off(start);
    Ok((rest.into_iter().take(end - start).collect(), next))
}

pub(super) fn info(world: &World, arguments: &Arguments) -> Answer {
    let channel = visible(world, arguments)?;
    let with_count = arguments.flag("include_num_members");
    let mut shown = world.channel_json(channel, with_count);
    if arguments.flag("include_locale") {
        shown["locale"] = json!("en-US");
    }
    answer(json!({"channel": shown}))
}

pub(super) fn open(world: &mut World, arguments: &Arguments) -> Answer {
    let users = arguments.words("users");
    let (id, before) = if let Some(channel) = arguments.text("channel") {
        let known = world.channels.contains_key(channel);
        if !known {
            return Err(Refusal::code("channel_not_found"));
        }
        (channel.to_owned(), true)
    } else {
        match users.as_slice() {
            [] => return Err(Refusal::code("users_list_not_supplied")),
            [user] => {
                let found = world.users.get(user).ok_or("user_not_found")?;
                if found.deleted {
                    return Err(Refusal::code("user_disabled"));
                }
                world.open_direct(user)
            }
            // Conversations of several people are left out of this workspace.
            _ => return Err(Refusal::code("invalid_user_combination")),
        }
    };
    let channel = world.channels.get(&id).ok_or("channel_not_found")?;
    let shown = if arguments.flag("return_im") {
        world.channel_json(channel, false)
    } else {
        json!({"id": id})
    };
    let mut fields = json!({"channel": shown});
    if before {
        fields["no_op"] = json!(true);
        fields["already_open"] = json!(true);
    }
    answer(fields)
}

pub(super) fn members(world: &World, arguments: &Arguments) -> Answer {
    let channel = visible(world, arguments)?;
    let (members, next) = page(channel.members.clone(), arguments, 100)?;
    answer(json!({"members": members, "response_metadata": {"next_cursor": next}}))
}

pub(super) fn list(world: &World, arguments: &Arguments) -> Answer {
    let mut types = arguments.words("types");
    if types.is_empty() {
        types.push("public_channel".to_owned());
    }
    let wanted = |channel: &&Channel| {
        let kind_name = match channel.kind {
            ChannelKind::Public => "public_channel",
            ChannelKind::Private => "private_channel",
            ChannelKind::Direct(_) => "im",
        };
        types.iter().any(|kind| kind == kind_name)
            && world.app_sees(channel)
            && !(arguments.flag("exclude_archived") && channel.archived)
    };
    let channels: Vec<Value> = world
        .channels
        .values()
        .filter(wanted)
        .map(|channel| world.channel_json(channel, true))
        .collect();
    let (channels, next) = page(channels, arguments, 100)?;
    answer(json!({"channels": channels, "response_metadata": {"next_cursor": next}}))
}

/// Whether the app may read what is said in a channel.
fn readable<'a>(world: &'a World, arguments: &Arguments) -> Result<&'a Channel, Refusal> {
    let channel = visible(world, arguments)?;
    let scope = match channel.kind {
        ChannelKind::Public => "channels:history",
        ChannelKind::Private => "groups:history",
        ChannelKind::Direct(_) => "im:history",
    };
    if !world.app.has_scope(scope) {
        let mut refusal = Refusal::code("missing_scope");
        refusal.extra.insert("needed".to_owned(), json!(scope));
        let provided = json!(world.app.scopes.join(","));
        refusal.extra.insert("provided".to_owned(), provided);
        return Err(refusal);
    }
    if !channel.has_member(&world.app.bot_user_id) {
        return Err(Refusal::code("not_in_channel"));
    }
    Ok(channel)
}

fn in_time(message: &Message, arguments: &Arguments) -> bool {
    let inclusive = arguments.flag("inclusive");
    let ts = message.ts.as_str();
    let after = arguments
        .text("oldest")
        .is_none_or(|oldest| ts > oldest || (inclusive && ts == oldest));
    let before = arguments
        .text("latest")
        .is_none_or(|latest| ts < latest || (inclusive && ts == latest));
    after && before
}

fn show(world: &World, message: &Message, arguments: &Arguments) -> Value {
    let mut shown = message.json(world);
    if !arguments.flag("include_all_metadata")
        && let Some(fields) = shown.as_object_mut()
    {
        fields.remove("metadata");
    }
    shown
}

pub(super) fn history(world: &World, arguments: &Arguments) -> Answer {
    let channel = readable(world, arguments)?;
    let mut messages = channel.messages();
    messages.retain(|message| {
        (!message.is_reply() || message.broadcast) && in_time(message, arguments)
    });
    messages.reverse();
    let (messages, next) = page(messages, arguments, 100)?;
    let shown: Vec<Value> = messages
        .iter()
        .map(|message| show(world, message, arguments))
        .collect();
    answer(json!({
        "messages": shown, "has_more": !next.is_empty(), "pin_count": 0,
        "response_metadata": {"next_cursor": next},
    }))
}

pub(super) fn replies(world: &World, arguments: &Arguments) -> Answer {
    let channel = readable(world, arguments)?;
    let ts = arguments.text("ts").unwrap_or_default();
    let asked = channel.message(ts).filter(|message| !message.deleted);
    let asked = asked.ok_or("thread_not_found")?;
    let root = asked.thread_ts.clone().unwrap_or_else(|| asked.ts.clone());
    let mut messages = channel.messages();
    messages.retain(|message| {
        message.ts == root
            || (message.thread_ts.as_deref() == Some(&root) && in_time(message, arguments))
    });
    let (messages, next) = page(messages, arguments, 1000)?;
    let shown: Vec<Value> = messages
        .iter()
        .map(|message| show(world, message, arguments))
        .collect();
    answer(json!({
        "messages": shown, "has_more": !next.is_empty(),
        "response_metadata": {"next_cursor": next},
    }))
}
