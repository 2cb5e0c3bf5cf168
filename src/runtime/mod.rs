//! What a process needs before it can work: TLS, Kubernetes client, caches, leader lease, admin server, shutdown, logs, metrics.
//!
//! Knows nothing of deployments. Touches the API server (the Lease, and watches of whatever is asked for), the real clock, chance,
//! signals, the process's limits, the servers that others name, and stderr.

pub mod admin;
pub mod cache;
pub mod chance;
pub mod client;
pub mod crash;
pub mod definitions;
pub mod filling;
pub mod health;
pub mod http;
pub mod lease;
pub mod live;
pub mod metrics;
pub mod private_memory;
mod process;
pub mod queue;
pub mod rights;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod traces;
pub mod watches;
