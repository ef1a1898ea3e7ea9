//! What a line may hold, by kind, and how a batch of lines becomes one transaction.
//!
//! Rows name their persona by its handle (`persona`). A batch is committed whole; when the store refuses it, its lines
//! are committed one by one, so that the bad one alone is refused.

use super::lines::Batch;
use crate::{
    stores::Stores,
    write::{Searchable, UnitOfWork},
};
use chimera_stores::{
    Clock, ErrorKind, Result, Scope,
    memory::{self, MemoryKind, MemoryRecord},
    relational::{Column, Record},
    telemetry::{RenderEvent, Stage},
};
use chrono::{DateTime, Utc};
use entity::{Strings, persona, post, video};
use serde::{Deserialize, de::DeserializeOwned};
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PersonaLine {
    external_id: String,
    handle: String,
    name: String,
    status: Option<persona::Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VideoLine {
    external_id: String,
    persona: String,
    title: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    category: Option<String>,
    duration_ms: Option<i64>,
    published_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostLine {
    external_id: String,
    persona: String,
    text: String,
    #[serde(default)]
    topics: Vec<String>,
    platform: String,
    published_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MemoryLine {
    external_id: String,
    persona: String,
    text: String,
    kind: Option<MemoryKind>,
    importance: Option<f32>,
    source: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    occurred_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenderEventLine {
    external_id: String,
    /// External id of the video.
    video: String,
    stage: Stage,
    at: DateTime<Utc>,
    duration_ms: i64,
    #[serde(default)]
    cost_micros: i64,
    #[serde(default)]
    frames: i64,
    #[serde(default)]
    gpu_seconds: f64,
    #[serde(default = "yes")]
    succeeded: bool,
}

const fn yes() -> bool {
    true
}

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
            let verdict = if seen.insert(line.external_id()) {
                match build(line, &build_with) {
                    Ok(row) => {
                        planned.push((*number, plan(before, row)));
                        continue;
                    }
                    Err(reason) => Verdict::Refused(reason),
                }
            } else {
                Verdict::Refused("externalId: an earlier line close by has the same one".to_owned())
            };
            verdicts.push((*number, verdict));
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
                Ok(_) => verdicts.push((
                    *number,
                    Verdict::Refused("externalId: an earlier line close by has the same one".to_owned()),
                )),
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
        let (mut numbers, mut events) = (Vec::new(), Vec::new());
        for (number, line) in &lines {
            match render_event(self.scope, line, &videos) {
                Ok(event) => {
                    numbers.push(*number);
                    events.push(event);
                }
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
                Err(error) if is_refusal(error.kind()) => Verdict::Refused(error.message().to_owned()),
                Err(error) => return Err(error),
            };
            verdicts.push((number, verdict));
        }
        verdicts.sort_by_key(|(number, _)| *number);
        Ok(verdicts)
    }
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
            .and_then(|text| serde_json::from_str(text).map_err(|error| format!("{error}")));
        match parsed {
            Ok(line) => lines.push((*number, line)),
            Err(reason) => verdicts.push((*number, Verdict::Refused(reason))),
        }
    }
    (lines, verdicts)
}

trait Line: DeserializeOwned {
    fn external_id(&self) -> &str;
    fn persona(&self) -> &str;
}

macro_rules! lines {
    ($($line:ident $persona:ident),*) => { $(
        impl Line for $line {
            fn external_id(&self) -> &str {
                &self.external_id
            }

            fn persona(&self) -> &str {
                &self.$persona
            }
        }
    )* };
}

lines!(PersonaLine handle, VideoLine persona, PostLine persona, MemoryLine persona);

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

/// What every row is built with.
struct Build<'a> {
    scope: &'a Scope,
    now: DateTime<Utc>,
    personas: &'a HashMap<String, Uuid>,
}

impl Build<'_> {
    fn persona(&self, handle: &str) -> Result<Uuid, String> {
        self.personas.get(handle).copied().ok_or_else(|| format!("persona: there is no persona {handle:?}"))
    }
}

fn check(field: &str, text: &str, max_bytes: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{field}: it is blank"));
    }
    if text.len() > max_bytes {
        return Err(format!("{field}: it has {} bytes; at most {max_bytes} are accepted", text.len()));
    }
    Ok(())
}

