//! The types of the schema, one file each. Columns are fields, edges are methods that name one loader key.

pub mod analytics;
pub mod asset;
pub mod billing;
pub mod campaign;
pub mod discovery;
pub mod ledger;
pub mod list;
pub mod memory;
pub mod organization;
pub mod persona;
pub mod post;
pub mod report;
pub mod service;
pub mod task;
pub mod telemetry;
pub mod video;
pub mod wallet;
