//! Whatever the order in which replicas learn of a new token, a plan that one of them showed opens at each.

use jiff::ToSpan;

use super::*;
use crate::{
    receiver::plan::tests::{alice, now, plan},
    runtime::live::LiveSecretSource,
};

const NONCE: Nonce = Nonce([7; 12]);

/// A replica with a token that can be changed.
fn replica(token: &str) -> (Seals, LiveSecretSource) {
    let (live, source) = LiveSecret::new(token.into());
    (Seals::new(vec![live]).unwrap(), source)
}

fn sealed(by: &Seals, at: Timestamp) -> String {
    let plan = plan("checkout main to staging");
    by.seal(&plan, Purpose::Deploy, NONCE, at).unwrap()
}

async fn opens(seals: &Seals, sealed: &str, at: Timestamp) -> bool {
    let opened = seals.open(sealed, Purpose::Deploy, &alice(), at).await;
    opened.is_ok()
}

#[tokio::test]
async fn a_plan_opens_at_each_replica_in_whatever_order_they_learn_of_a_new_token() {
    let ((one, first), (other, second)) = (replica("xoxb-old"), replica("xoxb-old"));
    let shown_before = sealed(&one, now());
    first.set("xoxb-new".into());
    assert!(opens(&one, &shown_before, now()).await);
    // The other has not heard of it yet.
    let shown_between = sealed(&one, now());
    assert!(opens(&other, &shown_between, now()).await);
    assert!(opens(&one, &sealed(&other, now()), now()).await);
    second.set("xoxb-new".into());
    let later = now() + 3.minutes();
    for shown in [&shown_before, &shown_between] {
        assert!(opens(&one, shown, later).await);
        assert!(opens(&other, shown, later).await);
    }
    // Once it has settled, the new one seals: one that started since knows no other.
    let shown_after = sealed(&one, later);
    let (newcomer, _source) = replica("xoxb-new");
    assert!(opens(&newcomer, &shown_after, later).await);
    assert!(!opens(&newcomer, &shown_between, later).await);
}

#[tokio::test]
async fn changes_in_a_row_seal_with_what_everybody_knows() {
    let ((one, first), (slow, _still_old)) = (replica("xoxb-1"), replica("xoxb-1"));
    for token in ["xoxb-2", "xoxb-3"] {
        first.set(token.into());
        assert!(opens(&slow, &sealed(&one, now()), now()).await, "{token}");
    }
    // Taken back, it is as if nothing had been.
    first.set("xoxb-1".into());
    assert!(opens(&slow, &sealed(&one, now()), now()).await);
    assert!(opens(&slow, &sealed(&one, now() + 3.minutes()), now()).await);
}

#[tokio::test]
async fn a_token_of_long_ago_opens_nothing() {
    let (one, first) = replica("xoxb-old");
    let shown = sealed(&one, now());
    first.set("xoxb-new".into());
    assert!(opens(&one, &shown, now()).await);
    assert!(!opens(&one, &shown, now() + 61.minutes()).await);
}

#[tokio::test]
async fn a_seal_that_is_news_has_the_source_asked_once() {
    let (live, mut source) = LiveSecret::new("xoxb-old".into());
    let seals = Seals::new(vec![live]).unwrap();
    let asking = tokio::spawn(async move {
        let mut times = 0;
        while let Some(questions) = source.asked().await {
            times += 1;
            source.set("xoxb-new".into());
            drop(questions);
        }
        times
    });
    let (newcomer, _source) = replica("xoxb-new");
    assert!(opens(&seals, &sealed(&newcomer, now()), now()).await);
    drop(seals);
    assert_eq!(asking.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_answer_holds_nobody_up() {
    let (live, _silent) = LiveSecret::new("xoxb-old".into());
    let seals = Seals::new(vec![live]).unwrap();
    let begun = tokio::time::Instant::now();
    let (stranger, _source) = replica("xoxb-other");
    assert!(!opens(&seals, &sealed(&stranger, now()), now()).await);
    assert_eq!(begun.elapsed(), SOURCE_PATIENCE);
}

#[test]
fn there_is_no_seal_without_a_token() {
    for tokens in [vec![], vec![LiveSecret::from(" ")]] {
        assert_eq!(Seals::new(tokens).err(), Some(SealError::NoKey));
    }
}
