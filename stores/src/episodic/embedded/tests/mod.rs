//! What the contract suite cannot see from outside: the disk, its failures, a kill, and random histories.

mod disk;
mod kill;
mod model;

use super::*;
use crate::ManualClock;
use chrono::TimeZone;

fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()))
}

fn task(id: Uuid) -> NewTask {
    NewTask {
        id,
        queue: "render".to_owned(),
        kind: "render_video".to_owned(),
        priority: 0,
        payload: serde_json::json!({ "scene": 1 }),
        persona_id: None,
        campaign_id: None,
        delay: Duration::ZERO,
        max_attempts: 3,
        dedupe_key: None,
        dedupe_for: None,
    }
}

fn turn(id: Uuid, at: DateTime<Utc>) -> Turn {
    Turn {
        id,
        persona_id: Uuid::nil(),
        conversation: "fans".to_owned(),
        role: TurnRole::User,
        text: "hello".to_owned(),
        tokens: 1,
        at,
    }
}

fn window() -> WindowQuery {
    WindowQuery {
        persona_id: Uuid::nil(),
        conversation: None,
        max_age: Duration::from_secs(WINDOW_SECONDS),
        max_turns: u32::MAX,
        max_tokens: None,
    }
}
