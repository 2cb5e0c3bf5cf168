//! Freezes: when one holds, whom it holds, and what it says. Touches nothing.

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use super::schedule::ScheduleError;
use super::{Closed, schedule::Rhythm, soonest, told};
use crate::{
    api::{
        DeployFreeze,
        conditions::Reason,
        deploy_freeze::{DeployFreezeSpec, Running, STOP_ALL},
        deploy_request::WaitingFor,
        selector::LabelSelector,
    },
    domain::{
        moments::when,
        refusal::Refusal,
        selector::{self, Labels},
        wildcard,
    },
};

/// When a freeze holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Since when it holds now; `None` while it doesn't.
    pub since: Option<Timestamp>,
    /// Until when it holds now; `None` while it doesn't, or where nobody knows.
    pub until: Option<Timestamp>,
    /// When it begins next.
    pub next: Option<Timestamp>,
}

/// What a freeze is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The request's namespace.
    pub namespace: &'a str,
    /// Its labels; `None` where they can't be read.
    pub namespace_labels: Option<&'a Labels>,
    /// The Application's name.
    pub application: &'a str,
    /// Its labels; `None` where it isn't there.
    pub application_labels: Option<&'a Labels>,
    /// The Environment's name.
    pub environment: &'a str,
    /// Its labels; `None` where it isn't there.
    pub environment_labels: Option<&'a Labels>,
    /// The action.
    pub action: &'a str,
}

/// All freezes that may concern a request, as they are known.
#[derive(Debug, Clone, Default)]
pub struct Freezes {
    /// Those of its namespace and of foredeck's own.
    pub all: Vec<Arc<DeployFreeze>>,
    /// foredeck's own namespace.
    pub home: String,
    /// Why some of them can't be read, a sentence: then everything is held.
    pub unreadable: Option<String>,
}

/// Whether a freeze is about something; what has several parts is as the least of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// It isn't.
    No,
    /// It can't be said: labels that it selects by aren't known, or its selector says nothing valid. Then it holds, and
    /// cancels nothing.
    Unknown,
    /// It is.
    Yes,
}

/// A freeze that holds something now.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// Which.
    pub freeze: Arc<DeployFreeze>,
    /// Whether it is about it, or that can't be said.
    pub about: About,
    /// When; or why its times can't be understood, so that it holds all the time.
    pub window: Result<Window, ScheduleError>,
}

/// What freezes say of something at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Those that hold it: the stop button before all, those that are about it before those of which that can't be said,
    /// and then the one that lasts longest.
    pub holding: Vec<Holding>,
    /// When one of them ends by itself, or the next one begins.
    pub changes_at: Option<Timestamp>,
}

/// When it holds, from when it was created.
///
/// It is bounded whatever the schedule says: a window that goes on for more than 400 of its dates goes on for ever.
///
/// # Errors
/// Where its schedule can't be understood, or never comes.
pub fn window(
    spec: &DeployFreezeSpec,
    created: Timestamp,
    now: Timestamp,
) -> Result<Window, ScheduleError> {
    let rhythm = spec.schedule.as_ref().map(Rhythm::new).transpose()?;
    let begins = spec.from.as_ref().map_or(created, |from| from.0);
    let ends = spec.until.as_ref().map(|until| until.0);
    let in_time = |moment: &Timestamp| ends.is_none_or(|ends| *moment < ends);
    let at = |moment: Timestamp| match &rhythm {
        Some(rhythm) => rhythm.at(moment, begins),
        None => Window {
            since: Some(begins),
            ..Window::default()
        },
    };
    if !in_time(&now) {
        return Ok(Window::default());
    }
    if now < begins {
        let first = at(begins);
        let next = first.since.map(|_| begins).or(first.next);
        return Ok(Window {
            next: next.filter(in_time),
            ..Window::default()
        });
    }
    let found = at(now);
    Ok(Window {
        since: found.since.map(|since| since.max(begins)),
        until: found
            .since
            .and_then(|_| soonest([found.until, ends].into_iter().flatten())),
        next: found.next.filter(in_time),
    })
}

