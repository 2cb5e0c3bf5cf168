//! The one app of the workspace: its tokens, its scopes, its commands and where its deliveries go. Touches nothing.

use super::World;

/// A slash command, as the app's manifest declares it.
#[derive(Debug, Clone)]
pub struct SlashCommand {
    /// With the slash.
    pub name: String,
    /// Whether mentions and links arrive in angle brackets.
    pub should_escape: bool,
}

/// What has become of the app's installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Installation {
    /// It works.
    #[default]
    Active,
    /// The bot token was revoked.
    TokenRevoked,
    /// The bot's account is inactive: the app was removed.
    Inactive,
}

/// The app.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "Slack calls it the app token")]
pub struct App {
    /// `A…`
    pub id: String,
    /// `B…`
    pub bot_id: String,
    /// `U…`
    pub bot_user_id: String,
    pub(in crate::slack) bot_token: String,
    pub(in crate::slack) app_token: String,
    pub(in crate::slack) signing_secret: String,
    pub(in crate::slack) verification_token: String,
    /// What the bot token may do.
    pub scopes: Vec<String>,
    /// The slash commands.
    pub commands: Vec<SlashCommand>,
    /// The events it is told of.
    pub events: Vec<String>,
    /// Whether people see its home tab.
    pub home_tab_enabled: bool,
    pub(in crate::slack) installation: Installation,
}

impl App {
    pub(super) fn new() -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            id: "A0FOREDECK1".to_owned(),
            bot_id: "B0FOREDECK1".to_owned(),
            bot_user_id: "U0FOREDECK1".to_owned(),
            bot_token: "xoxb-1000000000001-2000000000002-StandInBotTokenOfNoWorth".to_owned(),
            app_token: "xapp-1-A0FOREDECK1-3000000000003-5tand1nappt0ken0fn0w0rth".to_owned(),
            signing_secret: "5d6b8a0f7c1e4923b1d0a9c86f2e7354".to_owned(),
            verification_token: "StandInVerification01".to_owned(),
            scopes: owned(&[
                "commands",
                "app_mentions:read",
                "im:history",
                "im:read",
                "im:write",
                "chat:write",
                "users:read",
                "users:read.email",
                "usergroups:read",
                "channels:read",
                "groups:read",
                "reactions:write",
            ]),
            commands: vec![SlashCommand {
                name: "/deploy".to_owned(),
                should_escape: true,
            }],
            events: owned(&[
                "app_mention",
                "message.im",
                "app_home_opened",
                "subteam_updated",
                "subteam_members_changed",
                "user_change",
                "app_uninstalled",
                "tokens_revoked",
            ]),
            home_tab_enabled: true,
            installation: Installation::Active,
        }
    }

    pub(in crate::slack) fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }

    pub(in crate::slack) fn hears(&self, event: &str) -> bool {
        self.events.iter().any(|heard| heard == event)
    }
}

impl World {
    pub(in crate::slack) fn command(&self, name: &str) -> Option<&SlashCommand> {
        self.app
            .commands
            .iter()
            .find(|command| command.name == name)
    }
}
