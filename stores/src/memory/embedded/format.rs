//! How a memory file is laid out: tables, keys, and values. Nothing else knows these bytes.
//!
//! Keys are organisation, persona and (but for definitions) id, 16 bytes each. A value starts with a tag: 1 and what is
//! there, or 0 and the version it was removed with. A memory's value holds its vector, so that a restart embeds nothing;
//! the file says once which model made the vectors.

use crate::{
    durable::{Record, Write},
    error::{ErrorKind, Result, Store, StoreError},
    memory::{Definition, Interaction, MemoryRecord, embedder::Model},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

const STORE: Store = Store::Memory;
const META: u8 = 0;
const PERSONAS: u8 = 1;
const MEMORIES: u8 = 2;
const INTERACTIONS: u8 = 3;
const META_KEY: &[u8] = b"format";
/// Raise it when the layout changes, and read the older one.
const FORMAT: u32 = 1;

/// An organisation and a persona of it.
pub type Tenancy = (Uuid, Uuid);

/// What the file says about itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Meta {
    format: u32,
    /// Which model made the vectors.
    pub model: Model,
}

/// One record of the file.
#[derive(Debug)]
pub enum Stored {
    /// About the file.
    Meta(Meta),
    /// A definition.
    Definition(Definition),
    /// A persona that was dropped, with its version.
    Dropped(i64),
    /// A memory and its vector.
    Memory(MemoryRecord, Vec<f32>),
    /// The id of a memory that was forgotten, with its version.
    Forgotten(Uuid, i64),
    /// An interaction.
    Interaction(Interaction),
    /// The id of an interaction that went with its persona, with its version.
    Gone(Uuid, i64),
}

fn key(tenancy: Tenancy, id: Option<Uuid>) -> Vec<u8> {
    let mut key = [tenancy.0.into_bytes(), tenancy.1.into_bytes()].concat();
    key.extend(id.into_iter().flat_map(Uuid::into_bytes));
    key
}

fn put(table: u8, key: Vec<u8>, value: Vec<u8>) -> Write {
    Write { table, key, value: Some(value) }
}

fn live<T: Serialize>(thing: &T) -> Result<Vec<u8>> {
    let mut value = vec![1];
    serde_json::to_writer(&mut value, thing).map_err(|error| {
        StoreError::with_source(STORE, ErrorKind::Internal, "the change could not be encoded", error)
    })?;
    Ok(value)
}

fn removed(version: i64) -> Vec<u8> {
    let mut value = vec![0];
    value.extend(version.to_le_bytes());
    value
}

/// Says which model makes the vectors.
pub fn write_meta(model: &Model) -> Result<Write> {
    let meta = Meta { format: FORMAT, model: model.clone() };
    Ok(put(META, META_KEY.to_vec(), live(&meta)?))
}

/// Stores a definition.
pub fn write_definition(tenancy: Tenancy, definition: &Definition) -> Result<Write> {
    Ok(put(PERSONAS, key(tenancy, None), live(definition)?))
}

/// Stores that a persona was dropped.
pub fn write_dropped(tenancy: Tenancy, version: i64) -> Write {
    put(PERSONAS, key(tenancy, None), removed(version))
}

/// Stores a memory with its vector: tag, length of the JSON, JSON, numbers.
pub fn write_memory(tenancy: Tenancy, memory: &MemoryRecord, vector: &[f32]) -> Result<Write> {
    let json = live(memory)?;
    let length = u32::try_from(json.len() - 1).unwrap_or(u32::MAX);
    let mut value = Vec::with_capacity(json.len() + 4 + vector.len() * 4);
    value.push(1);
    value.extend(length.to_le_bytes());
    value.extend(json.iter().skip(1));
    value.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
    Ok(put(MEMORIES, key(tenancy, Some(memory.id)), value))
}

/// Stores that a memory was forgotten.
pub fn write_forgotten(tenancy: Tenancy, id: Uuid, version: i64) -> Write {
    put(MEMORIES, key(tenancy, Some(id)), removed(version))
}

/// Stores an interaction.
pub fn write_interaction(tenancy: Tenancy, interaction: &Interaction) -> Result<Write> {
    Ok(put(INTERACTIONS, key(tenancy, Some(interaction.id)), live(interaction)?))
}

/// Stores that an interaction went with its persona.
pub fn write_gone(tenancy: Tenancy, id: Uuid, version: i64) -> Write {
    put(INTERACTIONS, key(tenancy, Some(id)), removed(version))
}

/// Reads one record back; whose it is, and what.
///
/// # Errors
/// `Corrupt` for bytes that this module did not write.
pub fn read(record: &Record) -> Result<(Tenancy, Stored)> {
    decode(record).ok_or_else(|| {
        let message = "the memory file has a record that makes no sense; restore it from a backup or move it away";
        StoreError::new(STORE, ErrorKind::Corrupt, message)
    })
}

fn decode(record: &Record) -> Option<(Tenancy, Stored)> {
    let (tag, rest) = record.value.split_first()?;
    if record.table == META {
        let meta: Meta = (record.key == META_KEY && *tag == 1).then(|| json(rest))??;
        return (meta.format == FORMAT).then_some(((Uuid::nil(), Uuid::nil()), Stored::Meta(meta)));
    }
    let (ids, odd) = record.key.as_chunks::<16>();
    let (tenancy, id) = match (record.table, ids) {
        (PERSONAS, &[organization, persona]) => ((organization, persona), None),
        (MEMORIES | INTERACTIONS, &[organization, persona, id]) => ((organization, persona), Some(id)),
        _ => return None,
    };
    let tenancy = (Uuid::from_bytes(tenancy.0), Uuid::from_bytes(tenancy.1));
    let id = id.map_or(tenancy.1, Uuid::from_bytes);
    let (stored, written) = match (tag, record.table) {
        (0, table) => {
            let version = i64::from_le_bytes(rest.try_into().ok()?);
            match table {
                PERSONAS => (Stored::Dropped(version), (tenancy.1, id)),
                MEMORIES => (Stored::Forgotten(id, version), (tenancy.1, id)),
                _ => (Stored::Gone(id, version), (tenancy.1, id)),
            }
        }
        (1, PERSONAS) => {
            let definition: Definition = json(rest)?;
            let ids = (definition.persona_id, definition.persona_id);
            (Stored::Definition(definition), ids)
        }
        (1, MEMORIES) => {
            let (memory, vector) = decode_memory(rest)?;
            let ids = (memory.persona_id, memory.id);
            (Stored::Memory(memory, vector), ids)
        }
        (1, _) => {
            let interaction: Interaction = json(rest)?;
            let ids = (interaction.persona_id, interaction.id);
            (Stored::Interaction(interaction), ids)
        }
        _ => return None,
    };
    (odd.is_empty() && written == (tenancy.1, id)).then_some((tenancy, stored))
}

fn decode_memory(bytes: &[u8]) -> Option<(MemoryRecord, Vec<f32>)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, numbers) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (numbers, odd) = numbers.as_chunks::<4>();
    let vector: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (odd.is_empty() && vector.iter().all(|number| number.is_finite())).then_some((json(text)?, vector))
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
