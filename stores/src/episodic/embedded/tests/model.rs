//! Random histories against a model that is a list of tasks and nothing else.

use super::*;
use crate::page::{Position, Slice, SortValue};
use proptest::prelude::*;

const QUEUES: [&str; 2] = ["post", "render"];
const STATES: [TaskState; 5] =
    [TaskState::Scheduled, TaskState::Ready, TaskState::Leased, TaskState::Completed, TaskState::Dead];

#[derive(Clone, Debug)]
enum Step {
    Enqueue {
        id: u128,
        queue: usize,
        priority: i32,
        delay: u64,
        max_attempts: u32,
        key: Option<u8>,
        window: Option<u64>,
    },
    Configure {
        queue: usize,
        change: QueueChange,
    },
    Reserve {
        queue: usize,
        count: u32,
        lease: u64,
    },
    /// Of one of the holds handed out so far.
    Heartbeat {
        hold: usize,
        lease: u64,
    },
    Settle {
        hold: usize,
        outcome: Outcome,
    },
    /// Settles one of the holds, and reserves.
    Work {
        hold: usize,
        outcome: Outcome,
        queue: usize,
        count: u32,
    },
    Replay {
        id: u128,
    },
    Pass {
        seconds: i64,
    },
    Page {
        queue: Option<usize>,
        states: Vec<TaskState>,
        limit: u32,
        backward: bool,
        cursor: Option<u128>,
    },
    Reopen,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        2 => Just(Outcome::Complete { result: None }),
        3 => Just(Outcome::Fail { error: "e".to_owned(), retryable: true }),
        1 => Just(Outcome::Fail { error: "e".to_owned(), retryable: false }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (id, queue, hold) = (|| 0..12_u128, || 0..2_usize, || 0..64_usize);
    let window = prop::option::of(prop_oneof![3 => 1..40_u64, 1 => Just(4000)]);
    let delay = prop_oneof![3 => Just(0), 2 => 1..9_u64];
    let enqueue = (id(), queue(), -1..2, delay, 1..4_u32, prop::option::of(0..3_u8), window);
    let states = prop::collection::vec(prop::sample::select(STATES.to_vec()), 0..3);
    let page = (prop::option::of(queue()), states, 1..5_u32, any::<bool>(), prop::option::of(id()));
    prop_oneof![
        8 => enqueue.prop_map(|(id, queue, priority, delay, max_attempts, key, window)| {
            Step::Enqueue { id, queue, priority, delay, max_attempts, key, window }
        }),
        8 => (queue(), 1..4_u32, 1..20_u64).prop_map(|(queue, count, lease)| Step::Reserve { queue, count, lease }),
        3 => (hold(), 1..20_u64).prop_map(|(hold, lease)| Step::Heartbeat { hold, lease }),
        7 => (hold(), outcome()).prop_map(|(hold, outcome)| Step::Settle { hold, outcome }),
        4 => (hold(), outcome(), queue(), 1..4_u32).prop_map(|(hold, outcome, queue, count)| {
            Step::Work { hold, outcome, queue, count }
        }),
        2 => (queue(), change()).prop_map(|(queue, change)| Step::Configure { queue, change }),
        3 => id().prop_map(|id| Step::Replay { id }),
        6 => prop_oneof![6 => 0..12_i64, 1 => Just(3600)].prop_map(|seconds| Step::Pass { seconds }),
        4 => page.prop_map(|(queue, states, limit, backward, cursor)| Step::Page { queue, states, limit, backward, cursor }),
        1 => Just(Step::Reopen),
    ]
}

fn change() -> impl Strategy<Value = QueueChange> {
    let limit = (1..5_u32, 1..20_u64).prop_map(|(count, per)| RateLimit { count, per: Duration::from_secs(per) });
    let paused = prop::option::of(prop_oneof![3 => Just(false), 1 => Just(true)]);
    let rate_limit = prop::option::of(prop::option::of(limit));
    (paused, rate_limit).prop_map(|(paused, rate_limit)| QueueChange { paused, rate_limit })
}

/// The model: what the documentation of the port says, with loops.
#[derive(Default)]
struct Model {
    tasks: Vec<Task>,
    /// When tries ended, in which queue, and whether well.
    ended: Vec<(DateTime<Utc>, String, bool)>,
    settings: HashMap<String, QueueSettings>,
    /// When tasks were handed out under a limit, and by which queue.
    handed: Vec<(DateTime<Utc>, String)>,
    now: DateTime<Utc>,
}

impl Model {
    fn pass(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
        let now = self.now;
        for task in &mut self.tasks {
            if task.state == TaskState::Scheduled && task.run_at <= now {
                task.state = TaskState::Ready;
            }
            if let Some(lease) = task.lease.take_if(|lease| lease.expires_at <= now) {
                task.updated_at = lease.expires_at;
                if task.attempts >= task.max_attempts {
                    task.state = TaskState::Dead;
                    task.last_error = Some("the lease of worker ended before the task did".to_owned());
                } else {
                    task.state = TaskState::Ready;
                    task.run_at = lease.expires_at;
                }
            }
        }
        let kept = TimeDelta::seconds(COMPLETED_SECONDS as i64);
        let in_window = |task: &Task| task.dedupe_until.is_some_and(|until| until > now);
        let kept = |task: &Task| task.updated_at + kept > now || in_window(task);
        self.tasks.retain(|task| task.state != TaskState::Completed || kept(task));
    }

