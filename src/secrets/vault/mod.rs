//! A Vault, or OpenBao, which speaks the same: where it is, how we log in, and what it gives us, which is client certificates
//! and secrets of a KV engine. Touches Vault, and the API server for the token of a login.

mod caller;
mod clock;
mod error;
mod kv;
mod pki;
mod session;
mod settings;
#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use error::{LoginRefusal, Unreachable, VaultError};
pub use kv::SecretPath;
pub use pki::{CertificateRequest, Issued};
pub use session::VaultSession;
pub use settings::{JwtSource, Login, Method, VaultSettings, VaultSettingsError, address};
