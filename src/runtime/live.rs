//! A secret that may change while the process runs: whoever uses it asks for it anew each time, and whoever finds that it
//! is not accepted any more has its source asked. Touches the clock.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// Questions that may wait for the source. Whoever comes after as many goes on with what is there.
const MOST_QUESTIONS: usize = 64;

/// A secret as it is now. Clones see the same one change.
#[derive(Clone)]
pub struct LiveSecret {
    current: watch::Receiver<SecretString>,
    questions: mpsc::Sender<oneshot::Sender<()>>,
}

/// Where a [`LiveSecret`] is changed. Without it the secret stays as it is.
#[derive(Debug)]
pub struct LiveSecretSource {
    current: watch::Sender<SecretString>,
    questions: mpsc::Receiver<oneshot::Sender<()>>,
}

/// Those who wait for the source to be asked. Dropped, they are answered.
#[derive(Debug)]
pub struct Questions(Vec<oneshot::Sender<()>>);

impl LiveSecret {
    /// One that never changes.
    pub fn fixed(secret: SecretString) -> Self {
        Self::new(secret).0
    }

    /// One that changes where the source is told so.
    pub fn new(secret: SecretString) -> (Self, LiveSecretSource) {
        let (sender, receiver) = watch::channel(secret);
        let (ask, questions) = mpsc::channel(MOST_QUESTIONS);
        (
            Self {
                current: receiver,
                questions: ask,
            },
            LiveSecretSource {
                current: sender,
                questions,
            },
        )
    }

    /// As it is now. Not to be kept.
    pub fn current(&self) -> SecretString {
        self.current.borrow().clone()
    }

    /// Waits until it is another than was last waited for by this clone; for ever where it never changes again.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// It is not accepted any more: has its source asked now, and returns when that was done; at once where there is none.
    /// The source answers when it can, so wait for no longer than there is time.
    pub async fn ask_anew(&self) {
        let (question, answered) = oneshot::channel();
        if self.questions.try_send(question).is_ok() {
            // The answer is that the question is dropped.
            let _ = answered.await;
        }
    }

    /// This one, of it, is not accepted any more: has its source asked, and gives another one if there is one after so long.
    pub async fn another_than(
        &self,
        used: &SecretString,
        patience: Duration,
    ) -> Option<SecretString> {
        // Where that takes too long, it may be another for whoever comes later.
        let _in_time = timeout(patience, self.ask_anew()).await;
        let current = self.current();
        (current.expose_secret() != used.expose_secret()).then_some(current)
    }
}

/// A token without the space around it that files tend to end with; none where it is empty or holds characters that no token
/// has.
pub fn token(secret: &SecretString) -> Option<&str> {
    let token = secret.expose_secret().trim();
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(token)
}

impl LiveSecretSource {
    /// It is another from now on. Returns whether it is.
    pub fn set(&self, secret: SecretString) -> bool {
        self.current.send_if_modified(|current| {
            let other = current.expose_secret() != secret.expose_secret();
            if other {
                *current = secret;
            }
            other
        })
    }

    /// The next who want the source asked at once; none when nobody has the secret any more.
    pub async fn asked(&mut self) -> Option<Questions> {
        let mut questions = Questions(vec![self.questions.recv().await?]);
        self.asked_since(&mut questions);
        Some(questions)
    }

    /// Adds those who have asked since.
    pub fn asked_since(&mut self, questions: &mut Questions) {
        while let Ok(question) = self.questions.try_recv() {
            questions.0.push(question);
        }
    }
}

impl From<String> for LiveSecret {
    fn from(secret: String) -> Self {
        Self::fixed(secret.into())
    }
}

impl From<&str> for LiveSecret {
    fn from(secret: &str) -> Self {
        Self::fixed(secret.into())
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

    #[tokio::test]
    async fn who_finds_it_refused_has_the_source_asked_and_sees_what_it_says() {
        let (live, mut source) = LiveSecret::new("old".into());
        let keeping = tokio::spawn(async move {
            let questions = source.asked().await.unwrap();
            source.set("new".into());
            drop(questions);
            source.asked().await.is_none()
        });
        let patience = Duration::from_mins(1);
        let another = live.another_than(&"old".into(), patience).await;
        assert_eq!(another.unwrap().expose_secret(), "new");
        drop(live);
        assert!(keeping.await.unwrap());
        // Nobody keeps this one: there is nobody to wait for.
        let fixed = LiveSecret::from("fixed");
        let another = fixed.another_than(&"fixed".into(), patience).await;
        assert!(another.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn whose_source_does_not_answer_is_waited_for_no_longer_than_told() {
        let (live, source) = LiveSecret::new("old".into());
        let patience = Duration::from_secs(2);
        let started = tokio::time::Instant::now();
        assert!(live.another_than(&"old".into(), patience).await.is_none());
        assert_eq!(started.elapsed().as_secs(), 2);
        drop(source);
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(token(&" xoxb-1\n".into()), Some("xoxb-1"));
        for none in ["", " \n", "two words", "new\nline", "caf\u{e9}"] {
            assert_eq!(token(&none.into()), None, "{none:?}");
        }
    }
}
