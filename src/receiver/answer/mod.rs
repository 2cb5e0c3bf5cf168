//! What people read. Touches nothing.
//!
//! A first line stands alone, since a telephone shows no more. Whatever somebody typed, named or wrote goes through
//! [`Mrkdwn`](crate::slack::text::Mrkdwn) or a block that isn't parsed.

pub(super) mod cancelled;
pub(super) mod commits;
pub(super) mod deciding;
pub(super) mod held;
pub(super) mod locking;
pub(super) mod overriding;
pub(super) mod planned;
pub(super) mod reading;
pub(super) mod refusing;
mod running;
pub(super) mod standing;
pub(super) mod started;
pub(super) mod stopping;
pub(super) mod why;

#[cfg(test)]
mod commits_tests;
#[cfg(test)]
mod guarding_tests;
#[cfg(test)]
mod tests;
