//! Edges on known days of daylight saving, and against the definitions on any range.

use super::*;
use proptest::prelude::*;

const BERLIN: Zone = Zone::Europe__Berlin;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn range(from: &str, to: &str) -> TimeRange {
    TimeRange { from: at(from), to: at(to) }
}

fn width(hours: u64) -> Cut {
    Cut::Width(Duration::from_secs(hours * 3_600))
}

fn edges(range: &TimeRange, cut: Cut, zone: Zone) -> Vec<DateTime<Utc>> {
    Steps::new(range, cut, zone).unwrap().edges(range).unwrap()
}

/// Local beginnings as `hour:minute`.
fn clock(edges: &[DateTime<Utc>], zone: Zone) -> Vec<String> {
    edges.iter().map(|edge| edge.with_timezone(&zone).format("%H:%M").to_string()).collect()
}

/// Lengths of the buckets in hours, the last one up to `to`.
fn hours(edges: &[DateTime<Utc>], to: DateTime<Utc>) -> Vec<f64> {
    let ends = edges.iter().skip(1).chain([&to]);
    edges.iter().zip(ends).map(|(start, end)| (*end - *start).as_seconds_f64() / 3_600.0).collect()
}

fn refused<T>(result: Result<T>) -> String {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    error.message().to_owned()
}

fn previous(range: &TimeRange, cut: Cut, zone: Zone) -> TimeRange {
    Steps::new(range, cut, zone).unwrap().previous(range).unwrap()
}

#[test]
fn widths_in_utc_are_aligned_to_the_epoch() {
    let day = range("2025-12-31T00:00:05Z", "2025-12-31T00:00:20Z");
    let found = edges(&day, Cut::Width(Duration::from_secs(7)), Zone::UTC);
    assert!(found.iter().all(|edge| edge.timestamp() % 7 == 0));
    assert_eq!((found.len(), found[0]), (3, at("2025-12-30T23:59:59Z")));
    // A width of weeks is counted from the epoch, which was a Thursday.
    let month = range("2026-01-05T00:00:00Z", "2026-01-20T00:00:00Z");
    assert_eq!(edges(&month, width(7 * 24), Zone::UTC)[0], at("2026-01-01T00:00:00Z"));
    assert!(edges(&month, Cut::Whole, Zone::UTC).is_empty());
}

