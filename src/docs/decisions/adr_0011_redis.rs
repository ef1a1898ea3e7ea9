//! 0011: Redis as the episodic store. Accepted, 2026-11.
//!
//! # Context
//!
//! Several processes share queues, windows, sessions, limits and live events. The contract is that of the embedded
//! store: no task goes to two workers, what was acknowledged is there, and a batch answers for each of its parts. One
//! server and a cluster are one adapter.
//!
//! # Decision
//!
//! *A change is one script.* Whatever changes a task, a window or a limit runs on the server as one Lua script, whole or
//! not at all. A script is called by its hash; a server that does not know it (new, restarted, promoted) gets the text
//! in a second try, so each server is sent it once. Rejected: `MULTI` with `WATCH`, which is a round trip for each
//! attempt and gives up under contention; functions (`FUNCTION LOAD`), which want a right that access lists seldom give,
//! and somebody who loads them on every node.
//!
//! *Keys that change together lie in one slot.* Their names begin with the prefix and one text in braces: the
//! organisation and the queue, or the organisation and the persona. Which queue has a task lies in a slot of its own,
//! written before the task, and is a hint: a call that names a task alone asks the queue that this process remembers,
//! then the one of the hint, then all. Rejected: one slot for an organisation, which binds a large one to one node.
//!
//! *The caller's clock decides* when a lease ends or a delay is over, as in the embedded store. The server's own time
//! only frees memory long after the end (`PEXPIRE`).
//!
//! *At least once.* A task is leased; a worker that goes silent loses it, and it is handed out again. A settlement
//! carries the token of its lease and is remembered with the task, so that a repeat is answered as the first try was.
//! What was reserved by a try whose answer was lost waits for the end of its lease. Exactly once would need the worker's
//! own effects in the same transaction, which no queue has.
//!
//! *One multiplexed connection* for each server or node, and a batch is one pipeline. Nothing that blocks goes over it;
//! live events have a second one, on one node that sender and listener agree on, so that their order holds. A connection
//! that only refuses or is silent is left for a new one, which the driver does not do by itself. Rejected: a pool, whose
//! connections each wait for one answer at a time where one connection carries them all.
//!
//! *Durable only when it is.* The capability is read off the server: `appendonly yes` with `appendfsync always` on every
//! node. Once a second, Redis' default, may lose two seconds of acknowledged tasks; `chimera doctor` says so.
//!
//! # Consequences
//!
//! - Redis 7.0 or newer. An older one is refused, with its version.
//! - Memory is the bound. `maxmemory-policy` has to be `noeviction`: anything else forgets tasks without a trace.
//! - Scripts work through at most some hundred steps of time at once, so a queue that nobody looked at for long is
//!   brought up to date over several calls.
//! - Subscribers lose the oldest live events when they fall behind, and all of them while the connection is away.
//!
//! # Deviations
//!
//! - A turn's id is known within its persona, and not within the organisation.
//! - One id that is enqueued in two queues at the same moment may become two tasks.
