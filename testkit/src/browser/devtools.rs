//! The `DevTools` protocol over one WebSocket: calls, and the few events that matter. Touches the browser.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// An answer that takes longer means that the browser hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct DevTools {
    shared: Arc<Shared>,
    outgoing: mpsc::UnboundedSender<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    /// What went wrong in a page, by the page's session.
    complaints: Vec<(String, String)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DevTools {
    /// Connects to `127.0.0.1:<port>/devtools/browser/<id>`.
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let host = address
            .split_once('/')
            .map_or(address, |(host, _path)| host);
        let stream = TcpStream::connect(host)
            .await
            .context("cannot connect to the browser")?;
        let (socket, _answer) = client_async(format!("ws://{address}"), stream)
            .await
            .context("the browser takes no WebSocket")?;
        let shared = Arc::<Shared>::default();
        let (outgoing, queue) = mpsc::unbounded_channel();
        tokio::spawn(pump(socket, queue, Arc::clone(&shared)));
        Ok(Self { shared, outgoing })
    }

    /// Calls a method, of a page by its session.
    pub(super) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut state = self.shared.state();
            state.last += 1;
            let id = state.last;
            state.waiting.insert(id, sender);
            id
        };
        let mut call = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            call["sessionId"] = json!(session);
        }
        self.outgoing
            .send(call.to_string())
            .map_err(|_| anyhow!("the browser is gone"))?;
        let mut answer = timeout(PATIENCE, answer)
            .await
            .with_context(|| format!("{method} got no answer in {PATIENCE:?}"))?
            .with_context(|| format!("the browser went away during {method}"))?;
        if let Some(error) = answer.get("error") {
            bail!("the browser refused {method}: {error}");
        }
        Ok(answer["result"].take())
    }

    /// What went wrong in a page so far: uncaught exceptions, errors on its console, requests that failed.
    pub(super) fn complaints(&self, session: &str) -> Vec<String> {
        let state = self.shared.state();
        let of_page = state.complaints.iter().filter(|(page, _)| page == session);
        of_page.map(|(_, complaint)| complaint.clone()).collect()
    }
}

/// Carries messages both ways until either side is gone.
async fn pump(
    mut socket: WebSocketStream<TcpStream>,
    mut queue: mpsc::UnboundedReceiver<String>,
    shared: Arc<Shared>,
) {
    loop {
        tokio::select! {
            outgoing = queue.recv() => {
                let Some(text) = outgoing else { break };
                if socket.send(Message::text(text)).await.is_err() {
                    break;
                }
            }
            incoming = socket.next() => match incoming {
                Some(Ok(Message::Text(text))) => {
                    if let Ok(message) = serde_json::from_str(&text) {
                        take(&shared, message);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
    }
    // Whoever waits is told by the loss of the sender.
    shared.state().waiting.clear();
}

fn take(shared: &Shared, message: Value) {
    let mut state = shared.state();
    if let Some(id) = message["id"].as_u64() {
        if let Some(waiting) = state.waiting.remove(&id) {
            // Its caller may have given up.
            let _ = waiting.send(message);
        }
        return;
    }
    let parameters = &message["params"];
    let complaint = match message["method"].as_str() {
        Some("Runtime.exceptionThrown") => &parameters["exceptionDetails"],
        Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => &parameters["args"],
        Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => &parameters["entry"],
        _ => return,
    };
    let session = message["sessionId"].as_str().unwrap_or_default();
    state
        .complaints
        .push((session.to_owned(), complaint.to_string()));
}
