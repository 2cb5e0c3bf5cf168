//! Finding a message of ours whose post got no answer, by its mark. Touches Slack.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    message::{MARK_PURPOSE, MARK_UID},
    place::Spot,
};
use crate::slack::{
    client::{Destination, Found, Page, Posted, SlackClient, SlackError, Span},
    ids::{MessageTs, UserId},
};

/// How far Slack's clock and ours may differ.
const CLOCKS: Duration = Duration::from_mins(5);
/// How far is looked.
const MOST_PAGES: usize = 10;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Search {
    /// It was posted.
    Found(Posted),
    /// It is not there, by now.
    Absent,
    /// Slack doesn't let us look, or there is more than we look through.
    Impossible,
}

/// Which message is looked for.
pub(super) struct Wanted<'a> {
    /// The type of its mark.
    pub(super) mark: &'static str,
    /// The object's uid.
    pub(super) uid: &'a str,
    /// What it is for: the word that its mark has.
    pub(super) purpose: &'a str,
    /// Where it was to go.
    pub(super) spot: &'a Spot,
    /// When it was about to be posted.
    pub(super) since: Timestamp,
    /// How long after that it may have come.
    pub(super) settle: Duration,
    /// Who wrote it: any app can set marks.
    pub(super) by: &'a UserId,
}

/// Looks for a message.
///
/// # Errors
/// When Slack can't answer now, or doesn't accept us.
pub(super) async fn search(
    client: &SlackClient,
    wanted: &Wanted<'_>,
) -> Result<Search, SlackError> {
    match try_search(client, wanted).await {
        Ok(found) => Ok(found),
        Err(SlackError::Stop { word, .. }) if word.as_str() == "missing_scope" => {
            Ok(Search::Impossible)
        }
        Err(error @ (SlackError::Retry { .. } | SlackError::Stop { .. })) => Err(error),
        Err(_) => Ok(Search::Impossible),
    }
}

async fn try_search(client: &SlackClient, wanted: &Wanted<'_>) -> Result<Search, SlackError> {
    let channel = match &wanted.spot.to {
        Destination::Channel(channel) => channel.clone(),
        Destination::Person(user) => client.open_direct(user).await?,
    };
    let Some((oldest, latest)) = when(wanted) else {
        return Ok(Search::Impossible);
    };
    let span = Span {
        oldest: &oldest,
        latest: &latest,
    };
    let mut from = None;
    for _ in 0..MOST_PAGES {
        let page: Page<Found> = match &wanted.spot.thread {
            Some(thread) => {
                client
                    .replies(&channel, thread, span, from.as_ref())
                    .await?
            }
            None => client.history(&channel, span, from.as_ref()).await?,
        };
        let found = page.items.iter().find(|found| is_wanted(found, wanted));
        if let Some(found) = found {
            return Ok(Search::Found(Posted {
                channel,
                ts: found.ts.clone(),
            }));
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(Search::Absent),
        }
    }
    Ok(Search::Impossible)
}

/// Between when and when it was posted, if it was.
fn when(wanted: &Wanted<'_>) -> Option<(MessageTs, MessageTs)> {
    let since = wanted.since.as_second();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).ok();
    let at = |second: i64| MessageTs::new(format!("{}.000000", second.max(0))).ok();
    let oldest = since.checked_sub(seconds(CLOCKS)?)?;
    let latest = since.checked_add(seconds(wanted.settle.saturating_add(CLOCKS))?)?;
    Some((at(oldest)?, at(latest)?))
}

fn is_wanted(found: &Found, wanted: &Wanted<'_>) -> bool {
    found.user.as_ref() == Some(wanted.by)
        && found.has_mark(wanted.mark, MARK_UID, wanted.uid)
        && found.has_mark(wanted.mark, MARK_PURPOSE, wanted.purpose)
}
