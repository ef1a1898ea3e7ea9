//! Waiting for an exact time. A runtime's timers count milliseconds; a service time of a fraction of one needs a thread
//! that watches the clock, on a core of its own.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Ends after `time`, to within some microseconds.
pub async fn precise(time: Duration) {
    static WATCH: OnceLock<Sender<(Instant, oneshot::Sender<()>)>> = OnceLock::new();
    let (done, wait) = oneshot::channel();
    let watch = WATCH.get_or_init(start);
    watch.send((Instant::now() + time, done)).expect("the thread never ends");
    wait.await.expect("the thread never ends");
}

fn start() -> Sender<(Instant, oneshot::Sender<()>)> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        // On the other core than the server's worker, where the load comes from.
        let _ = crate::process::pin_thread(crate::process::LOAD_CORE);
        let mut due: BTreeMap<(Instant, u64), oneshot::Sender<()>> = BTreeMap::new();
        let mut number = 0;
        loop {
            let next = match due.first_key_value() {
                // Nothing to watch for: sleep until there is.
                None => receive.recv().ok(),
                Some(_) => receive.try_recv().ok(),
            };
            if let Some((at, done)) = next {
                number += 1;
                due.insert((at, number), done);
            }
            let now = Instant::now();
            while due.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
                if let Some((_, done)) = due.pop_first() {
                    // Who gave up no longer waits.
                    let _ = done.send(());
                }
            }
        }
    });
    send
}
