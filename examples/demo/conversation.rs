//! What people would do on the page, done by the demo itself: one asks for a deployment, confirms it, another approves it
//! where that is needed, and its message is watched until the end. Touches the stand-in Slack.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{StandInSlack, slack::Message, wait_for};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Alice deploys 1.5.0 to staging, in the channel of that name; then to production, where bob has to approve.
pub(crate) async fn deploy(slack: &StandInSlack, channel: &str) -> Result<()> {
    ask(slack, channel, "staging").await?;
    until_it_succeeded(slack, channel, "staging").await?;
    ask(slack, channel, "production").await?;
    approve(slack, channel).await?;
    until_it_succeeded(slack, channel, "production").await
}

/// Alice asks, and confirms the plan.
async fn ask(slack: &StandInSlack, channel: &str, environment: &str) -> Result<()> {
    let alice = slack.user("alice");
    let line = format!("/deploy checkout 1.5.0 to {environment}");
    println!("\nin #{channel}, alice types: {line}");
    alice.command(channel, &line)?;
    let plan = wait_for("the plan", PATIENCE, async || {
        let all = slack.ephemerals(alice.id());
        let mut plans = all.into_iter().rev();
        let plan = plans.find(|plan| plan.text.contains(&format!("*{environment}*")));
        plan.context("nothing yet")
    })
    .await?;
    println!("only alice sees:  {}", plan.text);
    alice.click(&plan, "plan-deploy")?;
    println!("alice presses:    Deploy");
    Ok(())
}

/// Bob presses Approve in the thread.
async fn approve(slack: &StandInSlack, channel: &str) -> Result<()> {
    let question = wait_for("the question", PATIENCE, async || {
        let asks = |message: &Message| {
            message.is_reply()
                && serde_json::to_string(message.blocks())
                    .is_ok_and(|text| text.contains("request-approve"))
        };
        let found = slack.messages(channel).into_iter().find(asks);
        found.context("nobody is asked yet")
    })
    .await?;
    println!("in its thread:    {}", question.text());
    slack.user("bob").click(&question, "request-approve")?;
    println!("bob presses:      Approve");
    Ok(())
}

async fn until_it_succeeded(slack: &StandInSlack, channel: &str, environment: &str) -> Result<()> {
    let shown = Mutex::new(String::new());
    wait_for("its message to show the end", PATIENCE, async || {
        let messages = slack.messages(channel);
        // Others before it may still be on their way there.
        let message = messages
            .iter()
            .find(|message| {
                let text = message.text();
                !message.is_reply() && text.contains("`1.5.0`") && text.contains(environment)
            })
            .context("no message yet")?;
        let text = message.text();
        let before = mem::replace(
            &mut *shown.lock().unwrap_or_else(PoisonError::into_inner),
            text.to_owned(),
        );
        if before != text {
            println!("#{channel} shows:   {text}");
        }
        ensure!(text.to_lowercase().contains("succeeded"), "{text}");
        Ok(())
    })
    .await
}
