//! Reading arguments: global ids, references, texts, lists and numbers, each refused with the path of the argument.
//!
//! Only what several mutations share; what holds for one entity alone stays in its file. Nothing here writes.

use super::{Outcome, Refusal, UserError, UserErrorCode, check_text, read_id};
use crate::graphql::{
    context::RequestContext,
    ids::NodeId,
    scalars::{BigInt, Duration},
};
use async_graphql::{ID, MaybeUndefined};
use chimera_stores::relational::Record;
use std::collections::HashMap;
use uuid::Uuid;

/// The most bytes of an id in the system something comes from.
const MAX_EXTERNAL_ID: usize = 256;
/// The most tags or topics of one thing.
const MAX_TAGS: usize = 32;
/// The most bytes of a tag or topic.
const MAX_TAG: usize = 64;

macro_rules! ids {
    ($($name:ident $variant:ident $what:literal),* $(,)?) => {
        $(
            #[doc = concat!("Reads the global id of ", $what, ".\n\n# Errors\n`INVALID` naming the argument.")]
            pub fn $name(id: &ID, field: &[&str]) -> Outcome<Uuid> {
                read_id(id, field, $what, |node| if let NodeId::$variant(id) = node { Some(id) } else { None })
            }
        )*
    };
}

ids! {
    persona_id Persona "a persona",
    campaign_id Campaign "a campaign",
    post_id Post "a post",
    video_id Video "a video",
    asset_id Asset "an asset",
    task_id Task "a task",
    api_key_id ApiKey "an API key",
}

/// An id and the path of the argument that named it.
pub type Reference = (Uuid, Vec<String>);

/// A reference by its id and path.
pub fn reference(id: Uuid, field: &[&str]) -> Reference {
    (id, path(field))
}

/// A reference that is new: none when there is none, or when the row has it already and its existence is certain.
pub fn new_reference(before: Option<Uuid>, after: Option<Uuid>, field: &[&str]) -> Option<Reference> {
    after.filter(|_| after != before).map(|id| reference(id, field))
}

/// The path of an argument as `userErrors` shows it.
pub fn path(field: &[&str]) -> Vec<String> {
    field.iter().map(|part| (*part).to_owned()).collect()
}

/// The rows that references name, in one read; none are asked for when there are none.
///
/// # Errors
/// `NOT_FOUND` for each that the caller's organisation has not got, or what the store says.
pub async fn known<R: Record>(
    request: &RequestContext,
    what: &str,
    references: &[Reference],
) -> Outcome<HashMap<Uuid, R>> {
    let rows = rows::<R>(request, references.iter().map(|(id, _)| *id).collect()).await?;
    let missing: Vec<UserError> = references
        .iter()
        .filter(|(id, _)| !rows.contains_key(id))
        .map(|(_, field)| missing(what, field.clone()))
        .collect();
    if missing.is_empty() { Ok(rows) } else { Err(Refusal::User(missing)) }
}

/// The rows with these ids that the caller's organisation has, in one read; none when there are no ids.
///
/// # Errors
/// What the store says.
pub async fn rows<R: Record>(request: &RequestContext, mut ids: Vec<Uuid>) -> Outcome<HashMap<Uuid, R>> {
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = request.stores().relational.get::<R>(request.scope(), &ids).await?;
    Ok(rows.into_iter().flatten().map(|row| (row.id(), row)).collect())
}

/// What is said of something that does not exist for the caller.
pub fn missing(what: &str, field: Vec<String>) -> UserError {
    UserError { code: UserErrorCode::NotFound, field: Some(field), message: format!("there is no such {what}") }
}

/// Changes a value that can be taken away: absent leaves it, null takes it away.
///
/// # Errors
/// What `read` says of the new value.
pub fn change<T, U>(slot: &mut Option<U>, value: MaybeUndefined<T>, read: impl FnOnce(T) -> Outcome<U>) -> Outcome<()> {
    match value {
        MaybeUndefined::Undefined => {}
        MaybeUndefined::Null => *slot = None,
        MaybeUndefined::Value(value) => *slot = Some(read(value)?),
    }
    Ok(())
}

/// A text within its bounds, as [`check_text`] says.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn text(field: &[&str], text: String, max_bytes: usize) -> Outcome<String> {
    check_text(field, &text, max_bytes)?;
    Ok(text)
}

/// A text that may be absent, but not blank or too long.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn optional(field: &[&str], value: Option<String>, max_bytes: usize) -> Outcome<Option<String>> {
    value.map(|value| text(field, value, max_bytes)).transpose()
}

/// An id in the system something comes from.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn external_id(field: &[&str], value: Option<String>) -> Outcome<Option<String>> {
    optional(field, value, MAX_EXTERNAL_ID)
}

