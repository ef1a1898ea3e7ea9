//! Render events in PostgreSQL: with TimescaleDB (`timescale`), or without (`postgres-telemetry`). One program for both;
//! what differs is how time is partitioned, how roll-ups are made, and who drops what is old.
//!
//! | | `timescale` | `postgres-telemetry` |
//! |---|---|---|
//! | events | hypertable, a chunk a week, compressed when old | partitions of a week, made ahead |
//! | roll-ups | continuous aggregates, each on the one before | tables |
//! | retention | policies, and `retain` | `retain` and the worker |
//!
//! Everything lies in a PostgreSQL schema of its own ([`schema`]). The database's clock decides nothing but when a policy
//! runs: times are judged by the clock that the store was opened with.
//!
//! - *Appends* ([`ingest`]): binary COPY, waiting calls grouped, bounded buffers; absorbed by id whatever the time.
//! - *Time*: kept to the microsecond; what is finer is cut off. An event before 4713 BC is `Invalid`: the calendar of
//!   PostgreSQL begins there.
//! - *Out of range*: an event more than 24 hours in the future is `Invalid` (a clock is wrong, and retention would keep
//!   it for ever). A late event is welcome however late it is, unless it is older than the retention, or than what
//!   `retain` removed: then it is `Invalid` too, rather than acknowledged and removed a moment later.
//! - *Statistics* ([`plan`], [`statistics`]): counts, sums, bounds and costs are exact at every resolution; percentiles
//!   are exact from events, and within 1 % where roll-ups take part. Everything that was acknowledged before the question
//!   is counted, however late it is ([`rollups`]): an answer is fresh up to the question.
//! - *Worker*: a task rolls up, makes partitions and drops what is old; of several processes one at a time does.

mod connect;
mod copy;
mod fault;
mod findings;
mod ingest;
mod pages;
mod plan;
mod policies;
mod retention;
mod rollups;
mod schema;
mod shared;
mod statistics;

use super::{
    Aggregate, Appended, Capabilities, EventPageQuery, Job, Policies, RankKey, Ranking, RankingQuery, RenderEvent,
    STORE, Stats, StatsQuery, Storage, TelemetryAdapter, TimeRange,
    groups::{self, Group, Kind, PageKey, RankingKey, StatsKey},
    histogram, stats as arithmetic,
};
use crate::{
    Address, Clock, Finding, Result, Scope,
    error::{ErrorKind, StoreError},
    page::Page,
};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use connect::Flavour;
use fault::{failed, refused};
use futures_util::future::try_join_all;
use ingest::Ingest;
use parking_lot::Mutex;
use plan::{Kept, Plan};
use sea_orm::sqlx;
use shared::{Extent, Shared, WORK_EVERY};
use statistics::{By, Question};
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Events of one append: one COPY of some 2 MB.
const MAX_APPEND: usize = 10_000;

/// How the store is used.
#[derive(Clone, Debug)]
pub struct TimescaleSettings {
    /// The PostgreSQL schema that everything lies in: lower-case letters, digits and underscores.
    pub schema: String,
    /// Connections that answer calls, at the most. Housekeeping has two more.
    pub pool: u32,
    /// What is compressed and dropped at which age.
    pub policies: Policies,
}

impl Default for TimescaleSettings {
    fn default() -> Self {
        Self { schema: "chimera_telemetry".to_owned(), pool: 16, policies: Policies::default() }
    }
}

/// Telemetry in PostgreSQL.
pub struct TimescaleTelemetry {
    shared: Arc<Shared>,
    ingest: Ingest,
    worker: JoinHandle<()>,
}

impl Drop for TimescaleTelemetry {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl TimescaleTelemetry {
    /// Opens the store, and makes its schema when it is missing. `timescaledb:` demands the extension and creates it;
    /// `postgres:` uses it where the database has it.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached or used, `Unsupported` when it is too old or the schema too new,
    /// `Invalid` for settings that contradict each other; always with what to do.
    pub async fn open(address: &Address, settings: TimescaleSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        check_name(&settings.schema)?;
        policies::check(&settings.policies)?;
        let required = address.scheme() == "timescaledb";
        let options = connect::options(address)?;
        let server = connect::inspect(&options, &settings.schema, required).await?;
        let pools = connect::pools(&options, &server, &settings.schema, settings.pool);
        let flavour = schema::prepare(&pools.chores, &settings.schema, &server, required).await?;
        let locks = rollups::locks(&pools.chores, &settings.schema).await?;
        let ingest = Ingest::new(pools.calls.clone(), locks.appends);
        let shared = Arc::new(Shared {
            pools,
            place: address.to_string(),
            server,
            flavour,
            settings,
            locks,
            clock,
            raw_from: AtomicI64::new(i64::MIN),
            worked: Mutex::new(None),
            failures: AtomicU64::new(0),
        });
        shared.set_up().await?;
        let worker = tokio::spawn(shared::work(shared.clone()));
        Ok(Self { shared, ingest, worker })
    }

