//! The queues. Every change of a task is one script on the keys of its queue, so it happens whole or not at all, and no
//! task goes to two workers; see `scripts/queue.lua` for the keys.
//!
//! Beside the queues, in slots of their own and so not changed together with them: which queue has a task, written before
//! the task and forgotten some time after it; and the names of an organisation's queues.

use super::{
    super::{
        Enqueued, Held, NewTask, Outcome, QueueAdapter, QueueChange, QueueSettings, QueueStats, ReserveRequest, Task,
        TaskPageQuery, TaskState,
    },
    COMPLETED_SECONDS, RedisEpisodic,
    connection::{Call, Script, script},
    fault,
    locate::{Ask, CHUNK, Found},
    moment::Moment,
    reply, task,
};
use crate::{
    Page, Result, Scope,
    error::{ErrorKind, Store, StoreError},
};
use ::redis::Value;
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

static ENQUEUE: Script = script!("queue.lua", "enqueue.lua");
static RESERVE: Script = script!("full.lua", "queue.lua", "handing.lua", "reserve.lua");
static HEARTBEAT: Script = script!("full.lua", "queue.lua", "heartbeat.lua");
static SETTLE: Script = script!("full.lua", "queue.lua", "ending.lua", "settle.lua");
static WORK: Script = script!("full.lua", "queue.lua", "ending.lua", "handing.lua", "work.lua");
static REPLAY: Script = script!("full.lua", "queue.lua", "replay.lua");
static TASKS: Script = script!("full.lua", "queue.lua", "tasks.lua");
static CLAIM: Script = script!("claim.lua");

/// How much of a failure's text is kept.
const MAX_ERROR_BYTES: usize = 1024;
/// How long it stays written which queue had a task, once it is done: as long as the task itself, and an hour.
const NOTE_MILLIS: i64 = (COMPLETED_SECONDS as i64 + 3600) * 1000;

/// What is known of the id of a task that is to be enqueued.
enum Claim {
    /// Nobody had it.
    Fresh,
    /// The same queue has, or had, a task of this id.
    Own,
    /// Another queue has, or had.
    Foreign(String),
}

impl RedisEpisodic {
    /// Writes beside each id which queue has it, unless one has already; and that the queues are in use.
    async fn claim(&self, scope: &Scope, at: Moment, tasks: &[NewTask]) -> Result<Vec<Result<Claim>>> {
        let of = |task: &NewTask| {
            Call::new("SET", &self.keys.task(scope, task.id)).with(task.queue.as_str()).with("NX").with("GET")
        };
        let mut calls: Vec<Call> = tasks.iter().map(of).collect();
        let names: BTreeSet<&str> = tasks.iter().map(|task| task.queue.as_str()).collect();
        calls.push(self.list(scope, at, names));
        let mut answers = self.server.run(&calls).await;
        answers.pop().unwrap_or_else(|| Err(fault::senseless()))?;
        let read = |(task, answer): (&NewTask, Result<Value>)| {
            Ok(match reply::text(answer?)? {
                None => Claim::Fresh,
                Some(queue) if queue == task.queue => Claim::Own,
                Some(queue) => Claim::Foreign(queue),
            })
        };
        Ok(tasks.iter().zip(answers).map(read).collect())
    }

    /// Puts those of `tasks` into their queues that are named by their places.
    async fn insert(
        &self,
        scope: &Scope,
        at: Moment,
        tasks: &[NewTask],
        places: &[usize],
        enqueued: &mut [Option<Result<Enqueued>>],
    ) {
        let mut queues: BTreeMap<&str, Vec<(usize, &NewTask)>> = BTreeMap::new();
        for place in places {
            if let Some(task) = tasks.get(*place) {
                queues.entry(&task.queue).or_default().push((*place, task));
            }
        }
        let chunks: Vec<&[(usize, &NewTask)]> = queues.values().flat_map(|tasks| tasks.chunks(CHUNK)).collect();
        let of = |chunk: &&[(usize, &NewTask)]| {
            let queue = chunk.first().map_or("", |(_, task)| &task.queue);
            let mut call = self.call(&ENQUEUE, scope, queue, at);
            chunk.iter().try_for_each(|(_, task)| arguments(&mut call, task, at)).map(|()| call)
        };
        let calls = match chunks.iter().map(of).collect::<Result<Vec<Call>>>() {
            Ok(calls) => calls,
            Err(error) => return fill(enqueued, places.iter().copied(), &error),
        };
        for (chunk, answer) in chunks.into_iter().zip(self.server.run(&calls).await) {
            match answer.and_then(reply::items) {
                Ok(answers) if answers.len() == chunk.len() => {
                    for ((place, task), answer) in chunk.iter().zip(answers) {
                        if let Some(enqueued) = enqueued.get_mut(*place) {
                            *enqueued = Some(read_enqueued(task, answer, at));
                        }
                    }
                }
                Ok(_) => fill(enqueued, chunk.iter().map(|(place, _)| *place), &fault::senseless()),
                Err(error) => fill(enqueued, chunk.iter().map(|(place, _)| *place), &error),
            }
        }
    }

