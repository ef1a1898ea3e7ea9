//! A circuit breaker: after a run of store faults it refuses at once, then lets a single call probe.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// What a breaker lets through, as shown by `service { stores { breaker } }` and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// One call at a time probes whether the store is back.
    HalfOpen,
    /// Calls are refused without being tried.
    Open,
}

#[derive(Debug)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    probing: bool,
}

/// Counts consecutive faults of one store.
#[derive(Debug)]
pub struct Breaker {
    threshold: u32,
    open_for: Duration,
    state: Mutex<State>,
}

impl Breaker {
    /// Opens after `threshold` consecutive faults, for `open_for`.
    pub fn new(threshold: u32, open_for: Duration) -> Self {
        Self { threshold, open_for, state: Mutex::new(State { failures: 0, open_until: None, probing: false }) }
    }

    /// Whether a call may go out at `now`. A `true` must be answered by [`Breaker::success`], [`Breaker::fault`] or
    /// [`Breaker::abandoned`].
    pub fn admit(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.open_until {
            None => true,
            Some(until) if now < until || state.probing => false,
            Some(_) => {
                state.probing = true;
                true
            }
        }
    }

    /// The store answered (an error that is the caller's own fault counts as an answer).
    pub fn success(&self) {
        let mut state = self.state.lock();
        *state = State { failures: 0, open_until: None, probing: false };
    }

    /// The store failed at `now`.
    pub fn fault(&self, now: Instant) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.probing || state.failures >= self.threshold {
            state.open_until = Some(now + self.open_for);
        }
        state.probing = false;
    }

    /// The call was dropped before it ended: it proved nothing.
    pub fn abandoned(&self) {
        self.state.lock().probing = false;
    }

    /// The state at `now`.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.state.lock().open_until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_the_threshold_and_closes_after_a_good_probe() {
        let (breaker, start) = (Breaker::new(3, Duration::from_secs(1)), Instant::now());
        for _ in 0..3 {
            assert!(breaker.admit(start));
            breaker.fault(start);
        }
        assert_eq!(breaker.state(start), BreakerState::Open);
        assert!(!breaker.admit(start));
        let later = start + Duration::from_secs(2);
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert!(breaker.admit(later));
        assert!(!breaker.admit(later), "a single probe at a time");
        breaker.success();
        assert_eq!(breaker.state(later), BreakerState::Closed);
    }

    #[test]
    fn a_failed_or_abandoned_probe_does_not_close_it() {
        let (breaker, start) = (Breaker::new(1, Duration::from_secs(1)), Instant::now());
        assert!(breaker.admit(start));
        breaker.fault(start);
        let later = start + Duration::from_secs(2);
        assert!(breaker.admit(later));
        breaker.abandoned();
        assert!(breaker.admit(later), "the next caller may probe");
        breaker.fault(later);
        assert_eq!(breaker.state(later), BreakerState::Open);
    }
}
