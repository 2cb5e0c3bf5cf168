//! The foredeck binary: installs the TLS provider, reads the command line and does what it says.

use std::process::ExitCode;

use clap::Parser;
use foredeck::{cli::Cli, runtime::tls};

fn main() -> ExitCode {
    tls::install();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("foredeck: {}", foredeck::cli::explain(&error));
            ExitCode::FAILURE
        }
    }
}
