//! M4: 20 × 10 × 5 from PostgreSQL, a limit for each parent. The database shares the load's core.

use super::peers;
use crate::{
    data::Rows,
    documents,
    duel::{self, Contender, Of, SLICE},
    figure::Figure,
    installation::{Installation, Plan},
    process::Server,
};
use chimera::seed;
use test_servers::{Flavour, Postgres};

/// M4.
pub async fn pages() -> Result<Vec<Figure>, String> {
    let server = Postgres::start_with(Flavour::Plain, &["shared_preload_libraries=pg_stat_statements"]);
    let url = server.create("bench");
    let plan = Plan { rows: Some(Rows::NESTED), postgres: Some(url.clone()), stub: None };
    drop(Installation::open(&plan).await.map_err(|error| error.to_string())?);
    server.sql("bench", "ANALYZE");
    let bodies = documents::nested(Rows::NESTED);
    let own = async |name, who| Contender::new(name, Server::own(&["serve", who, "--postgres", &url])?, &bodies).await;
    let mut all = vec![own("ours", "chimera").await?, own("H", "hand").await?, own("S", "stock").await?];
    all[0].same_answers(&all[1])?;
    all[0].same_answers(&all[2])?;
    let mut missing = None;
    let organization = seed::demo().organization_id.to_string();
    let environment = [("DATABASE_URL", url.as_str()), ("CHIMERA_ORGANIZATION", &organization)];
    match peers::start("postgraphile.mjs", &environment) {
        Ok(peer) => {
            let path = peers::folder().join("nested.postgraphile.graphql");
            let document = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
            let body = serde_json::json!({ "query": document }).to_string();
            all.push(Contender::new("PostGraphile", peer, &[body]).await?);
        }
        Err(why) => missing = Some(why),
    }
    let statements = statements(&server, &all[0]).await?;
    all.push(own("ours again", "chimera").await?);
    duel::run(&mut all, SLICE).await?;
    let mut figures = vec![
        duel::figure("M4", "20 × 10 × 5", &all, "H", Of::Throughput),
        duel::figure("M4", "20 × 10 × 5", &all, "H", Of::Cpu),
        duel::figure("M4", "20 × 10 × 5", &all, "S", Of::CpuSaved),
    ];
    figures.push(match missing {
        None => duel::figure("M4", "20 × 10 × 5", &all, "PostGraphile", Of::CpuSaved),
        Some(why) => Figure::missing("M4", "20 × 10 × 5", "PostGraphile", &why),
    });
    figures.push(
        Figure::new(
            "M4",
            "20 × 10 × 5",
            "levels",
            "statements that read, over the three levels",
            vec![statements / 3.0],
        )
        .seen(format!("{statements} a request")),
    );
    Ok(figures)
}

/// Statements that read tables for one request, from the server's own count.
async fn statements(server: &Postgres, ours: &Contender) -> Result<f64, String> {
    server.sql("bench", "CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
    server.sql("bench", "SELECT pg_stat_statements_reset()");
    let exchange = ours.exchanges().first().ok_or("nothing to ask")?;
    let rounds = 100.0;
    for _ in 0..100 {
        crate::load::learn(ours.server.port, &[String::from_utf8_lossy(&exchange.body).into_owned()]).await?;
    }
    let counted = server.sql(
        "bench",
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query ILIKE '%FROM%' AND query NOT ILIKE '%pg_stat%'",
    );
    counted.trim().parse::<f64>().map(|calls| calls / rounds).map_err(|error| error.to_string())
}
