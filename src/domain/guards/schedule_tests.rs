//! When schedules hold: by the wall clock, over changes of clocks, and never twice.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{api::deploy_freeze::DeployFreezeSpec, domain::guards::freeze::window};

fn schedule(cron: &str, duration: &str, zone: &str) -> Schedule {
    serde_json::from_value(json!({"cron": cron, "duration": duration, "zone": zone})).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn freeze(cron: &str, duration: &str, zone: &str) -> DeployFreezeSpec {
    serde_json::from_value(json!({"reason": "quiet", "schedule": schedule(cron, duration, zone)}))
        .unwrap()
}

/// Long before anything that is looked at here.
fn created() -> Timestamp {
    at("2020-01-01T00:00:00Z")
}

/// Since when, until when and next, as text; `-` for none.
fn told(window: &Window) -> String {
    let text = |moment: Option<Timestamp>| moment.map_or("-".to_owned(), |it| it.to_string());
    format!(
        "{} {} {}",
        text(window.since),
        text(window.until),
        text(window.next)
    )
}

#[test]
fn a_schedule_follows_the_wall_clock_and_lasts_in_time_that_passes() {
    const BERLIN: &str = "Europe/Berlin";
    const NEW_YORK: &str = "America/New_York";
    const LORD_HOWE: &str = "Australia/Lord_Howe";
    let table = [
        // No clock is changed: from Friday 16:00 for 64 hours.
        (
            "0 16 * * FRI",
            "64h",
            BERLIN,
            "2026-06-05T13:59:59Z",
            "- - 2026-06-05T14:00:00Z",
        ),
        (
            "0 16 * * FRI",
            "64h",
            BERLIN,
            "2026-06-05T14:00:00Z",
            "2026-06-05T14:00:00Z 2026-06-08T06:00:00Z 2026-06-12T14:00:00Z",
        ),
        (
            "0 16 * * FRI",
            "64h",
            BERLIN,
            "2026-06-08T05:59:59Z",
            "2026-06-05T14:00:00Z 2026-06-08T06:00:00Z 2026-06-12T14:00:00Z",
        ),
        (
            "0 16 * * FRI",
            "64h",
            BERLIN,
            "2026-06-08T06:00:00Z",
            "- - 2026-06-12T14:00:00Z",
        ),
        // Berlin goes on by an hour on 29 March at 02:00, which is 01:00Z. What spans that lasts as long as ever, so that
        // it ends an hour later by the clock.
        (
            "0 16 * * FRI",
            "64h",
            BERLIN,
            "2026-03-28T00:00:00Z",
            "2026-03-27T15:00:00Z 2026-03-30T07:00:00Z 2026-04-03T14:00:00Z",
        ),
        // 02:30 is skipped: it begins at 03:00.
        (
            "30 2 * * *",
            "1h",
            BERLIN,
            "2026-03-29T00:59:59Z",
            "- - 2026-03-29T01:00:00Z",
        ),
        (
            "30 2 * * *",
            "1h",
            BERLIN,
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:00:00Z 2026-03-29T02:00:00Z 2026-03-30T00:30:00Z",
        ),
        // Several that are skipped begin together; 03:00 is the same moment.
        (
            "0,15,30,45 2-3 * * *",
            "5m",
            BERLIN,
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:00:00Z 2026-03-29T01:05:00Z 2026-03-29T01:15:00Z",
        ),
        (
            "0,15,30,45 2-3 * * *",
            "5m",
            BERLIN,
            "2026-03-29T00:30:00Z",
            "- - 2026-03-29T01:00:00Z",
        ),
        // And back on 25 October at 03:00, which is 01:00Z. 02:30 comes twice: the first counts, and only that.
        (
            "30 2 * * *",
            "30m",
            BERLIN,
            "2026-10-25T00:30:00Z",
            "2026-10-25T00:30:00Z 2026-10-25T01:00:00Z 2026-10-26T01:30:00Z",
        ),
        (
            "30 2 * * *",
            "30m",
            BERLIN,
            "2026-10-25T01:30:00Z",
            "- - 2026-10-26T01:30:00Z",
        ),
        (
            "0 22 * * *",
            "8h",
            BERLIN,
            "2026-10-25T03:59:59Z",
            "2026-10-24T20:00:00Z 2026-10-25T04:00:00Z 2026-10-25T21:00:00Z",
        ),
        // New York: 8 March 02:00 is 07:00Z; 1 November 02:00 is 06:00Z.
        (
            "30 2 * * *",
            "1h",
            NEW_YORK,
            "2026-03-08T07:00:00Z",
            "2026-03-08T07:00:00Z 2026-03-08T08:00:00Z 2026-03-09T06:30:00Z",
        ),
        (
            "30 2 * * *",
            "1h",
            NEW_YORK,
            "2026-03-08T06:59:59Z",
            "- - 2026-03-08T07:00:00Z",
        ),
        (
            "30 1 * * *",
            "15m",
            NEW_YORK,
            "2026-11-01T05:30:00Z",
            "2026-11-01T05:30:00Z 2026-11-01T05:45:00Z 2026-11-02T06:30:00Z",
        ),
        (
            "30 1 * * *",
            "15m",
            NEW_YORK,
            "2026-11-01T06:30:00Z",
            "- - 2026-11-02T06:30:00Z",
        ),
        (
            "0 12 * * SAT",
            "48h",
            NEW_YORK,
            "2026-03-08T12:00:00Z",
            "2026-03-07T17:00:00Z 2026-03-09T17:00:00Z 2026-03-14T16:00:00Z",
        ),
        // Lord Howe changes by half an hour: on 4 October 02:00 to 02:30 (15:30Z), on 5 April 02:00 to 01:30 (15:00Z).
        (
            "15 2 * * *",
            "10m",
            LORD_HOWE,
            "2026-10-03T15:30:00Z",
            "2026-10-03T15:30:00Z 2026-10-03T15:40:00Z 2026-10-04T15:15:00Z",
        ),
        (
            "15 2 * * *",
            "10m",
            LORD_HOWE,
            "2026-10-03T15:29:59Z",
            "- - 2026-10-03T15:30:00Z",
        ),
        (
            "45 1 * * *",
            "10m",
            LORD_HOWE,
            "2026-04-04T14:45:00Z",
            "2026-04-04T14:45:00Z 2026-04-04T14:55:00Z 2026-04-05T15:15:00Z",
        ),
        (
            "45 1 * * *",
            "10m",
            LORD_HOWE,
            "2026-04-04T15:15:00Z",
            "- - 2026-04-05T15:15:00Z",
        ),
        // Where a clock is set back over midnight, what begins with the day began before.
        (
            "0 0 * * *",
            "5m",
            "America/St_Johns",
            "2010-11-07T02:31:00Z",
            "2010-11-07T02:30:00Z 2010-11-07T02:35:00Z 2010-11-08T03:30:00Z",
        ),
        (
            "0 0 * * *",
            "5m",
            "America/St_Johns",
            "2010-11-07T03:30:00Z",
            "- - 2010-11-08T03:30:00Z",
        ),
        // Apia left out 30 December 2011: that day's windows begin with the next.
        (
            "0 12 * * *",
            "1h",
            "Pacific/Apia",
            "2011-12-30T10:00:00Z",
            "2011-12-30T10:00:00Z 2011-12-30T11:00:00Z 2011-12-30T22:00:00Z",
        ),
        // 29 February.
        (
            "0 0 29 2 *",
            "24h",
            "UTC",
            "2026-06-01T00:00:00Z",
            "- - 2028-02-29T00:00:00Z",
        ),
        (
            "0 0 29 2 *",
            "24h",
            "UTC",
            "2028-02-29T23:59:59Z",
            "2028-02-29T00:00:00Z 2028-03-01T00:00:00Z 2032-02-29T00:00:00Z",
        ),
        (
            "0 0 29 2 +MON",
            "24h",
            "UTC",
            "2026-06-01T00:00:00Z",
            "- - 2044-02-29T00:00:00Z",
        ),
        (
            "0 0 29 2 *",
            "24h",
            "UTC",
            "2097-01-01T00:00:00Z",
            "- - 2104-02-29T00:00:00Z",
        ),
        // The last day of a month, and its second Monday.
        (
            "0 0 L * *",
            "24h",
            "UTC",
            "2027-02-01T00:00:00Z",
            "- - 2027-02-28T00:00:00Z",
        ),
        (
            "0 0 * * MON#2",
            "24h",
            "UTC",
            "2026-06-01T00:00:00Z",
            "- - 2026-06-08T00:00:00Z",
        ),
        // One begins before the other ends, or as it does: that is one window.
        (
            "0 8,9,10 * * *",
            "90m",
            "UTC",
            "2026-06-01T09:15:00Z",
            "2026-06-01T08:00:00Z 2026-06-01T11:30:00Z 2026-06-02T08:00:00Z",
        ),
        (
            "0 0-7 * * *",
            "1h",
            "UTC",
            "2026-06-01T05:15:00Z",
            "2026-06-01T00:00:00Z 2026-06-01T08:00:00Z 2026-06-02T00:00:00Z",
        ),
        (
            "0 0 * * SAT,SUN",
            "24h",
            BERLIN,
            "2026-06-07T12:00:00Z",
            "2026-06-05T22:00:00Z 2026-06-07T22:00:00Z 2026-06-12T22:00:00Z",
        ),
        // On two days on end, with a clock changed in the night between.
        (
            "0 12 * * SAT,SUN",
            "24h",
            BERLIN,
            "2026-03-29T09:59:59Z",
            "2026-03-28T11:00:00Z 2026-03-30T10:00:00Z 2026-04-04T10:00:00Z",
        ),
        (
            "0 12 * * SAT,SUN",
            "24h",
            BERLIN,
            "2026-10-25T10:59:59Z",
            "- - 2026-10-25T11:00:00Z",
        ),
        // Longer than its period: it never ends, and has held since it was there.
        (
            "0 0 * * *",
            "25h",
            "UTC",
            "2026-06-01T12:00:00Z",
            "2020-01-01T00:00:00Z - -",
        ),
        (
            "* * * * *",
            "1m",
            BERLIN,
            "2026-06-01T12:00:00Z",
            "2025-10-26T02:00:00Z 2026-10-25T01:00:00Z 2026-10-25T02:00:00Z",
        ),
        (
            "0 0 1 1 *",
            "99999999h",
            "UTC",
            "2026-06-01T12:00:00Z",
            "2020-01-01T00:00:00Z - -",
        ),
        // Without a zone, UTC.
        (
            "0 8 * * *",
            "1h",
            "Etc/UTC",
            "2026-06-01T08:30:00Z",
            "2026-06-01T08:00:00Z 2026-06-01T09:00:00Z 2026-06-02T08:00:00Z",
        ),
    ];
    for (cron, duration, zone, now, wanted) in table {
        let begun = created().min(at(now) - SignedDuration::from_hours(24));
        let found = window(&freeze(cron, duration, zone), begun, at(now)).unwrap();
        assert_eq!(
            told(&found),
            wanted,
            "{cron:?} for {duration} in {zone} at {now}"
        );
    }
    let bare: DeployFreezeSpec = serde_json::from_value(
        json!({"reason": "quiet", "schedule": {"cron": "0 8 * * *", "duration": "1h"}}),
    )
    .unwrap();
    let found = window(&bare, created(), at("2026-06-01T08:30:00Z")).unwrap();
    assert_eq!(
        told(&found),
        "2026-06-01T08:00:00Z 2026-06-01T09:00:00Z 2026-06-02T08:00:00Z"
    );
}

#[test]
fn a_schedule_is_clipped_to_its_first_and_its_last_moment() {
    let weekend = freeze("0 0 * * SAT", "48h", "UTC");
    let clipped = |from: Option<&str>, until: Option<&str>, created: &str, now: &str| {
        let mut spec = weekend.clone();
        spec.from = from.map(|text| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(text)));
        spec.until =
            until.map(|text| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(text)));
        told(&window(&spec, at(created), at(now)).unwrap())
    };
    let long_ago = "2020-01-01T00:00:00Z";
    let sunday = Some("2026-06-07T06:00:00Z");
    // Saturday is 6 June.
    let table = [
        // It begins in the middle of one, by `from` or by its creation.
        (
            sunday,
            None,
            long_ago,
            "2026-06-06T12:00:00Z",
            "- - 2026-06-07T06:00:00Z",
        ),
        (
            sunday,
            None,
            long_ago,
            "2026-06-07T06:00:00Z",
            "2026-06-07T06:00:00Z 2026-06-08T00:00:00Z 2026-06-13T00:00:00Z",
        ),
        (
            None,
            None,
            "2026-06-07T06:00:00Z",
            "2026-06-07T06:00:00Z",
            "2026-06-07T06:00:00Z 2026-06-08T00:00:00Z 2026-06-13T00:00:00Z",
        ),
        (
            Some("2026-06-09T00:00:00Z"),
            None,
            long_ago,
            "2026-06-06T12:00:00Z",
            "- - 2026-06-13T00:00:00Z",
        ),
        // What `from` says goes before its creation.
        (
            Some(long_ago),
            None,
            "2026-06-07T06:00:00Z",
            "2026-06-07T07:00:00Z",
            "2026-06-06T00:00:00Z 2026-06-08T00:00:00Z 2026-06-13T00:00:00Z",
        ),
        // It ends in the middle of one, or between two.
        (
            None,
            sunday,
            long_ago,
            "2026-06-06T12:00:00Z",
            "2026-06-06T00:00:00Z 2026-06-07T06:00:00Z -",
        ),
        (
            None,
            sunday,
            long_ago,
            "2026-06-05T12:00:00Z",
            "- - 2026-06-06T00:00:00Z",
        ),
        (None, sunday, long_ago, "2026-06-07T06:00:00Z", "- - -"),
        (
            None,
            Some("2026-06-06T00:00:00Z"),
            long_ago,
            "2026-06-05T12:00:00Z",
            "- - -",
        ),
        (
            Some("2026-06-08T00:00:00Z"),
            Some("2026-06-12T00:00:00Z"),
            long_ago,
            "2026-06-01T00:00:00Z",
            "- - -",
        ),
        (
            Some("2026-06-08T00:00:00Z"),
            Some("2026-06-12T00:00:00Z"),
            long_ago,
            "2026-06-10T00:00:00Z",
            "- - -",
        ),
    ];
    for (from, until, created, now, wanted) in table {
        let found = clipped(from, until, created, now);
        assert_eq!(found, wanted, "{from:?} {until:?} {created} at {now}");
    }
}

