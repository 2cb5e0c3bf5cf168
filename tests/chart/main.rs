//! The chart as helm renders it, on the real API server: who may write what, whatever RBAC allows.
//!
//! `UPDATE_INSTALL=1 cargo test --test chart` writes `examples/install` anew.

mod install;

use std::path::Path;

use anyhow::Result;
use foredeck_testkit::helm;

/// The chart, rendered for foredeck's own namespace.
async fn render(arguments: &[&str]) -> Result<String> {
    let chart = root().join("charts/foredeck");
    let all = [&["--namespace", "foredeck-system"], arguments].concat();
    helm::template(&chart, &all).await
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