    fn has_key(&self, queue: &str, key: &str) -> Option<&Task> {
        let open = |task: &Task| !matches!(task.state, TaskState::Completed | TaskState::Dead);
        let in_window = |task: &Task| task.dedupe_until.is_some_and(|until| until > self.now);
        let of = |task: &&Task| task.queue == queue && task.dedupe_key.as_deref() == Some(key);
        let has = |task: &&Task| of(task) && (open(task) || in_window(task));
        let mut having = self.tasks.iter().filter(has);
        let first = having.next();
        assert_eq!(having.next(), None, "a key has one task at the most");
        first
    }

    fn enqueue(&mut self, new: &NewTask) -> Enqueued {
        let same_id = self.tasks.iter().find(|task| task.id == new.id);
        let same_key = || self.has_key(&new.queue, new.dedupe_key.as_deref()?);
        if let Some(task) = same_id.or_else(same_key) {
            return Enqueued { task: task.clone(), deduplicated: true };
        }
        let task = Task {
            id: new.id,
            queue: new.queue.clone(),
            kind: new.kind.clone(),
            priority: new.priority,
            payload: new.payload.clone(),
            persona_id: None,
            campaign_id: None,
            state: if new.delay.is_zero() { TaskState::Ready } else { TaskState::Scheduled },
            attempts: 0,
            max_attempts: new.max_attempts,
            run_at: self.now + new.delay,
            lease: None,
            dedupe_key: new.dedupe_key.clone(),
            dedupe_until: new.dedupe_for.map(|window| self.now + window),
            progress: 0.0,
            last_error: None,
            result: None,
            created_at: self.now,
            updated_at: self.now,
        };
        self.tasks.push(task.clone());
        Enqueued { task, deduplicated: false }
    }

    fn settings_of(&self, queue: &str) -> QueueSettings {
        self.settings.get(queue).copied().unwrap_or_default()
    }

    fn configure(&mut self, queue: &str, change: &QueueChange) -> QueueSettings {
        let before = self.settings_of(queue);
        let after = QueueSettings {
            paused: change.paused.unwrap_or(before.paused),
            rate_limit: change.rate_limit.unwrap_or(before.rate_limit),
        };
        if after.rate_limit.is_none() {
            self.handed.retain(|(_, of)| of != queue);
        }
        self.settings.insert(queue.to_owned(), after);
        after
    }

    fn room(&self, queue: &str) -> usize {
        let settings = self.settings_of(queue);
        if settings.paused {
            return 0;
        }
        let Some(limit) = settings.rate_limit else { return usize::MAX };
        let counts = |(at, of): &&(DateTime<Utc>, String)| of == queue && *at + limit.per > self.now;
        (limit.count as usize).saturating_sub(self.handed.iter().filter(counts).count())
    }

