//! Which rows answer a question: pure arithmetic on times, so that it can be tested without a server.
//!
//! A range is covered by segments that do not overlap, each answered from events or from one level of roll-ups. A bucket
//! of a roll-up may answer where it lies wholly inside the range, no edge cuts it, and it is known to hold everything:
//! none of its hours is stale, it is kept, and the oldest time from which events are kept does not cut it. What is left
//! is covered by the next finer level, and at last by the events themselves, so counts and sums are exact whatever the
//! range and the edges.
//!
//! A range shorter than [`RAW_BELOW`] is answered from events alone, with exact percentiles, unless they are no longer
//! kept. Otherwise the coarsest rows that fit are taken: once percentiles are inexact, finer rows make them no better.
//!
//! Before the oldest kept event a stale hour changes nothing: retention rolls up what it removes, and what is older is no
//! longer accepted.

use super::schema::Level;
use crate::telemetry::Resolution;

const HOUR: i64 = Level::Hour.width();
/// Some ten thousand events a minute are read at once; more than that is what roll-ups are for.
const RAW_BELOW: i64 = 2 * HOUR;
/// Segments of one statement. Edges that cut more pieces are answered at a finer level.
const MOST_SEGMENTS: usize = 1_000;

/// What the store holds, in microseconds since 1970; `i64::MIN` is "since ever".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The oldest time from which events are kept.
    pub raw_from: i64,
    /// The oldest time from which roll-ups of a minute are kept.
    pub minutes_from: i64,
    /// The oldest time from which roll-ups of an hour are kept.
    pub hours_from: i64,
    /// Beginnings of the hours whose roll-ups may lack events: ascending, each once.
    pub stale: Vec<i64>,
}

/// From and to.
pub type Segment = (i64, i64);

/// What a statement reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// From the events.
    pub raw: Vec<Segment>,
    /// From minutes, hours and days.
    pub levels: [Vec<Segment>; 3],
    /// From here on everything is answered; before it, nothing is.
    pub available_from: i64,
}

impl Plan {
    /// The coarsest rows it reads.
    pub fn resolution(&self) -> Resolution {
        let [minutes, hours, days] = &self.levels;
        match (minutes.is_empty(), hours.is_empty(), days.is_empty()) {
            (_, _, false) => Resolution::Day,
            (_, false, true) => Resolution::Hour,
            (false, true, true) => Resolution::Minute,
            (true, true, true) => Resolution::Raw,
        }
    }

    fn segments(&self) -> usize {
        self.raw.len() + self.levels.iter().map(Vec::len).sum::<usize>()
    }
}

/// The plan for a range and the edges in it. `rolled_up` is false where roll-ups cannot answer, as for one video.
pub fn plan(range: Segment, edges: &[i64], rolled_up: bool, kept: &Kept) -> Plan {
    if !rolled_up {
        return cover(range, edges, None, kept);
    }
    let (from, to) = range;
    let wanted = (to.saturating_sub(from) >= RAW_BELOW).then_some(Level::Day);
    let coarser = [Some(Level::Minute), Some(Level::Hour), Some(Level::Day)];
    let mut best = fine_enough(range, edges, wanted, kept);
    for level in coarser.into_iter().filter(|level| *level > wanted) {
        if best.available_from <= from {
            break;
        }
        let next = fine_enough(range, edges, level, kept);
        if next.available_from < best.available_from {
            best = next;
        }
    }
    best
}

/// The plan at the coarsest level, not coarser than `level`, at which the edges do not cut too many pieces.
fn fine_enough(range: Segment, edges: &[i64], level: Option<Level>, kept: &Kept) -> Plan {
    let mut level = level;
    loop {
        let plan = cover(range, edges, level, kept);
        if plan.segments() <= MOST_SEGMENTS + 4 * kept.stale.len() || level.is_none() {
            return plan;
        }
        level = level.and_then(finer);
    }
}

fn finer(level: Level) -> Option<Level> {
    match level {
        Level::Minute => None,
        Level::Hour => Some(Level::Minute),
        Level::Day => Some(Level::Hour),
    }
}

fn cover((from, to): Segment, edges: &[i64], level: Option<Level>, kept: &Kept) -> Plan {
    let mut cover = Cover { kept, pieces: Vec::new(), missing: from };
    let mut start = from;
    for &edge in edges.iter().filter(|edge| from < **edge && **edge < to) {
        cover.piece(start, edge, level);
        start = edge;
    }
    cover.piece(start, to, level);
    cover.finish()
}

struct Cover<'a> {
    kept: &'a Kept,
    /// In order of time.
    pieces: Vec<(Option<Level>, Segment)>,
    /// The end of the last part that nothing answers.
    missing: i64,
}

