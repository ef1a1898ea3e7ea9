//! S: what a good team gets on its first day: async-graphql with its own actix integration and its own DataLoader at
//! their defaults, SeaORM at its defaults. The same schema as far as it is asked for, the same answers.

use crate::installation::Installation;
use actix_web::{App, HttpServer, dev::Server, web};
use async_graphql::{
    ComplexObject, Context, EmptyMutation, EmptySubscription, Enum, ID, InputObject, Object, Result, Schema,
    SimpleObject,
    dataloader::{DataLoader, Loader},
};
use async_graphql_actix_web::GraphQL;
use chimera::seed;
use chimera_stores::{
    Scope, Slice,
    relational::{Order, PageQuery, Record},
};
use entity::{campaign, campaign_persona, persona, post, video};
use sea_orm::{ColumnTrait, Database, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};
use uuid::Uuid;

/// Where the rows are.
#[derive(Clone)]
enum Data {
    Memory(Arc<Tables>),
    Postgres(DatabaseConnection),
}

/// All rows, by id and by parent.
#[derive(Default)]
struct Tables {
    personas: BTreeMap<Uuid, persona::Model>,
    videos: BTreeMap<Uuid, video::Model>,
    videos_of: HashMap<Uuid, Vec<video::Model>>,
    posts_of: HashMap<Uuid, Vec<post::Model>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
enum OrderDirection {
    Asc,
    Desc,
}

#[derive(SimpleObject)]
struct PersonaConnection {
    nodes: Vec<Persona>,
}

#[derive(SimpleObject)]
struct VideoConnection {
    nodes: Vec<Video>,
}

#[derive(SimpleObject)]
struct CampaignConnection {
    nodes: Vec<Campaign>,
}

#[derive(SimpleObject)]
struct PostConnection {
    nodes: Vec<Post>,
}

#[derive(InputObject)]
struct PersonaFilter {
    handle: Option<Vec<String>>,
}

#[derive(Clone, SimpleObject)]
#[graphql(complex)]
struct Persona {
    #[graphql(skip)]
    key: Uuid,
    id: ID,
    handle: String,
    name: String,
}

impl From<persona::Model> for Persona {
    fn from(row: persona::Model) -> Self {
        Self { key: row.id, id: global("persona", row.id), handle: row.handle, name: row.name }
    }
}

#[derive(Clone, SimpleObject)]
#[graphql(complex)]
struct Video {
    #[graphql(skip)]
    persona_id: Uuid,
    id: ID,
    title: String,
    status: String,
}

impl From<video::Model> for Video {
    fn from(row: video::Model) -> Self {
        Self { persona_id: row.persona_id, id: global("video", row.id), title: row.title, status: name(row.status) }
    }
}

#[derive(Clone, SimpleObject)]
#[graphql(complex)]
struct Campaign {
    #[graphql(skip)]
    key: Uuid,
    id: ID,
    name: String,
    status: String,
}

impl From<campaign::Model> for Campaign {
    fn from(row: campaign::Model) -> Self {
        Self { key: row.id, id: global("campaign", row.id), name: row.name, status: name(row.status) }
    }
}

#[derive(Clone, SimpleObject)]
struct Post {
    id: ID,
    text: String,
    status: String,
}

impl From<post::Model> for Post {
    fn from(row: post::Model) -> Self {
        Self { id: global("post", row.id), text: row.text, status: name(row.status) }
    }
}

fn global(kind: &str, id: Uuid) -> ID {
    ID(format!("{kind}_{}", id.simple()))
}

fn name(status: impl sea_orm::ActiveEnum<Value = String>) -> String {
    status.into_value()
}

struct Query;

#[Object]
impl Query {
    async fn videos(&self, context: &Context<'_>, first: i32, direction: OrderDirection) -> Result<VideoConnection> {
        let first = usize::try_from(first)?;
        let rows: Vec<video::Model> = match context.data::<Data>()? {
            Data::Memory(tables) => ends(&tables.videos, first, direction),
            Data::Postgres(database) => {
                let order = sea_order(direction);
                video::Entity::find().order_by(video::Column::Id, order).limit(first as u64).all(database).await?
            }
        };
        Ok(VideoConnection { nodes: rows.into_iter().map(Video::from).collect() })
    }

