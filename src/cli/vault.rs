//! Where the Vault is that holds secrets of a role, as flags of the roles that speak to Slack. Touches the files that they
//! name.

use std::{fs, path::PathBuf, str::FromStr};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use reqwest::Url;

use crate::{
    runtime::{live::LiveSecret, tls::Trust},
    secrets::vault::{
        self, JwtSource, Login, Method, SecretPath, VaultSession, VaultSettings, VaultSettingsError,
    },
};

/// The Vault of a role's own secrets, and as whom the role comes. Not that of connections to Gate, which name their own.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "flags are named after their fields"
)]
pub(super) struct VaultArguments {
    /// Vault, or `OpenBao`, for the flags that end with `-vault`, such as <https://vault.corp.example:8200>
    #[arg(long, value_name = "URL", env = "FOREDECK_VAULT_ADDRESS", value_parser = address)]
    vault_address: Option<Url>,

    /// File of the certificate authorities that Vault's certificate is checked by, as PEM; the machine's when left out
    #[arg(long, value_name = "FILE", env = "FOREDECK_VAULT_CA_FILE")]
    vault_ca_file: Option<PathBuf>,

    /// Vault's namespace
    #[arg(long, value_name = "NAME", env = "FOREDECK_VAULT_NAMESPACE")]
    vault_namespace: Option<String>,

    /// How to log in to Vault
    #[arg(long, value_enum, env = "FOREDECK_VAULT_LOGIN", default_value_t)]
    vault_login: VaultLogin,

    /// Where the login is mounted in Vault, without `auth/`; named like the login when left out
    #[arg(long, value_name = "PATH", env = "FOREDECK_VAULT_MOUNT")]
    vault_mount: Option<String>,

    /// The login's role in Vault, but with `--vault-login token`
    #[arg(long, value_name = "NAME", env = "FOREDECK_VAULT_ROLE")]
    vault_role: Option<String>,

    /// File that holds the `ServiceAccount` token to log in with, and that the kubelet keeps fresh
    #[arg(
        long,
        value_name = "FILE",
        env = "FOREDECK_VAULT_JWT_FILE",
        default_value = "/var/run/secrets/foredeck.dev/vault/token"
    )]
    vault_jwt_file: PathBuf,

    /// File that holds a Vault token, with `--vault-login token`
    #[arg(long, value_name = "FILE", env = "FOREDECK_VAULT_TOKEN_FILE")]
    pub(super) vault_token_file: Option<PathBuf>,

    /// Where the KV engine, version 2, is mounted in Vault
    #[arg(
        long,
        value_name = "PATH",
        env = "FOREDECK_VAULT_KV_MOUNT",
        default_value = "secret"
    )]
    vault_kv_mount: String,
}

/// How to log in to Vault.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum VaultLogin {
    /// With a `ServiceAccount` token, which Vault asks the API server about
    #[default]
    Kubernetes,
    /// With a `ServiceAccount` token, whose signature Vault checks
    Jwt,
    /// With a Vault token
    Token,
}

/// `PATH#KEY`: a key of a secret in the KV engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct KeyInVault {
    path: String,
    key: String,
}

impl FromStr for KeyInVault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, key) = text
            .split_once('#')
            .ok_or_else(|| "not a path and a key such as foredeck/slack#bot-token".to_owned())?;
        // The mount is said elsewhere, and any will do to see whether these can be.
        SecretPath::new("secret", path, key).map_err(|error| error.to_string())?;
        Ok(Self {
            path: path.to_owned(),
            key: key.to_owned(),
        })
    }
}

impl KeyInVault {
    /// It as a place in Vault.
    pub(super) fn within(&self, arguments: &VaultArguments) -> Result<SecretPath> {
        SecretPath::new(&arguments.vault_kv_mount, &self.path, &self.key)
            .context("--vault-kv-mount can't be used")
    }
}

impl VaultArguments {
    /// Whether the login takes a Vault token.
    pub(super) fn needs_token(&self) -> bool {
        self.vault_login == VaultLogin::Token
    }

    /// A session that has not logged in yet. `token` is the Vault token, where the login takes one.
    pub(super) fn session(&self, token: Option<LiveSecret>) -> Result<VaultSession> {
        let settings = self.settings(token)?;
        VaultSession::new(settings, Timestamp::now).context("Vault can't be asked")
    }

