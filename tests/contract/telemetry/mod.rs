//! The cases of the telemetry port, and the adapters they run on.
//!
//! `writes` holds appends, look-ups, tenancy and retention; `pages` the lists; `statistics` the aggregates; `calendar`
//! time zones, comparisons and freshness; `rankings` who has most; `model` what holds for any events.
//!
//! Percentiles are compared as closely as the answer says they are, and nothing is assumed about what it was made from.

mod calendar;
mod model;
mod pages;
mod rankings;
mod statistics;
mod writes;

use crate::{Adapter, Case, World, servers};
use chimera_stores::{
    Address, Clock, ErrorKind, Guard, ManualClock, Result, Scope, Store,
    telemetry::{
        Aggregate, EventPageQuery, Fill, Measure, Policies, RankBy, RankKey, RankOrder, Ranking, RankingQuery,
        RenderEvent, SqliteTelemetry, Stage, Stats, StatsQuery, Subject, Telemetry, TimeRange, TimescaleSettings,
        TimescaleTelemetry,
        edges::{Cut, Steps, Unit, Zone},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::test_runner::{Config, TestRunner};
use std::{path::PathBuf, sync::Arc, time::Duration};
use test_servers::{Flavour, Postgres};
use uuid::Uuid;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Telemetry>] = &[
    Adapter {
        name: "sqlite",
        found: || true,
        open: |folder, clock| {
            Box::pin(async move {
                let file = folder.join("telemetry.db");
                let store = SqliteTelemetry::open(&file, Policies::default(), clock).await.unwrap();
                Telemetry::new(Guard::detached(Store::Telemetry), Arc::new(store))
            })
        },
    },
    Adapter {
        name: "timescale",
        found: || Postgres::found(Flavour::Timescale),
        open: |folder, clock| Box::pin(server(servers::timescale(), "timescaledb", folder, clock)),
    },
    Adapter {
        name: "postgres-telemetry",
        found: || Postgres::found(Flavour::Plain),
        open: |folder, clock| Box::pin(server(servers::postgres_shared(), "postgres", folder, clock)),
    },
];

/// A schema of its own for each folder, all in one database: each database with TimescaleDB holds a scheduler, and
/// hundreds of them would starve each other.
async fn server(url: String, scheme: &str, folder: PathBuf, clock: Arc<ManualClock>) -> Telemetry {
    let address = Address::new(url.replacen("postgres", scheme, 1));
    let settings = TimescaleSettings { schema: servers::name(&folder), pool: 8, ..TimescaleSettings::default() };
    let store = TimescaleTelemetry::open(&address, settings, clock).await.unwrap();
    Telemetry::new(Guard::detached(Store::Telemetry), Arc::new(store))
}

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => { &[$((stringify!($name), |world| Box::pin($module::$name(world)))),*] };
}