    async fn personas(
        &self,
        context: &Context<'_>,
        first: i32,
        direction: Option<OrderDirection>,
        filter: Option<PersonaFilter>,
    ) -> Result<PersonaConnection> {
        let (first, direction) = (usize::try_from(first)?, direction.unwrap_or(OrderDirection::Desc));
        let rows: Vec<persona::Model> = match context.data::<Data>()? {
            Data::Memory(tables) => ends(&tables.personas, first, direction),
            Data::Postgres(database) => {
                let mut find = persona::Entity::find();
                if let Some(handles) = filter.and_then(|filter| filter.handle) {
                    find = find.filter(persona::Column::Handle.is_in(handles));
                }
                find.order_by(persona::Column::Id, sea_order(direction)).limit(first as u64).all(database).await?
            }
        };
        Ok(PersonaConnection { nodes: rows.into_iter().map(Persona::from).collect() })
    }
}

#[ComplexObject]
impl Video {
    async fn persona(&self, context: &Context<'_>) -> Result<Option<Persona>> {
        let loader = context.data::<DataLoader<Rows>>()?;
        Ok(loader.load_one(ById(self.persona_id)).await?.map(Persona::from))
    }
}

#[ComplexObject]
impl Persona {
    async fn videos(&self, context: &Context<'_>, first: i32) -> Result<VideoConnection> {
        let loader = context.data::<DataLoader<Rows>>()?;
        let rows = loader.load_one(VideosOf(self.key)).await?.unwrap_or_default();
        Ok(VideoConnection { nodes: rows.into_iter().take(usize::try_from(first)?).map(Video::from).collect() })
    }

    async fn posts(&self, context: &Context<'_>, first: i32) -> Result<PostConnection> {
        let loader = context.data::<DataLoader<Rows>>()?;
        let rows = loader.load_one(PostsOfPersona(self.key)).await?.unwrap_or_default();
        Ok(PostConnection { nodes: rows.into_iter().take(usize::try_from(first)?).map(Post::from).collect() })
    }

    async fn campaigns(
        &self,
        context: &Context<'_>,
        first: i32,
        direction: OrderDirection,
    ) -> Result<CampaignConnection> {
        let loader = context.data::<DataLoader<Rows>>()?;
        let mut rows = loader.load_one(CampaignsOf(self.key)).await?.unwrap_or_default();
        if direction == OrderDirection::Desc {
            rows.reverse();
        }
        Ok(CampaignConnection { nodes: rows.into_iter().take(usize::try_from(first)?).map(Campaign::from).collect() })
    }
}

#[ComplexObject]
impl Campaign {
    async fn posts(&self, context: &Context<'_>, first: i32) -> Result<PostConnection> {
        let loader = context.data::<DataLoader<Rows>>()?;
        let rows = loader.load_one(PostsOf(self.key)).await?.unwrap_or_default();
        Ok(PostConnection { nodes: rows.into_iter().take(usize::try_from(first)?).map(Post::from).collect() })
    }
}

fn ends<R: Clone>(rows: &BTreeMap<Uuid, R>, first: usize, direction: OrderDirection) -> Vec<R> {
    match direction {
        OrderDirection::Asc => rows.values().take(first).cloned().collect(),
        OrderDirection::Desc => rows.values().rev().take(first).cloned().collect(),
    }
}

const fn sea_order(direction: OrderDirection) -> sea_orm::Order {
    match direction {
        OrderDirection::Asc => sea_orm::Order::Asc,
        OrderDirection::Desc => sea_orm::Order::Desc,
    }
}

/// Loads rows by id, and children by parent: all children, cut to a page afterwards, as a first day's loader does.
struct Rows(Data);

#[derive(Clone, PartialEq, Eq, Hash)]
struct ById(Uuid);
#[derive(Clone, PartialEq, Eq, Hash)]
struct VideosOf(Uuid);
#[derive(Clone, PartialEq, Eq, Hash)]
struct PostsOf(Uuid);
#[derive(Clone, PartialEq, Eq, Hash)]
struct PostsOfPersona(Uuid);
#[derive(Clone, PartialEq, Eq, Hash)]
struct CampaignsOf(Uuid);

type Failure = Arc<sea_orm::DbErr>;

fn grouped<K: Eq + std::hash::Hash, R>(rows: Vec<R>, key: impl Fn(&R) -> K) -> HashMap<K, Vec<R>> {
    let mut groups: HashMap<K, Vec<R>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}

impl Loader<ById> for Rows {
    type Value = persona::Model;
    type Error = Failure;

    async fn load(&self, keys: &[ById]) -> Result<HashMap<ById, Self::Value>, Failure> {
        match &self.0 {
            Data::Memory(tables) => {
                let row = |key: &ById| Some((key.clone(), tables.personas.get(&key.0)?.clone()));
                Ok(keys.iter().filter_map(row).collect())
            }
            Data::Postgres(database) => {
                let ids = keys.iter().map(|key| key.0);
                let rows = persona::Entity::find().filter(persona::Column::Id.is_in(ids)).all(database).await?;
                Ok(rows.into_iter().map(|row| (ById(row.id), row)).collect())
            }
        }
    }
}

impl Loader<VideosOf> for Rows {
    type Value = Vec<video::Model>;
    type Error = Failure;

