//! Many executions looked at with few calls. Touches loopback.

use futures::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::spinnaker::testing::{Reply, TestGate, execution, not_there};

/// A Gate that knows every id that doesn't begin with `x`.
async fn gate() -> TestGate {
    TestGate::new(|line| {
        let Some(query) = line.strip_prefix("GET /executions?executionIds=") else {
            return not_there(line.trim_start_matches("GET /pipelines/"));
        };
        let ids = query.split('&').next().unwrap();
        let found: Vec<Value> = ids
            .split("%2C")
            .filter(|id| !id.starts_with('x'))
            .map(execution)
            .collect();
        Reply::Json(200, json!(found))
    })
    .await
}

#[tokio::test]
async fn many_looks_are_few_calls() {
    let gate = gate().await;
    let poller = Poller::new(gate.client());
    let looks = (0..1000).map(|id| {
        let poller = poller.clone();
        async move {
            let id = format!("01{id}");
            match poller.look(&id).await {
                Lookup::Found(execution) => execution.id == id,
                _ => false,
            }
        }
    });
    assert!(join_all(looks).await.into_iter().all(|found| found));
    assert_eq!(gate.lines().len(), 50);
}

#[tokio::test]
async fn looks_for_one_id_share_one_answer() {
    let gate = gate().await;
    let poller = Poller::new(gate.client());
    let looks = ["01A", "x1", "01A", "x1", "01A"].map(|id| poller.look(id));
    let answers = join_all(looks).await;
    assert!(matches!(answers[4], Lookup::Found(_)));
    assert_eq!(answers[3], Lookup::Absent);
    assert_eq!(gate.lines().len(), 2, "a batch, and a single call for x1");
}

#[tokio::test]
async fn a_later_look_gets_an_answer_of_its_own() {
    let gate = gate().await;
    let poller = Poller::with_window(gate.client(), Duration::from_millis(1));
    for _ in 0..3 {
        assert!(matches!(poller.look("01A").await, Lookup::Found(_)));
    }
    assert_eq!(gate.lines().len(), 3);
}

#[tokio::test]
async fn a_look_that_nobody_waits_for_is_not_asked_and_leaves_nothing() {
    let gate = gate().await;
    let poller = Poller::with_window(gate.client(), Duration::from_millis(20));
    {
        let mut look = Box::pin(poller.look("01A"));
        assert!(futures::poll!(look.as_mut()).is_pending());
    }
    assert!(matches!(poller.look("01B").await, Lookup::Found(_)));
    assert_eq!(
        gate.lines(),
        ["GET /executions?executionIds=01B&expand=false"]
    );
    assert!(poller.shared.waiting().looks.is_empty());
}
