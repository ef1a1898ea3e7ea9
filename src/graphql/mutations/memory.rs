//! What personas are told to remember and to forget, and what they exchanged with others.
//!
//! The memory store is fed by the outbox: a mutation commits the changes with their audit entries and the relay applies
//! them. A memory with an `externalId` has an id derived from it, so it can be changed, forgotten, and remembered again
//! while the store still knows the version it was forgotten at, or has an older change waiting. Its versions are
//! therefore times in microseconds, which grow whatever the store can tell at the moment.

use super::{Outcome, UserError, commit, editor, input, now, payload, unit};
use crate::graphql::{
    context::RequestContext,
    ids::NodeId,
    scalars::DateTime,
    types::{
        memory::{Interaction, Memory, MemoryKind},
        service::StoreName,
    },
};
use crate::write::memory_version_after;
use async_graphql::{Context, ID, InputObject, Object, Result};
use chimera_stores::memory::{self, Change, MemoryRecord};
use chrono::Utc;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The most memories or interactions of one mutation.
const MAX_BATCH: usize = 100;
/// The most bytes of a memory or of what was said.
const MAX_TEXT: usize = 16_384;
/// The most bytes of where a memory comes from: a long URL.
const MAX_SOURCE: usize = 2_048;

/// Memories for one persona.
#[derive(Clone, Debug, InputObject)]
pub struct RememberMemoriesInput {
    /// Who is to remember.
    pub persona_id: ID,
    /// What: 1 to 100.
    pub memories: Vec<MemoryInput>,
}

/// Something to be remembered.
#[derive(Clone, Debug, InputObject)]
pub struct MemoryInput {
    /// What it is.
    #[graphql(default_with = "MemoryKind::Episodic")]
    pub kind: MemoryKind,
    /// What is to be remembered: 1 to 16,384 bytes.
    pub text: String,
    /// From 0 (trivial) to 1 (defining).
    #[graphql(default = 0.5)]
    pub importance: f64,
    /// Where it comes from, such as `twitter` or a URL: at most 2,048 bytes.
    pub source: Option<String>,
    /// Tags: at most 32 of at most 64 bytes.
    #[graphql(default)]
    pub tags: Vec<String>,
    /// When it happened; now (or, of a memory that is already there, unchanged) when absent.
    pub occurred_at: Option<DateTime>,
    /// The id in the system it comes from, at most 256 bytes; unique for the persona. With it, repeating the mutation
    /// changes the memory that is already there, or nothing; without it, every mutation makes a new memory.
    pub external_id: Option<String>,
}

/// Memories to be removed.
#[derive(Clone, Debug, InputObject)]
pub struct ForgetMemoriesInput {
    /// Which: 1 to 100.
    pub ids: Vec<ID>,
}

/// Interactions of one persona.
#[derive(Clone, Debug, InputObject)]
pub struct RecordInteractionsInput {
    /// Whose.
    pub persona_id: ID,
    /// What was exchanged: 1 to 100.
    pub interactions: Vec<InteractionInput>,
}

/// One exchange between a persona and somebody.
#[derive(Clone, Debug, InputObject)]
pub struct InteractionInput {
    /// Where, such as `instagram`: 1 to 64 bytes.
    pub channel: String,
    /// With whom, as that place names them: 1 to 256 bytes.
    pub counterparty: String,
    /// Whether the persona spoke.
    pub outbound: bool,
    /// What was said: 1 to 16,384 bytes.
    pub text: String,
    /// When; now when absent.
    pub occurred_at: Option<DateTime>,
}

payload! {
    /// What became of `rememberMemories`.
    RememberMemoriesPayload {
        /// The memories as they are now, in the order of the argument.
        memories: Vec<Memory>
    }
}

payload! {
    /// What became of `forgetMemories`.
    ForgetMemoriesPayload {
        /// The memories that are no more.
        forgotten_ids: Vec<ID>
    }
}

