//! The flags of the audit sinks. Touches nothing.

use std::{convert::Infallible, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::controller::{AuditServer, AuditSettings};

/// Where decisions are told besides stdout and events.
#[derive(Args, Debug)]
#[expect(clippy::struct_field_names, reason = "their names are the flags'")]
pub(super) struct AuditArguments {
    /// File that audit lines are appended to, too; it may be rotated by renaming or by truncating
    #[arg(long, value_name = "FILE", env = "FOREDECK_AUDIT_FILE")]
    audit_file: Option<PathBuf>,

    /// Server that audit lines are posted to, too, as newline-delimited JSON: `https://host/path`
    #[arg(long, value_name = "URL", env = "FOREDECK_AUDIT_URL", hide_env_values = true, value_parser = secret)]
    audit_url: Option<SecretString>,

    /// File with the bearer token for that server; read anew each time
    #[arg(
        long,
        value_name = "FILE",
        env = "FOREDECK_AUDIT_TOKEN_FILE",
        requires = "audit_url"
    )]
    audit_token_file: Option<PathBuf>,

    /// File with the authorities (PEM) that the server's certificate may be from, instead of those that the machine trusts;
    /// read anew each time
    #[arg(
        long,
        value_name = "FILE",
        env = "FOREDECK_AUDIT_CA_FILE",
        requires = "audit_url"
    )]
    audit_ca_file: Option<PathBuf>,
}

/// Its path and query may let one post: it is checked where nobody repeats it.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

impl AuditArguments {
    /// As the controller takes them.
    pub(super) fn settings(self) -> Result<AuditSettings> {
        let Self {
            audit_file,
            audit_url,
            audit_token_file,
            audit_ca_file,
        } = self;
        if let Some(path) = &audit_file {
            AuditSettings::check_file(path).context("--audit-file can't be used")?;
        }
        let server = match audit_url {
            None => None,
            Some(url) => {
                let server = AuditServer::new(url.expose_secret(), audit_token_file, audit_ca_file);
                Some(server.context("--audit-url can't be used")?)
            }
        };
        Ok(AuditSettings {
            file: audit_file,
            server,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: AuditArguments,
    }

    fn parse(line: &str) -> Result<AuditSettings> {
        Line::try_parse_from(format!("controller {line}").split_whitespace())?
            .arguments
            .settings()
    }

    #[test]
    fn a_token_goes_with_a_server_and_a_server_with_https() {
        let none = parse("").unwrap();
        assert!(none.file.is_none() && none.server.is_none());
        let all = parse("--audit-file /a --audit-url https://sink.example/in --audit-token-file /t --audit-ca-file /c").unwrap();
        assert_eq!(all.file, Some(PathBuf::from("/a")));
        assert!(all.server.is_some());
        let alone = parse("--audit-token-file /t").unwrap_err().to_string();
        assert!(alone.contains("--audit-url"), "{alone}");
        let refused = parse("--audit-url http://sink.example/?key=hidden").unwrap_err();
        let words = format!("{refused:#} {refused:?}");
        assert!(words.contains("not the URL of an audit sink"), "{words}");
        assert!(!words.contains("hidden"), "{words}");
    }
}
