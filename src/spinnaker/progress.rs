//! How far an execution is: its summary for a status, what runs, what waits, for how long. Touches nothing.
use super::model::{Execution, Stage};
use crate::api::deploy_request::ExecutionStatus;
use std::time::Duration;
impl Execution {
    /// stub
    pub fn summary(&self, _deck_url: Option<&str>) -> ExecutionStatus {
        ExecutionStatus::default()
    }
    /// stub
    pub fn current_stages(&self) -> Vec<&Stage> {
        Vec::new()
    }
    /// stub
    pub fn waiting_for_judgment(&self) -> Option<&Stage> {
        None
    }
    /// stub
    pub fn held_time(&self, _now_ms: i64) -> Duration {
        Duration::ZERO
    }
    /// stub
    pub fn looks_started_twice(&self) -> bool {
        false
    }
}