    /// Answers for ids that another queue has: its task, or, when it has none any more, the id is taken over.
    async fn foreign(
        &self,
        scope: &Scope,
        at: Moment,
        tasks: &[NewTask],
        foreign: &[(usize, String)],
        enqueued: &mut [Option<Result<Enqueued>>],
    ) {
        let ids: Vec<Uuid> = foreign.iter().filter_map(|(place, _)| tasks.get(*place)).map(|task| task.id).collect();
        let (mut takes, mut takers) = (Vec::new(), Vec::new());
        for ((place, queue), found) in foreign.iter().zip(self.find(scope, at, &ids).await) {
            let Some(task) = tasks.get(*place) else { continue };
            let result = match found {
                Ok(Some(task)) => Ok(Enqueued { task, deduplicated: true }),
                Ok(None) => {
                    takes.push(Call::script(&CLAIM, &self.keys.task(scope, task.id)).with(queue).with(&task.queue));
                    takers.push(*place);
                    continue;
                }
                Err(error) => Err(error),
            };
            if let Some(place) = enqueued.get_mut(*place) {
                *place = Some(result);
            }
        }
        let mut taken = Vec::new();
        for (place, answer) in takers.into_iter().zip(self.server.run(&takes).await) {
            match answer.and_then(reply::number) {
                Ok(1) => taken.push(place),
                Ok(_) => {
                    let message = "a task of this id is being enqueued in another queue";
                    fill(enqueued, [place], &StoreError::conflict(Store::Episodic, message));
                }
                Err(error) => fill(enqueued, [place], &error),
            }
        }
        self.insert(scope, at, tasks, &taken, enqueued).await;
    }

    async fn find(&self, scope: &Scope, at: Moment, ids: &[Uuid]) -> Vec<Result<Option<Task>>> {
        let of = |place: usize, call: &mut Call| {
            call.arg(simple(ids.get(place)));
        };
        let found = self.each_task(scope, at, ids, &Ask { script: &TASKS, head: &[], item: &of }).await;
        let read = |(queue, answer): Found| task::read(answer, &queue);
        found.into_iter().map(|found| found?.map(read).transpose()).collect()
    }

    /// The tasks that were handed to a worker.
    fn handed(&self, scope: &Scope, queue: &str, answer: Value) -> Result<Vec<Task>> {
        let read = |answer| task::read(answer, queue);
        let tasks = reply::items(answer)?.into_iter().map(read).collect::<Result<Vec<Task>>>()?;
        self.known.put(scope.organization_id(), queue, tasks.iter().map(|task| task.id));
        Ok(tasks)
    }

    /// Tries have ended: what is written beside the tasks that are done is let go, in time.
    fn settled(&self, scope: &Scope, settled: &[Result<Task>]) {
        let now = self.clock.now();
        let done = settled.iter().flatten().filter(|task| task.state == TaskState::Completed);
        let window = |task: &Task| {
            let left = task.dedupe_until.map_or(0, |until| (until - now).num_milliseconds());
            Call::new("PEXPIRE", &self.keys.task(scope, task.id)).with(left.max(0) + NOTE_MILLIS)
        };
        self.later(done.map(window).collect());
    }

    /// Lets what is written beside the ids of tasks that are gone, or soon will be, be forgotten.
    fn release(&self, scope: &Scope, ids: impl Iterator<Item = Uuid>) {
        self.later(ids.map(|id| Call::new("PEXPIRE", &self.keys.task(scope, id)).with(NOTE_MILLIS)).collect());
    }
}

