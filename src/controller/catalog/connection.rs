//! A look at a connection: is there a login, does Gate answer, and as whom does it know us? Touches Gate.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::{Configured, Found};
use crate::{
    api::{
        SpinnakerConnection,
        conditions::Reason,
        connection::{CertificateStatus, SpinnakerConnectionStatus},
    },
    controller::{connections::refusal, context::Context},
    domain::{ids, readiness, refusal::Refusal},
};

/// What Gate says of itself and of us.
struct Known {
    user: String,
    /// Not every Gate tells everybody.
    version: Option<String>,
}

impl Configured for SpinnakerConnection {
    type Status = SpinnakerConnectionStatus;
    const DOING: &'static str = "write a SpinnakerConnection's status";

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], Self::conditions_of)
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    async fn depends_on(&self, context: &Context) -> String {
        // Whatever its keeper finds is told at once, and each new login is tried.
        let login = format!("{:?}", context.connections.login(self));
        ids::sha256(login.as_bytes())
    }

    /// User, version and certificate are those of this look: while Gate can't be asked, it is not said as whom it would know
    /// us, nor what would answer.
    async fn look(&self, context: &Context) -> Found<Self::Status> {
        let found = known(context, self).await;
        let login = context.connections.login(self);
        let minimum = context.connections.minimum_settle();
        let mut status = self.status.clone().unwrap_or_default();
        let generation = self.metadata.generation;
        let user = found.as_ref().map(|known| known.user.as_str());
        readiness::connection(self, minimum, user, &login).set(
            &mut status.conditions,
            generation,
            Timestamp::now(),
        );
        status.observed_generation = generation;
        status.certificate = login.shown().map(|certificate| CertificateStatus {
            serial: certificate.serial.clone(),
            not_after: Time(certificate.not_after),
        });
        let retry_after = found.as_ref().err().and_then(|refusal| refusal.retry_after);
        let known = found.ok();
        status.version = known.as_ref().and_then(|known| known.version.clone());
        status.user = known.map(|known| known.user);
        Found {
            status,
            retry_after,
            changes_at: None,
        }
    }
}

async fn known(context: &Context, connection: &SpinnakerConnection) -> Result<Known, Refusal> {
    let gate = context.connections.gate(connection).await?;
    let login = gate.client.login().await.map_err(|error| {
        if error.refuses_login() {
            context.connections.distrust(connection);
        }
        refusal(&connection.name_any(), &error)
    });
    let not_gate = login
        .as_ref()
        .err()
        .filter(|refusal| refusal.reason == Reason::NotSpinnaker);
    context.connections.looked(connection, not_gate);
    Ok(Known {
        user: login?,
        version: gate.client.version().await.ok(),
    })
}
