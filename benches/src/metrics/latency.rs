//! M7: the tail, in an open loop at 65 % of what the server answers when it is saturated.

use crate::{
    documents,
    duel::{CONNECTIONS, SLICE},
    figure::Figure,
    load,
    process::Server,
};
use std::time::Duration;

const SHARE: f64 = 0.65;
const TIME: Duration = Duration::from_secs(15);

/// M7.
pub async fn tail() -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for (name, who) in [("ours", "chimera"), ("H", "hand"), ("S", "stock")] {
        let server = Server::own(&["serve", who])?;
        let exchanges = load::learn(server.port, &documents::bodies(documents::LIST)).await?;
        load::closed(server.port, &exchanges, CONNECTIONS, SLICE).await?;
        let (answers, took) = load::closed(server.port, &exchanges, CONNECTIONS, SLICE * 2).await?;
        let rate = answers as f64 / took.as_secs_f64() * SHARE;
        let times = load::open(server.port, &exchanges, rate, TIME).await?;
        let at = |part: f64| {
            let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
            times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
        let seen = format!("{name} at {rate:.0}/s: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms");
        figures.push(Figure::new("M7", "lists of 100, p99", name, "over its own p50", vec![p99 / p50]).seen(&seen));
        figures.push(Figure::new("M7", "lists of 100, p99.9", name, "over its own p50", vec![p999 / p50]).seen(&seen));
    }
    Ok(figures)
}
