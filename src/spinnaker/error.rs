//! What can go wrong between us and Gate, in words for people. Touches nothing.

use std::{fmt, time::Duration};

use crate::api::conditions::Reason;

/// Why Gate gave no answer, or not the one that was asked for.
///
/// The messages hold neither secrets nor internal addresses: whatever comes from outside went through
/// [`clean`](super::clean). Nothing here says whether a request took effect; that is [`Sent`](super::Sent)'s part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// No connection, a broken one, or a proxy that says it has none.
    #[error("Gate can't be reached: {detail}")]
    Unreachable {
        /// What is known of it.
        detail: String,
    },
    /// Gate answered a 500 because a service behind it, usually Orca, takes no connection.
    #[error("Gate answers, but the service behind it takes no connection")]
    BackendDown,
    /// No complete answer within the deadline.
    #[error("Gate did not answer within {} s", .after.as_secs_f64())]
    TimedOut {
        /// The deadline.
        after: Duration,
    },
    /// Gate, or a proxy before it, wants a login: missing, wrong or expired credentials.
    #[error("Gate does not accept the credentials of the connection")]
    LoginRequired,
    /// TLS on Gate's side, or a proxy's, does not take the client certificate, or wants one.
    #[error("Gate, or a proxy before it, refuses the login: {why}")]
    CertificateRefused {
        /// In fixed words.
        why: &'static str,
    },
    /// Something answers there that isn't Gate.
    #[error("what answers at spec.gateUrl is not Gate: {detail}")]
    NotSpinnaker {
        /// By what it is known.
        detail: &'static str,
    },
    /// Logged in, but not allowed.
    #[error("Gate forbids it: {message}")]
    Forbidden {
        /// Gate's words.
        message: String,
    },
    /// Gate says that there is no such thing.
    #[error("{what} does not exist")]
    NotFound {
        /// What is missing.
        what: Missing,
    },
    /// The name has a character that Gate's firewall refuses in a path, or is empty.
    #[error(
        "{name:?} can't be asked for by this name: Gate refuses names with / % ; \\ in them; use the id"
    )]
    NotSendable {
        /// The name.
        name: String,
    },
    /// 429, or Gate sheds load.
    #[error("Gate has no capacity for it now")]
    RateLimited {
        /// How long Gate asks us to wait.
        retry_after: Option<Duration>,
    },
    /// All our own permits for this Gate stayed taken for the whole deadline. Nothing was sent.
    #[error("too many calls to this Gate are under way")]
    Saturated,
    /// An answer that proves nothing: an empty 200, a page of a proxy, an error without a shape that we know.
    #[error("Gate's answer is unclear: {detail}")]
    Unclear {
        /// The HTTP status, if there was one.
        status: Option<u16>,
        /// What is odd about it.
        detail: String,
    },
}

impl GateError {
    /// The fixed word for conditions, events and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } | Self::BackendDown | Self::TimedOut { .. } => {
                Reason::GateUnreachable
            }
            Self::LoginRequired | Self::CertificateRefused { .. } => Reason::LoginFailed,
            Self::NotSpinnaker { .. } => Reason::NotSpinnaker,
            Self::Forbidden { .. } => Reason::SpinnakerForbidden,
            Self::NotFound {
                what: Missing::Execution(_),
            } => Reason::ExecutionLost,
            Self::NotFound { .. } | Self::NotSendable { .. } => Reason::PipelineNotFound,
            Self::RateLimited { .. } | Self::Saturated => Reason::SpinnakerBusy,
            Self::Unclear { .. } => Reason::SpinnakerUnclear,
        }
    }

    /// Whether the login is what is wrong: another may be accepted.
    pub fn refuses_login(&self) -> bool {
        self.reason() == Reason::LoginFailed
    }

    /// How long Gate asks us to wait, at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }

    pub(super) fn unclear(status: u16, detail: impl Into<String>) -> Self {
        Self::Unclear {
            status: Some(status),
            detail: detail.into(),
        }
    }
}

/// What Gate doesn't know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// An application, or all of its pipelines.
    Application(String),
    /// A pipeline.
    Pipeline {
        /// The application in which it was looked for.
        application: String,
        /// Its name or id.
        pipeline: String,
    },
    /// An execution: never there, or cleaned up.
    Execution(String),
    /// Who asked for a path doesn't know more.
    Unnamed,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(application) => {
                write!(formatter, "the Spinnaker application {application:?}")
            }
            Self::Pipeline {
                application,
                pipeline,
            } => write!(
                formatter,
                "the pipeline {pipeline:?} of the Spinnaker application {application:?}"
            ),
            Self::Execution(id) => write!(formatter, "the execution {id:?}"),
            Self::Unnamed => formatter.write_str("what was asked for"),
        }
    }
}
