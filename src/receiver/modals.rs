//! Modals: the form in which a plan is made or edited, and plans that are too long for a button. Touches Slack through
//! its steps.

use std::collections::BTreeMap;

use super::{
    Receiver,
    answer::{reading, refusing},
    form,
    occasion::{Answer, Occasion, Trouble},
    plan::{Order, Plan, PlanId, seal::Purpose},
    presses::bound_team,
    sight::Sight,
    steps::Stage,
    team::Found,
};
use crate::{
    receiver::grammar::{Act, ApplicationRef, Draft},
    slack::{
        actions,
        elements::{Choice, Value},
        inbound::{BlockSuggestion, OpenView},
        text::Plain,
    },
};

/// What is wrong with a submitted form, by the block that it is about.
type Wrong = BTreeMap<String, Plain>;

impl Receiver {
    /// The form with as much as is known. Where no modal can be opened, a button that opens it.
    pub(super) fn form(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        id: PlanId,
        draft: Draft,
    ) -> Answer {
        match self.plan_of_draft(occasion, sight, id, draft) {
            Some(plan) => self.form_of(occasion, sight, &plan),
            None => Answer::Nothing,
        }
    }

    /// The form with what a plan holds.
    pub(super) fn form_of(&self, _occasion: &Occasion, sight: &Sight, plan: &Plan) -> Answer {
        let (nonce, now) = (self.nonce(), self.now());
        let Ok(metadata) = self.seals.seal_stub(plan, Purpose::Form, nonce, now) else {
            return Answer::Say(refusing::too_long());
        };
        let filled = form::filled_from(plan);
        Answer::Modal {
            view: Box::new(form::view(sight, &filled, metadata, None)),
            or: reading::open_form(self.value(plan, Purpose::Edit)),
        }
    }

    /// What the button holds that opens the form with what was understood.
    pub(super) fn draft_value(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        id: PlanId,
        draft: &Draft,
    ) -> Option<Value> {
        let plan = self.plan_of_draft(occasion, sight, id, draft.clone())?;
        self.value(&plan, Purpose::Edit)
    }

    /// A plan of which not everything is known: what isn't is empty.
    fn plan_of_draft(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        id: PlanId,
        draft: Draft,
    ) -> Option<Plan> {
        let reference = draft.application;
        let namespace = reference
            .as_ref()
            .and_then(|reference| only_team(occasion, sight, reference))
            .unwrap_or_default();
        let order = Order {
            action: draft.action.unwrap_or_default(),
            application: reference
                .map(|reference| reference.name)
                .unwrap_or_default(),
            version: draft.version,
            commit: None,
            environment: draft.environment.unwrap_or_default(),
            parameters: draft.parameters,
            reason: draft.reason,
            target: draft.target,
            terms: draft.terms,
        };
        self.plan(occasion, sight, id, namespace, order)
    }

    /// One of several teams is to be chosen.
    pub(super) fn pick_team(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        id: &PlanId,
        act: &Act,
        teams: &[String],
    ) -> Answer {
        let buttons = teams.iter().filter_map(|team| {
            let order = Order::of(act)?;
            let plan = self.plan(occasion, sight, id.clone(), team.clone(), order)?;
            Some((team.clone(), self.value(&plan, Purpose::Form)?))
        });
        let buttons: Vec<(String, Value)> = buttons.collect();
        Answer::Say(reading::which_team(&act.application, teams, buttons))
    }

    /// A modal was submitted.
    pub(super) async fn submitted(
        &self,
        occasion: &Occasion,
        view: &OpenView,
    ) -> Result<Result<Answer, Wrong>, Trouble> {
        let sight = self.sight(occasion).await?;
        match view.callback_id.as_str() {
            actions::FORM => self.form_submitted(occasion, &sight, view).await,
            actions::PLAN => {
                let confirmed =
                    self.plan_submitted(occasion, &sight, view, Purpose::Deploy, Stage::Confirmed);
                confirmed.await.map(Ok)
            }
            actions::PLAN_AGAIN => {
                let confirmed =
                    self.plan_submitted(occasion, &sight, view, Purpose::Again, Stage::Again);
                confirmed.await.map(Ok)
            }
            actions::REJECTION => self.rejection_submitted(occasion, &sight, view).await,
            actions::STOPPING => self.stop_submitted(occasion, &sight, view).await,
            actions::PLAN_OVERRIDE => self.plan_override_submitted(occasion, &sight, view).await,
            actions::OVERRIDING => self.override_submitted(occasion, &sight, view).await,
            actions::CHOOSING => self.choice_submitted(occasion, &sight, view).await.map(Ok),
            _ => Ok(Ok(Answer::Nothing)),
        }
    }

    async fn form_submitted(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        view: &OpenView,
    ) -> Result<Result<Answer, Wrong>, Trouble> {
        let opened = self.open(sight, &view.private_metadata, Purpose::Form);
        let opened = opened.await?;
        let stub = self.young(occasion, opened).await?;
        let filled = self.filled(sight, &view.state, bound_team(&stub)).await;
        let (namespace, order) = match form::complete(&filled, sight, &view.state) {
            Ok(complete) => complete,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let plan = Plan {
            namespace,
            order: Order {
                // The form has no field for it.
                target: stub.order.target.clone(),
                ..order
            },
            ..stub
        };
        let stage = Stage::Filled;
        let preparing = Box::pin(self.prepare(occasion, sight, plan.clone(), stage));
        let prepared = match preparing.await? {
            Ok(prepared) => prepared,
            Err(answer) => return Ok(Ok(answer)),
        };
        // What a field is to blame for is said at that field.
        if !prepared.shown.is_possible() {
            let wrong = form::blame(&plan, &prepared.shown, &view.state);
            if !wrong.is_empty() {
                return Ok(Err(wrong));
            }
        }
        let proceeding = Box::pin(self.proceed(occasion, sight, prepared, stage));
        proceeding.await.map(Ok)
    }

    async fn plan_submitted(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        view: &OpenView,
        purpose: Purpose,
        stage: Stage,
    ) -> Result<Answer, Trouble> {
        let mut opened = self.open(sight, &view.private_metadata, purpose).await?;
        if !opened.complete {
            form::fill_in(&mut opened.plan, &view.state);
        }
        let plan = self.young(occasion, opened).await?;
        self.consider(occasion, sight, plan, stage).await
    }

    /// The choices of a menu. Whoever can't be told from others gets none.
    pub(super) async fn suggested(
        &self,
        occasion: &Occasion,
        asked: &BlockSuggestion,
    ) -> Vec<Choice> {
        let is_version = asked.action_id == actions::FORM_VERSION;
        if !is_version && asked.action_id != actions::FORM_APPLICATION {
            return Vec::new();
        }
        self.directory.opened().await;
        let Ok(sight) = self.sight(occasion).await else {
            return Vec::new();
        };
        let Some(view) = &asked.view else {
            return Vec::new();
        };
        let opened = self.open(&sight, &view.private_metadata, Purpose::Form);
        let Ok(opened) = opened.await else {
            return Vec::new();
        };
        let team = bound_team(&opened.plan);
        if is_version {
            return self.versions_suggested(&sight, asked, team).await;
        }
        form::suggestions(&sight, &asked.value, team)
    }
}

/// The team of an application, if there is no doubt.
fn only_team(occasion: &Occasion, sight: &Sight, reference: &ApplicationRef) -> Option<String> {
    sight.look(occasion.channel.as_ref(), false, |team| {
        match team.application(reference) {
            Found::One(application) => application.metadata.namespace.clone(),
            Found::Several(_) | Found::Absent(_) => None,
        }
    })
}
