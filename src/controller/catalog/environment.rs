//! A look at an Environment: can its connection be used, and does its place stand for itself alone? Touches the API
//! server, where a connection is shared (reads its namespace).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Configured, Found, judged};
use crate::{
    api::{Environment, environment::EnvironmentStatus},
    controller::context::Context,
    domain::readiness,
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
        judged(context, self.clone()).await.digest()
    }

    async fn look(&self, context: &Context) -> Found<Self::Status> {
        let found = judged(context, self.clone()).await.verdict;
        let mut status = self.status.clone().unwrap_or_default();
        let generation = self.metadata.generation;
        readiness::environment_verdict(&found).set(
            &mut status.conditions,
            generation,
            Timestamp::now(),
        );
        status.observed_generation = generation;
        Found {
            status,
            retry_after: None,
        }
    }
}
