//! Sockets against a small Slack of our own.

use std::{collections::BTreeSet, sync::Mutex};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use super::{dial::NotDialled, *};
use crate::slack::{
    blocks::Message as SlackMessage,
    client::SlackSettings,
    inbound::{Allowed, Delivery, Inbound, Reply},
    metrics::SlackMetrics,
    testing::SmallSlack,
    text::Mrkdwn,
};

/// Short, but with room for a busy machine.
const PACE: Pace = Pace {
    dial: Duration::from_secs(5),
    hello: Duration::from_millis(700),
    ping: Duration::from_millis(50),
    silence: Duration::from_millis(2500),
    write: Duration::from_secs(2),
    quiet: Duration::from_millis(200),
    linger: Duration::from_secs(2),
    drain: Duration::from_secs(3),
    close: Duration::from_millis(500),
    steady: Duration::from_millis(1),
    shortest: Duration::from_millis(10),
    longest: Duration::from_millis(40),
    slow: Duration::from_millis(40),
};

async fn within<Output>(what: &str, future: impl Future<Output = Output>) -> Output {
    let outcome = timeout(Duration::from_secs(20), future).await;
    outcome.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Answers commands with their own text; holds those that say `slow` until told.
#[derive(Default)]
struct Echo {
    seen: Mutex<Vec<String>>,
    release: Notify,
    came: Notify,
}

impl Handler for Echo {
    async fn handle(&self, delivery: Delivery) -> Reply {
        let Inbound::Command(command) = delivery.kind else {
            return Reply::Empty;
        };
        self.seen.lock().unwrap().push(command.text.clone());
        self.came.notify_one();
        if command.text == "slow" {
            self.release.notified().await;
        }
        Reply::ephemeral(SlackMessage::plain(Mrkdwn::code(&command.text)))
    }
}

/// The other end of one socket.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn hello(&mut self) {
        self.hello_with(1).await;
    }

    async fn hello_with(&mut self, connections: u32) {
        self.send(json!({"type": "hello", "num_connections": connections}))
            .await;
    }

    async fn goodbye(&mut self, reason: &str) {
        self.send(json!({"type": "disconnect", "reason": reason}))
            .await;
    }

    async fn command(&mut self, text: &str) {
        self.send(json!({
            "envelope_id": text, "type": "slash_commands", "accepts_response_payload": true,
            "payload": {"team_id": "T1", "channel_id": "C1", "user_id": "U1", "command": "/deploy", "text": text,
                        "trigger_id": format!("1.{text}")},
        }))
        .await;
    }

    async fn event(&mut self, id: &str) {
        self.send(json!({
            "envelope_id": id, "type": "events_api", "accepts_response_payload": false,
            "payload": {"type": "event_callback", "team_id": "T1", "event_id": id, "event": {"type": "x"}},
        }))
        .await;
    }

    /// The next text frame; none when the socket was closed.
    async fn answer(&mut self) -> Option<Value> {
        within("an answer", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Some(serde_json::from_str(text.as_str()).unwrap());
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        })
        .await
    }

    /// Answers pings, and nothing else.
    async fn keep(mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }

    async fn answers(&mut self, count: usize) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            let answer = self.answer().await.expect("closed before all was answered");
            ids.insert(answer["envelope_id"].as_str().unwrap().to_owned());
        }
        ids
    }
}

struct Bench {
    slack: SmallSlack,
    peers: mpsc::UnboundedReceiver<Peer>,
    echo: Arc<Echo>,
    watch: SocketWatch,
    leave: CancellationToken,
    running: JoinHandle<()>,
}

impl Bench {
    async fn start(sockets: usize) -> Self {
        let slack = SmallSlack::start().await;
        let (url, peers) = listen().await;
        slack.answers("apps.connections.open", &json!({"ok": true, "url": url}));
        Self::with(slack, peers, sockets)
    }

    fn with(slack: SmallSlack, peers: mpsc::UnboundedReceiver<Peer>, sockets: usize) -> Self {
        Self::by(slack, peers, sockets, "xapp-1".into())
    }

