//! Logs of the process: on stderr, as text or JSON lines, filtered by `RUST_LOG`. The audit lines: on stdout, always as JSON,
//! always all. Touches the environment, stderr and stdout.

mod line;

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use kube::Resource;
use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, FromEnvError, ParseError, filter_fn},
    fmt::{self, MakeWriter},
    layer::{Filter, SubscriberExt},
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use crate::api::trace::TraceId;

/// What is logged without `RUST_LOG`. kube's client logs each failed answer as an error, also those we expect and
/// handle; our own callers log what matters, once.
const DEFAULT_FILTER: &str = "info,kube_client::client::builder=off,kube_runtime::watcher=off";

/// Libraries that write what they are sent, and with it secrets; they never get into the logs, whatever `RUST_LOG` says. The
/// target alone, or with all below it.
const NEVER: [(&str, Below); 5] = [
    // An error text of Vault, which may hold the token that it was shown.
    ("vaultrs", Below::Too),
    ("rustify", Below::Too),
    // An answer of the API server that can't be read: perhaps a Secret, or a token. Below it nothing is told but addresses.
    ("kube_client::client", Below::Not),
    // The address of Slack's WebSocket, which has a ticket in it, and each message, which may hold a response_url.
    ("tungstenite", Below::Too),
    ("tokio_tungstenite", Below::Too),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    Too,
    Not,
}

/// The target of events that are audit lines. They go to stdout, one JSON object a line, whatever `RUST_LOG` says; to
/// the logs they don't go.
pub const AUDIT: &str = "audit";

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
        .with(audit(io::stdout))
        .with(lines(format).with_filter(logs(filter)))
        .try_init()
        .map_err(TelemetryError::Installed)
}

/// Starts logging as [`install`] does, by these directives and in text, but to a writer of the caller's, the audit lines with
/// the rest: for tests that look for what must not be there.
pub fn install_to<W>(directives: &str, writer: W) -> Result<(), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(directives).map_err(TelemetryError::DefaultFilter)?;
    let lines = fmt::layer()
        .fmt_fields(line::text())
        .with_ansi(false)
        .with_writer(writer.clone());
    tracing_subscriber::registry()
        .with(audit(writer))
        .with(lines.with_filter(logs(filter)))
        .try_init()
        .map_err(TelemetryError::Installed)
}

/// What gets into the logs by these directives.
fn logs<S: tracing::Subscriber>(filter: EnvFilter) -> impl Filter<S> {
    filter.and(filter_fn(|line| may_be_logged(line.target())))
}

/// Whether what comes from there may be in the logs at all.
fn may_be_logged(target: &str) -> bool {
    target != AUDIT
        && !NEVER.iter().any(|(never, below)| {
            target.strip_prefix(never).is_some_and(|rest| {
                rest.is_empty() || (*below == Below::Too && rest.starts_with("::"))
            })
        })
}

/// The audit lines: when it was written, and the event's own fields.
fn audit<S, W>(writer: W) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_level(false)
        .with_target(false)
        .with_writer(writer)
        .with_filter(filter_fn(|line| line.target() == AUDIT))
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    match format {
        LogFormat::Text => fmt::layer()
            .fmt_fields(line::text())
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .event_format(line::Json)
            .with_writer(io::stderr)
            .boxed(),
    }
}

/// What stands around every line that is logged while something is done about an object: which it is, under the same names
/// everywhere.
pub fn about<K: Resource<DynamicType = ()>>(object: &K) -> tracing::Span {
    let meta = object.meta();
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    let kind = K::kind(&());
    // An error's level: whoever wants errors alone wants to know of what they are.
    if kind == "DeployRequest" {
        let uid = meta.uid.as_deref();
        let trace_id = uid.and_then(TraceId::of).map(tracing::field::display);
        tracing::error_span!(
            "request",
            request.namespace = namespace,
            request.name = name,
            request.uid = uid,
            trace_id
        )
    } else if kind == "SpinnakerConnection" {
        tracing::error_span!(
            "connection",
            connection.namespace = namespace,
            connection.name = name
        )
    } else {
        tracing::error_span!(
            "object",
            object.kind = &*kind,
            object.namespace = namespace,
            object.name = name
        )
    }
}

/// A time span as logs have it, in whole milliseconds.
pub fn milliseconds(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
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
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_audit_line_is_one_json_object_with_the_events_own_fields_and_nothing_else_is_one() {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::registry().with(audit(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("pass", request = "other").entered();
            tracing::info!("a log line");
            let nobody: Option<&str> = None;
            tracing::info!(target: AUDIT, audit = true, by = "alice\n\"x\"", why = nobody);
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(line["timestamp"].take().is_string());
        assert_eq!(
            line,
            serde_json::json!({"timestamp": null, "audit": true, "by": "alice\n\"x\""})
        );
    }

    #[test]
    fn libraries_that_write_what_they_are_sent_are_not_heard_and_those_beside_them_are() {
        for target in [
            AUDIT,
            "vaultrs",
            "vaultrs::api",
            "rustify::client",
            "kube_client::client",
            "tungstenite::protocol",
        ] {
            assert!(!may_be_logged(target), "{target}");
        }
        for target in [
            "foredeck::secrets::vault",
            "vaultrs_beside",
            "kube_client::client::tls",
            "auditor",
        ] {
            assert!(may_be_logged(target), "{target}");
        }
    }

    #[test]
    fn default_filter_is_read() {
        assert!(EnvFilter::try_new(DEFAULT_FILTER).is_ok());
    }
}
