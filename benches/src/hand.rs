//! H: what somebody would write by hand who needs these few answers and nothing else. One route, the same calls to the
//! same stores, the same bytes by serde. The floor of what is possible.

use crate::{documents, installation::Installation};
use actix_web::{App, HttpResponse, HttpServer, dev::Server, web};
use chimera::stores::Stores;
use chimera_stores::{
    Page, Result, Scope, Slice,
    relational::{Column, Edge, Order, PageQuery, Predicate, Record, Value},
};
use entity::{campaign, persona, post, video};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, net::SocketAddr};
use uuid::Uuid;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    query: std::borrow::Cow<'a, str>,
    #[serde(default)]
    variables: Variables,
}

#[derive(Default, Deserialize)]
struct Variables {
    direction: Option<Direction>,
    handles: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Direction {
    Asc,
    Desc,
}

#[derive(Serialize)]
struct Answer<T> {
    data: T,
}

#[derive(Serialize)]
struct Nodes<T> {
    nodes: Vec<T>,
}

#[derive(Serialize)]
struct Personas<T> {
    personas: Nodes<T>,
}

#[derive(Serialize)]
struct Videos<T> {
    videos: Nodes<T>,
}

#[derive(Serialize)]
struct Posts {
    posts: Nodes<Post>,
}

/// A global id that is written, not built.
struct Id(&'static str, Uuid);

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}_{}", self.0, self.1.simple()))
    }
}

#[derive(Serialize)]
struct Persona {
    id: Id,
    handle: String,
    name: String,
}

impl From<persona::Model> for Persona {
    fn from(row: persona::Model) -> Self {
        Self { id: Id("persona", row.id), handle: row.handle, name: row.name }
    }
}

#[derive(Serialize)]
struct Video {
    id: Id,
    title: String,
    status: video::Status,
}

impl From<video::Model> for Video {
    fn from(row: video::Model) -> Self {
        Self { id: Id("video", row.id), title: row.title, status: row.status }
    }
}

#[derive(Serialize)]
struct VideoOf {
    id: Id,
    title: String,
    status: video::Status,
    persona: Option<Persona>,
}

#[derive(Serialize)]
struct Post {
    id: Id,
    text: String,
    status: post::Status,
}

impl From<post::Model> for Post {
    fn from(row: post::Model) -> Self {
        Self { id: Id("post", row.id), text: row.text, status: row.status }
    }
}

#[derive(Serialize)]
struct PersonaCampaigns {
    id: Id,
    handle: String,
    name: String,
    campaigns: Nodes<CampaignPosts>,
}

#[derive(Serialize)]
struct CampaignPosts {
    id: Id,
    name: String,
    status: campaign::Status,
    posts: Nodes<Post>,
}

/// A page of every parent, by a limit for each.
async fn pages<R: Record>(
    stores: &Stores,
    scope: &Scope,
    (edge, parents): (Option<Edge>, &[Uuid]),
    limit: u32,
    direction: Direction,
) -> Result<Vec<Page<R>>> {
    filtered(stores, scope, (edge, parents), Vec::new(), limit, direction).await
}

async fn filtered<R: Record>(
    stores: &Stores,
    scope: &Scope,
    (edge, parents): (Option<Edge>, &[Uuid]),
    predicates: Vec<Predicate>,
    limit: u32,
    direction: Direction,
) -> Result<Vec<Page<R>>> {
    let order = Order { column: Column::Id, descending: direction == Direction::Desc };
    let query = PageQuery { kind: R::KIND, edge, predicates, order, slice: Slice::first(limit), total: false };
    stores.relational.pages::<R>(scope, &query, parents).await
}

/// A list of the whole organisation.
async fn list<R: Record>(stores: &Stores, scope: &Scope, limit: u32, direction: Direction) -> Result<Vec<R>> {
    let pages = pages::<R>(stores, scope, (None, &[Uuid::nil()]), limit, direction).await?;
    Ok(pages.into_iter().flat_map(|page| page.items).collect())
}

async fn children<R: Record, T: From<R>>(
    stores: &Stores,
    scope: &Scope,
    (edge, parents): (Edge, &[Uuid]),
    limit: u32,
    direction: Direction,
) -> Result<impl Iterator<Item = Nodes<T>>> {
    let pages = pages::<R>(stores, scope, (Some(edge), parents), limit, direction).await?;
    Ok(pages.into_iter().map(|page| Nodes { nodes: page.items.into_iter().map(T::from).collect() }))
}

fn ids<R: Record>(rows: &[R]) -> Vec<Uuid> {
    rows.iter().map(Record::id).collect()
}

async fn videos(stores: &Stores, scope: &Scope, direction: Direction) -> Result<Vec<u8>> {
    let rows = list::<video::Model>(stores, scope, 100, direction).await?;
    let mut wanted: Vec<Uuid> = rows.iter().map(|row| row.persona_id).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let personas = stores.relational.get::<persona::Model>(scope, &wanted).await?;
    let personas: HashMap<Uuid, persona::Model> = personas.into_iter().flatten().map(|row| (row.id, row)).collect();
    let node = |row: video::Model| {
        let persona = personas.get(&row.persona_id).cloned().map(Persona::from);
        VideoOf { id: Id("video", row.id), title: row.title, status: row.status, persona }
    };
    Ok(bytes(Videos { videos: Nodes { nodes: rows.into_iter().map(node).collect() } }))
}

