//! Where buckets begin: time zones, daylight saving, calendars and round widths, settled before a store is asked.
//!
//! Every adapter is given the same edges, so that no store's own idea of a time zone can change an answer. Nothing here
//! knows a store or a clock.
//!
//! - *Widths* below an hour, and those that neither divide a day into hours nor are whole days, are multiples of the
//!   width since the Unix epoch, in every zone.
//! - *Hours that divide a day* (1, 2, 3, 4, 6, 8, 12) begin at local midnight. A local hour that comes twice, when clocks
//!   are set back, begins a bucket each time where the width is no longer than what is repeated: such a day has 25 hours,
//!   and four quarters, of which the first has seven. A local time that is skipped begins when clocks were set forward.
//! - *Whole days* begin at local midnight and are counted from 1970-01-01.
//! - *Units*: days, weeks from Monday (ISO 8601) and months from the first, all at local midnight.
//!
//! In UTC the first three are the same thing.

use super::{MAX_BUCKETS, STORE, TimeRange, check_range, stats};
use crate::{Result, error::StoreError};
use chrono::{DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::GapInfo;
use std::time::Duration;

/// A time zone of the IANA database, as compiled in.
pub use chrono_tz::Tz as Zone;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// A step of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday (ISO 8601).
    Week,
    /// From the first to the first.
    Month,
}

/// How a range is to be cut into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Not at all: only the total is wanted.
    Whole,
    /// Into buckets of a width, at least a second.
    Width(Duration),
    /// By the calendar.
    Unit(Unit),
    /// By the smallest round step that gives at most so many buckets: 1, 5, 15, 30 seconds or minutes, 1, 3, 6, 12 hours,
    /// a day, a week, 1 or 3 months, 1, 5, 10, 100 or 1,000 years; the range itself is one bucket where none of them does.
    AtMost(usize),
}

/// How far it is from one edge to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// No edges.
    None,
    /// One edge: the range's beginning.
    Once,
    /// Microseconds since the epoch.
    Micros(i64),
    /// Hours since local midnight; divides 24.
    Hours(u32),
    /// Local days: those whose number since 1970-01-01 leaves `phase` when divided by `days`.
    Days { days: i64, phase: i64 },
    /// Local months since the year 0.
    Months(i32),
}

/// The first Monday was four days after 1970-01-01.
const WEEK: Step = Step::Days { days: 7, phase: 4 };

/// The steps that [`Cut::AtMost`] tries, in order.
const ROUND: [Step; 21] = [
    Step::Micros(SECOND),
    Step::Micros(5 * SECOND),
    Step::Micros(15 * SECOND),
    Step::Micros(30 * SECOND),
    Step::Micros(60 * SECOND),
    Step::Micros(300 * SECOND),
    Step::Micros(900 * SECOND),
    Step::Micros(1_800 * SECOND),
    Step::Hours(1),
    Step::Hours(3),
    Step::Hours(6),
    Step::Hours(12),
    Step::Days { days: 1, phase: 0 },
    WEEK,
    Step::Months(1),
    Step::Months(3),
    Step::Months(12),
    Step::Months(60),
    Step::Months(120),
    Step::Months(1_200),
    Step::Months(12_000),
];

/// The zone of this name, such as `Europe/Berlin`.
///
/// # Errors
/// `Invalid` when there is none.
pub fn zone(name: &str) -> Result<Zone> {
    let message = "there is no such time zone; give a name of the IANA database such as `Europe/Berlin`";
    name.parse().map_err(|_| StoreError::invalid(STORE, message))
}

/// A settled way to cut ranges: what was asked of one range can be done to another, such as the period before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Steps {
    step: Step,
    /// The unit, where one was asked for.
    unit: Option<Unit>,
    zone: Zone,
}

impl Steps {
    /// Settles how `range` is cut.
    ///
    /// # Errors
    /// `Invalid` for a range that runs backwards or, where the calendar is needed, leaves the years 1 to 9999; for a
    /// width below a second; for a count of 0 or beyond [`MAX_BUCKETS`].
    pub fn new(range: &TimeRange, cut: Cut, zone: Zone) -> Result<Self> {
        check_range(range)?;
        let mut unit = None;
        let step = match cut {
            Cut::Whole => Step::None,
            Cut::Width(width) if width < Duration::from_secs(1) => {
                return Err(StoreError::invalid(STORE, "a bucket is at least one second wide"));
            }
            Cut::Width(width) => step_of(stats::width_micros(width), zone),
            Cut::Unit(asked) => {
                unit = Some(asked);
                match asked {
                    Unit::Day => Step::Days { days: 1, phase: 0 },
                    Unit::Week => WEEK,
                    Unit::Month => Step::Months(1),
                }
            }
            Cut::AtMost(count) if !(1..=MAX_BUCKETS).contains(&count) => {
                let message = format!("a count of buckets lies between 1 and {MAX_BUCKETS}");
                return Err(StoreError::invalid(STORE, message));
            }
            Cut::AtMost(count) => {
                check_calendar(range)?;
                let fits = |step: &Step| Self { step: *step, unit, zone }.up_to(range, count).is_some();
                ROUND.into_iter().find(fits).unwrap_or(Step::Once)
            }
        };
        Ok(Self { step, unit, zone })
    }

