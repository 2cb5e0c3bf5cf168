//! Everything the stand-in knows: pipeline configs, executions and the clock that moves them.
//!
//! Nothing runs in the background: whoever looks at the world first lets everything happen that was due, each step at
//! its own time. So a thousand executions cost nothing while nobody asks, and what is read is always exact.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use ulid::Ulid;

use super::execution::{Execution, Status, Step};
use super::ledger::Ledger;

/// How long the stand-in takes for things. The default is quick; [`Timing::measured`] is what a real installation does.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between the check of a start and its storing; a second start of the same id within it tears the execution.
    pub acceptance: Duration,
    /// From storing to RUNNING.
    pub begin: Duration,
    /// From a stage's or task's turn to its task being RUNNING; a judgment within it is lost.
    pub task_start: Duration,
    /// A task that has nothing to wait for.
    pub task: Duration,
    /// From a cancellation to CANCELED.
    pub cancel: Duration,
    /// From a judgment or a skipped wait to the stage's end.
    pub judgment: Duration,
    /// For how long after a stage's restart the old state is still read.
    pub restart_staleness: Duration,
    /// From a child's end to its parent noticing.
    pub child_poll: Duration,
    /// How long Gate thinks before the refusals that it retries inside.
    pub refusal: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            acceptance: Duration::from_millis(5),
            begin: Duration::from_millis(5),
            task_start: Duration::from_millis(5),
            task: Duration::from_millis(5),
            cancel: Duration::from_millis(20),
            judgment: Duration::from_millis(10),
            restart_staleness: Duration::from_millis(80),
            child_poll: Duration::from_millis(20),
            refusal: Duration::from_millis(50),
        }
    }
}

impl Timing {
    /// What Gate 2026.1.2 with one Orca on two cores was measured to take.
    pub fn measured() -> Self {
        Self {
            acceptance: Duration::from_millis(25),
            begin: Duration::from_millis(50),
            task_start: Duration::from_millis(50),
            task: Duration::from_millis(110),
            cancel: Duration::from_millis(430),
            judgment: Duration::from_millis(110),
            restart_staleness: Duration::from_millis(80),
            child_poll: Duration::from_secs(15),
            refusal: Duration::from_millis(1_500),
        }
    }
}

/// Milliseconds of a duration; the stand-in counts time in them, as Spinnaker does.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
pub(super) struct World {
    epoch: u64,
    started: Instant,
    salt: u128,
    sequence: u64,
    last_build_time: u64,
    pub(super) timing: Timing,
    pub(super) configs: BTreeMap<String, Value>,
    pub(super) executions: HashMap<String, Execution>,
    /// Execution ids by config, ordered as SQL orders them: by text, so lower-case ids stay on top for ever.
    pub(super) by_config: HashMap<String, BTreeSet<String>>,
    /// Correlation ids; they dedupe as long as their execution is not complete.
    pub(super) correlations: HashMap<String, String>,
    /// Executions that wait for their turn because of `limitConcurrent`, oldest first.
    pub(super) waiting: HashMap<String, Vec<String>>,
    under_way: HashMap<String, u64>,
    wake_ups: BTreeMap<(u64, u64), String>,
    pub(super) ledger: Ledger,
    /// Who has which roles; nobody is asked while there is no such list.
    pub(super) roles: Option<BTreeMap<String, Vec<String>>>,
}

