//! Repositories on GitHub as foredeck asks them: a third party's stand-in with commits that each test makes, behind a proxy that
//! adds what it leaves out, and Secrets on a real API server.

mod comparing;
mod login;
mod naming;
mod support;
mod telling;
mod trouble;