    fn settings(&self, token: Option<LiveSecret>) -> Result<VaultSettings> {
        let address = self.vault_address.clone().context(
            "--vault-address is missing: a flag that ends with -vault says that a secret is in Vault",
        )?;
        let trust = match &self.vault_ca_file {
            Some(file) => {
                let pem = fs::read(file)
                    .with_context(|| format!("can't read --vault-ca-file {}", file.display()))?;
                Trust::from_pem(&pem)
                    .with_context(|| format!("--vault-ca-file {} can't be used", file.display()))?
            }
            None => Trust::Machine,
        };
        Ok(VaultSettings {
            address,
            namespace: self.vault_namespace.clone(),
            trust,
            login: self.login(token)?,
        })
    }

    fn login(&self, token: Option<LiveSecret>) -> Result<Login> {
        let (method, usual) = match self.vault_login {
            VaultLogin::Kubernetes => (Method::Kubernetes, "kubernetes"),
            VaultLogin::Jwt => (Method::Jwt, "jwt"),
            VaultLogin::Token => {
                ensure!(
                    self.vault_role.is_none() && self.vault_mount.is_none(),
                    "--vault-login token takes neither --vault-role nor --vault-mount: leave them out"
                );
                return token.map(Login::Token).context(
                    "--vault-token-file is missing: --vault-login token takes the token from there",
                );
            }
        };
        ensure!(
            self.vault_token_file.is_none(),
            "--vault-token-file is given without --vault-login token"
        );
        Ok(Login::Jwt {
            method,
            mount: self.vault_mount.clone().unwrap_or_else(|| usual.to_owned()),
            role: self.vault_role.clone().context(
                "--vault-role is missing: the login's role in Vault, which its operators made for this role of foredeck",
            )?,
            token: JwtSource::File(self.vault_jwt_file.clone()),
        })
    }
}

fn address(text: &str) -> Result<Url, VaultSettingsError> {
    vault::address(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        vault: VaultArguments,
    }

    fn parse(line: &str) -> VaultArguments {
        Line::try_parse_from(format!("role {line}").split_whitespace())
            .unwrap()
            .vault
    }

    fn login(line: &str, token: Option<LiveSecret>) -> Result<Login, String> {
        parse(&format!("--vault-address https://vault.example {line}"))
            .settings(token)
            .map(|settings| settings.login)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_login_is_mounted_under_its_own_name_unless_told() {
        for (line, expected, at) in [
            ("", Method::Kubernetes, "kubernetes"),
            ("--vault-login jwt", Method::Jwt, "jwt"),
            ("--vault-mount eks/one", Method::Kubernetes, "eks/one"),
        ] {
            let login = login(&format!("--vault-role slack {line}"), None).unwrap();
            let Login::Jwt {
                method,
                mount,
                role,
                token: JwtSource::File(file),
            } = login
            else {
                panic!("{login:?}");
            };
            assert_eq!(
                (method, mount.as_str(), role.as_str()),
                (expected, at, "slack")
            );
            assert!(file.starts_with("/var/run/secrets"), "{}", file.display());
        }
        let token = login("--vault-login token", Some("hvs.hush".into())).unwrap();
        assert!(matches!(token, Login::Token(_)), "{token:?}");
        assert!(!format!("{token:?}").contains("hush"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for (line, named) in [
            ("", "--vault-role"),
            ("--vault-login token", "--vault-token-file"),
            ("--vault-login token --vault-role a", "--vault-role"),
            ("--vault-role a --vault-token-file f", "--vault-login token"),
            ("--vault-role a --vault-ca-file /nowhere", "--vault-ca-file"),
        ] {
            let error = login(line, None).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
        let error = parse("--vault-role a").settings(None).unwrap_err();
        assert!(error.to_string().contains("--vault-address"), "{error}");
        let path = Line::try_parse_from(["role", "--vault-address", "https://vault.example/v1"]);
        assert!(path.is_err());
    }

    #[test]
    fn a_key_in_vault_is_a_path_and_a_key() {
        let key: KeyInVault = "foredeck/slack#bot-token".parse().unwrap();
        let at = key.within(&parse("--vault-kv-mount kv")).unwrap();
        assert_eq!(at.to_string(), "kv/foredeck/slack#bot-token");
        for text in [
            "",
            "foredeck/slack",
            "#key",
            "path#",
            "../sys#key",
            "a#b#c",
            "a b#c",
        ] {
            assert!(text.parse::<KeyInVault>().is_err(), "{text}");
        }
        assert!(key.within(&parse("--vault-kv-mount ../sys")).is_err());
    }
}