/// Whether it is about this, whenever it holds.
pub fn about(freeze: &DeployFreeze, subject: Subject<'_>, home: &str) -> About {
    let spec = &freeze.spec;
    let namespace = freeze.metadata.namespace.as_deref();
    let place = if namespace == Some(home) {
        labelled(spec.namespace_selector.as_ref(), subject.namespace_labels)
    } else {
        About::whether(namespace == Some(subject.namespace))
    };
    let action = |actions: &[String]| actions.iter().any(|action| action == subject.action);
    let names = (spec.actions.is_empty() || action(&spec.actions))
        && !action(&spec.except_actions)
        && named(&spec.applications, subject.application)
        && named(&spec.environments, subject.environment);
    let application = labelled(
        spec.application_selector.as_ref(),
        subject.application_labels,
    );
    let environment = labelled(
        spec.environment_selector.as_ref(),
        subject.environment_labels,
    );
    place
        .min(About::whether(names))
        .min(application)
        .min(environment)
}

fn named(patterns: &[String], name: &str) -> bool {
    patterns.is_empty() || wildcard::any_matches(patterns, name)
}

fn labelled(selector: Option<&LabelSelector>, labels: Option<&Labels>) -> About {
    match (selector, labels) {
        (None, _) => About::Yes,
        (Some(selector), _) if selector::selects_all(selector) => About::Yes,
        (Some(selector), Some(labels)) if selector::is_valid(selector) => {
            About::whether(selector::selects(selector, labels))
        }
        (Some(_), _) => About::Unknown,
    }
}

/// Since when and until when it holds now, and when it begins next.
fn times(freeze: &DeployFreeze, now: Timestamp) -> Result<Window, ScheduleError> {
    let created = freeze.metadata.creation_timestamp.as_ref();
    // One that was just made holds already.
    let created = created.map_or(now, |created| created.0.min(now));
    window(&freeze.spec, created, now)
}

/// Whether it holds at the moment of this. What can't be understood holds all the time.
fn holds(window: &Result<Window, ScheduleError>) -> bool {
    window
        .as_ref()
        .map_or(true, |window| window.since.is_some())
}

/// What freezes say of this now.
pub fn verdict(freezes: &Freezes, subject: Subject<'_>, now: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    for freeze in &freezes.all {
        let about = about(freeze, subject, &freezes.home);
        if about == About::No {
            continue;
        }
        let window = times(freeze, now);
        if let Ok(window) = &window {
            verdict.changes_at = soonest(
                [verdict.changes_at, window.until, window.next]
                    .into_iter()
                    .flatten(),
            );
        }
        if holds(&window) {
            verdict.holding.push(Holding {
                freeze: Arc::clone(freeze),
                about,
                window,
            });
        }
    }
    verdict.holding.sort_by_key(|holding| {
        let until = holding.until().unwrap_or(Timestamp::MAX);
        let stops = is_stop_button(&holding.freeze.metadata, &freezes.home);
        (
            Reverse(stops),
            Reverse(holding.about),
            Reverse(until),
            name(&holding.freeze),
        )
    });
    verdict
}

/// Why a freeze keeps this from starting now: the first is told, with the number of the others. One whose times can't be
/// understood holds all the time.
pub fn closed(freezes: &Freezes, subject: Subject<'_>, now: Timestamp) -> Option<Closed> {
    verdict(freezes, subject, now).closed(freezes)
}

/// Whether it is the freeze that the stop button makes, where foredeck's own namespace is `home`. Somebody may have made one of
/// that name that stops less: see [`stops_everything`].
pub fn is_stop_button(freeze: &ObjectMeta, home: &str) -> bool {
    freeze.name.as_deref() == Some(STOP_ALL) && freeze.namespace.as_deref() == Some(home)
}

/// Whether it names nothing, and so is about everything that its namespace reaches.
pub fn names_nothing(spec: &DeployFreezeSpec) -> bool {
    let all = |selector: Option<&LabelSelector>| selector.is_none_or(selector::selects_all);
    spec.applications.is_empty()
        && all(spec.application_selector.as_ref())
        && spec.environments.is_empty()
        && all(spec.environment_selector.as_ref())
        && spec.actions.is_empty()
        && spec.except_actions.is_empty()
        && all(spec.namespace_selector.as_ref())
}

/// Whether the stop button is on, and this is it: nothing starts anywhere now.
pub fn stops_everything(freeze: &DeployFreeze, home: &str, now: Timestamp) -> bool {
    is_stop_button(&freeze.metadata, home)
        && names_nothing(&freeze.spec)
        && holds(&times(freeze, now))
}

impl About {
    fn whether(it_is: bool) -> Self {
        if it_is { Self::Yes } else { Self::No }
    }
}

