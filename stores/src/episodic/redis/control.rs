//! What there is of a queue besides its tasks: its settings, how tries ended lately, and its place in the list of queues.

use super::{
    super::{QueueChange, QueueSettings, QueueStats, RateLimit, Throughput},
    RedisEpisodic,
    connection::{Call, Script, script},
    fault,
    moment::Moment,
    reply::{self, Reader},
};
use crate::{Result, Scope};
use ::redis::Value;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

static STATS: Script = script!("full.lua", "queue.lua", "stats.lua");
static CONFIGURE: Script = script!("queue.lua", "configure.lua");
static UNLIST: Script = script!("unlist.lua");

/// A queue that nothing was enqueued in nor set of for this long, and that is empty, leaves the list.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

impl RedisEpisodic {
    /// Notes that these queues are in use.
    pub(super) fn list(&self, scope: &Scope, at: Moment, names: BTreeSet<&str>) -> Call {
        let mut call = Call::new("ZADD", &self.keys.queues(scope)).with("GT");
        for name in names {
            call = call.with(at.0.timestamp_millis()).with(name);
        }
        call
    }

    /// The state of the named queues, or of all that have tasks or settings.
    pub(super) async fn stats(&self, scope: &Scope, names: &[String]) -> Result<Vec<QueueStats>> {
        let at = self.moment();
        let call = |name: &str| self.call(&STATS, scope, name, at);
        let answers: Vec<(String, Result<Value>)> = if names.is_empty() {
            let all = self.each_queue(scope, call).await?;
            all.into_iter().map(|(name, answer)| (name.to_string(), answer)).collect()
        } else {
            let calls: Vec<Call> = names.iter().map(|name| call(name)).collect();
            names.iter().cloned().zip(self.server.run(&calls).await).collect()
        };
        let mut stats = Vec::with_capacity(answers.len());
        for (name, answer) in answers {
            let mut answer = answer?;
            while answer == Value::Nil {
                answer = self.server.one(call(&name)).await?;
            }
            stats.push(read_stats(name, answer, at)?);
        }
        if names.is_empty() {
            let (empty, shown): (Vec<_>, Vec<_>) = stats.into_iter().partition(is_empty);
            let unused = at.earlier(UNUSED).timestamp_millis();
            let unlist =
                |stats: QueueStats| Call::script(&UNLIST, &self.keys.queues(scope)).with(stats.queue).with(unused);
            self.later(empty.into_iter().map(unlist).collect());
            stats = shown;
        }
        Ok(stats)
    }

    /// Changes a queue's settings.
    pub(super) async fn configure(&self, scope: &Scope, queue: &str, change: &QueueChange) -> Result<QueueSettings> {
        let at = self.moment();
        // First, so that a queue with settings is never missing in the list.
        self.server.one(self.list(scope, at, BTreeSet::from([queue]))).await?;
        let paused = change.paused.map_or("", |paused| if paused { "1" } else { "0" });
        let (count, per) = match change.rate_limit {
            None => (String::new(), String::new()),
            Some(None) => ("0".to_owned(), String::new()),
            Some(Some(RateLimit { count, per })) => (count.to_string(), per.as_nanos().to_string()),
        };
        let call = self.call(&CONFIGURE, scope, queue, at).with(paused).with(count).with(per);
        read_settings(self.server.one(call).await?)
    }
}

fn is_empty(stats: &QueueStats) -> bool {
    let tasks = [stats.scheduled, stats.ready, stats.leased, stats.dead, stats.completed];
    tasks.iter().all(|count| *count == 0) && stats.settings == QueueSettings::default()
}

fn read_settings(answer: Value) -> Result<QueueSettings> {
    let mut settings = Reader::new(answer)?;
    let paused = settings.text()?.is_some_and(|paused| paused == "1");
    let rate_limit = match (settings.text()?, settings.text()?) {
        (Some(count), per) => {
            let per = Duration::from_nanos(reply::parse(per)?);
            Some(RateLimit { count: reply::parse(Some(count))?, per })
        }
        (None, _) => None,
    };
    Ok(QueueSettings { paused, rate_limit })
}

fn read_minutes(answer: Value) -> Result<HashMap<i64, Throughput>> {
    let mut minutes: HashMap<i64, Throughput> = HashMap::new();
    for (field, count) in reply::pairs(answer)? {
        let field = reply::text(field)?.unwrap_or_default();
        let (minute, kind) = field.split_once(':').ok_or_else(|| fault::corrupt("a minute has no kind"))?;
        let minute = minutes.entry(reply::parse(Some(minute.to_owned()))?).or_default();
        let count = reply::parse(reply::text(count)?)?;
        match kind {
            "c" => minute.completed = count,
            _ => minute.failed = count,
        }
    }
    Ok(minutes)
}

fn read_stats(queue: String, answer: Value, at: Moment) -> Result<QueueStats> {
    let mut parts = Reader::new(answer)?;
    let (scheduled, ready, leased) = (parts.parse()?, parts.parse()?, parts.parse()?);
    let (completed, dead) = (parts.parse()?, parts.parse()?);
    let oldest_ready_at = parts.text()?.map(|at| reply::time(reply::parse(Some(at))?)).transpose()?;
    let settings = read_settings(parts.next()?)?;
    let minutes = read_minutes(parts.next()?)?;
    let of = |minute| minutes.get(&minute).copied().unwrap_or_default();
    Ok(QueueStats {
        queue,
        scheduled,
        ready,
        leased,
        dead,
        completed,
        oldest_ready_at,
        settings,
        last_minute: Throughput::within(at.0, 1, of),
        last_hour: Throughput::within(at.0, super::super::KEPT_MINUTES, of),
    })
}
