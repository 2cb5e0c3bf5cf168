//! What can go wrong in the controller itself; what goes wrong with a request is a decision, not an error. Touches
//! nothing.

/// Why a run could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The API server refused or didn't answer.
    #[error("the API server refused to {doing}")]
    Api {
        /// What was attempted.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server didn't answer in time.
    #[error("the API server did not answer within {} s to {doing}", super::API_DEADLINE.as_secs())]
    ApiSilent {
        /// What was attempted.
        doing: &'static str,
    },
    /// Another writer was first; everything is read and decided again.
    #[error("somebody else was first to {doing}")]
    Conflict {
        /// What was attempted.
        doing: &'static str,
    },
    /// The Lease is held by somebody else, or ran out.
    #[error("this process does not hold the Lease any more")]
    NotLeading,
    /// This process was asked to stop, and begins nothing more.
    #[error("this process was asked to stop")]
    Stopping,
    /// The namespace that was asked about doesn't exist any more.
    #[error("the namespace does not exist any more")]
    NamespaceGone,
    /// A cache can't be filled any more.
    #[error("a watch ended for good")]
    WatchEnded,
}

impl ControllerError {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { .. } => "Api",
            Self::ApiSilent { .. } => "ApiSilent",
            Self::Conflict { .. } => "Conflict",
            Self::NotLeading => "NotLeading",
            Self::Stopping => "Stopping",
            Self::NamespaceGone => "NamespaceGone",
            Self::WatchEnded => "WatchEnded",
        }
    }
}
