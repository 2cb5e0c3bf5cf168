//! Brings audit lines to the sinks, off the passes. Touches the sinks and the API server.
//!
//! What is to be told stands in the objects, and what the sinks have of it too (`status.audited`), so a successor goes on
//! where its predecessor died. First the sinks have a line, then the object says so: whoever dies between the two leaves the
//! line to be told again, with the same id. Each sink gets the lines of a request in their order, and is waited for by no
//! other one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, future, stream};
use kube::{ResourceExt, api::ObjectMeta};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    AuditMetrics,
    ledger::{Ledger, Part},
    line::{self, Line},
    sink::{Sink, Sinks},
    standing::Standing,
};
use crate::{
    api::{DeployRequest, deploy_request::DeployRequestStatus},
    controller::{context::Context, error::ControllerError, objects},
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
/// How long a process that ends goes on with lines that nobody else knows, of each sink.
const LAST: Duration = Duration::from_secs(3);

/// What the sinks don't have yet, of one set of namespaces.
pub(super) struct Outbox {
    pub(super) sinks: Sinks,
    pub(super) metrics: AuditMetrics,
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
            ledger: Mutex::new(Ledger::new(sinks.len(), sinks.room.clone())),
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

    /// A request is gone, and what stood in it can't be read.
    pub(super) fn vanished(&self, meta: &ObjectMeta) {
        let uid = meta.uid.as_deref().unwrap_or_default();
        let lost = self.change(|ledger| ledger.vanished(uid));
        for (sink, lines) in self.sinks.iter().zip(lost) {
            if lines > 0 {
                self.metrics.count(sink.word(), "lost", lines);
                tracing::error!(
                    request = meta.name,
                    namespace = meta.namespace,
                    sink = sink.word(),
                    lines,
                    "a request is gone whose last version doesn't decode; what the audit sink lacked of it is lost there and was told on stdout"
                );
            }
        }
    }

    /// A sink won't have these lines.
    pub(super) fn refused(&self, sink: usize, part: &Part) {
        let lost = self.change(|ledger| ledger.refused(sink, part, Instant::now()));
        if let (Some(line), true) = (part.lines.first(), lost > 0) {
            let word = self.sinks[sink].word();
            self.metrics.count(word, "lost", lost);
            tracing::error!(
                request = line.request(),
                namespace = line.namespace(),
                sink = word,
                id = line.id,
                "an audit sink has refused a line for a day and takes others; it is not offered any more, and was told on stdout"
            );
        }
    }

    fn lost(&self, sink: &Sink, request: &DeployRequest, lines: usize) {
        if lines > 0 {
            self.metrics.count(sink.word(), "lost", lines);
            tracing::error!(request = %request.name_any(), namespace = %request.namespace().unwrap_or_default(), sink = sink.word(), lines, "more was decided than can be kept for an audit sink that takes nothing; what is lost there was told on stdout");
        }
    }

    /// Changes what is known, and wakes who is concerned.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
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

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
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

/// Tells the sinks until shutdown, which for this is the end of the last pass; then offers them once more what stands nowhere
/// else. Never returns before that.
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

async fn tell(context: &Context, outbox: &Outbox, sink: usize, shutdown: &CancellationToken) {
    let mut standing = Standing::default();
    let mut led = false;
    // Whatever was taken by a task that broke down.
    outbox.change(Ledger::sort_all);
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
        led = true;
        standing.alone = standing.alone.saturating_sub(1);
        crash::point("before-audit-delivery");
        let now = lines(&parts);
        let patience = outbox.sinks[sink].patience();
        let telling = outbox.sinks[sink].tell(&now);
        let told = standing.patiently(outbox, sink, now.len(), patience, telling);
        let Some(told) = shutdown.run_until_cancelled(told).await else {
            outbox.ledger().back(sink, parts);
            break;
        };
        if told.is_ok() {
            crash::point("after-audit-delivery");
        }
        let wait = standing.came_of(outbox, sink, parts, told);
        pause(shutdown, wait).await;
    }
    // What stands in the objects a successor finds. Whoever never led leaves the rest to who does.
    if led || context.claim.is_current() {
        let kept = outbox.ledger().kept(sink);
        offer_last(&outbox.sinks[sink], &outbox.metrics, kept, LAST).await;
    }
}

/// Offers a sink what only this process knows, and counts what it doesn't take in time.
async fn offer_last(sink: &Sink, metrics: &AuditMetrics, kept: Vec<Line>, time: Duration) {
    let until = tokio::time::Instant::now() + time;
    let mut chunks: VecDeque<&[Line]> = kept.chunks(LINES).collect();
    let (mut lost, mut error) = (kept.len(), None);
    while let Some(chunk) = chunks.pop_front() {
        let lines: Vec<&Line> = chunk.iter().collect();
        match tokio::time::timeout_at(until, sink.tell(&lines)).await {
            Ok(Ok(())) => {
                metrics.count(sink.word(), "accepted", chunk.len());
                lost -= chunk.len();
            }
            Ok(Err(trouble)) => {
                let others = trouble.is_about_the_lines();
                error = Some(telemetry::chain(&trouble));
                if !others {
                    break;
                }
                if chunk.len() > 1 {
                    for line in chunk.chunks(1).rev() {
                        chunks.push_front(line);
                    }
                }
            }
            Err(_) => {
                error = Some("time ran out".to_owned());
                break;
            }
        }
    }
    if lost > 0 {
        metrics.count(sink.word(), "lost", lost);
        tracing::error!(
            sink = sink.word(),
            lines = lost,
            error,
            "this process ends with audit lines about requests that are gone, which the sink did not take; they are lost there and were told on stdout"
        );
    }
}

fn take(context: &Context, outbox: &Outbox, sink: usize, requests: usize) -> Vec<Part> {
    let object = |namespace: &str, name: &str| context.caches.requests.get(namespace, name);
    let now = Instant::now();
    outbox.ledger().take(sink, requests, LINES, now, object)
}

pub(super) fn lines(parts: &[Part]) -> Vec<&Line> {
    parts.iter().flat_map(|part| &part.lines).collect()
}

async fn pause(shutdown: &CancellationToken, time: Duration) {
    let _ended = shutdown.run_until_cancelled(tokio::time::sleep(time)).await;
}

/// Writes into the objects what the sinks have.
async fn mark_all(context: &Context, outbox: &Outbox, shutdown: &CancellationToken) {
    while shutdown
        .run_until_cancelled(outbox.marks.notified())
        .await
        .is_some()
    {
        let marks = outbox.ledger().take_marks();
        let failed = stream::iter(marks)
            .map(|(namespace, name, uid)| async move {
                let marked = mark(context, outbox, &namespace, &name, &uid).await;
                let error = marked.err()?;
                tracing::debug!(request = name, namespace, error = %telemetry::chain(&error), "what the audit sinks have could not be written down");
                Some(uid)
            })
            .buffer_unordered(MARKS)
            .filter_map(future::ready)
            .collect::<Vec<String>>();
        // What a successor doesn't find written down it tells again: that is no reason to keep it waiting.
        let Some(failed) = shutdown.run_until_cancelled(failed).await else {
            return;
        };
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

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