    fn by(
        slack: SmallSlack,
        peers: mpsc::UnboundedReceiver<Peer>,
        sockets: usize,
        token: LiveSecret,
    ) -> Self {
        let settings = SlackSettings::new(&slack.api, "xoxb-1".to_owned().into()).unwrap();
        let client = SlackClient::new(settings.without_proxies()).unwrap();
        let settings = SocketSettings::new(token, || 7).unwrap();
        let mut settings = settings.sockets(sockets).without_proxies();
        settings.pace = PACE;
        let echo = Arc::new(Echo::default());
        let intake = Intake::new(
            Arc::clone(&echo),
            Allowed::default(),
            SlackMetrics::default(),
        );
        let mode = SocketMode::new(client, settings, intake).unwrap();
        let (watch, leave) = (mode.watch(), CancellationToken::new());
        let running = tokio::spawn(mode.run(leave.clone()));
        Self {
            slack,
            peers,
            echo,
            watch,
            leave,
            running,
        }
    }

    async fn peer(&mut self) -> Peer {
        within("a socket", self.peers.recv()).await.unwrap()
    }

    /// A peer that has said hello, and a state that shows it.
    async fn greeted(&mut self, live: usize) -> Peer {
        let mut peer = self.peer().await;
        peer.hello().await;
        self.state(|state| state.live == live).await;
        peer
    }

    async fn state(&mut self, wanted: impl Fn(&SocketState) -> bool) -> SocketState {
        let mut state = self.watch.state.clone();
        let found = timeout(
            Duration::from_secs(20),
            state.wait_for(|state| wanted(state)),
        )
        .await;
        let Ok(found) = found else {
            panic!("stayed {:?}", self.watch.state());
        };
        found.unwrap().clone()
    }
}

async fn listen() -> (String, mpsc::UnboundedReceiver<Peer>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/link?ticket=secret", listener.local_addr().unwrap());
    let (sender, peers) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let socket = accept_async(stream).await.unwrap();
            if sender.send(Peer(socket)).is_err() {
                return;
            }
        }
    });
    (url, peers)
}

#[tokio::test]
async fn what_is_delivered_is_answered_in_kind() {
    let mut bench = Bench::start(1).await;
    let mut peer = bench.greeted(1).await;
    assert!(bench.watch.is_ready());
    assert!(bench.watch.last_frame_age(Instant::now()).is_some());
    let asked = &bench.slack.asked("apps.connections.open")[0];
    assert_eq!(asked.header("authorization"), "Bearer xapp-1");
    peer.command("one").await;
    assert_eq!(
        peer.answer().await.unwrap(),
        json!({"envelope_id": "one", "payload": {"response_type": "ephemeral", "text": "`one`"}})
    );
    peer.event("Ev1").await;
    assert_eq!(peer.answer().await.unwrap(), json!({"envelope_id": "Ev1"}));
    peer.send(json!({"envelope_id": "n", "type": "new_thing", "payload": {}}))
        .await;
    assert_eq!(peer.answer().await.unwrap(), json!({"envelope_id": "n"}));
}

#[tokio::test]
async fn a_slow_answer_holds_up_no_other() {
    let mut bench = Bench::start(1).await;
    let mut peer = bench.greeted(1).await;
    peer.command("slow").await;
    for number in 0..20 {
        peer.command(&number.to_string()).await;
    }
    let fast = peer.answers(20).await;
    assert!(!fast.contains("slow"), "{fast:?}");
    bench.echo.release.notify_one();
    assert_eq!(peer.answers(1).await, BTreeSet::from(["slow".to_owned()]));
}

#[tokio::test]
async fn an_answer_goes_out_where_its_question_came_in() {
    let mut bench = Bench::start(2).await;
    let mut first = bench.peer().await;
    let mut second = bench.peer().await;
    first.hello().await;
    second.hello().await;
    bench.state(|state| state.live == 2).await;
    first.command("slow").await;
    within("the slow one", bench.echo.came.notified()).await;
    second.command("b").await;
    assert_eq!(second.answer().await.unwrap()["envelope_id"], "b");
    bench.echo.release.notify_one();
    assert_eq!(first.answer().await.unwrap()["envelope_id"], "slow");
}

