//! M12: tasks into a queue and worked off, at least once, in one Redis, against BullMQ's worker. Both are libraries in a
//! process of their own; the Redis is on the other core.

use super::peers;
use crate::{figure::Figure, process::SERVER_CORE, queue::Rates};
use std::process::Command;
use test_servers::Redis;

const TASKS: usize = 20_000;
const PAIRS: usize = 6;

/// M12.
pub async fn against_bullmq() -> Result<Vec<Figure>, String> {
    let server = Redis::start();
    let url = server.url();
    let tasks = TASKS.to_string();
    let own = std::env::current_exe().map_err(|error| error.to_string())?.display().to_string();
    let ours = || run(&own, &["queue", &url, &tasks], &url);
    let program = peers::folder().join("bullmq.mjs").display().to_string();
    let theirs = || run("node", &[&program, &tasks], &url);
    if let Err(why) = peers::install().and_then(|()| theirs().map(drop)) {
        return Ok(vec![Figure::missing("M12", "queue", "BullMQ", &why)]);
    }
    ours()?;
    let (mut put, mut done, mut control) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for pair in 0..PAIRS {
        let (a, b) = if pair % 2 == 0 {
            (ours()?, theirs()?)
        } else {
            let b = theirs()?;
            (ours()?, b)
        };
        put.push(a.enqueue_per_s / b.enqueue_per_s);
        done.push(a.process_per_s / b.process_per_s);
        control.push(a.process_per_s / ours()?.process_per_s);
        last = Some((a, b));
    }
    let again = crate::median(&mut control);
    let seen = last.map_or_else(String::new, |(a, b)| {
        format!(
            "ours {:.0} in and {:.0} done a second, BullMQ {:.0} and {:.0}",
            a.enqueue_per_s, a.process_per_s, b.enqueue_per_s, b.process_per_s
        )
    });
    Ok(vec![
        Figure::new("M12", "bulk enqueue", "BullMQ", "tasks a second, ours over theirs", put)
            .controlled(again)
            .seen(&seen),
        Figure::new("M12", "process", "BullMQ", "tasks a second, ours over theirs", done).controlled(again).seen(&seen),
    ])
}

fn run(program: &str, arguments: &[&str], url: &str) -> Result<Rates, String> {
    let core = SERVER_CORE.to_string();
    let output = Command::new("taskset")
        .args(["-c", &core, program])
        .args(arguments)
        .env("REDIS_URL", url)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|_| {
        format!(
            "{program} says {line:?} and {:?}",
            String::from_utf8_lossy(&output.stderr).chars().take(300).collect::<String>()
        )
    })
}
