//! What comes of telling a sink, without telling one.

use kube::ResourceExt;
use reqwest::StatusCode;
use serde_json::json;

use super::*;
use crate::{
    api::DeployRequest,
    controller::audit::{
        AuditMetrics,
        sink::{AuditSettings, open},
    },
};

fn outbox() -> Outbox {
    let file = Some(std::env::temp_dir().join("foredeck-never-written"));
    let sinks = open(&AuditSettings { file, server: None });
    Outbox::new(sinks, AuditMetrics::default())
}

fn request(name: &str) -> DeployRequest {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name},
        "spec": {"application": "checkout", "environment": "production"},
        "status": {"decisions": [{"at": "2026-11-22T10:00:00Z", "what": "Requested", "by": name}]},
    }))
    .unwrap()
}

fn refused() -> Trouble {
    Trouble::Answer {
        status: StatusCode::BAD_REQUEST,
        again: None,
    }
}

/// What comes of offering the next request alone.
fn go(standing: &mut Standing, outbox: &Outbox, told: Result<(), Trouble>) -> Duration {
    let parts = outbox
        .ledger()
        .take(0, 1, 100, Instant::now(), |_, name| Some(request(name)));
    assert_eq!(parts.len(), 1);
    standing.came_of(outbox, 0, parts, told)
}

#[test]
fn a_sink_that_refuses_one_request_after_the_other_is_left_alone_until_it_takes_one() {
    let (outbox, mut standing) = (outbox(), Standing::default());
    for number in 0..10 {
        outbox.seen(&request(&number.to_string()), false);
    }
    for _ in 1..IN_A_ROW {
        assert_eq!(go(&mut standing, &outbox, Err(refused())), Duration::ZERO);
    }
    let wait = go(&mut standing, &outbox, Err(refused()));
    assert!(wait >= Duration::from_secs(1) && wait <= LONGEST_BETWEEN_REFUSALS);
    assert_eq!(go(&mut standing, &outbox, Ok(())), Duration::ZERO);
    assert_eq!(go(&mut standing, &outbox, Err(refused())), Duration::ZERO);
}

#[tokio::test]
async fn a_write_that_hangs_is_told_once_and_waited_for() {
    let (outbox, mut standing) = (outbox(), Standing::default());
    let (done, hangs) = tokio::sync::oneshot::channel();
    let telling = async { hangs.await.unwrap() };
    let patience = Some(Duration::from_millis(1));
    let metrics = outbox.metrics.clone();
    let (told, ()) = tokio::join!(
        standing.patiently(&outbox, 0, 7, patience, telling),
        async {
            while metrics.counted("file", "late") == 0 {
                tokio::task::yield_now().await;
            }
            done.send(Ok(())).unwrap();
        }
    );
    assert!(told.is_ok());
    assert_eq!(metrics.counted("file", "late"), 7);
}

#[test]
fn what_was_refused_is_not_offered_before_its_time() {
    let (outbox, mut standing) = (outbox(), Standing::default());
    let one = request("one");
    outbox.seen(&one, false);
    go(&mut standing, &outbox, Err(refused()));
    let now = Instant::now();
    let parts = outbox
        .ledger()
        .take(0, 1, 100, now, |_, _| Some(one.clone()));
    assert!(parts.is_empty(), "{}", one.name_any());
    assert_eq!(outbox.ledger().waiting(), 1);
}