    /// The tasks a reservation must give, as they must be given but for the tokens, which are the store's to choose.
    fn reserve(&mut self, queue: &str, count: u32, lease: Duration, given: &[Task]) -> Vec<Task> {
        let now = self.now;
        let (room, limited) = (self.room(queue), self.settings_of(queue).rate_limit.is_some());
        let mut ready: Vec<&mut Task> =
            self.tasks.iter_mut().filter(|task| task.queue == queue && task.state == TaskState::Ready).collect();
        ready.sort_by_key(|task| (-task.priority, task.run_at, task.id));
        ready.truncate(room.min(count as usize));
        if limited {
            self.handed.extend(ready.iter().map(|task| (now, task.queue.clone())));
        }
        for (index, task) in ready.iter_mut().enumerate() {
            let token = given.get(index).and_then(|task| task.lease.as_ref()).map_or(Uuid::nil(), |lease| lease.token);
            task.state = TaskState::Leased;
            task.attempts += 1;
            task.progress = 0.0;
            task.updated_at = now;
            task.lease = Some(Lease { token, worker: "worker".to_owned(), expires_at: now + lease });
        }
        ready.into_iter().map(|task| task.clone()).collect()
    }

    fn held(&mut self, held: Held) -> Option<&mut Task> {
        let holds = |task: &&mut Task| task.lease.as_ref().is_some_and(|lease| lease.token == held.token);
        self.tasks.iter_mut().filter(|task| task.id == held.task_id).find(holds)
    }

    /// `given` decides the back-off's jitter, within bounds.
    fn settle(&mut self, held: Held, outcome: &Outcome, given: Option<&Task>) -> Option<Task> {
        let now = self.now;
        let task = self.held(held)?;
        task.lease = None;
        task.updated_at = now;
        let ended = (now, task.queue.clone(), matches!(outcome, Outcome::Complete { .. }));
        match outcome {
            Outcome::Complete { result } => {
                task.state = TaskState::Completed;
                task.progress = 1.0;
                task.result = result.clone();
            }
            Outcome::Fail { error, retryable } => {
                task.last_error = Some(error.clone());
                if *retryable && task.attempts < task.max_attempts {
                    let waits = retry_delay(task.attempts);
                    let run_at = given.map(|given| given.run_at)?;
                    assert!(run_at >= now + waits.mul_f64(0.7499) && run_at <= now + waits.mul_f64(1.2501));
                    task.state = TaskState::Scheduled;
                    task.run_at = run_at;
                } else {
                    task.state = TaskState::Dead;
                }
            }
        }
        let settled = task.clone();
        self.ended.push(ended);
        Some(settled)
    }

    fn replay(&mut self, id: Uuid) -> Result<Task, ErrorKind> {
        let now = self.now;
        let task = self.tasks.iter().find(|task| task.id == id).ok_or(ErrorKind::NotFound)?;
        let owner = task.dedupe_key.as_deref().and_then(|key| self.has_key(&task.queue, key));
        let key_taken = owner.is_some_and(|owner| owner.id != id);
        if task.state != TaskState::Dead || key_taken {
            return Err(ErrorKind::Conflict);
        }
        let task = self.tasks.iter_mut().find(|task| task.id == id).ok_or(ErrorKind::NotFound)?;
        task.state = TaskState::Ready;
        task.attempts = 0;
        task.progress = 0.0;
        task.run_at = now;
        task.updated_at = now;
        Ok(task.clone())
    }

