//! The order of effects, on a host and a book that can fail at each of them.

use std::sync::{Arc, Mutex};

use futures::{FutureExt, future::BoxFuture};

use super::*;
use crate::{
    domain::commits::{Commit, Comparison},
    git::{Announcement, Described, State, Told},
};

/// GitHub, as far as deployments go: it never refuses a second one.
#[derive(Default)]
struct Repository {
    deployments: Mutex<Vec<(String, Vec<String>)>>,
    log: Arc<Mutex<Vec<String>>>,
    /// The effect whose answer is lost after it was done, or that doesn't come to pass: by its name, once.
    lost: Mutex<Option<&'static str>>,
    refused: Mutex<Option<&'static str>>,
    /// Whether a deployment that is posted stays on its way.
    hangs: bool,
}

impl Repository {
    fn did(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }

    fn takes(plan: &Mutex<Option<&'static str>>, what: &str) -> bool {
        let mut plan = plan.lock().unwrap();
        let now = *plan == Some(what);
        if now {
            *plan = None;
        }
        now
    }

    fn answer<T>(&self, what: &'static str, act: impl FnOnce() -> T) -> Result<T, GitError> {
        self.did(what);
        if Self::takes(&self.refused, what) {
            return Err(silent());
        }
        let answer = act();
        if Self::takes(&self.lost, what) {
            return Err(silent());
        }
        Ok(answer)
    }

    fn all(&self) -> Vec<(String, Vec<String>)> {
        self.deployments.lock().unwrap().clone()
    }
}

fn silent() -> GitError {
    GitError::Unavailable {
        host: "api.github.com".into(),
        message: "no answer".into(),
    }
}

impl Host for Repository {
    fn described(&self) -> BoxFuture<'_, Result<Described, GitError>> {
        async { Err(silent()) }.boxed()
    }
    fn commit<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Commit, GitError>> {
        async { Err(silent()) }.boxed()
    }
    fn between<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: usize,
    ) -> BoxFuture<'a, Result<Comparison, GitError>> {
        async { Err(silent()) }.boxed()
    }
    fn branches(&self) -> BoxFuture<'_, Result<Arc<Vec<String>>, GitError>> {
        async { Err(silent()) }.boxed()
    }
    fn deployment<'a>(
        &'a self,
        wanted: &'a Announcement,
    ) -> BoxFuture<'a, Result<Option<i64>, GitError>> {
        async move {
            self.answer("look", || {
                let all = self.deployments.lock().unwrap();
                all.iter()
                    .position(|(uid, _)| *uid == wanted.uid)
                    .map(|at| i64::try_from(at).unwrap())
            })
        }
        .boxed()
    }
    fn announce<'a>(&'a self, wanted: &'a Announcement) -> BoxFuture<'a, Result<i64, GitError>> {
        async move {
            if self.hangs {
                self.did("announce");
                std::future::pending::<()>().await;
            }
            self.answer("announce", || {
                let mut all = self.deployments.lock().unwrap();
                all.push((wanted.uid.clone(), Vec::new()));
                i64::try_from(all.len() - 1).unwrap()
            })
        }
        .boxed()
    }
    fn told(&self, id: i64) -> BoxFuture<'_, Result<Option<String>, GitError>> {
        async move {
            self.answer("told", || {
                self.deployments.lock().unwrap()[usize::try_from(id).unwrap()]
                    .1
                    .last()
                    .cloned()
            })
        }
        .boxed()
    }
    fn tell<'a>(&'a self, id: i64, told: &'a Told) -> BoxFuture<'a, Result<(), GitError>> {
        async move {
            self.answer("tell", || {
                self.deployments.lock().unwrap()[usize::try_from(id).unwrap()]
                    .1
                    .push(told.state.word().into());
            })
        }
        .boxed()
    }
}

/// A status, of which each writer has the version that it read.
#[derive(Clone)]
struct Page {
    shared: Arc<Mutex<(u32, GitStatus)>>,
    seen: (u32, GitStatus),
    log: Arc<Mutex<Vec<String>>>,
    /// How many writes come to pass before the process dies.
    writes: usize,
    leads: bool,
}

