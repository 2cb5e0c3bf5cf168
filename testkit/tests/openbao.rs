//! The real OpenBao as the testkit furnishes it: it issues, lets service accounts of the real API server in, and is sealed,
//! stopped or still when a test wants that.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::http::Method;
use foredeck_testkit::tls::Issued;
use foredeck_testkit::toolbox::{OpenBao, PKI_ISSUING, ServiceAccountRole};
use foredeck_testkit::{ControlPlane, wait_for};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// An empty server of its own; nothing if OpenBao is left out.
async fn server() -> Option<OpenBao> {
    let program = OpenBao::fetch().await.unwrap()?;
    Some(program.start().await.unwrap())
}

async fn issue(server: &OpenBao, role: &str, common_name: &str) -> anyhow::Result<Value> {
    let path = format!("{PKI_ISSUING}/issue/{role}");
    let answer = server.write(&path, json!({"common_name": common_name}));
    Ok(answer.await?["data"].clone())
}

async fn token_of(plane: &ControlPlane, namespace: &str, name: &str, audience: &str) -> String {
    plane
        .service_account_token(namespace, name, &[audience])
        .await
        .unwrap()
}

#[tokio::test]
async fn it_issues_short_lived_certificates_below_a_root() {
    let Some(server) = server().await else { return };
    let root = server.pki().await.unwrap();
    server
        .pki_role(
            "foredeck",
            "60s",
            &["foredeck", "corp.example"],
            Value::Null,
        )
        .await
        .unwrap();

    let issued = issue(&server, "foredeck", "foredeck").await.unwrap();
    let chain = issued["ca_chain"].as_array().unwrap();
    assert_eq!(chain.len(), 2, "{issued}");
    assert_eq!(chain[1].as_str().unwrap().trim(), root.trim());
    let lasts = issued["expiration"].as_u64().unwrap() - unix_now();
    assert!((50..=61).contains(&lasts), "{lasts}");
    let client = Issued {
        chain_pem: issued["certificate"].as_str().unwrap().to_owned(),
        key_pem: issued["private_key"].as_str().unwrap().to_owned(),
    };
    let subject = client.subject().unwrap();
    assert_eq!(subject.serial, issued["serial_number"].as_str().unwrap());
    assert_eq!(subject.principal(), Some("foredeck"));
    let told = |answer: &Value| {
        answer["type"] == "response" && answer["response"]["data"]["private_key"] == client.key_pem
    };
    assert!(server.audited().unwrap().iter().any(told));

    let refused = issue(&server, "foredeck", "somebody-else").await;
    assert!(refused.unwrap_err().to_string().contains("400"));
}

fn unix_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[tokio::test]
async fn rotated_authorities_issue_from_then_on() {
    let Some(server) = server().await else { return };
    let root = server.pki().await.unwrap();
    let role = server.pki_role("foredeck", "60s", &["foredeck"], Value::Null);
    role.await.unwrap();
    let before = issue(&server, "foredeck", "foredeck").await.unwrap();
    let issuing = server.rotate_issuing().await.unwrap();
    let after = issue(&server, "foredeck", "foredeck").await.unwrap();
    assert_ne!(before["issuing_ca"], after["issuing_ca"]);
    assert_eq!(after["issuing_ca"].as_str().unwrap().trim(), issuing.trim());
    assert_eq!(before["ca_chain"][1], after["ca_chain"][1]);

    let other = server.rotate_root().await.unwrap();
    assert_ne!(other, root);
    let last = issue(&server, "foredeck", "foredeck").await.unwrap();
    assert_eq!(last["ca_chain"][1].as_str().unwrap().trim(), other.trim());
}