impl Cover<'_> {
    /// Covers a part that no edge cuts.
    fn piece(&mut self, from: i64, to: i64, level: Option<Level>) {
        if from >= to {
            return;
        }
        let Some(level) = level else { return self.raw(from, to) };
        let width = level.width();
        let (first, last) = (ceil(from, width).max(ceil(self.kept_from(level), width)), floor(to, width));
        if first >= last {
            return self.piece(from, to, finer(level));
        }
        self.piece(from, first, finer(level));
        let mut start = first;
        for bucket in self.unusable(level, first, last) {
            self.push(Some(level), start, bucket);
            self.piece(bucket, bucket + width, finer(level));
            start = bucket + width;
        }
        self.push(Some(level), start, last);
        self.piece(last, to, finer(level));
    }

    fn kept_from(&self, level: Level) -> i64 {
        match level {
            Level::Minute => self.kept.minutes_from,
            Level::Hour => self.kept.hours_from,
            Level::Day => i64::MIN,
        }
    }

    /// Buckets between `first` and `last` that must not answer, in order.
    fn unusable(&self, level: Level, first: i64, last: i64) -> Vec<i64> {
        let (width, raw_from) = (level.width(), self.kept.raw_from);
        // From here on a stale hour can still be answered from its events.
        let fresh = ceil(raw_from, Level::Minute.width());
        let cut = (floor(raw_from, width) < raw_from).then(|| floor(raw_from, width));
        let from = self.kept.stale.partition_point(|hour| hour.saturating_add(HOUR) <= first.max(fresh));
        let until = self.kept.stale.partition_point(|hour| *hour < last);
        let stale = self.kept.stale.get(from..until).unwrap_or_default();
        let mut buckets: Vec<i64> = match level {
            Level::Minute => {
                let minutes = stale.iter().flat_map(|hour| (0..60).map(move |minute| hour + minute * width));
                minutes.filter(|minute| *minute >= fresh).collect()
            }
            Level::Hour | Level::Day => stale.iter().map(|hour| floor(*hour, width)).collect(),
        };
        buckets.extend(cut);
        buckets.retain(|bucket| first <= *bucket && *bucket < last);
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    fn raw(&mut self, from: i64, to: i64) {
        // The minute that retention cuts holds what is left of it: no other row knows better.
        let whole = floor(self.kept.raw_from, Level::Minute.width());
        if from < whole {
            self.missing = to.min(whole);
        }
        self.push(None, from.max(whole), to);
    }

    fn push(&mut self, level: Option<Level>, from: i64, to: i64) {
        if from >= to {
            return;
        }
        match self.pieces.last_mut() {
            Some((last, (_, end))) if *last == level && *end == from => *end = to,
            _ => self.pieces.push((level, (from, to))),
        }
    }

    fn finish(self) -> Plan {
        let mut plan = Plan { available_from: self.missing, ..Plan::default() };
        for (level, (from, to)) in self.pieces {
            // A part in the middle that nothing answers: what lies before it is left out, rather than counted as whole.
            if to <= self.missing {
                continue;
            }
            let into = match level {
                None => Some(&mut plan.raw),
                Some(level) => plan.levels.get_mut(level as usize),
            };
            if let Some(into) = into {
                into.push((from, to));
            }
        }
        plan
    }
}

fn floor(time: i64, width: i64) -> i64 {
    if time == i64::MIN { time } else { time.div_euclid(width).saturating_mul(width) }
}

