//! A person before the page, in a real browser.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use foredeck_testkit::{
    StandInSlack,
    browser::{Browser, Key, Page, Place},
    toolbox::Chromium,
};

use crate::deck::CHANNEL;

/// The most bytes of a picture: it is loaded by whoever looks at the README.
const MOST_PICTURE: usize = 200 * 1024;

/// The page, as alice sees it.
pub(crate) struct Screen {
    pub(crate) page: Page,
    browser: Browser,
}

impl Screen {
    /// Opens the page. Nothing if Chromium is left out.
    pub(crate) async fn open(slack: &StandInSlack) -> Result<Option<Self>> {
        let Some(chromium) = Chromium::fetch().await? else {
            return Ok(None);
        };
        let browser = Browser::start(&chromium).await?;
        let page = browser.open(&slack.url(), 1200, 800).await?;
        Ok(Some(Self { page, browser }))
    }

    /// Types into the field below the channel, and sends it.
    pub(crate) async fn say(&self, text: &str) -> Result<()> {
        self.page.fill(&below(), text).await?;
        self.page.press(Key::Enter).await
    }

    /// Goes on as somebody else.
    pub(crate) async fn become_somebody(&self, name: &str) -> Result<()> {
        let script = format!(
            "(() => {{ const me = document.querySelector('#me'); \
             me.value = [...me.options].find((one) => one.text.includes({name:?})).value; \
             me.dispatchEvent(new Event('change', {{ bubbles: true }})); return me.value; }})()"
        );
        self.page.evaluate(&script).await?;
        Ok(())
    }

    /// Writes a picture of the page for the README, when `UPDATE_SCREENSHOT` asks for it.
    pub(crate) async fn picture(&self, file: &str) -> Result<()> {
        if std::env::var_os("UPDATE_SCREENSHOT").is_none() {
            return Ok(());
        }
        let next = "/deploy checkout main to production";
        self.page.fill(&below(), next).await?;
        let picture = self.page.picture().await?;
        let bytes = picture.len();
        ensure!(bytes <= MOST_PICTURE, "the picture has {bytes} bytes");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(file), picture)?;
        Ok(())
    }

    /// Nothing went wrong on the page.
    pub(crate) async fn close(self) -> Result<()> {
        let complaints = self.page.complaints();
        ensure!(complaints.is_empty(), "{complaints:?}");
        self.browser.close().await
    }
}

/// The field below the channel.
fn below() -> Place {
    Place::field(&format!("Message #{CHANNEL}, or /deploy …"))
}
