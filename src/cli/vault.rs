//! Where the Vault is that holds secrets of a role, as flags of the roles that speak to Slack. Touches the files that they
//! name.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use reqwest::Url;

use crate::{
    doctor,
    runtime::{live::LiveSecret, tls::Trust},
    secrets::vault::{
        self, JwtSource, Login, Method, SecretPath, VaultSession, VaultSettings, VaultSettingsError,
    },
};

/// The token that every Pod has for the API server, by both names of the folder.
const FOR_THE_API_SERVER: [&str; 2] = [
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "/run/secrets/kubernetes.io/serviceaccount/token",
];

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

/// The session with Vault that serves all secrets of a process: another one when the authorities that Vault's certificate is
/// checked by are others.
pub(super) struct Sessions {
    arguments: VaultArguments,
    token: Option<LiveSecret>,
    made: Mutex<Made>,
}

struct Made {
    /// What the file of the authorities held, as far as it could be used.
    authorities: Option<Vec<u8>>,
    session: Arc<VaultSession>,
    /// Why what it holds now can't be used, as it was said last.
    trouble: Option<String>,
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

    /// The Vault as its health can be asked for; nothing where none is named.
    pub(super) fn health(&self) -> Option<Result<doctor::Vault>> {
        let address = self.vault_address.clone()?;
        let looked_up = self.authorities().and_then(|pem| {
            let trust = match &pem {
                Some(pem) => Trust::from_pem(pem).context("--vault-ca-file can't be used")?,
                None => Trust::Machine,
            };
            Ok(doctor::Vault {
                name: format!("The Vault of the roles' own secrets at {address}"),
                address,
                trust,
            })
        });
        Some(looked_up)
    }

    /// The file of the authorities, as it is now; none where the machine's are trusted.
    fn authorities(&self) -> Result<Option<Vec<u8>>> {
        let Some(file) = &self.vault_ca_file else {
            return Ok(None);
        };
        let pem = fs::read(file)
            .with_context(|| format!("can't read --vault-ca-file {}", file.display()))?;
        Ok(Some(pem))
    }

    fn session(
        &self,
        authorities: Option<&[u8]>,
        token: Option<LiveSecret>,
    ) -> Result<Arc<VaultSession>> {
        let settings = self.settings(authorities, token)?;
        let session =
            VaultSession::new(settings, Timestamp::now).context("Vault can't be asked")?;
        Ok(Arc::new(session))
    }

