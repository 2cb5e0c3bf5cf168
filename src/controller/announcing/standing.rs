//! Which hosts are not asked now, and until when: one that doesn't answer one request answers no other, while what is wrong
//! with one repository or one deployment holds up its own request alone. Touches nothing.

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

/// Which hosts are not asked now, and for which requests: by uid.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<HashMap<(Key, Option<String>), Pause>>);

impl Standing {
    /// How long it isn't asked yet for this request.
    pub(super) fn left(&self, uid: &str, key: &Key, now: Timestamp) -> Option<Duration> {
        let all = lock(&self.0);
        let left = [None, Some(uid.to_owned())]
            .into_iter()
            .filter_map(|whom| all.get(&(key.clone(), whom)))
            .map(|pause| backoff::elapsed(now, pause.until))
            .max()?;
        (!left.is_zero()).then_some(left)
    }

    /// It answered.
    pub(super) fn well(&self, uid: &str, key: &Key) {
        let mut all = lock(&self.0);
        all.remove(&(key.clone(), None));
        all.remove(&(key.clone(), Some(uid.to_owned())));
    }

    /// Nothing is asked for this request any more.
    pub(super) fn forget(&self, uid: &str) {
        lock(&self.0).retain(|(_, whom), _| whom.as_deref() != Some(uid));
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
        let alone = match error {
            GitError::NoSuchVersion { .. }
            | GitError::NoSuchRepository { .. }
            | GitError::Forbidden { .. } => true,
            GitError::Limited { .. }
            | GitError::Unavailable { .. }
            | GitError::HostNotAllowed { .. }
            | GitError::Credentials { .. } => false,
        };
        let whose = (key, alone.then(|| uid.to_owned()));
        let mut all = lock(&self.0);
        let since = all.get(&whose).map_or(now, |pause| pause.since);
        let wait = backoff::retry(uid, since, now, asked);
        all.insert(
            whose,
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
                .left("u-1", &key("a"), now + Duration::from_mins(19))
                .is_some()
        );
        assert_eq!(standing.left("u-1", &key("b"), now), None);
        assert_eq!(
            standing.left("u-1", &key("a"), now + Duration::from_mins(25)),
            None
        );
        let silent = GitError::Unavailable {
            host: "api.github.com".into(),
            message: "no answer".into(),
        };
        standing.well("u-1", &key("a"));
        let first = standing.trouble("u-1", key("a"), &silent, now);
        let later = standing.trouble("u-1", key("a"), &silent, now + Duration::from_mins(1));
        assert!(first < Duration::from_secs(2) && later >= Duration::from_secs(30));
        standing.well("u-1", &key("a"));
        assert_eq!(standing.left("u-1", &key("a"), now), None);
    }

    #[test]
    fn what_is_wrong_with_one_repository_holds_up_its_request_alone() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let key = Key {
            namespace: "shop".into(),
            api_url: None,
            secret: Some("a".into()),
        };
        let standing = Standing::default();
        let missing = GitError::NoSuchRepository {
            repository: "acme/checkout".into(),
        };
        standing.trouble("u-1", key.clone(), &missing, now);
        assert!(standing.left("u-1", &key, now).is_some());
        assert_eq!(standing.left("u-2", &key, now), None);
        standing.well("u-2", &key);
        assert!(standing.left("u-1", &key, now).is_some());
        standing.forget("u-1");
        assert_eq!(standing.left("u-1", &key, now), None);
    }
}