async fn flat(stores: &Stores, scope: &Scope, direction: Direction) -> Result<Vec<u8>> {
    let parents = ids(&list::<persona::Model>(stores, scope, 100, direction).await?);
    let edge = Edge::Column(Column::PersonaId);
    let videos = children::<video::Model, Video>(stores, scope, (edge, &parents), 100, Direction::Desc).await?;
    let nodes = videos.map(|videos| Videos { videos }).collect();
    Ok(bytes(Personas { personas: Nodes { nodes } }))
}

async fn big(stores: &Stores, scope: &Scope, direction: Direction) -> Result<Vec<u8>> {
    let parents = ids(&list::<persona::Model>(stores, scope, 100, direction).await?);
    let edge = Edge::Column(Column::PersonaId);
    let posts = children::<post::Model, Post>(stores, scope, (edge, &parents), 100, Direction::Desc).await?;
    Ok(bytes(Personas { personas: Nodes { nodes: posts.map(|posts| Posts { posts }).collect() } }))
}

async fn nested(stores: &Stores, scope: &Scope, handles: Option<Vec<String>>, direction: Direction) -> Result<Vec<u8>> {
    let handle = |all: Vec<String>| Predicate::In(Column::Handle, all.into_iter().map(Value::Text).collect());
    let predicates = handles.map(handle).into_iter().collect();
    let newest = (None, &[Uuid::nil()][..]);
    let found = filtered::<persona::Model>(stores, scope, newest, predicates, 20, Direction::Desc).await?;
    let personas: Vec<_> = found.into_iter().flat_map(|page| page.items).collect();
    let who = ids(&personas);
    let campaigns = pages::<campaign::Model>(stores, scope, (Some(Edge::CampaignPersona), &who), 10, direction).await?;
    let mut parents: Vec<Uuid> = campaigns.iter().flat_map(|page| page.items.iter().map(|row| row.id)).collect();
    parents.sort_unstable();
    parents.dedup();
    let edge = Edge::Column(Column::CampaignId);
    let posts = pages::<post::Model>(stores, scope, (Some(edge), &parents), 5, Direction::Desc).await?;
    let posts: HashMap<Uuid, Vec<post::Model>> =
        parents.into_iter().zip(posts.into_iter().map(|page| page.items)).collect();
    let campaign = |row: campaign::Model| CampaignPosts {
        id: Id("campaign", row.id),
        name: row.name,
        status: row.status,
        posts: Nodes { nodes: posts.get(&row.id).into_iter().flatten().cloned().map(Post::from).collect() },
    };
    let nodes = personas.into_iter().zip(campaigns).map(|(row, page)| PersonaCampaigns {
        id: Id("persona", row.id),
        handle: row.handle,
        name: row.name,
        campaigns: Nodes { nodes: page.items.into_iter().map(campaign).collect() },
    });
    Ok(bytes(Personas { personas: Nodes { nodes: nodes.collect() } }))
}

fn bytes<T: Serialize>(data: T) -> Vec<u8> {
    serde_json::to_vec(&Answer { data }).unwrap_or_default()
}

struct Hand {
    stores: Stores,
    scope: Scope,
}

async fn graphql(body: web::Bytes, hand: web::Data<Hand>) -> HttpResponse {
    let Ok(request) = serde_json::from_slice::<Request>(&body) else { return HttpResponse::BadRequest().finish() };
    let direction = request.variables.direction.unwrap_or(Direction::Desc);
    let (stores, scope) = (&hand.stores, &hand.scope);
    let answer = match &*request.query {
        documents::HELLO => Ok(br#"{"data":{"__typename":"Query"}}"#.to_vec()),
        documents::LIST => videos(stores, scope, direction).await,
        documents::FLAT => flat(stores, scope, direction).await,
        documents::NESTED => nested(stores, scope, request.variables.handles, direction).await,
        documents::BIG => big(stores, scope, direction).await,
        _ => return HttpResponse::NotFound().finish(),
    };
    match answer {
        Ok(bytes) => HttpResponse::Ok().content_type("application/json").body(bytes),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// The structs of [`documents::BIG`], for the bare serialisation: what [`big`] writes, without a server.
///
/// # Errors
/// What a store says.
pub async fn serialised(installation: &Installation) -> Result<impl Fn() -> Vec<u8> + use<>> {
    let (stores, scope) = (&installation.shared.stores, installation.scope());
    let parents = ids(&list::<persona::Model>(stores, &scope, 100, Direction::Desc).await?);
    let edge = Edge::Column(Column::PersonaId);
    let posts = children::<post::Model, Post>(stores, &scope, (edge, &parents), 100, Direction::Desc).await?;
    let answer = Answer { data: Personas { personas: Nodes { nodes: posts.map(|posts| Posts { posts }).collect() } } };
    Ok(move || {
        let mut bytes = Vec::new();
        serde_json::to_writer(&mut bytes, &answer).unwrap_or_default();
        bytes
    })
}

/// Listens with one worker.
///
/// # Errors
/// When no port is free.
pub fn listen(installation: &Installation) -> std::io::Result<(Server, Vec<SocketAddr>)> {
    let hand = web::Data::new(Hand { stores: installation.shared.stores.clone(), scope: installation.scope() });
    let app = move || {
        App::new()
            .app_data(hand.clone())
            .app_data(web::PayloadConfig::new(1 << 20))
            .route("/graphql", web::post().to(graphql))
    };
    let server = HttpServer::new(app).workers(1).bind(("127.0.0.1", 0))?;
    let addresses = server.addrs();
    Ok((server.run(), addresses))
}
