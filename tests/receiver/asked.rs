//! A request about which people are asked: what stands in Slack about it, and what is said there.

use anyhow::{Result, ensure};
use foredeck::{
    api::{DeployApproval, DeployRequest, Environment},
    relay::message,
};
use foredeck_testkit::{
    slack::{Ephemeral, Message, User, View},
    wait_for,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, text};

/// A request of alice's to production, and what stands in Slack about it.
pub(crate) struct Asked<'a> {
    bed: &'a Bed,
    name: String,
    marks: std::cell::Cell<u32>,
}

impl<'a> Asked<'a> {
    /// The receiver knows it by then.
    pub(crate) async fn new(bed: &'a Bed, status: Value) -> Result<Self> {
        let alice = bed.slack.user("alice");
        let requester = json!({"username": "alice@harbor.example", "slack": {"team": bed.slack.team_id(), "user": alice.id()}});
        let spec = json!({"application": "checkout", "environment": "production", "version": "v42", "requester": requester});
        let request: DeployRequest = bed.create(&bed.namespace, "one", spec).await?;
        let asked = Self::of(bed, &request.name_any());
        asked.becomes(status).await?;
        Ok(asked)
    }

    /// A request of anybody's.
    pub(crate) fn of(bed: &'a Bed, name: &str) -> Self {
        Self {
            bed,
            name: name.to_owned(),
            marks: std::cell::Cell::default(),
        }
    }

    /// Writes the status, and waits until the receiver has heard of it.
    pub(crate) async fn becomes(&self, mut status: Value) -> Result<()> {
        self.marks.set(self.marks.get() + 1);
        let mark = format!("mark {}.", self.marks.get());
        if status["phase"] == "AwaitingApproval" || status["phase"] == "Running" {
            status["waiting"] =
                json!({"for": "Approval", "message": mark, "since": "2026-01-01T00:00:00Z"});
        }
        self.bed.set_status(&self.name, status.clone()).await?;
        let shows = if status["waiting"].is_null() {
            "canceled"
        } else {
            &mark
        };
        self.known_as(shows).await
    }

    /// Waits until the receiver tells this of the request.
    pub(crate) async fn known_as(&self, shows: &str) -> Result<()> {
        wait_for("the receiver has heard of it", PATIENCE, async || {
            let answer = self
                .bed
                .typed("alice", "deploys", "/deploy status checkout")
                .await?;
            ensure!(text(&answer).contains(shows), "{}", text(&answer));
            Ok(())
        })
        .await
    }

    pub(crate) async fn request(&self) -> Result<DeployRequest> {
        Ok(self.bed.requests_api().get(&self.name).await?)
    }

    /// Posts the question as the relay does.
    pub(crate) async fn question(&self) -> Result<Message> {
        let request = self.request().await?;
        let environment: Option<Environment> =
            Api::namespaced(self.bed.client.clone(), &self.bed.namespace)
                .get_opt("production")
                .await?;
        let message = match message::current_judgment(&request) {
            Some((mark, _)) => message::judgment(&request, environment.as_ref(), &mark, None, None),
            None => message::approval(
                &request,
                environment.as_ref(),
                None,
                message::Readers::Channel,
                None,
            ),
        };
        self.bed.post(&message).await
    }

    /// Presses a button as it stood there, and waits for what only this person then sees.
    pub(crate) async fn pressed(
        &self,
        person: &str,
        on: &Message,
        button: &str,
    ) -> Result<Ephemeral> {
        let before = self.bed.slack.ephemerals(person).len();
        let click = self.bed.slack.user(person).click_as_seen(on, button)?;
        click.answered().await?;
        self.bed.shown(person, before).await
    }

    pub(crate) async fn approvals(&self) -> Result<Vec<DeployApproval>> {
        let api: Api<DeployApproval> =
            Api::namespaced(self.bed.client.clone(), &self.bed.namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// Says of an approval that it doesn't count, as the controller would.
    pub(crate) async fn counts_for_nothing(
        &self,
        approval: &DeployApproval,
        why: &str,
    ) -> Result<()> {
        let api: Api<DeployApproval> =
            Api::namespaced(self.bed.client.clone(), &self.bed.namespace);
        let condition = json!({
            "type": "Counts", "status": "False", "reason": "ApprovalExpired", "message": why,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        api.patch_status(&approval.name_any(), &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    pub(crate) async fn nothing_was_said(&self) -> Result<()> {
        let all = self.approvals().await?;
        ensure!(all.is_empty(), "{all:?}");
        Ok(())
    }
}

pub(crate) async fn bed(prefix: &str) -> Result<Bed> {
    let bed = Bed::new(prefix).await?;
    for person in ["bob", "carol"] {
        if person == "carol" {
            bed.slack.add_user(User::named("carol"), &["deploys"]);
        }
        bed.allow(&bed.namespace, person, &["approve", "judge"])
            .await?;
    }
    Ok(bed)
}

pub(crate) async fn protect(bed: &Bed, protection: Value) -> Result<()> {
    let api: Api<Environment> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let patch = Patch::Merge(json!({"spec": {"protection": protection}}));
    api.patch("production", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

pub(crate) async fn modal(bed: &Bed, person: &str, title: &str) -> Result<View> {
    bed.slack
        .until(&format!("{person}'s modal {title}"), PATIENCE, |world| {
            world.modal(person).filter(|view| view.title() == title)
        })
        .await
}

pub(crate) fn said(view: &View) -> String {
    json!(view.blocks()).to_string()
}
