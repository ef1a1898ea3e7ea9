//! At least once, proven: worker processes take 20,000 tasks from one queue, and are killed by SIGKILL at random moments;
//! some outstay their leases. Each worker writes down what it begins before it begins, and what the store answered to
//! its settlements, so that afterwards every task's story can be told, by the workers and by the store.
//!
//! What must never be seen: a lost task, a task acknowledged twice, one acknowledged after its lease had passed, two
//! holders at the same time. What may be seen, and is counted: work begun more than once, for one of two reasons.

use crate::redis_store::{QUEUE, child, held_by, open, scope, task};
use chimera_stores::{
    ErrorKind,
    episodic::{Episodic, Held, Outcome, ReserveRequest, Task, TaskState},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use test_servers::{Redis, have};
use uuid::Uuid;

const TASKS: usize = 20_000;
const WORKERS: usize = 4;
const KILLS: usize = 30;
const BATCH: u32 = 40;
const LEASE: Duration = Duration::from_secs(1);
const JOB: &str = "CHIMERA_TEST_REDIS_WORKER";
const SEED: u64 = 20_000;
/// How long a worker lives at the most, and the test waits: only a broken one needs it.
const PATIENCE: Duration = Duration::from_secs(90);

/// The process; an ordinary run of the suite has nothing to do here.
#[tokio::test]
async fn a_worker() {
    let Ok(job) = std::env::var(JOB) else { return };
    let (number, url) = job.split_once(' ').unwrap();
    let number: usize = number.parse().unwrap();
    let rng = StdRng::seed_from_u64(SEED + number as u64);
    Worker { store: open(url).await, name: format!("worker-{number}"), rng, is_late: number == 0 }.run().await;
}

struct Worker {
    store: Episodic,
    name: String,
    rng: StdRng,
    /// It outstays its first lease.
    is_late: bool,
}

impl Worker {
    async fn run(mut self) {
        let begun = Instant::now();
        let mut tasks = Vec::new();
        while begun.elapsed() < PATIENCE {
            if tasks.is_empty() {
                tasks = self.reserve().await;
            }
            if tasks.is_empty() {
                let stats = self.store.queues(&scope(), &[QUEUE.to_owned()]).await.unwrap().remove(0);
                if stats.completed == TASKS as u64 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            write(tasks.iter().map(|task| {
                let (from, until) = (task.updated_at.timestamp_micros(), until(task));
                format!("begun {} {} {from} {until}", task.id, held_by(task).token)
            }));
            self.work(&tasks).await;
            tasks = self.settle(tasks).await;
        }
    }

    async fn reserve(&self) -> Vec<Task> {
        self.store.reserve(&scope(), QUEUE, &self.name, BATCH, LEASE).await.unwrap()
    }

    /// Mostly short work; at times longer than half a lease, with a heartbeat in the middle; at times too long.
    async fn work(&mut self, tasks: &[Task]) {
        let lot = self.rng.random_range(0..100);
        if std::mem::take(&mut self.is_late) || lot == 0 {
            tokio::time::sleep(LEASE + Duration::from_millis(self.rng.random_range(50..200))).await;
        } else if lot < 3 {
            tokio::time::sleep(LEASE * 3 / 5).await;
            let held: Vec<(Held, Option<f32>)> = tasks.iter().map(|task| (held_by(task), Some(0.5))).collect();
            let kept = self.store.heartbeat(&scope(), &held, LEASE).await.unwrap();
            write(
                kept.iter().flatten().map(|task| format!("kept {} {} {}", task.id, held_by(task).token, until(task))),
            );
            tokio::time::sleep(LEASE * 3 / 5).await;
        } else {
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..12))).await;
        }
    }

    /// Settles, and answers what is to be worked on next.
    async fn settle(&mut self, tasks: Vec<Task>) -> Vec<Task> {
        let held: Vec<Held> = tasks.iter().map(held_by).collect();
        let done = |held: &Held| (*held, Outcome::Complete { result: Some(serde_json::json!(held.token)) });
        let outcomes: Vec<(Held, Outcome)> = held.iter().map(done).collect();
        // With the next reservation in one round trip, or alone.
        let (settled, next) = if self.rng.random_bool(0.7) {
            let (queue, worker) = (QUEUE.to_owned(), self.name.clone());
            let next = ReserveRequest { queue, worker, count: BATCH, lease: LEASE };
            self.store.settle_and_reserve(&scope(), &outcomes, &next).await.unwrap()
        } else {
            (self.store.settle(&scope(), &outcomes).await.unwrap(), Vec::new())
        };
        write(held.iter().zip(settled).map(|(held, settled)| match settled {
            Ok(task) => format!("done {} {} {}", held.task_id, held.token, task.updated_at.timestamp_micros()),
            Err(error) if error.kind() == ErrorKind::Conflict => format!("refused {} {}", held.task_id, held.token),
            Err(error) => panic!("{error:?}"),
        }));
        next
    }
}

