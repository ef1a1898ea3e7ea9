//! Sessions of others, which hold what the store under test waits for.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use test_servers::Postgres;

/// Somebody else's transactions, which stay open until this is dropped.
pub struct Others<'a> {
    server: &'a Postgres,
    clients: Vec<Child>,
}

/// How long they may take to come in.
const PATIENCE: Duration = Duration::from_secs(10);
/// What they do once they hold what they want.
const HOLD: &str = "SELECT pg_sleep(60)";

impl<'a> Others<'a> {
    /// Starts as many as `count`, each doing `sql` first.
    pub fn start(server: &'a Postgres, url: &str, count: usize, sql: &str) -> Self {
        let client = || {
            Command::new("/usr/lib/postgresql/15/bin/psql")
                .args(["-Xq", "-d", url, "-c", &format!("BEGIN; {sql}"), "-c", HOLD])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut others = Self { server, clients: (0..count).map(|_| client()).collect() };
        let holding =
            format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query = '{HOLD}'");
        let begun = Instant::now();
        while others.server.sql("postgres", &holding).trim() != count.to_string() {
            assert!(begun.elapsed() < PATIENCE, "the others do not come in");
            std::thread::sleep(Duration::from_millis(50));
            for other in &mut others.clients {
                // Refused when the place of an administrator was not free again yet.
                if other.try_wait().unwrap().is_some() {
                    *other = client();
                }
            }
        }
        others
    }
}

impl Drop for Others<'_> {
    fn drop(&mut self) {
        // A session that sleeps does not notice that its client has gone.
        let end = format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query = '{HOLD}'");
        self.server.sql("postgres", &end);
        for client in &mut self.clients {
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

/// One other that holds what `sql` takes.
pub fn blocker<'a>(server: &'a Postgres, database: &str, sql: &str) -> Others<'a> {
    Others::start(server, &server.url(database), 1, sql)
}
