//! Others' definitions, as the real API server takes them.

use anyhow::Result;
use foredeck_testkit::{ControlPlane, definitions};
use serde_json::json;

#[tokio::test]
async fn the_definitions_that_the_chart_has_to_do_with_are_served() -> Result<()> {
    let plane = ControlPlane::shared().await;
    let all = [
        definitions::prometheus_operator().await?,
        definitions::gateway_api().await?,
        definitions::cilium().await?,
    ]
    .concat();
    let mut kinds: Vec<&str> = all
        .iter()
        .map(|definition| definition.spec.names.kind.as_str())
        .collect();
    kinds.sort_unstable();
    let expected = [
        "CiliumNetworkPolicy",
        "Gateway",
        "HTTPRoute",
        "PodMonitor",
        "PrometheusRule",
        "ServiceMonitor",
    ];
    assert_eq!(kinds, expected);
    plane.install_crds(&all).await?;

    let namespace = plane.namespace("definitions").await?;
    let monitor = |field: &str| {
        json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
            "metadata": {"name": "one", "namespace": namespace},
            "spec": {"selector": {}, "podMetricsEndpoints": [{field: "admin"}]},
        })
        .to_string()
    };
    plane.apply(&monitor("port")).await?;
    let refused = plane.apply(&monitor("prot")).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains("prot"),
        "a field that it doesn't know has to be refused: {refused:#}"
    );
    Ok(())
}
