//! What a person means. Touches nothing.

use std::{collections::BTreeMap, fmt};

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
        }
    }
}

/// What is to be cancelled.
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
    /// What can be said here, or about one topic.
    Help {
        /// A topic of [`super::table::topics`] or a verb.
        topic: Option<String>,
    },
}
