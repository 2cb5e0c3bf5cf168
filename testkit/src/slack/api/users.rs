//! `auth.test`, `users.*` and `usergroups.*`: who is who. Touches the world.

use serde_json::{Value, json};

use super::super::world::World;
use super::decode::Arguments;
use super::{Answer, Refusal, answer};

pub(super) fn auth_test(world: &World) -> Value {
    json!({
        "url": format!("https://{}.slack.com/", world.team().domain),
        "team": world.team().name, "user": "foredeck", "team_id": world.team().id,
        "user_id": world.app.bot_user_id, "bot_id": world.app.bot_id,
        "is_enterprise_install": false,
    })
}

pub(super) fn info(world: &World, arguments: &Arguments) -> Answer {
    let id = arguments.text("user").unwrap_or_default();
    let user = world.users.get(id).ok_or("user_not_found")?;
    let mut shown = world.user_json(user);
    if arguments.flag("include_locale") {
        shown["locale"] = json!("en-US");
    }
    answer(json!({"user": shown}))
}

pub(super) fn list(world: &World, _arguments: &Arguments) -> Answer {
    let members: Vec<Value> = world
        .users
        .values()
        .map(|user| world.user_json(user))
        .collect();
    answer(json!({
        "members": members, "cache_ts": world.now().as_secs(),
        "response_metadata": {"next_cursor": ""},
    }))
}

pub(super) fn lookup_by_email(world: &World, arguments: &Arguments) -> Answer {
    let email = arguments.text("email").unwrap_or_default();
    let found = world.users.values().find(|user| {
        !user.deleted
            && user
                .email
                .as_ref()
                .is_some_and(|known| known.eq_ignore_ascii_case(email))
    });
    let user = found.ok_or("users_not_found")?;
    answer(json!({"user": world.user_json(user)}))
}

pub(super) fn groups(world: &World, arguments: &Arguments) -> Answer {
    let with_users = arguments.flag("include_users");
    let with_disabled = arguments.flag("include_disabled");
    let groups: Vec<Value> = world
        .groups
        .values()
        .filter(|group| with_disabled || !group.disabled)
        .map(|group| world.group_json(group, with_users))
        .collect();
    answer(json!({"usergroups": groups}))
}

pub(super) fn group_users(world: &World, arguments: &Arguments) -> Answer {
    let id = arguments.text("usergroup").unwrap_or_default();
    let group = world.groups.get(id);
    let group = group.filter(|group| arguments.flag("include_disabled") || !group.disabled);
    let group = group.ok_or_else(|| Refusal::code("no_such_subteam"))?;
    answer(json!({"users": group.users}))
}