fn persona_row(line: &PersonaLine, build: &Build<'_>) -> Result<persona::Model, String> {
    check("externalId", &line.external_id, 256)?;
    check("name", &line.name, 256)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if line.handle.is_empty() || line.handle.len() > 64 || !line.handle.bytes().all(plain) {
        return Err("handle: a handle has 1 to 64 of a-z, 0-9, `_`, `.` and `-`".to_owned());
    }
    Ok(persona::Model {
        id: Uuid::now_v7(),
        organization_id: build.scope.organization_id(),
        external_id: Some(line.external_id.clone()),
        handle: line.handle.clone(),
        name: line.name.clone(),
        status: line.status.unwrap_or(persona::Status::Active),
        avatar_asset_id: None,
        created_at: build.now,
        updated_at: build.now,
        version: 1,
    })
}

fn video_row(line: &VideoLine, build: &Build<'_>) -> Result<video::Model, String> {
    check("externalId", &line.external_id, 256)?;
    check("title", &line.title, 1024)?;
    if line.description.as_ref().is_some_and(|text| text.len() > 65_536) {
        return Err("description: at most 65536 bytes are accepted".to_owned());
    }
    if line.duration_ms.is_some_and(|millis| millis < 0) {
        return Err("durationMs: it is negative".to_owned());
    }
    check_tags("tags", &line.tags, 128)?;
    Ok(video::Model {
        id: Uuid::now_v7(),
        organization_id: build.scope.organization_id(),
        external_id: Some(line.external_id.clone()),
        persona_id: build.persona(&line.persona)?,
        campaign_id: None,
        title: line.title.clone(),
        description: line.description.clone(),
        status: if line.published_at.is_some() { video::Status::Published } else { video::Status::Ready },
        category: line.category.clone(),
        tags: Strings(line.tags.clone()),
        duration_ms: line.duration_ms,
        asset_id: None,
        thumbnail_asset_id: None,
        published_at: line.published_at,
        created_at: build.now,
        updated_at: build.now,
        version: 1,
    })
}

fn post_row(line: &PostLine, build: &Build<'_>) -> Result<post::Model, String> {
    check("externalId", &line.external_id, 256)?;
    check("text", &line.text, 16_384)?;
    check("platform", &line.platform, 64)?;
    check_tags("topics", &line.topics, 32)?;
    let topic = |text: &String| text.trim().trim_start_matches('#').to_lowercase();
    Ok(post::Model {
        id: Uuid::now_v7(),
        organization_id: build.scope.organization_id(),
        external_id: Some(line.external_id.clone()),
        persona_id: build.persona(&line.persona)?,
        campaign_id: None,
        video_id: None,
        text: line.text.clone(),
        topics: Strings(line.topics.iter().map(topic).collect()),
        platform: line.platform.clone(),
        status: if line.published_at.is_some() { post::Status::Published } else { post::Status::Draft },
        scheduled_at: None,
        published_at: line.published_at,
        url: None,
        created_at: build.now,
        updated_at: build.now,
        version: 1,
    })
}

fn check_tags(field: &str, tags: &[String], most: usize) -> Result<(), String> {
    if tags.len() > most {
        return Err(format!("{field}: it has {} items; at most {most} are accepted", tags.len()));
    }
    tags.iter().try_for_each(|tag| check(field, tag, 256))
}

fn memory_record(line: &MemoryLine, build: &Build<'_>) -> Result<MemoryRecord, String> {
    check("externalId", &line.external_id, 256)?;
    check("text", &line.text, 16_384)?;
    check_tags("tags", &line.tags, 32)?;
    let importance = line.importance.unwrap_or(0.5);
    if !(0.0..=1.0).contains(&importance) {
        return Err("importance: it is not between 0 and 1".to_owned());
    }
    let persona_id = build.persona(&line.persona)?;
    Ok(MemoryRecord {
        id: Uuid::new_v5(&persona_id, line.external_id.as_bytes()),
        persona_id,
        version: 1,
        kind: line.kind.unwrap_or(MemoryKind::Episodic),
        text: line.text.clone(),
        importance,
        source: line.source.clone(),
        tags: line.tags.clone(),
        occurred_at: line.occurred_at.unwrap_or(build.now),
        created_at: build.now,
    })
}

fn render_event(
    scope: &Scope,
    line: &RenderEventLine,
    videos: &HashMap<String, video::Model>,
) -> Result<RenderEvent, String> {
    check("externalId", &line.external_id, 256)?;
    let video = videos.get(&line.video).ok_or_else(|| format!("video: there is no video {:?}", line.video))?;
    let RenderEventLine { stage, at, duration_ms, cost_micros, frames, gpu_seconds, succeeded, .. } = *line;
    Ok(RenderEvent {
        id: Uuid::new_v5(&scope.organization_id(), line.external_id.as_bytes()),
        video_id: video.id,
        persona_id: video.persona_id,
        campaign_id: video.campaign_id,
        stage,
        at,
        duration_ms,
        cost_micros,
        frames,
        gpu_seconds,
        succeeded,
    })
}
