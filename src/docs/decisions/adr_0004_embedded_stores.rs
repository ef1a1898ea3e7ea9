//! 0004: What the embedded stores are made of. Accepted, 2026-11.
//!
//! # Context
//!
//! With nothing configured all seven ports must work: in one process, in one folder, on a laptop and in tests, with
//! the same contract as the real servers. What was acknowledged must survive `kill -9`, and damage must be refused,
//! not repaired in silence.
//!
//! # Decision, and what was rejected
//!
//! *Relational: SQLite through SeaORM.* The code PostgreSQL will run on, with one dialect module for what differs. One
//! connection writes, many read, WAL with full sync. Rejected: an in-memory model (a second implementation of every
//! query, with other mistakes than the one people run).
//!
//! *Telemetry: SQLite, in a file of its own.* Appends must not queue behind business transactions, and the file has
//! another life (retention). Statistics read every event of their range. Rejected: a column format of our own, as the
//! step up is TimescaleDB and not another embedded file.
//!
//! *Memory and episodic: memory, with a redb map on disk.* Both are read from memory alone;
//! [`chimera_stores::durable`] keeps `(table, key) → bytes`, groups the writes of many tasks into one commit and
//! acknowledges after it. Two-phase commits, because with redb's one-phase commit a damaged newest commit looks like
//! one that was cut off, and an acknowledged change would go silently. Rejected: SQLite for both (a query engine that
//! nobody would query); RocksDB (a large C++ build for a map); an append-only log of our own (compaction and
//! checksums that redb has).
//!
//! *Vectors: an exact scan.* Below about 50,000 vectors a tenant it beats a filtered HNSW (measured beforehand:
//! 100,000 of 384 dimensions in 7.4 ms, a tenth of them in 0.75 ms), its recall is 1, and it has nothing to tune or
//! rebuild. The capabilities say up to where.
//!
//! *Search: tantivy.* 0.01 to 0.4 ms where SQLite's FTS5 needed 1 to 80 ms, measured beforehand. A commit takes about
//! 9 ms, so one thread groups them. Scores are our own and look at the query and the document alone, so that another
//! organisation's documents or a merge never move a hit between two pages.
//!
//! *Ledger: a file of our own.* Blocks chained by hash, a Merkle tree over the entries of each, canonical bytes, a
//! head file that says how far was acknowledged. Opening verifies every byte. Rejected: a table in SQLite, which
//! anyone can rewrite without a trace; a development node of a real chain, which is another process.
//!
//! *Media: a folder.* Blobs by their SHA-256, versions in a redb map, addresses sealed with HMAC and served by this
//! process. Rejected: bytes in SQLite, which makes every backup and every vacuum as large as the videos.
//!
//! # Consequences
//!
//! - Every embedded store belongs to one process. More replicas need the real servers.
//! - Opening reads whole files, so a start grows with the data.
//! - The memory and episodic stores must fit in memory: about 2 KB and its text for each memory.
//! - A folder is moved, copied and thrown away whole.
//!
//! # Deviations
//!
//! The design calls the episodic default in-process; it is durable here, and `episodic.url = "memory:"` means the same.
