//! Who somebody is: their account in Slack, the user name by which Kubernetes knows them, and their groups. Touches Slack
//! (`users.info`, `usergroups.list`), Okta, and the API server: a watch of `Person`s.
//!
//! Slack says whether an account is a full member's. A `Person` says under which name, else the verified e-mail address
//! does. Groups come from sources outside; what one of them said through any replica stands in the `Person` too, so the
//! newest counts, whoever heard it.

mod error;
pub mod groups;
pub mod person;
mod records;
pub mod username;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use moka::{Expiry, future::Cache};

use self::groups::{
    Asked, GroupPrefix, GroupSource, Groups, Unknown,
    okta::{OktaGroups, OktaSettings},
    slack::SlackGroups,
};
pub use self::{
    error::{IdentityError, SettingsError},
    person::{Member, NameRules, Nobody, Person},
    records::{ClaimedTwice, Records},
};
use crate::{
    api::{self, actor::SlackPerson, person::PersonStatus},
    runtime::telemetry,
    slack::{
        client::{Account, SlackClient, SlackError},
        ids::{TeamId, UserId},
    },
};

/// How long it is remembered who somebody is: somebody deactivated can ask for so much longer, where Slack doesn't tell.
const REMEMBERED: Duration = Duration::from_mins(5);
/// How long it is remembered that somebody is nobody: so many clicks of a guest cost one question.
const NOBODY: Duration = Duration::from_mins(1);
/// People remembered at most.
const PEOPLE: u64 = 20_000;
/// How long somebody who waits for an answer waits for their groups.
const PATIENCE: Duration = Duration::from_millis(900);
/// How long after a change what was said before is still good for an answer to somebody who waits. The controller judges
/// by what is asked for anew.
const GRACE: Duration = Duration::from_secs(10);

/// Whether what was said before a change is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    /// It isn't.
    AtOnce,
    /// It is, for a short while.
    WithGrace,
}

/// Who counts, under which name, with which groups.
#[derive(Debug, Clone)]
pub struct PeopleSettings {
    /// The namespace whose `Person`s count.
    pub namespace: String,
    /// How user names are made.
    pub names: NameRules,
    /// How old groups may be at most; older ones are unknown.
    pub limit: Duration,
    /// The prefix of groups from Slack's user groups; they are none when absent.
    pub slack_groups: Option<GroupPrefix>,
    /// Where groups from Okta come from, if they do.
    pub okta: Option<OktaSettings>,
}

impl PeopleSettings {
    /// Names are e-mail addresses, nobody has groups, and what is written down is in this namespace.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            names: NameRules::default(),
            limit: Duration::from_mins(10),
            slack_groups: None,
            okta: None,
        }
    }

    /// Those that ask for groups.
    ///
    /// # Errors
    /// When two of them could be taken for each other, or one can't be built.
    fn sources(
        &self,
        slack: &SlackClient,
        clock: fn() -> Timestamp,
    ) -> Result<Vec<Arc<dyn GroupSource>>, SettingsError> {
        let mut sources: Vec<Arc<dyn GroupSource>> = Vec::new();
        if let (Some(prefix), Some(okta)) = (&self.slack_groups, &self.okta)
            && prefix.overlaps(okta.prefix())
        {
            return Err(SettingsError::Prefixes(
                prefix.clone(),
                okta.prefix().clone(),
            ));
        }
        if let Some(prefix) = &self.slack_groups {
            let groups = SlackGroups::new(slack.clone(), prefix.clone(), self.limit, clock);
            sources.push(Arc::new(groups));
        }
        if let Some(okta) = &self.okta {
            let groups = OktaGroups::new(okta, self.limit, clock).map_err(SettingsError::Okta)?;
            sources.push(Arc::new(groups));
        }
        Ok(sources)
    }
}

/// Asks who somebody is, and remembers it for a while; failures are not remembered. Clones share what they remember.
#[derive(Clone)]
pub struct Identity {
    slack: SlackClient,
    home: TeamId,
    names: NameRules,
    limit: Duration,
    sources: Vec<Arc<dyn GroupSource>>,
    records: Arc<Records>,
    clock: fn() -> Timestamp,
    accounts: Cache<UserId, Arc<Seen>>,
}

