//! Freezes: which hold now, whether everything is stopped, and which nobody understands. Touches nothing.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::DeployFreeze,
    doctor::{
        page::{Finding, count, few, word},
        seen::Seen,
    },
    domain::{
        guards::freeze::{self, Window},
        moments::when,
    },
};

const CHECK: &str = "freezes";

/// Every freeze, those of foredeck's own namespace (`home`) among them.
pub fn freezes(seen: &Seen<Vec<DeployFreeze>>, home: &str, now: Timestamp) -> Vec<Finding> {
    let all = match seen {
        Ok(all) => all,
        Err(unseen) => return vec![unseen.line(CHECK, "The DeployFreezes")],
    };
    let (mut lines, mut on, mut next) = (Vec::new(), Vec::new(), Vec::new());
    for one in all {
        let created = one.creation_timestamp().map_or(now, |time| time.0.min(now));
        match freeze::window(&one.spec, created, now) {
            Err(error) => lines.push(unclear(one, &error.to_string())),
            Ok(window) if freeze::stops_everything(one, home, now) => {
                lines.extend(window.since.map(|since| stopped(one, home, since)));
            }
            Ok(window) => {
                on.extend(holding(one, &window));
                next.extend(window.next.map(|begins| (begins, place(one))));
            }
        }
    }
    on.sort();
    next.sort();
    let begins = next.first().map_or_else(String::new, |(begins, name)| {
        format!("; next begins {name} at {}", when(*begins))
    });
    let found = match (all.len(), on.len()) {
        (0, _) => "There are no DeployFreezes".to_owned(),
        (_, 0) => format!(
            "{}, none of which holds by its times now{begins}",
            count(all.len(), "DeployFreeze", "DeployFreezes")
        ),
        (_, holding) => format!(
            "{} now: {}{begins}",
            count(holding, "freeze holds", "freezes hold"),
            few(&on)
        ),
    };
    lines.push(Finding::ok(CHECK, &found));
    lines
}

fn stopped(one: &DeployFreeze, home: &str, since: Timestamp) -> Finding {
    let by = one.spec.by.as_ref();
    let by = by.map_or_else(String::new, |by| format!(" by {}", word(&by.username)));
    Finding::warn(
        CHECK,
        &format!(
            "Everything is stopped since {}{by}: {}",
            when(since),
            word(&one.spec.reason)
        ),
        &format!(
            "Whoever has the verb override on that DeployFreeze lifts it: /deploy resume-all, or kubectl delete df stop-all \
             --namespace {}",
            word(home)
        ),
    )
}

fn unclear(one: &DeployFreeze, why: &str) -> Finding {
    Finding::fail(
        CHECK,
        &format!(
            "{}: its times can't be understood, so that it holds all the time: {why}",
            place(one)
        ),
        "Correct its schedule, or delete it",
    )
}

fn holding(one: &DeployFreeze, window: &Window) -> Option<String> {
    window.since?;
    let until = window.until.map_or_else(
        || "until somebody lifts it".to_owned(),
        |until| format!("until {}", when(until)),
    );
    Some(format!(
        "{} ({until}: {})",
        place(one),
        word(&one.spec.reason)
    ))
}

fn place(one: &DeployFreeze) -> String {
    let namespace = one.namespace().unwrap_or_default();
    word(&format!("{namespace}/{}", one.name_any()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::{page::State, seen::Unseen};

    const NOW: &str = "2026-11-28T12:00:00Z";

    fn freeze(namespace: &str, name: &str, more: &Value) -> DeployFreeze {
        let mut spec = json!({"reason": "the weekend", "by": {"username": "alice"}});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "creationTimestamp": "2026-11-01T00:00:00Z"},
            "spec": spec,
        }))
        .unwrap()
    }

    fn told(all: Vec<DeployFreeze>) -> Vec<(State, String)> {
        let lines = freezes(&Ok(all), "home", NOW.parse().unwrap());
        lines
            .into_iter()
            .map(|line| (line.state, line.found))
            .collect()
    }

    #[test]
    fn what_holds_now_and_what_comes_next_is_one_line() {
        let weekend = json!({"schedule": {"cron": "0 18 * * 5", "duration": "61h"}});
        let later = json!({"from": "2026-12-24T00:00:00Z"});
        let over = json!({"until": "2026-11-27T00:00:00Z"});
        let lines = told(vec![
            freeze("shop", "weekend", &weekend),
            freeze("home", "christmas", &later),
            freeze("shop", "over", &over),
        ]);
        let (state, found) = &lines[0];
        assert_eq!((lines.len(), *state), (1, State::Ok), "{lines:?}");
        for part in [
            "1 freeze holds now: shop/weekend (until 2026-11-30 07:00 UTC: the weekend)",
            "next begins shop/weekend at 2026-12-04 18:00 UTC",
        ] {
            assert!(found.contains(part), "{part} in {found}");
        }
        let lines = told(vec![freeze("shop", "over", &over)]);
        assert!(
            lines[0]
                .1
                .starts_with("1 DeployFreeze, none of which holds"),
            "{lines:?}"
        );
        assert!(
            told(Vec::new())[0]
                .1
                .starts_with("There are no DeployFreezes")
        );
    }

    #[test]
    fn the_stop_button_is_a_warning_at_home_alone() {
        let lines = told(vec![freeze("home", "stop-all", &json!({}))]);
        assert_eq!(lines[0].0, State::Warn, "{lines:?}");
        assert!(
            lines[0].1.starts_with(
                "Everything is stopped since 2026-11-01 00:00 UTC by alice: the weekend"
            ),
            "{lines:?}"
        );
        let stop = freeze("home", "stop-all", &json!({}));
        let lines = freezes(&Ok(vec![stop]), "home", NOW.parse().unwrap());
        let todo = lines[0].todo.as_deref().unwrap_or_default();
        assert!(
            todo.ends_with("kubectl delete df stop-all --namespace home"),
            "{todo}"
        );
        let lines = told(vec![freeze("shop", "stop-all", &json!({}))]);
        assert_eq!((lines.len(), lines[0].0), (1, State::Ok), "{lines:?}");
        // One of that name that stops less is a freeze like any other.
        let partly = json!({"exceptActions": ["rollback"]});
        let lines = told(vec![freeze("home", "stop-all", &partly)]);
        assert_eq!((lines.len(), lines[0].0), (1, State::Ok), "{lines:?}");
        assert!(lines[0].1.contains("home/stop-all"), "{lines:?}");
    }

    #[test]
    fn what_nobody_understands_fails() {
        let odd = json!({"schedule": {"cron": "0 25 * * 5", "duration": "61h"}});
        let lines = told(vec![freeze("shop", "odd", &odd)]);
        assert_eq!(lines[0].0, State::Fail, "{lines:?}");
        assert!(
            lines[0]
                .1
                .contains("shop/odd: its times can't be understood")
        );
        assert!(lines[1].1.starts_with("1 DeployFreeze, none"), "{lines:?}");
    }

    #[test]
    fn what_nobody_may_list_is_skipped() {
        let right = Unseen::Forbidden {
            right: "list deployfreezes".to_owned(),
        };
        let lines = freezes(&Err(right), "home", NOW.parse().unwrap());
        assert_eq!(lines[0].state, State::Skip, "{lines:?}");
    }
}
