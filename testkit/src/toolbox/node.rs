//! Node's packages exactly as pinned in `testkit/toolbox/node`: Slack's SDKs, a third party's stand-ins, a browser.
//! Touches the target folder and, the first time, npm's registry by npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::python::at_least;
use super::{Script, WITHOUT, blocking, left_out};
use crate::provision::{Places, once, run, say, short_hash};

/// The oldest that the packages run on.
const OLDEST: (u32, u32) = (20, 11);

/// Node with the pinned packages at hand.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) folder: PathBuf,
    /// Changes with every change of the pins.
    pub(super) key: String,
}

impl Node {
    /// Finds the packages, or fetches them with the machine's `npm`; `None` if they were left out on request.
    ///
    /// # Errors
    /// When there is no `node` that will do, or the packages can't be had: one sentence says what to do.
    pub async fn fetch() -> Result<Option<Self>> {
        if left_out("node") {
            return Ok(None);
        }
        blocking(Self::find_or_fetch).await.map(Some)
    }

    pub(super) fn find_or_fetch() -> Result<Self> {
        require_node()?;
        let places = Places::find()?;
        let pins = places.testkit.join("toolbox").join("node");
        let read = |name| {
            let file = pins.join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        let (package, lock) = (read("package.json")?, read("package-lock.json")?);
        let key = short_hash(&format!("{package}\n{lock}"));
        let folder = once(
            &places.kept.join("node"),
            &key,
            "Node's packages",
            |folder| {
                say(
                    "fetching Slack's SDKs for Node, emulate and a Chromium with npm: about 100 MB, and once",
                );
                fs::write(folder.join("package.json"), &package)?;
                fs::write(folder.join("package-lock.json"), &lock)?;
                let mut npm = Command::new("npm");
                npm.args([
                    "ci",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                    "--loglevel=http",
                ])
                .current_dir(folder);
                run(npm, "fetch Node's packages with npm", "lines")
                    .with_context(|| format!("{WITHOUT}=node,chromium leaves these tests out"))
            },
        )?;
        Ok(Self { folder, key })
    }

    /// Runs a script of ours, with what to tell it in its arguments.
    pub fn run(&self, script: &Path, arguments: &[&str]) -> Result<Script> {
        let mut command = self.command();
        command.arg(script).args(arguments);
        Script::start(command)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("node");
        // What a person set for programs of their own is not for ours; scripts elsewhere find the packages by the path.
        command
            .env_remove("NODE_OPTIONS")
            .env("NODE_PATH", self.folder.join("node_modules"));
        command
    }
}

fn require_node() -> Result<()> {
    let (major, minor) = OLDEST;
    let missing = format!(
        "Slack's SDKs for Node vouch for what speaks Slack here, and want `node` {major}.{minor} or newer and `npm` on the \
         PATH (https://nodejs.org/en/download); {WITHOUT}=node,chromium leaves these tests out"
    );
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let node = version("node").with_context(|| missing.clone())?;
    ensure!(at_least(&node, OLDEST), "{missing}: this one is {node}");
    version("npm").with_context(|| missing)?;
    Ok(())
}
