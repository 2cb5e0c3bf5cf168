//! The Web API's methods as Slack's reference lists them: arguments, scopes, tiers. A table of facts, touches nothing.

/// How often a method may be called per workspace, at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Twenty times a minute.
    Two,
    /// Fifty times a minute.
    Three,
    /// A hundred times a minute.
    Four,
    /// By a rule of its own; for posts about one a second in each channel.
    Special,
}

impl Tier {
    /// Calls per minute.
    pub(super) fn per_minute(self) -> usize {
        match self {
            Self::Two => 20,
            Self::Three => 50,
            Self::Four => 100,
            Self::Special => 600,
        }
    }
}

/// What a method takes.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Such as `chat.postMessage`.
    pub name: &'static str,
    /// The arguments without which it is refused.
    pub required: &'static [&'static str],
    /// The other arguments it knows.
    pub optional: &'static [&'static str],
    /// Whether it reads JSON bodies; the others see no arguments in them.
    pub json: bool,
    /// The scopes of which one is needed; none needs none.
    pub scopes: &'static [&'static str],
    /// How often it may be called.
    pub tier: Tier,
    /// Whether it wants the app-level token in place of the bot's.
    pub app_token: bool,
}

impl Method {
    /// Whether it has an argument of that name. `team_id` is for tokens of whole organisations, and taken everywhere:
    /// Bolt for Python sends it with every call.
    pub fn knows(&self, argument: &str) -> bool {
        ["token", "team_id"].contains(&argument)
            || self.required.contains(&argument)
            || self.optional.contains(&argument)
    }
}

const WRITE: &[&str] = &["chat:write"];
const READ_CHANNELS: &[&str] = &["channels:read", "groups:read", "im:read", "mpim:read"];
const READ_HISTORY: &[&str] = &[
    "channels:history",
    "groups:history",
    "im:history",
    "mpim:history",
];
const OPEN: &[&str] = &["channels:manage", "groups:write", "im:write", "mpim:write"];
const READ_GROUPS: &[&str] = &["usergroups:read"];
const READ_USERS: &[&str] = &["users:read"];
const REACT: &[&str] = &["reactions:write"];

const fn method(name: &'static str, tier: Tier, scopes: &'static [&'static str]) -> Method {
    Method {
        name,
        required: &[],
        optional: &[],
        json: true,
        scopes,
        tier,
        app_token: false,
    }
}

const fn form_only(name: &'static str, tier: Tier, scopes: &'static [&'static str]) -> Method {
    let mut form_only = method(name, tier, scopes);
    form_only.json = false;
    form_only
}

/// Every method the stand-in knows.
pub const METHODS: &[Method] = &[
    method("auth.test", Tier::Special, &[]),
    Method {
        app_token: true,
        ..method("apps.connections.open", Tier::Three, &[])
    },
    Method {
        required: &["channel"],
        optional: &[
            "as_user",
            "attachments",
            "blocks",
            "current_draft_last_updated_ts",
            "icon_emoji",
            "icon_url",
            "link_names",
            "markdown_text",
            "metadata",
            "mrkdwn",
            "parse",
            "reply_broadcast",
            "text",
            "thread_ts",
            "unfurl_links",
            "unfurl_media",
            "username",
        ],
        ..method("chat.postMessage", Tier::Special, WRITE)
    },
    Method {
        required: &["channel", "ts"],
        optional: &[
            "as_user",
            "attachments",
            "unfurled_attachments",
            "blocks",
            "markdown_text",
            "metadata",
            "link_names",
            "parse",
            "text",
            "reply_broadcast",
            "file_ids",
        ],
        ..method("chat.update", Tier::Three, WRITE)
    },
    Method {
        required: &["channel", "ts"],
        optional: &["as_user"],
        ..method("chat.delete", Tier::Three, WRITE)
    },
    Method {
        required: &["channel", "user"],
        optional: &[
            "as_user",
            "attachments",
            "blocks",
            "icon_emoji",
            "icon_url",
            "link_names",
            "markdown_text",
            "metadata",
            "parse",
            "text",
            "thread_ts",
            "username",
        ],
        ..method("chat.postEphemeral", Tier::Four, WRITE)
    },
    Method {
        required: &["channel", "message_ts"],
        ..form_only("chat.getPermalink", Tier::Special, &[])
    },
    Method {
        required: &["view"],
        optional: &["trigger_id", "interactivity_pointer"],
        ..method("views.open", Tier::Four, &[])
    },
    Method {
        required: &["view"],
        optional: &["trigger_id", "interactivity_pointer"],
        ..method("views.push", Tier::Four, &[])
    },
    Method {
        required: &["view"],
        optional: &["view_id", "external_id", "hash"],
        ..method("views.update", Tier::Four, &[])
    },
    Method {
        required: &["user_id", "view"],
        optional: &["hash", "interactivity_pointer"],
        ..method("views.publish", Tier::Four, &[])
    },
    Method {
        required: &["channel"],
        optional: &["include_locale", "include_num_members"],
        ..form_only("conversations.info", Tier::Three, READ_CHANNELS)
    },
    Method {
        optional: &["channel", "return_im", "users", "prevent_creation"],
        ..method("conversations.open", Tier::Three, OPEN)
    },
    Method {
        required: &["channel", "ts"],
        optional: &[
            "cursor",
            "include_all_metadata",
            "inclusive",
            "latest",
            "limit",
            "oldest",
        ],
        ..form_only("conversations.replies", Tier::Three, READ_HISTORY)
    },
    Method {
        required: &["channel"],
        optional: &[
            "cursor",
            "include_all_metadata",
            "inclusive",
            "latest",
            "limit",
            "oldest",
        ],
        ..method("conversations.history", Tier::Three, READ_HISTORY)
    },
    Method {
        required: &["channel"],
        optional: &["cursor", "limit"],
        ..form_only("conversations.members", Tier::Four, READ_CHANNELS)
    },
    Method {
        optional: &["cursor", "exclude_archived", "limit", "team_id", "types"],
        ..form_only("conversations.list", Tier::Two, READ_CHANNELS)
    },
    Method {
        required: &["user"],
        optional: &["include_locale"],
        ..form_only("users.info", Tier::Four, READ_USERS)
    },
    Method {
        optional: &["cursor", "include_locale", "limit", "team_id"],
        ..form_only("users.list", Tier::Two, READ_USERS)
    },
    Method {
        required: &["email"],
        ..form_only("users.lookupByEmail", Tier::Three, &["users:read.email"])
    },
    Method {
        optional: &[
            "include_count",
            "include_disabled",
            "include_users",
            "team_id",
        ],
        ..form_only("usergroups.list", Tier::Two, READ_GROUPS)
    },
    Method {
        required: &["usergroup"],
        optional: &["include_disabled", "team_id"],
        ..form_only("usergroups.users.list", Tier::Two, READ_GROUPS)
    },
    Method {
        required: &["name", "timestamp", "channel"],
        ..method("reactions.add", Tier::Three, REACT)
    },
    Method {
        required: &["name"],
        optional: &["file", "file_comment", "channel", "timestamp"],
        ..method("reactions.remove", Tier::Two, REACT)
    },
];

/// The method of that name.
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}
