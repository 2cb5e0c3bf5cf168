//! A look at an Environment: can its connection be used, does its place stand for itself alone, can what it says comes before
//! it, and is it locked? Touches the API server, where a connection is shared (reads its namespace).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{Configured, Found, judged};
use crate::{
    api::{Environment, environment::EnvironmentStatus},
    controller::{context::Context, locks},
    domain::{readiness, refusal::Refusal},
};

impl Configured for Environment {
    type Status = EnvironmentStatus;
    const DOING: &'static str = "write an Environment's status";

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], Self::conditions_of)
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    async fn depends_on(&self, context: &Context) -> String {
        let digest = judged(context, self.clone()).await.digest();
        format!("{digest} {:?}", order(context, self))
    }

    async fn look(&self, context: &Context) -> Found<Self::Status> {
        let found = judged(context, self.clone()).await.verdict;
        let found = found.and_then(|()| order(context, self));
        let mut status = self.status.clone().unwrap_or_default();
        let (generation, now) = (self.metadata.generation, Timestamp::now());
        readiness::environment_verdict(&found).set(&mut status.conditions, generation, now);
        let changes_at = locks::of_environment(self, &mut status.conditions, now);
        status.observed_generation = generation;
        Found {
            status,
            retry_after: None,
            changes_at,
        }
    }
}

/// Whether what comes before it can.
fn order(context: &Context, environment: &Environment) -> Result<(), Refusal> {
    let namespace = environment.namespace();
    let all = context
        .caches
        .environments
        .filter(|other| other.namespace() == namespace);
    let all = all.iter().filter_map(|object| object.0.as_ref().ok());
    readiness::order(environment, all)
}
