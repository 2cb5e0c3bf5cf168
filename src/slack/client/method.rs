//! Slack's methods, as far as we call them: how each is called, and how often. Touches nothing.
//!
//! From the method reference (<https://docs.slack.dev/reference/methods>): most take JSON; some take nothing but a form,
//! and ignore JSON silently.

/// How often a method may be called, by Slack's tiers (<https://docs.slack.dev/apis/web-api/rate-limits>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// 20 a minute.
    Two,
    /// 50 a minute.
    Three,
    /// 100 a minute.
    Four,
    /// Hundreds a minute.
    Special,
    /// 1 a second in each channel, and hundreds a minute in all.
    Post,
    /// As fast as it comes, until Slack says otherwise.
    Unpaced,
}

/// How arguments are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// POST with a JSON body.
    Json,
    /// GET with a query.
    Query,
}

/// A method of the Web API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Method {
    AuthTest,
    AppsConnectionsOpen,
    ChatPostMessage,
    ChatUpdate,
    ChatDelete,
    ChatPostEphemeral,
    ChatGetPermalink,
    ViewsOpen,
    ViewsUpdate,
    ViewsPush,
    ConversationsInfo,
    ConversationsOpen,
    ConversationsMembers,
    ConversationsHistory,
    ConversationsReplies,
    UsersInfo,
    UsergroupsList,
    /// A post to a response URL, which is no method but is counted like one.
    ResponseUrl,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::AuthTest,
        Self::AppsConnectionsOpen,
        Self::ChatPostMessage,
        Self::ChatUpdate,
        Self::ChatDelete,
        Self::ChatPostEphemeral,
        Self::ChatGetPermalink,
        Self::ViewsOpen,
        Self::ViewsUpdate,
        Self::ViewsPush,
        Self::ConversationsInfo,
        Self::ConversationsOpen,
        Self::ConversationsMembers,
        Self::ConversationsHistory,
        Self::ConversationsReplies,
        Self::UsersInfo,
        Self::UsergroupsList,
        Self::ResponseUrl,
    ];

    /// Slack's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthTest => "auth.test",
            Self::AppsConnectionsOpen => "apps.connections.open",
            Self::ChatPostMessage => "chat.postMessage",
            Self::ChatUpdate => "chat.update",
            Self::ChatDelete => "chat.delete",
            Self::ChatPostEphemeral => "chat.postEphemeral",
            Self::ChatGetPermalink => "chat.getPermalink",
            Self::ViewsOpen => "views.open",
            Self::ViewsUpdate => "views.update",
            Self::ViewsPush => "views.push",
            Self::ConversationsInfo => "conversations.info",
            Self::ConversationsOpen => "conversations.open",
            Self::ConversationsMembers => "conversations.members",
            Self::ConversationsHistory => "conversations.history",
            Self::ConversationsReplies => "conversations.replies",
            Self::UsersInfo => "users.info",
            Self::UsergroupsList => "usergroups.list",
            Self::ResponseUrl => "response_url",
        }
    }

    pub(super) fn tier(self) -> Tier {
        match self {
            Self::ChatPostMessage | Self::ChatPostEphemeral => Tier::Post,
            Self::AuthTest | Self::ChatGetPermalink => Tier::Special,
            // Asks for no more than sockets need, and paces itself.
            Self::AppsConnectionsOpen | Self::UsergroupsList => Tier::Two,
            Self::ChatUpdate
            | Self::ChatDelete
            | Self::ConversationsInfo
            | Self::ConversationsOpen
            | Self::ConversationsHistory
            | Self::ConversationsReplies => Tier::Three,
            Self::ViewsOpen | Self::ViewsUpdate | Self::ViewsPush | Self::ConversationsMembers => {
                Tier::Four
            }
            // Each address has a limit of its own; and who is asked about is remembered, while somebody waits for it.
            Self::ResponseUrl | Self::UsersInfo => Tier::Unpaced,
        }
    }

    pub(super) fn encoding(self) -> Encoding {
        match self {
            Self::ChatGetPermalink
            | Self::ConversationsInfo
            | Self::ConversationsMembers
            | Self::ConversationsHistory
            | Self::ConversationsReplies
            | Self::UsersInfo
            | Self::UsergroupsList => Encoding::Query,
            _ => Encoding::Json,
        }
    }

    /// Called twice, it does no harm.
    pub(super) fn is_repeatable(self) -> bool {
        !matches!(
            self,
            Self::ChatPostMessage
                | Self::ChatPostEphemeral
                | Self::ViewsOpen
                | Self::ViewsPush
                | Self::ResponseUrl
        )
    }
}