/// Every case of the port.
pub const CASES: &[Case<Telemetry>] = cases![
    writes::what_was_appended_is_read,
    writes::absent_ids_are_none,
    writes::duplicate_ids_in_a_batch_are_answered_each,
    writes::empty_batches_are_fine,
    writes::an_append_is_idempotent,
    writes::the_first_event_of_an_id_stays,
    writes::an_id_belongs_to_its_organisation,
    writes::another_organisation_sees_nothing,
    writes::too_many_events_are_refused,
    writes::events_out_of_bounds_are_named_and_nothing_is_stored,
    writes::extreme_values_are_kept_exactly,
    writes::times_are_kept_to_the_microsecond,
    writes::a_full_append_is_stored,
    writes::the_far_future_is_refused_by_the_stores_clock,
    writes::late_events_are_welcome,
    writes::a_clock_that_jumps_back_loses_nothing,
    writes::retain_removes_what_is_older_everywhere,
    writes::concurrent_writers_lose_nothing,
    writes::concurrent_writers_of_one_id_store_it_once,
    writes::what_was_acknowledged_is_there_after_a_restart,
    writes::an_abandoned_append_leaves_the_store_usable,
    writes::health_and_capabilities_are_told,
    pages::pages_are_newest_first_then_by_id,
    pages::paging_forward_equals_slicing,
    pages::paging_backward_equals_slicing,
    pages::pages_between_two_cursors,
    pages::a_cursor_is_stable_under_inserts,
    pages::pages_are_filtered_by_subject_stage_and_range,
    pages::many_pages_come_in_one_batch,
    pages::page_arguments_out_of_bounds_are_refused,
    pages::any_slice_equals_the_model,
    statistics::nothing_has_no_statistics,
    statistics::a_total_is_exact,
    statistics::every_measure_has_its_values,
    statistics::buckets_are_aligned_to_the_epoch,
    statistics::gaps_are_filled_as_asked,
    statistics::statistics_are_filtered_by_subject_and_stage,
    statistics::many_statistics_come_in_one_batch,
    statistics::costs_are_exact_beyond_floats,
    statistics::a_range_is_half_open,
    statistics::arguments_out_of_bounds_are_refused,
    calendar::a_day_of_daylight_saving_has_23_or_25_hours,
    calendar::gaps_of_uneven_buckets_are_filled_by_time,
    calendar::weeks_and_months_are_those_of_the_calendar,
    calendar::a_period_is_asked_with_the_one_before,
    calendar::what_is_fresh_is_counted,
    calendar::an_answer_tells_its_error,
    calendar::storage_is_told,
    rankings::nothing_has_no_ranking,
    rankings::rankings_are_in_order_of_merit,
    rankings::ties_are_by_key_and_the_limit_holds,
    rankings::another_organisation_is_not_ranked,
    rankings::rankings_are_filtered_by_subject_stage_and_range,
    rankings::many_rankings_come_in_one_batch,
    rankings::ranking_arguments_out_of_bounds_are_refused,
    model::statistics_equal_the_model,
    model::rankings_equal_the_model,
];

type TelemetryWorld = World<Telemetry>;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// An event of video 10, persona 20 and campaign 30, `seconds` after the epoch of these cases.
fn event(number: u128, seconds: i64) -> RenderEvent {
    RenderEvent {
        id: id(number),
        video_id: id(10),
        persona_id: id(20),
        campaign_id: Some(id(30)),
        stage: Stage::Render,
        at: at(seconds),
        duration_ms: 100,
        cost_micros: 7,
        frames: 24,
        gpu_seconds: 0.5,
        succeeded: true,
    }
}

/// `seconds` after 2025-12-31T00:00:00Z: a day before the clock of a world, hence in no one's future.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_139_200 + seconds, 0).unwrap()
}

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange { from: at(from), to: at(to) }
}

fn edges(range: &TimeRange, cut: Cut, zone: Zone) -> Vec<DateTime<Utc>> {
    Steps::new(range, cut, zone).unwrap().edges(range).unwrap()
}

/// Whether two values are the same, rounding of sums and a relative error apart.
fn near(found: Option<f64>, expected: Option<f64>, error: f64) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= expected.abs() * (error + 1e-9),
        (found, expected) => found == expected,
    }
}

/// Fails unless two aggregates are the same: all but sums and means exactly, percentiles within `error`.
fn assert_same(found: &Aggregate, expected: &Aggregate, error: f64, what: impl std::fmt::Debug) {
    let exact = |a: &Aggregate| (a.count, a.failed, a.min, a.max);
    let same = exact(found) == exact(expected)
        && near(found.sum, expected.sum, 0.0)
        && near(found.avg, expected.avg, 0.0)
        && near(found.p50, expected.p50, error)
        && near(found.p95, expected.p95, error)
        && near(found.p99, expected.p99, error);
    assert!(same, "{what:?}: found {found:?}, expected {expected:?}, percentiles within {error}");
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

/// A property test's runner. Failing inputs are printed, not written to a file.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}
