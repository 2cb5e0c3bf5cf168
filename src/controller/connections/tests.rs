//! What the Gates by connection promise to whoever asks for one. Touches loopback.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, ensure};
use axum::{Json, Router, http::Uri, response::IntoResponse};
use foredeck_testkit::wait_for;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use super::*;
use crate::runtime::tls;

const AT_ONCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// Gates and Vaults on 127.0.0.1, and an API server that takes connections and says nothing.
async fn connections() -> (Connections, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (connections_by(&silent), silent)
}

fn connections_by(api_server: &TcpListener) -> Connections {
    tls::install();
    let uri = format!("http://{}", api_server.local_addr().unwrap());
    let client = Client::try_from(kube::Config::new(uri.parse().unwrap())).unwrap();
    let settings = ControllerSettings {
        secret_age: Some(Duration::from_millis(20)),
        hosts: AllowedHosts {
            gate: vec!["127.0.0.1".parse().unwrap()],
            vault: vec!["127.0.0.1:8200".parse().unwrap()],
        },
        ..ControllerSettings::default()
    };
    Connections::new(client, &settings, ControllerMetrics::default())
}

/// An API server that knows objects by their paths, and says nothing at all while it is silent.
#[derive(Clone, Default)]
struct ApiServer {
    objects: Arc<Mutex<HashMap<String, Value>>>,
    silent: Arc<watch::Sender<bool>>,
}

impl ApiServer {
    async fn start(&self) -> Connections {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connections = connections_by(&listener);
        let served = self.clone();
        let router = Router::new().fallback(move |uri: Uri| served.clone().answer(uri));
        tokio::spawn(async move { axum::serve(listener, router).await });
        connections
    }

    async fn answer(self, uri: Uri) -> impl IntoResponse {
        let mut silent = self.silent.subscribe();
        assert!(silent.wait_for(|silent| !silent).await.is_ok());
        match self.objects.lock().unwrap().get(uri.path()) {
            Some(object) => (StatusCode::OK, Json(object.clone())),
            None => {
                let status = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
                (StatusCode::NOT_FOUND, Json(status))
            }
        }
    }

    fn has(&self, connection: &SpinnakerConnection) {
        let path = format!(
            "/apis/foredeck.dev/v1alpha1/namespaces/shop/spinnakerconnections/{}",
            connection.name_any()
        );
        let object = serde_json::to_value(connection).unwrap();
        self.objects.lock().unwrap().insert(path, object);
    }

    /// Secret `login`, as `auth.basic` wants it.
    fn has_password(&self, password: &str) {
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        let secret = Secret {
            data: Some(
                [
                    ("username".to_owned(), text("foredeck")),
                    ("password".to_owned(), text(password)),
                ]
                .into(),
            ),
            ..Secret::default()
        };
        let path = "/api/v1/namespaces/shop/secrets/login".to_owned();
        let object = serde_json::to_value(secret).unwrap();
        self.objects.lock().unwrap().insert(path, object);
    }
}

fn by_secret() -> Value {
    json!({"auth": {"basic": {"secretName": "login"}}})
}

/// `spec` with another Deck and for other namespaces.
fn edited(mut spec: Value) -> Value {
    spec["deckUrl"] = json!("https://deck.example");
    spec["namespaceSelector"] = json!({});
    spec["rateLimit"] = json!({"perSecond": 3});
    spec
}

fn connection(uid: &str, generation: i64, spec: &Value) -> SpinnakerConnection {
    let mut whole = json!({"gateUrl": "https://127.0.0.1:1"});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "metadata": {"name": uid, "namespace": "shop", "uid": uid, "generation": generation},
        "spec": whole,
    }))
    .unwrap()
}

fn by_vault(address: &str) -> Value {
    json!({"auth": {"mtls": {"vault": {
        "address": address,
        "login": {"jwt": {"role": "foredeck", "audience": "vault"}},
        "pki": {"role": "foredeck", "commonName": "foredeck"},
    }}}})
}

#[tokio::test]
async fn a_host_that_is_not_allowed_gets_neither_client_nor_keeper() {
    let (connections, _api) = connections().await;
    for (spec, says) in [
        (
            json!({"gateUrl": "https://gate.example"}),
            "gate.example:443",
        ),
        (
            json!({"gateUrl": "http://127.0.0.1.evil.example"}),
            "127.0.0.1.evil.example:80",
        ),
        (
            json!({"gateUrl": "http://127.0.0.1@gate.example"}),
            "gate.example:80",
        ),
        (
            by_vault("https://vault.example:8200"),
            "Vault may not be at vault.example:8200",
        ),
        (
            by_vault("https://127.0.0.1"),
            "Vault may not be at 127.0.0.1:443",
        ),
    ] {
        let refusal = connections.gate(&connection("one", 1, &spec)).await.err();
        let refusal = refusal.unwrap();
        assert_eq!(refusal.reason, Reason::HostNotAllowed);
        assert_eq!(refusal.waiting_for, Some(WaitingFor::Configuration));
        assert!(refusal.message.contains(says), "{}", refusal.message);
        assert!(connections.teller.entries.all().is_empty());
    }
}

