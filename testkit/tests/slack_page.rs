//! The page of the stand-in Slack does what a person wants of it, in a real browser, with an app made with Slack's own
//! framework behind it.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

use std::path::Path;
use std::time::Duration;

use foredeck_testkit::StandInSlack;
use foredeck_testkit::browser::{Browser, Key, Page, Place};
use foredeck_testkit::toolbox::{Chromium, Python, Script};

const SOON: Duration = Duration::from_secs(20);

/// A workspace with an app in it, and a person before the page.
struct Bench {
    slack: StandInSlack,
    page: Page,
    browser: Browser,
    _app: Script,
}

impl Bench {
    async fn start() -> Option<Self> {
        let chromium = Chromium::fetch().await.unwrap()?;
        let python = Python::fetch().await.unwrap()?;
        let slack = StandInSlack::start().await.unwrap();
        let (url, token, app_token) = (slack.api_url(), slack.bot_token(), slack.app_token());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slack_sdks/bolt_app.py");
        let mut app = python.run(&script, &[&url, &token, &app_token]).unwrap();
        app.saw("start", SOON).await.unwrap();
        slack.connected(1, SOON).await.unwrap();
        let browser = Browser::start(&chromium).await.unwrap();
        let page = browser.open(&slack.url(), 1200, 800).await.unwrap();
        Some(Self {
            slack,
            page,
            browser,
            _app: app,
        })
    }

    /// Types into the field below a channel, and sends it.
    async fn say(&self, channel: &str, text: &str) {
        let field = Place::field(&format!("Message #{channel}, or /deploy …"));
        self.page.fill(&field, text).await.unwrap();
        self.page.press(Key::Enter).await.unwrap();
    }

    async fn end(self) {
        assert_eq!(self.page.complaints(), Vec::<String>::new());
        assert_eq!(self.slack.violations(), Vec::<String>::new());
        self.browser.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_command_is_typed_a_button_clicked_and_a_form_sent() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    let page = &bench.page;
    bench
        .say("deploys", "/deploy checkout main to <b>staging</b> & *co*")
        .await;
    page.see("Taken: checkout main to", SOON).await.unwrap();
    page.see("Only visible to you", SOON).await.unwrap();
    page.click(&Place::button("Say why")).await.unwrap();
    let reason = Place::field("Reason");
    page.fill(&reason, "no").await.unwrap();
    page.click(&Place::button("Send").within("dialog[open]"))
        .await
        .unwrap();
    page.see("Say a little more", SOON).await.unwrap();
    page.fill(&reason, "because it is green").await.unwrap();
    page.click(&Place::button("Send").within("dialog[open]"))
        .await
        .unwrap();
    page.see_no_more("Say a little more", SOON).await.unwrap();
    bench
        .slack
        .until("the form to close", SOON, |world| {
            world.modal("alice").is_none().then_some(())
        })
        .await
        .unwrap();
    bench.end().await;
}

#[tokio::test]
async fn a_mention_is_answered_in_its_thread() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    bench.say("deploys", "@foredeck what runs?").await;
    let page = &bench.page;
    page.see("1 reply", SOON).await.unwrap();
    let replies = "(document.querySelector('.replies') || {}).innerText";
    let label = page.evaluate(replies).await.unwrap();
    assert!(label.as_str().unwrap().contains("1 reply"), "{label}");
    bench.end().await;
}
