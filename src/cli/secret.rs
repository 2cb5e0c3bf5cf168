//! Secrets that a role is started with: from an environment variable, or from a file, so that a Kubernetes Secret can be
//! mounted. Never from the command line, which every process on the machine can read. Touches the environment and files.

use std::{
    env::{self, VarError},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use secrecy::{ExposeSecret, SecretString};

/// A secret's two places.
pub(super) struct Source<'a> {
    /// The environment variable.
    pub(super) variable: &'static str,
    /// The flag that names a file.
    pub(super) flag: &'static str,
    /// The file, where the flag is given.
    pub(super) file: Option<&'a PathBuf>,
}

impl Source<'_> {
    /// The secret, if either place has it.
    pub(super) fn read(&self) -> Result<Option<SecretString>> {
        let stated = match env::var(self.variable) {
            Ok(text) => Some(text),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => bail!("{} is not text", self.variable),
        };
        self.choose(stated.map(SecretString::from))
    }

    /// The secret, which must be there: `what` says what it is and where people find it.
    pub(super) fn required(&self, what: &str) -> Result<SecretString> {
        self.read()?.with_context(|| {
            format!(
                "{what} is missing: set {} or give {} a file that holds it",
                self.variable, self.flag
            )
        })
    }

    fn choose(&self, stated: Option<SecretString>) -> Result<Option<SecretString>> {
        match (stated, self.file) {
            (Some(_), Some(_)) => bail!(
                "{} and {} are both given: leave one out",
                self.variable,
                self.flag
            ),
            (Some(stated), None) => trimmed(&stated, self.variable).map(Some),
            (None, Some(file)) => trimmed(&read(file)?, self.flag).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Without what an editor leaves at the end.
fn trimmed(secret: &SecretString, place: &str) -> Result<SecretString> {
    let trimmed = secret.expose_secret().trim();
    ensure!(!trimmed.is_empty(), "{place} is empty");
    Ok(SecretString::from(trimmed))
}

fn read(file: &Path) -> Result<SecretString> {
    // The error names the file, never what is in it.
    let text = fs::read_to_string(file)
        .with_context(|| format!("can't read the secret in {}", file.display()))?;
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(file: Option<&PathBuf>) -> Source<'_> {
        Source {
            variable: "FOREDECK_TEST_NO_SUCH_VARIABLE",
            flag: "--secret-file",
            file,
        }
    }

    fn exposed(secret: Result<Option<SecretString>>) -> Result<Option<String>, String> {
        secret
            .map(|secret| secret.map(|secret| secret.expose_secret().to_owned()))
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_secret_is_read_from_one_place_without_the_line_break_of_an_editor() {
        let file = env::temp_dir().join(format!("foredeck-secret-{}", std::process::id()));
        fs::write(&file, "from a file\n").unwrap();
        assert_eq!(
            exposed(source(Some(&file)).choose(None)),
            Ok(Some("from a file".to_owned()))
        );
        assert_eq!(
            exposed(source(None).choose(Some(" stated ".into()))),
            Ok(Some("stated".to_owned()))
        );
        assert_eq!(exposed(source(None).choose(None)), Ok(None));
        let both = exposed(source(Some(&file)).choose(Some("stated".into()))).unwrap_err();
        assert!(
            both.contains("leave one out") && !both.contains("stated"),
            "{both}"
        );
        fs::write(&file, " \n").unwrap();
        let empty = exposed(source(Some(&file)).choose(None)).unwrap_err();
        assert_eq!(empty, "--secret-file is empty");
        fs::remove_file(&file).unwrap();
        let gone = exposed(source(Some(&file)).choose(None)).unwrap_err();
        assert!(gone.contains("foredeck-secret-"), "{gone}");
    }

    #[test]
    fn what_is_missing_is_said_with_where_to_put_it() {
        let error = source(None)
            .required("Slack's bot token (xoxb-…)")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Slack's bot token (xoxb-…) is missing: set FOREDECK_TEST_NO_SUCH_VARIABLE or give --secret-file a file that holds it"
        );
    }
}
