//! What is pressed: a plan's buttons, the form's menus, a live message's Cancel, and what people are asked. Touches Slack and the API server, from
//! which it reads requests by name.

use kube::Api;
use tokio::time::timeout_at;

use super::{
    Receiver,
    answer::{refusing, started},
    form, object,
    occasion::{Answer, Occasion, Trouble},
    plan::{
        Plan,
        seal::{Opened, Purpose, SealError},
    },
    sight::Sight,
    steps::Stage,
};
use crate::{
    api::DeployRequest,
    runtime::telemetry,
    slack::{
        actions,
        blocks::Message,
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
                // Shown before it is carried out: the same plan with another team would be another object.
                self.confirmed(occasion, value, Purpose::Form, Stage::Filled)
                    .await
            }
            (actions::PLAN_EDIT | actions::FORM_OPEN, _) => {
                let sight = self.sight(occasion).await?;
                let plan = self.usable(occasion, &sight, value, Purpose::Edit).await?;
                Ok(self.form_of(occasion, &sight, &plan))
            }
            (actions::PLAN_CANCEL, _) => {
                let sight = self.sight(occasion).await?;
                match self.open(&sight, value, Purpose::Dismiss).await {
                    Ok(opened) => self.dismissed(occasion, &opened.plan).await,
                    // A plan that can't be read any more may go all the same.
                    Err(_) => Ok(Answer::Remove),
                }
            }
            (id, _) if id.starts_with(actions::REQUEST_CANCEL) => {
                self.cancel_pressed(occasion, value).await
            }
            (actions::PLAN_OVERRIDE, _) => self.plan_override_pressed(occasion, value).await,
            (actions::REQUEST_OVERRIDE, _) => self.override_pressed(occasion, value).await,
            (id, open) if id == actions::COMMITS || id.starts_with(actions::COMMITS_PAGE) => {
                self.commits_pressed(occasion, value, open).await
            }
            (actions::APPROVE, _) => self.approve_pressed(occasion, value).await,
            (actions::REJECT, _) => self.reject_pressed(occasion, value).await,
            (actions::JUDGE_CHOOSE, _) => self.choose_pressed(occasion, value).await,
            (actions::JUDGE_STOP, _) => self.stop_pressed(occasion, value).await,
            (id, _) if id.starts_with(actions::JUDGE) => self.judge_pressed(occasion, value).await,
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

    /// What a button or a modal carried, however old it is; or what to tell whoever used it.
    pub(super) async fn open(
        &self,
        sight: &Sight,
        sealed: &str,
        purpose: Purpose,
    ) -> Result<Opened, Trouble> {
        let asker = &sight.person.slack;
        let opened = self.seals.open(sealed, purpose, asker, self.now()).await;
        opened.map_err(|error| Trouble::Told(refusing::sealed(error)))
    }

    /// The plan that a button carried, if it can still be used; or what to tell whoever pressed it.
    pub(super) async fn usable(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        value: &str,
        purpose: Purpose,
    ) -> Result<Plan, Trouble> {
        let opened = self.open(sight, value, purpose).await?;
        if !opened.complete {
            return Err(Trouble::Told(refusing::sealed(SealError::Altered)));
        }
        self.young(occasion, opened).await
    }

    /// The plan, if it isn't too old; else what became of it.
    pub(super) async fn young(&self, occasion: &Occasion, opened: Opened) -> Result<Plan, Trouble> {
        let plan = opened.plan;
        if !opened.expired {
            return Ok(plan);
        }
        Err(Trouble::Over(
            match self.carried_out(occasion, &plan).await? {
                Some(existing) => existing_of(&plan, &existing),
                None => refusing::sealed(SealError::Expired),
            },
        ))
    }

    /// The plan's request, whether or not the directory has heard of it yet.
    async fn carried_out(
        &self,
        occasion: &Occasion,
        plan: &Plan,
    ) -> Result<Option<DeployRequest>, Trouble> {
        if let Some(existing) = self.existing(plan) {
            return Ok(Some(existing));
        }
        // A plan whose application was never chosen was never started.
        if plan.namespace.is_empty() {
            return Ok(None);
        }
        let api: Api<DeployRequest> = Api::namespaced(self.client.clone(), &plan.namespace);
        let name = plan.request_name();
        match timeout_at(occasion.persist_by(), api.get_opt(&name)).await {
            Ok(Ok(found)) => Ok(found.filter(|found| object::is_of(plan, found))),
            late_or_failed => {
                if let Ok(Err(error)) = late_or_failed {
                    tracing::warn!(error = %telemetry::chain(&error), "a request can't be looked up");
                }
                let text = refusing::unsure(&self.settings.command);
                Err(Trouble::Told(text))
            }
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
        let plan = self.usable(occasion, &sight, value, purpose).await?;
        self.consider(occasion, &sight, plan, stage).await
    }

    /// A plan that is taken away: what was started by another copy of it, is told.
    async fn dismissed(&self, occasion: &Occasion, plan: &Plan) -> Result<Answer, Trouble> {
        Ok(match self.carried_out(occasion, plan).await? {
            Some(existing) => Answer::Replace(existing_of(plan, &existing)),
            // In a conversation that both sides keep, a message doesn't vanish.
            None if occasion.direct => Answer::Replace(started::dropped(plan)),
            None => Answer::Remove,
        })
    }

    async fn form_changed(&self, occasion: &Occasion, view: &OpenView) -> Result<(), Trouble> {
        let sight = self.sight(occasion).await?;
        // A form that is too old, or can't be read, says so when it is submitted.
        let opened = self.open(&sight, &view.private_metadata, Purpose::Form);
        let Ok(opened) = opened.await else {
            return Ok(());
        };
        let team = bound_team(&opened.plan);
        let filled = self.filled(&sight, &view.state, team).await;
        let changed = form::view(&sight, &filled, view.private_metadata.clone(), None);
        self.voice.update(view, &changed).await;
        Ok(())
    }
}

fn existing_of(plan: &Plan, existing: &DeployRequest) -> Message {
    started::existing(existing, object::likeness(plan, existing), plan)
}

/// The team that a form can't leave: once a plan was shown, another namespace would make another object of it.
pub(super) fn bound_team(plan: &Plan) -> Option<&str> {
    (!plan.shown.is_empty()).then_some(plan.namespace.as_str())
}
