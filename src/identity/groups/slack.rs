//! Groups from Slack's user groups. Touches Slack (`usergroups.list`) and the clock.
//!
//! One list says it for everybody, so it is asked for at most once a minute, and ten seconds after Slack tells of a
//! change. In many workspaces every member may edit user groups: whoever turns this on must have that restricted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{Asked, GroupPrefix, GroupSource, Groups, Unknown};
use crate::{
    runtime::telemetry,
    slack::{
        client::{SlackClient, SlackError, UserGroup},
        ids::UserId,
    },
};

/// What it is called in a `Person`.
pub const NAME: &str = "slack";
/// How often the list is asked for.
const EVERY: Duration = Duration::from_mins(1);
/// After a change that Slack told of, at the soonest so long after the list was last asked for: changes come in flocks.
const AFTER_CHANGE: Duration = Duration::from_secs(10);

/// The user groups of the workspace.
pub struct SlackGroups {
    slack: SlackClient,
    prefix: GroupPrefix,
    every: Duration,
    clock: fn() -> Timestamp,
    state: Mutex<State>,
}

type Asking = Shared<BoxFuture<'static, Result<Arc<List>, SlackError>>>;

#[derive(Default)]
struct State {
    list: Option<Arc<List>>,
    changed_at: Option<Timestamp>,
    /// The first change that the list may lack.
    lacking_since: Option<Timestamp>,
    /// The last question: when it was begun, and what comes of it.
    asked: Option<(Instant, Asking)>,
    /// Something changed since it was begun.
    outdated: bool,
}

/// Who is in what.
#[derive(Debug)]
struct List {
    handles: HashMap<UserId, Vec<String>>,
    at: Timestamp,
}

impl SlackGroups {
    /// The user groups, each with `prefix`. `limit` is how old what is known may be at most.
    pub fn new(
        slack: SlackClient,
        prefix: GroupPrefix,
        limit: Duration,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            slack,
            prefix,
            every: EVERY.min(limit / 6),
            clock,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The question that is under way, or was answered a moment ago; else a new one. It goes on when nobody waits for it.
    fn asking(&self) -> Asking {
        let now = Instant::now();
        let mut state = self.lock();
        let mut from = now;
        if let Some((began, asking)) = &state.asked {
            if now < *began {
                // It will see whatever changed.
                return asking.clone();
            }
            let pause = if state.outdated {
                AFTER_CHANGE.min(self.every)
            } else {
                self.every
            };
            if !state.outdated && (asking.peek().is_none() || now < *began + pause) {
                return asking.clone();
            }
            from = from.max(*began + pause);
        }
        state.outdated = false;
        let (slack, clock) = (self.slack.clone(), self.clock);
        let asking = async move {
            sleep_until(from).await;
            let at = clock();
            match slack.user_groups().await {
                Ok(groups) => Ok(Arc::new(List::new(&groups, at))),
                Err(error) => {
                    tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "Slack doesn't say who is in which user group");
                    Err(error)
                }
            }
        };
        let asking = asking.boxed().shared();
        tokio::spawn(asking.clone());
        state.asked = Some((from, asking.clone()));
        asking
    }

    fn of(&self, list: &List, who: &Asked) -> Groups {
        let handles = list.handles.get(&who.user).into_iter().flatten();
        self.prefix.groups(handles.map(String::as_str), list.at)
    }
}

impl State {
    fn learn(&mut self, list: Arc<List>) {
        // Of several changes only the last one's time is kept: what came before the list is in it.
        let lacks = self.changed_at.is_some_and(|changed| changed > list.at);
        self.lacking_since = self
            .lacking_since
            .filter(|_| lacks)
            .map(|since| since.max(list.at));
        self.list = Some(list);
    }
}

impl List {
    fn new(groups: &[UserGroup], at: Timestamp) -> Self {
        let mut handles: HashMap<UserId, Vec<String>> = HashMap::new();
        for group in groups.iter().filter(|group| group.is_active()) {
            // What can't be a handle is counted as left out.
            let handle = if is_handle(&group.handle) {
                group.handle.as_str()
            } else {
                ""
            };
            for user in &group.users {
                let of_user = handles.entry(user.clone()).or_default();
                of_user.push(handle.to_owned());
            }
        }
        Self { handles, at }
    }
}

/// What Slack lets people choose, and no more: whatever else comes is somebody's trick.
fn is_handle(text: &str) -> bool {
    (1..=80).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        })
}

impl GroupSource for SlackGroups {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fresh_for(&self) -> Duration {
        self.every
    }

    fn changed_at(&self) -> Option<Timestamp> {
        self.lock().changed_at
    }

    fn lacking_since(&self) -> Option<Timestamp> {
        self.lock().lacking_since
    }

    fn remembered<'a>(&'a self, who: &'a Asked) -> BoxFuture<'a, Option<Groups>> {
        let list = self.lock().list.clone();
        async move { list.map(|list| self.of(&list, who)) }.boxed()
    }

    fn ask<'a>(&'a self, who: &'a Asked) -> BoxFuture<'a, Result<Groups, Unknown>> {
        async move {
            let list = self.asking().await.map_err(|error| unknown(&error))?;
            let groups = self.of(&list, who);
            let mut state = self.lock();
            if state.list.as_ref().is_none_or(|known| known.at <= list.at) {
                state.learn(list);
            }
            Ok(groups)
        }
        .boxed()
    }

    fn changed(&self) {
        let mut state = self.lock();
        let now = (self.clock)();
        state.changed_at = Some(now);
        state.lacking_since.get_or_insert(now);
        state.outdated = true;
    }
}

fn unknown(error: &SlackError) -> Unknown {
    let reason = error.reason();
    match reason {
        "missing_scope" => Unknown::until_mended(
            reason,
            "Slack doesn't show user groups to this app: it lacks the scope `usergroups:read`",
        ),
        "plan_upgrade_required" => Unknown::until_mended(
            reason,
            "Slack has no user groups on this workspace's plan; whoever runs foredeck can leave out `--slack-groups`",
        ),
        _ if matches!(error, SlackError::Stop { .. }) => {
            Unknown::until_mended(reason, "Slack doesn't show user groups to this app")
        }
        _ => Unknown::for_now(reason, "Slack doesn't say who is in which user group"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_known_to_lack_what_changed_after_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let list = |second| Arc::new(List::new(&[], at(second)));
        let mut state = State {
            changed_at: Some(at(20)),
            lacking_since: Some(at(10)),
            ..State::default()
        };
        state.learn(list(15));
        assert_eq!(state.lacking_since, Some(at(15)));
        state.learn(list(20));
        assert_eq!(state.lacking_since, None);
    }

    #[test]
    fn only_handles_that_slack_gives_become_groups() {
        let group = |handle: &str, deleted: u64| -> UserGroup {
            serde_json::from_value(json!({
                "id": "S1", "handle": handle, "date_delete": deleted, "users": ["U1", "not an id"],
            }))
            .unwrap()
        };
        let groups = [
            group("shop-leads", 0),
            group("old", 1),
            group("x:masters", 0),
            group("Shop Leads", 0),
            group("", 0),
            group("a\u{202e}b", 0),
        ];
        let list = List::new(&groups, Timestamp::UNIX_EPOCH);
        let handles = &list.handles[&UserId::new("U1").unwrap()];
        let prefix: GroupPrefix = "slack:".parse().unwrap();
        let found = prefix.groups(handles.iter().map(String::as_str), list.at);
        assert_eq!(found.names, ["slack:shop-leads"]);
        assert!(found.note.unwrap().starts_with("4 left out"));
        assert_eq!(list.handles.len(), 1);
    }
}