#[tokio::test]
async fn a_service_account_logs_in_with_a_token_that_the_api_server_vouches_for() {
    let Some(server) = server().await else { return };
    let plane = ControlPlane::shared().await;
    let mine = plane.namespace("shop").await.unwrap();
    let other = plane.namespace("other").await.unwrap();
    let issue = format!("path \"{PKI_ISSUING}/issue/foredeck\" {{ capabilities = [\"update\"] }}");
    server.policy("issue", &issue).await.unwrap();
    let account = ServiceAccountRole {
        namespace: &mine,
        name: "foredeck-vault",
        audience: "vault.corp.example",
        policies: &["issue"],
        ttl: "60s",
    };
    server.kubernetes_login("kubernetes", plane).await.unwrap();
    server
        .kubernetes_role("kubernetes", "foredeck", account)
        .await
        .unwrap();
    server.jwt_login("jwt", plane).await.unwrap();
    server.jwt_role("jwt", "foredeck", account).await.unwrap();

    let good = token_of(plane, &mine, "foredeck-vault", "vault.corp.example").await;
    let bad = [
        token_of(plane, &other, "foredeck-vault", "vault.corp.example").await,
        token_of(plane, &mine, "default", "vault.corp.example").await,
        token_of(plane, &mine, "foredeck-vault", "elsewhere").await,
        "no.token.atall".to_owned(),
    ];
    for login in ["kubernetes", "jwt"] {
        let token = server.login(login, "foredeck", &good).await.unwrap();
        let itself = server.call_with(&token, Method::GET, "auth/token/lookup-self", Value::Null);
        let itself = itself.await.unwrap();
        assert_eq!(itself["data"]["policies"], json!(["default", "issue"]));
        assert!(itself["data"]["ttl"].as_u64().unwrap() <= 60);
        for jwt in &bad {
            let refused = server.login(login, "foredeck", jwt).await;
            assert!(refused.is_err(), "{login} lets {jwt} in");
        }
    }
}

