//! Decision records: what would be dear to change, why it is so, and where it departs from what was first meant.
//!
//! One file each, numbered; a record that no longer holds stays and says which one replaces it.

pub mod adr_0001_no_ethers;
pub mod adr_0002_own_loader;
pub mod adr_0003_own_transport_and_document_engine;
pub mod adr_0004_embedded_stores;
pub mod adr_0005_the_seam;
pub mod adr_0006_bundled_embedder;
pub mod adr_0007_ids_and_cursors;
pub mod adr_0008_outbox_relay;
pub mod adr_0009_graphiql;
pub mod adr_0010_postgres;
pub mod adr_0011_redis;
pub mod adr_0012_timescale;
pub mod adr_0013_fields_on_the_spot;
