//! Finding the queue that has a task, for calls that name the task alone.
//!
//! First the queue that this process remembers, then the one written beside the task's id, and for what is still missing
//! all queues of the organisation. Each queue is asked by the very script that does the work, so a task whose queue is
//! known costs one round trip; a task that does not exist costs three.

use super::{
    COMPLETED_SECONDS, RedisEpisodic,
    connection::{Call, Script},
    fault,
    moment::Moment,
    reply,
};
use crate::{Result, Scope};
use ::redis::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use uuid::Uuid;

/// Items of one call of a script at the most: none holds the server up for long.
pub(super) const CHUNK: usize = 200;

/// What is asked of the queue that has a task.
pub(super) struct Ask<'a> {
    /// The script. It answers a list: for each item -1 when the task is not of this queue.
    pub(super) script: &'static Script,
    /// Arguments before those of the items.
    pub(super) head: &'a [String],
    /// Adds the arguments of an item.
    pub(super) item: &'a (dyn Fn(usize, &mut Call) + Sync),
}

/// An answer and the queue it came from.
pub(super) type Found = (Arc<str>, Value);

impl RedisEpisodic {
    /// A call of a queue's script.
    pub(super) fn call(&self, script: &'static Script, scope: &Scope, queue: &str, at: Moment) -> Call {
        Call::script(script, &self.keys.queue(scope, queue)).with(at.micros()).with(COMPLETED_SECONDS * 1_000_000)
    }

    /// Asks about each task the queue that has it; `None` for a task that no queue has.
    pub(super) async fn each_task(
        &self,
        scope: &Scope,
        at: Moment,
        ids: &[Uuid],
        ask: &Ask<'_>,
    ) -> Vec<Result<Option<Found>>> {
        let organization = scope.organization_id();
        let mut found: Vec<Option<Result<Found>>> = ids.iter().map(|_| None).collect();

        let mut guesses: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (place, id) in ids.iter().enumerate() {
            if let Some(queue) = self.known.get(organization, *id) {
                guesses.entry(queue).or_default().push(place);
            }
        }
        self.ask(scope, at, guesses, ask, &mut found).await;

        let missing = missing(&found);
        if !missing.is_empty() {
            let guesses = self.written(scope, ids, &missing, &mut found).await;
            self.ask(scope, at, guesses, ask, &mut found).await;
        }
        let missing = self::missing(&found);
        if !missing.is_empty() {
            match self.queue_names(scope).await {
                Ok(names) => {
                    let guesses = names.into_iter().map(|name| (name, missing.clone())).collect();
                    self.ask(scope, at, guesses, ask, &mut found).await;
                    self.heal(scope, ids, &missing, &found);
                }
                Err(error) => fill(&mut found, &missing, &error),
            }
        }
        for (id, found) in ids.iter().zip(&found) {
            if let Some(Ok((queue, _))) = found {
                self.known.put(organization, queue, [*id]);
            }
        }
        found.into_iter().map(Option::transpose).collect()
    }

    /// The queues that are written beside the ids.
    async fn written(
        &self,
        scope: &Scope,
        ids: &[Uuid],
        missing: &[usize],
        found: &mut [Option<Result<Found>>],
    ) -> BTreeMap<Arc<str>, Vec<usize>> {
        let of = |place: &usize| ids.get(*place).map(|id| Call::new("GET", &self.keys.task(scope, *id)));
        let calls: Vec<Call> = missing.iter().filter_map(of).collect();
        let mut guesses: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (place, answer) in missing.iter().zip(self.server.run(&calls).await) {
            match answer.and_then(reply::text) {
                Ok(Some(queue)) => guesses.entry(queue.into()).or_default().push(*place),
                Ok(None) => {}
                Err(error) => fill(found, &[*place], &error),
            }
        }
        guesses
    }

