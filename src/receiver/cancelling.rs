//! Somebody wants a request to end. Touches the API server.

use kube::ResourceExt;

use super::{
    Receiver,
    answer::{cancelled, standing},
    conversation::{home_team, silent},
    occasion::{Answer, Occasion, Trouble},
    persist::{self, Cancelled},
    sight::Sight,
};
use crate::{
    api::{DeployRequest, bounds},
    identity::Permission,
    slack::{
        actions::Target,
        grammar::{ApplicationRef, Cancel, CancelWhat},
    },
};

/// The verb that somebody needs who cancels what others asked for.
const VERB: &str = "cancel";

impl Receiver {
    /// Somebody typed what is to end.
    pub(super) async fn cancel(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        cancel: &Cancel,
    ) -> Result<Answer, Trouble> {
        let home = home_team(sight, occasion.channel.as_ref());
        let (named, mut open) = match &cancel.what {
            CancelWhat::Named(reference) => {
                let named = by_name(sight, reference);
                let open = under_way(sight, reference, None, home.as_deref());
                (named, open)
            }
            CancelWhat::Target {
                application,
                environment,
            } => {
                let environment = environment.as_deref();
                let open = under_way(sight, application, environment, home.as_deref());
                (None, open)
            }
        };
        if let Some(request) = named {
            return self
                .end(occasion, sight, &request, cancel.reason.as_deref())
                .await;
        }
        Ok(match open.len() {
            0 => Answer::Say(cancelled::nothing()),
            1 => {
                let request = open.remove(0);
                return self
                    .end(occasion, sight, &request, cancel.reason.as_deref())
                    .await;
            }
            _ => Answer::Say(cancelled::which(&open)),
        })
    }

    /// Somebody pressed Cancel at a request.
    pub(super) async fn cancel_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
    ) -> Result<Answer, Trouble> {
        let sight = self.sight(occasion).await?;
        let request = Target::read(value).and_then(|target| {
            let request: DeployRequest = sight.get(&target.namespace, &target.name)?;
            (request.uid().as_deref() == Some(target.uid.as_str())).then_some(request)
        });
        match request {
            Some(request) => self.end(occasion, &sight, &request, None).await,
            None => Ok(Answer::Say(cancelled::gone())),
        }
    }

    async fn end(
        &self,
        occasion: &Occasion,
        sight: &Sight,
        request: &DeployRequest,
        reason: Option<&str>,
    ) -> Result<Answer, Trouble> {
        if standing::phase(request).is_terminal() {
            return Ok(Answer::Say(cancelled::late(request)));
        }
        if request.spec.cancel.is_some() {
            return Ok(Answer::Say(cancelled::before(request)));
        }
        let person = &sight.person;
        let own = request
            .spec
            .requester
            .as_ref()
            .is_some_and(|requester| requester.slack.as_ref() == Some(&person.slack));
        if !own {
            let spec = &request.spec;
            let permission = self
                .access
                .may(
                    person,
                    VERB,
                    &request.namespace().unwrap_or_default(),
                    &spec.application,
                    &spec.environment,
                )
                .await
                .map_err(|error| silent(&error))?;
            if let Permission::Refused(missing) = permission {
                let text = cancelled::not_allowed(person, request, &missing);
                return Err(Trouble::Told(text));
            }
        }
        let by = format!("{} in Slack", person.username);
        let reason = match reason {
            Some(reason) => format!("{by}: {reason}"),
            None => by,
        };
        let reason = bounds::cut(&reason, bounds::VALUE);
        let written = persist::cancel(&self.client, request, reason, occasion.persist_by()).await;
        Ok(Answer::Say(match written {
            Cancelled::Asked(now) => cancelled::asked(&now),
            Cancelled::Before(now) => cancelled::before(&now),
            Cancelled::Gone => cancelled::gone(),
            Cancelled::Refused(message) => cancelled::refused(request, &message),
            Cancelled::Unknown => cancelled::unknown(request, &self.settings.command),
        }))
    }
}

/// The request of that name, in whichever of the visible teams.
fn by_name(sight: &Sight, reference: &ApplicationRef) -> Option<DeployRequest> {
    let mut found = sight.pick(|request: &DeployRequest| {
        let team = reference.team.as_ref();
        let named = request.name_any() == reference.name
            && team.is_none_or(|team| request.namespace().as_ref() == Some(team));
        named.then(|| request.clone())
    });
    // A name in two teams is no name.
    (found.len() == 1).then(|| found.remove(0))
}

/// What has not ended of an application; of the channel's team, if that has such an application.
fn under_way(
    sight: &Sight,
    reference: &ApplicationRef,
    environment: Option<&str>,
    home: Option<&str>,
) -> Vec<DeployRequest> {
    let mut found = sight.pick(|request: &DeployRequest| {
        let namespace = request.namespace();
        let team = reference.team.as_deref();
        let wanted = request.spec.application == reference.name
            && environment.is_none_or(|name| request.spec.environment == name)
            && team.is_none_or(|team| namespace.as_deref() == Some(team))
            && !standing::phase(request).is_terminal();
        wanted.then(|| request.clone())
    });
    if reference.team.is_none() && found.iter().any(|one| one.namespace().as_deref() == home) {
        found.retain(|one| one.namespace().as_deref() == home);
    }
    found.sort_by_key(|request| request.creation_timestamp().map(|time| time.0));
    found
}
