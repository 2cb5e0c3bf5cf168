//! A Vault: where it is, and how to log in to it. Touches nothing.

use std::path::PathBuf;

use reqwest::Url;

use crate::runtime::{live::LiveSecret, tls::Trust};

/// One Vault, and as whom we come.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    /// Its address, without a path.
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

/// Whence a JSON Web Token comes.
#[derive(Debug, Clone)]
pub enum JwtSource {
    /// A file that the kubelet keeps fresh: a projected `ServiceAccount` token with an audience of its own.
    File(PathBuf),
}
