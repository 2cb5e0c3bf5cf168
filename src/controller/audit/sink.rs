//! Where audit lines go besides stdout, and why one doesn't take them. Touches what its sinks touch.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use reqwest::{StatusCode, Url};

use super::{file::LineFile, line::Line, server::LineServer};
use crate::{
    runtime::http::{self, Cause},
    secrets::file::FileError,
};

/// Where decisions are told besides stdout and events.
#[derive(Debug, Clone, Default)]
pub struct AuditSettings {
    /// Appended to.
    pub file: Option<PathBuf>,
    /// Posted to.
    pub server: Option<AuditServer>,
}

/// A server that takes lines.
#[derive(Clone)]
pub struct AuditServer {
    pub(super) url: Url,
    /// Who holds what this file says may post.
    pub(super) token: Option<PathBuf>,
    /// The authorities that its certificate may be from; those that the machine trusts when left out.
    pub(super) authorities: Option<PathBuf>,
}

/// A URL is none of a server that lines may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the URL of an audit sink: https://host/path is, or http:// on the loopback, without a user and a password in it"
)]
pub struct NoServer;

impl AuditServer {
    /// The server at this URL, the file of the bearer token for it, and the file of the authorities that its certificate may be
    /// from where those that the machine trusts don't do.
    ///
    /// # Errors
    /// [`NoServer`], where others could listen in.
    pub fn new(
        url: &str,
        token: Option<PathBuf>,
        authorities: Option<PathBuf>,
    ) -> Result<Self, NoServer> {
        let url: Url = url.parse().map_err(|_| NoServer)?;
        let mut server = url.clone();
        server.set_path("");
        server.set_query(None);
        if !http::is_safe_server(&server) {
            return Err(NoServer);
        }
        Ok(Self {
            url,
            token,
            authorities,
        })
    }
}

/// Path and query may hold what lets one post.
impl fmt::Debug for AuditServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuditServer")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

/// The sinks of a process.
pub(in crate::controller) type Sinks = Arc<[Sink]>;

/// One place that takes lines.
pub(in crate::controller) enum Sink {
    File(LineFile),
    Server(LineServer),
}

/// Why a sink doesn't take lines now.
#[derive(Debug, thiserror::Error)]
pub(in crate::controller) enum Trouble {
    /// The file can't be written.
    #[error("the file can't be written")]
    File(#[source] io::Error),
    /// The token can't be read.
    #[error("the token can't be read")]
    Token(#[source] FileError),
    /// Whom to trust can't be read.
    #[error("the authorities of the sink's certificate can't be read: {0}")]
    Trust(String),
    /// No answer came.
    #[error("no answer came: {}", words(*.0))]
    NoAnswer(Cause),
    /// It says no.
    #[error("it answered {}", .status.as_u16())]
    Answer {
        /// How.
        status: StatusCode,
        /// When it wants to be asked again.
        again: Option<Duration>,
    },
}

impl Trouble {
    /// A fixed word for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::File(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "full",
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "forbidden",
                _ => "file",
            },
            Self::Token(_) => "token",
            Self::Trust(_) => "trust",
            Self::NoAnswer(Cause::Late) => "late",
            Self::NoAnswer(Cause::Untrusted(_) | Cause::Alert(_) | Cause::Tls) => "tls",
            Self::NoAnswer(_) => "unreachable",
            Self::Answer { status, .. } => match status.as_u16() {
                401 | 403 | 407 => "unauthorized",
                429 => "limited",
                300..=399 => "redirected",
                400..=499 => "refused",
                _ => "broken",
            },
        }
    }

    /// Whether it is these lines that it doesn't take, and may take others.
    pub(super) fn is_about_the_lines(&self) -> bool {
        matches!(self, Self::Answer { status, .. } if matches!(status.as_u16(), 400 | 413 | 422))
    }

    /// When it wants to be asked again.
    pub(super) fn again(&self) -> Option<Duration> {
        match self {
            Self::Answer { again, .. } => *again,
            _ => None,
        }
    }
}

fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Late => "time ran out",
        Cause::Name => "its name can't be resolved",
        Cause::Untrusted(distrust) => distrust.words(),
        Cause::Alert(_) | Cause::Tls => "TLS did not come about",
        Cause::Refused => "nothing listens there",
        Cause::Broken => "the connection broke",
    }
}

/// All that are configured.
pub(in crate::controller) fn open(settings: &AuditSettings) -> Sinks {
    let file = settings.file.clone().map(LineFile::new).map(Sink::File);
    let server = settings.server.clone().map(LineServer::new);
    file.into_iter().chain(server.map(Sink::Server)).collect()
}

impl Sink {
    /// A fixed word for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Server(_) => "url",
        }
    }

    /// Tells them, all or none as far as can be known; they are kept there once this is done.
    pub(super) async fn tell(&self, lines: &[&Line]) -> Result<(), Trouble> {
        match self {
            Self::File(file) => file.append(lines).await.map_err(Trouble::File),
            Self::Server(server) => server.post(lines).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_only_where_nobody_listens_in_and_the_url_is_not_shown() {
        for good in [
            "https://sink.example/ingest?key=hidden",
            "https://sink.example:8443",
            "http://127.0.0.1:8080/x",
            "http://localhost/x",
        ] {
            let server = AuditServer::new(good, None, None).unwrap();
            assert_eq!(server.url.as_str().trim_end_matches('/'), good);
            assert!(!format!("{server:?}").contains("hidden"));
        }
        for bad in [
            "http://sink.example/ingest",
            "https://user:password@sink.example/",
            "https://sink.example/#x",
            "ftp://sink.example/",
            "sink.example",
            "",
        ] {
            assert_eq!(
                AuditServer::new(bad, None, None).unwrap_err(),
                NoServer,
                "{bad}"
            );
        }
    }

    #[test]
    fn only_what_is_wrong_with_the_lines_sets_them_aside() {
        let answer = |code: u16| Trouble::Answer {
            status: StatusCode::from_u16(code).unwrap(),
            again: None,
        };
        for (code, reason, lines) in [
            (302, "redirected", false),
            (400, "refused", true),
            (401, "unauthorized", false),
            (404, "refused", false),
            (413, "refused", true),
            (422, "refused", true),
            (429, "limited", false),
            (500, "broken", false),
        ] {
            assert_eq!(answer(code).reason(), reason, "{code}");
            assert_eq!(answer(code).is_about_the_lines(), lines, "{code}");
        }
        let full = Trouble::File(io::ErrorKind::StorageFull.into());
        assert_eq!(full.reason(), "full");
    }
}
