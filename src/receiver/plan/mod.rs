//! The plan: what somebody asked for, as it is shown to them before anything is created. Touches nothing.
//!
//! A plan is kept nowhere but in the buttons that show it, sealed ([`seal`]). It has an identity, made of the delivery
//! that it began with and kept by every edit; the request's name is made of that alone. So of all copies, clicks,
//! devices and edits of a plan the first Deploy creates the request, and later ones find it there.

pub mod asked;
pub mod guarding;
pub mod held;
mod id;
pub mod judging;
mod pipeline;
pub mod repeat;
pub mod seal;
pub mod shown;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::{
    api::{
        DeployRequest,
        actor::{Actor, SlackPerson},
        deploy_request::{DeployRequestSpec, RequestNotify, SlackPlace, TargetOverride},
        gate::Override,
    },
    receiver::grammar::{Act, ApplicationRef, Draft, Terms},
};

pub use id::{PlanId, request_name};

/// How long a plan can be confirmed, from when it was first asked for: edits don't prolong it.
pub const VALID: Duration = Duration::from_mins(10);

/// How far the clocks of two replicas may be apart.
pub const AHEAD: Duration = Duration::from_mins(1);

/// What is to be done, in one namespace: an [`Act`] of which nothing is open any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The action.
    pub action: String,
    /// The Application.
    pub application: String,
    /// The version; what that means when left out is the action's matter.
    pub version: Option<String>,
    /// The commit that the version meant when the plan was shown, where its repository said so. Whatever makes an order
    /// anew leaves it out, and it is asked for anew.
    #[serde(default)]
    pub commit: Option<String>,
    /// The Environment.
    pub environment: String,
    /// The pipeline's parameters that the asker sets.
    pub parameters: BTreeMap<String, String>,
    /// Why.
    pub reason: Option<String>,
    /// Another place than the Environment's.
    pub target: Option<TargetOverride>,
    /// When, and past what.
    #[serde(default)]
    pub terms: Terms,
}

impl Order {
    /// What an act comes to once it says where. `None` as long as it names no environment.
    ///
    /// The act's team is not kept: the namespace that it was found to mean stands in the plan.
    pub fn of(act: &Act) -> Option<Self> {
        Some(Self {
            action: act.action.clone(),
            application: act.application.name.clone(),
            version: act.version.clone(),
            commit: None,
            environment: act.environment.clone()?,
            parameters: act.parameters.clone(),
            reason: act.reason.clone(),
            target: act.target.clone(),
            terms: act.terms.clone(),
        })
    }

    /// The spec of a request for it. Whoever asks is who passes what it passes.
    pub fn spec(
        &self,
        requester: Option<Actor>,
        notify: Option<RequestNotify>,
    ) -> DeployRequestSpec {
        let Terms {
            not_before,
            start_before,
            overriding,
        } = self.terms.clone();
        let override_ = overriding.map(|reason| Override {
            reason,
            by: requester.clone(),
        });
        DeployRequestSpec {
            application: self.application.clone(),
            environment: self.environment.clone(),
            action: self.action.clone(),
            version: self.version.clone(),
            // What wasn't named comes from what ran, with its commit: the controller finds both there.
            commit: self.commit.clone().filter(|_| self.version.is_some()),
            parameters: self.parameters.clone(),
            target: self.target.clone(),
            reason: self.reason.clone(),
            timeout: None,
            dry_run: false,
            idempotency_key: None,
            requester,
            notify,
            not_before: not_before.map(Time),
            start_before: start_before.map(Time),
            override_,
            cancel: None,
            ttl_after_finished: None,
        }
    }
}

/// What somebody asked for, and may confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its identity.
    pub id: PlanId,
    /// The namespace that it was found to mean. An edit keeps it: in another one the same name would be another object.
    pub namespace: String,
    /// What is to be done.
    pub order: Order,
    /// Who asked, and alone may confirm.
    pub asker: SlackPerson,
    /// Where they asked.
    pub place: SlackPlace,
    /// When they first asked, to the second.
    pub asked_at: Timestamp,
    /// The digest of everything that the plan showed ([`shown::Shown::digest`]).
    pub shown: String,
}

impl Plan {
    /// When it can't be confirmed any more.
    pub fn expires_at(&self) -> Timestamp {
        self.asked_at
            .saturating_add(VALID)
            .unwrap_or(Timestamp::MAX)
    }

    /// Whether it is too late to confirm it. So it is for one that is asked for later than [`AHEAD`]: it would be valid
    /// for longer than any should.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let latest = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
        now >= self.expires_at() || self.asked_at > latest
    }

    /// The same plan with something else to be done, as it is shown now. Identity, namespace, asker, place and time stay.
    #[must_use]
    pub fn edited(&self, order: Order, shown: String) -> Self {
        Self {
            order,
            shown,
            ..self.clone()
        }
    }

    /// The name of the request that confirming it creates.
    pub fn request_name(&self) -> String {
        request_name(&self.id)
    }

    /// The request that confirming it creates, on behalf of the asker: under this name, with these groups.
    pub fn request(&self, username: impl Into<String>, groups: Vec<String>) -> DeployRequest {
        let requester = Actor {
            username: username.into(),
            groups,
            slack: Some(self.asker.clone()),
        };
        let notify = RequestNotify {
            slack: Some(self.place.clone()),
        };
        let spec = self.order.spec(Some(requester), Some(notify));
        let mut request = DeployRequest::new(&self.request_name(), spec);
        request.metadata.namespace = Some(self.namespace.clone());
        request
    }

    /// What the form opens with when the plan is edited.
    pub fn draft(&self) -> Draft {
        let order = self.order.clone();
        Draft {
            action: Some(order.action),
            application: Some(ApplicationRef::of(&self.namespace, order.application)),
            version: order.version,
            environment: Some(order.environment),
            parameters: order.parameters,
            reason: order.reason,
            target: order.target,
            terms: order.terms,
        }
    }
}

#[cfg(test)]
pub(in crate::receiver) mod tests;
