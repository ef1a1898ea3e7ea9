//! Starting, stopping, backup, crashes, damaged files, metrics, the log.
//!
//! # Starting
//!
//! Order: settings are checked; the data folder is made and locked; the secret is read or made; the seven stores are
//! opened (and the relational schema brought up to date); a new folder gets the demo data, in demo mode; the relay
//! and the housekeeping start; the server listens. Whatever fails is one line on standard error and exit code 2.
//! `chimera config check` and `chimera doctor` find most of it beforehand.
//!
//! Opening reads and checks the embedded files whole, so a start takes longer as they grow.
//!
//! # Addresses
//!
//! | path | answers |
//! |---|---|
//! | `/graphql` | POST and GET; GET never changes anything |
//! | `/graphiql` | GraphiQL; 404 in a build without it |
//! | `/live` | 200 while the process runs; asks no store |
//! | `/ready` | 200 when requests should be sent here, else 503; JSON with adapter, place, breaker and message of each store |
//! | `/metrics` | OpenMetrics text |
//! | `/media/upload/…`, `/media/download/…` | signed addresses of the media folder |
//!
//! `/ready` needs the relational store alone: without any other store the API answers, and `degraded` lists what is not
//! well. The answer is up to half a second old. While the server drains it is 503.
//!
//! Behind a proxy on the same machine set `server.public_url` to the address clients use: a server on a loopback address
//! refuses requests under any name but its own, so that no foreign page reaches it by a name that points here.
//!
//! `/live`, `/ready` and `/metrics` ask for no key and show the places of stores. A proxy should not pass them on.
//!
//! # Demo mode
//!
//! On by default. A new folder gets the demo data, and a request without a key acts as the administrator of the demo
//! organisation. Such a server listens on a loopback address only: with another `server.listen` it refuses to start. A
//! proxy or a tunnel on the same machine would still let others in, as administrators: put `--no-demo` behind one.
//!
//! With `--no-demo` (`demo.enabled = false`) every request needs a key, and a server without a live key refuses to
//! start: make one with `chimera key NAME`.
//!
//! # Stopping
//!
//! The first SIGINT or SIGTERM lets open requests finish for `server.shutdown_timeout`; new ones get 503 with
//! `SHUTTING_DOWN` and `Retry-After`. What is open after that is cut off. A second signal ends the process at once.
//! What the relay has not carried waits in the outbox for the next start.
//!
//! # The data folder
//!
//! | file | what it is |
//! |---|---|
//! | `chimera.db` | the relational store, the outbox included; with `-wal` and `-shm` beside it while it is open |
//! | `memory/memory.redb` | definitions, memories and their vectors, interactions |
//! | `episodic.redb` | tasks, conversation windows, sessions |
//! | `telemetry.db` | render events; with `-wal` and `-shm` |
//! | `ledger/*.chain`, `ledger/*.head` | a chain for each organisation, and how far it was acknowledged |
//! | `media/` | `blobs/` by their SHA-256, `uploads/` that wait, `media.redb` with versions |
//! | `search/` | the search index |
//! | `secret` | signs cursors and media addresses; absent when `data.secret` is set from the start |
//! | `lock` | held by the process that uses the folder |
//! | `unseeded` | the folder is new; removed once it is in use |
//!
//! # Backup
//!
//! Stop the server, copy the whole folder, start it again. There is no command for a backup of a running server; a
//! copy made while it runs is not sound, since the stores are written independently of each other. A snapshot of the
//! whole file system at one instant is what a crash of the machine would leave, and opens as after one.
//!
//! Keep the folder together; only `search` may be left out: the next start fills an empty index from the relational
//! store. Without `secret` (or another `data.secret`) old cursors and media addresses stop
//! working; nothing else depends on it.
//!
//! # PostgreSQL
//!
//! `relational.url = "postgres://USER:PASSWORD@HOST:PORT/DATABASE"` is all it takes, with PostgreSQL 15 or newer. Make
//! an ordinary role and a database that it owns:
//!
//! ```sql
//! CREATE ROLE chimera LOGIN PASSWORD '…';
//! CREATE DATABASE chimera OWNER chimera ENCODING 'UTF8' TEMPLATE template0;
//! ```
//!
//! The schema is made at the first start, by one of the replicas that start at once. It wants the extension
//! `btree_gist` of the contrib modules, which the owner of a database may create. To keep the right to change tables
//! away from the server, run `chimera migrate` as the owner, and give the server's role `SELECT`, `INSERT`, `UPDATE` and
//! `DELETE` on the tables (not `UPDATE` and `DELETE` on `audit_entry`) and `USAGE` on the sequences.
//!
//! Each replica opens up to `relational.pool` connections; together they must stay below the server's
//! `max_connections`. Statements end after `guard.deadline`. Rows are behind row-level security: by hand, say
//! `SET chimera.system TO 'on'` first. Backups (`pg_dump`) are made as a superuser, or with `--enable-row-security`
//! and that setting.
//!
//! # Redis
//!
//! `episodic.url = "redis://USER:PASSWORD@HOST:PORT"`, with Redis 7.0 or newer; `redis-cluster://HOST:PORT,HOST:PORT` names
//! some nodes of a cluster. What was acknowledged survives the server's being killed only with `appendonly yes` and
//! `appendfsync always`: nothing less counts as durable, and `chimera doctor` says so. `maxmemory-policy` has to be
//! `noeviction`.
//!
//! `rediss://` and `rediss-cluster://` speak TLS. Files of certificates (PEM) are named in the query, by the names that
//! they have in the URL of a PostgreSQL server: `?sslrootcert=FILE` is the authority that the server's certificate must
//! come from (without it, the public ones are trusted), `sslcert=FILE&sslkey=FILE` what this process shows to a server
//! that asks for it. There are no other parameters.
//!
//! # What survives `kill -9`
//!
//! Everything that was acknowledged, in every embedded store; after a crash of the machine too, as far as the disk
//! keeps what it said it wrote. What was under way may have happened or not: repeat it. Writes that carry an id, a
//! version or an idempotency key may be repeated freely. A worker's lease ends by itself, and its task is handed out
//! again.
//!
//! # Damaged files
//!
//! An embedded store checks its files when it is opened, and refuses a damaged or foreign one: the start stops with a
//! line that names the file, and `chimera doctor` says what to do. Nothing is repaired in silence, and the file is
//! left as it is. Restore the folder from a backup.
//!
//! What the checks do not see: SQLite files are checked for their structure, so a bit flipped inside of a value
//! stands; media blobs are checked by their size alone (clients can check the SHA-256 of a version); in a redb file
//! that a crash left, the one bit that names the newer of two commits. Whoever rewrites a ledger's chain and head
//! files together is found only by comparing with a head kept elsewhere.
//!
//! When a write fails (a full disk), the store stops and its fields answer `STORE_UNAVAILABLE`. Mend the disk, then
//! restart.
//!
//! A memory file knows which model made its vectors. With another `embedder.*` it is refused: put the setting back or
//! choose another folder. Vectors are not made anew in this release.
//!
//! # Several processes on one PostgreSQL database
//!
//! Processes that share a database share its outbox too. A commit that leaves entries there notifies all of them, and
//! one at a time carries what is due to a target; when it ends, however it ends, another one takes over. Each process
//! has three connections for that, besides `relational.pool`: two sessions that carry and one that listens. They need
//! sessions of their own, so a pooler in between must not be in transaction mode. While a process cannot listen it looks
//! twice a second, and says so in the log.
//!
//! # A read replica
//!
//! With `relational.replica_url`, a streaming replica of the database in `relational.url`, the reads of queries go there.
//! They may then miss the writes of the last moments, at most those of `relational.replica_max_lag`, the client's own
//! included. A request with the header `X-Chimera-Fresh` (any value) sees all of them. Mutations, the look-up of API
//! keys, the outbox, imports and everything else that runs without a request always ask the primary.
//!
//! The replica is measured by the primary's log every second or so, on a connection of its own to either server. When it
//! is further behind than the bound, does not answer, or turns out to be no replica of that database, the primary serves
//! its reads, and the log says so once; `chimera doctor` says why. It may be taken away and brought back at any time.
//! When the primary is away, the replica serves queries until nobody knows any more how old it is: as long as the bound.
//!
//! # Housekeeping
//!
//! Once an hour uploads that were never completed are removed after eight days, and render events older than
//! `telemetry.retain_raw`, when that is set. Conversation turns and completed tasks are forgotten after an hour.
//!
//! # Metrics
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `chimera_operations_total` | counter | `operation_type`, `outcome` |
//! | `chimera_operation_seconds` | histogram | `operation_type` |
//! | `chimera_operation_complexity` | histogram | |
//! | `chimera_http_answers_total` | counter | `route`, `status` |
//! | `chimera_http_in_flight` | gauge | |
//! | `chimera_document_cache_lookups_total` | counter | `result`: `hit`, `miss`, `refused` |
//! | `chimera_document_cache_documents`, `chimera_document_cache_bytes` | gauge | |
//! | `chimera_store_calls_total` | counter | `store`, `operation`, `outcome`: `ok` or a code |
//! | `chimera_store_call_seconds` | histogram | `store` |
//! | `chimera_store_in_flight` | gauge | `store` |
//! | `chimera_store_retries_total` | counter | `store` |
//! | `chimera_store_breaker` | gauge | `store`; 0 closed, 1 half-open, 2 open |
//!
//! No label is a word that a client chose.
//!
//! # The log
//!
//! On standard error, as text or JSON (`log.format`). `log.level` sets the level of this program; libraries speak
//! from `warn` on. A store's fault is logged with its causes at `warn`; so is an operation that takes longer than a
//! second. An operation's line carries its `request_id`, which is also in the answer's `X-Request-Id` and in each
//! error. Variables, tokens and the texts of documents are not logged.
//!
//! The header `X-Chimera-Cost` (any value) adds `extensions.cost` to an answer: complexity, depth, and the store
//! calls made.