    fn stats(&self, name: &str) -> QueueStats {
        let ended = |minute| {
            let within = self.ended.iter().filter(|(at, queue, _)| queue == name && minute_of(*at) == minute);
            within.fold(Throughput::default(), |sum, (_, _, well)| {
                sum.plus(Throughput { completed: u64::from(*well), failed: u64::from(!*well) })
            })
        };
        let of = |state| self.tasks.iter().filter(move |task| task.queue == name && task.state == state);
        QueueStats {
            queue: name.to_owned(),
            scheduled: of(TaskState::Scheduled).count() as u64,
            ready: of(TaskState::Ready).count() as u64,
            leased: of(TaskState::Leased).count() as u64,
            dead: of(TaskState::Dead).count() as u64,
            completed: of(TaskState::Completed).count() as u64,
            oldest_ready_at: of(TaskState::Ready).map(|task| task.run_at).min(),
            settings: self.settings_of(name),
            last_minute: Throughput::within(self.now, 1, ended),
            last_hour: Throughput::within(self.now, 60, ended),
        }
    }

    fn page(&self, query: &TaskPageQuery) -> Page<Task> {
        let fits = |task: &&Task| {
            query.queue.as_ref().is_none_or(|queue| task.queue == *queue)
                && (query.states.is_empty() || query.states.contains(&task.state))
        };
        let mut tasks: Vec<Task> = self.tasks.iter().filter(fits).cloned().collect();
        tasks.sort_by_key(|task| std::cmp::Reverse((task.created_at, task.id)));
        query.slice.apply(tasks, true, position)
    }
}

fn position(task: &Task) -> Position {
    Position { value: SortValue::Int(task.created_at.timestamp_micros()), id: task.id }
}

struct History {
    path: std::path::PathBuf,
    clock: Arc<ManualClock>,
    store: Option<EmbeddedEpisodic>,
    model: Model,
    holds: Vec<Held>,
}

impl History {
    fn store(&self) -> &EmbeddedEpisodic {
        self.store.as_ref().unwrap()
    }