impl Page {
    fn of(shared: &Arc<Mutex<(u32, GitStatus)>>, repository: &Repository) -> Self {
        Self {
            seen: shared.lock().unwrap().clone(),
            shared: Arc::clone(shared),
            log: Arc::clone(&repository.log),
            writes: usize::MAX,
            leads: true,
        }
    }
}

impl Book for Page {
    fn git(&self) -> GitStatus {
        self.seen.1.clone()
    }
    fn may_begin(&self) -> Result<(), ControllerError> {
        self.leads.then_some(()).ok_or(ControllerError::NotLeading)
    }
    async fn write(&mut self, git: GitStatus) -> Result<(), ControllerError> {
        let conflict = ControllerError::Conflict { doing: "write" };
        let mut shared = self.shared.lock().unwrap();
        if self.writes == 0 || shared.0 != self.seen.0 {
            return Err(conflict);
        }
        self.writes -= 1;
        let what = if git.telling_since.is_some() {
            "mark"
        } else {
            "record"
        };
        self.log.lock().unwrap().push(what.into());
        *shared = (shared.0 + 1, git);
        self.seen = shared.clone();
        Ok(())
    }
}

fn wanted(state: State) -> Wanted {
    Wanted {
        announcement: Announcement {
            commit: "3f2a".into(),
            environment: "shop/checkout/production".into(),
            action: "deploy".into(),
            description: "deploy".into(),
            uid: "u-1".into(),
        },
        told: Told {
            state,
            description: "it goes".into(),
            log_url: None,
        },
    }
}

fn at(seconds: u64) -> Timestamp {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    start + Duration::from_secs(seconds)
}

fn shared() -> Arc<Mutex<(u32, GitStatus)>> {
    Arc::default()
}

/// A successor, long after: it is never sure.
async fn later(
    repository: &Repository,
    shared: &Arc<Mutex<(u32, GitStatus)>>,
    state: State,
) -> Came {
    let mut page = Page::of(shared, repository);
    carry(repository, &mut page, &wanted(state), false, at(600))
        .await
        .unwrap()
}

#[tokio::test]
async fn it_is_marked_looked_for_posted_told_and_written_down_in_this_order() {
    let (repository, shared) = (Repository::default(), shared());
    let mut page = Page::of(&shared, &repository);
    let came = carry(&repository, &mut page, &wanted(State::Queued), false, at(0))
        .await
        .unwrap();
    assert_eq!(came, Came::Announced);
    assert_eq!(
        *repository.log.lock().unwrap(),
        ["mark", "look", "announce", "tell", "record"]
    );
    let came = carry(&repository, &mut page, &wanted(State::Success), true, at(1))
        .await
        .unwrap();
    assert_eq!(came, Came::Told);
    assert_eq!(repository.log.lock().unwrap()[5..], ["tell", "record"]);
    assert_eq!(
        repository.all(),
        [(
            "u-1".to_owned(),
            vec!["queued".to_owned(), "success".to_owned()]
        )]
    );
    let git = page.git();
    assert_eq!(
        (git.deployment, git.state.as_deref()),
        (Some(0), Some("success"))
    );
    assert_eq!((git.telling_since, git.problem), (None, None));
}

