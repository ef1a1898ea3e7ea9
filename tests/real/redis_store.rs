//! The episodic store as the tests of Redis use it: through its handle and guard, as the server does, with callers that
//! remember what they were told. Nothing here knows of a fault.

use chimera_stores::{
    Address, ErrorKind, Guard, Result, Scope, Store, SystemClock,
    episodic::{Episodic, Held, NewTask, Outcome, RedisEpisodic, Task, TaskState},
};
use futures_util::StreamExt as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

pub const QUEUE: &str = "render";
pub const PREFIX: &str = "real";
/// The shortest there is.
pub const LEASE: Duration = Duration::from_secs(1);
/// Longer than any test.
pub const LONG: Duration = Duration::from_secs(3600);
/// How long the store may take to work again once its server does: its breaker rests for two seconds after a run of
/// failures, and the rest is for a busy machine.
pub const RECOVERY: Duration = Duration::from_secs(6);

/// The store at `url`, opened once and not again, whatever happens to its server.
pub async fn open(url: &str) -> Episodic {
    try_open(url).await.unwrap_or_else(|error| panic!("{}", error.chain()))
}

pub async fn try_open(url: &str) -> Result<Episodic> {
    let adapter = RedisEpisodic::open(&Address::new(url), PREFIX, Arc::new(SystemClock)).await?;
    Ok(Episodic::new(Guard::detached(Store::Episodic), Arc::new(adapter)))
}

/// The error of opening what cannot be opened.
pub async fn refusal(url: &str) -> chimera_stores::StoreError {
    match try_open(url).await {
        Ok(_) => panic!("{} was opened", Address::new(url)),
        Err(error) => error,
    }
}

pub fn scope() -> Scope {
    Scope::system(Uuid::from_u128(7))
}

pub fn task(id: Uuid) -> NewTask {
    NewTask {
        id,
        queue: QUEUE.to_owned(),
        kind: "render_video".to_owned(),
        priority: 0,
        payload: serde_json::json!({ "frames": 24 }),
        persona_id: None,
        campaign_id: None,
        delay: Duration::ZERO,
        max_attempts: 100,
        dedupe_key: None,
        dedupe_for: None,
    }
}

/// Enqueues a task of this payload.
pub async fn enqueue(store: &Episodic, payload: serde_json::Value) -> Result<Uuid> {
    let new = NewTask { payload, ..task(Uuid::now_v7()) };
    let mut enqueued = store.enqueue(&scope(), std::slice::from_ref(&new)).await?;
    enqueued.remove(0).map(|enqueued| enqueued.task.id)
}

/// Every part of the store once: a task all the way, and a session.
pub async fn round(store: &Episodic) -> Result<()> {
    let id = enqueue(store, serde_json::Value::Null).await?;
    for held in store.reserve(&scope(), QUEUE, "round", 100, LEASE).await? {
        let done = Outcome::Complete { result: None };
        store.settle(&scope(), &[(held_by(&held), done)]).await?.remove(0)?;
    }
    store.put_session(&scope(), "round", &serde_json::json!(1), LONG).await?;
    let found = store.tasks(&scope(), &[id]).await?.remove(0);
    assert!(found.is_some(), "{id} was enqueued just now");
    store.publish(&scope(), "round", &serde_json::json!(1)).await
}

/// Every call that a user of the store makes.
pub async fn everything(store: &Episodic) {
    round(store).await.unwrap();
    store.health(&scope()).await.unwrap();
    store.queues(&scope(), &[]).await.unwrap();
    let mut events = store.subscribe(&scope(), "tasks").await.unwrap();
    store.publish(&scope(), "tasks", &serde_json::json!(1)).await.unwrap();
    let event = tokio::time::timeout(RECOVERY, events.next()).await.expect("an event");
    assert!(event.is_some());
    assert!(store.session(&scope(), "round", Some(RECOVERY)).await.unwrap().is_some());
    store.end_session(&scope(), "round").await.unwrap();
}

