//! Our own credentials in Gate's answers. Touches nothing.
//!
//! A Gate in debug mode, or a proxy before it, may repeat what it was sent, and parts of answers reach statuses and events.
//! What doesn't look like a secret only we know to be one.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{
    ExposeSecret, SecretString,
    zeroize::{Zeroize, Zeroizing},
};

use super::{answer::Answer, settings::Credentials};

/// In bytes. What is shorter stands in answers by chance.
const SHORTEST: usize = 8;
/// What stands in their place.
const REMOVED: &str = "[removed]";

/// What of a login must not come back.
#[derive(Default)]
pub(super) struct Echo(Vec<SecretString>);

impl Echo {
    /// What these credentials put into a header.
    pub(super) fn new(credentials: &Credentials) -> Self {
        let secrets = match credentials {
            Credentials::None | Credentials::Certificate(_) => Vec::new(),
            Credentials::Token { value, .. } => vec![value.expose_secret().to_owned()],
            Credentials::Basic { username, password } => {
                let password = password.expose_secret();
                let pair = Zeroizing::new(format!("{username}:{password}"));
                vec![BASE64_STANDARD.encode(&*pair), password.to_owned()]
            }
        };
        let secrets: Vec<Zeroizing<String>> = secrets.into_iter().map(Zeroizing::new).collect();
        let mut all: BTreeSet<String> = BTreeSet::new();
        for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
            // JSON may write a slash in two ways.
            let quoted = secret.replace('\\', "\\\\").replace('"', "\\\"");
            all.extend([secret.to_string(), quoted.replace('/', "\\/"), quoted]);
        }
        Self(all.into_iter().map(SecretString::from).collect())
    }

    /// Takes them out of `answer`, if it repeats them, and marks it. Of one that is no success the whole body goes: it is what
    /// people would be shown, and may hold them in another form as well.
    pub(super) fn take_out(&self, answer: &mut Answer) {
        let mut repeats = false;
        for text in [Some(&mut answer.content_type), answer.location.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Some(rest) = self.without(text) {
                *text = rest;
                repeats = true;
            }
        }
        if let Some(rest) = self.without(&String::from_utf8_lossy(&answer.body)) {
            answer.body.zeroize();
            answer.body.extend_from_slice(rest.as_bytes());
            repeats = true;
        }
        if repeats && !answer.is_ok() {
            answer.body.clear();
        }
        answer.repeats_credentials = repeats;
    }

    /// `text` without them; none where it holds none.
    fn without(&self, text: &str) -> Option<String> {
        let mut rest = None::<String>;
        for secret in &self.0 {
            let (text, secret) = (rest.as_deref().unwrap_or(text), secret.expose_secret());
            if text.contains(secret) {
                rest = Some(text.replace(secret, REMOVED));
            }
        }
        rest
    }
}