/// What Slack said of an account, and when.
#[derive(Debug)]
struct Seen {
    account: Option<Account>,
    at: Timestamp,
}

/// All that can be found out about an account now.
#[derive(Debug)]
pub struct Found {
    /// Who it is, as of when; or the fixed word for why Slack doesn't say.
    pub standing: Result<(Result<Member, Nobody>, Timestamp), &'static str>,
    /// What each source says of their groups, by the source's name. None is asked about nobody.
    pub sources: Vec<(&'static str, Result<Groups, Unknown>)>,
}

/// A member is remembered longer than a nobody, who may be made a member.
struct Remembered {
    home: TeamId,
    names: NameRules,
}

impl Expiry<UserId, Arc<Seen>> for Remembered {
    fn expire_after_create(
        &self,
        _user: &UserId,
        seen: &Arc<Seen>,
        _now: Instant,
    ) -> Option<Duration> {
        let is_member = seen
            .account
            .as_ref()
            .is_some_and(|account| person::judge(account, &self.home, &self.names, None).is_ok());
        Some(if is_member { REMEMBERED } else { NOBODY })
    }
}

impl Identity {
    /// For the workspace `home`, in which the app is installed.
    ///
    /// # Errors
    /// When the settings can't be used.
    pub fn new(
        slack: SlackClient,
        home: TeamId,
        settings: &PeopleSettings,
        records: Arc<Records>,
        clock: fn() -> Timestamp,
    ) -> Result<Self, SettingsError> {
        let accounts = Cache::builder()
            .max_capacity(PEOPLE)
            .expire_after(Remembered {
                home: home.clone(),
                names: settings.names.clone(),
            })
            .build();
        Ok(Self {
            sources: settings.sources(&slack, clock)?,
            names: settings.names.clone(),
            limit: settings.limit,
            slack,
            home,
            records,
            clock,
            accounts,
        })
    }

    /// The workspace in which the app is installed.
    pub fn home(&self) -> &TeamId {
        &self.home
    }

    /// What is written down of people.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The sources that are asked for groups.
    pub fn source_names(&self) -> impl Iterator<Item = &'static str> {
        self.sources.iter().map(|source| source.name())
    }

    /// Whether groups come from Slack's user groups.
    pub fn asks_slack_for_groups(&self) -> bool {
        self.source_names().any(|name| name == groups::slack::NAME)
    }

    /// The account, as it is written down.
    pub fn account(&self, user: &UserId) -> SlackPerson {
        SlackPerson {
            team: self.home.to_string(),
            user: user.to_string(),
        }
    }

    /// Who this account is, in time for somebody who waits: a change of groups that came a moment ago may be missing.
    /// Groups that can't be known in that time are missing, and [`Person::silent`] says so.
    ///
    /// # Errors
    /// Nobody, when the account is of a kind that may do nothing; or when Slack doesn't answer.
    pub async fn person(&self, user: &UserId) -> Result<Person, IdentityError> {
        let slack = self.account(user);
        let record = self.records.of_slack(&slack)?;
        self.forget_if_refuted(user, record.as_ref()).await;
        let seen = self.seen(user, None).await?;
        let member = self.judge(&seen, record.as_ref())?;
        let status = record.and_then(|record| record.status);
        let asked = Asked {
            user: user.clone(),
            email: member.email,
        };
        let found = self.sources.iter().map(async |source| {
            let source = source.as_ref();
            let since = self.since(source, source.fresh_for(), Changes::WithGrace);
            let found = self.groups(source, &asked, status.as_ref(), since);
            let found = tokio::time::timeout(PATIENCE, found).await;
            let found = found.unwrap_or_else(|_| Err(slow(source)));
            match found {
                Err(unknown @ Unknown::Silent { .. }) => {
                    let older = self.older(source, &asked, status.as_ref()).await;
                    older.ok_or(unknown)
                }
                found => found,
            }
        });
        let mut groups = Vec::new();
        let mut silent = Vec::new();
        for found in join_all(found).await {
            match found {
                Ok(found) => groups.extend(found.names),
                Err(Unknown::Nobody(nobody)) => return Err(nobody.into()),
                Err(unknown) => silent.push(unknown.to_string()),
            }
        }
        groups.sort();
        groups.dedup();
        Ok(Person {
            username: member.username,
            groups,
            slack,
            silent,
        })
    }

