//! Keeps what is known of people fresh, as long as a request waits for their word: a `Person` for each, and in its status
//! who they are and which groups they are in. Touches Slack and Okta through [`Identity`], and the API server: creates
//! `Person`s and patches their status.
//!
//! The controller judges by what stands there, and asks neither Slack nor Okta. Several replicas may do this at once: each
//! writes only what changed or grew old, and only over what it saw.

mod metrics;
mod needed;
mod status;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, interval, timeout},
};

use self::metrics::PeopleMetrics;
use super::{directory::Directory, persist::RECEIVER};
use crate::{
    api::{
        self,
        actor::SlackPerson,
        person::{PersonSpec, PersonStatus, name_of},
    },
    identity::{Found, Identity, groups::Unknown},
    runtime::{metrics::Metrics, telemetry},
    slack::ids::UserId,
};

/// How long somebody is kept fresh after they asked for something: what they asked may be shown for so long before it is
/// confirmed.
const ATTENDED: Duration = Duration::from_mins(15);
/// People at once.
const AT_ONCE: usize = 8;
/// Between two questions for an account, beyond what people themselves ask: Slack takes a hundred a minute for all.
const PACE: Duration = Duration::from_secs(1);
/// Writes of one status, where others write too.
const TRIES: usize = 4;
/// For one call of the API server.
const DEADLINE: Duration = Duration::from_secs(10);

/// Keeps people fresh.
pub(super) struct Keeper {
    persons: Api<api::Person>,
    identity: Identity,
    directory: Arc<Directory>,
    metrics: PeopleMetrics,
    clock: fn() -> Timestamp,
    pace: Pace,
    wake: Notify,
    state: Mutex<State>,
    paced: tokio::sync::Mutex<Option<Instant>>,
}

/// When what is done.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// What is older counts as unknown.
    limit: Duration,
    /// What is older is asked for again. Replicas differ a little, so that one of them does it for all.
    age: Duration,
    /// What is older is written, even if it says the same.
    write: Duration,
    /// Between two looks at who is needed.
    look: Duration,
    /// Between two tries for one person.
    again: Duration,
}

impl Pace {
    /// `limit` is the age at which what is known counts as unknown; `draw` makes replicas differ.
    fn of(limit: Duration, draw: u8) -> Self {
        Self {
            limit,
            age: limit / 3 + limit / 12 * u32::from(draw) / 255,
            write: limit / 3,
            look: (limit / 60).clamp(Duration::from_millis(100), Duration::from_secs(10)),
            again: limit / 12,
        }
    }
}

#[derive(Default)]
struct State {
    /// Who asked for something, and when.
    attended: HashMap<SlackPerson, Timestamp>,
    /// Whom requests wait for, as of the last look.
    needed: HashSet<SlackPerson>,
    /// Of whom something changed.
    changed: HashSet<SlackPerson>,
    /// Who is being asked about.
    busy: HashSet<SlackPerson>,
    /// When each was last tried.
    tried: HashMap<SlackPerson, Instant>,
}

impl Keeper {
    /// A keeper. `limit` is the age at which what is known counts as unknown.
    pub(super) fn new(
        client: Client,
        identity: Identity,
        directory: Arc<Directory>,
        metrics: &Metrics,
        limit: Duration,
        clock: fn() -> Timestamp,
        draw: u8,
    ) -> Arc<Self> {
        let namespace = identity.records().namespace().to_owned();
        Arc::new(Self {
            persons: Api::namespaced(client, &namespace),
            identity,
            directory,
            metrics: PeopleMetrics::register(metrics),
            clock,
            pace: Pace::of(limit, draw),
            wake: Notify::new(),
            state: Mutex::default(),
            paced: tokio::sync::Mutex::default(),
        })
    }

