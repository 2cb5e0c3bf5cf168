//! From a plan to its next step: refused, shown, or carried out. Touches the API server and Slack.
//!
//! Every step looks everything up anew and asks anew whether the person may: what a button carries decides nothing but
//! what was asked for.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{
    Receiver,
    answer::{
        planned::{self, Beside, Buttons, Telling},
        refusing, started,
    },
    conversation::silent,
    form, object,
    occasion::{Answer, Attempted, Occasion, Trouble},
    persist::{self, Created, Settled},
    plan::{
        Plan, repeat,
        seal::Purpose,
        shown::{self, Shown, Sights, Step},
    },
    sight::{Sight, decoded},
};
use crate::{
    api::{
        Application, DeployRequest, DeployTarget, Environment,
        deploy_request::{DeployRequestSpec, Phase},
        environment::Confirm,
    },
    identity::Permission,
    runtime::{cache::Guarded, telemetry},
    slack::{blocks::Message, elements::Value, ids::ChannelId},
};

/// Where a plan stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was just asked for, or edited: nothing was shown yet.
    Said,
    /// It comes from a form, and was not shown yet: it is, whatever the environment says of confirmations.
    Filled,
    /// It was shown and is confirmed.
    Confirmed,
    /// It was shown beside an equal request, and is confirmed all the same.
    Again,
}

/// What the directory has for a plan.
pub(super) struct Found {
    pub(super) shown: Shown,
    confirm: Confirm,
    notify: Option<ChannelId>,
}

impl Receiver {
    /// Everything between a plan and its answer: was it carried out already, can it be, may they, was an equal one asked
    /// for; then it is shown, or carried out.
    pub(super) async fn consider(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        plan: Plan,
        stage: Stage,
    ) -> Result<Answer, Trouble> {
        if let Some(existing) = self.existing(&plan) {
            let likeness = object::likeness(&plan, &existing);
            return Ok(Answer::Replace(started::existing(
                &existing, likeness, &plan,
            )));
        }
        let found = find(sight, &plan).map_err(Trouble::Told)?;
        let order = &plan.order;
        let permission = self
            .access
            .may(
                &sight.person,
                &order.action,
                &plan.namespace,
                &order.application,
                &order.environment,
            )
            .await
            .map_err(|error| silent(&error))?;
        if let Permission::Refused(missing) = permission {
            let text = refusing::not_allowed(&sight.person, &plan, &missing);
            return Err(Trouble::Told(text));
        }
        let digest = found.shown.digest();
        let confirms = matches!(stage, Stage::Confirmed | Stage::Again);
        let changed = confirms && plan.shown != digest;
        let plan = Plan {
            shown: digest,
            ..plan
        };
        let spec = order_spec(&plan);
        let equal = self.equal(&plan, &spec);
        let repeat = repeat::repeat(
            &spec,
            &plan.namespace,
            &plan.request_name(),
            decoded(&equal),
            self.now(),
        );
        let start = match (stage, found.shown.step(found.confirm, repeat)) {
            (_, Step::Refuse) => {
                let edit = self.value(&plan, Purpose::Edit);
                return Ok(Answer::Replace(planned::impossible(&found.shown, edit)));
            }
            (Stage::Again, _)
            | (Stage::Confirmed | Stage::Said, Step::Create)
            | (Stage::Confirmed, Step::Confirm) => !changed,
            _ => false,
        };
        if start {
            return self.start(occasion, sight, &plan, &found.shown).await;
        }
        let beside = Beside {
            expires: plan.expires_at(),
            changed,
            telling: self.telling(occasion, &plan, found.notify.as_ref()).await,
            repeat,
        };
        Ok(self.offer(occasion, &plan, &found.shown, &beside))
    }

    /// The plan's request, if the directory has it already, in whichever team: a plan is one request.
    pub(super) fn existing(&self, plan: &Plan) -> Option<DeployRequest> {
        let name = plan.request_name();
        let found = self.directory.pick(|request: &DeployRequest| {
            let same = request.metadata.name.as_deref() == Some(name.as_str());
            (same && object::is_of(plan, request)).then(|| request.clone())
        });
        found.into_iter().next()
    }

    /// Requests that may be equal.
    fn equal(&self, plan: &Plan, spec: &DeployRequestSpec) -> Vec<Arc<Guarded<DeployRequest>>> {
        self.directory.those(|request: &DeployRequest| {
            request.metadata.namespace.as_ref() == Some(&plan.namespace)
                && request.spec.application == spec.application
                && request.spec.environment == spec.environment
                && request.spec.action == spec.action
                && request.spec.version == spec.version
        })
    }

    /// Where it will be told how it goes.
    async fn telling(
        &self,
        occasion: &Occasion,
        plan: &Plan,
        notify: Option<&ChannelId>,
    ) -> Telling {
        let asked_in = ChannelId::new(plan.place.channel.as_str()).ok();
        let Some(channel) = notify.cloned().or(asked_in) else {
            return Telling::Here;
        };
        match (self.voice.is_member(occasion, &channel).await, notify) {
            (Some(false), _) => Telling::Direct {
                channel,
                bot: self.voice.bot(occasion).await,
            },
            (_, Some(_)) if plan.place.channel != channel.as_str() => Telling::Channel(channel),
            _ => Telling::Here,
        }
    }

