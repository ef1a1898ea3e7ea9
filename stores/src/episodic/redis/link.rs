//! The connection that all commands share, and when it is left for a new one.
//!
//! The driver makes a connection anew when it sees it break. What it does not see or does not mend:
//! - a server that went silent without a word, such as one whose power failed: its connection stays open for as long as
//!   the kernel has patience, a quarter of an hour, and a cluster's driver does not ask who has taken over;
//! - a refusal while it connected, such as a wrong password: it answers that one refusal for ever;
//! - its last failure to connect: the next call gets that for its answer, however long ago it was.
//!
//! So a connection that was of no use is left, and the next call has one that is made for it. Calls that are under way
//! on the old one stay there until they end.

use super::{
    connection::{CONNECT_WITHIN, OPEN_WITHIN, cluster, patience},
    fault::{self, Doubt},
    target::Target,
};
use crate::Result;
use ::redis::{RedisError, aio::ConnectionManager, cluster_async::ClusterConnection};
use parking_lot::{Mutex, RwLock};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// A connection over which only refusals come is left at most this often: mostly it is not to blame.
const LEAVE_EVERY: Duration = Duration::from_millis(500);
/// A cluster's connection is made anew at most this often.
const RENEW_EVERY: Duration = CONNECT_WITHIN;

/// A connection to the one server, or those to the nodes of a cluster.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    Single(ConnectionManager),
    /// To the nodes of a cluster.
    Cluster(ClusterConnection),
}

/// The connection in use, and how to get another one.
pub(super) struct Link {
    /// Counted, so that of all calls that failed on one connection only the first leaves it.
    present: RwLock<(u64, Connection)>,
    target: Arc<Target>,
    left_at: Mutex<Instant>,
}

impl Link {
    /// The link that begins with this connection.
    pub(super) fn new(connection: Connection, target: Arc<Target>) -> Self {
        Self { present: RwLock::new((0, connection)), target, left_at: Mutex::new(Instant::now()) }
    }

    /// The connection in use and its number.
    pub(super) fn present(&self) -> (u64, Connection) {
        self.present.read().clone()
    }

    /// Leaves connection `number` if one of these failures gives reason to.
    pub(super) fn judge<'a>(self: &Arc<Self>, number: u64, failures: impl Iterator<Item = &'a RedisError>) {
        let Some(doubt) = failures.filter_map(fault::doubt).max() else { return };
        match self.target.is_cluster {
            false => self.leave(number, doubt),
            // Of anything else its driver takes care.
            true if doubt == Doubt::Silent => self.renew(number),
            true => {}
        }
    }

    fn leave(&self, number: u64, doubt: Doubt) {
        let mut left_at = self.left_at.lock();
        if doubt == Doubt::Refused && left_at.elapsed() < LEAVE_EVERY {
            return;
        }
        *left_at = Instant::now();
        // It connects when it is first used.
        let client = self.target.nodes.first().cloned();
        let manager = client.map(|client| ConnectionManager::new_lazy_with_config(client, patience()));
        if let Some(Ok(manager)) = manager {
            self.replace(number, Connection::Single(manager));
        }
    }

    /// Makes the connection to a cluster anew, beside the calls: they need not wait for nodes that are away.
    fn renew(self: &Arc<Self>, number: u64) {
        let mut left_at = self.left_at.lock();
        if left_at.elapsed() < RENEW_EVERY || self.present.read().0 != number {
            return;
        }
        *left_at = Instant::now();
        let link = self.clone();
        tokio::spawn(async move {
            match link.connect().await {
                Ok(connection) => link.replace(number, Connection::Cluster(connection)),
                Err(error) => tracing::debug!(error = %error.chain(), "the cluster's connection was not made anew"),
            }
        });
    }

    async fn connect(&self) -> Result<ClusterConnection> {
        timeout(OPEN_WITHIN, cluster(&self.target)).await.map_err(|_| fault::late())?
    }

    fn replace(&self, number: u64, connection: Connection) {
        let mut present = self.present.write();
        if present.0 == number {
            *present = (number + 1, connection);
        }
    }
}
