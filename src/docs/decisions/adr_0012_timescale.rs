//! 0012: TimescaleDB, or PostgreSQL alone, as the telemetry store. Accepted, 2026-11.
//!
//! # Context
//!
//! Render events come in faster than statistics can read them all. TimescaleDB has chunks, compression and continuous
//! aggregates; managed databases often lack it, or have only its Apache edition. Answers must be the same as those of
//! the embedded store: exact counts and sums, percentiles with a stated bound, nothing acknowledged left out.
//!
//! # Decision
//!
//! *One program for both.* Ingest, statistics, pages and retention are the same statements on the same names; what
//! differs is how time is partitioned, how roll-ups are made and who drops what is old. `timescaledb:` demands the
//! extension, `postgres:` takes it where the database has it.
//!
//! *Histograms of our own, not the toolkit's.* A roll-up holds the entries of a DDSketch with a relative error of 1 %,
//! as bytes that `string_agg` puts together; percentiles are worked out here. Merging is exact, whatever was merged in
//! whatever order. Rejected: `timescaledb_toolkit`, a second extension that few servers have, and none without
//! TimescaleDB; `percentile_cont`, which cannot be merged; averages of percentiles, which are wrong.
//!
//! *Our own worker refreshes the continuous aggregates.* A policy refreshes a window behind now, and a watermark says
//! nothing about what arrives late below it. Here an append marks the hours of its events in the same transaction; the
//! worker, one of all processes at a time by an advisory lock, rolls up those hours, minutes, then hours, then days,
//! and only then takes the marks away. A reader takes events for hours that are marked, and roll-ups for all others, so
//! an answer is fresh up to the question, and exact whichever process died in between. The aggregates are
//! `materialized_only`: the statements here know better than the watermark.
//!
//! *Ids in a table of their own.* A unique index on a hypertable has to hold the time, so it lets an id in twice. The
//! narrow table makes appends idempotent whatever the time, and leads from an id to its chunk; it costs about 160 bytes
//! an event. Rejected: a unique index of id and time, which is that hole.
//!
//! *COPY, grouped.* Calls that wait together become one transaction, rows go in by binary COPY, and the buffer is
//! bounded: a full one makes callers wait, and then refuses.
//!
//! *On PostgreSQL alone,* partitions of a week are made ahead by the worker, with a default one for whatever lies
//! outside of them; roll-ups are tables whose stale hours are deleted and written again; nothing is compressed.
//! `docs/compatibility.md` says what is slower. Rejected: `pg_partman` and `pg_cron`, two more extensions to do without.
//!
//! # Consequences
//!
//! - PostgreSQL 15 and TimescaleDB 2.13 or newer. An older one is refused, with its version.
//! - A database with the extension on a server that does not preload it is refused by both schemes: compressed rows
//!   would be missing.
//! - A schema that was made without the extension stays without it; `timescaledb:` refuses it.
//! - Percentiles of ranges longer than two hours are within 1 %; shorter ones are exact while the events are kept.
//! - Events of a year ago, imported into PostgreSQL without the extension, lie in the default partition, and are
//!   removed row by row.
