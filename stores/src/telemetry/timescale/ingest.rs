//! Appends: a bounded buffer, calls that wait together become one transaction, many rows go in by binary COPY.
//!
//! - A call takes room in the buffer for each of its events and waits when there is none: that is the back-pressure. A
//!   call that cannot get room in time is `Overloaded`, and nothing of it is stored.
//! - At most [`WRITERS`] transactions run at a time. A call that finds them busy waits, and the next writer that is free
//!   takes all that wait, up to [`GROUP`] events, as one transaction: many small calls cost about as much as one.
//! - A transaction copies its rows into a table of the session, then one statement takes the ids that are new, stores
//!   their events, and marks their hours as stale. Up to [`FEW`] rows come as parameters of that statement instead: the
//!   end of a COPY is a small packet of its own, which the driver lets wait for the acknowledgement of the data (Nagle's
//!   algorithm and a delayed acknowledgement together: 40 ms). Ids are taken in order, so that two transactions never wait for each
//!   other in a circle. An id that another transaction is just storing is waited for, and absorbed when that commits.
//! - A call whose future is dropped before a writer took it is not stored; afterwards it is, as a whole.
//! - The shared advisory lock tells the roll-ups' worker when all appends have ended that knew an older generation.

use super::{copy, fault::failed, pages::instant};
use crate::{
    Result,
    error::{ErrorKind, Store, StoreError},
    telemetry::{Appended, RenderEvent},
};
use parking_lot::Mutex;
use sea_orm::sqlx::{self, AssertSqlSafe, PgPool, Row, postgres::PgRow};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

const STORE: Store = Store::Telemetry;
/// Transactions at a time: enough to keep a server busy while one of them waits for its disk.
const WRITERS: usize = 4;
/// Events of one transaction at the most, unless one call alone has more.
const GROUP: usize = 10_000;
/// Events that wait or are being written at the most; some 8 MB.
const BUFFER: u32 = 50_000;
/// Rows that are sent as parameters rather than by COPY.
const FEW: usize = 1_000;
/// How long a call waits for room when its request has no deadline; below the guard's own.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// What is left of a request's deadline for saying no.
const MARGIN: Duration = Duration::from_millis(20);

/// Takes what is new of `$source`, stores it, marks its hours. `firsts` keeps the first event of an id that comes twice.
macro_rules! merge {
    ($source:literal) => {
        concat!(
            "WITH firsts AS MATERIALIZED (SELECT DISTINCT ON (organization_id, id) * FROM ",
            $source,
            " ORDER BY organization_id, id, place), \
             fresh AS (INSERT INTO event_ids (organization_id, id, at) SELECT organization_id, id, at FROM firsts \
             ORDER BY organization_id, id ON CONFLICT (organization_id, id) DO NOTHING RETURNING organization_id, id), \
             stored AS (INSERT INTO events (organization_id, id, video_id, persona_id, campaign_id, stage, at, \
             duration_ms, cost_micros, frames, gpu_seconds, succeeded) SELECT organization_id, id, video_id, persona_id, \
             campaign_id, stage, at, duration_ms, cost_micros, frames, gpu_seconds, succeeded FROM firsts \
             JOIN fresh USING (organization_id, id)), \
             marked AS (INSERT INTO stale (hour, generation) SELECT DISTINCT date_trunc('hour', at, 'UTC'), \
             (SELECT generation FROM state) FROM firsts JOIN fresh USING (organization_id, id) ORDER BY 1 \
             ON CONFLICT (hour, generation) DO NOTHING) \
             SELECT call, count(*) FROM firsts JOIN fresh USING (organization_id, id) GROUP BY call"
        )
    };
}

const MERGE_COPIED: &str = merge!("pg_temp.incoming");
const MERGE_GIVEN: &str = merge!(
    "unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::smallint[], \
     $8::timestamptz[], $9::bigint[], $10::bigint[], $11::bigint[], $12::float8[], $13::boolean[]) WITH ORDINALITY \
     AS given (call, organization_id, id, video_id, persona_id, campaign_id, stage, at, duration_ms, cost_micros, \
     frames, gpu_seconds, succeeded, place)"
);

struct Job {
    organization_id: Uuid,
    events: Vec<RenderEvent>,
    answer: oneshot::Sender<Result<u64>>,
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    writers: usize,
}

/// The way in.
#[derive(Clone)]
pub struct Ingest {
    pool: PgPool,
    room: Arc<Semaphore>,
    queue: Arc<Mutex<Queue>>,
    begin: Arc<str>,
}

impl Ingest {
    /// A way in over `pool`; `lock` is the key of the advisory lock.
    pub fn new(pool: PgPool, lock: i64) -> Self {
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock_shared({lock})");
        Self { pool, room: Arc::new(Semaphore::new(BUFFER as usize)), queue: Arc::default(), begin: begin.into() }
    }

    /// Stores events of one organisation, all or none.
    pub async fn append(
        &self,
        organization_id: Uuid,
        events: &[RenderEvent],
        deadline: Option<Instant>,
    ) -> Result<Appended> {
        let room = self.room_for(events.len(), deadline).await?;
        let (answer, answered) = oneshot::channel();
        let job = Job { organization_id, events: events.to_vec(), answer, _room: room };
        let start = {
            let mut queue = self.queue.lock();
            queue.jobs.push_back(job);
            let start = queue.writers < WRITERS;
            queue.writers += usize::from(start);
            start
        };
        if start {
            // On its own: a caller that goes away must not take the calls of others with it.
            tokio::spawn(self.clone().drain());
        }
        let inserted = answered.await.unwrap_or_else(|_| {
            Err(StoreError::new(STORE, ErrorKind::Unavailable, "the append was cut off; it may be stored or not"))
        })?;
        Ok(Appended { inserted, duplicates: (events.len() as u64).saturating_sub(inserted) })
    }