#[async_trait]
impl QueueAdapter for RedisEpisodic {
    async fn enqueue(&self, scope: &Scope, tasks: &[NewTask]) -> Result<Vec<Result<Enqueued>>> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let at = self.moment();
        let mut enqueued: Vec<Option<Result<Enqueued>>> = tasks.iter().map(|_| None).collect();
        let (mut own, mut foreign, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (place, claim) in self.claim(scope, at, tasks).await?.into_iter().enumerate() {
            match claim {
                Ok(Claim::Fresh) => own.push(place),
                Ok(Claim::Own) => {
                    own.push(place);
                    kept.extend(tasks.get(place).map(|task| Call::new("PERSIST", &self.keys.task(scope, task.id))));
                }
                Ok(Claim::Foreign(queue)) => foreign.push((place, queue)),
                Err(error) => fill(&mut enqueued, [place], &error),
            }
        }
        if !kept.is_empty() {
            self.server.run(&kept).await.into_iter().collect::<Result<Vec<_>>>()?;
        }
        self.insert(scope, at, tasks, &own, &mut enqueued).await;
        if !foreign.is_empty() {
            self.foreign(scope, at, tasks, &foreign, &mut enqueued).await;
        }
        let organization = scope.organization_id();
        let mut unused = Vec::new();
        for (task, enqueued) in tasks.iter().zip(&enqueued) {
            let Some(Ok(enqueued)) = enqueued else { continue };
            self.known.put(organization, &enqueued.task.queue, [enqueued.task.id]);
            if enqueued.task.id != task.id {
                unused.push(task.id);
            }
        }
        self.release(scope, unused.into_iter());
        whole(enqueued.into_iter().map(|result| result.unwrap_or_else(|| Err(fault::senseless()))).collect())
    }

    async fn reserve(
        &self,
        scope: &Scope,
        queue: &str,
        worker: &str,
        count: u32,
        lease: Duration,
    ) -> Result<Vec<Task>> {
        let at = self.moment();
        loop {
            let mut call = self.call(&RESERVE, scope, queue, at).with(worker).with(at.later(lease).timestamp_micros());
            for _ in 0..count {
                call.arg(simple(Some(&token())));
            }
            let answer = self.server.one(call).await?;
            if answer != Value::Nil {
                return self.handed(scope, queue, answer);
            }
        }
    }

    async fn heartbeat(
        &self,
        scope: &Scope,
        held: &[(Held, Option<f32>)],
        lease: Duration,
    ) -> Result<Vec<Result<Task>>> {
        let at = self.moment();
        let ids: Vec<Uuid> = held.iter().map(|(held, _)| held.task_id).collect();
        let of = |place: usize, call: &mut Call| {
            let Some((held, progress)) = held.get(place) else { return };
            call.arg(simple(Some(&held.task_id))).arg(simple(Some(&held.token)));
            call.arg(progress.map_or_else(String::new, |progress| progress.to_string()));
        };
        let head = [at.later(lease).timestamp_micros().to_string()];
        let found = self.each_task(scope, at, &ids, &Ask { script: &HEARTBEAT, head: &head, item: &of }).await;
        whole(found.into_iter().map(|found| still_held(found?)).collect())
    }

    async fn settle(&self, scope: &Scope, outcomes: &[(Held, Outcome)]) -> Result<Vec<Result<Task>>> {
        let at = self.moment();
        let ids: Vec<Uuid> = outcomes.iter().map(|(held, _)| held.task_id).collect();
        let of = |place: usize, call: &mut Call| {
            if let Some((held, outcome)) = outcomes.get(place) {
                settlement(call, held, outcome);
            }
        };
        let head = [simple(Some(&token()))];
        let found = self.each_task(scope, at, &ids, &Ask { script: &SETTLE, head: &head, item: &of }).await;
        let settled: Vec<Result<Task>> = found.into_iter().map(|found| still_held(found?)).collect();
        self.settled(scope, &settled);
        whole(settled)
    }

    async fn settle_and_reserve(
        &self,
        scope: &Scope,
        outcomes: &[(Held, Outcome)],
        next: &ReserveRequest,
    ) -> Result<(Vec<Result<Task>>, Vec<Task>)> {
        let at = self.moment();
        let ReserveRequest { queue, worker, count, lease } = next;
        let mut call = self.call(&WORK, scope, queue, at).with(worker).with(at.later(*lease).timestamp_micros());
        call.arg(simple(Some(&token()))).arg(*count);
        for _ in 0..*count {
            call.arg(simple(Some(&token())));
        }
        for (held, outcome) in outcomes {
            settlement(&mut call, held, outcome);
        }
        let mut answer = reply::Reader::new(self.server.one(call).await?)?;
        let (settled, reserved) = (reply::items(answer.next()?)?, answer.next()?);
        let queue_name: Arc<str> = queue.as_str().into();
        let read = |answer| match answer {
            Value::Int(-1) => still_held(None),
            answer => still_held(Some((queue_name.clone(), answer))),
        };
        let settled: Vec<Result<Task>> = settled.into_iter().map(read).collect();
        self.settled(scope, &settled);
        let reserved = match reserved {
            Value::Nil => self.reserve(scope, queue, worker, *count, *lease).await?,
            answer => self.handed(scope, queue, answer)?,
        };
        Ok((settled, reserved))
    }

