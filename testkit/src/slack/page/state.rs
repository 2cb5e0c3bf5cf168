//! The workspace as one person sees it, for the page. Touches the world.

use serde_json::{Value, json};

use super::super::world::{Channel, ChannelKind, Message, User, View, World};

/// Everything on this person's screen; nothing when there is no such person.
pub(super) fn of(world: &World, user: &str, count: u64) -> Option<Value> {
    let me = world.user(user)?;
    let people: Vec<Value> = world
        .users
        .values()
        .map(|user| person(world, user))
        .collect();
    let channels: Vec<Value> = world
        .channels
        .values()
        .filter(|channel| channel.has_member(&me.id))
        .map(|channel| conversation(world, channel, me))
        .collect();
    let groups: Vec<Value> = world
        .groups
        .values()
        .map(|group| json!({"id": group.id, "handle": group.handle}))
        .collect();
    let modals: Vec<Value> = world.modals(&me.id).iter().map(view).collect();
    let commands: Vec<&str> = world
        .app
        .commands
        .iter()
        .map(|command| command.name.as_str())
        .collect();
    Some(json!({
        "count": count, "team": world.team().name, "me": me.id, "people": people,
        "app": world.app.bot_user_id, "channels": channels, "groups": groups, "modals": modals,
        "home": world.home(&me.id).as_ref().map(view), "commands": commands,
        "home_enabled": world.app.home_tab_enabled,
    }))
}

fn person(world: &World, user: &User) -> Value {
    json!({
        "id": user.id, "name": user.name, "real_name": user.real_name, "bot": user.is_bot,
        "active": !user.deleted, "guest": user.is_restricted || user.is_ultra_restricted,
        "stranger": user.is_stranger, "is_app": user.id == world.app.bot_user_id,
        "admin": user.is_admin,
    })
}

fn conversation(world: &World, channel: &Channel, me: &User) -> Value {
    let kind = match channel.kind {
        ChannelKind::Public => "public",
        ChannelKind::Private => "private",
        ChannelKind::Direct(_) => "direct",
    };
    let mut messages: Vec<Value> = channel
        .messages()
        .iter()
        .map(|shown| message(world, shown, me))
        .collect();
    for shown in world.ephemerals(&me.id) {
        if shown.channel == channel.id {
            let key = (shown.ts.clone(), me.id.clone());
            let author = if shown.from_slackbot {
                "USLACKBOT"
            } else {
                &world.app.bot_user_id
            };
            messages.push(json!({
                "ts": shown.ts, "user": author, "text": shown.text, "blocks": shown.blocks,
                "thread_ts": shown.thread_ts, "ephemeral": true, "reactions": [],
                "is_reply": shown.thread_ts.is_some(), "entered": world.entered.get(&key),
            }));
        }
    }
    messages.sort_by(|left, right| left["ts"].as_str().cmp(&right["ts"].as_str()));
    json!({
        "id": channel.id, "name": channel.name, "kind": kind, "archived": channel.archived,
        "members": channel.members.len(), "shared": channel.is_ext_shared,
        "messages": messages,
    })
}

fn message(world: &World, message: &Message, me: &User) -> Value {
    let reactions: Vec<Value> = message
        .reactions
        .iter()
        .map(|(name, users)| json!({"name": name, "users": users}))
        .collect();
    let key = (message.ts.clone(), me.id.clone());
    json!({
        "ts": message.ts, "user": message.user, "text": message.text(),
        "blocks": message.blocks(), "thread_ts": message.thread_ts,
        "is_reply": message.is_reply(), "broadcast": message.broadcast,
        "edited": message.edited.is_some(), "reactions": reactions, "ephemeral": false,
        "entered": world.entered.get(&key),
    })
}

fn view(view: &View) -> Value {
    json!({
        "id": view.id, "hash": view.hash, "content": view.content, "entered": view.entered,
        "errors": view.errors, "notice": view.notice,
    })
}
