//! What is written down of people: the `Person`s in foredeck's own namespace. Touches the API server: a list and a watch.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use futures::{StreamExt, stream::BoxStream};
use kube::{Client, ResourceExt, runtime::reflector::store::WriterDropped};

use crate::{
    api::{
        Person,
        actor::{Actor, SlackPerson},
        person::name_of,
    },
    domain::people::{self, People},
    runtime::{
        cache::{Cache, Guarded, Scope},
        watches::Watches,
    },
};

/// Several `Person`s claim one Slack account; says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("which user this Slack account is can't be said: {0}")]
pub struct ClaimedTwice(String);

/// The `Person`s. Only those of one namespace count: anywhere else anybody may write one.
pub struct Records {
    namespace: String,
    persons: Cache<Person>,
    /// Which of them say whose Slack account they are of.
    mapped: RwLock<HashMap<SlackPerson, BTreeSet<String>>>,
}

impl Records {
    /// Starts the watch. The records are filled, and kept so, only while the second value is polled, which ends when the
    /// watch does.
    pub fn start(
        client: Client,
        namespace: &str,
        watches: &Watches,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let scope = Scope::Namespace(namespace.to_owned());
        let (persons, changes) = Cache::start(client, &scope, watches, |_person| {});
        let records = Arc::new(Self {
            namespace: namespace.to_owned(),
            persons,
            mapped: RwLock::default(),
        });
        let watching = watch(records.clone(), changes.boxed());
        (records, watching)
    }

    /// Waits until all of them were listed.
    ///
    /// # Errors
    /// When the watch has ended.
    pub async fn filled(&self) -> Result<(), WriterDropped> {
        self.persons.0.wait_until_ready().await
    }

    /// The namespace in which they count.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The `Person` of a Slack account: the one whose `spec.slack` it is, else the one that is named after it.
    ///
    /// # Errors
    /// When several say that it is theirs: none of them is believed.
    pub fn of_slack(&self, account: &SlackPerson) -> Result<Option<Person>, ClaimedTwice> {
        let mapped = self.mapped.read().unwrap_or_else(PoisonError::into_inner);
        let names = mapped.get(account).into_iter().flatten();
        let is_theirs = |person: &Person| person.spec.slack.as_ref() == Some(account);
        let mut claimants = names
            .filter_map(|name| self.persons.get(&self.namespace, name))
            .filter(is_theirs);
        match (claimants.next(), claimants.next()) {
            (Some(one), Some(other)) => Err(ClaimedTwice(people::claimed_twice(
                &one.name_any(),
                &other.name_any(),
            ))),
            (Some(one), None) => Ok(Some(one)),
            (None, _) => {
                let person = self.persons.get(&self.namespace, &name_of(account));
                Ok(person.filter(|person| person.spec.slack.is_none() || is_theirs(person)))
            }
        }
    }

    /// Whether both are one human, by everybody who is written down. Takes a moment where there are thousands.
    pub fn same_human(&self, one: &Actor, other: &Actor) -> bool {
        self.people().same_human(one, other)
    }

    /// Whether both are one human beyond doubt: by one account, one user name, or one `Person`. Takes as long.
    pub fn certainly_same(&self, one: &Actor, other: &Actor) -> bool {
        self.people().certainly_same(one, other)
    }

    fn people(&self) -> People {
        let all = self.persons.0.state();
        let all = all.iter().filter_map(|person| person.0.as_ref().ok());
        People::new(&self.namespace, all.cloned().map(Arc::new))
    }

    /// Notes whose account a changed `Person` is of. One that was deleted stays noted: it isn't found when it is looked up.
    fn note(&self, object: &Guarded<Person>) {
        let name = object.name_any();
        let now = object.0.as_ref().ok();
        let now = now.and_then(|person| person.spec.slack.clone());
        let mut mapped = self.mapped.write().unwrap_or_else(PoisonError::into_inner);
        mapped.retain(|account, names| {
            if now.as_ref() != Some(account) {
                names.remove(&name);
            }
            !names.is_empty()
        });
        if let Some(account) = now {
            mapped.entry(account).or_default().insert(name);
        }
    }
}

async fn watch(records: Arc<Records>, changes: BoxStream<'static, Arc<Guarded<Person>>>) {
    let noted = changes.for_each(|object| {
        records.note(&object);
        std::future::ready(())
    });
    noted.await;
}
