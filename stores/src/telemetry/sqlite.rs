//! Render events in one SQLite file of their own, `telemetry.db`: the embedded default.
//!
//! One connection writes, several read beside it (write-ahead log). An append is one statement that commits with an
//! fsync before it is acknowledged; it survives `kill -9` and a crash of the machine. Statistics read every event of
//! their range: right for some millions of events, no match for continuous aggregates.
//!
//! - *Batches*: queries that differ in the subject alone share one statement ([`queries`]); statements of one batch run
//!   side by side on the readers.
//! - *Time*: kept to the microsecond; what is finer is cut off.
//! - *Out of range*: an event more than 24 hours in the future is `Invalid` (a clock is wrong, and retention would keep
//!   it for ever). A late event is welcome however late it is, unless it is older than the retention: then it is
//!   `Invalid` too, rather than acknowledged and removed a moment later. The message names the event by its place.
//! - *Retention*: where a period is set, an append at the start and then every hour also removes what is older, a bounded
//!   number at a time, so that no append waits long.

mod aggregates;
mod queries;
mod schema;
#[cfg(test)]
mod tests;

use super::{
    Aggregate, Appended, Capabilities, EventPageQuery, Job, Policies, RankKey, Ranking, RankingQuery, RenderEvent,
    Resolution, Stats, StatsQuery, Storage, TelemetryAdapter, TimeRange,
    groups::{self, Group, PageKey, RankingKey, StatsKey},
    stats as arithmetic,
};
use crate::{Clock, Result, Scope, error::StoreError, page::Page};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use schema::Connections;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use uuid::Uuid;

/// Events of one append: one statement of some 3 MB.
const MAX_APPEND: usize = 10_000;
/// Encoding more events than this takes over a millisecond.
const ENCODE_INLINE: usize = 500;
/// Time between two removals of old events.
const SWEEP_EVERY: TimeDelta = TimeDelta::hours(1);
/// Events removed at a time beside an append; some 20 ms.
const SWEEP_CHUNK: i64 = 2_000;
/// Events removed at a time by `retain`; between two chunks other writes get their turn.
const RETAIN_CHUNK: i64 = 20_000;

/// Telemetry in a SQLite file.
pub struct SqliteTelemetry {
    path: PathBuf,
    connections: Connections,
    retain: Option<TimeDelta>,
    clock: Arc<dyn Clock>,
    swept: Mutex<Option<DateTime<Utc>>>,
    failed_sweeps: AtomicU64,
}

impl SqliteTelemetry {
    /// Opens or makes the file; its folder must exist. Of the policies only `retain_raw` has a meaning here: nothing is
    /// compressed or rolled up.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Unsupported` for one of a newer version of this program, `Unavailable`
    /// when it cannot be opened.
    pub async fn open(path: &Path, policies: Policies, clock: Arc<dyn Clock>) -> Result<Self> {
        let connections = schema::open(path).await?;
        Ok(Self {
            path: path.to_owned(),
            connections,
            retain: policies.retain_raw,
            clock,
            swept: Mutex::new(None),
            failed_sweeps: AtomicU64::new(0),
        })
    }

    fn failed(&self, error: DbErr) -> StoreError {
        schema::store_error(&self.path, error)
    }

    async fn read(&self, statement: Statement) -> Result<Vec<QueryResult>> {
        self.connections.readers.query_all_raw(statement).await.map_err(|error| self.failed(error))
    }

