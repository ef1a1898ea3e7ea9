//! What stands around every call of every port, once: deadline, bulkhead, breaker, retry with a budget, metrics,
//! counting, and (in tests and rehearsals) injected faults.
//!
//! Order of a call: breaker → bulkhead → deadline → fault plan → adapter. The time spent waiting in the bulkhead is
//! part of the deadline (a place that does not come free in time is `Overloaded`, an answer that does not is `Timeout`); the deadline is the smaller of the store's own and what is left of the request's.
//! Only calls named [`Idempotence::Read`] are repeated, only after an error that says a repeat is safe, and only while
//! the retry budget (a tenth of the recent successes) lasts, so that retries cannot multiply an outage.

mod breaker;
mod metrics;

pub use breaker::{Breaker, BreakerState};
pub use metrics::StoreMetrics;

use crate::{
    error::{ErrorKind, Result, Retry, Store, StoreError},
    scope::Scope,
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tracing::Instrument;

/// Whether a call may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotence {
    /// Changes nothing; may be repeated.
    Read,
    /// Must go out once at the most.
    Once,
}

/// The limits of one store.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// The longest a call may take, waiting and retries included.
    pub deadline: Duration,
    /// Calls under way at the same time.
    pub max_in_flight: usize,
    /// Calls waiting for a place; one more is refused.
    pub max_waiting: usize,
    /// Consecutive faults that open the breaker.
    pub breaker_failures: u32,
    /// How long an open breaker refuses before it lets a call probe.
    pub breaker_open: Duration,
    /// Repeats of one read at the most.
    pub max_retries: u32,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            max_in_flight: 64,
            max_waiting: 1024,
            breaker_failures: 8,
            breaker_open: Duration::from_secs(2),
            max_retries: 2,
        }
    }
}

/// How an injected fault behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store refuses the connection.
    Refuse,
    /// The store never answers.
    Hang,
    /// The store answers after this long.
    Slow(Duration),
    /// The store answers with a failure of its own.
    Fail,
    /// The store answers bytes that make no sense.
    Nonsense,
}

/// Faults to inject, by store. Empty in production; the check is one uncontended read lock a batch.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan(Arc<RwLock<BTreeMap<Store, Fault>>>);

impl FaultPlan {
    /// Makes every call of `store` fail this way; `None` heals it.
    pub fn set(&self, store: Store, fault: Option<Fault>) {
        let mut plan = self.0.write();
        match fault {
            Some(fault) => plan.insert(store, fault),
            None => plan.remove(&store),
        };
    }

    fn get(&self, store: Store) -> Option<Fault> {
        self.0.read().get(&store).copied()
    }
}

/// How many calls of each operation one request made: what the N+1 tests pin. Shared through the request's [`Scope`].
#[derive(Debug, Default)]
pub struct CallCounter(Mutex<BTreeMap<(Store, &'static str), u32>>);

impl CallCounter {
    fn count(&self, store: Store, operation: &'static str) {
        *self.0.lock().entry((store, operation)).or_default() += 1;
    }

    /// Calls so far, by store and operation.
    pub fn snapshot(&self) -> BTreeMap<(Store, &'static str), u32> {
        self.0.lock().clone()
    }
}

/// Successes pay a tenth of a retry into the budget; it never holds more than ten.
const BUDGET_PER_SUCCESS: usize = 1;
const BUDGET_PER_RETRY: usize = 10;
const BUDGET_MAX: usize = 100;

struct Shared {
    store: Store,
    settings: GuardSettings,
    places: Semaphore,
    waiting: AtomicUsize,
    breaker: Breaker,
    budget: AtomicUsize,
    metrics: StoreMetrics,
    faults: FaultPlan,
}

/// The guard of one store. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Shared>);

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("store", &self.0.store).field("settings", &self.0.settings).finish()
    }
}

impl Guard {
    /// The guard of `store`.
    pub fn new(store: Store, settings: GuardSettings, metrics: StoreMetrics, faults: FaultPlan) -> Self {
        metrics.breaker(store, 0);
        Self(Arc::new(Shared {
            store,
            places: Semaphore::new(settings.max_in_flight),
            waiting: AtomicUsize::new(0),
            breaker: Breaker::new(settings.breaker_failures, settings.breaker_open),
            budget: AtomicUsize::new(BUDGET_MAX),
            settings,
            metrics,
            faults,
        }))
    }

    /// A guard with default settings and metrics that nobody reads, for tests and one-off commands.
    pub fn detached(store: Store) -> Self {
        let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
        Self::new(store, GuardSettings::default(), metrics, FaultPlan::default())
    }

