//! The statements on events: how queries that agree are put into one, and how rows become events.
//!
//! SQL text is put together from constants of this file alone; every value is a parameter.

use crate::{
    Result,
    error::{Store, StoreError},
    page::{Page, Position, Slice, SortValue},
    telemetry::{EventPageQuery, RenderEvent, Stage, Subject, TimeRange, stats},
};
use sea_orm::{DbBackend, DbErr, QueryResult, Statement, Value};
use std::{collections::HashMap, hash::Hash};
use uuid::Uuid;

/// The columns of an event, as [`event`] reads them, after the slot.
const COLUMNS: &str = "e.id, e.video_id, e.persona_id, e.campaign_id, e.stage, e.at, e.duration_ms, e.cost_micros, \
                       e.frames, e.gpu_seconds_bits, e.succeeded";

/// Which column a subject is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No column of its own.
    Organization,
    /// `persona_id`.
    Persona,
    /// `campaign_id`.
    Campaign,
    /// `video_id`.
    Video,
}

impl Kind {
    /// A subject's column and value.
    pub fn split(subject: Subject) -> (Self, Uuid) {
        match subject {
            Subject::Organization => (Self::Organization, Uuid::nil()),
            Subject::Persona(id) => (Self::Persona, id),
            Subject::Campaign(id) => (Self::Campaign, id),
            Subject::Video(id) => (Self::Video, id),
        }
    }

    /// The condition that joins table alias `table` to the subject in `k.value`.
    pub fn condition(self, table: &str) -> String {
        match self {
            Self::Organization => String::new(),
            Self::Persona => format!("AND {table}.persona_id = unhex(k.value)"),
            Self::Campaign => format!("AND {table}.campaign_id = unhex(k.value)"),
            Self::Video => format!("AND {table}.video_id = unhex(k.value)"),
        }
    }
}

/// Queries that one statement answers: they differ in the subject alone.
pub struct Group<K> {
    /// What they agree in.
    pub key: K,
    /// The subjects, each once.
    pub subjects: Vec<Uuid>,
    /// Which query (by its place in the batch) has which subject (by its place in `subjects`).
    pub members: Vec<(usize, usize)>,
}

/// Puts items that agree in their key into one group.
pub fn group<K: Eq + Hash + Clone>(items: impl Iterator<Item = (K, Uuid)>) -> Vec<Group<K>> {
    let mut groups: Vec<Group<K>> = Vec::new();
    let mut group_of: HashMap<K, usize> = HashMap::new();
    let mut slot_of: HashMap<(usize, Uuid), usize> = HashMap::new();
    for (query, (key, subject)) in items.enumerate() {
        let at = *group_of.entry(key.clone()).or_insert_with(|| {
            groups.push(Group { key, subjects: Vec::new(), members: Vec::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(at) {
            let slot = *slot_of.entry((at, subject)).or_insert_with(|| {
                group.subjects.push(subject);
                group.subjects.len() - 1
            });
            group.members.push((query, slot));
        }
    }
    groups
}

/// What pages of one statement agree in.
pub type PageKey<'a> = (Kind, Option<TimeRange>, i64, &'a Slice);

/// Pages by statement.
pub fn group_pages(queries: &[EventPageQuery]) -> Vec<Group<PageKey<'_>>> {
    group(queries.iter().map(|query| {
        let (kind, subject) = Kind::split(query.subject);
        ((kind, query.range, stage_mask(&query.stages), &query.slice), subject)
    }))
}

/// One bit for each wanted stage; none named means all.
pub fn stage_mask(stages: &[Stage]) -> i64 {
    if stages.is_empty() {
        (1 << Stage::ALL.len()) - 1
    } else {
        stages.iter().fold(0, |mask, stage| mask | 1 << *stage as i64)
    }
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

/// Exclusive bounds on `(at, id)`.
type Bounds = ((i64, Uuid), (i64, Uuid));

/// Range and cursors as one pair of bounds, so that the index is entered at the cursor and not at the range's end.
fn bounds(range: Option<TimeRange>, slice: &Slice) -> Result<Bounds> {
    let (mut low, mut high) = ((i64::MIN, Uuid::nil()), (i64::MAX, Uuid::max()));
    if let Some(range) = range {
        let (from, to) = stats::range_micros(&range);
        (low, high) = ((from - 1, Uuid::max()), (to, Uuid::nil()));
    }
    // Newest first: what comes after a row lies below it.
    if let Some(after) = &slice.after {
        high = high.min(place(after)?);
    }
    if let Some(before) = &slice.before {
        low = low.max(place(before)?);
    }
    Ok((low, high))
}

fn place(position: &Position) -> Result<(i64, Uuid)> {
    match position.value {
        SortValue::Int(at) => Ok((at, position.id)),
        _ => Err(StoreError::invalid(Store::Telemetry, "the cursor does not belong to a list of events")),
    }
}

/// One page for each subject, one row more than asked for where there is one; the first column is the subject's slot.
pub fn pages(organization_id: Uuid, group: &Group<PageKey<'_>>) -> Result<Statement> {
    let (kind, range, mask, slice) = group.key;
    let ((low_at, low_id), (high_at, high_id)) = bounds(range, slice)?;
    let order = if slice.backward { "r.at, r.id" } else { "r.at DESC, r.id DESC" };
    // The inner query walks an index that covers it and stops at the limit, once for each subject.
    let sql = format!(
        "SELECT k.key, {COLUMNS} FROM json_each(?1) AS k CROSS JOIN events AS e WHERE e.sequence IN (\
         SELECT r.sequence FROM events AS r WHERE r.organization_id = ?2 {} \
         AND (r.at, r.id) > (?3, ?4) AND (r.at, r.id) < (?5, ?6) AND (?7 >> r.stage) & 1 ORDER BY {order} LIMIT ?8) \
         ORDER BY k.key, e.at DESC, e.id DESC",
        kind.condition("r")
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

/// A page from the rows of its statement, which may hold one row too many on the far side.
///
/// Whether rows lie on the near side (before a forward page, after a backward one) is taken from the cursor, as
/// [`Page`] allows.
pub fn page(slice: &Slice, mut rows: Vec<RenderEvent>) -> Page<RenderEvent> {
    let more = rows.len() > slice.limit as usize;
    if slice.backward {
        if more {
            rows.remove(0);
        }
        return Page {
            items: rows,
            has_previous: more || slice.after.is_some(),
            has_next: slice.before.is_some(),
            total: None,
        };
    }
    rows.truncate(slice.limit as usize);
    Page { items: rows, has_previous: slice.after.is_some(), has_next: more || slice.before.is_some(), total: None }
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
