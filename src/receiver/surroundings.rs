//! What lies around a request in its namespace and may keep it from starting. Touches the API server: reads a namespace's
//! labels, where a freeze asks for them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, timeout_at};

use super::{
    Receiver,
    occasion::Occasion,
    plan::{Plan, guarding::Around},
    sight::decoded,
};
use crate::{
    api::{Application, DeployTarget, Environment},
    domain::{guards::freeze::Freezes, selector::Labels},
    runtime::{cache::Guarded, telemetry},
};

/// What lies around the requests for one Application in one Environment.
pub(super) struct Surroundings {
    application: Option<Application>,
    environment: Option<Environment>,
    environments: Vec<Arc<Guarded<Environment>>>,
    targets: Vec<Arc<Guarded<DeployTarget>>>,
    /// The freezes of the namespace and of foredeck's own.
    pub(super) freezes: Freezes,
    labels: Option<Labels>,
}

impl Surroundings {
    /// As it is judged by.
    pub(super) fn with<T>(&self, judge: impl FnOnce(Around<'_>) -> T) -> T {
        judge(Around {
            application: self.application.as_ref(),
            environment: self.environment.as_ref(),
            environments: &decoded(&self.environments).collect::<Vec<_>>(),
            targets: &decoded(&self.targets).collect::<Vec<_>>(),
            freezes: &self.freezes,
            namespace_labels: self.labels.as_ref(),
        })
    }
}

impl Receiver {
    /// What lies around, known by `deadline`. Whoever asks has to have been found to see the namespace.
    pub(super) async fn surroundings(
        &self,
        namespace: &str,
        application: &str,
        environment: &str,
        deadline: Instant,
    ) -> Surroundings {
        let freezes = self.directory.freezes(namespace);
        let labels = if freezes.asks_for_labels() {
            self.labels(namespace, deadline).await
        } else {
            None
        };
        let environments = self.directory.those(|environment: &Environment| {
            environment.metadata.namespace.as_deref() == Some(namespace)
        });
        let targets = self.directory.those(|target: &DeployTarget| {
            target.metadata.namespace.as_deref() == Some(namespace)
                && target.spec.application == application
        });
        Surroundings {
            application: self.directory.get(namespace, application),
            environment: self.directory.get(namespace, environment),
            environments,
            targets,
            freezes,
            labels,
        }
    }

    /// What lies around a plan.
    pub(super) async fn around(&self, occasion: &Occasion, plan: &Plan) -> Surroundings {
        let (order, deadline) = (&plan.order, occasion.persist_by());
        self.surroundings(
            &plan.namespace,
            &order.application,
            &order.environment,
            deadline,
        )
        .await
    }

    /// A namespace's labels. Where they can't be read every freeze is taken to hold there, as the controller does.
    async fn labels(&self, namespace: &str, deadline: Instant) -> Option<Labels> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let read = timeout_at(deadline, api.get(namespace)).await.ok()?;
        let read = read.inspect_err(|error| {
            tracing::warn!(namespace, error = %telemetry::chain(error), "a namespace's labels can't be read");
        });
        read.ok().map(|read| read.labels().clone())
    }
}
