//! The stop button: everything everywhere is kept from starting, and goes on again. Touches the API server: creates and
//! deletes one `DeployFreeze` in foredeck's own namespace.

use jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::{
    Receiver,
    answer::{started, stopping as answer},
    changing::{self, Unread, Written},
    conversation::silent,
    occasion::{Answer, Attempted, Occasion, Trouble, What},
    persist::{self, Created, Settled},
    plan::held::Stop,
    sight::Sight,
};
use crate::{
    access::{AccessError, Permission},
    api::{
        DeployFreeze, DeployRequest,
        actor::Actor,
        deploy_freeze::{DeployFreezeSpec, Running, STOP_ALL},
    },
    domain::{access::OVERRIDE, guards::freeze},
    identity::Identity,
    slack::blocks::Message,
};

/// The kind, as roles name it.
const FREEZES: &str = "deployfreezes";

/// What somebody's wish to go on came to.
pub(super) enum Resumed {
    /// This was lifted.
    Done(Box<DeployFreeze>),
    /// Nothing was stopped.
    Nothing,
    /// Somebody has stopped everything anew meanwhile, by this.
    Anew(Box<DeployFreeze>),
    /// The API server refuses it, in its own words.
    Refused(String),
    /// What is there doesn't decode; why.
    Unreadable(String),
    /// It isn't known whether it was lifted.
    Unknown,
}

impl Receiver {
    /// Whether somebody may stop everything, and have it go on.
    pub(super) async fn may_stop(&self, sight: &Sight) -> Result<Permission, AccessError> {
        let subject = sight.person.subject();
        let object = (FREEZES, STOP_ALL);
        self.access
            .may_alone(&subject, OVERRIDE, self.home(), object)
            .await
    }

    /// Somebody wants that nothing starts anywhere.
    pub(super) async fn stop_all(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        reason: &str,
    ) -> Result<Answer, Trouble> {
        self.just_said(occasion)?;
        self.stopper(sight).await?;
        let asker = sight.person.actor();
        let freeze = stop(self.home(), reason, asker.clone());
        let attempted = Attempted {
            namespace: self.home().to_owned(),
            name: STOP_ALL.to_owned(),
            what: What::Stop,
        };
        let _first = occasion.attempted.set(attempted.clone());
        let deadline = occasion.persist_by();
        let created = persist::write(&self.client, freeze.clone(), deadline, async {}).await;
        let is_settled = !matches!(
            created,
            Created::Unknown(_) | Created::Settled(Settled::NotDone | Settled::Unknowable)
        );
        if occasion.comes_again && !is_settled {
            return Err(Trouble::Late);
        }
        let telling = Telling {
            asked: freeze,
            asker,
            identity: self.identity.clone(),
            running: Self::running(sight),
            now: self.now(),
            attempted,
            command: self.settings.command.clone(),
        };
        Ok(Answer::Say(match created {
            Created::Settled(settled) => telling.told(&settled),
            Created::Unknown(call) => {
                let unknown = started::unknown(&telling.attempted, &telling.command);
                self.tell_later(occasion, call, move |settled| telling.told(settled));
                unknown
            }
        }))
    }

    /// Somebody wants that it goes on.
    pub(super) async fn resume_all(
        &self,
        occasion: &Occasion,
        sight: &Sight,
    ) -> Result<Answer, Trouble> {
        self.just_said(occasion)?;
        self.stopper(sight).await?;
        let resumed = self.resume(occasion).await?;
        if occasion.comes_again && matches!(resumed, Resumed::Unknown) {
            return Err(Trouble::Late);
        }
        let waiting = super::why::waiting_anywhere(sight);
        let command = &self.settings.command;
        Ok(Answer::Say(answer::resumed(&resumed, waiting, command)))
    }

