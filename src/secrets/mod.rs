//! Where secrets come from, other than a Kubernetes Secret: a Vault (or OpenBao), and the tokens by which it knows us. Touches
//! Vault, and the API server (`TokenRequest`s).

pub mod service_account;
pub mod vault;
