//! Sessions: one key each, which holds the session's end by our clock and what it holds. The server frees the key's
//! memory some time after that end; until then a session that has ended is there and not answered.

use super::{
    super::Session,
    RedisEpisodic,
    connection::{Call, Script, script},
    conversation::{MARGIN_MILLIS, MOST_MILLIS},
    fault, reply,
};
use crate::{Result, Scope};
use chrono::{DateTime, Utc};
use std::time::Duration;

static TOUCH: Script = script!("touch.lua");

impl RedisEpisodic {
    /// Makes or replaces a session.
    pub(super) async fn put(
        &self,
        scope: &Scope,
        id: &str,
        data: &serde_json::Value,
        ttl: Duration,
    ) -> Result<Session> {
        let expires_at = self.moment().later(ttl);
        let held = format!("{}:{data}", expires_at.timestamp_micros());
        self.server.one(Call::new("SET", &self.keys.session(scope, id)).with(held).with("PX").with(keep(ttl))).await?;
        Ok(Session { id: id.to_owned(), data: data.clone(), expires_at })
    }

    /// A session that has not ended.
    pub(super) async fn get(&self, scope: &Scope, id: &str) -> Result<Option<Session>> {
        let answer = self.server.one(Call::new("GET", &self.keys.session(scope, id))).await?;
        let Some(held) = reply::text(answer)? else { return Ok(None) };
        let (end, data) = held.split_once(':').ok_or_else(|| fault::corrupt("a session has no end"))?;
        let expires_at = reply::time(reply::parse(Some(end.to_owned()))?)?;
        if expires_at <= self.moment().0 {
            return Ok(None);
        }
        read(id, data, expires_at).map(Some)
    }

    /// The same, prolonged.
    pub(super) async fn touch(&self, scope: &Scope, id: &str, ttl: Duration) -> Result<Option<Session>> {
        let at = self.moment();
        let expires_at = at.later(ttl);
        let call = Call::script(&TOUCH, &self.keys.session(scope, id)).with(at.micros());
        let answer = self.server.one(call.with(expires_at.timestamp_micros()).with(keep(ttl))).await?;
        reply::text(answer)?.map(|data| read(id, &data, expires_at)).transpose()
    }
}

fn read(id: &str, data: &str, expires_at: DateTime<Utc>) -> Result<Session> {
    Ok(Session { id: id.to_owned(), data: serde_json::from_str(data).map_err(fault::corrupt)?, expires_at })
}

/// Real milliseconds for which the key is kept.
fn keep(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).saturating_add(MARGIN_MILLIS).min(MOST_MILLIS)
}
