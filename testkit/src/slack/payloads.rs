//! What the app is told, as JSON: events, commands, clicks, views. Touches the world.

use serde_json::{Value, json};

use super::world::{Channel, ChannelKind, Entered, Message, User, View, World};

/// Wraps an event as the Events API does.
pub(super) fn event(world: &mut World, event: &Value) -> Value {
    let id = world.next_id('E');
    let channel = event["channel"]
        .as_str()
        .and_then(|id| world.channels.get(id));
    let shared = channel.is_some_and(|channel| channel.is_ext_shared);
    let team = &world.team().id;
    json!({
        "token": world.app.verification_token, "team_id": team, "context_team_id": team,
        "context_enterprise_id": null, "api_app_id": world.app.id, "event": event,
        "type": "event_callback", "event_id": format!("Ev{}", &id[1..]),
        "event_time": world.now().as_secs(),
        "authorizations": [{
            "enterprise_id": null, "team_id": team, "user_id": world.app.bot_user_id,
            "is_bot": true, "is_enterprise_install": false,
        }],
        "is_ext_shared_channel": shared,
        "event_context": format!("4-{}", &id[1..]),
    })
}

/// The question whether an address is the app's.
pub(super) fn url_verification(world: &World, challenge: &str) -> Value {
    json!({
        "token": world.app.verification_token, "challenge": challenge, "type": "url_verification",
    })
}

/// A message as events show it.
fn message_event(world: &World, channel: &Channel, message: &Message) -> Value {
    let mut event = message.json(world);
    event["channel"] = json!(channel.id);
    event["event_ts"] = json!(message.ts);
    event["channel_type"] = json!(channel.type_in_events());
    // Where several organisations meet, a message says whose it is.
    if let Some(user) = world
        .users
        .get(&message.user)
        .filter(|_| channel.is_ext_shared)
    {
        let team = world.team_of(user);
        event["user_team"] = json!(team);
        event["source_team"] = json!(team);
    }
    event
}

/// Puts `message.im` on its way, for messages in direct conversations; the app hears its own ones too.
pub(super) fn tell_of_direct_message(world: &mut World, channel: &str, ts: &str) {
    let Some(channel) = world.channels.get(channel) else {
        return;
    };
    let direct = matches!(channel.kind, ChannelKind::Direct(_));
    let heard_as = format!(
        "message.{}",
        channel.type_in_events().replace("channel", "channels")
    );
    if !(direct || channel.has_member(&world.app.bot_user_id)) || !world.app.hears(&heard_as) {
        return;
    }
    if let Some(message) = channel.message(ts) {
        let event = message_event(world, channel, message);
        world.outbox.push(event);
    }
}

/// Puts `app_mention` on its way, when a message names the app in a channel it is in.
pub(super) fn tell_of_mention(world: &mut World, channel: &str, ts: &str) {
    let Some(channel) = world.channels.get(channel) else {
        return;
    };
    let bot = &world.app.bot_user_id;
    let Some(message) = channel.message(ts) else {
        return;
    };
    let named = message.text().contains(&format!("<@{bot}>"));
    let direct = matches!(channel.kind, ChannelKind::Direct(_));
    if named && !direct && channel.has_member(bot) && world.app.hears("app_mention") {
        let mut event = message_event(world, channel, message);
        event["type"] = json!("app_mention");
        if let Some(fields) = event.as_object_mut() {
            fields.remove("channel_type");
        }
        world.outbox.push(event);
    }
}

/// Puts the change or deletion of a message on its way, where the app hears messages.
pub(super) fn tell_of_change(world: &mut World, before: &Message, subtype: &str) {
    let Some(channel) = world.channels.get(&before.channel) else {
        return;
    };
    let heard_as = format!(
        "message.{}",
        channel.type_in_events().replace("channel", "channels")
    );
    if !world.app.hears(&heard_as) {
        return;
    }
    let previous = before.json(world);
    let mut event = json!({
        "type": "message", "subtype": subtype, "previous_message": previous, "hidden": true,
        "channel": channel.id, "channel_type": channel.type_in_events(),
    });
    if subtype == "message_deleted" {
        event["deleted_ts"] = json!(before.ts);
    } else if let Some(now) = channel.message(&before.ts) {
        event["message"] = now.json(world);
    }
    let ts = world.next_ts();
    event["ts"] = json!(ts);
    event["event_ts"] = json!(ts);
    world.outbox.push(event);
}

