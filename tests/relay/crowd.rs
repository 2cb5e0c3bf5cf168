//! Thirty deployments at once in one channel, with Slack's limits enforced.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use serde_json::json;

use crate::support::{Bed, all_for, failed, purpose, queued, running, stage, succeeded};

const COUNT: usize = 30;

#[tokio::test]
async fn thirty_deployments_in_one_channel_all_tell_how_they_ended() -> Result<()> {
    let bed = Bed::new("crowd").await?;
    bed.slack.enforce_rate_limits(true);
    let mut settings = bed.settings();
    settings.pace = foredeck::relay::Pace::default();
    let relay = bed.relay_with(settings)?;
    let names: Vec<String> = (0..COUNT).map(|number| format!("crowd-{number}")).collect();
    try_join_all(names.iter().map(|name| deploy(&bed, name))).await?;
    let ends = |world: &foredeck_testkit::slack::World| {
        let all = world.messages("deploys");
        let live: Vec<_> = all
            .iter()
            .filter(|message| purpose(message) == "live")
            .collect();
        let told = all
            .iter()
            .filter(|message| purpose(message) == "end")
            .count();
        let good = live
            .iter()
            .filter(|message| message.text().starts_with('✅'))
            .count();
        let bad = live
            .iter()
            .filter(|message| message.text().starts_with('❌'))
            .count();
        (live.len() == COUNT && good == COUNT / 2 && bad == COUNT / 2 && told == COUNT)
            .then_some(())
    };
    let patience = Duration::from_mins(4);
    bed.slack.until("thirty ends", patience, ends).await?;
    for name in &names {
        let told = bed.told(name).await?;
        assert_eq!(told.problem, None, "{name}");
    }
    assert_eq!(
        all_for(&bed.slack, "deploys", "live").len(),
        COUNT,
        "one each"
    );
    let exceeded: usize = bed.slack.rate_limit_violations().values().sum();
    assert!(exceeded <= 3, "{:?}", bed.slack.rate_limit_violations());
    let updates = bed.slack.calls_of("chat.update").len();
    assert!(updates <= COUNT * 4, "{updates} updates");
    relay.stop().await
}

/// A deployment that changes often, as the controller would tell it.
async fn deploy(bed: &Bed, name: &str) -> Result<()> {
    bed.request(name, bed.asked()).await?;
    bed.status(name, queued()).await?;
    for step in ["Bake", "Check", "Deploy", "Smoke test", "Clean up"] {
        let mut status = running();
        status["execution"]["stages"] =
            json!([stage("Configure", "SUCCEEDED"), stage(step, "RUNNING")]);
        bed.status(name, status).await?;
    }
    let number: usize = name.rsplit('-').next().context("a number")?.parse()?;
    bed.status(
        name,
        if number.is_multiple_of(2) {
            succeeded()
        } else {
            failed()
        },
    )
    .await
}
