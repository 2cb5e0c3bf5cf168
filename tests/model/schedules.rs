//! What a decision costs where somebody wrote a schedule that is meant to keep us busy. Here, since what is pure has no clock.

use std::time::Instant;

use foredeck::{api::deploy_freeze::DeployFreezeSpec, domain::guards::freeze::window};
use jiff::Timestamp;
use serde_json::json;

#[test]
fn a_schedule_that_is_meant_to_keep_us_busy_does_not() {
    let hostile = [
        ("* * * * *", "1s"),
        ("* * * * *", "1m"),
        ("* * * * *", "99999999h"),
        ("*/2 * * * *", "119s"),
        (
            "0-59,0-59,0-59,0-59,0-59,0-59,0-59,0-59 0-23,0-23 1-31,1-31 1-12,1-12 0-7,0-7",
            "61s",
        ),
        ("0 0 29 2 +MON", "99999999h"),
        ("0 0 31 2 *", "1h"),
        ("0 0 31W 2 MON#5", "1h"),
        ("59 23 29 2 +SUN#5", "1ms"),
        ("* * 28-31 2 SUN#5", "720h"),
        ("0,59 0,23 L * *", "9999h"),
    ];
    let moments = [
        "2026-10-25T01:30:00Z",
        "2026-03-29T00:59:59Z",
        "2099-12-31T23:59:59Z",
    ];
    for (cron, duration) in hostile {
        let spec: DeployFreezeSpec = serde_json::from_value(json!({
            "reason": "quiet",
            "schedule": {"cron": cron, "duration": duration, "zone": "Africa/Casablanca"},
        }))
        .unwrap();
        let fastest = (0..5)
            .map(|_| {
                let begun = Instant::now();
                for moment in moments {
                    let _ = window(&spec, Timestamp::UNIX_EPOCH, moment.parse().unwrap());
                }
                begun.elapsed()
            })
            .min()
            .unwrap();
        println!("{cron:?} for {duration}: {:?} each", fastest / 3);
        // What runs takes less than half a millisecond; a debug build on a busy machine a hundred times that.
        assert!(fastest.as_millis() < 250, "{cron:?}: {fastest:?}");
    }
}
