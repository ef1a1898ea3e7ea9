//! Conversation windows: the last hour of each persona.
//!
//! A persona's turns lie in one slot: a list by time, one list a conversation, and the turns themselves. A window is cut
//! to its bounds by the server, so only what is in it crosses the network. A turn's id is known within its persona.

use super::{
    super::{ConversationAdapter, LiveEvent, Session, Turn, WindowQuery},
    RedisEpisodic,
    connection::{Call, Script, script},
    fault,
    locate::CHUNK,
    reply,
};
use crate::{Result, Scope};
use ::redis::Value;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

static APPEND: Script = script!("append.lua");
static WINDOW: Script = script!("window.lua");

/// Real time for which the memory of turns and sessions is kept after their end, in milliseconds.
pub(super) const MARGIN_MILLIS: i64 = 3_600_000;
/// Longer than this nothing is kept that nobody asks for, however late its end: ten years, in milliseconds.
pub(super) const MOST_MILLIS: i64 = 315_360_000_000;

#[async_trait]
impl ConversationAdapter for RedisEpisodic {
    async fn append_turns(&self, scope: &Scope, turns: &[Turn]) -> Result<()> {
        let at = self.moment();
        let horizon = at.window();
        let mut personas: BTreeMap<Uuid, Vec<&Turn>> = BTreeMap::new();
        for turn in turns.iter().filter(|turn| turn.at >= horizon) {
            personas.entry(turn.persona_id).or_default().push(turn);
        }
        let mut calls = Vec::new();
        for (persona, turns) in personas {
            for chunk in turns.chunks(CHUNK) {
                let newest = chunk.iter().map(|turn| turn.at).max().unwrap_or(at.0);
                let keep = (newest - horizon).num_milliseconds().saturating_add(MARGIN_MILLIS).min(MOST_MILLIS);
                let key = self.keys.persona(scope, persona);
                let mut call = Call::script(&APPEND, &key).with(horizon.timestamp_micros()).with(keep);
                for turn in chunk {
                    call.arg(turn.id.simple().to_string()).arg(turn.at.timestamp_micros());
                    call.arg(&turn.conversation).arg(said(turn)?);
                }
                calls.push(call);
            }
        }
        self.server.run(&calls).await.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn windows(&self, scope: &Scope, queries: &[WindowQuery]) -> Result<Vec<Vec<Turn>>> {
        let at = self.moment();
        let of = |query: &WindowQuery| {
            let list = query.conversation.as_ref().map_or("turns".to_owned(), |name| format!("c:{name}"));
            let oldest = at.earlier(query.max_age).max(at.window()).timestamp_micros();
            let tokens = query.max_tokens.map(|tokens| tokens.to_string()).unwrap_or_default();
            Call::script(&WINDOW, &self.keys.persona(scope, query.persona_id))
                .with(list)
                .with(oldest)
                .with(query.max_turns)
                .with(tokens)
        };
        let calls: Vec<Call> = queries.iter().map(of).collect();
        self.server.run(&calls).await.into_iter().map(|answer| read(answer?)).collect()
    }

    async fn put_session(&self, scope: &Scope, id: &str, data: &serde_json::Value, ttl: Duration) -> Result<Session> {
        self.put(scope, id, data, ttl).await
    }

    async fn session(&self, scope: &Scope, id: &str, touch: Option<Duration>) -> Result<Option<Session>> {
        match touch {
            Some(ttl) => self.touch(scope, id, ttl).await,
            None => self.get(scope, id).await,
        }
    }

    async fn end_session(&self, scope: &Scope, id: &str) -> Result<()> {
        self.server.one(Call::new("DEL", &self.keys.session(scope, id))).await.map(drop)
    }

    async fn publish(&self, scope: &Scope, topic: &str, payload: &serde_json::Value) -> Result<()> {
        let event = LiveEvent { topic: topic.to_owned(), payload: payload.clone(), at: self.moment().0 };
        self.topics.publish(&self.keys.topic(scope, topic), &event).await
    }

    async fn subscribe(&self, scope: &Scope, topic: &str) -> Result<BoxStream<'static, LiveEvent>> {
        self.topics.subscribe(self.keys.topic(scope, topic)).await
    }
}

/// A turn as it is stored: its tokens, which the server adds up, then all of it.
fn said(turn: &Turn) -> Result<String> {
    let json = serde_json::to_string(turn).map_err(fault::unencodable)?;
    Ok(format!("{}:{json}", turn.tokens))
}

fn read(answer: Value) -> Result<Vec<Turn>> {
    let turn = |said: Value| {
        let said = reply::text(said)?.ok_or_else(fault::senseless)?;
        let (_, json) = said.split_once(':').ok_or_else(|| fault::corrupt("a turn has no size"))?;
        serde_json::from_str(json).map_err(fault::corrupt)
    };
    // The server answers the newest first.
    reply::items(answer)?.into_iter().rev().map(turn).collect()
}
