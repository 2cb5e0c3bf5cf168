//! From what somebody said to an answer. Touches the API server and Slack through its steps.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    Receiver,
    answer::{held, reading, refusing},
    occasion::{Answer, Occasion, Trouble},
    plan::{Order, Plan, PlanId, held::Stop},
    sight::Sight,
    steps::Stage,
    team::Found,
    tell::{self, Question},
};
use crate::{
    access::{AccessError, Permission},
    api::{Application, Environment},
    domain::access::LOCK,
    receiver::grammar::{self, Act, ApplicationRef, Draft, Intent, Typed, table::Allowed},
    runtime::telemetry,
    slack::ids::{ChannelId, MessageTs},
};

impl Receiver {
    /// Somebody said something.
    pub(super) async fn said(
        &self,
        occasion: &Occasion,
        id: PlanId,
        typed: &Typed,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let vocabulary = sight.vocabulary(occasion.channel.as_ref(), &self.settings.command);
        let intent = match grammar::parse_typed(typed, &vocabulary) {
            Ok(intent) => intent,
            Err(error) => {
                let form = self.draft_value(occasion, &sight, id, error.draft());
                return Ok(Answer::Say(refusing::unreadable(&error, form)));
            }
        };
        let question = |application, environment| Question {
            channel: occasion.channel.as_ref(),
            application,
            environment,
        };
        Ok(match &intent {
            Intent::Act(act) => return self.act(occasion, &sight, id, act).await,
            Intent::Form(draft) => self.form(occasion, &sight, id, draft.clone()),
            Intent::Cancel(cancel) => return self.cancel(occasion, &sight, cancel).await,
            Intent::Lock(lock) => return self.lock(occasion, &sight, lock).await,
            Intent::Unlock(what) => return self.unlock(occasion, &sight, what).await,
            Intent::StopAll { reason } => return self.stop_all(occasion, &sight, reason).await,
            Intent::ResumeAll => return self.resume_all(occasion, &sight).await,
            Intent::Why(what) => {
                let why = self.why(occasion, &sight, what).await?;
                self.under_banner(&sight, why)
            }
            Intent::Status {
                application,
                environment,
            } => {
                let asked = question(application.as_ref(), environment.as_deref());
                let status = tell::status(&sight, &asked);
                self.under_banner(&sight, Answer::Say(status))
            }
            Intent::What { environment } => {
                Answer::Say(tell::what(&sight, &question(None, environment.as_deref())))
            }
            Intent::History {
                application,
                environment,
            } => Answer::Say(tell::history(
                &sight,
                &question(Some(application), environment.as_deref()),
            )),
            Intent::Help { topic } => {
                let allowing = async {
                    tokio::join!(
                        self.allowed_actions(occasion, &sight),
                        self.guards_allowed(&sight)
                    )
                };
                let (actions, guards) = Box::pin(allowing).await;
                let ((actions, everywhere), guards) = (actions?, guards?);
                let allowed = Allowed { actions, ..guards };
                let topic = topic.as_deref();
                Answer::Say(reading::help(&vocabulary, &allowed, everywhere, topic))
            }
        })
    }

    /// An answer to somebody who sees something, below the word that everything is stopped, while it is.
    fn under_banner(&self, sight: &Sight, answer: Answer) -> Answer {
        let freezes = self.directory.freezes(&self.settings.people.namespace);
        match (answer, Stop::among(&freezes, self.now())) {
            (Answer::Say(message), Some(stop)) if !sight.is_blind() => {
                Answer::Say(held::under_banner(&stop, &message))
            }
            (answer, _) => answer,
        }
    }

    /// Who this is, and what they may see.
    pub(super) async fn sight(&self, occasion: &Occasion) -> Result<Sight, Trouble> {
        let person = self.who(occasion).await?;
        let sight = Sight::of(person, &self.access, &self.directory).await;
        let sight = sight.map_err(|error| silent(&error))?;
        if sight.is_blind() && !sight.person.silent.is_empty() {
            return Err(Trouble::Told(refusing::groups_unknown(&sight.person)));
        }
        Ok(sight)
    }

    async fn act(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        id: PlanId,
        act: &Act,
    ) -> Result<Answer, Trouble> {
        let found = sight.look(occasion.channel.as_ref(), false, |team| {
            // Whether it may be asked for from here is said when all of it is known.
            match team.application(&act.application) {
                Found::One(application) => Ok(application.namespace().unwrap_or_default()),
                Found::Several(several) => Err(Ok(several
                    .iter()
                    .filter_map(|one| one.namespace())
                    .collect::<Vec<_>>())),
                Found::Absent(absent) => Err(Err(absent)),
            }
        });
        let namespace = match found {
            Ok(namespace) => namespace,
            Err(Ok(teams)) => return Ok(self.pick_team(occasion, sight, &id, act, &teams)),
            Err(Err(absent)) => return Ok(Answer::Say(reading::absent(&absent))),
        };
        let Some(order) = Order::of(act) else {
            let mut draft = Draft::from(act.clone());
            draft.application = Some(ApplicationRef::of(namespace, &act.application.name));
            return Ok(self.form(occasion, sight, id, draft));
        };
        let Some(plan) = self.plan(occasion, sight, id, namespace, order) else {
            return Ok(Answer::Nothing);
        };
        let fresh = self.now().duration_since(plan.asked_at) <= FRESH;
        // Whoever said it may have given up waiting, and done something else since.
        let stage = if fresh { Stage::Said } else { Stage::Filled };
        self.consider(occasion, sight, plan, stage).await
    }

