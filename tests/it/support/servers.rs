//! The three stores of this release that are servers, for one test.

use test_servers::{Flavour, Postgres, Redis, have};

/// Running servers: relational rows and telemetry in two databases of one PostgreSQL, queues in Redis.
pub struct Servers {
    relational: String,
    telemetry: String,
    episodic: String,
    _postgres: Postgres,
    _redis: Redis,
}

impl Servers {
    /// Starts them; `None` where they are not installed and not required.
    pub fn start() -> Option<Self> {
        let found = have("timescale", Postgres::found(Flavour::Timescale)) && have("redis", Redis::found());
        found.then(|| {
            let (postgres, redis) = (Postgres::start(Flavour::Timescale), Redis::start());
            let telemetry = postgres.create("telemetry").replace("postgres://", "timescaledb://");
            Self {
                relational: postgres.create("relational"),
                telemetry,
                episodic: redis.url(),
                _postgres: postgres,
                _redis: redis,
            }
        })
    }

    /// The settings that name them.
    pub fn settings(&self) -> [(&'static str, &str); 3] {
        [("relational.url", &self.relational), ("telemetry.url", &self.telemetry), ("episodic.url", &self.episodic)]
    }
}
