//! The Lease against an API server in memory that guards writes as the real one does, in paused time.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{FutureExt, future::pending};
use serde_json::{Value, json};
use tokio::time::advance;

use super::*;

/// What goes wrong at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// Every request is answered with 503 and does nothing.
    Unavailable,
    /// No request is ever answered, and none does anything.
    Silent,
    /// Writes are done and then answered with 500.
    AnswersLost,
    /// Everything is done and answered, after two seconds.
    Slow,
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Object>,
    version: u64,
    fault: Fault,
}

fn refusal(code: StatusCode, reason: &str) -> Response {
    let status: Value = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": reason, "code": code.as_u16(),
    });
    (code, Json(status)).into_response()
}

impl Server {
    fn client(&self) -> Client {
        const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
        let router = Router::new()
            .route(LEASES, post(create))
            .route(&format!("{LEASES}/deck"), get(read).put(replace))
            .with_state(self.clone());
        Client::new(router, "ns")
    }

    fn try_for(&self, holder: &str) -> Trying {
        let lease = Lease::new(self.client(), LeaseSettings::new("ns", "deck", holder)).unwrap();
        let release = CancellationToken::new();
        let (claim, task) = lease.hold(release.clone());
        Trying {
            claim,
            task,
            release,
        }
    }

    fn fault(&self, fault: Fault) {
        self.0.lock().unwrap().fault = fault;
    }

    fn spec(&self) -> LeaseSpec {
        self.0.lock().unwrap().lease.clone().unwrap().spec.unwrap()
    }

    fn holder(&self) -> Option<String> {
        self.spec().holder_identity
    }

