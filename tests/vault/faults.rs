//! Vault sealed, down, still, or another one than it should be; each is said, and goes by without anybody's help.

use std::time::{Duration, Instant};

use foredeck::{
    api::conditions::Reason,
    runtime::{http::Distrust, tls::Trust},
    secrets::vault::{self, Unreachable, VaultError},
};
use foredeck_testkit::{tls::Authority, wait_for};

use super::bed::{Bed, PATIENCE, assert_says, session, wanted};

fn cause(error: &VaultError) -> Unreachable {
    assert_eq!(error.reason(), Reason::VaultUnreachable);
    match error {
        VaultError::Unreachable { cause } => *cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sealed_down_and_still_are_said_and_go_by() {
    let Some(bed) = Bed::new().await else { return };
    let session = bed.session(bed.kubernetes());
    session.issue(&wanted()).await.unwrap();
    let again = async || {
        wait_for("a certificate", PATIENCE, async || {
            Ok(session.issue(&wanted()).await.map(drop)?)
        })
        .await
        .unwrap();
    };

    bed.vault.seal().await.unwrap();
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(error, VaultError::Sealed);
    assert_eq!(error.reason(), Reason::VaultUnreachable);
    assert_says(&error, &["Vault is sealed", "can unseal it"]);
    bed.vault.unseal().await.unwrap();
    again().await;

    bed.vault.stop();
    let error = session.issue(&wanted()).await.unwrap_err();
    assert!(
        matches!(cause(&error), Unreachable::Refused | Unreachable::Broken),
        "{error:?}"
    );
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(cause(&error), Unreachable::Refused);
    assert_says(&error, &["can't be reached: the connection was refused"]);
    bed.vault.restart().await.unwrap();
    again().await;

    bed.vault.pause().unwrap();
    let began = Instant::now();
    let error = session.issue(&wanted()).await.unwrap_err();
    assert_eq!(cause(&error), Unreachable::Silent);
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_says(&error, &["no answer in time"]);
    bed.vault.resume().unwrap();
    again().await;
}

#[tokio::test]
async fn a_vault_of_another_authority_and_one_at_another_name_are_not_believed() {
    let Some(bed) = Bed::new().await else { return };
    let other = Authority::new("Another").unwrap();
    let mut settings = bed.settings(bed.kubernetes());
    settings.trust = Trust::from_pem(other.ca_pem().as_bytes()).unwrap();
    let error = session(settings.clone())
        .issue(&wanted())
        .await
        .unwrap_err();
    assert_eq!(cause(&error), Unreachable::Untrusted(Distrust::Issuer));
    assert_says(&error, &["its certificate is not trusted", "authority"]);

    settings.trust = Trust::Machine;
    let error = session(settings.clone())
        .issue(&wanted())
        .await
        .unwrap_err();
    assert_eq!(cause(&error), Unreachable::Untrusted(Distrust::Issuer));

    settings.trust = bed.trust();
    settings.address = vault::address("https://nowhere.invalid:8200").unwrap();
    let error = session(settings).issue(&wanted()).await.unwrap_err();
    assert_eq!(cause(&error), Unreachable::Name);
    assert_says(&error, &["its name can't be resolved"]);
}