    async fn load(&self, keys: &[VideosOf]) -> Result<HashMap<VideosOf, Self::Value>, Failure> {
        match &self.0 {
            Data::Memory(tables) => {
                let rows = |key: &VideosOf| Some((key.clone(), tables.videos_of.get(&key.0)?.clone()));
                Ok(keys.iter().filter_map(rows).collect())
            }
            Data::Postgres(database) => {
                let find = video::Entity::find().filter(video::Column::PersonaId.is_in(keys.iter().map(|key| key.0)));
                let rows = find.order_by_desc(video::Column::Id).all(database).await?;
                Ok(grouped(rows, |row| VideosOf(row.persona_id)))
            }
        }
    }
}

impl Loader<PostsOfPersona> for Rows {
    type Value = Vec<post::Model>;
    type Error = Failure;

    async fn load(&self, keys: &[PostsOfPersona]) -> Result<HashMap<PostsOfPersona, Self::Value>, Failure> {
        match &self.0 {
            Data::Memory(tables) => {
                let rows = |key: &PostsOfPersona| Some((key.clone(), tables.posts_of.get(&key.0)?.clone()));
                Ok(keys.iter().filter_map(rows).collect())
            }
            Data::Postgres(database) => {
                let find = post::Entity::find().filter(post::Column::PersonaId.is_in(keys.iter().map(|key| key.0)));
                let rows = find.order_by_desc(post::Column::Id).all(database).await?;
                Ok(grouped(rows, |row| PostsOfPersona(row.persona_id)))
            }
        }
    }
}

impl Loader<PostsOf> for Rows {
    type Value = Vec<post::Model>;
    type Error = Failure;

    async fn load(&self, keys: &[PostsOf]) -> Result<HashMap<PostsOf, Self::Value>, Failure> {
        let Data::Postgres(database) = &self.0 else { return Ok(HashMap::new()) };
        let find = post::Entity::find().filter(post::Column::CampaignId.is_in(keys.iter().map(|key| key.0)));
        let rows = find.order_by_desc(post::Column::Id).all(database).await?;
        Ok(grouped(rows, |row| PostsOf(row.campaign_id.unwrap_or_default())))
    }
}

impl Loader<CampaignsOf> for Rows {
    type Value = Vec<campaign::Model>;
    type Error = Failure;

    async fn load(&self, keys: &[CampaignsOf]) -> Result<HashMap<CampaignsOf, Self::Value>, Failure> {
        let Data::Postgres(database) = &self.0 else { return Ok(HashMap::new()) };
        let takes_part = campaign_persona::Column::PersonaId.is_in(keys.iter().map(|key| key.0));
        let links = campaign_persona::Entity::find().filter(takes_part).all(database).await?;
        let wanted = campaign::Column::Id.is_in(links.iter().map(|link| link.campaign_id));
        let rows = campaign::Entity::find().filter(wanted).all(database).await?;
        let rows: HashMap<Uuid, campaign::Model> = rows.into_iter().map(|row| (row.id, row)).collect();
        let mut groups: HashMap<CampaignsOf, Vec<campaign::Model>> = HashMap::new();
        for link in links {
            let group = groups.entry(CampaignsOf(link.persona_id)).or_default();
            group.extend(rows.get(&link.campaign_id).cloned());
        }
        groups.values_mut().for_each(|group| group.sort_by_key(|row| row.id));
        Ok(groups)
    }
}

/// All rows of a kind, newest first.
async fn all<R: Record>(installation: &Installation) -> chimera_stores::Result<Vec<R>> {
    let scope = Scope::system(seed::demo().organization_id);
    let slice = Slice::first(1_000_000);
    let query =
        PageQuery { kind: R::KIND, edge: None, predicates: Vec::new(), order: Order::default(), slice, total: false };
    let pages = installation.shared.stores.relational.pages::<R>(&scope, &query, &[Uuid::nil()]).await?;
    Ok(pages.into_iter().flat_map(|page| page.items).collect())
}

/// Listens with one worker, over the rows of an installation or over a PostgreSQL.
///
/// # Errors
/// What a store or the system says.
pub async fn listen(
    installation: &Installation,
    postgres: Option<&str>,
) -> Result<(Server, Vec<SocketAddr>), Box<dyn std::error::Error>> {
    let data = match postgres {
        Some(url) => Data::Postgres(Database::connect(url).await?),
        None => {
            let (videos, posts) = (all::<video::Model>(installation).await?, all::<post::Model>(installation).await?);
            let personas = all::<persona::Model>(installation).await?;
            Data::Memory(Arc::new(Tables {
                personas: personas.into_iter().map(|row| (row.id, row)).collect(),
                videos_of: grouped(videos.clone(), |row| row.persona_id),
                videos: videos.into_iter().map(|row| (row.id, row)).collect(),
                posts_of: grouped(posts, |row| row.persona_id),
            }))
        }
    };
    let schema = Schema::build(Query, EmptyMutation, EmptySubscription).data(data.clone());
    let schema = schema.data(DataLoader::new(Rows(data), tokio::spawn)).finish();
    let app = move || App::new().route("/graphql", web::post().to(GraphQL::new(schema.clone())));
    let server = HttpServer::new(app).workers(1).bind(("127.0.0.1", 0))?;
    let addresses = server.addrs();
    Ok((server.run(), addresses))
}