    /// Everything about this account, none of it older than `age`, however long that takes.
    pub async fn find(&self, user: &UserId, age: Duration) -> Found {
        let record = match self.records.of_slack(&self.account(user)) {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), "it can't be said who somebody is");
                return Found {
                    standing: Err("ClaimedTwice"),
                    sources: Vec::new(),
                };
            }
        };
        let since = earlier((self.clock)(), age);
        let seen = match self.seen(user, Some(since)).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "Slack doesn't say who somebody is");
                return Found {
                    standing: Err(error.reason()),
                    sources: Vec::new(),
                };
            }
        };
        let standing = self.judge(&seen, record.as_ref());
        let status = record.and_then(|record| record.status);
        let sources = match &standing {
            Ok(member) => {
                let asked = Asked {
                    user: user.clone(),
                    email: member.email.clone(),
                };
                let found = self.sources.iter().map(async |source| {
                    let source = source.as_ref();
                    let age = age.min(source.fresh_for());
                    let since = self.since(source, age, Changes::AtOnce);
                    let found = self.groups(source, &asked, status.as_ref(), since).await;
                    (source.name(), found)
                });
                join_all(found).await
            }
            Err(_) => Vec::new(),
        };
        let inactive = sources.iter().find_map(|(_, found)| match found {
            Err(Unknown::Nobody(nobody)) => Some(*nobody),
            _ => None,
        });
        match inactive {
            Some(nobody) => Found {
                standing: Ok((Err(nobody), (self.clock)())),
                sources: Vec::new(),
            },
            None => Found {
                standing: Ok((standing, seen.at)),
                sources,
            },
        }
    }

    /// Whether Slack need not be asked who this is.
    pub async fn remembers(&self, user: &UserId, age: Duration) -> bool {
        let since = earlier((self.clock)(), age);
        let seen = self.accounts.get(user).await;
        seen.is_some_and(|seen| seen.at >= since)
    }

    /// Slack says that this account changed.
    pub async fn forget(&self, user: &UserId) {
        self.accounts.invalidate(user).await;
    }

    /// What is known of this account is asked for again if it is older than `age`.
    pub async fn forget_older(&self, user: &UserId, age: Duration) {
        let seen = self.accounts.get(user).await;
        if seen.is_some_and(|seen| seen.at < earlier((self.clock)(), age)) {
            self.forget(user).await;
        }
    }

    /// Slack says that a user group changed.
    pub fn groups_changed(&self) {
        let slack = self.sources.iter();
        for source in slack.filter(|source| source.name() == groups::slack::NAME) {
            source.changed();
        }
    }

    /// Another replica may have heard that they are nobody.
    async fn forget_if_refuted(&self, user: &UserId, record: Option<&api::Person>) {
        let status = record.and_then(|record| record.status.as_ref());
        let Some(at) = status
            .filter(|status| status.nobody.is_some())
            .and_then(|status| status.checked_at.as_ref())
        else {
            return;
        };
        if self
            .accounts
            .get(user)
            .await
            .is_some_and(|seen| seen.at < at.0)
        {
            self.forget(user).await;
        }
    }

    fn judge(&self, seen: &Seen, record: Option<&api::Person>) -> Result<Member, Nobody> {
        let account = seen.account.as_ref().ok_or(Nobody::Unknown)?;
        let mapped = record.and_then(|record| record.spec.username.as_deref());
        person::judge(account, &self.home, &self.names, mapped)
    }

    async fn seen(&self, user: &UserId, since: Option<Timestamp>) -> Result<Arc<Seen>, SlackError> {
        if let Some(since) = since
            && self
                .accounts
                .get(user)
                .await
                .is_some_and(|seen| seen.at < since)
        {
            self.forget(user).await;
        }
        let asking = async {
            let at = (self.clock)();
            let account = match self.slack.account(user).await {
                Ok(account) => Some(account),
                Err(SlackError::Missing { .. }) => None,
                Err(error) => return Err(error),
            };
            Ok(Arc::new(Seen { account, at }))
        };
        self.accounts
            .try_get_with(user.clone(), asking)
            .await
            .map_err(Arc::unwrap_or_clone)
    }

    /// What the source says, or said through anybody since then.
    async fn groups(
        &self,
        source: &dyn GroupSource,
        asked: &Asked,
        status: Option<&PersonStatus>,
        since: Timestamp,
    ) -> Result<Groups, Unknown> {
        match known(source, asked, status).await {
            Some(known) if known.at >= since => Ok(known),
            _ => source.ask(asked).await,
        }
    }

    /// What is known, if that is still good for anything.
    async fn older(
        &self,
        source: &dyn GroupSource,
        asked: &Asked,
        status: Option<&PersonStatus>,
    ) -> Option<Groups> {
        let since = self.since(source, self.limit, Changes::WithGrace);
        let known = known(source, asked, status).await;
        known.filter(|groups| groups.at >= since)
    }

    /// Since when what was said is good that may be so old.
    fn since(&self, source: &dyn GroupSource, age: Duration, changes: Changes) -> Timestamp {
        let unheard = (source.changed_at(), source.lacking_since());
        good_since((self.clock)(), age, unheard, changes)
    }
}

