//! Brings audit lines to the sinks, off the passes. Touches the sinks and the API server.
//!
//! What is to be told stands in the objects, and what the sinks have of it too (`status.audited`), so a successor goes on
//! where its predecessor died. First the sinks have a line, then the object says so: whoever dies between the two leaves the
//! line to be told again, with the same id. Each sink gets the lines of a request in their order, and is waited for by no
//! other one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, future, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    AuditMetrics,
    ledger::{Ledger, Part},
    line::{self, Line},
    sink::{Sink, Sinks, Trouble},
};
use crate::{
    api::{DeployRequest, deploy_request::DeployRequestStatus},
    controller::{context::Context, error::ControllerError, objects},
    domain::backoff,
    runtime::{crash, telemetry},
};

/// How long lines are gathered before they are told together.
const GATHER: Duration = Duration::from_millis(500);
/// Lines in one go; those of one request stay together.
const LINES: usize = 100;
/// Objects that are written to at once.
const MARKS: usize = 4;
/// How soon what could not be written down is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a request stands aside of which a sink doesn't want the lines.
const ASIDE: Duration = Duration::from_mins(2);
/// How often trouble that goes on is told again.
const REMIND: Duration = Duration::from_mins(10);
/// How long a process that ends goes on with lines that nobody else knows.
const LAST: Duration = Duration::from_secs(1);

/// What the sinks don't have yet, of one set of namespaces.
pub(super) struct Outbox {
    sinks: Sinks,
    metrics: AuditMetrics,
    ledger: Mutex<Ledger>,
    /// By sink: there may be something to tell.
    lines: Vec<Notify>,
    /// There may be something to write down.
    marks: Notify,
}

impl Outbox {
    /// Nothing is known of what they have.
    pub(super) fn new(sinks: Sinks, metrics: AuditMetrics) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(sinks.len())),
            lines: sinks.iter().map(|_| Notify::new()).collect(),
            marks: Notify::new(),
            sinks,
            metrics,
        }
    }

    /// A watch brought this version of a request; or its last one, if it is gone.
    pub(super) fn seen(&self, request: &DeployRequest, gone: bool) {
        if gone {
            let untold = Line::all(request).split_off(line::audited(request));
            self.keep(request, untold);
            return;
        }
        let lost = self.change(|ledger| ledger.stands(request));
        for (sink, lost) in self.sinks.iter().zip(lost) {
            self.lost(sink, request, lost);
        }
    }

    /// These lines stand in no object any more.
    pub(super) fn keep(&self, request: &DeployRequest, lines: Vec<Line>) {
        let lost = self.change(|ledger| ledger.gone(request, lines));
        for sink in self.sinks.iter() {
            self.lost(sink, request, lost);
        }
    }

    fn lost(&self, sink: &Sink, request: &DeployRequest, lines: usize) {
        if lines > 0 {
            self.metrics.count(sink.word(), "lost", lines);
            tracing::error!(request = %request.name_any(), namespace = %request.namespace().unwrap_or_default(), sink = sink.word(), lines, "more was decided than can be kept for an audit sink that takes nothing; what is lost there was told on stdout");
        }
    }

    /// Changes what is known, and wakes who is concerned.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.ledger();
        let before = ledger.waiting();
        let outcome = change(&mut ledger);
        let after = ledger.waiting();
        drop(ledger);
        self.metrics.waiting.inc_by(number(after) - number(before));
        self.lines.iter().for_each(Notify::notify_one);
        self.marks.notify_one();
        outcome
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let left = self.ledger().waiting();
        self.metrics.waiting.dec_by(number(left));
    }
}

fn number(lines: usize) -> i64 {
    i64::try_from(lines).unwrap_or(i64::MAX)
}

/// Tells the sinks until shutdown. Never returns before that.
pub(in crate::controller) async fn deliver(context: &Arc<Context>, shutdown: &CancellationToken) {
    let Some(outbox) = &context.audit.outbox else {
        return;
    };
    let sinks = (0..outbox.sinks.len()).map(|sink| {
        kept(shutdown, move || {
            let (context, shutdown) = (Arc::clone(context), shutdown.clone());
            async move {
                if let Some(outbox) = &context.audit.outbox {
                    tell(&context, outbox, sink, &shutdown).await;
                }
            }
        })
    });
    let marks = kept(shutdown, || {
        let (context, shutdown) = (Arc::clone(context), shutdown.clone());
        async move {
            if let Some(outbox) = &context.audit.outbox {
                mark_all(&context, outbox, &shutdown).await;
            }
        }
    });
    tokio::join!(future::join_all(sinks), marks);
}

