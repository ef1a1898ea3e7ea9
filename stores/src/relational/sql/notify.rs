//! How a process hears that another one has written to the outbox: `LISTEN/NOTIFY` of PostgreSQL.
//!
//! A commit that writes outbox entries notifies in the same transaction, so the news comes when the entries can be read
//! and never without them. It carries nothing: who hears it reads the outbox, which also tells what was missed. News can
//! be lost with a connection; that costs time and never an entry, because the relay polls as well.
//!
//! PostgreSQL lets one notifying transaction commit at a time, so the entries' commits queue at their end. With 16
//! writers of one row each that took 7,000 commits a second down to between 1,700 and 3,300: far more than mutations,
//! with all their other statements, come to.

use super::{fault, pool::Pool, session::Session};
use crate::Result;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use sea_orm::{
    ConnectionTrait, DbBackend,
    sqlx::{
        self, PgPool,
        postgres::{PgConnectOptions, PgListener, PgPoolOptions},
    },
};
use std::{sync::Arc, time::Duration};

/// The channel; each database has its own.
const CHANNEL: &str = "chimera_outbox";
/// A connection that has been silent for this long is asked whether it still lives: a network may drop it without a word.
const SILENCE: Duration = Duration::from_secs(20);
/// How long connecting and that question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait before the second try to connect; doubled with every further one, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A server that is back is heard again within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Tells the other processes, once this transaction commits, that the outbox has new entries.
pub(super) async fn tell(open: &Session) -> Result<()> {
    if open.get_database_backend() == DbBackend::Postgres {
        open.execute_unprepared(&format!("NOTIFY {CHANNEL}")).await.map_err(fault::database)?;
    }
    Ok(())
}

/// An item whenever the outbox may have new entries: after a notification, and after every (re)connection, because what
/// was told meanwhile is lost. Never ends.
pub(super) fn changes(pool: &Pool) -> BoxStream<'static, ()> {
    let ear = Ear { connect: pool.options(), listener: None, failures: 0 };
    unfold(ear, async |mut ear| ear.hear().await.then_some(((), ear))).boxed()
}

/// One process's subscription.
struct Ear {
    connect: Arc<PgConnectOptions>,
    listener: Option<PgListener>,
    failures: u32,
}

impl Ear {
    /// Waits until there may be something new.
    async fn hear(&mut self) -> bool {
        loop {
            let heard = match &mut self.listener {
                Some(listener) => next(listener).await,
                None => self.listen().await,
            };
            match heard {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    self.listener = None;
                    self.failures += 1;
                    if self.failures == 1 {
                        tracing::warn!(%error, "changes of other processes are not told; the outbox is polled");
                    }
                    tokio::time::sleep(wait(self.failures)).await;
                }
            }
        }
    }

    async fn listen(&mut self) -> Result<bool, sqlx::Error> {
        // A pool of its own for each try: a connection that hangs cannot stand in the way of the next.
        let pool: PgPool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(PgConnectOptions::clone(&self.connect));
        let mut listener = PgListener::connect_with(&pool).await?;
        // A lost connection comes back through here, so that what was missed is looked for.
        listener.eager_reconnect(false);
        within(PATIENCE, listener.listen(CHANNEL)).await?;
        if self.failures > 0 {
            tracing::info!("changes of other processes are told again");
        }
        self.failures = 0;
        self.listener = Some(listener);
        Ok(true)
    }
}

/// The next notification; `false` when there was none for long but the connection lives.
async fn next(listener: &mut PgListener) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(SILENCE, listener.try_recv()).await {
        Ok(heard) => {
            heard?.ok_or_else(|| sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into()))?;
            // Those that have come in meanwhile say the same.
            while listener.next_buffered().is_some() {}
            Ok(true)
        }
        Err(_) => within(PATIENCE, sqlx::query("SELECT 1").execute(&mut *listener)).await.map(|_| false),
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Half of the wait is random, so that processes that lost the same server do not come back in step.
fn wait(failures: u32) -> Duration {
    let longest = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        for failures in 1..100 {
            let longest = FIRST_WAIT.as_millis() << (failures - 1).min(16);
            let longest = longest.min(LONGEST_WAIT.as_millis());
            let wait = wait(failures).as_millis();
            assert!(wait <= longest && wait >= longest / 2, "{failures}: {wait} ms");
        }
    }
}
