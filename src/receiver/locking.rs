//! Somebody keeps what from starting, or lifts that again. Touches the API server.
//!
//! Who may is asked before anything is read of it. What is changed is read anew, and written only as it was read: of two
//! people who lock at once one is first, and the other is told who.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{
    Receiver,
    answer::{locking as answer, reading},
    changing::{self, Shared, Unread, Written},
    conversation::{FRESH, silent, time},
    grammar::{self, LockWhat, Until},
    locks::{Lifted, Set, Spot, SpotTarget, Standing, Taken},
    occasion::{Answer, Occasion, Trouble},
    sight::Sight,
    team::Lockable,
    why,
};
use crate::{
    access::{Missing, Permission},
    api::{
        DeployTarget, Environment,
        actor::Actor,
        bounds,
        conditions::{self, ConditionType},
        deploy_target::DeployTargetSpec,
        lock::{Hold, Lock},
    },
    domain::{
        access::{LOCK, OVERRIDE},
        guards::lock,
        resolve,
    },
};

/// How much later `2h` ends when it is delivered again, at most, in seconds: where nobody knows when it was said, it counts
/// from when it was read.
const SAME: i64 = 30;

/// A kind that is locked.
trait Locked: Shared {
    fn lock(&self) -> Option<&Lock>;
    fn conditions(&self) -> Option<&[Condition]>;
    fn hold(&self) -> Option<&Hold>;
}

impl Locked for Environment {
    fn lock(&self) -> Option<&Lock> {
        self.spec.lock.as_ref()
    }

    fn conditions(&self) -> Option<&[Condition]> {
        Some(self.status.as_ref()?.conditions.as_slice())
    }

    fn hold(&self) -> Option<&Hold> {
        None
    }
}

impl Locked for DeployTarget {
    fn lock(&self) -> Option<&Lock> {
        self.spec.lock.as_ref()
    }

    fn conditions(&self) -> Option<&[Condition]> {
        Some(self.status.as_ref()?.conditions.as_slice())
    }

    fn hold(&self) -> Option<&Hold> {
        lock::held(self)
    }
}

impl Receiver {
    /// Somebody wants that nothing starts there.
    pub(super) async fn lock(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        asked: &grammar::Lock,
    ) -> Result<Answer, Trouble> {
        self.just_said(occasion)?;
        let spot = find(occasion, sight, &asked.what).map_err(Trouble::Told)?;
        if let Permission::Refused(missing) = self.permission(sight, &spot, LOCK).await? {
            let text = answer::not_allowed(&sight.person, &spot, &missing);
            return Err(Trouble::Told(text));
        }
        let now = self.now();
        let said = occasion.said.as_ref().and_then(time).unwrap_or(now);
        let until = match asked.until {
            None => None,
            // The same however often it is delivered.
            Some(Until::For(length)) => Some(said.min(now).checked_add(length)),
            Some(Until::At(at)) => Some(Ok(at)),
        };
        let until = until
            .transpose()
            .map_err(|_| Trouble::Told(answer::too_long()))?;
        if until.is_some_and(|until| until.as_second() > bounds::LAST_SECOND) {
            return Err(Trouble::Told(answer::too_long()));
        }
        let until = until.map(|until| Timestamp::from_second(until.as_second()).unwrap_or(until));
        if let Some(until) = until.filter(|until| *until <= now) {
            return Err(Trouble::Told(answer::over(&spot, until)));
        }
        let lock = Lock {
            reason: asked.reason.clone(),
            until: until.map(Time),
            by: Some(sight.person.actor()),
        };
        let namespace = &spot.namespace;
        let set = match &spot.target {
            None => {
                let api: Api<Environment> = Api::namespaced(self.client.clone(), namespace);
                let name = spot.environment.name_any();
                self.set(occasion, &api, &name, &lock, None).await?
            }
            Some(target) => {
                let api: Api<DeployTarget> = Api::namespaced(self.client.clone(), namespace);
                let wanted = wanted(&spot, target, &lock);
                self.set(occasion, &api, &target.name, &lock, Some(&wanted))
                    .await?
            }
        };
        if occasion.comes_again && matches!(set, Set::Unknown) {
            return Err(Trouble::Late);
        }
        let command = &self.settings.command;
        Ok(Answer::Say(answer::set(&spot, &lock, &set, command)))
    }

