//! What was started through the stand-in, and how much of it ran at the same time. Pure bookkeeping.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// One start that Orca stored and ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The execution's id.
    pub execution_id: String,
    /// The pipeline config's id.
    pub pipeline_config_id: String,
    /// `trigger.foredeck.uid`, when the start carried it.
    pub request_uid: Option<String>,
    /// `trigger.foredeck.target`, when the start carried it.
    pub target: Option<String>,
    /// `trigger.correlationId`, when it is a string.
    pub correlation_id: Option<String>,
    /// What kind of start it was.
    pub kind: LaunchKind,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// What kind of start a launch was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchKind {
    /// A new execution.
    New,
    /// An execution of that id existed: its history was wiped and its work runs again.
    Wiped,
    /// A `pipeline` stage started it; [`super::StandInGate::launches`] leaves these out.
    Child,
    /// The pipeline was disabled: a TERMINAL record was stored and nothing ran. `launches` leaves these out.
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) launches: Vec<Launch>,
    running: HashMap<String, usize>,
    peaks: BTreeMap<String, usize>,
}

impl Ledger {
    pub(super) fn record(
        &mut self,
        execution_id: &str,
        pipeline_config_id: &str,
        trigger: &Value,
        kind: LaunchKind,
        at: u64,
    ) {
        self.launches.push(Launch {
            execution_id: execution_id.to_owned(),
            pipeline_config_id: pipeline_config_id.to_owned(),
            request_uid: text_at(trigger, "/foredeck/uid"),
            target: target_of(trigger),
            correlation_id: text_at(trigger, "/correlationId"),
            kind,
            at,
        });
    }

    pub(super) fn enter(&mut self, keys: &[String]) {
        for key in keys {
            let running = self.running.entry(key.clone()).or_default();
            *running += 1;
            let peak = self.peaks.entry(key.clone()).or_default();
            *peak = (*peak).max(*running);
        }
    }

    pub(super) fn leave(&mut self, keys: &[String]) {
        for key in keys {
            if let Some(running) = self.running.get_mut(key) {
                *running = running.saturating_sub(1);
                if *running == 0 {
                    self.running.remove(key);
                }
            }
        }
    }

    pub(super) fn peaks(&self) -> BTreeMap<String, usize> {
        self.peaks.clone()
    }

    /// Forgets launches and peaks. What runs now counts on, so peaks start from it.
    pub(super) fn reset(&mut self) {
        self.launches.clear();
        self.peaks = self
            .running
            .iter()
            .map(|(key, running)| (key.clone(), *running))
            .collect();
    }
}

/// Under which keys a launch counts for the peak of concurrency: `<config id>/<account>/<namespace>`, where the last two
/// are parameters and `-` when absent, and `target/<trigger.foredeck.target>`.
pub(super) fn concurrency_keys(config_id: &str, trigger: &Value) -> Vec<String> {
    let parameter = |name: &str| {
        text_at(trigger, &format!("/parameters/{name}")).unwrap_or_else(|| "-".to_owned())
    };
    let mut keys = vec![format!(
        "{config_id}/{}/{}",
        parameter("account"),
        parameter("namespace")
    )];
    if let Some(target) = target_of(trigger) {
        keys.push(format!("target/{target}"));
    }
    keys
}

/// The target as text: a string as it is, anything else as JSON.
fn target_of(trigger: &Value) -> Option<String> {
    text_at(trigger, "/foredeck/target")
        .or_else(|| trigger.pointer("/foredeck/target").map(Value::to_string))
}

fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
}