/// Waits until a [`round`] succeeds, and answers how long that took. All failures before it are store failures with a
/// code, of the kinds `allowed`, and none takes longer than the guard allows.
pub async fn recovers(store: &Episodic, within: Duration, allowed: &[ErrorKind]) -> Duration {
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let Err(error) = round(store).await else { return begun.elapsed() };
        assert!(allowed.contains(&error.kind()), "{error:?}");
        // A round is at most five calls, each within the guard's deadline; only the last one failed.
        assert!(asked.elapsed() < Duration::from_secs(8), "a call took {:?}", asked.elapsed());
        assert!(begun.elapsed() < within, "not back after {within:?}: {error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Calls `call` until it fails with `kind` and a message with these words: it may be on its way there.
pub async fn fails<T>(
    kind: ErrorKind,
    words: &str,
    mut call: impl AsyncFnMut() -> Result<T>,
) -> chimera_stores::StoreError {
    let (begun, mut seen) = (Instant::now(), BTreeSet::new());
    loop {
        match call().await {
            Err(error) if error.kind() == kind && error.message().contains(words) => return error,
            Err(error) => drop(seen.insert(format!("{error:?}"))),
            Ok(_) => drop(seen.insert("it succeeds".to_owned())),
        }
        assert!(begun.elapsed() < RECOVERY, "no {kind:?} with {words:?}, but {seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn held_by(task: &Task) -> Held {
    Held { task_id: task.id, token: task.lease.as_ref().expect("a lease").token }
}

/// What callers were told.
#[derive(Debug, Default)]
pub struct Told {
    pub enqueued: BTreeSet<Uuid>,
    pub completed: BTreeSet<Uuid>,
    pub errors: BTreeMap<&'static str, (usize, String)>,
    pub longest: Duration,
}

impl Told {
    async fn call<T>(&mut self, call: impl Future<Output = Result<T>>) -> Option<T> {
        let asked = Instant::now();
        let result = call.await;
        self.longest = self.longest.max(asked.elapsed());
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.errors.entry(error.kind().code()).or_insert_with(|| (0, format!("{error:?}"))).0 += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                None
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.enqueued.extend(other.enqueued);
        self.completed.extend(other.completed);
        self.longest = self.longest.max(other.longest);
        for (code, (count, example)) in other.errors {
            self.errors.entry(code).or_insert((0, example)).0 += count;
        }
    }

    /// Every call that failed did so with one of these codes and in time, and some did.
    pub fn failed_with(&self, kinds: &[ErrorKind]) {
        let codes: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
        assert!(!self.errors.is_empty(), "nobody noticed the fault");
        for (code, (count, example)) in &self.errors {
            assert!(codes.contains(code), "{count} times {code}: {example}");
        }
        assert!(self.longest < Duration::from_secs(4), "a call took {:?}", self.longest);
    }

    /// The store has all that it acknowledged, and all that is open can still be worked on.
    pub async fn is_kept(&self, store: &Episodic) {
        for ids in self.enqueued.iter().copied().collect::<Vec<_>>().chunks(500) {
            for (id, task) in ids.iter().zip(store.tasks(&scope(), ids).await.unwrap()) {
                let task = task.unwrap_or_else(|| panic!("task {id} is lost"));
                let is_completed = task.state == TaskState::Completed;
                assert!(is_completed || !self.completed.contains(id), "the completion of {id} is lost: {task:?}");
            }
        }
        assert!(!self.completed.is_empty(), "nothing was completed");
        let begun = Instant::now();
        let mut open: BTreeSet<Uuid> = self.enqueued.difference(&self.completed).copied().collect();
        while !open.is_empty() {
            assert!(begun.elapsed() < RECOVERY, "{} tasks can be reserved by nobody", open.len());
            for task in store.reserve(&scope(), QUEUE, "last", 100, LONG).await.unwrap() {
                let done = (held_by(&task), Outcome::Complete { result: None });
                store.settle(&scope(), &[done]).await.unwrap().remove(0).unwrap();
            }
            let ids: Vec<Uuid> = open.iter().copied().take(500).collect();
            for task in store.tasks(&scope(), &ids).await.unwrap().into_iter().flatten() {
                if task.state == TaskState::Completed {
                    open.remove(&task.id);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Callers that enqueue, reserve and settle without a pause, and go on when they are refused.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<Told>>,
}

impl Traffic {
    pub fn start(store: &Episodic) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let call = |number| tokio::spawn(work(store.clone(), format!("caller-{number}"), stop.clone()));
        Self { callers: (0..4).map(call).collect(), stop }
    }

    pub async fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut told = Told::default();
        for caller in self.callers {
            told.add(caller.await.unwrap());
        }
        told
    }
}

async fn work(store: Episodic, name: String, stop: Arc<AtomicBool>) -> Told {
    let (mut told, scope) = (Told::default(), scope());
    while !stop.load(Ordering::Relaxed) {
        if let Some(id) = told.call(enqueue(&store, serde_json::json!(name))).await {
            told.enqueued.insert(id);
        }
        let tasks = told.call(store.reserve(&scope, QUEUE, &name, 2, LEASE)).await.unwrap_or_default();
        let done = |task: &Task| (held_by(task), Outcome::Complete { result: None });
        let outcomes: Vec<(Held, Outcome)> = tasks.iter().map(done).collect();
        for settled in told.call(store.settle(&scope, &outcomes)).await.unwrap_or_default() {
            match settled {
                Ok(task) => drop(told.completed.insert(task.id)),
                // Its lease may have ended while the server was away.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => drop(told.call(async { Err::<(), _>(error) }).await),
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    told
}

/// This test binary once more, to run the test `name` alone as a process of its own.
pub fn child(name: &str, variable: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(variable, value);
    command
}