    /// Somebody wants that it goes on there.
    pub(super) async fn unlock(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        what: &LockWhat,
    ) -> Result<Answer, Trouble> {
        self.just_said(occasion)?;
        let spot = find(occasion, sight, what).map_err(Trouble::Told)?;
        let namespace = &spot.namespace;
        let lifted = match &spot.target {
            None => {
                let api: Api<Environment> = Api::namespaced(self.client.clone(), namespace);
                let name = spot.environment.name_any();
                self.lift(occasion, sight, &spot, &api, &name).await?
            }
            Some(target) => {
                let api: Api<DeployTarget> = Api::namespaced(self.client.clone(), namespace);
                self.lift(occasion, sight, &spot, &api, &target.name)
                    .await?
            }
        };
        if occasion.comes_again && matches!(lifted, Lifted::Unknown) {
            return Err(Trouble::Late);
        }
        let still = self.still_closed(occasion, &spot).await;
        let waiting = why::waiting(sight, &spot);
        Ok(Answer::Say(answer::lifted(
            &sight.person,
            &spot,
            &lifted,
            (&still, &waiting),
            &self.settings.command,
        )))
    }

    /// What is delivered late does nothing: whoever said it may have done something else since.
    pub(super) fn just_said(&self, occasion: &Occasion) -> Result<(), Trouble> {
        let said = occasion.said.as_ref().and_then(time);
        match said.filter(|said| self.now().duration_since(*said) > FRESH) {
            Some(said) => Err(Trouble::Told(answer::said_long_ago(said))),
            None => Ok(()),
        }
    }

    async fn permission(
        &self,
        sight: &Sight,
        spot: &Spot,
        verb: &str,
    ) -> Result<Permission, Trouble> {
        let (subject, namespace) = (sight.person.subject(), &spot.namespace);
        let environment = spot.environment.name_any();
        let permission = match &spot.target {
            None => {
                let environment = ("environments", environment.as_str());
                self.access
                    .may_alone(&subject, verb, namespace, environment)
                    .await
            }
            Some(target) => {
                let application = &target.application;
                self.access
                    .may(&subject, verb, namespace, application, &environment)
                    .await
            }
        };
        permission.map_err(|error| silent(&error))
    }

    /// Locks it, unless somebody else has. `absent` is created where there is nothing of that name.
    async fn set<K: Locked>(
        &self,
        occasion: &Occasion,
        api: &Api<K>,
        name: &str,
        lock: &Lock,
        absent: Option<&K>,
    ) -> Result<Set, Trouble> {
        let deadline = occasion.persist_by();
        let mut attempted = false;
        let mut changed = false;
        loop {
            let found = match changing::read(api, name, deadline).await {
                Ok(found) => found,
                Err(Unread::Refused(message)) => return Ok(Set::Refused(message)),
                Err(Unread::Undecodable(_) | Unread::Silent) if attempted => {
                    return Ok(Set::Unknown);
                }
                Err(Unread::Undecodable(why)) => return Ok(Set::Unreadable(why)),
                Err(Unread::Silent) => return Err(Trouble::Late),
            };
            let written = match (&found, absent) {
                (None, None) => return Ok(Set::Gone),
                (None, Some(wanted)) => changing::create(api, wanted, deadline).await,
                (Some(found), _) => {
                    match lock::in_force(found.lock(), self.now()) {
                        Some(there) if !self.is_own(there.by.as_ref(), lock.by.as_ref()) => {
                            return Ok(Set::Taken(taken(found, there)));
                        }
                        // Written by a try whose answer is lost.
                        Some(there) if is_same(there, lock) && attempted => {
                            return Ok(Set::Done { changed });
                        }
                        Some(there) if is_same(there, lock) => {
                            return Ok(Set::Stands(there.clone()));
                        }
                        there => changed = there.is_some(),
                    }
                    let spec = json!({"lock": whole(lock)});
                    changing::change(api, found, &spec, deadline).await
                }
            };
            match written {
                Written::Done(_) => return Ok(Set::Done { changed }),
                Written::Refused(message) => return Ok(Set::Refused(message)),
                Written::Lost => {}
                Written::Look => attempted = true,
            }
        }
    }

