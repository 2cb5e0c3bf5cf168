//! Plans on their way through Slack and back, so that nobody can alter one, use another's, or use one too late. Touches
//! nothing; randomness and the time come in as values.
//!
//! A sealed plan is base64url of `version (1 byte) ‖ nonce (12) ‖ length of the asker (1) ‖ asker ‖ ciphertext ‖ tag (16)`.
//! AES-256-GCM-SIV, which forgives a nonce that is drawn twice; the key is made by HKDF-SHA256 of the bot token, which
//! all replicas share. What is authenticated beside the ciphertext: version, purpose, asker. So a value of the Edit
//! button is none for Deploy, and somebody else's click is told from an altered value.
//!
//! What is too long for a button ([`BUTTON`]) goes into a form: its `private_metadata` ([`METADATA`]) holds the plan
//! without its parameters and what was written ([`Sealer::seal_stub`]), which the form's fields hold and send back. Those are then
//! a person's input like any other: [`Opened::complete`] is false, and they are filled in and judged anew.
//!
//! A plan that is too old opens all the same ([`Opened::expired`]): it may have been carried out in time, and whoever
//! presses it then is told of that.

use std::collections::BTreeMap;

use aws_lc_rs::{
    aead::{self, AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, UnboundKey},
    hkdf,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Order, Plan, PlanId};
use crate::{
    api::{
        actor::SlackPerson,
        deploy_request::{SlackPlace, TargetOverride},
    },
    receiver::grammar::Terms,
};

/// What a button's value holds, in characters.
pub const BUTTON: usize = 2000;
/// What a form's `private_metadata` holds, in characters.
pub const METADATA: usize = 3000;

/// The first byte. Another layout gets another number, and values of the old one are told as altered.
const VERSION: u8 = 3;
/// What the key is for: the same token yields other keys for other uses.
const LABEL: &[u8] = b"foredeck.dev/plan/v1";

/// What a sealed plan may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To create the request.
    Deploy,
    /// To create it although an equal one is there.
    Again,
    /// To change it.
    Edit,
    /// To put it away.
    Dismiss,
    /// To have it pass what would hold it, once it is said why.
    Override,
    /// To come back with a form.
    Form,
}

impl Purpose {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Deploy => b"deploy",
            Self::Again => b"again",
            Self::Edit => b"edit",
            Self::Dismiss => b"dismiss",
            Self::Override => b"override",
            Self::Form => b"form",
        }
    }
}

/// Why a plan can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no token to make a key of.
    #[error("there is no bot token to seal plans with")]
    NoKey,
    /// It doesn't fit.
    #[error("the plan is longer than its place holds")]
    TooLong,
    /// Not what was sealed, or not for this purpose, or with a token that is not known any more.
    #[error("the plan was altered, or sealed with a token that is not used any more")]
    Altered,
    /// Somebody else asked for it.
    #[error("somebody else asked for the plan")]
    NotYours,
    /// More than ten minutes have passed since it was first asked for.
    #[error("the plan has expired")]
    Expired,
}

impl SealError {
    /// The fixed word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoKey => "no-key",
            Self::TooLong => "too-long",
            Self::Altered => "altered",
            Self::NotYours => "not-yours",
            Self::Expired => "expired",
        }
    }

    /// What to tell whoever clicked, and what they can do.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoKey | Self::TooLong => {
                "This plan can't be shown with buttons. Nothing was started. Please open the form instead."
            }
            Self::Altered => {
                "This plan can't be read any more. Nothing was started. Please type the command again."
            }
            Self::NotYours => {
                "Only the person who asked for this plan can use it. Nothing was started. To ask for the same, type the command yourself."
            }
            Self::Expired => {
                "This plan is more than ten minutes old and has expired. Nothing was started. Please type the command again."
            }
        }
    }
}

/// Twelve random bytes, drawn by whoever may draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; NONCE_LEN]);