    /// A plan that begins here. None where there is no conversation.
    pub(super) fn plan(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        id: PlanId,
        namespace: String,
        order: Order,
    ) -> Option<Plan> {
        let now = self.now();
        let said = occasion.said.as_ref().and_then(time);
        Some(Plan {
            id,
            namespace,
            order,
            asker: sight.person.slack.clone(),
            place: occasion.place()?,
            // Clocks differ a little.
            asked_at: said.map_or(now, |said| said.min(now)),
            shown: String::new(),
        })
    }

    /// The actions that this person may do with what they see, of the channel's team, where it has one; and whether that
    /// is all, or was looked for in the first few places only.
    async fn allowed_actions(
        &self,
        occasion: &Occasion,
        sight: &Sight,
    ) -> Result<(Vec<String>, bool), Trouble> {
        let mut wanted = BTreeMap::<String, Vec<(String, String)>>::new();
        let channel = occasion.channel.as_ref().map(ChannelId::as_str);
        let mut found = sight.pick(|application: &Application| {
            let namespace = application.namespace()?;
            let channels = application.spec.slack.as_ref().map(|slack| &slack.channels);
            let here = channels
                .zip(channel)
                .is_some_and(|(channels, channel)| channels.iter().any(|one| one == channel));
            let actions: Vec<String> = application.spec.actions.keys().cloned().collect();
            Some((here, namespace, application.name_any(), actions))
        });
        if found.iter().any(|(here, ..)| *here) {
            found.retain(|(here, ..)| *here);
        }
        found.sort();
        for (_, namespace, application, actions) in found {
            for action in actions {
                let places = wanted.entry(action).or_default();
                places.push((namespace.clone(), application.clone()));
            }
        }
        let asking = wanted.into_iter().map(|(action, places)| async move {
            // A few places tell; nobody waits for hundreds of reviews to read help.
            let mut everywhere = places.len() <= MOST_PLACES;
            for (namespace, application) in places.into_iter().take(MOST_PLACES) {
                let environments = sight.environments(&namespace);
                everywhere &= environments.len() <= MOST_PLACES;
                for environment in environments.into_iter().take(MOST_PLACES) {
                    let subject = sight.person.subject();
                    let may =
                        self.access
                            .may(&subject, &action, &namespace, &application, &environment);
                    if may.await.map_err(|error| silent(&error))?.is_granted() {
                        return Ok((Some(action), true));
                    }
                }
            }
            Ok::<_, Trouble>((None, everywhere))
        });
        let asking = stream::iter(asking).buffered(ACTIONS_AT_ONCE);
        let found: Vec<(Option<String>, bool)> = asking.try_collect().await?;
        let everywhere = found.iter().all(|(_, everywhere)| *everywhere);
        let allowed = found.into_iter().filter_map(|(action, _)| action);
        Ok((allowed.collect(), everywhere))
    }

    /// Whether this person may lock some environment of the first few, and stop everything.
    async fn guards_allowed(&self, sight: &Sight) -> Result<Allowed, Trouble> {
        let subject = sight.person.subject();
        let mut places = sight.pick(|environment: &Environment| {
            Some((environment.namespace()?, environment.name_any()))
        });
        places.sort();
        let asking = places
            .into_iter()
            .take(MOST_PLACES)
            .map(|(namespace, name)| {
                let subject = &subject;
                async move {
                    let object = ("environments", name.as_str());
                    let may = self.access.may_alone(subject, LOCK, &namespace, object);
                    may.await.map_err(|error| silent(&error))
                }
            });
        let asking = stream::iter(asking).buffered(ACTIONS_AT_ONCE);
        let found: Vec<Permission> = asking.try_collect().await?;
        let stops = self.may_stop(sight).await.map_err(|error| silent(&error))?;
        Ok(Allowed {
            locks: found.iter().any(Permission::is_granted),
            stops: stops.is_granted(),
            ..Allowed::default()
        })
    }
}

/// How long after it was said something may be started without being shown.
pub(super) const FRESH: SignedDuration = SignedDuration::from_mins(1);

/// When a message was sent, to the second.
pub(super) fn time(message: &MessageTs) -> Option<Timestamp> {
    let (seconds, _) = message.as_str().split_once('.')?;
    Timestamp::from_second(seconds.parse().ok()?).ok()
}

/// Places asked about for one action.
const MOST_PLACES: usize = 5;
/// Actions asked about at once.
const ACTIONS_AT_ONCE: usize = 4;

pub(super) fn silent(error: &AccessError) -> Trouble {
    tracing::warn!(error = %telemetry::chain(error), "nobody says what a person may do");
    Trouble::Silent
}
