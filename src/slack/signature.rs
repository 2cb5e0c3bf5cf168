//! Whether a request was signed by Slack, over the very bytes that came. Touches nothing.
//!
//! Verified before anything is read of the body. The signature doesn't keep anybody from sending the same request again
//! within the window; that the [identity](super::inbound::Identity) does. What was received or expected is never shown:
//! a signature is a credential for its body.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::client::SettingsError;
use crate::runtime::live::LiveSecret;

/// How far a request's time may be from ours, in either direction, in seconds.
const WINDOW: u64 = 300;
const SIGNATURE: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";
const VERSION: &str = "v0";
/// Bytes of a SHA-256.
const LENGTH: usize = 32;

/// Why a request is not taken for Slack's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// A header is missing, or there is more than one of it.
    #[error("the signature's headers are not there once each")]
    Headers,
    /// The time is no number.
    #[error("the time of the request is no number of seconds")]
    Time,
    /// Too old, or from the future.
    #[error("the request is not of the last five minutes")]
    Stale,
    /// Not `v0=` and 64 lower-case hexadecimal digits.
    #[error("the signature has not the form of one")]
    Form,
    /// None of the secrets made it.
    #[error("the signature is not Slack's")]
    Mismatch,
}

impl Unsigned {
    /// The fixed word for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Headers => "signature-headers",
            Self::Time => "signature-time",
            Self::Stale => "signature-stale",
            Self::Form => "signature-form",
            Self::Mismatch => "signature-mismatch",
        }
    }
}

/// The app's signing secrets: one, or the old and the new one while they are rotated.
#[derive(Debug, Clone)]
pub struct SigningSecrets(
    /// One a line.
    LiveSecret,
);

impl SigningSecrets {
    /// Secrets that stay as they are. Space around one is left out: files tend to end with a line break.
    ///
    /// # Errors
    /// When there is none, or one is empty: then anybody could sign.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Result<Self, SettingsError> {
        let secrets: Vec<SecretString> = secrets.into_iter().collect();
        for secret in &secrets {
            Self::check(secret)?;
        }
        let lines: Vec<&str> = secrets.iter().map(ExposeSecret::expose_secret).collect();
        Self::live(LiveSecret::fixed(lines.join("\n").into()))
    }

    /// One secret, or several, one a line, as they are at each request.
    ///
    /// # Errors
    /// When there is none now, or a line is empty.
    pub fn live(secrets: LiveSecret) -> Result<Self, SettingsError> {
        Self::check(&secrets.current())?;
        Ok(Self(secrets))
    }

    /// Whether these lines are signing secrets.
    ///
    /// # Errors
    /// When there is none, or a line is empty.
    pub fn check(lines: &SecretString) -> Result<(), SettingsError> {
        let mut lines = lines_of(lines).peekable();
        if lines.peek().is_none() || lines.any(str::is_empty) {
            return Err(SettingsError::SigningSecret);
        }
        Ok(())
    }

    /// Has the secrets' source asked: they may have been changed a moment ago.
    pub(super) async fn ask_anew(&self) {
        self.0.ask_anew().await;
    }

    /// Whether Slack signed these bytes about now.
    ///
    /// # Errors
    /// Says why not.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Unsigned> {
        let timestamp = single(headers, TIMESTAMP)?;
        let signature = single(headers, SIGNATURE)?;
        if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unsigned::Time);
        }
        let seconds: i64 = timestamp.parse().map_err(|_| Unsigned::Time)?;
        if now.as_second().abs_diff(seconds) > WINDOW {
            return Err(Unsigned::Stale);
        }
        let signature = digest(signature).ok_or(Unsigned::Form)?;
        let signed = |secret: &str| {
            // Any length is a key.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
                return false;
            };
            for part in [VERSION.as_bytes(), b":", timestamp.as_bytes(), b":", body] {
                mac.update(part);
            }
            // In constant time.
            mac.verify_slice(&signature).is_ok()
        };
        let secrets = self.0.current();
        // What can't be one was never put there; if it were, it would sign nothing.
        let mut secrets = lines_of(&secrets).filter(|secret| !secret.is_empty());
        if secrets.any(signed) {
            Ok(())
        } else {
            Err(Unsigned::Mismatch)
        }
    }
}

fn lines_of(secrets: &SecretString) -> impl Iterator<Item = &str> {
    secrets.expose_secret().trim().lines().map(str::trim)
}

