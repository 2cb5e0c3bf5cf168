//! What is pressed: a plan's buttons, the form's menus, a live message's Cancel. Touches Slack and the API server through
//! its steps.

use super::{
    Receiver,
    answer::{refusing, started},
    form,
    occasion::{Answer, Occasion, Trouble},
    plan::{
        Plan,
        seal::{Purpose, SealError},
    },
    sight::Sight,
    steps::Stage,
};
use crate::{
    api::deploy_request::SlackPerson,
    slack::{
        actions,
        inbound::{Action, OpenView},
    },
};

impl Receiver {
    /// Somebody pressed or chose something.
    pub(super) async fn pressed(
        &self,
        occasion: &Occasion,
        action: &Action,
        view: Option<&OpenView>,
    ) -> Result<Answer, Trouble> {
        let value = action.given.first().unwrap_or_default();
        match (action.action.as_str(), view) {
            (actions::PLAN_DEPLOY, _) => {
                self.confirmed(occasion, value, Purpose::Deploy, Stage::Confirmed)
                    .await
            }
            (actions::PLAN_AGAIN, _) => {
                self.confirmed(occasion, value, Purpose::Again, Stage::Again)
                    .await
            }
            (id, _) if id.starts_with(actions::TEAM_PICK) => {
                self.confirmed(occasion, value, Purpose::Form, Stage::Said)
                    .await
            }
            (actions::PLAN_EDIT | actions::FORM_OPEN, _) => {
                let sight = self.sight(occasion).await?;
                let plan = self.open(&sight, value, Purpose::Edit)?;
                Ok(self.form_of(occasion, &sight, &plan))
            }
            (actions::PLAN_CANCEL, _) => {
                let sight = self.sight(occasion).await?;
                match self.open(&sight, value, Purpose::Dismiss) {
                    Ok(plan) => Ok(self.dismissed(occasion, &plan)),
                    // A plan that is too old to be used may go all the same.
                    Err(_) => Ok(Answer::Remove),
                }
            }
            (id, _) if id.starts_with(actions::REQUEST_CANCEL) => {
                self.cancel_pressed(occasion, value).await
            }
            (
                actions::FORM_APPLICATION | actions::FORM_ACTION | actions::FORM_ENVIRONMENT,
                Some(view),
            ) => {
                self.form_changed(occasion, view).await?;
                Ok(Answer::Nothing)
            }
            _ => Ok(Answer::Nothing),
        }
    }

    /// The plan that a button carried, or what to tell whoever pressed it.
    pub(super) fn open(
        &self,
        sight: &Sight,
        value: &str,
        purpose: Purpose,
    ) -> Result<Plan, Trouble> {
        let asker: &SlackPerson = &sight.person.slack;
        match self.sealer.open(value, purpose, asker, self.now()) {
            Ok(opened) if opened.complete => Ok(opened.plan),
            Ok(_) => Err(Trouble::Told(refusing::sealed(SealError::Altered))),
            Err(error) => Err(Trouble::Told(refusing::sealed(error))),
        }
    }

    async fn confirmed(
        &self,
        occasion: &Occasion,
        value: &str,
        purpose: Purpose,
        stage: Stage,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let plan = self.open(&sight, value, purpose)?;
        self.consider(occasion, &sight, plan, stage).await
    }

    /// A plan that is taken away: what was started by another copy of it, is told.
    fn dismissed(&self, occasion: &Occasion, plan: &Plan) -> Answer {
        match self.existing(plan) {
            Some(existing) => {
                let likeness = super::object::likeness(plan, &existing);
                Answer::Replace(started::existing(&existing, likeness, plan))
            }
            // In a conversation that both sides keep, a message doesn't vanish.
            None if occasion.direct => Answer::Replace(started::dropped(plan)),
            None => Answer::Remove,
        }
    }

    async fn form_changed(&self, occasion: &Occasion, view: &OpenView) -> Result<(), Trouble> {
        let sight = self.sight(occasion).await?;
        let opened = self.sealer.open(
            &view.private_metadata,
            Purpose::Form,
            &sight.person.slack,
            self.now(),
        );
        // A form that is too old says so when it is submitted.
        let Ok(opened) = opened else { return Ok(()) };
        let team = bound_team(&opened.plan);
        let filled = form::filled(&sight, &view.state, team);
        let changed = form::view(&sight, &filled, view.private_metadata.clone(), None);
        self.voice.update(view, &changed).await;
        Ok(())
    }
}

/// The team that a form can't leave: once a plan was shown, another namespace would make another object of it.
pub(super) fn bound_team(plan: &Plan) -> Option<&str> {
    (!plan.shown.is_empty()).then_some(plan.namespace.as_str())
}
