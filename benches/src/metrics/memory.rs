//! M8: the product as it is started by everybody (on PostgreSQL, the rest embedded): memory when idle, at the peak of 50
//! connections, and while it answers as many requests as an hour of busy use brings.

use crate::{
    data::Rows,
    documents,
    figure::Figure,
    installation::{Installation, Plan},
    load,
    process::Server,
};
use std::time::Duration;
use test_servers::{Flavour, Postgres};

const CONNECTIONS: usize = 50;
/// Length of the steady load, cut into parts after each of which memory is read.
const PART: Duration = Duration::from_secs(10);
const PARTS: usize = 9;

/// M8.
pub async fn rss() -> Result<Vec<Figure>, String> {
    let postgres = Postgres::start(Flavour::Plain);
    let url = postgres.create("bench");
    let plan = Plan { rows: Some(Rows::FULL), postgres: Some(url.clone()), stub: None };
    drop(Installation::open(&plan).await.map_err(|error| error.to_string())?);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = folder.path().display().to_string();
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let product = own.with_file_name("product").display().to_string();
    let arguments = [
        "--data",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--set",
        &format!("relational.url={url}"),
        "--set",
        "server.workers=1",
    ];
    let server = Server::start(&product, &arguments, &[])?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = server.rss();
    let mut exchanges = load::learn(server.port, &documents::bodies(documents::NESTED)).await?;
    exchanges.extend(load::learn(server.port, &documents::bodies(documents::LIST)).await?);
    let mut held = Vec::new();
    let mut requests = 0;
    for _ in 0..PARTS {
        let (answers, _) = load::closed(server.port, &exchanges, CONNECTIONS, PART).await?;
        requests += answers;
        held.push(server.rss());
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let list = held.iter().map(|bytes| format!("{:.0}", mebibytes(*bytes))).collect::<Vec<_>>().join(", ");
    let seen = format!("{requests} requests; MiB after each part: {list}");
    // The first part warms caches; from then on it must not grow.
    let growth = mebibytes(held[PARTS - 1]) / mebibytes(held[1]);
    Ok(vec![
        Figure::new("M8", "idle", "20 MiB", "resident memory, in MiB", vec![mebibytes(idle)])
            .seen("with the embedder's model"),
        Figure::new(
            "M8",
            "50 connections",
            "80 MiB",
            "peak of resident memory, in MiB",
            vec![mebibytes(server.peak())],
        )
        .seen(&seen),
        Figure::new("M8", "steady load", "itself", "memory at the end over that after the second part", vec![growth])
            .seen(&seen),
    ])
}
