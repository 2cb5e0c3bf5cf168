//! Calls of Slack's Web API. Touches Slack.
//!
//! Nothing is sent twice by itself. What may have been done although the answer is lost, comes back as
//! [`SlackError::Uncertain`]; whoever posts decides, by looking for the message's mark or by taking one duplicate. Only
//! what Slack refused for its token is sent again, once, when there is a new token.

mod answers;
mod budget;
mod call;
mod error;
mod method;
mod settings;
mod words;

use std::collections::BTreeSet;

use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    blocks::Message,
    ids::{ChannelId, MessageTs, TriggerId, UserId, ViewId},
    inbound::{ResponseUrl, Visibility},
    view::View,
};
use crate::runtime::live::LiveSecret;
pub(in crate::slack) use answers::SocketAddress;
pub use answers::{
    Account, Conversation, Cursor, Found, Installation, OpenedView, OrganisationUser, Page, Posted,
    UserGroup,
};
pub use budget::{Budget, Load, Permit, Priority};
use call::{Answer, Arguments, Caller};
pub use error::{Detail, Elsewhere, SlackError, Word};
pub use method::Method;
pub use settings::{API_URL, SettingsError, SlackSettings, token};

/// The most messages asked for at once; Slack allows more, and recommends no more.
const MOST_PER_PAGE: u32 = 200;

/// Calls Slack for one workspace. Clones share connections and budgets.
#[derive(Clone)]
pub struct SlackClient {
    caller: Caller,
    token: LiveSecret,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A channel, or a direct conversation by its own id.
    Channel(ChannelId),
    /// The direct conversation with a person. [`Posted::channel`] says which channel that is.
    Person(UserId),
}

impl Destination {
    fn as_str(&self) -> &str {
        match self {
            Self::Channel(channel) => channel.as_str(),
            Self::Person(user) => user.as_str(),
        }
    }
}

/// A message to be posted.
#[derive(Debug, Clone, PartialEq)]
pub struct Post<'a> {
    /// Where.
    pub to: &'a Destination,
    /// The first message of the thread that it goes into: never an answer's.
    pub thread: Option<&'a MessageTs>,
    /// Shows an answer in the channel too.
    pub broadcast: bool,
    /// What.
    pub message: &'a Message,
}

/// Between when and when messages were posted, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// The oldest that is wanted.
    pub oldest: &'a MessageTs,
    /// The latest that is wanted.
    pub latest: &'a MessageTs,
}

