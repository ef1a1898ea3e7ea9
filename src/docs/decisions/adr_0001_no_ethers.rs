//! 0001: No `ethers`. Accepted, 2026-11.
//!
//! # Context
//!
//! The ledger port will speak to Ethereum and Base. The crate most examples use, `ethers`, is deprecated by its authors
//! in favour of alloy. It is pinned to old releases of its network and TLS crates; advisories against those cannot be
//! patched from outside, since no fixed `ethers` will come.
//!
//! # Decision
//!
//! The alloy family: today `alloy-primitives` alone, for 256-bit integers and hashes. When the chain adapters come,
//! alloy's primitive, RLP, trie and ABI crates, over one JSON-RPC client on the shared `reqwest`. `.deny.toml` bans
//! `ethers`.
//!
//! # Consequences
//!
//! - Types for amounts and hashes in the port are the ones the adapters will need; nothing is converted later.
//! - `alloy-primitives` is built without its default features, which would bring curves and hashers nobody calls.
//! - Fail-over between providers, and comparing their answers, is ours to write.
//!
//! # Deviations
//!
//! None.
