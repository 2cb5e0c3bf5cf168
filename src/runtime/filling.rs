//! Whether the caches of a role are filled, of each of its scopes apart. Touches nothing.
//!
//! A scope that the role may not read is never filled, and must not keep the others waiting: a role is ready once every scope
//! is filled or refused, and at least one filled. One that is refused goes on being tried, and is worked on once it is filled.

use std::sync::Arc;

use tokio::sync::watch;

use super::watches::Watches;

/// What is known of one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Refused,
    Filled,
}

/// The scopes of a role. Clones are the same.
#[derive(Debug, Clone)]
pub struct Filling(Arc<watch::Sender<Vec<State>>>);

impl Filling {
    /// For so many scopes, none of which is filled.
    pub fn of(scopes: usize) -> Self {
        let waiting = vec![State::Waiting; scopes];
        Self(Arc::new(watch::Sender::new(waiting)))
    }

    /// Waits until the caches of that scope are filled, and notes meanwhile whether its watches, which tell `watches` alone,
    /// are refused.
    ///
    /// # Errors
    /// Those of `filled`.
    pub async fn scope<E>(
        &self,
        number: usize,
        watches: &Watches,
        filled: impl Future<Output = Result<(), E>>,
    ) -> Result<(), E> {
        let mut refusals = watches.refusals();
        let noting = async {
            loop {
                let refused = !refusals.borrow_and_update().is_empty();
                let state = if refused {
                    State::Refused
                } else {
                    State::Waiting
                };
                self.note(number, state);
                if refusals.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let done = tokio::select! {
            biased;
            done = filled => done,
            () = noting => Ok(()),
        };
        if done.is_ok() {
            self.note(number, State::Filled);
        }
        done
    }

    fn note(&self, number: usize, state: State) {
        self.0.send_if_modified(|states| {
            let known = states.get_mut(number);
            known.is_some_and(|known| std::mem::replace(known, state) != state)
        });
    }

    /// Waits until every scope is filled or refused, and at least one is filled.
    pub async fn enough(&self) {
        let mut states = self.0.subscribe();
        // The sender is ours, so it lives as long as this.
        let _enough = states.wait_for(|states| are_enough(states)).await;
    }
}

fn are_enough(states: &[State]) -> bool {
    states.contains(&State::Filled) && !states.contains(&State::Waiting)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn one_filled_scope_is_enough_where_nobody_waits_for_another() {
        use State::{Filled, Refused, Waiting};
        let rows: [(&[State], bool); 6] = [
            (&[Filled], true),
            (&[Refused], false),
            (&[Waiting], false),
            (&[Filled, Refused], true),
            (&[Filled, Waiting], false),
            (&[Refused, Refused], false),
        ];
        for (states, expected) in rows {
            assert_eq!(are_enough(states), expected, "{states:?}");
        }
    }

    #[tokio::test]
    async fn what_is_filled_at_last_counts() {
        let filling = Filling::of(2);
        let watches = Watches::default();
        filling
            .scope(0, &watches, async { Ok::<_, ()>(()) })
            .await
            .unwrap();
        let never = filling.scope(1, &watches, pending::<Result<(), ()>>());
        tokio::pin!(never);
        assert!(futures::poll!(never.as_mut()).is_pending());
        assert!(futures::poll!(Box::pin(filling.enough())).is_pending());
        filling.note(1, State::Refused);
        filling.enough().await;
    }
}