    /// The edges of `range`: what a [`super::StatsQuery`] wants.
    ///
    /// # Errors
    /// `Invalid` as for [`Self::new`], and where they are more than [`MAX_BUCKETS`].
    pub fn edges(&self, range: &TimeRange) -> Result<Vec<DateTime<Utc>>> {
        check_range(range)?;
        if matches!(self.step, Step::Hours(_) | Step::Days { .. } | Step::Months(_)) {
            check_calendar(range)?;
        }
        let many = || StoreError::invalid(STORE, format!("the range has more than {MAX_BUCKETS} buckets"));
        self.up_to(range, MAX_BUCKETS + 1).ok_or_else(many)
    }

    /// The period before `range` that it is compared with.
    ///
    /// Where a unit was asked for, both ends go back by as many days, weeks or months as it takes to cover the range, so
    /// that 1 to 10 March is compared with 1 to 10 February. A range of whole local days is compared with as many days
    /// before it, whatever its buckets. Every other one is compared with as long a time that ends where it begins.
    ///
    /// # Errors
    /// `Invalid` when it would begin before time does.
    pub fn previous(&self, range: &TimeRange) -> Result<TimeRange> {
        check_range(range)?;
        let early = || StoreError::invalid(STORE, "there is no time before the range");
        if let Some(previous) = self.shifted(range).filter(|previous| previous.from < previous.to) {
            return Ok(previous);
        }
        let from = range.from.checked_sub_signed(range.to - range.from).ok_or_else(early)?;
        Ok(TimeRange { from, to: range.from })
    }

    /// The range moved back by the calendar, where that is how it is compared.
    fn shifted(&self, range: &TimeRange) -> Option<TimeRange> {
        check_calendar(range).ok()?;
        let (from, to) = (self.local(range.from), self.local(range.to));
        let days = (to - from).num_days().cast_unsigned();
        let exact = from.checked_add_days(Days::new(days))? == to;
        let back = |time: NaiveDateTime| match self.unit {
            Some(Unit::Month) => time.checked_sub_months(Months::new(months_to_cover(from, to)?)),
            Some(Unit::Week) => time.checked_sub_days(Days::new((days + u64::from(!exact)).div_ceil(7) * 7)),
            Some(Unit::Day) => time.checked_sub_days(Days::new(days + u64::from(!exact))),
            None if exact && days > 0 => time.checked_sub_days(Days::new(days)),
            None => None,
        };
        Some(TimeRange { from: self.instant(back(from)?), to: self.instant(back(to)?) })
    }

    /// The edges of `range` where they are at most `count`.
    fn up_to(&self, range: &TimeRange, count: usize) -> Option<Vec<DateTime<Utc>>> {
        let (from, to) = (range.from.timestamp_micros(), stats::ceil_micros(range.to));
        let most = i64::try_from(count).unwrap_or(i64::MAX);
        let mut edges = match self.step {
            Step::None => return Some(Vec::new()),
            Step::Once => return Some(vec![stats::time(from)]),
            Step::Micros(width) => {
                let (first, last) = (stats::bucket_start(from, width), stats::bucket_start(to - 1, width));
                if (last / width).saturating_sub(first / width) >= most {
                    return None;
                }
                let next = |start: &i64| start.checked_add(width).filter(|start| *start <= last);
                return Some(std::iter::successors(Some(first), next).map(stats::time).collect());
            }
            // No step of the calendar is twice as long as it should be: far too many are known without counting them.
            step if (to - from) / (2 * nominal(step)) > most => return None,
            _ => self.calendar(range, count.saturating_add(4))?,
        };
        edges.sort_unstable();
        edges.dedup();
        edges.retain(|edge| *edge < range.to);
        let before = edges.partition_point(|edge| *edge <= range.from).saturating_sub(1);
        edges.drain(..before);
        (edges.len() <= count).then_some(edges)
    }

