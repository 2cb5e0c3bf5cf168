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
//!
//! A role works for many namespaces, and a right that is missing in one of them, which may be gone, must not stop the others:
//! it is ready while it has all rights in at least one, and tells of the rest by log and metric.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use kube::Client;
use tokio::time::{Instant, sleep};

use super::{
    admin::{Gate, Readiness},
    chance, definitions,
    rights::{self, Lack, Right},
    telemetry,
    watches::Watches,
};
use crate::api::{GROUP, VERSION};

/// Between looks while something is missing, or isn't known.
const SOON: Duration = Duration::from_secs(4);
/// Between looks while all is well.
const CALM: Duration = Duration::from_secs(30);
/// The pause after asking for so many rights is a second at least.
const RIGHTS_A_SECOND: usize = 10;

/// What a role needs of the API server.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The gate that is open while the kinds are there.
    pub definitions_gate: &'static str,
    /// The gate that is open while the rights are.
    pub rights_gate: &'static str,
    /// The rights without which it can do nothing.
    pub rights: Vec<Right>,
    /// The rights in each place where it works. One place with all of them is enough for it to work there.
    pub places: Vec<Place>,
}

/// A place where a role works.
#[derive(Debug, Clone)]
pub struct Place {
    /// For people: `namespace shop`.
    pub said: String,
    /// What it takes to work there.
    pub rights: Vec<Right>,
}

impl Needs {
    /// All rights, wherever.
    pub fn all(&self) -> impl Iterator<Item = &Right> {
        let within = self.places.iter().flat_map(|place| &place.rights);
        self.rights.iter().chain(within)
    }

    fn kinds(&self) -> BTreeSet<&'static str> {
        let ours = self.all().filter(|right| right.group == GROUP);
        ours.filter(|right| !right.resource.contains('/'))
            .map(|right| right.resource)
            .collect()
    }

    /// Whether a role that lacks these can work somewhere.
    fn are_enough_without(&self, lacks: impl Fn(&Right) -> bool) -> bool {
        let whole = |rights: &[Right]| !rights.iter().any(&lacks);
        let somewhere = self.places.iter().any(|place| whole(&place.rights));
        whole(&self.rights) && (somewhere || self.places.is_empty())
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
    let mut inquiry = Inquiry::new(needs);
    loop {
        let (asked, whole) = inquiry.due(Instant::now());
        let (defined, answered) = tokio::join!(
            definitions::missing(&client, (GROUP, VERSION), &kinds),
            rights::lacking(&client, &asked),
        );
        let silent = defined.is_err() || answered.is_err();
        definitions.is(match defined {
            Ok(None) => Found::All,
            Ok(Some(missing)) => Found::Missing(missing),
            Err(error) => Found::Unknown(unanswered(&error)),
        });
        let found = match answered {
            Ok(lacking) => {
                inquiry.hear(lacking, whole, Instant::now());
                inquiry.tell(&watches);
                inquiry.found(&client).await
            }
            // `foredeck run` may not act as its roles.
            Err(kube::Error::Api(status)) if status.code == 403 => Found::Missing(format!(
                "can't ask what this process may: {}: install the chart's rights, and Kubernetes' own system:basic-user",
                one_line(&status.message)
            )),
            Err(error) => Found::Unknown(unanswered(&error)),
        };
        rights.is(found);
        let calm = definitions.is_calm() && rights.is_calm();
        let pause = inquiry.pause(calm, silent, rights.is_partial() && definitions.is_calm());
        let pause = pause.mul_f64(0.75 + chance::fraction() / 4.0);
        let refused = async {
            sleep(SOON).await;
            watches.needs_somebody().await;
        };
        tokio::select! {
            () = sleep(pause) => {}
            // A watch that is refused is looked into, though not more often than anything.
            () = refused, if calm => {}
        }
    }
}

