//! What facts come to: lines, and what to do. Touches nothing.

pub mod guardrails;
pub mod installation;
pub mod kinds;
pub mod mesh;
pub mod objects;
pub mod repositories;
pub mod rights;
pub mod server;
pub mod slack;
pub mod wildcards;
