//! From what somebody said to an answer. Touches the API server and Slack through its steps.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{
    Receiver,
    answer::{reading, refusing},
    occasion::{Answer, Occasion, Trouble},
    plan::{Order, Plan, PlanId},
    sight::Sight,
    steps::Stage,
    tell::{self, About},
};
use crate::{
    api::Application,
    identity::{AccessError, Permission},
    runtime::telemetry,
    slack::{
        grammar::{self, Act, ApplicationRef, Draft, Intent, Typed},
        ids::ChannelId,
    },
};

/// Which team an application is of.
pub(super) enum Team {
    One(String),
    Several(Vec<String>),
    None,
}

impl Receiver {
    /// Somebody said something.
    pub(super) async fn said(
        &self,
        occasion: &Occasion,
        id: PlanId,
        typed: &Typed,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let vocabulary = sight.vocabulary(&self.settings.command);
        let intent = match grammar::parse_typed(typed, &vocabulary) {
            Ok(intent) => intent,
            Err(error) => {
                let form = self.draft_value(occasion, &sight, id, error.draft());
                return Ok(Answer::Say(refusing::unreadable(&error, form)));
            }
        };
        let home = home_team(&sight, occasion.channel.as_ref());
        let about = |application, environment| About {
            application,
            home: home.as_deref(),
            environment,
        };
        Ok(match &intent {
            Intent::Act(act) => return self.act(occasion, &sight, id, act).await,
            Intent::Form(draft) => self.form(occasion, &sight, id, draft.clone()),
            Intent::Cancel(cancel) => return self.cancel(occasion, &sight, cancel).await,
            Intent::Status {
                application,
                environment,
            } => Answer::Say(tell::status(
                &sight,
                &about(application.as_ref(), environment.as_deref()),
            )),
            Intent::What { environment } => {
                Answer::Say(tell::what(&sight, &about(None, environment.as_deref())))
            }
            Intent::History {
                application,
                environment,
            } => Answer::Say(tell::history(
                &sight,
                &about(Some(application), environment.as_deref()),
            )),
            Intent::Help { topic } => {
                let allowed = self.allowed_actions(&sight, home.as_deref()).await?;
                Answer::Say(reading::help(&vocabulary, &allowed, topic.as_deref()))
            }
        })
    }

    /// Who this is, and what they may see.
    pub(super) async fn sight(&self, occasion: &Occasion) -> Result<Sight, Trouble> {
        let person = self.who(occasion).await?;
        let sight = Sight::of(person, &self.access, &self.directory).await;
        sight.map_err(|error| silent(&error))
    }

    async fn act(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        id: PlanId,
        act: &Act,
    ) -> Result<Answer, Trouble> {
        let namespace = match team_of(sight, occasion.channel.as_ref(), &act.application) {
            Team::One(namespace) => namespace,
            Team::None => return Ok(Answer::Say(reading::no_application(&act.application))),
            Team::Several(teams) => {
                return Ok(self.pick_team(occasion, sight, &id, act, &teams));
            }
        };
        let Some(order) = Order::of(act) else {
            let mut draft = Draft::from(act.clone());
            draft.application = Some(ApplicationRef::of(namespace, &act.application.name));
            return Ok(self.form(occasion, sight, id, draft));
        };
        let Some(plan) = self.plan(occasion, sight, id, namespace, order) else {
            return Ok(Answer::Nothing);
        };
        self.consider(occasion, sight, plan, Stage::Said).await
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
        Some(Plan {
            id,
            namespace,
            order,
            asker: sight.person.slack.clone(),
            place: occasion.place()?,
            asked_at: self.now(),
            shown: String::new(),
        })
    }

    /// The actions that this person may do anywhere in what they see; in the channel's team, if it has one.
    async fn allowed_actions(
        &self,
        sight: &Sight,
        home: Option<&str>,
    ) -> Result<Vec<String>, Trouble> {
        let mut wanted = BTreeMap::<String, Vec<(String, String)>>::new();
        let found = sight.pick(|application: &Application| {
            let namespace = application.namespace()?;
            let here = home.is_none_or(|home| home == namespace);
            let actions: Vec<String> = application.spec.actions.keys().cloned().collect();
            here.then(|| (namespace, application.name_any(), actions))
        });
        for (namespace, application, actions) in found {
            for action in actions {
                let places = wanted.entry(action).or_default();
                places.push((namespace.clone(), application.clone()));
            }
        }
        let asking = wanted.into_iter().map(|(action, places)| async move {
            // A few places tell; nobody waits for hundreds of reviews to read help.
            for (namespace, application) in places.into_iter().take(MOST_PLACES) {
                for environment in sight.environments(&namespace).into_iter().take(MOST_PLACES) {
                    let may = self.access.may(
                        &sight.person,
                        &action,
                        &namespace,
                        &application,
                        &environment,
                    );
                    if may.await.map_err(|error| silent(&error))? == Permission::Granted {
                        return Ok(Some(action));
                    }
                }
            }
            Ok::<_, Trouble>(None)
        });
        let allowed = futures::future::try_join_all(asking).await?;
        Ok(allowed.into_iter().flatten().collect())
    }
}

/// Places asked about for one action.
const MOST_PLACES: usize = 5;

pub(super) fn silent(error: &AccessError) -> Trouble {
    tracing::warn!(error = %telemetry::chain(error), "nobody says what a person may do");
    Trouble::Silent
}

/// The team that the channel belongs to, if it is one that the person may see. Of several none is meant.
pub(super) fn home_team(sight: &Sight, channel: Option<&ChannelId>) -> Option<String> {
    let channel = channel?.as_str();
    let mut teams = sight.pick(|application: &Application| {
        let slack = application.spec.slack.as_ref()?;
        let here = slack.channels.iter().any(|one| one == channel);
        here.then(|| application.namespace()).flatten()
    });
    teams.sort();
    teams.dedup();
    (teams.len() == 1).then(|| teams.remove(0))
}

pub(super) fn team_of(sight: &Sight, channel: Option<&ChannelId>, wanted: &ApplicationRef) -> Team {
    let mut teams = sight.pick(|application: &Application| {
        let slack = application.spec.slack.as_ref();
        let here = slack.is_some_and(|slack| {
            channel.is_some_and(|channel| slack.channels.iter().any(|one| one == channel.as_str()))
        });
        (application.name_any() == wanted.name)
            .then(|| (application.namespace().unwrap_or_default(), here))
    });
    if let Some(team) = &wanted.team {
        teams.retain(|(namespace, _)| namespace == team);
    } else if teams.iter().any(|(_, here)| *here) {
        teams.retain(|(_, here)| *here);
    }
    teams.sort();
    let mut teams: Vec<String> = teams.into_iter().map(|(namespace, _)| namespace).collect();
    match teams.len() {
        0 => Team::None,
        1 => Team::One(teams.remove(0)),
        _ => Team::Several(teams),
    }
}