    async fn replay(&self, scope: &Scope, task_ids: &[Uuid]) -> Result<Vec<Result<Task>>> {
        let of = |place: usize, call: &mut Call| {
            call.arg(simple(task_ids.get(place)));
        };
        let ask = Ask { script: &REPLAY, head: &[], item: &of };
        let read = |found: Result<Option<Found>>| match found? {
            None => Err(StoreError::new(Store::Episodic, ErrorKind::NotFound, "there is no such task")),
            Some((_, Value::Int(0))) => Err(StoreError::conflict(Store::Episodic, "the task is not dead")),
            Some((_, Value::Int(_))) => {
                Err(StoreError::conflict(Store::Episodic, "another task has its dedupe key by now"))
            }
            Some((queue, answer)) => task::read(answer, &queue),
        };
        whole(self.each_task(scope, self.moment(), task_ids, &ask).await.into_iter().map(read).collect())
    }

    async fn tasks(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<Task>>> {
        self.find(scope, self.moment(), ids).await.into_iter().collect()
    }

    async fn task_pages(&self, scope: &Scope, queries: &[TaskPageQuery]) -> Result<Vec<Page<Task>>> {
        self.pages(scope, queries).await
    }

    async fn queues(&self, scope: &Scope, names: &[String]) -> Result<Vec<QueueStats>> {
        self.stats(scope, names).await
    }

    async fn configure_queue(&self, scope: &Scope, queue: &str, change: &QueueChange) -> Result<QueueSettings> {
        self.configure(scope, queue, change).await
    }
}

fn token() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

fn simple(id: Option<&Uuid>) -> String {
    id.map(|id| id.simple().to_string()).unwrap_or_default()
}

fn arguments(call: &mut Call, new: &NewTask, at: Moment) -> Result<()> {
    call.arg(simple(Some(&new.id))).arg(new.priority).arg(task::code(task::first_state(new)));
    call.arg(at.later(new.delay).timestamp_micros()).arg(new.max_attempts);
    call.arg(new.dedupe_key.as_deref().unwrap_or_default());
    call.arg(new.dedupe_for.map(|window| at.later(window).timestamp_micros().to_string()).unwrap_or_default());
    call.arg(simple(new.persona_id.as_ref())).arg(simple(new.campaign_id.as_ref())).arg(task::body(new)?);
    Ok(())
}

fn read_enqueued(new: &NewTask, answer: Value, at: Moment) -> Result<Enqueued> {
    match answer {
        Value::Int(_) => Ok(Enqueued { task: task::made(new, at), deduplicated: false }),
        // By its id or its dedupe key, it is of the same queue.
        answer => Ok(Enqueued { task: task::read(answer, &new.queue)?, deduplicated: true }),
    }
}

fn settlement(call: &mut Call, held: &Held, outcome: &Outcome) {
    call.arg(simple(Some(&held.task_id))).arg(simple(Some(&held.token)));
    match outcome {
        Outcome::Complete { result: Some(result) } => call.arg("c").arg(result.to_string()),
        Outcome::Complete { result: None } => call.arg("n").arg(""),
        Outcome::Fail { error, retryable } => call.arg(if *retryable { "f" } else { "d" }).arg(cut(error)),
    };
    call.arg(rand::random_range(0.75..=1.25_f64));
}

/// As much of a failure's text as is kept, whole characters only.
fn cut(error: &str) -> &str {
    error.get(..error.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or(error)
}

fn still_held(found: Option<Found>) -> Result<Task> {
    match found {
        Some((queue, answer)) if answer != Value::Int(0) => task::read(answer, &queue),
        _ => Err(StoreError::conflict(Store::Episodic, "the task is not held under this token")),
    }
}

fn fill(enqueued: &mut [Option<Result<Enqueued>>], places: impl IntoIterator<Item = usize>, error: &StoreError) {
    for place in places {
        if let Some(place) = enqueued.get_mut(place) {
            *place = Some(Err(error.clone()));
        }
    }
}

/// When all failed because the store did, the call failed: the guard counts that, and may try again.
fn whole<T>(results: Vec<Result<T>>) -> Result<Vec<Result<T>>> {
    let faulty = |result: &Result<T>| result.as_ref().is_err_and(|error| error.kind().is_store_fault());
    if !results.is_empty() && results.iter().all(faulty) {
        return results.into_iter().collect::<Result<Vec<T>>>().map(|_| Vec::new());
    }
    Ok(results)
}