    async fn step(&mut self, step: Step) {
        let scope = scope();
        match step {
            Step::Enqueue { id, queue, priority, delay, max_attempts, key, window } => {
                let new = NewTask {
                    queue: QUEUES[queue].to_owned(),
                    priority,
                    delay: Duration::from_secs(delay),
                    max_attempts,
                    dedupe_key: key.map(|key| format!("key {key}")),
                    dedupe_for: key.and(window).map(Duration::from_secs),
                    ..task(Uuid::from_u128(id))
                };
                let given = self.store().enqueue(&scope, std::slice::from_ref(&new)).await.unwrap().remove(0).unwrap();
                assert_eq!(given, self.model.enqueue(&new));
            }
            Step::Reserve { queue, count, lease } => {
                let (queue, lease) = (QUEUES[queue], Duration::from_secs(lease));
                let given = self.store().reserve(&scope, queue, "worker", count, lease).await.unwrap();
                assert_eq!(given, self.model.reserve(queue, count, lease, &given));
                let hold = |task: &Task| Held { task_id: task.id, token: task.lease.as_ref().unwrap().token };
                self.holds.extend(given.iter().map(hold));
            }
            Step::Heartbeat { hold, lease } => {
                let Some(&held) = self.holds.iter().rev().nth(hold % self.holds.len().max(1)) else { return };
                let lease = Duration::from_secs(lease);
                let given = self.store().heartbeat(&scope, &[(held, Some(0.5))], lease).await.unwrap().remove(0);
                let now = self.model.now;
                let expected = self.model.held(held).map(|task| {
                    task.progress = 0.5;
                    task.updated_at = now;
                    task.lease.as_mut().unwrap().expires_at = now + lease;
                    task.clone()
                });
                assert_eq!(given.map_err(|error| error.kind()), expected.ok_or(ErrorKind::Conflict));
            }
            Step::Settle { hold, outcome } => {
                let Some(&held) = self.holds.iter().rev().nth(hold % self.holds.len().max(1)) else { return };
                let given = self.store().settle(&scope, &[(held, outcome.clone())]).await.unwrap().remove(0);
                let expected = self.model.settle(held, &outcome, given.as_ref().ok());
                assert_eq!(given.map_err(|error| error.kind()), expected.ok_or(ErrorKind::Conflict));
            }
            Step::Work { hold, outcome, queue, count } => {
                let (queue, lease) = (QUEUES[queue].to_owned(), Duration::from_secs(10));
                let holds = self.holds.iter().rev().nth(hold % self.holds.len().max(1));
                let outcomes: Vec<(Held, Outcome)> = holds.map(|held| (*held, outcome.clone())).into_iter().collect();
                let next = ReserveRequest { queue: queue.clone(), worker: "worker".to_owned(), count, lease };
                let (settled, given) = self.store().settle_and_reserve(&scope, &outcomes, &next).await.unwrap();
                for ((held, outcome), settled) in outcomes.iter().zip(settled) {
                    let of_queue = self.model.held(*held).is_some_and(|task| task.queue == queue);
                    let expected = of_queue.then(|| self.model.settle(*held, outcome, settled.as_ref().ok())).flatten();
                    assert_eq!(settled.map_err(|error| error.kind()), expected.ok_or(ErrorKind::Conflict));
                }
                assert_eq!(given, self.model.reserve(&queue, count, lease, &given));
                let hold = |task: &Task| Held { task_id: task.id, token: task.lease.as_ref().unwrap().token };
                self.holds.extend(given.iter().map(hold));
            }
            Step::Configure { queue, change } => {
                let given = self.store().configure_queue(&scope, QUEUES[queue], &change).await.unwrap();
                assert_eq!(given, self.model.configure(QUEUES[queue], &change));
            }
            Step::Replay { id } => {
                let id = Uuid::from_u128(id);
                let given = self.store().replay(&scope, &[id]).await.unwrap().remove(0);
                assert_eq!(given.map_err(|error| error.kind()), self.model.replay(id));
            }
            Step::Pass { seconds } => {
                self.clock.advance(TimeDelta::seconds(seconds));
                self.model.pass(seconds);
            }
            Step::Page { queue, states, limit, backward, cursor } => {
                let cursor = cursor.map(|id| {
                    let id = Uuid::from_u128(id);
                    let at = self.model.tasks.iter().find(|task| task.id == id).map(position);
                    at.unwrap_or(Position { value: SortValue::Int(self.model.now.timestamp_micros() - 1), id })
                });
                let (after, before) = if backward { (None, cursor) } else { (cursor, None) };
                let slice = Slice { limit, after, before, backward };
                let queue = queue.map(|queue| QUEUES[queue].to_owned());
                let query = TaskPageQuery { persona_id: None, campaign_id: None, queue, states, slice };
                let given = self.store().task_pages(&scope, std::slice::from_ref(&query)).await.unwrap().remove(0);
                let expected = self.model.page(&query);
                let more = |page: &Page<Task>| if backward { page.has_previous } else { page.has_next };
                assert_eq!((&given.items, more(&given)), (&expected.items, more(&expected)));
            }
            Step::Reopen => {
                self.store = None;
                self.store = Some(EmbeddedEpisodic::open(&self.path, self.clock.clone()).unwrap());
            }
        }
    }

    /// Everything that can be seen, as the model has it.
    async fn check(&self) {
        let scope = scope();
        let ids: Vec<Uuid> = (0..12).map(Uuid::from_u128).collect();
        let expected: Vec<Option<Task>> =
            ids.iter().map(|id| self.model.tasks.iter().find(|task| task.id == *id).cloned()).collect();
        assert_eq!(self.store().tasks(&scope, &ids).await.unwrap(), expected);
        let names = QUEUES.map(str::to_owned);
        assert_eq!(self.store().queues(&scope, &names).await.unwrap(), QUEUES.map(|name| self.model.stats(name)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_history_goes_as_the_model_has_it(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (path, clock) = (folder.path().join("episodic.redb"), clock());
            let store = Some(EmbeddedEpisodic::open(&path, clock.clone()).unwrap());
            let model = Model { now: clock.now(), ..Model::default() };
            let mut history = History { path, clock, store, model, holds: Vec::new() };
            for step in steps {
                history.step(step).await;
                history.check().await;
            }
        });
    }
}
