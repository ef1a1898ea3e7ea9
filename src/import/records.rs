//! How a batch of lines becomes one transaction, and what became of each line.
//!
//! A batch is committed whole; when the store refuses it, its lines are committed one by one, so that the bad one alone
//! is refused. What a line may hold is decided in `shapes`.

use super::{
    lines::Batch,
    shapes::{
        Build, Line, MemoryLine, PersonaLine, RenderEventLine, memory_record, persona_row, post_row, render_event,
        video_row,
    },
};
use crate::{
    stores::Stores,
    write::{Searchable, UnitOfWork},
};
use chimera_stores::{
    Clock, ErrorKind, Result, Scope,
    memory::{self, MemoryRecord},
    relational::{Column, Record},
};
use chrono::{DateTime, Utc};
use entity::{persona, post, video};
use serde::de::DeserializeOwned;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use uuid::Uuid;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Personas.
    Personas,
    /// Videos of personas.
    Videos,
    /// Memories of personas.
    Memories,
    /// Posts of personas.
    Posts,
    /// Finished steps of renders.
    RenderEvents,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something new.
    Created,
    /// Something changed.
    Updated,
    /// It was there already.
    Unchanged,
    /// It was refused, and why.
    Refused(String),
}

type Verdicts = Vec<(u64, Verdict)>;

/// Turns batches of lines into transactions.
pub struct Importer<'a> {
    stores: &'a Stores,
    clock: &'a Arc<dyn Clock>,
    scope: &'a Scope,
    kind: Kind,
}

impl<'a> Importer<'a> {
    /// An importer of one kind into one organisation.
    pub fn new(stores: &'a Stores, clock: &'a Arc<dyn Clock>, scope: &'a Scope, kind: Kind) -> Self {
        Self { stores, clock, scope, kind }
    }

    /// Deals with one batch: one verdict a line, in order.
    pub async fn take(&self, batch: &Batch) -> Result<Verdicts> {
        match self.kind {
            Kind::Personas => self.rows(batch, async |_: &[(u64, PersonaLine)]| Ok(HashMap::new()), persona_row).await,
            Kind::Videos => self.rows(batch, async |lines| self.personas(lines).await, video_row).await,
            Kind::Posts => self.rows(batch, async |lines| self.personas(lines).await, post_row).await,
            Kind::Memories => self.memories(batch).await,
            Kind::RenderEvents => self.render_events(batch).await,
        }
    }

    /// The personas that lines name, by handle: one call a batch.
    async fn personas<L: Line>(&self, lines: &[(u64, L)]) -> Result<HashMap<String, Uuid>> {
        let handles: Vec<String> = distinct(lines.iter().map(|(_, line)| line.persona()));
        let found = self.stores.relational.find::<persona::Model>(self.scope, Column::Handle, &handles).await?;
        Ok(handles.into_iter().zip(found).filter_map(|(handle, row)| Some((handle, row?.id))).collect())
    }

