//! The queues of one organisation: which task goes out next, and what becomes of it.
//!
//! No timers: what the clock has brought about (a delay or a lease is over, a completed task is forgotten) is worked
//! out by [`Queues::tick`] before every decision. What it finds follows from what is on disk and the clock, so most of
//! it is not written again. A step that time has brought about is not undone when the clock jumps back: a task that was ready
//! stays ready, a lease that was lost stays lost; a lease that still runs lasts as much longer as the clock jumped.
//!
//! Every index is ordered, so that a decision about one task costs the logarithm of their number.

use super::{
    super::{
        Held, KEPT_MINUTES, Lease, NewTask, Outcome, QueueChange, QueueSettings, QueueStats, TaskPageQuery, TaskState,
        Throughput, minute_of, retry_delay,
    },
    COMPLETED_SECONDS,
    control::Control,
    journal::{Batch, PROGRESS, TASK, encode, later, senseless},
    keys::Keys,
    pages::Lists,
    task::{Body, Entry, Progress},
};
use crate::{
    error::{ErrorKind, Result, Store, StoreError},
    page::Page,
};
use chrono::{DateTime, Utc};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};
use uuid::Uuid;

const MAX_ERROR_BYTES: usize = 1024;

type Times = BTreeSet<(DateTime<Utc>, Uuid)>;

/// One queue: what can be reserved, how many there are of each state, and what is set of it.
#[derive(Default)]
struct Queue {
    control: Control,
    ready: BTreeMap<Reverse<i32>, Times>,
    counts: BTreeMap<TaskState, u64>,
}

