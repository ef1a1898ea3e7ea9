//! The episodic store on a Redis server or cluster, shared by all processes that name the same place and prefix.
//!
//! What happens to a task, a turn or a session is decided by scripts on the server, each on keys of one slot, and by the
//! clock of the caller: never by the server's own time, which only frees memory some time after the end. The meaning of
//! every call is that of the embedded store.
//!
//! What differs, because keys of several slots cannot change together:
//! - a turn's id is known within its persona;
//! - one id that is enqueued in two queues at the same moment may become two tasks.
//!
//! A call that is given up half-way, or whose answer is lost, may have happened all the same. The driver may repeat a
//! call when a node of a cluster fails: a settlement then answers what the first try did, and tasks reserved by a try
//! whose answer was lost wait for the end of their lease like those of a worker that died.

mod connection;
mod control;
mod conversation;
mod counter;
mod fault;
mod keys;
mod known;
mod link;
mod locate;
mod moment;
mod pages;
mod pubsub;
mod queue;
mod reply;
mod sessions;
mod state;
mod target;
mod task;

use super::{Capabilities, EpisodicAdapter};
use crate::{Address, Clock, Finding, Result};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use connection::Server;
use keys::Keys;
use known::Known;
use moment::Moment;
use pubsub::Topics;
use std::sync::Arc;

const MAX_BATCH: usize = 1000;
/// How long turns are remembered.
const WINDOW_SECONDS: u64 = 3600;
/// How long completed tasks are remembered.
const COMPLETED_SECONDS: u64 = 3600;

/// The episodic store on a Redis server or cluster.
pub struct RedisEpisodic {
    server: Arc<Server>,
    keys: Keys,
    known: Known,
    topics: Topics,
    clock: Arc<dyn Clock>,
    capabilities: Capabilities,
}

impl RedisEpisodic {
    /// Connects to the server or cluster at `address`. All keys and channels begin with `prefix`.
    ///
    /// # Errors
    /// `Invalid` for a wrong address or prefix, `Unsupported` for a server that is too old, `Unavailable` for one that
    /// does not answer, refuses the password, or does not permit what this store does.
    pub async fn open(address: &Address, prefix: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let keys = Keys::new(prefix)?;
        let server = Server::connect(address).await?;
        let nodes = state::nodes(&server).await?;
        state::check(nodes.as_deref().unwrap_or_default(), server.is_cluster())?;
        let capabilities = Capabilities {
            adapter: if server.is_cluster() { "redis-cluster" } else { "redis" },
            place: address.to_string(),
            max_batch: MAX_BATCH,
            window_seconds: WINDOW_SECONDS,
            completed_seconds: COMPLETED_SECONDS,
            durable: state::is_durable(nodes.as_deref()),
            shared: true,
        };
        let server = Arc::new(server);
        let topics = Topics::new(server.clone(), keys.live());
        let store = Self { server, keys, known: Known::default(), topics, clock, capabilities };
        store.probe().await?;
        // An access list that forbids channels shows here, not when the first event is lost.
        store.topics.probe().await?;
        Ok(store)
    }

    /// Whether the names of keys and channels may begin with this.
    pub fn is_prefix(prefix: &str) -> bool {
        Keys::is_prefix(prefix)
    }

    fn moment(&self) -> Moment {
        Moment::new(self.clock.now())
    }

    /// Writes a key and reads it.
    async fn probe(&self) -> Result<()> {
        state::probe(&self.server, &self.keys.probe(), &self.moment().micros().to_string()).await
    }
}

#[async_trait]
impl EpisodicAdapter for RedisEpisodic {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn health(&self) -> Result<()> {
        self.probe().await
    }

    async fn findings(&self) -> Result<Vec<Finding>> {
        Ok(state::findings(state::nodes(&self.server).await?.as_deref()))
    }
}
