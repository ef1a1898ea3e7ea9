//! The statements on events, and how rows become events.
//!
//! SQL text is put together from constants of this file alone; every value is a parameter.

use crate::{
    Result,
    telemetry::{
        RenderEvent, Stage,
        groups::{self, Group, Kind, PageKey},
        stats,
    },
};
use sea_orm::{DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

/// The columns of an event, as [`event`] reads them, after the slot.
const COLUMNS: &str = "e.id, e.video_id, e.persona_id, e.campaign_id, e.stage, e.at, e.duration_ms, e.cost_micros, \
                       e.frames, e.gpu_seconds_bits, e.succeeded";

/// The condition that joins table alias `table` to the subject in `k.value`.
pub fn condition(kind: Kind, table: &str) -> String {
    kind.column().map(|column| format!("AND {table}.{column} = unhex(k.value)")).unwrap_or_default()
}

/// A statement with its parameters.
pub fn statement<const N: usize>(sql: impl Into<String>, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

/// A list of ids as one parameter: `["<hex>",…]`.
pub fn list(ids: &[Uuid]) -> Value {
    let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
    serde_json::Value::from(ids).to_string().into()
}

/// Inserts what [`rows`] encoded for one organisation.
pub fn insert(organization_id: Uuid, rows: String) -> Statement {
    // `WHERE true` keeps the parser from taking ON for a join.
    let sql = "INSERT INTO events (organization_id, id, video_id, persona_id, campaign_id, stage, at, duration_ms, \
               cost_micros, frames, gpu_seconds_bits, succeeded) \
               SELECT ?1, unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), value ->> 4, \
               value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10 \
               FROM json_each(?2) WHERE true ON CONFLICT (organization_id, id) DO NOTHING";
    statement(sql, [organization_id.into(), rows.into()])
}

/// Events as one JSON parameter.
pub fn rows(events: &[RenderEvent]) -> String {
    let rows = events.iter().map(|event| {
        serde_json::json!([
            event.id.simple(),
            event.video_id.simple(),
            event.persona_id.simple(),
            event.campaign_id.map(|id| id.simple()),
            event.stage as i64,
            event.at.timestamp_micros(),
            event.duration_ms,
            event.cost_micros,
            event.frames,
            gpu_bits(event.gpu_seconds),
            i64::from(event.succeeded),
        ])
    });
    serde_json::Value::Array(rows.collect()).to_string()
}

/// The bit pattern as a number that is not negative, as the value is not; the addition turns -0 into 0.
fn gpu_bits(seconds: f64) -> i64 {
    (seconds + 0.0).to_bits().cast_signed()
}

/// Events by id; the first column is the id's place in the list.
pub fn by_ids(organization_id: Uuid, ids: &[Uuid]) -> Statement {
    let sql = format!(
        "SELECT k.key, {COLUMNS} FROM json_each(?1) AS k \
         CROSS JOIN events AS e ON e.organization_id = ?2 AND e.id = unhex(k.value)"
    );
    statement(sql, [list(ids), organization_id.into()])
}

/// One page for each subject, one row more than asked for where there is one; the first column is the subject's slot.
pub fn pages(organization_id: Uuid, group: &Group<PageKey<'_>>) -> Result<Statement> {
    let (kind, range, mask, slice) = group.key;
    let ((low_at, low_id), (high_at, high_id)) = groups::bounds(range, slice)?;
    let order = if slice.backward { "r.at, r.id" } else { "r.at DESC, r.id DESC" };
    // The inner query walks an index that covers it and stops at the limit, once for each subject.
    let sql = format!(
        "SELECT k.key, {COLUMNS} FROM json_each(?1) AS k CROSS JOIN events AS e WHERE e.sequence IN (\
         SELECT r.sequence FROM events AS r WHERE r.organization_id = ?2 {} \
         AND (r.at, r.id) > (?3, ?4) AND (r.at, r.id) < (?5, ?6) AND (?7 >> r.stage) & 1 ORDER BY {order} LIMIT ?8) \
         ORDER BY k.key, e.at DESC, e.id DESC",
        condition(kind, "r")
    );
    let values = [
        list(&group.subjects),
        organization_id.into(),
        low_at.into(),
        low_id.into(),
        high_at.into(),
        high_id.into(),
        mask.into(),
        (i64::from(slice.limit) + 1).into(),
    ];
    Ok(statement(sql, values))
}

/// Removes up to `limit` events before `before`, whichever organisation they belong to.
///
/// Organisations are found by leaping through the index from one to the next, so that no index on the time alone is
/// needed, which every append would pay for.
pub fn remove_before(before: i64, limit: i64) -> Statement {
    let sql = "DELETE FROM events WHERE sequence IN (\
               WITH RECURSIVE owners (id) AS (\
               SELECT (SELECT organization_id FROM events ORDER BY organization_id LIMIT 1) UNION ALL \
               SELECT (SELECT organization_id FROM events WHERE organization_id > owners.id \
               ORDER BY organization_id LIMIT 1) FROM owners WHERE owners.id IS NOT NULL) \
               SELECT e.sequence FROM owners CROSS JOIN events AS e ON e.organization_id = owners.id AND e.at < ?1 \
               LIMIT ?2)";
    statement(sql, [before.into(), limit.into()])
}

/// Takes the lock for writing and changes nothing.
pub fn write_nothing() -> Statement {
    statement("DELETE FROM events WHERE sequence < 0", [])
}

/// The bytes of the file, its log apart.
pub fn size() -> Statement {
    statement("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [])
}

/// The slot in a row's first column.
pub fn slot(row: &QueryResult) -> Result<usize, DbErr> {
    Ok(usize::try_from(row.try_get_by_index::<i64>(0)?).unwrap_or(usize::MAX))
}

/// The event in a row.
pub fn event(row: &QueryResult) -> Result<RenderEvent, DbErr> {
    Ok(RenderEvent {
        id: row.try_get_by_index(1)?,
        video_id: row.try_get_by_index(2)?,
        persona_id: row.try_get_by_index(3)?,
        campaign_id: row.try_get_by_index(4)?,
        stage: stage(row, 5)?,
        at: stats::time(row.try_get_by_index(6)?),
        duration_ms: row.try_get_by_index(7)?,
        cost_micros: row.try_get_by_index(8)?,
        frames: row.try_get_by_index(9)?,
        gpu_seconds: f64::from_bits(row.try_get_by_index::<i64>(10)?.cast_unsigned()),
        succeeded: row.try_get_by_index::<i64>(11)? != 0,
    })
}

/// The stage in a column of a row.
pub fn stage(row: &QueryResult, column: usize) -> Result<Stage, DbErr> {
    let number: i64 = row.try_get_by_index(column)?;
    let stage = usize::try_from(number).ok().and_then(|number| Stage::ALL.get(number).copied());
    stage.ok_or_else(|| DbErr::Type("a stage is not one of five".to_owned()))
}
