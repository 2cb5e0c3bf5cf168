//! Where a Vault is and how to log in to it, checked before anything is sent. Touches the file or the API server
//! that a token for a login comes from.

use std::path::PathBuf;

use reqwest::{Url, header::HeaderValue};
use secrecy::SecretString;

use crate::{
    runtime::{http::is_safe_server, live::LiveSecret, tls::Trust},
    secrets::{
        file,
        service_account::{ServiceAccountTokens, TokenError},
    },
};

/// One Vault, and as whom we come.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    /// Its address, without a path; see [`address`].
    pub address: Url,
    /// The `X-Vault-Namespace` of all calls.
    pub namespace: Option<String>,
    /// Whose certificates its own is checked by.
    pub trust: Trust,
    /// How to log in.
    pub login: Login,
}

/// How to log in.
#[derive(Debug, Clone)]
pub enum Login {
    /// With a JSON Web Token, by `POST /v1/auth/{mount}/login`.
    Jwt {
        /// Which method is mounted there.
        method: Method,
        /// Where, without `auth/`.
        mount: String,
        /// The method's role.
        role: String,
        /// Whence the token comes.
        token: JwtSource,
    },
    /// With a Vault token.
    Token(LiveSecret),
}

/// An auth method that takes a JSON Web Token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Vault asks the API server about it.
    Kubernetes,
    /// Vault checks its signature.
    Jwt,
}

/// Whence a JSON Web Token comes: asked for at each login.
#[derive(Debug, Clone)]
pub enum JwtSource {
    /// A file that the kubelet keeps fresh: a projected `ServiceAccount` token with an audience of its own.
    File(PathBuf),
    /// The API server, which is asked for a new one each time.
    ServiceAccount(ServiceAccountTokens),
}

impl JwtSource {
    /// A token for one login.
    pub(super) async fn token(&self) -> Result<SecretString, TokenError> {
        match self {
            Self::ServiceAccount(tokens) => tokens.token().await,
            Self::File(path) => file::read(path).await.map_err(|_| TokenError::File),
        }
    }
}

/// Why these are no settings, or no request of a certificate. None of them quotes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultSettingsError {
    /// Not an `https` address (`http` is for the loopback), or more than host and port.
    #[error(
        "the address of Vault must be https:// (http:// on the loopback alone), a host and perhaps a port, and nothing after \
         it"
    )]
    Address,
    /// A namespace that no header can carry, or that leads elsewhere.
    #[error("the namespace of Vault must be a path such as team/prod")]
    Namespace,
    /// A mount or role that is empty or leads elsewhere.
    #[error(
        "a mount, role or path of Vault must be letters, digits and any of _ - . between slashes, without . or .. as a part"
    )]
    Path,
    /// A name with a comma or space in it, of which Vault would make two.
    #[error("a name in a certificate must be without commas and spaces")]
    Name,
    /// Too short for a certificate to be of use.
    #[error("the ttl of a certificate must be at least 30 s")]
    Ttl,
    /// No HTTP client comes about: the machine's trust can't be read.
    #[error("TLS can't be set up")]
    Client,
}

impl VaultSettings {
    /// # Errors
    /// [`VaultSettingsError`].
    pub(super) fn check(&self) -> Result<(), VaultSettingsError> {
        if !is_safe_server(&self.address) {
            return Err(VaultSettingsError::Address);
        }
        if let Some(namespace) = &self.namespace
            && (!is_path(namespace) || HeaderValue::from_str(namespace).is_err())
        {
            return Err(VaultSettingsError::Namespace);
        }
        match &self.login {
            Login::Jwt { mount, role, .. } if !is_path(mount) || !is_name(role) => {
                Err(VaultSettingsError::Path)
            }
            _ => Ok(()),
        }
    }
}

/// A Vault's address: `https`, a host, perhaps a port, and nothing else; or `http` on the loopback, where nobody listens in.
///
/// # Errors
/// [`VaultSettingsError::Address`].
pub fn address(text: &str) -> Result<Url, VaultSettingsError> {
    text.parse()
        .ok()
        .filter(is_safe_server)
        .ok_or(VaultSettingsError::Address)
}

/// Segments of a path in Vault, none of which leads elsewhere: no empty one, no `.` and no `..`.
pub(super) fn is_path(text: &str) -> bool {
    text.len() <= 1_024 && text.split('/').all(is_name)
}

/// One of them.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for text in [
            "https://vault.example",
            "https://vault.example:8200/",
            "http://[::1]:8200",
            "http://127.0.0.1:8200",
            "http://localhost",
        ] {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "vault.example",
            "http://vault.example",
            "http://127.0.0.1.example",
            "http://localhost@vault.example",
            "ftp://vault.example",
            "unix:///run/vault",
            "data:,x",
            "https://",
            "https://vault.example/v1",
            "https://vault.example/?a",
            "https://vault.example/#a",
            "https://me@vault.example",
            "https://me:hush@vault.example",
        ] {
            assert_eq!(address(text), Err(VaultSettingsError::Address), "{text}");
        }
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        assert!(is_path("pki/issue_1/a.b-c"));
        for text in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", "a/./b", "a b", "a%2f", "a?b", "a#b",
            "a\n", "ä", "a\tb",
        ] {
            assert!(!is_path(text), "{text:?}");
        }
    }
}