/// Since when what was said is good, where something changed last, and first changed since it was said.
fn good_since(
    now: Timestamp,
    age: Duration,
    (last, first): (Option<Timestamp>, Option<Timestamp>),
    changes: Changes,
) -> Timestamp {
    let since = earlier(now, age);
    let moment_ago = earlier(now, GRACE);
    let is_recent = first.is_some_and(|first| first >= moment_ago);
    match last {
        Some(last) if changes == Changes::AtOnce || !is_recent => last.max(since),
        _ => since,
    }
}

/// The newest that the source said here or through any replica.
async fn known(
    source: &dyn GroupSource,
    asked: &Asked,
    status: Option<&PersonStatus>,
) -> Option<Groups> {
    // What another replica heard since makes what is remembered here worth nothing.
    let refuted = status.filter(|status| status.nobody.is_some());
    let refuted = refuted.and_then(|status| status.checked_at.as_ref());
    let said = [source.remembered(asked).await, written(source, status)];
    said.into_iter()
        .flatten()
        .filter(|groups| refuted.is_none_or(|refuted| groups.at >= refuted.0))
        .max_by_key(|groups| groups.at)
}

/// What any replica wrote down of a source's groups.
fn written(source: &dyn GroupSource, status: Option<&PersonStatus>) -> Option<Groups> {
    let mut sources = status?.sources.iter();
    let written = sources.find(|written| written.name == source.name())?;
    Some(Groups {
        names: written.groups.clone(),
        at: written.at.as_ref()?.0,
        note: written.problem.clone(),
    })
}

fn slow(source: &dyn GroupSource) -> Unknown {
    let sentence = match source.name() {
        groups::slack::NAME => "Slack doesn't say in time which user groups you are in",
        _ => "Okta doesn't say in time which groups you are in",
    };
    Unknown::for_now("timed_out", sentence)
}

fn earlier(now: Timestamp, age: Duration) -> Timestamp {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    now.saturating_sub(age).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_moment_ago_does_not_make_somebody_who_waits_a_stranger() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let minute = Duration::from_mins(1);
        let since = |lacking: Option<i64>, changes| {
            let changed = (Some(at(1000)), lacking.map(at));
            good_since(at(1001), minute, changed, changes)
        };
        assert_eq!(since(Some(1000), Changes::WithGrace), at(941));
        assert_eq!(since(Some(1000), Changes::AtOnce), at(1000));
        // Many changes one after the other don't keep it open.
        assert_eq!(since(Some(990), Changes::WithGrace), at(1000));
        // What was said since has it all.
        assert_eq!(since(None, Changes::WithGrace), at(1000));
        let unchanged = good_since(at(1001), minute, (None, None), Changes::AtOnce);
        assert_eq!(unchanged, at(941));
    }
}
