//! Secrets of a role that are kept fresh while it runs: each is read again and again where it stands, and at once when
//! somebody finds that it isn't accepted any more. Touches files, Vault, and the clock.
//!
//! What can't be read, or can't be such a secret, changes nothing: the one that was there stays, and that is said once.

mod metrics;
mod place;

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::{
    metrics::SecretMetrics,
    place::{FilePlace, Place, Unread, VaultPlace},
};
use crate::runtime::live::{LiveSecret, LiveSecretSource};

/// Between two looks that somebody asked for: whoever asks in vain doesn't make us ask without end.
const SPACING: Duration = Duration::from_secs(1);
/// Between two attempts at a start.
const AGAIN: Duration = Duration::from_secs(3);

/// Whether a text can be this secret; if not, why, without quoting it.
pub type Check = fn(&SecretString) -> Result<(), String>;

/// A secret that a role needs.
pub struct Wanted {
    /// What it is called in logs, metrics and `/readyz`: `slack-bot-token`.
    pub name: &'static str,
    /// Where it stands.
    pub place: Box<dyn Place>,
    /// What it must be.
    pub check: Check,
}

impl Wanted {
    /// Reads it, and keeps it fresh as long as anybody has it.
    ///
    /// Where the place may be out of order for a while, this waits for it, and tells `waiting` why whenever that
    /// changes.
    ///
    /// # Errors
    /// [`Unread`] where waiting is no use: a file that isn't there, or that holds something else.
    pub async fn keep(
        self,
        metrics: SecretMetrics,
        waiting: impl Fn(&Unread),
    ) -> Result<LiveSecret, Unread> {
        let mut keeper = Keeper {
            wanted: self,
            metrics,
            trouble: None,
        };
        loop {
            match keeper.read().await {
                Ok(secret) => {
                    keeper.metrics.read(keeper.wanted.name, "changed");
                    keeper.recovered();
                    let (live, source) = LiveSecret::new(secret);
                    tokio::spawn(keeper.follow(source));
                    return Ok(live);
                }
                Err(unread) if keeper.wanted.place.comes_back() => {
                    if keeper.failed(&unread) {
                        waiting(&unread);
                        tracing::warn!(
                            secret = keeper.wanted.name,
                            "a secret can't be read, and work begins when it can: {unread}"
                        );
                    }
                    sleep(AGAIN).await;
                }
                Err(unread) => return Err(unread),
            }
        }
    }
}

struct Keeper {
    wanted: Wanted,
    metrics: SecretMetrics,
    /// Why it can't be read, as it was said last.
    trouble: Option<String>,
}

impl Keeper {
    async fn read(&self) -> Result<SecretString, Unread> {
        let secret = self.wanted.place.read().await?;
        (self.wanted.check)(&secret).map_err(Unread::NotOne)?;
        Ok(secret)
    }

    /// Works until nobody has the secret any more.
    async fn follow(mut self, mut source: LiveSecretSource) {
        let mut looked = Instant::now();
        loop {
            let mut questions = tokio::select! {
                questions = source.asked() => match questions {
                    Some(questions) => Some(questions),
                    None => return,
                },
                () = sleep_until(looked + self.wanted.place.every()) => None,
            };
            sleep_until(looked + SPACING).await;
            if let Some(questions) = &mut questions {
                source.asked_since(questions);
            }
            looked = Instant::now();
            self.look(&source).await;
            // What they asked for has been done.
            drop(questions);
        }
    }

    async fn look(&mut self, source: &LiveSecretSource) {
        let name = self.wanted.name;
        match self.read().await {
            Ok(secret) => {
                let changed = source.set(secret);
                self.recovered();
                if changed {
                    tracing::info!(
                        secret = name,
                        "the secret was changed, and the new one is used from now on"
                    );
                }
                self.metrics
                    .read(name, if changed { "changed" } else { "same" });
            }
            Err(unread) => {
                if self.failed(&unread) {
                    tracing::warn!(
                        secret = name,
                        "a secret can't be read anew, and the one that was there stays in use: {unread}"
                    );
                }
            }
        }
    }

    /// Counts it. Whether it is news.
    fn failed(&mut self, unread: &Unread) -> bool {
        self.metrics.read(self.wanted.name, unread.reason());
        let sentence = unread.to_string();
        let is_news = self.trouble.as_ref() != Some(&sentence);
        self.trouble = Some(sentence);
        is_news
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(secret = self.wanted.name, "the secret can be read again");
        }
    }
}

#[cfg(test)]
mod tests;
