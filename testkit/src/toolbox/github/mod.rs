//! A repository on GitHub: emulate's, behind a proxy that does what emulate leaves out. Touches ports of 127.0.0.1.
//!
//! emulate's are the commits and everything about them: objects, branches, tags, which commit a name stands for, compare
//! with its pages, the GitHub App with its installation, and what an installation's token may do. Ours are who is let in (it
//! takes any token for somebody's), `ETag` and 304, the rate limit, trouble, when a token of an installation expires, what
//! GitHub says where a name stands for nothing (422) or two commits have no common ancestor (404), and deployments. emulate's
//! `/tags` lists annotated tags alone.

mod app;
mod deployments;
mod proxy;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, http::Method};
use serde_json::{Value, json};

pub use app::App;
pub use deployments::{Deployment, DeploymentState};

use super::{Emulate, Node};
use crate::server::Server;

/// The one personal access token that is let in.
pub const TOKEN: &str = "github_pat_foredeck";

/// The app's id, and that of its installation.
const APP: (u64, u64) = (4711, 815);

/// When the first commit was made; each one later is a minute younger.
const FIRST: i64 = 1_704_067_200;

/// How many calls emulate takes of one token within an hour, with room.
const PER_TOKEN: u64 = 4000;

/// A repository with a first commit on its default branch `main`. It ends with this value.
#[derive(Debug)]
pub struct Github {
    shared: Arc<Shared>,
    tree: String,
    made: AtomicU64,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    emulate: Emulate,
    client: reqwest::Client,
    /// `owner/name`.
    repository: String,
    app: App,
    inner: AtomicU64,
    state: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    faults: Vec<(String, GithubFault)>,
    calls: Vec<GithubCall>,
    spent: u64,
    deployments: Vec<Deployment>,
    no_deployments: bool,
    /// Tokens of installations with the second since 1970 at which they end.
    tokens: HashMap<String, u64>,
    lifetime: Option<Duration>,
}

/// One call, as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubCall {
    /// `GET`, ….
    pub method: String,
    /// Path and query as they came.
    pub path: String,
    /// The status; 0 where the connection was cut.
    pub status: u16,
    /// Who it was: `nobody`, `token`, `app`, `installation`, `stranger`.
    pub who: &'static str,
}

/// What goes wrong with a call, until something else does.
#[derive(Debug, Clone)]
pub enum GithubFault {
    /// This status, in GitHub's shape.
    Status(u16),
    /// 403 for the used up rate limit, until so many seconds from now.
    Limited(u64),
    /// 403 for the secondary rate limit, to be tried after so many seconds.
    Secondary(u64),
    /// A page of a proxy that isn't GitHub's, with this status.
    Page(u16),
    /// 200 with this body.
    Garbage(String),
    /// What is asked for, this much later.
    Slow(Duration),
    /// 301 to this address.
    Redirect(String),
    /// The connection is cut instead of an answer; nothing is done.
    Cut,
    /// What is asked for is done, and the connection cut instead of an answer.
    Lost,
}

impl Github {
    /// Starts GitHub with this repository, `owner/name`: public, with one commit on `main`, and a GitHub App installed.
    ///
    /// # Errors
    /// When emulate doesn't start.
    pub async fn start(node: &Node, repository: &str) -> Result<Self> {
        let (owner, name) = repository.split_once('/').context("owner/name")?;
        let app = App::generate(APP.0, APP.1)?;
        let permissions = json!({"metadata": "read", "contents": "read", "deployments": "write"});
        let seed = json!({
            "users": [{"login": owner, "name": owner}],
            "repos": [{"owner": owner, "name": name, "auto_init": false}],
            "apps": [{
                "app_id": app.id, "slug": "foredeck", "name": "Foredeck", "private_key": app.private_key,
                "permissions": permissions,
                "installations": [{
                    "installation_id": app.installation, "account": owner, "repository_selection": "selected",
                    "repositories": [repository], "permissions": permissions,
                }],
            }],
        });
        let shared = Arc::new(Shared {
            emulate: Emulate::start(node, "github", &seed).await?,
            client: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
            repository: repository.to_owned(),
            app,
            inner: AtomicU64::default(),
            state: Mutex::default(),
        });
        let readme = json!({"tree": [
            {"path": "README.md", "mode": "100644", "type": "blob", "content": format!("# {name}\n")},
        ]});
        let tree = shared
            .own(Method::POST, "/git/trees", Some(&readme))
            .await?;
        let router = Router::new()
            .fallback(proxy::forward)
            .with_state(shared.clone());
        let github = Self {
            tree: text(&tree["sha"])?,
            made: AtomicU64::default(),
            server: Server::start(0, router).await?,
            shared,
        };
        github.orphan("main").await?;
        Ok(github)
    }

