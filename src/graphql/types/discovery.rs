//! Search over all types, and what is on the rise.

use super::{campaign::Campaign, persona::Persona, post::Post, video::Video};
use crate::graphql::{
    context::RequestContext,
    cursor::ListId,
    error::bad_input,
    keys::{
        relational::ById,
        search::{SearchOf, TrendingOf},
    },
    loader::ByText,
    page::{PageArgs, PageInfo},
    scalars::{DateTime, Duration},
};
use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, Result, SimpleObject, Union};
use chimera_stores::search::{self, SearchQuery, TrendingQuery};
use uuid::Uuid;

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "search::DocumentType")]
pub enum SearchType {
    /// A persona.
    Persona,
    /// A campaign.
    Campaign,
    /// A post.
    Post,
    /// A video.
    Video,
    /// A topic.
    Topic,
}

/// A field whose values are counted and filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "search::FacetField")]
pub enum FacetField {
    /// The type.
    Type,
    /// Tags and topics.
    Tags,
    /// Status.
    Status,
    /// Category.
    Category,
    /// Platform.
    Platform,
}

/// The order of hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "search::SearchOrder")]
pub enum SearchOrder {
    /// Best first.
    Relevance,
    /// Newest first.
    Newest,
    /// Oldest first.
    Oldest,
}

/// Values of one facet; a hit has one of them.
#[derive(Clone, Debug, InputObject)]
pub struct FacetFilter {
    /// The facet.
    pub field: FacetField,
    /// One of these.
    pub values: Vec<String>,
}

/// Which hits; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct SearchFilter {
    /// By facets.
    pub facets: Option<Vec<FacetFilter>>,
    /// Of this persona.
    pub persona_id: Option<ID>,
    /// For this campaign.
    pub campaign_id: Option<ID>,
    /// Made at or after this.
    pub created_from: Option<DateTime>,
    /// Made before this.
    pub created_to: Option<DateTime>,
}

impl SearchFilter {
    fn read(self) -> Result<search::SearchFilter> {
        use crate::graphql::ids::NodeId;
        let persona = |id: ID| match NodeId::parse(&id) {
            Some(NodeId::Persona(id)) => Ok(id),
            _ => Err(bad_input("`filter.personaId` is not the id of a persona")),
        };
        let campaign = |id: ID| match NodeId::parse(&id) {
            Some(NodeId::Campaign(id)) => Ok(id),
            _ => Err(bad_input("`filter.campaignId` is not the id of a campaign")),
        };
        let facet = |facet: FacetFilter| (facet.field.into(), facet.values);
        Ok(search::SearchFilter {
            facets: self.facets.unwrap_or_default().into_iter().map(facet).collect(),
            persona_id: self.persona_id.map(persona).transpose()?,
            campaign_id: self.campaign_id.map(campaign).transpose()?,
            created_from: self.created_from.map(|at| at.0),
            created_to: self.created_to.map(|at| at.0),
        })
    }
}

/// A search as a client asks it.
#[derive(Clone, Debug)]
pub struct SearchArgs {
    /// What is looked for.
    pub query: String,
    /// Only these types.
    pub types: Option<Vec<SearchType>>,
    /// Among which.
    pub filter: Option<SearchFilter>,
    /// Which facets are counted.
    pub facets: Option<Vec<FacetField>>,
    /// In which order.
    pub order: SearchOrder,
}

/// One page of hits with the facets of all.
pub struct SearchConnection {
    result: search::SearchResult,
    list: ListId,
}

/// One page of hits, with totals and facets of all hits.
#[Object]
impl SearchConnection {
    /// The hits with their cursors.
    async fn edges(&self) -> Vec<SearchEdge> {
        self.result.hits.iter().map(|hit| SearchEdge { hit: hit.clone(), list: self.list }).collect()
    }

    /// The hits alone.
    async fn nodes(&self) -> Vec<SearchHit> {
        self.result.hits.iter().cloned().map(SearchHit::from).collect()
    }