    async fn ask(
        &self,
        scope: &Scope,
        at: Moment,
        guesses: BTreeMap<Arc<str>, Vec<usize>>,
        ask: &Ask<'_>,
        found: &mut [Option<Result<Found>>],
    ) {
        let chunks: Vec<(&Arc<str>, &[usize])> =
            guesses.iter().flat_map(|(queue, places)| places.chunks(CHUNK).map(move |chunk| (queue, chunk))).collect();
        if chunks.is_empty() {
            return;
        }
        let of = |(queue, places): &(&Arc<str>, &[usize])| {
            let mut call = self.call(ask.script, scope, queue, at);
            for argument in ask.head {
                call.arg(argument);
            }
            places.iter().for_each(|place| (ask.item)(*place, &mut call));
            call
        };
        let calls: Vec<Call> = chunks.iter().map(of).collect();
        for ((queue, places), answer) in chunks.into_iter().zip(self.server.run(&calls).await) {
            match answer.and_then(reply::items) {
                Ok(answers) if answers.len() == places.len() => {
                    for (place, answer) in places.iter().zip(answers) {
                        if answer != Value::Int(-1)
                            && let Some(found) = found.get_mut(*place)
                        {
                            *found = Some(Ok((queue.clone(), answer)));
                        }
                    }
                }
                Ok(_) => fill(found, places, &fault::senseless()),
                Err(error) => fill(found, places, &error),
            }
        }
    }

    /// Writes anew beside the ids where tasks were found that were not known to be there: a node that failed may have
    /// lost it.
    fn heal(&self, scope: &Scope, ids: &[Uuid], asked: &[usize], found: &[Option<Result<Found>>]) {
        let of = |place: &usize| {
            let (id, found) = (ids.get(*place)?, found.get(*place)?);
            let Some(Ok((queue, _))) = found else { return None };
            Some(Call::new("SET", &self.keys.task(scope, *id)).with(&**queue).with("NX"))
        };
        self.later(asked.iter().filter_map(of).collect());
    }

    /// Sends calls whose answers nobody waits for, and that may get lost.
    pub(super) fn later(&self, calls: Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        let server = self.server.clone();
        tokio::spawn(async move {
            for error in server.run(&calls).await.into_iter().filter_map(Result::err) {
                tracing::debug!(error = %error.chain(), "a note beside a task was not written");
            }
        });
    }

    /// The names of all queues of an organisation.
    pub(super) async fn queue_names(&self, scope: &Scope) -> Result<BTreeSet<Arc<str>>> {
        let answer = self.server.one(self.names_call(scope)).await?;
        self.read_names(scope, answer)
    }

    /// Asks every queue of an organisation by one call each. One round trip, unless a queue has appeared since this
    /// process last asked.
    pub(super) async fn each_queue(
        &self,
        scope: &Scope,
        call: impl Fn(&str) -> Call,
    ) -> Result<Vec<(Arc<str>, Result<Value>)>> {
        let mut names: Vec<Arc<str>> = self.known.queues(scope.organization_id()).into_iter().collect();
        let mut calls = vec![self.names_call(scope)];
        calls.extend(names.iter().map(|name| call(name)));
        let mut answers = self.server.run(&calls).await.into_iter();
        let there = self.read_names(scope, answers.next().unwrap_or_else(|| Err(fault::senseless()))?)?;
        let mut all: Vec<(Arc<str>, Result<Value>)> = names.iter().cloned().zip(answers).collect();
        names = there.into_iter().filter(|name| !names.contains(name)).collect();
        if !names.is_empty() {
            let calls: Vec<Call> = names.iter().map(|name| call(name)).collect();
            all.extend(names.into_iter().zip(self.server.run(&calls).await));
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(all)
    }

    fn names_call(&self, scope: &Scope) -> Call {
        Call::new("ZRANGE", &self.keys.queues(scope)).with(0).with(-1)
    }

    fn read_names(&self, scope: &Scope, answer: Value) -> Result<BTreeSet<Arc<str>>> {
        let names = reply::items(answer)?.into_iter().map(reply::text);
        let names: BTreeSet<Arc<str>> =
            names.filter_map(Result::transpose).map(|name| name.map(Arc::from)).collect::<Result<_>>()?;
        self.known.put_queues(scope.organization_id(), names.clone());
        Ok(names)
    }
}

fn missing(found: &[Option<Result<Found>>]) -> Vec<usize> {
    found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(place, _)| place).collect()
}

fn fill(found: &mut [Option<Result<Found>>], places: &[usize], error: &crate::StoreError) {
    for place in places {
        if let Some(place) = found.get_mut(*place)
            && place.is_none()
        {
            *place = Some(Err(error.clone()));
        }
    }
}
