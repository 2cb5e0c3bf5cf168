//! From a plan to its next step: refused, shown, or carried out. Touches the API server and Slack.
//!
//! Every step looks everything up anew and asks anew whether the person may: what a button carries decides nothing but
//! what was asked for.

use std::{collections::BTreeSet, sync::Arc};

use kube::ResourceExt;

use super::{
    Receiver,
    answer::{
        planned::{self, Beside, Buttons, Telling},
        refusing, started,
    },
    conversation::silent,
    form,
    object::{self, Likeness},
    occasion::{Answer, Attempted, Occasion, Trouble, What},
    persist::{self, Created, Settled},
    plan::{
        Plan,
        asked::Moved,
        held::Held,
        judging::{self, Sights, Times},
        repeat::{self, Repeat},
        seal::Purpose,
        shown::{Shown, Step},
    },
    sight::{Sight, decoded},
    surroundings::Surroundings,
};
use crate::{
    access::Permission,
    api::{Application, DeployRequest, Environment, deploy_request::Phase},
    runtime::cache::Guarded,
    slack::{blocks::Message, elements::Value, ids::ChannelId},
};

/// Where a plan stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was just asked for, or edited: nothing was shown yet.
    Said,
    /// It comes from a form or was said a while ago, and was not shown yet: it is, whatever the environment says of
    /// confirmations.
    Filled,
    /// It was shown and is confirmed.
    Confirmed,
    /// It was shown beside an equal request, and is confirmed all the same.
    Again,
}

/// What a plan names, as the directory has it.
struct Named {
    application: Application,
    environment: Environment,
    requests: Vec<Arc<Guarded<DeployRequest>>>,
}

impl Named {
    fn among(self, around: Surroundings) -> Found {
        Found {
            named: self,
            around,
        }
    }
}

/// What the directory has for a plan.
pub(super) struct Found {
    named: Named,
    around: Surroundings,
}

impl Found {
    /// As a plan is judged by.
    fn with<T>(&self, judge: impl FnOnce(Sights<'_>) -> T) -> T {
        self.around.with(|around| {
            judge(Sights {
                application: &self.named.application,
                environment: &self.named.environment,
                targets: around.targets,
                requests: &decoded(&self.named.requests).collect::<Vec<_>>(),
                environments: around.environments,
                freezes: around.freezes,
                namespace_labels: around.namespace_labels,
            })
        })
    }

    fn notify(&self) -> Option<ChannelId> {
        let notify = self.named.environment.spec.notify.as_ref()?;
        ChannelId::new(notify.slack.as_ref()?.channel.as_deref()?).ok()
    }
}

/// A plan that its asker may have, as things stand.
pub(super) struct Prepared {
    plan: Plan,
    found: Found,
    pub(super) shown: Shown,
    moved: Option<Moved>,
    /// Whether its asker may have it pass what holds it.
    pub(super) may_override: bool,
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
        match Box::pin(self.prepare(occasion, sight, plan, stage)).await? {
            Ok(prepared) => Box::pin(self.proceed(occasion, sight, prepared, stage)).await,
            Err(answer) => Ok(answer),
        }
    }

