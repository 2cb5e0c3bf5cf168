//! Socket Mode: Slack delivers over sockets that we open, so that nothing of ours needs a public address. Touches the
//! network and the clock.
//!
//! There are several sockets, two unless told, and Slack chooses one for each delivery. When Slack wants one replaced,
//! the new one comes first: the old one is read until it falls quiet, answers what it took, and is closed.

mod dial;
mod envelope;
mod link;
mod pace;
mod state;

use std::{sync::Arc, time::Duration};

use hyper_util::client::proxy::matcher::Matcher;
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::state::{SocketState, Trouble};
use self::{
    dial::Dialler,
    envelope::Goodbye,
    link::{End, Link, Orders, Signs},
    pace::{Pace, Setback},
    state::Shared,
};
use super::{
    client::{SettingsError, SlackClient, SlackError, token},
    inbound::{Handler, Intake},
};
use crate::runtime::live::LiveSecret;

/// Slack allows ten for an app, all processes together.
const MOST_SOCKETS: usize = 10;

/// What Socket Mode needs.
#[derive(Debug, Clone)]
pub struct SocketSettings {
    app_token: LiveSecret,
    sockets: usize,
    expected: u32,
    random: fn() -> u64,
    proxies_from_environment: bool,
    pace: Pace,
}

impl SocketSettings {
    /// `app_token` is the app-level one, with the scope `connections:write`, taken as it is whenever a socket is opened:
    /// those that are open outlive it. `random` gives any number, fresh each time.
    ///
    /// # Errors
    /// When the token can't be one.
    pub fn new(app_token: LiveSecret, random: fn() -> u64) -> Result<Self, SettingsError> {
        token("app-level token", &app_token.current())?;
        Ok(Self {
            app_token,
            sockets: 2,
            expected: 2,
            random,
            proxies_from_environment: true,
            pace: Pace::default(),
        })
    }

    /// How many sockets this process opens, between 1 and 10. Replicas × sockets × 2 must stay within Slack's 10, since
    /// replicas are replaced one by one and sockets too.
    #[must_use]
    pub fn sockets(mut self, sockets: usize) -> Self {
        self.sockets = sockets.clamp(1, MOST_SOCKETS);
        self.expected = self.expected.max(u32::try_from(self.sockets).unwrap_or(2));
        self
    }

    /// How many sockets all processes of ours may have together. More means that somebody else has the token.
    #[must_use]
    pub fn expected(mut self, sockets: u32) -> Self {
        self.expected = sockets;
        self
    }

    /// Ignores `HTTPS_PROXY` and its like.
    #[must_use]
    pub fn without_proxies(mut self) -> Self {
        self.proxies_from_environment = false;
        self
    }
}

/// Sockets that deliver to a handler.
pub struct SocketMode<H> {
    client: SlackClient,
    settings: SocketSettings,
    intake: Intake<H>,
    dialler: Dialler,
    shared: Arc<Shared>,
    links: TaskTracker,
}

/// A view of how Socket Mode is doing; lives on when it has ended.
#[derive(Debug, Clone)]
pub struct SocketWatch {
    shared: Arc<Shared>,
    state: watch::Receiver<SocketState>,
}

impl SocketWatch {
    /// How it is doing now.
    pub fn state(&self) -> SocketState {
        self.state.borrow().clone()
    }

    /// Something can be delivered.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// The next change of state. False when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// The time since anything came over any socket. None before the first.
    pub fn last_frame_age(&self, now: Instant) -> Option<Duration> {
        self.shared.last_frame_age(now)
    }
}

impl<H: Handler> SocketMode<H> {
    /// Sockets that are not open yet.
    ///
    /// # Errors
    /// When TLS can't be set up, as in an image without root certificates.
    pub fn new(
        client: SlackClient,
        settings: SocketSettings,
        intake: Intake<H>,
    ) -> Result<Self, SettingsError> {
        let proxies = settings.proxies_from_environment.then(Matcher::from_env);
        let metrics = intake.metrics().clone();
        Ok(Self {
            dialler: Dialler::new(proxies)?,
            shared: Arc::new(Shared::new(settings.sockets, settings.expected, metrics)),
            links: TaskTracker::new(),
            client,
            settings,
            intake,
        })
    }

    /// How it is doing, for probes.
    pub fn watch(&self) -> SocketWatch {
        SocketWatch {
            shared: Arc::clone(&self.shared),
            state: self.shared.watch(),
        }
    }