/// Which open modal is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewRef<'a> {
    /// By Slack's id.
    Id(&'a ViewId),
    /// By ours: known before Slack's.
    External(&'a str),
}

/// An answer to a response URL.
#[derive(Debug, Clone, PartialEq)]
pub enum Answering<'a> {
    /// A new message.
    Say(Visibility, &'a Message),
    /// In the place of the message that was acted on.
    Replace(&'a Message),
    /// The message that was acted on goes.
    Delete,
}

impl SlackClient {
    /// A client that has not called yet.
    ///
    /// # Errors
    /// When the HTTP client can't be built.
    pub fn new(settings: SlackSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            caller: Caller::new(&settings)?,
            token: settings.bot_token,
        })
    }

    /// How often what may be called; paused by Slack's own word.
    pub fn budget(&self) -> &Budget {
        &self.caller.budget
    }

    /// Waits for the right to post there. Decide what to post only then: others may have changed it meanwhile.
    pub async fn reserve_post(&self, to: &Destination, priority: Priority) -> Permit {
        self.budget()
            .acquire(Method::ChatPostMessage, Some(to.as_str()), priority)
            .await
    }

    /// Waits for the right to update a message. Decide what it shows only then: the newest state wins.
    pub async fn reserve_update(&self, priority: Priority) -> Permit {
        self.budget()
            .acquire(Method::ChatUpdate, None, priority)
            .await
    }

    /// `auth.test`: as whom the token calls, and what it may.
    pub async fn auth_test(&self) -> Result<Installation, SlackError> {
        let Answer { body, scopes } = self.call(Method::AuthTest, Map::new()).await?;
        let scopes = scopes.unwrap_or_default();
        let scopes = scopes.split(',').map(str::trim);
        let scopes = scopes.filter(|scope| !scope.is_empty());
        let optional = |field: &str| body.get(field).and_then(Value::as_str);
        Ok(Installation {
            team: field(&body, "/team_id", true)?,
            team_name: optional("team").unwrap_or_default().to_owned(),
            enterprise: optional("enterprise_id").and_then(|id| id.parse().ok()),
            user: field(&body, "/user_id", true)?,
            app: optional("app_id").and_then(|id| id.parse().ok()),
            scopes: scopes.map(str::to_owned).collect::<BTreeSet<_>>(),
        })
    }

    /// `chat.postMessage`, with a permit from [`SlackClient::reserve_post`]. Links are not unfolded, names not linked.
    pub async fn post_message(&self, permit: Permit, post: Post<'_>) -> Result<Posted, SlackError> {
        let mut arguments = message(post.message);
        arguments.insert("channel".into(), post.to.as_str().into());
        arguments.insert("unfurl_links".into(), false.into());
        arguments.insert("unfurl_media".into(), false.into());
        if let Some(thread) = post.thread {
            arguments.insert("thread_ts".into(), thread.as_str().into());
            arguments.insert("reply_broadcast".into(), post.broadcast.into());
        }
        let answer = self.permitted(permit, Method::ChatPostMessage, arguments);
        field(&answer.await?.body, "", false)
    }

    /// `chat.update`, with a permit from [`SlackClient::reserve_update`]. In a direct conversation `at` is what posting
    /// answered, never the person.
    pub async fn update_message(
        &self,
        permit: Permit,
        at: &Posted,
        new: &Message,
    ) -> Result<(), SlackError> {
        let mut arguments = message(new);
        arguments.insert("channel".into(), at.channel.as_str().into());
        arguments.insert("ts".into(), at.ts.as_str().into());
        // Left out, a text without blocks removes them too; an empty list says so.
        arguments.entry("blocks").or_insert_with(|| json!([]));
        let answer = self.permitted(permit, Method::ChatUpdate, arguments);
        answer.await.map(|_| ())
    }

    /// `chat.delete`.
    pub async fn delete_message(&self, at: &Posted) -> Result<(), SlackError> {
        let arguments = [("channel", json!(at.channel)), ("ts", json!(at.ts))];
        self.call(Method::ChatDelete, arguments_of(arguments))
            .await
            .map(|_| ())
    }

    /// `chat.postEphemeral`: only this person sees it, until they reload, and only while they are in the channel.
    pub async fn post_ephemeral(
        &self,
        channel: &ChannelId,
        user: &UserId,
        thread: Option<&MessageTs>,
        new: &Message,
    ) -> Result<(), SlackError> {
        let method = Method::ChatPostEphemeral;
        let mut arguments = message(new);
        // It would be ignored.
        arguments.remove("metadata");
        arguments.insert("channel".into(), channel.as_str().into());
        arguments.insert("user".into(), user.as_str().into());
        if let Some(thread) = thread {
            arguments.insert("thread_ts".into(), thread.as_str().into());
        }
        let permit = self
            .budget()
            .acquire(method, Some(channel.as_str()), Priority::Interactive)
            .await;
        self.permitted(permit, method, arguments).await.map(|_| ())
    }

    /// `chat.getPermalink`.
    pub async fn permalink(&self, at: &Posted) -> Result<Url, SlackError> {
        let arguments = [("channel", json!(at.channel)), ("message_ts", json!(at.ts))];
        let answer = self.call(Method::ChatGetPermalink, arguments_of(arguments));
        let link: String = field(&answer.await?.body, "/permalink", true)?;
        Url::parse(&link).map_err(|_| SlackError::lost("unclear_answer", true))
    }

    /// `views.open`: within three seconds of the command or click that gave the trigger, and once for each.
    pub async fn open_view(
        &self,
        trigger: &TriggerId,
        view: &View,
    ) -> Result<OpenedView, SlackError> {
        let arguments = [("trigger_id", json!(trigger)), ("view", json!(view))];
        let answer = self.call(Method::ViewsOpen, arguments_of(arguments));
        field(&answer.await?.body, "/view", false)
    }

    /// `views.push`: above the open one; at most three are stacked.
    pub async fn push_view(
        &self,
        trigger: &TriggerId,
        view: &View,
    ) -> Result<OpenedView, SlackError> {
        let arguments = [("trigger_id", json!(trigger)), ("view", json!(view))];
        let answer = self.call(Method::ViewsPush, arguments_of(arguments));
        field(&answer.await?.body, "/view", false)
    }

    /// `views.update`. With `hash`, refused (`hash_conflict`) if the modal has changed since.
    pub async fn update_view(
        &self,
        which: ViewRef<'_>,
        hash: Option<&str>,
        view: &View,
    ) -> Result<OpenedView, SlackError> {
        let which = match which {
            ViewRef::Id(id) => ("view_id", json!(id)),
            ViewRef::External(id) => ("external_id", json!(id)),
        };
        let mut arguments = arguments_of([which, ("view", json!(view))]);
        if let Some(hash) = hash {
            arguments.insert("hash".into(), hash.into());
        }
        let answer = self.call(Method::ViewsUpdate, arguments);
        field(&answer.await?.body, "/view", true)
    }

    /// `conversations.info`.
    pub async fn conversation(&self, channel: &ChannelId) -> Result<Conversation, SlackError> {
        let arguments = [("channel", json!(channel))];
        let answer = self.call(Method::ConversationsInfo, arguments_of(arguments));
        field(&answer.await?.body, "/channel", true)
    }

    /// `conversations.open`: the direct conversation with a person, made if there is none.
    pub async fn open_direct(&self, user: &UserId) -> Result<ChannelId, SlackError> {
        let arguments = [("users", json!(user))];
        let answer = self.call(Method::ConversationsOpen, arguments_of(arguments));
        field(&answer.await?.body, "/channel/id", true)
    }

    /// `conversations.members`: a page of them.
    pub async fn members(
        &self,
        channel: &ChannelId,
        from: Option<&Cursor>,
    ) -> Result<Page<UserId>, SlackError> {
        let arguments = [("channel", json!(channel)), ("limit", json!(MOST_PER_PAGE))];
        let arguments = with_cursor(arguments_of(arguments), from);
        let body = self.call(Method::ConversationsMembers, arguments).await?;
        let body = body.body;
        Ok(Page::new(field(&body, "/members", true)?, &body))
    }

    /// `conversations.history`: messages of a channel in that span, newest first, with their marks.
    pub async fn history(
        &self,
        channel: &ChannelId,
        span: Span<'_>,
        from: Option<&Cursor>,
    ) -> Result<Page<Found>, SlackError> {
        let method = Method::ConversationsHistory;
        let arguments = arguments_of([("channel", json!(channel))]);
        self.found(method, arguments, span, from).await
    }

    /// `conversations.replies`: a thread's messages in that span and its first one, oldest first, with their marks.
    pub async fn replies(
        &self,
        channel: &ChannelId,
        thread: &MessageTs,
        span: Span<'_>,
        from: Option<&Cursor>,
    ) -> Result<Page<Found>, SlackError> {
        let method = Method::ConversationsReplies;
        let arguments = arguments_of([("channel", json!(channel)), ("ts", json!(thread))]);
        self.found(method, arguments, span, from).await
    }

    /// `users.info`.
    pub async fn account(&self, user: &UserId) -> Result<Account, SlackError> {
        let arguments = [("user", json!(user))];
        let answer = self.call(Method::UsersInfo, arguments_of(arguments));
        field(&answer.await?.body, "/user", true)
    }

    /// `usergroups.list`: those that are on, with their members. Needs the scope `usergroups:read`, and a plan that has
    /// user groups.
    pub async fn user_groups(&self) -> Result<Vec<UserGroup>, SlackError> {
        let arguments = [("include_users", json!(true))];
        let answer = self.call(Method::UsergroupsList, arguments_of(arguments));
        field(&answer.await?.body, "/usergroups", true)
    }

    /// Posts to a response URL: five times within thirty minutes of the command or click, and the only way to change a
    /// message that only one person sees.
    pub async fn respond(
        &self,
        to: &ResponseUrl,
        answering: Answering<'_>,
    ) -> Result<(), SlackError> {
        let url = to
            .within(self.caller.api())
            .map_err(|error| SlackError::own(error.reason()))?;
        let body = match answering {
            Answering::Say(visibility, message) => {
                let mut body = json!(message);
                body["response_type"] = json!(visibility);
                body["replace_original"] = json!(false);
                body
            }
            Answering::Replace(message) => {
                let mut body = json!(message);
                body["replace_original"] = json!(true);
                body
            }
            Answering::Delete => json!({"delete_original": true}),
        };
        let permit = self
            .budget()
            .acquire(Method::ResponseUrl, None, Priority::Interactive)
            .await;
        self.caller.respond(permit, url, &body).await.map(|_| ())
    }

    /// Whether Slack gives this app-level token a socket's address. None is opened.
    ///
    /// # Errors
    /// As every call.
    pub async fn may_open_sockets(&self, app_token: &LiveSecret) -> Result<(), SlackError> {
        self.open_connection(app_token).await.map(|_| ())
    }

    /// `apps.connections.open`, with the app-level token: where to dial next.
    pub(in crate::slack) async fn open_connection(
        &self,
        app_token: &LiveSecret,
    ) -> Result<SocketAddress, SlackError> {
        let method = Method::AppsConnectionsOpen;
        let permit = self
            .budget()
            .acquire(method, None, Priority::Interactive)
            .await;
        let answer = self.caller.call(permit, app_token, Map::new()).await?;
        let url: String = field(&answer.body, "/url", true)?;
        let url = Url::parse(&url).map_err(|_| SlackError::lost("unclear_answer", true))?;
        Ok(SocketAddress(url))
    }

    pub(in crate::slack) fn api(&self) -> &Url {
        self.caller.api()
    }

    async fn found(
        &self,
        method: Method,
        mut arguments: Arguments,
        span: Span<'_>,
        from: Option<&Cursor>,
    ) -> Result<Page<Found>, SlackError> {
        arguments.insert("oldest".into(), span.oldest.as_str().into());
        arguments.insert("latest".into(), span.latest.as_str().into());
        arguments.insert("include_all_metadata".into(), true.into());
        arguments.insert("inclusive".into(), true.into());
        arguments.insert("limit".into(), MOST_PER_PAGE.into());
        let arguments = with_cursor(arguments, from);
        let body = self.call(method, arguments).await?.body;
        Ok(Page::new(field(&body, "/messages", true)?, &body))
    }

    async fn call(&self, method: Method, arguments: Arguments) -> Result<Answer, SlackError> {
        let permit = self
            .budget()
            .acquire(method, None, Priority::Interactive)
            .await;
        self.permitted(permit, method, arguments).await
    }

    async fn permitted(
        &self,
        permit: Permit,
        method: Method,
        arguments: Arguments,
    ) -> Result<Answer, SlackError> {
        if permit.method() != method {
            return Err(SlackError::own("wrong_permit"));
        }
        self.caller.call(permit, &self.token, arguments).await
    }
}

/// A message's own arguments. Bare names and addresses in it stay what they are.
fn message(message: &Message) -> Arguments {
    let Value::Object(mut arguments) = json!(message) else {
        return Map::new();
    };
    arguments.insert("parse".into(), "none".into());
    arguments.insert("link_names".into(), false.into());
    arguments
}

fn arguments_of<const COUNT: usize>(arguments: [(&str, Value); COUNT]) -> Arguments {
    let arguments = arguments.into_iter();
    arguments
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn with_cursor(mut arguments: Arguments, from: Option<&Cursor>) -> Arguments {
    if let Some(Cursor(cursor)) = from {
        arguments.insert("cursor".into(), cursor.as_str().into());
    }
    arguments
}

/// A part of an answer. Slack did what it was asked to, but doesn't say it in a way that we understand.
fn field<Part: DeserializeOwned>(
    body: &Value,
    pointer: &str,
    repeatable: bool,
) -> Result<Part, SlackError> {
    let part = body.pointer(pointer).cloned().unwrap_or_default();
    serde_json::from_value(part).map_err(|_| SlackError::lost("unclear_answer", repeatable))
}

#[cfg(test)]
mod tests;
