//! Everything the stand-in knows: the workspace, its people, its channels and what was said. Touches the clock only.

mod app;
mod channels;
mod ephemerals;
mod messages;
mod passes;
mod users;
mod views;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

pub use self::app::{App, Installation, SlashCommand};
pub use self::channels::{Channel, ChannelKind};
pub use self::ephemerals::Ephemeral;
pub use self::messages::{Content, Message};
pub use self::users::{User, UserGroup};
pub use self::views::{View, ViewKind};
pub(super) use self::views::{elements, initial_values, value_fields};

pub(super) use self::messages::{Author, Post};
pub(super) use self::passes::{ResponseUrl, Source, Trigger};

/// How long things last and when Slack tries again. The default is what Slack does.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How long an app may take to answer a delivery.
    pub answer_deadline: Duration,
    /// How long after each failed try an event is delivered again.
    pub event_retries: Vec<Duration>,
    /// How long a `trigger_id` is good for.
    pub trigger_life: Duration,
    /// How long a `response_url` is good for.
    pub response_url_life: Duration,
    /// Between two WebSocket pings.
    pub ping: Duration,
    /// How long a socket stays open after it was told to go.
    pub farewell: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer_deadline: Duration::from_secs(3),
            event_retries: [0, 60, 300].map(Duration::from_secs).to_vec(),
            trigger_life: Duration::from_secs(3),
            response_url_life: Duration::from_mins(30),
            ping: Duration::from_secs(5),
            farewell: Duration::from_secs(10),
        }
    }
}

/// A workspace.
#[derive(Debug, Clone)]
pub struct Team {
    /// `T…`
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The first label of its address.
    pub domain: String,
}

/// What one person has typed or chosen in one message or view: by block, by action, as `state.values` has it.
pub(super) type Entered = Map<String, Value>;

/// The workspace as it is now.
#[derive(Debug)]
pub struct World {
    pub(super) timing: Timing,
    pub(super) teams: Vec<Team>,
    pub(super) app: App,
    pub(super) users: BTreeMap<String, User>,
    pub(super) channels: BTreeMap<String, Channel>,
    pub(super) groups: BTreeMap<String, UserGroup>,
    pub(super) ephemerals: Vec<Ephemeral>,
    pub(super) views: Vec<View>,
    pub(super) triggers: HashMap<String, Trigger>,
    pub(super) response_urls: HashMap<String, ResponseUrl>,
    /// What people entered into messages, by message ts and person.
    pub(super) entered: HashMap<(String, String), Entered>,
    /// The options an app last offered, by person and action id.
    pub(super) offered: HashMap<(String, String), Vec<Value>>,
    pub(super) violations: Vec<String>,
    /// Events of which the app is still to be told.
    pub(super) outbox: Vec<Value>,
    /// What to add to the clock.
    ahead: Duration,
    last_ts: (u64, u32),
    last_id: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let team = Team {
            id: "T0HARBOR001".to_owned(),
            name: "Harbor".to_owned(),
            domain: "harbor".to_owned(),
        };
        let app = App::new();
        let mut world = Self {
            timing: Timing::default(),
            teams: vec![team],
            users: BTreeMap::new(),
            channels: BTreeMap::new(),
            groups: BTreeMap::new(),
            ephemerals: Vec::new(),
            views: Vec::new(),
            triggers: HashMap::new(),
            response_urls: HashMap::new(),
            entered: HashMap::new(),
            offered: HashMap::new(),
            violations: Vec::new(),
            outbox: Vec::new(),
            ahead: Duration::ZERO,
            last_ts: (0, 0),
            last_id: 0,
            app,
        };
        let mut bot = User::named("foredeck");
        bot.id.clone_from(&world.app.bot_user_id);
        "Foredeck".clone_into(&mut bot.real_name);
        bot.email = None;
        bot.is_bot = true;
        world.add_user(bot);
        let mut members = vec![world.app.bot_user_id.clone()];
        for (name, real_name) in [("alice", "Alice Ferreira"), ("bob", "Bob Lindqvist")] {
            let mut user = User::named(name);
            real_name.clone_into(&mut user.real_name);
            members.push(world.add_user(user));
        }
        for name in ["general", "deploys"] {
            world.add_channel(name, ChannelKind::Public, &members);
        }
        world
    }

    /// The workspace the app is installed in.
    pub fn team(&self) -> &Team {
        // There is one from the start, and none is ever removed.
        &self.teams[0]
    }

    /// The app.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// What was done that the real one lets pass, and is a mistake nevertheless.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Lets time pass at once, for what expires: triggers, response URLs, timestamps.
    pub(super) fn pass_time(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// The time since 1970.
    pub(super) fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + self.ahead
    }

    /// A message's time and name: unlike any other, and later than all before.
    pub(super) fn next_ts(&mut self) -> String {
        let now = self.now().as_secs();
        let (seconds, part) = self.last_ts;
        self.last_ts = if now > seconds {
            (now, 100)
        } else if part < 999_000 {
            (seconds, part + 100)
        } else {
            (seconds + 1, 100)
        };
        format!("{}.{:06}", self.last_ts.0, self.last_ts.1)
    }

    /// An id that was not given before, such as `U00000001A`.
    pub(super) fn next_id(&mut self, prefix: char) -> String {
        self.last_id += 1;
        // Spread out, so that ids look as different from each other as Slack's do.
        let spread = self.last_id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let mut text = String::from(prefix);
        text.push('0');
        let mut rest = (spread << 8) | (self.last_id & 0xff);
        for _ in 0..9 {
            let symbol = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                .get(usize::try_from(rest % 36).unwrap_or(0))
                .copied()
                .unwrap_or(b'0');
            text.push(char::from(symbol));
            rest /= 36;
        }
        text
    }

    pub(super) fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }
}
