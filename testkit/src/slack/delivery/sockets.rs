//! Socket Mode: tickets, sockets, and which of them an envelope goes to. Touches the network and the clock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval_at, sleep_until};
use ulid::Ulid;

use super::super::shared::Shared;
use crate::server::Connection;

/// How many sockets an app may have.
const SOCKETS: usize = 10;

/// Why Slack ends a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// It will close soon.
    Warning,
    /// Routine: a new one is to be opened.
    RefreshRequested,
    /// There are too many.
    TooManyWebsockets,
    /// Socket Mode was switched off.
    LinkDisabled,
}

impl Goodbye {
    fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::RefreshRequested => "refresh_requested",
            Self::TooManyWebsockets => "too_many_websockets",
            Self::LinkDisabled => "link_disabled",
        }
    }
}

/// A socket as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketState {
    /// Counts up from 1.
    pub id: u64,
    /// It was told to go.
    pub leaving: bool,
    /// Nothing comes from it any more, and nobody says so.
    pub half_open: bool,
    /// How many envelopes it was sent.
    pub sent: usize,
    /// How many of them it acknowledged.
    pub acked: usize,
}

/// What a socket's task is to do.
#[derive(Debug)]
pub(in crate::slack) enum Order {
    Send(String),
    Leave(Goodbye),
    Reset,
    HalfOpen,
}

#[derive(Debug)]
struct Socket {
    state: SocketState,
    orders: mpsc::UnboundedSender<Order>,
}

/// The open sockets, and the acknowledgements they owe.
#[derive(Debug, Default)]
pub(in crate::slack) struct Sockets {
    tickets: HashSet<String>,
    open: BTreeMap<u64, Socket>,
    expected: HashMap<String, (u64, oneshot::Sender<Value>)>,
    last: u64,
    last_picked: u64,
}

impl Sockets {
    pub(in crate::slack) fn states(&self) -> Vec<SocketState> {
        self.open.values().map(|socket| socket.state).collect()
    }

    /// The socket for the next envelope: each in its turn, those that are to go only where there is no other.
    pub(super) fn pick(&mut self) -> Option<u64> {
        let staying = |socket: &&Socket| !socket.state.leaving;
        let any_stays = self.open.values().any(|socket| staying(&socket));
        let fitting = |socket: &&Socket| !any_stays || staying(socket);
        let after = self
            .open
            .range(self.last_picked + 1..)
            .map(|(_, socket)| socket);
        let picked = after
            .chain(self.open.values())
            .find(fitting)
            .map(|socket| socket.state.id)?;
        self.last_picked = picked;
        Some(picked)
    }

    pub(super) fn expect(&mut self, envelope: &str, socket: u64, ack: oneshot::Sender<Value>) {
        self.expected.insert(envelope.to_owned(), (socket, ack));
        if let Some(socket) = self.open.get_mut(&socket) {
            socket.state.sent += 1;
        }
    }

    /// Gives up on an acknowledgement.
    pub(super) fn forget(&mut self, envelope: &str) {
        self.expected.remove(envelope);
    }

    /// Gives an order to a socket. Returns whether it is there.
    pub(in crate::slack) fn order(&mut self, socket: u64, order: Order) -> bool {
        let Some(socket) = self.open.get_mut(&socket) else {
            return false;
        };
        match order {
            Order::Leave(_) => socket.state.leaving = true,
            Order::HalfOpen => socket.state.half_open = true,
            _ => {}
        }
        socket.orders.send(order).is_ok()
    }

    /// Takes an acknowledgement, or says what is wrong with it.
    fn acknowledge(&mut self, socket: u64, text: &str) -> Result<(), String> {
        let ack: Value = serde_json::from_str(text).map_err(|_| "an ack is no JSON".to_owned())?;
        let envelope = ack["envelope_id"].as_str().unwrap_or_default();
        match self.expected.get(envelope) {
            None => Err(format!(
                "an ack of an unknown envelope, or a second one: {envelope}"
            )),
            Some((sent_to, _)) if *sent_to != socket => {
                Err("an ack came on another socket than its envelope".to_owned())
            }
            Some(_) => {
                if let Some(open) = self.open.get_mut(&socket) {
                    open.state.acked += 1;
                }
                if let Some((_, waiting)) = self.expected.remove(envelope) {
                    // Nobody waits any more once the delivery is forgotten.
                    let _ = waiting.send(ack);
                }
                Ok(())
            }
        }
    }
}