    /// The address of its API, such as `http://127.0.0.1:40123`; `/api/v3` below it is the same, as on an Enterprise Server.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The personal access token that is let in; it may read and write everything.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// The GitHub App that is installed on the repository.
    pub fn app(&self) -> &App {
        &self.shared.app
    }

    /// The commit at the head of a branch.
    ///
    /// # Errors
    /// When there is no such branch.
    pub async fn head(&self, branch: &str) -> Result<String> {
        let asked = format!("/git/ref/heads/{}", path(branch));
        let found = self.shared.own(Method::GET, &asked, None).await?;
        text(&found["object"]["sha"])
    }

    /// A commit on top of a branch.
    ///
    /// # Errors
    /// When there is no such branch.
    pub async fn commit(&self, branch: &str, message: &str, author: &str) -> Result<String> {
        let parent = self.head(branch).await?;
        let sha = self.make(&[&parent], message, author).await?;
        self.point(branch, &sha, false).await?;
        Ok(sha)
    }

    /// So many commits on top of a branch, `Change 1` and so on, oldest first.
    ///
    /// # Errors
    /// When there is no such branch.
    pub async fn commits(&self, branch: &str, count: usize) -> Result<Vec<String>> {
        let mut parent = self.head(branch).await?;
        let mut made = Vec::with_capacity(count);
        for index in 1..=count {
            parent = self
                .make(&[&parent], &format!("Change {index}"), "Robin")
                .await?;
            made.push(parent.clone());
        }
        self.point(branch, &parent, false).await?;
        Ok(made)
    }

    /// A merge commit on top of `into` that brings in the head of `from`.
    ///
    /// # Errors
    /// When one of the branches is missing.
    pub async fn merge(&self, into: &str, from: &str) -> Result<String> {
        let (ours, theirs) = (self.head(into).await?, self.head(from).await?);
        let message = format!("Merge branch '{from}' into {into}");
        let sha = self.make(&[&ours, &theirs], &message, "Robin").await?;
        self.point(into, &sha, false).await?;
        Ok(sha)
    }

    /// A new branch at a commit.
    ///
    /// # Errors
    /// When there is one of that name.
    pub async fn branch(&self, name: &str, sha: &str) -> Result<()> {
        self.reference(&format!("refs/heads/{name}"), sha).await
    }

    /// A new branch whose first commit has no parent; gives the commit.
    ///
    /// # Errors
    /// When there is one of that name.
    pub async fn orphan(&self, name: &str) -> Result<String> {
        let sha = self.make(&[], &format!("Begin {name}"), "Robin").await?;
        self.branch(name, &sha).await?;
        Ok(sha)
    }

    /// Moves a branch to a commit, whether or not that comes after its own.
    ///
    /// # Errors
    /// When there is no such branch or commit.
    pub async fn force_push(&self, branch: &str, sha: &str) -> Result<()> {
        self.point(branch, sha, true).await
    }

    /// Deletes a branch that isn't the default one.
    ///
    /// # Errors
    /// When there is no such branch.
    pub async fn delete_branch(&self, name: &str) -> Result<()> {
        let asked = format!("/git/refs/heads/{}", path(name));
        self.shared
            .own(Method::DELETE, &asked, None)
            .await
            .map(drop)
    }

    /// A lightweight tag.
    ///
    /// # Errors
    /// When there is one of that name.
    pub async fn tag(&self, name: &str, sha: &str) -> Result<()> {
        self.reference(&format!("refs/tags/{name}"), sha).await
    }

    /// An annotated tag: gives the SHA-1 of the tag itself, which isn't its commit's.
    ///
    /// # Errors
    /// When there is one of that name.
    pub async fn annotated_tag(&self, name: &str, sha: &str) -> Result<String> {
        let body = json!({"tag": name, "message": name, "object": sha, "type": "commit"});
        let made = self
            .shared
            .own(Method::POST, "/git/tags", Some(&body))
            .await?;
        let tag = text(&made["sha"])?;
        self.reference(&format!("refs/tags/{name}"), &tag).await?;
        Ok(tag)
    }

    /// Archives the repository: nothing more can be pushed.
    ///
    /// # Errors
    /// When emulate doesn't do it.
    pub async fn archive(&self) -> Result<()> {
        self.set(&json!({"archived": true})).await
    }

