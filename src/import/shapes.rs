//! What a line may hold, by kind, and the row, memory or event it stands for.
//!
//! Rows name their persona by its handle (`persona`). Every bound of the stores is checked here: what a line puts into
//! the outbox must never be refused when it is carried. Nothing here asks a store.

use chimera_stores::{
    Scope,
    memory::{MemoryKind, MemoryRecord},
    telemetry::{RenderEvent, Stage},
};
use chrono::{DateTime, Datelike, SubsecRound, Utc};
use entity::{Strings, persona, post, video};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use std::collections::HashMap;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PersonaLine {
    external_id: String,
    handle: String,
    name: String,
    status: Option<persona::Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VideoLine {
    external_id: String,
    persona: String,
    title: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    category: Option<String>,
    duration_ms: Option<i64>,
    #[serde(default, deserialize_with = "optional_instant")]
    published_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PostLine {
    external_id: String,
    persona: String,
    text: String,
    #[serde(default)]
    topics: Vec<String>,
    platform: String,
    #[serde(default, deserialize_with = "optional_instant")]
    published_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MemoryLine {
    external_id: String,
    persona: String,
    text: String,
    kind: Option<MemoryKind>,
    importance: Option<f32>,
    source: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "optional_instant")]
    pub(super) occurred_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RenderEventLine {
    external_id: String,
    /// External id of the video.
    pub(super) video: String,
    stage: Stage,
    #[serde(deserialize_with = "instant")]
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

/// Kept to the microsecond like everywhere else, so that a repeat of the import finds what it wrote.
fn instant<'de, D: Deserializer<'de>>(line: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(line)?;
    let at = DateTime::parse_from_rfc3339(&text).ok().map(|at| at.with_timezone(&Utc).trunc_subsecs(6));
    // The offset can carry a time out of the years that four digits can write.
    at.filter(|at| (0..=9999).contains(&at.year())).ok_or_else(|| {
        D::Error::custom(format_args!(
            "{text:?} is not a time after RFC 3339 with an offset, such as `2026-01-31T08:30:00Z`"
        ))
    })
}

fn optional_instant<'de, D: Deserializer<'de>>(line: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    #[derive(Deserialize)]
    struct Instant(#[serde(deserialize_with = "instant")] DateTime<Utc>);
    Ok(Option::<Instant>::deserialize(line)?.map(|at| at.0))
}

/// A line of rows that belong to a persona, or are one.
pub(super) trait Line: DeserializeOwned {
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

/// What every row is built with.
pub(super) struct Build<'a> {
    pub(super) scope: &'a Scope,
    pub(super) now: DateTime<Utc>,
    pub(super) personas: &'a HashMap<String, Uuid>,
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
    // Not every database can store one.
    if text.contains('\0') {
        return Err(format!("{field}: it has a NUL character"));
    }
    if text.len() > max_bytes {
        return Err(format!("{field}: it has {} bytes; at most {max_bytes} are accepted", text.len()));
    }
    Ok(())
}

pub(super) fn persona_row(line: &PersonaLine, build: &Build<'_>) -> Result<persona::Model, String> {
    check("externalId", &line.external_id, 256)?;
    check("name", &line.name, 256)?;
    persona::check_handle(&line.handle).map_err(|rule| format!("handle: {rule}"))?;
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

pub(super) fn video_row(line: &VideoLine, build: &Build<'_>) -> Result<video::Model, String> {
    check("externalId", &line.external_id, 256)?;
    check("title", &line.title, 1024)?;
    check_optional("description", line.description.as_deref().filter(|text| !text.trim().is_empty()), 65_536)?;
    check_optional("category", line.category.as_deref(), 256)?;
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

pub(super) fn post_row(line: &PostLine, build: &Build<'_>) -> Result<post::Model, String> {
    check("externalId", &line.external_id, 256)?;
    check("text", &line.text, 16_384)?;
    check("platform", &line.platform, 64)?;
    let topic = |text: &String| text.trim().trim_start_matches('#').trim().to_lowercase();
    let topics: Vec<String> = line.topics.iter().map(topic).collect();
    check_tags("topics", &topics, 32)?;
    Ok(post::Model {
        id: Uuid::now_v7(),
        organization_id: build.scope.organization_id(),
        external_id: Some(line.external_id.clone()),
        persona_id: build.persona(&line.persona)?,
        campaign_id: None,
        video_id: None,
        text: line.text.clone(),
        topics: Strings(topics),
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

fn check_optional(field: &str, text: Option<&str>, max_bytes: usize) -> Result<(), String> {
    text.map_or(Ok(()), |text| check(field, text, max_bytes))
}

fn check_tags(field: &str, tags: &[String], most: usize) -> Result<(), String> {
    if tags.len() > most {
        return Err(format!("{field}: it has {} items; at most {most} are accepted", tags.len()));
    }
    tags.iter().try_for_each(|tag| check(field, tag, 256))
}

pub(super) fn memory_record(line: &MemoryLine, build: &Build<'_>) -> Result<MemoryRecord, String> {
    check("externalId", &line.external_id, 256)?;
    check("text", &line.text, 16_384)?;
    check_tags("tags", &line.tags, 32)?;
    check_optional("source", line.source.as_deref(), 1024)?;
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

pub(super) fn render_event(
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
