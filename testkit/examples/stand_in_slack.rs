//! Runs the stand-in Slack alone, for clients in other languages: prints what they need and waits for ctrl-c.
//!
//! `cargo run -p foredeck-testkit --example stand_in_slack [PORT] [URL]`; with a URL, deliveries go there, signed.

use foredeck_testkit::StandInSlack;
use foredeck_testkit::slack::RequestUrls;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let slack = StandInSlack::start_on(port).await?;
    if let Some(url) = arguments.next() {
        slack.deliver_by_http(RequestUrls::all(&url));
    }
    println!("SLACK_PAGE={}/", slack.url());
    println!("SLACK_API_URL={}", slack.api_url());
    println!("SLACK_BOT_TOKEN={}", slack.bot_token());
    println!("SLACK_APP_TOKEN={}", slack.app_token());
    println!("SLACK_SIGNING_SECRET={}", slack.signing_secret());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
