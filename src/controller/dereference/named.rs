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

/// Uid, generation and labels of each object that a request names.
pub(super) type Version = [Option<(Option<String>, Option<i64>, Option<Labels>)>; 3];

/// What a request names, as far as it exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::controller) struct Named {
    pub(in crate::controller) application: Option<Application>,
    pub(in crate::controller) environment: Option<Environment>,
    pub(in crate::controller) connection: Option<SpinnakerConnection>,
}

impl Named {
    /// Uid, generation and labels of each: as long as they are the same, so is what was decided on them. Freezes select by
    /// labels, which make no new generation.
    pub(in crate::controller) fn version(&self) -> Version {
        fn of<K: Resource>(
            object: Option<&K>,
        ) -> Option<(Option<String>, Option<i64>, Option<Labels>)> {
            let object = object.filter(|object| object.meta().deletion_timestamp.is_none())?;
            let meta = object.meta();
            Some((meta.uid.clone(), meta.generation, meta.labels.clone()))
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