    /// Where this page lies in the list.
    async fn page_info(&self, context: &Context<'_>) -> Result<PageInfo> {
        let key = &RequestContext::of(context)?.shared().cursor_key;
        let cursor = |hit: Option<&search::Hit>| hit.map(|hit| key.encode(self.list, &hit.position));
        Ok(PageInfo {
            has_previous_page: self.result.has_previous,
            has_next_page: self.result.has_next,
            start_cursor: cursor(self.result.hits.first()),
            end_cursor: cursor(self.result.hits.last()),
        })
    }

    /// How many hits there are in all.
    async fn total_count(&self) -> u64 {
        self.result.total
    }

    /// The counts of the facets asked for. A facet's own filter does not apply to its counts, so that a user sees
    /// what the other choices would give.
    async fn facets(&self) -> Vec<Facet> {
        let count = |count: &search::FacetCount| FacetCount { value: count.value.clone(), count: count.count };
        self.result
            .facets
            .iter()
            .map(|(field, counts)| Facet { field: (*field).into(), counts: counts.iter().map(count).collect() })
            .collect()
    }
}

/// A hit and its place in the list.
pub struct SearchEdge {
    hit: search::Hit,
    list: ListId,
}

/// A hit and its place in the list.
#[Object]
impl SearchEdge {
    /// The hit.
    async fn node(&self) -> SearchHit {
        self.hit.clone().into()
    }

    /// The hit's place, for `after` and `before`.
    async fn cursor(&self, context: &Context<'_>) -> Result<String> {
        Ok(RequestContext::of(context)?.shared().cursor_key.encode(self.list, &self.hit.position))
    }
}

/// Counts of a facet's values.
#[derive(Clone, Debug, SimpleObject)]
pub struct Facet {
    /// The facet.
    pub field: FacetField,
    /// Its values, most frequent first.
    pub counts: Vec<FacetCount>,
}

/// How many hits have a value.
#[derive(Clone, Debug, SimpleObject)]
pub struct FacetCount {
    /// The value.
    pub value: String,
    /// How many.
    pub count: u64,
}

/// What was found.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct SearchHit {
    #[graphql(skip)]
    key: Uuid,
    /// What it is.
    #[graphql(name = "type")]
    pub document_type: SearchType,
    /// Its title, as indexed.
    pub title: String,
    /// How relevant it is, comparable within one answer.
    pub score: f64,
    /// Where the query matched.
    pub highlights: Vec<Highlight>,
}

impl From<search::Hit> for SearchHit {
    fn from(hit: search::Hit) -> Self {
        Self {
            key: hit.id,
            document_type: hit.document_type.into(),
            title: hit.title,
            score: hit.score,
            highlights: hit.highlights.into_iter().map(Highlight::from).collect(),
        }
    }
}

/// A topic that posts are about.
#[derive(Clone, Debug, SimpleObject)]
pub struct Topic {
    /// Its name, in lower case.
    pub name: String,
}

/// What a hit stands for.
#[derive(Clone, Union)]
pub enum SearchResultItem {
    /// A persona.
    Persona(Persona),
    /// A campaign.
    Campaign(Campaign),
    /// A post.
    Post(Post),
    /// A video.
    Video(Video),
    /// A topic.
    Topic(Topic),
}

#[ComplexObject]
impl SearchHit {
    /// The thing itself, from the store that owns it; null when it has gone since it was indexed.
    async fn item(&self, context: &Context<'_>) -> Result<Option<SearchResultItem>> {
        Ok(match self.document_type {
            SearchType::Persona => {
                Persona::load(context, Some(self.key)).await?.map(|row| SearchResultItem::Persona(row.0))
            }
            SearchType::Campaign => {
                Campaign::load(context, Some(self.key)).await?.map(|row| SearchResultItem::Campaign(row.0))
            }
            SearchType::Video => Video::load(context, Some(self.key)).await?.map(|row| SearchResultItem::Video(row.0)),
            SearchType::Post => {
                let key = ById::<entity::post::Model>::new(self.key);
                RequestContext::of(context)?.load(key).await?.map(|row| SearchResultItem::Post(row.into()))
            }
            SearchType::Topic => Some(SearchResultItem::Topic(Topic { name: self.title.clone() })),
        })
    }
}

