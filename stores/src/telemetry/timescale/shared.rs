//! What the store and its worker share: the state, the worker's round, and what is kept.
//!
//! No statement on events or statistics stands here.

use super::{
    TimescaleSettings,
    connect::{Flavour, Pools, Server},
    fault::failed,
    pages,
    plan::{self, Kept, Plan, Segment},
    policies, retention,
    rollups::{self, Chores, Locks},
    schema::Level,
};
use crate::{
    Clock, Result,
    telemetry::{Resolution, RollUp, TimeRange, groups::Kind, histogram, stats as arithmetic},
};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use sea_orm::sqlx;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often the worker looks for what is to be done.
pub const WORK_EVERY: Duration = Duration::from_secs(30);

/// What the store and its worker share.
pub struct Shared {
    /// Connections.
    pub pools: Pools,
    /// Where it is, without secrets.
    pub place: String,
    /// What the server was found to be.
    pub server: Server,
    /// Which adapter this is.
    pub flavour: Flavour,
    /// How it is used.
    pub settings: TimescaleSettings,
    /// Keys of advisory locks.
    pub locks: Locks,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// As `state` said last: the oldest time from which events are kept.
    pub raw_from: AtomicI64,
    /// When the worker last ended well.
    pub worked: Mutex<Option<DateTime<Utc>>>,
    /// How often the worker has failed.
    pub failures: AtomicU64,
}

/// What an answer says about itself.
#[derive(Clone, Copy)]
pub struct Extent {
    /// The coarsest rows that took part.
    pub resolution: Resolution,
    /// Everything before this is counted.
    pub fresh_to: DateTime<Utc>,
    /// What lies before this is gone.
    pub available_from: DateTime<Utc>,
    /// How far percentiles may be off.
    pub percentile_error: f64,
}

/// What the worker does until the store is dropped.
pub async fn work(shared: Arc<Shared>) {
    loop {
        // Not in step with other processes.
        let jitter = Duration::from_millis(rand::random_range(0..5_000));
        tokio::time::sleep(WORK_EVERY + jitter).await;
        match shared.work(false).await {
            Ok(0) => {}
            Ok(hours) => tracing::debug!(hours, "telemetry was rolled up"),
            Err(error) => {
                shared.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(error = %error.chain(), "telemetry could not be rolled up; it will be tried again");
            }
        }
    }
}

impl Shared {
    /// What has to be right before the first call.
    pub async fn set_up(&self) -> Result<()> {
        let chores = Chores::begin(&self.pools.chores, self.locks, self.flavour, true).await?;
        let Some(mut chores) = chores else { return Ok(()) };
        match self.flavour {
            Flavour::Timescale => policies::apply(&mut chores, &self.settings.schema, &self.settings.policies).await?,
            Flavour::Plain => retention::make_partitions(&mut chores, self.clock.now()).await?,
        }
        chores.end().await;
        self.look_up_raw_from().await.map(drop)
    }

    async fn look_up_raw_from(&self) -> Result<i64> {
        let query = sqlx::query_scalar("SELECT raw_from FROM state");
        let raw_from: i64 = query.fetch_one(&self.pools.chores).await.map_err(failed)?;
        self.raw_from.store(raw_from, Ordering::Relaxed);
        Ok(raw_from)
    }

    /// Rolls up the hours that have ended, makes partitions, drops old roll-ups.
    pub async fn work(&self, wait: bool) -> Result<u64> {
        self.look_up_raw_from().await?;
        let chores = Chores::begin(&self.pools.chores, self.locks, self.flavour, wait).await?;
        let Some(mut chores) = chores else { return Ok(0) };
        let now = self.clock.now();
        let hour = Level::Hour.width();
        let hours = chores.refresh(now.timestamp_micros().div_euclid(hour) * hour).await?;
        if self.flavour == Flavour::Plain {
            retention::make_partitions(&mut chores, now).await?;
            retention::drop_roll_ups(&mut chores, &self.settings.policies, now).await?;
        }
        chores.end().await;
        *self.worked.lock() = Some(now);
        Ok(hours)
    }

