//! A headless Chromium that is driven as a person drives it: what is clicked is found by its role and its name, as a
//! screen reader finds it. Touches a process, its profile in the temporary folder, and pages.

mod devtools;
mod page;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::{Child, Command};
use ulid::Ulid;

use crate::toolbox::Chromium;
use crate::wait_for;
use devtools::DevTools;

pub use page::{Key, Page, Place};

/// A browser starts in a second or two; a busy machine takes its time.
const START: Duration = Duration::from_mins(1);

/// A running browser. It ends with this value.
#[derive(Debug)]
pub struct Browser {
    devtools: DevTools,
    // After the connection, and before the profile that it writes into.
    process: Child,
    profile: Profile,
}

/// A folder that goes when it is dropped.
#[derive(Debug)]
struct Profile(PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        // The browser may still be writing as it dies; what remains is a temporary folder's affair.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Browser {
    /// Starts one.
    ///
    /// # Errors
    /// When it doesn't answer; quotes what it wrote.
    pub async fn start(chromium: &Chromium) -> Result<Self> {
        let profile = Profile(env::temp_dir().join(format!("foredeck-browser-{}", Ulid::new())));
        fs::create_dir_all(&profile.0)
            .with_context(|| format!("cannot create {}", profile.0.display()))?;
        let log = profile.0.join("log");
        let output = fs::File::create(&log)?;
        let mut command = Command::new(&chromium.program);
        command
            .args(&chromium.arguments)
            // A free port, which it writes into its profile.
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.0.display()))
            // Pictures are to look the same on every screen.
            .args(["--disable-lcd-text", "--hide-scrollbars"])
            // Our pages are on this machine.
            .arg("--no-proxy-server")
            .arg("about:blank")
            .env("HOME", &profile.0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        if let Some(libraries) = &chromium.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        if let Some(fonts) = &chromium.fonts {
            command.env("FONTCONFIG_FILE", font_configuration(&profile.0, fonts)?);
        }
        let process = command
            .spawn()
            .with_context(|| format!("cannot run {}", chromium.program.display()))?;
        let port_file = profile.0.join("DevToolsActivePort");
        let address = wait_for("the browser to listen", START, async || {
            let said = fs::read_to_string(&port_file).with_context(|| {
                format!(
                    "no port yet; it wrote: {}",
                    fs::read_to_string(&log).unwrap_or_default()
                )
            })?;
            let mut lines = said.lines();
            let (port, path) = (
                lines.next().context("no port yet")?,
                lines.next().context("no path yet")?,
            );
            Ok(format!("127.0.0.1:{}{path}", port.parse::<u16>()?))
        });
        let devtools = DevTools::connect(&address.await?).await?;
        Ok(Self {
            devtools,
            process,
            profile,
        })
    }

    /// Opens a page in a window of this many pixels.
    ///
    /// # Errors
    /// When it can't be loaded.
    pub async fn open(&self, url: &str, width: u32, height: u32) -> Result<Page> {
        let target = self
            .devtools
            .call(None, "Target.createTarget", json!({"url": "about:blank"}))
            .await?;
        let session = self
            .devtools
            .call(
                None,
                "Target.attachToTarget",
                json!({"targetId": target["targetId"], "flatten": true}),
            )
            .await?;
        let session = session["sessionId"].as_str().context("no session")?;
        let page = Page::new(self.devtools.clone(), session);
        page.prepare(width, height).await?;
        page.go(url).await?;
        Ok(page)
    }

    /// Ends it in order, so that nothing of it remains.
    pub async fn close(mut self) -> Result<()> {
        // It may be gone before it answers.
        let _ = self.devtools.call(None, "Browser.close", json!({})).await;
        let ended = tokio::time::timeout(START, self.process.wait()).await;
        ensure!(
            ended.is_ok(),
            "the browser with {} did not end",
            self.profile.0.display()
        );
        Ok(())
    }
}

/// The fonts that it brings and those of the machine.
fn font_configuration(profile: &Path, fonts: &Path) -> Result<PathBuf> {
    let file = profile.join("fonts.conf");
    let text = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig>\n\
         <dir>{}</dir>\n<dir>/usr/share/fonts</dir>\n<cachedir>{}</cachedir>\n</fontconfig>\n",
        fonts.display(),
        profile.join("fonts").display()
    );
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