payload! {
    /// What became of `recordInteractions`.
    RecordInteractionsPayload {
        /// The interactions, in the order of the argument.
        interactions: Vec<Interaction>
    }
}

/// Mutations of what personas know.
#[derive(Default)]
pub struct MemoryMutation;

#[Object]
impl MemoryMutation {
    /// Gives a persona memories: all of them or none.
    async fn remember_memories(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The memories.")] input: RememberMemoriesInput,
    ) -> Result<Option<RememberMemoriesPayload>> {
        RememberMemoriesPayload::of(remember(editor(context)?, input).await)
    }

    /// Removes memories for good: all of them or none.
    async fn forget_memories(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The memories.")] input: ForgetMemoriesInput,
    ) -> Result<Option<ForgetMemoriesPayload>> {
        ForgetMemoriesPayload::of(forget(editor(context)?, input).await)
    }

    /// Records what a persona exchanged with others: all of it or nothing. Repeating it records it again.
    async fn record_interactions(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The interactions.")] input: RecordInteractionsInput,
    ) -> Result<Option<RecordInteractionsPayload>> {
        RecordInteractionsPayload::of(record(editor(context)?, input).await)
    }
}

async fn remember(request: &RequestContext, input: RememberMemoriesInput) -> Outcome<(Vec<Memory>, Vec<StoreName>)> {
    let persona_id = known_persona(&input.persona_id)?;
    input::check_count(&["input", "memories"], input.memories.len(), MAX_BATCH)?;
    let mut ids = HashSet::new();
    let mut drafts = Vec::with_capacity(input.memories.len());
    for (index, memory) in input.memories.into_iter().enumerate() {
        let draft = Draft::read(persona_id, &index.to_string(), memory)?;
        if !ids.insert(draft.id) {
            let field = ["input", "memories", &index.to_string(), "externalId"];
            return Err(UserError::invalid(&field, "this is given to two memories").into());
        }
        drafts.push(draft);
    }
    check_persona(request, persona_id).await?;
    let mut existing = existing(request, persona_id, &drafts).await?;
    let now = now(request);
    let mut work = unit(request, "rememberMemories");
    let mut memories = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let before = existing.remove(&draft.id);
        let (record, changed) = draft.record(persona_id, before, now);
        if changed {
            work.remember("Memory", record.id, record.version, &Change::PutMemory(record.clone()));
        }
        memories.push(record.into());
    }
    let pending = commit(request, work).await?;
    Ok((memories, pending))
}

async fn forget(request: &RequestContext, input: ForgetMemoriesInput) -> Outcome<(Vec<ID>, Vec<StoreName>)> {
    input::check_count(&["input", "ids"], input.ids.len(), MAX_BATCH)?;
    let mut keys: Vec<(Uuid, Uuid)> = Vec::with_capacity(input.ids.len());
    for (index, id) in input.ids.iter().enumerate() {
        let Some(NodeId::Memory(persona_id, id)) = NodeId::parse(id) else {
            let field = ["input", "ids", &index.to_string()];
            return Err(UserError::invalid(&field, "this is not the id of a memory").into());
        };
        if keys.contains(&(persona_id, id)) {
            let field = ["input", "ids", &index.to_string()];
            return Err(UserError::invalid(&field, "this is given twice").into());
        }
        keys.push((persona_id, id));
    }
    let store = request.stores().memory()?;
    let personas = keys.iter().map(|(persona_id, _)| *persona_id).collect();
    let personas = input::rows::<entity::persona::Model>(request, personas).await?;
    let memories = store.memories(request.scope(), &keys).await?;
    let now = now(request);
    let mut work = unit(request, "forgetMemories");
    let mut missing = Vec::new();
    for (index, (key, memory)) in keys.iter().zip(memories).enumerate() {
        match memory.filter(|_| personas.contains_key(&key.0)) {
            Some(memory) => {
                let version = memory_version_after(memory.version, now);
                let change = Change::ForgetMemory { persona_id: key.0, id: key.1, version };
                work.remember("Memory", key.1, version, &change);
            }
            None => {
                missing.push(input::missing("memory", vec!["input".to_owned(), "ids".to_owned(), index.to_string()]))
            }
        }
    }
    if !missing.is_empty() {
        return Err(super::Refusal::User(missing));
    }
    let pending = commit(request, work).await?;
    Ok((input.ids, pending))
}

