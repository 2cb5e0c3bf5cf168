//! Somebody wants something to pass the order of environments, freezes and locks: a plan, or a request that is held.
//! Touches the API server.
//!
//! Whether they may is asked when the question is opened, when it is answered, and by the controller right before the
//! start. The word is set on the request by a write that fails where one stands there already, so that of two people at
//! once one wins and the other is told whose word counts.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{
    Receiver,
    answer::{overriding as told, planned, standing},
    conversation::silent,
    deciding::comment,
    occasion::{Answer, Occasion, Trouble},
    persist::{self, Put},
    plan::{Plan, held::Stop, seal::Purpose},
    sight::Sight,
    steps::Stage,
    surroundings::Surroundings,
};
use crate::{
    access::{Missing, Permission},
    api::{
        DeployRequest,
        conditions::{self, ConditionType},
        deploy_request::Phase,
        gate::{GateState, Override},
    },
    domain::access,
    slack::{actions::Target, inbound::OpenView, text::Plain},
};

/// What is wrong with a submitted modal, by the block that it is about.
type Wrong = BTreeMap<String, Plain>;

impl Receiver {
    /// Whether whoever asks may have a plan pass what holds it; or what to tell them, since that is dropped for nobody.
    pub(super) async fn may_pass(
        &self,
        sight: &Sight,
        plan: &Plan,
        around: &Surroundings,
    ) -> Result<(), Trouble> {
        let order = &plan.order;
        let place = (&*plan.namespace, &*order.application, &*order.environment);
        let Some(missing) = self.lacks_to_override(sight, place).await? else {
            return Ok(());
        };
        let stop = Stop::among(&around.freezes, self.now());
        let contact = stop.and_then(|stop| stop.contact);
        Err(Trouble::Told(told::not_allowed(
            &sight.person,
            &plan.namespace,
            standing::asked(&order.spec(None, None)),
            &missing,
            contact.as_deref(),
        )))
    }

    /// The same where nothing depends on it but a button: an API server that doesn't say shows none.
    pub(super) async fn may_pass_quietly(&self, sight: &Sight, plan: &Plan) -> bool {
        let order = &plan.order;
        let place = (&*plan.namespace, &*order.application, &*order.environment);
        matches!(self.lacks_to_override(sight, place).await, Ok(None))
    }

    /// The verbs that somebody lacks for it.
    async fn lacks_to_override(
        &self,
        sight: &Sight,
        (namespace, application, environment): (&str, &str, &str),
    ) -> Result<Option<Vec<Missing>>, Trouble> {
        let subject = sight.person.subject();
        let asking = self.access.may(
            &subject,
            access::OVERRIDE,
            namespace,
            application,
            environment,
        );
        match asking.await.map_err(|error| silent(&error))? {
            Permission::Granted(_) => Ok(None),
            Permission::Refused(missing) => Ok(Some(missing)),
        }
    }