/// A task of its own, begun again if it breaks down.
async fn kept<Work>(shutdown: &CancellationToken, work: impl Fn() -> Work)
where
    Work: Future<Output = ()> + Send + 'static,
{
    while let Err(broken) = AbortOnDropHandle::new(tokio::spawn(work())).await {
        tracing::error!(error = %broken, "telling an audit sink broke down");
        if shutdown.is_cancelled() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// One sink's trouble, so that it is told once and not with every try.
#[derive(Default)]
struct Standing {
    since: Option<Timestamp>,
    told: Option<(&'static str, Instant)>,
    /// How many goes take one request alone, to find the one that is not wanted.
    alone: usize,
}

async fn tell(context: &Context, outbox: &Outbox, sink: usize, shutdown: &CancellationToken) {
    let mut standing = Standing::default();
    loop {
        if shutdown.is_cancelled() {
            break;
        }
        let parts = take(
            context,
            outbox,
            sink,
            if standing.alone > 0 { 1 } else { LINES },
        );
        if parts.is_empty() {
            standing.alone = 0;
            let turn = outbox.ledger().next_turn(sink);
            let turn = async {
                match turn {
                    Some(turn) => tokio::time::sleep_until(turn.into()).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = outbox.lines[sink].notified() => pause(shutdown, GATHER).await,
                () = turn => {}
            }
            continue;
        }
        if !context.claim.is_current() {
            // Whoever has it now finds them where they stand.
            outbox.ledger().back(sink, parts);
            pause(shutdown, AGAIN).await;
            continue;
        }
        standing.alone = standing.alone.saturating_sub(1);
        crash::point("before-audit-delivery");
        let now = lines(&parts);
        let told = shutdown.run_until_cancelled(outbox.sinks[sink].tell(&now));
        let Some(told) = told.await else {
            outbox.ledger().back(sink, parts);
            break;
        };
        if told.is_ok() {
            crash::point("after-audit-delivery");
        }
        let wait = standing.came_of(outbox, sink, parts, told);
        pause(shutdown, wait).await;
    }
    // What stands in the objects a successor finds.
    let kept = outbox.ledger().kept(sink);
    if !kept.is_empty() && context.claim.is_current() {
        let lines: Vec<&Line> = kept.iter().collect();
        let last = outbox.sinks[sink].tell(&lines);
        if matches!(tokio::time::timeout(LAST, last).await, Ok(Ok(()))) {
            let word = outbox.sinks[sink].word();
            outbox.metrics.count(word, "accepted", lines.len());
        }
    }
}

fn take(context: &Context, outbox: &Outbox, sink: usize, requests: usize) -> Vec<Part> {
    let object = |namespace: &str, name: &str| context.caches.requests.get(namespace, name);
    let now = Instant::now();
    outbox.ledger().take(sink, requests, LINES, now, object)
}

fn lines(parts: &[Part]) -> Vec<&Line> {
    parts.iter().flat_map(|part| &part.lines).collect()
}

async fn pause(shutdown: &CancellationToken, time: Duration) {
    let _ended = shutdown.run_until_cancelled(tokio::time::sleep(time)).await;
}

impl Standing {
    /// Notes what came of a go, and says how long to wait.
    fn came_of(
        &mut self,
        outbox: &Outbox,
        sink: usize,
        parts: Vec<Part>,
        told: Result<(), Trouble>,
    ) -> Duration {
        let word = outbox.sinks[sink].word();
        let count = lines(&parts).len();
        let trouble = match told {
            Ok(()) => {
                outbox.metrics.count(word, "accepted", count);
                outbox.change(|ledger| ledger.told(sink, &parts));
                if self.since.take().is_some() {
                    tracing::info!(sink = word, "the audit sink takes lines again");
                }
                self.told = None;
                return Duration::ZERO;
            }
            Err(trouble) => trouble,
        };
        outbox.metrics.count(word, trouble.reason(), count);
        self.say(outbox, word, &trouble);
        if trouble.is_about_the_lines() {
            let one = (parts.len() == 1).then(|| parts[0].uid.clone());
            self.alone = parts.len();
            match one {
                Some(uid) => outbox.ledger().set_aside(sink, uid, Instant::now() + ASIDE),
                None => outbox.ledger().back(sink, parts),
            }
            return Duration::ZERO;
        }
        outbox.ledger().back(sink, parts);
        let now = Timestamp::now();
        let since = *self.since.get_or_insert(now);
        backoff::retry(word, since, now, trouble.again())
    }

    fn say(&mut self, outbox: &Outbox, sink: &'static str, trouble: &Trouble) {
        let now = Instant::now();
        let said = self.told.is_some_and(|(reason, at)| {
            reason == trouble.reason() && now.duration_since(at) < REMIND
        });
        if !said {
            self.told = Some((trouble.reason(), now));
            let waiting = outbox.ledger().waiting();
            tracing::warn!(sink, reason = trouble.reason(), error = %telemetry::chain(trouble), waiting, "an audit sink takes no lines; they are kept where they stand and told later");
        }
    }
}

/// Writes into the objects what the sinks have.
async fn mark_all(context: &Context, outbox: &Outbox, shutdown: &CancellationToken) {
    while shutdown
        .run_until_cancelled(outbox.marks.notified())
        .await
        .is_some()
    {
        let marks = outbox.ledger().take_marks();
        let failed: Vec<String> = stream::iter(marks)
            .map(|(namespace, name, uid)| async move {
                let marked = mark(context, outbox, &namespace, &name, &uid).await;
                let error = marked.err()?;
                tracing::debug!(request = name, namespace, error = %telemetry::chain(&error), "what the audit sinks have could not be written down");
                Some(uid)
            })
            .buffer_unordered(MARKS)
            .filter_map(future::ready)
            .collect()
            .await;
        if !failed.is_empty() {
            pause(shutdown, AGAIN).await;
            let mut ledger = outbox.ledger();
            for uid in &failed {
                ledger.mark_again(uid);
            }
            outbox.marks.notify_one();
        }
    }
}

async fn mark(
    context: &Context,
    outbox: &Outbox,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), ControllerError> {
    let cached = context.caches.requests.get(namespace, name);
    let Some(request) = cached.filter(|request| request.uid().as_deref() == Some(uid)) else {
        return Ok(());
    };
    let count = outbox.ledger().count(&request);
    if count == line::audited(&request) {
        return Ok(());
    }
    if !context.claim.is_current() {
        return Err(ControllerError::NotLeading);
    }
    crash::point("before-audit-mark");
    let next = DeployRequestStatus {
        audited: u32::try_from(count).ok(),
        ..request.status.clone().unwrap_or_default()
    };
    let doing = "write down what the audit sinks have";
    objects::write_status(&context.client, &request, &next, doing).await?;
    crash::point("after-audit-mark");
    Ok(())
}