/// The queues of one organisation.
#[derive(Default)]
pub(super) struct Queues {
    entries: HashMap<Uuid, Entry>,
    keys: Keys,
    queues: BTreeMap<String, Queue>,
    /// Every minute that is kept of a queue.
    minutes: BTreeSet<(i64, String)>,
    delayed: Times,
    leased: Times,
    completed: Times,
    lists: Lists,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.queues.is_empty()
    }

    /// What is set of a queue; there is no need for it to be there.
    pub(super) fn control(&mut self, queue: &str) -> &mut Control {
        &mut self.queues.entry(queue.to_owned()).or_default().control
    }

    /// Takes in a minute read from disk.
    pub(super) fn load_minute(&mut self, queue: &str, minute: i64, ended: Throughput) {
        self.minutes.insert((minute, queue.to_owned()));
        self.control(queue).load_minute(minute, ended);
    }

    /// Takes in a task read from disk.
    pub(super) fn load(&mut self, id: Uuid, body: Body, progress: Progress) -> Result<()> {
        if (progress.state == TaskState::Leased) != progress.lease.is_some() {
            return Err(senseless());
        }
        self.insert(Entry { id, body: body.into(), progress: progress.into(), number: 0 });
        Ok(())
    }

    /// Does what the clock has brought about.
    pub(super) fn tick(&mut self, batch: &mut Batch) -> Result<()> {
        while let Some(entry) = self.due(&self.delayed, batch.now) {
            self.replace(&entry, Progress { state: TaskState::Ready, ..(*entry.progress).clone() }, entry.number);
        }
        while let Some(entry) = self.due(&self.leased, batch.now) {
            let mut next = (*entry.progress).clone();
            let Some(lease) = next.lease.take() else { return Ok(()) };
            next.updated_at = lease.expires_at;
            let mut number = entry.number;
            if next.attempts < entry.body.max_attempts {
                next.state = TaskState::Ready;
                next.run_at = lease.expires_at;
            } else {
                next.state = TaskState::Dead;
                next.last_error = Some(format!("the lease of {} ended before the task did", lease.worker));
                // Written, unlike the other steps: another task may take over its dedupe key from here on.
                number = batch.note(PROGRESS, entry.id.as_bytes(), encode(&next)?);
            }
            self.replace(&entry, next, number);
        }
        while let Some(entry) = self.due(&self.completed, batch.now) {
            self.take_out(&entry);
            batch.forget(TASK, entry.id.as_bytes());
            batch.forget(PROGRESS, entry.id.as_bytes());
        }
        // Last: a lease that ended a moment ago may have made a task dead whose window is over as well.
        self.keys.tick(batch.now);
        self.forget_minutes(batch);
        Ok(())
    }

    fn forget_minutes(&mut self, batch: &mut Batch) {
        let oldest = minute_of(batch.now) - KEPT_MINUTES;
        while self.minutes.first().is_some_and(|(minute, _)| *minute < oldest) {
            let Some((minute, queue)) = self.minutes.pop_first() else { return };
            self.control(&queue).forget_minute(batch, &queue, minute);
            self.drop_if_idle(&queue);
        }
    }

    /// See the port. `bytes` is the encoded body, made before the lock was taken; tells whether the task was there before.
    pub(super) fn enqueue(
        &mut self,
        batch: &mut Batch,
        task: &NewTask,
        body: Body,
        bytes: Vec<u8>,
    ) -> Result<(Entry, bool)> {
        let same_key = task.dedupe_key.as_ref().and_then(|key| self.keys.get(&task.queue, key));
        if let Some(entry) = self.entries.get(&task.id).or_else(|| self.entries.get(same_key?)) {
            batch.tells_of(entry.number);
            return Ok((entry.clone(), true));
        }
        let progress = Progress::new(task, batch.now);
        let encoded = encode(&progress)?;
        batch.put(TASK, task.id.as_bytes(), bytes);
        let number = batch.put(PROGRESS, task.id.as_bytes(), encoded);
        let entry = Entry { id: task.id, body: body.into(), progress: progress.into(), number };
        self.insert(entry.clone());
        Ok((entry, false))
    }

    /// See the port.
    pub(super) fn reserve(
        &mut self,
        batch: &mut Batch,
        queue: &str,
        worker: &str,
        count: u32,
        lease: Duration,
    ) -> Result<Vec<Entry>> {
        let Some(Queue { control, ready, .. }) = self.queues.get_mut(queue) else { return Ok(Vec::new()) };
        let room = control.room(batch, queue, count)?;
        let next = ready.values().flatten().filter_map(|(_, id)| self.entries.get(id));
        let chosen: Vec<Entry> = next.take(room as usize).cloned().collect();
        control.hand_out(batch, queue, u32::try_from(chosen.len()).unwrap_or(room))?;
        let hold = |entry: Entry| {
            let lease = Lease {
                token: uuid::Builder::from_random_bytes(rand::random()).into_uuid(),
                worker: worker.to_owned(),
                expires_at: later(batch.now, lease),
            };
            let mut next = (*entry.progress).clone();
            next.state = TaskState::Leased;
            next.attempts = next.attempts.saturating_add(1);
            next.lease = Some(lease);
            next.progress = 0.0;
            self.write(batch, &entry, next)
        };
        chosen.into_iter().map(hold).collect()
    }

    /// See the port.
    pub(super) fn heartbeat(
        &mut self,
        batch: &mut Batch,
        held: Held,
        progress: Option<f32>,
        lease: Duration,
    ) -> Result<Entry> {
        let (entry, mut next) = self.held(held)?;
        if let Some(lease_now) = &mut next.lease {
            lease_now.expires_at = later(batch.now, lease);
        }
        next.progress = progress.unwrap_or(next.progress);
        self.write(batch, &entry, next)
    }

    /// See the port. With `queue`, only tasks of this queue are taken as held.
    pub(super) fn settle(
        &mut self,
        batch: &mut Batch,
        outcomes: &[(Held, Outcome)],
        queue: Option<&str>,
    ) -> Result<Vec<Result<Entry>>> {
        let mut ended: BTreeMap<String, Throughput> = BTreeMap::new();
        let mut settled = Vec::with_capacity(outcomes.len());
        for (held, outcome) in outcomes {
            let result = self.settle_one(batch, *held, outcome, queue);
            if let Ok(entry) = &result {
                let count = match outcome {
                    Outcome::Complete { .. } => Throughput { completed: 1, failed: 0 },
                    Outcome::Fail { .. } => Throughput { completed: 0, failed: 1 },
                };
                let sum = ended.entry(entry.body.queue.clone()).or_default();
                *sum = sum.plus(count);
            }
            settled.push(result);
        }
        for (queue, ended) in ended {
            let minute = self.control(&queue).measure(batch, &queue, ended)?;
            self.minutes.insert((minute, queue));
        }
        Ok(settled)
    }

    fn settle_one(&mut self, batch: &mut Batch, held: Held, outcome: &Outcome, queue: Option<&str>) -> Result<Entry> {
        let (entry, mut next) = self.held(held)?;
        if queue.is_some_and(|queue| entry.body.queue != queue) {
            return Err(StoreError::conflict(Store::Episodic, "the task is not one of this queue"));
        }
        next.lease = None;
        match outcome {
            Outcome::Complete { result } => {
                next.state = TaskState::Completed;
                next.progress = 1.0;
                next.result = result.clone();
            }
            Outcome::Fail { error, retryable } => {
                next.last_error = Some(cut(error).to_owned());
                if *retryable && next.attempts < entry.body.max_attempts {
                    next.state = TaskState::Scheduled;
                    next.run_at = later(batch.now, retry_delay(next.attempts).mul_f64(rand::random_range(0.75..=1.25)));
                } else {
                    next.state = TaskState::Dead;
                }
            }
        }
        self.write(batch, &entry, next)
    }

    /// See the port.
    pub(super) fn replay(&mut self, batch: &mut Batch, id: Uuid) -> Result<Entry> {
        let entry = self
            .entries
            .get(&id)
            .ok_or_else(|| StoreError::new(Store::Episodic, ErrorKind::NotFound, "there is no such task"))?
            .clone();
        if entry.progress.state != TaskState::Dead {
            return Err(StoreError::conflict(Store::Episodic, "the task is not dead"));
        }
        let owner = entry.body.dedupe_key.as_ref().and_then(|key| self.keys.get(&entry.body.queue, key));
        if owner.is_some_and(|owner| *owner != id) {
            return Err(StoreError::conflict(Store::Episodic, "another task has its dedupe key by now"));
        }
        let mut next = (*entry.progress).clone();
        next.state = TaskState::Ready;
        next.attempts = 0;
        next.run_at = batch.now;
        next.progress = 0.0;
        self.write(batch, &entry, next)
    }

    /// The task, when there is one.
    pub(super) fn get(&self, batch: &mut Batch, id: Uuid) -> Option<Entry> {
        let entry = self.entries.get(&id)?;
        batch.tells_of(entry.number);
        Some(entry.clone())
    }

    /// See the port.
    pub(super) fn page(&self, batch: &mut Batch, query: &TaskPageQuery) -> Result<Page<Entry>> {
        let page = self.lists.page(query, |id| self.entries.get(id))?;
        page.items.iter().for_each(|entry| batch.tells_of(entry.number));
        Ok(page)
    }

    /// See the port.
    pub(super) fn stats(&self, batch: &mut Batch, names: &[String]) -> Vec<QueueStats> {
        if names.is_empty() {
            let shown = self.queues.iter().filter(|(_, queue)| !queue.counts.is_empty() || queue.control.is_set());
            return shown.map(|(name, queue)| queue.stats(batch, name)).collect();
        }
        let empty = Queue::default();
        names.iter().map(|name| self.queues.get(name).unwrap_or(&empty).stats(batch, name)).collect()
    }

    /// See the port.
    pub(super) fn configure(&mut self, batch: &mut Batch, queue: &str, change: &QueueChange) -> Result<QueueSettings> {
        let settings = self.control(queue).configure(batch, queue, change);
        self.drop_if_idle(queue);
        settings
    }

    /// The first of `times` that is not after `now`.
    fn due(&self, times: &Times, now: DateTime<Utc>) -> Option<Entry> {
        let (at, id) = times.first()?;
        if *at > now { None } else { self.entries.get(id).cloned() }
    }

    fn held(&self, held: Held) -> Result<(Entry, Progress)> {
        let entry = self
            .entries
            .get(&held.task_id)
            .filter(|entry| entry.progress.lease.as_ref().is_some_and(|lease| lease.token == held.token));
        let lost = || StoreError::conflict(Store::Episodic, "the task is not held under this token");
        entry.map(|entry| (entry.clone(), (*entry.progress).clone())).ok_or_else(lost)
    }

    fn write(&mut self, batch: &mut Batch, entry: &Entry, mut next: Progress) -> Result<Entry> {
        next.updated_at = batch.now;
        let number = batch.put(PROGRESS, entry.id.as_bytes(), encode(&next)?);
        Ok(self.replace(entry, next, number))
    }

    fn replace(&mut self, entry: &Entry, next: Progress, number: u64) -> Entry {
        self.take_out(entry);
        let next = entry.step(next, number);
        self.insert(next.clone());
        next
    }

    fn insert(&mut self, entry: Entry) {
        let progress = &*entry.progress;
        self.keys.insert(&entry);
        let queue = self.queues.entry(entry.body.queue.clone()).or_default();
        *queue.counts.entry(progress.state).or_default() += 1;
        if progress.state == TaskState::Ready {
            queue.ready.entry(Reverse(entry.body.priority)).or_default().insert((progress.run_at, entry.id));
        }
        if let Some((times, at)) = self.times(&entry) {
            times.insert((at, entry.id));
        }
        self.lists.insert(&entry);
        self.entries.insert(entry.id, entry);
    }

    fn take_out(&mut self, entry: &Entry) {
        self.keys.remove(entry);
        if let Some(queue) = self.queues.get_mut(&entry.body.queue) {
            queue.take_out(entry);
        }
        self.drop_if_idle(&entry.body.queue);
        if let Some((times, at)) = self.times(entry) {
            times.remove(&(at, entry.id));
        }
        self.lists.remove(entry);
        self.entries.remove(&entry.id);
    }

    /// Where the clock will look for a task, and when.
    fn times(&mut self, entry: &Entry) -> Option<(&mut Times, DateTime<Utc>)> {
        let progress = &*entry.progress;
        match progress.state {
            TaskState::Scheduled => Some((&mut self.delayed, progress.run_at)),
            TaskState::Leased => Some((&mut self.leased, progress.lease.as_ref()?.expires_at)),
            TaskState::Completed => {
                let forgotten = later(progress.updated_at, Duration::from_secs(COMPLETED_SECONDS));
                Some((&mut self.completed, entry.dedupe_until().map_or(forgotten, |until| until.max(forgotten))))
            }
            TaskState::Ready | TaskState::Dead => None,
        }
    }

    /// Forgets a queue that has neither tasks nor settings, and in which nothing ended lately.
    fn drop_if_idle(&mut self, name: &str) {
        if self.queues.get(name).is_some_and(|queue| queue.counts.is_empty() && queue.control.is_idle()) {
            self.queues.remove(name);
        }
    }
}

