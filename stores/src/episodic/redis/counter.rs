//! Counters for limits: one key each, so each count is one script on one slot, and a batch is one pipeline.

use super::{
    super::{Counted, CounterAdapter, CounterRequest},
    RedisEpisodic,
    connection::{Call, Script, script},
    conversation::MARGIN_MILLIS,
    fault,
    reply::Reader,
};
use crate::{Result, Scope};
use ::redis::Value;
use async_trait::async_trait;
use chrono::DateTime;

static COUNT: Script = script!("count.lua");

#[async_trait]
impl CounterAdapter for RedisEpisodic {
    async fn counts(&self, scope: &Scope, requests: &[CounterRequest]) -> Result<Vec<Counted>> {
        let now = self.clock.now().timestamp_millis();
        let of = |request: &CounterRequest| {
            let length = request.window.as_millis().max(1).to_string();
            Call::script(&COUNT, &self.keys.counter(scope, &request.key, &length))
                .with(now)
                .with(&length)
                .with(request.cost)
                .with(request.limit)
                .with(MARGIN_MILLIS)
        };
        let calls: Vec<Call> = requests.iter().map(of).collect();
        let answers = self.server.run(&calls).await;
        requests.iter().zip(answers).map(|(request, answer)| read(request, answer?)).collect()
    }
}

fn read(request: &CounterRequest, answer: Value) -> Result<Counted> {
    let mut answer = Reader::new(answer)?;
    let (allowed, used): (i64, u32) = (answer.parse()?, answer.parse()?);
    let resets_at = DateTime::from_timestamp_millis(answer.parse()?);
    Ok(Counted {
        allowed: allowed == 1,
        used,
        remaining: request.limit.saturating_sub(used),
        resets_at: resets_at.ok_or_else(|| fault::corrupt("a time is out of range"))?,
    })
}
