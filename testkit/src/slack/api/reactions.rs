//! `reactions.*`. Touches the world.

use serde_json::Map;

use super::super::world::World;
use super::decode::Arguments;
use super::{Answer, Refusal};

pub(super) fn react(world: &mut World, arguments: &Arguments, add: bool) -> Answer {
    let name = arguments.text("name").unwrap_or_default();
    let plain = |symbol: char| symbol.is_ascii_alphanumeric() || "_-+':".contains(symbol);
    if !name.chars().all(plain) || name.starts_with(':') {
        return Err(Refusal::code("invalid_name"));
    }
    let (Some(channel), Some(ts)) = (arguments.text("channel"), arguments.text("timestamp")) else {
        return Err(Refusal::code("no_item_specified"));
    };
    let bot = world.app.bot_user_id.clone();
    world.react((channel, ts), name, &bot, add)?;
    Ok(Map::new())
}
