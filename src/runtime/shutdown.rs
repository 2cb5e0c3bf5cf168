//! How a process ends: the first SIGINT or SIGTERM asks it to finish what it has begun, the second ends it at once.
//! Touches signals.

use std::{io, process};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What a shell reports for a process that a signal ended is this plus the signal's number.
const EXIT_BY_SIGNAL: i32 = 128;

/// Listens for signals from now on. The token is cancelled by the first; the second exits with 128 + its number.
///
/// # Errors
/// When the operating system refuses the handlers. Needs a Tokio runtime.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let asked = token.clone();
    tokio::spawn(async move {
        loop {
            let number = tokio::select! {
                Some(()) = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                Some(()) = terminate.recv() => SignalKind::terminate().as_raw_value(),
                else => return,
            };
            match answer(number, &asked) {
                Answer::Finish => info!(signal = number, "asked to stop, finishing what has begun"),
                Answer::Exit(code) => {
                    warn!(signal = number, "asked to stop again, leaving at once");
                    process::exit(code);
                }
            }
        }
    });
    Ok(token)
}

#[derive(Debug, Eq, PartialEq)]
enum Answer {
    Finish,
    Exit(i32),
}

/// A role that ended the process by itself has cancelled the token too: then one signal is enough.
fn answer(signal: i32, asked: &CancellationToken) -> Answer {
    if asked.is_cancelled() {
        return Answer::Exit(EXIT_BY_SIGNAL + signal);
    }
    asked.cancel();
    Answer::Finish
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_signal_asks_and_second_exits() {
        let asked = CancellationToken::new();
        assert_eq!(answer(15, &asked), Answer::Finish);
        assert!(asked.is_cancelled());
        assert_eq!(answer(2, &asked), Answer::Exit(130));
    }
}
