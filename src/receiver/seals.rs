//! The keys of sealed plans while the bot's token changes. Touches nothing but the token's source; the time comes in as a
//! value.
//!
//! Replicas learn of a new token at different moments: a mounted Secret reaches some nodes a minute or two later than
//! others. So for a while the former token goes on sealing, which all of them know, and afterwards it still opens what
//! it sealed. A replica that can't open a seal has the token's source asked before it says so.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::plan::{
    Plan,
    seal::{Nonce, Opened, Purpose, SealError, Sealer},
};
use crate::{api::actor::SlackPerson, runtime::live::LiveSecret};

/// How long the former token seals: by then every replica has the new one.
const SETTLING: SignedDuration = SignedDuration::from_mins(2);
/// How long the former token opens. A plan lives ten minutes, and is told of what became of it for somewhat longer.
const FORMER_OPENS: SignedDuration = SignedDuration::from_hours(1);
/// Former tokens that are remembered at most.
const MOST_FORMER: usize = 4;
/// How long a press waits for the token's source. Slack wants its answer within three seconds.
const SOURCE_PATIENCE: Duration = Duration::from_millis(1500);

/// Seals plans and opens them with the bot's token as it is and as it was.
pub(super) struct Seals {
    /// The first one seals, each opens.
    tokens: Vec<LiveSecret>,
    known: Mutex<Known>,
}

struct Known {
    /// The token as it was seen last, and since when.
    first: SecretString,
    since: Option<Timestamp>,
    /// The last one that all replicas can be taken to have.
    settled: SecretString,
    /// Those that the first was before, latest first, and since when it is not.
    former: Vec<(SecretString, Timestamp)>,
    made_of: Vec<SecretString>,
    sealer: Arc<Sealer>,
}

impl Seals {
    /// The first token seals, all of them open.
    ///
    /// # Errors
    /// When there is no token, or one is empty.
    pub(super) fn new(tokens: Vec<LiveSecret>) -> Result<Self, SealError> {
        let made_of: Vec<SecretString> = tokens.iter().map(LiveSecret::current).collect();
        let sealer = Arc::new(Sealer::new(&made_of)?);
        let first = made_of.first().cloned().ok_or(SealError::NoKey)?;
        Ok(Self {
            tokens,
            known: Mutex::new(Known {
                settled: first.clone(),
                first,
                since: None,
                former: Vec::new(),
                made_of,
                sealer,
            }),
        })
    }

    /// The value of a button: see [`Sealer::seal`].
    pub(super) fn seal(
        &self,
        plan: &Plan,
        purpose: Purpose,
        nonce: Nonce,
        now: Timestamp,
    ) -> Result<String, SealError> {
        self.sealer(now).seal(plan, purpose, nonce)
    }

    /// What a form carries: see [`Sealer::seal_stub`].
    pub(super) fn seal_stub(
        &self,
        plan: &Plan,
        purpose: Purpose,
        nonce: Nonce,
        now: Timestamp,
    ) -> Result<String, SealError> {
        self.sealer(now).seal_stub(plan, purpose, nonce)
    }

    /// The plan that was sealed: see [`Sealer::open`]. It may have been sealed by a token that is news here.
    pub(super) async fn open(
        &self,
        sealed: &str,
        purpose: Purpose,
        asker: &SlackPerson,
        now: Timestamp,
    ) -> Result<Opened, SealError> {
        let before = self.sealer(now);
        let opened = before.open(sealed, purpose, asker, now);
        if !matches!(opened, Err(SealError::Altered)) {
            return opened;
        }
        let asking = futures::future::join_all(self.tokens.iter().map(LiveSecret::ask_anew));
        // Without an answer in time it is as it was.
        let _in_time = timeout(SOURCE_PATIENCE, asking).await;
        let after = self.sealer(now);
        if Arc::ptr_eq(&after, &before) {
            return opened;
        }
        after.open(sealed, purpose, asker, now)
    }

    /// What seals and opens now.
    fn sealer(&self, now: Timestamp) -> Arc<Sealer> {
        let tokens: Vec<SecretString> = self.tokens.iter().map(LiveSecret::current).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.follow(&tokens, now);
        let made_of = known.order(&tokens);
        if !are_same(&made_of, &known.made_of)
            // A token that makes no key is none, and the former ones go on.
            && let Ok(sealer) = Sealer::new(&made_of)
        {
            known.sealer = Arc::new(sealer);
            known.made_of = made_of;
        }
        Arc::clone(&known.sealer)
    }
}

impl Known {
    /// Takes note of another first token. Of several in a row, the one that was there before them all goes on sealing.
    fn follow(&mut self, tokens: &[SecretString], now: Timestamp) {
        if let Some(first) = tokens.first()
            && !is_same(first, &self.first)
        {
            let former = std::mem::replace(&mut self.first, first.clone());
            self.since = Some(now);
            self.former.retain(|(token, _)| !is_same(token, first));
            self.former.insert(0, (former, now));
            self.former.truncate(MOST_FORMER);
        }
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= SETTLING)
        {
            self.settled = self.first.clone();
        }
        self.former
            .retain(|(_, since)| now.duration_since(*since) < FORMER_OPENS);
    }

    /// All tokens that open, beginning with the one that seals.
    fn order(&self, tokens: &[SecretString]) -> Vec<SecretString> {
        let former = self.former.iter().map(|(token, _)| token);
        let mut order: Vec<SecretString> = vec![self.settled.clone()];
        for token in tokens.iter().chain(former) {
            if !order.iter().any(|other| is_same(other, token)) {
                order.push(token.clone());
            }
        }
        order
    }
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

fn are_same(some: &[SecretString], others: &[SecretString]) -> bool {
    some.len() == others.len()
        && some
            .iter()
            .zip(others)
            .all(|(one, other)| is_same(one, other))
}

#[cfg(test)]
#[path = "seals_tests.rs"]
mod tests;