    async fn room_for(&self, events: usize, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit> {
        let own = Instant::now() + PATIENCE;
        let until =
            deadline.and_then(|deadline| deadline.checked_sub(MARGIN)).map_or(own, |deadline| deadline.min(own));
        let places = u32::try_from(events).unwrap_or(BUFFER).clamp(1, BUFFER);
        match tokio::time::timeout_at(until.into(), self.room.clone().acquire_many_owned(places)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(StoreError::new(STORE, ErrorKind::Overloaded, "too many events are waiting to be stored")
                .with_advice("send fewer events at a time, or give the database more room")),
        }
    }

    /// Writes groups until nothing waits.
    async fn drain(self) {
        let mut leave = Leave { queue: self.queue.clone(), counted: true };
        loop {
            let group = take(&mut self.queue.lock());
            let Some(group) = group else { break };
            let written = self.write(&group).await;
            for (call, job) in group.into_iter().enumerate() {
                let inserted = written.as_ref().map(|counts| counts.get(call).copied().unwrap_or(0));
                // A caller that is gone does not need its answer.
                let _ = job.answer.send(inserted.map_err(Clone::clone));
            }
        }
        // `take` has counted this writer out.
        leave.counted = false;
    }

    /// One transaction; how many events of each call were new.
    async fn write(&self, group: &[Job]) -> Result<Vec<u64>> {
        let count = group.iter().map(|job| job.events.len()).sum();
        let counts = if count <= FEW { self.give(group, count).await } else { self.copy(group, count).await };
        let mut inserted = vec![0; group.len()];
        for row in counts.map_err(failed)? {
            let call: i32 = row.try_get(0).map_err(failed)?;
            let count: i64 = row.try_get(1).map_err(failed)?;
            if let Some(of_call) = usize::try_from(call).ok().and_then(|call| inserted.get_mut(call)) {
                *of_call = count.cast_unsigned();
            }
        }
        Ok(inserted)
    }

    async fn copy(&self, group: &[Job], count: usize) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut rows = copy::Rows::with_capacity(count);
        for (call, job) in (0..).zip(group) {
            rows.push(call, job.organization_id, &job.events);
        }
        let begin = format!("{}; {}", self.begin, copy::STAGING);
        let mut transaction = self.pool.begin_with(AssertSqlSafe(begin)).await?;
        let mut copy = transaction.copy_in_raw(copy::COPY).await?;
        copy.send(rows.finish()).await?;
        copy.finish().await?;
        // Planned anew each time: a plan for the first append would be a bad one for one ten times its size.
        let counts = sqlx::query(MERGE_COPIED).persistent(false).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(counts)
    }

    async fn give(&self, group: &[Job], count: usize) -> Result<Vec<PgRow>, sqlx::Error> {
        let rows: Vec<(i32, Uuid, &RenderEvent)> = (0..)
            .zip(group)
            .flat_map(|(call, job)| job.events.iter().map(move |event| (call, job.organization_id, event)))
            .collect();
        debug_assert_eq!(rows.len(), count);
        let query = sqlx::query(MERGE_GIVEN)
            .bind(column(&rows, |(call, _, _)| *call))
            .bind(column(&rows, |(_, organization_id, _)| *organization_id))
            .bind(column(&rows, |(_, _, event)| event.id))
            .bind(column(&rows, |(_, _, event)| event.video_id))
            .bind(column(&rows, |(_, _, event)| event.persona_id))
            .bind(column(&rows, |(_, _, event)| event.campaign_id))
            .bind(column(&rows, |(_, _, event)| event.stage as i16))
            .bind(column(&rows, |(_, _, event)| instant(event.at.timestamp_micros())))
            .bind(column(&rows, |(_, _, event)| event.duration_ms))
            .bind(column(&rows, |(_, _, event)| event.cost_micros))
            .bind(column(&rows, |(_, _, event)| event.frames))
            // The addition turns -0 into 0.
            .bind(column(&rows, |(_, _, event)| event.gpu_seconds + 0.0))
            .bind(column(&rows, |(_, _, event)| event.succeeded));
        let mut transaction = self.pool.begin_with(AssertSqlSafe(self.begin.to_string())).await?;
        let counts = query.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(counts)
    }
}

fn column<T>(rows: &[(i32, Uuid, &RenderEvent)], value: impl Fn(&(i32, Uuid, &RenderEvent)) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// The next group; none when nothing waits, and then one writer fewer is counted, in the same moment.
fn take(queue: &mut Queue) -> Option<Vec<Job>> {
    let (mut group, mut events) = (Vec::new(), 0);
    while let Some(job) = queue.jobs.pop_front() {
        // Nobody waits for it: it is not stored.
        if job.answer.is_closed() {
            continue;
        }
        if !group.is_empty() && events + job.events.len() > GROUP {
            queue.jobs.push_front(job);
            break;
        }
        events += job.events.len();
        group.push(job);
    }
    if group.is_empty() {
        queue.writers = queue.writers.saturating_sub(1);
        return None;
    }
    Some(group)
}

/// Counts a writer out that ended before its time.
struct Leave {
    queue: Arc<Mutex<Queue>>,
    counted: bool,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if self.counted {
            let mut queue = self.queue.lock();
            queue.writers = queue.writers.saturating_sub(1);
        }
    }
}
