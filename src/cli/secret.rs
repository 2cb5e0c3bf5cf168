//! Secrets that a role is started with: from an environment variable, from a file, so that a Kubernetes Secret can be
//! mounted, or from Vault; from one of them each. Never from the command line, which every process on the machine can
//! read. Those of files and of Vault may change while the role runs. Touches the environment, files and Vault.

use std::{
    env::{self, VarError},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use super::{
    process::Process,
    vault::{KeyInVault, Sessions, VaultArguments},
};
use crate::{
    runtime::{admin::Gate, live::LiveSecret},
    secrets::live::{Check, FilePlace, Place, SecretMetrics, VaultPlace, Wanted},
};

/// A secret's places.
pub(super) struct Source<'a> {
    /// What it is called in logs, metrics and `/readyz`.
    pub(super) name: &'static str,
    /// The environment variable.
    pub(super) variable: &'static str,
    /// What the flags begin with; the file's ends with `-file`, Vault's with `-vault`.
    pub(super) flag: &'static str,
    /// The file, where its flag is given.
    pub(super) file: Option<&'a PathBuf>,
    /// The key in Vault, where its flag is given.
    pub(super) vault: Option<&'a KeyInVault>,
    /// What it must be.
    pub(super) check: Check,
}

/// The one place of a secret.
enum Stated<'a> {
    Here(SecretString),
    File(&'a PathBuf),
    Vault(&'a KeyInVault),
}

impl<'a> Source<'a> {
    /// Whether any place is given.
    pub(super) fn is_given(&self) -> Result<bool> {
        Ok(self.stated()?.is_some())
    }

    fn stated(&self) -> Result<Option<Stated<'a>>> {
        let variable = match env::var(self.variable) {
            Ok(text) => Some(SecretString::from(text)),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => bail!("{} is not text", self.variable),
        };
        self.one(variable)
    }

    fn one(&self, variable: Option<SecretString>) -> Result<Option<Stated<'a>>> {
        let given: Vec<(String, Stated<'a>)> = [
            variable.map(|secret| (self.variable.to_owned(), Stated::Here(secret))),
            self.file
                .map(|file| (format!("{}-file", self.flag), Stated::File(file))),
            self.vault
                .map(|key| (format!("{}-vault", self.flag), Stated::Vault(key))),
        ]
        .into_iter()
        .flatten()
        .collect();
        if given.len() > 1 {
            let names: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
            bail!(
                "{} are given, and a secret has one place: leave all but one out",
                names.join(" and ")
            );
        }
        Ok(given.into_iter().next().map(|(_, stated)| stated))
    }

    /// Without what an editor leaves at the end.
    fn here(&self, secret: &SecretString) -> Result<SecretString> {
        let trimmed = SecretString::from(secret.expose_secret().trim());
        ensure!(
            !trimmed.expose_secret().is_empty(),
            "{} is empty",
            self.variable
        );
        (self.check)(&trimmed).map_err(|why| anyhow!("{} can't be used: {why}", self.variable))?;
        Ok(trimmed)
    }
}

/// The secrets of a process: one session with Vault serves them all.
#[derive(Clone)]
pub(super) struct Secrets {
    vault: VaultArguments,
    sessions: Arc<OnceCell<Arc<Sessions>>>,
    gate: Gate,
    metrics: SecretMetrics,
}

impl Secrets {
    /// None is read yet. Once in a process.
    pub(super) fn new(vault: VaultArguments, process: &Process) -> Self {
        Self {
            vault,
            sessions: Arc::default(),
            gate: process.readiness.gate("secrets"),
            metrics: SecretMetrics::register(&process.metrics),
        }
    }

    /// The secret, which must be there: `what` says what it is and where people find it.
    pub(super) async fn required(&self, source: &Source<'_>, what: &str) -> Result<LiveSecret> {
        self.optional(source).await?.with_context(|| {
            format!(
                "{what} is missing: set {0}, or give {1}-file a file that holds it, or {1}-vault its path and key in Vault",
                source.variable, source.flag
            )
        })
    }

    /// The secret, if any place is given. Waits for a Vault that doesn't answer; `/readyz` says so meanwhile.
    pub(super) async fn optional(&self, source: &Source<'_>) -> Result<Option<LiveSecret>> {
        self.gate
            .not_ready(format!("{} is being read", source.name));
        let secret = match source.stated()? {
            None => None,
            Some(Stated::Here(secret)) => Some(LiveSecret::fixed(source.here(&secret)?)),
            Some(Stated::File(file)) => {
                let place = FilePlace(file.clone());
                let kept = self.keep(source.name, source.check, place).await;
                Some(kept.with_context(|| format!("{}-file can't be used", source.flag))?)
            }
            Some(Stated::Vault(key)) => {
                let sessions = self.sessions().await?;
                let place = VaultPlace {
                    session: Box::new(move || sessions.current()),
                    path: key.within(&self.vault)?,
                };
                let kept = self.keep(source.name, source.check, place).await;
                Some(kept.with_context(|| format!("{}-vault can't be used", source.flag))?)
            }
        };
        self.gate.ready();
        Ok(secret)
    }

