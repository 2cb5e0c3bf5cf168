//! What lets an app act for a moment: `trigger_id`s and response URLs. Touches the world only.

use std::time::Duration;

use super::World;

/// How often a response URL can be used.
const USES: u32 = 5;

/// A right to open a view.
#[derive(Debug, Clone)]
pub(in crate::slack) struct Trigger {
    pub(in crate::slack) user: String,
    /// The view in which it came about.
    pub(in crate::slack) view: Option<String>,
    issued: Duration,
    used: bool,
}

/// The message a response URL speaks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::slack) enum Source {
    /// In the URL's channel.
    Message(String),
    Ephemeral(String),
}

/// A right to answer a command or a click.
#[derive(Debug, Clone)]
pub(in crate::slack) struct ResponseUrl {
    pub(in crate::slack) user: String,
    pub(in crate::slack) channel: String,
    pub(in crate::slack) source: Option<Source>,
    pub(in crate::slack) thread_ts: Option<String>,
    issued: Duration,
    uses: u32,
}

impl World {
    pub(in crate::slack) fn new_trigger(&mut self, user: &str, view: Option<&str>) -> String {
        self.last_id += 1;
        let number = self.last_id;
        let id = format!(
            "{}.{}.{:032x}",
            1_334_522_460 + number,
            738_474_920,
            u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835),
        );
        let trigger = Trigger {
            user: user.to_owned(),
            view: view.map(str::to_owned),
            issued: self.now(),
            used: false,
        };
        self.triggers.insert(id.clone(), trigger);
        id
    }

    /// Uses a trigger up.
    pub(in crate::slack) fn take_trigger(&mut self, id: &str) -> Result<Trigger, &'static str> {
        let (now, life) = (self.now(), self.timing.trigger_life);
        let trigger = self.triggers.get_mut(id).ok_or("invalid_trigger_id")?;
        if trigger.used {
            return Err("exchanged_trigger_id");
        }
        if now.saturating_sub(trigger.issued) > life {
            return Err("expired_trigger_id");
        }
        trigger.used = true;
        Ok(trigger.clone())
    }

    /// The path of a new response URL; `kind` is `commands` or `actions`.
    pub(in crate::slack) fn new_response_url(
        &mut self,
        kind: &str,
        user: &str,
        channel: &str,
        source: Option<Source>,
        thread_ts: Option<String>,
    ) -> String {
        self.last_id += 1;
        let number = self.last_id;
        let secret = u128::from(number).wrapping_mul(0xD1B5_4A32_D192_ED03_9E37_79B9_7F4A_7C15);
        let path = format!("/{kind}/{}/{number}/{secret:024x}", self.team().id);
        let url = ResponseUrl {
            user: user.to_owned(),
            channel: channel.to_owned(),
            source,
            thread_ts,
            issued: self.now(),
            uses: 0,
        };
        self.response_urls.insert(path.clone(), url);
        path
    }

    /// Uses a response URL once.
    pub(in crate::slack) fn use_response_url(
        &mut self,
        path: &str,
    ) -> Result<ResponseUrl, &'static str> {
        let (now, life) = (self.now(), self.timing.response_url_life);
        let url = self.response_urls.get_mut(path).ok_or("invalid_url")?;
        if now.saturating_sub(url.issued) > life {
            return Err("expired_url");
        }
        if url.uses >= USES {
            return Err("used_url");
        }
        url.uses += 1;
        Ok(url.clone())
    }
}
