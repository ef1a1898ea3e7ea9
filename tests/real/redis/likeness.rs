//! The same calls on the embedded store and on Redis, at random from a fixed seed, by one clock: all answers are the
//! same, apart from tokens and what is random by its nature (the jitter of a back-off, which is left out).

use super::*;
use chimera_stores::{
    Page, Slice, StoreError,
    episodic::{
        CounterRequest, EmbeddedEpisodic, Enqueued, EpisodicAdapter, Held, Outcome, QueueChange, RateLimit,
        ReserveRequest, Task, TaskPageQuery, TaskState,
    },
};
use chrono::TimeDelta;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::collections::HashMap;
use test_servers::{Redis, RedisCluster, have};

type Store = Arc<dyn EpisodicAdapter>;

/// One store and the holds of its own.
struct Side {
    store: Store,
    held: HashMap<Uuid, Uuid>,
}

const QUEUES: [&str; 2] = ["render", "post"];
const STEPS: usize = 1200;

impl Side {
    fn new(store: Store) -> Self {
        Self { store, held: HashMap::new() }
    }

    /// The task without its token, which is noted.
    fn plain(&mut self, mut task: Task) -> Task {
        if let Some(lease) = &mut task.lease {
            self.held.insert(task.id, lease.token);
            lease.token = Uuid::nil();
        }
        task
    }

    fn results(&mut self, results: Vec<Result<Task>>) -> Vec<std::result::Result<Task, String>> {
        results.into_iter().map(|result| result.map(|task| self.plain(task)).map_err(said)).collect()
    }

    fn page(&mut self, page: Page<Task>) -> Page<Task> {
        page.map(|task| self.plain(task))
    }

    fn hold(&self, number: u128) -> Held {
        Held { task_id: id(number), token: self.held.get(&id(number)).copied().unwrap_or_default() }
    }

    /// What this store answers to a step, as text.
    async fn answer(&mut self, step: &Step) -> String {
        let (store, scope) = (self.store.clone(), scope());
        match step {
            Step::Enqueue(tasks) => {
                let enqueued = store.enqueue(&scope, tasks).await.unwrap();
                let plain = |enqueued: Result<Enqueued>| {
                    let Enqueued { task, deduplicated } = enqueued.unwrap();
                    (self.plain(task), deduplicated)
                };
                format!("{:?}", enqueued.into_iter().map(plain).collect::<Vec<_>>())
            }
            Step::Reserve(queue, count, lease) => {
                let tasks = store.reserve(&scope, queue, "worker", *count, *lease).await.unwrap();
                format!("{:?}", tasks.into_iter().map(|task| self.plain(task)).collect::<Vec<_>>())
            }
            Step::Beat(numbers, progress) => {
                let held: Vec<_> = numbers.iter().map(|number| (self.hold(*number), *progress)).collect();
                let beaten = store.heartbeat(&scope, &held, LEASE).await.unwrap();
                format!("{:?}", self.results(beaten))
            }
            Step::Settle(outcomes) => {
                let outcomes: Vec<_> = outcomes.iter().map(|(number, end)| (self.hold(*number), end.clone())).collect();
                let settled = store.settle(&scope, &outcomes).await.unwrap();
                format!("{:?}", self.results(settled))
            }
            Step::Work(outcomes, next) => {
                let outcomes: Vec<_> = outcomes.iter().map(|(number, end)| (self.hold(*number), end.clone())).collect();
                let (settled, reserved) = store.settle_and_reserve(&scope, &outcomes, next).await.unwrap();
                let refused = |result: std::result::Result<Task, String>| result.map_err(|_| "conflict");
                let settled: Vec<_> = self.results(settled).into_iter().map(refused).collect();
                let reserved: Vec<_> = reserved.into_iter().map(|task| self.plain(task)).collect();
                format!("{settled:?} {reserved:?}")
            }
            Step::Replay(numbers) => {
                let ids: Vec<Uuid> = numbers.iter().map(|number| id(*number)).collect();
                let replayed = store.replay(&scope, &ids).await.unwrap();
                format!("{:?}", self.results(replayed))
            }
            Step::Configure(queue, change) => {
                format!("{:?}", store.configure_queue(&scope, queue, change).await.unwrap())
            }
            Step::Count(request) => format!("{:?}", store.counts(&scope, std::slice::from_ref(request)).await.unwrap()),
            Step::Look(query) => {
                let ids: Vec<Uuid> = (0..40).map(id).collect();
                let tasks: Vec<_> = store.tasks(&scope, &ids).await.unwrap();
                let tasks: Vec<_> = tasks.into_iter().map(|task| task.map(|task| self.plain(task))).collect();
                let page = store.task_pages(&scope, std::slice::from_ref(query)).await.unwrap().remove(0);
                let stats = store.queues(&scope, &[]).await.unwrap();
                format!("{tasks:?} {:?} {stats:?}", self.page(page))
            }
        }
    }
}

fn said(error: StoreError) -> String {
    format!("{:?} {}", error.kind(), error.message())
}