    /// Runs one statement on its own: it commits as a whole, also when nobody waits for it any more.
    async fn write(&self, statement: Statement) -> Result<u64> {
        let done = self.connections.writer.execute_raw(statement).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.failed(error))
    }

    /// The oldest time that is kept now.
    fn earliest(&self) -> Option<DateTime<Utc>> {
        self.retain.and_then(|retain| self.clock.now().checked_sub_signed(retain))
    }

    /// Removes a bounded number of events past the retention, when that is due. The append it runs beside is already
    /// stored: a failure is logged and tried again with the next one.
    async fn sweep(&self) {
        let now = self.clock.now();
        let Some(before) = self.retain.and_then(|retain| now.checked_sub_signed(retain)) else { return };
        // A clock that jumped back must not put the next removal off for long.
        let due = self.swept.lock().is_none_or(|swept| (now - swept).abs() >= SWEEP_EVERY);
        if !due {
            return;
        }
        match self.write(queries::remove_before(arithmetic::ceil_micros(before), SWEEP_CHUNK)).await {
            Ok(removed) if removed.cast_signed() < SWEEP_CHUNK => *self.swept.lock() = Some(now),
            Ok(_) => {}
            Err(error) => {
                self.failed_sweeps.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(error = %error.chain(), "old events could not be removed");
            }
        }
    }

    async fn pages_of(
        &self,
        organization_id: Uuid,
        group: Group<PageKey<'_>>,
    ) -> Result<Vec<(usize, Page<RenderEvent>)>> {
        let rows = self.read(queries::pages(organization_id, &group)?).await?;
        let by_slot = self.by_slot(&rows, group.subjects.len(), queries::event)?;
        let slice = group.key.3;
        let pages: Vec<_> = by_slot.into_iter().map(|rows| groups::page(slice, rows)).collect();
        Ok(groups::spread(&group.members, &pages))
    }

    async fn stats_of(
        &self,
        organization_id: Uuid,
        group: Group<StatsKey<'_>>,
    ) -> Result<Vec<(usize, Arc<arithmetic::Summary>)>> {
        let rows = self.read(aggregates::statistics(organization_id, &group)).await?;
        let by_slot = self.by_slot(&rows, group.subjects.len(), aggregates::stats_row)?;
        let (edges, measure) = (group.key.2.to_vec(), group.key.3);
        let work = move || {
            let answer = |rows| aggregates::summarise(&edges, measure, rows).map(Arc::new);
            by_slot.into_iter().map(answer).collect::<Result<Vec<_>>>()
        };
        Ok(groups::spread(&group.members, &groups::aside(work).await??))
    }

    async fn rankings_of(&self, organization_id: Uuid, group: Group<RankingKey>) -> Result<Vec<(usize, Arc<Entries>)>> {
        let rows = self.read(aggregates::rankings(organization_id, &group)).await?;
        let (by, measure) = (group.key.2, group.key.3);
        let by_slot = self.by_slot(&rows, group.subjects.len(), |row| aggregates::ranking_row(by, row))?;
        let work = move || {
            let answer = |rows| aggregates::entries(measure, rows).map(Arc::new);
            by_slot.into_iter().map(answer).collect::<Result<Vec<_>>>()
        };
        Ok(groups::spread(&group.members, &groups::aside(work).await??))
    }

    /// Up to when an answer made now is complete, and from where on the range is still kept. Every acknowledged event
    /// is read.
    fn extent(&self, range: &TimeRange) -> (DateTime<Utc>, DateTime<Utc>) {
        let now = self.clock.now();
        let kept = self.retain.and_then(|retain| now.checked_sub_signed(retain));
        let available_from = kept.map_or(range.from, |kept| kept.clamp(range.from, range.to));
        (now.min(range.to), available_from)
    }

    fn by_slot<T>(
        &self,
        rows: &[QueryResult],
        slots: usize,
        decode: impl Fn(&QueryResult) -> Result<T, DbErr>,
    ) -> Result<Vec<Vec<T>>> {
        let mut by_slot: Vec<Vec<T>> = std::iter::repeat_with(Vec::new).take(slots).collect();
        for row in rows {
            let slot = queries::slot(row).map_err(|error| self.failed(error))?;
            let value = decode(row).map_err(|error| self.failed(error))?;
            if let Some(values) = by_slot.get_mut(slot) {
                values.push(value);
            }
        }
        Ok(by_slot)
    }
}

