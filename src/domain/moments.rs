//! Moments and spans of time, as sentences for people write them. Touches nothing.

use std::time::Duration;

use jiff::Timestamp;

/// A moment: `2026-03-01 14:00 UTC`. Whole minutes say enough.
///
/// Not for what somebody compares with a time that an object shows, or what is over within seconds: those show all of it,
/// as `Timestamp` does.
pub fn when(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A span that was set, a limit say: `24h`, `90s`: the largest unit that says it exactly.
pub(super) fn span(exact: Duration) -> String {
    match exact.as_secs() {
        0 => format!("{}ms", exact.as_millis()),
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// A span that was measured: `90m`, `45s`: whole minutes where there are any, else whole seconds, and one of them at least.
pub(super) fn about(measured: Duration) -> String {
    let seconds = measured.as_secs();
    span(Duration::from_secs(if seconds < 60 {
        seconds.max(1)
    } else {
        seconds - seconds % 60
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_to_the_minute() {
        let moment = "2026-03-01T14:00:59.9Z".parse().unwrap();
        assert_eq!(when(moment), "2026-03-01 14:00 UTC");
    }

    #[test]
    fn what_was_set_is_told_exactly_and_what_was_measured_to_the_minute() {
        let told = |milliseconds| {
            let length = Duration::from_millis(milliseconds);
            (span(length), about(length))
        };
        let both = |exact: &str, rough: &str| (exact.to_owned(), rough.to_owned());
        assert_eq!(told(300), both("300ms", "1s"));
        assert_eq!(told(45_000), both("45s", "45s"));
        assert_eq!(told(90_000), both("90s", "1m"));
        assert_eq!(told(5_400_000), both("90m", "90m"));
        assert_eq!(told(86_400_000), both("24h", "24h"));
        assert_eq!(told(86_459_000), both("86459s", "24h"));
    }
}
