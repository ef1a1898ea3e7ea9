//! What a persona knows: definition, memories, recall, context, interactions.

use super::persona::Persona;
use crate::graphql::{
    context::RequestContext,
    cursor::ListId,
    ids::NodeId,
    keys::memory::{InteractionsOf, MemoriesOf, MemoryById},
    loader::ByText,
    page::{Connection, Listed, PageArgs, wants_total},
    resolve::One,
    scalars::{BigInt, DateTime},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    Position, SortValue,
    memory::{self, InteractionPageQuery, MemoryPageQuery, context as rag},
};
use uuid::Uuid;

/// What a memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "memory::MemoryKind")]
pub enum MemoryKind {
    /// Something that happened.
    Episodic,
    /// Something known.
    Semantic,
    /// How something is done.
    Procedural,
    /// A conclusion drawn from other memories.
    Reflection,
}

/// How memories are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "memory::RecallMode")]
pub enum RecallMode {
    /// By meaning.
    Semantic,
    /// By words.
    Keyword,
    /// Both, fused.
    Hybrid,
}

/// Which memories; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct MemoryFilter {
    /// Of one of these kinds.
    pub kind: Option<Vec<MemoryKind>>,
    /// Happened at or after this.
    pub from: Option<DateTime>,
    /// Happened before this.
    pub to: Option<DateTime>,
    /// At least this important, from 0 to 1.
    pub min_importance: Option<f64>,
    /// From exactly this source.
    pub source: Option<String>,
    /// With all of these tags.
    pub tags: Option<Vec<String>>,
}

impl From<MemoryFilter> for memory::MemoryFilter {
    fn from(filter: MemoryFilter) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "importance is kept in single precision")]
        let importance = |value: f64| value as f32;
        Self {
            kinds: filter.kind.unwrap_or_default().into_iter().map(Into::into).collect(),
            from: filter.from.map(|at| at.0),
            to: filter.to.map(|at| at.0),
            min_importance: filter.min_importance.map(importance),
            source: filter.source,
            tags: filter.tags.unwrap_or_default(),
        }
    }
}

/// Who a persona is.
#[derive(Clone, Debug, SimpleObject)]
pub struct Definition {
    /// Its story.
    pub bio: String,
    /// How it speaks.
    pub voice: String,
    /// Traits, such as `curious`.
    pub traits: Vec<String>,
    /// Rules it follows.
    pub directives: Vec<String>,
    /// When it last changed.
    pub updated_at: DateTime,
    /// Grows with every change.
    pub version: i64,
}

impl From<memory::Definition> for Definition {
    fn from(definition: memory::Definition) -> Self {
        Self {
            bio: definition.bio,
            voice: definition.voice,
            traits: definition.traits,
            directives: definition.directives,
            updated_at: definition.updated_at.into(),
            version: definition.version,
        }
    }
}

/// Something a persona remembers.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Memory {
    #[graphql(skip)]
    key: (Uuid, Uuid),
    /// What it is.
    pub kind: MemoryKind,
    /// What is remembered.
    pub text: String,
    /// From 0 (trivial) to 1 (defining).
    pub importance: f32,
    /// Where it comes from.
    pub source: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// When it happened.
    pub occurred_at: DateTime,
    /// When it was stored.
    pub created_at: DateTime,
    /// Grows with every change, not always by one.
    pub version: BigInt,
}

impl Listed for Memory {
    const NAME: &'static str = "Memory";
}

impl From<memory::MemoryRecord> for Memory {
    fn from(record: memory::MemoryRecord) -> Self {
        Self {
            key: (record.persona_id, record.id),
            kind: record.kind.into(),
            text: record.text,
            importance: record.importance,
            source: record.source,
            tags: record.tags,
            occurred_at: record.occurred_at.into(),
            created_at: record.created_at.into(),
            version: record.version.into(),
        }
    }
}

#[ComplexObject]
impl Memory {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Memory(self.key.0, self.key.1)
    }

    /// Who remembers.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, Some(self.key.0)).await
    }
}

impl Memory {
    /// The memory of this persona with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, persona_id: Uuid, id: Uuid) -> Result<Option<Self>> {
        Ok(RequestContext::of(context)?.load(MemoryById((persona_id, id))).await?.map(Self::from))
    }
}

