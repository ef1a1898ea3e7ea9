//! An orderly end: a first SIGINT or SIGTERM lets open requests finish and refuses new ones, a second ends at once.

use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::{Notify, mpsc};

/// Whether the server is ending, and what is still open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    draining: AtomicBool,
    open: AtomicUsize,
    idle: Notify,
}

impl Drain {
    /// Whether new requests are refused.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Refuses new requests from now on.
    pub fn begin(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Counts a request until the guard is dropped.
    pub fn enter(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Open(Arc::clone(&self.0))
    }

    /// Returns once nothing is open.
    pub async fn idle(&self) {
        loop {
            let notified = self.0.idle.notified();
            if self.0.open.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// A request under way, its answer's last byte included.
#[derive(Debug)]
pub(super) struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A message for each SIGINT and SIGTERM.
///
/// # Errors
/// When the system does not let the process listen for them.
pub(super) fn signals() -> std::io::Result<mpsc::UnboundedReceiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = mpsc::unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// What was asked for once and is not to be asked again for a moment: `/ready` may be called by anyone.
pub(super) struct Remembered<T> {
    for_how_long: std::time::Duration,
    last: Mutex<Option<(std::time::Instant, T)>>,
    asking: tokio::sync::Mutex<()>,
}

impl<T: Clone> Remembered<T> {
    pub fn new(for_how_long: std::time::Duration) -> Self {
        Self { for_how_long, last: Mutex::new(None), asking: tokio::sync::Mutex::new(()) }
    }

    fn fresh(&self) -> Option<T> {
        let last = self.last.lock();
        last.as_ref().filter(|(at, _)| at.elapsed() < self.for_how_long).map(|(_, value)| value.clone())
    }

    /// The value of a moment ago, or a new one; callers that come together ask once.
    pub async fn get(&self, ask: impl Future<Output = T>) -> T {
        if let Some(value) = self.fresh() {
            return value;
        }
        let _turn = self.asking.lock().await;
        if let Some(value) = self.fresh() {
            return value;
        }
        let value = ask.await;
        *self.last.lock() = Some((std::time::Instant::now(), value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn idle_waits_for_the_last_one() {
        let drain = Drain::default();
        drain.idle().await;
        let (first, second) = (drain.enter(), drain.enter());
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.idle().await }
        });
        drop(first);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished());
        drop(second);
        tokio::time::timeout(Duration::from_secs(1), waiting).await.expect("woken").unwrap();
    }

    #[tokio::test]
    async fn what_was_asked_is_remembered_for_a_moment() {
        let remembered = Remembered::new(Duration::from_millis(50));
        let asked = AtomicUsize::new(0);
        let ask = || async { asked.fetch_add(1, Ordering::Relaxed) };
        let (a, b) = tokio::join!(remembered.get(ask()), remembered.get(ask()));
        assert_eq!((a, b, asked.load(Ordering::Relaxed)), (0, 0, 1));
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(remembered.get(ask()).await, 1);
    }
}
