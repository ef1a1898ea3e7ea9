//! How cost grows: the list, the nested pages, the search and the queue at 1×, 10× and 100× of rows. The slope is that of
//! the logarithms: 0 costs the same however many rows there are, 1 is linear.

use crate::{
    data::Rows,
    figure::Figure,
    installation::{Installation, Plan},
    median, queue,
};
use chimera_stores::{
    Guard, Scope, Slice, Store, SystemClock,
    episodic::{EmbeddedEpisodic, Episodic},
    relational::{Column, Edge, Order, PageQuery, Record},
    search::{
        Change, Document, DocumentType, Search, SearchFilter, SearchOrder, SearchQuery, embedded::EmbeddedSearch,
    },
};
use chrono::{DateTime, TimeDelta};
use entity::{persona, video};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use test_servers::{Flavour, Postgres, Redis};
use uuid::Uuid;

/// Personas of the least size, with 100 videos each; tasks and documents are as many as videos.
const PERSONAS: u32 = 10;
const SIZES: [u32; 3] = [1, 10, 100];
const QUESTIONS: usize = 60;

/// Times of one question at each size.
struct Growth {
    what: String,
    times: Vec<Duration>,
}

impl Growth {
    fn figure(&self) -> Figure {
        let seconds = |index: usize| self.times.get(index).map_or(f64::NAN, Duration::as_secs_f64);
        let last = self.times.len().saturating_sub(1);
        let sizes = f64::from(SIZES[SIZES.len() - 1]) / f64::from(SIZES[0]);
        let slope = (seconds(last) / seconds(0)).ln() / sizes.ln();
        let list = self.times.iter().map(|time| format!("{:.2}", time.as_secs_f64() * 1000.0)).collect::<Vec<_>>();
        Figure::new("growth", &self.what, "itself", "log-log slope over 100×", vec![slope])
            .seen(format!("{} ms at 1×, 10×, 100×", list.join(", ")))
    }
}

/// All of them.
pub async fn slopes() -> Result<Vec<Figure>, String> {
    let mut all: Vec<Growth> = Vec::new();
    let mut add = |what: String, time: Duration| match all.iter_mut().find(|growth| growth.what == what) {
        Some(growth) => growth.times.push(time),
        None => all.push(Growth { what, times: vec![time] }),
    };
    let postgres = Postgres::start(Flavour::Plain);
    let redis = Redis::start();
    for size in SIZES {
        let rows = Rows { personas: PERSONAS * size, videos: 100, in_campaigns: 0, campaigns: 0, long_posts: 0 };
        for (store, url) in [("SQLite", None), ("PostgreSQL", Some(postgres.create(&format!("rows{size}"))))] {
            let plan = Plan { rows: Some(rows), postgres: url, stub: None };
            let installation = Installation::open(&plan).await.map_err(|error| error.to_string())?;
            if store == "PostgreSQL" {
                postgres.sql(&format!("rows{size}"), "ANALYZE");
            }
            let (stores, scope) = (&installation.shared.stores, installation.scope());
            let relational = &stores.relational;
            let page = |kind, edge, limit| PageQuery {
                kind,
                edge,
                predicates: Vec::new(),
                order: Order::default(),
                slice: Slice::first(limit),
                total: false,
            };
            let list = page(video::Model::KIND, None, 100);
            let time = times(async || relational.pages::<video::Model>(&scope, &list, &[Uuid::nil()]).await.map(drop));
            add(format!("a list of 100, {store}"), time.await?);
            let parents = page(persona::Model::KIND, None, 10);
            let nested = page(video::Model::KIND, Some(Edge::Column(Column::PersonaId)), 10);
            let time = times(async || {
                let found = relational.pages::<persona::Model>(&scope, &parents, &[Uuid::nil()]).await?;
                let ids: Vec<Uuid> = found.iter().flat_map(|page| page.items.iter().map(|row| row.id)).collect();
                relational.pages::<video::Model>(&scope, &nested, &ids).await.map(drop)
            });
            add(format!("nested pages of 10 × 10, {store}"), time.await?);
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let documents = PERSONAS * size * 100;
        let search = filled(&folder.path().join("search"), documents).await?;
        for (what, query) in [("a common word", "number"), ("a rare word", "word17")] {
            let time = ask(&search, query).await?;
            add(format!("search for {what}, embedded"), time);
        }
        let clock = Arc::new(SystemClock);
        let path = folder.path().join("episodic.redb");
        let adapter = EmbeddedEpisodic::open(&path, clock).map_err(|error| error.to_string())?;
        let embedded = Episodic::new(Guard::detached(Store::Episodic), Arc::new(adapter));
        let shared = queue::open(&redis.url()).await.map_err(|error| error.to_string())?;
        for (store, name) in [(&embedded, "embedded"), (&shared, "Redis")] {
            let line = format!("waiting{size}");
            queue::enqueue(store, &line, documents as usize).await;
            // Twenty rounds of a hundred tasks.
            let time = queue::process(store, &line, 1000).await / 10;
            add(format!("100 tasks reserved and completed, {name}"), time);
        }
    }
    Ok(all.iter().map(Growth::figure).collect())
}

/// The median time of a question that is put again and again.
async fn times(question: impl AsyncFn() -> chimera_stores::Result<()>) -> Result<Duration, String> {
    let mut seen = Vec::new();
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        question().await.map_err(|error| error.to_string())?;
        seen.push(begun.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(&mut seen)))
}

async fn filled(folder: &std::path::Path, documents: u32) -> Result<Search, String> {
    let adapter = EmbeddedSearch::open(folder, Arc::new(SystemClock)).map_err(|error| error.to_string())?;
    let search = Search::new(Guard::detached(Store::Search), Arc::new(adapter));
    let scope = scope();
    let numbers: Vec<u32> = (0..documents).collect();
    for chunk in numbers.chunks(500) {
        let changes: Vec<Change> = chunk.iter().map(|number| change(*number)).collect();
        let answers = search.apply(&scope, &changes).await.map_err(|error| error.to_string())?;
        for answer in answers {
            answer.map_err(|error| error.to_string())?;
        }
    }
    Ok(search)
}

fn scope() -> Scope {
    queue::scope()
}

fn change(number: u32) -> Change {
    let id = Uuid::from_u128(u128::from(number) + 1);
    let document = Document {
        document_type: DocumentType::Video,
        id,
        title: format!("A video with the number {number}"),
        handle: None,
        // A word in a thousand documents is rare at every size.
        text: format!("It shows word{} to everybody", number % 1000),
        tags: vec!["bench".to_owned()],
        status: Some("READY".to_owned()),
        category: Some("people".to_owned()),
        platform: None,
        persona_id: None,
        campaign_id: None,
        created_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::from(number)),
        published_at: None,
    };
    Change { document_type: DocumentType::Video, id, version: 1, document: Some(document) }
}

async fn ask(search: &Search, words: &str) -> Result<Duration, String> {
    let query = SearchQuery {
        query: words.to_owned(),
        types: Vec::new(),
        filter: SearchFilter::default(),
        facets: Vec::new(),
        facet_limit: 10,
        order: SearchOrder::Relevance,
        slice: Slice::first(20),
        highlights: true,
    };
    times(async || {
        let answers = search.search(&scope(), std::slice::from_ref(&query)).await?;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    })
    .await
}
