//! A secret of a KV engine, version 2: `GET /v1/{mount}/data/{path}`. Touches nothing by itself.

use std::{collections::HashMap, fmt};

use secrecy::SecretString;
use serde::Deserialize;
use vaultrs::api::kv2::requests::ReadSecretRequest;

use super::{
    VaultError, VaultSettingsError,
    caller::Answer,
    settings::{is_name, is_path},
};

/// A value in a secret of a KV engine. Shown as `MOUNT/PATH#KEY`, without the `data/` that the HTTP API puts between them:
/// `secret/foredeck/slack#bot-token`.
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

    /// Where it is asked for.
    pub(super) fn place(&self) -> String {
        format!("{}/data/{}", self.mount, self.path)
    }

    /// How it is asked for.
    pub(super) fn endpoint(&self) -> ReadSecretRequest {
        ReadSecretRequest {
            mount: self.mount.clone(),
            path: self.path.clone(),
            version: None,
        }
    }
}

/// A version of a secret: without data where it is deleted.
#[derive(Deserialize)]
struct Version {
    data: Option<HashMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct WithData {
    data: Option<Version>,
}

/// The value in Vault's answer.
pub(super) fn read(answer: &Answer, wanted: &SecretPath) -> Result<SecretString, VaultError> {
    let missing = |what| VaultError::NotFound {
        place: wanted.place(),
        what,
    };
    let version = match answer.status() {
        200..=208 => answer.read::<WithData>()?.data,
        404 if answer.says(&["no handler for route", "route entry not found"]) => {
            return Err(missing("no KV engine is mounted there"));
        }
        // The same status where the newest version is deleted, but with its metadata.
        404 => answer
            .read::<WithData>()
            .ok()
            .and_then(|answer| answer.data),
        400 => return Err(missing("no KV engine of version 2 is mounted there")),
        status => return Err(VaultError::Status(status)),
    };
    let Some(version) = version else {
        return Err(missing("no secret of version 2 of the KV engine is there"));
    };
    let Some(mut data) = version.data else {
        return Err(missing("the newest version of the secret is deleted"));
    };
    match data.remove(&wanted.key) {
        Some(serde_json::Value::String(value)) => Ok(value.into()),
        _ => Err(VaultError::KeyMissing {
            place: wanted.place(),
            key: wanted.key.clone(),
        }),
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}#{}", self.mount, self.path, self.key)
    }
}
