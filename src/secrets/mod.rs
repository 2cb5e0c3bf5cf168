//! Where secrets come from, other than a Kubernetes Secret: a Vault (or OpenBao), and the tokens by which it knows us; and
//! how those of a role are kept fresh. Touches Vault, files, and the API server (`TokenRequest`s).

pub mod file;
pub mod live;
pub mod service_account;
pub mod vault;
