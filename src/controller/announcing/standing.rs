//! Which hosts are not asked now, and until when: one that doesn't answer one request answers no other. Touches nothing.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use jiff::Timestamp;

use super::lock;
use crate::{api::version::Repository, domain::backoff, git::GitError};

/// Who has one limit and one fate: a login at a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    namespace: String,
    api_url: Option<String>,
    secret: Option<String>,
}

impl Key {
    /// Of a repository that an Application of this namespace names.
    pub(super) fn of(namespace: &str, repository: &Repository) -> Self {
        Self {
            namespace: namespace.to_owned(),
            api_url: repository.api_url.clone(),
            secret: repository.secret_name.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    since: Timestamp,
    until: Timestamp,
}

/// Which hosts are not asked now.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<HashMap<Key, Pause>>);

impl Standing {
    /// How long it isn't asked yet.
    pub(super) fn left(&self, key: &Key, now: Timestamp) -> Option<Duration> {
        let pause = lock(&self.0).get(key).copied()?;
        let left = backoff::elapsed(now, pause.until);
        (!left.is_zero()).then_some(left)
    }

    /// It answered.
    pub(super) fn well(&self, key: &Key) {
        lock(&self.0).remove(key);
    }

    /// It didn't, or wants a pause: how long that is.
    pub(super) fn trouble(
        &self,
        uid: &str,
        key: Key,
        error: &GitError,
        now: Timestamp,
    ) -> Duration {
        let asked = match error {
            GitError::Limited { until, .. } => Some(backoff::elapsed(now, *until)),
            _ => None,
        };
        let mut all = lock(&self.0);
        let since = all.get(&key).map_or(now, |pause| pause.since);
        let wait = backoff::retry(uid, since, now, asked);
        all.insert(
            key,
            Pause {
                since,
                until: now + wait,
            },
        );
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_heeded_by_all_of_one_login_and_ends_with_an_answer() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let key = |secret: &str| Key {
            namespace: "shop".into(),
            api_url: None,
            secret: Some(secret.into()),
        };
        let standing = Standing::default();
        let limited = GitError::Limited {
            host: "api.github.com".into(),
            until: now + Duration::from_mins(20),
        };
        assert!(standing.trouble("u-1", key("a"), &limited, now) >= Duration::from_mins(20));
        assert!(
            standing
                .left(&key("a"), now + Duration::from_mins(19))
                .is_some()
        );
        assert_eq!(standing.left(&key("b"), now), None);
        assert_eq!(
            standing.left(&key("a"), now + Duration::from_mins(25)),
            None
        );
        let silent = GitError::Unavailable {
            host: "api.github.com".into(),
            message: "no answer".into(),
        };
        standing.well(&key("a"));
        let first = standing.trouble("u-1", key("a"), &silent, now);
        let later = standing.trouble("u-1", key("a"), &silent, now + Duration::from_mins(1));
        assert!(first < Duration::from_secs(2) && later >= Duration::from_secs(30));
        standing.well(&key("a"));
        assert_eq!(standing.left(&key("a"), now), None);
    }
}
