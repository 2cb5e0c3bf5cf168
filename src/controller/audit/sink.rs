//! Where audit lines go besides stdout, and why one doesn't take them. Touches what its sinks touch.

use std::{
    fmt, io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reqwest::{StatusCode, Url};

use super::{file::LineFile, ledger::Room, line::Line, server::LineServer};
use crate::{
    runtime::http::{self, Cause},
    secrets::file::FileError,
};

/// After how long a disk counts as one that hangs. A write to it can't be taken back: it is waited for all the same.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where decisions are told besides stdout and events.
#[derive(Debug, Clone, Default)]
pub struct AuditSettings {
    /// Appended to.
    pub file: Option<PathBuf>,
    /// Posted to.
    pub server: Option<AuditServer>,
}

/// Something is under the name of the file that lines can't be appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is there is no regular file, and lines can be appended to no other: name a file, or leave it out, since every line is on stdout anyway"
)]
pub struct NoFile;

impl AuditSettings {
    /// Whether lines can be appended to what is under that name, as far as that can be known before the first one. What isn't
    /// there yet, or can't be looked at, may be a file in time.
    ///
    /// # Errors
    /// [`NoFile`] for a pipe, a terminal, a device or a folder.
    pub fn check_file(path: &Path) -> Result<(), NoFile> {
        match path.metadata() {
            Ok(found) if !found.is_file() => Err(NoFile),
            _ => Ok(()),
        }
    }
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

/// The sinks of a process, and the room for lines that stand nowhere else.
#[derive(Clone, Default)]
pub(in crate::controller) struct Sinks {
    all: Arc<[Sink]>,
    pub(super) room: Room,
}

impl Deref for Sinks {
    type Target = [Sink];

    fn deref(&self) -> &[Sink] {
        &self.all
    }
}

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
    /// The disk hangs.
    #[error("the file has not been written for {} s, and is still being waited for", .0.as_secs())]
    Hangs(Duration),
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
            Self::NoAnswer(Cause::Late) | Self::Hangs(_) => "late",
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
    Sinks {
        all: file.into_iter().chain(server.map(Sink::Server)).collect(),
        room: Room::default(),
    }
}

impl Sink {
    /// A fixed word for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Server(_) => "url",
        }
    }

    /// After how long it is told that nothing came of telling it, where nothing else ends that.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self {
            Self::File(_) => Some(PATIENCE),
            Self::Server(_) => None,
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

    #[test]
    fn only_a_regular_file_is_appended_to() {
        let folder = std::env::temp_dir();
        for bad in [folder.as_path(), Path::new("/dev/null")] {
            assert_eq!(AuditSettings::check_file(bad), Err(NoFile));
        }
        let itself = std::env::current_exe().unwrap();
        for good in [itself.as_path(), Path::new("/not/there/yet")] {
            assert_eq!(AuditSettings::check_file(good), Ok(()));
        }
    }
}
