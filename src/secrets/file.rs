//! A secret in a file, which whoever mounts it may replace. Touches the file.

use std::path::Path;

use secrecy::{SecretString, zeroize::Zeroizing};
use tokio::{fs::File, io::AsyncReadExt};

/// No secret of ours is longer.
const MOST_BYTES: u64 = 64 << 10;

/// Why a file gives no secret. Never says what was found.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("the file {path} can't be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It holds nothing, too much, or no text.
    #[error("the file {path} {what}")]
    Content {
        /// Which.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl FileError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "file",
            Self::Content { .. } => "unusable",
        }
    }
}

/// What it holds now, without space around it; not empty.
///
/// # Errors
/// [`FileError`].
pub async fn read(path: &Path) -> Result<SecretString, FileError> {
    let shown = || path.display().to_string();
    let failed = |source| FileError::Unreadable {
        path: shown(),
        source,
    };
    let wrong = |what| FileError::Content {
        path: shown(),
        what,
    };
    let file = File::open(path).await.map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(wrong("is longer than any secret"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("holds no text"))?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(wrong("is empty"));
    }
    Ok(SecretString::from(trimmed))
}
