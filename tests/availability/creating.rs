//! An admission webhook that takes the creation of requests and never says anything: each then stays under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck::api::DeployRequest;
use foredeck_testkit::wait_for;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{Api, api::PostParams};
use serde_json::json;
use tokio::{net::TcpListener, time::timeout};

use crate::support::{Bed, PATIENCE};

/// A creation that is answered within this isn't held.
const HELD: Duration = Duration::from_millis(500);

/// Holds every creation of a request in one namespace.
pub(crate) struct Creations(Arc<AtomicUsize>);

impl Creations {
    /// Returns when the API server knows of it.
    pub(crate) async fn held(bed: &Bed) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let held = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&held);
        tokio::spawn(async move {
            let mut all = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                all.push(connection);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let name = &bed.namespace;
        let webhook = json!({
            "metadata": {"name": name},
            "webhooks": [{
                "name": "held.foredeck.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "timeoutSeconds": 30,
                "clientConfig": {"url": format!("https://{address}/")},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "rules": [{
                    "apiGroups": ["foredeck.dev"], "apiVersions": ["*"], "resources": ["deployrequests"],
                    "operations": ["CREATE"],
                }],
            }],
        });
        let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(bed.client.clone());
        webhooks
            .create(&PostParams::default(), &serde_json::from_value(webhook)?)
            .await
            .context("a webhook")?;
        let creations = Self(held);
        let probe: DeployRequest = serde_json::from_value(json!({
            "apiVersion": "foredeck.dev/v1alpha1", "kind": "DeployRequest", "metadata": {"name": "probe"},
            "spec": {"application": "checkout", "environment": "env-0", "version": "probe"},
        }))?;
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        wait_for("creations to be held", PATIENCE, async || {
            let api = bed.api::<DeployRequest>();
            let answer = timeout(HELD, api.create(&dry, &probe)).await;
            ensure!(creations.count() > 0, "{answer:?}");
            Ok(())
        })
        .await?;
        Ok(creations)
    }

    /// How many were begun.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until there are more of them than `before`.
    pub(crate) async fn until_more(&self, before: usize) -> Result<()> {
        wait_for("a creation to be under way", PATIENCE, async || {
            ensure!(self.count() > before, "{}", self.count());
            Ok(())
        })
        .await
    }
}
