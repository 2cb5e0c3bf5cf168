//! A Chromium: the one named, the one installed, or the one that npm has. Touches the target folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Node, WITHOUT, blocking, left_out};
use crate::provision::{Places, once, run, say};

/// The field's convention for naming a browser.
const CHROME: &str = "CHROME";

/// What an installed one is called.
const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// What a headless browser in a test wants, whichever it is.
const ARGUMENTS: [&str; 5] = [
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
];

/// How a Chromium is run.
#[derive(Debug, Clone)]
pub struct Chromium {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Where libraries are that the machine lacks.
    pub(crate) libraries: Option<PathBuf>,
    /// Where fonts are that the machine may lack.
    pub(crate) fonts: Option<PathBuf>,
}

/// What the script that unpacks npm's Chromium says about it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unpacked {
    arguments: Vec<String>,
    brings_libraries: bool,
}

impl Chromium {
    /// Finds it, or fetches it by npm; `None` if it was left out on request.
    ///
    /// # Errors
    /// When there is none, and none can be had: one sentence says what to do.
    pub async fn fetch() -> Result<Option<Self>> {
        if left_out("chromium") {
            return Ok(None);
        }
        blocking(Self::find_or_fetch).await.map(Some)
    }

    fn find_or_fetch() -> Result<Self> {
        if let Some(named) = env::var_os(CHROME).filter(|named| !named.is_empty()) {
            let program = PathBuf::from(named);
            ensure!(
                answers(&program),
                "{CHROME} has to name a Chromium or a Chrome that runs, and {} does not; unset it to have one found",
                program.display()
            );
            return Ok(Self::installed(program));
        }
        if let Some(found) = NAMES
            .map(PathBuf::from)
            .into_iter()
            .find(|name| answers(name))
        {
            return Ok(Self::installed(found));
        }
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "the page is tested with Chromium, and there is none: install Chromium or Chrome, or name it in {CHROME}; \
             {WITHOUT}=chromium leaves these tests out"
        );
        Self::unpack()
    }

    fn installed(program: PathBuf) -> Self {
        Self {
            program,
            arguments: ARGUMENTS
                .into_iter()
                // A container's root has no sandbox; what is opened is our own page.
                .chain(["--no-sandbox"])
                .map(str::to_owned)
                .collect(),
            libraries: None,
            fonts: None,
        }
    }

    fn unpack() -> Result<Self> {
        let node = Node::find_or_fetch().with_context(|| {
            format!("there is no Chromium on the PATH nor in {CHROME}, so npm's is wanted")
        })?;
        let places = Places::find()?;
        let script = places
            .testkit
            .join("toolbox")
            .join("node")
            .join("unpack_chromium.cjs");
        let folder = once(
            &places.kept.join("chromium"),
            &node.key,
            "Chromium",
            |folder| {
                say("unpacking Chromium: this happens once");
                let mut unpack = node.command();
                unpack.arg(&script).arg(folder);
                run(unpack, "unpack npm's Chromium", "lines")
                    .with_context(|| format!("{WITHOUT}=chromium leaves these tests out"))
            },
        )?;
        let file = folder.join("browser.json");
        let unpacked =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let unpacked: Unpacked = serde_json::from_str(&unpacked)
            .with_context(|| format!("{} is not as expected", file.display()))?;
        Ok(Self {
            program: folder.join("chromium"),
            arguments: unpacked.arguments,
            libraries: unpacked
                .brings_libraries
                .then(|| folder.join("al2023").join("lib")),
            fonts: Some(folder.join("fonts")),
        })
    }
}

/// Whether it runs. One from a snap does, and says so, but may not write where tests do.
fn answers(program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| {
            output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("snap")
        })
}