    /// The plan with its buttons; as a modal, if it is too long for a button.
    fn offer(
        &self,
        occasion: &Occasion,
        plan: &Plan,
        shown: &Shown,
        beside: &Beside<'_>,
    ) -> Answer {
        let purpose = if beside.repeat.is_some() {
            Purpose::Again
        } else {
            Purpose::Deploy
        };
        if !occasion.in_modal
            && let (Some(go), Some(edit), Some(dismiss)) = (
                self.value(plan, purpose),
                self.value(plan, Purpose::Edit),
                self.value(plan, Purpose::Dismiss),
            )
        {
            let buttons = Buttons { go, edit, dismiss };
            return Answer::Replace(planned::message(shown, beside, buttons));
        }
        match self.seal_for_modal(plan, purpose) {
            Some((metadata, whole)) => Answer::Modal {
                view: Box::new(form::plan_view(plan, shown, beside, metadata, whole)),
                or: refusing::too_long(),
            },
            None => Answer::Say(refusing::too_long()),
        }
    }

    /// The plan as a button carries it, if it fits.
    pub(super) fn value(&self, plan: &Plan, purpose: Purpose) -> Option<Value> {
        let sealed = self.sealer.seal(plan, purpose, self.nonce()).ok()?;
        Value::new(sealed).ok()
    }

    /// The plan as a modal carries it, and whether that is all of it.
    fn seal_for_modal(&self, plan: &Plan, purpose: Purpose) -> Option<(String, bool)> {
        if let Ok(whole) = self.sealer.seal(plan, purpose, self.nonce()) {
            return Some((whole, true));
        }
        let stub = self.sealer.seal_stub(plan, purpose, self.nonce());
        stub.ok().map(|stub| (stub, false))
    }

    /// Creates the request, and says what became of that.
    async fn start(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        plan: &Plan,
        shown: &Shown,
    ) -> Result<Answer, Trouble> {
        let attempted = Attempted {
            namespace: plan.namespace.clone(),
            name: plan.request_name(),
        };
        let request = object::request(plan, &sight.person, self.settings.ttl);
        let _first = occasion.attempted.set(attempted.clone());
        let created = persist::create(&self.client, request, occasion.persist_by()).await;
        self.metrics.created(created.word());
        let waits = !shown.waits.is_empty();
        let is_settled = !matches!(
            created,
            Created::Unknown(_) | Created::Settled(Settled::NotDone | Settled::Unknowable)
        );
        if occasion.comes_again && !is_settled {
            return Err(Trouble::Late);
        }
        Ok(Answer::Replace(match created {
            Created::Settled(settled) => {
                told(plan, &settled, waits, &attempted, &self.settings.command)
            }
            Created::Unknown(call) => {
                self.follow_up(occasion, plan, waits, &attempted, call);
                started::unknown(&attempted, &self.settings.command)
            }
        }))
    }

    /// Tells the truth once it is known, to who was told that it wasn't.
    fn follow_up(
        &self,
        occasion: &Occasion,
        plan: &Plan,
        waits: bool,
        attempted: &Attempted,
        call: JoinHandle<Settled>,
    ) {
        let (voice, occasion, plan) = (self.voice.clone(), occasion.clone(), plan.clone());
        let (attempted, command) = (attempted.clone(), self.settings.command.clone());
        self.later.spawn(async move {
            let settled = call.await.unwrap_or(Settled::Unknowable);
            let message = told(&plan, &settled, waits, &attempted, &command);
            if let Err(error) = voice.privately(&occasion, &message).await {
                tracing::warn!(error = %telemetry::chain(&error), "a late answer didn't reach Slack");
            }
        });
    }
}

fn told(
    plan: &Plan,
    settled: &Settled,
    waits: bool,
    attempted: &Attempted,
    command: &str,
) -> Message {
    match settled {
        Settled::New(request) if object::is_of(plan, request) => started::accepted(request, waits),
        Settled::New(existing) | Settled::Existing(existing) => {
            started::existing(existing, object::likeness(plan, existing), plan)
        }
        Settled::Refused(message) => started::refused(plan, message),
        Settled::NotDone => started::not_done(),
        Settled::Unknowable => started::never_known(attempted, command),
    }
}

fn order_spec(plan: &Plan) -> DeployRequestSpec {
    plan.order.spec(None, None)
}

/// What the plan would do as things stand.
pub(super) fn find(sight: &Sight, plan: &Plan) -> Result<Found, Message> {
    let (namespace, order) = (&plan.namespace, &plan.order);
    let Some(application) = sight.get::<Application>(namespace, &order.application) else {
        return Err(refusing::no_application(plan));
    };
    let Some(environment) = sight.get::<Environment>(namespace, &order.environment) else {
        return Err(refusing::no_environment(
            plan,
            &sight.environments(namespace),
        ));
    };
    let allowed = &environment.spec.protection.channels;
    // Where it was asked for, wherever it is confirmed.
    if !allowed.is_empty() && !allowed.contains(&plan.place.channel) {
        return Err(refusing::wrong_channel(plan, allowed));
    }
    let targets = sight.those(|target: &DeployTarget| {
        target.metadata.namespace.as_ref() == Some(namespace)
            && target.spec.application == order.application
            && target.spec.environment == order.environment
    });
    let requests = sight.those(|request: &DeployRequest| {
        let status = request.status.as_ref();
        let ended = status
            .and_then(|status| status.phase)
            .is_some_and(Phase::is_terminal);
        !ended
            && request.metadata.namespace.as_ref() == Some(namespace)
            && request.spec.application == order.application
    });
    let shown = shown::shown(
        namespace,
        order,
        Sights {
            application: &application,
            environment: &environment,
            targets: &decoded(&targets).collect::<Vec<_>>(),
            requests: &decoded(&requests).collect::<Vec<_>>(),
        },
    );
    let notify = environment.spec.notify.and_then(|notify| notify.slack);
    let notify = notify.and_then(|slack| slack.channel);
    Ok(Found {
        shown,
        confirm: environment.spec.protection.confirm,
        notify: notify.and_then(|channel| ChannelId::new(channel).ok()),
    })
}
