//! A secret that is planted is found, wherever and however it was written; and nothing is found where nothing is.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use foredeck_testkit::{ControlPlane, StandInGate, StandInSlack};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde_json::json;

use crate::leaks::{Secrets, Written};

const TOKEN: &str = "s.9fJ2/kQ+x7Lw0aZrT4vB8n";
const PASSWORD: &str = "Tr0ub4dor&3x";
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA
q8Zk1mHc5VtY0wJrXo3DfE7uPbNsLgQiKe2RaTyUxMj9hB4vCzWn6GpAdFlS7OIt
Zw3xQm9e
-----END PRIVATE KEY-----
";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsidmF1bHQiXX0.c2lnbmF0dXJlLW9mLWEtdG9rZW4";

fn secrets() -> Result<Secrets> {
    let mut secrets = Secrets::default();
    for (name, secret) in [
        ("token", TOKEN),
        ("password", PASSWORD),
        ("key", KEY),
        ("jwt", JWT),
    ] {
        secrets.add(name, secret)?;
    }
    Ok(secrets)
}

fn found(text: &str) -> Result<Vec<String>> {
    let mut written = Written::default();
    written.text("here", text);
    Ok(written.with(&secrets()?))
}

#[test]
fn a_secret_is_found_however_it_is_written() -> Result<()> {
    let second_line = KEY.lines().nth(2).context("a second line of the key")?;
    for (text, name) in [
        (TOKEN.to_owned(), "token"),
        (
            format!("403: {{\"errors\":[\"bad token {TOKEN}\"]}}"),
            "token",
        ),
        (format!("cut off: {}…", &TOKEN[..18]), "token"),
        (STANDARD.encode(TOKEN), "token"),
        (STANDARD.encode(format!("u:{TOKEN}")), "token"),
        (STANDARD.encode(format!("us:{TOKEN}\n")), "token"),
        ("token=s.9fJ2%2FkQ%2Bx7Lw0aZrT4vB8n&x".to_owned(), "token"),
        (format!("login {PASSWORD} refused"), "password"),
        (STANDARD.encode(format!("spinnaker:{PASSWORD}")), "password"),
        ("Tr0ub4dor%263x".to_owned(), "password"),
        (KEY.to_owned(), "key"),
        (format!("{KEY:?}"), "key"),
        (format!("key {second_line}"), "key"),
        (JWT.to_owned(), "jwt"),
    ] {
        assert_eq!(found(&text)?, [format!("{name} in here")], "{text}");
    }
    Ok(())
}

#[test]
fn what_is_no_secret_is_not_found() -> Result<()> {
    let public = "-----BEGIN PRIVATE KEY----- eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOlsidmF1bHQiXX0 \
                  MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg s.9fJ2/kQ Tr0ub4dor";
    assert_eq!(found(public)?, Vec::<String>::new());
    assert_eq!(found("")?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_search_that_could_find_nothing_fails() -> Result<()> {
    assert!(Secrets::default().add("pin", "1234567").is_err());
    let mut written = Written::default();
    assert!(written.has_none_of(&secrets()?).is_err());
    written.text("here", "nothing");
    assert!(written.has_none_of(&Secrets::default()).is_err());
    written.has_none_of(&secrets()?)?;
    written.text("there", format!("a {TOKEN}"));
    let told = written.has_none_of(&secrets()?).unwrap_err().to_string();
    assert!(told.ends_with("token in there"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_secret_is_found_in_every_place_that_is_written_to() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane.install_crds(&foredeck::api::crds()).await?;
    let namespace = plane.namespace("leaks").await?;
    let (gate, slack) = (StandInGate::start().await?, StandInSlack::start().await?);
    let folder = plane.directory().join("leaks").join("deeper");
    std::fs::create_dir_all(&folder)?;
    let look = async || {
        let mut written = Written::default();
        written.files(&plane.directory().join("leaks"))?;
        written.objects(plane).await?;
        written.gate(&gate);
        written.slack(&slack);
        anyhow::Ok(written)
    };
    std::fs::write(folder.join("controller.log"), "nothing here\n")?;
    look().await?.has_none_of(&secrets()?)?;

    std::fs::write(folder.join("controller.log"), format!("a\nb {TOKEN}\n"))?;
    let resource = ApiResource::erase::<foredeck::api::SpinnakerConnection>(&());
    let connections: Api<DynamicObject> =
        Api::namespaced_with(plane.admin(), &namespace, &resource);
    let spec = json!({"gateUrl": "https://gate.example"});
    let connection = DynamicObject::new("leaky", &resource).data(json!({"spec": spec}));
    connections
        .create(&PostParams::default(), &connection)
        .await?;
    let status = json!({"status": {"user": format!("who has {TOKEN}")}});
    connections
        .patch_status("leaky", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    let event: Event = serde_json::from_value(json!({
        "metadata": {"name": "leaky"}, "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Login", "reason": "LoginFailed",
        "type": "Warning", "reportingController": "foredeck", "reportingInstance": "one", "note": TOKEN,
        "regarding": {"kind": "SpinnakerConnection", "name": "leaky", "namespace": namespace},
    }))?;
    Api::<Event>::namespaced(plane.admin(), &namespace)
        .create(&PostParams::default(), &event)
        .await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    http.post(format!("{}/pipelines/start", gate.url()))
        .json(&json!({"application": "checkout", "note": TOKEN}))
        .send()
        .await?;
    http.post(format!("{}chat.postMessage", slack.api_url()))
        .bearer_auth(slack.bot_token())
        .json(&json!({"channel": "C01", "text": TOKEN}))
        .send()
        .await?;

    let told = look().await?.with(&secrets()?);
    let places = [
        "controller.log".to_owned(),
        format!("the SpinnakerConnection {namespace}/leaky"),
        format!("the Event {namespace}/leaky"),
        format!("the calls of {}, number 1", gate.url()),
        "the calls of Slack, number 1".to_owned(),
    ];
    for place in &places {
        let line = told.iter().find(|line| line.ends_with(place));
        let line = line.with_context(|| format!("nothing of {place} in {told:?}"))?;
        assert!(line.starts_with("token in "), "{line}");
    }
    assert_eq!(told.len(), places.len(), "{told:?}");
    assert!(!told.concat().contains(TOKEN));
    Ok(())
}
