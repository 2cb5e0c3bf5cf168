//! A proxy between a client and the real API server that lets the client see the past, miss events, and not learn what
//! became of its writes. Touches a port of 127.0.0.1, the API server as its administrator, and the clock.
//!
//! What a client may rely on stays true: a write that was acknowledged was done, and a read of one object or of a
//! selection is answered as it is now. What no client may rely on is at the test's hand: that watches are prompt,
//! complete or long-lived ([`Weather`]), that a watcher's list is new ([`ApiProxy::serve_old_lists`]), that an answer
//! comes ([`ApiEffect`]).

mod call;
mod faults;
mod forward;
mod watches;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;

pub use self::faults::{ApiEffect, ApiFault, Held};
pub use self::watches::{Lost, Weather};

use self::faults::FaultBook;
use self::watches::Sky;
use crate::ControlPlane;
use crate::server::Server;

/// A running proxy. Clones are handles to the same one; it stops when the last is dropped.
///
/// A client gets to it by [`ControlPlane::kubeconfig_through`]. Whoever it says it is, the API server sees the
/// administrator (or whom an `Impersonate-User` names).
#[derive(Debug, Clone)]
pub struct ApiProxy {
    shared: Arc<Shared>,
    server: Arc<Server>,
}

/// A write that went through the proxy.
#[derive(Debug, Clone)]
pub struct Write {
    /// When it came.
    pub at: Timestamp,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// The kind's plural, with the subresource: `deployrequests/status`.
    pub resource: String,
    /// The object; none for a create.
    pub name: Option<String>,
    /// What was to be written.
    pub body: Value,
    /// What the API server answered, if it was asked.
    pub status: Option<u16>,
    /// The object's version afterwards, if the API server did it.
    pub version: Option<u64>,
    /// Whether the client got the API server's answer.
    pub answered: bool,
}

impl ApiProxy {
    /// Starts on a free port of 127.0.0.1, as a proxy that only hands on.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let mut config = plane.admin_config();
        // Whoever is behind the proxy retries, or is seen not to.
        config.default_retry = false;
        let shared = Arc::new(Shared {
            upstream: Client::try_from(config).context("no client for the proxy")?,
            sky: watch::Sender::new(Sky::default()),
            faults: Mutex::default(),
            lists: Mutex::default(),
            writes: Mutex::default(),
        });
        let server = Server::start(0, forward::router(Arc::clone(&shared))).await?;
        Ok(Self {
            shared,
            server: Arc::new(server),
        })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    // Lists.

    /// Keeps what a watcher's lists of these collections answer now, for [`ApiProxy::serve_old_lists`].
    pub async fn remember_lists(&self, paths: &[String]) -> Result<()> {
        for path in paths {
            let list = self.shared.read(path).await?;
            self.shared.lists().remembered.insert(path.clone(), list);
        }
        Ok(())
    }

    /// Answers watchers' lists with what was remembered, from now on or no more, as an API server that lags behind
    /// answers a list of `resourceVersion=0`. Reads of one object, selections and further pages are never old.
    pub fn serve_old_lists(&self, old: bool) {
        self.shared.lists().old = old;
    }

    // Watches.

    /// Sets how watches of these kinds fare (plurals), those that run included. Other kinds keep what they have.
    pub fn set_weather(&self, kinds: &[&str], weather: &Weather) {
        self.shared.sky.send_modify(|sky| {
            for kind in kinds {
                sky.kinds.insert((*kind).to_owned(), weather.clone());
            }
        });
    }

    /// Sets how all watches fare, whatever was said of their kinds before.
    pub fn set_all_weather(&self, weather: Weather) {
        self.shared.sky.send_modify(|sky| {
            sky.kinds.clear();
            sky.elsewhere = weather;
        });
    }

    /// Ends every watch; its client may go on from the last event that it got.
    pub fn close_watches(&self) {
        self.shared.sky.send_modify(|sky| sky.closings += 1);
    }

    /// Ends every watch by an event of 410 Gone, and further ones so too until their collection was listed anew: what an
    /// API server does that has no more of the past.
    pub fn expire_watches(&self) {
        self.shared.sky.send_modify(|sky| sky.expiries += 1);
    }

    // Calls.

    /// Puts a fault in the way of calls to come; of several that match, the first put in befalls.
    pub fn inject(&self, fault: ApiFault) {
        self.shared.faults().add(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Keeps the next call of a method to a resource (as [`ApiFault::new`] names it) from the API server until it is
    /// released, if its body holds the text.
    pub fn hold(&self, method: Method, resource: &str, text: &str) -> Held {
        // The effect is never asked for.
        let which = ApiFault::new(method, resource, ApiEffect::LoseAnswer).containing(text);
        self.shared.faults().hold(which)
    }

    /// Keeps the next such call about the object of this name.
    pub fn hold_of(&self, name: &str, method: Method, resource: &str, text: &str) -> Held {
        let which = ApiFault::new(method, resource, ApiEffect::LoseAnswer);
        self.shared.faults().hold(which.of(name).containing(text))
    }

    /// Every write so far, in the order they came.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.writes().clone()
    }
}

/// What the proxy's calls share.
struct Shared {
    upstream: Client,
    sky: watch::Sender<Sky>,
    faults: Mutex<FaultBook>,
    lists: Mutex<Lists>,
    writes: Mutex<Vec<Write>>,
}

/// The collections, by their paths.
#[derive(Debug, Default)]
struct Lists {
    old: bool,
    remembered: HashMap<String, Bytes>,
    /// How often the past had been forgotten when each was listed last.
    listed: HashMap<String, u64>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, FaultBook> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writes(&self) -> MutexGuard<'_, Vec<Write>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
