//! What a person means. Touches nothing.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::deploy_request::{DEFAULT_ACTION, TargetOverride};

/// An application as somebody names it: alone, or with the team (the namespace) that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApplicationRef {
    /// The team, where it was named: `team/application`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The application.
    pub name: String,
}

impl ApplicationRef {
    /// An application of whichever team it turns out to be.
    pub fn bare(name: impl Into<String>) -> Self {
        Self {
            team: None,
            name: name.into(),
        }
    }

    /// An application of one team.
    pub fn of(team: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            team: Some(team.into()),
            name: name.into(),
        }
    }
}

impl fmt::Display for ApplicationRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(team) = &self.team {
            write!(formatter, "{team}/")?;
        }
        formatter.write_str(&self.name)
    }
}

/// When something may start, and whether it passes what would hold it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Not before, to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Not after, to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_before: Option<Timestamp>,
    /// Why it passes order, freezes and locks; whether the person may have that is not known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overriding: Option<String>,
}

/// Something is to be done with an application: a request, once the plan is confirmed.
///
/// The names have the form of names, and everything has its bounds; whether there is such an application, environment or
/// parameter is not known here. Values may hold anything that shows, `${` included: that is the plan's to refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The verb, one of the vocabulary's.
    pub action: String,
    /// Of what.
    pub application: ApplicationRef,
    /// Which version; what that means when left out is the action's matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where; left out, somebody has to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The pipeline's parameters, their values exactly as typed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Another cluster or namespace than the environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetOverride>,
    /// When, and past what.
    #[serde(default)]
    pub terms: Terms,
}

/// As much of an [`Act`] as is known: what a form opens with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationRef>,
    /// Which version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The pipeline's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Another cluster or namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetOverride>,
    /// When, and past what.
    #[serde(default)]
    pub terms: Terms,
}

impl Draft {
    /// The act, once it names an application. Without a verb it is `deploy`.
    pub fn into_act(self) -> Option<Act> {
        let action = self.action.unwrap_or_else(|| DEFAULT_ACTION.to_owned());
        Some(Act {
            action,
            application: self.application?,
            version: self.version,
            environment: self.environment,
            parameters: self.parameters,
            reason: self.reason,
            target: self.target,
            terms: self.terms,
        })
    }
}

impl From<Act> for Draft {
    fn from(act: Act) -> Self {
        Self {
            action: Some(act.action),
            application: Some(act.application),
            version: act.version,
            environment: act.environment,
            parameters: act.parameters,
            reason: act.reason,
            target: act.target,
            terms: act.terms,
        }
    }
}

/// Which request is meant: the one that is to be cancelled, or the one of which somebody asks why it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelWhat {
    /// A single name: a request's, or else an application's whose only active request is meant.
    Named(ApplicationRef),
    /// What is active or waiting for an application, in one environment or in whichever it is.
    Target {
        /// The application.
        application: ApplicationRef,
        /// The environment.
        environment: Option<String>,
    },
}

/// What a lock is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockWhat {
    /// An environment as a whole.
    Environment {
        /// The team, where it was named: `team/environment`.
        team: Option<String>,
        /// The environment.
        name: String,
    },
    /// One application in one environment.
    Target {
        /// The application.
        application: ApplicationRef,
        /// The environment.
        environment: String,
        /// Another cluster or namespace than the environment's.
        target: Option<TargetOverride>,
    },
}

/// Until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// For so long from when it was said; at least a second.
    For(Duration),
    /// Until that moment, which may be over.
    At(Timestamp),
}

/// Nothing is to start somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Where.
    pub what: LockWhat,
    /// Why.
    pub reason: String,
    /// Until when; until somebody unlocks it when left out.
    pub until: Option<Until>,
}

/// Something is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// What.
    pub what: CancelWhat,
    /// Why.
    pub reason: Option<String>,
}

/// What a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Do something with an application.
    Act(Act),
    /// Open the form, with as much as is known.
    Form(Draft),
    /// How it goes: everywhere, for an application, in an environment, or both.
    Status {
        /// The application.
        application: Option<ApplicationRef>,
        /// The environment.
        environment: Option<String>,
    },
    /// What runs in an environment, or in all of them.
    What {
        /// The environment.
        environment: Option<String>,
    },
    /// What ran before.
    History {
        /// The application.
        application: ApplicationRef,
        /// The environment, or all of them.
        environment: Option<String>,
    },
    /// End a request.
    Cancel(Cancel),
    /// Keep what from starting.
    Lock(Lock),
    /// Lift a lock, or the hold of a rollback.
    Unlock(LockWhat),
    /// Keep everything from starting, everywhere.
    StopAll {
        /// Why.
        reason: String,
    },
    /// Lift that.
    ResumeAll,
    /// Why a request waits, or what one would meet.
    Why(CancelWhat),
    /// What can be said here, or about one topic.
    Help {
        /// A topic of [`super::table::topics`] or a verb.
        topic: Option<String>,
    },
}
