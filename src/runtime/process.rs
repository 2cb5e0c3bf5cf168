//! What Prometheus' clients tell of their process: memory, CPU time, open files, start. Touches `/proc` when somebody looks.
//!
//! By hand: five numbers out of two files that Linux has kept as they are, against a crate with a second reader of `/proc`
//! and libc bindings below it. Where there is no `/proc`, there are no such metrics.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// The process, looked at when it is asked about.
#[derive(Debug)]
pub(super) struct Process;

/// What `/proc` says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(seen) = look() else { return Ok(()) };
        let cpu = encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time that the process has used, of user and system",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(seen.cpu_seconds).encode(cpu)?;
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM",
                number(seen.resident_bytes),
            ),
            (
                "process_virtual_memory_bytes",
                "Memory that the process has addresses for",
                number(seen.virtual_bytes),
            ),
            (
                "process_open_fds",
                "Files and sockets that the process has open",
                number(u64::try_from(files).unwrap_or(u64::MAX)),
            ),
            (
                "process_max_fds",
                "The most that it may have open",
                number(most),
            ),
            (
                "process_start_time_seconds",
                "When the process started, in seconds since 1970",
                seen.start_seconds,
            ),
        ] {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers"
)]
fn number(value: u64) -> f64 {
    value as f64
}

fn look() -> Option<Seen> {
    let process = fs::read_to_string("/proc/self/stat").ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    read(
        &process,
        &machine,
        clock_ticks_per_second(),
        u64::try_from(page_size()).ok()?,
    )
}

/// Counts fields behind the process's name, which may hold anything, parentheses too.
fn read(process: &str, machine: &str, ticks: u64, page: u64) -> Option<Seen> {
    let (_, fields) = process.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // proc(5) counts from 1, and the state behind the name is number 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let boot = machine
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    let seconds = |count: u64| number(count) / number(ticks.max(1));
    Some(Seen {
        cpu_seconds: seconds(field(14)? + field(15)?),
        start_seconds: number(boot.trim().parse().ok()?) + seconds(field(22)?),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.saturating_mul(page),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 9 0 0 0 250 150 7 8 20 0 9 0 5000 1048576 25 18446744073709551615";
        let seen = read(stat, "cpu 1 2\nbtime 1700000000\n", 100, 4096).unwrap();
        assert_eq!(
            seen,
            Seen {
                cpu_seconds: 4.0,
                start_seconds: 1_700_000_050.0,
                virtual_bytes: 1_048_576,
                resident_bytes: 102_400,
            }
        );
        assert_eq!(read("42 (short) S 1", "btime 1\n", 100, 4096), None);
        assert_eq!(read("", "", 0, 0), None);
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let seen = look().unwrap();
        assert!(seen.resident_bytes > 1 << 20 && seen.virtual_bytes >= seen.resident_bytes);
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let age = now.as_secs_f64() - seen.start_seconds;
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