    /// As somebody else would write it.
    fn put(&self, lease: Option<LeaseSpec>) {
        let mut stored = self.0.lock().unwrap();
        stored.lease = lease.map(|spec| Object {
            metadata: ObjectMeta {
                name: Some("deck".into()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        });
        stored.stamp();
    }
}

impl Stored {
    fn stamp(&mut self) {
        self.version += 1;
        if let Some(lease) = &mut self.lease {
            lease.metadata.resource_version = Some(self.version.to_string());
        }
    }

    fn answer(&self, written: bool) -> Response {
        match &self.lease {
            _ if written && self.fault == Fault::AnswersLost => {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
            }
            Some(lease) => Json(lease).into_response(),
            None => refusal(StatusCode::NOT_FOUND, "NotFound"),
        }
    }
}

/// Runs `act`, unless the server is out of order.
async fn serve(server: Server, act: impl FnOnce(&mut Stored) -> Response) -> Response {
    let fault = server.0.lock().unwrap().fault;
    match fault {
        Fault::Silent => pending().await,
        Fault::Unavailable => refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        Fault::None | Fault::AnswersLost => act(&mut server.0.lock().unwrap()),
        Fault::Slow => {
            sleep(seconds(2)).await;
            act(&mut server.0.lock().unwrap())
        }
    }
}

async fn read(State(server): State<Server>) -> Response {
    serve(server, |stored| stored.answer(false)).await
}

async fn create(State(server): State<Server>, Json(lease): Json<Object>) -> Response {
    serve(server, |stored| {
        if stored.lease.is_some() {
            return refusal(StatusCode::CONFLICT, "AlreadyExists");
        }
        stored.lease = Some(lease);
        stored.stamp();
        stored.answer(true)
    })
    .await
}

async fn replace(State(server): State<Server>, Json(lease): Json<Object>) -> Response {
    serve(server, |stored| {
        let Some(current) = &stored.lease else {
            return refusal(StatusCode::NOT_FOUND, "NotFound");
        };
        let guard = &lease.metadata.resource_version;
        if guard.is_some() && *guard != current.metadata.resource_version {
            return refusal(StatusCode::CONFLICT, "Conflict");
        }
        stored.lease = Some(lease);
        stored.stamp();
        stored.answer(true)
    })
    .await
}

struct Trying {
    claim: Claim,
    task: JoinHandle<Result<(), LeaseError>>,
    release: CancellationToken,
}

impl Trying {
    async fn held(server: &Server, holder: &str) -> Self {
        let trying = server.try_for(holder);
        trying.claim.held().await.unwrap();
        assert!(trying.claim.is_current());
        trying
    }

    /// How long until it holds the Lease, in paused time.
    async fn wait(&self) -> Duration {
        let start = Instant::now();
        timeout(seconds(300), self.claim.held())
            .await
            .expect("never held")
            .unwrap();
        start.elapsed()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn foreign(holder: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(15),
        renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
        lease_transitions: Some(7),
        ..LeaseSpec::default()
    }
}

#[tokio::test(start_paused = true)]
async fn first_comer_creates_the_lease_and_keeps_it() {
    let server = Server::default();
    let first = Trying::held(&server, "first").await;
    let created = server.spec();
    assert_eq!(created.holder_identity.as_deref(), Some("first"));
    assert_eq!(created.lease_duration_seconds, Some(15));
    for _ in 0..600 {
        sleep(Duration::from_millis(500)).await;
        assert!(
            first.claim.remaining() > seconds(7),
            "{:?}",
            first.claim.remaining()
        );
    }
    let kept = server.spec();
    assert!(kept.renew_time > created.renew_time);
    assert_eq!(
        (kept.acquire_time, kept.lease_transitions),
        (created.acquire_time, Some(0))
    );
}

#[tokio::test(start_paused = true)]
async fn renewed_lease_is_left_alone() {
    let server = Server::default();
    let _first = Trying::held(&server, "first").await;
    let second = server.try_for("second");
    second.claim.observed().await.unwrap();
    assert!(timeout(seconds(600), second.claim.held()).await.is_err());
    assert!(!second.claim.is_current());
    assert_eq!(server.holder().as_deref(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn dead_holder_is_waited_for_by_our_own_clock_whatever_time_it_wrote() {
    for renewed in [Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        let server = Server::default();
        server.put(Some(LeaseSpec {
            renew_time: Some(MicroTime(renewed)),
            ..foreign("dead")
        }));
        let waited = server.try_for("second").wait().await;
        assert!((seconds(15)..=seconds(16)).contains(&waited), "{waited:?}");
        assert_eq!(server.spec().lease_transitions, Some(8));
    }
}

#[tokio::test(start_paused = true)]
async fn lease_given_back_is_taken_within_two_seconds() {
    let server = Server::default();
    let first = Trying::held(&server, "first").await;
    let second = server.try_for("second");
    sleep(seconds(30)).await;

    first.release.cancel();
    let waited = second.wait().await;
    assert!(waited < seconds(2), "{waited:?}");
    assert!(!first.claim.is_current());
    first.task.await.unwrap().unwrap();
    assert!(matches!(first.claim.held().await, Err(LeaseError::Ended)));
    assert_eq!(server.holder().as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn lease_given_back_names_nobody() {
    let server = Server::default();
    let first = Trying::held(&server, "first").await;
    first.release.cancel();
    first.task.await.unwrap().unwrap();
    assert_eq!(server.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn claim_ends_before_the_lease_is_given_back() {
    let server = Server::default();
    let first = Trying::held(&server, "first").await;
    server.fault(Fault::Silent);
    first.release.cancel();
    sleep(Duration::from_millis(1)).await;
    assert!(!first.claim.is_current());
    assert!(!first.task.is_finished(), "still giving it back");
    timeout(seconds(3), first.task)
        .await
        .expect("a clean end waits for a silent server")
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_stops_when_told() {
    let server = Server::default();
    server.put(Some(foreign("other")));
    let second = server.try_for("second");
    second.claim.observed().await.unwrap();
    second.release.cancel();
    second.task.await.unwrap().unwrap();
    assert!(matches!(second.claim.held().await, Err(LeaseError::Ended)));
    assert_eq!(server.holder().as_deref(), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn claim_ends_before_anybody_else_may_take_the_lease() {
    for fault in [Fault::Silent, Fault::Unavailable] {
        let server = Server::default();
        let first = Trying::held(&server, "first").await;
        let sent = Instant::now();
        server.fault(fault);
        while first.claim.is_current() {
            advance(Duration::from_millis(10)).await;
        }
        let believed = sent.elapsed();
        assert!(
            (seconds(9)..=seconds(10)).contains(&believed),
            "{fault:?}: {believed:?}"
        );
        let lost = first.task.await.unwrap();
        assert!(
            matches!(lost, Err(LeaseError::NotRenewed { .. })),
            "{fault:?}: {lost:?}"
        );
        assert!(sent.elapsed() < seconds(11));

        server.fault(Fault::None);
        first.claim.held().await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn short_outage_costs_nothing() {
    let server = Server::default();
    let first = Trying::held(&server, "first").await;
    for fault in [Fault::Unavailable, Fault::Silent, Fault::AnswersLost] {
        server.fault(fault);
        sleep(seconds(6)).await;
        assert!(first.claim.is_current(), "{fault:?}");
        server.fault(Fault::None);
        sleep(seconds(3)).await;
        assert!(first.claim.remaining() > seconds(7), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lease_is_taken_and_kept_by_way_of_an_api_server_that_takes_two_seconds_for_everything() {
    let server = Server::default();
    server.put(Some(foreign("")));
    server.fault(Fault::Slow);
    let first = server.try_for("first");
    assert!(first.wait().await <= seconds(5));
    for _ in 0..600 {
        sleep(Duration::from_millis(500)).await;
        let left = first.claim.remaining();
        assert!(left > seconds(5), "{left:?}");
    }
    first.release.cancel();
    first.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_stops_at_once_while_the_server_is_silent() {
    let server = Server::default();
    server.put(Some(foreign("other")));
    let second = server.try_for("second");
    second.claim.observed().await.unwrap();
    server.fault(Fault::Silent);
    sleep(seconds(1) + Duration::from_millis(500)).await;
    let told = Instant::now();
    second.release.cancel();
    second.task.await.unwrap().unwrap();
    assert_eq!(told.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn write_whose_answer_got_lost_is_recognised_as_ours() {
    for before in [None, Some(foreign("")), Some(foreign("dead"))] {
        let server = Server::default();
        let transitions = before.as_ref().map_or(0, |_| 8);
        server.put(before);
        server.fault(Fault::AnswersLost);
        let first = server.try_for("first");
        sleep(seconds(20)).await;
        assert!(!first.claim.is_current(), "nothing was ever confirmed");
        assert_eq!(server.holder().as_deref(), Some("first"));
        server.fault(Fault::None);
        assert!(first.wait().await <= seconds(1));
        assert_eq!(server.spec().lease_transitions, Some(transitions));
    }
}

#[tokio::test(start_paused = true)]
async fn annotation_by_somebody_else_costs_nothing() {
    let server = Server::default();
    let first = Trying::held(&server, "first").await;
    server.put(Some(server.spec()));
    sleep(seconds(5)).await;
    assert!(first.claim.remaining() > seconds(7));
}

#[tokio::test(start_paused = true)]
async fn lease_that_names_another_or_is_gone_is_lost_for_good() {
    for (theirs, expected) in [
        (Some(foreign("thief")), "LeaseTaken"),
        (Some(foreign("")), "LeaseTaken"),
        (None, "LeaseDeleted"),
    ] {
        let server = Server::default();
        let first = Trying::held(&server, "first").await;
        let holder = theirs
            .as_ref()
            .and_then(|spec| spec.holder_identity.clone());
        server.put(theirs);
        let start = Instant::now();
        let Trying { claim, task, .. } = first;
        let error = timeout(seconds(60), task)
            .await
            .expect("the loss went unnoticed");
        let error = error.unwrap().unwrap_err();
        assert_eq!(error.reason(), expected);
        assert!(
            start.elapsed() <= seconds(3),
            "noticed with the next renewal"
        );
        assert!(!claim.is_current());
        if holder.is_some() {
            assert_eq!(server.holder(), holder, "what is another's is left alone");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_try_one_holds() {
    for before in [None, Some(foreign("")), Some(foreign("dead"))] {
        let server = Server::default();
        server.put(before);
        let all: Vec<_> = (0..8)
            .map(|number| server.try_for(&format!("replica-{number}")))
            .collect();
        for _ in 0..120 {
            sleep(Duration::from_millis(500)).await;
            let current = all
                .iter()
                .filter(|trying| trying.claim.is_current())
                .count();
            assert!(current <= 1, "{current} hold it");
        }
        assert_eq!(
            all.iter()
                .filter(|trying| trying.claim.is_current())
                .count(),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_is_away_at_the_start_is_waited_for() {
    let server = Server::default();
    server.fault(Fault::Unavailable);
    let first = server.try_for("first");
    let mut observed = pin!(first.claim.observed());
    sleep(seconds(120)).await;
    assert!(
        observed.as_mut().now_or_never().is_none(),
        "nothing was read yet"
    );
    server.fault(Fault::None);
    assert!(first.wait().await <= seconds(2));
    observed.await.unwrap();
}