    /// What a plan would do as things stand, for somebody who may have it done. The repository is asked last: for nobody
    /// who may not.
    ///
    /// # Errors
    /// The inner one: it was carried out already.
    pub(super) async fn prepare(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        plan: Plan,
        stage: Stage,
    ) -> Result<Result<Box<Prepared>, Answer>, Trouble> {
        if let Some(existing) = self.existing(&plan) {
            let likeness = object::likeness(&plan, &existing);
            let told = started::existing(&existing, likeness, &plan);
            return Ok(Err(Answer::Replace(told)));
        }
        let found = find(sight, &plan).map_err(Trouble::Told)?;
        let around = self.around(occasion, &plan).await;
        let found = found.among(around);
        if !found.named.environment.spec.protection.allow_shared {
            self.among_ourselves(occasion, &plan).await?;
        }
        let order = &plan.order;
        let permission = self
            .access
            .may(
                &sight.person.subject(),
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
        if order.terms.overriding.is_some() {
            self.may_pass(sight, &plan, &found.around).await?;
        }
        // Only what was shown holds where nobody says anything now.
        let confirms = matches!(stage, Stage::Confirmed | Stage::Again);
        let before = plan.order.commit.clone().filter(|_| confirms);
        let question = found.with(|sights| judging::question(&plan.namespace, order, sights));
        let said = self
            .git
            .ask(
                &found.named.application,
                &question,
                before.as_deref(),
                occasion.by,
            )
            .await;
        let times = Times {
            asked_at: plan.asked_at,
            now: self.now(),
        };
        let shown =
            found.with(|sights| judging::shown(&plan.namespace, order, sights, &said, times));
        let may_override = shown.held.can_be_passed() && self.may_pass_quietly(sight, &plan).await;
        let mut plan = plan;
        let named = plan.order.version.as_deref().filter(|_| confirms);
        let moved = Moved::between(named, before.as_deref(), shown.commit.as_deref());
        plan.order.commit = shown.commit.clone().filter(|_| shown.version_given);
        Ok(Ok(Box::new(Prepared {
            plan,
            found,
            shown,
            moved,
            may_override,
        })))
    }

    /// From a plan that its asker may have to its answer.
    pub(super) async fn proceed(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        prepared: Box<Prepared>,
        stage: Stage,
    ) -> Result<Answer, Trouble> {
        let Prepared {
            plan,
            found,
            shown,
            moved,
            may_override,
        } = *prepared;
        let request = object::request(&plan, &sight.person, self.settings.ttl);
        let equal = self.equal(&request).await;
        let other;
        let mut repeat = repeat::repeat(
            &request.spec,
            &plan.namespace,
            &plan.request_name(),
            decoded(&equal),
            self.now(),
        );
        let digest = shown.digest_beside(repeat);
        let confirms = matches!(stage, Stage::Confirmed | Stage::Again);
        // For Again that is also so if it is another equal request than the one it was shown beside.
        let changed = confirms && plan.shown != digest;
        let mut plan = Plan {
            shown: digest,
            ..plan
        };
        let confirm = found.named.environment.spec.protection.confirm;
        let start = match (stage, shown.step(confirm, repeat)) {
            (_, Step::Refuse) => {
                let edit = self.value(&plan, Purpose::Edit);
                return Ok(Answer::Replace(planned::impossible(&shown, edit)));
            }
            (Stage::Again, _)
            | (Stage::Confirmed | Stage::Said, Step::Create)
            | (Stage::Confirmed, Step::Confirm) => !changed,
            _ => false,
        };
        if start {
            match self.begun.begin(&request, &equal, self.now()).await {
                Ok(()) => {
                    let begun = (request, may_override);
                    return self.start(occasion, &plan, begun, &shown).await;
                }
                Err(begun) => {
                    other = begun;
                    repeat = other.0.as_ref().ok().map(Repeat::Waiting);
                    plan.shown = shown.digest_beside(repeat);
                }
            }
        }
        let beside = Beside {
            expires: plan.expires_at(),
            changed,
            moved,
            telling: self.telling(occasion, &plan, found.notify().as_ref()).await,
            repeat,
        };
        Ok(self.offer(occasion, &plan, &shown, &beside, may_override))
    }

    /// Where people of another organisation read along, nothing is asked for.
    async fn among_ourselves(&self, occasion: &Occasion, plan: &Plan) -> Result<(), Trouble> {
        let Ok(channel) = ChannelId::new(plan.place.channel.as_str()) else {
            return Ok(());
        };
        match self.voice.is_shared(occasion, &channel).await {
            Some(false) => Ok(()),
            Some(true) => Err(Trouble::Told(refusing::shared_channel(plan))),
            None => Err(Trouble::Silent),
        }
    }

    /// The plan's request, if the directory has it already, in whichever team: a plan is one request.
    ///
    /// Looked up by name in each team, and not searched for among all requests, of which months may be kept.
    pub(super) fn existing(&self, plan: &Plan) -> Option<DeployRequest> {
        let name = plan.request_name();
        let teams = self.directory.pick(Application::namespace);
        let teams: BTreeSet<String> = teams.into_iter().collect();
        [&plan.namespace]
            .into_iter()
            .chain(&teams)
            .find_map(|team| {
                let found: DeployRequest = self.directory.get(team, &name)?;
                object::is_of(plan, &found).then_some(found)
            })
    }

    /// Requests that may be equal.
    async fn equal(&self, asked: &DeployRequest) -> Vec<Arc<Guarded<DeployRequest>>> {
        let spec = &asked.spec;
        let mut equal = self.directory.those(|request: &DeployRequest| {
            request.metadata.namespace == asked.metadata.namespace
                && request.spec.application == spec.application
                && request.spec.environment == spec.environment
                && request.spec.action == spec.action
                && request.spec.version == spec.version
        });
        if let Some(begun) = self.begun.equal(asked).await
            && !equal.iter().any(|one| one.name_any() == begun.name_any())
        {
            equal.push(begun);
        }
        equal
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
        may_override: bool,
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
            let overriding = may_override.then(|| self.value(plan, Purpose::Override));
            let overriding = overriding.flatten();
            let buttons = Buttons {
                go,
                edit,
                dismiss,
                overriding,
            };
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
        let sealed = self.seals.seal(plan, purpose, self.nonce(), self.now());
        let sealed = sealed.ok()?;
        Value::new(sealed).ok()
    }

    /// The plan as a modal carries it, and whether that is all of it.
    fn seal_for_modal(&self, plan: &Plan, purpose: Purpose) -> Option<(String, bool)> {
        if let Ok(whole) = self.seals.seal(plan, purpose, self.nonce(), self.now()) {
            return Some((whole, true));
        }
        let stub = self
            .seals
            .seal_stub(plan, purpose, self.nonce(), self.now());
        stub.ok().map(|stub| (stub, false))
    }

    /// Creates the request, and says what became of that.
    async fn start(
        &self,
        occasion: &Occasion,
        plan: &Plan,
        (request, may_override): (DeployRequest, bool),
        shown: &Shown,
    ) -> Result<Answer, Trouble> {
        let attempted = Attempted {
            namespace: plan.namespace.clone(),
            name: plan.request_name(),
            what: What::Request,
        };
        let _first = occasion.attempted.set(attempted.clone());
        let created =
            persist::create(&self.client, &self.begun, request, occasion.persist_by()).await;
        self.metrics.created(created.word());
        let waits = Waits {
            line: !shown.waits.is_empty(),
            held: shown.held.clone(),
            may_override,
        };
        let is_settled = !matches!(
            created,
            Created::Unknown(_) | Created::Settled(Settled::NotDone | Settled::Unknowable)
        );
        if occasion.comes_again && !is_settled {
            return Err(Trouble::Late);
        }
        Ok(Answer::Replace(match created {
            Created::Settled(settled) => {
                told(plan, &settled, &waits, &attempted, &self.settings.command)
            }
            Created::Unknown(call) => {
                let unknown = started::unknown(&attempted, &self.settings.command);
                let (plan, command) = (plan.clone(), self.settings.command.clone());
                self.tell_later(occasion, call, move |settled| {
                    told(&plan, settled, &waits, &attempted, &command)
                });
                unknown
            }
        }))
    }
}

/// What an accepted request will wait for, as its plan had it.
struct Waits {
    /// Other requests.
    line: bool,
    held: Held,
    may_override: bool,
}

fn told(
    plan: &Plan,
    settled: &Settled,
    waits: &Waits,
    attempted: &Attempted,
    command: &str,
) -> Message {
    match settled {
        Settled::New(request) if object::likeness(plan, request) == Likeness::Same => {
            started::accepted(request, waits.line, &waits.held, waits.may_override)
        }
        Settled::New(existing) | Settled::Existing(existing) => {
            started::existing(existing, object::likeness(plan, existing), plan)
        }
        Settled::Refused(message) => started::refused(plan, message),
        Settled::NotDone => started::not_done(),
        Settled::Unknowable => started::never_known(attempted, command),
    }
}

/// What the directory has for a plan, of what its asker may see.
fn find(sight: &Sight, plan: &Plan) -> Result<Named, Message> {
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
    let requests = sight.those(|request: &DeployRequest| {
        let status = request.status.as_ref();
        let ended = status
            .and_then(|status| status.phase)
            .is_some_and(Phase::is_terminal);
        !ended
            && request.metadata.namespace.as_ref() == Some(namespace)
            && request.spec.application == order.application
    });
    Ok(Named {
        application,
        environment,
        requests,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        api::actor::SlackPerson,
        identity::Person,
        receiver::plan::PlanId,
        slack::ids::{TeamId, TriggerId},
    };

    #[test]
    fn only_what_was_asked_for_is_called_accepted() {
        let trigger = TriggerId::new("1.2.x").unwrap();
        let order = json!({
            "action": "deploy", "application": "checkout", "version": "main", "environment": "staging",
            "parameters": {}, "reason": null, "target": null,
        });
        let slack = SlackPerson {
            team: "T1".to_owned(),
            user: "U1".to_owned(),
        };
        let plan = Plan {
            id: PlanId::of_command(&TeamId::new("T1").unwrap(), &trigger),
            namespace: "shop".to_owned(),
            order: serde_json::from_value(order).unwrap(),
            asker: slack.clone(),
            place: serde_json::from_value(json!({"channel": "C1"})).unwrap(),
            asked_at: Timestamp::UNIX_EPOCH,
            shown: String::new(),
        };
        let username = "alice@corp.example".to_owned();
        let own = object::request(
            &plan,
            &Person {
                username,
                groups: Vec::new(),
                slack,
                silent: Vec::new(),
            },
            None,
        );
        let attempted = Attempted {
            namespace: plan.namespace.clone(),
            name: plan.request_name(),
            what: What::Request,
        };
        let said = |found: &DeployRequest| {
            let settled = Settled::New(Box::new(found.clone()));
            let waits = Waits {
                line: false,
                held: Held::default(),
                may_override: false,
            };
            let message = told(&plan, &settled, &waits, &attempted, "/deploy");
            message.text().to_string()
        };
        assert!(said(&own).contains("Accepted"), "{}", said(&own));
        // Another copy of the plan was first, and this one's create was answered by a look.
        let mut edited = own;
        edited.spec.version = Some("other".to_owned());
        let said = said(&edited);
        assert!(!said.contains("Accepted"), "{said}");
        assert!(said.contains("was not started"), "{said}");
    }
}
