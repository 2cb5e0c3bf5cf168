//! Waiting for a condition with a deadline: what every test does in the place of a sleep.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::time::{sleep, timeout};

/// How often the condition is looked at. Short, since most are met within a few looks.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Looks until `look` answers `Ok`, and gives that answer.
///
/// An `Err` of `look` means "not yet" and says what was seen, so its text is written for whoever reads the failed test:
/// `ensure!(phase == "Ready", "the phase is {phase}")`. A look that hangs counts as "not yet" too.
///
/// `look` is an `async ||` that borrows what it needs; one that changes it wants a `Cell` or a `Mutex`. (`AsyncFnMut`
/// would spare that, but then no task that waits could be spawned: rust-lang/rust#110338.)
///
/// # Errors
/// When `deadline` passes first: names `what` was awaited, for how long, and what was last seen.
pub async fn wait_for<T, Looking>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Looking,
) -> Result<T>
where
    Looking: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    let mut last_seen = anyhow!("nothing: the first look got no answer");
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => last_seen = seen,
            Err(_) => {}
        }
        if Instant::now() >= end {
            return Err(anyhow!(
                "waited {deadline:?} for {what}; last seen: {last_seen:#}"
            ));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn the_first_ok_is_the_answer() {
        let looks = Cell::new(0);
        let answer = wait_for("three looks", Duration::from_secs(5), async || {
            looks.set(looks.get() + 1);
            anyhow::ensure!(looks.get() == 3, "only {looks:?} looks");
            Ok("seen")
        });
        assert_eq!(answer.await.unwrap(), "seen");
    }

    #[tokio::test]
    async fn a_passed_deadline_tells_what_was_last_seen() {
        let answer = wait_for(
            "rain",
            Duration::from_millis(120),
            async || -> Result<()> { Err(anyhow!("sunshine")) },
        );
        let error = answer.await.unwrap_err().to_string();
        assert_eq!(error, "waited 120ms for rain; last seen: sunshine");
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_outlast_the_deadline() {
        let answer = wait_for(
            "an answer",
            Duration::from_millis(120),
            async || -> Result<()> { std::future::pending().await },
        );
        assert!(
            answer
                .await
                .unwrap_err()
                .to_string()
                .contains("the first look got no answer")
        );
    }

    #[tokio::test]
    async fn a_wait_can_be_a_task_of_its_own() {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(0));
        let task = tokio::spawn(async move {
            wait_for("nothing", Duration::from_secs(1), async || {
                tokio::task::yield_now().await;
                *seen.lock().unwrap() += 1;
                Ok(())
            })
            .await
        });
        task.await.unwrap().unwrap();
    }
}
