//! How one sink stands: its trouble, told once and not with every try, and how long it is left alone. Touches nothing but the
//! clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{
    delivery::{Outbox, lines},
    ledger::Part,
    sink::Trouble,
};
use crate::{domain::backoff, runtime::telemetry};

/// How often trouble that goes on is told again.
const REMIND: Duration = Duration::from_mins(10);
/// So many requests in a row that it won't have, and none that it takes, are its own trouble.
const IN_A_ROW: usize = 3;
/// At most between two requests of such a sink: one that it would take may stand behind many.
const LONGEST_BETWEEN_REFUSALS: Duration = Duration::from_secs(10);

/// How one sink stands.
#[derive(Default)]
pub(super) struct Standing {
    since: Option<Timestamp>,
    told: Option<(&'static str, Instant)>,
    /// How many goes take one request alone, to find the one that is not wanted.
    pub(super) alone: usize,
    /// Requests that it refused since it took anything.
    refusals: usize,
}

impl Standing {
    /// What comes of telling it. Where that takes longer than it should it is told once, and waited for further.
    pub(super) async fn patiently(
        &mut self,
        outbox: &Outbox,
        sink: usize,
        count: usize,
        patience: Option<Duration>,
        telling: impl Future<Output = Result<(), Trouble>>,
    ) -> Result<(), Trouble> {
        let Some(patience) = patience else {
            return telling.await;
        };
        let mut telling = std::pin::pin!(telling);
        if let Ok(told) = tokio::time::timeout(patience, &mut telling).await {
            return told;
        }
        let trouble = Trouble::Hangs(patience);
        let word = outbox.sinks[sink].word();
        outbox.metrics.count(word, trouble.reason(), count);
        self.say(outbox, word, &trouble);
        self.since.get_or_insert_with(Timestamp::now);
        telling.await
    }

    /// Notes what came of a go, and says how long to wait.
    pub(super) fn came_of(
        &mut self,
        outbox: &Outbox,
        sink: usize,
        parts: Vec<Part>,
        told: Result<(), Trouble>,
    ) -> Duration {
        let word = outbox.sinks[sink].word();
        let count = lines(&parts).len();
        let trouble = match told {
            Ok(()) => {
                outbox.metrics.count(word, "accepted", count);
                outbox.change(|ledger| ledger.told(sink, &parts, Instant::now()));
                if self.since.take().is_some() {
                    tracing::info!(sink = word, "the audit sink takes lines again");
                }
                self.told = None;
                self.refusals = 0;
                return Duration::ZERO;
            }
            Err(trouble) => trouble,
        };
        outbox.metrics.count(word, trouble.reason(), count);
        self.say(outbox, word, &trouble);
        let now = Timestamp::now();
        if !trouble.is_about_the_lines() {
            outbox.ledger().back(sink, parts);
            let since = *self.since.get_or_insert(now);
            return backoff::retry(word, since, now, trouble.again());
        }
        let [part] = parts.as_slice() else {
            self.alone = parts.len();
            outbox.ledger().back(sink, parts);
            return Duration::ZERO;
        };
        outbox.refused(sink, part);
        self.refusals += 1;
        if self.refusals < IN_A_ROW {
            return Duration::ZERO;
        }
        let since = *self.since.get_or_insert(now);
        backoff::retry(word, since, now, None).min(LONGEST_BETWEEN_REFUSALS)
    }

    fn say(&mut self, outbox: &Outbox, sink: &'static str, trouble: &Trouble) {
        let now = Instant::now();
        let said = self.told.is_some_and(|(reason, at)| {
            reason == trouble.reason() && now.duration_since(at) < REMIND
        });
        if !said {
            self.told = Some((trouble.reason(), now));
            let waiting = outbox.ledger().waiting();
            tracing::warn!(sink, reason = trouble.reason(), error = %telemetry::chain(trouble), waiting, "an audit sink takes no lines; they are kept where they stand and told later");
        }
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
