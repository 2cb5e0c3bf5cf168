//! What a person may see. Touches the API server through [`Access`]; all else comes from the directory.
//!
//! Whatever an answer names goes through a [`Sight`], so that what somebody may not see is answered as if it were absent.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use kube::{Resource, ResourceExt};

use super::{
    directory::{Directory, Held},
    team,
};
use crate::{
    access::{Access, AccessError},
    api::{Application, DeployRequest, DeployTarget, Environment},
    identity::Person,
    receiver::grammar::Vocabulary,
    runtime::cache::Guarded,
    slack::ids::ChannelId,
};

/// Reviews under way at once for one sight. Their answers are remembered, so this is the cost of the first.
const AT_ONCE: usize = 16;

/// What one person may see.
#[derive(Clone)]
pub(super) struct Sight {
    /// Who.
    pub(super) person: Person,
    namespaces: Arc<HashSet<String>>,
    directory: Arc<Directory>,
}

impl Sight {
    /// Asks for each team whether this person may see it. A team that the API server says nothing of is unseen, as long
    /// as it says something of another.
    pub(super) async fn of(
        person: Person,
        access: &Access,
        directory: &Arc<Directory>,
    ) -> Result<Self, AccessError> {
        let teams: BTreeSet<String> = directory
            .pick(|application: &Application| application.namespace())
            .into_iter()
            .collect();
        let subject = &person.subject();
        let answers: Vec<_> = stream::iter(teams)
            .map(|team| async move { (access.sees(subject, &team).await, team) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let is_silent = answers.iter().all(|(answer, _)| answer.is_err());
        let mut namespaces = HashSet::new();
        for (answer, team) in answers {
            match answer {
                Ok(true) => drop(namespaces.insert(team)),
                Ok(false) => {}
                Err(error) if is_silent => return Err(error),
                Err(_unknown) => {}
            }
        }
        Ok(Self {
            namespaces: Arc::new(namespaces),
            directory: directory.clone(),
            person,
        })
    }

    /// Whether they may see this team.
    pub(super) fn sees(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// Whether they may see no team at all.
    pub(super) fn is_blind(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Whether they may see more than one team, so that a bare name may not be enough.
    pub(super) fn sees_several(&self) -> bool {
        self.namespaces.len() > 1
    }

    /// The object, if it exists and may be seen.
    pub(super) fn get<K: Held>(&self, namespace: &str, name: &str) -> Option<K> {
        self.sees(namespace)
            .then(|| self.directory.get(namespace, name))
            .flatten()
    }

    /// Every object that may be seen and that `wanted` wants, shared and not copied, in no order.
    pub(super) fn those<K: Held>(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<Guarded<K>>> {
        self.directory.those(|object: &K| {
            let namespace = object.meta().namespace.as_deref().unwrap_or_default();
            self.sees(namespace) && wanted(object)
        })
    }

    /// What `pick` picks of what may be seen, in no order.
    pub(super) fn pick<K: Held, T>(&self, pick: impl Fn(&K) -> Option<T>) -> Vec<T> {
        self.directory.pick(|object: &K| {
            let namespace = object.meta().namespace.as_deref().unwrap_or_default();
            self.sees(namespace).then(|| pick(object)).flatten()
        })
    }

    /// The environments of a team, sorted.
    pub(super) fn environments(&self, namespace: &str) -> Vec<String> {
        let mut names = self.pick(|environment: &Environment| {
            let here = environment.metadata.namespace.as_deref() == Some(namespace);
            here.then(|| environment.name_any())
        });
        names.sort();
        names
    }

    /// The words that mean something to this person, beside the command's own name.
    pub(super) fn vocabulary(&self, channel: Option<&ChannelId>, command: &str) -> Vocabulary {
        self.look(channel, false, |team| {
            team.vocabulary().with_command(command)
        })
    }

    /// What this person's words mean in this channel. Targets and requests are looked at only where `history` says so:
    /// there may be many.
    pub(super) fn look<T>(
        &self,
        channel: Option<&ChannelId>,
        history: bool,
        ask: impl FnOnce(&team::Sight<'_>) -> T,
    ) -> T {
        let channel = channel.map(ChannelId::as_str).unwrap_or_default();
        let applications = self.directory.all::<Application>();
        let environments = self.directory.all::<Environment>();
        let (targets, requests) = if history {
            (
                self.directory.all::<DeployTarget>(),
                self.directory.all::<DeployRequest>(),
            )
        } else {
            (Vec::new(), Vec::new())
        };
        let visible = self.namespaces.iter().cloned().collect();
        let sight = team::Sight::new(visible, channel)
            .with_applications(decoded(&applications))
            .with_environments(decoded(&environments))
            .with_targets(decoded(&targets))
            .with_requests(decoded(&requests));
        ask(&sight)
    }
}

/// Those that decode.
pub(super) fn decoded<K: Resource<DynamicType = ()> + Clone + 'static>(
    all: &[Arc<Guarded<K>>],
) -> impl Iterator<Item = &K> {
    all.iter().filter_map(|object| object.0.as_ref().ok())
}
