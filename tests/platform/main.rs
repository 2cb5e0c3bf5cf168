//! What the platform team runs by hand, on real parts: `foredeck doctor` on an installation of the chart in which one thing after
//! another is broken, and `foredeck import` from a Gate to requests that succeed.

mod doctor;
mod import;
mod support;
