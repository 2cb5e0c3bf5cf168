//! When something begins again and again, by cron and a clock, and how long it then holds. Touches nothing.
//!
//! The cron library says which dates and which times of the day are meant, by the wall clock. Where clocks are changed, this
//! says what becomes of it: a time that is skipped begins at the first moment after the gap; one that comes twice begins
//! the first time and only once. Zones come from the database within the binary, so that every process has the same.

use std::{iter, sync::LazyLock};

use croner::{
    Cron, Weekday,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

use super::freeze::Window;
use crate::api::deploy_freeze::Schedule;

/// How far a date is looked for that cron names, in months: 29 February on a given weekday comes every 28 years, and every
/// 40 around a year such as 2100.
const FARTHEST: usize = 41 * 12;
/// How many dates on end are followed that leave no moment between them. What holds longer than that holds all the time.
const LONGEST: usize = 400;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Why the times of a freeze can't be understood: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(pub String);

/// A schedule that is understood.
#[derive(Debug)]
pub(super) struct Rhythm {
    cron: Cron,
    /// The times of the day, in minutes, in order; never empty.
    minutes: Vec<i32>,
    /// The longest time from one of them to the next, in minutes.
    widest: i32,
    zone: TimeZone,
    duration: SignedDuration,
}

/// Windows without a moment between them: from a moment on, and until just before another.
type Run = (Timestamp, Timestamp);

impl Rhythm {
    /// # Errors
    /// Where it names no moment, no time that passes, or no zone that is known.
    pub(super) fn new(schedule: &Schedule) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(&schedule.cron).map_err(|problem| {
            ScheduleError(format!(
                "spec.schedule.cron {:?} can't be understood ({problem}): it takes minute, hour, day of the month, month and day of the week",
                schedule.cron
            ))
        })?;
        let zone = match schedule.zone.as_deref() {
            None => TimeZone::UTC,
            Some(name) => ZONES
                .get(name)
                .ok()
                .filter(|zone| !zone.is_unknown())
                .ok_or_else(|| {
                    ScheduleError(format!(
                        "spec.schedule.zone {name:?} is no time zone that is known here: it takes a name such as Europe/Berlin"
                    ))
                })?,
        };
        let duration = std::time::Duration::from(schedule.duration);
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        if schedule.duration.is_negative() || !duration.is_positive() {
            return Err(ScheduleError(
                "spec.schedule.duration is no time that passes: it takes something such as 8h"
                    .to_owned(),
            ));
        }
        let named = |most: u32, names: &dyn Fn(u32) -> bool| -> Vec<u32> {
            (0..most).filter(|value| names(*value)).collect()
        };
        let within = named(60, &|minute| {
            cron.pattern.minute_match(minute).unwrap_or(false)
        });
        let minutes: Vec<i32> = named(24, &|hour| cron.pattern.hour_match(hour).unwrap_or(false))
            .into_iter()
            .flat_map(|hour| within.iter().map(move |minute| hour * 60 + minute))
            .filter_map(|minute| i32::try_from(minute).ok())
            .collect();
        let widest = minutes
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or_default();
        let rhythm = Self {
            cron,
            minutes,
            widest,
            zone,
            duration,
        };
        // Any forty years have every date that there is.
        if rhythm.minutes.is_empty() || rhythm.on_or_after(Date::constant(2000, 1, 1)).is_none() {
            return Err(ScheduleError(format!(
                "spec.schedule.cron {:?} never comes: no date is like that",
                schedule.cron
            )));
        }
        Ok(rhythm)
    }

    /// How it stands at that moment. What began before `earliest` is not looked into; where it holds longer than anybody
    /// follows, it has held since `earliest` and nobody knows until when.
    pub(super) fn at(&self, now: Timestamp, earliest: Timestamp) -> Window {
        let date = self.date(now);
        // Where a clock is set back over midnight, tomorrow has begun already.
        let tomorrow = date.tomorrow().unwrap_or(Date::MAX);
        let mut earlier = self.earlier(tomorrow).skip_while(|(start, _)| *start > now);
        let holding = earlier.next().filter(|(_, end)| now < *end);
        let Some((mut since, mut until)) = holding else {
            return Window {
                next: self
                    .later(date)
                    .map(|(start, _)| start)
                    .find(|start| *start > now),
                ..Window::default()
            };
        };
        let mut followed = 0;
        for (start, end) in earlier {
            if end < since || since <= earliest {
                break;
            }
            followed += 1;
            since = if followed < LONGEST { start } else { earliest };
        }
        let last = until;
        let mut followed = 0;
        let mut next = None;
        // Of what never ends, nothing ends later.
        let ever = (last < Timestamp::MAX).then(|| self.later(date));
        for (start, end) in ever.into_iter().flatten().filter(|(_, end)| *end > last) {
            if start > until {
                next = Some(start);
                break;
            }
            followed += 1;
            until = if followed < LONGEST {
                end
            } else {
                Timestamp::MAX
            };
            if until == Timestamp::MAX {
                break;
            }
        }
        Window {
            since: Some(since),
            until: Some(until).filter(|until| *until < Timestamp::MAX),
            next,
        }
    }

    fn date(&self, moment: Timestamp) -> Date {
        self.zone.to_datetime(moment).date()
    }

    /// Runs of that date and of those before it, the last first.
    fn earlier(&self, date: Date) -> impl Iterator<Item = Run> {
        let dates = iter::successors(self.on_or_before(date), |date| {
            self.on_or_before(date.yesterday().ok()?)
        });
        dates.flat_map(|date| self.runs(date).into_iter().rev())
    }

    /// Runs from the day before that date on: a day that a zone left out begins with the next.
    fn later(&self, date: Date) -> impl Iterator<Item = Run> {
        let yesterday = date.yesterday().unwrap_or(Date::MIN);
        let dates = iter::successors(self.on_or_after(yesterday), |date| {
            self.on_or_after(date.tomorrow().ok()?)
        });
        dates.flat_map(|date| self.runs(date))
    }

    /// What begins on that date, in order; what leaves no moment between is one.
    fn runs(&self, date: Date) -> Vec<Run> {
        let even = self.even(date);
        if let (Some(midnight), [first, .., last]) = (even, self.minutes.as_slice())
            && SignedDuration::from_mins(self.widest.into()) <= self.duration
        {
            return vec![(after(midnight, *first), self.end(after(midnight, *last)))];
        }
        let starts = self.minutes.iter().filter_map(|minute| match even {
            Some(midnight) => Some(after(midnight, *minute)),
            None => self.moment(date, *minute),
        });
        let mut runs: Vec<Run> = Vec::new();
        for start in starts {
            let end = self.end(start);
            match runs.last_mut() {
                Some((_, until)) if start <= *until => *until = end,
                _ => runs.push((start, end)),
            }
        }
        runs
    }

    fn end(&self, start: Timestamp) -> Timestamp {
        start.checked_add(self.duration).unwrap_or(Timestamp::MAX)
    }

    /// The midnight with which a date begins on which no clock is changed.
    fn even(&self, date: Date) -> Option<Timestamp> {
        let midnight = |date: Date| match self.offset(date.to_datetime(Time::midnight())) {
            AmbiguousOffset::Unambiguous { offset } => {
                offset.to_timestamp(date.to_datetime(Time::midnight())).ok()
            }
            AmbiguousOffset::Gap { .. } | AmbiguousOffset::Fold { .. } => None,
        };
        let (begins, ends) = (midnight(date)?, midnight(date.tomorrow().ok()?)?);
        let changed = self.zone.following(begins).next();
        changed
            .is_none_or(|change| change.timestamp() > ends)
            .then_some(begins)
    }

    /// When a clock shows that time for the first time, or has passed it.
    fn moment(&self, date: Date, minute: i32) -> Option<Timestamp> {
        let shown = date
            .to_datetime(Time::midnight())
            .checked_add(minute.minutes())
            .ok()?;
        match self.offset(shown) {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // By the later offset it is still before the change.
                let before = after.to_timestamp(shown).ok()?;
                self.zone
                    .following(before)
                    .next()
                    .map(|change| change.timestamp())
            }
        }
    }

    fn offset(&self, shown: DateTime) -> AmbiguousOffset {
        self.zone.to_ambiguous_timestamp(shown).offset()
    }

    fn on_or_after(&self, date: Date) -> Option<Date> {
        self.nearest(date, Date::tomorrow, Date::last_of_month)
    }

    fn on_or_before(&self, date: Date) -> Option<Date> {
        self.nearest(date, Date::yesterday, Date::first_of_month)
    }

    /// The first date that cron names, from this one on: `step` by step, the last of which within a month is its `edge`.
    fn nearest(
        &self,
        date: Date,
        step: fn(Date) -> Result<Date, jiff::Error>,
        edge: fn(Date) -> Date,
    ) -> Option<Date> {
        let mut from = date;
        for _ in 0..FARTHEST {
            if self.names_month(from) {
                let mut days = iter::successors(Some(from), |day| {
                    step(*day).ok().filter(|day| day.month() == from.month())
                });
                if let Some(found) = days.find(|day| self.names(*day)) {
                    return Some(found);
                }
            }
            from = step(edge(from)).ok()?;
        }
        None
    }

    fn names_month(&self, date: Date) -> bool {
        u32::try_from(date.month())
            .is_ok_and(|month| self.cron.pattern.month_match(month).unwrap_or(false))
    }

    fn names(&self, date: Date) -> bool {
        let (Ok(month), Ok(day), Ok(weekday)) = (
            u32::try_from(date.month()),
            u32::try_from(date.day()),
            u32::try_from(date.weekday().to_sunday_zero_offset()),
        ) else {
            return false;
        };
        let weekday = Weekday::from_days_from_sunday(weekday);
        self.cron
            .pattern
            .day_match(date.year().into(), month, day, weekday)
            .unwrap_or(false)
    }
}

/// So many minutes after midnight, on a date on which no clock is changed.
fn after(midnight: Timestamp, minutes: i32) -> Timestamp {
    midnight
        .checked_add(SignedDuration::from_mins(minutes.into()))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