async fn record(
    request: &RequestContext,
    input: RecordInteractionsInput,
) -> Outcome<(Vec<Interaction>, Vec<StoreName>)> {
    let persona_id = known_persona(&input.persona_id)?;
    input::check_count(&["input", "interactions"], input.interactions.len(), MAX_BATCH)?;
    request.stores().memory()?;
    let now = now(request);
    let mut work = unit(request, "recordInteractions");
    let mut interactions = Vec::with_capacity(input.interactions.len());
    for (index, interaction) in input.interactions.into_iter().enumerate() {
        let index = index.to_string();
        let at = |name| ["input", "interactions", &index, name];
        let interaction = memory::Interaction {
            id: Uuid::now_v7(),
            persona_id,
            version: 1,
            channel: input::text(&at("channel"), interaction.channel, 64)?,
            counterparty: input::text(&at("counterparty"), interaction.counterparty, 256)?,
            outbound: interaction.outbound,
            text: input::text(&at("text"), interaction.text, MAX_TEXT)?,
            occurred_at: interaction.occurred_at.map_or(now, |at| at.0),
        };
        work.remember("Interaction", interaction.id, 1, &Change::PutInteraction(interaction.clone()));
        interactions.push(interaction.into());
    }
    check_persona(request, persona_id).await?;
    let pending = commit(request, work).await?;
    Ok((interactions, pending))
}

fn known_persona(id: &ID) -> Outcome<Uuid> {
    input::persona_id(id, &["input", "personaId"])
}

async fn check_persona(request: &RequestContext, id: Uuid) -> Outcome<()> {
    let reference = input::reference(id, &["input", "personaId"]);
    input::known::<entity::persona::Model>(request, "persona", &[reference]).await.map(drop)
}

/// A memory as it was asked for, checked.
struct Draft {
    id: Uuid,
    /// Whether the id comes from an `externalId`, so that the memory may be there already.
    derived: bool,
    kind: memory::MemoryKind,
    text: String,
    importance: f32,
    source: Option<String>,
    tags: Vec<String>,
    occurred_at: Option<chrono::DateTime<Utc>>,
}

impl Draft {
    fn read(persona_id: Uuid, index: &str, memory: MemoryInput) -> Outcome<Self> {
        let at = |name| ["input", "memories", index, name];
        if !(0.0..=1.0).contains(&memory.importance) {
            return Err(UserError::invalid(&at("importance"), "this is not between 0 and 1").into());
        }
        #[allow(clippy::cast_possible_truncation, reason = "importance is kept in single precision")]
        let importance = memory.importance as f32;
        let external_id = input::external_id(&at("externalId"), memory.external_id)?;
        let id = external_id.as_ref().map(|external_id| Uuid::new_v5(&persona_id, external_id.as_bytes()));
        Ok(Self {
            id: id.unwrap_or_else(Uuid::now_v7),
            derived: id.is_some(),
            kind: memory.kind.into(),
            text: input::text(&at("text"), memory.text, MAX_TEXT)?,
            importance,
            source: input::optional(&at("source"), memory.source, MAX_SOURCE)?,
            tags: input::tags(&at("tags"), memory.tags)?,
            occurred_at: memory.occurred_at.map(|at| at.0),
        })
    }

