//! A freeze that was deleted before its end: its messages say so, each once. Touches Slack.
//!
//! The object is no more, and with it what was told, so nothing is written down: a relay that is killed meanwhile, or isn't
//! there when the freeze is deleted, leaves a message that goes on saying until when it would have held. None is told twice.

use std::time::Duration;

use super::{message, notice::Notice, plan};
use crate::{
    api::{DeployFreeze, deploy_request::SlackStatus},
    relay::{means::Means, post::send, update::show},
    slack::client::{Destination, Post, Priority, SlackError},
};

/// How often Slack is told.
const TRIES: u32 = 5;

/// Its messages that still say that it holds are to say that it is lifted, and an answer in each thread.
pub(super) async fn tell(means: &Means, freeze: &DeployFreeze, told: &SlackStatus) {
    let home = means.settings.home.as_deref();
    for (beginning, at) in plan::speaking(told) {
        let over = Notice::Over(beginning.clone());
        let began = Notice::Began(beginning);
        let message = message::lifted(freeze, home, &began);
        let mut shown = false;
        for attempt in 0..TRIES {
            let permit = means.slack.reserve_update(Priority::Final).await;
            if !means.may_end() {
                return;
            }
            match show(means, permit, &at, &message).await {
                Some(Ok(_)) => {
                    shown = true;
                    break;
                }
                Some(Err(error @ (SlackError::Retry { .. } | SlackError::Stop { .. }))) => {
                    let growing = Duration::from_secs(1) * 2_u32.pow(attempt);
                    tokio::time::sleep(error.retry_after().unwrap_or(growing)).await;
                }
                Some(Err(_)) | None => break,
            }
        }
        let word = began.word();
        means
            .metrics
            .told(word, if shown { "gone" } else { "gone-lost" });
        if !shown {
            tracing::warn!(
                message.purpose = word,
                "a message could not say that its freeze was deleted"
            );
            continue;
        }
        let to = Destination::Channel(at.channel.clone());
        let message = message::lifted(freeze, home, &over);
        let permit = means.slack.reserve_post(&to, Priority::Final).await;
        if !means.may_end() {
            return;
        }
        let answer = Post {
            to: &to,
            thread: Some(&at.ts),
            broadcast: false,
            message: &message,
        };
        let answered = matches!(send(means, permit, answer, over.word()).await, Some(Ok(_)));
        let outcome = if answered { "gone" } else { "gone-lost" };
        means.metrics.told(over.word(), outcome);
    }
}