#[derive(Debug)]
enum Step {
    Enqueue(Vec<NewTask>),
    Reserve(&'static str, u32, Duration),
    Beat(Vec<u128>, Option<f32>),
    Settle(Vec<(u128, Outcome)>),
    Work(Vec<(u128, Outcome)>, ReserveRequest),
    Replay(Vec<u128>),
    Configure(&'static str, QueueChange),
    Count(CounterRequest),
    Look(TaskPageQuery),
}

fn queue(random: &mut impl Rng) -> &'static str {
    QUEUES[random.random_range(0..QUEUES.len())]
}

fn new_task(random: &mut impl Rng) -> NewTask {
    let key = random.random_bool(0.5).then(|| format!("key {}", random.random_range(0..4)));
    NewTask {
        queue: queue(random).to_owned(),
        priority: random.random_range(-2..=2),
        persona_id: random.random_bool(0.5).then(|| id(50 + random.random_range(0..2))),
        campaign_id: random.random_bool(0.5).then(|| id(60 + random.random_range(0..2))),
        delay: Duration::from_millis(random.random_range(0..4) * 15_000),
        max_attempts: random.random_range(1..4),
        dedupe_for: key
            .is_some()
            .then(|| Duration::from_secs(random.random_range(1..5000)))
            .filter(|_| random.random()),
        dedupe_key: key,
        ..task(random.random_range(0..40))
    }
}

fn outcomes(random: &mut impl Rng) -> Vec<(u128, Outcome)> {
    let one = |random: &mut dyn Rng| {
        let outcome = match random.random_range(0..3) {
            0 => Outcome::Fail { error: "no frames".to_owned(), retryable: false },
            1 => Outcome::Complete { result: Some(serde_json::json!([1, null])) },
            _ => Outcome::Complete { result: None },
        };
        (random.random_range(0..40), outcome)
    };
    (0..random.random_range(1..12)).map(|_| one(random)).collect()
}

fn query(random: &mut impl Rng) -> TaskPageQuery {
    let states = [TaskState::Scheduled, TaskState::Ready, TaskState::Leased, TaskState::Completed, TaskState::Dead];
    let limit = random.random_range(1..30);
    TaskPageQuery {
        persona_id: random.random_bool(0.3).then(|| id(50)),
        campaign_id: random.random_bool(0.3).then(|| id(60)),
        queue: random.random_bool(0.3).then(|| queue(random).to_owned()),
        states: states.into_iter().filter(|_| random.random_bool(0.3)).collect(),
        slice: if random.random() { Slice::first(limit) } else { Slice::last(limit) },
    }
}

fn step(random: &mut impl Rng) -> Step {
    match random.random_range(0..12) {
        0..3 => {
            let mut tasks: Vec<NewTask> = (0..random.random_range(1..6)).map(|_| new_task(random)).collect();
            // One id twice in a batch, in two queues, is the one thing in which the stores differ.
            tasks.sort_by_key(|task| task.id);
            tasks.dedup_by_key(|task| task.id);
            Step::Enqueue(tasks)
        }
        3..5 => {
            let lease = Duration::from_secs(random.random_range(1..90));
            Step::Reserve(queue(random), random.random_range(1..8), lease)
        }
        5 => Step::Beat((0..5).map(|_| random.random_range(0..40)).collect(), random.random::<bool>().then_some(0.1)),
        6..8 => Step::Settle(outcomes(random)),
        8 => {
            let (queue, count) = (queue(random).to_owned(), random.random_range(1..5));
            Step::Work(outcomes(random), ReserveRequest { queue, worker: "worker".to_owned(), count, lease: LEASE })
        }
        9 => Step::Replay((0..8).map(|_| random.random_range(0..40)).collect()),
        10 => {
            let limit = RateLimit {
                count: random.random_range(1..6),
                per: Duration::from_millis(random.random_range(1000..60_000)),
            };
            let rate_limit = random.random::<bool>().then(|| random.random_bool(0.4).then_some(limit));
            Step::Configure(
                queue(random),
                QueueChange { paused: random.random_bool(0.3).then(|| random.random_bool(0.3)), rate_limit },
            )
        }
        _ => Step::Count(CounterRequest {
            key: format!("key {}", random.random_range(0..2)),
            window: Duration::from_secs(random.random_range(1..3) * 40),
            cost: random.random_range(0..4),
            limit: random.random_range(1..9),
        }),
    }
}

async fn alike(url: &str, seed: u64) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let embedded = EmbeddedEpisodic::open(&folder.path().join("episodic.redb"), clock.clone()).unwrap();
    let mut embedded = Side::new(Arc::new(embedded));
    let mut redis = Side::new(Arc::new(open(url, clock.clone()).await.unwrap()));
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..STEPS {
        let step = step(&mut random);
        assert_eq!(embedded.answer(&step).await, redis.answer(&step).await, "seed {seed}, step {number}: {step:?}");
        let look = Step::Look(query(&mut random));
        assert_eq!(
            embedded.answer(&look).await,
            redis.answer(&look).await,
            "seed {seed}, after step {number}: {step:?}, {look:?}"
        );
        let millis = if random.random_bool(0.03) { 2_000_000 } else { random.random_range(0..4) * 7_500 };
        clock.advance(TimeDelta::milliseconds(millis));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_answers_as_the_embedded_store_does() {
    if !have("redis", Redis::found()) {
        return;
    }
    let server = Redis::start();
    for seed in 1..4 {
        server.cli(&["FLUSHALL"]);
        alike(&server.url(), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_answers_as_the_embedded_store_does() {
    if !have("redis-cluster", Redis::found()) {
        return;
    }
    let cluster = RedisCluster::start(0);
    alike(&cluster.url(), 4).await;
}
