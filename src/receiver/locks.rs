//! What is locked where, and what came of locking and unlocking it: what `locking` finds out and its answers tell. Touches
//! nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use super::grammar::LockWhat;
use crate::{
    access::Missing,
    api::{
        Application, Environment,
        deploy_request::Place,
        lock::{Hold, Lock},
    },
    domain::ids,
};

/// Where something is locked.
pub(super) struct Spot {
    /// As it was named.
    pub(super) named: LockWhat,
    /// The team.
    pub(super) namespace: String,
    /// The Environment.
    pub(super) environment: Environment,
    /// One application's target there; the Environment as a whole without one.
    pub(super) target: Option<SpotTarget>,
}

/// One application in one place.
pub(super) struct SpotTarget {
    /// The Application's name.
    pub(super) application: String,
    /// Where exactly.
    pub(super) place: Place,
    /// The `DeployTarget`'s name.
    pub(super) name: String,
}

impl SpotTarget {
    /// The one that the application has there.
    pub(super) fn new(application: &Application, environment: &Environment, place: Place) -> Self {
        let application = application.name_any();
        Self {
            name: ids::target_name(&application, &environment.name_any(), &place),
            application,
            place,
        }
    }
}

/// What somebody's lock came to.
pub(super) enum Set {
    /// It is locked as they said. One of theirs was changed for it, if so.
    Done { changed: bool },
    /// It was locked by them already, just so.
    Stands(Lock),
    /// Somebody else has locked it.
    Taken(Taken),
    /// It isn't there any more.
    Gone,
    /// The API server refuses it, in its own words.
    Refused(String),
    /// What is there doesn't decode; why.
    Unreadable(String),
    /// It isn't known whether it was written.
    Unknown,
}

/// A lock, and since when, where that is known.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    /// The lock.
    pub(super) lock: Lock,
    /// Since when.
    pub(super) since: Option<Timestamp>,
}

/// What stands in somebody's way, and is lifted or not.
#[derive(Default)]
pub(super) struct Standing {
    /// A lock that is not over.
    pub(super) lock: Option<Taken>,
    /// One that is.
    pub(super) over: Option<Lock>,
    /// A rollback's hold.
    pub(super) hold: Option<Hold>,
}

impl Standing {
    /// Whether nothing stands there.
    pub(super) fn is_nothing(&self) -> bool {
        self.lock.is_none() && self.over.is_none() && self.hold.is_none()
    }

    /// Whether nothing of it is new against what was meant.
    pub(super) fn is_part_of(&self, meant: &Self) -> bool {
        let ((lock, hold), (meant_lock, meant_hold)) = (self.what(), meant.what());
        (lock.is_none() || lock == meant_lock) && (hold.is_none() || hold == meant_hold)
    }

    /// The lock, over or not, and the hold.
    fn what(&self) -> (Option<&Lock>, Option<&str>) {
        let lock = self.lock.as_ref().map(|there| &there.lock);
        let hold = self.hold.as_ref().map(|hold| hold.uid.as_str());
        (lock.or(self.over.as_ref()), hold)
    }
}

/// What somebody's unlocking came to.
pub(super) enum Lifted {
    /// This was lifted; that stays, since they may not lift it.
    Done {
        lifted: Box<Standing>,
        left: Box<Standing>,
    },
    /// There is nothing to lift.
    Nothing,
    /// Somebody has set this anew meanwhile, which isn't what was meant: it stays.
    Anew(Box<Standing>),
    /// They may lift none of it, since they lack these verbs.
    NotAllowed {
        left: Box<Standing>,
        missing: Vec<Missing>,
    },
    /// The API server refuses it, in its own words.
    Refused(String),
    /// What is there doesn't decode; why.
    Unreadable(String),
    /// It isn't known whether it was written.
    Unknown,
}

impl Lifted {
    /// That was lifted, and the rest stays.
    pub(super) fn done(lifted: Standing, left: Standing) -> Self {
        Self::Done {
            lifted: Box::new(lifted),
            left: Box::new(left),
        }
    }
}
