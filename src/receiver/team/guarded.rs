//! What of what somebody may see a lock is on, and what a question about gates is about. Touches nothing.

use kube::ResourceExt;

use super::{Absent, AbsentKind, Found, Sight, near};
use crate::{
    api::{Application, Environment},
    receiver::grammar::LockWhat,
};

/// What is to be locked or unlocked.
#[derive(Debug, Clone, PartialEq)]
pub enum Lockable<'a> {
    /// This environment as a whole.
    Environment(&'a Environment),
    /// This application in this environment.
    Target(&'a Application, &'a Environment),
    /// Several teams have such an environment: the person has to pick.
    Environments(Vec<&'a Environment>),
    /// Several teams have such an application: the person has to pick.
    Applications(Vec<&'a Application>),
    /// There is nothing of the kind.
    Absent(Absent),
}

impl<'a> Sight<'a> {
    /// What a lock is on.
    pub fn lockable(&self, what: &LockWhat) -> Lockable<'a> {
        match what {
            LockWhat::Environment { team, name } => self.whole(team.as_deref(), name),
            LockWhat::Target {
                application,
                environment,
                ..
            } => match self.application(application) {
                Found::Several(several) => Lockable::Applications(several),
                Found::Absent(absent) => Lockable::Absent(absent),
                Found::One(application) => match self.environment_of(application, environment) {
                    Ok(environment) => Lockable::Target(application, environment),
                    Err(absent) => Lockable::Absent(absent),
                },
            },
        }
    }

    /// An environment as a whole: of the named team, else of this channel's, else the only one of that name.
    fn whole(&self, team: Option<&str>, name: &str) -> Lockable<'a> {
        let here = self.teams_here();
        let of = |wanted: &dyn Fn(&str) -> bool| -> Vec<&'a Environment> {
            let named = self.environments.iter().copied().filter(|environment| {
                let namespace = environment.metadata.namespace.as_deref();
                environment.metadata.name.as_deref() == Some(name) && namespace.is_some_and(wanted)
            });
            named.collect()
        };
        let all = of(&|namespace| team.is_none_or(|team| team == namespace));
        let own = match team {
            Some(_) => Vec::new(),
            None => of(&|namespace| here.contains(namespace)),
        };
        let meant = if own.is_empty() { all } else { own };
        match meant.as_slice() {
            [] => Lockable::Absent(Absent {
                kind: AbsentKind::Environment,
                name: name.to_owned(),
                near: near(name, self.environments.iter().map(|one| one.name_any())),
            }),
            [one] => Lockable::Environment(one),
            _ => Lockable::Environments(meant),
        }
    }
}
