//! Where the time of a request goes, by its steps: each is run alone, on one thread, thousands of times over; what a
//! whole request takes beyond their sum is the server's reading, writing and waiting for sockets.

use crate::{
    data::Rows,
    documents,
    duel::{CONNECTIONS, SLICE},
    figure::Figure,
    installation::{Installation, Plan},
    load,
    process::{SERVER_CORE, Server, pin_thread},
};
use async_graphql::{Variables, parser::parse_query};
use chimera::{api, document::Api};
use chimera_stores::{
    Slice,
    relational::{Order, PageQuery, Record},
};
use entity::{persona, video};
use serde::Deserialize;
use std::time::{Duration, Instant};
use uuid::Uuid;

const ROUNDS: u32 = 1000;

#[derive(Deserialize)]
struct Body {
    query: String,
    #[serde(default)]
    variables: serde_json::Value,
}

/// The steps of a list of 100 with a child each.
pub async fn steps() -> Result<Vec<Figure>, String> {
    let body = documents::bodies(documents::LIST).pop().unwrap_or_default();
    let server = Server::own(&["serve", "chimera"])?;
    let exchanges = load::learn(server.port, std::slice::from_ref(&body)).await?;
    load::closed(server.port, &exchanges, CONNECTIONS, SLICE).await?;
    let before = server.cpu();
    let (answers, _) = load::closed(server.port, &exchanges, CONNECTIONS, SLICE * 2).await?;
    let whole = (server.cpu() - before) / u32::try_from(answers).unwrap_or(u32::MAX);
    drop(server);
    let text = body.clone();
    let measured = std::thread::spawn(move || alone(&text)).join().map_err(|_| "the measuring thread panicked")?;
    let mut steps = measured?;
    let sum: Duration = steps.iter().filter(|(name, _)| !name.starts_with("first sight")).map(|(_, time)| *time).sum();
    steps.push(("sockets, HTTP and the rest", whole.saturating_sub(sum)));
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let figure =
        |(name, time): (&'static str, Duration)| {
            let share = time.as_secs_f64() / whole.as_secs_f64();
            Figure::new("split", name, "whole request", "share of the server's cpu a request", vec![share])
                .seen(format!("{:.1} µs of {:.1}", micros(time), micros(whole)))
        };
    Ok(steps.into_iter().map(figure).collect())
}

fn alone(body: &str) -> Result<Vec<(&'static str, Duration)>, String> {
    pin_thread(SERVER_CORE).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let plan = Plan { rows: Some(Rows::FULL), stub: Some(Duration::ZERO), postgres: None };
    let installation = runtime.block_on(Installation::open(&plan)).map_err(|error| error.to_string())?;
    let engine = api::engine(&installation.settings).map_err(|refusal| format!("{:?}", refusal.errors))?;
    let (shared, scope) = (&installation.shared, installation.scope());
    let read = || serde_json::from_str::<Body>(body).expect("a body");
    let variables = || Variables::from_json(read().variables);
    let query = read().query;
    let prepare = |text: &str, variables| {
        engine.prepare(text, None, variables).unwrap_or_else(|refusal| panic!("{:?}", refusal.errors))
    };
    let decode = each(|_| {
        let body = read();
        (body.query, Variables::from_json(body.variables))
    });
    let parse = each(|_| parse_query(&query).expect("a document"));
    let first = each(|round| prepare(&format!("{query}#{round}"), variables()));
    let given = each(|_| variables());
    let plan = each(|_| prepare(&query, variables())).saturating_sub(given);
    let data = || api::request_data(shared, scope.clone(), "bench".to_owned());
    let execute = each(|_| runtime.block_on(engine.execute(prepare(&query, variables()), data())));
    let execute = execute.saturating_sub(plan + given);
    let order = Order { column: chimera_stores::relational::Column::Id, descending: true };
    let slice = Slice::first(100);
    let list = PageQuery { kind: video::Model::KIND, edge: None, predicates: Vec::new(), order, slice, total: false };
    let store = each(|_| {
        runtime.block_on(async {
            let relational = &shared.stores.relational;
            let pages = relational.pages::<video::Model>(&scope, &list, &[Uuid::nil()]).await.expect("rows");
            let mut ids: Vec<Uuid> =
                pages.iter().flat_map(|page| page.items.iter().map(|row| row.persona_id)).collect();
            ids.sort_unstable();
            ids.dedup();
            relational.get::<persona::Model>(&scope, &ids).await.expect("rows").len()
        })
    });
    let response = runtime.block_on(engine.execute(prepare(&query, variables()), data()));
    let serialise = each(|_| serde_json::to_vec(&response).expect("JSON"));
    Ok(vec![
        ("decode", decode),
        ("first sight only: parse", parse),
        ("first sight only: validate and measure", first.saturating_sub(parse + plan)),
        ("plan: look up, check variables, copy", plan),
        ("resolve", execute.saturating_sub(store)),
        ("store calls", store),
        ("serialise", serialise),
    ])
}

fn each<T>(mut step: impl FnMut(u32) -> T) -> Duration {
    for round in 0..ROUNDS / 10 {
        std::hint::black_box(step(round + ROUNDS));
    }
    let begun = Instant::now();
    for round in 0..ROUNDS {
        std::hint::black_box(step(round));
    }
    begun.elapsed() / ROUNDS
}
