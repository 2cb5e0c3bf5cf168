//! Somebody wants a request to end. Touches the API server.

use kube::ResourceExt;

use super::{
    Receiver,
    answer::{cancelled, reading, standing},
    conversation::silent,
    occasion::{Answer, Occasion, Trouble},
    persist::{self, Put},
    sight::Sight,
    team::Cancellable,
};
use crate::{
    access::Permission,
    api::{DeployRequest, bounds, deploy_request as spec},
    domain::access,
    receiver::grammar::Cancel,
    slack::actions::Target,
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
        let found = sight.look(occasion.channel.as_ref(), true, |team| {
            match team.cancellable(&cancel.what) {
                Cancellable::One(request) | Cancellable::Ended(request) => Ok(request.clone()),
                Cancellable::Several(several) => Err(cancelled::which(
                    &several.into_iter().cloned().collect::<Vec<_>>(),
                )),
                Cancellable::Team(several) => Err(reading::which_of(&several)),
                Cancellable::Absent(absent) => Err(reading::absent(&absent)),
            }
        });
        match found {
            Ok(request) => {
                let reason = cancel.reason.as_deref();
                self.end(occasion, sight, &request, reason).await
            }
            Err(question) => Ok(Answer::Say(question)),
        }
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
        if access::is_canceled(request) {
            return Ok(Answer::Say(cancelled::before(request)));
        }
        let person = &sight.person;
        let requester = request.spec.requester.as_ref();
        let own = requester.is_some_and(|requester| {
            self.identity
                .records()
                .certainly_same(requester, &person.actor())
        });
        if !own {
            let spec = &request.spec;
            let permission = self
                .access
                .may(
                    &person.subject(),
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
        let cancel = spec::Cancel {
            reason: reason.map(|reason| bounds::cut(reason, bounds::VALUE)),
            by: Some(person.actor()),
        };
        let written = persist::cancel(&self.client, request, cancel, occasion.persist_by()).await;
        Ok(Answer::Say(match written {
            Put::Done(now) => cancelled::asked(&now),
            Put::Before(now) => cancelled::before(&now),
            Put::Gone => cancelled::gone(),
            Put::Refused(message) => cancelled::refused(request, &message),
            Put::Unknown => cancelled::unknown(request, &self.settings.command),
        }))
    }
}
