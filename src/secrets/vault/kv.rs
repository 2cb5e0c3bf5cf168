//! A secret of a KV engine, version 2: `GET /v1/{mount}/data/{path}`. Touches nothing by itself.

use std::{fmt, str::FromStr};

use super::{
    VaultSettingsError,
    settings::{is_name, is_path},
};

/// A value in a secret of a KV engine. As text: `MOUNT/PATH#KEY`, the mount being the first part, without the `data/` that
/// the HTTP API puts between them: `secret/foredeck/slack#bot-token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPath {
    pub(super) mount: String,
    pub(super) path: String,
    pub(super) key: String,
}

impl SecretPath {
    /// A key of the secret `path` in the engine at `mount`, which may have parts itself.
    ///
    /// # Errors
    /// [`VaultSettingsError::Path`] where one is empty or leads elsewhere.
    pub fn new(mount: &str, path: &str, key: &str) -> Result<Self, VaultSettingsError> {
        if !is_path(mount) || !is_path(path) || !is_name(key) {
            return Err(VaultSettingsError::Path);
        }
        Ok(Self {
            mount: mount.to_owned(),
            path: path.to_owned(),
            key: key.to_owned(),
        })
    }
}

impl FromStr for SecretPath {
    type Err = VaultSettingsError;

    fn from_str(text: &str) -> Result<Self, VaultSettingsError> {
        let (place, key) = text.split_once('#').ok_or(VaultSettingsError::Path)?;
        let (mount, path) = place.split_once('/').ok_or(VaultSettingsError::Path)?;
        Self::new(mount, path, key)
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}#{}", self.mount, self.path, self.key)
    }
}
