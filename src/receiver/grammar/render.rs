//! Writes a meaning as a person would type it. Touches nothing.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ApplicationRef, CancelWhat, Draft, Intent, LockWhat, Until,
    normal::changes,
    parse::{TARGET_ACCOUNT, TARGET_NAMESPACE},
    table::is_connective,
    words::{AT, BEFORE, OVERRIDE, REASON, coloned},
};
use crate::api::deploy_request::{DEFAULT_ACTION, TargetOverride};

/// What a person would type behind the command to mean this: reading it again gives the same meaning, once
/// [`super::wire`] has made of it what Slack would send.
pub fn render(intent: &Intent) -> String {
    match intent {
        Intent::Act(act) => render_draft(&act.clone().into()),
        Intent::Form(draft) => render_draft(draft),
        Intent::Status {
            application: Some(application),
            environment: None,
        } => {
            // Alone and without quotes it could be read as the environment.
            format!("status {}", quoted(&application.to_string()))
        }
        Intent::Status {
            application,
            environment,
        } => question("status", application.as_ref(), environment.as_deref()),
        Intent::What { environment } => question("what", None, environment.as_deref()),
        Intent::History {
            application,
            environment,
        } => question("history", Some(application), environment.as_deref()),
        Intent::Why(what) => request("why", what),
        Intent::Lock(lock) => {
            let why = format!("{REASON}={}", quoted(&lock.reason));
            let until = lock.until.map(|until| match until {
                Until::For(time) => format!(" for {}", long(time)),
                Until::At(at) => format!(" until {at}"),
            });
            let what = guarded("lock", &lock.what);
            format!("{what} {why}{}", until.unwrap_or_default())
        }
        Intent::Unlock(what) => guarded("unlock", what),
        Intent::StopAll { reason } => format!("stop-all {REASON}={}", quoted(reason)),
        Intent::ResumeAll => "resume-all".to_owned(),
        Intent::Cancel(cancel) => {
            let mut text = request("cancel", &cancel.what);
            if let Some(reason) = &cancel.reason {
                text = format!("{text} {REASON}={}", quoted(reason));
            }
            text
        }
        Intent::Help { topic: Some(topic) } => format!("help {topic}"),
        Intent::Help { topic: None } => "help".to_owned(),
    }
}

/// As much as is known, in the order in which people say it.
pub fn render_draft(draft: &Draft) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(draft.action.clone());
    match (&draft.application, &draft.version, &draft.environment) {
        (Some(application), Some(version), None) => {
            // Alone behind the application it could be read as the environment.
            words.push(format!("{}@{}", application, value(version)));
        }
        (application, version, environment) => {
            words.extend(application.as_ref().map(reference));
            words.extend(version.as_deref().map(value));
            if let Some(environment) = environment {
                let connective = connective(draft.action.as_deref());
                words.push(format!("{connective} {}", value(environment)));
            }
        }
    }
    words.extend(elsewhere(draft.target.as_ref()));
    let mut pasted = BTreeMap::new();
    for (key, value) in &draft.parameters {
        let reserved = key.eq_ignore_ascii_case(REASON)
            || [TARGET_ACCOUNT, TARGET_NAMESPACE].contains(&key.as_str());
        if reserved || value.chars().any(changes) {
            pasted.insert(key, value);
        } else {
            words.push(format!("{key}={}", setting(value)));
        }
    }
    let terms = &draft.terms;
    words.extend(terms.not_before.map(|at| format!("{AT}{at}")));
    words.extend(terms.start_before.map(|before| format!("{BEFORE}{before}")));
    if let Some(why) = &terms.overriding {
        words.push(format!("{OVERRIDE}{}", quoted(why)));
    }
    if let Some(reason) = &draft.reason {
        words.push(format!("{REASON}={}", quoted(reason)));
    }
    if !pasted.is_empty() {
        words.push(json(&pasted));
    }
    words.join(" ")
}

/// Where else than the environment's own place.
fn elsewhere(target: Option<&TargetOverride>) -> Vec<String> {
    let Some(TargetOverride { account, namespace }) = target else {
        return Vec::new();
    };
    [(TARGET_ACCOUNT, account), (TARGET_NAMESPACE, namespace)]
        .into_iter()
        .filter_map(|(key, field)| Some(format!("{key}={}", setting(field.as_ref()?))))
        .collect()
}

fn request(verb: &str, what: &CancelWhat) -> String {
    match what {
        CancelWhat::Named(name) => format!("{verb} {}", reference(name)),
        CancelWhat::Target {
            application,
            environment,
        } => question(verb, Some(application), environment.as_deref()),
    }
}

/// What is locked, as it is said behind `lock` and `unlock`.
pub fn guarded(verb: &str, what: &LockWhat) -> String {
    match what {
        LockWhat::Environment { team, name } => {
            let team = team.as_ref().map(|team| format!("{team}/"));
            let name = format!("{}{name}", team.unwrap_or_default());
            format!("{verb} in {}", value(&name))
        }
        LockWhat::Target {
            application,
            environment,
            target,
        } => {
            let mut words = vec![question(verb, Some(application), Some(environment))];
            words.extend(elsewhere(target.as_ref()));
            words.join(" ")
        }
    }
}

/// `2h`, `1h30m`.
fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [
        ('h', seconds / 3600),
        ('m', seconds / 60 % 60),
        ('s', seconds % 60),
    ];
    let said = parts.iter().filter(|(_, number)| *number > 0);
    let said: Vec<String> = said
        .map(|(unit, number)| format!("{number}{unit}"))
        .collect();
    said.concat()
}

/// One deploys to an environment, and does anything else in it.
pub(super) fn connective(action: Option<&str>) -> &'static str {
    match action {
        None | Some(DEFAULT_ACTION) => "to",
        Some(_) => "in",
    }
}

fn question(verb: &str, application: Option<&ApplicationRef>, environment: Option<&str>) -> String {
    let mut words = vec![verb.to_owned()];
    words.extend(application.map(reference));
    words.extend(environment.map(|environment| format!("in {}", value(environment))));
    words.join(" ")
}

/// An application as a word that can't be taken for a verb's or a connective's place: a name that is one is quoted.
fn reference(application: &ApplicationRef) -> String {
    value(&application.to_string())
}

/// A word, in quotes where it could be taken for something else.
pub(super) fn value(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "._/:@+-#".contains(char);
    let bare = !text.is_empty()
        && text.chars().all(plain)
        && !text.starts_with('-')
        && !is_connective(text)
        && coloned(text).is_none();
    if bare { text.to_owned() } else { quoted(text) }
}

/// What stands behind `key=`.
fn setting(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "._/:@+-#,=".contains(char);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// JSON in which whatever isn't ASCII is escaped, so that nothing on its way changes it.
fn json(pairs: &BTreeMap<&String, &String>) -> String {
    let written = serde_json::to_string(pairs).unwrap_or_default();
    let mut units = [0; 2];
    written
        .chars()
        .flat_map(|char| {
            if char.is_ascii() {
                vec![char.to_string()]
            } else {
                char.encode_utf16(&mut units)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect()
            }
        })
        .collect()
}