#[tokio::test]
async fn a_refresh_under_load_loses_nothing() {
    let mut bench = Bench::start(1).await;
    let mut old = bench.greeted(1).await;
    let mut sent = BTreeSet::new();
    let mut on_old = 0;
    for number in 0..20 {
        old.command(&format!("before{number}")).await;
        sent.insert(format!("before{number}"));
        on_old += 1;
    }
    old.goodbye("refresh_requested").await;
    for number in 0..20 {
        old.command(&format!("after{number}")).await;
        sent.insert(format!("after{number}"));
        on_old += 1;
    }
    let mut new = bench.peer().await;
    old.command("slow").await;
    sent.insert("slow".to_owned());
    new.hello().await;
    for number in 0..20 {
        // Slack may not know yet that the new one is there.
        old.command(&format!("late{number}")).await;
        new.command(&format!("new{number}")).await;
        sent.insert(format!("late{number}"));
        sent.insert(format!("new{number}"));
        on_old += 1;
    }
    let mut answered = old.answers(on_old).await;
    answered.extend(new.answers(20).await);
    // The slow one keeps the old socket open until it is answered.
    bench.echo.release.notify_one();
    answered.extend(old.answers(1).await);
    assert_eq!(answered, sent);
    assert_eq!(bench.echo.seen.lock().unwrap().len(), sent.len());
    assert_eq!(old.answer().await, None, "the old socket is closed");
    new.command("still").await;
    assert_eq!(new.answer().await.unwrap()["envelope_id"], "still");
    assert_eq!(bench.watch.state().live, 1);
}

#[tokio::test]
async fn the_old_socket_serves_until_the_new_one_is_there() {
    let mut bench = Bench::start(1).await;
    let mut old = bench.greeted(1).await;
    old.goodbye("warning").await;
    let mute = bench.peer().await;
    // It never says hello; another is tried, and the old one goes on.
    let mut new = bench.peer().await;
    old.command("meanwhile").await;
    assert_eq!(old.answer().await.unwrap()["envelope_id"], "meanwhile");
    assert_eq!(bench.watch.state().trouble.unwrap().reason, "no-hello");
    assert!(bench.watch.is_ready());
    new.hello().await;
    assert_eq!(old.answer().await, None);
    bench
        .state(|state| state.live == 1 && state.trouble.is_none())
        .await;
    drop(mute);
}

#[tokio::test]
async fn a_half_open_socket_is_replaced() {
    let mut bench = Bench::start(1).await;
    // Held, but never read again: no pong comes back.
    let dead = bench.greeted(1).await;
    bench.state(|state| state.live == 0).await;
    let mut new = bench.greeted(1).await;
    new.command("alive").await;
    assert_eq!(new.answer().await.unwrap()["envelope_id"], "alive");
    drop(dead);
}

#[tokio::test]
async fn a_quiet_workspace_is_no_dead_socket() {
    let mut bench = Bench::start(1).await;
    let mut peer = bench.greeted(1).await;
    let start = Instant::now();
    within("pings", async {
        // Reading answers the pings.
        while start.elapsed() < 2 * PACE.silence {
            assert!(matches!(peer.0.next().await, Some(Ok(Message::Ping(_)))));
        }
    })
    .await;
    assert!(bench.watch.is_ready());
    assert!(bench.peers.try_recv().is_err(), "it was replaced");
}