fn until(task: &Task) -> i64 {
    task.lease.as_ref().unwrap().expires_at.timestamp_micros()
}

fn write(lines: impl Iterator<Item = String>) {
    let text: String = lines.map(|line| format!("@ {line}\n")).collect();
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).unwrap();
    output.flush().unwrap();
}

/// A running worker and what it has written so far. It ends by itself when its server does.
struct Running {
    process: Child,
    reader: JoinHandle<Vec<String>>,
}

impl Running {
    fn start(number: usize, url: &str, acknowledged: &Arc<AtomicUsize>) -> Self {
        let mut command = child("redis_workers::a_worker", JOB, &format!("{number} {url}"));
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (output, acknowledged) = (BufReader::new(process.stdout.take().unwrap()), acknowledged.clone());
        let reader = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in output.split(b'\n').map(Result::unwrap) {
                let line = String::from_utf8(line).unwrap();
                let Some((_, line)) = line.split_once("@ ") else { continue };
                if line.starts_with("done") {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                lines.push(line.to_owned());
            }
            lines
        });
        Self { process, reader }
    }

    /// What it wrote; the last line may have been cut off when it was killed.
    fn end(mut self, is_killed: bool) -> Vec<String> {
        if is_killed {
            self.process.kill().unwrap();
        }
        let status = self.process.wait().unwrap();
        assert!(is_killed || status.success(), "a worker failed");
        let mut lines = self.reader.join().unwrap();
        if is_killed && lines.last().is_some_and(|line| !is_whole(line)) {
            lines.pop();
        }
        lines
    }
}

fn is_whole(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let numbers = match words.first() {
        Some(&"begun") => 2,
        Some(&("done" | "kept")) => 1,
        _ => 0,
    };
    // A time has sixteen digits, and an id thirty-six characters.
    words.len() == 3 + numbers
        && words.iter().skip(1).enumerate().all(|(at, word)| word.len() == if at < 2 { 36 } else { 16 })
}

/// One try to do a task.
#[derive(Debug)]
struct Try {
    token: Uuid,
    from: i64,
    until: i64,
    done_at: Option<i64>,
    is_refused: bool,
    is_killed: bool,
}

/// All tries of all tasks, as the workers wrote them down.
#[derive(Default)]
struct Story(BTreeMap<Uuid, Vec<Try>>);

impl Story {
    fn add(&mut self, lines: &[String], is_killed: bool) {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let (task, token): (Uuid, Uuid) = (words[1].parse().unwrap(), words[2].parse().unwrap());
            let number = |at: usize| words[at].parse::<i64>().unwrap();
            let tries = self.0.entry(task).or_default();
            if words[0] == "begun" {
                let (from, until) = (number(3), number(4));
                tries.push(Try { token, from, until, done_at: None, is_refused: false, is_killed });
                continue;
            }
            let this = tries.iter_mut().find(|this| this.token == token).expect("begun before it ended");
            match words[0] {
                "kept" => this.until = number(3),
                "done" => assert!(this.done_at.replace(number(3)).is_none(), "{task} acknowledged twice to one holder"),
                "refused" => this.is_refused = true,
                other => panic!("{other}"),
            }
        }
    }
}

