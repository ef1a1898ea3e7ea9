//! The episodic store on Redis: opening, servers that do not fit, much at once, and the same work as the embedded store.

mod amounts;
mod likeness;
mod opening;

use chimera_stores::{
    Address, ManualClock, Result, Scope,
    episodic::{NewTask, RedisEpisodic},
};
use chrono::{TimeZone, Utc};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(60);

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()))
}

fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn task(number: u128) -> NewTask {
    NewTask {
        id: id(number),
        queue: "render".to_owned(),
        kind: "render_video".to_owned(),
        priority: 0,
        payload: serde_json::json!({ "number": number.to_string() }),
        persona_id: None,
        campaign_id: None,
        delay: Duration::ZERO,
        max_attempts: 3,
        dedupe_key: None,
        dedupe_for: None,
    }
}

async fn open(url: &str, clock: Arc<ManualClock>) -> Result<RedisEpisodic> {
    RedisEpisodic::open(&Address::new(url), "test", clock).await
}