fn ceil(time: i64, width: i64) -> i64 {
    let floor = floor(time, width);
    if floor == time { time } else { floor.saturating_add(width) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = Level::Minute.width();
    const DAY: i64 = Level::Day.width();

    fn everything() -> Kept {
        Kept { raw_from: i64::MIN, minutes_from: i64::MIN, hours_from: i64::MIN, stale: Vec::new() }
    }

    #[test]
    fn short_ranges_are_read_from_events_and_long_ones_as_coarsely_as_they_can_be() {
        let resolution = |length| plan((5, 5 + length), &[], true, &everything()).resolution();
        assert_eq!(resolution(RAW_BELOW - 1), Resolution::Raw);
        assert_eq!(resolution(RAW_BELOW), Resolution::Hour);
        assert_eq!(resolution(2 * DAY), Resolution::Day);
        assert_eq!(plan((5, 5 + DAY), &[], false, &everything()).resolution(), Resolution::Raw);
        let minutes: Vec<i64> = (0..120).map(|minute| minute * MINUTE).collect();
        assert_eq!(plan((0, RAW_BELOW), &minutes, true, &everything()).resolution(), Resolution::Minute);
    }

    #[test]
    fn the_ends_of_a_range_are_read_finer() {
        let plan = plan((DAY - HOUR - MINUTE - 1, 70 * DAY + 1), &[], true, &everything());
        let first = DAY - HOUR - MINUTE;
        assert_eq!(plan.raw, [(first - 1, first), (70 * DAY, 70 * DAY + 1)]);
        assert_eq!(plan.levels, [vec![(first, DAY - HOUR)], vec![(DAY - HOUR, DAY)], vec![(DAY, 70 * DAY)]]);
        assert_eq!(plan.available_from, first - 1);
    }

    #[test]
    fn a_stale_hour_is_read_from_its_events() {
        let kept = Kept { stale: vec![2 * DAY + 3 * HOUR], ..everything() };
        let plan = plan((0, 70 * DAY), &[], true, &kept);
        assert_eq!(plan.raw, [(2 * DAY + 3 * HOUR, 2 * DAY + 4 * HOUR)]);
        assert_eq!(plan.levels[1], [(2 * DAY, 2 * DAY + 3 * HOUR), (2 * DAY + 4 * HOUR, 3 * DAY)]);
        assert_eq!(plan.levels[2], [(0, 2 * DAY), (3 * DAY, 70 * DAY)]);
    }

    #[test]
    fn edges_that_no_minute_fits_between_are_read_from_events() {
        let edges: Vec<i64> = (0..10_000).map(|edge| edge * 7_000_000).collect();
        let plan = plan((0, 70_000 * 1_000_000), &edges, true, &everything());
        assert_eq!((plan.raw.len(), plan.resolution()), (1, Resolution::Raw));
    }

    #[test]
    fn what_is_no_longer_kept_is_answered_as_coarsely_as_it_must_be() {
        let kept = Kept { raw_from: 50 * DAY, minutes_from: 40 * DAY, hours_from: 30 * DAY, stale: vec![55 * DAY] };
        let hour = plan((45 * DAY, 45 * DAY + HOUR), &[], true, &kept);
        assert_eq!((hour.resolution(), hour.available_from), (Resolution::Minute, 45 * DAY));
        let older = plan((35 * DAY, 35 * DAY + HOUR), &[], true, &kept);
        assert_eq!((older.resolution(), older.available_from), (Resolution::Hour, 35 * DAY));
        let oldest = plan((20 * DAY, 21 * DAY), &[], true, &kept);
        assert_eq!((oldest.resolution(), oldest.available_from), (Resolution::Day, 20 * DAY));
        // The beginning of a day is gone, and the answer says so.
        let cut = plan((20 * DAY + 1, 100 * DAY), &[], true, &kept);
        assert_eq!(cut.available_from, 21 * DAY);
        assert_eq!(plan((DAY, 100 * DAY), &[], false, &kept).available_from, 50 * DAY);
    }

    #[test]
    fn the_minute_that_retention_cuts_is_read_from_what_is_left_of_it() {
        let kept = Kept { raw_from: 50 * DAY + 10_000_000, ..everything() };
        let plan = plan((0, 100 * DAY), &[], true, &kept);
        assert_eq!(plan.raw, [(50 * DAY, 50 * DAY + MINUTE)]);
        assert_eq!(plan.levels[0], [(50 * DAY + MINUTE, 50 * DAY + HOUR)]);
        assert_eq!(plan.available_from, 0);
    }

    /// Each microsecond once, no row where it must not answer: checked on a scale of minutes.
    fn holds(range: Segment, edges: &[i64], kept: &Kept, plan: &Plan) -> Result<(), TestCaseError> {
        let mut all: Vec<(usize, Segment)> = plan.raw.iter().map(|segment| (0, *segment)).collect();
        for (level, segments) in plan.levels.iter().enumerate() {
            all.extend(segments.iter().map(|segment| (level + 1, *segment)));
        }
        all.sort_by_key(|(_, segment)| *segment);
        let mut at = plan.available_from;
        for (level, (from, to)) in all {
            prop_assert!(from <= at && at < to, "a gap or an overlap at {}", at);
            at = to;
            let Some(level) = level.checked_sub(1).map(|level| Level::ALL[level]) else { continue };
            prop_assert!(from % level.width() == 0 && to % level.width() == 0);
            let cut = edges.iter().any(|edge| from < *edge && *edge < to && edge % level.width() != 0);
            prop_assert!(!cut, "an edge cuts a bucket");
            let stale = |hour: &i64| *hour < to && from < hour + HOUR && hour + HOUR > kept.raw_from;
            if level != Level::Minute {
                prop_assert!(!kept.stale.iter().any(stale), "a stale hour is read from a roll-up");
            }
        }
        prop_assert!(at == range.1.max(plan.available_from));
        Ok(())
    }

    proptest! {
        #[test]
        fn a_plan_covers_a_range_once(
            (from, length) in (0_i64..100 * DAY, 1_i64..200 * DAY),
            step in prop_oneof![Just(HOUR), Just(DAY), Just(MINUTE * 7), 1_i64..3 * DAY],
            (raw_from, minutes_from, hours_from) in (0_i64..150 * DAY, 0_i64..100 * DAY, 0_i64..50 * DAY),
            stale in prop::collection::btree_set(0_i64..24 * 300, 0..20),
            rolled_up in any::<bool>(),
        ) {
            let range = (from, from + length);
            let edges: Vec<i64> = (0..10_000).map(|n| from + n * step).take_while(|edge| *edge < range.1).collect();
            let stale = stale.into_iter().map(|hour| hour * HOUR).collect();
            let kept = Kept { raw_from, minutes_from, hours_from, stale };
            let plan = plan(range, &edges, rolled_up, &kept);
            holds(range, &edges, &kept, &plan)?;
            prop_assert!(plan.available_from >= from && plan.available_from <= range.1);
            let all = Kept { raw_from: i64::MIN, ..everything() };
            prop_assert_eq!(super::plan(range, &edges, rolled_up, &all).available_from, from);
        }
    }
}
