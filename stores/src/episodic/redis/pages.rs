//! Pages of tasks. Each queue gives its part of a page in order; they are put together here.
//!
//! Pages of named queues are one round trip, however many. A page of all queues takes a second one, for their names,
//! and a third where payloads are large: what did not fit is read by id for the tasks that are on the page.

use super::{
    super::{QueueAdapter, Task, TaskPageQuery},
    RedisEpisodic,
    connection::{Call, Script, script},
    fault,
    moment::Moment,
    reply::{self, Reader},
    task,
};
use crate::{
    Page, Position, Result, Scope, SortValue,
    error::{Store, StoreError},
};
use ::redis::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use uuid::Uuid;

static PAGES: Script = script!("full.lua", "queue.lua", "pages.lua");

/// Bytes of tasks of one script's answer.
const ROOM: usize = 1024 * 1024;
/// Queries of one call of the script.
const QUERIES: usize = 32;

/// A task's place: when it was made, in microseconds, and its id.
type Place = (i64, Uuid);

/// A part of a page, of one queue.
struct Row {
    place: Place,
    task: Option<Task>,
}

/// What a query still asks of a queue.
#[derive(Clone, Copy)]
struct Rest {
    query: usize,
    wanted: usize,
    after: Option<Place>,
    before: Option<Place>,
}

impl RedisEpisodic {
    /// One page per query.
    pub(super) async fn pages(&self, scope: &Scope, queries: &[TaskPageQuery]) -> Result<Vec<Page<Task>>> {
        let mut all = Vec::new();
        let mut named: BTreeMap<Arc<str>, Vec<Rest>> = BTreeMap::new();
        for (at, query) in queries.iter().enumerate() {
            let (after, before) = (place(query.slice.after.as_ref())?, place(query.slice.before.as_ref())?);
            // One more than the page has tells whether there are more.
            let rest = Rest { query: at, wanted: (query.slice.limit as usize).saturating_add(1), after, before };
            match &query.queue {
                Some(queue) => named.entry(queue.as_str().into()).or_default().push(rest),
                None => all.push(rest),
            }
        }
        let mut parts: Vec<Vec<Row>> = queries.iter().map(|_| Vec::new()).collect();
        let at = self.moment();
        if !all.is_empty() {
            for name in self.queue_names(scope).await? {
                named.entry(name).or_default().extend(all.iter().copied());
            }
        }
        while !named.is_empty() {
            named = self.round(scope, at, queries, named, &mut parts).await?;
        }
        let pages: Vec<Page<Row>> = parts.into_iter().zip(queries).map(|(part, query)| together(part, query)).collect();
        let read = self.unread(scope, &pages).await?;
        let task = |row: Row| row.task.or_else(|| read.get(&row.place.1).cloned());
        let whole = |page: Page<Row>| Page {
            items: page.items.into_iter().filter_map(task).collect(),
            has_previous: page.has_previous,
            has_next: page.has_next,
            total: None,
        };
        Ok(pages.into_iter().map(whole).collect())
    }

