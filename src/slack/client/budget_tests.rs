//! The budgets, on a clock that only the tests move.

use std::future::Future;

use tokio::{sync::mpsc, task::JoinSet};

use super::*;

/// Lets everything run that can, without time passing.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn is_waiting(future: impl Future<Output = Permit>) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = settle() => true,
    }
}

#[tokio::test(start_paused = true)]
async fn no_minute_has_more_updates_than_the_tier_says() {
    let budget = Budget::default();
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..170 {
        let _permit = budget
            .acquire(Method::ChatUpdate, None, Priority::Progress)
            .await;
        times.push(start.elapsed());
    }
    for (index, begin) in times.iter().enumerate() {
        let within = times[index..]
            .iter()
            .take_while(|time| **time < *begin + Duration::from_mins(1))
            .count();
        assert!(within <= 50, "{within} in the minute from {begin:?}");
    }
    assert_eq!(times[9], Duration::ZERO);
    assert_eq!(times[169], Duration::from_mins(4));
}

#[tokio::test(start_paused = true)]
async fn a_channel_gets_one_post_a_second_and_holds_up_no_other() {
    let budget = Budget::default();
    let acquire = |channel: &'static str| {
        budget.acquire(Method::ChatPostMessage, Some(channel), Priority::Progress)
    };
    let start = Instant::now();
    let _first = acquire("C1").await;
    assert!(is_waiting(acquire("C1")).await);
    let (_second, _other) = tokio::join!(acquire("C1"), async {
        let permit = acquire("C2").await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        permit
    });
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_last_word_goes_first_and_equals_in_the_order_they_came() {
    let budget = Budget::default();
    for _ in 0..10 {
        let _permit = budget
            .acquire(Method::ChatUpdate, None, Priority::Progress)
            .await;
    }
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for (name, priority) in [
        ("progress 1", Priority::Progress),
        ("progress 2", Priority::Progress),
        ("asked", Priority::Interactive),
        ("final 1", Priority::Final),
        ("final 2", Priority::Final),
    ] {
        let (budget, sender) = (budget.clone(), sender.clone());
        tasks.spawn(async move {
            let _permit = budget.acquire(Method::ChatUpdate, None, priority).await;
            sender.send(name).unwrap();
        });
        settle().await;
    }
    assert_eq!(budget.load(Method::ChatUpdate).waiting, 5);
    assert_eq!(
        budget.load(Method::ChatUpdate).wait,
        Duration::from_millis(1500)
    );
    tasks.join_all().await;
    let mut order = Vec::new();
    while let Ok(name) = receiver.try_recv() {
        order.push(name);
    }
    assert_eq!(
        order,
        ["final 1", "final 2", "asked", "progress 1", "progress 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_holds_up_nobody() {
    let budget = Budget::default();
    for _ in 0..10 {
        let _permit = budget
            .acquire(Method::ChatUpdate, None, Priority::Progress)
            .await;
    }
    let first = budget.clone();
    let first = tokio::spawn(async move {
        first
            .acquire(Method::ChatUpdate, None, Priority::Final)
            .await
    });
    settle().await;
    let second = budget.clone();
    let second = tokio::spawn(async move {
        second
            .acquire(Method::ChatUpdate, None, Priority::Final)
            .await
    });
    settle().await;
    first.abort();
    let start = Instant::now();
    let _permit = second.await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(1500));
    assert_eq!(budget.load(Method::ChatUpdate).waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_the_method_and_only_it() {
    let budget = Budget::default();
    budget.pause(Method::ChatUpdate, Duration::from_secs(30));
    let start = Instant::now();
    let _other = budget
        .acquire(Method::UsersInfo, None, Priority::Progress)
        .await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let _first = budget
        .acquire(Method::ChatUpdate, None, Priority::Final)
        .await;
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    let _second = budget
        .acquire(Method::ChatUpdate, None, Priority::Final)
        .await;
    assert_eq!(
        start.elapsed(),
        Duration::from_millis(31_500),
        "no burst after a pause"
    );
}

#[tokio::test(start_paused = true)]
async fn channels_at_rest_are_forgotten() {
    let budget = Budget::default();
    for number in 0..MOST_CHANNELS + 500 {
        let channel = format!("C{number}");
        let _permit = budget
            .acquire(Method::ChatPostMessage, Some(&channel), Priority::Progress)
            .await;
    }
    assert!(budget.lock().channels.len() <= MOST_CHANNELS);
}