    /// Lifts what this person may lift.
    async fn lift<K: Locked>(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        spot: &Spot,
        api: &Api<K>,
        name: &str,
    ) -> Result<Lifted, Trouble> {
        let deadline = occasion.persist_by();
        // What was found to lift, and whether a write may have lifted it whose answer is lost.
        let mut meant: Option<Standing> = None;
        let mut attempted = false;
        loop {
            let found = match changing::read(api, name, deadline).await {
                Ok(found) => found,
                Err(Unread::Refused(message)) => return Ok(Lifted::Refused(message)),
                Err(Unread::Undecodable(_) | Unread::Silent) if attempted => {
                    return Ok(Lifted::Unknown);
                }
                Err(Unread::Undecodable(why)) => return Ok(Lifted::Unreadable(why)),
                Err(Unread::Silent) => return Err(Trouble::Late),
            };
            let (mut lifted, mut left) = (Standing::default(), Standing::default());
            let missing = match &found {
                Some(found) => {
                    self.sort(sight, spot, found, &mut lifted, &mut left)
                        .await?
                }
                None => Vec::new(),
            };
            let Some(found) = found.filter(|_| !lifted.is_nothing()) else {
                return Ok(match meant {
                    Some(lifted) if attempted => Lifted::done(lifted, left),
                    _ if left.is_nothing() => Lifted::Nothing,
                    _ => Lifted::NotAllowed {
                        left: Box::new(left),
                        missing,
                    },
                });
            };
            if meant
                .as_ref()
                .is_some_and(|meant| !lifted.is_part_of(meant))
            {
                return Ok(Lifted::Anew(Box::new(lifted)));
            }
            let mut spec = serde_json::Map::new();
            if lifted.lock.is_some() || lifted.over.is_some() {
                spec.insert("lock".to_owned(), Value::Null);
            }
            if let Some(hold) = &lifted.hold {
                let by = changing::whole(&sight.person.actor());
                spec.insert("unhold".to_owned(), json!({"uid": hold.uid, "by": by}));
            }
            match changing::change(api, &found, &Value::Object(spec), deadline).await {
                Written::Done(_) => return Ok(Lifted::done(lifted, left)),
                Written::Refused(message) => return Ok(Lifted::Refused(message)),
                Written::Lost => {}
                Written::Look => attempted = true,
            }
            meant = Some(lifted);
        }
    }

    /// What stands there, by whether this person may lift it; and which verbs they lack for what they may not.
    async fn sort<K: Locked>(
        &self,
        sight: &Sight,
        spot: &Spot,
        found: &K,
        lifted: &mut Standing,
        left: &mut Standing,
    ) -> Result<Vec<Missing>, Trouble> {
        let actor = sight.person.actor();
        let mut missing = Vec::new();
        if let Some(there) = found.lock() {
            let in_force = lock::in_force(Some(there), self.now()).is_some();
            let enough: &[&str] = if in_force {
                &[OVERRIDE]
            } else {
                &[OVERRIDE, LOCK]
            };
            let own = self.is_own(there.by.as_ref(), Some(&actor));
            let lacking = self.lacks_to_lift(sight, spot, own, enough).await?;
            let side = if lacking.is_none() {
                &mut *lifted
            } else {
                &mut *left
            };
            missing = lacking.unwrap_or_default();
            if in_force {
                side.lock = Some(taken(found, there));
            } else {
                side.over = Some(there.clone());
            }
        }
        if let Some(hold) = found.hold() {
            let by = hold.by.clone().map(|username| Actor {
                username,
                ..Actor::default()
            });
            let own = self.is_own(by.as_ref(), Some(&actor));
            let lacking = self.lacks_to_lift(sight, spot, own, &[OVERRIDE]).await?;
            let side = if lacking.is_none() { lifted } else { left };
            // What lifts a hold lifts any lock, too.
            missing = lacking.unwrap_or(missing);
            side.hold = Some(hold.clone());
        }
        Ok(missing)
    }

    /// What somebody lacks to lift this: nothing where it is their own or they have one of these verbs, else the last of them.
    async fn lacks_to_lift(
        &self,
        sight: &Sight,
        spot: &Spot,
        own: bool,
        enough: &[&str],
    ) -> Result<Option<Vec<Missing>>, Trouble> {
        if own {
            return Ok(None);
        }
        let mut lacking = None;
        for verb in enough {
            match self.permission(sight, spot, verb).await? {
                Permission::Granted(_) => return Ok(None),
                Permission::Refused(missing) => lacking = Some(missing),
            }
        }
        Ok(lacking)
    }

