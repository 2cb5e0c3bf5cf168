//! The foredeck binary: keeps its memory to itself, installs the TLS provider, reads the command line and does what it says.

use std::process::ExitCode;

use clap::Parser;
use foredeck::{
    cli::Cli,
    runtime::{private_memory, tls},
};

fn main() -> ExitCode {
    // First of all: nothing secret has been read yet.
    let private = private_memory::keep().map_err(anyhow::Error::from);
    match private.and_then(|()| {
        tls::install();
        Cli::parse().run()
    }) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("foredeck: {}", foredeck::cli::explain(&error));
            ExitCode::FAILURE
        }
    }
}