/// An address for one socket, good for one use.
pub(in crate::slack) fn new_address(shared: &Shared) -> String {
    let ticket = Ulid::new().to_string().to_lowercase();
    let app = shared.world().app.id.clone();
    let host = shared.url().trim_start_matches("http");
    let address = format!("ws{host}/link/?ticket={ticket}&app_id={app}");
    shared.sockets().tickets.insert(ticket);
    address
}

/// A client opens its socket.
pub(in crate::slack) async fn connect(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let ticket = query.get("ticket").cloned().unwrap_or_default();
    if !shared.sockets().tickets.remove(&ticket) {
        return (StatusCode::FORBIDDEN, "invalid_ticket").into_response();
    }
    upgrade.on_upgrade(async move |socket| serve(&shared, &connection, socket).await)
}

async fn send(socket: &mut WebSocket, value: &Value) -> bool {
    let text = Utf8Bytes::from(value.to_string());
    socket.send(Message::Text(text)).await.is_ok()
}

async fn serve(shared: &Arc<Shared>, connection: &Connection, mut socket: WebSocket) {
    let (sender, orders) = mpsc::unbounded_channel();
    let (id, count) = {
        let mut sockets = shared.sockets();
        if sockets.open.len() >= SOCKETS {
            (None, SOCKETS)
        } else {
            sockets.last += 1;
            let id = sockets.last;
            let state = SocketState {
                id,
                leaving: false,
                half_open: false,
                sent: 0,
                acked: 0,
            };
            let orders = sender;
            sockets.open.insert(id, Socket { state, orders });
            (Some(id), sockets.open.len())
        }
    };
    let Some(id) = id else {
        send(&mut socket, &goodbye(Goodbye::TooManyWebsockets)).await;
        let _ = socket.send(Message::Close(None)).await;
        return;
    };
    drop(shared.change());
    let hello = json!({
        "type": "hello", "num_connections": count,
        "debug_info": {
            "host": format!("applink-standin-{id}"), "started": "2026-01-01 00:00:00.000",
            "build_number": 1, "approximate_connection_time": 18060,
        },
        "connection_info": {"app_id": shared.world().app.id},
    });
    if send(&mut socket, &hello).await {
        converse(shared, connection, &mut socket, id, orders).await;
    }
    shared.sockets().open.remove(&id);
    drop(shared.change());
}

fn goodbye(reason: Goodbye) -> Value {
    json!({
        "type": "disconnect", "reason": reason.word(),
        "debug_info": {"host": "applink-standin"},
    })
}

async fn converse(
    shared: &Arc<Shared>,
    connection: &Connection,
    socket: &mut WebSocket,
    id: u64,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let (every, farewell) = {
        let world = shared.world();
        (world.timing.ping, world.timing.farewell)
    };
    let mut pings = interval_at(Instant::now() + every, every);
    let mut end = Instant::now() + Duration::from_hours(24);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Send(text)) => {
                    if socket.send(Message::Text(text.into())).await.is_err() {
                        return;
                    }
                }
                Some(Order::Leave(reason)) => {
                    if !send(socket, &goodbye(reason)).await {
                        return;
                    }
                    end = Instant::now() + farewell;
                }
                Some(Order::Reset) => {
                    connection.reset();
                    // The reset goes out with the next write.
                    let _ = socket.send(Message::Ping(Vec::new().into())).await;
                    return;
                }
                Some(Order::HalfOpen) => {
                    return stay_silent(connection, socket, orders).await;
                }
            },
            frame = socket.recv() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let taken = shared.sockets().acknowledge(id, &text);
                    if let Err(problem) = taken {
                        shared.change().violation(problem);
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            _ = pings.tick() => {
                let words = format!("Ping from applink-standin-{id}");
                if socket.send(Message::Ping(words.into())).await.is_err() {
                    return;
                }
            },
            () = sleep_until(end) => {
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
        }
    }
}

/// Keeps the connection and says nothing on it, not even to pings.
async fn stay_silent(
    connection: &Connection,
    socket: &mut WebSocket,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    while let Some(order) = orders.recv().await {
        if matches!(order, Order::Reset) {
            connection.reset();
            let _ = socket.send(Message::Ping(Vec::new().into())).await;
            return;
        }
    }
}
