//! Which commits a version stands for, and how a target stands to its repository. Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// Where an application's commits are.
///
/// Without one everything works, minus commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// On GitHub: `owner/name`.
    #[schemars(
        length(max = 140),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$")
    )]
    pub github: String,
    /// The REST API of a GitHub Enterprise Server: `https://github.corp.example/api/v3`; GitHub's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::URL), regex(pattern = "^https?://[^@\\s]+$"))]
    pub api_url: Option<String>,
    /// A Secret of this namespace: key `token`, or `app-id` and `private-key` (PEM) of a GitHub App, and `installation-id`
    /// where it is installed more than once. Only public repositories can be read without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::NAME))]
    pub secret_name: Option<String>,
    /// Whether GitHub is told how deployments go.
    #[serde(default)]
    pub deployments: Deployments,
}

/// Whether the repository is told how deployments go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Deployments {
    /// Where the token allows it.
    #[default]
    WherePermitted,
    /// Nothing is told.
    Never,
}

/// A commit's SHA-1 in lower-case hexadecimal, whole.
pub const COMMIT: &str = "^[0-9a-f]{40}$";

/// How two commits stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Relation {
    /// They are one.
    Identical,
    /// What is asked comes after what runs.
    Ahead,
    /// What is asked comes before what runs: going back.
    Behind,
    /// Each has commits that the other has not.
    Diverged,
    /// They have no commit in common.
    Unrelated,
}

/// What would change, or changed, on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// The commit that ran on the target; absent where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = COMMIT))]
    pub from: Option<String>,
    /// How what is asked stands to it; absent where `problem` says why that isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Relation>,
    /// How many commits are new, merge commits left out; where there are more than GitHub counts one by one, merge commits
    /// too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub added: u32,
    /// How many commits are given up: all of them where it goes back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed: u32,
    /// The newest 10 of those that are new, newest first; where it goes back, of those that are given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::COMMITS))]
    pub commits: Vec<CommitLine>,
    /// Where people see all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::URL))]
    pub url: Option<String>,
    /// Why the commit, or what changes, isn't known, in a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub problem: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// One commit, for people. Whoever may push wrote author and title: it is text of strangers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitLine {
    /// Its SHA-1.
    #[schemars(length(max = 40), regex(pattern = COMMIT))]
    pub sha: String,
    /// The first line of its message, cut.
    #[schemars(length(max = bounds::TITLE))]
    pub title: String,
    /// Who wrote it, as the commit names them, cut.
    #[schemars(length(max = bounds::AUTHOR))]
    pub author: String,
}

/// How far what runs on a target is from the head of its repository's default branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME))]
    pub branch: Option<String>,
    /// Its head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = COMMIT))]
    pub head: Option<String>,
    /// How many commits it is behind the head; absent while that isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u32>,
    /// How many of its commits the default branch has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u32>,
    /// Since when it is so.
    pub since: Time,
    /// Why it isn't known, in a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub problem: Option<String>,
}

/// What the repository was told of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitStatus {
    /// GitHub's id of the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<i64>,
    /// The state that it was told last: `queued`, `in_progress`, `success`, `failure`, `error`, `inactive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::WORD))]
    pub state: Option<String>,
    /// Set before something is told: after a crash it is looked for before it is told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telling_since: Option<Time>,
    /// Why nothing is told, in a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MESSAGE))]
    pub problem: Option<String>,
}
