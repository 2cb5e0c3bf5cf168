//! The ways an answer takes back to where it was asked. Touches Slack.

use std::time::Duration;

use moka::future::Cache;
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};

use super::occasion::{Answer, Occasion};
use crate::{
    runtime::telemetry,
    slack::{
        blocks::Message,
        client::{Answering, Destination, Post, Priority, SlackClient, SlackError, ViewRef},
        ids::{ChannelId, UserId},
        inbound::{OpenView, Visibility},
        sharing::SharedChannels,
        view::View,
    },
};

/// How long it is remembered whether the app is in a channel.
const MEMBERSHIP: Duration = Duration::from_mins(1);
/// How long anybody waits to learn that.
const MOST_WAIT: Duration = Duration::from_millis(600);

/// What is left for a create at least.
const CREATING: Duration = Duration::from_secs(1);

/// Channels and people remembered at most.
const MOST: u64 = 10_000;

/// Speaks for the receiver.
pub(super) struct Voice {
    pub(super) slack: SlackClient,
    members: Cache<ChannelId, bool>,
    /// The conversation that each person has with the app.
    own: Cache<UserId, ChannelId>,
    shared: SharedChannels,
    bot: OnceCell<UserId>,
}

impl Voice {
    pub(super) fn new(slack: SlackClient) -> Self {
        Self {
            shared: SharedChannels::new(slack.clone()),
            slack,
            members: Cache::builder()
                .max_capacity(MOST)
                .time_to_live(MEMBERSHIP)
                .build(),
            own: Cache::new(MOST),
            bot: OnceCell::new(),
        }
    }

    /// Whether that is the conversation between this person and the app, and not one between people; `None` if nobody
    /// says in time.
    pub(super) async fn is_own(
        &self,
        user: &UserId,
        channel: &ChannelId,
        by: Instant,
    ) -> Option<bool> {
        if !channel.is_direct() {
            return Some(false);
        }
        let asking = self
            .own
            .try_get_with(user.clone(), self.slack.open_direct(user));
        let own = timeout_at(soon(by), asking).await.ok()?.ok()?;
        Some(own == *channel)
    }

    /// The app as people mention it; `None` if nobody says in time.
    pub(super) async fn bot(&self, occasion: &Occasion) -> Option<UserId> {
        let asking = self.bot.get_or_try_init(|| async {
            let installation = self.slack.auth_test().await?;
            Ok::<_, SlackError>(installation.user)
        });
        let bot = timeout_at(soon(occasion.by), asking).await.ok()?.ok()?;
        Some(bot.clone())
    }

    /// Whether the app can post in that channel; `None` if nobody says in time. Never keeps an answer back for long.
    pub(super) async fn is_member(&self, occasion: &Occasion, channel: &ChannelId) -> Option<bool> {
        if channel.is_direct() {
            return self.is_own(&occasion.user, channel, occasion.by).await;
        }
        let slack = self.slack.clone();
        let wanted = channel.clone();
        let asking = self.members.try_get_with(channel.clone(), async move {
            match slack.conversation(&wanted).await {
                Ok(conversation) => Ok(conversation.is_member && !conversation.is_archived),
                // A private channel that the app isn't in is one that it can't see.
                Err(SlackError::FallBack { .. } | SlackError::Missing { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        });
        timeout_at(soon(occasion.by), asking).await.ok()?.ok()
    }

    /// Whether people of another organisation read along in that channel; `None` if nobody says in time.
    pub(super) async fn is_shared(&self, occasion: &Occasion, channel: &ChannelId) -> Option<bool> {
        let by = occasion.by.checked_sub(CREATING).unwrap_or(occasion.by);
        timeout_at(by, self.shared.is_shared(channel))
            .await
            .ok()?
            .ok()
    }

    /// Words where the person asked: to them alone in a channel, in the open in a direct conversation. Whoever asked in a
    /// modal is in neither, and gets a direct message.
    pub(super) async fn say(
        &self,
        occasion: &Occasion,
        message: &Message,
    ) -> Result<(), SlackError> {
        let thread = occasion.thread.as_ref();
        let (to, thread) = match &occasion.channel {
            Some(channel) if occasion.direct => (Destination::Channel(channel.clone()), thread),
            Some(channel) => {
                let said = self
                    .slack
                    .post_ephemeral(channel, &occasion.user, thread, message)
                    .await;
                match said {
                    // Not in that channel: a direct message reaches them anywhere.
                    Err(SlackError::FallBack { .. }) => {}
                    other => return other,
                }
                (Destination::Person(occasion.user.clone()), None)
            }
            None => (Destination::Person(occasion.user.clone()), None),
        };
        let permit = self.slack.reserve_post(&to, Priority::Interactive).await;
        let post = Post {
            to: &to,
            thread,
            broadcast: false,
            message,
        };
        self.slack.post_message(permit, post).await.map(drop)
    }

    /// What was pressed is answered.
    pub(super) async fn answer_press(&self, occasion: &Occasion, answer: &Answer) {
        let done = match (occasion.url.as_ref(), answer) {
            (_, Answer::Nothing) | (None, Answer::Remove) => Ok(()),
            (Some(url), Answer::Remove) => self.slack.respond(url, Answering::Delete).await,
            (Some(url), Answer::Replace(message)) => {
                self.slack.respond(url, Answering::Replace(message)).await
            }
            (_, Answer::Modal { view, or }) => match &occasion.trigger {
                Some(trigger) => match self.slack.open_view(trigger, view).await {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        tracing::warn!(error = %telemetry::chain(&error), "a modal can't be opened");
                        self.privately(occasion, or).await
                    }
                },
                None => self.privately(occasion, or).await,
            },
            (_, Answer::Say(message) | Answer::Replace(message)) => {
                self.privately(occasion, message).await
            }
        };
        if let Err(error) = done {
            tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "an answer didn't reach Slack");
        }
    }

    /// An open modal shows something else.
    pub(super) async fn update(&self, open: &OpenView, new: &View) {
        // Without the hash: of two changes that cross, the later one has to win.
        let done = self
            .slack
            .update_view(ViewRef::Id(&open.id), None, new)
            .await;
        if let Err(error) = done {
            tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "a form can't be changed");
        }
    }

    /// Words for whoever asked alone, after whatever else was answered. In the app's own conversation all words are.
    pub(super) async fn privately(
        &self,
        occasion: &Occasion,
        message: &Message,
    ) -> Result<(), SlackError> {
        match &occasion.url {
            Some(url) => {
                let visibility = if occasion.direct {
                    Visibility::InChannel
                } else {
                    Visibility::Ephemeral
                };
                let say = Answering::Say(visibility, message);
                self.slack.respond(url, say).await
            }
            None => self.say(occasion, message).await,
        }
    }
}

/// Until when anybody waits to learn something that can be done without.
fn soon(by: Instant) -> Instant {
    by.min(Instant::now() + MOST_WAIT)
}
