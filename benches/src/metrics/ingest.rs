//! M11: render events through the mutation into TimescaleDB, over a raw binary COPY of the same rows.

use crate::{duel::CONNECTIONS, figure::Figure, load, process::Server};
use serde_json::{Value, json};
use std::time::Instant;
use test_servers::{Flavour, Postgres};

/// Events of a mutation: the most that one takes.
const EVENTS: u64 = 1000;
const MUTATIONS: u64 = 100;
const PAIRS: usize = 6;

const RECORD: &str = "mutation Record($events: [RenderEventInput!]!) { recordRenderEvents(input: { events: $events }) { inserted userErrors { code message } } }";

/// M11.
pub async fn against_copy() -> Result<Vec<Figure>, String> {
    let postgres = Postgres::start_with(Flavour::Timescale, &["shared_buffers=1GB", "max_wal_size=8GB"]);
    let url = postgres.create("telemetry").replace("postgres://", "timescaledb://");
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = folder.path().display().to_string();
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let product = own.with_file_name("product").display().to_string();
    let telemetry = format!("telemetry.url={url}");
    let sets = ["--set", &telemetry, "--set", "server.workers=1", "--set", "limits.max_body_bytes=8000000"];
    let mut arguments = vec!["--data", &data, "--listen", "127.0.0.1:0"];
    arguments.extend(sets);
    arguments.extend(["--set", "limits.max_variables_bytes=8000000"]);
    let server = Server::start(&product, &arguments, &[])?;
    let body = body(server.port).await?;
    let sql = |statements: &str| postgres.sql("telemetry", statements);
    sql("CREATE TABLE plain (LIKE chimera_telemetry.events); \
         SELECT create_hypertable('plain', 'at', chunk_time_interval => interval '1 day')");
    let mut ratios = Vec::new();
    let mut seen = String::new();
    for pair in 0..=PAIRS {
        let stored = || sql("SELECT count(*) FROM chimera_telemetry.events").trim().parse::<u64>();
        let before = stored().map_err(|error| error.to_string())?;
        let begun = Instant::now();
        load::repeat(server.port, &body, CONNECTIONS, MUTATIONS).await?;
        let ours = begun.elapsed();
        let inserted = stored().map_err(|error| error.to_string())? - before;
        if inserted != EVENTS * MUTATIONS {
            return Err(format!("{inserted} events were stored"));
        }
        let file = "/tmp/chimera-bench-ingest.bin";
        sql(&format!("COPY (SELECT * FROM chimera_telemetry.events LIMIT {inserted}) TO '{file}' (FORMAT binary)"));
        let begun = Instant::now();
        sql(&format!("COPY plain FROM '{file}' (FORMAT binary)"));
        let raw = begun.elapsed();
        sql("TRUNCATE plain");
        sql(&format!("COPY (SELECT 1) TO PROGRAM 'rm -f {file}'"));
        let per_second = |time: std::time::Duration| inserted as f64 / time.as_secs_f64();
        seen = format!("ours {:.0} rows a second, COPY {:.0}", per_second(ours), per_second(raw));
        // The first pair warms both.
        if pair > 0 {
            ratios.push(raw.as_secs_f64() / ours.as_secs_f64());
        }
    }
    let unit = "rows a second, the mutation over COPY";
    Ok(vec![Figure::new("M11", "1,000 events a mutation", "COPY", unit, ratios).seen(seen)])
}

/// A mutation of events of the demo data's videos; without ids of their own, so that every repeat stores new ones.
async fn body(port: u16) -> Result<String, String> {
    let mut connection = load::Connection::open(port).await?;
    let answer = connection.ask(&json!({ "query": "{ videos(first: 3) { nodes { id } } }" }).to_string()).await?;
    let answer: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    let videos = answer["data"]["videos"]["nodes"].as_array().cloned().unwrap_or_default();
    let now = chrono::Utc::now();
    let events: Vec<Value> = (0..EVENTS)
        .map(|number| {
            json!({
                "videoId": videos[number as usize % videos.len()]["id"],
                "stage": "RENDER",
                "at": (now - chrono::TimeDelta::seconds(number as i64)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                "duration": "PT12.5S",
                "costMicros": "1500",
                "frames": "300",
                "gpuSeconds": 11.5,
            })
        })
        .collect();
    Ok(json!({ "query": RECORD, "variables": { "events": events } }).to_string())
}
