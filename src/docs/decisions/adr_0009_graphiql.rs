//! 0009: GraphiQL from a package of our own, in the binary. Accepted, 2026-11.
//!
//! # Context
//!
//! People explore the API in GraphiQL. The page that async-graphql offers loads its scripts from a public CDN: it fails
//! without a network, runs code that nobody here pinned, and needs a content security policy with a hole in it.
//!
//! # Decision
//!
//! `frontend/` is a small npm package: GraphiQL with the explorer and a list of our example documents, every version
//! pinned by its lock file. `build.rs` installs it without running install scripts, builds it with vite, and writes a
//! table of files that `src/http/graphiql.rs` includes. The documents of `docs/queries` travel the same way. The page
//! talks to its own origin only, and its policy says so.
//!
//! Rejected: committing the built files (megabytes of generated code in every review), and a separate server for the
//! page.
//!
//! # Consequences
//!
//! - A build wants Node 20.19 or newer, npm, and the first time the network. Without them it prints a warning, and
//!   `/graphiql` answers 404 with the way to get it; a failed page never fails a build.
//! - `CHIMERA_SKIP_FRONTEND=1` skips it, for fast builds. Cargo runs the script again only when one of its inputs has
//!   changed.
//! - A browser test opens the page of a running server and uses it as a person would.
//!
//! # Deviations
//!
//! None.
