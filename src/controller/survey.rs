//! What ran lately, asked once for all who ask at the same time: many targets are made at once when many are new.
//! Touches nothing itself.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::spinnaker::{Execution, GateError};

/// What a survey brought.
#[derive(Default)]
pub(super) struct Surveyed {
    /// The ids of the pipelines that were looked through.
    pub pipelines: BTreeSet<String>,
    pub executions: Vec<Execution>,
}

/// The surveys of one Gate, by what they are of.
#[derive(Default)]
pub(super) struct Surveys(Mutex<HashMap<String, Arc<Survey>>>);

#[derive(Default)]
struct Survey {
    /// How many were begun.
    begun: AtomicU64,
    /// The last that ended well, and which it was.
    last: tokio::sync::Mutex<Option<(u64, Arc<Surveyed>)>>,
}

impl Surveys {
    /// What `ask` finds, or what another caller's found that began after this call: never an older one.
    pub(super) async fn begun_from_now(
        &self,
        subject: String,
        ask: impl Future<Output = Result<Surveyed, GateError>>,
    ) -> Result<Arc<Surveyed>, GateError> {
        let survey = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(subject).or_default().clone()
        };
        let before = survey.begun.load(Ordering::SeqCst);
        let mut last = survey.last.lock().await;
        if let Some((number, found)) = &*last
            && *number > before
        {
            return Ok(found.clone());
        }
        let number = survey.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let found = Arc::new(ask.await?);
        *last = Some((number, found.clone()));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_at_one_time_share_what_began_after_they_asked() {
        let surveys = Surveys::default();
        let asked = AtomicU64::new(0);
        let ask = || {
            surveys.begun_from_now("checkout".to_owned(), async {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(Surveyed::default())
            })
        };
        futures::future::join_all((0..100).map(|_| ask())).await;
        assert_eq!(
            asked.load(Ordering::SeqCst),
            2,
            "the first, and one for all who asked while it ran"
        );
        ask().await.unwrap();
        assert_eq!(
            asked.load(Ordering::SeqCst),
            3,
            "an older answer is not good enough"
        );
    }

    #[tokio::test]
    async fn a_failure_is_its_callers_alone() {
        let surveys = Surveys::default();
        let failed = surveys.begun_from_now("checkout".to_owned(), async {
            Err(GateError::LoginRequired)
        });
        assert!(failed.await.is_err());
        let found =
            surveys.begun_from_now("checkout".to_owned(), async { Ok(Surveyed::default()) });
        assert!(found.await.is_ok());
    }
}