#[test]
fn what_cannot_be_understood_says_why() {
    let table = [
        ("0 0 * *", "1h", "UTC", "takes minute, hour"),
        ("0 0 0 * * *", "1h", "UTC", "takes minute, hour"),
        ("61 0 * * *", "1h", "UTC", "takes minute, hour"),
        ("0 0 * * NEVER", "1h", "UTC", "takes minute, hour"),
        ("*/0 0 * * *", "1h", "UTC", "takes minute, hour"),
        ("0 0 31 2 *", "1h", "UTC", "never comes"),
        ("0 0 31 4,6,9,11 *", "1h", "Europe/Berlin", "never comes"),
        ("0 0 30 2 +MON", "1h", "UTC", "never comes"),
        ("0 0 * * *", "0s", "UTC", "no time that passes"),
        ("0 0 * * *", "-1h", "UTC", "no time that passes"),
        ("0 0 * * *", "1h", "Europe/Atlantis", "no time zone"),
        ("0 0 * * *", "1h", "Etc/Unknown", "no time zone"),
        ("0 0 * * *", "1h", "../../etc/passwd", "no time zone"),
    ];
    for (cron, duration, zone, words) in table {
        let found = window(
            &freeze(cron, duration, zone),
            created(),
            at("2026-06-01T00:00:00Z"),
        );
        let problem = found.expect_err(cron).to_string();
        assert!(
            problem.contains(words),
            "{cron} {duration} {zone}: {problem}"
        );
    }
}

