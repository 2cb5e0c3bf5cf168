//! Which channels are shared with other organisations. Touches Slack (`conversations.info`), and remembers the answers for
//! a few minutes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;

use super::{
    client::{SlackClient, SlackError},
    ids::ChannelId,
};

/// How long an answer is good: a channel that is shared meanwhile is written to for so much longer.
const REMEMBERED: Duration = Duration::from_mins(5);
/// Channels remembered at most.
const MOST: u64 = 10_000;

/// Which channels are shared with other organisations.
#[derive(Clone)]
pub struct SharedChannels {
    slack: SlackClient,
    known: Cache<ChannelId, bool>,
    /// It was said that the scopes are missing.
    said: Arc<AtomicBool>,
}

impl SharedChannels {
    /// Asks through this client.
    pub fn new(slack: SlackClient) -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED);
        Self {
            slack,
            known: known.build(),
            said: Arc::default(),
        }
    }

    /// Whether people of another organisation read along there.
    ///
    /// Nobody does in a direct conversation with the app. A channel that the app can't see counts as not shared, since
    /// nothing can be posted there either. So does every channel while the app lacks the scopes `channels:read` and
    /// `groups:read`, which the manifest asks for: without them nothing could be told at all otherwise. That is logged
    /// once.
    ///
    /// # Errors
    /// When Slack doesn't say.
    pub async fn is_shared(&self, channel: &ChannelId) -> Result<bool, SlackError> {
        if channel.is_direct() {
            return Ok(false);
        }
        let asking = async {
            match self.slack.conversation(channel).await {
                Ok(conversation) => Ok(conversation.has_strangers()),
                Err(SlackError::FallBack { .. } | SlackError::Missing { .. }) => Ok(false),
                Err(error @ SlackError::Stop { .. }) if error.reason() == "missing_scope" => {
                    if !self.said.swap(true, Ordering::SeqCst) {
                        tracing::warn!(error = %error, "Slack doesn't say which channels are shared with other organisations; they are treated as if none were. Install the app with the scopes of its manifest");
                    }
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        };
        let known = self.known.try_get_with(channel.clone(), asking).await;
        known.map_err(Arc::unwrap_or_clone)
    }
}

#[cfg(test)]
mod tests {
    use foredeck_testkit::StandInSlack;

    use super::*;
    use crate::slack::client::SlackSettings;

    async fn asked(slack: &StandInSlack) -> bool {
        crate::runtime::tls::install();
        let url = slack.api_url().parse().unwrap();
        let settings = SlackSettings::new(&url, slack.bot_token().into()).unwrap();
        let shared = SharedChannels::new(SlackClient::new(settings.without_proxies()).unwrap());
        let channel = slack.channel("deploys").unwrap().id.parse().unwrap();
        let first = shared.is_shared(&channel).await.unwrap();
        assert_eq!(shared.is_shared(&channel).await.unwrap(), first);
        assert_eq!(
            slack.calls_of("conversations.info").len(),
            1,
            "it is remembered"
        );
        slack.forget_calls();
        first
    }

    #[tokio::test]
    async fn a_channel_is_shared_when_slack_says_so() {
        let slack = StandInSlack::start().await.unwrap();
        assert!(!asked(&slack).await);
        slack.change_channel("deploys", |channel| channel.is_ext_shared = true);
        assert!(asked(&slack).await);
    }

    #[tokio::test]
    async fn what_the_app_may_not_see_counts_as_not_shared() {
        let slack = StandInSlack::start().await.unwrap();
        slack.change_channel("deploys", |channel| channel.is_ext_shared = true);
        slack.change_app(|app| app.scopes.retain(|scope| !scope.ends_with(":read")));
        assert!(!asked(&slack).await);
    }
}
