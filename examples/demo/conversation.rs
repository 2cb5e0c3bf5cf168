//! What somebody would do on the page, done by the demo itself: asks for a deployment, confirms it, and watches its
//! message until the end. Touches the stand-in Slack.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{StandInSlack, wait_for};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Alice deploys 1.5.0 to staging, in the channel of that name.
pub(crate) async fn deploy(slack: &StandInSlack, channel: &str) -> Result<()> {
    let alice = slack.user("alice");
    let line = "/deploy checkout 1.5.0 to staging";
    println!("\nin #{channel}, alice types: {line}");
    alice.command(channel, line)?;
    let plan = wait_for("the plan", PATIENCE, async || {
        slack.ephemerals(alice.id()).pop().context("nothing yet")
    })
    .await?;
    println!("only alice sees:  {}", plan.text);
    alice.click(&plan, "plan-deploy")?;
    println!("alice presses:    Deploy");
    let shown = Mutex::new(String::new());
    wait_for("its message to show the end", PATIENCE, async || {
        let messages = slack.messages(channel);
        // Others before it may still be on their way there.
        let message = messages
            .iter()
            .find(|message| !message.is_reply() && message.text().contains("`1.5.0`"))
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
