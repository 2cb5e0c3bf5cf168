//! Which accounts and user names are one human, and as whom somebody is judged now. Touches nothing.
//!
//! User names compare without regard to ASCII case: identity providers disagree about it, and one human must not become
//! two by it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    access::{Subject, is_system},
    backoff,
    moments::{about, span},
    refusal::Refusal,
};
use crate::api::{
    Person,
    actor::{Actor, SlackPerson},
    conditions::Reason,
    deploy_request::WaitingFor,
    person::{PersonStatus, name_of},
};

/// How old what is known of somebody may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of somebody in Slack: what their `Person` says.
    pub groups: Duration,
    /// Of everybody else: the groups that were stamped.
    pub stamped: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            groups: Duration::from_mins(10),
            stamped: Duration::from_hours(24),
        }
    }
}

/// Why an account is nobody, as `Person.status.nobody` says it, where only another account helps. Whatever else it says may
/// be somebody's mistake, such as a setting or a scope: nobody may anything meanwhile, and nothing is lost by waiting.
const LASTING: [&str; 5] = ["Deactivated", "Bot", "Guest", "Stranger", "SuspendedInOkta"];

/// Whether an account that is nobody for this reason stays so.
pub fn is_lasting(nobody: &str) -> bool {
    LASTING.contains(&nobody)
}

/// Something that a human is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Mark {
    Slack(SlackPerson),
    /// In lower case.
    Username(String),
}

impl Mark {
    fn username(name: &str) -> Self {
        Self::Username(name.to_ascii_lowercase())
    }
}

/// Everybody whom foredeck knows.
///
/// It takes a moment to make for many thousands, so make it when a `Person` changes and not for each question.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// By the account that `spec.slack` names. More than one is a mistake, and none of them is believed then.
    mapped: HashMap<SlackPerson, Vec<Arc<Person>>>,
    /// By the account after which they are named, of those that name none.
    named: HashMap<SlackPerson, Arc<Person>>,
    /// By every user name that they claim.
    usernames: HashMap<Mark, Vec<Arc<Person>>>,
    /// Which human each mark belongs to: marks that any chain of `Person`s connects have one number.
    humans: HashMap<Mark, usize>,
}

impl People {
    /// Of these, those in `namespace`: a `Person` anywhere else is somebody's claim about themselves.
    pub fn new(namespace: &str, persons: impl IntoIterator<Item = Arc<Person>>) -> Self {
        let mut persons: Vec<Arc<Person>> = persons
            .into_iter()
            .filter(|person| person.metadata.namespace.as_deref() == Some(namespace))
            .collect();
        persons.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        let mut people = Self::default();
        let mut joined = Joined::default();
        for person in persons {
            let account = account(&person);
            let names = usernames(&person).map(Mark::username);
            let marks: Vec<Mark> = account
                .clone()
                .map(Mark::Slack)
                .into_iter()
                .chain(names)
                .collect();
            joined.join(&marks);
            for mark in marks
                .into_iter()
                .filter(|mark| matches!(mark, Mark::Username(_)))
            {
                let claimants = people.usernames.entry(mark).or_default();
                if !claimants.iter().any(|known| Arc::ptr_eq(known, &person)) {
                    claimants.push(Arc::clone(&person));
                }
            }
            match account {
                Some(account) if person.spec.slack.is_some() => {
                    people.mapped.entry(account).or_default().push(person);
                }
                Some(account) => {
                    people.named.insert(account, person);
                }
                None => {}
            }
        }
        people.humans = joined.humans();
        people
    }

    /// The `Person` of a Slack account: the one whose `spec.slack` it is, else the one that is named after it.
    pub fn of_slack(&self, account: &SlackPerson) -> Option<&Person> {
        self.mapped
            .get(account)
            .and_then(|all| all.first())
            .or_else(|| self.named.get(account))
            .map(AsRef::as_ref)
    }

    /// Every `Person` that claims a user name, in `spec.username`, `spec.usernames` or `status.username`; by name.
    pub fn of_username(&self, username: &str) -> impl Iterator<Item = &Person> {
        self.usernames
            .get(&Mark::username(username))
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
    }

    /// Whether both are one human: by one Slack account, by one user name, or by any chain of `Person`s that connects
    /// theirs. When two `Person`s claim one name, everybody whom either of them names is one human: what must not be
    /// done by one human alone isn't, then.
    pub fn same_human(&self, one: &Actor, other: &Actor) -> bool {
        let theirs = marks(other);
        marks(one).iter().any(|mark| {
            theirs.iter().any(|their| {
                mark == their
                    || self
                        .humans
                        .get(mark)
                        .is_some_and(|human| self.humans.get(their) == Some(human))
            })
        })
    }

