//! The request's target: by what the request says, by who knows of it, by the Environment's place. Touches the API
//! server (reads).

use std::sync::Arc;

use kube::{Api, ResourceExt};

use super::Memo;
use crate::{
    api::{DeployRequest, DeployTarget, SEEN_ANNOTATION, deploy_request::Place},
    controller::{
        context::Context,
        error::ControllerError,
        objects::{self, within},
    },
    domain::{
        decide::TargetFact,
        ids,
        target::{knows, misnamed},
    },
    runtime::cache::{Guarded, named},
};

/// A target, as far as it was found.
pub(super) struct Found {
    /// Its name, once anybody can say.
    pub(super) name: Option<String>,
    pub(super) fact: TargetFact,
    /// As it was read, for guarded writes.
    pub(super) target: Option<DeployTarget>,
}

impl Found {
    /// One that was read. What isn't what its name says is told, and nothing of it is used.
    fn of(target: DeployTarget) -> Self {
        let name = Some(target.name_any());
        match misnamed(&target) {
            Some(problem) => Self {
                name,
                fact: TargetFact::Unreadable(problem),
                target: None,
            },
            None => Self {
                name,
                fact: fact_of(&target),
                target: Some(target),
            },
        }
    }
}

/// Finds it.
pub(super) async fn find(
    context: &Context,
    request: &DeployRequest,
    memo: &mut Memo,
    place: Option<&Place>,
) -> Result<Found, ControllerError> {
    let uid = request.uid().unwrap_or_default();
    let namespace = request.namespace().unwrap_or_default();
    let status = request.status.as_ref();
    let sent = status
        .and_then(|status| status.attempt.as_ref())
        .is_some_and(|attempt| attempt.sent_at.is_some());
    let resolved = status.and_then(|status| status.resolved.as_ref());
    let recorded = memo
        .gone_from
        .clone()
        .or_else(|| resolved.map(|resolved| resolved.deploy_target.clone()));
    let own = place
        .map(|place| ids::target_name(&request.spec.application, &request.spec.environment, place));
    if let Some(name) = recorded {
        let found = read(context, &namespace, name.clone(), memo).await?;
        let known = matches!(&found.fact, TargetFact::Ready(status) if knows(status, &uid));
        let lost = !matches!(found.fact, TargetFact::Ready(_)) && sent;
        if known || lost || memo.gone_from.is_some() || own.as_ref().is_none_or(|own| *own == name)
        {
            return Ok(found);
        }
    } else if status.is_none()
        && memo.fresh
        && !memo.first_sight
        && request.annotations().contains_key(SEEN_ANNOTATION)
    {
        // It was met before and says nothing of itself: a target may know more, wherever it is.
        let fields = format!(
            "spec.application={},spec.environment={}",
            request.spec.application, request.spec.environment
        );
        let targets: Vec<DeployTarget> =
            objects::list(&context.client, &namespace, &fields).await?;
        let knowing = targets.into_iter().find(|target| {
            target
                .status
                .as_ref()
                .is_some_and(|status| knows(status, &uid))
        });
        if let Some(target) = knowing {
            return Ok(Found::of(target));
        }
    }
    match own {
        Some(name) => read(context, &namespace, name, memo).await,
        None => Ok(Found {
            name: None,
            fact: TargetFact::Unresolved,
            target: None,
        }),
    }
}

async fn read(
    context: &Context,
    namespace: &str,
    name: String,
    memo: &mut Memo,
) -> Result<Found, ControllerError> {
    if let Some(target) = memo.target.take_if(|target| target.name_any() == name) {
        return Ok(Found::of(target));
    }
    let object = if memo.fresh {
        let api: Api<Guarded<DeployTarget>> = Api::namespaced(context.client.clone(), namespace);
        within("read a DeployTarget", api.get_opt(&name))
            .await?
            .map(Arc::new)
    } else {
        context.caches.targets.0.get(&named(namespace, &name))
    };
    let fact = match object.as_ref().map(|object| &object.0) {
        None => TargetFact::Unprepared,
        Some(Err(invalid)) => TargetFact::Unreadable(invalid.error.clone()),
        Some(Ok(target)) => return Ok(Found::of(target.clone())),
    };
    Ok(Found {
        name: Some(name),
        fact,
        target: None,
    })
}

fn fact_of(target: &DeployTarget) -> TargetFact {
    match &target.status {
        Some(status) if status.initialized.is_some() => TargetFact::Ready(Box::new(status.clone())),
        _ => TargetFact::Unprepared,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_a_target_that_is_not_what_its_name_says_is_used() {
        let place = json!({"account": "eks", "namespace": "shop"});
        let name = ids::target_name(
            "checkout",
            "production",
            &serde_json::from_value(place.clone()).unwrap(),
        );
        let found = |application: &str, environment: &str| {
            let target = json!({
                "metadata": {"name": name},
                "spec": {"application": application, "environment": environment, "place": place},
                "status": {"initialized": "2026-01-02T03:04:05Z"},
            });
            Found::of(serde_json::from_value(target).unwrap())
        };
        let own = found("checkout", "production");
        assert!(matches!(own.fact, TargetFact::Ready(_)), "{:?}", own.fact);
        assert!(own.target.is_some());
        let forged = found("toy", "dev");
        let TargetFact::Unreadable(problem) = &forged.fact else {
            panic!("{:?}", forged.fact)
        };
        assert!(problem.contains("delete it"), "{problem}");
        assert_eq!(forged.name, own.name);
        assert!(forged.target.is_none(), "its locks and its orders count");
    }
}