fn any_field(values: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = String> {
    let one = values.clone();
    prop_oneof![
        2 => Just("*".to_owned()),
        2 => one.prop_map(|value| value.to_string()),
        1 => prop::collection::vec(values.clone(), 2..4)
            .prop_map(|all| all.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        1 => (values, 1_u32..9).prop_map(|(from, step)| format!("{from}-{from}/{step}")),
        1 => (2_u32..9).prop_map(|step| format!("*/{step}")),
    ]
}

fn any_cron() -> impl Strategy<Value = String> {
    (
        any_field(0..=59),
        any_field(0..=23),
        any_field(1..=31),
        any_field(1..=12),
        any_field(0..=7),
    )
        .prop_map(|(minute, hour, day, month, weekday)| {
            format!("{minute} {hour} {day} {month} {weekday}")
        })
}

fn any_spec() -> impl Strategy<Value = DeployFreezeSpec> {
    let zone = prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "America/St_Johns",
        "Asia/Kathmandu",
    ]);
    let duration = prop_oneof![
        (1_u32..120).prop_map(|minutes| format!("{minutes}m")),
        (1_u32..2000).prop_map(|hours| format!("{hours}h")),
    ];
    let clip = || prop::option::of(any_moment());
    (any_cron(), duration, zone, clip(), clip()).prop_map(|(cron, duration, zone, from, until)| {
        let mut spec = freeze(&cron, &duration, zone);
        spec.from = from.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        spec.until = until.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        spec
    })
}