fn unanswered(error: &kube::Error) -> String {
    format!(
        "the API server doesn't say: {}",
        one_line(&telemetry::chain(error))
    )
}

fn one_line(text: &str) -> String {
    let cleaned = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char });
    cleaned.take(300).collect()
}

/// How long it takes until so many rights may be asked for again.
fn scaled(least: Duration, rights: usize) -> Duration {
    least.max(Duration::from_secs((rights / RIGHTS_A_SECOND) as u64))
}

/// Which rights are asked for when, and what is known of them.
///
/// What is missing is asked for until it appears; all the rest only as often as when all is well.
#[derive(Debug)]
struct Inquiry {
    needs: Needs,
    lacking: Vec<(Right, Lack)>,
    /// When all were last asked for.
    whole_at: Option<Instant>,
    /// How often in a row nothing better was heard.
    in_vain: u32,
}

impl Inquiry {
    fn new(needs: Needs) -> Self {
        Self {
            needs,
            lacking: Vec::new(),
            whole_at: None,
            in_vain: 0,
        }
    }

    /// What to ask for now, and whether that is all.
    fn due(&self, now: Instant) -> (Vec<Right>, bool) {
        let calm = scaled(CALM, self.needs.all().count());
        let fresh = self.whole_at.is_some_and(|at| now - at < calm);
        if fresh && !self.lacking.is_empty() {
            let lacking = self.lacking.iter().map(|(right, _)| right.clone());
            (lacking.collect(), false)
        } else {
            (self.needs.all().cloned().collect(), true)
        }
    }

    fn hear(&mut self, lacking: Vec<(Right, Lack)>, whole: bool, now: Instant) {
        if whole {
            self.whole_at = Some(now);
        }
        self.lacking = lacking;
    }

    /// How many rights are missing where.
    fn tell(&self, watches: &Watches) {
        for place in &self.needs.places {
            let missing = place.rights.iter().filter(|right| self.lacks(right, false));
            watches.miss(self.needs.rights_gate, &place.said, missing.count());
        }
    }

    fn lacks(&self, right: &Right, or_unknown: bool) -> bool {
        self.lacking.iter().any(|(lacking, lack)| {
            lacking == right && (or_unknown || matches!(lack, Lack::Missing))
        })
    }

    async fn found(&self, client: &Client) -> Found {
        let missing = self.missing();
        let user = if missing.is_empty() {
            None
        } else {
            rights::user(client).await
        };
        self.judge(&missing, user.as_deref())
    }

    fn missing(&self) -> Vec<Right> {
        let missing = self.lacking.iter();
        missing
            .filter(|(_, lack)| matches!(lack, Lack::Missing))
            .map(|(right, _)| right.clone())
            .collect()
    }

    fn judge(&self, missing: &[Right], user: Option<&str>) -> Found {
        let unknown = self.lacking.iter().find_map(|(_, lack)| match lack {
            Lack::Unknown(why) => Some(format!(
                "the API server doesn't say what this process may: {}",
                one_line(why)
            )),
            Lack::Missing => None,
        });
        let sentence = || rights::sentence(missing, user);
        let enough = |or_unknown| {
            self.needs
                .are_enough_without(|right| self.lacks(right, or_unknown))
        };
        match unknown {
            None if missing.is_empty() => Found::All,
            _ if !enough(false) => Found::Missing(sentence()),
            unknown if !enough(true) => Found::Unknown(unknown.unwrap_or_default()),
            Some(unknown) if missing.is_empty() => Found::Enough(unknown),
            _ => Found::Enough(format!(
                "{}; where nothing is missing, work goes on",
                sentence()
            )),
        }
    }