/// A fragment of a field with the parts that matched.
#[derive(Clone, Debug, SimpleObject)]
pub struct Highlight {
    /// `title`, `text`, `handle` or `tags`.
    pub field: String,
    /// The fragment in pieces, in order; plain text, never markup.
    pub pieces: Vec<HighlightPiece>,
}

/// A piece of a fragment.
#[derive(Clone, Debug, SimpleObject)]
pub struct HighlightPiece {
    /// The text.
    pub text: String,
    /// Whether the query matched here.
    pub matched: bool,
}

impl From<search::Highlight> for Highlight {
    fn from(highlight: search::Highlight) -> Self {
        let fragment = highlight.fragment.as_str();
        let mut pieces = Vec::new();
        let mut piece = |range: std::ops::Range<usize>, matched| {
            if let Some(text) = fragment.get(range).filter(|text| !text.is_empty()) {
                pieces.push(HighlightPiece { text: text.to_owned(), matched });
            }
        };
        let mut at = 0;
        for (start, end) in highlight.matches {
            piece(at..start, false);
            piece(start..end, true);
            at = end;
        }
        piece(at..fragment.len(), false);
        Self { field: highlight.field.to_owned(), pieces }
    }
}

/// A topic on the rise.
#[derive(Clone, Debug, SimpleObject)]
pub struct Trend {
    /// The topic.
    pub topic: String,
    /// Its posts and videos in the window, each counting less the older it is.
    pub score: f64,
    /// Its posts and videos in the window, plainly counted.
    pub count: u64,
}

/// Runs a search.
///
/// # Errors
/// A bad argument, or what the store says.
pub async fn search(context: &Context<'_>, args: SearchArgs, page: PageArgs) -> Result<Option<SearchConnection>> {
    let request = RequestContext::of(context)?;
    let list = ListId::new("search", &format!("{:?}", args.order));
    let slice = page.slice(request, list)?;
    let query = SearchQuery {
        query: args.query,
        types: args.types.unwrap_or_default().into_iter().map(Into::into).collect(),
        filter: args.filter.unwrap_or_default().read()?,
        facets: args.facets.unwrap_or_default().into_iter().map(Into::into).collect(),
        facet_limit: 20,
        order: args.order.into(),
        slice,
        highlights: wants_highlights(context),
    };
    if query.query.len() > 1024 {
        return Err(bad_input("`query` is longer than 1,024 bytes"));
    }
    let result = request.load(SearchOf(ByText::new(query))).await?;
    Ok(Some(SearchConnection { result, list }))
}

fn wants_highlights(context: &Context<'_>) -> bool {
    let look = context.look_ahead();
    look.field("nodes").field("highlights").exists() || look.field("edges").field("node").field("highlights").exists()
}

/// Topics on the rise.
///
/// # Errors
/// A bad argument, or what the store says.
pub async fn trending(context: &Context<'_>, window: Duration, limit: i32) -> Result<Option<Vec<Trend>>> {
    let limit = u32::try_from(limit)
        .ok()
        .filter(|limit| (1..=100).contains(limit))
        .ok_or_else(|| bad_input("`limit` is not between 1 and 100"))?;
    let window_seconds = window.0.as_secs();
    if !(60..=366 * 86_400).contains(&window_seconds) {
        return Err(bad_input("`window` is not between a minute and a year"));
    }
    let trends = RequestContext::of(context)?.load(TrendingOf(TrendingQuery { window_seconds, limit })).await?;
    let trend = |trend: search::Trend| Trend { topic: trend.topic, score: trend.score, count: trend.count };
    Ok(Some(trends.into_iter().map(trend).collect()))
}