    /// The memory to be stored, and whether it differs from the one that is there.
    fn record(
        self,
        persona_id: Uuid,
        before: Option<MemoryRecord>,
        now: chrono::DateTime<Utc>,
    ) -> (MemoryRecord, bool) {
        let fresh = if self.derived { memory_version_after(0, now) } else { 1 };
        let Self { id, kind, text, importance, source, tags, occurred_at, .. } = self;
        let occurred = occurred_at.or(before.as_ref().map(|before| before.occurred_at)).unwrap_or(now);
        let created_at = before.as_ref().map_or(now, |before| before.created_at);
        let mut record = MemoryRecord {
            id,
            persona_id,
            version: before.as_ref().map_or(fresh, |before| before.version),
            kind,
            text,
            importance,
            source,
            tags,
            occurred_at: occurred,
            created_at,
        };
        match before {
            Some(before) if before == record => (record, false),
            Some(before) => {
                record.version = memory_version_after(before.version, now);
                (record, true)
            }
            None => (record, true),
        }
    }
}

/// The memories that are there already, of those whose id says that they may be.
async fn existing(
    request: &RequestContext,
    persona_id: Uuid,
    drafts: &[Draft],
) -> Outcome<HashMap<Uuid, MemoryRecord>> {
    let store = request.stores().memory()?;
    let keys: Vec<(Uuid, Uuid)> =
        drafts.iter().filter(|draft| draft.derived).map(|draft| (persona_id, draft.id)).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let memories = store.memories(request.scope(), &keys).await?;
    Ok(memories.into_iter().flatten().map(|memory| (memory.id, memory)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(text: &str, external_id: Option<&str>) -> MemoryInput {
        MemoryInput {
            kind: MemoryKind::Episodic,
            text: text.to_owned(),
            importance: 0.5,
            source: None,
            tags: Vec::new(),
            occurred_at: None,
            external_id: external_id.map(str::to_owned),
        }
    }

    fn draft(text: &str, external_id: Option<&str>) -> Draft {
        Draft::read(Uuid::nil(), "0", memory(text, external_id)).unwrap_or_else(|_| panic!("this is in bounds"))
    }

    #[test]
    fn the_same_external_id_is_the_same_memory() {
        assert_eq!(draft("a", Some("x")).id, draft("b", Some("x")).id);
        assert_ne!(draft("a", Some("x")).id, draft("a", Some("y")).id);
        assert_ne!(draft("a", None).id, draft("a", None).id);
    }

    #[test]
    fn a_repeat_changes_nothing_and_a_change_grows_the_version() {
        let first = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let later = first + chrono::TimeDelta::seconds(9);
        let (stored, new) = draft("a", Some("x")).record(Uuid::nil(), None, first);
        assert!(new);
        let (repeated, changed) = draft("a", Some("x")).record(Uuid::nil(), Some(stored.clone()), later);
        assert!(!changed, "the time it is repeated at is no change");
        assert_eq!(repeated, stored);
        let (other, changed) = draft("b", Some("x")).record(Uuid::nil(), Some(stored.clone()), later);
        assert!(changed && other.version > stored.version);
        assert_eq!((other.created_at, other.occurred_at), (first, first));
    }

    #[test]
    fn versions_grow_though_the_clock_jumps_back_and_the_store_has_forgotten() {
        let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (remembered, _) = draft("a", Some("x")).record(Uuid::nil(), None, now);
        let forgotten = memory_version_after(remembered.version, now);
        let (again, _) = draft("a", Some("x")).record(Uuid::nil(), None, now - chrono::TimeDelta::hours(1));
        assert!(remembered.version < forgotten && forgotten < again.version);
    }

    #[test]
    fn importance_has_bounds() {
        for (importance, good) in [(0.0, true), (1.0, true), (-0.01, false), (1.01, false), (f64::NAN, false)] {
            let input = MemoryInput { importance, ..memory("a", None) };
            assert_eq!(Draft::read(Uuid::nil(), "0", input).is_ok(), good, "{importance}");
        }
    }
}
