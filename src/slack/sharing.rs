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
    client::{Installation, SlackClient, SlackError},
    ids::ChannelId,
};

/// How long an answer is good: a channel that is shared meanwhile is written to for so much longer.
const REMEMBERED: Duration = Duration::from_mins(5);
/// Channels remembered at most.
const MOST: u64 = 10_000;
/// What the app needs to be told, for public and for private channels.
const SCOPES: [&str; 2] = ["channels:read", "groups:read"];

/// What an operator must know: Slack won't tell which channels are shared.
pub fn check_scopes(installation: &Installation) {
    let scopes = &installation.scopes;
    let lacking: Vec<&str> = SCOPES
        .into_iter()
        .filter(|scope| !scopes.is_empty() && !scopes.contains(*scope))
        .collect();
    if !lacking.is_empty() {
        tracing::error!(
            scopes = %lacking.join(", "),
            "the app may not see which channels are shared with other organisations, so they are treated as if none were: add the scopes and install it again"
        );
    }
}

/// Why nothing is known, and nothing remembered.
#[derive(Debug, Clone)]
enum Silence {
    /// The app can't see the channel now; it may once it is invited.
    Unseen,
    Failed(SlackError),
}

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
    /// nothing can be posted there either; that is asked anew each time. So does every channel while the app lacks the
    /// scopes `channels:read` and `groups:read`, which the manifest asks for: without them nothing could be told at all
    /// otherwise. That is logged at the start ([`check_scopes`]) and once when it matters.
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
                Err(SlackError::FallBack { .. } | SlackError::Missing { .. }) => {
                    Err(Silence::Unseen)
                }
                Err(error @ SlackError::Stop { .. }) if error.reason() == "missing_scope" => {
                    if !self.said.swap(true, Ordering::SeqCst) {
                        tracing::warn!(error = %error, "Slack doesn't say which channels are shared with other organisations; they are treated as if none were. Install the app with the scopes of its manifest");
                    }
                    Ok(false)
                }
                Err(error) => Err(Silence::Failed(error)),
            }
        };
        let known = self.known.try_get_with(channel.clone(), asking).await;
        known.or_else(|silence| match Arc::unwrap_or_clone(silence) {
            Silence::Unseen => Ok(false),
            Silence::Failed(error) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use foredeck_testkit::{StandInSlack, slack::ChannelKind};

    use super::*;
    use crate::slack::client::SlackSettings;

    fn channels(slack: &StandInSlack) -> SharedChannels {
        crate::runtime::tls::install();
        let url = slack.api_url().parse().unwrap();
        let settings = SlackSettings::new(&url, slack.bot_token().into()).unwrap();
        SharedChannels::new(SlackClient::new(settings.without_proxies()).unwrap())
    }

    async fn asked(slack: &StandInSlack) -> bool {
        let shared = channels(slack);
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
    async fn a_channel_to_which_the_app_is_invited_is_asked_about_anew() {
        let slack = StandInSlack::start().await.unwrap();
        slack.add_channel("partners", ChannelKind::Private, &[]);
        slack.change_channel("partners", |channel| channel.is_ext_shared = true);
        let shared = channels(&slack);
        let channel = slack.channel("partners").unwrap().id.parse().unwrap();
        assert!(!shared.is_shared(&channel).await.unwrap());
        let app = slack.bot_user_id();
        slack.change_channel("partners", |channel| channel.members.push(app));
        assert!(shared.is_shared(&channel).await.unwrap());
    }

    #[tokio::test]
    async fn what_the_app_may_not_see_counts_as_not_shared() {
        let slack = StandInSlack::start().await.unwrap();
        slack.change_channel("deploys", |channel| channel.is_ext_shared = true);
        slack.change_app(|app| app.scopes.retain(|scope| !scope.ends_with(":read")));
        assert!(!asked(&slack).await);
    }
}