    /// Asks each queue for what is still wanted of it, and answers what was too long for one script.
    async fn round(
        &self,
        scope: &Scope,
        at: Moment,
        queries: &[TaskPageQuery],
        wanted: BTreeMap<Arc<str>, Vec<Rest>>,
        parts: &mut [Vec<Row>],
    ) -> Result<BTreeMap<Arc<str>, Vec<Rest>>> {
        let chunks: Vec<(&Arc<str>, &[Rest])> =
            wanted.iter().flat_map(|(queue, rests)| rests.chunks(QUERIES).map(move |chunk| (queue, chunk))).collect();
        let of = |(queue, rests): &(&Arc<str>, &[Rest])| {
            let mut call = self.call(&PAGES, scope, queue, at).with(ROOM);
            for rest in *rests {
                if let Some(query) = queries.get(rest.query) {
                    arguments(&mut call, query, rest);
                }
            }
            call
        };
        let calls: Vec<Call> = chunks.iter().map(of).collect();
        let mut left: BTreeMap<Arc<str>, Vec<Rest>> = BTreeMap::new();
        for ((queue, rests), answer) in chunks.into_iter().zip(self.server.run(&calls).await) {
            let answer = answer?;
            if answer == Value::Nil {
                left.entry(queue.clone()).or_default().extend(rests.iter().copied());
                continue;
            }
            for (rest, answer) in rests.iter().zip(reply::items(answer)?) {
                let mut answer = Reader::new(answer)?;
                let rows = reply::items(answer.next()?)?;
                let found = rows.len();
                let part = parts.get_mut(rest.query).ok_or_else(fault::senseless)?;
                for row in rows {
                    part.push(read_row(row, queue)?);
                }
                let stopped = answer.next()?;
                if stopped == Value::Nil {
                    continue;
                }
                let stopped = Some(read_place(&mut Reader::new(stopped)?)?);
                let mut next = Rest { wanted: rest.wanted.saturating_sub(found), ..*rest };
                if queries.get(rest.query).is_some_and(|query| query.slice.backward) {
                    next.before = stopped;
                } else {
                    next.after = stopped;
                }
                left.entry(queue.clone()).or_default().push(next);
            }
        }
        Ok(left)
    }

    /// The tasks of these pages that did not fit into the answers.
    async fn unread(&self, scope: &Scope, pages: &[Page<Row>]) -> Result<HashMap<Uuid, Task>> {
        let rows = pages.iter().flat_map(|page| &page.items);
        let ids: Vec<Uuid> = rows.filter(|row| row.task.is_none()).map(|row| row.place.1).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.tasks(scope, &ids).await?.into_iter().flatten().map(|task| (task.id, task)).collect())
    }
}

fn arguments(call: &mut Call, query: &TaskPageQuery, rest: &Rest) {
    let id = |id: Option<Uuid>| id.map(|id| id.simple().to_string()).unwrap_or_default();
    let mut states: Vec<u8> = query.states.iter().map(|state| task::code(*state)).collect();
    states.sort_unstable();
    states.dedup();
    call.arg(id(query.persona_id)).arg(id(query.campaign_id));
    call.arg(states.iter().map(u8::to_string).collect::<String>());
    call.arg(rest.wanted).arg(if query.slice.backward { 1 } else { 0 });
    for end in [rest.after, rest.before] {
        match end {
            Some((micros, end)) => call.arg(micros).arg(id(Some(end))),
            None => call.arg("").arg(""),
        };
    }
}

fn read_row(row: Value, queue: &str) -> Result<Row> {
    let mut row = Reader::new(row)?;
    let place = read_place(&mut row)?;
    let task = match row.next()? {
        Value::Nil => None,
        answer => Some(task::read(answer, queue)?),
    };
    Ok(Row { place, task })
}

fn read_place(reader: &mut Reader) -> Result<Place> {
    Ok((reader.parse()?, reader.parse()?))
}

/// The page of a query from the parts of the queues.
fn together(mut rows: Vec<Row>, query: &TaskPageQuery) -> Page<Row> {
    let slice = &query.slice;
    let limit = slice.limit as usize;
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.place));
    // A task that went from one state to another between two rounds may have been met twice.
    rows.dedup_by_key(|row| row.place);
    let more = rows.len() > limit;
    let (has_previous, has_next);
    if slice.backward {
        rows.drain(..rows.len().saturating_sub(limit));
        (has_previous, has_next) = (more || slice.after.is_some(), slice.before.is_some());
    } else {
        rows.truncate(limit);
        (has_previous, has_next) = (slice.after.is_some(), more || slice.before.is_some());
    }
    Page { items: rows, has_previous, has_next, total: None }
}

fn place(position: Option<&Position>) -> Result<Option<Place>> {
    position
        .map(|position| match position.value {
            SortValue::Int(micros) => Ok((micros, position.id)),
            _ => Err(StoreError::invalid(Store::Episodic, "the cursor is not one of a list of tasks")),
        })
        .transpose()
}