impl World {
    pub(super) fn new(timing: Timing) -> Self {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, milliseconds);
        Self {
            epoch,
            started: Instant::now(),
            salt: u128::from(RandomState::new().hash_one(epoch)),
            sequence: 0,
            last_build_time: 0,
            timing,
            configs: BTreeMap::new(),
            executions: HashMap::new(),
            by_config: HashMap::new(),
            correlations: HashMap::new(),
            waiting: HashMap::new(),
            under_way: HashMap::new(),
            wake_ups: BTreeMap::new(),
            ledger: Ledger::default(),
            roles: None,
        }
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.epoch + milliseconds(self.started.elapsed())
    }

    /// A fresh upper-case ULID, greater than all before.
    pub(super) fn next_ulid(&mut self, now: u64) -> String {
        self.sequence += 1;
        let random = (u128::from(self.sequence) << 40) | (self.salt & 0xff_ffff_ffff);
        Ulid::from_parts(now, random).to_string()
    }

    /// A fresh UUID-shaped id.
    pub(super) fn next_uuid(&mut self) -> String {
        self.sequence += 1;
        let salt = self.salt;
        let sequence = self.sequence;
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{sequence:012x}",
            salt & 0xffff_ffff,
            (salt >> 32) & 0xffff,
            (salt >> 48) & 0xfff,
            (salt >> 52) & 0xfff,
        )
    }

    /// A build time later than any before, so that a rerun can always be told from what it replaced.
    pub(super) fn next_build_time(&mut self, now: u64) -> u64 {
        self.last_build_time = now.max(self.last_build_time + 1);
        self.last_build_time
    }

    /// Lets everything happen that is due.
    pub(super) fn advance(&mut self) {
        let now = self.now();
        while let Some(entry) = self.wake_ups.first_entry() {
            let due = entry.key().0;
            if due > now {
                break;
            }
            let id = entry.remove();
            self.change(&id, |world, execution| {
                while let Some((at, step)) = execution.next_due(due) {
                    world.apply(execution, step, at);
                }
            });
        }
    }

    /// Puts a step on an execution's agenda.
    pub(super) fn schedule(&mut self, execution: &mut Execution, due: u64, step: Step) {
        execution.agenda.push((due, step));
        self.wake(&execution.id, due);
    }

    /// Looks at an execution's agenda at the given time.
    pub(super) fn wake(&mut self, id: &str, due: u64) {
        self.sequence += 1;
        self.wake_ups.insert((due, self.sequence), id.to_owned());
    }

    /// Changes an execution, and keeps count of what is under way. The only way to change one.
    pub(super) fn change<R>(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut Self, &mut Execution) -> R,
    ) -> Option<R> {
        let mut execution = self.executions.remove(id)?;
        let before = execution.status.is_under_way();
        let result = change(self, &mut execution);
        self.account(&execution, before);
        self.executions.insert(execution.id.clone(), execution);
        Some(result)
    }

    /// Counts an execution in or out, when it got under way or stopped being so.
    pub(super) fn account(&mut self, execution: &Execution, before: bool) {
        let after = execution.status.is_under_way();
        if before == after {
            return;
        }
        let count = self
            .under_way
            .entry(execution.config_id.clone())
            .or_default();
        if after {
            *count += 1;
            self.ledger.enter(&execution.concurrency_keys);
        } else {
            *count = count.saturating_sub(1);
            self.ledger.leave(&execution.concurrency_keys);
        }
    }

    /// How many executions of a config are under way.
    pub(super) fn under_way(&self, config_id: &str) -> u64 {
        self.under_way.get(config_id).copied().unwrap_or(0)
    }

    /// Removes an execution as if it had never been.
    pub(super) fn forget(&mut self, id: &str) -> bool {
        let Some(mut execution) = self.executions.remove(id) else {
            return false;
        };
        let before = execution.status.is_under_way();
        execution.status = Status::Canceled;
        self.account(&execution, before);
        if let Some(ids) = self.by_config.get_mut(&execution.config_id) {
            ids.remove(id);
        }
        let correlation = execution.trigger.get("correlationId");
        if let Some(correlation) = correlation.and_then(Value::as_str)
            && self
                .correlations
                .get(correlation)
                .is_some_and(|owner| owner == id)
        {
            self.correlations.remove(correlation);
        }
        for waiting in self.waiting.values_mut() {
            waiting.retain(|waiter| waiter != id);
        }
        true
    }

    /// Whether a user has one of the roles that a judgment stage names.
    pub(super) fn may_judge(&self, user: &str, context: &serde_json::Map<String, Value>) -> bool {
        let Some(known) = &self.roles else {
            return true;
        };
        let named = ["requiredJudgmentRoles", "selectedStageRoles"]
            .into_iter()
            .filter_map(|key| context.get(key).and_then(Value::as_array))
            .find(|roles| !roles.is_empty());
        let own = known.get(user);
        named.is_none_or(|named| {
            own.is_some_and(|own| own.iter().any(|role| named.contains(&json!(role))))
        })
    }

    /// Stores a pipeline config under its id, or under a new one.
    pub(super) fn put_config(&mut self, mut config: Value) -> String {
        let now = self.now();
        let id = match config.get("id").and_then(Value::as_str) {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => self.next_uuid(),
        };
        if let Some(fields) = config.as_object_mut() {
            fields.insert("id".into(), json!(id));
            fields.insert("updateTs".into(), json!(now.to_string()));
            fields.insert("lastModifiedBy".into(), json!("anonymous"));
        }
        self.configs.insert(id.clone(), config);
        id
    }

    /// Finds a config by exact name within the application, and else by id in any application: as Gate does.
    pub(super) fn find_config(&self, application: &str, name_or_id: &str) -> Option<&Value> {
        let text = |config: &Value, key: &str| {
            config
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .unwrap_or_default()
        };
        self.configs
            .values()
            .find(|config| {
                text(config, "name") == name_or_id
                    && text(config, "application").eq_ignore_ascii_case(application)
            })
            .or_else(|| self.configs.get(name_or_id))
    }
}
