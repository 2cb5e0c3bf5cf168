//! The token by which Vault knows us: kept, renewed, replaced.

use std::time::{Duration, Instant};

use foredeck::{
    api::conditions::Reason,
    runtime::live::LiveSecret,
    secrets::vault::{Login, LoginRefusal, VaultError},
};
use foredeck_testkit::wait_for;
use serde_json::json;

use super::bed::{Bed, PATIENCE, assert_says, by_token, wanted};

#[tokio::test]
async fn one_login_does_until_the_token_is_revoked_and_then_another() {
    let Some(bed) = Bed::new().await else { return };
    let before = bed.tokens().await;
    let session = bed.session(bed.kubernetes());
    for _ in 0..3 {
        session.issue(&wanted()).await.unwrap();
    }
    assert_eq!(bed.tokens().await, before + 1);
    let revoke = json!({});
    bed.vault
        .write("sys/leases/revoke-prefix/auth/kubernetes/login", revoke)
        .await
        .unwrap();
    wait_for("the token to go", PATIENCE, async || {
        let left = bed.tokens().await;
        anyhow::ensure!(left == before, "{left} of {before}");
        Ok(())
    })
    .await
    .unwrap();
    session.issue(&wanted()).await.unwrap();
    assert_eq!(bed.tokens().await, before + 1);
}

#[tokio::test]
async fn a_token_of_a_few_seconds_never_fails_a_call() {
    let Some(bed) = Bed::new().await else { return };
    bed.bind("4s").await;
    let before = bed.tokens().await;
    let session = bed.session(bed.kubernetes());
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        session.issue(&wanted()).await.unwrap();
    }
    // Renewed, not asked for again and again.
    assert!(bed.tokens().await <= before + 2);
}

#[tokio::test]
async fn a_vault_token_is_used_renewed_and_when_it_is_revoked_replaced_by_another_in_its_place() {
    let Some(bed) = Bed::new().await else { return };
    let token = bed.token("4s").await;
    let (live, source) = LiveSecret::new(token.as_str().into());
    let session = bed.session(Login::Token(live));
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        session.issue(&wanted()).await.unwrap();
    }
    let revoke = bed
        .vault
        .write("auth/token/revoke", json!({"token": token}));
    revoke.await.unwrap();
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(
        error,
        VaultError::LoginRefused {
            place: "auth/token/lookup-self".to_owned(),
            refusal: LoginRefusal::Token
        }
    );
    assert_eq!(error.reason(), Reason::LoginFailed);
    assert_says(
        &error,
        &[
            "unknown to it, revoked or has run out",
            "Whoever keeps the token",
        ],
    );
    source.set(bed.token("1h").await.into());
    session.issue(&wanted()).await.unwrap();
}

#[tokio::test]
async fn a_vault_token_that_vault_never_gave_is_refused() {
    let Some(bed) = Bed::new().await else { return };
    let session = bed.session(by_token("s.neverGivenToAnybody"));
    super::bed::hush("s.neverGivenToAnybody");
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoginFailed);
}