    pub async fn retain(&self, before: i64) -> Result<u64> {
        let chores = Chores::begin(&self.pools.chores, self.locks, self.flavour, true).await?;
        let Some(mut chores) = chores else { return Ok(0) };
        let removed = retention::remove(&mut chores, self.flavour, before).await?;
        chores.end().await;
        self.raw_from.fetch_max(before, Ordering::Relaxed);
        Ok(removed)
    }

    /// The oldest event that is accepted now.
    pub fn earliest(&self) -> Option<DateTime<Utc>> {
        let retain = self.settings.policies.retain_raw;
        let by_age = retain.and_then(|retain| self.clock.now().checked_sub_signed(retain));
        let raw_from = self.raw_from.load(Ordering::Relaxed);
        let removed = (raw_from > i64::MIN).then(|| pages::instant(raw_from));
        by_age.max(removed)
    }

    /// What is kept, as far as these questions need to know: recent short ranges are answered from events alone.
    pub async fn kept(&self, ranges: impl Iterator<Item = (Kind, TimeRange)>) -> Result<Kept> {
        let mut around: Option<Segment> = None;
        let known = self.raw_from.load(Ordering::Relaxed);
        let (policies, now) = (&self.settings.policies, self.clock.now());
        let recent = Kept::new(known, Vec::new(), policies, now);
        for (kind, range) in ranges {
            let (from, to) = arithmetic::range_micros(&range);
            if plan::plan((from, to), &[], kind != Kind::Video, &recent).resolution() > Resolution::Raw {
                let (low, high) = around.unwrap_or((from, to));
                around = Some((low.min(from), high.max(to)));
            }
        }
        let Some(around) = around else { return Ok(recent) };
        let (raw_from, stale) = rollups::kept(&self.pools.calls, around).await?;
        self.raw_from.fetch_max(raw_from, Ordering::Relaxed);
        Ok(Kept::new(raw_from, stale, policies, now))
    }

    pub fn extent(&self, range: &TimeRange, plan: &Plan) -> Extent {
        let resolution = plan.resolution();
        let exact = resolution == Resolution::Raw;
        let (from, to) = arithmetic::range_micros(range);
        let available_from = match plan.available_from {
            available if available <= from => range.from,
            available if available >= to => range.to,
            available => arithmetic::time(available),
        };
        Extent {
            resolution,
            fresh_to: self.clock.now().min(range.to),
            available_from,
            percentile_error: if exact { 0.0 } else { histogram::ALPHA },
        }
    }

    pub async fn bytes(&self, table: &str) -> Result<Option<u64>> {
        let timescale = self.flavour == Flavour::Timescale && table != "event_ids";
        let sql = match (timescale, table) {
            (true, _) => "SELECT hypertable_size($1::text::regclass)",
            (false, "events") => {
                "SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits \
                 WHERE inhparent = $1::text::regclass"
            }
            (false, _) => "SELECT pg_total_relation_size($1::text::regclass)",
        };
        let query = sqlx::query_scalar(sql).bind(table);
        let bytes: Option<i64> = query.fetch_one(&self.pools.calls).await.map_err(failed)?;
        Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
    }

    pub async fn roll_ups(&self) -> Result<Vec<RollUp>> {
        let stale = rollups::oldest_stale(&self.pools.calls).await?;
        let now = self.clock.now();
        let policies = &self.settings.policies;
        let mut found = Vec::new();
        for level in Level::ALL {
            let (resolution, retain) = match level {
                Level::Minute => (Resolution::Minute, policies.retain_minutes),
                Level::Hour => (Resolution::Hour, policies.retain_hours),
                Level::Day => (Resolution::Day, None),
            };
            let fresh_to = Some(stale.map_or(now, |stale| stale.min(now)));
            found.push(RollUp { resolution, retain, fresh_to, bytes: self.bytes(level.table()).await? });
        }
        Ok(found)
    }
}
