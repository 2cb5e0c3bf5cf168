//! Where a secret of a role may stand: in a file, such as a mounted Secret's, or in Vault. Touches both.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use crate::secrets::{
    file::{self, FileError},
    vault::{SecretPath, VaultError, VaultSession},
};

/// Why a secret can't be read. Never says what was found.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The file doesn't give it.
    #[error(transparent)]
    File(#[from] FileError),
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
            Self::File(error) => error.reason(),
            Self::NotOne(_) => "unusable",
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
        Box::pin(async { Ok(file::read(&self.0).await?) })
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
