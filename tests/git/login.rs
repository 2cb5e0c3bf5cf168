//! Logins: tokens and GitHub Apps, from Secrets that change.

use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Result;
use futures::future::join_all;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::support::{Bed, reason};

fn app(bed: &Bed, installation: Option<u64>) -> Value {
    let app = bed.github.app();
    let mut entries = json!({"app-id": app.id.to_string(), "private-key": app.private_key});
    if let Some(installation) = installation {
        entries["installation-id"] = json!(installation.to_string());
    }
    entries
}

#[tokio::test]
async fn an_app_logs_in_once_for_all_who_ask_and_again_when_its_token_is_taken_back() -> Result<()>
{
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    bed.github.set_private(true).await?;
    bed.secret("app", app(&bed, None)).await?;
    let host = bed.host_with(Some("app")).await?;
    let versions: Vec<_> = (0..5).map(|number| format!("none-{number}")).collect();
    let answers = join_all(versions.iter().map(|version| host.commit(version))).await;
    for answer in answers {
        assert_eq!(reason(answer)?, "no-such-version");
    }
    host.commit("main").await?;
    assert_eq!(
        (bed.asked("/installation"), bed.asked("/access_tokens")),
        (2, 1)
    );
    bed.github.expire_tokens();
    host.commit("main").await?;
    assert_eq!(bed.asked("/access_tokens"), 2);
    Ok(())
}

#[tokio::test]
async fn an_apps_token_is_renewed_before_it_ends_and_its_installation_may_be_named() -> Result<()> {
    static LATER: AtomicI64 = AtomicI64::new(0);
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let mut entries = app(&bed, Some(bed.github.app().installation));
    entries["private-key"] = json!(bed.github.app().private_key_pkcs8);
    bed.secret("app", entries).await?;
    // A token that ends within a minute is used, and not kept.
    bed.github
        .set_token_lifetime(std::time::Duration::from_secs(90));
    let clock = || Timestamp::now() + LATER.load(Ordering::SeqCst).seconds();
    let hosts = bed.hosts_at(clock);
    let repository = bed.repository(Some("app"));
    let host = hosts.of(&bed.namespace, &repository).await?;
    host.commit("main").await?;
    host.commit("main").await?;
    assert_eq!(bed.asked("/access_tokens"), 1);
    LATER.store(40, Ordering::SeqCst);
    host.commit("main").await?;
    assert_eq!(bed.asked("/access_tokens"), 2);
    assert_eq!(bed.asked("/repos/acme/checkout/installation"), 0);
    Ok(())
}

#[tokio::test]
async fn a_changed_secret_is_noticed_when_its_login_is_refused() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    bed.secret("own", json!({"token": "ghp_old"})).await?;
    let hosts = bed.hosts();
    let repository = bed.repository(Some("own"));
    let host = hosts.of(&bed.namespace, &repository).await?;
    let error = host.commit("main").await.unwrap_err();
    assert_eq!(error.reason(), "forbidden");
    assert!(!format!("{error:?}").contains("ghp_old"), "{error:?}");
    bed.secret("own", json!({"token": bed.github.token()}))
        .await?;
    host.commit("main").await?;
    bed.secret("own", app(&bed, None)).await?;
    host.commit("main").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_said() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    bed.secret("empty", json!({"password": "x"})).await?;
    let of = async |name: &str| {
        let repository = bed.repository(Some(name));
        let refused = bed.hosts().of(&bed.namespace, &repository).await;
        refused.err().map(|error| error.to_string())
    };
    let missing = of("none").await.unwrap_or_default();
    assert!(
        missing.contains("\"none\"") && missing.contains("does not exist"),
        "{missing}"
    );
    let empty = of("empty").await.unwrap_or_default();
    assert!(
        empty.contains("\"token\"") && empty.contains("\"app-id\""),
        "{empty}"
    );
    let mut entries = app(&bed, None);
    entries["private-key"] =
        json!("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n");
    bed.secret("broken", entries).await?;
    let host = bed.host_with(Some("broken")).await?;
    let error = host.commit("main").await.unwrap_err();
    assert_eq!(error.reason(), "credentials");
    assert!(!error.to_string().contains("AAAA"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_names_who_can_help() -> Result<()> {
    let Some(bed) = Bed::new().await? else {
        return Ok(());
    };
    let plane = foredeck_testkit::ControlPlane::shared().await;
    let client = plane.client_as("nobody@harbor.example", &[]);
    let hosts = foredeck::git::Hosts::new(
        client,
        foredeck::git::Settings {
            allowed: vec!["127.0.0.1".parse()?],
            ..foredeck::git::Settings::default()
        },
        foredeck::git::GitMetrics::default(),
    );
    let refused = hosts
        .of(&bed.namespace, &bed.repository(Some("github")))
        .await;
    let error = refused
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        error.contains("\"github\"") && error.contains("foredeck doctor --print-rbac"),
        "{error}"
    );
    Ok(())
}
