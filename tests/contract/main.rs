//! The contract suites: every case of every port through every adapter.
//!
//! A port's file holds its cases, a table of named functions that know only the port's handle, and its adapters, a
//! table of ways to open one. This driver makes a trial of each pair, prints how many ran for each adapter, writes
//! every outcome to `target/contract.json`, and fails when fewer ran than [`EXPECTED`] says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod episodic;
mod ledger;
mod media;
mod memory;
mod relational;
mod search;
mod servers;
mod telemetry;

use chimera_stores::{ManualClock, Principal, Role, Scope};
use chrono::{TimeZone, Utc};
use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Trial};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};
use uuid::Uuid;

/// The least number of cases of each port. Raise it with every new case; a lower count means that cases got lost.
const EXPECTED: &[(&str, usize)] = &[
    ("relational", 63),
    ("memory", 51),
    ("episodic", 64),
    ("telemetry", 42),
    ("ledger", 48),
    ("media", 39),
    ("search", 48),
];

/// A way to open one adapter: its name, and a function from a folder of its own and a clock to the port's handle.
/// Opening the same folder again must find what was acknowledged before.
pub struct Adapter<H> {
    /// As in the compatibility table.
    pub name: &'static str,
    /// Whether this machine can run it; `CONTRACT_REQUIRE` makes a missing one a failure.
    pub found: fn() -> bool,
    /// Opens it.
    pub open: fn(PathBuf, Arc<ManualClock>) -> BoxFuture<'static, H>,
}

/// A case: its name and what it does.
pub type Case<H> = (&'static str, fn(World<H>) -> BoxFuture<'static, ()>);

/// What a case gets: a fresh store, a clock it may move, a scope, and a scope of another organisation.
pub struct World<H> {
    /// The port under test.
    pub handle: H,
    /// Stands at 2026-01-01T00:00:00Z.
    pub clock: Arc<ManualClock>,
    /// An administrator of one organisation.
    pub scope: Scope,
    /// An administrator of another one.
    pub foreign: Scope,
    folder: tempfile::TempDir,
    open: fn(PathBuf, Arc<ManualClock>) -> BoxFuture<'static, H>,
}

impl<H> World<H> {
    /// Where the adapter keeps its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets go of the store and opens it anew on the same folder.
    pub async fn reopen(self) -> Self {
        let Self { handle, clock, scope, foreign, folder, open } = self;
        drop(handle);
        let handle = open(folder.path().to_owned(), clock.clone()).await;
        Self { handle, clock, scope, foreign, folder, open }
    }
}

#[derive(serde::Serialize)]
struct Outcome {
    port: &'static str,
    adapter: &'static str,
    case: &'static str,
    outcome: &'static str,
}

type Outcomes = Arc<Mutex<Vec<Outcome>>>;

fn trials<H: Send + 'static>(
    port: &'static str,
    adapters: &'static [Adapter<H>],
    cases: &'static [Case<H>],
    outcomes: &Outcomes,
    trials: &mut Vec<Trial>,
) {
    for adapter in adapters {
        if !test_servers::have(adapter.name, (adapter.found)()) {
            println!("{port:<12} {:<18} left out: its server is not installed", adapter.name);
            continue;
        }
        for &(case, run) in cases {
            let outcomes = outcomes.clone();
            trials.push(Trial::test(format!("{port}::{}::{case}", adapter.name), move || {
                let result = catch_unwind(AssertUnwindSafe(|| run_case(adapter, run)));
                let outcome = if result.is_ok() { "ok" } else { "failed" };
                outcomes.lock().unwrap().push(Outcome { port, adapter: adapter.name, case, outcome });
                result.map_err(|_| "the case panicked; its message is above".into())
            }));
        }
    }
}

fn run_case<H: Send + 'static>(adapter: &Adapter<H>, run: fn(World<H>) -> BoxFuture<'static, ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let handle = (adapter.open)(folder.path().to_owned(), clock.clone()).await;
        let scope = |number| Scope::new(Uuid::from_u128(number), Principal::User(Uuid::from_u128(7)), Role::Admin);
        let (scope, foreign) = (scope(1), scope(2));
        run(World { handle, clock, scope, foreign, folder, open: adapter.open }).await;
    });
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let outcomes = Outcomes::default();
    let mut all = Vec::new();
    trials("relational", relational::ADAPTERS, relational::CASES, &outcomes, &mut all);
    trials("memory", memory::ADAPTERS, memory::CASES, &outcomes, &mut all);
    trials("episodic", episodic::ADAPTERS, episodic::CASES, &outcomes, &mut all);
    trials("telemetry", telemetry::ADAPTERS, telemetry::CASES, &outcomes, &mut all);
    trials("ledger", ledger::ADAPTERS, ledger::CASES, &outcomes, &mut all);
    trials("media", media::ADAPTERS, media::CASES, &outcomes, &mut all);
    trials("search", search::ADAPTERS, search::CASES, &outcomes, &mut all);
    let conclusion = libtest_mimic::run(&arguments, all);
    servers::stop();
    if arguments.list || arguments.filter.is_some() || !arguments.skip.is_empty() {
        return conclusion.exit_code();
    }
    let outcomes = outcomes.lock().unwrap();
    let complete = report(&outcomes);
    if complete { conclusion.exit_code() } else { ExitCode::FAILURE }
}

/// Prints the counts, writes the file, and tells whether every port ran all it should.
fn report(outcomes: &[Outcome]) -> bool {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry((outcome.port, outcome.adapter)).or_default() += 1;
    }
    for ((port, adapter), count) in &counts {
        println!("{port:<12} {adapter:<18} {count} cases");
    }
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join("contract.json"), serde_json::to_string_pretty(outcomes).unwrap()).unwrap();
    let mut complete = true;
    for (port, expected) in EXPECTED {
        let least = counts.iter().filter(|((of, _), _)| of == port).map(|(_, count)| *count).min().unwrap_or(0);
        if least < *expected || least == 0 {
            println!("{port}: {least} cases ran, {expected} were expected");
            complete = false;
        }
    }
    complete
}