    async fn keep(
        &self,
        name: &'static str,
        check: Check,
        place: impl Place,
    ) -> Result<LiveSecret> {
        let wanted = Wanted {
            name,
            place: Box::new(place),
            check,
        };
        let kept = wanted.keep(self.metrics.clone(), |unread| {
            self.gate
                .not_ready(format!("{name} can't be read: {unread}"));
        });
        Ok(kept.await?)
    }

    async fn sessions(&self) -> Result<Arc<Sessions>> {
        let begun = self.sessions.get_or_try_init(|| async {
            let token = match &self.vault.vault_token_file {
                Some(file) if self.vault.needs_token() => {
                    let place = FilePlace(file.clone());
                    // Vault says whether it is one.
                    let kept = self.keep("vault-token", |_| Ok(()), place).await;
                    Some(kept.context("--vault-token-file can't be used")?)
                }
                _ => None,
            };
            Sessions::new(self.vault.clone(), token).map(Arc::new)
        });
        begun.await.cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::runtime::{admin::Readiness, metrics::Metrics};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        vault: VaultArguments,
    }

    fn secrets(readiness: &Readiness) -> Secrets {
        Secrets {
            vault: Line::try_parse_from(["role"]).unwrap().vault,
            sessions: Arc::default(),
            gate: readiness.gate("secrets-of-a-test"),
            metrics: SecretMetrics::register(&Metrics::default()),
        }
    }

    fn source<'a>(file: Option<&'a PathBuf>, vault: Option<&'a KeyInVault>) -> Source<'a> {
        Source {
            name: "secret",
            variable: "FOREDECK_TEST_NO_SUCH_VARIABLE",
            flag: "--secret",
            file,
            vault,
            check: |secret| {
                let is_good = !secret.expose_secret().contains("bad");
                is_good
                    .then_some(())
                    .ok_or_else(|| "that is bad".to_owned())
            },
        }
    }

    async fn read(source: &Source<'_>) -> Result<Option<String>, String> {
        let readiness = Readiness::default();
        let read = secrets(&readiness).optional(source).await;
        if read.is_ok() {
            assert!(readiness.closed().is_empty());
        }
        read.map(|secret| secret.map(|secret| secret.current().expose_secret().to_owned()))
            .map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn a_secret_is_read_from_one_place_without_the_line_break_of_an_editor() {
        let file = env::temp_dir().join(format!("foredeck-secret-{}", std::process::id()));
        fs::write(&file, "from a file\n").unwrap();
        assert_eq!(
            read(&source(Some(&file), None)).await,
            Ok(Some("from a file".to_owned()))
        );
        assert_eq!(read(&source(None, None)).await, Ok(None));
        for (content, why) in [(" \n", "is empty"), ("bad hush", "that is bad")] {
            fs::write(&file, content).unwrap();
            let error = read(&source(Some(&file), None)).await.unwrap_err();
            assert!(
                error.contains("--secret-file") && error.contains(why),
                "{error}"
            );
            assert!(!error.contains("hush"), "{error}");
        }
        fs::remove_file(&file).unwrap();
        let gone = read(&source(Some(&file), None)).await.unwrap_err();
        assert!(gone.contains("foredeck-secret-"), "{gone}");
    }

    #[test]
    fn a_secret_of_the_environment_is_checked_like_any_other() {
        let of = |text: &str| {
            let read = source(None, None).here(&text.into());
            read.map(|secret| secret.expose_secret().to_owned())
                .map_err(|error| error.to_string())
        };
        assert_eq!(of(" stated "), Ok("stated".to_owned()));
        assert_eq!(
            of(" ").unwrap_err(),
            "FOREDECK_TEST_NO_SUCH_VARIABLE is empty"
        );
        assert!(of("bad").unwrap_err().contains("that is bad"));
    }

    #[tokio::test]
    async fn two_places_are_one_too_many_and_vault_needs_an_address() {
        let (file, key) = (PathBuf::from("/nowhere"), "a/b#c".parse().unwrap());
        for (two, names) in [
            (
                source(Some(&file), None).one(Some("stated".into())),
                ["FOREDECK_TEST_NO_SUCH_VARIABLE", "--secret-file"],
            ),
            (
                source(Some(&file), Some(&key)).one(None),
                ["--secret-file", "--secret-vault"],
            ),
            (
                source(None, Some(&key)).one(Some("stated".into())),
                ["FOREDECK_TEST_NO_SUCH_VARIABLE", "--secret-vault"],
            ),
        ] {
            let error = two.map(|_| ()).unwrap_err().to_string();
            assert!(names.iter().all(|name| error.contains(name)), "{error}");
            assert!(!error.contains("stated"), "{error}");
        }
        let error = read(&source(None, Some(&key))).await.unwrap_err();
        assert!(error.contains("--vault-address"), "{error}");
    }

    #[tokio::test]
    async fn what_is_missing_is_said_with_where_to_put_it() {
        let readiness = Readiness::default();
        let secrets = secrets(&readiness);
        let missing = source(None, None);
        let error = secrets
            .required(&missing, "Slack's bot token (xoxb-…)")
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Slack's bot token (xoxb-…) is missing: set FOREDECK_TEST_NO_SUCH_VARIABLE, or give --secret-file a file that \
             holds it, or --secret-vault its path and key in Vault"
        );
    }
}
