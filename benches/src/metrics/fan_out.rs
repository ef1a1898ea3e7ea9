//! M5: one request through all seven stores, each a stub of a fixed service time: what the answer takes beyond the
//! longest chain of calls that must wait for one another.

use crate::{documents, figure::Figure, load, process::Server};
use serde_json::json;
use std::time::{Duration, Instant};

/// Service time of every stub.
const SERVICE: Duration = Duration::from_millis(2);
/// The longest chain of the document: personas, then what each of them has, then what that has in turn.
const CHAIN: u32 = 3;
/// Requests, one after the other.
const REQUESTS: usize = 400;

/// M5.
pub async fn seven() -> Result<Vec<Figure>, String> {
    let micros = SERVICE.as_micros().to_string();
    let server = Server::own(&["serve", "chimera", "--service", &micros])?;
    let body = json!({ "query": documents::OVERVIEW }).to_string();
    let exchanges = load::learn(server.port, std::slice::from_ref(&body)).await?;
    let answer = String::from_utf8_lossy(&exchanges[0].answer).into_owned();
    // Signed addresses differ from one answer to the next only by the time, which stands still.
    let critical = SERVICE * CHAIN;
    let mut connection = load::Connection::open(server.port).await?;
    let mut beyond = Vec::new();
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let again = connection.ask(&body).await?;
        beyond.push(begun.elapsed().saturating_sub(critical).as_secs_f64() * 1000.0);
        if again != answer.as_bytes() {
            return Err("two answers to the overview differ".to_owned());
        }
    }
    beyond.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| beyond[((REQUESTS as f64 * part) as usize).min(REQUESTS - 1)];
    let seen = format!("beyond {} ms: p50 {:.2} ms, p99 {:.2} ms", critical.as_millis(), at(0.5), at(0.99));
    let over = |part| vec![1.0 + at(part) / (critical.as_secs_f64() * 1000.0)];
    let unit = "answer time over the critical path";
    Ok(vec![
        Figure::new("M5", "overview, p50", "critical path", unit, over(0.5)).seen(&seen),
        Figure::new("M5", "overview, p99", "critical path", unit, over(0.99)).seen(&seen),
    ])
}
