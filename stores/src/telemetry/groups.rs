//! What adapters in SQL have in common before any SQL: queries that agree are put into one statement, pages are cut from
//! its rows, and the times of events are checked.

use super::{
    EventPageQuery, Measure, RankBy, RankingQuery, RenderEvent, STORE, Stage, StatsQuery, Subject, TimeRange, stats,
};
use crate::{
    Result,
    error::{ErrorKind, StoreError},
    page::{Page, Position, Slice, SortValue},
};
use chrono::{DateTime, TimeDelta, Utc};
use std::{collections::HashMap, hash::Hash};
use uuid::Uuid;

/// How far ahead of this machine's clock a worker's clock may be.
const MAX_AHEAD: TimeDelta = TimeDelta::hours(24);

/// Refuses events that lie more than 24 hours in the future, and those that are older than what is kept.
pub fn check_times(events: &[RenderEvent], now: DateTime<Utc>, earliest: Option<DateTime<Utc>>) -> Result<()> {
    let latest = now.checked_add_signed(MAX_AHEAD);
    for (index, event) in events.iter().enumerate() {
        if latest.is_some_and(|latest| event.at > latest) {
            let message = format!("event {index} lies more than {} hours in the future", MAX_AHEAD.num_hours());
            return Err(StoreError::invalid(STORE, message));
        }
        if earliest.is_some_and(|earliest| event.at < earliest) {
            let message = format!("event {index} is older than this store keeps events");
            return Err(StoreError::invalid(STORE, message));
        }
    }
    Ok(())
}

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

    /// The column.
    pub fn column(self) -> Option<&'static str> {
        match self {
            Self::Organization => None,
            Self::Persona => Some("persona_id"),
            Self::Campaign => Some("campaign_id"),
            Self::Video => Some("video_id"),
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
fn group<K: Eq + Hash + Clone>(items: impl Iterator<Item = (K, Uuid)>) -> Vec<Group<K>> {
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

/// What statistics of one statement agree in. How gaps are filled is decided after it.
pub type StatsKey<'a> = (Kind, TimeRange, &'a [DateTime<Utc>], Measure, i64);

/// Statistics by statement.
pub fn group_stats(queries: &[StatsQuery]) -> Vec<Group<StatsKey<'_>>> {
    group(queries.iter().map(|query| {
        let (kind, subject) = Kind::split(query.subject);
        ((kind, query.range, query.edges.as_slice(), query.measure, stage_mask(&query.stages)), subject)
    }))
}

/// What rankings of one statement agree in. Order and limit are decided after it.
pub type RankingKey = (Kind, TimeRange, RankBy, Measure, i64);

/// Rankings by statement.
pub fn group_rankings(queries: &[RankingQuery]) -> Vec<Group<RankingKey>> {
    group(queries.iter().map(|query| {
        let (kind, subject) = Kind::split(query.subject);
        ((kind, query.range, query.by, query.measure, stage_mask(&query.stages)), subject)
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

/// Exclusive bounds on `(at, id)`.
pub type Bounds = ((i64, Uuid), (i64, Uuid));

/// Range and cursors as one pair of bounds, so that the index is entered at the cursor and not at the range's end.
pub fn bounds(range: Option<TimeRange>, slice: &Slice) -> Result<Bounds> {
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
        _ => Err(StoreError::invalid(STORE, "the cursor does not belong to a list of events")),
    }
}

/// A page from the rows of its statement, in list order, which may hold one row too many on the far side.
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

/// The answer of each query of a statement, from those of its subjects.
pub fn spread<T: Clone>(members: &[(usize, usize)], answers: &[T]) -> Vec<(usize, T)> {
    members.iter().filter_map(|(query, slot)| Some((*query, answers.get(*slot)?.clone()))).collect()
}

/// Answers of several statements in the order of the queries.
pub fn in_order<T>(answers: Vec<Vec<(usize, T)>>) -> Vec<T> {
    let mut answers: Vec<(usize, T)> = answers.into_iter().flatten().collect();
    answers.sort_by_key(|(query, _)| *query);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Runs what keeps a core busy on a thread that nobody waits on.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::with_source(STORE, ErrorKind::Internal, "a computation broke off", error))
}
