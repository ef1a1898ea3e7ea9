//! M1, M2 and M9: what a request costs when no store does any work.

use super::peers;
use crate::{
    data::Rows,
    documents,
    duel::{self, Contender, Of, SLICE},
    figure::Figure,
    hand,
    installation::{Installation, Plan},
    process::Server,
};
use std::time::{Duration, Instant};

/// The peers that serve the same rows from memory.
const PEERS: [(&str, &str); 2] = [("Mercurius", "mercurius.mjs"), ("Apollo", "apollo.mjs")];

/// The product, H, S, the peers that can be had, and the product again.
async fn contenders(document: &str, with_peers: bool) -> Result<(Vec<Contender>, Vec<(&'static str, String)>), String> {
    let bodies = documents::bodies(document);
    let mut all = vec![
        Contender::new("ours", Server::own(&["serve", "chimera"])?, &bodies).await?,
        Contender::new("H", Server::own(&["serve", "hand"])?, &bodies).await?,
        Contender::new("S", Server::own(&["serve", "stock"])?, &bodies).await?,
    ];
    all[0].same_answers(&all[1])?;
    all[0].same_answers(&all[2])?;
    let mut missing = Vec::new();
    for (name, program) in PEERS.into_iter().filter(|_| with_peers) {
        // Their schemas know no direction.
        let plain = [serde_json::json!({ "query": plain(document) }).to_string()];
        match peers::start(program, &[]) {
            Ok(server) => all.push(Contender::new(name, server, &plain).await?),
            Err(why) => missing.push((name, why)),
        }
    }
    all.push(Contender::new("ours again", Server::own(&["serve", "chimera"])?, &bodies).await?);
    Ok((all, missing))
}

fn plain(document: &str) -> String {
    let body = document.find('{').map_or(document, |at| &document[at..]);
    body.replace(", direction: $direction", "")
}

/// M1.
pub async fn hello() -> Result<Vec<Figure>, String> {
    compare("M1", "hello", documents::HELLO, Of::Throughput, SLICE, true).await
}

/// M2.
pub async fn lists() -> Result<Vec<Figure>, String> {
    let mut figures = compare("M2", "100 × 3 with a child of 3", documents::LIST, Of::Cpu, SLICE, true).await?;
    figures.extend(compare("M2", "10,000 rows of 3", documents::FLAT, Of::Cpu, SLICE, true).await?);
    Ok(figures)
}

async fn compare(
    metric: &str,
    what: &str,
    document: &str,
    of: Of,
    slice: Duration,
    with_peers: bool,
) -> Result<Vec<Figure>, String> {
    let (mut all, missing) = contenders(document, with_peers).await?;
    duel::run(&mut all, slice).await?;
    let mut figures = vec![duel::figure(metric, what, &all, "H", of)];
    for contender in &all[2..all.len() - 1] {
        figures.push(duel::figure(metric, what, &all, contender.name, Of::CpuSaved));
    }
    figures.extend(missing.into_iter().map(|(name, why)| Figure::missing(metric, what, name, &why)));
    Ok(figures)
}

/// M9: the whole answer's time over that of `serde_json::to_writer` of the same structs; the memory it takes.
pub async fn big() -> Result<Vec<Figure>, String> {
    let mut figures = compare("M9", "8 MiB", documents::BIG, Of::Cpu, SLICE, false).await?;
    let plan = Plan { rows: Some(Rows::FULL), stub: Some(Duration::ZERO), postgres: None };
    let installation = Installation::open(&plan).await.map_err(|error| error.to_string())?;
    let write = hand::serialised(&installation).await.map_err(|error| error.to_string())?;
    let server = Server::own(&["serve", "chimera"])?;
    let idle = server.rss();
    let ours = Contender::new("ours", server, &documents::bodies(documents::BIG)).await?;
    let bytes = ours.exchanges()[0].answer.len();
    let mut ratios = Vec::new();
    for _ in 0..12 {
        let (before, begun) = (ours.server.cpu(), Instant::now());
        let (answers, _) = crate::load::closed(ours.server.port, ours.exchanges(), 1, SLICE / 4).await?;
        let cpu = (ours.server.cpu() - before).as_secs_f64() / answers as f64;
        let _ = begun;
        let begun = Instant::now();
        let rounds = 20;
        for _ in 0..rounds {
            std::hint::black_box(write().len());
        }
        ratios.push(cpu / (begun.elapsed().as_secs_f64() / f64::from(rounds)));
    }
    figures.push(
        Figure::new("M9", "8 MiB", "serde_json::to_writer", "cpu a request over the bare writing", ratios)
            .seen(format!("{bytes} bytes")),
    );
    let grown = ours.server.peak().saturating_sub(idle) as f64 / bytes as f64;
    figures.push(
        Figure::new(
            "M9",
            "8 MiB",
            "payload",
            "peak memory above idle over the answer's bytes, one at a time",
            vec![grown],
        )
        .seen(format!("idle {} MiB with the rows", idle >> 20)),
    );
    Ok(figures)
}
