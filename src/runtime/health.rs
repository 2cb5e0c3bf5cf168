//! Whether a role could work: the kinds are there, and so are its rights. Touches the API server and the clock.
//!
//! Both are asked for, rather than concluded from watches that fail: a role that waits for its Lease watches nothing, and
//! would take over and do nothing; and what is needed for writing no watch shows. It costs a few small calls twice a
//! minute, where a standby's caches would cost every watch twice.
//!
//! **What makes a role not ready** is only what the API server *says* is missing, and, after it was there, says twice: RBAC
//! and definitions take a moment to spread among API servers. One that doesn't answer changes nothing: it would take all
//! replicas of a role out of their Service at once, where nobody could tell people any more what is wrong, and an old
//! answer is better than none. Only before the first answer nobody knows, and so nobody is ready.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use kube::Client;
use tokio::time::sleep;

use super::{
    admin::{Gate, Readiness},
    chance, definitions,
    rights::{self, Right},
    telemetry,
    watches::Watches,
};
use crate::api::{GROUP, VERSION};

/// Between looks while something is missing, or isn't known.
const SOON: Duration = Duration::from_secs(4);
/// Between looks while all is well.
const CALM: Duration = Duration::from_secs(30);
/// One more of them for so many rights, which a role with many namespaces has.
const RIGHTS_A_SECOND: usize = 10;

/// What a role needs of the API server.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The gate that is open while the kinds are there.
    pub definitions_gate: &'static str,
    /// The gate that is open while all rights are.
    pub rights_gate: &'static str,
    /// The rights, and with them the kinds.
    pub rights: Vec<Right>,
}

impl Needs {
    fn kinds(&self) -> BTreeSet<&'static str> {
        let ours = self.rights.iter().filter(|right| right.group == GROUP);
        ours.filter(|right| !right.resource.contains('/'))
            .map(|right| right.resource)
            .collect()
    }
}

/// Keeps the two gates as they have to be, for ever.
pub async fn keep(
    client: Client,
    needs: Needs,
    readiness: Readiness,
    watches: Watches,
) -> Infallible {
    let kinds = needs.kinds();
    let mut definitions = Standing::new(readiness.gate(needs.definitions_gate));
    let mut rights = Standing::new(readiness.gate(needs.rights_gate));
    loop {
        let (defined, allowed) = tokio::join!(
            definitions::missing(&client, (GROUP, VERSION), &kinds),
            forbidden(&client, &needs.rights),
        );
        definitions.is(defined);
        rights.is(allowed);
        let calm = definitions.is_calm() && rights.is_calm();
        let pause = if calm {
            CALM.max(Duration::from_secs(
                (needs.rights.len() / RIGHTS_A_SECOND) as u64,
            ))
        } else {
            SOON
        };
        let pause = pause.mul_f64(0.75 + chance::fraction() / 4.0);
        tokio::select! {
            () = sleep(pause) => {}
            // A watch that fails for good is looked into at once, but not more often than soon.
            () = watches.needs_somebody(), if calm => {}
        }
    }
}

async fn forbidden(client: &Client, wanted: &[Right]) -> kube::Result<Option<String>> {
    match rights::missing(client, wanted).await {
        Ok(missing) if missing.is_empty() => Ok(None),
        Ok(missing) => {
            let user = rights::user(client).await;
            Ok(Some(rights::sentence(&missing, user.as_deref())))
        }
        // `foredeck run` may not act as its roles.
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Some(format!(
            "can't ask what this process may: {}: install the chart's rights, and Kubernetes' own system:basic-user",
            one_line(&status.message)
        ))),
        Err(error) => Err(error),
    }
}

fn one_line(text: &str) -> String {
    let cleaned = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char });
    cleaned.take(300).collect()
}

/// One gate, and what was last known of it.
#[derive(Debug)]
struct Standing {
    gate: Gate,
    open: bool,
    /// What was last found to be wrong.
    found: Option<String>,
    told: String,
}

impl Standing {
    fn new(gate: Gate) -> Self {
        Self {
            gate,
            open: false,
            found: None,
            told: String::new(),
        }
    }

    /// Nothing is wrong, and that is known.
    fn is_calm(&self) -> bool {
        self.open && self.found.is_none() && self.told.is_empty()
    }

    fn is(&mut self, found: kube::Result<Option<String>>) {
        match found {
            Ok(None) => {
                if !std::mem::take(&mut self.told).is_empty() {
                    tracing::info!("nothing is missing any more");
                }
                self.found = None;
                self.open = true;
                self.gate.ready();
            }
            Ok(Some(missing)) => {
                let again = self.found.replace(missing.clone()).is_some();
                if self.open && !again {
                    return;
                }
                self.open = false;
                self.gate.not_ready(missing.clone());
                self.tell(&missing);
            }
            Err(error) => {
                let unknown = format!(
                    "the API server doesn't say: {}",
                    one_line(&telemetry::chain(&error))
                );
                if !self.open && self.found.is_none() {
                    self.gate.not_ready(unknown.clone());
                }
                self.tell(&unknown);
            }
        }
    }

    fn tell(&mut self, what: &str) {
        if self.told != what {
            what.clone_into(&mut self.told);
            tracing::warn!("{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> kube::Result<Option<String>> {
        Err(kube::Error::Service("connection refused".into()))
    }

    fn gate() -> (Readiness, Standing) {
        let readiness = Readiness::default();
        let standing = Standing::new(readiness.gate("rights"));
        (readiness, standing)
    }

    fn reason(readiness: &Readiness) -> String {
        let closed = readiness.closed();
        closed
            .first()
            .map(|(_, reason)| reason.clone())
            .unwrap_or_default()
    }

    #[test]
    fn what_is_missing_at_the_start_is_told_at_once_and_mended_at_once() {
        let (readiness, mut standing) = gate();
        standing.is(Ok(Some("a right".to_owned())));
        assert_eq!(reason(&readiness), "a right");
        standing.is(Ok(Some("another".to_owned())));
        assert_eq!(reason(&readiness), "another");
        // What is known stays known.
        standing.is(unreachable());
        assert_eq!(reason(&readiness), "another");
        assert!(!standing.is_calm());
        standing.is(Ok(None));
        assert!(readiness.closed().is_empty() && standing.is_calm());
    }

    #[test]
    fn what_was_there_is_missing_when_that_is_said_twice() {
        let (readiness, mut standing) = gate();
        standing.is(Ok(None));
        standing.is(Ok(Some("a right".to_owned())));
        assert!(readiness.closed().is_empty() && !standing.is_calm());
        standing.is(Ok(None));
        standing.is(Ok(Some("a right".to_owned())));
        assert!(readiness.closed().is_empty(), "once again");
        standing.is(Ok(Some("a right".to_owned())));
        assert_eq!(reason(&readiness), "a right");
    }

    #[test]
    fn an_api_server_that_does_not_answer_changes_nothing_once_it_has() {
        let (readiness, mut standing) = gate();
        standing.is(unreachable());
        assert!(reason(&readiness).contains("connection refused"));
        standing.is(Ok(None));
        standing.is(unreachable());
        assert!(readiness.closed().is_empty());
        assert!(!standing.is_calm(), "it is asked again soon");
    }
}