    /// Keeps the sockets open until `leave` is cancelled; then takes nothing new, answers what was delivered, and closes.
    pub async fn run(self, leave: CancellationToken) {
        let links = self.links.clone();
        let own = Arc::new(self);
        let mut slots = JoinSet::new();
        for _ in 0..own.settings.sockets {
            let (own, leave) = (Arc::clone(&own), leave.clone());
            slots.spawn(async move { own.keep(leave).await });
        }
        // The age of the last frame grows when nothing comes that could tell it.
        let mut tick = interval(own.settings.pace.ping);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = slots.join_next() => if ended.is_none() { break },
                now = tick.tick() => {
                    own.shared.last_frame_age(now);
                }
            }
        }
        links.close();
        links.wait().await;
    }

    /// Keeps one socket open.
    async fn keep(&self, leave: CancellationToken) {
        let mut failures = 0;
        let mut app_token = self.settings.app_token.clone();
        // The one that is to be replaced.
        let mut old: Option<Open> = None;
        loop {
            let setback = tokio::select! {
                biased;
                () = leave.cancelled() => return,
                opened = self.open(&leave) => match opened {
                    Ok(mut open) => {
                        if let Some(old) = old.take() {
                            old.retire.cancel();
                        }
                        let since = Instant::now();
                        let over = open.over().await;
                        if since.elapsed() >= self.settings.pace.steady {
                            failures = 0;
                        }
                        match over {
                            Over::Refresh => {
                                old = Some(open);
                                Setback::Refresh
                            }
                            Over::Ended(End::Left) => return,
                            Over::Ended(end) => self.after(end),
                        }
                    }
                    Err(setback) => setback,
                },
            };
            let random = (self.settings.random)();
            let wait = self.settings.pace.wait(setback, failures, random);
            failures = failures.saturating_add(1);
            tokio::select! {
                () = leave.cancelled() => return,
                // Whatever it was, it may have been the old one's fault.
                () = app_token.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// What the end of a socket means for the next one.
    fn after(&self, end: End) -> Setback {
        let reason = end.reason();
        match end {
            End::Dismissed(Goodbye::Disabled) => self.refused(reason, true, Setback::Stop),
            End::Dismissed(Goodbye::TooMany) => self.refused(reason, false, Setback::TooMany),
            _ => Setback::Trouble,
        }
    }

    /// A socket that Slack said hello on.
    async fn open(&self, leave: &CancellationToken) -> Result<Open, Setback> {
        let opened = self.client.open_connection(&self.settings.app_token).await;
        let address = opened.map_err(|error| self.unopened(&error))?;
        let pace = self.settings.pace;
        let plain = self.client.api().scheme() == "http";
        let socket = self.dialler.dial(&address.0, plain, pace.dial).await;
        let socket = socket.map_err(|error| self.refused(error.0, false, Setback::Trouble))?;
        let (hello, said) = oneshot::channel();
        let retire = CancellationToken::new();
        let refresh = CancellationToken::new();
        let orders = Orders {
            retire: retire.clone(),
            leave: leave.clone(),
        };
        let signs = Signs {
            hello,
            refresh: refresh.clone(),
        };
        let shared = Arc::clone(&self.shared);
        let link = Link::run(socket, self.intake.clone(), shared, pace, orders, signs);
        let shared = Arc::clone(&self.shared);
        let mut ended = self.links.spawn(async move {
            let end = link.await;
            shared.ended(end.reason());
            end
        });
        let Ok(said) = timeout(pace.hello, said).await else {
            ended.abort();
            return Err(self.refused("no-hello", false, Setback::Trouble));
        };
        match said {
            Ok(()) => Ok(Open {
                retire,
                refresh,
                ended,
            }),
            // It ended before; it tells how.
            Err(_) => match (&mut ended).await {
                Ok(end @ End::Dismissed(_)) => Err(self.after(end)),
                _ => Err(self.refused("no-hello", false, Setback::Trouble)),
            },
        }
    }

    fn unopened(&self, error: &SlackError) -> Setback {
        let reason = error.reason();
        match error {
            SlackError::Stop { .. } => self.refused(reason, true, Setback::Stop),
            SlackError::Retry {
                after: Some(after), ..
            } => self.refused(reason, false, Setback::Asked(*after)),
            _ => self.refused(reason, false, Setback::Trouble),
        }
    }

    fn refused(&self, reason: &'static str, needs_operator: bool, setback: Setback) -> Setback {
        self.shared.failed(Trouble {
            reason,
            needs_operator,
        });
        setback
    }
}

/// A socket that Slack delivers to.
struct Open {
    retire: CancellationToken,
    refresh: CancellationToken,
    ended: JoinHandle<End>,
}

enum Over {
    Refresh,
    Ended(End),
}

impl Open {
    async fn over(&mut self) -> Over {
        tokio::select! {
            biased;
            ended = &mut self.ended => Over::Ended(ended.unwrap_or(End::Broken)),
            () = self.refresh.cancelled() => Over::Refresh,
        }
    }
}

#[cfg(test)]
mod tests;