#[tokio::test]
async fn whatever_answer_is_lost_there_is_one_deployment_and_each_state_once() {
    for what in ["look", "announce", "tell"] {
        for done in [true, false] {
            let (repository, shared) = (Repository::default(), shared());
            let plan = if done {
                &repository.lost
            } else {
                &repository.refused
            };
            *plan.lock().unwrap() = Some(what);
            let mut page = Page::of(&shared, &repository);
            let first = carry(&repository, &mut page, &wanted(State::Queued), false, at(0)).await;
            assert!(matches!(first, Err(Trouble::Host(_))), "{what}");
            if what != "tell" {
                // Nothing is done while it may be under way.
                let mut page = Page::of(&shared, &repository);
                let early = carry(&repository, &mut page, &wanted(State::Queued), false, at(1))
                    .await
                    .unwrap();
                assert!(
                    matches!(early, Came::Later(wait) if wait <= SETTLE),
                    "{what}: {early:?}"
                );
            }
            later(&repository, &shared, State::Queued).await;
            later(&repository, &shared, State::InProgress).await;
            assert_eq!(
                repository.all(),
                [(
                    "u-1".to_owned(),
                    vec!["queued".to_owned(), "in_progress".to_owned()]
                )],
                "{what}, done {done}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_on_its_way_any_more_once_a_mark_has_settled() {
    let (hanging, shared) = (
        Repository {
            hangs: true,
            ..Repository::default()
        },
        shared(),
    );
    let mut page = Page::of(&shared, &hanging);
    let began = tokio::time::Instant::now();
    let came = carry(&hanging, &mut page, &wanted(State::Queued), false, at(0)).await;
    assert!(matches!(came, Err(Trouble::Host(_))), "{came:?}");
    assert_eq!(*hanging.log.lock().unwrap(), ["mark", "look", "announce"]);
    // Whoever looks after the mark waits for longer than the post, begun as late as it may be, goes on.
    assert!(FRESH + began.elapsed() < SETTLE);
    assert!(page.git().telling_since.is_some());
}

#[tokio::test]
async fn a_successor_finds_what_a_crash_left() {
    // Dead before the mark, before the record of a new one, before the record of the second state.
    for writes in [0, 1, 2] {
        let (repository, shared) = (Repository::default(), shared());
        let mut page = Page {
            writes,
            ..Page::of(&shared, &repository)
        };
        for state in [State::Queued, State::InProgress] {
            let _dead = carry(&repository, &mut page, &wanted(state), true, at(0)).await;
        }
        later(&repository, &shared, State::InProgress).await;
        later(&repository, &shared, State::Success).await;
        let all = repository.all();
        assert_eq!(all.len(), 1, "{writes}: {all:?}");
        let mut once = all[0].1.clone();
        once.dedup();
        assert_eq!(once, all[0].1, "{writes}");
        assert_eq!(once.last().map(String::as_str), Some("success"));
    }
}

#[tokio::test]
async fn of_two_leaders_one_posts() {
    let (repository, shared) = (Repository::default(), shared());
    let (mut one, mut other) = (
        Page::of(&shared, &repository),
        Page::of(&shared, &repository),
    );
    carry(&repository, &mut one, &wanted(State::Queued), false, at(0))
        .await
        .unwrap();
    let second = carry(
        &repository,
        &mut other,
        &wanted(State::Queued),
        false,
        at(0),
    )
    .await;
    assert!(matches!(
        second,
        Err(Trouble::Own(ControllerError::Conflict { .. }))
    ));
    assert_eq!(repository.all().len(), 1);
}

#[tokio::test]
async fn who_leads_no_more_posts_nothing() {
    let (repository, shared) = (Repository::default(), shared());
    let mut page = Page {
        leads: false,
        ..Page::of(&shared, &repository)
    };
    let came = carry(&repository, &mut page, &wanted(State::Queued), false, at(0)).await;
    assert!(matches!(
        came,
        Err(Trouble::Own(ControllerError::NotLeading))
    ));
    assert_eq!(repository.all(), []);
}

#[tokio::test]
async fn a_wiped_status_makes_no_second_deployment_and_an_end_is_not_undone() {
    let (repository, shared) = (Repository::default(), shared());
    later(&repository, &shared, State::Success).await;
    shared.lock().unwrap().1 = GitStatus::default();
    assert_eq!(
        later(&repository, &shared, State::InProgress).await,
        Came::Known
    );
    assert_eq!(
        repository.all(),
        [("u-1".to_owned(), vec!["success".to_owned()])]
    );
    assert_eq!(shared.lock().unwrap().1.state.as_deref(), Some("success"));
}