/// Tags: at most 32 of at most 64 bytes.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn tags(field: &[&str], tags: Vec<String>) -> Outcome<Vec<String>> {
    if tags.len() > MAX_TAGS {
        let message = format!("this has {} items; at most {MAX_TAGS} are accepted", tags.len());
        return Err(UserError::invalid(field, message).into());
    }
    for tag in &tags {
        check_text(field, tag, MAX_TAG)?;
    }
    Ok(tags)
}

/// Refuses a list that is empty or too long.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn check_count(field: &[&str], count: usize, max: usize) -> Outcome<()> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(UserError::invalid(field, format!("this has {count} items; 1 to {max} are accepted")).into())
}

/// Refuses JSON that is too large or holds a NUL, which not every database can keep.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn check_json(field: &[&str], value: &serde_json::Value, max_bytes: usize) -> Outcome<()> {
    let size = value.to_string().len();
    if size > max_bytes {
        let message = format!("this has {size} bytes of JSON; at most {max_bytes} are accepted");
        return Err(UserError::invalid(field, message).into());
    }
    if holds_nul(value) {
        return Err(UserError::invalid(field, "this must not contain the character U+0000").into());
    }
    Ok(())
}

fn holds_nul(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(entries) => entries.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An integer of 64 bits.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn integer(field: &[&str], value: &BigInt) -> Outcome<i64> {
    value.to_i64().ok_or_else(|| UserError::invalid(field, "this does not fit a signed integer of 64 bits").into())
}

/// An integer of 64 bits that is not negative.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn quantity(field: &[&str], value: &BigInt) -> Outcome<i64> {
    match integer(field, value)? {
        value if value < 0 => Err(UserError::invalid(field, "this must not be negative").into()),
        value => Ok(value),
    }
}

/// A span of time in milliseconds.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn milliseconds(field: &[&str], duration: Duration) -> Outcome<i64> {
    i64::try_from(duration.0.as_millis()).map_err(|_| UserError::invalid(field, "this is too long").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T>(outcome: Outcome<T>) -> UserError {
        match outcome {
            Err(Refusal::User(mut errors)) => errors.remove(0),
            _ => panic!("this was accepted"),
        }
    }

    #[test]
    fn an_id_of_another_type_is_refused_by_its_path() {
        let id = ID(NodeId::Campaign(Uuid::from_u128(7)).to_string());
        assert_eq!(campaign_id(&id, &["input", "campaignId"]).ok(), Some(Uuid::from_u128(7)));
        let error = refused(persona_id(&id, &["input", "personaId"]));
        assert_eq!(error.code, UserErrorCode::Invalid);
        assert_eq!(error.field, Some(path(&["input", "personaId"])));
    }

    #[test]
    fn absent_keeps_null_takes_away_and_a_value_replaces() {
        let mut slot = Some(1);
        for (value, expected) in
            [(MaybeUndefined::Undefined, Some(1)), (MaybeUndefined::Value(2), Some(2)), (MaybeUndefined::Null, None)]
        {
            assert!(change(&mut slot, value, Ok).is_ok());
            assert_eq!(slot, expected);
        }
        let refuse = |_| Err(UserError::invalid(&["input"], "no").into());
        assert!(change(&mut slot, MaybeUndefined::Value(3), refuse).is_err());
        assert_eq!(slot, None, "a refused value changes nothing");
    }

    #[test]
    fn only_a_changed_reference_is_looked_up() {
        let (one, two) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        assert!(new_reference(one, one, &["input"]).is_none());
        assert!(new_reference(one, None, &["input"]).is_none());
        assert_eq!(new_reference(one, two, &["input"]).map(|reference| reference.0), two);
    }

    #[test]
    fn bounds_are_inclusive() {
        let field = ["input", "x"];
        assert!(check_count(&field, 1, 100).is_ok() && check_count(&field, 100, 100).is_ok());
        assert!(check_count(&field, 0, 100).is_err() && check_count(&field, 101, 100).is_err());
        assert!(tags(&field, vec!["t".repeat(64); 32]).is_ok());
        assert!(tags(&field, vec!["t".repeat(65)]).is_err() && tags(&field, vec!["t".to_owned(); 33]).is_err());
        assert_eq!(quantity(&field, &BigInt::from(0_i64)).ok(), Some(0));
        assert!(quantity(&field, &BigInt::from(-1_i64)).is_err() && integer(&field, &BigInt::from(-1_i64)).is_ok());
        assert!(integer(&field, &BigInt::from(u64::MAX)).is_err());
    }

    #[test]
    fn a_nul_is_found_wherever_it_hides() {
        for bad in [serde_json::json!("\0"), serde_json::json!({"a": [1, {"\0": 2}]}), serde_json::json!([["x\0y"]])] {
            assert!(check_json(&["input"], &bad, 1000).is_err(), "{bad}");
        }
        assert!(check_json(&["input"], &serde_json::json!({"a": "\\u0000"}), 1000).is_ok());
        assert!(text(&["input"], "a\0b".to_owned(), 10).is_err());
    }
}
