//! 0006: An embedder in the binary. Accepted, 2026-11.
//!
//! # Context
//!
//! Semantic recall needs vectors. Without a model, the first query on a fresh machine could not show it, tests would
//! need a server or a stub, and a stub's vectors mean nothing. Models that are fetched at the first start fail
//! without a network, and differ from one day to the next.
//!
//! # Decision
//!
//! The crate `pocket-encoder`: a small English sentence transformer (paraphrase-MiniLM-L3, 384 dimensions) with its
//! weights and tokenizer in the crate, run on the CPU by candle. It is the default; `embedder.url` names any
//! OpenAI-compatible endpoint instead. The store keeps the model's name beside its vectors and refuses another one's.
//!
//! In the development profile only candle's core and the `gemm` crates are optimised: unoptimised, a text takes
//! seconds. Optimising all dependencies made the cold build 3.3 times slower.
//!
//! # Consequences
//!
//! - Figures measured beforehand: 230 CPU seconds more for a cold development build, 48 ms a text in it, up to two
//!   seconds to load at the first use, about 100 MB of memory. The README has the figures of this release.
//! - Recall works offline and gives the same answer on every machine, up to the last digits of a score.
//! - A text is cut after 128 tokens. What follows is found by its words, not by its meaning.
//! - The model knows English. Other languages want an endpoint.
//! - The weights come under Apache-2.0, the crate under MIT.
//!
//! # Deviations
//!
//! None.