/// From 2009 to 2031, often near where clocks are changed.
fn any_moment() -> impl Strategy<Value = Timestamp> {
    let anything = (1_230_768_000_i64..1_925_000_000)
        .prop_map(|second| Timestamp::from_second(second).unwrap());
    let change = (
        prop::sample::select(vec![
            "2026-03-29T01:00:00Z",
            "2026-10-25T01:00:00Z",
            "2026-03-08T07:00:00Z",
            "2026-11-01T06:00:00Z",
            "2026-10-03T15:30:00Z",
            "2026-04-04T15:00:00Z",
            "2011-12-30T10:00:00Z",
            "2010-11-07T02:31:00Z",
        ]),
        -200_000_i64..200_000,
    )
        .prop_map(|(moment, seconds)| at(moment) + SignedDuration::from_secs(seconds));
    prop_oneof![1 => anything, 2 => change]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_window_is_about_now_and_no_two_overlap(spec in any_spec(), now in any_moment(), share in 0.0..1.0_f64) {
        let created = at("2009-01-01T00:00:00Z");
        let Ok(found) = window(&spec, created, now) else { return Ok(()) };
        let begins = spec.from.as_ref().map_or(created, |from| from.0);
        let ends = spec.until.as_ref().map_or(Timestamp::MAX, |until| until.0);
        if let Some(since) = found.since {
            prop_assert!(begins <= since && since <= now && now < ends, "{found:?}");
        } else {
            prop_assert_eq!(found.until, None);
        }
        if let Some(until) = found.until {
            prop_assert!(now < until && until <= ends, "{found:?}");
        }
        if let Some(next) = found.next {
            prop_assert!(now < next && begins <= next && next < ends, "{found:?}");
            prop_assert!(found.since.is_none() || found.until.is_some_and(|until| until < next), "{found:?}");
            // It begins then and not a moment before.
            let first = window(&spec, created, next).unwrap();
            prop_assert_eq!(first.since, Some(next));
            let before = window(&spec, created, next - SignedDuration::from_nanos(1)).unwrap();
            prop_assert!(before.since.is_none(), "{before:?}");
        }
        // Wherever one looks from, it is the same window; and between two there is none.
        let (from, to) = match (found.since, found.until, found.next) {
            (Some(since), Some(until), _) => (since, until),
            (Some(since), None, _) => (since, now),
            (None, _, Some(next)) => (now, next),
            (None, _, None) => (now, now),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "anywhere within it")]
        let between = from + SignedDuration::from_secs((to.duration_since(from).as_secs() as f64 * share) as i64);
        if found.since.is_some() || between < to {
            prop_assert_eq!(&window(&spec, created, between).unwrap(), &found);
        }
        if let Some(until) = found.until {
            let after = window(&spec, created, until).unwrap();
            prop_assert!(after.since.is_none(), "{after:?}");
            prop_assert_eq!(after.next, found.next);
        }
    }

    #[test]
    fn it_holds_exactly_where_one_of_its_moments_is_not_over(
        spec in any_spec(), now in any_moment(), minutes in 1_u32..600,
    ) {
        // Counted out, minute by minute, without any of the above: the wall clock of each minute of the time before.
        let schedule = Schedule { duration: std::time::Duration::from_mins(minutes.into()).into(), ..spec.schedule.unwrap() };
        let Ok(rhythm) = Rhythm::new(&schedule) else { return Ok(()) };
        let spec = DeployFreezeSpec { schedule: Some(schedule), from: None, until: None, ..spec };
        let found = window(&spec, at("2009-01-01T00:00:00Z"), now).unwrap();
        let minute = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(60)).unwrap();
        let shown = |moment: Timestamp| rhythm.zone.to_datetime(moment);
        let named = |shown: DateTime| {
            rhythm.names_month(shown.date())
                && rhythm.names(shown.date())
                && rhythm.minutes.contains(&(i32::from(shown.hour()) * 60 + i32::from(shown.minute())))
        };
        let begins = |moment: Timestamp| {
            let (own, before) = (shown(moment), shown(moment - SignedDuration::from_secs(1)));
            // For the first time: no earlier moment showed that.
            let first = (1..=1560).all(|back| shown(moment - SignedDuration::from_mins(back)) != own);
            // Times that were skipped right before it.
            let mut skipped = iter::successors(before.checked_add(1.second()).ok(), |shown| shown.checked_add(1.minute()).ok())
                .take_while(|shown| *shown < own);
            (named(own) && first) || skipped.any(named)
        };
        let holds = (0..i64::from(minutes))
            .map(|back| minute - SignedDuration::from_mins(back))
            .filter(|moment| now.duration_since(*moment) < SignedDuration::from_mins(minutes.into()))
            .any(begins);
        prop_assert_eq!(found.since.is_some(), holds, "{:?} {:?}", found, spec.schedule);
    }

    #[test]
    fn no_text_is_too_much(cron in "[0-9A-Za-z*,/#?LW+@ -]{0,40}", duration in "[0-9]{1,8}(ms|s|m|h)", zone in "[A-Za-z/_+0-9.-]{1,20}", now in any_moment()) {
        let schedule = json!({"cron": cron, "duration": duration, "zone": zone});
        if let Ok(schedule) = serde_json::from_value::<Schedule>(schedule)
            && let Ok(rhythm) = Rhythm::new(&schedule)
        {
            let found = rhythm.at(now, now);
            prop_assert!(found.next.is_none_or(|next| next > now));
        }
        let schedule = json!({"cron": cron, "duration": duration});
        if let Ok(schedule) = serde_json::from_value::<Schedule>(schedule)
            && let Ok(rhythm) = Rhythm::new(&schedule)
        {
            rhythm.at(now, now);
        }
    }
}
