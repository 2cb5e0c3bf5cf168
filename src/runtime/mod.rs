//! What a process needs before it can work: TLS, Kubernetes client, leader lease, admin server, shutdown, logs, metrics.
//!
//! Knows nothing of deployments. Touches the API server (the Lease only), the real clock, signals and stderr.

pub mod client;
pub mod lease;
pub mod tls;
