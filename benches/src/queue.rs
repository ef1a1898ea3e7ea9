//! The life of tasks that nobody works on: into the queue, out of it, and done.

use chimera_stores::{
    Address, Clock, Guard, Principal, Role, Scope, Store, SystemClock,
    episodic::{Episodic, Held, NewTask, Outcome, RedisEpisodic, ReserveRequest, Task},
};
use clap::Args;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Tasks of one call.
const BATCH: usize = 1000;
/// Tasks that a worker holds at a time, and workers at once: as many tasks under way as the opponent has.
const HELD: u32 = 100;
const LEASE: Duration = Duration::from_secs(60);

/// Who owns the queues of benches.
pub fn scope() -> Scope {
    Scope::new(Uuid::from_u128(1), Principal::User(Uuid::from_u128(2)), Role::Admin)
}

/// A task with a payload of some 100 bytes.
pub fn task(queue: &str) -> NewTask {
    NewTask {
        id: Uuid::now_v7(),
        queue: queue.to_owned(),
        kind: "render_video".to_owned(),
        priority: 0,
        payload: json!({ "prompt": "p".repeat(100) }),
        persona_id: None,
        campaign_id: None,
        delay: Duration::ZERO,
        max_attempts: 3,
        dedupe_key: None,
        dedupe_for: None,
    }
}

/// Puts so many tasks into a queue, by the thousand; the time it took.
pub async fn enqueue(store: &Episodic, queue: &str, tasks: usize) -> Duration {
    let begun = Instant::now();
    let batches = tasks.div_ceil(BATCH);
    stream::iter(0..batches)
        .map(|batch| async move {
            let size = BATCH.min(tasks - batch * BATCH);
            let new: Vec<NewTask> = (0..size).map(|_| task(queue)).collect();
            let answers = store.enqueue(&scope(), &new).await.expect("a queue");
            assert!(answers.iter().all(Result::is_ok));
        })
        .buffered(1)
        .collect::<Vec<_>>()
        .await;
    begun.elapsed()
}

/// Takes so many tasks out of a queue and completes each; the time it took.
pub async fn process(store: &Episodic, queue: &str, tasks: usize) -> Duration {
    let begun = Instant::now();
    let next = ReserveRequest { queue: queue.to_owned(), worker: "bench".to_owned(), count: HELD, lease: LEASE };
    let mut held = store.reserve(&scope(), queue, "bench", HELD, LEASE).await.expect("a queue");
    let mut done = 0;
    while done < tasks {
        let outcomes: Vec<(Held, Outcome)> = held.iter().take(tasks - done).map(complete).collect();
        done += outcomes.len();
        let (settled, more) = store.settle_and_reserve(&scope(), &outcomes, &next).await.expect("a queue");
        assert!(settled.iter().all(Result::is_ok) && (done == tasks || !more.is_empty()));
        held = more;
    }
    begun.elapsed()
}

fn complete(task: &Task) -> (Held, Outcome) {
    let token = task.lease.as_ref().expect("a lease").token;
    (Held { task_id: task.id, token }, Outcome::Complete { result: None })
}

/// What a run of one side shows, in the words of the opponent's program.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rates {
    /// Tasks put in a second.
    pub enqueue_per_s: f64,
    /// Tasks worked off a second.
    pub process_per_s: f64,
}

/// A run in a process of its own.
#[derive(Args, Debug)]
pub struct Run {
    /// A Redis.
    redis: String,
    /// How many tasks.
    tasks: usize,
}

/// Runs and prints [`Rates`] as JSON.
///
/// # Errors
/// What the store says.
pub async fn run(wanted: Run) -> Result<(), Box<dyn std::error::Error>> {
    let store = open(&wanted.redis).await?;
    let name = format!("bench-{}", Uuid::now_v7());
    let put = enqueue(&store, &name, wanted.tasks).await;
    let done = process(&store, &name, wanted.tasks).await;
    let per_second = |time: Duration| crate::rate(wanted.tasks, time);
    let rates = Rates { enqueue_per_s: per_second(put), process_per_s: per_second(done) };
    println!("{}", serde_json::to_string(&rates)?);
    Ok(())
}

/// The episodic store of a Redis.
///
/// # Errors
/// What the store says.
pub async fn open(url: &str) -> chimera_stores::Result<Episodic> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let adapter = RedisEpisodic::open(&Address::new(url.to_owned()), "bench", clock).await?;
    Ok(Episodic::new(Guard::detached(Store::Episodic), Arc::new(adapter)))
}
