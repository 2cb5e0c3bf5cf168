//! A secret that may change while the process runs: whoever uses it asks for it anew each time. Touches nothing.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

/// A secret as it is now. Clones see the same one change.
#[derive(Clone)]
pub struct LiveSecret(watch::Receiver<SecretString>);

/// Where a [`LiveSecret`] is changed. Without it the secret stays as it is.
#[derive(Debug)]
pub struct LiveSecretSource(watch::Sender<SecretString>);

impl LiveSecret {
    /// One that never changes.
    pub fn fixed(secret: SecretString) -> Self {
        Self::new(secret).0
    }

    /// One that changes where the source is told so.
    pub fn new(secret: SecretString) -> (Self, LiveSecretSource) {
        let (sender, receiver) = watch::channel(secret);
        (Self(receiver), LiveSecretSource(sender))
    }

    /// As it is now. Not to be kept.
    pub fn current(&self) -> SecretString {
        self.0.borrow().clone()
    }

    /// Waits until it is another than was last waited for by this clone; for ever where it never changes again.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl LiveSecretSource {
    /// It is another from now on. Returns whether it is.
    pub fn set(&self, secret: SecretString) -> bool {
        self.0.send_if_modified(|current| {
            let other = current.expose_secret() != secret.expose_secret();
            if other {
                *current = secret;
            }
            other
        })
    }
}

impl From<SecretString> for LiveSecret {
    fn from(secret: SecretString) -> Self {
        Self::fixed(secret)
    }
}

impl fmt::Debug for LiveSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LiveSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_sees_it_change_and_nobody_sees_it_printed() {
        let (mut live, source) = LiveSecret::new("old-hush".into());
        let other = live.clone();
        assert!(!source.set("old-hush".into()));
        assert!(source.set("new-hush".into()));
        live.changed().await;
        assert_eq!(other.current().expose_secret(), "new-hush");
        assert!(!format!("{live:?} {source:?}").contains("hush"));
    }
}
