//! Where a secret of a role may stand: in a file, such as a mounted Secret's, or in Vault. Touches both.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use tokio::{fs::File, io::AsyncReadExt};

use crate::secrets::vault::{SecretPath, VaultError, VaultSession};

/// No secret of ours is longer.
const MOST_BYTES: u64 = 64 << 10;

/// Why a secret can't be read. Never says what was found.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The file can't be read.
    #[error("the file {path} can't be read: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds nothing, too much, or no text.
    #[error("the file {path} {what}")]
    Content {
        /// Which.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Vault doesn't give it.
    #[error("{}", .0.sentence())]
    Vault(VaultError),
    /// It can't be the secret that it should be.
    #[error("{0}")]
    NotOne(String),
}

impl Unread {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Content { .. } | Self::NotOne(_) => "unusable",
            Self::Vault(error) => match error {
                VaultError::LoginRefused { .. } | VaultError::Token(_) => "login",
                VaultError::PermissionDenied { .. } => "forbidden",
                VaultError::NotFound { .. } | VaultError::KeyMissing { .. } => "missing",
                _ => "vault",
            },
        }
    }
}

/// Where a secret stands.
pub trait Place: Send + Sync + 'static {
    /// What stands there now, without space around it; not empty.
    fn read(&self) -> BoxFuture<'_, Result<SecretString, Unread>>;

    /// Between two looks.
    fn every(&self) -> Duration;

    /// Whether it may be out of order for a while, so that waiting for it is of use.
    fn comes_back(&self) -> bool;
}

/// A file, which whoever mounts it may replace.
#[derive(Debug)]
pub struct FilePlace(pub PathBuf);

impl Place for FilePlace {
    fn read(&self) -> BoxFuture<'_, Result<SecretString, Unread>> {
        Box::pin(read(&self.0))
    }

    fn every(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn comes_back(&self) -> bool {
        false
    }
}

/// A value of a KV engine in Vault.
#[derive(Debug)]
pub struct VaultPlace {
    /// How Vault is asked; one session serves all secrets of a process.
    pub session: Arc<VaultSession>,
    /// Which value.
    pub path: SecretPath,
}

impl Place for VaultPlace {
    fn read(&self) -> BoxFuture<'_, Result<SecretString, Unread>> {
        Box::pin(async {
            let secret = self.session.read(&self.path).await.map_err(Unread::Vault)?;
            let trimmed = secret.expose_secret().trim();
            if trimmed.is_empty() {
                return Err(Unread::NotOne(format!(
                    "the value at {} in Vault is empty",
                    self.path
                )));
            }
            Ok(SecretString::from(trimmed))
        })
    }

    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn comes_back(&self) -> bool {
        true
    }
}

async fn read(path: &Path) -> Result<SecretString, Unread> {
    let shown = || path.display().to_string();
    let failed = |source| Unread::File {
        path: shown(),
        source,
    };
    let wrong = |what| Unread::Content {
        path: shown(),
        what,
    };
    let file = File::open(path).await.map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(wrong("is longer than any secret"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("holds no text"))?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(wrong("is empty"));
    }
    Ok(SecretString::from(trimmed))
}
