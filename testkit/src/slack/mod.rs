//! A stand-in for Slack that behaves as the real one: the Web API, Socket Mode, signed HTTP, and people who click.
//!
//! It vouches for foredeck where no workspace can be had: it refuses what Slack refuses and in the same words, tells the
//! app of commands, clicks and events as Slack does, retries what Slack retries, and remembers every call. Faults come
//! from the handle ([`StandInSlack::inject`]). Touches a port of 127.0.0.1, the app's addresses and the clock.

mod api;
mod blocks;
mod calls;
mod control;
mod delivery;
mod faults;
mod limits;
pub mod methods;
mod page;
mod payloads;
mod people;
mod routes;
mod shared;
mod typed;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;

pub use self::calls::{Call, Encoding};
pub use self::delivery::{
    Answer, Attempt, Delivery, Failure, Goodbye, Kind, RequestUrls, SocketState,
};
pub use self::faults::{Effect, Fault};
pub use self::people::{Element, Person, Said, Surface};
pub use self::world::{
    App, Channel, ChannelKind, Content, Ephemeral, Installation, Message, SlashCommand, Team,
    Timing, User, UserGroup, View, ViewKind, World,
};

use self::shared::Shared;
use crate::server::Server;
use crate::wait::BETWEEN_LOOKS;

/// A running stand-in. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Debug, Clone)]
pub struct StandInSlack {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
}

impl StandInSlack {
    /// Starts on a free port of 127.0.0.1, with the people alice and bob, the channels general and deploys, and an app
    /// that waits for its sockets.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(0).await
    }

    /// Starts on the given port of 127.0.0.1; 0 picks a free one.
    pub async fn start_on(port: u16) -> anyhow::Result<Self> {
        // What posts deliveries needs crypto only where an app listens with TLS, but says so at once.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let shared = Arc::new(Shared::new(World::new(), client));
        let server = Server::start(port, routes::router(Arc::clone(&shared))).await?;
        let address = server.address;
        // It was empty, so it takes it.
        let _ = shared.url.set(format!("http://{address}"));
        Ok(Self {
            inner: Arc::new(Inner {
                address,
                shared,
                server: Mutex::new(Some(server)),
            }),
        })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        self.inner.shared.url().to_owned()
    }

    /// Where the Web API is, with the slash at the end.
    pub fn api_url(&self) -> String {
        format!("{}/api/", self.url())
    }

    /// Closes the port and every connection; the world stays.
    pub async fn stop(&self) {
        let server = self.server().take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Listens again on the same port. Does nothing while it listens.
    pub async fn restart(&self) -> anyhow::Result<()> {
        if self.server().is_some() {
            return Ok(());
        }
        let router = routes::router(Arc::clone(&self.inner.shared));
        let server = Server::start(self.inner.address.port(), router).await?;
        *self.server() = Some(server);
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.inner
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The bot token, `xoxb-…`.
    pub fn bot_token(&self) -> String {
        self.world(|world| world.app.bot_token.clone())
    }

    /// The app-level token, `xapp-…`.
    pub fn app_token(&self) -> String {
        self.world(|world| world.app.app_token.clone())
    }

    /// What HTTP deliveries are signed with.
    pub fn signing_secret(&self) -> String {
        self.world(|world| world.app.signing_secret.clone())
    }

    /// The workspace's id.
    pub fn team_id(&self) -> String {
        self.world(|world| world.team().id.clone())
    }

    /// The bot's user id.
    pub fn bot_user_id(&self) -> String {
        self.world(|world| world.app.bot_user_id.clone())
    }

    /// The app's id.
    pub fn app_id(&self) -> String {
        self.world(|world| world.app.id.clone())
    }

    /// Looks at the workspace. Nothing else happens meanwhile: `look` is not the place to wait, nor to ask this handle
    /// anything, which would wait for itself without end.
    pub fn world<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.inner.shared.world())
    }

    /// Waits until `look` finds something in the workspace, which it is given. Asked of this handle instead, the same
    /// question would wait for itself without end.
    ///
    /// # Errors
    /// When `deadline` passes first: names `what` was awaited, and what was to be seen instead.
    pub async fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut(&World) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut changes = self.inner.shared.changes();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(&self.inner.shared.world()) {
                    return found;
                }
                // What depends on time alone changes nothing, so it looks again by itself too.
                let _ = tokio::time::timeout(BETWEEN_LOOKS, changes.changed()).await;
            }
        };
        let result = tokio::time::timeout(deadline, found).await;
        result.map_err(|_| anyhow!("waited {deadline:?} for {what}; {}", self.describe()))
    }

    /// The workspace in a few lines, for whoever reads a failed test.
    pub fn describe(&self) -> String {
        self.world(|world| {
            let mut lines = vec!["what is to be seen:".to_owned()];
            for channel in world.channels.values() {
                for message in channel.messages() {
                    let place = if channel.name.is_empty() {
                        &channel.id
                    } else {
                        &channel.name
                    };
                    lines.push(format!(
                        "#{place} {} {}: {}",
                        message.ts,
                        message.user,
                        message.text()
                    ));
                }
            }
            for message in &world.ephemerals {
                lines.push(format!("only to {}: {}", message.user, message.text));
            }
            for view in &world.views {
                lines.push(format!(
                    "view of {}: {} {:?}",
                    view.user,
                    view.title(),
                    view.errors
                ));
            }
            lines.extend(
                world
                    .violations
                    .iter()
                    .map(|text| format!("violation: {text}")),
            );
            lines.join("\n  ")
        })
    }
}
