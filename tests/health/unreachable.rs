//! An API server that isn't reached at the start, is, and then isn't for a while.

use anyhow::{Result, ensure};
use foredeck::api::{Application, crds};
use foredeck_testkit::{ApiProxy, ControlPlane, StandInSlack, wait_for};
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{PATIENCE, gate, line::Line, role};

#[tokio::test]
async fn an_api_server_that_is_away_is_waited_for_and_takes_nobody_out_of_service() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&crds()).await?;
    let home = plane.namespace("away").await?;
    let (proxy, slack) = (ApiProxy::start(plane).await?, StandInSlack::start().await?);
    let mut line = Line::to(&proxy.url())?;
    // The role that has no Lease to lose.
    let receiver = role(plane, "receiver", &home)?
        .kubeconfig(plane.kubeconfig_through(&line.url())?)
        .arguments(["--namespace", &home])
        .env("SLACK_API_URL", slack.api_url())
        .env("SLACK_BOT_TOKEN", slack.bot_token())
        .env("SLACK_APP_TOKEN", slack.app_token())
        .start()?;
    for name in ["receiver-definitions", "receiver-rights"] {
        wait_for(name, PATIENCE, async || {
            let said = gate(&receiver, name).await?.unwrap_or_default();
            ensure!(said.contains("the API server doesn't say"), "{said:?}");
            Ok(())
        })
        .await?;
    }
    assert_eq!(receiver.read("/livez").await?.0, 200);

    line.mend().await?;
    receiver.until_ready(PATIENCE).await?;

    line.cut().await;
    let counted = r#"foredeck_watch_restarts_total{kind="Application",reason="unreachable"}"#;
    let before = receiver.metric(counted).await?;
    wait_for("its watches to try again and again", PATIENCE, async || {
        let now = receiver.metric(counted).await?;
        ensure!(now >= before.map(|before| before + 3.0), "{now:?}");
        ensure!(now > Some(2.0), "{now:?}");
        Ok(())
    })
    .await?;
    receiver
        .until_logged("the API server doesn't say", PATIENCE)
        .await?;
    let (status, said) = receiver.readyz().await?;
    assert_eq!(status, 200, "who is away is away for all replicas: {said}");

    line.mend().await?;
    let api: Api<Application> = Api::namespaced(plane.admin(), &home);
    let application = serde_json::from_value(json!({
        "apiVersion": "foredeck.dev/v1alpha1", "kind": "Application", "metadata": {"name": "checkout"},
        "spec": {"actions": {"deploy": {"pipeline": "Deploy"}}},
    }))?;
    api.create(&PostParams::default(), &application).await?;
    receiver
        .until_logged("the watch works again", PATIENCE)
        .await?;
    receiver.until_ready(PATIENCE).await
}