/// Who does something, in interactions.
fn actor(world: &World, user: &User) -> Value {
    json!({
        "id": user.id, "username": user.name, "name": user.name, "team_id": world.team_of(user),
    })
}

fn interaction(world: &World, kind: &str, user: &User) -> Value {
    json!({
        "type": kind, "user": actor(world, user), "api_app_id": world.app.id,
        "token": world.app.verification_token,
        "team": {"id": world.team().id, "domain": world.team().domain},
        "enterprise": null, "is_enterprise_install": false,
    })
}

/// A slash command.
pub(super) struct Command<'a> {
    pub(super) user: &'a User,
    pub(super) channel: &'a Channel,
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) response_url: &'a str,
    pub(super) trigger_id: &'a str,
}

impl Command<'_> {
    pub(super) fn json(&self, world: &World) -> Value {
        json!({
            "token": world.app.verification_token, "team_id": world.team().id,
            "team_domain": world.team().domain, "channel_id": self.channel.id,
            "channel_name": self.channel.name_in_payloads(), "user_id": self.user.id,
            "user_name": self.user.name, "command": self.name, "text": self.text,
            "api_app_id": world.app.id, "is_enterprise_install": "false",
            "response_url": self.response_url, "trigger_id": self.trigger_id,
        })
    }
}

/// Where a click or a search happens.
pub(super) enum Place<'a> {
    Message(&'a Channel, &'a Message),
    Ephemeral(&'a Channel, &'a super::world::Ephemeral),
    View(&'a View),
}

impl Place<'_> {
    fn describe(&self, world: &World, payload: &mut Value) {
        match self {
            Self::Message(channel, message) => {
                payload["container"] = json!({
                    "type": "message", "message_ts": message.ts, "channel_id": channel.id,
                    "is_ephemeral": false,
                });
                if let Some(thread) = &message.thread_ts {
                    payload["container"]["thread_ts"] = json!(thread);
                }
                payload["message"] = message.json(world);
                describe_channel(payload, channel);
            }
            Self::Ephemeral(channel, message) => {
                payload["container"] = json!({
                    "type": "message", "message_ts": message.ts, "channel_id": channel.id,
                    "is_ephemeral": true,
                });
                if let Some(thread) = &message.thread_ts {
                    payload["container"]["thread_ts"] = json!(thread);
                }
                describe_channel(payload, channel);
            }
            Self::View(view) => {
                payload["container"] = json!({"type": "view", "view_id": view.id});
                payload["view"] = view.json(world);
            }
        }
    }
}

fn describe_channel(payload: &mut Value, channel: &Channel) {
    payload["channel"] = json!({"id": channel.id, "name": channel.name_in_payloads()});
}

/// A click or a choice. `response_url` only outside of views.
pub(super) fn block_actions(
    world: &World,
    user: &User,
    place: &Place<'_>,
    action: &Value,
    entered: &Entered,
    (trigger_id, response_url): (&str, Option<&str>),
) -> Value {
    let mut payload = interaction(world, "block_actions", user);
    place.describe(world, &mut payload);
    payload["trigger_id"] = json!(trigger_id);
    payload["actions"] = json!([action]);
    if let Some(url) = response_url {
        payload["response_url"] = json!(url);
        payload["state"] = json!({"values": entered});
    }
    payload
}

/// What was typed into an external select.
pub(super) fn block_suggestion(
    world: &World,
    user: &User,
    place: &Place<'_>,
    (block_id, action_id): (&str, &str),
    typed: &str,
) -> Value {
    let mut payload = interaction(world, "block_suggestion", user);
    place.describe(world, &mut payload);
    payload["block_id"] = json!(block_id);
    payload["action_id"] = json!(action_id);
    payload["value"] = json!(typed);
    payload
}

/// A view that was submitted.
pub(super) fn view_submission(world: &World, user: &User, view: &View, trigger_id: &str) -> Value {
    let mut payload = interaction(world, "view_submission", user);
    payload["view"] = view.json(world);
    payload["trigger_id"] = json!(trigger_id);
    payload["response_urls"] = json!([]);
    payload
}

/// A view that was closed.
pub(super) fn view_closed(world: &World, user: &User, view: &View, is_cleared: bool) -> Value {
    let mut payload = interaction(world, "view_closed", user);
    payload["view"] = view.json(world);
    payload["is_cleared"] = json!(is_cleared);
    payload
}
