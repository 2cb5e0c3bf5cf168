//! What a Vault was asked and what it gave, as its own audit device tells it: who logged in with what, and which certificates
//! were issued. Touches that file.

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use foredeck_testkit::toolbox::OpenBao;
use serde::Deserialize;
use serde_json::Value;

/// What a token of a `ServiceAccount` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    pub(crate) aud: Vec<String>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
}

/// Somebody who showed a token of a `ServiceAccount`.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) claims: Claims,
    /// Whether a client token was given for it.
    pub(crate) accepted: bool,
}

/// A certificate that was issued.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// As the audit has it: pairs with colons between them.
    pub(crate) serial: String,
    /// Seconds since 1970.
    pub(crate) ends: i64,
}

pub(crate) fn claims(token: &str) -> Result<Claims> {
    let payload = token.split('.').nth(1).context("no token")?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload)?;
    Ok(serde_json::from_slice(&payload)?)
}

/// Who tried to log in, oldest first.
pub(crate) fn logins(vault: &OpenBao) -> Result<Vec<Login>> {
    let mut logins = Vec::new();
    for answer in answers(vault)? {
        let path = answer["request"]["path"].as_str().unwrap_or_default();
        if path.starts_with("auth/") && path.ends_with("/login") {
            let token = answer["request"]["data"]["jwt"].as_str();
            let given = answer["response"]["auth"]["client_token"].as_str();
            logins.push(Login {
                claims: claims(token.context("a login without a token")?)?,
                accepted: given.is_some_and(|token| !token.is_empty()),
            });
        }
    }
    Ok(logins)
}

/// What was issued to whoever came with another token than root's, oldest first.
pub(crate) fn issued(vault: &OpenBao) -> Result<Vec<Certificate>> {
    let mut certificates = Vec::new();
    for answer in answers(vault)? {
        let path = answer["request"]["path"].as_str().unwrap_or_default();
        let data = &answer["response"]["data"];
        let (serial, ends) = (data["serial_number"].as_str(), data["expiration"].as_i64());
        let by_root = answer["request"]["client_token"] == vault.root_token();
        if let (true, false, Some(serial), Some(ends)) =
            (path.contains("/issue/"), by_root, serial, ends)
        {
            certificates.push(Certificate {
                serial: serial.to_owned(),
                ends,
            });
        }
    }
    Ok(certificates)
}

/// Every token and key that went over the wire, each with what it is.
pub(crate) fn secrets(vault: &OpenBao) -> Result<Vec<(&'static str, String)>> {
    let places = [
        ("the token of a ServiceAccount", "/request/data/jwt"),
        ("a Vault token that was shown", "/request/client_token"),
        (
            "a Vault token that was given",
            "/response/auth/client_token",
        ),
        (
            "a private key that Vault made",
            "/response/data/private_key",
        ),
    ];
    let mut found = vec![("the root token of Vault", vault.root_token().to_owned())];
    for answer in answers(vault)? {
        for (name, place) in places {
            let secret = answer.pointer(place).and_then(Value::as_str);
            if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
                found.push((name, secret.to_owned()));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn answers(vault: &OpenBao) -> Result<Vec<Value>> {
    let mut audited = vault.audited()?;
    audited.retain(|line| line["type"] == "response");
    Ok(audited)
}