    /// The edges around `range` by the calendar, from some before it to one that is not before its end; `None` when
    /// they are more than `count`.
    fn calendar(&self, range: &TimeRange, count: usize) -> Option<Vec<DateTime<Utc>>> {
        let local = self.local(range.from);
        let mut edges = Vec::new();
        // From one step before, because clocks may have been set back since the local beginning.
        for index in -1.. {
            let wall = self.wall(local, index)?;
            let width = match self.step {
                Step::Hours(hours) => TimeDelta::hours(i64::from(hours)),
                _ => TimeDelta::MAX,
            };
            let edge = self.instant(wall);
            // All of a gap begins at its end, and a gap may be a day long.
            if edges.last() != Some(&edge) {
                edges.push(edge);
            }
            if let MappedLocalTime::Ambiguous(first, second) = self.zone.from_local_datetime(&wall)
                && second.signed_duration_since(first).abs() >= width
            {
                edges.push(first.max(second).to_utc());
            }
            if edge >= range.to {
                return Some(edges);
            }
            if edges.len() > count {
                return None;
            }
        }
        None
    }

    /// The local time at which the step begins that is `index` after the one that holds `local`.
    fn wall(&self, local: NaiveDateTime, index: i64) -> Option<NaiveDateTime> {
        let midnight = |date: NaiveDate| date.and_time(chrono::NaiveTime::MIN);
        match self.step {
            Step::Hours(hours) => {
                let hours = i64::from(hours);
                let since = local.and_utc().timestamp().div_euclid(3_600 * hours).checked_add(index)?;
                Some(DateTime::from_timestamp(since.checked_mul(3_600 * hours)?, 0)?.naive_utc())
            }
            Step::Days { days, phase } => {
                let number = local.and_utc().timestamp().div_euclid(86_400);
                let first = number - (number - phase).rem_euclid(days);
                let start = first.checked_add(index.checked_mul(days)?)?;
                Some(DateTime::from_timestamp(start.checked_mul(86_400)?, 0)?.naive_utc())
            }
            Step::Months(months) => {
                let first = month_number(local.date()).div_euclid(months);
                let start = first.checked_add(i32::try_from(index).ok()?)?.checked_mul(months)?;
                let month = u32::try_from(start.rem_euclid(12)).ok()? + 1;
                NaiveDate::from_ymd_opt(start.div_euclid(12), month, 1).map(midnight)
            }
            Step::None | Step::Once | Step::Micros(_) => None,
        }
    }

    fn local(&self, time: DateTime<Utc>) -> NaiveDateTime {
        time.with_timezone(&self.zone).naive_local()
    }

    /// The first instant at which it is `local` or later: the first of two, and the end of a gap.
    fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        let exact = self.zone.from_local_datetime(&local).earliest();
        let end = || GapInfo::new(&local, &self.zone).and_then(|gap| gap.end);
        // Every gap of the database has an end.
        exact.or_else(end).map_or_else(|| local.and_utc(), |time| time.to_utc())
    }
}

/// What a width means in a zone.
fn step_of(width: i64, zone: Zone) -> Step {
    if zone == Zone::UTC {
        Step::Micros(width)
    } else if width % DAY == 0 {
        Step::Days { days: width / DAY, phase: 0 }
    } else if width % HOUR == 0 && DAY % width == 0 {
        Step::Hours(u32::try_from(width / HOUR).unwrap_or(1))
    } else {
        Step::Micros(width)
    }
}

/// How long a step usually is, in microseconds.
fn nominal(step: Step) -> i64 {
    match step {
        Step::None | Step::Once => i64::MAX / 2,
        Step::Micros(width) => width,
        Step::Hours(hours) => HOUR * i64::from(hours),
        Step::Days { days, .. } => days.saturating_mul(DAY).min(i64::MAX / 2),
        Step::Months(months) => 30 * DAY * i64::from(months),
    }
}

/// Months since the year 0.
fn month_number(date: NaiveDate) -> i32 {
    date.year() * 12 + date.month0().cast_signed()
}

/// How many months it takes to get from one time to another or past it.
fn months_to_cover(from: NaiveDateTime, to: NaiveDateTime) -> Option<u32> {
    let apart = u32::try_from(month_number(to.date()) - month_number(from.date())).ok()?;
    Some(apart + u32::from(from.checked_add_months(Months::new(apart))? < to))
}

/// The calendar is asked only about years with four digits, where no local time can leave what the types hold.
fn check_calendar(range: &TimeRange) -> Result<()> {
    let inside = |time: DateTime<Utc>| (1..=9999).contains(&time.year());
    if inside(range.from) && inside(range.to) {
        return Ok(());
    }
    Err(StoreError::invalid(STORE, "a range that is cut by the calendar lies in the years 1 to 9999"))
}

#[cfg(test)]
mod tests;