#[tokio::test]
async fn whoever_leaves_answers_first_and_takes_nothing_new() {
    let mut bench = Bench::start(1).await;
    let mut peer = bench.greeted(1).await;
    peer.command("slow").await;
    within("the slow one", bench.echo.came.notified()).await;
    bench.leave.cancel();
    bench.state(|state| state.live == 0).await;
    peer.command("new").await;
    peer.event("Ev1").await;
    let turned_away = peer.answer().await.unwrap();
    assert_eq!(turned_away["envelope_id"], "new");
    let words = turned_away["payload"]["text"].as_str().unwrap();
    assert!(words.starts_with("Nothing was done"), "{words}");
    bench.echo.release.notify_one();
    assert_eq!(peer.answer().await.unwrap()["envelope_id"], "slow");
    assert_eq!(peer.answer().await, None, "the event is left to others");
    within("the end", bench.running).await.unwrap();
    assert_eq!(*bench.echo.seen.lock().unwrap(), ["slow"]);
}

#[tokio::test]
async fn what_needs_an_operator_is_told_and_tried_again() {
    let slack = SmallSlack::start().await;
    let (url, peers) = listen().await;
    slack.answers(
        "apps.connections.open",
        &json!({"ok": false, "error": "invalid_auth"}),
    );
    slack.answers(
        "apps.connections.open",
        &json!({"ok": false, "error": "internal_error"}),
    );
    slack.answers("apps.connections.open", &json!({"ok": true, "url": url}));
    let mut bench = Bench::with(slack, peers, 1);
    let mut seen = Vec::new();
    let mut state = bench.watch.state.clone();
    let mut peer = loop {
        tokio::select! {
            changed = state.changed() => {
                changed.unwrap();
                let trouble = state.borrow_and_update().trouble;
                seen.extend(trouble.map(|trouble| (trouble.reason, trouble.needs_operator)));
            }
            peer = bench.peers.recv() => break peer.unwrap(),
        }
    };
    assert_eq!(seen, [("invalid_auth", true), ("internal_error", false)]);
    peer.hello().await;
    bench
        .state(|state| state.live == 1 && state.trouble.is_none())
        .await;
    for (reason, told, needs_operator) in [
        ("link_disabled", "link-disabled", true),
        ("too_many_websockets", "too-many-websockets", false),
    ] {
        peer.goodbye(reason).await;
        let state = bench.state(|state| state.trouble.is_some()).await;
        let expected = Trouble {
            reason: told,
            needs_operator,
        };
        assert_eq!((state.live, state.trouble), (0, Some(expected)));
        peer = bench.greeted(1).await;
    }
    let mut eleventh = {
        peer.goodbye("refresh_requested").await;
        tokio::spawn(peer.keep());
        bench.peer().await
    };
    // Said instead of hello.
    eleventh.goodbye("too_many_websockets").await;
    let state = bench.state(|state| state.trouble.is_some()).await;
    assert_eq!(
        (state.live, state.trouble.unwrap().reason),
        (1, "too-many-websockets")
    );
}

#[tokio::test]
async fn more_sockets_than_ours_are_noticed() {
    let mut bench = Bench::start(2).await;
    let mut first = bench.peer().await;
    let mut second = bench.peer().await;
    first.hello_with(2).await;
    assert!(!bench.state(|state| state.live == 1).await.crowded);
    second.hello_with(2).await;
    assert!(!bench.state(|state| state.live == 2).await.crowded);
    // The one that is replaced counts too, but is ours.
    first.goodbye("refresh_requested").await;
    tokio::spawn(first.keep());
    let mut third = bench.peer().await;
    third.hello_with(3).await;
    let state = bench.state(|state| state.connections == Some(3)).await;
    assert!(!state.crowded);
    second.goodbye("refresh_requested").await;
    tokio::spawn(second.keep());
    let mut fourth = bench.peer().await;
    fourth.hello_with(5).await;
    let state = bench.state(|state| state.connections == Some(5)).await;
    assert_eq!((state.crowded, state.wanted), (true, 2));
}

