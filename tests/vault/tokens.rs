//! The token by which Vault knows us: kept, renewed, replaced.

use foredeck::{
    api::conditions::Reason,
    runtime::live::LiveSecret,
    secrets::vault::{Login, LoginRefusal, VaultError, VaultSession},
};
use foredeck_testkit::wait_for;
use serde_json::json;

use super::bed::{Bed, PATIENCE, assert_says, by_token, wanted};

impl Bed {
    /// Asks for certificates, each of which has to come, until one of Vault's tokens was renewed, and once more.
    async fn until_renewed(&self, session: &VaultSession) {
        wait_for("a token that was renewed", PATIENCE, async || {
            session.issue(&wanted()).await.unwrap();
            let mut tokens = Vec::new();
            for accessor in self.accessors().await {
                let path = "auth/token/lookup-accessor";
                // One that has run out meanwhile is gone.
                let token = self.vault.write(path, json!({"accessor": accessor})).await;
                tokens.extend(token.ok().map(|mut token| token["data"].take()));
            }
            let mut renewals = tokens.iter().map(|token| &token["last_renewal_time"]);
            anyhow::ensure!(renewals.any(serde_json::Value::is_u64), "{tokens:?}");
            Ok(())
        })
        .await
        .unwrap();
        session.issue(&wanted()).await.unwrap();
    }
}

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
    bed.bind("9s").await;
    let session = bed.session(bed.kubernetes());
    bed.until_renewed(&session).await;
}

#[tokio::test]
async fn a_vault_token_is_used_renewed_and_when_it_is_revoked_replaced_by_another_in_its_place() {
    let Some(bed) = Bed::new().await else { return };
    let token = bed.token("24s").await;
    let (live, source) = LiveSecret::new(token.as_str().into());
    let session = bed.session(Login::Token(live));
    bed.until_renewed(&session).await;
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
