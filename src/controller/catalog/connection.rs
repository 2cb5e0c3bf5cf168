//! A look at a connection: does Gate answer, and as whom does it know us? Touches Gate.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{Configured, Found};
use crate::{
    api::{SpinnakerConnection, connection::SpinnakerConnectionStatus},
    controller::{connections::refusal, context::Context},
    domain::{readiness, refusal::Refusal},
    spinnaker::GateError,
};

impl Configured for SpinnakerConnection {
    type Status = SpinnakerConnectionStatus;
    const DOING: &'static str = "write a SpinnakerConnection's status";

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], Self::conditions_of)
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    async fn depends_on(&self, _context: &Context) -> String {
        String::new()
    }

    async fn look(&self, context: &Context) -> Found<Self::Status> {
        let user = user(context, self).await;
        let minimum = context.connections.minimum_settle();
        let mut status = self.status.clone().unwrap_or_default();
        let generation = self.metadata.generation;
        readiness::connection(self, minimum, user.as_deref()).set(
            &mut status.conditions,
            generation,
            Timestamp::now(),
        );
        status.observed_generation = generation;
        let retry_after = user.as_ref().err().and_then(|refusal| refusal.retry_after);
        status.user = user.ok();
        Found {
            status,
            retry_after,
        }
    }
}

async fn user(context: &Context, connection: &SpinnakerConnection) -> Result<String, Refusal> {
    let gate = context.connections.gate(connection).await?;
    gate.client.login().await.map_err(|error| {
        if matches!(error, GateError::LoginRequired) {
            context.connections.distrust(connection);
        }
        refusal(&connection.name_any(), &error)
    })
}