    /// `authorities` is what their file holds, and `token` the Vault token, where the login takes one.
    fn settings(
        &self,
        authorities: Option<&[u8]>,
        token: Option<LiveSecret>,
    ) -> Result<VaultSettings> {
        let address = self.vault_address.clone().context(
            "--vault-address is missing: a flag that ends with -vault says that a secret is in Vault",
        )?;
        let trust = match (&self.vault_ca_file, authorities) {
            (Some(file), Some(pem)) => Trust::from_pem(pem)
                .with_context(|| format!("--vault-ca-file {} can't be used", file.display()))?,
            _ => Trust::Machine,
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
        let file = &self.vault_jwt_file;
        ensure!(
            !FOR_THE_API_SERVER
                .iter()
                .any(|token| is_for_the_api_server(file, Path::new(token))),
            "--vault-jwt-file {} is the token by which the Pod speaks to the API server, and Vault would be shown it: project \
             a token with an audience for that Vault alone into the Pod, and name its file",
            file.display()
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

impl Sessions {
    /// The first one, which has not logged in yet. `token` is the Vault token, where the login takes one.
    pub(super) fn new(arguments: VaultArguments, token: Option<LiveSecret>) -> Result<Self> {
        let authorities = arguments.authorities()?;
        let session = arguments.session(authorities.as_deref(), token.clone())?;
        Ok(Self {
            arguments,
            token,
            made: Mutex::new(Made {
                authorities,
                session,
                trouble: None,
            }),
        })
    }

    /// The one for the authorities that the file holds now. Where it can't be used, the one before stays, and that is said
    /// once.
    pub(super) fn current(&self) -> Arc<VaultSession> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = match self.arguments.authorities() {
            Ok(authorities) if authorities == made.authorities => None,
            Ok(authorities) => {
                let session = self
                    .arguments
                    .session(authorities.as_deref(), self.token.clone());
                match session {
                    Ok(session) => {
                        tracing::info!(
                            "Vault's certificate authorities were changed, and the new ones are trusted from now on"
                        );
                        made.authorities = authorities;
                        made.session = session;
                        None
                    }
                    Err(error) => Some(format!("{error:#}")),
                }
            }
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(trouble) = &trouble
            && made.trouble.as_ref() != Some(trouble)
        {
            tracing::warn!(
                "Vault's certificate authorities can't be read anew, and those before stay trusted: {trouble}"
            );
        }
        made.trouble = trouble;
        Arc::clone(&made.session)
    }
}

/// Whether the file is the token by which the Pod speaks to the API server, by whatever name.
fn is_for_the_api_server(file: &Path, token: &Path) -> bool {
    let written = |path: &Path| path.components().collect::<PathBuf>();
    let really = |path: &Path| fs::canonicalize(path).ok();
    written(file) == written(token) || really(file).is_some_and(|file| really(token) == Some(file))
}

fn address(text: &str) -> Result<Url, VaultSettingsError> {
    vault::address(text)
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::symlink};

    use clap::Parser;
    use foredeck_testkit::tls::Authority;

    use super::*;
    use crate::runtime::tls;

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
            .settings(None, token)
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
            (
                "--vault-role a --vault-jwt-file /var/run/secrets/kubernetes.io/serviceaccount/token",
                "--vault-jwt-file",
            ),
            (
                "--vault-role a --vault-jwt-file /run/secrets//kubernetes.io/serviceaccount/./token",
                "--vault-jwt-file",
            ),
        ] {
            let error = login(line, None).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
        let error = parse("--vault-role a").settings(None, None).unwrap_err();
        assert!(error.to_string().contains("--vault-address"), "{error}");
        let path = Line::try_parse_from(["role", "--vault-address", "https://vault.example/v1"]);
        assert!(path.is_err());
    }

    #[test]
    fn the_token_for_the_api_server_is_known_by_all_its_names() {
        let folder = env::temp_dir().join(format!("foredeck-jwt-{}", std::process::id()));
        fs::create_dir_all(folder.join("2026")).unwrap();
        // As the kubelet lays it out.
        fs::write(folder.join("2026/token"), "jwt").unwrap();
        symlink("2026", folder.join("..data")).unwrap();
        symlink("..data/token", folder.join("token")).unwrap();
        symlink(folder.join("token"), folder.join("link")).unwrap();
        fs::write(folder.join("own"), "jwt").unwrap();
        let is_it = |name: &str| is_for_the_api_server(&folder.join(name), &folder.join("token"));
        for name in ["token", "./token", "..data/token", "2026/../token", "link"] {
            assert!(is_it(name), "{name}");
        }
        for name in ["own", "nothing"] {
            assert!(!is_it(name), "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn other_authorities_in_their_file_are_trusted_from_the_next_read_on() {
        tls::install();
        let file = env::temp_dir().join(format!("foredeck-vault-ca-{}", std::process::id()));
        let write = |text: &str| fs::write(&file, text).unwrap();
        let authority = |name: &str| Authority::new(name).unwrap().ca_pem();
        let sessions = || {
            let arguments = parse(&format!(
                "--vault-address https://vault.example --vault-role a --vault-ca-file {}",
                file.display()
            ));
            Sessions::new(arguments, None)
        };
        for useless in [None, Some("no certificate")] {
            useless.map(write);
            let error = format!("{:#}", sessions().err().unwrap());
            assert!(error.contains("--vault-ca-file"), "{error}");
            assert!(error.contains(&*file.to_string_lossy()), "{error}");
        }
        write(&authority("old"));
        let sessions = sessions().unwrap();
        let old = sessions.current();
        assert!(Arc::ptr_eq(&old, &sessions.current()));
        write(&authority("new"));
        let new = sessions.current();
        assert!(!Arc::ptr_eq(&old, &new));
        assert!(Arc::ptr_eq(&new, &sessions.current()));
        // Half of it, or nothing at all: whoever replaces it may not be done yet.
        for useless in ["-----BEGIN CERTIFICATE-----", ""] {
            write(useless);
            assert!(Arc::ptr_eq(&new, &sessions.current()), "{useless}");
        }
        fs::remove_file(&file).unwrap();
        assert!(Arc::ptr_eq(&new, &sessions.current()));
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
