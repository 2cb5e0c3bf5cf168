//! Credentials from end to end: how foredeck logs in to Gate and Vault, and that nothing it writes has a secret in it.

mod faults;
mod gets_in;
mod isolation;
mod leaks;
mod leaks_tests;
mod renewal;
mod secrecy;
mod support;
mod witness;
