//! Thirty deployments at once in one channel, with Slack's limits enforced.

use std::time::Duration;

use anyhow::{Context, Result};
use foredeck_testkit::slack::{Message, World};
use futures::future::try_join_all;
use serde_json::json;

use crate::support::{Bed, all_for, failed, purpose, queued, running, stage, succeeded};

/// How long each part of it may take: Slack takes a post a second in one channel, and 50 updates a minute.
const PATIENCE: Duration = Duration::from_mins(2);

const COUNT: usize = 30;
/// Those that still run when the others have ended.
const LONG: usize = 5;
const STEPS: [&str; 5] = ["Bake", "Check", "Deploy", "Smoke test", "Clean up"];

#[tokio::test]
async fn thirty_deployments_in_one_channel_all_tell_how_they_ended() -> Result<()> {
    let bed = Bed::new("crowd").await?;
    bed.slack.enforce_rate_limits(true);
    let mut settings = bed.settings();
    settings.pace = foredeck::relay::Pace::default();
    let relay = bed.relay_with(settings)?;
    let names: Vec<String> = (0..COUNT).map(|number| format!("crowd-{number}")).collect();
    let (long, short) = names.split_at(LONG);
    try_join_all(names.iter().map(|name| begin(&bed, name))).await?;
    // From here on all have a message, and more is to be shown than Slack lets us show.
    try_join_all(names.iter().map(|name| step_on(&bed, name))).await?;
    try_join_all(short.iter().map(|name| end(&bed, name))).await?;
    try_join_all(long.iter().map(|name| step_on(&bed, name))).await?;
    bed.slack
        .until("the short ones' ends", PATIENCE, |world| {
            ended(world, short.len())
        })
        .await?;
    let running = STEPS[STEPS.len() - 1];
    bed.slack
        .until("what the long ones do last", PATIENCE, |world| {
            let shown = live(world).into_iter().filter(|message| {
                serde_json::to_string(message.blocks()).is_ok_and(|text| text.contains(running))
            });
            (shown.count() == LONG).then_some(())
        })
        .await?;
    try_join_all(long.iter().map(|name| end(&bed, name))).await?;
    bed.slack
        .until("thirty ends", PATIENCE, |world| ended(world, COUNT))
        .await?;
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
    let mut updates = bed.slack.calls_of("chat.update");
    updates.sort_by_key(|call| call.at);
    assert!(updates.len() <= COUNT * 4, "{} updates", updates.len());
    for (index, first) in updates.iter().enumerate() {
        let minute = updates[index..]
            .iter()
            .take_while(|call| call.at < first.at + Duration::from_mins(1));
        let count = minute.count();
        assert!(
            count <= 50,
            "{count} updates in the minute from {:?}",
            first.at
        );
    }
    relay.stop().await
}

fn live(world: &World) -> Vec<Message> {
    let all = world.messages("deploys");
    all.into_iter()
        .filter(|message| purpose(message) == "live")
        .collect()
}

/// That so many have ended, about half of them well, and have been answered.
fn ended(world: &World, wanted: usize) -> Option<()> {
    let live = live(world);
    let shown = live
        .iter()
        .filter(|message| message.text().starts_with(['✅', '❌']));
    let all = world.messages("deploys");
    let told = all.iter().filter(|message| purpose(message) == "end");
    (shown.count() == wanted && told.count() == wanted).then_some(())
}

async fn begin(bed: &Bed, name: &str) -> Result<()> {
    bed.request(name, bed.asked()).await?;
    bed.status(name, queued()).await?;
    bed.until_posted(name, "live").await.map(drop)
}

/// A deployment that changes often, as the controller would tell it.
async fn step_on(bed: &Bed, name: &str) -> Result<()> {
    for step in STEPS {
        let mut status = running();
        status["execution"]["stages"] =
            json!([stage("Configure", "SUCCEEDED"), stage(step, "RUNNING")]);
        status["stage"] = json!(step);
        bed.status(name, status).await?;
    }
    Ok(())
}

async fn end(bed: &Bed, name: &str) -> Result<()> {
    let number: usize = name.rsplit('-').next().context("a number")?.parse()?;
    let how = if number.is_multiple_of(2) {
        succeeded()
    } else {
        failed()
    };
    bed.status(name, how).await
}