    /// The store behind this guard.
    pub fn store(&self) -> Store {
        self.0.store
    }

    /// The limits in force.
    pub fn settings(&self) -> &GuardSettings {
        &self.0.settings
    }

    /// The breaker's state now.
    pub fn breaker_state(&self) -> BreakerState {
        self.0.breaker.state(Instant::now())
    }

    /// Calls under way now.
    pub fn in_flight(&self) -> usize {
        self.0.settings.max_in_flight.saturating_sub(self.0.places.available_permits())
    }

    /// Runs one call of the adapter.
    ///
    /// # Errors
    /// What the adapter says, or `Unavailable` (breaker open), `Overloaded` (too many waiting), `Timeout` (deadline).
    pub async fn call<T, F, Fut>(
        &self,
        scope: &Scope,
        operation: &'static str,
        idempotence: Idempotence,
        mut call: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let shared = &*self.0;
        let started = Instant::now();
        let span = tracing::debug_span!("store_call", store = %shared.store, operation);
        if let Some(calls) = scope.calls() {
            calls.count(shared.store, operation);
        }
        let own = started + shared.settings.deadline;
        let deadline = scope.deadline().map_or(own, |request| request.min(own));
        let mut retries = 0;
        let result = loop {
            let result = self.attempt(deadline, &mut call).instrument(span.clone()).await;
            let repeat = match &result {
                Err(error) => {
                    idempotence == Idempotence::Read
                        && error.retry() == Retry::Safe
                        && retries < shared.settings.max_retries
                        && Instant::now() < deadline
                        && shared.breaker.state(Instant::now()) == BreakerState::Closed
                        && self.spend_retry()
                }
                Ok(_) => false,
            };
            if !repeat {
                break result;
            }
            retries += 1;
            shared.metrics.retried(shared.store);
            tokio::time::sleep(backoff(retries)).await;
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.kind().code(),
        };
        shared.metrics.finished(shared.store, operation, outcome, started.elapsed().as_secs_f64());
        if let Err(error) = &result
            && error.kind().is_store_fault()
        {
            tracing::warn!(store = %shared.store, operation, outcome, error = %error.chain(), "store call failed");
        }
        result
    }

    async fn attempt<T, F, Fut>(&self, deadline: Instant, call: &mut F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let shared = &*self.0;
        let error = |kind, message| StoreError::new(shared.store, kind, message);
        if !shared.breaker.admit(Instant::now()) {
            return Err(error(
                ErrorKind::Unavailable,
                "the store is resting after repeated failures; try again shortly",
            ));
        }
        let mut admitted = Admitted { shared, settled: false };
        let Some(_place) = self.enter(deadline).await else {
            return Err(error(ErrorKind::Overloaded, "too many calls of this store are under way"));
        };
        let _under_way = InFlight::new(shared);
        let fault = shared.faults.get(shared.store);
        let result = tokio::time::timeout_at(deadline.into(), async {
            match fault {
                None => {}
                Some(Fault::Refuse) => return Err(error(ErrorKind::Unavailable, "the store refuses connections")),
                Some(Fault::Fail) => return Err(error(ErrorKind::Internal, "the store failed")),
                Some(Fault::Nonsense) => {
                    return Err(error(ErrorKind::BadResponse, "the store's answer makes no sense"));
                }
                Some(Fault::Slow(by)) => tokio::time::sleep(by).await,
                Some(Fault::Hang) => std::future::pending().await,
            }
            call().await
        })
        .await
        .unwrap_or_else(|_| Err(error(ErrorKind::Timeout, "the store did not answer in time")));
        admitted.settle(&result);
        result
    }

    async fn enter(&self, deadline: Instant) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let shared = &*self.0;
        if let Ok(place) = shared.places.try_acquire() {
            return Some(place);
        }
        if shared.waiting.fetch_add(1, Ordering::Relaxed) >= shared.settings.max_waiting {
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let _leave = Leave(&shared.waiting);
        tokio::time::timeout_at(deadline.into(), shared.places.acquire()).await.ok()?.ok()
    }

    fn spend_retry(&self) -> bool {
        let take = |left: usize| left.checked_sub(BUDGET_PER_RETRY);
        self.0.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// 5 ms, 10 ms, 20 ms, …, each ±50 %: long enough to leave a restarting store alone, short against any deadline.
fn backoff(attempt: u32) -> Duration {
    let base = 5_u64 << attempt.min(6);
    Duration::from_micros(base * 500 + rand::random_range(0..base * 500))
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.metrics.in_flight(shared.store, 1);
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight(self.0.store, -1);
    }
}

/// Tells the breaker how an admitted call ended, also when its future was dropped.
struct Admitted<'a> {
    shared: &'a Shared,
    settled: bool,
}