/// A memory with the reasons for its place.
#[derive(Clone, Debug, SimpleObject)]
pub struct RecalledMemory {
    /// The memory.
    pub memory: Memory,
    /// What the list is ordered by: relevance times `weight`.
    pub score: f64,
    /// Cosine similarity of query and memory; null when meaning was not used.
    pub semantic: Option<f64>,
    /// BM25 of the query's words; null when words were not used or none matched.
    pub keyword: Option<f64>,
    /// The factor for importance and recency, from 0.75 to 1.25.
    pub weight: f64,
}

impl From<memory::Recalled> for RecalledMemory {
    fn from(recalled: memory::Recalled) -> Self {
        Self {
            memory: recalled.memory.into(),
            score: recalled.score,
            semantic: recalled.semantic,
            keyword: recalled.keyword,
            weight: recalled.weight,
        }
    }
}

/// Memories put together for a prompt.
#[derive(Clone, Debug, SimpleObject)]
pub struct RagContext {
    /// The text for the prompt, each memory with its marker.
    pub text: String,
    /// Its size in tokens, estimated.
    pub tokens: u32,
    /// What the markers refer to.
    pub citations: Vec<Citation>,
    /// Relevant memories that were left out, as repetitions or for the budget.
    pub omitted: u32,
}

/// What a marker in a context refers to.
#[derive(Clone, Debug, SimpleObject)]
pub struct Citation {
    /// The number in brackets.
    pub marker: u32,
    /// The memory.
    pub memory: Memory,
    /// How relevant it was.
    pub score: f64,
}

impl From<rag::Context> for RagContext {
    fn from(context: rag::Context) -> Self {
        let citation = |citation: rag::Citation| Citation {
            marker: citation.marker,
            memory: citation.memory.into(),
            score: citation.score,
        };
        Self {
            text: context.text,
            tokens: context.tokens,
            citations: context.citations.into_iter().map(citation).collect(),
            omitted: context.omitted,
        }
    }
}

/// One exchange between a persona and somebody.
#[derive(Clone, Debug, SimpleObject)]
pub struct Interaction {
    /// Where, such as `instagram`.
    pub channel: String,
    /// With whom, as that place names them.
    pub counterparty: String,
    /// Whether the persona spoke.
    pub outbound: bool,
    /// What was said.
    pub text: String,
    /// When.
    pub occurred_at: DateTime,
}

impl Listed for Interaction {
    const NAME: &'static str = "Interaction";
}

impl From<memory::Interaction> for Interaction {
    fn from(interaction: memory::Interaction) -> Self {
        Self {
            channel: interaction.channel,
            counterparty: interaction.counterparty,
            outbound: interaction.outbound,
            text: interaction.text,
            occurred_at: interaction.occurred_at.into(),
        }
    }
}

/// A page of a persona's memories.
///
/// # Errors
/// A bad page argument, or what the store says.
pub async fn memories(
    context: &Context<'_>,
    persona_id: Uuid,
    filter: MemoryFilter,
    args: PageArgs,
) -> Result<Option<Connection<Memory>>> {
    let request = RequestContext::of(context)?;
    let list = ListId::new(Memory::NAME, "occurred_at");
    let slice = args.slice(request, list)?;
    let query = MemoryPageQuery { persona_id, filter: filter.into(), slice, total: wants_total(context) };
    let page = request.load(MemoriesOf(ByText::new(query))).await?;
    Ok(Some(Connection::new(page, list, |memory: &memory::MemoryRecord| Position {
        value: SortValue::Int(memory.occurred_at.timestamp_micros()),
        id: memory.id,
    })))
}

/// A page of a persona's interactions.
///
/// # Errors
/// A bad page argument, or what the store says.
pub async fn interactions(
    context: &Context<'_>,
    persona_id: Uuid,
    counterparty: Option<String>,
    args: PageArgs,
) -> Result<Option<Connection<Interaction>>> {
    let request = RequestContext::of(context)?;
    let list = ListId::new(Interaction::NAME, "occurred_at");
    let slice = args.slice(request, list)?;
    let query = InteractionPageQuery { persona_id, counterparty, slice };
    let page = request.load(InteractionsOf(ByText::new(query))).await?;
    Ok(Some(Connection::new(page, list, |interaction: &memory::Interaction| Position {
        value: SortValue::Int(interaction.occurred_at.timestamp_micros()),
        id: interaction.id,
    })))
}
