//! The configuration that a request names. Touches the API server (reads).

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use kube::{Resource, ResourceExt};

use super::gates::unreadable;
use crate::{
    api::{Application, DeployRequest, Environment, SpinnakerConnection},
    controller::{context::Context, error::ControllerError, objects},
    domain::{refusal::Refusal, selector::Labels},
};

/// Which version each object is that a request names.
pub(super) type Version = [Option<Stamp>; 3];

/// What tells one version of an object from another, for decisions.
#[derive(Debug, PartialEq)]
pub(in crate::controller) struct Stamp {
    uid: Option<String>,
    generation: Option<i64>,
    /// Freezes select by them, and they make no new generation.
    labels: Option<Labels>,
    /// It is being deleted. Until it is gone it counts, with its rules and its lock.
    is_going: bool,
}

/// What a request names, as far as it exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::controller) struct Named {
    pub(in crate::controller) application: Option<Application>,
    pub(in crate::controller) environment: Option<Environment>,
    pub(in crate::controller) connection: Option<SpinnakerConnection>,
}

impl Named {
    /// The version of each: as long as they are the same, so is what was decided on them.
    pub(in crate::controller) fn version(&self) -> Version {
        fn of<K: Resource>(object: Option<&K>) -> Option<Stamp> {
            let meta = object?.meta();
            Some(Stamp {
                uid: meta.uid.clone(),
                generation: meta.generation,
                labels: meta.labels.clone(),
                is_going: meta.deletion_timestamp.is_some(),
            })
        }
        [
            of(self.application.as_ref()),
            of(self.environment.as_ref()),
            of(self.connection.as_ref()),
        ]
    }

    /// As the caches have it; as the API server has it where they were found to be behind. Why nothing may start on it,
    /// where that can't be read, or where it can't be said whether its connection is shared with its namespace.
    pub(super) async fn known(
        context: &Context,
        request: &DeployRequest,
    ) -> (Self, Result<(), Refusal>) {
        let (cached, readable) = Self::cached(context, request).await;
        if !context.behind.includes(request) {
            return (cached, readable);
        }
        let connection = cached
            .environment
            .as_ref()
            .map(|environment| environment.spec.connection.clone());
        let read = Box::pin(Self::read(
            context,
            request,
            &connection.unwrap_or_default(),
        ))
        .await;
        match read {
            Ok(read) => {
                if read.version() == cached.version() {
                    context.behind.over(request);
                }
                (read, Ok(()))
            }
            Err(error) => (cached, Err(unreadable("the objects that it names", &error))),
        }
    }

    /// As the API server has it now.
    ///
    /// `connection` is read beside the others, since it hardly ever is another than the Environment names.
    pub(in crate::controller) async fn read(
        context: &Context,
        request: &DeployRequest,
        connection: &str,
    ) -> Result<Self, ControllerError> {
        let namespace = request.namespace().unwrap_or_default();
        let named = async {
            match connection {
                "" => Ok(None),
                name => context.caches.connections.read(&namespace, name).await,
            }
        };
        let (application, environment, mut named) = tokio::try_join!(
            objects::read(&context.client, &namespace, &request.spec.application),
            objects::read::<Environment>(&context.client, &namespace, &request.spec.environment),
            named,
        )?;
        let wanted = environment
            .as_ref()
            .map(|environment| environment.spec.connection.as_str());
        if wanted != Some(connection) {
            // An Environment decides with its own connection or with none, never with the one that it left.
            named = match wanted {
                Some(name) => context.caches.connections.read(&namespace, name).await?,
                None => None,
            };
        }
        Ok(Self {
            application,
            environment,
            connection: named,
        })
    }

    async fn cached(context: &Context, request: &DeployRequest) -> (Self, Result<(), Refusal>) {
        let namespace = request.namespace().unwrap_or_default();
        let environment = context
            .caches
            .environments
            .get(&namespace, &request.spec.environment);
        let connections = &context.caches.connections;
        let found = match &environment {
            Some(environment) => {
                connections
                    .known(&namespace, &environment.spec.connection)
                    .await
            }
            None => Ok(None),
        };
        let readable = found.as_ref().map(|_| ()).map_err(Refusal::clone);
        let named = Self {
            application: context
                .caches
                .applications
                .get(&namespace, &request.spec.application),
            connection: found.unwrap_or_default(),
            environment,
        };
        (named, readable)
    }
}

/// Whose configuration the caches are known to have an old version of, until they come to what was read; and whose can't
/// be read, until it can.
///
/// Without it each pass would be decided on the old version, mark a start, find out, and take the mark back, for as long
/// as a watch lags.
#[derive(Debug, Default)]
pub(in crate::controller) struct Behind(Mutex<HashSet<[String; 3]>>);

impl Behind {
    /// The caches are older than what was read for this request.
    pub(in crate::controller) fn found(&self, request: &DeployRequest) {
        self.lock().insert(names(request));
    }

    fn over(&self, request: &DeployRequest) {
        self.lock().remove(&names(request));
    }

    fn includes(&self, request: &DeployRequest) -> bool {
        let all = self.lock();
        !all.is_empty() && all.contains(&names(request))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<[String; 3]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(request: &DeployRequest) -> [String; 3] {
    [
        request.namespace().unwrap_or_default(),
        request.spec.application.clone(),
        request.spec.environment.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn named(metadata: &Value) -> Named {
        let spec = json!({"connection": "gate", "target": {"account": "eks", "namespace": "shop"}});
        let whole = json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "Environment", "metadata": metadata, "spec": spec,
        });
        Named {
            environment: Some(serde_json::from_value(whole).unwrap()),
            ..Named::default()
        }
    }

    #[test]
    fn whatever_may_be_judged_otherwise_is_another_version_also_of_what_is_being_deleted() {
        let of = |uid: &str, generation: i64, tier: &str, deleted: Option<&str>| {
            let metadata = json!({
                "name": "production", "uid": uid, "generation": generation, "labels": {"tier": tier},
                "deletionTimestamp": deleted,
            });
            named(&metadata).version()
        };
        let gone = Some("2026-06-06T12:00:00Z");
        for deleted in [None, gone] {
            let known = of("1", 1, "prod", deleted);
            assert_eq!(known, of("1", 1, "prod", deleted));
            assert_ne!(known, of("2", 1, "prod", deleted), "another object");
            assert_ne!(known, of("1", 2, "prod", deleted), "it was locked");
            assert_ne!(known, of("1", 1, "test", deleted), "it was labelled");
            assert_ne!(known, Named::default().version(), "it is gone");
        }
        assert_ne!(of("1", 1, "prod", None), of("1", 1, "prod", gone));
    }
}