    /// Whether both are one human, beyond doubt.
    fn is_own(&self, by: Option<&Actor>, person: Option<&Actor>) -> bool {
        let records = self.identity.records();
        by.zip(person)
            .is_some_and(|(by, person)| records.certainly_same(by, person))
    }
}

/// What is named, of what the person may see.
fn find(
    occasion: &Occasion,
    sight: &Sight,
    what: &LockWhat,
) -> Result<Spot, crate::slack::blocks::Message> {
    let (environment, application) =
        sight.look(occasion.channel.as_ref(), false, |team| {
            match team.lockable(what) {
                Lockable::Environment(environment) => Ok((environment.clone(), None)),
                Lockable::Target(application, environment) => {
                    Ok((environment.clone(), Some(application.clone())))
                }
                Lockable::Environments(several) => Err(answer::which_environment(&several)),
                Lockable::Applications(several) => Err(reading::which_of(&several)),
                Lockable::Absent(absent) => Err(reading::absent(&absent)),
            }
        })?;
    let elsewhere = match what {
        LockWhat::Target { target, .. } => target.as_ref(),
        LockWhat::Environment { .. } => None,
    };
    let target = match &application {
        Some(application) => {
            let name = environment.name_any();
            let place = resolve::allowed_place(elsewhere, &name, &environment)
                .map_err(|refusal| answer::no_place(&refusal.message))?;
            Some(SpotTarget::new(application, &environment, place))
        }
        None => None,
    };
    Ok(Spot {
        named: what.clone(),
        namespace: environment.namespace().unwrap_or_default(),
        environment,
        target,
    })
}

/// A target that nothing ran on yet.
fn wanted(spot: &Spot, target: &SpotTarget, lock: &Lock) -> DeployTarget {
    let spec = DeployTargetSpec {
        application: target.application.clone(),
        environment: spot.environment.name_any(),
        place: target.place.clone(),
        release: None,
        lock: Some(lock.clone()),
        unhold: None,
    };
    let mut wanted = DeployTarget::new(&target.name, spec);
    wanted.metadata.namespace = Some(spot.namespace.clone());
    wanted
}

/// The lock as it stands there, and since when the controller has it so.
fn taken<K: Locked>(found: &K, lock: &Lock) -> Taken {
    let condition = found
        .conditions()
        .and_then(|all| conditions::find(all, ConditionType::Locked))
        .filter(|condition| condition.status == "True");
    Taken {
        lock: lock.clone(),
        since: condition.map(|condition| condition.last_transition_time.0),
    }
}

/// Whether a lock is one that was said twice: the end of `2h` depends on when it was read, and is never earlier then.
fn is_same(there: &Lock, asked: &Lock) -> bool {
    let ends = match (&there.until, &asked.until) {
        (None, None) => true,
        (Some(there), Some(asked)) => {
            let later = asked.0.as_second() - there.0.as_second();
            (0..=SAME).contains(&later)
        }
        _ => false,
    };
    ends && there.reason == asked.reason
}

/// All of it, and nothing of one that stood there before.
fn whole(lock: &Lock) -> Value {
    json!({
        "reason": lock.reason,
        "until": lock.until,
        "by": lock.by.as_ref().map(changing::whole),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(text: Option<&str>) -> Lock {
        Lock {
            reason: "audit".to_owned(),
            until: text.map(|text| Time(text.parse().unwrap())),
            by: None,
        }
    }

    #[test]
    fn a_lock_that_is_delivered_again_is_the_same_and_a_longer_or_shorter_one_is_not() {
        let there = until(Some("2026-03-01T14:00:00Z"));
        for (asked, same) in [
            ("2026-03-01T14:00:00Z", true),
            ("2026-03-01T14:00:03Z", true),
            ("2026-03-01T14:00:30Z", true),
            ("2026-03-01T14:00:31Z", false),
            ("2026-03-01T14:05:00Z", false),
            ("2026-03-01T13:59:59Z", false),
            ("2026-03-01T13:55:00Z", false),
        ] {
            assert_eq!(is_same(&there, &until(Some(asked))), same, "{asked}");
        }
        assert!(is_same(&until(None), &until(None)));
        assert!(!is_same(&there, &until(None)));
        assert!(!is_same(&until(None), &there));
    }
}