/// A plan that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The plan.
    pub plan: Plan,
    /// Whether it is whole. If not, parameters and reason are empty here and stand in the form that it came with.
    pub complete: bool,
    /// Whether it is too late to carry it out. It may have been carried out before.
    pub expired: bool,
}

/// Seals plans and opens them.
pub struct Sealer {
    /// The first one seals, each opens.
    keys: Vec<LessSafeKey>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sealer")
            .field("keys", &self.keys.len())
            .finish()
    }
}

/// As it is sealed: short names, whole seconds, the asker left out.
#[derive(Serialize, Deserialize)]
struct Compact {
    #[serde(rename = "i")]
    id: PlanId,
    #[serde(rename = "n")]
    namespace: String,
    #[serde(rename = "d")]
    action: String,
    #[serde(rename = "a")]
    application: String,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(rename = "e")]
    environment: String,
    #[serde(rename = "p", default, skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    target: Option<(Option<String>, Option<String>)>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    not_before: Option<i64>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    start_before: Option<i64>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    overriding: Option<String>,
    #[serde(rename = "c")]
    channel: String,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    thread_ts: Option<String>,
    #[serde(rename = "s")]
    asked_at: i64,
    #[serde(rename = "g")]
    shown: String,
    /// Parameters, reason and the word of an override are left out.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    stub: bool,
}

impl Sealer {
    /// Keys of the bot tokens: the first one seals, all of them open, so that a token can be replaced while plans are
    /// under way.
    ///
    /// # Errors
    /// When there is no token, or one is empty.
    pub fn new(tokens: &[SecretString]) -> Result<Self, SealError> {
        let keys = tokens.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SealError::NoKey);
        }
        Ok(Self { keys })
    }

    /// The value of a button.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if it has more than [`BUTTON`] characters: then a form has to show the plan.
    pub fn seal(&self, plan: &Plan, purpose: Purpose, nonce: Nonce) -> Result<String, SealError> {
        self.sealed(&compact(plan, false), &plan.asker, purpose, nonce, BUTTON)
    }

    /// The `private_metadata` of a form whose fields hold parameters and reason.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if it has more than [`METADATA`] characters, which ASCII names within their bounds never do.
    pub fn seal_stub(
        &self,
        plan: &Plan,
        purpose: Purpose,
        nonce: Nonce,
    ) -> Result<String, SealError> {
        self.sealed(&compact(plan, true), &plan.asker, purpose, nonce, METADATA)
    }

    /// The plan that was sealed for this purpose, if `asker` is who asked for it; however old it is.
    ///
    /// # Errors
    /// [`SealError::Altered`] or [`SealError::NotYours`].
    pub fn open(
        &self,
        sealed: &str,
        purpose: Purpose,
        asker: &SlackPerson,
        now: Timestamp,
    ) -> Result<Opened, SealError> {
        if sealed.len() > METADATA {
            return Err(SealError::Altered);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| SealError::Altered)?;
        let envelope = Envelope::read(&bytes).ok_or(SealError::Altered)?;
        let aad = authenticated(purpose, envelope.asker);
        let text = self
            .keys
            .iter()
            .find_map(|key| {
                let mut text = envelope.ciphertext.to_vec();
                let nonce = aead::Nonce::try_assume_unique_for_key(envelope.nonce).ok()?;
                let length = key
                    .open_in_place(nonce, Aad::from(&aad), &mut text)
                    .ok()?
                    .len();
                text.truncate(length);
                Some(text)
            })
            .ok_or(SealError::Altered)?;
        if envelope.asker != person(asker).as_bytes() {
            return Err(SealError::NotYours);
        }
        serde_json::from_slice::<Compact>(&text)
            .ok()
            .and_then(|compact| opened(compact, asker, now))
            .ok_or(SealError::Altered)
    }

    fn sealed(
        &self,
        compact: &Compact,
        asker: &SlackPerson,
        purpose: Purpose,
        nonce: Nonce,
        most: usize,
    ) -> Result<String, SealError> {
        let asker = person(asker);
        let length = u8::try_from(asker.len()).map_err(|_| SealError::TooLong)?;
        let mut text = serde_json::to_vec(compact).map_err(|_| SealError::TooLong)?;
        self.keys
            .first()
            .and_then(|key| {
                let aad = Aad::from(authenticated(purpose, asker.as_bytes()));
                let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
                key.seal_in_place_append_tag(nonce, aad, &mut text).ok()
            })
            .ok_or(SealError::NoKey)?;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&nonce.0);
        bytes.push(length);
        bytes.extend_from_slice(asker.as_bytes());
        bytes.append(&mut text);
        let sealed = URL_SAFE_NO_PAD.encode(bytes);
        if sealed.len() > most {
            return Err(SealError::TooLong);
        }
        Ok(sealed)
    }
}

