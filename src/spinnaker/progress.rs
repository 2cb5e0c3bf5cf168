//! How far an execution is: its summary for a status, what runs, what it waits for and for how long. Touches nothing.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    address::encode,
    judgment::MANUAL_JUDGMENT,
    model::{Execution, Stage, Status},
};
use crate::api::{
    bounds,
    deploy_request::{ExecutionStatus, StageStatus},
};

impl Execution {
    /// What a request's status shows of it; `failure` and `rerun` are for others to fill.
    pub fn summary(&self, deck_url: Option<&str>) -> ExecutionStatus {
        ExecutionStatus {
            id: bounds::cut(&self.id, bounds::NAME),
            url: deck_url.and_then(|deck| self.url(deck)),
            status: bounds::cut(self.status.as_str(), bounds::WORD),
            build_time: self.build_time,
            started_at: time(self.start_time),
            // A restarted one carries the end of its first run along.
            finished_at: time(self.end_time).filter(|_| self.status.is_complete()),
            stages: kept(self.ordered_stages())
                .into_iter()
                .map(Stage::summary)
                .collect(),
            failure: None,
            rerun: None,
        }
    }

    /// Where Deck shows it; none when that would be longer than a URL may be.
    fn url(&self, deck: &str) -> Option<String> {
        let url = format!(
            "{}/#/applications/{}/executions/details/{}",
            deck.trim_end_matches('/'),
            encode(&self.application),
            encode(&self.id)
        );
        (url.chars().count() <= bounds::URL).then_some(url)
    }

    /// The top-level stages that run now, paused ones too; several when the pipeline has branches.
    pub fn current_stages(&self) -> Vec<&Stage> {
        self.ordered_stages()
            .into_iter()
            .filter(|stage| matches!(stage.status, Status::Running | Status::Paused))
            .collect()
    }

    /// How long it stood still for people until `now_ms`: paused, or at a manual judgment, counted once where both or
    /// several overlap. Orca keeps only the last pause, so earlier ones count as running time.
    pub fn held_time(&self, now_ms: i64) -> Duration {
        let end = self
            .end_time
            .filter(|_| self.status.is_complete())
            .map_or(now_ms, |end| end.min(now_ms));
        let mut held: Vec<(i64, i64)> = self
            .stages
            .iter()
            .filter(|stage| stage.kind == MANUAL_JUDGMENT)
            .filter_map(|stage| {
                let until = if stage.status.is_complete() {
                    stage.end_time?
                } else {
                    end
                };
                Some((stage.start_time?, until))
            })
            .collect();
        if let Some(paused) = &self.paused
            && let Some(since) = paused.pause_time
        {
            held.push((since, paused.resume_time.unwrap_or(end)));
        }
        held.sort_unstable();
        let mut sum: u64 = 0;
        let mut counted = i64::MIN;
        for (since, until) in held {
            let since = since.max(counted);
            let until = until.min(end);
            if until > since {
                sum = sum.saturating_add(until.abs_diff(since));
                counted = until;
            }
        }
        Duration::from_millis(sum)
    }

    /// Whether it bears the marks of a second POST of its id, which destroys an execution: it ended `TERMINAL`, but no
    /// stage failed, nobody cancelled it and it gives no reason.
    ///
    /// Observed on Gate 2026.1.2: stages are then left `RUNNING`, `NOT_STARTED` or `CANCELED`. A pipeline without
    /// stages ends `TERMINAL` too, and is not meant.
    pub fn looks_started_twice(&self) -> bool {
        self.status == Status::Terminal
            && self.cancellation_reason.is_none()
            && self.canceled_by.is_none()
            && !self.stages.is_empty()
            && !self
                .stages
                .iter()
                .any(|stage| stage.status.is_failure() || matches!(stage.status, Status::Other(_)))
    }

