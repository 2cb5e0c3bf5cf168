//! What the quickstart expects in Spinnaker.

use std::time::Duration;

use foredeck_testkit::gate::{Parameter, Pipeline, Stage};

/// The pipelines of the application `checkout`.
pub(crate) fn pipelines() -> Vec<Pipeline> {
    let placed = |name: &str| {
        Pipeline::new("checkout", name)
            .parameter(Parameter::new("account").required())
            .parameter(Parameter::new("namespace").required())
    };
    let deploy = |name: &str| {
        placed(name)
            .parameter(Parameter::new("branch").required())
            .stage(Stage::wait("Bake", Duration::from_millis(1500)))
            .stage(Stage::precondition(
                "Smoke test",
                "${parameters.branch != 'broken'}",
                "GET /healthz answered 503 for two minutes",
            ))
            .stage(Stage::deploy("Deploy", Duration::from_secs(2)))
    };
    vec![
        deploy("Deploy to staging"),
        deploy("Deploy to production"),
        placed("Rollback")
            .parameter(Parameter::new("to").required())
            .stage(Stage::deploy("Roll back", Duration::from_secs(2))),
        placed("Restart").stage(Stage::deploy("Restart", Duration::from_secs(1))),
    ]
}