    async fn rows<L, R>(
        &self,
        batch: &Batch,
        personas: impl AsyncFnOnce(&[(u64, L)]) -> Result<HashMap<String, Uuid>>,
        build: fn(&L, &Build<'_>) -> Result<R, String>,
    ) -> Result<Verdicts>
    where
        L: Line,
        R: Record + Imported + Searchable + serde::Serialize + PartialEq,
    {
        let (lines, mut verdicts) = parse::<L>(batch);
        let personas = personas(&lines).await?;
        let ids: Vec<String> = lines.iter().map(|(_, line)| line.external_id().to_owned()).collect();
        let existing = self.stores.relational.find::<R>(self.scope, Column::ExternalId, &ids).await?;
        let (mut seen, mut planned) = (HashSet::new(), Vec::new());
        for ((number, line), before) in lines.iter().zip(existing) {
            let build_with = Build { scope: self.scope, now: self.clock.now(), personas: &personas };
            match build(line, &build_with) {
                Ok(row) if seen.insert(line.external_id()) => planned.push((*number, plan(before, row))),
                Ok(_) => verdicts.push((*number, repeated())),
                Err(reason) => verdicts.push((*number, Verdict::Refused(reason))),
            }
        }
        verdicts.extend(self.commit(planned).await?);
        verdicts.sort_by_key(|(number, _)| *number);
        Ok(verdicts)
    }

    /// All in one transaction, or, when the store refuses it, each in its own.
    async fn commit<R>(&self, planned: Vec<(u64, Plan<R>)>) -> Result<Verdicts>
    where
        R: Record + Searchable + serde::Serialize,
    {
        let mut all = self.work();
        for (_, plan) in &planned {
            plan.add(&mut all);
        }
        if all.is_empty() {
            return Ok(planned.into_iter().map(|(number, plan)| (number, plan.verdict())).collect());
        }
        match all.commit(self.stores, self.scope).await {
            Ok(_) => return Ok(planned.into_iter().map(|(number, plan)| (number, plan.verdict())).collect()),
            Err(error) if !is_refusal(error.kind()) => return Err(error),
            Err(_) => {}
        }
        let mut verdicts = Vec::with_capacity(planned.len());
        for (number, plan) in planned {
            let mut one = self.work();
            plan.add(&mut one);
            let verdict =
                match if one.is_empty() { Ok(Default::default()) } else { one.commit(self.stores, self.scope).await } {
                    Ok(_) => plan.verdict(),
                    Err(error) if is_refusal(error.kind()) => Verdict::Refused(error.message().to_owned()),
                    Err(error) => return Err(error),
                };
            verdicts.push((number, verdict));
        }
        Ok(verdicts)
    }

    fn work(&self) -> UnitOfWork {
        UnitOfWork::new("import", None)
    }

    async fn memories(&self, batch: &Batch) -> Result<Verdicts> {
        let (lines, mut verdicts) = parse::<MemoryLine>(batch);
        let personas = self.personas(&lines).await?;
        let (mut seen, mut records) = (HashSet::new(), Vec::new());
        for (number, line) in &lines {
            match memory_record(line, &Build { scope: self.scope, now: self.clock.now(), personas: &personas }) {
                Ok(record) if seen.insert(record.id) => records.push((*number, record, line.occurred_at.is_some())),
                Ok(_) => verdicts.push((*number, repeated())),
                Err(reason) => verdicts.push((*number, Verdict::Refused(reason))),
            }
        }
        let keys: Vec<(Uuid, Uuid)> = records.iter().map(|(_, record, _)| (record.persona_id, record.id)).collect();
        let existing = self.stores.memory()?.memories(self.scope, &keys).await?;
        let mut work = self.work();
        for ((number, mut record, dated), before) in records.into_iter().zip(existing) {
            let verdict = match before {
                None => Verdict::Created,
                Some(before) => {
                    record.version = before.version + 1;
                    record.created_at = before.created_at;
                    if !dated {
                        record.occurred_at = before.occurred_at;
                    }
                    let same = MemoryRecord { version: before.version, ..record.clone() } == before;
                    if same { Verdict::Unchanged } else { Verdict::Updated }
                }
            };
            if verdict != Verdict::Unchanged {
                work.remember("Memory", record.id, record.version, &memory::Change::PutMemory(record.clone()));
            }
            verdicts.push((number, verdict));
        }
        if !work.is_empty() {
            work.commit(self.stores, self.scope).await?;
        }
        verdicts.sort_by_key(|(number, _)| *number);
        Ok(verdicts)
    }

    async fn render_events(&self, batch: &Batch) -> Result<Verdicts> {
        let (lines, mut verdicts) = parse::<RenderEventLine>(batch);
        let names = distinct(lines.iter().map(|(_, line)| line.video.as_str()));
        let found = self.stores.relational.find::<video::Model>(self.scope, Column::ExternalId, &names).await?;
        let videos: HashMap<String, video::Model> =
            names.into_iter().zip(found).filter_map(|(name, row)| Some((name, row?))).collect();
        let (mut seen, mut numbers, mut events) = (HashSet::new(), Vec::new(), Vec::new());
        for (number, line) in &lines {
            match render_event(self.scope, line, &videos) {
                Ok(event) if seen.insert(event.id) => {
                    numbers.push(*number);
                    events.push(event);
                }
                Ok(_) => verdicts.push((*number, repeated())),
                Err(reason) => verdicts.push((*number, Verdict::Refused(reason))),
            }
        }
        let telemetry = self.stores.telemetry()?;
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let existing = telemetry.events(self.scope, &ids).await?;
        let whole = telemetry.append(self.scope, &events).await;
        for ((number, event), before) in numbers.into_iter().zip(events).zip(existing) {
            let outcome = match &whole {
                Ok(_) => Ok(()),
                Err(error) if is_refusal(error.kind()) => telemetry.append(self.scope, &[event]).await.map(drop),
                Err(error) => return Err(error.clone()),
            };
            let verdict = match outcome {
                Ok(()) if before.is_some() => Verdict::Unchanged,
                Ok(()) => Verdict::Created,
                // The store numbers the events of a call; here it is always the first and only one.
                Err(error) if is_refusal(error.kind()) => {
                    Verdict::Refused(error.message().replacen("event 0", "the event", 1))
                }
                Err(error) => return Err(error),
            };
            verdicts.push((number, verdict));
        }
        verdicts.sort_by_key(|(number, _)| *number);
        Ok(verdicts)
    }
}

/// Two lines of one batch cannot both be the thing with this id; a batch later, the line would be a change of it.
fn repeated() -> Verdict {
    Verdict::Refused("externalId: an earlier line close by has the same one".to_owned())
}

/// Whether the line is to blame, not the store.
const fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::Invalid)
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = HashSet::new();
    texts.filter(|text| seen.insert(*text)).map(str::to_owned).collect()
}

