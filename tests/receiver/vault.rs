//! Slack's secrets in the real OpenBao: a receiver waits for it, follows what changes there, and works on while it is sealed.

use std::fs;

use anyhow::Result;
use foredeck_testkit::toolbox::{OpenBao, ServiceAccountRole};
use serde_json::json;

use crate::{
    rotation::{Process, planned},
    support::{Bed, text},
};

const AUDIENCE: &str = "vault.corp.example";
const ACCOUNT: &str = "foredeck-receiver";

/// Puts the app's secrets of now where the receiver looks for them.
async fn put(vault: &OpenBao, bed: &Bed) -> Result<()> {
    let values = json!({"bot": bed.slack.bot_token(), "app": bed.slack.app_token()});
    vault.put_secret("kv", "foredeck/slack", values).await
}

#[tokio::test]
async fn secrets_in_vault_are_waited_for_and_followed() -> Result<()> {
    let Some(program) = OpenBao::fetch().await? else {
        return Ok(());
    };
    let (vault, bed) = (program.start().await?, Bed::new("vault").await?);
    vault.enable("kv-v2", "kv").await?;
    let rules = "path \"kv/data/foredeck/slack\" { capabilities = [\"read\"] }";
    vault.policy("slack", rules).await?;
    vault.kubernetes_login("kubernetes", bed.plane).await?;
    let account = ServiceAccountRole {
        namespace: &bed.namespace,
        name: ACCOUNT,
        audience: AUDIENCE,
        policies: &["slack"],
        ttl: "1h",
    };
    vault
        .kubernetes_role("kubernetes", "receiver", account)
        .await?;
    let jwt = bed
        .plane
        .service_account_token(&bed.namespace, ACCOUNT, &[AUDIENCE])
        .await?;
    let folder = bed
        .plane
        .directory()
        .join(format!("vault-{}", bed.namespace));
    fs::create_dir(&folder)?;
    let (jwt_file, ca_file) = (folder.join("jwt"), vault.ca_file());
    fs::write(&jwt_file, &jwt)?;

    // It is down when the receiver starts, then knows nothing of Slack, then half of it.
    vault.stop();
    let flags = [
        "--slack-bot-token-vault=foredeck/slack#bot".to_owned(),
        "--slack-app-token-vault=foredeck/slack#app".to_owned(),
        format!("--vault-address={}", vault.url()),
        format!("--vault-ca-file={}", ca_file.display()),
        "--vault-role=receiver".to_owned(),
        format!("--vault-jwt-file={}", jwt_file.display()),
        "--vault-kv-mount=kv".to_owned(),
    ];
    let receiver = Process::begin(&bed, &folder, "socket", &flags)?;
    receiver
        .says("slack-bot-token can't be read: Vault can't be reached")
        .await?;
    vault.restart().await?;
    receiver
        .says("slack-bot-token can't be read: Vault knows nothing of kv/data/foredeck/slack")
        .await?;
    let half = json!({"bot": bed.slack.bot_token()});
    vault.put_secret("kv", "foredeck/slack", half).await?;
    receiver
        .says("slack-app-token can't be read: The secret at kv/data/foredeck/slack in Vault has no key app")
        .await?;
    put(&vault, &bed).await?;
    receiver.ready().await?;

    // It changes between a plan and the click on it.
    let mut seen = vec![jwt, vault.root_token().to_owned()];
    seen.extend([bed.slack.bot_token(), bed.slack.app_token()]);
    let plan = planned(&bed, "/deploy checkout main to staging").await?;
    bed.slack.rotate_bot_token();
    put(&vault, &bed).await?;
    let answer = bed.pressed("alice", &plan, "plan-deploy").await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));

    // Sealed, it takes nothing away.
    vault.seal().await?;
    receiver.counted("slack-bot-token", "vault").await?;
    let answer = planned(&bed, "/deploy checkout v2 to staging").await?;
    assert!(text(&answer).contains("v2"), "{}", text(&answer));
    vault.unseal().await?;
    bed.slack.rotate_bot_token();
    put(&vault, &bed).await?;
    let answer = bed.pressed("alice", &answer, "plan-deploy").await?;
    assert!(answer.text.contains("Accepted"), "{}", text(&answer));
    bed.slack
        .user("bob")
        .command("deploys", "/deploy checkout v3 to staging")?
        .answered()
        .await?;
    bed.shown("bob", 0).await?;
    seen.push(bed.slack.bot_token());
    receiver.told_none_of(&bed, &seen).await
}