    /// Until the next look. It grows while nobody answers, and while what is missing stops only a part.
    fn pause(&mut self, calm: bool, silent: bool, partial: bool) -> Duration {
        let all = self.needs.all().count();
        if calm {
            self.in_vain = 0;
            return scaled(CALM, all);
        }
        self.in_vain = if silent || partial {
            self.in_vain.saturating_add(1)
        } else {
            0
        };
        let (next, _) = self.due(Instant::now() + SOON);
        let grown = (SOON * 2_u32.saturating_pow(self.in_vain.saturating_sub(1).min(8))).min(CALM);
        scaled(grown, next.len())
    }
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// Nothing is missing.
    All,
    /// Something is missing, and the rest is of use without it.
    Enough(String),
    /// Something is missing without which nothing works.
    Missing(String),
    /// The API server doesn't say.
    Unknown(String),
}

/// One gate, and what was last known of it.
#[derive(Debug)]
struct Standing {
    gate: Gate,
    open: bool,
    /// What was last found to be wrong.
    found: Option<String>,
    told: Option<Found>,
}

impl Standing {
    fn new(gate: Gate) -> Self {
        Self {
            gate,
            open: false,
            found: None,
            told: None,
        }
    }

    /// Nothing is wrong, and that is known.
    fn is_calm(&self) -> bool {
        self.open && self.found.is_none() && self.told.is_none()
    }

    /// It works, and not everywhere.
    fn is_partial(&self) -> bool {
        self.open && self.found.is_none() && matches!(self.told, Some(Found::Enough(_)))
    }

    fn is(&mut self, found: Found) {
        match &found {
            Found::All => {
                match self.told.take() {
                    None => {}
                    Some(Found::Unknown(_)) => {
                        tracing::info!("the API server answers again, and nothing is missing");
                    }
                    Some(_) => tracing::info!("nothing is missing any more"),
                }
                self.works();
            }
            Found::Enough(_) => {
                self.works();
                self.tell(found);
            }
            Found::Missing(missing) => {
                let again = self.found.replace(missing.clone()).is_some();
                if self.open && !again {
                    return;
                }
                self.open = false;
                self.gate.not_ready(missing.clone());
                self.tell(found);
            }
            Found::Unknown(unknown) => {
                if !self.open && self.found.is_none() {
                    self.gate.not_ready(unknown.clone());
                }
                self.tell(found);
            }
        }
    }

    fn works(&mut self) {
        self.found = None;
        self.open = true;
        self.gate.ready();
    }