#[async_trait]
impl TelemetryAdapter for SqliteTelemetry {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            adapter: "sqlite",
            place: self.path.display().to_string(),
            max_append: MAX_APPEND,
            percentile_error: 0.0,
            retention: self.retain.is_some(),
            durable: true,
        }
    }

    async fn health(&self) -> Result<()> {
        self.read(queries::by_ids(Uuid::nil(), &[Uuid::nil()])).await?;
        self.write(queries::write_nothing()).await.map(drop)
    }

    /// The writer goes last: it folds SQLite's log into the file, so that the file alone is the whole store.
    async fn close(&self) {
        for connection in [&self.connections.readers, &self.connections.writer] {
            if let Err(error) = connection.close_by_ref().await {
                tracing::warn!(%error, "the telemetry was not closed in good order");
            }
        }
    }

    async fn append(&self, scope: &Scope, events: &[RenderEvent]) -> Result<Appended> {
        if events.is_empty() {
            return Ok(Appended { inserted: 0, duplicates: 0 });
        }
        groups::check_times(events, self.clock.now(), self.earliest())?;
        let rows = if events.len() <= ENCODE_INLINE {
            queries::rows(events)
        } else {
            let events = events.to_vec();
            groups::aside(move || queries::rows(&events)).await?
        };
        let inserted = self.write(queries::insert(scope.organization_id(), rows)).await?;
        self.sweep().await;
        Ok(Appended { inserted, duplicates: (events.len() as u64).saturating_sub(inserted) })
    }

    async fn events(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<RenderEvent>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.read(queries::by_ids(scope.organization_id(), ids)).await?;
        let found = self.by_slot(&rows, ids.len(), queries::event)?;
        Ok(found.into_iter().map(|events| events.into_iter().next()).collect())
    }

    async fn event_pages(&self, scope: &Scope, queries: &[EventPageQuery]) -> Result<Vec<Page<RenderEvent>>> {
        let groups = groups::group_pages(queries).into_iter();
        let answers = try_join_all(groups.map(|group| self.pages_of(scope.organization_id(), group))).await?;
        Ok(groups::in_order(answers))
    }

    async fn stats(&self, scope: &Scope, queries: &[StatsQuery]) -> Result<Vec<Stats>> {
        let groups = groups::group_stats(queries).into_iter();
        let answers = try_join_all(groups.map(|group| self.stats_of(scope.organization_id(), group))).await?;
        let answer = |(query, summary): (&StatsQuery, Arc<arithmetic::Summary>)| {
            let (fresh_to, available_from) = self.extent(&query.range);
            Stats {
                buckets: arithmetic::present(query, &summary.buckets),
                total: summary.total.clone(),
                cost_micros: summary.cost_micros,
                resolution: Resolution::Raw,
                fresh_to,
                available_from,
                percentile_error: 0.0,
            }
        };
        Ok(queries.iter().zip(groups::in_order(answers)).map(answer).collect())
    }

    async fn rankings(&self, scope: &Scope, queries: &[RankingQuery]) -> Result<Vec<Ranking>> {
        let groups = groups::group_rankings(queries).into_iter();
        let answers = try_join_all(groups.map(|group| self.rankings_of(scope.organization_id(), group))).await?;
        let answer = |(query, entries): (&RankingQuery, Arc<Entries>)| {
            let (fresh_to, available_from) = self.extent(&query.range);
            Ranking {
                entries: arithmetic::rank(query.order, query.limit, entries.to_vec()),
                resolution: Resolution::Raw,
                fresh_to,
                available_from,
                percentile_error: 0.0,
            }
        };
        Ok(queries.iter().zip(groups::in_order(answers)).map(answer).collect())
    }

    async fn storage(&self) -> Result<Storage> {
        let rows = self.read(queries::size()).await?;
        let bytes = rows.first().map(|row| row.try_get_by_index::<i64>(0)).transpose();
        let sweep = || Job {
            name: "retention".to_owned(),
            every: Some(SWEEP_EVERY),
            last_success: *self.swept.lock(),
            failures: Some(self.failed_sweeps.load(Ordering::Relaxed)),
        };
        Ok(Storage {
            policies: Policies { retain_raw: self.retain, ..Policies::default() },
            bytes: bytes.map_err(|error| self.failed(error))?.and_then(|bytes| u64::try_from(bytes).ok()),
            jobs: self.retain.iter().map(|_| sweep()).collect(),
            ..Storage::default()
        })
    }

    /// Removes in chunks, each committed on its own: a call that ran out of time has done a part, and a repeat does the
    /// rest.
    async fn retain(&self, before: DateTime<Utc>) -> Result<u64> {
        let before = arithmetic::ceil_micros(before);
        let mut total = 0;
        loop {
            let removed = self.write(queries::remove_before(before, RETAIN_CHUNK)).await?;
            total += removed;
            if removed.cast_signed() < RETAIN_CHUNK {
                return Ok(total);
            }
        }
    }
}

/// What is ranked, not yet in order.
type Entries = Vec<(RankKey, Aggregate)>;