    /// Does at once what the worker does from time to time; how many hours were rolled up.
    ///
    /// # Errors
    /// What the database says.
    pub async fn work(&self) -> Result<u64> {
        self.shared.work(true).await
    }

    async fn pages_of(
        &self,
        organization_id: Uuid,
        group: Group<PageKey<'_>>,
    ) -> Result<Vec<(usize, Page<RenderEvent>)>> {
        let rows = pages::pages(&self.shared.pools.calls, organization_id, &group).await?;
        let pages: Vec<_> = rows.into_iter().map(|rows| groups::page(group.key.3, rows)).collect();
        Ok(groups::spread(&group.members, &pages))
    }

    async fn stats_of(
        &self,
        organization_id: Uuid,
        group: Group<StatsKey<'_>>,
        kept: &Kept,
    ) -> Result<Vec<(usize, Answer<arithmetic::Summary>)>> {
        let (kind, range, edges, measure, mask) = group.key;
        let plan = plan_of(kind, &range, edges, kept);
        let question = Question { organization_id, kind, subjects: &group.subjects, measure, mask };
        let parts = statistics::ask(&self.shared.pools.calls, &question, By::Edges(edges), &plan).await?;
        let edges = edges.to_vec();
        let work = move || {
            let summary = |parts| Arc::new(statistics::summarise(&edges, &range, measure, parts));
            parts.into_iter().map(summary).collect::<Vec<_>>()
        };
        let extent = self.shared.extent(&range, &plan);
        let answers: Vec<_> = groups::aside(work).await?.into_iter().map(|summary| (summary, extent)).collect();
        Ok(groups::spread(&group.members, &answers))
    }