fn parse<L: DeserializeOwned>(batch: &Batch) -> (Vec<(u64, L)>, Verdicts) {
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    for (number, text) in &batch.lines {
        let parsed = text
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|text| serde_json::from_str(text).map_err(|error| words(&error)));
        match parsed {
            Ok(line) => lines.push((*number, line)),
            Err(reason) => verdicts.push((*number, Verdict::Refused(reason))),
        }
    }
    (lines, verdicts)
}

/// What is wrong with a line of JSON. The parser counts lines inside the text it was given, which is always the first.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) => format!("{text} (at column {})", error.column()),
        None => text,
    }
}

enum Plan<R> {
    Insert(R),
    Update(R, R),
    Keep,
}

impl<R: Record + Searchable + serde::Serialize> Plan<R> {
    fn add(&self, work: &mut UnitOfWork) {
        match self {
            Plan::Insert(row) => {
                work.insert(row);
            }
            Plan::Update(before, after) => {
                work.update(before, after);
            }
            Plan::Keep => {}
        }
    }

    fn verdict(&self) -> Verdict {
        match self {
            Plan::Insert(_) => Verdict::Created,
            Plan::Update(..) => Verdict::Updated,
            Plan::Keep => Verdict::Unchanged,
        }
    }
}

/// A row that an import may meet again.
trait Imported {
    /// Takes from the stored row what an import does not decide.
    fn keep(&mut self, before: &Self);
    /// Makes it the next version.
    fn next(&mut self, now: DateTime<Utc>);
    /// When it was built.
    fn now(&self) -> DateTime<Utc>;
}

macro_rules! imported {
    ($($module:ident { $($kept:ident),* })*) => { $(
        impl Imported for $module::Model {
            fn keep(&mut self, before: &Self) {
                self.id = before.id;
                self.created_at = before.created_at;
                self.updated_at = before.updated_at;
                self.version = before.version;
                $(self.$kept = before.$kept.clone();)*
            }

            fn next(&mut self, now: DateTime<Utc>) {
                self.updated_at = now;
                self.version += 1;
            }

            fn now(&self) -> DateTime<Utc> {
                self.updated_at
            }
        }
    )* };
}

imported! {
    persona { avatar_asset_id }
    video { campaign_id, status, asset_id, thumbnail_asset_id }
    post { campaign_id, video_id, status, scheduled_at, url }
}

fn plan<R: Imported + PartialEq + Clone>(before: Option<R>, mut row: R) -> Plan<R> {
    let Some(before) = before else { return Plan::Insert(row) };
    let now = row.now();
    row.keep(&before);
    if row == before {
        return Plan::Keep;
    }
    row.next(now);
    Plan::Update(before, row)
}
