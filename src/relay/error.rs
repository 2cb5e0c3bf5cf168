//! What can go wrong in the relay itself; what Slack refuses is dealt with, not an error. Touches nothing.

/// Why a pass could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The API server refused.
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
    /// The API server has something that is no request, or no freeze, as we know them.
    #[error("what is told of can't be read")]
    Unreadable {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A cache can't be filled any more.
    #[error("a watch ended for good")]
    WatchEnded,
}

impl RelayError {
    /// The fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { .. } => "Api",
            Self::ApiSilent { .. } => "ApiSilent",
            Self::Unreadable { .. } => "Unreadable",
            Self::WatchEnded => "WatchEnded",
        }
    }
}