    async fn resume(&self, occasion: &Occasion) -> Result<Resumed, Trouble> {
        let api: Api<DeployFreeze> = Api::namespaced(self.client.clone(), self.home());
        let deadline = occasion.persist_by();
        // The one that is meant, and whether a delete of it may have been done whose answer is lost.
        let mut meant: Option<DeployFreeze> = None;
        let mut attempted = false;
        loop {
            let found = match changing::read(&api, STOP_ALL, deadline).await {
                Ok(found) => found,
                Err(Unread::Refused(message)) => return Ok(Resumed::Refused(message)),
                Err(Unread::Undecodable(_) | Unread::Silent) if attempted => {
                    return Ok(Resumed::Unknown);
                }
                Err(Unread::Undecodable(why)) => return Ok(Resumed::Unreadable(why)),
                Err(Unread::Silent) => return Err(Trouble::Late),
            };
            let found = match (found, meant.take()) {
                (None, Some(lifted)) if attempted => return Ok(Resumed::Done(Box::new(lifted))),
                (None, _) => return Ok(Resumed::Nothing),
                // Another one, made since, isn't what was meant.
                (Some(found), Some(meant)) if found.uid() != meant.uid() => {
                    return Ok(Resumed::Anew(Box::new(found)));
                }
                (Some(found), _) => found,
            };
            match changing::delete(&api, &found, deadline).await {
                Written::Done(()) => return Ok(Resumed::Done(Box::new(found))),
                Written::Refused(message) => return Ok(Resumed::Refused(message)),
                Written::Lost => {}
                Written::Look => attempted = true,
            }
            meant = Some(found);
        }
    }

    /// Foredeck's own namespace.
    fn home(&self) -> &str {
        &self.settings.people.namespace
    }

    async fn stopper(&self, sight: &Sight) -> Result<(), Trouble> {
        match self.may_stop(sight).await {
            Ok(Permission::Granted(_)) => Ok(()),
            Ok(Permission::Refused(_)) => {
                let freezes = self.directory.freezes(self.home());
                let stop = Stop::among(&freezes, self.now());
                // Who sees nothing is told nothing.
                let stop = stop.filter(|_| !sight.is_blind());
                let text = answer::not_allowed(&sight.person, self.home(), stop.as_ref());
                Err(Trouble::Told(text))
            }
            Err(error) => Err(silent(&error)),
        }
    }

    /// What runs, of what they may see.
    fn running(sight: &Sight) -> usize {
        let runs = |request: &DeployRequest| super::why::is_sent(request);
        sight.those(runs).len()
    }
}

/// What an answer needs to say what became of the stop button.
struct Telling {
    asked: DeployFreeze,
    asker: Actor,
    identity: Identity,
    running: usize,
    now: Timestamp,
    attempted: Attempted,
    command: String,
}

impl Telling {
    fn told(&self, settled: &Settled<DeployFreeze>) -> Message {
        match settled {
            // A look by name may have found another one.
            Settled::New(found) if self.is_own(found) => {
                answer::stopped(found, self.running, &self.command)
            }
            Settled::New(found) | Settled::Existing(found) => {
                let own = self.is_own(found);
                let home = &self.attempted.namespace;
                let stops = freeze::stops_everything(found, home, self.now);
                answer::stands(found, own, stops, &self.command)
            }
            Settled::Refused(message) => answer::refused(message),
            Settled::NotDone => answer::not_done(),
            Settled::Unknowable => started::never_known(&self.attempted, &self.command),
        }
    }

    /// Whether it is theirs who asked, in the same words.
    fn is_own(&self, found: &DeployFreeze) -> bool {
        let by = found.spec.by.as_ref();
        found.spec.reason == self.asked.spec.reason
            && by.is_some_and(|by| self.identity.records().certainly_same(by, &self.asker))
    }
}

/// The stop button: everything, everywhere, until it is deleted.
fn stop(home: &str, reason: &str, by: Actor) -> DeployFreeze {
    let spec = DeployFreezeSpec {
        reason: reason.to_owned(),
        contact: None,
        from: None,
        until: None,
        schedule: None,
        applications: Vec::new(),
        application_selector: None,
        environments: Vec::new(),
        environment_selector: None,
        actions: Vec::new(),
        except_actions: Vec::new(),
        namespace_selector: None,
        running: Running::Continue,
        notify: None,
        by: Some(by),
    };
    let mut freeze = DeployFreeze::new(STOP_ALL, spec);
    freeze.metadata.namespace = Some(home.to_owned());
    freeze
}
