//! The app as Slack knows it: an app manifest, for both transports from one table. Touches nothing.
//!
//! What is asked for is what is used, and no more: each scope says for what. Checked against Slack's own schema
//! (<https://github.com/slackapi/manifest-schema>, version 2), whose rules the tests repeat.

use reqwest::Url;
use serde_json::{Value, json};

/// How deliveries come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Over sockets that we open. The manifest names no address.
    Socket,
    /// To our own addresses.
    Http(RequestUrls),
}

/// Our own addresses: `https`, reachable for Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUrls {
    commands: String,
    interactivity: String,
    events: String,
}

/// A scope of the bot token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Slack's name for it.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Whoever installs the app may decline it.
    pub optional: bool,
}

/// An event that the app hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subscription {
    event: &'static str,
    /// What Slack wants for it.
    scope: Option<&'static str>,
}

const fn needed(name: &'static str, purpose: &'static str) -> Scope {
    Scope {
        name,
        purpose,
        optional: false,
    }
}

const fn optional(name: &'static str, purpose: &'static str) -> Scope {
    Scope {
        name,
        purpose,
        optional: true,
    }
}

/// Every scope that is asked for. What `auth.test` shows missing of them is what an operator must know.
pub const SCOPES: [Scope; 12] = [
    needed("commands", "the slash command"),
    needed(
        "chat:write",
        "answers and live messages, where the app is a member",
    ),
    needed("users:read", "whose account it is"),
    needed("users:read.email", "who somebody is to Kubernetes"),
    needed("app_mentions:read", "mentions of the app"),
    needed("im:history", "direct messages to the app"),
    needed("im:write", "direct messages of the app"),
    needed(
        "channels:read",
        "whether the app is in a public channel, and whether strangers are",
    ),
    needed(
        "groups:read",
        "whether the app is in a private channel, and whether strangers are",
    ),
    optional(
        "channels:history",
        "a message in a public channel whose post was cut off",
    ),
    optional(
        "groups:history",
        "a message in a private channel whose post was cut off",
    ),
    optional(
        "usergroups:read",
        "who is in which user group, where those are groups of people (`--slack-groups`)",
    ),
];

/// The scope of the app-level token that Socket Mode needs. A manifest can't ask for it.
pub const APP_TOKEN_SCOPE: &str = "connections:write";

const EVENTS: [Subscription; 8] = [
    Subscription {
        event: "app_mention",
        scope: Some("app_mentions:read"),
    },
    Subscription {
        event: "message.im",
        scope: Some("im:history"),
    },
    Subscription {
        event: "app_uninstalled",
        scope: None,
    },
    Subscription {
        event: "tokens_revoked",
        scope: None,
    },
    Subscription {
        event: "user_change",
        scope: Some("users:read"),
    },
    Subscription {
        event: "subteam_created",
        scope: Some("usergroups:read"),
    },
    Subscription {
        event: "subteam_updated",
        scope: Some("usergroups:read"),
    },
    Subscription {
        event: "subteam_members_changed",
        scope: Some("usergroups:read"),
    },
];

const NAME: &str = "Foredeck";
const DESCRIPTION: &str =
    "Deploy with Spinnaker from Slack: ask, see the plan, watch it to the end.";
const COMMAND_DESCRIPTION: &str = "Deploy an application, or ask what runs where";
const USAGE: &str = "[application] [version] to [environment], or help";

/// Why there is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The slash command's name.
    #[error(
        "{0:?} can't be a slash command: it begins with / and has 1 to 31 lower-case letters, digits, - and _ after it"
    )]
    Command(String),
    /// The base of our addresses.
    #[error(
        "Slack sends only to an address that begins with https:// and has neither a login, a query nor a fragment"
    )]
    BaseUrl,
}

impl ManifestError {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::BaseUrl => "base-url",
        }
    }
}

/// A slash command's name, with its slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandName(String);

impl CommandName {
    /// Slack's bounds: at most 32 characters, the slash included; no space, no upper case.
    ///
    /// # Errors
    /// When it can't be one.
    pub fn new(name: impl Into<String>) -> Result<Self, ManifestError> {
        let name = name.into();
        let valid = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        let is_command = name
            .strip_prefix('/')
            .is_some_and(|word| (1..=31).contains(&word.len()) && word.bytes().all(valid));
        if is_command {
            Ok(Self(name))
        } else {
            Err(ManifestError::Command(name))
        }
    }

    /// The name, with its slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for CommandName {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        Self::new(text)
    }
}

impl RequestUrls {
    /// The addresses of [`router`](super::http::router), below `base`.
    ///
    /// # Errors
    /// When `base` is none that Slack sends to.
    pub fn below(base: &Url) -> Result<Self, ManifestError> {
        let fine = base.scheme() == "https"
            && base.has_host()
            && base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        let base = fine.then_some(base).ok_or(ManifestError::BaseUrl)?;
        let at = |path: &str| {
            let path = format!("{}/slack/{path}", base.path().trim_end_matches('/'));
            let mut url = base.clone();
            url.set_path(&path);
            url.to_string()
        };
        Ok(Self {
            commands: at("commands"),
            interactivity: at("interactivity"),
            events: at("events"),
        })
    }
}

/// The manifest, to be pasted where Slack makes apps.
pub fn manifest(mode: &Mode, command: &CommandName) -> Value {
    let scopes: Vec<&str> = SCOPES.iter().map(|scope| scope.name).collect();
    let optional = SCOPES.iter().filter(|scope| scope.optional);
    let optional: Vec<&str> = optional.map(|scope| scope.name).collect();
    let events: Vec<&str> = EVENTS.iter().map(|event| event.event).collect();
    let mut slash = json!({
        "command": command.as_str(),
        "description": COMMAND_DESCRIPTION,
        "usage_hint": USAGE,
        // Mentions come as ids, not as names that anybody can take.
        "should_escape": true,
    });
    let mut subscriptions = json!({"bot_events": events});
    let mut interactivity = json!({"is_enabled": true});
    if let Mode::Http(urls) = mode {
        slash["url"] = json!(urls.commands);
        subscriptions["request_url"] = json!(urls.events);
        interactivity["request_url"] = json!(urls.interactivity);
        interactivity["message_menu_options_url"] = json!(urls.interactivity);
    }
    json!({
        "_metadata": {"major_version": 2},
        "display_information": {"name": NAME, "description": DESCRIPTION},
        "features": {
            "app_home": {
                "home_tab_enabled": false,
                // Direct messages go there.
                "messages_tab_enabled": true,
                "messages_tab_read_only_enabled": false,
            },
            "bot_user": {"display_name": NAME.to_ascii_lowercase(), "always_online": false},
            "slash_commands": [slash],
        },
        // Slack wants the optional ones in both.
        "oauth_config": {"scopes": {"bot": scopes, "bot_optional": optional}},
        "settings": {
            "event_subscriptions": subscriptions,
            "interactivity": interactivity,
            "org_deploy_enabled": false,
            "socket_mode_enabled": *mode == Mode::Socket,
            "token_rotation_enabled": false,
        },
    })
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