    /// Somebody asked for something: what is known of them will be needed.
    pub(super) fn attend(&self, person: &SlackPerson) {
        let known = self.is_fresh(person);
        let mut state = self.lock();
        state.attended.insert(person.clone(), (self.clock)());
        if !known {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Slack says that an account changed. It does so for every new picture of anybody, so only who matters is looked at.
    pub(super) async fn account_changed(&self, user: &UserId) {
        self.identity.forget(user).await;
        let person = self.identity.account(user);
        let believed = self.is_believed(&person);
        let mut state = self.lock();
        if believed || state.is_kept(&person) {
            state.changed.insert(person);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Slack says that a user group changed.
    pub(super) fn groups_changed(&self) {
        if !self.identity.asks_slack_for_groups() {
            return;
        }
        self.identity.groups_changed();
        let mut state = self.lock();
        let kept: Vec<SlackPerson> = state.kept().cloned().collect();
        state.changed.extend(kept);
        drop(state);
        self.wake.notify_one();
    }

    /// Works without end.
    pub(super) async fn run(&self) -> Infallible {
        let mut look = interval(self.pace.look);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = look.tick() => self.look(),
                () = self.wake.notified() => {}
                Some(()) = running.next() => {}
            }
            for person in self.due(AT_ONCE.saturating_sub(running.len())) {
                running.push(self.refresh(person));
            }
        }
    }

    /// Looks whose word requests wait for.
    fn look(&self) {
        let now = (self.clock)();
        let needed = needed::needed(&self.directory, self.identity.home());
        let mut oldest = Some(now);
        for person in &needed {
            oldest = oldest.and_then(|oldest| self.oldest(person).map(|at| at.min(oldest)));
        }
        let age = oldest.map(|oldest| now.duration_since(oldest).as_secs_f64());
        self.metrics.stand(needed.len(), age);
        let mut state = self.lock();
        state.needed = needed;
        let since =
            now.saturating_sub(jiff::SignedDuration::try_from(ATTENDED).unwrap_or_default());
        let since = since.unwrap_or(Timestamp::MIN);
        state.attended.retain(|_, asked| *asked >= since);
        let State {
            needed,
            attended,
            tried,
            ..
        } = &mut *state;
        tried.retain(|person, _| needed.contains(person) || attended.contains_key(person));
    }

    /// The next of whom is to be asked, and from now on is: those of whom something changed, then those of whom what is
    /// known grew old, the oldest first.
    fn due(&self, most: usize) -> Vec<SlackPerson> {
        let mut state = self.lock();
        let idle = |person: &&SlackPerson| !state.busy.contains(*person);
        let changed: Vec<SlackPerson> = state.changed.iter().filter(idle).cloned().collect();
        let mut due: Vec<SlackPerson> = changed.into_iter().take(most).collect();
        if due.len() < most {
            let now = Instant::now();
            let rested = |person: &&SlackPerson| {
                let tried = state.tried.get(*person);
                tried.is_none_or(|tried| now >= *tried + self.pace.again)
            };
            let kept = state.kept().filter(idle).filter(rested);
            let mut old: Vec<(Option<Timestamp>, &SlackPerson)> = kept
                .filter(|person| !state.changed.contains(*person) && !self.is_fresh(person))
                .map(|person| (self.oldest(person), person))
                .collect();
            old.sort();
            old.dedup();
            let old = old.into_iter().take(most - due.len());
            due.extend(old.map(|(_, person)| person.clone()).collect::<Vec<_>>());
        }
        for person in &due {
            state.changed.remove(person);
            state.busy.insert(person.clone());
            state.tried.insert(person.clone(), Instant::now());
        }
        due
    }

    /// What is written down of them, unless it is of several.
    fn written(&self, person: &SlackPerson) -> Option<api::Person> {
        self.identity.records().of_slack(person).ok().flatten()
    }

    fn oldest(&self, person: &SlackPerson) -> Option<Timestamp> {
        let status = self.written(person)?.status?;
        status::oldest(&status)
    }

    /// Whether anybody goes by what is written down of them: it isn't too old.
    fn is_believed(&self, person: &SlackPerson) -> bool {
        let status = self.written(person);
        status
            .and_then(|person| person.status)
            .is_some_and(|status| !status::is_old(&status, self.pace.limit, (self.clock)()))
    }

    fn is_fresh(&self, person: &SlackPerson) -> bool {
        let status = self.written(person);
        status
            .and_then(|person| person.status)
            .is_some_and(|status| {
                let sources = self.identity.source_names();
                let all = sources
                    .filter(|name| !status.sources.iter().any(|source| source.name == *name))
                    .count()
                    == 0;
                (all || status.nobody.is_some())
                    && !status::is_old(&status, self.pace.age, (self.clock)())
            })
    }

    async fn refresh(&self, person: SlackPerson) {
        if let Ok(user) = UserId::new(person.user.as_str()) {
            let age = self.pace.age / 2;
            if !self.identity.remembers(&user, age).await {
                self.wait_for_turn().await;
            }
            let found = self.identity.find(&user, age).await;
            self.count(&found);
            if matches!(found.standing, Ok((Err(_), _))) && self.written(&person).is_none() {
                // Nothing is kept of who is nobody, so there is nothing to keep fresh.
                self.lock().attended.remove(&person);
            }
            match self.write(&person, &found).await {
                Ok(true) => self.metrics.wrote("written"),
                Ok(false) => self.metrics.wrote("unchanged"),
                Err(error) => {
                    self.metrics.wrote("failed");
                    tracing::warn!(person = %name_of(&person), error = %telemetry::chain(&error), "what is known of a person can't be written down");
                }
            }
        }
        self.lock().busy.remove(&person);
    }

    /// Some go at once; many at one time are spread out.
    async fn wait_for_turn(&self) {
        let mut paced = self.paced.lock().await;
        let now = Instant::now();
        // As many as ten may be ahead of the pace.
        let earliest = now.checked_sub(PACE * 10).unwrap_or(now);
        let turn = paced.map_or(earliest, |last| (last + PACE).max(earliest));
        *paced = Some(turn);
        drop(paced);
        tokio::time::sleep_until(turn).await;
    }

    fn count(&self, found: &Found) {
        match &found.standing {
            Ok((Ok(_member), _)) => self.metrics.answered("account", "member"),
            Ok((Err(nobody), _)) => self.metrics.answered("account", nobody.reason()),
            Err(reason) => self.metrics.answered("account", reason),
        }
        for (source, said) in &found.sources {
            let outcome = said.as_ref().map_or_else(Unknown::reason, |_| "ok");
            self.metrics.answered(source, outcome);
        }
    }

    /// Writes what was found out, if it has to be; makes the `Person` first where there is none.
    async fn write(&self, person: &SlackPerson, found: &Found) -> Result<bool, kube::Error> {
        let Ok(mut record) = self.identity.records().of_slack(person) else {
            // Whoever wrote the second has to mend it; nothing new is believed of either.
            return Ok(false);
        };
        for _ in 0..TRIES {
            let current = match record.take() {
                Some(current) => current,
                // Nothing is kept of who asks for the first time and is nobody.
                None if !self.is_worth_a_record(person, found) => return Ok(false),
                None => self.create(person).await?,
            };
            let now = (self.clock)();
            let Some(next) = status::next(current.status.as_ref(), found, self.pace.write, now)
            else {
                return Ok(false);
            };
            match self.patch(&current, &next).await {
                Ok(()) => return Ok(true),
                // Somebody wrote meanwhile: what they wrote is looked at first.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    let name = current.name_any();
                    record = within(self.persons.get_opt(&name)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn is_worth_a_record(&self, person: &SlackPerson, found: &Found) -> bool {
        matches!(found.standing, Ok((Ok(_), _))) || self.lock().needed.contains(person)
    }

    /// The `Person` of that name; made with an empty spec if there is none.
    async fn create(&self, person: &SlackPerson) -> Result<api::Person, kube::Error> {
        let new = api::Person::new(&name_of(person), PersonSpec::default());
        let parameters = PostParams {
            field_manager: Some(RECEIVER.to_owned()),
            ..PostParams::default()
        };
        match within(self.persons.create(&parameters, &new)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                within(self.persons.get(&name_of(person))).await
            }
            created => created,
        }
    }

    async fn patch(&self, current: &api::Person, next: &PersonStatus) -> Result<(), kube::Error> {
        let patch = json!({
            "metadata": {
                "uid": current.metadata.uid, "resourceVersion": current.metadata.resource_version,
            },
            // Of a merge patch, what isn't said stays: so what is to go is said.
            "status": {
                "username": next.username, "nobody": next.nobody, "checkedAt": next.checked_at,
                "sources": next.sources,
            },
        });
        let parameters = PatchParams::apply(RECEIVER);
        let name = current.name_any();
        let patch = Patch::Merge(&patch);
        within(self.persons.patch_status(&name, &parameters, &patch))
            .await
            .map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who is kept fresh.
    fn kept(&self) -> impl Iterator<Item = &SlackPerson> {
        self.needed.iter().chain(self.attended.keys())
    }

    fn is_kept(&self, person: &SlackPerson) -> bool {
        self.needed.contains(person) || self.attended.contains_key(person)
    }
}

async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    timeout(DEADLINE, call)
        .await
        .unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
