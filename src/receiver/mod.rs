//! From what people say to requests. Touches Slack and the API server, but for what decides.

pub mod plan;
pub mod team;