#[tokio::test]
async fn sockets_go_through_the_proxy() {
    let (url, mut peers) = listen().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(client.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let target = request.split(' ').nth(1).unwrap().to_owned();
        let mut server = TcpStream::connect(target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        request
    });
    let matcher = Matcher::builder()
        .http(format!("http://me:secret@127.0.0.1:{port}"))
        .build();
    let dialler = Dialler::new(Some(matcher)).unwrap();
    let address = url.parse().unwrap();
    let outcome = dialler.dial(&address, true, PACE.dial).await;
    let mut socket = outcome.map_err(|error| error.0).unwrap();
    let request = within("a request", asked).await.unwrap();
    let host = format!(
        "{}:{}",
        address.host_str().unwrap(),
        address.port().unwrap()
    );
    assert!(
        request.starts_with(&format!("CONNECT {host} HTTP/1.1\r\n")),
        "{request}"
    );
    assert!(
        request.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"),
        "{request}"
    );
    let mut peer = within("a socket", peers.recv()).await.unwrap();
    peer.hello().await;
    let frame = within("hello", socket.next()).await.unwrap().unwrap();
    assert!(frame.to_text().unwrap().contains("hello"));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_apart() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = proxy.accept().await.unwrap();
            let _ = client.read(&mut [0; 1024]).await;
            let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
        }
    });
    let dial = async |proxy: String, address: &str| {
        let dialler = Dialler::new(Some(Matcher::builder().all(proxy).build())).unwrap();
        let address = address.parse().unwrap();
        let outcome = dialler.dial(&address, false, PACE.dial).await;
        outcome.err().map(|error| error.0)
    };
    let wss = "wss://wss.slack.invalid/link";
    assert_eq!(
        dial(format!("http://127.0.0.1:{port}"), wss).await,
        Some("proxy")
    );
    assert_eq!(
        dial(format!("socks5://127.0.0.1:{port}"), wss).await,
        Some("proxy-kind")
    );
    let plain = "ws://wss.slack.invalid/link";
    assert_eq!(dial(String::new(), plain).await, Some("socket-address"));
    assert_eq!(
        dial(String::new(), "https://slack.invalid/").await,
        Some("socket-address")
    );
}

#[tokio::test]
async fn a_server_without_tls_is_not_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("wss://{}/link", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let _ = client.read(&mut [0; 16]).await;
        // No TLS at all.
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let dialler = Dialler::new(None).unwrap();
    let outcome = dialler.dial(&address, true, PACE.dial).await;
    assert_eq!(outcome.err(), Some(NotDialled("tls")));
}

#[tokio::test]
async fn sockets_outlive_their_token_and_new_ones_are_opened_with_the_new_one() {
    let slack = SmallSlack::start().await;
    let (url, peers) = listen().await;
    slack.answers("apps.connections.open", &json!({"ok": true, "url": url}));
    let (token, source) = LiveSecret::new("xapp-1".into());
    let mut bench = Bench::by(slack, peers, 1, token);
    let mut peer = bench.greeted(1).await;
    source.set("xapp-2".into());
    peer.command("one").await;
    assert_eq!(peer.answers(1).await, BTreeSet::from(["one".to_owned()]));
    assert_eq!(bench.slack.asked("apps.connections.open").len(), 1);
    drop(peer);
    bench.greeted(1).await.command("two").await;
    let asked = bench.slack.asked("apps.connections.open");
    let tokens: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header("authorization"))
        .collect();
    assert_eq!(tokens, ["Bearer xapp-1", "Bearer xapp-2"]);
}

#[tokio::test]
async fn a_new_token_ends_the_wait_for_an_operator() {
    let slack = SmallSlack::start().await;
    let (url, peers) = listen().await;
    let refused = json!({"ok": false, "error": "missing_scope"});
    slack.answers("apps.connections.open", &refused);
    slack.answers("apps.connections.open", &json!({"ok": true, "url": url}));
    let (token, source) = LiveSecret::new("xapp-1".into());
    let mut bench = Bench::by(slack, peers, 1, token);
    bench
        .state(|state| state.trouble.is_some_and(|trouble| trouble.needs_operator))
        .await;
    // Whoever waits for an operator waits for minutes.
    let begun = Instant::now();
    source.set("xapp-2".into());
    let _peer = bench.greeted(1).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}