/// Kills workers other than the first at random moments, spread over the whole work, and starts others in their place.
fn kill_and_replace(url: &str, running: &mut Vec<Running>, acknowledged: &Arc<AtomicUsize>, story: &mut Story) {
    let mut rng = StdRng::seed_from_u64(SEED);
    let begun = Instant::now();
    let mut next = 0;
    for kill in 0..KILLS {
        next += rng.random_range(100..TASKS * 9 / 10 / KILLS * 2 - 100);
        while acknowledged.load(Ordering::Relaxed) < next.min(TASKS * 9 / 10) {
            assert!(begun.elapsed() < PATIENCE, "the workers do not get on");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
        let victim = running.remove(rng.random_range(1..running.len()));
        running.push(Running::start(WORKERS + kill, url, acknowledged));
        story.add(&victim.end(true), true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_lose_no_task() {
    if !have("redis", Redis::found()) {
        return;
    }
    let server = Redis::start();
    let url = server.url();
    let begun = Instant::now();
    let store = open(&url).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut running: Vec<Running> = (0..WORKERS).map(|number| Running::start(number, &url, &acknowledged)).collect();
    let killer = tokio::task::spawn_blocking(move || {
        let mut story = Story::default();
        kill_and_replace(&url, &mut running, &acknowledged, &mut story);
        for worker in running {
            story.add(&worker.end(false), false);
        }
        story
    });
    let ids: Vec<Uuid> = (0..TASKS).map(|_| Uuid::now_v7()).collect();
    for ids in ids.chunks(1000) {
        let tasks: Vec<_> = ids.iter().map(|id| task(*id)).collect();
        assert!(store.enqueue(&scope(), &tasks).await.unwrap().iter().all(Result::is_ok));
    }
    let mut story = killer.await.unwrap();
    let took = begun.elapsed();
    let mut counts = Counts::default();
    for ids in ids.chunks(1000) {
        for (id, task) in ids.iter().zip(store.tasks(&scope(), ids).await.unwrap()) {
            let task = task.unwrap_or_else(|| panic!("task {id} is lost"));
            counts.check(&task, story.0.remove(id).unwrap_or_default());
        }
    }
    assert!(story.0.is_empty(), "tasks that nobody enqueued");
    let stats = store.queues(&scope(), &[QUEUE.to_owned()]).await.unwrap().remove(0);
    assert_eq!((stats.completed, stats.ready, stats.leased, stats.scheduled, stats.dead), (TASKS as u64, 0, 0, 0, 0));
    println!("{TASKS} tasks, {WORKERS} workers, {KILLS} killed by SIGKILL, {took:.1?}: {counts:?}");
    assert!(counts.silent <= KILLS * BATCH as usize, "more tries than the killed could have hidden: {counts:?}");
    assert!(counts.refused > 0 && counts.killed > 0, "the run has not shown what it is for: {counts:?}");
}

/// What was seen.
#[derive(Debug, Default)]
struct Counts {
    /// Tasks begun more than once.
    repeated: usize,
    /// Tries that came to nothing because their worker was killed.
    killed: usize,
    /// Tries whose settlement was refused because their lease had ended.
    refused: usize,
    /// Tries that their worker could not even write down before it was killed.
    silent: usize,
    /// Acknowledgements that the worker was killed before it could write down.
    unheard: usize,
}

impl Counts {
    /// Tells the story of one task; `task` is the store's own account.
    fn check(&mut self, task: &Task, mut tries: Vec<Try>) {
        assert_eq!(task.state, TaskState::Completed, "{task:?}");
        let token: Uuid = serde_json::from_value(task.result.clone().unwrap()).unwrap();
        tries.sort_by_key(|this| this.from);
        let tokens: BTreeSet<Uuid> = tries.iter().map(|this| this.token).collect();
        assert_eq!(tokens.len(), tries.len(), "a token was given out twice: {tries:?}");
        for pair in tries.windows(2) {
            assert!(pair[0].until <= pair[1].from, "two held it at the same time: {tries:?}");
        }
        let last = tries.pop().unwrap_or_else(|| panic!("{task:?} was completed by nobody"));
        assert_eq!(last.token, token, "not the last holder completed it: {last:?} {tries:?}");
        let at = task.updated_at.timestamp_micros();
        assert!(last.from <= at && at < last.until, "acknowledged outside its lease: {at} {last:?}");
        assert!(!last.is_refused && last.done_at.is_none_or(|done_at| done_at == at), "{at} {last:?}");
        assert!(last.done_at.is_some() || last.is_killed, "an acknowledgement that nobody was told of: {last:?}");
        self.unheard += usize::from(last.done_at.is_none());
        self.repeated += usize::from(!tries.is_empty());
        self.silent += task.attempts as usize - tries.len() - 1;
        for this in tries {
            assert!(this.done_at.is_none(), "acknowledged twice: {this:?} {last:?}");
            match this {
                Try { is_refused: true, .. } => self.refused += 1,
                Try { is_killed: true, .. } => self.killed += 1,
                this => panic!("begun again without a reason: {this:?} {last:?}"),
            }
        }
    }
}