#[tokio::test]
async fn a_connection_whose_login_does_not_come_delays_no_other_and_is_waited_for_only_so_long() {
    let (connections, _api) = connections().await;
    let hanging = connection("hanging", 1, &by_secret());
    let other = connection("other", 1, &json!({}));
    let mut waiting = std::pin::pin!(connections.gate(&hanging));
    assert!(futures::poll!(&mut waiting).is_pending());
    let quick = tokio::time::timeout(Duration::from_secs(2), connections.gate(&other)).await;
    assert!(quick.unwrap().is_ok());
    let refusal = waiting.await.err().unwrap();
    assert_eq!(refusal.reason, Reason::CredentialsNotFound);
    assert_eq!(refusal.waiting_for, Some(WaitingFor::Spinnaker));
    // Once it was waited for, nobody waits any more.
    let again = tokio::time::timeout(Duration::from_secs(1), connections.gate(&hanging)).await;
    assert_eq!(again.unwrap().err(), Some(refusal));
}

#[tokio::test]
async fn a_reader_of_an_old_version_gets_the_newest_gate_and_one_that_went_sends_nothing() {
    let (connections, _api) = connections().await;
    let old = connection("one", 1, &json!({"gateUrl": "https://127.0.0.1:1"}));
    let new = connection("one", 2, &json!({"gateUrl": "https://127.0.0.1:2"}));
    assert_eq!(connections.gate(&old).await.unwrap().url, old.spec.gate_url);
    let gate = connections.gate(&new).await.unwrap();
    assert_eq!(gate.url, new.spec.gate_url);
    assert_eq!(connections.gate(&old).await.unwrap().url, new.spec.gate_url);
    connections.forget("one");
    let error = gate.client.login().await.unwrap_err();
    assert!(error.to_string().contains("there is no login"), "{error}");
}

