//! The one TLS provider of the process. Touches nothing outside it.

use rustls::crypto::aws_lc_rs;

/// Makes aws-lc-rs the provider of every TLS client in this process.
///
/// Call it first thing in `main`: with none installed and two in the dependency graph, the first TLS connection panics.
/// Calling it again changes nothing; whichever provider came first stays.
pub fn install() {
    let _came_second = aws_lc_rs::default_provider().install_default();
}
