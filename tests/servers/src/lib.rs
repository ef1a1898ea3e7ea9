//! Real servers for the tests: found on this machine, started on a free port of the loopback address in a folder of
//! their own, and stopped when their value is dropped or the test process ends, however it ends.
//!
//! Which servers a run must have is said by `CONTRACT_REQUIRE`, a list such as `postgres,redis`: one that is named and
//! missing is a failure, one that is not named and missing is left out. `tests/servers/install.sh` installs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use it")]

mod postgres;
mod process;
mod redis;

pub use postgres::{Flavour, Frozen, OWNER, Postgres};
pub use redis::{Redis, RedisCluster};

/// Whether a server that the tests named `name` need has to be there.
pub fn required(name: &str) -> bool {
    std::env::var("CONTRACT_REQUIRE").is_ok_and(|list| list.split(',').any(|item| item.trim() == name))
}

/// `true` when `found`; otherwise the tests leave `name` out.
///
/// # Panics
/// When `CONTRACT_REQUIRE` names it, and it is not there.
pub fn have(name: &str, found: bool) -> bool {
    assert!(
        found || !required(name),
        "CONTRACT_REQUIRE names {name}, and its server is not installed; tests/servers/install.sh installs it"
    );
    found
}