/// The header, if there is exactly one, and not two joined by a proxy.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Unsigned> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value
            .to_str()
            .ok()
            .filter(|value| !value.contains(','))
            .ok_or(Unsigned::Headers),
        _ => Err(Unsigned::Headers),
    }
}

fn digest(signature: &str) -> Option<[u8; LENGTH]> {
    let digits = signature.strip_prefix(VERSION)?.strip_prefix('=')?;
    if digits.len() != 2 * LENGTH {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut digest = [0; LENGTH];
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
    }
    Some(digest)
}

/// Signs like Slack, for tests.
#[cfg(test)]
pub(super) fn sign(secret: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{seconds}:").as_bytes());
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("v0={}", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const NOW: i64 = 1_531_420_618;

    fn secrets(secrets: &[&str]) -> SigningSecrets {
        let secrets = secrets.iter().map(|secret| SecretString::from(*secret));
        SigningSecrets::new(secrets).unwrap()
    }

    fn headers(time: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TIMESTAMP, HeaderValue::from_str(time).unwrap());
        headers.insert(SIGNATURE, HeaderValue::from_str(signature).unwrap());
        headers
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn check(time: &str, signature: &str, body: &[u8]) -> Result<(), Unsigned> {
        secrets(&[SECRET]).verify(&headers(time, signature), body, at(NOW))
    }

    #[test]
    fn known_signatures_are_accepted() {
        for (secret, time, signature, body) in [
            (
                SECRET,
                1_531_420_618,
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                 channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                 response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
                 trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
            ),
            (
                "e6b19c573432dcc6b075501d51b51bb8",
                1_531_431_954,
                "v0=adada4ed31709aef585c2580ca3267678c6a8eaeb7e0c1aca3ee57b656886b2c",
                r#"{"token":"aF5ynEYQH0dFN9imlgcADxDB","team_id":"XXXXXXXXX","api_app_id":"YYYYYYYYY","event":{"type":"app_mention","user":"AAAAAAAAA","text":"<@EEEEEEEEE> hello world","client_msg_id":"477cc591-ch73-a14z-4db8-g0cd76321bec","ts":"1531431954.000073","channel":"TTTTTTTTT","event_ts":"1531431954.000073"},"type":"event_callback","event_id":"TvBP7LRED7","event_time":1531431954,"authed_users":["EEEEEEEEE"]}"#,
            ),
            (
                "fa2c05deeef5a4077494e89f54394de0",
                1_531_420_618,
                "v0=baa91ef62d346e56607bbdd278a8acd570b91226854f15a382f43d33be42f666",
                "test-body",
            ),
        ] {
            let headers = headers(&time.to_string(), signature);
            let verified = secrets(&[secret]).verify(&headers, body.as_bytes(), at(time));
            assert_eq!(verified, Ok(()), "{body}");
            let tampered = format!("{body}&");
            let verified = secrets(&[secret]).verify(&headers, tampered.as_bytes(), at(time));
            assert_eq!(verified, Err(Unsigned::Mismatch), "{body}");
        }
    }

    #[test]
    fn bytes_are_signed_not_text() {
        for body in [&b"a=\xff\xfe\x00"[..], b"text=*&x=%2A", b"", b"a=b\r\n"] {
            let signature = sign(SECRET, NOW, body);
            assert_eq!(check(&NOW.to_string(), &signature, body), Ok(()));
        }
        let signature = sign(SECRET, NOW, b"text=*");
        let re_encoded = check(&NOW.to_string(), &signature, b"text=%2A");
        assert_eq!(re_encoded, Err(Unsigned::Mismatch));
    }

    #[test]
    fn the_window_has_two_sides_and_no_overflow() {
        let signed = |seconds: i64| check(&seconds.to_string(), &sign(SECRET, seconds, b"x"), b"x");
        assert_eq!(signed(NOW - 300), Ok(()));
        assert_eq!(signed(NOW + 300), Ok(()));
        for stale in [NOW - 301, NOW + 301, 0, i64::MAX] {
            assert_eq!(signed(stale), Err(Unsigned::Stale), "{stale}");
        }
        for odd in [
            "",
            " ",
            "-1",
            "+1531420618",
            "1531420618.0",
            "1e9",
            "0x5b",
            "99999999999999999999",
            "1531420618 ",
        ] {
            let verified = check(odd, &sign(SECRET, NOW, b"x"), b"x");
            assert_eq!(verified, Err(Unsigned::Time), "{odd:?}");
        }
    }

    #[test]
    fn only_one_form_of_signature_is_compared() {
        let right = sign(SECRET, NOW, b"x");
        for odd in [
            String::new(),
            "v0=".to_owned(),
            right.replace("v0=", "v1="),
            right.replace("v0=", ""),
            right.replace("v0=", "v0=0"),
            right.to_uppercase(),
            right[..right.len() - 2].to_owned(),
            format!("{right}00"),
            right.replace(|char: char| char.is_ascii_digit() && char != '0', "g"),
        ] {
            let verified = check(&NOW.to_string(), &odd, b"x");
            assert_eq!(verified, Err(Unsigned::Form), "{odd:?}");
        }
        let other = format!("v0={}", "0".repeat(64));
        assert_eq!(
            check(&NOW.to_string(), &other, b"x"),
            Err(Unsigned::Mismatch)
        );
    }

    #[test]
    fn a_header_that_comes_twice_is_refused() {
        let (time, right) = (NOW.to_string(), sign(SECRET, NOW, b"x"));
        for name in [TIMESTAMP, SIGNATURE] {
            let mut twice = headers(&time, &right);
            let again = twice.get(name).unwrap().clone();
            twice.append(name, again.clone());
            let verify = |headers| secrets(&[SECRET]).verify(headers, b"x", at(NOW));
            assert_eq!(verify(&twice), Err(Unsigned::Headers), "{name} twice");
            let mut joined = headers(&time, &right);
            let both = format!("{0}, {0}", again.to_str().unwrap());
            joined.insert(name, both.parse().unwrap());
            assert_eq!(verify(&joined), Err(Unsigned::Headers), "{name} joined");
            let mut missing = headers(&time, &right);
            missing.remove(name);
            assert_eq!(verify(&missing), Err(Unsigned::Headers), "{name} missing");
            let mut odd = headers(&time, &right);
            odd.insert(name, HeaderValue::from_bytes(b"\xff").unwrap());
            assert_eq!(verify(&odd), Err(Unsigned::Headers), "{name} odd");
        }
    }

    #[test]
    fn while_secrets_are_rotated_both_are_good() {
        let right = headers(&NOW.to_string(), &sign("old", NOW, b"x"));
        let verify = |secrets: SigningSecrets| secrets.verify(&right, b"x", at(NOW));
        assert_eq!(verify(secrets(&["new", "old\n"])), Ok(()));
        assert_eq!(verify(secrets(&["new"])), Err(Unsigned::Mismatch));
        assert!(!format!("{:?}", secrets(&["hidden"])).contains("hidden"));
    }

    #[test]
    fn secrets_that_change_count_from_then_on_and_an_empty_one_never_does() {
        let signed_by = |secret: &str| headers(&NOW.to_string(), &sign(secret, NOW, b"x"));
        let (live, source) = LiveSecret::new("old\n".into());
        let secrets = SigningSecrets::live(live).unwrap();
        let verify = |secret: &str| secrets.verify(&signed_by(secret), b"x", at(NOW));
        assert_eq!(verify("old"), Ok(()));
        source.set("new\r\n old \n".into());
        assert_eq!((verify("new"), verify("old")), (Ok(()), Ok(())));
        source.set("new".into());
        assert_eq!(verify("old"), Err(Unsigned::Mismatch));
        // Nobody sets such a one; nobody could sign by it either.
        source.set("new\n\nnewer".into());
        assert_eq!(verify(""), Err(Unsigned::Mismatch));
        assert_eq!(verify("newer"), Ok(()));
        for empty in ["", " \n ", "one\n\ntwo"] {
            assert!(SigningSecrets::check(&empty.into()).is_err(), "{empty:?}");
            assert!(SigningSecrets::live(empty.into()).is_err(), "{empty:?}");
        }
    }

    #[test]
    fn an_empty_secret_is_no_secret() {
        for empty in [vec![], vec![""], vec![" \n"], vec!["good", ""]] {
            let secrets = empty.iter().map(|secret| SecretString::from(*secret));
            let error = SigningSecrets::new(secrets).unwrap_err();
            assert_eq!(error.reason(), "signing-secret");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_answered(time in any::<String>(), signature in any::<String>(), body in any::<Vec<u8>>()) {
            let mut headers = HeaderMap::new();
            if let (Ok(time), Ok(signature)) = (HeaderValue::from_str(&time), HeaderValue::from_str(&signature)) {
                headers.insert(TIMESTAMP, time);
                headers.insert(SIGNATURE, signature);
            }
            prop_assert!(secrets(&[SECRET]).verify(&headers, &body, at(NOW)).is_err());
        }
    }
}