struct Envelope<'a> {
    nonce: &'a [u8],
    asker: &'a [u8],
    ciphertext: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
        let (length, rest) = rest.split_first()?;
        let (asker, ciphertext) = rest.split_at_checked(usize::from(*length))?;
        Some(Self {
            nonce,
            asker,
            ciphertext,
        })
    }
}

fn key(token: &SecretString) -> Result<LessSafeKey, SealError> {
    let token = token.expose_secret().trim();
    if token.is_empty() {
        return Err(SealError::NoKey);
    }
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, LABEL).extract(token.as_bytes());
    let expanded = secret
        .expand(&[LABEL], &AES_256_GCM_SIV)
        .map_err(|_| SealError::NoKey)?;
    Ok(LessSafeKey::new(UnboundKey::from(expanded)))
}

fn person(asker: &SlackPerson) -> String {
    format!("{}/{}", asker.team, asker.user)
}

fn authenticated(purpose: Purpose, asker: &[u8]) -> Vec<u8> {
    [LABEL, &[VERSION], purpose.word(), b"\0", asker].concat()
}

fn compact(plan: &Plan, stub: bool) -> Compact {
    let order = plan.order.clone();
    let (parameters, reason, overriding) = if stub {
        (BTreeMap::new(), None, None)
    } else {
        (order.parameters, order.reason, order.terms.overriding)
    };
    Compact {
        id: plan.id.clone(),
        namespace: plan.namespace.clone(),
        action: order.action,
        application: order.application,
        version: order.version,
        commit: order.commit,
        environment: order.environment,
        parameters,
        reason,
        target: order
            .target
            .map(|target| (target.account, target.namespace)),
        not_before: order.terms.not_before.map(Timestamp::as_second),
        start_before: order.terms.start_before.map(Timestamp::as_second),
        overriding,
        channel: plan.place.channel.clone(),
        thread_ts: plan.place.thread_ts.clone(),
        asked_at: plan.asked_at.as_second(),
        shown: plan.shown.clone(),
        stub,
    }
}

fn opened(compact: Compact, asker: &SlackPerson, now: Timestamp) -> Option<Opened> {
    let complete = !compact.stub;
    let plan = plan_of(compact, asker)?;
    Some(Opened {
        complete,
        expired: plan.is_expired(now),
        plan,
    })
}

fn plan_of(compact: Compact, asker: &SlackPerson) -> Option<Plan> {
    let time = |seconds: Option<i64>| seconds.map(Timestamp::from_second).transpose();
    Some(Plan {
        id: compact.id,
        namespace: compact.namespace,
        order: Order {
            action: compact.action,
            application: compact.application,
            version: compact.version,
            commit: compact.commit,
            environment: compact.environment,
            parameters: compact.parameters,
            reason: compact.reason,
            target: compact
                .target
                .map(|(account, namespace)| TargetOverride { account, namespace }),
            terms: Terms {
                not_before: time(compact.not_before).ok()?,
                start_before: time(compact.start_before).ok()?,
                overriding: compact.overriding,
            },
        },
        asker: asker.clone(),
        place: SlackPlace {
            channel: compact.channel,
            thread_ts: compact.thread_ts,
        },
        asked_at: Timestamp::from_second(compact.asked_at).ok()?,
        shown: compact.shown,
    })
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
