//! Statements on events: by id, in pages; and how rows become events.
//!
//! Every value is a parameter; SQL text is put together from constants of this file alone. One statement answers any
//! number of subjects: `unnest … WITH ORDINALITY` makes each a row, `LATERAL` walks an index for it and stops at the
//! limit.

use super::fault::failed;
use crate::{
    Result,
    error::{ErrorKind, StoreError},
    telemetry::{
        RenderEvent, STORE, Stage,
        groups::{self, Group, Kind, PageKey},
        stats,
    },
};
use chrono::{DateTime, Utc};
use sea_orm::sqlx::{self, AssertSqlSafe, PgPool, Row, postgres::PgRow};
use uuid::Uuid;

/// The columns of an event, as [`event`] reads them, after the slot.
const COLUMNS: &str = "e.id, e.video_id, e.persona_id, e.campaign_id, e.stage, e.at, e.duration_ms, e.cost_micros, \
                       e.frames, e.gpu_seconds, e.succeeded";

/// The least time that PostgreSQL has, a day later, and the greatest that this program has, which PostgreSQL has as well;
/// in microseconds since 1970.
const TIMES: (i64, i64) = (-210_866_716_800_000_000, 8_210_266_876_799_999_999);

/// A time as PostgreSQL can have it.
pub fn instant(micros: i64) -> DateTime<Utc> {
    stats::time(micros.clamp(TIMES.0, TIMES.1))
}

/// Refuses events that lie before the calendar of PostgreSQL begins.
pub fn check_calendar(events: &[RenderEvent]) -> Result<()> {
    match events.iter().position(|event| event.at.timestamp_micros() < TIMES.0) {
        None => Ok(()),
        Some(index) => Err(StoreError::invalid(STORE, format!("event {index} lies before 4713 BC"))),
    }
}

/// The condition that joins table alias `table` to the subject in `k.value`.
pub fn condition(kind: Kind, table: &str) -> String {
    kind.column().map(|column| format!("AND {table}.{column} = k.value")).unwrap_or_default()
}

/// Events by id, one result per id: the table of ids leads to the one chunk that each lies in.
pub async fn by_ids(pool: &PgPool, organization_id: Uuid, ids: &[Uuid]) -> Result<Vec<Option<RenderEvent>>> {
    let sql = format!(
        "SELECT k.slot - 1, {COLUMNS} FROM unnest($2::uuid[]) WITH ORDINALITY AS k (value, slot) \
         JOIN event_ids AS i ON i.organization_id = $1 AND i.id = k.value CROSS JOIN LATERAL (\
         SELECT * FROM events AS r WHERE r.organization_id = $1 AND r.at = i.at AND r.id = i.id LIMIT 1) AS e"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(organization_id).bind(ids);
    let rows = query.fetch_all(pool).await.map_err(failed)?;
    let found = by_slot(&rows, ids.len(), event)?;
    Ok(found.into_iter().map(|events| events.into_iter().next()).collect())
}

/// The rows of one page for each subject, in list order; one more than asked for where there is one.
pub async fn pages(pool: &PgPool, organization_id: Uuid, group: &Group<PageKey<'_>>) -> Result<Vec<Vec<RenderEvent>>> {
    let (kind, range, mask, slice) = group.key;
    let ((low_at, low_id), (high_at, high_id)) = groups::bounds(range, slice)?;
    let order = if slice.backward { "r.at, r.id" } else { "r.at DESC, r.id DESC" };
    // The bounds on the time alone say the same once more, in a form that whole chunks are left out by.
    let sql = format!(
        "SELECT k.slot - 1, {COLUMNS} FROM unnest($1::uuid[]) WITH ORDINALITY AS k (value, slot) CROSS JOIN LATERAL (\
         SELECT * FROM events AS r WHERE r.organization_id = $2 {} AND r.at >= $3 AND r.at <= $5 \
         AND (r.at, r.id) > ($3, $4) AND (r.at, r.id) < ($5, $6) AND ($7 >> r.stage) & 1 = 1 \
         ORDER BY {order} LIMIT $8) AS e ORDER BY k.slot, e.at DESC, e.id DESC",
        condition(kind, "r")
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(&group.subjects)
        .bind(organization_id)
        .bind(instant(low_at))
        .bind(low_id)
        .bind(instant(high_at))
        .bind(high_id)
        .bind(mask as i32)
        .bind(i64::from(slice.limit) + 1);
    let rows = query.fetch_all(pool).await.map_err(failed)?;
    by_slot(&rows, group.subjects.len(), event)
}

/// Rows by the slot in their first column.
pub fn by_slot<T>(
    rows: &[PgRow],
    slots: usize,
    decode: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
) -> Result<Vec<Vec<T>>> {
    let mut by_slot: Vec<Vec<T>> = std::iter::repeat_with(Vec::new).take(slots).collect();
    for row in rows {
        let slot: i64 = row.try_get(0).map_err(failed)?;
        if let Some(values) = usize::try_from(slot).ok().and_then(|slot| by_slot.get_mut(slot)) {
            values.push(decode(row).map_err(failed)?);
        }
    }
    Ok(by_slot)
}

fn event(row: &PgRow) -> Result<RenderEvent, sqlx::Error> {
    Ok(RenderEvent {
        id: row.try_get(1)?,
        video_id: row.try_get(2)?,
        persona_id: row.try_get(3)?,
        campaign_id: row.try_get(4)?,
        stage: stage(row.try_get(5)?)?,
        at: row.try_get(6)?,
        duration_ms: row.try_get(7)?,
        cost_micros: row.try_get(8)?,
        frames: row.try_get(9)?,
        gpu_seconds: row.try_get(10)?,
        succeeded: row.try_get(11)?,
    })
}

/// A stage by its number.
pub fn stage(number: i16) -> Result<Stage, sqlx::Error> {
    let stage = usize::try_from(number).ok().and_then(|number| Stage::ALL.get(number).copied());
    let wrong = || StoreError::new(STORE, ErrorKind::Corrupt, "a stage is not one of five");
    stage.ok_or_else(|| sqlx::Error::Decode(wrong().into()))
}