impl Freezes {
    /// Whether any of them hangs on the labels of the namespace of what is judged: only those of foredeck's own namespace reach
    /// beyond it, and that namespace is selected like any other.
    pub fn asks_for_labels(&self) -> bool {
        self.all.iter().any(|freeze| {
            freeze.metadata.namespace.as_deref() == Some(&*self.home)
                && freeze.spec.namespace_selector.is_some()
        })
    }
}

impl Verdict {
    /// As [`closed`].
    pub fn closed(&self, freezes: &Freezes) -> Option<Closed> {
        if let Some(unreadable) = &freezes.unreadable {
            let message = format!(
                "Held: whether a freeze is on can't be said, so nothing starts. {} It is tried again.",
                sentence(unreadable)
            );
            return Some(Closed {
                refusal: Refusal::passing(WaitingFor::Freeze, Reason::GuardsUnknown, message),
                until: None,
            });
        }
        let first = self.holding.first()?;
        let more = match self.holding.len() - 1 {
            0 => String::new(),
            1 => " One more freeze holds it too.".to_owned(),
            more => format!(" {more} more freezes hold it too."),
        };
        let ends: Option<Vec<Timestamp>> = self.holding.iter().map(Holding::until).collect();
        let reason = match first.about {
            About::Unknown => Reason::GuardsUnknown,
            About::Yes | About::No => Reason::Frozen,
        };
        Some(Closed {
            refusal: Refusal::passing(
                WaitingFor::Freeze,
                reason,
                format!("{}{more}", first.says(&freezes.home)),
            ),
            until: ends.and_then(|ends| ends.into_iter().max()),
        })
    }

    /// Why a freeze cancels what runs, where one does: only one whose times are understood and that is certainly about it.
    pub fn running(&self, freezes: &Freezes) -> Option<Refusal> {
        let holding = self.holding.iter().find(|holding| {
            holding.freeze.spec.running == Running::Cancel
                && holding.about == About::Yes
                && holding.window.is_ok()
        })?;
        Some(Refusal::permanent(
            Reason::Frozen,
            format!(
                "it is cancelled: {} began, and cancels what runs (spec.running), saying {}.{}",
                holding.named(&freezes.home),
                told(&holding.freeze.spec.reason),
                holding.contact()
            ),
        ))
    }
}

impl Holding {
    /// Until when; `None` where nobody knows.
    pub fn until(&self) -> Option<Timestamp> {
        self.window.as_ref().ok()?.until
    }

    /// Who, why, until when, and how to go on.
    pub fn says(&self, home: &str) -> String {
        let spec = &self.freeze.spec;
        let until = match (&self.window, self.until()) {
            (Err(problem), _) => format!(
                "It holds all the time, since its times can't be understood: {problem}; whoever may change it can mend it."
            ),
            (Ok(_), Some(until)) => format!("It ends {}.", when(until)),
            (Ok(_), None) if is_stop_button(&self.freeze.metadata, home) => {
                "It stays until somebody with the verb `override` on it lifts it.".to_owned()
            }
            (Ok(_), None) => "It stays until somebody changes or deletes it.".to_owned(),
        };
        let (named, reason) = (self.named(home), told(&spec.reason));
        let why = match self.about {
            About::Unknown => format!(
                "whether {named} is about this can't be said, since labels that it selects by aren't known, or its selector says nothing valid; so it holds. It says {reason}."
            ),
            About::Yes | About::No => format!("{named} says {reason}."),
        };
        format!("Held: {why} {until}{} {}", self.contact(), super::PASS)
    }

    fn contact(&self) -> String {
        let contact = self.freeze.spec.contact.as_deref();
        contact
            .map(|contact| format!(" Ask {}.", told(contact)))
            .unwrap_or_default()
    }

    fn named(&self, home: &str) -> String {
        let by = self.freeze.spec.by.as_ref();
        let by = by
            .map(|by| format!(" by `{}`", by.username))
            .unwrap_or_default();
        if is_stop_button(&self.freeze.metadata, home) {
            return format!("the stop button{by}");
        }
        let namespace = self
            .freeze
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default();
        format!("freeze `{}` in `{namespace}`{by}", name(&self.freeze))
    }
}

fn name(freeze: &DeployFreeze) -> String {
    freeze.metadata.name.clone().unwrap_or_default()
}

fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    format!("{text}.")
}

#[cfg(test)]
#[path = "freeze_tests.rs"]
mod tests;