impl Queue {
    fn take_out(&mut self, entry: &Entry) {
        let (state, priority) = (entry.progress.state, Reverse(entry.body.priority));
        if let Some(count) = self.counts.get_mut(&state) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&state);
            }
        }
        if state == TaskState::Ready
            && let Some(ready) = self.ready.get_mut(&priority)
        {
            ready.remove(&(entry.progress.run_at, entry.id));
            if ready.is_empty() {
                self.ready.remove(&priority);
            }
        }
    }

    fn stats(&self, batch: &mut Batch, name: &str) -> QueueStats {
        let (last_minute, last_hour) = self.control.throughput(batch.now);
        let count = |state| self.counts.get(&state).copied().unwrap_or(0);
        QueueStats {
            queue: name.to_owned(),
            scheduled: count(TaskState::Scheduled),
            ready: count(TaskState::Ready),
            leased: count(TaskState::Leased),
            dead: count(TaskState::Dead),
            completed: count(TaskState::Completed),
            oldest_ready_at: self.ready.values().filter_map(|ready| ready.first()).map(|(at, _)| *at).min(),
            settings: self.control.settings(batch),
            last_minute,
            last_hour,
        }
    }
}

/// As much of a failure's text as is kept, whole characters only.
fn cut(error: &str) -> &str {
    error.get(..error.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or(error)
}
