//! One socket from its hello to its end: reads, hands over, answers, and notices when the other end is gone. Touches the
//! network.
//!
//! One task reads and writes; each delivery runs in a task of its own and comes back with its answer, so none delays
//! another's, and every answer goes out where its question came in. A socket is judged by frames, not by deliveries:
//! a quiet workspace is no dead one.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{
    dial::Socket,
    envelope::{Envelope, Frame, Goodbye},
    pace::Pace,
    state::{Greeted, Shared},
};
use crate::slack::inbound::{Handler, Intake};

const TRANSPORT: &str = "socket";

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another took its place.
    Replaced,
    /// The process ends.
    Left,
    /// No frame came for too long.
    Silent,
    /// The connection broke.
    Broken,
    /// Slack closed it.
    Closed,
    /// Slack said why.
    Dismissed(Goodbye),
}

impl End {
    /// The fixed word for metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Left => "left",
            Self::Silent => "silent",
            Self::Broken => "broken",
            Self::Closed | Self::Dismissed(Goodbye::Refresh) => "closed",
            Self::Dismissed(Goodbye::TooMany) => "too-many-websockets",
            Self::Dismissed(Goodbye::Disabled) => "link-disabled",
        }
    }
}

/// What others tell a socket.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// Another takes its place.
    pub(super) retire: CancellationToken,
    /// The process ends.
    pub(super) leave: CancellationToken,
}

/// What a socket tells others.
#[derive(Debug)]
pub(super) struct Signs {
    /// Slack's hello came.
    pub(super) hello: oneshot::Sender<()>,
    /// Slack wants it replaced.
    pub(super) refresh: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Open,
    /// Replaced, but Slack may not know it yet.
    Lingering {
        until: Instant,
    },
    /// Answers what was delivered. With `turn_away`, nothing new is begun.
    Draining {
        until: Instant,
        turn_away: bool,
    },
}

pub(super) struct Link<H> {
    socket: Socket,
    intake: Intake<H>,
    shared: Arc<Shared>,
    pace: Pace,
    phase: Phase,
    /// From hello on.
    greeted: Option<Greeted>,
    end: End,
    in_flight: usize,
    last_frame: Instant,
    last_delivery: Instant,
    answers: mpsc::UnboundedSender<Option<String>>,
}

enum Next {
    Go,
    End(End),
}

impl<H: Handler> Link<H> {
    /// Runs a socket to its end.
    pub(super) async fn run(
        socket: Socket,
        intake: Intake<H>,
        shared: Arc<Shared>,
        pace: Pace,
        orders: Orders,
        signs: Signs,
    ) -> End {
        let now = Instant::now();
        let (answers, answered) = mpsc::unbounded_channel();
        let link = Self {
            socket,
            intake,
            shared,
            pace,
            phase: Phase::Open,
            greeted: None,
            end: End::Left,
            in_flight: 0,
            last_frame: now,
            last_delivery: now,
            answers,
        };
        link.serve(answered, orders, signs).await
    }

    async fn serve(
        mut self,
        mut answered: mpsc::UnboundedReceiver<Option<String>>,
        orders: Orders,
        signs: Signs,
    ) -> End {
        let mut hello = Some(signs.hello);
        let mut ping = interval(self.pace.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = Instant::now();
            if self.is_done(now) {
                self.close().await;
                return self.end;
            }
            if now >= self.last_frame + self.pace.silence {
                return End::Silent;
            }
            let open = matches!(self.phase, Phase::Open);
            let wake = self.wake();
            let leaving = matches!(
                self.phase,
                Phase::Draining {
                    turn_away: true,
                    ..
                }
            );
            let next = tokio::select! {
                Some(answer) = answered.recv() => {
                    self.in_flight -= 1;
                    match answer {
                        Some(answer) => self.write(Message::text(answer)).await,
                        None => Next::Go,
                    }
                }
                frame = self.socket.next() => self.read(frame, &mut hello, &signs.refresh),
                () = orders.leave.cancelled(), if !leaving => {
                    self.drain(End::Left, true);
                    Next::Go
                }
                () = orders.retire.cancelled(), if open => {
                    let until = Instant::now() + self.pace.linger;
                    self.phase = Phase::Lingering { until };
                    self.step_back();
                    self.end = End::Replaced;
                    Next::Go
                }
                _ = ping.tick() => self.write(Message::Ping(Vec::new().into())).await,
                () = sleep_until(wake) => Next::Go,
            };
            if let Next::End(end) = next {
                // What is being handled goes on; its answers have nowhere to go.
                return end;
            }
        }
    }

