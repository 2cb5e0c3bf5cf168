//! Vault as foredeck asks it, against the real OpenBao and the real API server: who is let in, what is issued, what goes wrong
//! in which words, and that it goes on by itself once it is right again. Nothing that is written holds a secret.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes only the functions marked as tests for tests"
)]

mod bed;
mod certificates;
mod faults;
mod logins;
mod secrets;
mod tokens;