    /// Somebody pressed Override at a plan: whether they may is said at once, and why is asked.
    pub(super) async fn plan_override_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let plan = self
            .usable(occasion, &sight, value, Purpose::Override)
            .await?;
        let preparing = Box::pin(self.prepare(occasion, &sight, plan.clone(), Stage::Filled));
        let prepared = match preparing.await? {
            Ok(prepared) => prepared,
            Err(answer) => return Ok(answer),
        };
        let around = self.around(occasion, &plan).await;
        self.may_pass(&sight, &plan, &around).await?;
        let shown = &prepared.shown;
        let view = told::ask_why_of_plan(shown, planned::wish(shown), value);
        Ok(modal(view))
    }

    /// Somebody said why: the plan is shown anew, and passes what holds it once it is confirmed.
    pub(super) async fn plan_override_submitted(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        view: &OpenView,
    ) -> Result<Result<Answer, Wrong>, Trouble> {
        let reason = match comment(view) {
            Ok(reason) => reason,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let value = &view.private_metadata;
        let mut plan = self
            .usable(occasion, sight, value, Purpose::Override)
            .await?;
        plan.order.terms.overriding = Some(reason);
        let considering = Box::pin(self.consider(occasion, sight, plan, Stage::Filled));
        considering.await.map(Ok)
    }

    /// Somebody pressed Override at a request.
    pub(super) async fn override_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let request = self.overridable(&sight, value).await?;
        Ok(modal(told::ask_why(&request, value)))
    }

    /// Somebody said why it is to pass.
    pub(super) async fn override_submitted(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        view: &OpenView,
    ) -> Result<Result<Answer, Wrong>, Trouble> {
        let reason = match comment(view) {
            Ok(reason) => reason,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let request = self.overridable(sight, &view.private_metadata).await?;
        let word = Override {
            reason,
            by: Some(sight.person.actor()),
        };
        let put = persist::override_(&self.client, &request, word, occasion.persist_by()).await;
        Ok(Ok(Answer::Say(match put {
            Put::Done(now) => told::asked(&now),
            Put::Before(now) if access::is_canceled(&now) => told::canceled(&now),
            Put::Before(now) => told::before(&now, &sight.person),
            Put::Gone => told::gone(),
            Put::Refused(message) => told::refused(&request, &message),
            Put::Unknown => told::unknown(&request, &self.settings.command),
        })))
    }

    /// The request that a button is about, if an override by this person could still change something, as far as that can
    /// be seen.
    async fn overridable(&self, sight: &Sight, value: &str) -> Result<DeployRequest, Trouble> {
        let found = Target::read(value).and_then(|target| {
            let request: DeployRequest = sight.get(&target.namespace, &target.name)?;
            (request.uid().as_deref() == Some(target.uid.as_str())).then_some(request)
        });
        let Some(request) = found else {
            return Err(Trouble::Told(told::gone()));
        };
        let spec = &request.spec;
        let namespace = request.namespace().unwrap_or_default();
        let place = (&*namespace, &*spec.application, &*spec.environment);
        if let Some(why) = too_late(&request) {
            return Err(Trouble::Told(why));
        }
        if is_overridden(&request) {
            return Err(Trouble::Told(told::before(&request, &sight.person)));
        }
        if let Some(missing) = self.lacks_to_override(sight, place).await? {
            let freezes = self.directory.freezes(&namespace);
            let contact = Stop::among(&freezes, self.now()).and_then(|stop| stop.contact);
            return Err(Trouble::Told(told::not_allowed(
                &sight.person,
                &namespace,
                standing::asked(spec),
                &missing,
                contact.as_deref(),
            )));
        }
        if !is_held(&request) {
            return Err(Trouble::Told(told::not_held(&request)));
        }
        Ok(request)
    }
}

/// Why an override comes too late.
fn too_late(request: &DeployRequest) -> Option<crate::slack::blocks::Message> {
    match standing::phase(request) {
        Phase::Pending | Phase::AwaitingApproval | Phase::Queued => {
            access::is_canceled(request).then(|| told::canceled(request))
        }
        _ => Some(told::late(request)),
    }
}

/// Whether somebody's word stands there that wasn't found not to count.
pub(super) fn is_overridden(request: &DeployRequest) -> bool {
    let refused = request.status.as_ref().is_some_and(|status| {
        conditions::find(&status.conditions, ConditionType::Overridden)
            .is_some_and(|condition| condition.status == "False")
    });
    request.spec.override_.is_some() && !refused
}

/// Whether something holds it that an override passes. Before its gates are judged nobody knows, and it is taken so.
fn is_held(request: &DeployRequest) -> bool {
    let gates = request.status.as_ref().map(|status| &*status.gates);
    let gates = gates.unwrap_or_default();
    gates.is_empty()
        || gates.iter().any(|gate| {
            gate.gate.is_passed_by_override()
                && matches!(gate.state, GateState::Closed | GateState::Unknown)
        })
}

fn modal(view: Option<crate::slack::view::View>) -> Answer {
    let or = told::no_modal();
    match view {
        Some(view) => Answer::Modal {
            view: Box::new(view),
            or,
        },
        None => Answer::Say(or),
    }
}