    /// Moves on to the next phase where it is time. True: nothing is left to do but to close.
    fn is_done(&mut self, now: Instant) -> bool {
        if let Phase::Lingering { until } = self.phase
            && now >= until.min(self.last_delivery + self.pace.quiet)
        {
            self.drain(End::Replaced, false);
        }
        match self.phase {
            Phase::Draining { until, .. } => self.in_flight == 0 || now >= until,
            Phase::Open | Phase::Lingering { .. } => false,
        }
    }

    fn wake(&self) -> Instant {
        let silent = self.last_frame + self.pace.silence;
        silent.min(match self.phase {
            Phase::Open => silent,
            Phase::Lingering { until } => until.min(self.last_delivery + self.pace.quiet),
            Phase::Draining { until, .. } => until,
        })
    }

    fn drain(&mut self, end: End, turn_away: bool) {
        let until = Instant::now() + self.pace.drain;
        self.phase = Phase::Draining { until, turn_away };
        self.step_back();
        self.end = end;
    }

    fn step_back(&mut self) {
        if let Some(greeted) = &mut self.greeted {
            greeted.retire();
        }
    }

    fn read(
        &mut self,
        frame: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
        hello: &mut Option<oneshot::Sender<()>>,
        refresh: &CancellationToken,
    ) -> Next {
        let message = match frame {
            Some(Ok(Message::Close(_))) | None => return Next::End(End::Closed),
            Some(Err(_)) => return Next::End(End::Broken),
            Some(Ok(message)) => message,
        };
        self.last_frame = Instant::now();
        self.shared.saw_frame(self.last_frame);
        let Message::Text(text) = message else {
            return Next::Go;
        };
        match Frame::read(text.as_str()) {
            Frame::Hello { connections } => {
                if let Some(hello) = hello.take() {
                    self.greeted = Some(Greeted::new(&self.shared, connections));
                    // If it came too late, nobody waits any more, and this is about to be aborted.
                    let _ = hello.send(());
                }
            }
            Frame::Disconnect(Goodbye::Refresh) => refresh.cancel(),
            Frame::Disconnect(goodbye) => self.drain(End::Dismissed(goodbye), false),
            Frame::Envelope(envelope) => self.deliver(*envelope),
            Frame::Other => {}
        }
        Next::Go
    }

    fn deliver(&mut self, envelope: Envelope) {
        let received = Instant::now();
        self.last_delivery = received;
        self.in_flight += 1;
        let (inbound, retry, receipt) = envelope.split();
        let answers = self.answers.clone();
        if let Phase::Draining {
            turn_away: true, ..
        } = self.phase
        {
            let taken = self.intake.turn_away(TRANSPORT, &inbound);
            let _ = answers.send(receipt.frame(&taken));
            return;
        }
        let intake = self.intake.clone();
        tokio::spawn(async move {
            let taken = intake.take(TRANSPORT, inbound, retry, received).await;
            // The socket may be gone; then Slack delivers events again.
            let _ = answers.send(receipt.frame(&taken));
        });
    }

    async fn write(&mut self, message: Message) -> Next {
        match timeout(self.pace.write, self.socket.send(message)).await {
            Ok(Ok(())) => Next::Go,
            Ok(Err(_)) | Err(_) => Next::End(End::Broken),
        }
    }

    /// Closes, and waits a little for the other end to do so too.
    async fn close(&mut self) {
        let deadline = Instant::now() + self.pace.close;
        let socket = &mut self.socket;
        let closing = async {
            if socket.close(None).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {}
            }
        };
        // Dropped afterwards in any case.
        let _ = timeout_at(deadline, closing).await;
    }
}
