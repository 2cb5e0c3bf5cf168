//! A stand-in with a client of the Web API, and an app on a socket.

use std::time::Duration;

use foredeck_testkit::StandInSlack;
use futures::{SinkExt, StreamExt};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bench {
    pub(crate) slack: StandInSlack,
    pub(crate) client: Client,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let slack = StandInSlack::start().await.unwrap();
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self { slack, client }
    }

    /// Calls with the bot token, arguments as JSON.
    pub(crate) async fn send(&self, method: &str, arguments: &Value) -> reqwest::Result<Response> {
        let url = format!("{}{method}", self.slack.api_url());
        self.client
            .post(url)
            .bearer_auth(self.slack.bot_token())
            .header("content-type", "application/json; charset=utf-8")
            .body(arguments.to_string())
            .send()
            .await
    }

    pub(crate) async fn call(&self, method: &str, arguments: Value) -> Value {
        let response = self.send(method, &arguments).await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// Calls with a form.
    pub(crate) async fn form(&self, method: &str, arguments: &[(&str, &str)]) -> Value {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(arguments)
            .finish();
        let request = self
            .client
            .post(format!("{}{method}", self.slack.api_url()))
            .bearer_auth(self.slack.bot_token())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        request.send().await.unwrap().json().await.unwrap()
    }

    pub(crate) fn channel(&self, name: &str) -> String {
        self.slack.channel(name).unwrap().id
    }

    /// Posts, and returns the ts.
    pub(crate) async fn post(&self, channel: &str, text: &str) -> String {
        let arguments = json!({"channel": self.channel(channel), "text": text});
        let answer = self.call("chat.postMessage", arguments).await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer["ts"].as_str().unwrap().to_owned()
    }

    /// Opens a socket and takes its hello.
    pub(crate) async fn connect(&self) -> App {
        let mut app = self.dial().await;
        let hello = app.next().await;
        assert_eq!(hello["type"], "hello");
        app.hello = hello;
        app
    }

    pub(crate) async fn socket_address(&self) -> Value {
        let url = format!("{}apps.connections.open", self.slack.api_url());
        let request = self.client.post(url).bearer_auth(self.slack.app_token());
        request.send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn dial(&self) -> App {
        let answer = self.socket_address().await;
        let url = answer["url"].as_str().unwrap().to_owned();
        let host = url
            .strip_prefix("ws://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        let (socket, _) = client_async(url, stream).await.unwrap();
        App {
            socket,
            hello: Value::Null,
        }
    }
}

/// An app on a socket.
pub(crate) struct App {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) hello: Value,
}

impl App {
    /// The next message that is no ping. Nothing means that the connection is gone.
    pub(crate) async fn try_next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Some(serde_json::from_str(text.as_str()).unwrap());
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(other)) => unreachable!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap()
    }

    pub(crate) async fn next(&mut self) -> Value {
        self.try_next().await.unwrap()
    }

    pub(crate) async fn ack(&mut self, envelope: &Value) {
        self.say(&json!({"envelope_id": envelope["envelope_id"]}))
            .await;
    }

    pub(crate) async fn answer(&mut self, envelope: &Value, payload: Value) {
        self.say(&json!({"envelope_id": envelope["envelope_id"], "payload": payload}))
            .await;
    }

    pub(crate) async fn say(&mut self, value: &Value) {
        let text = Message::text(value.to_string());
        self.socket.send(text).await.unwrap();
    }
}

/// A message with a button.
pub(crate) fn with_button(channel: &str) -> Value {
    json!({"channel": channel, "text": "Deploy checkout?", "blocks": [
        {"type": "section", "text": {"type": "mrkdwn", "text": "Deploy *checkout*?"}},
        {"type": "actions", "block_id": "decision", "elements": [
            {"type": "button", "action_id": "deploy", "value": "r-1", "style": "primary",
             "text": {"type": "plain_text", "text": "Deploy"}},
            {"type": "button", "action_id": "cancel",
             "text": {"type": "plain_text", "text": "Cancel"}},
        ]},
    ]})
}