#[tokio::test]
async fn a_login_that_nobody_keeps_any_more_is_made_anew() {
    let (connections, _api) = connections().await;
    let one = connection("one", 1, &json!({}));
    assert!(connections.gate(&one).await.is_ok());
    let made = |connections: &Connections| connections.teller.entries.all()["one"].login.made;
    let before = made(&connections);
    connections.teller.entries.all()["one"].login.keeper.abort();
    tokio::time::timeout(Duration::from_secs(5), async {
        while !connections.teller.entries.all()["one"]
            .login
            .keeper
            .is_finished()
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(connections.gate(&one).await.is_ok());
    assert!(made(&connections) > before);
}

#[tokio::test]
async fn starts_wait_where_something_else_than_gate_answers_and_all_else_goes_on() {
    let (connections, _api) = connections().await;
    let one = connection("one", 1, &json!({}));
    assert!(connections.gate_to_start_at(&one).await.is_ok());
    let found = GateError::NotSpinnaker { detail: "a page" };
    let found = refusal("one", &found);
    connections.looked(&one, Some(&found));
    assert_eq!(connections.gate_to_start_at(&one).await.err(), Some(found));
    assert!(connections.gate(&one).await.is_ok());
    connections.looked(&one, None);
    assert!(connections.gate_to_start_at(&one).await.is_ok());
}

#[tokio::test]
async fn an_edit_that_says_nothing_of_the_login_keeps_it_while_nobody_gives_another() -> Result<()>
{
    let api = ApiServer::default();
    api.has_password("hush");
    let connections = api.start().await;
    let one = connection("one", 1, &by_secret());
    api.has(&one);
    ensure!(connections.gate(&one).await.is_ok());
    let before = connections.login(&one);
    connections.distrust(&one);
    api.silent.send_replace(true);
    let edited = connection("one", 2, &edited(by_secret()));
    let gate = tokio::time::timeout(AT_ONCE, connections.gate(&edited)).await?;
    let gate = gate.map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    assert_eq!(gate.deck_url, edited.spec.deck_url);
    assert_eq!(connections.login(&edited), before);

    // Whoever keeps it goes on.
    api.has(&edited);
    api.has_password("another");
    api.silent.send_replace(false);
    wait_for("the next password is taken up", PATIENCE, async || {
        ensure!(connections.login(&edited) != before, "not yet");
        Ok(())
    })
    .await?;

    // Another login is another login.
    let other = json!({"auth": {"basic": {"secretName": "missing"}}});
    let refusal = connections.gate(&connection("one", 3, &other)).await.err();
    assert_eq!(refusal.unwrap().reason, Reason::CredentialsNotFound);
    Ok(())
}

#[tokio::test]
async fn each_new_login_wakes_whoever_waits_for_a_better_one() -> Result<()> {
    let api = ApiServer::default();
    api.has_password("hush");
    let connections = api.start().await;
    let (wake, mut looks) = mpsc::unbounded_channel();
    connections.wake(wake);
    let mut logins = connections.new_logins();
    let one = connection("one", 1, &by_secret());
    api.has(&one);
    ensure!(connections.gate(&one).await.is_ok());
    let mut seen = Vec::new();
    for password in ["another", "hush", "hush"] {
        let look = tokio::time::timeout(PATIENCE, looks.recv()).await?;
        ensure!(look.is_some_and(|look| look.name == "one"));
        let login = tokio::time::timeout(PATIENCE, logins.recv()).await?;
        ensure!(login.is_some_and(|login| login.meta().name == one.metadata.name));
        // What looks are judged on is another each time, also when a password comes back.
        let known = connections.login(&one);
        ensure!(
            known.current.is_some() && !seen.contains(&known),
            "{seen:?}"
        );
        seen.push(known);
        api.has_password(password);
    }
    Ok(())
}

#[tokio::test]
async fn an_edit_to_a_host_that_is_not_allowed_takes_the_login_away() -> Result<()> {
    let (connections, _api) = connections().await;
    let old = connection("one", 1, &json!({}));
    let gate = connections.gate(&old).await;
    let gate = gate.map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    let new = connection("one", 2, &json!({"gateUrl": "https://gate.example"}));
    let refusal = connections.gate(&new).await.err().unwrap();
    assert_eq!(refusal.reason, Reason::HostNotAllowed);
    ensure!(connections.teller.entries.all().is_empty());
    let error = gate.client.login().await.unwrap_err();
    ensure!(error.to_string().contains("there is no login"), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_the_api_server_takes_back_is_not_gone_by_any_more() -> Result<()> {
    let api = ApiServer::default();
    let connections = api.start().await;
    let (wake, mut woken) = mpsc::unbounded_channel();
    connections.wake(wake);
    let url = |port: u16| json!({"gateUrl": format!("https://127.0.0.1:{port}")});
    let (first, withdrawn) = (connection("one", 3, &url(1)), connection("one", 5, &url(2)));
    api.has(&withdrawn);
    ensure!(connections.gate(&withdrawn).await.is_ok());
    // From a backup: an older generation; and then another spec in a generation that there was before.
    for restored in [first, connection("one", 5, &url(3))] {
        let gate = connections
            .gate(&withdrawn)
            .await
            .map_err(|_| anyhow::anyhow!("no Gate"))?;
        assert_eq!(gate.url, withdrawn.spec.gate_url);
        api.has(&restored);
        wait_for("what stands there now is gone by", PATIENCE, async || {
            let gate = connections.gate(&restored).await;
            ensure!(
                gate.is_ok_and(|gate| gate.url == restored.spec.gate_url),
                "not yet"
            );
            Ok(())
        })
        .await?;
        api.has(&withdrawn);
        wait_for("it stands there again", PATIENCE, async || {
            let gate = connections.gate(&withdrawn).await;
            ensure!(
                gate.is_ok_and(|gate| gate.url == withdrawn.spec.gate_url),
                "not yet"
            );
            Ok(())
        })
        .await?;
    }
    // Another login in an older generation ends the one that there is, and somebody looks again.
    while woken.try_recv().is_ok() {}
    api.has(&connection("one", 3, &by_secret()));
    ensure!(
        tokio::time::timeout(PATIENCE, woken.recv())
            .await?
            .is_some()
    );
    wait_for("it has ended", PATIENCE, async || {
        ensure!(connections.teller.entries.all().is_empty(), "not yet");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn each_sentence_names_the_connection_once_and_says_what_helps() -> Result<()> {
    let why = "it does not trust whoever issued the client certificate";
    let refused = refusal("one", &GateError::CertificateRefused { why });
    ensure!(refused.message.contains("spec.auth.mtls"), "{refused:?}");
    ensure!(!refused.message.contains("renew"), "{refused:?}");
    let wrong = refusal("one", &GateError::LoginRequired);
    ensure!(wrong.message.contains("renew the credentials"), "{wrong:?}");

    let connections = ApiServer::default().start().await;
    let of_keeper = connections.gate(&connection("one", 1, &by_secret())).await;
    let of_keeper = of_keeper.err().unwrap();
    ensure!(
        of_keeper.message.contains("Secret \"login\""),
        "{of_keeper:?}"
    );
    for refusal in [refused, wrong, of_keeper] {
        let said = &refusal.message;
        ensure!(said.starts_with("SpinnakerConnection \"one\": "), "{said}");
        assert_eq!(said.matches("SpinnakerConnection").count(), 1, "{said}");
    }
    Ok(())
}