#[test]
fn days_of_daylight_saving_are_shorter_and_longer() {
    let spring = range("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    let autumn = range("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    assert_eq!(edges(&spring, Cut::Unit(Unit::Day), BERLIN), [spring.from]);
    assert_eq!(edges(&autumn, Cut::Unit(Unit::Day), BERLIN), [autumn.from]);
    assert_eq!(clock(&edges(&spring, width(1), BERLIN), BERLIN)[..4], ["00:00", "01:00", "03:00", "04:00"]);
    assert_eq!(hours(&edges(&spring, width(1), BERLIN), spring.to), [1.0; 23]);
    assert_eq!(clock(&edges(&autumn, width(1), BERLIN), BERLIN)[..5], ["00:00", "01:00", "02:00", "02:00", "03:00"]);
    assert_eq!(hours(&edges(&autumn, width(1), BERLIN), autumn.to), [1.0; 25]);
    assert_eq!(hours(&edges(&spring, width(6), BERLIN), spring.to), [5.0, 6.0, 6.0, 6.0]);
    assert_eq!(hours(&edges(&autumn, width(6), BERLIN), autumn.to), [7.0, 6.0, 6.0, 6.0]);
    assert_eq!(hours(&edges(&autumn, width(2), BERLIN), autumn.to)[..3], [2.0, 3.0, 2.0]);
    // A range that begins in the second of the two hours is not counted from the first.
    let second = range("2026-10-25T01:30:00Z", "2026-10-25T03:00:00Z");
    assert_eq!(edges(&second, width(1), BERLIN), [at("2026-10-25T01:00:00Z"), at("2026-10-25T02:00:00Z")]);
    // A width in days is a number of local days.
    let week = range("2026-03-26T23:00:00Z", "2026-04-01T22:00:00Z");
    assert_eq!(hours(&edges(&week, width(24), BERLIN), week.to), [24.0, 24.0, 23.0, 24.0, 24.0, 24.0]);
    // What does not divide a day is not of the day.
    assert!(edges(&week, width(5), BERLIN).iter().all(|edge| edge.timestamp() % (5 * 3_600) == 0));
}

#[test]
fn a_midnight_that_is_skipped_or_repeated_is_one_edge() {
    // Clocks in Santiago are set forward at midnight: the day begins at one.
    let zone = Zone::America__Santiago;
    let days = range("2025-09-06T04:00:00Z", "2025-09-09T03:00:00Z");
    assert_eq!(clock(&edges(&days, Cut::Unit(Unit::Day), zone), zone), ["00:00", "01:00", "00:00"]);
    // In Havana they are set back at one to midnight: the day has it twice.
    let zone = Zone::America__Havana;
    let days = range("2025-11-01T04:00:00Z", "2025-11-04T05:00:00Z");
    assert_eq!(hours(&edges(&days, Cut::Unit(Unit::Day), zone), days.to), [24.0, 25.0, 24.0]);
    // Samoa left out a day.
    let zone = Zone::Pacific__Apia;
    let days = range("2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z");
    assert_eq!(hours(&edges(&days, Cut::Unit(Unit::Day), zone), days.to), [24.0, 24.0, 24.0]);
    assert_eq!(edges(&days, width(1), zone).len(), 72);
    // Half hours: Lord Howe Island is set back by one of them, India is off by one.
    let zone = Zone::Australia__Lord_Howe;
    let day = range("2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z");
    assert_eq!(hours(&edges(&day, width(1), zone), day.to)[..3], [1.0, 1.5, 1.0]);
    let india = range("2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z");
    assert_eq!(clock(&edges(&india, width(1), Zone::Asia__Kolkata), Zone::Asia__Kolkata), ["05:00", "06:00", "07:00"]);
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let year = range("2025-12-31T12:00:00Z", "2026-03-02T00:00:00Z");
    let weeks = edges(&year, Cut::Unit(Unit::Week), BERLIN);
    assert_eq!((weeks.len(), weeks[0]), (10, at("2025-12-28T23:00:00Z")));
    assert!(weeks.iter().all(|edge| edge.with_timezone(&BERLIN).weekday() == chrono::Weekday::Mon));
    let months = edges(&year, Cut::Unit(Unit::Month), BERLIN);
    let expected = ["2025-11-30T23:00:00Z", "2025-12-31T23:00:00Z", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z"];
    assert_eq!(months, expected.map(at));
    let before_the_epoch = range("1969-12-30T00:00:00Z", "1970-01-02T00:00:00Z");
    assert_eq!(edges(&before_the_epoch, Cut::Unit(Unit::Week), Zone::UTC), [at("1969-12-29T00:00:00Z")]);
}

#[test]
fn the_smallest_round_step_is_picked() {
    let from = at("2026-01-01T00:00:00Z");
    let picked = |seconds, count| {
        let range = TimeRange { from, to: from + TimeDelta::seconds(seconds) };
        let found = edges(&range, Cut::AtMost(count), Zone::UTC);
        assert!((1..=count).contains(&found.len()));
        found.get(1).map_or(0, |second| (*second - found[0]).num_seconds())
    };
    const DAY: i64 = 86_400;
    let cases = [
        (60, 60, 1),
        (61, 60, 5),
        (3_600, 100, 60),
        (DAY, 24, 3_600),
        (DAY, 25, 3_600),
        (DAY, 23, 10_800),
        (DAY, 288, 300),
        (30 * DAY, 30, DAY),
        (30 * DAY, 29, 7 * DAY),
        (365 * DAY, 12, 31 * DAY),
        (365 * DAY, 11, 90 * DAY),
        (DAY, 1, 0),
    ];
    for (seconds, count, step) in cases {
        assert_eq!(picked(seconds, count), step, "{seconds} s in {count}");
    }
    // Weeks are those of the calendar.
    let weeks = edges(&TimeRange { from, to: from + TimeDelta::days(30) }, Cut::AtMost(6), Zone::UTC);
    assert_eq!(weeks[0], at("2025-12-29T00:00:00Z"));
    // Where every step has an edge inside, the range is one bucket.
    let around = range("1999-12-20T00:00:00.5Z", "2000-01-10T00:00:00.5Z");
    assert_eq!(edges(&around, Cut::AtMost(1), Zone::UTC), [around.from]);
    let all = range("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z");
    assert_eq!(edges(&all, Cut::AtMost(10), BERLIN).len(), 10);
}

#[test]
fn the_previous_period_is_that_of_the_calendar_or_as_long() {
    let days = range("2026-03-29T22:00:00Z", "2026-03-31T22:00:00Z");
    // The day before has 23 hours.
    let before = range("2026-03-27T23:00:00Z", "2026-03-29T22:00:00Z");
    for cut in [Cut::Whole, width(1), width(24), Cut::Unit(Unit::Day), Cut::AtMost(5)] {
        assert_eq!(previous(&days, cut, BERLIN), before, "{cut:?}");
    }
    assert_eq!(previous(&days, Cut::Whole, Zone::UTC), range("2026-03-27T22:00:00Z", "2026-03-29T22:00:00Z"));
    let months = |from: &str, to: &str| previous(&range(from, to), Cut::Unit(Unit::Month), Zone::UTC);
    let cases = [
        ("2026-03-01", "2026-04-01", "2026-02-01", "2026-03-01"),
        ("2026-03-01", "2026-03-10", "2026-02-01", "2026-02-10"),
        ("2026-01-01", "2026-04-01", "2025-10-01", "2026-01-01"),
        ("2026-01-15", "2026-02-15", "2025-12-15", "2026-01-15"),
        ("2026-01-15", "2026-02-16", "2025-11-15", "2025-12-16"),
        // Both ends fall on the last day of February: as long a time instead.
        ("2026-03-30", "2026-03-31", "2026-03-29", "2026-03-30"),
    ];
    let midnight = |date: &str| format!("{date}T00:00:00Z");
    for (from, to, earlier, later) in cases {
        let found = months(&midnight(from), &midnight(to));
        assert_eq!(found, range(&midnight(earlier), &midnight(later)), "{from} to {to}");
    }
    let part = range("2026-03-02T00:00:00Z", "2026-03-11T12:00:00Z");
    let weeks = previous(&part, Cut::Unit(Unit::Week), Zone::UTC);
    assert_eq!(weeks, range("2026-02-16T00:00:00Z", "2026-02-25T12:00:00Z"));
    let hours = range("2026-03-29T00:00:00Z", "2026-03-29T06:00:00Z");
    assert_eq!(previous(&hours, width(1), BERLIN), range("2026-03-28T18:00:00Z", "2026-03-29T00:00:00Z"));
    // Inside the repeated hour local times run backwards.
    let repeated = range("2026-10-25T00:30:00Z", "2026-10-25T01:15:00Z");
    let before = range("2026-10-24T23:45:00Z", "2026-10-25T00:30:00Z");
    assert_eq!(previous(&repeated, Cut::Unit(Unit::Day), BERLIN), before);
    let first = TimeRange { from: DateTime::<Utc>::MIN_UTC, to: DateTime::UNIX_EPOCH };
    refused(Steps::new(&first, Cut::Whole, Zone::UTC).unwrap().previous(&first));
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    assert_eq!(zone("Europe/Berlin").unwrap(), BERLIN);
    for bad in ["", "Europe/Atlantis", "+01:00", "berlin"] {
        assert!(refused(zone(bad)).contains("Europe/Berlin"), "{bad}");
    }
    let day = range("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let back = TimeRange { from: day.to, to: day.from };
    for cut in [Cut::Whole, width(1), Cut::AtMost(3)] {
        refused(Steps::new(&back, cut, BERLIN));
    }
    for cut in [Cut::Width(Duration::from_millis(999)), Cut::AtMost(0), Cut::AtMost(MAX_BUCKETS + 1)] {
        refused(Steps::new(&day, cut, Zone::UTC));
    }
    let many = |range: &TimeRange, cut| Steps::new(range, cut, BERLIN).unwrap().edges(range);
    assert!(refused(many(&day, Cut::Width(Duration::from_secs(1)))).contains("10000"));
    let long = range("1900-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    refused(many(&long, Cut::Unit(Unit::Day)));
    refused(many(&long, width(1)));
    let always = TimeRange { from: DateTime::<Utc>::MIN_UTC, to: DateTime::<Utc>::MAX_UTC };
    refused(many(&always, Cut::Unit(Unit::Month)));
    refused(Steps::new(&always, Cut::AtMost(5), BERLIN));
    // Without a calendar there is no bound on years.
    assert!(edges(&always, Cut::Width(Duration::MAX), Zone::UTC).len() > 1);
    assert!(many(&always, Cut::Whole).unwrap().is_empty());
}

/// Any zone whose clocks did something odd in the years of [`any_range`], and some where they never do.
fn any_zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(vec![
        Zone::UTC,
        BERLIN,
        Zone::America__New_York,
        Zone::America__Santiago,
        Zone::America__Havana,
        Zone::Africa__Casablanca,
        Zone::Asia__Kathmandu,
        Zone::Australia__Lord_Howe,
        Zone::Pacific__Apia,
        Zone::Antarctica__Troll,
    ])
}

fn any_range() -> impl Strategy<Value = TimeRange> {
    // 2009 to 2030, up to 60 days.
    (1_230_768_000_000_000_i64..1_893_456_000_000_000, 1_i64..60 * 86_400_000_000).prop_map(|(from, length)| {
        let from = stats::time(from);
        TimeRange { from, to: from + TimeDelta::microseconds(length) }
    })
}

fn any_cut() -> impl Strategy<Value = Cut> {
    let widths = [600, 1_800, 3_600, 7_200, 10_800, 18_000, 21_600, 43_200, 86_400, 259_200, 100_000];
    prop_oneof![
        prop::sample::select(widths.to_vec()).prop_map(|seconds| Cut::Width(Duration::from_secs(seconds))),
        prop::sample::select(vec![Unit::Day, Unit::Week, Unit::Month]).prop_map(Cut::Unit),
        (1_usize..400).prop_map(Cut::AtMost),
    ]
}

proptest! {
    #[test]
    fn edges_cover_the_range_in_order(range in any_range(), cut in any_cut(), zone in any_zone()) {
        let edges = edges(&range, cut, zone);
        prop_assert!(edges.is_sorted_by(|a, b| a < b));
        prop_assert!(edges[0] <= range.from && *edges.last().unwrap() < range.to);
        prop_assert!(edges.get(1).is_none_or(|second| *second > range.from));
        if let Cut::AtMost(count) = cut {
            prop_assert!(edges.len() <= count);
        }
    }

    #[test]
    fn edges_do_not_depend_on_the_range(range in any_range(), cut in any_cut(), zone in any_zone(), part in 0.0..1.0_f64) {
        prop_assume!(!matches!(cut, Cut::AtMost(_)));
        let steps = Steps::new(&range, cut, zone).unwrap();
        let length = (range.to - range.from).num_microseconds().unwrap();
        let later = TimeRange { from: range.from + TimeDelta::microseconds((length as f64 * part) as i64), ..range };
        prop_assume!(later.from < later.to);
        let (all, some) = (steps.edges(&range).unwrap(), steps.edges(&later).unwrap());
        prop_assert!(all.ends_with(&some));
    }

    #[test]
    fn calendar_edges_begin_local_days(range in any_range(), unit in prop::sample::select(vec![Unit::Day, Unit::Week, Unit::Month]), zone in any_zone()) {
        for edge in edges(&range, Cut::Unit(unit), zone) {
            let local = edge.with_timezone(&zone).naive_local();
            let before = (edge - TimeDelta::microseconds(1)).with_timezone(&zone).naive_local();
            prop_assert!(before.date() < local.date(), "{local} follows {before}");
            prop_assert!(unit != Unit::Month || before.month() != local.month());
            prop_assert!(unit != Unit::Week || local.date().iso_week() != before.date().iso_week());
        }
    }

    #[test]
    fn the_previous_period_ends_before_the_range_does(range in any_range(), cut in any_cut(), zone in any_zone()) {
        let previous = previous(&range, cut, zone);
        prop_assert!(previous.from < previous.to && previous.to < range.to && previous.from < range.from);
        let steps = Steps::new(&range, cut, zone).unwrap();
        prop_assert!(!steps.edges(&previous).unwrap().is_empty());
    }
}
