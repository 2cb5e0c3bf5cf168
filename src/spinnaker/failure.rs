//! Why an execution failed. Touches Gate, to walk into child pipelines.
use super::{client::GateClient, model::Execution};
use crate::api::deploy_request::Failure;
/// What an execution says of its own failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// The deepest stage that failed.
    pub stage: Option<String>,
    /// What it said, not yet cleaned.
    pub text: Option<String>,
    /// The execution of a child pipeline that knows more.
    pub child: Option<String>,
}
/// What an execution says of its own failure.
pub fn find(_execution: &Execution) -> Finding {
    Finding::default()
}
impl GateClient {
    /// Why an execution failed.
    pub async fn failure(&self, _execution: &Execution) -> Failure {
        Failure::default()
    }
}