    /// The top-level stages, each after those that it requires, else as Gate lists them. What a circle holds back comes
    /// last.
    pub(super) fn ordered_stages(&self) -> Vec<&Stage> {
        let stages: Vec<&Stage> = self.top_level().collect();
        let places: BTreeMap<&str, usize> = stages
            .iter()
            .enumerate()
            .map(|(index, stage)| (stage.ref_id.as_str(), index))
            .collect();
        let mut missing = vec![0_usize; stages.len()];
        let mut followers = vec![Vec::new(); stages.len()];
        for (index, stage) in stages.iter().enumerate() {
            for place in &stage.requisite_stage_ref_ids {
                if let Some(required) = places.get(place.as_str()) {
                    missing[index] += 1;
                    followers[*required].push(index);
                }
            }
        }
        let mut ready: std::collections::BTreeSet<usize> = (0..stages.len())
            .filter(|index| missing[*index] == 0)
            .collect();
        let mut order = Vec::with_capacity(stages.len());
        while let Some(index) = ready.pop_first() {
            order.push(index);
            for follower in &followers[index] {
                missing[*follower] -= 1;
                if missing[*follower] == 0 {
                    ready.insert(*follower);
                }
            }
        }
        order.extend((0..stages.len()).filter(|index| missing[*index] > 0));
        order.into_iter().map(|index| stages[index]).collect()
    }
}

/// At most so many as a status holds, in their order: failed ones first of all, then running ones, then the others.
fn kept(stages: Vec<&Stage>) -> Vec<&Stage> {
    if stages.len() <= bounds::STAGES {
        return stages;
    }
    let importance = |stage: &Stage| match &stage.status {
        status if status.is_failure() => 0,
        Status::Running | Status::Paused => 1,
        _ => 2,
    };
    let mut indices: Vec<usize> = (0..stages.len()).collect();
    indices.sort_by_key(|index| importance(stages[*index]));
    indices.truncate(bounds::STAGES);
    indices.sort_unstable();
    indices.into_iter().map(|index| stages[index]).collect()
}

impl Stage {
    fn summary(&self) -> StageStatus {
        StageStatus {
            name: bounds::cut(self.label(), bounds::NAME),
            kind: bounds::cut(&self.kind, bounds::NAME),
            status: bounds::cut(self.status.as_str(), bounds::WORD),
            started_at: time(self.start_time),
            finished_at: time(self.end_time).filter(|_| self.status.is_complete()),
        }
    }
}

