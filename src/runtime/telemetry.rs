//! Logs of the process: on stderr, as text or JSON lines, filtered by `RUST_LOG`. Touches the environment and stderr.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FromEnvError, ParseError},
    fmt,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

/// What is logged without `RUST_LOG`. kube's client logs each failed answer as an error, also those we expect and
/// handle; our own callers log what matters, once.
const DEFAULT_FILTER: &str = "info,kube_client::client::builder=off";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people; with colour when stderr is a terminal.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Why there are no logs.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// `RUST_LOG` isn't a list of directives such as `info,foredeck=debug`.
    #[error("RUST_LOG can't be read as a log filter")]
    Filter(#[source] FromEnvError),
    /// The built-in filter can't be read.
    #[error("the default log filter can't be read")]
    DefaultFilter(#[source] ParseError),
    /// Logging was installed before in this process.
    #[error("logging is already installed")]
    Installed(#[source] TryInitError),
}

impl TelemetryError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Filter(_) | Self::DefaultFilter(_) => "LogFilterInvalid",
            Self::Installed(_) => "LoggingInstalledTwice",
        }
    }
}

/// Starts logging. Once per process.
pub fn install(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = match std::env::var_os(EnvFilter::DEFAULT_ENV) {
        Some(directives) if !directives.is_empty() => {
            EnvFilter::try_from_default_env().map_err(TelemetryError::Filter)?
        }
        _ => EnvFilter::try_new(DEFAULT_FILTER).map_err(TelemetryError::DefaultFilter)?,
    };
    tracing_subscriber::registry()
        .with(lines(format).with_filter(filter))
        .try_init()
        .map_err(TelemetryError::Installed)
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    match format {
        LogFormat::Text => fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(io::stderr)
            .boxed(),
    }
}

/// An error and its causes in one line, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_filter_is_read() {
        assert!(EnvFilter::try_new(DEFAULT_FILTER).is_ok());
    }
}