    /// Whether the repository can be read without a login.
    ///
    /// # Errors
    /// When emulate doesn't do it.
    pub async fn set_private(&self, private: bool) -> Result<()> {
        self.set(&json!({"private": private})).await
    }

    /// Makes another branch the default one.
    ///
    /// # Errors
    /// When emulate doesn't do it.
    pub async fn set_default_branch(&self, name: &str) -> Result<()> {
        self.set(&json!({"default_branch": name})).await
    }

    /// From now on this befalls every call; nothing does with `None`.
    pub fn set_fault(&self, fault: Option<GithubFault>) {
        let faults = fault.map(|fault| (String::new(), fault));
        self.shared.lock().faults = faults.into_iter().collect();
    }

    /// From now on this befalls calls whose method and path, as in `GET /repos/acme/checkout/branches`, have this in them;
    /// other faults stay.
    pub fn set_fault_for(&self, part: &str, fault: GithubFault) {
        let mut state = self.shared.lock();
        state.faults.push((part.to_owned(), fault));
    }

    /// All calls, oldest first.
    pub fn calls(&self) -> Vec<GithubCall> {
        self.shared.lock().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.shared.lock().calls.clear();
    }

    /// How many calls were answered with 304, which GitHub doesn't count.
    pub fn not_modified(&self) -> usize {
        let state = self.shared.lock();
        state.calls.iter().filter(|call| call.status == 304).count()
    }

    /// How many calls GitHub counted against the rate limit.
    pub fn spent(&self) -> u64 {
        self.shared.lock().spent
    }

    /// What was made known of deployments, oldest first.
    pub fn deployments(&self) -> Vec<Deployment> {
        self.shared.lock().deployments.clone()
    }

    /// Whether tokens lack the right to deployments from now on.
    pub fn forbid_deployments(&self, forbidden: bool) {
        self.shared.lock().no_deployments = forbidden;
    }

    /// How long tokens of installations live that are issued from now on; an hour at first.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.shared.lock().lifetime = Some(lifetime);
    }

    /// Ends all tokens of installations issued so far.
    pub fn expire_tokens(&self) {
        self.shared.lock().tokens.clear();
    }

    async fn set(&self, patch: &Value) -> Result<()> {
        self.shared
            .own(Method::PATCH, "", Some(patch))
            .await
            .map(drop)
    }

    async fn reference(&self, name: &str, sha: &str) -> Result<()> {
        let body = json!({"ref": name, "sha": sha});
        self.shared
            .own(Method::POST, "/git/refs", Some(&body))
            .await
            .map(drop)
    }

    async fn point(&self, branch: &str, sha: &str, force: bool) -> Result<()> {
        let asked = format!("/git/refs/heads/{}", path(branch));
        let body = json!({"sha": sha, "force": force});
        self.shared
            .own(Method::PATCH, &asked, Some(&body))
            .await
            .map(drop)
    }

    /// A commit that no branch has yet. The same history has the same SHA-1s each time.
    async fn make(&self, parents: &[&str], message: &str, author: &str) -> Result<String> {
        let minutes = i64::try_from(self.made.fetch_add(1, Ordering::SeqCst))?;
        let date = jiff::Timestamp::from_second(FIRST + 60 * minutes)?.to_string();
        let who = json!({"name": author, "email": "author@corp.example", "date": date});
        let body = json!({
            "message": message, "tree": self.tree, "parents": parents, "author": who, "committer": who,
        });
        let made = self
            .shared
            .own(Method::POST, "/git/commits", Some(&body))
            .await?;
        text(&made["sha"])
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token that emulate takes for the repository's owner's. It counts calls by token.
    fn owner(&self) -> String {
        let call = self.inner.fetch_add(1, Ordering::SeqCst);
        format!("Bearer owner-{}", call / PER_TOKEN)
    }

    /// What the owner does with the repository, without the proxy.
    async fn own(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/repos/{}{path}", self.emulate.url(), self.repository);
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.header("authorization", self.owner()).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {body}");
        Ok(serde_json::from_str(&body).unwrap_or_default())
    }
}

/// A name as a part of a path; slashes stay.
fn path(name: &str) -> String {
    let parts = name.split('/').map(|part| {
        let encoded: String = form_urlencoded::byte_serialize(part.as_bytes()).collect();
        encoded.replace('+', "%20")
    });
    parts.collect::<Vec<_>>().join("/")
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a text")?.to_owned())
}
