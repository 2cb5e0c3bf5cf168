//! What the handlers, the interceptor and the handle share: the world, the faults, the log and the login.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answers::Refusal;
use super::call_log::CallLog;
use super::faults::FaultBook;
use super::intercept::is_open;
use super::launch::{Checked, Order};
use super::operation::Operation;
use super::world::World;
use crate::tls::Subject;

/// Whom the stand-in lets in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Authentication {
    /// Everybody, as `anonymous`.
    #[default]
    None,
    /// `Authorization: Basic`, else a redirect to the login page.
    Basic {
        /// The one user, who is also the principal.
        user: String,
        /// Its password.
        password: String,
    },
    /// An API token in `X-Spinnaker-Token` or `Authorization: Bearer`, else 401.
    Token {
        /// The token.
        token: String,
        /// Whom it stands for.
        principal: String,
    },
    /// A client certificate, checked when the connection was made: its e-mail address is the principal, else its common
    /// name. Without one 403, which only happens where none is asked for.
    X509,
}

/// Who calls, as Gate knows it.
#[derive(Debug, Clone)]
pub(super) struct Principal(pub(super) String);

#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    faults: Mutex<FaultBook>,
    log: Mutex<CallLog>,
    authentication: Mutex<Authentication>,
    pub(super) orca_down: AtomicBool,
    pub(super) hanging: AtomicBool,
}

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self {
            world: Mutex::new(world),
            faults: Mutex::default(),
            log: Mutex::default(),
            authentication: Mutex::default(),
            orca_down: AtomicBool::new(false),
            hanging: AtomicBool::new(false),
        }
    }

    /// The world as it is now: everything that was due has happened.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance();
        world
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, FaultBook> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, CallLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn authentication(&self) -> MutexGuard<'_, Authentication> {
        self.authentication
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        self.world().now()
    }

    /// Checks an order, and stores it a moment later: between the two, other starts may do the same.
    pub(super) async fn launch(self: &Arc<Self>, order: Order) -> Result<String, Refusal> {
        let (order, acceptance) = {
            let mut world = self.world();
            match world.check(order)? {
                Checked::Existing(id) => return Ok(id),
                Checked::Go(order) => (order, world.timing.acceptance),
            }
        };
        if !acceptance.is_zero() {
            tokio::time::sleep(acceptance).await;
        }
        let mut world = self.world();
        let now = world.now();
        Ok(world.store(order, now))
    }

    /// Lets a caller in, or says how it is kept out.
    // The refusal is an answer to send as it is; boxing it would help nobody.
    #[expect(clippy::result_large_err, reason = "the error is the answer itself")]
    pub(super) fn admit(
        &self,
        operation: Operation,
        headers: &HeaderMap,
        certificate: Option<&Subject>,
    ) -> Result<String, Response> {
        let authentication = self.authentication().clone();
        let given = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match authentication {
            Authentication::None => Ok("anonymous".to_owned()),
            Authentication::Basic { user, password } => {
                let expected = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
                if given("authorization") == Some(expected.as_str()) {
                    Ok(user)
                } else if is_open(operation) {
                    Ok(String::new())
                } else {
                    Err(self.login_redirect())
                }
            }
            Authentication::Token { token, principal } => {
                let bearer = format!("Bearer {token}");
                if given("x-spinnaker-token") == Some(token.as_str())
                    || given("authorization") == Some(bearer.as_str())
                {
                    Ok(principal)
                } else if is_open(operation) {
                    Ok(String::new())
                } else {
                    let body = json!({"error": "Unauthorized", "message": "Invalid API token", "status": 401});
                    Err((StatusCode::UNAUTHORIZED, Json(body)).into_response())
                }
            }
            Authentication::X509 => match certificate.and_then(Subject::principal) {
                Some(principal) => Ok(principal.to_owned()),
                None if is_open(operation) => Ok(String::new()),
                None => {
                    let body =
                        json!({"error": "Forbidden", "message": "Access Denied", "status": 403});
                    Err((StatusCode::FORBIDDEN, Json(body)).into_response())
                }
            },
        }
    }

    /// What a caller without a session gets, whatever it accepts.
    #[expect(clippy::unused_self, reason = "reads as what this Gate answers")]
    pub(super) fn login_redirect(&self) -> Response {
        let mut answer = StatusCode::FOUND.into_response();
        answer
            .headers_mut()
            .insert(header::LOCATION, HeaderValue::from_static("/login"));
        answer
    }

    /// Whether all backends answer, for `/health?downstreamServices=true`.
    pub(super) fn backends_are_up(&self) -> bool {
        !self.orca_down.load(Ordering::SeqCst)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding. Two dozen lines against a dependency for two short texts.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain(std::iter::repeat(&0))
            .take(3)
            .fold(0_usize, |group, byte| (group << 8) | usize::from(*byte));
        for position in 0..4 {
            let symbol = ALPHABET[(group >> (18 - 6 * position)) & 63];
            text.push(if position <= chunk.len() {
                char::from(symbol)
            } else {
                '='
            });
        }
    }
    text
}

/// Reads standard or URL-safe base64, with or without padding.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut group, mut bits) = (0_u32, 0_u32);
    for symbol in text.bytes().filter(|symbol| *symbol != b'=') {
        let symbol = match symbol {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
        let value = ALPHABET.iter().position(|known| *known == symbol)?;
        group = (group << 6) | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((group >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}