impl Admitted<'_> {
    fn settle<T>(&mut self, result: &Result<T>) {
        self.settled = true;
        let (breaker, now) = (&self.shared.breaker, Instant::now());
        match result {
            Err(error) if error.kind().is_store_fault() => breaker.fault(now),
            Err(_) => breaker.success(),
            Ok(_) => {
                breaker.success();
                let add = |left: usize| Some((left + BUDGET_PER_SUCCESS).min(BUDGET_MAX));
                let _ = self.shared.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            }
        }
        let state = match breaker.state(now) {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        self.shared.metrics.breaker(self.shared.store, state);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.breaker.abandoned();
        }
    }
}

/// Checks that an adapter answered every key of a batch, no more and no less.
///
/// # Errors
/// `BadResponse` when the lengths differ.
pub fn one_per_key<T>(store: Store, keys: usize, results: Vec<T>) -> Result<Vec<T>> {
    if results.len() == keys {
        Ok(results)
    } else {
        Err(StoreError::new(
            store,
            ErrorKind::BadResponse,
            format!("the store answered {} of {keys} keys", results.len()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn guard(faults: &FaultPlan, settings: GuardSettings) -> Guard {
        let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
        Guard::new(Store::Search, settings, metrics, faults.clone())
    }

    fn quick() -> GuardSettings {
        GuardSettings { deadline: Duration::from_millis(50), breaker_failures: 100, ..GuardSettings::default() }
    }

    #[tokio::test]
    async fn every_fault_has_its_code_and_ends_inside_the_deadline() {
        let faults = FaultPlan::default();
        let scope = Scope::system(Uuid::nil());
        for (fault, code) in [
            (Fault::Refuse, "STORE_UNAVAILABLE"),
            (Fault::Hang, "STORE_TIMEOUT"),
            (Fault::Slow(Duration::from_secs(5)), "STORE_TIMEOUT"),
            (Fault::Fail, "INTERNAL_ERROR"),
            (Fault::Nonsense, "STORE_BAD_RESPONSE"),
        ] {
            faults.set(Store::Search, Some(fault));
            let guard = guard(&faults, quick());
            let started = Instant::now();
            let result = guard.call(&scope, "test", Idempotence::Read, || async { Ok(1) }).await;
            assert_eq!(result.unwrap_err().kind().code(), code);
            assert!(started.elapsed() < Duration::from_millis(500), "{fault:?} took {:?}", started.elapsed());
        }
    }

    #[tokio::test]
    async fn reads_are_repeated_and_writes_are_not() {
        let scope = Scope::system(Uuid::nil());
        for (idempotence, expected) in [(Idempotence::Read, 3), (Idempotence::Once, 1)] {
            let guard = guard(&FaultPlan::default(), GuardSettings { deadline: Duration::from_secs(2), ..quick() });
            let tries = AtomicUsize::new(0);
            let result: Result<()> = guard
                .call(&scope, "test", idempotence, || async {
                    tries.fetch_add(1, Ordering::Relaxed);
                    Err(StoreError::new(Store::Search, ErrorKind::Unavailable, "down"))
                })
                .await;
            assert!(result.is_err());
            assert_eq!(tries.load(Ordering::Relaxed), expected);
        }
    }

    #[tokio::test]
    async fn an_open_breaker_refuses_without_calling() {
        let guard = guard(&FaultPlan::default(), GuardSettings { breaker_failures: 2, max_retries: 0, ..quick() });
        let scope = Scope::system(Uuid::nil());
        let tries = AtomicUsize::new(0);
        for _ in 0..5 {
            let _: Result<()> = guard
                .call(&scope, "test", Idempotence::Read, || async {
                    tries.fetch_add(1, Ordering::Relaxed);
                    Err(StoreError::new(Store::Search, ErrorKind::BadResponse, "bad"))
                })
                .await;
        }
        assert_eq!(tries.load(Ordering::Relaxed), 2);
        assert_eq!(guard.breaker_state(), BreakerState::Open);
    }

    #[tokio::test]
    async fn the_bulkhead_refuses_what_cannot_wait() {
        let guard = guard(&FaultPlan::default(), GuardSettings { max_in_flight: 1, max_waiting: 0, ..quick() });
        let scope = Scope::system(Uuid::nil());
        let slow = guard.call(&scope, "test", Idempotence::Read, || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        });
        let refused = guard.call(&scope, "test", Idempotence::Read, || async { Ok(()) });
        let (slow, refused) = tokio::join!(slow, refused);
        assert!(slow.is_ok());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Overloaded);
    }
}
