//! Who somebody is. Touches Slack (`users.info`).

pub mod person;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache};

pub use person::{Nobody, Person};

use crate::slack::{
    client::{SlackClient, SlackError},
    ids::{TeamId, UserId},
};

/// How long it is remembered who somebody is: somebody deactivated can ask for so much longer.
const REMEMBERED: Duration = Duration::from_mins(5);
/// How long it is remembered that somebody is nobody: so many clicks of a guest cost one question.
const NOBODY: Duration = Duration::from_mins(1);
/// People remembered at most.
const PEOPLE: u64 = 20_000;

/// Why it can't be said who somebody is. They may do nothing then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdentityError {
    /// Nobody who could be allowed anything.
    #[error(transparent)]
    Nobody(#[from] Nobody),
    /// Slack doesn't say.
    #[error("Slack does not say who this account is")]
    Slack(#[source] SlackError),
}

impl IdentityError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Nobody(nobody) => nobody.reason(),
            Self::Slack(error) => error.reason(),
        }
    }
}

/// Asks Slack who somebody is, and remembers it for a while; failures are not remembered.
#[derive(Clone)]
pub struct Identity {
    slack: SlackClient,
    home: TeamId,
    people: Cache<UserId, Result<Person, Nobody>>,
}

/// A member is remembered longer than a nobody, who may be made a member.
struct Remembered;

impl Expiry<UserId, Result<Person, Nobody>> for Remembered {
    fn expire_after_create(
        &self,
        _user: &UserId,
        person: &Result<Person, Nobody>,
        _now: Instant,
    ) -> Option<Duration> {
        Some(if person.is_ok() { REMEMBERED } else { NOBODY })
    }
}

impl Identity {
    /// For the workspace `home`, in which the app is installed.
    pub fn new(slack: SlackClient, home: TeamId) -> Self {
        let people = Cache::builder()
            .max_capacity(PEOPLE)
            .expire_after(Remembered)
            .build();
        Self {
            slack,
            home,
            people,
        }
    }

    /// The workspace in which the app is installed.
    pub fn home(&self) -> &TeamId {
        &self.home
    }

    /// Who this account is.
    ///
    /// # Errors
    /// Nobody, when the account is of a kind that may do nothing; or when Slack doesn't answer.
    pub async fn person(&self, user: &UserId) -> Result<Person, IdentityError> {
        let asking = async {
            match self.slack.account(user).await {
                Ok(account) => Ok(person::judge(&account, &self.home)),
                Err(SlackError::Missing { .. }) => Ok(Err(Nobody::Unknown)),
                Err(error) => Err(error),
            }
        };
        self.people
            .try_get_with(user.clone(), asking)
            .await
            .map_err(|error| IdentityError::Slack(Arc::unwrap_or_clone(error)))?
            .map_err(IdentityError::from)
    }
}
