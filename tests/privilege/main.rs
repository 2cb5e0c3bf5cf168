//! Least privilege on the real API server: each role runs with a token of the chart's own `ServiceAccount` under the chart's
//! own RBAC, and the API server's record says what it asked for.

mod forbidden;
mod missing;
mod rights;
mod story;
mod support;
mod used;
