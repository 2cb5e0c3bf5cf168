//! What a command prints. Touches stdout.

use std::io::{self, Write};

use anyhow::{Context, Result};

/// Prints a page. Whoever reads may have seen enough before its end, as `head` has.
pub(super) fn page(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("can't write to stdout"),
    }
}
