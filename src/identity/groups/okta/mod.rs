//! Groups from Okta. Touches Okta and the clock.
//!
//! Somebody is who has their e-mail address as login. What Okta said is remembered; while it limits us, nothing is asked.

mod call;
mod link;
mod settings;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use moka::future::Cache;
use serde::Deserialize;

use self::call::Caller;
pub use self::{
    call::OktaError,
    settings::{OktaSettings, OktaSettingsError},
};
use super::{Asked, GroupPrefix, GroupSource, Groups, Unknown};
use crate::{identity::person::Nobody, runtime::telemetry};

/// What it is called in a `Person`.
pub const NAME: &str = "okta";
/// People remembered at most.
const PEOPLE: u64 = 20_000;
/// For one person, all pages together.
const DEADLINE: Duration = Duration::from_secs(20);
/// A page holds hundreds.
const MOST_PAGES: usize = 50;
/// The one status of an account with which somebody can log in.
const ACTIVE: &str = "ACTIVE";
/// Those of accounts that an administrator closed; all others come right when their owner does something.
const CLOSED: [&str; 2] = ["SUSPENDED", "DEPROVISIONED"];
/// The type of groups that are Okta's own. Others are what a directory or an application calls its groups, whose members
/// it chooses: two of them may have one name, and that of a group of Okta's own.
const OWN: &str = "OKTA_GROUP";

/// The groups of one Okta organisation.
pub struct OktaGroups {
    caller: Caller,
    prefix: GroupPrefix,
    fresh_for: Duration,
    clock: fn() -> Timestamp,
    people: Cache<String, Known>,
}

/// What Okta said of somebody.
#[derive(Debug, Clone)]
enum Known {
    Groups(Arc<Groups>),
    /// Their account doesn't work.
    Nobody(Nobody),
}

#[derive(Debug, Deserialize)]
struct User {
    id: String,
    status: String,
    profile: UserProfile,
}

#[derive(Debug, Deserialize)]
struct UserProfile {
    login: String,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(rename = "type")]
    kind: Option<String>,
    profile: GroupProfile,
}

/// Somebody's groups, by name.
#[derive(Debug, Default)]
struct Names {
    own: Vec<String>,
    /// How many aren't Okta's own.
    foreign: usize,
}

impl Names {
    fn add(&mut self, group: Group) {
        if group.kind.is_none_or(|kind| kind == OWN) {
            self.own.push(group.profile.name);
        } else {
            self.foreign += 1;
        }
    }

    fn groups(&self, prefix: &GroupPrefix, at: Timestamp) -> Groups {
        let mut groups = prefix.groups(self.own.iter().map(String::as_str), at);
        if self.foreign > 0 {
            let foreign = format!("{} left out, which aren't of Okta's own", self.foreign);
            groups.note = Some(match groups.note {
                Some(note) => format!("{note}; {foreign}"),
                None => foreign,
            });
        }
        groups
    }
}

#[derive(Debug, Deserialize)]
struct GroupProfile {
    name: String,
}

impl OktaGroups {
    /// The groups of this organisation. `limit` is how old what is known may be at most.
    ///
    /// # Errors
    /// When the HTTP client can't be built.
    pub fn new(
        settings: &OktaSettings,
        limit: Duration,
        clock: fn() -> Timestamp,
    ) -> Result<Self, OktaSettingsError> {
        Ok(Self {
            caller: Caller::new(settings, clock)?,
            prefix: settings.prefix.clone(),
            fresh_for: limit / 2,
            clock,
            people: Cache::builder()
                .max_capacity(PEOPLE)
                .time_to_live(limit)
                .build(),
        })
    }

    /// Whether Okta takes the token, and lets it read users: somebody is asked for whom nobody can be.
    ///
    /// # Errors
    /// Why not.
    pub async fn may_ask(&self) -> Result<(), OktaError> {
        self.user("nobody@foredeck.invalid").await.map(|_| ())
    }

    async fn known(&self, login: &str) -> Result<Known, OktaError> {
        let at = (self.clock)();
        let Some(user) = self.user(login).await? else {
            let mut none = self.prefix.groups([], at);
            none.note = Some("Okta has no account whose login is the e-mail address".to_owned());
            return Ok(Known::Groups(Arc::new(none)));
        };
        match user.status.as_str() {
            ACTIVE => {}
            closed if CLOSED.contains(&closed) => {
                return Ok(Known::Nobody(Nobody::SuspendedInOkta));
            }
            _ => return Ok(Known::Nobody(Nobody::InactiveInOkta)),
        }
        let names = self.names(&user.id).await?;
        Ok(Known::Groups(Arc::new(names.groups(&self.prefix, at))))
    }

    async fn user(&self, login: &str) -> Result<Option<User>, OktaError> {
        let url = self.caller.url(&["api", "v1", "users", login])?;
        let Some(page) = self.caller.get(&url).await? else {
            return Ok(None);
        };
        let user: User = page.read()?;
        // Okta finds people by their ids too, and by the beginning of their login.
        if user.profile.login.eq_ignore_ascii_case(login) {
            Ok(Some(user))
        } else {
            Ok(None)
        }
    }

    async fn names(&self, id: &str) -> Result<Names, OktaError> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(OktaError::Unclear);
        }
        let first = self.caller.url(&["api", "v1", "users", id, "groups"])?;
        let mut url = first.clone();
        let mut names = Names::default();
        for _ in 0..MOST_PAGES {
            let page = self.caller.get(&url).await?.ok_or(OktaError::Unclear)?;
            let groups: Vec<Group> = page.read()?;
            for group in groups {
                names.add(group);
            }
            match page.next(&first)? {
                Some(next) => url = next,
                None => return Ok(names),
            }
        }
        Err(OktaError::Endless)
    }
}

impl GroupSource for OktaGroups {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fresh_for(&self) -> Duration {
        self.fresh_for
    }

    fn remembered<'a>(&'a self, who: &'a Asked) -> BoxFuture<'a, Option<Groups>> {
        async move {
            match self.people.get(who.email.as_deref()?).await? {
                Known::Groups(groups) => Some(Arc::unwrap_or_clone(groups)),
                // To be asked again: it is nobody's loss.
                Known::Nobody(_) => None,
            }
        }
        .boxed()
    }

    fn ask<'a>(&'a self, who: &'a Asked) -> BoxFuture<'a, Result<Groups, Unknown>> {
        async move {
            let login = who.email.as_deref().ok_or_else(|| {
                Unknown::for_now(
                    "no_email",
                    "Okta can't be asked without a confirmed e-mail address",
                )
            })?;
            let known = tokio::time::timeout(DEADLINE, self.known(login)).await;
            let known = known
                .unwrap_or(Err(OktaError::Silent))
                .map_err(|error| unknown(&error))?;
            self.people.insert(login.to_owned(), known.clone()).await;
            match known {
                Known::Groups(groups) => Ok(Arc::unwrap_or_clone(groups)),
                Known::Nobody(nobody) => Err(nobody.into()),
            }
        }
        .boxed()
    }
}

fn unknown(error: &OktaError) -> Unknown {
    let reason = error.reason();
    if error.needs_operator() {
        tracing::error!(error = %telemetry::chain(error), reason, "Okta doesn't say which groups somebody is in");
        Unknown::until_mended(reason, error.sentence())
    } else {
        tracing::warn!(error = %telemetry::chain(error), reason, "Okta doesn't say which groups somebody is in");
        Unknown::for_now(reason, error.sentence())
    }
}