    /// Whether both are one human beyond doubt: by one Slack account, by one user name, or by one `Person` that holds both.
    /// No chain of `Person`s counts, nor one of several that claim an account: this gives somebody a right, where
    /// [`Self::same_human`] takes one away.
    pub fn certainly_same(&self, one: &Actor, other: &Actor) -> bool {
        let theirs = marks(other);
        marks(one).iter().any(|mark| {
            theirs.contains(mark)
                || self
                    .holders(mark)
                    .any(|person| theirs.iter().any(|their| self.holds(person, their)))
        })
    }

    fn holders(&self, mark: &Mark) -> impl Iterator<Item = &Person> {
        let named = self.usernames.get(mark).into_iter().flatten();
        let account = match mark {
            Mark::Slack(account) => self.sole(account),
            Mark::Username(_) => None,
        };
        named.map(AsRef::as_ref).chain(account)
    }

    fn holds(&self, person: &Person, mark: &Mark) -> bool {
        self.holders(mark)
            .any(|holder| holder.metadata.name == person.metadata.name)
    }

    /// The `Person` of a Slack account, unless several say that it is theirs.
    fn sole(&self, account: &SlackPerson) -> Option<&Person> {
        let claimants = self.mapped.get(account).map_or(0, Vec::len);
        self.of_slack(account).filter(|_| claimants < 2)
    }