    async fn rankings_of(
        &self,
        organization_id: Uuid,
        group: Group<RankingKey>,
        kept: &Kept,
    ) -> Result<Vec<(usize, Answer<Entries>)>> {
        let (kind, range, by, measure, mask) = group.key;
        let plan = plan_of(kind, &range, &[], kept);
        let question = Question { organization_id, kind, subjects: &group.subjects, measure, mask };
        let parts = statistics::ask(&self.shared.pools.calls, &question, By::Rank(by), &plan).await?;
        let work = move || {
            let entries = |parts| Arc::new(statistics::ranked(measure, parts));
            parts.into_iter().map(entries).collect::<Vec<_>>()
        };
        let extent = self.shared.extent(&range, &plan);
        let answers: Vec<_> = groups::aside(work).await?.into_iter().map(|entries| (entries, extent)).collect();
        Ok(groups::spread(&group.members, &answers))
    }
}

type Answer<T> = (Arc<T>, Extent);
type Entries = Vec<(RankKey, Aggregate)>;

fn check_name(schema: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let ours = schema.starts_with(|c: char| c.is_ascii_lowercase()) && schema.chars().all(plain) && schema.len() <= 48;
    if ours && !schema.starts_with("pg_") {
        return Ok(());
    }
    let advice = "use lower-case letters, digits and underscores, 48 at the most";
    Err(refused(ErrorKind::Invalid, "this cannot be the name of the telemetry schema", advice))
}

fn plan_of(kind: Kind, range: &TimeRange, edges: &[DateTime<Utc>], kept: &Kept) -> Plan {
    let edges: Vec<i64> = edges.iter().map(DateTime::timestamp_micros).collect();
    // Roll-ups know no videos.
    plan::plan(arithmetic::range_micros(range), &edges, kind != Kind::Video, kept)
}

#[async_trait]
impl TelemetryAdapter for TimescaleTelemetry {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            adapter: self.shared.flavour.name(),
            place: self.shared.place.clone(),
            max_append: MAX_APPEND,
            percentile_error: histogram::ALPHA,
            retention: self.shared.settings.policies.retain_raw.is_some(),
            durable: true,
        }
    }

    async fn health(&self) -> Result<()> {
        let sql = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean FROM state";
        let read_only: bool = sqlx::query_scalar(sql).fetch_one(&self.shared.pools.calls).await.map_err(failed)?;
        if read_only {
            let advice = "name the primary server, not a replica, in `telemetry.url`";
            return Err(refused(ErrorKind::Unavailable, "the database can only be read", advice));
        }
        Ok(())
    }

    async fn findings(&self) -> Result<Vec<Finding>> {
        let shared = &self.shared;
        let mut findings = findings::of_roll_ups(&shared.pools.calls).await?;
        if shared.flavour == Flavour::Timescale {
            let jobs = policies::jobs(&shared.pools.calls, &shared.settings.schema).await?;
            findings.extend(findings::of_extension(&shared.pools.calls, &shared.server, &jobs).await?);
        }
        Ok(findings)
    }

    async fn close(&self) {
        self.worker.abort();
        self.shared.pools.calls.close().await;
        self.shared.pools.chores.close().await;
    }

    async fn append(&self, scope: &Scope, events: &[RenderEvent]) -> Result<Appended> {
        if events.is_empty() {
            return Ok(Appended { inserted: 0, duplicates: 0 });
        }
        groups::check_times(events, self.shared.clock.now(), self.shared.earliest())?;
        pages::check_calendar(events)?;
        self.ingest.append(scope.organization_id(), events, scope.deadline()).await
    }

    async fn events(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<RenderEvent>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        pages::by_ids(&self.shared.pools.calls, scope.organization_id(), ids).await
    }

    async fn event_pages(&self, scope: &Scope, queries: &[EventPageQuery]) -> Result<Vec<Page<RenderEvent>>> {
        let groups = groups::group_pages(queries).into_iter();
        let answers = try_join_all(groups.map(|group| self.pages_of(scope.organization_id(), group))).await?;
        Ok(groups::in_order(answers))
    }

    async fn stats(&self, scope: &Scope, queries: &[StatsQuery]) -> Result<Vec<Stats>> {
        let ranges = queries.iter().map(|query| (Kind::split(query.subject).0, query.range));
        let kept = self.shared.kept(ranges).await?;
        let groups = groups::group_stats(queries).into_iter();
        let answers = try_join_all(groups.map(|group| self.stats_of(scope.organization_id(), group, &kept))).await?;
        let answer = |(query, (summary, extent)): (&StatsQuery, Answer<arithmetic::Summary>)| Stats {
            buckets: arithmetic::present(query, &summary.buckets),
            total: summary.total.clone(),
            cost_micros: summary.cost_micros,
            resolution: extent.resolution,
            fresh_to: extent.fresh_to,
            available_from: extent.available_from,
            percentile_error: extent.percentile_error,
        };
        Ok(queries.iter().zip(groups::in_order(answers)).map(answer).collect())
    }

    async fn rankings(&self, scope: &Scope, queries: &[RankingQuery]) -> Result<Vec<Ranking>> {
        let ranges = queries.iter().map(|query| (Kind::split(query.subject).0, query.range));
        let kept = self.shared.kept(ranges).await?;
        let groups = groups::group_rankings(queries).into_iter();
        let answers = try_join_all(groups.map(|group| self.rankings_of(scope.organization_id(), group, &kept))).await?;
        let answer = |(query, (entries, extent)): (&RankingQuery, Answer<Entries>)| Ranking {
            entries: arithmetic::rank(query.order, query.limit, entries.to_vec()),
            resolution: extent.resolution,
            fresh_to: extent.fresh_to,
            available_from: extent.available_from,
            percentile_error: extent.percentile_error,
        };
        Ok(queries.iter().zip(groups::in_order(answers)).map(answer).collect())
    }

    async fn storage(&self) -> Result<Storage> {
        let shared = &self.shared;
        let roll_ups = shared.roll_ups().await?;
        let (events, ids) = (shared.bytes("events").await?, shared.bytes("event_ids").await?);
        let parts = [events, ids].into_iter().chain(roll_ups.iter().map(|roll_up| roll_up.bytes));
        let own = Job {
            name: "roll-ups".to_owned(),
            every: TimeDelta::from_std(WORK_EVERY).ok(),
            last_success: *shared.worked.lock(),
            failures: Some(shared.failures.load(Ordering::Relaxed)),
        };
        let timescale = shared.flavour == Flavour::Timescale;
        let mut jobs = vec![own];
        let mut policies = shared.settings.policies;
        let mut compression = None;
        if timescale {
            jobs.extend(
                policies::jobs(&shared.pools.calls, &shared.settings.schema).await?.iter().map(|job| job.job()),
            );
            compression = Some(policies::compression(&shared.pools.calls).await?);
        } else {
            policies.compress_after = None;
        }
        Ok(Storage { policies, bytes: Some(parts.flatten().sum()), compression, roll_ups, jobs })
    }

    /// Goes on to its end even when the caller has gone: a repeat then finds less to do.
    async fn retain(&self, before: DateTime<Utc>) -> Result<u64> {
        let (shared, before) = (self.shared.clone(), arithmetic::ceil_micros(before));
        let done = tokio::spawn(async move { shared.retain(before).await });
        done.await.unwrap_or_else(|error| {
            Err(StoreError::with_source(STORE, ErrorKind::Internal, "the removal broke off", error))
        })
    }
}