    fn tell(&mut self, found: Found) {
        if self.told.as_ref() == Some(&found) {
            return;
        }
        if let Found::Enough(what) | Found::Missing(what) | Found::Unknown(what) = &found {
            tracing::warn!("{what}");
        }
        self.told = Some(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Found {
        Found::Unknown(unanswered(&kube::Error::Service(
            "connection refused".into(),
        )))
    }

    fn missing(what: &str) -> Found {
        Found::Missing(what.to_owned())
    }

    fn right(resource: &'static str, namespace: Option<&str>) -> Right {
        Right {
            verb: "list",
            group: GROUP,
            resource,
            namespace: namespace.map(str::to_owned),
            name: None,
        }
    }

    fn inquiry(namespaces: &[&str]) -> Inquiry {
        let places = namespaces.iter().map(|namespace| Place {
            said: format!("namespace {namespace}"),
            rights: ["applications", "deployrequests"]
                .map(|resource| right(resource, Some(namespace)))
                .into(),
        });
        Inquiry::new(Needs {
            definitions_gate: "definitions",
            rights_gate: "rights",
            rights: vec![right("persons", Some("home"))],
            places: places.collect(),
        })
    }

    fn judged(inquiry: &Inquiry) -> Found {
        inquiry.judge(&inquiry.missing(), Some("somebody"))
    }

    #[test]
    fn one_place_with_all_rights_is_enough() {
        let mut inquiry = inquiry(&["a", "b"]);
        let now = Instant::now();
        let lacks = |resource, place| (right(resource, Some(place)), Lack::Missing);
        assert_eq!(judged(&inquiry), Found::All);
        inquiry.hear(vec![lacks("applications", "b")], true, now);
        let Found::Enough(said) = judged(&inquiry) else {
            panic!("{:?}", judged(&inquiry));
        };
        assert!(
            said.contains("in namespace b: forbidden for somebody"),
            "{said}"
        );
        let nowhere = vec![lacks("applications", "b"), lacks("deployrequests", "a")];
        inquiry.hear(nowhere, true, now);
        assert!(matches!(judged(&inquiry), Found::Missing(_)));
        inquiry.hear(vec![lacks("persons", "home")], true, now);
        assert!(matches!(judged(&inquiry), Found::Missing(_)));
    }

    #[test]
    fn what_could_not_be_judged_is_unknown_and_not_missing() {
        let mut inquiry = inquiry(&["a", "b"]);
        let unknown = |place| {
            let why = "clusterrole not found".to_owned();
            (right("applications", Some(place)), Lack::Unknown(why))
        };
        let now = Instant::now();
        inquiry.hear(vec![unknown("a"), unknown("b")], true, now);
        let Found::Unknown(said) = judged(&inquiry) else {
            panic!("{:?}", judged(&inquiry));
        };
        assert!(said.contains("clusterrole not found"), "{said}");
        inquiry.hear(vec![unknown("b")], true, now);
        assert!(matches!(judged(&inquiry), Found::Enough(_)));
    }

    #[test]
    fn only_what_is_missing_is_asked_for_until_it_appears() {
        let many: Vec<String> = (0..100).map(|number| format!("team-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut inquiry = inquiry(&many);
        let now = Instant::now();
        let all = inquiry.due(now).0.len();
        assert_eq!(all, 201);
        let lacking = vec![(right("persons", Some("home")), Lack::Missing)];
        inquiry.hear(lacking, true, now);
        assert_eq!(inquiry.due(now).0.len(), 1);
        assert_eq!(inquiry.pause(false, false, false), SOON);
        assert!(inquiry.due(now + CALM).1, "the others are not forgotten");
        inquiry.hear(Vec::new(), false, now);
        assert_eq!(inquiry.due(now).0.len(), all);
        assert_eq!(inquiry.pause(false, false, false), Duration::from_secs(20));
    }

    #[test]
    fn who_does_not_answer_is_asked_ever_less_often() {
        let mut inquiry = inquiry(&["a"]);
        let pauses = [(); 5].map(|()| inquiry.pause(false, true, false));
        assert_eq!(pauses.map(|pause| pause.as_secs()), [4, 8, 16, 30, 30]);
        assert_eq!(inquiry.pause(true, false, false), CALM);
        assert_eq!(inquiry.pause(false, true, false), SOON);
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
        standing.is(missing("a right"));
        assert_eq!(reason(&readiness), "a right");
        standing.is(missing("another"));
        assert_eq!(reason(&readiness), "another");
        // What is known stays known.
        standing.is(unreachable());
        assert_eq!(reason(&readiness), "another");
        assert!(!standing.is_calm());
        standing.is(Found::All);
        assert!(readiness.closed().is_empty() && standing.is_calm());
    }

    #[test]
    fn what_was_there_is_missing_when_that_is_said_twice() {
        let (readiness, mut standing) = gate();
        standing.is(Found::All);
        standing.is(missing("a right"));
        assert!(readiness.closed().is_empty() && !standing.is_calm());
        standing.is(Found::All);
        standing.is(missing("a right"));
        assert!(readiness.closed().is_empty(), "once again");
        standing.is(missing("a right"));
        assert_eq!(reason(&readiness), "a right");
    }

    #[test]
    fn an_api_server_that_does_not_answer_changes_nothing_once_it_has() {
        let (readiness, mut standing) = gate();
        standing.is(unreachable());
        assert!(reason(&readiness).contains("connection refused"));
        standing.is(Found::All);
        standing.is(unreachable());
        assert!(readiness.closed().is_empty());
        assert!(!standing.is_calm(), "it is asked again soon");
    }
}