#[tokio::test]
async fn a_deleted_service_account_is_let_in_no_more() {
    let Some(server) = server().await else { return };
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("shop").await.unwrap();
    let account = ServiceAccountRole {
        namespace: &namespace,
        name: "foredeck-vault",
        audience: "vault.corp.example",
        policies: &["default"],
        ttl: "60s",
    };
    server.kubernetes_login("kubernetes", plane).await.unwrap();
    server
        .kubernetes_role("kubernetes", "foredeck", account)
        .await
        .unwrap();
    let jwt = token_of(plane, &namespace, "foredeck-vault", "vault.corp.example").await;
    server.login("kubernetes", "foredeck", &jwt).await.unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(plane.admin(), &namespace);
    accounts
        .delete("foredeck-vault", &DeleteParams::default())
        .await
        .unwrap();
    // The API server remembers for some seconds that it vouched.
    wait_for(
        "the login to be refused",
        Duration::from_mins(1),
        async || {
            let login = server.login("kubernetes", "foredeck", &jwt).await;
            ensure!(login.is_err(), "it is let in");
            Ok(())
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn what_it_keeps_outlives_a_stop_and_a_seal_keeps_it_shut() {
    let Some(server) = server().await else { return };
    server.enable("kv-v2", "kv").await.unwrap();
    let put = server.put_secret("kv", "slack", json!({"token": "one"}));
    put.await.unwrap();
    let url = server.url().to_owned();

    server.stop();
    let refused = server.read("kv/data/slack").await.unwrap_err();
    let refused = refused.downcast::<reqwest::Error>().unwrap();
    assert!(refused.is_connect(), "{refused:?}");
    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    let kept = server.read("kv/data/slack").await.unwrap();
    assert_eq!(kept["data"]["data"]["token"], "one");

    server.seal().await.unwrap();
    let sealed = server.read("kv/data/slack").await.unwrap_err().to_string();
    assert!(
        sealed.contains("503") && sealed.contains("sealed"),
        "{sealed}"
    );
    server.unseal().await.unwrap();
    let put = server.put_secret("kv", "slack", json!({"token": "two"}));
    put.await.unwrap();
    let kept = server.read("kv/data/slack").await.unwrap();
    assert_eq!(kept["data"]["data"]["token"], "two");
    assert_eq!(kept["data"]["metadata"]["version"], 2);
}

#[tokio::test]
async fn while_it_stands_still_it_answers_nothing_and_then_goes_on() {
    let Some(server) = server().await else { return };
    server.pause().unwrap();
    let look = tokio::time::timeout(Duration::from_millis(300), server.read("sys/health"));
    assert!(look.await.is_err());
    server.resume().unwrap();
    server.read("sys/health").await.unwrap();
}

#[tokio::test]
async fn a_user_reaches_it_with_the_command_line() {
    let Some(server) = server().await else { return };
    let rules = "path \"kv/data/slack\" { capabilities = [\"read\"] }";
    let write = server.cli(&["policy", "write", "slack", "-"], rules);
    write.await.unwrap();
    let read = server.cli(&["policy", "read", "slack"], "").await.unwrap();
    assert!(read.contains("kv/data/slack"), "{read}");
    let failed = server.cli(&["policy", "read", "none"], "").await;
    assert!(failed.unwrap_err().to_string().contains("none"));
    assert!(server.program_folder().join("bao").is_file());
}

#[tokio::test]
async fn a_revoked_token_is_good_for_nothing() {
    let Some(server) = server().await else { return };
    let token = server.token(&["default"], "1h").await.unwrap();
    let look = async || {
        let path = "auth/token/lookup-self";
        server
            .call_with(&token, Method::GET, path, Value::Null)
            .await
    };
    assert_eq!(look().await.unwrap()["data"]["renewable"], true);
    let revoke = server.write("auth/token/revoke", json!({"token": token}));
    revoke.await.unwrap();
    assert!(look().await.unwrap_err().to_string().contains("403"));
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let (Some(one), Some(other)) = tokio::join!(server(), server()) else {
        return;
    };
    assert_ne!(one.ca_pem(), other.ca_pem());
    let look = other.call_with(one.root_token(), Method::GET, "sys/mounts", Value::Null);
    assert!(look.await.unwrap_err().to_string().contains("403"));
    drop(one);
    other.read("sys/mounts").await.unwrap();
}

#[tokio::test]
async fn one_that_nobody_initialised_says_so() {
    let Some(program) = OpenBao::fetch().await.unwrap() else {
        return;
    };
    let server = program.start_uninitialised().await.unwrap();
    let health = server.read("sys/health").await.unwrap_err().to_string();
    assert!(
        health.contains("501") && health.contains("\"initialized\":false"),
        "{health}"
    );
}

#[tokio::test]
async fn it_ends_with_its_value_even_while_it_stands_still() {
    let Some(server) = server().await else { return };
    let (url, folder) = (server.url().to_owned(), server.ca_file());
    server.pause().unwrap();
    drop(server);
    assert!(refuses(&url).is_ok() && !folder.exists());
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_server_behind() {
    if OpenBao::fetch().await.unwrap().is_none() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_server", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stdout.take().unwrap());
    let held = output
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("held: ").map(str::to_owned));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let held = held.unwrap();
    let (url, ca_file) = held.split_once(' ').unwrap();
    wait_for("the server and its folder to go", SOON, async || {
        refuses(url)?;
        ensure!(!Path::new(ca_file).exists(), "the folder is there");
        Ok(())
    })
    .await
    .unwrap();
}

/// Not a test: what the test above kills.
#[tokio::test]
#[ignore = "run by the test of how a server ends, in a process of its own"]
async fn hold_a_server() {
    let server = server().await.unwrap();
    println!("\nheld: {} {}", server.url(), server.ca_file().display());
    // Ends with the test that started it, should that die.
    let _ = std::io::stdin().read(&mut [0]);
}

fn refuses(url: &str) -> anyhow::Result<()> {
    let address = url.strip_prefix("https://").context("an address")?;
    let taken = TcpStream::connect(address).is_ok();
    ensure!(!taken, "{url} takes connections");
    Ok(())
}
