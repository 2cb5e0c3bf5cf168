//! vercel-labs' emulate, a third party's stand-in for many services: Slack, GitHub, Okta. Touches a port of 127.0.0.1.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Node, Script};
use crate::provision::Places;

/// It starts in a second; a busy machine takes its time.
const START: Duration = Duration::from_mins(1);

/// A running service of emulate. It ends with this value.
#[derive(Debug)]
pub struct Emulate {
    url: String,
    _script: Script,
}

impl Emulate {
    /// Starts a service, such as `slack`, with what is in it, as emulate's configuration has it.
    ///
    /// # Errors
    /// When it doesn't start; quotes what it wrote.
    pub async fn start(node: &Node, service: &str, seed: &Value) -> Result<Self> {
        let script = Places::find()?
            .testkit
            .join("toolbox")
            .join("node")
            .join("emulate.cjs");
        let mut script = node.run(&script, &[service, &seed.to_string()])?;
        let started = script.saw("start", START).await?;
        let url = started["url"]
            .as_str()
            .context("emulate doesn't say where it is")?;
        Ok(Self {
            url: url.to_owned(),
            _script: script,
        })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.url
    }
}