    /// As whom a person is judged now. `stamped_at` is when the actor was stamped.
    ///
    /// Somebody in Slack has the groups that their `Person` has now; everybody else those that were stamped, for a time.
    /// Who is a `system:` user is nobody here; [`access::subject`](super::access::subject) knows automation.
    ///
    /// # Errors
    /// Without `waiting_for` they are nobody, or were stamped too long ago; with it that can't be said now.
    pub fn subject(
        &self,
        actor: &Actor,
        stamped_at: Timestamp,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Subject, Refusal> {
        let username = actor.username.as_str();
        if username.is_empty() || is_system(username) {
            return Err(Refusal::permanent(
                Reason::Nobody,
                format!("`{username}` is no person, so this is not theirs to do; a person has to."),
            ));
        }
        match &actor.slack {
            Some(account) => self.in_slack(username, account, limits.groups, now),
            None => stamped(actor, stamped_at, limits.stamped, now),
        }
    }

    fn in_slack(
        &self,
        username: &str,
        account: &SlackPerson,
        limit: Duration,
        now: Timestamp,
    ) -> Result<Subject, Refusal> {
        if let Some([one, other, ..]) = self.mapped.get(account).map(Vec::as_slice) {
            let name = |person: &Person| person.metadata.name.clone().unwrap_or_default();
            let both = claimed_twice(&name(one), &name(other));
            let message =
                format!("which user the Slack account of `{username}` is can't be said: {both}.");
            let (whose, reason) = (WaitingFor::Configuration, Reason::GroupsUnknown);
            return Err(Refusal::passing(whose, reason, message));
        }
        let status = self
            .of_slack(account)
            .and_then(|person| person.status.as_ref())
            .ok_or_else(|| {
                unknown(format!(
                    "nothing is known yet of `{username}` and their groups; the receiver finds that out within a minute."
                ))
            })?;
        if let Some(nobody) = &status.nobody {
            return Err(nobody_now(username, nobody));
        }
        let own = status.username.as_deref().ok_or_else(|| {
            unknown(format!(
                "it is not known yet which user the Slack account of `{username}` is; the receiver finds that out within a minute."
            ))
        })?;
        if !own.eq_ignore_ascii_case(username) {
            return Err(Refusal::permanent(
                Reason::Nobody,
                format!(
                    "the Slack account of `{username}` is another user now, `{own}`; ask again under that name."
                ),
            ));
        }
        Ok(Subject {
            username: username.to_owned(),
            groups: groups(username, status, limit, now)?,
        })
    }
}

fn nobody_now(username: &str, nobody: &str) -> Refusal {
    if is_lasting(nobody) {
        return Refusal::permanent(
            Reason::Nobody,
            format!("the Slack account of `{username}` may do nothing: {nobody}."),
        );
    }
    Refusal::passing(
        WaitingFor::Authorization,
        Reason::Nobody,
        format!(
            "the Slack account of `{username}` may do nothing as long as this is said of it: {nobody}. Who runs Foredeck can tell what has to be mended; it goes on within minutes of that."
        ),
    )
}

/// The groups of somebody in Slack, if every source has told them lately.
fn groups(
    username: &str,
    status: &PersonStatus,
    limit: Duration,
    now: Timestamp,
) -> Result<Vec<String>, Refusal> {
    if !fresh(status.checked_at.as_ref(), limit, now) {
        return Err(unknown(format!(
            "Slack has not said {} who `{username}` is; it goes on once the receiver has asked again.",
            lately(limit)
        )));
    }
    let mut groups = Vec::new();
    for source in &status.sources {
        if !fresh(source.at.as_ref(), limit, now) {
            let problem = source
                .problem
                .as_deref()
                .map(|problem| format!(" ({})", problem.trim_end_matches('.')))
                .unwrap_or_default();
            return Err(unknown(format!(
                "{:?} has not told {} which groups `{username}` is in{problem}; it goes on once that answers.",
                source.name,
                lately(limit)
            )));
        }
        // No source outside the cluster hands out the groups that the cluster itself keeps.
        groups.extend(
            source
                .groups
                .iter()
                .filter(|group| !is_system(group))
                .cloned(),
        );
    }
    groups.sort();
    groups.dedup();
    Ok(groups)
}

/// As whom an actor is judged by what was stamped, for so long.
pub(super) fn stamped(
    actor: &Actor,
    stamped_at: Timestamp,
    limit: Duration,
    now: Timestamp,
) -> Result<Subject, Refusal> {
    let age = backoff::elapsed(stamped_at, now);
    if age > limit {
        return Err(Refusal::permanent(
            Reason::IdentityStale,
            format!(
                "which groups `{}` is in was last known {} ago, when this was written, and counts for {}; ask again.",
                actor.username,
                about(age),
                span(limit)
            ),
        ));
    }
    Ok(Subject {
        username: actor.username.clone(),
        groups: actor.groups.clone(),
    })
}

/// Whether `at` is no further from now than `limit`. A time that is as far ahead is no better than one as old: else
/// whoever writes it once would never have to again.
fn fresh(at: Option<&Time>, limit: Duration, now: Timestamp) -> bool {
    at.is_some_and(|at| {
        backoff::elapsed(at.0, now) <= limit && backoff::elapsed(now, at.0) <= limit
    })
}

fn lately(limit: Duration) -> String {
    format!("within {}", span(limit))
}

/// What is said where two `Person`s claim one Slack account: neither is believed.
pub fn claimed_twice(one: &str, other: &str) -> String {
    format!(
        "the Persons {one:?} and {other:?} both say that it is theirs; the platform team has to correct spec.slack of one"
    )
}

fn unknown(message: String) -> Refusal {
    Refusal::passing(WaitingFor::Authorization, Reason::GroupsUnknown, message)
}

/// The Slack account that a `Person` is of: its own word, else its name.
fn account(person: &Person) -> Option<SlackPerson> {
    if let Some(account) = &person.spec.slack {
        return Some(account.clone());
    }
    let name = person.metadata.name.as_deref()?;
    let (team, user) = name.strip_prefix("slack-")?.split_once('-')?;
    let account = SlackPerson {
        team: team.to_ascii_uppercase(),
        user: user.to_ascii_uppercase(),
    };
    (name_of(&account) == name).then_some(account)
}

fn usernames(person: &Person) -> impl Iterator<Item = &str> {
    let told = person
        .status
        .as_ref()
        .and_then(|status| status.username.as_deref());
    person
        .spec
        .username
        .as_deref()
        .into_iter()
        .chain(told)
        .chain(person.spec.usernames.iter().map(String::as_str))
        .filter(|name| !name.is_empty())
}

fn marks(actor: &Actor) -> Vec<Mark> {
    let username = (!actor.username.is_empty()).then(|| Mark::username(&actor.username));
    let account = actor.slack.clone().map(Mark::Slack);
    username.into_iter().chain(account).collect()
}

/// Sets of marks that are joined where they have one in common.
#[derive(Default)]
struct Joined {
    numbers: HashMap<Mark, usize>,
    /// Each number's parent; its own where it stands for its set.
    parents: Vec<usize>,
}

impl Joined {
    fn join(&mut self, marks: &[Mark]) {
        let mut first = None;
        for mark in marks {
            let next = self.parents.len();
            let number = *self.numbers.entry(mark.clone()).or_insert(next);
            if number == next {
                self.parents.push(next);
            }
            let root = self.root(number);
            let first = *first.get_or_insert(root);
            let into = self.root(first);
            self.parents[root] = into;
        }
    }

    fn root(&mut self, mut number: usize) -> usize {
        while self.parents[number] != number {
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    fn humans(mut self) -> HashMap<Mark, usize> {
        let numbers = std::mem::take(&mut self.numbers);
        numbers
            .into_iter()
            .map(|(mark, number)| (mark, self.root(number)))
            .collect()
    }
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