fn time(milliseconds: Option<i64>) -> Option<Time> {
    milliseconds.and_then(bounds::date).map(Time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn execution(more: &Value) -> Execution {
        let mut value =
            json!({"id": "01E", "application": "shop", "status": "RUNNING", "stages": []});
        for (key, field) in more.as_object().unwrap() {
            value[key] = field.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    fn stage(place: &str, after: &[&str], status: &str) -> Value {
        json!({"id": format!("s{place}"), "refId": place, "requisiteStageRefIds": after, "name": place,
            "type": "wait", "status": status})
    }

    #[test]
    fn stages_come_in_the_pipelines_order_without_synthetic_ones() {
        let mut synthetic = stage("1<1", &[], "RUNNING");
        synthetic["parentStageId"] = json!("s1");
        let execution = execution(&json!({"stages": [
            synthetic,
            stage("4", &["2", "3"], "NOT_STARTED"),
            stage("3", &["1"], "RUNNING"),
            stage("2", &["1"], "RUNNING"),
            stage("1", &[], "SUCCEEDED"),
        ]}));
        let summary = execution.summary(None);
        let names: Vec<&str> = summary
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        assert_eq!(names, ["1", "3", "2", "4"]);
        let current: Vec<&str> = execution
            .current_stages()
            .iter()
            .map(|stage| stage.label())
            .collect();
        assert_eq!(current, ["3", "2"]);
    }

    #[test]
    fn stages_that_require_each_other_are_all_shown() {
        let execution = execution(&json!({"stages": [
            stage("1", &["2"], "NOT_STARTED"), stage("2", &["1"], "NOT_STARTED"),
            stage("3", &["3"], "NOT_STARTED"), stage("4", &["gone"], "RUNNING"),
        ]}));
        let names: Vec<String> = execution
            .summary(None)
            .stages
            .into_iter()
            .map(|stage| stage.name)
            .collect();
        assert_eq!(names, ["4", "1", "2", "3"]);
    }

    #[test]
    fn failed_and_running_stages_survive_the_cut() {
        let mut stages: Vec<Value> = (0..150)
            .map(|place| stage(&place.to_string(), &[], "SUCCEEDED"))
            .collect();
        stages[140]["status"] = json!("TERMINAL");
        stages[149]["status"] = json!("RUNNING");
        let summary = execution(&json!({"stages": stages})).summary(None);
        assert_eq!(summary.stages.len(), bounds::STAGES);
        assert_eq!(summary.stages[98].status, "TERMINAL");
        assert_eq!(summary.stages[99].status, "RUNNING");
    }

    #[test]
    fn the_summary_links_to_deck_and_shows_no_end_while_it_runs() {
        let rerun = execution(
            &json!({"application": "shop & co", "startTime": 2000, "endTime": 1000, "buildTime": 7}),
        );
        let summary = rerun.summary(Some("https://deck.example/"));
        assert_eq!(
            summary.url.as_deref(),
            Some("https://deck.example/#/applications/shop%20%26%20co/executions/details/01E")
        );
        assert_eq!(summary.build_time, Some(7));
        assert!(summary.started_at.is_some() && summary.finished_at.is_none());
        assert_eq!(
            rerun
                .summary(Some(&format!("https://{}", "d".repeat(bounds::URL))))
                .url,
            None
        );
    }

    #[test]
    fn time_held_by_people_is_counted_once() {
        let judgment = |status: &str, from: i64, to: Option<i64>| {
            let mut stage = stage(&from.to_string(), &[], status);
            stage["type"] = json!("manualJudgment");
            stage["startTime"] = json!(from);
            stage["endTime"] = json!(to);
            stage
        };
        let held = |more: Value| execution(&more).held_time(1000).as_millis();
        assert_eq!(held(json!({})), 0);
        assert_eq!(
            held(json!({"stages": [judgment("RUNNING", 400, None)]})),
            600
        );
        // A restarted stage carries its old end along.
        assert_eq!(
            held(json!({"stages": [judgment("RUNNING", 400, Some(100))]})),
            600
        );
        let overlapping = [
            judgment("SUCCEEDED", 100, Some(300)),
            judgment("SUCCEEDED", 200, Some(250)),
            judgment("SUCCEEDED", 280, Some(400)),
        ];
        let paused = json!({"pauseTime": 350, "resumeTime": 450});
        assert_eq!(held(json!({"stages": overlapping, "paused": paused})), 350);
        assert_eq!(
            held(json!({"status": "PAUSED", "paused": {"pauseTime": 900}})),
            100
        );
        assert_eq!(
            held(json!({"status": "CANCELED", "endTime": 950, "paused": {"pauseTime": 900}})),
            50
        );
    }

    #[test]
    fn a_destroyed_execution_is_told_from_a_failed_one() {
        let twice = |more: Value| execution(&more).looks_started_twice();
        for left in ["RUNNING", "NOT_STARTED", "CANCELED"] {
            assert!(
                twice(json!({"status": "TERMINAL", "stages": [stage("1", &[], left)]})),
                "{left}"
            );
        }
        let stages = [
            stage("1", &[], "TERMINAL"),
            stage("2", &["1"], "NOT_STARTED"),
        ];
        assert!(!twice(json!({"status": "TERMINAL", "stages": stages})));
        assert!(!twice(json!({"status": "TERMINAL"})));
        assert!(!twice(
            json!({"status": "TERMINAL", "stages": [stage("1", &[], "EXPLODED")]})
        ));
        let unstarted = [stage("1", &[], "NOT_STARTED")];
        assert!(!twice(
            json!({"status": "TERMINAL", "stages": unstarted, "cancellationReason": "Failed on startup: x"})
        ));
        assert!(!twice(json!({"status": "CANCELED", "stages": unstarted})));
        assert!(!twice(json!({"stages": unstarted})));
    }

    proptest! {
        #[test]
        fn no_times_make_it_panic(times in prop::collection::vec((any::<i64>(), any::<Option<i64>>()), 0..6), now: i64) {
            let stages: Vec<Value> = times.iter().map(|(start, end)| json!({"id": "s", "type": "manualJudgment",
                "status": "SUCCEEDED", "startTime": start, "endTime": end})).collect();
            let execution = execution(&json!({"stages": stages, "startTime": times.first().map(|time| time.0)}));
            execution.held_time(now);
            execution.summary(None);
        }
    }
}
